// Numbers of a tile to bits: comparisons of 32 rows at a time, a word each.
#pragma once

#include <cuda_fp16.h>

#include "engine_network.cuh"

namespace difflut::engine {

// Four features of a row, a byte each, wherever they lie and however many there are.
__device__ __noinline__ uint32_t gather(const uint8_t* x, int64_t row, int features, int quad) {
  uint32_t bytes = 0;
  for (int j = 0; j < 4 && 4 * quad + j < features; ++j) bytes |= uint32_t(x[row * features + 4 * quad + j]) << (8 * j);
  return bytes;
}

// Two of four bytes as half-precision numbers, plus 1024: the byte 0x64 above a byte b makes the number 1024 + b.
__device__ __forceinline__ uint32_t halves(uint32_t bytes, uint32_t which) {
  uint32_t y;
  asm("prmt.b32 %0, %1, 0x64646464, %2;" : "=r"(y) : "r"(bytes), "r"(which));
  return y;
}

// All ones in the half where `a` is at least `b`.
__device__ __forceinline__ uint32_t at_least(uint32_t a, uint32_t b) {
  return __hge2_mask(*reinterpret_cast<const __half2*>(&a), *reinterpret_cast<const __half2*>(&b));
}

// A thread takes 16 rows of four features, which gives half a word of each: a register compares two features at once.
template <int V>
__device__ void encode(const uint8_t* x, int64_t first, int64_t rows, const Network& net, Words<V>* s) {
  constexpr int kRows = 16;
  const int features = int(net.features), quads = int(net.num_quads);
  const bool whole = features % 4 == 0 && reinterpret_cast<uintptr_t>(x) % 4 == 0 && first + V * kWarp <= rows;
  for (int unit = threadIdx.x; unit < quads * V * 2; unit += blockDim.x) {
    const int index = unit % quads, part = unit / quads, quad = __ldg(net.quads + index);
    const int64_t begin = first + part * kRows;
    uint32_t low[kRows], high[kRows];
    if (whole) {
      const uint32_t* from = reinterpret_cast<const uint32_t*>(x + begin * features) + quad;
#pragma unroll
      for (int r = 0; r < kRows; ++r) low[r] = __ldg(from + r * (features / 4));
    } else {
#pragma unroll
      for (int r = 0; r < kRows; ++r) low[r] = gather(x, begin + r < rows ? begin + r : rows - 1, features, quad);
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) high[r] = halves(low[r], 0x4342), low[r] = halves(low[r], 0x4140);
    for (int level = 0; level < net.levels; ++level) {
      const uint4 what = __ldg(static_cast<const uint4*>(net.limits) + level * quads + index);
      if (what.x == what.y) continue;  // wanted comparisons have different places, so this quad has none
      uint32_t words[2] = {};
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        words[0] |= at_least(low[r], what.z) & (0x10001u << r);
        words[1] |= at_least(high[r], what.w) & (0x10001u << r);
      }
      auto* to_halves = reinterpret_cast<uint16_t*>(s) + part;
      to_halves[(what.x & 0xffff) * (2 * V)] = uint16_t(words[0]);
      to_halves[(what.x >> 16) * (2 * V)] = uint16_t(words[0] >> 16);
      to_halves[(what.y & 0xffff) * (2 * V)] = uint16_t(words[1]);
      to_halves[(what.y >> 16) * (2 * V)] = uint16_t(words[1] >> 16);
    }
  }
}

template <int V>
__device__ void encode(const float* x, int64_t first, int64_t rows, const Network& net, Words<V>* s) {
  const int features = int(net.features);
  for (int unit = threadIdx.x; unit < features * V; unit += blockDim.x) {
    const int feature = unit % features, v = unit / features;
    const int64_t begin = first + v * kWarp;
    const float* from = x + begin * features + feature;
    const int left = int(rows - 1 - begin < kWarp ? rows - 1 - begin : kWarp);
    float values[kWarp];
#pragma unroll
    for (int r = 0; r < kWarp; ++r) values[r] = __ldg(from + (r < left ? r : left) * features);
    for (int level = 0; level < net.levels; ++level) {
      const uint16_t place = net.places[level * features + feature];
      const float limit = static_cast<const float*>(net.limits)[level * features + feature];
      uint32_t word = 0;
#pragma unroll
      for (int r = 0; r < kWarp; ++r) word |= values[r] > limit ? 1u << r : 0u;
      s[place].w[v] = word;
    }
  }
}

// Asks the GPU to bring the rows of a later tile into its L2 cache.
template <int V, class T>
__device__ void prefetch(const T* x, int64_t first, int64_t rows, int64_t features) {
  constexpr int kLine = 128;  // bytes of a cache line
  if (first + V * kWarp > rows) return;
  const char* from = reinterpret_cast<const char*>(x + first * features);
  for (int at = threadIdx.x * kLine; at < int(V * kWarp * sizeof(T) * features); at += blockDim.x * kLine)
    asm volatile("prefetch.global.L2 [%0];" ::"l"(from + at));
}

}  // namespace difflut::engine
