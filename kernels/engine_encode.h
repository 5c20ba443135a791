// From rows of pixels or floats to a plane of bits for each comparison.
//
// Floats are transposed, sixteen features at a time, and a column of them is compared with a threshold, which gives a
// plane at once. Of pixels a group compares 64 bytes of a row at once, which gives a word for each row; 64 of these are
// then transposed.
#pragma once

#include <cmath>

#include "engine.h"

namespace difflut::engine {

constexpr int kTile = 64;     // rows encoded together: their bits fill a word
constexpr int kColumns = 16;  // features transposed together: their floats fill a vector

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
// The same, except that words lie in the order of `lane_of`.
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
  for (int q = 0; q < 4; ++q) {
    a[2 * q] = _mm512_unpacklo_epi8(z[2 * q], z[2 * q + 1]);
    a[2 * q + 1] = _mm512_unpackhi_epi8(z[2 * q], z[2 * q + 1]);
  }
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

#ifdef DIFFLUT_ENGINE_AVX512
inline __m512 load_columns(const float* x, __mmask16 lanes) { return _mm512_maskz_loadu_ps(lanes, x); }

inline __m512 load_columns(const double* x, __mmask16 lanes) {
  const __m256 low = _mm512_cvtpd_ps(_mm512_maskz_loadu_pd(__mmask8(lanes), x));
  const __m256 high = _mm512_cvtpd_ps(_mm512_maskz_loadu_pd(__mmask8(lanes >> 8), x + 8));
  return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}

// Sixteen vectors to sixteen vectors: lane j of vector i becomes lane i of vector j.
inline void transpose_floats(__m512* rows) {
  __m512 pairs[16], fours[16];
  for (int i = 0; i < 16; i += 2) {
    pairs[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]), pairs[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
  }
  for (int i = 0; i < 16; i += 4)
    for (int high = 0; high < 2; ++high) {
      const __m512d a = _mm512_castps_pd(pairs[i + high]), b = _mm512_castps_pd(pairs[i + high + 2]);
      fours[i + 2 * high] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
      fours[i + 2 * high + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
    }
  for (int c = 0; c < 4; ++c) {
    const __m512 even = _mm512_shuffle_f32x4(fours[c], fours[4 + c], 0x88);
    const __m512 odd = _mm512_shuffle_f32x4(fours[c], fours[4 + c], 0xdd);
    const __m512 more_even = _mm512_shuffle_f32x4(fours[8 + c], fours[12 + c], 0x88);
    const __m512 more_odd = _mm512_shuffle_f32x4(fours[8 + c], fours[12 + c], 0xdd);
    rows[c] = _mm512_shuffle_f32x4(even, more_even, 0x88), rows[8 + c] = _mm512_shuffle_f32x4(even, more_even, 0xdd);
    rows[4 + c] = _mm512_shuffle_f32x4(odd, more_odd, 0x88), rows[12 + c] = _mm512_shuffle_f32x4(odd, more_odd, 0xdd);
  }
}
#endif

class Encoder {
 public:
  explicit Encoder(const Plan& plan)
      : features_(plan.features), groups_(plan.groups),
        feature_(plan.feature, plan.feature + plan.comparisons), limit_(plan.limit, plan.limit + plan.comparisons),
        place_(plan.place, plan.place + plan.comparisons), start_(plan.group_start, plan.group_start + plan.groups),
        lane_(plan.lane_feature, plan.lane_feature + 64 * plan.groups),
        pixel_(plan.lane_pixel, plan.lane_pixel + 64 * plan.groups),
        possible_(plan.lane_possible, plan.lane_possible + plan.groups) {}

  // Words that encoding a block needs beside its planes, in whole vectors.
  int64_t room() const { return std::max<int64_t>(groups_ * 64 * (1 + 8), kColumns * 8 * kTile / 2); }

  // planes[64 * groups][words] of the rows `first` to 64 * words after; past the end the last row is repeated.
  template <int Words, class T>
  void operator()(const T* x, int64_t first, int64_t rows, uint64_t* planes, uint64_t* room) const {
    auto* columns = reinterpret_cast<float*>(room);  // [kColumns][64 * Words]
    for (size_t c = 0; c < feature_.size();) {
      const int64_t left = feature_[c] / kColumns * kColumns, right = std::min(left + kColumns, features_);
      take_columns<64 * Words>(x, first, rows, left, right, columns);
      for (; c < feature_.size() && feature_[c] < right; ++c)
        exceeding<Words>(columns + (feature_[c] - left) * 64 * Words, limit_[c], planes + int64_t(place_[c]) * Words);
    }
  }

  template <int Words>
  void operator()(const uint8_t* x, int64_t first, int64_t rows, uint64_t* planes, uint64_t* room) const {
    uint64_t* masks = room;                 // [groups][64]
    uint64_t* tiles = room + 64 * groups_;  // [words][groups][64]
    for (int w = 0; w < Words; ++w) {
      const uint8_t* row[kTile];
      for (int r = 0; r < kTile; ++r) row[r] = x + std::min(first + w * kTile + r, rows - 1) * features_;
      compare(row, masks);
      finish_tile(masks, w, Words, planes, tiles);
    }
#ifdef DIFFLUT_ENGINE_AVX512
    if (Words == 8) finish_block(reinterpret_cast<__m512i*>(tiles), reinterpret_cast<__m512i*>(planes));
#endif
  }

 private:
  // columns[features][Rows]: features `left` to `right` of the rows from `first` on.
  template <int Rows, class T>
  void take_columns(const T* x, int64_t first, int64_t rows, int64_t left, int64_t right, float* columns) const {
#ifdef DIFFLUT_ENGINE_AVX512
    const auto lanes = __mmask16((1u << (right - left)) - 1);
    for (int r = 0; r < Rows; r += 16) {
      __m512 vectors[16];
      for (int i = 0; i < 16; ++i)
        vectors[i] = load_columns(x + std::min(first + r + i, rows - 1) * features_ + left, lanes);
      transpose_floats(vectors);
      for (int i = 0; i < 16; ++i) _mm512_store_ps(columns + i * Rows + r, vectors[i]);
    }
#else
    for (int r = 0; r < Rows; ++r) {
      const T* row = x + std::min(first + r, rows - 1) * features_;
      for (int64_t f = left; f < right; ++f) columns[(f - left) * Rows + r] = float(row[f]);
    }
#endif
  }

  // A bit for each row of a column.
  template <int Words>
  static void exceeding(const float* column, float limit, uint64_t* plane) {
#ifdef DIFFLUT_ENGINE_AVX512
    const __m512 limits = _mm512_set1_ps(limit);
    for (int i = 0; i < 4 * Words; ++i) {
      const __mmask16 above = _mm512_cmp_ps_mask(_mm512_load_ps(column + 16 * i), limits, _CMP_GT_OQ);
      std::memcpy(reinterpret_cast<char*>(plane) + 2 * i, &above, 2);
    }
#else
    for (int w = 0; w < Words; ++w) {
      uint8_t holds[64];
      for (int i = 0; i < 64; ++i) holds[i] = column[64 * w + i] > limit;
      plane[w] = packed(holds);
    }
#endif
  }

  // 64 bytes of 0 or 1 to a word.
  static uint64_t packed(const uint8_t* holds) {
    uint64_t word = 0;
    for (int i = 0; i < 8; ++i) {
      uint64_t eight;
      std::memcpy(&eight, holds + 8 * i, 8);
      word |= (eight * 0x0102040810204080 >> 56) << (8 * i);
    }
    return word;
  }

  // masks[groups][64]: bit i of word r tells whether comparison i of the group holds for row r.
  void compare(const uint8_t* const* row, uint64_t* masks) const {
#ifdef DIFFLUT_ENGINE_AVX512
    for (int r = 0; r < kTile; r += 8)
      for (int64_t g = 0, next; g < groups_; g = next) {
        for (next = g; next < groups_ && start_[next] == start_[g];) ++next;
        const int64_t left = features_ - start_[g];
        compare_eight(row + r, start_[g], left >= 64 ? ~0ull : (1ull << left) - 1, next - g, &lane_[64 * g],
                      &pixel_[64 * g], masks + 64 * g + r);
      }
#else
    for (int r = 0; r < kTile; ++r)
      for (int64_t g = 0; g < groups_; ++g) {
        uint8_t holds[64];
        const uint8_t* bytes = row[r] + start_[g];
        for (int i = 0; i < 64; ++i) holds[i] = bytes[lane_[64 * g + i]];
        for (int i = 0; i < 64; ++i) holds[i] = holds[i] >= pixel_[64 * g + i];
        masks[64 * g + r] = packed(holds);
      }
#endif
    for (int64_t g = 0; g < groups_; ++g)  // hardly ever; the comparisons themselves are quicker without it
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
  __attribute__((noinline)) static void compare_eight(const uint8_t* const* row, int64_t start, __mmask64 inside,
                                                      int64_t groups, const uint8_t* lanes, const uint8_t* limits,
                                                      uint64_t* __restrict masks) {
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

  int64_t features_, groups_;
  std::vector<int32_t> feature_;
  std::vector<float> limit_;
  std::vector<int32_t> place_;
  std::vector<int64_t> start_;
  std::vector<uint8_t> lane_, pixel_;
  std::vector<uint64_t> possible_;
};

}  // namespace difflut::engine
