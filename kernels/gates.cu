// The table of a mixture of the 16 functions of two inputs, weighed by a softmax, and its gradient.
#include "bank.cuh"

namespace difflut::gates {

constexpr int kGates = 16, kEntries = 4;

// The softmax of a row of logits.
struct Weights {
  float gate[kGates];

  __device__ explicit Weights(const float* __restrict__ logits) {
    float largest = -INFINITY, sum = 0;
#pragma unroll
    for (int g = 0; g < kGates; ++g) gate[g] = __ldg(logits + g), largest = fmaxf(largest, gate[g]);
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
  const Weights weights(logits + row * kGates);
#pragma unroll
  for (int a = 0; a < kEntries; ++a) {
    float entry = 0;
#pragma unroll
    for (int g = 0; g < kGates; ++g) entry += g >> a & 1 ? weights.gate[g] : 0;
    table[row * kEntries + a] = entry;
  }
}

__global__ void mix_gradient(const float* __restrict__ logits, const float* __restrict__ grad, int64_t rows,
                             float* __restrict__ logits_grad) {
  follow();
  const int64_t row = int64_t(blockIdx.x) * kBlock + threadIdx.x;
  if (row >= rows) return;
  const Weights weights(logits + row * kGates);
  float slope[kGates], mean = 0;
#pragma unroll
  for (int g = 0; g < kGates; ++g) {
    slope[g] = 0;
#pragma unroll
    for (int a = 0; a < kEntries; ++a) slope[g] += g >> a & 1 ? __ldg(grad + row * kEntries + a) : 0;
    mean = fmaf(weights.gate[g], slope[g], mean);
  }
#pragma unroll
  for (int g = 0; g < kGates; ++g) logits_grad[row * kGates + g] = weights.gate[g] * (slope[g] - mean);
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
