// Learnable wiring: the input with the largest logit of each pin, and a step of Adam for the logits.
#include "bank.cuh"

namespace difflut::select {

constexpr int kColumns = 4;              // pins of a lane
constexpr int kTile = kColumns * kWarp;  // pins of a block
constexpr int kQuads = 8;                // groups of four samples in a word
constexpr int kBlocks = 1188;            // of Adam's grid: nine for each of the 132 multiprocessors of an H100 or H200

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
  follow();
  __shared__ unsigned long long best[kWarps][kTile];
  const int warp = threadIdx.x / kWarp, lane = lane_index(), first = int(blockIdx.x) * kTile;
  float largest[kColumns];
  int input[kColumns];
#pragma unroll
  for (int k = 0; k < kColumns; ++k) largest[k] = -INFINITY, input[k] = inputs - 1;
#pragma unroll 4  // so that several rows are on their way at once
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
  follow();
  const int pin = int(blockIdx.x) * kBlock + threadIdx.x;
  if (pin < pins) wiring[pin] = int32_t(0xffffffffu - uint32_t(keys[pin]));
}

// signs[features][2][padded batch]: 1 or -1 as bfloat16, twice. A thread has eight samples.
__global__ void signs(const uint32_t* __restrict__ bits, int64_t eights, int64_t row_eights, uint4* __restrict__ out) {
  follow();
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

__device__ inline float root(float x) {
  float y;
  asm("sqrt.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// The first `count` of four neighbours; all at once where rows are `vector`s.
__device__ inline void load(const float* from, int count, bool vector, float (&to)[kColumns]) {
  if (vector) {
    const float4 all = count > 0 ? *reinterpret_cast<const float4*>(from) : float4{};
    to[0] = all.x, to[1] = all.y, to[2] = all.z, to[3] = all.w;
  } else {
#pragma unroll
    for (int k = 0; k < kColumns; ++k) to[k] = k < count ? from[k] : 0.0f;
  }
}

__device__ inline void store(float* to, int count, bool vector, const float (&from)[kColumns]) {
  if (vector) {
    if (count > 0) *reinterpret_cast<float4*>(to) = {from[0], from[1], from[2], from[3]};
  } else {
#pragma unroll
    for (int k = 0; k < kColumns; ++k)
      if (k < count) to[k] = from[k];
  }
}

// Adam with decoupled weight decay on logits[inputs][pins] whose gradient is (2x - 1)^T grad for packed x and
// grad[pins][samples], without writing that gradient down; keys[pins], 0 before, are those of the new logits. A block
// has 128 pins, a lane four of them.
//
// A gradient is a sum over quads of samples, +-g0 +-g1 +-g2 +-g3. Up to its sign there are eight such sums for a quad
// and a pin, and a block makes them all beforehand.
template <int Words>
__global__ void __launch_bounds__(kBlock, Words == 1 ? 3 : 2)
    adam(float* __restrict__ weight, float* __restrict__ mean, float* __restrict__ square, int inputs, int pins,
         const uint32_t* __restrict__ bits, int64_t row_words, const float* __restrict__ grad, int64_t row_samples,
         const double* rate, const double* powers, double beta1, double beta2, float eps, double weight_decay,
         unsigned long long* keys) {
  follow();
  extern __shared__ __align__(16) float sums[];  // [quad of samples][8][kTile]; at last the keys of the warps
  const int warp = threadIdx.x / kWarp, first = int(blockIdx.x) * kTile, pin = first + kColumns * lane_index();
  for (int i = threadIdx.x; i < Words * kQuads * kTile; i += kBlock) {
    const int p = i % kTile, quad = i / kTile;
    float g[4] = {};
    if (first + p < pins)
      for (int u = 0; u < 4; ++u) g[u] = __ldg(grad + (first + p) * row_samples + quad * 4 + u);
#pragma unroll
    for (int s = 0; s < 8; ++s)
      sums[(quad * 8 + s) * kTile + p] =
          g[3] + (s & 1 ? g[0] : -g[0]) + (s & 2 ? g[1] : -g[1]) + (s & 4 ? g[2] : -g[2]);
  }
  __syncthreads();

  const float step_size = float(__ldcg(rate) / (1 - __ldcg(powers)));
  const float scale = float(1 / sqrt(1 - __ldcg(powers + 1)));
  const float keep = float(1 - __ldcg(rate) * weight_decay);
  const float rest1 = float(1 - beta1), keep2 = float(beta2), rest2 = float(1 - beta2);
  const int count = pins - pin < kColumns ? pins - pin : kColumns, stride = int(gridDim.y) * kWarps;
  const bool vector = pins % kColumns == 0 && ((uintptr_t(weight) | uintptr_t(mean) | uintptr_t(square)) & 15) == 0;
  unsigned long long largest[kColumns] = {};
  float w[kColumns], m[kColumns], v[kColumns], next_w[kColumns], next_m[kColumns], next_v[kColumns];
  uint32_t x[Words], next_x[Words];
  const auto load_row = [&](int row) {
    const int64_t at = int64_t(row) * pins + pin;
    const int there = row < inputs ? count : 0;
    load(weight + at, there, vector, next_w);
    load(mean + at, there, vector, next_m);
    load(square + at, there, vector, next_v);
#pragma unroll
    for (int word = 0; word < Words; ++word) next_x[word] = there ? __ldg(bits + row * row_words + word) : 0;
  };
  int row = int(blockIdx.y) * kWarps + warp;
  load_row(row);
  for (; row < inputs; row += stride) {
#pragma unroll
    for (int k = 0; k < kColumns; ++k) w[k] = next_w[k], m[k] = next_m[k], v[k] = next_v[k];
#pragma unroll
    for (int word = 0; word < Words; ++word) x[word] = next_x[word];
    load_row(row + stride);
    float g[kColumns] = {};
#pragma unroll
    for (int word = 0; word < Words; ++word) {
#pragma unroll
      for (int quad = 0; quad < kQuads; ++quad) {
        const uint32_t four = x[word] >> (4 * quad) & 15, s = four & 8 ? four & 7 : 7 - four;
        const float sign = four & 8 ? 1.0f : -1.0f;
        const float4 part = *reinterpret_cast<const float4*>(sums + ((word * kQuads + quad) * 8 + s) * kTile +
                                                             kColumns * lane_index());
        g[0] = fmaf(sign, part.x, g[0]);
        g[1] = fmaf(sign, part.y, g[1]);
        g[2] = fmaf(sign, part.z, g[2]);
        g[3] = fmaf(sign, part.w, g[3]);
      }
    }
#pragma unroll
    for (int k = 0; k < kColumns; ++k) {
      m[k] = fmaf(rest1, g[k] - m[k], m[k]);
      v[k] = fmaf(rest2 * g[k], g[k], keep2 * v[k]);
      w[k] = fmaf(keep, w[k], -__fdividef(step_size * m[k], fmaf(root(v[k]), scale, eps)));
      const unsigned long long key = key_of(w[k], row);
      largest[k] = key > largest[k] ? key : largest[k];
    }
    const int64_t at = int64_t(row) * pins + pin;
    store(weight + at, count, vector, w);
    store(mean + at, count, vector, m);
    store(square + at, count, vector, v);
  }
  __syncthreads();
  auto* best = reinterpret_cast<unsigned long long(*)[kTile]>(sums);
#pragma unroll
  for (int k = 0; k < kColumns; ++k) best[warp][kColumns * lane_index() + k] = largest[k];
  __syncthreads();
  keep_largest(best, first, pins, keys);
}

template <int Words>
int launch_adam(float* weight, float* mean, float* square, int64_t inputs, int64_t pins, const uint32_t* bits,
                int64_t row_words, const float* grad, int64_t row_samples, const double* rate, const double* powers,
                double beta1, double beta2, double eps, double weight_decay, unsigned long long* keys,
                cudaStream_t stream) {
  constexpr int kBytes = sizeof(float) * Words * kQuads * 8 * kTile;
  const int failed = cudaFuncSetAttribute(adam<Words>, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (failed) return failed;
  const int64_t tiles = ceil_div(pins, kTile), most = ceil_div(inputs, 4 * kWarps);
  const int64_t each = ceil_div(kBlocks + 1, tiles) - 1;
  const dim3 blocks(unsigned(tiles), unsigned(each < 1 ? 1 : each < most ? each : most));
  return enqueue(adam<Words>, blocks, kBlock, kBytes, stream, weight, mean, square, int(inputs), int(pins), bits,
                 row_words, grad, row_samples, rate, powers, beta1, beta2, float(eps), weight_decay, keys);
}

extern "C" {

// keys[pins] is 0 before.
int difflut_cuda_argmax(const float* logits, int64_t inputs, int64_t pins, unsigned long long* keys,
                        cudaStream_t stream) {
  const dim3 blocks(unsigned(ceil_div(pins, kTile)), unsigned(ceil_div(inputs, 16 * kWarps)));
  return enqueue(argmax, blocks, kBlock, 0, stream, logits, int(inputs), int(pins), keys);
}

int difflut_cuda_read_keys(const unsigned long long* keys, int64_t pins, int32_t* wiring, cudaStream_t stream) {
  return enqueue(read_keys, unsigned(ceil_div(pins, kBlock)), kBlock, 0, stream, keys, int(pins), wiring);
}

int difflut_cuda_signs(const uint32_t* bits, int64_t features, int64_t words, uint4* out, cudaStream_t stream) {
  const int64_t eights = features * words * 4;
  return enqueue(signs, unsigned(ceil_div(eights, kBlock)), kBlock, 0, stream, bits, eights, words * 4, out);
}

// At most 64 samples; grad[pins][row_samples]; keys[pins] is 0 before.
int difflut_cuda_select_adam(float* weight, float* mean, float* square, int64_t inputs, int64_t pins,
                             const uint32_t* bits, int64_t row_words, const float* grad, int64_t row_samples,
                             int64_t batch, const double* rate, const double* powers, double beta1, double beta2,
                             double eps, double weight_decay, unsigned long long* keys, cudaStream_t stream) {
  const auto launch = batch <= kWarp ? launch_adam<1> : launch_adam<2>;
  return launch(weight, mean, square, inputs, pins, bits, row_words, grad, row_samples, rate, powers, beta1, beta2, eps,
                weight_decay, keys, stream);
}

}  // extern "C"

}  // namespace difflut::select
