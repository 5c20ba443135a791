// What surrounds the network in a training step: choosing its samples, preparing tables, and the loss.
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

// parts has room for two numbers a block of 8 samples.
int difflut_cuda_cross_entropy(const float* logits, const int64_t* labels, float* grad, double* totals, double* parts,
                               unsigned* ticket, int64_t batch, int64_t classes, cudaStream_t stream) {
  if (batch == 0) return 0;
  return enqueue(cross_entropy, unsigned(ceil_div(batch, kWarps)), kBlock, 0, stream, logits, labels, batch,
                 int(classes), grad, totals, parts, ticket);
}

}  // extern "C"

}  // namespace difflut::step
