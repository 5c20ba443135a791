// Tables of floats that are read at the addresses of a word of samples, and what they pass back to the inputs.
#pragma once

#include "addresses.h"

namespace difflut {

#ifdef DIFFLUT_AVX512

// A table of 2**K floats in registers, read at 16 addresses at once. Address bits from K on are ignored.
template <int K>
struct Registers {
  static constexpr int kCount = K > 4 ? 1 << (K - 4) : 1;
  __m512 part[kCount];

  void load(const float* table) {
    constexpr __mmask16 kEntries = K < 4 ? (1 << (1 << K)) - 1 : 0xffff;
    for (int i = 0; i < kCount; ++i) part[i] = _mm512_maskz_loadu_ps(kEntries, table + 16 * i);
  }

  __m512 operator()(__m512i address) const { return read<K>(part, address); }

  template <int Bits>
  static __m512 read(const __m512* part, __m512i address) {
    if constexpr (Bits <= 4) return _mm512_permutexvar_ps(address, part[0]);
    else if constexpr (Bits == 5) return _mm512_permutex2var_ps(part[0], address, part[1]);
    else
      return _mm512_mask_blend_ps(_mm512_test_epi32_mask(address, _mm512_set1_epi32(1 << (Bits - 1))),
                                  read<Bits - 1>(part, address),
                                  read<Bits - 1>(part + (1 << (Bits - 5)), address));
  }
};

inline __m512i widened(const uint8_t* address) {
  return _mm512_cvtepu8_epi32(_mm_load_si128(reinterpret_cast<const __m128i*>(address)));
}

#endif

// Which entries of a table are at least one half, read at the addresses of a word of samples.
template <int N>
struct BitTable {
#if defined(DIFFLUT_AVX512) && defined(__AVX512VBMI__)
  static constexpr int kParts = N > 6 ? 1 << (N - 6) : 1;
  __m512i part[kParts];

  __attribute__((always_inline)) explicit BitTable(const float* table) {
    uint64_t bits[kParts] = {};
    Registers<N> values;
    values.load(table);
    for (int i = 0; i < values.kCount; ++i)
      bits[i / 4] |= uint64_t(_mm512_cmp_ps_mask(values.part[i], _mm512_set1_ps(0.5f), _CMP_GE_OQ)) << (i % 4 * 16);
    for (int i = 0; i < kParts; ++i) part[i] = _mm512_movm_epi8(bits[i]);
  }

  __attribute__((always_inline)) uint64_t operator()(const uint8_t* address) const {
    const __m512i at = _mm512_load_si512(address);
    if constexpr (N <= 6) return _mm512_movepi8_mask(_mm512_permutexvar_epi8(at, part[0]));
    else if constexpr (N == 7) return _mm512_movepi8_mask(_mm512_permutex2var_epi8(part[0], at, part[1]));
    else {
      const uint64_t high = _mm512_movepi8_mask(at);
      return (_mm512_movepi8_mask(_mm512_permutex2var_epi8(part[0], at, part[1])) & ~high) |
             (_mm512_movepi8_mask(_mm512_permutex2var_epi8(part[2], at, part[3])) & high);
    }
  }
#else
  const float* table;

  explicit BitTable(const float* entries) : table(entries) {}

  uint64_t operator()(const uint8_t* address) const {
    uint64_t bits = 0;
    for (int64_t b = 0; b < kBlock; ++b) bits |= uint64_t(table[address[b]] >= 0.5f) << b;
    return bits;
  }
#endif
};

// The gradients of outputs, grad[outputs][batch], or of groups of neighbouring outputs that have the same.
struct OutputGradients {
  const float* grad;
  int64_t batch, group;

  const float* of(int64_t output) const { return grad + (group == 1 ? output : output / group) * batch; }
};

// slope[a | 1 << j] - slope[a & ~(1 << j)] at every address a with its bit j taken out.
template <int N>
void difference(const float* slope, int j, float* out) {
  for (int rest = 0; rest < 1 << (N - 1); ++rest) {
    const int low = (rest >> j << (j + 1)) | (rest & ((1 << j) - 1));
    out[rest] = slope[low | 1 << j] - slope[low];
  }
}

#ifdef DIFFLUT_AVX512

// Entry [j][i]: the number i with a zero put in as its bit j.
alignas(64) inline constexpr auto kWithout = [] {
  std::array<std::array<int32_t, 16>, 4> numbers{};
  for (int j = 0; j < 4; ++j)
    for (int i = 0; i < 16; ++i) numbers[j][i] = (i >> j << (j + 1)) | (i & ((1 << j) - 1));
  return numbers;
}();

template <int N>
inline __attribute__((always_inline)) Registers<N - 1> difference(const float* slope, int j) {
  Registers<N - 1> result;
  if constexpr (N < 5) {
    float scalars[1 << (N - 1)];
    difference<N>(slope, j, scalars);
    result.load(scalars);
  } else {
    for (int i = 0; i < result.kCount; ++i) {
      if (j < 4) {
        const __m512 first = _mm512_loadu_ps(slope + 32 * i), second = _mm512_loadu_ps(slope + 32 * i + 16);
        const __m512i low = _mm512_load_si512(kWithout[j].data());
        const __m512i high = _mm512_or_si512(low, _mm512_set1_epi32(1 << j));
        result.part[i] = _mm512_sub_ps(_mm512_permutex2var_ps(first, high, second),
                                       _mm512_permutex2var_ps(first, low, second));
      } else {
        const float* low = slope + 16 * ((i >> (j - 4) << (j - 3)) | (i & ((1 << (j - 4)) - 1)));
        result.part[i] = _mm512_sub_ps(_mm512_loadu_ps(low + (1 << j)), _mm512_loadu_ps(low));
      }
    }
  }
  return result;
}

// What one row of tables passes back to its node's inputs.
template <int N>
struct Differences {
  Registers<N - 1> of[N];

  __attribute__((always_inline)) explicit Differences(const float* slope) {
    for (int j = 0; j < N; ++j) of[j] = difference<N>(slope, j);
  }

  // Adds it to tile[wire][pitch] for the samples of a word.
  __attribute__((always_inline)) void add(const float* grad, const uint8_t* address, int64_t samples,
                                          const std::array<int64_t, N>& wires, float* tile, int64_t pitch) const {
    for (int64_t b = 0; b < samples; b += 16) {
      const __m512i full = widened(address + b), shifted = _mm512_srli_epi32(full, 1);
      const __m512 g = _mm512_maskz_loadu_ps(first_lanes(samples - b), grad + b);
      for (int j = 0; j < N; ++j) {
        constexpr int kSecondWhereFirst = 0xca;  // truth table of first ? second : third
        const __m512i below = _mm512_set1_epi32((1 << j) - 1);
        const __m512i rest = _mm512_ternarylogic_epi32(below, full, shifted, kSecondWhereFirst);
        float* sums = tile + wires[j] * pitch + b;
        _mm512_storeu_ps(sums, _mm512_fmadd_ps(g, of[j](rest), _mm512_loadu_ps(sums)));
      }
    }
  }
};

#else

template <int N>
struct Differences {
  float of[N][1 << (N - 1)];

  explicit Differences(const float* slope) {
    for (int j = 0; j < N; ++j) difference<N>(slope, j, of[j]);
  }

  void add(const float* grad, const uint8_t* address, int64_t samples, const std::array<int64_t, N>& wires,
           float* tile, int64_t pitch) const {
    for (int j = 0; j < N; ++j) {
      float* sums = tile + wires[j] * pitch;
      const int below = (1 << j) - 1;
      for (int64_t b = 0; b < samples; ++b)
        sums[b] += grad[b] * of[j][(address[b] >> 1 & ~below) | (address[b] & below)];
    }
  }
};

#endif

constexpr int kBlocks = 16;  // blocks worked on together, so that a table's differences are computed once for all

// 0 to N - 1: the rows of a tile that belongs to one node.
template <int N>
constexpr std::array<int64_t, N> counted() {
  std::array<int64_t, N> rows{};
  for (int j = 0; j < N; ++j) rows[j] = j;
  return rows;
}

// What the look-up of a bank passes back to the inputs of a node.
template <int N>
struct PassedBack {
  const Bank& bank;
  const uint64_t* bits;
  const float* slope;
  OutputGradients grad;

  // Adds it to the rows `to` of tile(i)[row][pitch] for up to kBlocks words of samples of a node that reads `wires`.
  template <class TileOf>
  void operator()(int64_t node, const std::array<int64_t, N>& wires, const Block* blocks, int count,
                  const std::array<int64_t, N>& to, TileOf tile, int64_t pitch = kBlock) const {
    const int64_t words = words_of(bank.batch);
    alignas(64) uint8_t address[kBlocks][kBlock];
    for (int i = 0; i < count; ++i)
      addresses<N>(bits + blocks[i].offset * words, words, blocks[i].start / kBlock, wires.data(), address[i]);
    for (int64_t row = node * bank.m; row < (node + 1) * bank.m; ++row) {
      const Differences<N> differences(slope + (row << N));
      for (int i = 0; i < count; ++i) {
        const auto [placement, offset, start] = blocks[i];
        differences.add(grad.of(row * bank.at.count + placement) + start, address[i],
                        std::min(kBlock, bank.batch - start), to, tile(i), pitch);
      }
    }
  }
};

}  // namespace difflut
