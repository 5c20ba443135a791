// Vectors of floats as wide as the processor has them, and sums over their lanes.
#pragma once

#include <cstdint>
#include <cstring>

#if !defined(DIFFLUT_PORTABLE) && defined(__AVX512F__)
#include <immintrin.h>
#define DIFFLUT_AVX512
#define DIFFLUT_VECTOR_BYTES 64
#elif !defined(DIFFLUT_PORTABLE) && defined(__AVX__)
#define DIFFLUT_VECTOR_BYTES 32
#else
#define DIFFLUT_VECTOR_BYTES 16
#endif

namespace difflut {

typedef float Vec __attribute__((vector_size(DIFFLUT_VECTOR_BYTES)));
constexpr int kLanes = DIFFLUT_VECTOR_BYTES / sizeof(float);

// The floats of a cache line, in as few registers as hold them.
typedef float Line __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));
constexpr int64_t kLine = sizeof(Line) / sizeof(float);

// The first `count` floats at p; the other lanes are zero.
template <class V = Vec>
inline V load(const float* p, int64_t count = sizeof(V) / sizeof(float)) {
  V v = {};
  if (count >= int64_t(sizeof(V) / sizeof(float))) std::memcpy(&v, p, sizeof v);
  else std::memcpy(&v, p, count * sizeof(float));
  return v;
}

template <class V>
inline void store(float* p, V v, int64_t count = sizeof(V) / sizeof(float)) {
  if (count >= int64_t(sizeof(V) / sizeof(float))) std::memcpy(p, &v, sizeof v);
  else std::memcpy(p, &v, count * sizeof(float));
}

#ifdef DIFFLUT_AVX512
inline __mmask16 first_lanes(int64_t count) { return count >= 16 ? 0xffff : (1 << count) - 1; }

// Lane i is the sum of the lanes of v[i].
inline __attribute__((always_inline)) __m512 lane_sums(const __m512 (&v)[16]) {
  __m512 a[8], b[4], c[2];
  for (int i = 0; i < 8; ++i)
    a[i] = _mm512_add_ps(_mm512_shuffle_f32x4(v[i], v[i + 8], 0x44), _mm512_shuffle_f32x4(v[i], v[i + 8], 0xee));
  for (int i = 0; i < 4; ++i)
    b[i] = _mm512_add_ps(_mm512_shuffle_f32x4(a[i], a[i + 4], 0x88), _mm512_shuffle_f32x4(a[i], a[i + 4], 0xdd));
  for (int i = 0; i < 2; ++i)
    c[i] = _mm512_add_ps(_mm512_shuffle_ps(b[i], b[i + 2], 0x44), _mm512_shuffle_ps(b[i], b[i + 2], 0xee));
  const __m512 sums = _mm512_add_ps(_mm512_shuffle_ps(c[0], c[1], 0x88), _mm512_shuffle_ps(c[0], c[1], 0xdd));
  return _mm512_permutexvar_ps(_mm512_setr_epi32(0, 2, 1, 3, 8, 10, 9, 11, 4, 6, 5, 7, 12, 14, 13, 15), sums);
}
#endif

// Lane i is the sum of the lanes of v[i].
inline Line line_sums(const Line* v) {
#ifdef DIFFLUT_AVX512
  __m512 lanes[kLine];
  for (int i = 0; i < kLine; ++i) lanes[i] = __m512(v[i]);
  return Line(lane_sums(lanes));
#else
  Line sums = {};
  for (int i = 0; i < kLine; ++i)
    for (int lane = 0; lane < kLine; ++lane) sums[i] += v[i][lane];
  return sums;
#endif
}

// out[i] += the sum of the lanes of v[i].
template <int Count>
inline __attribute__((always_inline)) void add_lanes(const Vec* v, float* out) {
#ifdef DIFFLUT_AVX512
  if constexpr (Count == 16) {
    __m512 lanes[16];
    for (int i = 0; i < 16; ++i) lanes[i] = v[i];
    return _mm512_storeu_ps(out, _mm512_add_ps(_mm512_loadu_ps(out), lane_sums(lanes)));
  }
#endif
  for (int i = 0; i < Count; ++i) {
    float sum = 0;
    for (int lane = 0; lane < kLanes; ++lane) sum += v[i][lane];
    out[i] += sum;
  }
}

}  // namespace difflut
