// The gradient of a bank's rows, as it was given or gathered from the bank that reads them.
#pragma once

#include <utility>

#include "lookup.cuh"
#include "placements.cuh"

namespace difflut::lookup {

// What one row of tables passes back to its input j: slope[a | 1 << j] - slope[a & ~(1 << j)] at every address a with
// its bit j taken out, times a scale, spread over the lanes.
template <int N>
struct Differences {
  static constexpr int kEntries = 1 << (N - 1), kParts = (kEntries + kWarp - 1) / kWarp;
  float part[kParts];

  __device__ Differences(const float* __restrict__ slope, int j, float scale = 1.0f) {
#pragma unroll
    for (int i = 0; i < kParts; ++i) {
      const int low = without_bit((lane_index() + i * kWarp) & (kEntries - 1), j);
      part[i] = scale * (__ldg(slope + (low | 1 << j)) - __ldg(slope + low));
    }
  }

  // Bits of `rest` that no entry needs are ignored.
  __device__ float operator()(uint32_t rest) const {
    float value = __shfl_sync(kAllLanes, part[0], rest);
#pragma unroll
    for (int i = 1; i < kParts; ++i) {
      const float other = __shfl_sync(kAllLanes, part[i], rest);
      value = rest / kWarp % kParts == i ? other : value;
    }
    return value;
  }
};

// The gradient of a bank's inputs, gathered from the pins that read them.
template <int N>
struct Gathered {
  Bank bank;
  const uint32_t* codes;
  const float* slope;
  Readers readers;
  Given grad;

  // One pin of one row of tables.
  struct Reader {
    Differences<N> difference;
    const uint32_t* codes;
    const float* grad;
    uint32_t below;

    __device__ Reader(const Gathered& from, int pin, int row, int j)
        : difference(from.slope + (int64_t(row) << N), j),
          codes(from.codes + unsigned(pin) / N * from.bank.quads() * kWarp + lane_index()),
          grad(from.grad.row(row) + lane_index()),
          below(bits_below(j)) {}

    __device__ void add(uint32_t code, const float (&g)[kQuad], float (&sums)[kQuad]) const {
      const uint32_t rest = without_input(code, below);
#pragma unroll
      for (int u = 0; u < kQuad; ++u) sums[u] = fmaf(g[u], difference(rest >> (8 * u)), sums[u]);
    }

    __device__ void load(int64_t quad, int left, bool used, uint32_t& code, float (&g)[kQuad]) const {
      code = used ? __ldg(codes + quad * kWarp) : 0;
#pragma unroll
      for (int u = 0; u < kQuad; ++u)
        g[u] = used && u * kWarp + lane_index() < left ? __ldg(grad + quad * kSamples + u * kWarp) : 0.0f;
    }
  };

  // The readers of one input. The first few stay in registers: two where tables of seven or more inputs need many.
  struct Row {
    static constexpr int kHeld = N < 7 ? 4 : 2;
    const Gathered& from;
    int begin, count;
    Reader held[kHeld];

    __device__ Reader reader(int i) const {
      const int m = int(from.bank.m), pin = count ? __ldg(from.readers.pins + begin + (i < count ? i : 0) / m) : 0;
      const int node = unsigned(pin) / N;
      return {from, pin, node * m + i % m, pin - node * N};
    }

    template <int... I>
    __device__ Row(const Gathered& from, int begin, int count, std::integer_sequence<int, I...>)
        : from(from), begin(begin), count(count), held{reader(I)...} {}

    __device__ void operator()(int64_t quad, float (&sums)[kQuad]) const {
      const int left = samples_left(from.bank.batch, quad);
      uint32_t code[kHeld];
      float g[kHeld][kQuad];
#pragma unroll
      for (int i = 0; i < kHeld; ++i) held[i].load(quad, left, i < count, code[i], g[i]);
#pragma unroll
      for (int u = 0; u < kQuad; ++u) sums[u] = 0;
#pragma unroll
      for (int i = 0; i < kHeld; ++i) held[i].add(code[i], g[i], sums);
      for (int i = kHeld; i < count; ++i) {
        const Reader more = reader(i);
        more.load(quad, left, true, code[0], g[0]);
        more.add(code[0], g[0], sums);
      }
#pragma unroll
      for (int u = 0; u < kQuad; ++u) sums[u] *= from.grad.scale;
    }
  };

  __device__ Row row(int feature) const {
    const int begin = __ldg(readers.start + feature), end = __ldg(readers.start + feature + 1);
    return {*this, begin, (end - begin) * int(bank.m), std::make_integer_sequence<int, Row::kHeld>()};
  }
};

// The gradient of a bank's outputs, as it was given.
template <class Site>
struct Direct {
  Site site;
  Given grad;

  // One row of tables, at all its placements.
  struct Row {
    const Site& site;
    const Given& grad;
    int row;

    __device__ void operator()(int64_t number, float (&sums)[kQuad]) const {
      const Item item = item_of(site, number, ceil_div(grad.batch, kSamples));
      const float* from = grad.row(row * site.count() + item.placement) + sample_of(item.quad, 0);
      const int left = samples_left(grad.batch, item.quad);
#pragma unroll
      for (int u = 0; u < kQuad; ++u) sums[u] = u * kWarp + lane_index() < left ? __ldg(from + u * kWarp) : 0.0f;
#pragma unroll
      for (int u = 0; u < kQuad; ++u) sums[u] *= grad.scale;
    }
  };

  __device__ Row row(int row) const { return {site, grad, row}; }
};

__device__ inline void store(float* out, int64_t batch, int64_t quad, const float (&values)[kQuad]) {
  const int left = samples_left(batch, quad);
#pragma unroll
  for (int u = 0; u < kQuad; ++u)
    if (u * kWarp + lane_index() < left) out[sample_of(quad, u)] = values[u];
}

}  // namespace difflut::lookup
