// Bringing activations of any strides into the order that the other kernels read.
#include "bank.h"

namespace difflut::layout {

constexpr int64_t kTile = 16;  // floats of a cache line: a square tile reads and writes whole lines

void transpose_tile(const float* x, int64_t batch_stride, int64_t feature_stride, int64_t samples, int64_t features,
                    float* rows, int64_t batch) {
  for (int64_t f = 0; f < features; ++f)
    for (int64_t b = 0; b < samples; ++b) rows[f * batch + b] = x[b * batch_stride + f * feature_stride];
}

// Bit b tells whether x[b] is at least one half.
inline uint64_t pack_row(const float* x, int64_t samples) {
  uint64_t packed = 0;
#ifdef DIFFLUT_AVX512
  for (int64_t b = 0; b < samples; b += 16) {
    const __m512 values = _mm512_maskz_loadu_ps(first_lanes(samples - b), x + b);
    packed |= uint64_t(_mm512_cmp_ps_mask(values, _mm512_set1_ps(0.5f), _CMP_GE_OQ)) << b;
  }
#else
  for (int64_t b = 0; b < samples; ++b) packed |= uint64_t(x[b] >= 0.5f) << b;
#endif
  return packed;
}

// The bits of one word of samples for some features.
void pack_tile(const float* x, int64_t batch_stride, int64_t feature_stride, int64_t samples, int64_t features,
               uint64_t* bits, int64_t words) {
  if (batch_stride == 1) {
    for (int64_t f = 0; f < features; ++f) bits[f * words] = pack_row(x + f * feature_stride, samples);
    return;
  }
  uint64_t packed[kBlock] = {};
  auto pack = [&](int64_t stride) {
    for (int64_t b = 0; b < samples; ++b)
      for (int64_t f = 0; f < features; ++f) packed[f] |= uint64_t(x[b * batch_stride + f * stride] >= 0.5f) << b;
  };
  feature_stride == 1 ? pack(1) : pack(feature_stride);  // a constant stride lets the compiler use vectors
  for (int64_t f = 0; f < features; ++f) bits[f * words] = packed[f];
}

inline bool is_binary(const float* x, int64_t stride, int64_t count) {
  int others = 0;
  for (int64_t i = 0; i < count; ++i) others |= (x[i * stride] != 0.0f) & (x[i * stride] != 1.0f);
  return others == 0;
}

extern "C" {

// rows[features][batch] = x, whatever its strides.
void difflut_transpose(const float* x, int64_t batch_stride, int64_t feature_stride, int64_t batch, int64_t features,
                       float* rows, int64_t threads) {
#pragma omp parallel for num_threads(threads) if (batch * features > 16384)
  for (int64_t f = 0; f < features; f += kTile)
    for (int64_t b = 0; b < batch; b += kTile)
      transpose_tile(x + b * batch_stride + f * feature_stride, batch_stride, feature_stride,
                     std::min(kTile, batch - b), std::min(kTile, features - f), rows + f * batch + b, batch);
}

// bits[features][words]: bit i of word w tells whether sample 64 w + i is at least one half; bits past the batch are 0.
void difflut_pack_bits(const float* x, int64_t batch_stride, int64_t feature_stride, int64_t batch, int64_t features,
                       uint64_t* bits, int64_t threads) {
  const int64_t words = words_of(batch);
#pragma omp parallel for num_threads(threads) if (batch * features > 16384)
  for (int64_t f = 0; f < features; f += kBlock)
    for (int64_t w = 0; w < words; ++w)
      pack_tile(x + w * kBlock * batch_stride + f * feature_stride, batch_stride, feature_stride,
                std::min(kBlock, batch - w * kBlock), std::min(kBlock, features - f), bits + f * words + w, words);
}

// x[features][batch]: the bits as the floats 0 and 1.
void difflut_unpack_bits(const uint64_t* bits, int64_t batch, int64_t features, float* x, int64_t threads) {
  const int64_t words = words_of(batch);
#pragma omp parallel for num_threads(threads) if (batch * features > 16384)
  for (int64_t f = 0; f < features; ++f)
    for (int64_t w = 0; w < words; ++w)
      unpack(bits[f * words + w], std::min(kBlock, batch - w * kBlock), x + f * batch + w * kBlock);
}

// Whether all of x is exactly 0 or 1; other values are usually met in the first row.
int difflut_is_binary(const float* x, int64_t batch_stride, int64_t feature_stride, int64_t batch, int64_t features) {
  if (batch_stride == 1) std::swap(batch, features), std::swap(batch_stride, feature_stride);
  for (int64_t b = 0; b < batch; ++b) {
    const float* row = x + b * batch_stride;
    if (!(feature_stride == 1 ? is_binary(row, 1, features) : is_binary(row, feature_stride, features))) return 0;
  }
  return 1;
}

}  // extern "C"

}  // namespace difflut::layout
