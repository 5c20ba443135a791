// The multilinear extension of a table and its derivatives, for a vector of samples.
//
// A sum over the corners of K inputs takes K halving steps, low + x * (high - low), one for each input. For the
// gradients an address is split into low and high bits, so that a table is a matrix [high][low].
#pragma once

#include "bank.h"

namespace difflut::multilinear {

constexpr int low_bits(int n) { return (n + 1) / 2; }

// What a node reads in rows of x with `stride` samples, for up to a vector of samples.
template <int N>
struct Inputs {
  const float* row[N];

  __attribute__((always_inline)) Inputs(const float* x, int64_t stride, const std::array<int64_t, N>& wires) {
    for (int j = 0; j < N; ++j) row[j] = x + wires[j] * stride;
  }

  __attribute__((always_inline)) Inputs moved(int64_t by) const {
    Inputs inputs = *this;
    for (int j = 0; j < N; ++j) inputs.row[j] += by;
    return inputs;
  }

  __attribute__((always_inline)) void load_at(int64_t b, int64_t count, Vec* input) const {
    if (count >= kLanes)
      for (int j = 0; j < N; ++j) input[j] = load(row[j] + b);
    else
      for (int j = 0; j < N; ++j) input[j] = load(row[j] + b, count);
  }
};

// The steps of one input for all samples: values[2i + 1] - values[2i] for entries of `stride` floats.
template <int Entries>
void differences(const float* values, int stride, float* out) {
  for (int i = 0; i < Entries / 2; i += stride)
    for (int k = 0; k < stride; ++k) out[i + k] = values[2 * i + stride + k] - values[2 * i + k];
}

// The extension of 2**K entries, `stride` floats apart, with the differences of its first step.
template <int K>
inline __attribute__((always_inline)) Vec extension(const float* values, const float* differences, int stride,
                                                    const Vec* x) {
  if constexpr (K == 0) {
    return Vec{} + values[0];
  } else if constexpr (K == 1) {
    return values[0] + x[0] * differences[0];
  } else {
    const Vec low = extension<K - 1>(values, differences, stride, x);
    const Vec high = extension<K - 1>(values + (stride << (K - 1)), differences + (stride << (K - 2)), stride, x);
    return low + x[K - 1] * (high - low);
  }
}

// Without it the compiler keeps a table that is used again in registers, of which there are too few, and spills them.
inline void forget_memory() { asm volatile("" ::: "memory"); }

// The derivatives of the extension of `values` by its K inputs; overwrites values.
template <int K>
inline __attribute__((always_inline)) void slopes(const Vec* x, Vec* values, Vec* slope) {
  if constexpr (K > 0) {
    constexpr int kHalf = 1 << (K - 1);
    Vec difference[kHalf];
    for (int c = 0; c < kHalf; ++c) {
      difference[c] = values[c + kHalf] - values[c];
      values[c] += x[K - 1] * difference[c];
    }
    for (int size = kHalf / 2, j = K - 2; size > 0; size /= 2, --j)
      for (int c = 0; c < size; ++c) difference[c] += x[j] * (difference[c + size] - difference[c]);
    slope[K - 1] = difference[0];
    slopes<K - 1>(x, values, slope);
  }
}

// weights[c] = scale * prod_j (bit j of c ? x_j : 1 - x_j)
template <int K>
inline __attribute__((always_inline)) void corners(const Vec* x, Vec scale, Vec* weights) {
  weights[0] = scale;
  for (int j = 0; j < K; ++j)
    for (int c = 0; c < 1 << j; ++c) {
      weights[c | 1 << j] = weights[c] * x[j];
      weights[c] -= weights[c | 1 << j];
    }
}

// A table's entries and their steps by the low bits and by the high bits of addresses.
template <int N>
struct Steps {
  const float* values;
  float low[1 << (N - 1)], high[1 << (N - 1)];

  explicit Steps(const float* table) : values(table) {
    differences<1 << N>(values, 1, low);
    if constexpr (N > 1) differences<1 << N>(values, 1 << low_bits(N), high);
  }

  // The derivatives of the extension by all inputs.
  __attribute__((always_inline)) void slopes_at(const Vec* input, Vec* slope) const {
    constexpr int kLow = low_bits(N), kHigh = N - kLow;
    Vec by_low[1 << kLow], by_high[1 << kHigh];
    forget_memory();
    for (int h = 0; h < 1 << kHigh; ++h)
      by_high[h] = extension<kLow>(values + (h << kLow), low + (h << kLow >> 1), 1, input);
    slopes<kHigh>(input + kLow, by_high, slope + kLow);
    forget_memory();
    for (int l = 0; l < 1 << kLow; ++l)
      by_low[l] = extension<kHigh>(values + l, high + l, 1 << kLow, input + kLow);
    slopes<kLow>(input, by_low, slope);
  }
};

}  // namespace difflut::multilinear
