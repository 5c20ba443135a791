// Tables of real values as bits, and smoothed over the corners of the n-cube.
#include "inputs.h"
#include "vectors.h"

namespace difflut::binarize {

template <int H>
inline Line partners(Line v) {  // lane i is lane i ^ H
  Line swapped;
  for (int i = 0; i < kLine; ++i) swapped[i] = v[i ^ H];
  return swapped;
}

template <int H>
inline Line sums_and_differences(Line v) {  // of lanes i and i ^ H
  Line signs;
  for (int i = 0; i < kLine; ++i) signs[i] = i & H ? -1.0f : 1.0f;
  return partners<H>(v) + signs * v;
}

// A table of 2**N floats. Where N is less than 4, the other lanes are zero.
template <int N>
struct Table {
  static constexpr int kLines = N > 4 ? 1 << (N - 4) : 1;
  static constexpr int64_t kFloats = N < 4 ? 1 << N : kLine;
  Line line[kLines];

  // The Walsh-Hadamard transform, which is its own inverse but for a factor of 2**N.
  inline __attribute__((always_inline)) void transform() {
    for (int i = 0; i < kLines; ++i) {
      line[i] = sums_and_differences<1>(line[i]);
      if constexpr (N > 1) line[i] = sums_and_differences<2>(line[i]);
      if constexpr (N > 2) line[i] = sums_and_differences<4>(line[i]);
      if constexpr (N > 3) line[i] = sums_and_differences<8>(line[i]);
    }
    for (int h = 1; h < kLines; h *= 2)
      for (int i = 0; i < kLines; ++i)
        if (!(i & h)) {
          const Line sum = line[i] + line[i | h], difference = line[i] - line[i | h];
          line[i] = sum, line[i | h] = difference;
        }
  }
};

// slope[tables][2**N]: each table convolved over the cube, entry a ^ b of `weights` telling what entry a adds to b.
template <int N>
void smooth(const float* values, const float* weights, float* slope, int64_t tables, int64_t threads) {
  using Entries = Table<N>;
  Entries factors;
  for (int i = 0; i < Entries::kLines; ++i) factors.line[i] = load<Line>(weights + i * kLine, Entries::kFloats);
  factors.transform();
  for (Line& line : factors.line) line /= float(1 << N);
#pragma omp parallel for num_threads(threads) if (tables << N > 65536)
  for (int64_t t = 0; t < tables; ++t) {
    Entries table;
    for (int i = 0; i < Entries::kLines; ++i)
      table.line[i] = load<Line>(values + (t << N) + i * kLine, Entries::kFloats);
    table.transform();
    for (int i = 0; i < Entries::kLines; ++i) table.line[i] *= factors.line[i];
    table.transform();
    for (int i = 0; i < Entries::kLines; ++i) store(slope + (t << N) + i * kLine, table.line[i], Entries::kFloats);
  }
}

extern "C" {

// Clamps values to [-1, 1]; bits are 1 where a value is at least 0. A NaN stays NaN, and its bit is 0.
void difflut_binarize(float* values, float* bits, int64_t count, int64_t threads) {
// With less work than this, waking threads costs more than it saves.
#pragma omp parallel for num_threads(threads) if (count > 65536)
  for (int64_t i = 0; i < count; i += kLanes) {
    const Vec value = load(values + i, count - i), zero = {}, one = zero + 1.0f;
    store(values + i, value > one ? one : value < -one ? -one : value, count - i);
    store(bits + i, value >= zero ? one : zero, count - i);
  }
}

// See `smooth`; n inputs.
void difflut_smooth(const float* values, const float* weights, float* slope, int64_t tables, int64_t n,
                    int64_t threads) {
  with_inputs(n, [&](auto inputs) { smooth<inputs>(values, weights, slope, tables, threads); });
}

}  // extern "C"

}  // namespace difflut::binarize
