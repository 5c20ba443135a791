// Sums of +g or -g over the samples of a batch; packed bits give the signs. Four samples cost one addition.
#pragma once

#include "bank.h"

namespace difflut {

constexpr int kGroup = 4;                       // samples: their 2**4 possible sums are computed once for all inputs
constexpr int kPatterns = 1 << kGroup;
constexpr int kGroups = int(kBlock) / kGroup;   // groups in a word of bits
constexpr int64_t kWords = 2;                   // words of bits: the tables of two (32 KiB) fit the fastest cache

// The sums for a line of pins.
struct alignas(64) Sums {
  Line of[kWords * kGroups][kPatterns];  // sum over a group's samples; -g where the pattern has a 0
  int64_t samples;

  // Computes the sums from the first `count` samples of grad[pins][batch].
  void make(const float* grad, int64_t batch, int64_t pins, int64_t count) {
    samples = count;
    const int64_t groups = (count + kBlock / 2 - 1) / (kBlock / 2) * (kGroups / 2);  // the last are zero
    for (int64_t group = 0; group < groups; ++group) {
      Line g[kGroup] = {};
      for (int i = 0; i < kGroup && group * kGroup + i < samples; ++i)
        for (int64_t p = 0; p < pins; ++p) g[i][p] = grad[p * batch + group * kGroup + i];
      Line* sums = of[group];
      sums[0] = -g[0] - g[1] - g[2] - g[3];
      for (int i = 0; i < kGroup; ++i)
        for (int pattern = 0; pattern < 1 << i; ++pattern) sums[pattern | 1 << i] = sums[pattern] + 2 * g[i];
    }
  }

  // The sum over all samples; an input's words of bits give the signs.
  __attribute__((always_inline)) Line signed_by(const uint64_t* bits) const {
    Line total = {};
    int64_t first = 0;
    for (; first + kBlock <= samples; first += kBlock)
      total += part<kGroups>(of + first / kGroup, bits[first / kBlock]);
    if (first + kBlock / 2 < samples) return total + part<kGroups>(of + first / kGroup, bits[first / kBlock]);
    return first < samples ? total + part<kGroups / 2>(of + first / kGroup, bits[first / kBlock]) : total;
  }

 private:
  template <int Groups>
  static __attribute__((always_inline)) Line part(const Line (*of)[kPatterns], uint64_t bits) {
    constexpr int kShift = 6;  // log2(sizeof(Line)): the bits are moved to where they are an offset in bytes
    const char* start = reinterpret_cast<const char*>(of);
    Line total[2] = {};
    for (int group = 0; group < Groups; ++group) {
      const int shift = group * kGroup - kShift;
      const uint64_t offset = (shift < 0 ? bits << -shift : bits >> shift) & ((kPatterns - 1) << kShift);
      total[group % 2] += *reinterpret_cast<const Line*>(start + group * sizeof(Line[kPatterns]) + offset);
    }
    return total[0] + total[1];
  }
};

}  // namespace difflut
