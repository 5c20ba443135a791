// The rest of a training step: choosing its samples, preparing tables, the loss, and the optimiser.
#include "bank.cuh"

namespace difflut::step {

// bits[features][words] and chosen_labels[batch] of the samples order[position], order[position + 1], ...; rows hold a
// sample's bits, 32 features a word. Moves the position on. A warp has 32 features of 32 samples.
__global__ void choose(const uint32_t* __restrict__ rows, int64_t row_words, const int64_t* __restrict__ labels,
                       const int64_t* __restrict__ order, int64_t* position, unsigned* ticket, int64_t batch,
                       int64_t features, uint32_t* __restrict__ bits, int64_t* __restrict__ chosen_labels) {
  follow();
  const int64_t words = ceil_div(batch, kSamples) * kQuad;
  const int64_t item = int64_t(blockIdx.x) * kWarps + threadIdx.x / kWarp, word = item / row_words;
  const int column = int(item - word * row_words), lane = lane_index();
  if (word < words) {
    const int64_t sample = word * kWarp + lane;
    const int64_t row = sample < batch ? order[*position + sample] : 0;
    const uint32_t value = sample < batch ? __ldg(rows + row * row_words + column) : 0;
    uint32_t mine = 0;
#pragma unroll
    for (int f = 0; f < kWarp; ++f) {
      const uint32_t packed = __ballot_sync(kAllLanes, value >> f & 1);
      mine = f == lane ? packed : mine;
    }
    const int64_t feature = int64_t(column) * kWarp + lane;
    if (feature < features) bits[feature * words + word] = mine;
    if (column == 0 && sample < batch) chosen_labels[sample] = labels[row];
  }
  if (is_last_block(ticket) && threadIdx.x == 0) *position += batch;
}

// Clamps values[rows][entries] to [-1, 1]; hard = 1 where values >= 0, slope = values @ smoothing where there is one.
__global__ void binarize(float* __restrict__ values, const float* __restrict__ smoothing, int64_t count, int entries,
                         float* __restrict__ hard, float* __restrict__ slope) {
  follow();
  __shared__ float clamped[kBlock];
  const int64_t index = int64_t(blockIdx.x) * kBlock + threadIdx.x;
  float value = 0;
  if (index < count) {
    value = values[index];
    value = value < -1 ? -1 : value > 1 ? 1 : value;  // NaN stays
    values[index] = value;
    hard[index] = value >= 0;
  }
  if (!slope) return;
  clamped[threadIdx.x] = value;
  __syncthreads();
  if (index >= count) return;
  const int entry = threadIdx.x % entries;
  const float* row = clamped + threadIdx.x - entry;
  float even = 0, odd = 0;
#pragma unroll 16
  for (int k = 0; k < entries; k += 2) {
    even = fmaf(row[k], __ldg(smoothing + k * entries + entry), even);
    odd = fmaf(row[k + 1], __ldg(smoothing + (k + 1) * entries + entry), odd);
  }
  slope[index] = even + odd;
}

template <class T>
__device__ T sum_of_warp(T value) {
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) value += __shfl_xor_sync(kAllLanes, value, distance);
  return value;
}

// The gradient of the mean cross entropy, [classes][batch]; adds the summed loss and the number of samples whose
// largest logit is their label's to totals[2]. A warp has one sample; parts holds two sums a block.
__global__ void cross_entropy(const float* __restrict__ logits, const int64_t* __restrict__ labels, int64_t batch,
                              int classes, float* __restrict__ grad, double* totals, double* parts, unsigned* ticket) {
  follow();
  __shared__ float losses[kWarps], hits[kWarps];
  const int warp = threadIdx.x / kWarp, lane = lane_index();
  const int64_t sample = int64_t(blockIdx.x) * kWarps + warp;
  float loss = 0;
  bool hit = false;
  if (sample < batch) {
    const int label = int(labels[sample]);
    float largest = -INFINITY, sum = 0;
    int best = classes;
    for (int c = lane; c < classes; c += kWarp) {
      const float logit = __ldg(logits + c * batch + sample);
      if (logit > largest || best == classes) largest = logit, best = c;
    }
#pragma unroll
    for (int distance = kWarp / 2; distance > 0; distance /= 2) {
      const float logit = __shfl_xor_sync(kAllLanes, largest, distance);
      const int c = __shfl_xor_sync(kAllLanes, best, distance);
      if (logit > largest || (logit == largest && c < best)) largest = logit, best = c;
    }
    for (int c = lane; c < classes; c += kWarp) sum += expf(__ldg(logits + c * batch + sample) - largest);
    const float log_sum = logf(sum_of_warp(sum));
    for (int c = lane; c < classes; c += kWarp) {
      const float log_share = __ldg(logits + c * batch + sample) - largest - log_sum;
      if (c == label) loss = -log_share;
      grad[c * batch + sample] = (expf(log_share) - (c == label)) / batch;
    }
    loss = sum_of_warp(loss);
    hit = best == label;
  }
  if (lane == 0) losses[warp] = loss, hits[warp] = hit;
  __syncthreads();
  if (threadIdx.x < 2) {
    const float* values = threadIdx.x ? hits : losses;
    double total = 0;
    for (int w = 0; w < kWarps; ++w) total += values[w];
    parts[2 * blockIdx.x + threadIdx.x] = total;
  }
  if (is_last_block(ticket) && warp < 2) {
    double total = 0;
    for (int b = lane; b < gridDim.x; b += kWarp) total += __ldcg(parts + 2 * b + warp);
    total = sum_of_warp(total);
    if (lane == 0) totals[warp] += total;
  }
}

constexpr int kMostTensors = 64;
constexpr int kChunk = 4 * kBlock;  // entries of a block

struct Parameters {
  float *weight[kMostTensors], *mean[kMostTensors], *square[kMostTensors];
  const float* grad[kMostTensors];
  int64_t count[kMostTensors];
  int first_block[kMostTensors + 1];
};

struct Rule {
  float one_minus_beta1, beta2, one_minus_beta2, step_size, scale, eps;

  __device__ void operator()(float& weight, float grad, float& mean, float& square) const {
    mean = fmaf(one_minus_beta1, grad - mean, mean);
    square = fmaf(one_minus_beta2 * grad, grad, beta2 * square);
    weight -= step_size * mean / (sqrtf(square) * scale + eps);
  }
};

// Adam for several tensors. The rate, the number of steps done and the powers beta1**step and beta2**step of the next
// one are on the device, so that a graph can be replayed.
__global__ void __launch_bounds__(kBlock) adam(const __grid_constant__ Parameters parameters, const double* rate,
                                               float* steps, double* powers, unsigned* ticket, double beta1,
                                               double beta2, float eps) {
  follow();
  const Rule rule{float(1 - beta1), float(beta2), float(1 - beta2), float(__ldcg(rate) / (1 - __ldcg(powers))),
                  float(1 / sqrt(1 - __ldcg(powers + 1))), eps};
  int tensor = 0;
  while (int(blockIdx.x) >= parameters.first_block[tensor + 1] && tensor < kMostTensors - 1) ++tensor;
  const int64_t first = int64_t(blockIdx.x - parameters.first_block[tensor]) * kChunk, count = parameters.count[tensor];
  float *weight = parameters.weight[tensor] + first, *mean = parameters.mean[tensor] + first;
  float* square = parameters.square[tensor] + first;
  const float* grad = parameters.grad[tensor] + first;
  const bool aligned = ((uintptr_t(weight) | uintptr_t(mean) | uintptr_t(square) | uintptr_t(grad)) & 15) == 0;
  if (aligned && first + kChunk <= count) {
    const float4 g = __ldg(reinterpret_cast<const float4*>(grad) + threadIdx.x);
    float4* places[] = {reinterpret_cast<float4*>(weight) + threadIdx.x, reinterpret_cast<float4*>(mean) + threadIdx.x,
                        reinterpret_cast<float4*>(square) + threadIdx.x};
    float4 w = *places[0], m = *places[1], v = *places[2];
    rule(w.x, g.x, m.x, v.x), rule(w.y, g.y, m.y, v.y), rule(w.z, g.z, m.z, v.z), rule(w.w, g.w, m.w, v.w);
    *places[0] = w, *places[1] = m, *places[2] = v;
  } else {
    for (int i = threadIdx.x; i < kChunk && first + i < count; i += kBlock)
      rule(weight[i], grad[i], mean[i], square[i]);
  }
  if (is_last_block(ticket) && threadIdx.x == 0) {
    *steps += 1;
    powers[0] *= beta1;
    powers[1] *= beta2;
  }
}

extern "C" {

int difflut_cuda_choose(const uint32_t* rows, int64_t row_words, const int64_t* labels, const int64_t* order,
                        int64_t* position, unsigned* ticket, int64_t batch, int64_t features, uint32_t* bits,
                        int64_t* chosen_labels, cudaStream_t stream) {
  const int64_t warps = ceil_div(batch, kSamples) * kQuad * row_words;
  return enqueue(choose, unsigned(ceil_div(warps, kWarps)), kBlock, 0, stream, rows, row_words, labels, order, position,
                 ticket, batch, features, bits, chosen_labels);
}

int difflut_cuda_binarize(float* values, const float* smoothing, float* hard, float* slope, int64_t count,
                          int64_t entries, cudaStream_t stream) {
  if (count == 0) return 0;
  return enqueue(binarize, unsigned(ceil_div(count, kBlock)), kBlock, 0, stream, values, smoothing, count, int(entries),
                 hard, slope);
}

// parts needs two numbers for each 8 samples.
int difflut_cuda_cross_entropy(const float* logits, const int64_t* labels, float* grad, double* totals, double* parts,
                               unsigned* ticket, int64_t batch, int64_t classes, cudaStream_t stream) {
  if (batch == 0) return 0;
  return enqueue(cross_entropy, unsigned(ceil_div(batch, kWarps)), kBlock, 0, stream, logits, labels, batch,
                 int(classes), grad, totals, parts, ticket);
}

// tensors[count][5], on the host: the addresses of weight, grad, mean and square, and the number of entries.
int difflut_cuda_adam(const int64_t* tensors, int64_t count, const double* rate, float* steps, double* powers,
                      unsigned* ticket, double beta1, double beta2, double eps, cudaStream_t stream) {
  if (count > kMostTensors) return cudaErrorInvalidValue;
  Parameters parameters{};
  for (int i = 0; i < count; ++i) {
    const int64_t* row = tensors + 5 * i;
    parameters.weight[i] = reinterpret_cast<float*>(row[0]);
    parameters.grad[i] = reinterpret_cast<const float*>(row[1]);
    parameters.mean[i] = reinterpret_cast<float*>(row[2]);
    parameters.square[i] = reinterpret_cast<float*>(row[3]);
    parameters.count[i] = row[4];
    parameters.first_block[i + 1] = parameters.first_block[i] + int(ceil_div(row[4], kChunk));
  }
  const int blocks = parameters.first_block[count];  // without any the step is counted all the same
  return enqueue(adam, blocks > 0 ? blocks : 1, kBlock, 0, stream, parameters, rate, steps, powers, ticket, beta1,
                 beta2, float(eps));
}

}  // extern "C"

}  // namespace difflut::step
