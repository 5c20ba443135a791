// Learnable wiring: the input that each pin likes best, and what its logits learn.
#include "bank.cuh"

namespace difflut::select {

constexpr int kColumns = 4;              // pins of a lane, 32 apart
constexpr int kTile = kColumns * kWarp;  // pins of a block
constexpr int kRows = 2;                 // inputs of a warp at a time
constexpr int kSteps = 3;                // that it takes one after the other

// A number that is larger where the logit is, and among equal ones where the input's number is smaller; never 0.
__device__ inline unsigned long long key_of(float logit, int input) {
  const uint32_t bits = __float_as_uint(logit);
  const uint32_t ordered = bits >> 31 ? ~bits : bits | 0x80000000u;
  return static_cast<unsigned long long>(ordered) << 32 | (0xffffffffu - uint32_t(input));
}

__device__ inline void keep_largest(const unsigned long long (*best)[kTile], int first, int pins,
                                    unsigned long long* keys) {
  const int pin = first + int(threadIdx.x);
  if (threadIdx.x >= kTile || pin >= pins) return;
  unsigned long long key = 0;
  for (int w = 0; w < kWarps; ++w) key = best[w][threadIdx.x] > key ? best[w][threadIdx.x] : key;
  atomicMax(keys + pin, key);
}

// keys[pins], 0 before: that of the largest logit [inputs][pins].
__global__ void argmax(const float* __restrict__ logits, int inputs, int pins, unsigned long long* keys) {
  __shared__ unsigned long long best[kWarps][kTile];
  const int warp = threadIdx.x / kWarp, lane = lane_index(), first = int(blockIdx.x) * kTile;
  float largest[kColumns];
  int input[kColumns];
#pragma unroll
  for (int k = 0; k < kColumns; ++k) largest[k] = -INFINITY, input[k] = inputs - 1;
#pragma unroll 4
  for (int i = int(blockIdx.y) * kWarps + warp; i < inputs; i += int(gridDim.y) * kWarps)
#pragma unroll
    for (int k = 0; k < kColumns; ++k) {
      const int pin = first + k * kWarp + lane;
      const float logit = pin < pins ? __ldg(logits + int64_t(i) * pins + pin) : 0.0f;
      if (logit > largest[k]) largest[k] = logit, input[k] = i;
    }
#pragma unroll
  for (int k = 0; k < kColumns; ++k) best[warp][k * kWarp + lane] = key_of(largest[k], input[k]);
  __syncthreads();
  keep_largest(best, first, pins, keys);
}

__global__ void read_keys(const unsigned long long* __restrict__ keys, int pins, int32_t* __restrict__ wiring) {
  const int pin = int(blockIdx.x) * kBlock + threadIdx.x;
  if (pin < pins) wiring[pin] = int32_t(0xffffffffu - uint32_t(keys[pin]));
}

// signs[features][2][padded batch]: 1 or -1 as bfloat16, twice. A thread has eight samples.
__global__ void signs(const uint32_t* __restrict__ bits, int64_t eights, int64_t row_eights, uint4* __restrict__ out) {
  const int64_t index = int64_t(blockIdx.x) * kBlock + threadIdx.x;
  if (index >= eights) return;
  const uint32_t eight = bits[index / 4] >> (index % 4 * 8);
  uint32_t pairs[4];
#pragma unroll
  for (int i = 0; i < 4; ++i)
    pairs[i] = (eight >> (2 * i) & 1 ? 0x3f80u : 0xbf80u) | (eight >> (2 * i + 1) & 1 ? 0x3f800000u : 0xbf800000u);
  uint4* row = out + index / row_eights * 2 * row_eights + index % row_eights;
  row[0] = row[row_eights] = {pairs[0], pairs[1], pairs[2], pairs[3]};
}


// Adam on logits[inputs][pins] whose gradient is (2x - 1)^T grad for packed x and grad[pins][32 * Words], without
// writing that gradient down; keys[pins], 0 before, are those of the new logits. A block has 128 pins.
template <int Words>
__global__ void __launch_bounds__(kBlock, 4)
    adam(float* __restrict__ weight, float* __restrict__ mean, float* __restrict__ square, int inputs, int pins,
         const uint32_t* __restrict__ bits, int64_t row_words, const float* __restrict__ grad, int64_t row_samples,
         const double* rate, const double* powers, double beta1, double beta2, float eps, unsigned long long* keys) {
  extern __shared__ __align__(16) float tile[];  // [sample][kTile + 1]; at last the keys of the warps
  constexpr int kStride = kTile + 1;
  const int warp = threadIdx.x / kWarp, lane = lane_index(), first = int(blockIdx.x) * kTile;
  for (int p = warp; p < kTile; p += kWarps)
#pragma unroll
    for (int w = 0; w < Words; ++w)
      tile[(w * kWarp + lane) * kStride + p] =
          first + p < pins ? __ldg(grad + (first + p) * row_samples + w * kWarp + lane) : 0.0f;
  __syncthreads();

  const float step_size = float(__ldcg(rate) / (1 - __ldcg(powers)));
  const float scale = float(1 / sqrt(1 - __ldcg(powers + 1)));
  const float rest1 = float(1 - beta1), keep2 = float(beta2), rest2 = float(1 - beta2);
  unsigned long long largest[kColumns] = {};
  for (int step = 0; step < kSteps; ++step) {
    const int row = ((int(blockIdx.y) * kSteps + step) * kWarps + warp) * kRows;
    if (row >= inputs) break;
    float w[kRows][kColumns], m[kRows][kColumns], v[kRows][kColumns];
#pragma unroll
    for (int r = 0; r < kRows; ++r)
#pragma unroll
      for (int k = 0; k < kColumns; ++k) {
        const int pin = first + k * kWarp + lane;
        const bool inside = row + r < inputs && pin < pins;
        const int64_t at = int64_t(row + r) * pins + pin;
        w[r][k] = inside ? weight[at] : 0;
        m[r][k] = inside ? mean[at] : 0;
        v[r][k] = inside ? square[at] : 0;
      }
    float sums[kRows][kColumns] = {};
#pragma unroll
    for (int word = 0; word < Words; ++word) {
      uint32_t x[kRows];
#pragma unroll
      for (int r = 0; r < kRows; ++r) x[r] = row + r < inputs ? __ldg(bits + (row + r) * row_words + word) : 0;
#pragma unroll
      for (int b = 0; b < kWarp; ++b) {
        float g[kColumns];
#pragma unroll
        for (int k = 0; k < kColumns; ++k) g[k] = tile[(word * kWarp + b) * kStride + k * kWarp + lane];
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
          const float sign = __uint_as_float((~x[r] << (31 - b) & 0x80000000u) | 0x3f800000u);
#pragma unroll
          for (int k = 0; k < kColumns; ++k) sums[r][k] = fmaf(sign, g[k], sums[r][k]);
        }
      }
    }

#pragma unroll
    for (int k = 0; k < kColumns; ++k) {
      const int pin = first + k * kWarp + lane;
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        if (row + r >= inputs || pin >= pins) continue;
        const int64_t at = int64_t(row + r) * pins + pin;
        const float g = sums[r][k], new_mean = fmaf(rest1, g - m[r][k], m[r][k]);
        const float new_square = fmaf(rest2 * g, g, keep2 * v[r][k]);
        const float updated = w[r][k] - step_size * new_mean / (sqrtf(new_square) * scale + eps);
        mean[at] = new_mean;
        square[at] = new_square;
        weight[at] = updated;
        const unsigned long long key = key_of(updated, row + r);
        largest[k] = key > largest[k] ? key : largest[k];
      }
    }
  }
  __syncthreads();
  auto* best = reinterpret_cast<unsigned long long(*)[kTile]>(tile);
#pragma unroll
  for (int k = 0; k < kColumns; ++k) best[warp][k * kWarp + lane] = largest[k];
  __syncthreads();
  keep_largest(best, first, pins, keys);
}

template <int Words>
int launch_adam(float* weight, float* mean, float* square, int64_t inputs, int64_t pins, const uint32_t* bits,
                int64_t row_words, const float* grad, int64_t row_samples, const double* rate, const double* powers,
                double beta1, double beta2, double eps, unsigned long long* keys, cudaStream_t stream) {
  constexpr int kBytes = sizeof(float) * Words * kWarp * (kTile + 1);
  const auto kernel = adam<Words>;
  const dim3 blocks(unsigned(ceil_div(pins, kTile)), unsigned(ceil_div(inputs, kRows * kWarps * kSteps)));
  kernel<<<blocks, kBlock, kBytes, stream>>>(weight, mean, square, int(inputs), int(pins), bits, row_words, grad,
                                             row_samples, rate, powers, beta1, beta2, float(eps), keys);
  return cudaGetLastError();
}

extern "C" {

// keys[pins] is 0 before.
int difflut_cuda_argmax(const float* logits, int64_t inputs, int64_t pins, unsigned long long* keys,
                        cudaStream_t stream) {
  const dim3 blocks(unsigned(ceil_div(pins, kTile)), unsigned(ceil_div(inputs, 16 * kWarps)));
  argmax<<<blocks, kBlock, 0, stream>>>(logits, int(inputs), int(pins), keys);
  return cudaGetLastError();
}

int difflut_cuda_read_keys(const unsigned long long* keys, int64_t pins, int32_t* wiring, cudaStream_t stream) {
  read_keys<<<unsigned(ceil_div(pins, kBlock)), kBlock, 0, stream>>>(keys, int(pins), wiring);
  return cudaGetLastError();
}

int difflut_cuda_signs(const uint32_t* bits, int64_t features, int64_t words, uint4* out, cudaStream_t stream) {
  const int64_t eights = features * words * 4;
  signs<<<unsigned(ceil_div(eights, kBlock)), kBlock, 0, stream>>>(bits, eights, words * 4, out);
  return cudaGetLastError();
}

// At most 64 samples; grad[pins][row_samples]; keys[pins] is 0 before.
int difflut_cuda_select_adam(float* weight, float* mean, float* square, int64_t inputs, int64_t pins,
                             const uint32_t* bits, int64_t row_words, const float* grad, int64_t row_samples,
                             int64_t batch, const double* rate, const double* powers, double beta1, double beta2,
                             double eps, unsigned long long* keys, cudaStream_t stream) {
  const auto launch = batch <= kWarp ? launch_adam<1> : launch_adam<2>;
  return launch(weight, mean, square, inputs, pins, bits, row_words, grad, row_samples, rate, powers, beta1, beta2, eps,
                keys, stream);
}

}  // extern "C"

}  // namespace difflut::select
