// What the kernels share: sizes of a bank, the vector type, and the addresses that packed bits form.
//
// Tensors are feature-major: the row of a feature or an output holds its value for every sample of the batch.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

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

constexpr int64_t kBlock = 64;  // samples in a word of packed bits

inline int64_t words_of(int64_t batch) { return (batch + kBlock - 1) / kBlock; }

// `nodes` look-up tables with n inputs and m outputs each, read by `batch` samples of `features` inputs.
struct Bank {
  const int64_t* wiring;  // [nodes][n]
  int64_t batch, features, nodes, n, m;

  bool wiring_fits() const {
    int64_t outside = 0;
    for (int64_t i = 0; i < nodes * n; ++i) outside |= uint64_t(wiring[i]) >= uint64_t(features);
    return outside == 0;
  }

  // Below some work, waking a second thread costs more than it saves.
  int threads(int64_t wanted) const { return nodes * m * batch < 16384 ? 1 : int(wanted); }
};

// Calls f with n as a compile-time constant.
template <class F>
void with_inputs(int64_t n, F f) {
  switch (n) {
    case 1: return f(std::integral_constant<int, 1>());
    case 2: return f(std::integral_constant<int, 2>());
    case 3: return f(std::integral_constant<int, 3>());
    case 4: return f(std::integral_constant<int, 4>());
    case 5: return f(std::integral_constant<int, 5>());
    case 6: return f(std::integral_constant<int, 6>());
    case 7: return f(std::integral_constant<int, 7>());
    case 8: return f(std::integral_constant<int, 8>());
  }
}

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

// Room for `floats`, kept by each thread: fresh memory would cost more page faults than the work on it takes.
inline float* scratch(size_t floats) {
  static thread_local std::vector<float> room;
  if (room.size() < floats) room.resize(floats);
  return room.data();
}

// Copies the first Width floats, or `count` where there are fewer, of each row.
template <int64_t Width>
void copy_rows(const float* from, int64_t from_stride, float* to, int64_t to_stride, int64_t rows, int64_t count) {
  if (count >= Width)  // a constant size, for which the compiler needs no call
    for (int64_t r = 0; r < rows; ++r) std::memcpy(to + r * to_stride, from + r * from_stride, Width * sizeof(float));
  else
    for (int64_t r = 0; r < rows; ++r) std::memcpy(to + r * to_stride, from + r * from_stride, count * sizeof(float));
}

// spread[b] has bit i of b as its byte i.
constexpr std::array<uint64_t, 256> make_spread() {
  std::array<uint64_t, 256> spread{};
  for (int b = 0; b < 256; ++b)
    for (int i = 0; i < 8; ++i) spread[b] |= uint64_t(b >> i & 1) << (8 * i);
  return spread;
}
inline constexpr std::array<uint64_t, 256> kSpread = make_spread();

// The addresses that a node's inputs form for the samples of one word.
template <int N>
void addresses(const uint64_t* bits, int64_t words, int64_t word, const int64_t* wires, uint8_t* address) {
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
