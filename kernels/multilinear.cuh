// What the kernels of the multilinear extension share.
//
// A lane has four neighbouring samples, so that every table entry that it reads serves four. Where n is small, reading
// activations takes most of the time. So the warps of a block have nodes and features that are neighbours on a walk
// (cuda/wires.py): one warp finds in the cache of the multiprocessor what another has read.
#pragma once

#include "placements.cuh"

namespace difflut::multilinear {

constexpr int kBlockWarps = 16;  // so many neighbours on the walk share a cache
constexpr int kThreads = kBlockWarps * kWarp;
constexpr int kMostHeld = 3;  // nodes of up to 3 inputs (8 entries) have their tables in registers

using Quad = float[kQuad];

// The four samples of a lane, from `first` on. `count` of them are inside the batch; all or none where rows are Aligned
// to 16 bytes.
template <bool Aligned>
struct Place {
  int64_t first;
  int count;

  __device__ Place(int64_t batch, int64_t quad)
      : first(quad * kSamples + kQuad * lane_index()),
        count(batch <= first ? 0 : batch - first < kQuad ? int(batch - first) : kQuad) {}

  // Prefetches what lies `distance` samples further: there are too few warps to hide the latency of memory.
  __device__ void prefetch(const float* row, int64_t distance, int64_t batch) const {
    constexpr int kLine = 128 / sizeof(float) / kQuad;  // lanes
    if (lane_index() % kLine == 0 && first + distance < batch)
      asm volatile("prefetch.global.L2 [%0];" ::"l"(row + first + distance));
  }

  // 0 past the batch, and where the row is not `used`.
  __device__ void load(const float* __restrict__ row, Quad& out, bool used = true) const {
    if constexpr (Aligned) {
      const float4 four = count && used ? __ldg(reinterpret_cast<const float4*>(row + first)) : float4{};
      out[0] = four.x, out[1] = four.y, out[2] = four.z, out[3] = four.w;
    } else {
#pragma unroll
      for (int u = 0; u < kQuad; ++u) out[u] = used && u < count ? __ldg(row + first + u) : 0.0f;
    }
  }

  __device__ void store(float* row, const Quad& values) const {
    if constexpr (Aligned) {
      if (count) *reinterpret_cast<float4*>(row + first) = {values[0], values[1], values[2], values[3]};
    } else {
#pragma unroll
      for (int u = 0; u < kQuad; ++u)
        if (u < count) row[first + u] = values[u];
    }
  }
};

__device__ inline float lerp(float low, float high, float x) { return fmaf(x, high - low, low); }

// Entries of a table in memory, and in registers.
struct Stored {
  const float* entries;

  __device__ explicit Stored(const float* entries) : entries(entries) {}
  __device__ float one(int i) const { return entries[i]; }
  __device__ float4 four(int i) const { return *reinterpret_cast<const float4*>(entries + i); }
};

template <int K>
struct Held {
  float entries[1 << K];

  __device__ Held() {}
  __device__ explicit Held(const float* table) {
#pragma unroll
    for (int e = 0; e < 1 << K; ++e) entries[e] = __ldg(table + e);
  }
  __device__ float one(int i) const { return entries[i]; }
  __device__ float4 four(int i) const { return {entries[i], entries[i + 1], entries[i + 2], entries[i + 3]}; }
};

// The extension of the 2**K entries from First on by K halving steps.
template <int K, int First = 0, class Table>
__device__ void extension(const Table& table, const Quad* x, Quad& out) {
  if constexpr (K == 0) {
#pragma unroll
    for (int u = 0; u < kQuad; ++u) out[u] = table.one(First);
  } else if constexpr (K == 1) {
    const float low = table.one(First), step = table.one(First + 1) - low;
#pragma unroll
    for (int u = 0; u < kQuad; ++u) out[u] = fmaf(x[0][u], step, low);
  } else if constexpr (K == 2) {
    const float4 entries = table.four(First);
    const float low_step = entries.y - entries.x, high_step = entries.w - entries.z;
#pragma unroll
    for (int u = 0; u < kQuad; ++u)
      out[u] = lerp(fmaf(x[0][u], low_step, entries.x), fmaf(x[0][u], high_step, entries.z), x[1][u]);
  } else {
    Quad high;
    extension<K - 1, First>(table, x, out);
    extension<K - 1, First + (1 << (K - 1))>(table, x, high);
#pragma unroll
    for (int u = 0; u < kQuad; ++u) out[u] = lerp(out[u], high[u], x[K - 1][u]);
  }
}

inline bool is_aligned(int64_t batch, const void* a, const void* b) {
  return batch % kQuad == 0 && ((uintptr_t(a) | uintptr_t(b)) & 15) == 0;
}

// Calls f with true and with false as a compile-time constant.
template <class F>
void with_alignment(bool aligned, F f) {
  if (aligned) f(std::true_type());
  else f(std::false_type());
}

}  // namespace difflut::multilinear
