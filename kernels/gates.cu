// The tables of mixtures of the 16 functions of two inputs, weighed by a softmax, and their gradients, of some banks at
// once.
#include "bank.cuh"

namespace difflut::gates {

constexpr int kGates = 16, kEntries = 4;
constexpr int kMostBanks = 3;  // `MOST_BANKS` in gates.py

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

// What a thread has of one of the banks, whose rows are counted one after the other.
struct Row {
  const float *logits, *grad;
  float* out;
};

struct Banks {
  const float *logits[kMostBanks], *grad[kMostBanks];
  float* out[kMostBanks];
  int64_t rows[kMostBanks];

  __host__ __device__ int64_t total() const {
    int64_t sum = 0;
    for (int b = 0; b < kMostBanks; ++b) sum += rows[b];
    return sum;
  }

  // Rows of the output have so many floats.
  __device__ Row row(int64_t number, int out_width) const {
#pragma unroll
    for (int b = 0; b < kMostBanks; ++b) {
      if (number < rows[b])
        return {logits[b] + number * kGates, grad[b] + number * kEntries, out[b] + number * out_width};
      number -= rows[b];
    }
    return {};
  }
};

// Tables [rows][4] from logits [rows][16]: bit a of a gate's number is its output at address a.
__global__ void mix(Banks banks) {
  follow();
  const int64_t number = int64_t(blockIdx.x) * kBlock + threadIdx.x;
  const Row row = banks.row(number, kEntries);
  if (!row.logits) return;
  const bool aligned = ((uintptr_t(row.logits) | uintptr_t(row.out)) & 15) == 0;
  const Weights weights(row.logits, aligned);
  float entries[kEntries];
#pragma unroll
  for (int a = 0; a < kEntries; ++a) {
    entries[a] = 0;
#pragma unroll
    for (int g = 0; g < kGates; ++g) entries[a] += g >> a & 1 ? weights.gate[g] : 0;
  }
  store(row.out, aligned, entries);
}

__global__ void mix_gradient(Banks banks) {
  follow();
  const int64_t number = int64_t(blockIdx.x) * kBlock + threadIdx.x;
  const Row row = banks.row(number, kGates);
  if (!row.logits) return;
  const bool aligned = ((uintptr_t(row.logits) | uintptr_t(row.grad) | uintptr_t(row.out)) & 15) == 0;
  const Weights weights(row.logits, aligned);
  float upstream[kEntries], slope[kGates], mean = 0;
  load(row.grad, aligned, upstream);
#pragma unroll
  for (int g = 0; g < kGates; ++g) {
    slope[g] = 0;
#pragma unroll
    for (int a = 0; a < kEntries; ++a) slope[g] += g >> a & 1 ? upstream[a] : 0;
    mean = fmaf(weights.gate[g], slope[g], mean);
  }
#pragma unroll
  for (int g = 0; g < kGates; ++g) slope[g] = weights.gate[g] * (slope[g] - mean);
  store(row.out, aligned, slope);
}

inline int launch(void (*kernel)(Banks), const Banks& banks, cudaStream_t stream) {
  if (banks.total() == 0) return 0;
  return enqueue(kernel, unsigned(ceil_div(banks.total(), kBlock)), kBlock, 0, stream, banks);
}

extern "C" {

// Of kMostBanks banks: tables [rows][4] of each; a bank that there is not has no rows.
int difflut_cuda_gates(const float* logits0, const float* logits1, const float* logits2, float* table0, float* table1,
                       float* table2, int64_t rows0, int64_t rows1, int64_t rows2, cudaStream_t stream) {
  return launch(mix, {{logits0, logits1, logits2}, {}, {table0, table1, table2}, {rows0, rows1, rows2}}, stream);
}

// The gradients of the logits, [rows][16] of each bank.
int difflut_cuda_gates_gradient(const float* logits0, const float* logits1, const float* logits2, const float* grad0,
                                const float* grad1, const float* grad2, float* out0, float* out1, float* out2,
                                int64_t rows0, int64_t rows1, int64_t rows2, cudaStream_t stream) {
  const Banks banks{{logits0, logits1, logits2}, {grad0, grad1, grad2}, {out0, out1, out2}, {rows0, rows1, rows2}};
  return launch(mix_gradient, banks, stream);
}

}  // extern "C"

}  // namespace difflut::gates
