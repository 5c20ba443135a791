// Learnable wiring where a pin chooses among few candidates: its choice, and gradients of the logits and of the
// inputs.
#include "bank.cuh"

namespace difflut::candidates {

constexpr int kFours = 8;  // groups of four samples in a word

// Whether a logit is larger, as torch has it: NaN is the largest.
__device__ inline bool is_larger(float a, float b) { return a > b || (a != a && b == b); }

// out[pins]: the candidate with the largest of logits[pins][choices], of equal ones the first; a warp has a pin.
__global__ void best(const float* __restrict__ logits, const int32_t* __restrict__ candidates, int choices, int pins,
                     int32_t* __restrict__ out) {
  follow();
  const int pin = row_of_warp();
  if (pin >= pins) return;
  logits += int64_t(pin) * choices, candidates += int64_t(pin) * choices;
  float largest = -INFINITY;
  int choice = choices;
  const auto compare = [&](float logit, int other) {
    if (is_larger(logit, largest) || (!is_larger(largest, logit) && other < choice)) largest = logit, choice = other;
  };
  for (int k = lane_index(); k < choices; k += kWarp) compare(__ldg(logits + k), k);
#pragma unroll
  for (int distance = kWarp / 2; distance; distance /= 2) {
    const float logit = __shfl_xor_sync(kAllLanes, largest, distance);
    compare(logit, __shfl_xor_sync(kAllLanes, choice, distance));
  }
  if (lane_index() == 0) out[pin] = __ldg(candidates + choice);
}

// out[pins][choices]: the softmax of the logits times `scale`; a warp has a pin.
__global__ void shares(const float* __restrict__ logits, int choices, int pins, float scale, float* __restrict__ out) {
  follow();
  const int pin = row_of_warp();
  if (pin >= pins) return;
  logits += int64_t(pin) * choices, out += int64_t(pin) * choices;
  float largest = -INFINITY, sum = 0;
  for (int k = lane_index(); k < choices; k += kWarp) largest = fmaxf(largest, __ldg(logits + k) * scale);
#pragma unroll
  for (int distance = kWarp / 2; distance; distance /= 2)
    largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, distance));
  for (int k = lane_index(); k < choices; k += kWarp) sum += expf(__ldg(logits + k) * scale - largest);
  sum_lanes<1, kWarp / 2>(&sum);
  for (int k = lane_index(); k < choices; k += kWarp) out[k] = expf(__ldg(logits + k) * scale - largest) / sum;
}

// out[pins][choices]: 2x - 1 of each candidate times the gradient of its pin, summed over the batch; a warp has a pin.
// It takes 32 candidates at a time, so that a value of the gradient is read once for all of them.
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

// The sums g0 s0 + g1 s1 + g2 s2 + g3 s3 of every four samples in a quad of words, s = 1 or -1 by the bits of an index,
// sums[four][16]. Lanes that read of the same four have no bank conflicts, whatever their indices.
__device__ inline void sum_fours(const float* __restrict__ grad, int left, float* sums) {
#pragma unroll
  for (int u = 0; u < kQuad; ++u) {
    const int four = u * kFours + lane_index() / 4, part = lane_index() % 4;
    float g[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) g[i] = 4 * four + i < left ? __ldg(grad + 4 * four + i) : 0.0f;
    const float sum = g[0] + g[1], difference = g[0] - g[1];
    const float rest = (part & 1 ? g[2] : -g[2]) + (part & 2 ? g[3] : -g[3]);
    reinterpret_cast<float4*>(sums)[4 * four + part] = {rest - sum, rest + difference, rest - difference, rest + sum};
  }
}

// What logits_gradient gives, for packed x. A lane has a candidate, and reads four samples at a time.
__global__ void logits_gradient_of_bits(const uint4* __restrict__ bits, const int32_t* __restrict__ candidates,
                                        int choices, const float* __restrict__ grad, int64_t batch, int pins,
                                        float* __restrict__ out) {
  follow();
  __shared__ __align__(16) float tables[kWarps][kQuad * kFours * 16];
  const int pin = row_of_warp(), lane = lane_index();
  if (pin >= pins) return;
  float* sums = tables[threadIdx.x / kWarp];
  const int64_t quads = ceil_div(batch, kSamples);
  for (int first = 0; first < choices; first += kWarp) {
    const int choice = first + lane < choices ? first + lane : first;
    const uint4* own = bits + __ldg(candidates + int64_t(pin) * choices + choice) * quads;
    float total = 0;
    for (int64_t quad = 0; quad < quads; ++quad) {
      const uint4 x = __ldg(own + quad);
      __syncwarp();
      sum_fours(grad + pin * batch + quad * kSamples, samples_left(batch, quad), sums);
      __syncwarp();
      const uint32_t words[kQuad] = {x.x, x.y, x.z, x.w};
#pragma unroll
      for (int u = 0; u < kQuad; ++u)
#pragma unroll
        for (int four = 0; four < kFours; ++four)
          total += sums[(u * kFours + four) * 16 + (words[u] >> (4 * four) & 15)];
    }
    if (first + lane < choices) out[int64_t(pin) * choices + choice] = total;
  }
}

// x_grad[features][batch]: what the pins that have a feature among their candidates pass back, each its share of it. A
// reader is pin * choices + candidate. A thread has Width samples, as many as it may read at once.
template <int Width>
__global__ void input_gradient(Readers readers, const float* __restrict__ shares, int choices,
                               const float* __restrict__ grad, int64_t batch, float* __restrict__ x_grad) {
  follow();
  const int feature = int(blockIdx.x), begin = readers.start[feature], end = readers.start[feature + 1];
  const int64_t stride = int64_t(gridDim.y) * blockDim.x * Width;
  for (int64_t b = (int64_t(blockIdx.y) * blockDim.x + threadIdx.x) * Width; b < batch; b += stride) {
    float sums[Width] = {};
#pragma unroll 4  // so that four reads are on their way at once
    for (int i = begin; i < end; ++i) {
      const int reader = __ldg(readers.pins + i);
      const float share = __ldg(shares + reader), *row = grad + reader / choices * batch + b;
      if constexpr (Width == 4) {
        const float4 g = __ldg(reinterpret_cast<const float4*>(row));
        sums[0] = fmaf(share, g.x, sums[0]), sums[1] = fmaf(share, g.y, sums[1]);
        sums[2] = fmaf(share, g.z, sums[2]), sums[3] = fmaf(share, g.w, sums[3]);
      } else {
        sums[0] = fmaf(share, __ldg(row), sums[0]);
      }
    }
#pragma unroll
    for (int u = 0; u < Width; ++u)
      if (b + u < batch) x_grad[feature * batch + b + u] = sums[u];
  }
}

extern "C" {

// out[pins] from logits[pins][choices].
int difflut_cuda_best_candidates(const float* logits, const int32_t* candidates, int64_t choices, int64_t pins,
                                 int32_t* out, cudaStream_t stream) {
  if (pins == 0) return 0;
  return enqueue(best, unsigned(ceil_div(pins, kWarps)), kBlock, 0, stream, logits, candidates, int(choices), int(pins),
                 out);
}

// out[pins][choices] from logits[pins][choices].
int difflut_cuda_candidate_shares(const float* logits, int64_t choices, int64_t pins, double tau, float* out,
                                  cudaStream_t stream) {
  if (pins == 0) return 0;
  return enqueue(shares, unsigned(ceil_div(pins, kWarps)), kBlock, 0, stream, logits, int(choices), int(pins),
                 float(1 / tau), out);
}

// x[features][batch], grad[pins][batch].
int difflut_cuda_candidates_gradient(const float* x, const int32_t* candidates, int64_t choices, const float* grad,
                                     int64_t batch, int64_t pins, float* out, cudaStream_t stream) {
  return enqueue(logits_gradient, unsigned(ceil_div(pins, kWarps)), kBlock, 0, stream, x, candidates, int(choices),
                 grad, batch, int(pins), out);
}

// bits[features][words], grad[pins][batch].
int difflut_cuda_candidates_gradient_of_bits(const uint4* bits, const int32_t* candidates, int64_t choices,
                                             const float* grad, int64_t batch, int64_t pins, float* out,
                                             cudaStream_t stream) {
  return enqueue(logits_gradient_of_bits, unsigned(ceil_div(pins, kWarps)), kBlock, 0, stream, bits, candidates,
                 int(choices), grad, batch, int(pins), out);
}

// shares[pins][choices], grad[pins][batch].
int difflut_cuda_candidates_input_gradient(const int32_t* start, const int32_t* readers, const float* shares,
                                           int64_t choices, const float* grad, int64_t batch, int64_t features,
                                           float* x_grad, cudaStream_t stream) {
  const bool by_fours = batch % 4 == 0 && uintptr_t(grad) % 16 == 0;
  const int64_t items = ceil_div(batch, by_fours ? 4 : 1);
  const int threads = threads_for(items);
  const dim3 blocks(unsigned(features), unsigned(ceil_div(items, threads) < 65535 ? ceil_div(items, threads) : 65535));
  return enqueue(by_fours ? input_gradient<4> : input_gradient<1>, blocks, threads, 0, stream, Readers{start, readers},
                 shares, int(choices), grad, batch, x_grad);
}

}  // extern "C"

}  // namespace difflut::candidates
