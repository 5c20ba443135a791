// A node's inputs are bits of an address in its table: from packed bits to addresses.
#pragma once

#include <array>

#include "bank.h"

namespace difflut {

// spread[b] has bit i of b as its byte i.
constexpr std::array<uint64_t, 256> make_spread() {
  std::array<uint64_t, 256> spread{};
  for (int b = 0; b < 256; ++b)
    for (int i = 0; i < 8; ++i) spread[b] |= uint64_t(b >> i & 1) << (8 * i);
  return spread;
}
inline constexpr std::array<uint64_t, 256> kSpread = make_spread();

// Writes address[64]: what a node's inputs form for each sample of one word.
template <int N>
inline __attribute__((always_inline)) void addresses(const uint64_t* bits, int64_t words, int64_t word,
                                                     const int64_t* wires, uint8_t* address) {
#if defined(DIFFLUT_AVX512) && defined(__AVX512VBMI__) && defined(__GFNI__)
  // Byte j of row r: the bits of input j for samples 8r to 8r+7. Each 8x8 matrix of bits is then transposed.
  alignas(64) static constexpr std::array<uint8_t, 64> kRows = [] {
    std::array<uint8_t, 64> rows{};
    for (int i = 0; i < 64; ++i) rows[i] = (7 - i % 8) * 8 + i / 8;
    return rows;
  }();
  auto input = [&](int j) { return j < N ? int64_t(bits[wires[j < N ? j : 0] * words + word]) : 0; };
  const __m512i inputs =
      _mm512_set_epi64(input(7), input(6), input(5), input(4), input(3), input(2), input(1), input(0));
  const __m512i rows = _mm512_permutexvar_epi8(_mm512_load_si512(kRows.data()), inputs);
  const __m512i identity = _mm512_set1_epi64(int64_t(0x8040201008040201));
  _mm512_storeu_si512(address, _mm512_gf2p8affine_epi64_epi8(identity, rows, 0));
#else
  for (int group = 0; group < 8; ++group) {
    uint64_t eight = 0;
    for (int j = 0; j < N; ++j) eight |= kSpread[bits[wires[j] * words + word] >> (8 * group) & 255] << j;
    std::memcpy(address + 8 * group, &eight, 8);
  }
#endif
}

}  // namespace difflut
