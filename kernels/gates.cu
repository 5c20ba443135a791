// The table of a mixture of the 16 functions of two inputs, weighed by a softmax, and its gradient.
#include "bank.cuh"

namespace difflut::gates {

constexpr int kGates = 16, kEntries = 4;

// Brings Count floats to or from registers; four at once where rows are `aligned` to 16 bytes.
template <int Count>
__device__ inline void load(const float* __restrict__ from, bool aligned, float (&to)[Count]) {
  if (aligned) {
#pragma unroll
    for (int i = 0; i < Count; i += 4) {
      const float4 four = __ldg(reinterpret_cast<const float4*>(from + i));
      to[i] = four.x, to[i + 1] = four.y, to[i + 2] = four.z, to[i + 3] = four.w;
    }
  } else {
#pragma unroll
    for (int i = 0; i < Count; ++i) to[i] = __ldg(from + i);
  }
}

template <int Count>
__device__ inline void store(float* to, bool aligned, const float (&from)[Count]) {
  if (aligned) {
#pragma unroll
    for (int i = 0; i < Count; i += 4)
      *reinterpret_cast<float4*>(to + i) = {from[i], from[i + 1], from[i + 2], from[i + 3]};
  } else {
#pragma unroll
    for (int i = 0; i < Count; ++i) to[i] = from[i];
  }
}

// The softmax of a row of logits.
struct Weights {
  float gate[kGates];

  __device__ Weights(const float* __restrict__ logits, bool aligned) {
    load(logits, aligned, gate);
    float largest = -INFINITY, sum = 0;
#pragma unroll
    for (int g = 0; g < kGates; ++g) largest = fmaxf(largest, gate[g]);
#pragma unroll
    for (int g = 0; g < kGates; ++g) gate[g] = expf(gate[g] - largest), sum += gate[g];
    const float share = 1 / sum;
#pragma unroll
    for (int g = 0; g < kGates; ++g) gate[g] *= share;
  }
};

// table[rows][4] from logits[rows][16]: bit a of a gate's number is its output at address a.
__global__ void mix(const float* __restrict__ logits, int64_t rows, float* __restrict__ table) {
  follow();
  const int64_t row = int64_t(blockIdx.x) * kBlock + threadIdx.x;
  if (row >= rows) return;
  const bool aligned = ((uintptr_t(logits) | uintptr_t(table)) & 15) == 0;
  const Weights weights(logits + row * kGates, aligned);
  float entries[kEntries];
#pragma unroll
  for (int a = 0; a < kEntries; ++a) {
    entries[a] = 0;
#pragma unroll
    for (int g = 0; g < kGates; ++g) entries[a] += g >> a & 1 ? weights.gate[g] : 0;
  }
  store(table + row * kEntries, aligned, entries);
}

__global__ void mix_gradient(const float* __restrict__ logits, const float* __restrict__ grad, int64_t rows,
                             float* __restrict__ logits_grad) {
  follow();
  const int64_t row = int64_t(blockIdx.x) * kBlock + threadIdx.x;
  if (row >= rows) return;
  const bool aligned = ((uintptr_t(logits) | uintptr_t(grad) | uintptr_t(logits_grad)) & 15) == 0;
  const Weights weights(logits + row * kGates, aligned);
  float upstream[kEntries], slope[kGates], mean = 0;
  load(grad + row * kEntries, aligned, upstream);
#pragma unroll
  for (int g = 0; g < kGates; ++g) {
    slope[g] = 0;
#pragma unroll
    for (int a = 0; a < kEntries; ++a) slope[g] += g >> a & 1 ? upstream[a] : 0;
    mean = fmaf(weights.gate[g], slope[g], mean);
  }
#pragma unroll
  for (int g = 0; g < kGates; ++g) slope[g] = weights.gate[g] * (slope[g] - mean);
  store(logits_grad + row * kGates, aligned, slope);
}

extern "C" {

int difflut_cuda_gates(const float* logits, float* table, int64_t rows, cudaStream_t stream) {
  if (rows == 0) return 0;
  return enqueue(mix, unsigned(ceil_div(rows, kBlock)), kBlock, 0, stream, logits, rows, table);
}

int difflut_cuda_gates_gradient(const float* logits, const float* grad, float* logits_grad, int64_t rows,
                                cudaStream_t stream) {
  if (rows == 0) return 0;
  return enqueue(mix_gradient, unsigned(ceil_div(rows, kBlock)), kBlock, 0, stream, logits, grad, rows, logits_grad);
}

}  // extern "C"

}  // namespace difflut::gates
