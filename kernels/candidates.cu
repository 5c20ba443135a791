// Learnable wiring where a pin chooses among few candidates: gradients of the logits and of the inputs.
#include "bank.cuh"

namespace difflut::candidates {

// out[pins][choices]: 2x - 1 of each candidate times the gradient of its pin, summed over the batch; a warp has a pin.
// Candidates go by the 32, so that a value of the gradient is read once for all of them.
__global__ void logits_gradient(const float* __restrict__ x, const int32_t* __restrict__ candidates, int choices,
                                const float* __restrict__ grad, int64_t batch, int pins, float* __restrict__ out) {
  follow();
  const int pin = row_of_warp(), lane = lane_index();
  if (pin >= pins) return;
  const int32_t* among = candidates + int64_t(pin) * choices;
  for (int first = 0; first < choices; first += kWarp) {
    const int own = first + lane < choices ? __ldg(among + first + lane) : __ldg(among);
    float sums[kWarp] = {};
    for (int64_t b = lane; b - lane < batch; b += kWarp) {
      const float g = b < batch ? __ldg(grad + pin * batch + b) : 0.0f;
      const int64_t there = b < batch ? b : 0;
#pragma unroll
      for (int k = 0; k < kWarp; ++k) {
        const float value = __ldg(x + int64_t(__shfl_sync(kAllLanes, own, k)) * batch + there);
        sums[k] = fmaf(fmaf(2.0f, value, -1.0f), g, sums[k]);
      }
    }
    sum_lanes<kWarp, kWarp / 2>(sums);
    if (first + lane < choices) out[int64_t(pin) * choices + first + lane] = sums[0];
  }
}

// x_grad[features][batch]: what the pins that have a feature among their candidates pass back, each its share of it. A
// reader is pin * choices + candidate.
__global__ void input_gradient(Readers readers, const float* __restrict__ shares, int choices,
                               const float* __restrict__ grad, int64_t batch, float* __restrict__ x_grad) {
  follow();
  const int feature = int(blockIdx.x), begin = readers.start[feature], end = readers.start[feature + 1];
  for (int64_t b = int64_t(blockIdx.y) * blockDim.x + threadIdx.x; b < batch; b += int64_t(gridDim.y) * blockDim.x) {
    float sum = 0;
#pragma unroll 8
    for (int i = begin; i < end; ++i) {
      const int reader = __ldg(readers.pins + i);
      sum = fmaf(__ldg(shares + reader), __ldg(grad + reader / choices * batch + b), sum);
    }
    x_grad[feature * batch + b] = sum;
  }
}

extern "C" {

// x[features][batch], grad[pins][batch].
int difflut_cuda_candidates_gradient(const float* x, const int32_t* candidates, int64_t choices, const float* grad,
                                     int64_t batch, int64_t pins, float* out, cudaStream_t stream) {
  return enqueue(logits_gradient, unsigned(ceil_div(pins, kWarps)), kBlock, 0, stream, x, candidates, int(choices), grad,
                 batch, int(pins), out);
}

// shares[pins][choices], grad[pins][batch].
int difflut_cuda_candidates_input_gradient(const int32_t* start, const int32_t* readers, const float* shares,
                                           int64_t choices, const float* grad, int64_t batch, int64_t features,
                                           float* x_grad, cudaStream_t stream) {
  const int threads = threads_for(batch);
  const dim3 blocks(unsigned(features), unsigned(ceil_div(batch, threads) < 65535 ? ceil_div(batch, threads) : 65535));
  return enqueue(input_gradient, blocks, threads, 0, stream, Readers{start, readers}, shares, int(choices), grad, batch,
                 x_grad);
}

}  // extern "C"

}  // namespace difflut::candidates
