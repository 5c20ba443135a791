// What learnable selection passes back, to its logits and to its inputs.
#include "bit_sums.h"

#include <cmath>

namespace difflut::select {

constexpr int64_t kPinBlock = 2048;  // pins whose softmax a thread finds at a time

inline float sign(const uint64_t* row, int64_t b) { return row[b / kBlock] >> (b % kBlock) & 1 ? 1.0f : -1.0f; }

// What a pin passes back to each input: the sum over the samples of (2 x - 1) g, from x as bits or as it is.
void candidate_gradients(const uint64_t* bits, const int64_t* candidates, int64_t count, const float* g, int64_t batch,
                         float* out) {
  const int64_t words = words_of(batch);
#ifdef DIFFLUT_AVX512
  for (int64_t first = 0; first < count; first += 16) {
    const uint64_t* row[16];
    for (int64_t k = 0; k < 16; ++k) row[k] = bits + candidates[std::min(first + k, count - 1)] * words;
    __m512 ones[16] = {}, all = {};
    for (int64_t b = 0; b < batch; b += 16) {
      const __m512 v = _mm512_maskz_loadu_ps(first_lanes(batch - b), g + b);
      all = _mm512_add_ps(all, v);
      for (int k = 0; k < 16; ++k) {
        uint16_t set;
        std::memcpy(&set, reinterpret_cast<const char*>(row[k]) + b / 8, sizeof set);
        ones[k] = _mm512_mask_add_ps(ones[k], set, ones[k], v);
      }
    }
    for (int k = 0; k < 16; ++k) ones[k] = _mm512_sub_ps(_mm512_add_ps(ones[k], ones[k]), all);
    _mm512_mask_storeu_ps(out + first, first_lanes(count - first), lane_sums(ones));
  }
#else
  for (int64_t k = 0; k < count; ++k) {
    const uint64_t* row = bits + candidates[k] * words;
    Line sums = {};
    for (int64_t b = 0; b < batch; b += kLine)
      for (int64_t i = 0; i < std::min(kLine, batch - b); ++i) sums[i] += sign(row, b + i) * g[b + i];
    out[k] = 0;
    for (int64_t i = 0; i < kLine; ++i) out[k] += sums[i];
  }
#endif
}

void candidate_gradients(const float* x, const int64_t* candidates, int64_t count, const float* g, int64_t batch,
                         float* out) {
  for (int64_t k = 0; k < count; ++k) {
    const float* row = x + candidates[k] * batch;
    Line sums = {};
    int64_t b = 0;
    for (; b + kLine <= batch; b += kLine) sums += (2 * load<Line>(row + b) - 1) * load<Line>(g + b);
    float total = 0;
    for (; b < batch; ++b) total += (2 * row[b] - 1) * g[b];
    for (int64_t i = 0; i < kLine; ++i) total += sums[i];
    out[k] = total;
  }
}

// Stores past the caches what is too large for them, which saves reading it first.
inline void stream_line(float* p, Line line, int64_t count) {
#ifdef DIFFLUT_AVX512
  if (count >= kLine && uintptr_t(p) % sizeof line == 0) return _mm512_stream_ps(p, line);
#endif
  store(p, line, count);
}

// logits_grad[features][pins] for a line of pins.
void line_gradient(const uint64_t* bits, const float* grad, int64_t batch, int64_t features, int64_t pins,
                   int64_t first, float* logits_grad) {
  static thread_local Sums sums;
  const int64_t words = words_of(batch), count = std::min(kLine, pins - first);
  for (int64_t w = 0; w < words; w += kWords) {
    sums.make(grad + first * batch + w * kBlock, batch, count, std::min(kWords * kBlock, batch - w * kBlock));
    for (int64_t f = 0; f < features; ++f) {
      float* out = logits_grad + f * pins + first;
      const Line total = sums.signed_by(bits + f * words + w);
      if (words <= kWords) stream_line(out, total, count);
      else store(out, w == 0 ? total : load<Line>(out, count) + total, count);
    }
  }
#ifdef DIFFLUT_AVX512
  _mm_sfence();
#endif
}

// A pin passes back to an input this share of its gradient.
struct Share {
  int32_t pin, input;
  float share;
};

// exp(-kReach) = 2**-46: what so small shares of up to 2**20 inputs add up to is lost in the rounding of their sum.
constexpr float kReach = 32;

// Bit i tells whether row[i] is above bound[i].
inline uint32_t above(const float* row, const float* bound, int64_t count) {
#ifdef DIFFLUT_AVX512
  const __mmask16 lanes = first_lanes(count);
  return _mm512_mask_cmp_ps_mask(lanes, _mm512_maskz_loadu_ps(lanes, row), _mm512_maskz_loadu_ps(lanes, bound),
                                 _CMP_GT_OQ);
#else
  uint32_t mask = 0;
  for (int64_t i = 0; i < std::min(kLine, count); ++i) mask |= uint32_t(row[i] > bound[i]) << i;
  return mask;
#endif
}

// The softmax over all inputs of logits[features][pins] / tau for some pins.
std::vector<Share> shares_of_inputs(const float* logits, const int64_t* chosen, int64_t features, int64_t pins,
                                    int64_t first, int64_t count, float tau) {
  std::vector<float> largest(count), bound(count), total(count);
  for (int64_t p = 0; p < count; ++p) largest[p] = logits[chosen[first + p] * pins + first + p];
  for (int64_t p = 0; p < count; ++p) bound[p] = largest[p] - kReach * tau;
  std::vector<Share> shares;
  for (int64_t f = 0; f < features; ++f)
    for (int64_t p = 0; p < count; p += kLine) {
      const float* row = logits + f * pins + first;
      for (uint32_t left = above(row + p, &bound[p], count - p); left; left &= left - 1) {
        const int64_t pin = p + __builtin_ctz(left);
        const float share = std::exp((row[pin] - largest[pin]) / tau);
        total[pin] += share;
        shares.push_back({int32_t(first + pin), int32_t(f), share});
      }
    }
  for (Share& s : shares) s.share /= total[s.pin - first];
  return shares;
}

// The softmax over the candidates of some pins.
std::vector<Share> shares_of_candidates(const float* logits, const int64_t* candidates, int64_t choices, int64_t first,
                                        int64_t count, float tau) {
  std::vector<Share> shares;
  for (int64_t pin = first; pin < first + count; ++pin) {
    const float* row = logits + pin * choices;
    const float largest = *std::max_element(row, row + choices);
    const size_t begin = shares.size();
    float total = 0;
    for (int64_t k = 0; k < choices; ++k) {
      if (!(row[k] > largest - kReach * tau)) continue;
      const float share = std::exp((row[k] - largest) / tau);
      total += share;
      shares.push_back({int32_t(pin), int32_t(candidates[pin * choices + k]), share});
    }
    for (size_t i = begin; i < shares.size(); ++i) shares[i].share /= total;
  }
  return shares;
}

// sums[input][kBlock] += share * grad[pin][samples of a word]
void spread(const std::vector<Share>& shares, const float* grad, int64_t batch, int64_t word, float* sums) {
  const int64_t samples = std::min(kBlock, batch - word * kBlock);
  for (const Share& s : shares) {
    const float* g = grad + s.pin * batch + word * kBlock;
    float* to = sums + s.input * kBlock;
    for (int64_t b = 0; b < samples; b += kLine)
      store(to + b, load<Line>(to + b) + s.share * load<Line>(g + b, samples - b), kLine);
  }
}

extern "C" {

// logits_grad[features][pins] from bits and grad[pins][batch].
void difflut_select_inputs_gradient(const uint64_t* bits, const float* grad, int64_t batch, int64_t features,
                                    int64_t pins, float* logits_grad, int64_t threads) {
  if (batch == 0) std::fill_n(logits_grad, features * pins, 0.0f);
#pragma omp parallel for num_threads(threads) if (features * pins > 16384)
  for (int64_t first = 0; first < pins; first += kLine)
    line_gradient(bits, grad, batch, features, pins, first, logits_grad);
}

// logits_grad[pins][choices], from x as bits or else from x[features][batch].
void difflut_select_candidates_gradient(const uint64_t* bits, const float* x, const int64_t* candidates,
                                        int64_t choices, const float* grad, int64_t batch, int64_t pins,
                                        float* logits_grad, int64_t threads) {
#pragma omp parallel for num_threads(threads) if (batch * pins > 16384)
  for (int64_t pin = 0; pin < pins; ++pin) {
    const int64_t* among = candidates + pin * choices;
    const float* g = grad + pin * batch;
    float* out = logits_grad + pin * choices;
    bits ? candidate_gradients(bits, among, choices, g, batch, out)
         : candidate_gradients(x, among, choices, g, batch, out);
  }
}

// x_grad[features][batch]: what pins pass back through a softmax over all inputs, or over candidates where there are.
void difflut_select_x_gradient(const float* logits, const int64_t* candidates, int64_t choices, const int64_t* chosen,
                               double tau, const float* grad, int64_t batch, int64_t features, int64_t pins,
                               float* x_grad, int64_t threads) {
  std::vector<std::vector<Share>> shares((pins + kPinBlock - 1) / kPinBlock);
  if (batch * pins <= 16384) threads = 1;
#pragma omp parallel for num_threads(threads)
  for (int64_t block = 0; block < int64_t(shares.size()); ++block) {
    const int64_t first = block * kPinBlock, count = std::min(kPinBlock, pins - first);
    shares[block] = candidates ? shares_of_candidates(logits, candidates, choices, first, count, float(tau))
                               : shares_of_inputs(logits, chosen, features, pins, first, count, float(tau));
  }
  sum_by_sample<kBlock>(features, batch, int(threads), x_grad, [&](int64_t start, float* sums) {
    for (const auto& some : shares) spread(some, grad, batch, start / kBlock, sums);
  });
}

}  // extern "C"

}  // namespace difflut::select
