// From rows of pixels or floats to a plane of bits for each comparison.
//
// A float becomes its level first, the number of thresholds that it exceeds: a byte, compared as a pixel is. A group
// compares 64 bytes of a row at once, which gives a word for each row; 64 of these are then transposed.
#pragma once

#include <cmath>

#include "engine.h"

namespace difflut::engine {

constexpr int kTile = 64;  // rows encoded together: their bits fill a word

// 64 words to 64 words: bit j of word i becomes bit i of word j.
inline void transpose_bits(uint64_t* words) {
  uint64_t mask = 0x00000000ffffffff;
  for (int width = 32; width; width >>= 1, mask ^= mask << width)
    for (int i = 0; i < 64; i = ((i | width) + 1) & ~width) {
      const uint64_t swapped = (words[i] >> width ^ words[i | width]) & mask;
      words[i] ^= swapped << width, words[i | width] ^= swapped;
    }
}

#ifdef DIFFLUT_ENGINE_AVX512
// The same, except that words lie in the order of `kOrder`.
inline void transpose_bits(const uint64_t* words, __m512i* out) {
  alignas(64) static constexpr std::array<uint8_t, 64> kRows = [] {
    std::array<uint8_t, 64> rows{};
    for (int i = 0; i < 64; ++i) rows[i] = (7 - i % 8) * 8 + i / 8;
    return rows;
  }();
  const __m512i rows = _mm512_load_si512(kRows.data()), identity = _mm512_set1_epi64(int64_t(0x8040201008040201));
  __m512i z[8], a[8], b[8];
  for (int q = 0; q < 8; ++q)
    z[q] = _mm512_gf2p8affine_epi64_epi8(identity, _mm512_permutexvar_epi8(rows, _mm512_load_si512(words + 8 * q)), 0);
  for (int q = 0; q < 4; ++q)
    a[2 * q] = _mm512_unpacklo_epi8(z[2 * q], z[2 * q + 1]), a[2 * q + 1] = _mm512_unpackhi_epi8(z[2 * q], z[2 * q + 1]);
  for (int half = 0; half < 2; ++half)
    for (int q = 0; q < 2; ++q) {
      b[4 * half + q] = _mm512_unpacklo_epi16(a[half + 4 * q], a[half + 4 * q + 2]);
      b[4 * half + q + 2] = _mm512_unpackhi_epi16(a[half + 4 * q], a[half + 4 * q + 2]);
    }
  for (int k = 0; k < 4; ++k) {
    out[2 * k] = _mm512_unpacklo_epi32(b[2 * k], b[2 * k + 1]);
    out[2 * k + 1] = _mm512_unpackhi_epi32(b[2 * k], b[2 * k + 1]);
  }
}

// The lane of word q of vector k.
inline int lane_of(int k, int q) { return 16 * (q / 2) + 2 * k + q % 2; }

// Eight vectors of words of eight tiles to eight planes.
inline void transpose_words(const __m512i* in, int64_t stride, __m512i* out) {
  __m512i pairs[8];
  for (int w = 0; w < 4; ++w) {
    const __m512i even = _mm512_load_si512(in + 2 * w * stride), odd = _mm512_load_si512(in + (2 * w + 1) * stride);
    pairs[w] = _mm512_unpacklo_epi64(even, odd), pairs[4 + w] = _mm512_unpackhi_epi64(even, odd);
  }
  for (int odd = 0; odd < 2; ++odd) {
    const __m512i* p = pairs + 4 * odd;
    const __m512i t0 = _mm512_shuffle_i64x2(p[0], p[1], 0x44), t1 = _mm512_shuffle_i64x2(p[0], p[1], 0xee);
    const __m512i t2 = _mm512_shuffle_i64x2(p[2], p[3], 0x44), t3 = _mm512_shuffle_i64x2(p[2], p[3], 0xee);
    out[0 + odd] = _mm512_shuffle_i64x2(t0, t2, 0x88), out[2 + odd] = _mm512_shuffle_i64x2(t0, t2, 0xdd);
    out[4 + odd] = _mm512_shuffle_i64x2(t1, t3, 0x88), out[6 + odd] = _mm512_shuffle_i64x2(t1, t3, 0xdd);
  }
}
#endif

class Encoder {
 public:
  explicit Encoder(const Plan& plan)
      : features_(plan.features), levels_(plan.levels), parts_(plan.parts), groups_(plan.groups),
        thresholds_(plan.thresholds, plan.thresholds + plan.parts * plan.levels * plan.features),
        start_(plan.group_start, plan.group_start + plan.groups),
        byte_(plan.lane_byte, plan.lane_byte + 64 * plan.groups),
        level_(plan.lane_level, plan.lane_level + 64 * plan.groups),
        pixel_(plan.lane_pixel, plan.lane_pixel + 64 * plan.groups),
        possible_(plan.lane_possible, plan.lane_possible + plan.groups) {}

  // Words that encoding a block needs beside its planes, in whole vectors.
  int64_t room() const { return groups_ * 64 * (1 + 8) + kTile * (parts_ * features_ / 8 + 1); }

  // planes[64 * groups][words] of the rows `first` to 64 * words after; past the end the last row is repeated.
  template <class T>
  void operator()(const T* x, int64_t first, int64_t rows, int words, uint64_t* planes, uint64_t* room) const {
    uint64_t* masks = room;               // [groups][64]
    uint64_t* tiles = room + 64 * groups_;  // [words][groups][64]
    auto* bytes = reinterpret_cast<uint8_t*>(tiles + 8 * 64 * groups_);
    for (int w = 0; w < words; ++w) {
      const uint8_t* row[kTile];
      for (int r = 0; r < kTile; ++r) {
        const T* from = x + std::min(first + w * kTile + r, rows - 1) * features_;
        if constexpr (sizeof(T) == 1) row[r] = from;
        else row[r] = bytes + r * parts_ * features_, to_levels(from, bytes + r * parts_ * features_);
      }
      if constexpr (sizeof(T) == 1) compare(row, features_, pixel_.data(), true, masks);
      else compare(row, parts_ * features_, level_.data(), false, masks);
      finish_tile(masks, w, words, planes, tiles);
    }
#ifdef DIFFLUT_ENGINE_AVX512
    if (words == 8) finish_block(reinterpret_cast<__m512i*>(tiles), reinterpret_cast<__m512i*>(planes));
#endif
  }

 private:
  void to_levels(const float* x, uint8_t* level) const {
    for (int64_t part = 0; part < parts_; ++part, level += features_) {
      const float* thresholds = thresholds_.data() + part * levels_ * features_;
      int64_t f = 0;
#ifdef DIFFLUT_ENGINE_AVX512
      for (; f < features_; f += 16) {
        const __mmask16 lanes = features_ - f >= 16 ? 0xffff : (1 << (features_ - f)) - 1;
        const __m512 values = _mm512_maskz_loadu_ps(lanes, x + f);
        __m512i count = _mm512_setzero_si512();
        for (int64_t k = 0; k < levels_; ++k) {
          const __m512 limits = _mm512_maskz_loadu_ps(lanes, thresholds + k * features_ + f);
          const __mmask16 above = _mm512_cmp_ps_mask(values, limits, _CMP_GT_OQ);
          count = _mm512_mask_add_epi32(count, above, count, _mm512_set1_epi32(1));
        }
        _mm512_mask_cvtepi32_storeu_epi8(level + f, lanes, count);
      }
#else
      std::memset(level, 0, features_);
      for (int64_t k = 0; k < levels_; ++k)
        for (f = 0; f < features_; ++f) level[f] += x[f] > thresholds[k * features_ + f];
#endif
    }
  }

  // masks[groups][64]: bit i of word r tells whether comparison i of the group holds for row r.
  void compare(const uint8_t* const* row, int64_t length, const uint8_t* limits, bool pixels, uint64_t* masks) const {
#ifdef DIFFLUT_ENGINE_AVX512
    for (int r = 0; r < kTile; r += 8)
      for (int64_t g = 0, next; g < groups_; g = next) {
        for (next = g; next < groups_ && start_[next] == start_[g];) ++next;
        const int64_t left = length - start_[g];
        compare_eight(row + r, start_[g], left >= 64 ? ~0ull : (1ull << left) - 1, next - g, &byte_[64 * g],
                      limits + 64 * g, masks + 64 * g + r);
      }
#else
    (void)length;
    for (int r = 0; r < kTile; ++r)
      for (int64_t g = 0; g < groups_; ++g) {
        uint8_t holds[64];
        const uint8_t* bytes = row[r] + start_[g];
        for (int i = 0; i < 64; ++i) holds[i] = bytes[byte_[64 * g + i]];
        for (int i = 0; i < 64; ++i) holds[i] = holds[i] >= limits[64 * g + i];
        uint64_t mask = 0;
        for (int i = 0; i < 8; ++i) {
          uint64_t eight;
          std::memcpy(&eight, holds + 8 * i, 8);
          mask |= (eight * 0x0102040810204080 >> 56) << (8 * i);
        }
        masks[64 * g + r] = mask;
      }
#endif
    for (int64_t g = 0; pixels && g < groups_; ++g)  // hardly ever; the comparisons themselves are quicker without it
      if (~possible_[g])
        for (int r = 0; r < kTile; ++r) masks[64 * g + r] &= possible_[g];
  }

  void finish_tile(uint64_t* masks, int w, int words, uint64_t* planes, uint64_t* tiles) const {
    for (int64_t g = 0; g < groups_; ++g) {
#ifdef DIFFLUT_ENGINE_AVX512
      auto* out = reinterpret_cast<__m512i*>(tiles) + (w * groups_ + g) * 8;
      transpose_bits(masks + 64 * g, out);
      if (words == 8) continue;
      for (int i = 0; i < 64; ++i)
        planes[(64 * g + lane_of(i / 8, i % 8)) * words + w] = reinterpret_cast<uint64_t*>(out)[i];
#else
      (void)tiles;
      transpose_bits(masks + 64 * g);
      for (int i = 0; i < 64; ++i) planes[(64 * g + i) * words + w] = masks[64 * g + i];
#endif
    }
  }

#ifdef DIFFLUT_ENGINE_AVX512
  // Eight rows in groups that read the same bytes of them; inlined, its vectors would not all stay in registers.
  __attribute__((noinline)) static void compare_eight(const uint8_t* const* row, int64_t start, __mmask64 inside, int64_t groups,
                            const uint8_t* lanes, const uint8_t* limits, uint64_t* __restrict masks) {
    __m512i bytes[8];
    for (int i = 0; i < 8; ++i) bytes[i] = _mm512_maskz_loadu_epi8(inside, row[i] + start);
    for (int64_t g = 0; g < groups; ++g) {
      const __m512i lane = _mm512_loadu_si512(lanes + 64 * g), limit = _mm512_loadu_si512(limits + 64 * g);
      for (int i = 0; i < 8; ++i)
        masks[64 * g + i] = _mm512_cmpge_epu8_mask(_mm512_permutexvar_epi8(lane, bytes[i]), limit);
    }
  }

  void finish_block(const __m512i* tiles, __m512i* planes) const {
    for (int64_t g = 0; g < groups_; ++g)
      for (int k = 0; k < 8; ++k) {
        __m512i out[8];
        transpose_words(tiles + 8 * g + k, 8 * groups_, out);
        for (int q = 0; q < 8; ++q) _mm512_store_si512(planes + 64 * g + lane_of(k, q), out[q]);
      }
  }
#endif

  int64_t features_, levels_, parts_, groups_;
  std::vector<float> thresholds_;
  std::vector<int64_t> start_;
  std::vector<uint8_t> byte_, level_, pixel_;
  std::vector<uint64_t> possible_;
};

}  // namespace difflut::engine
