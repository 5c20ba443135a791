// Adam with decoupled weight decay: for all parameters at once, and for the logits of a dense selection. The
// gradient of these logits is a product of two factors and is never written down.
#include "bit_sums.h"

#include <cmath>
#include <limits>

namespace difflut::adam {

inline Line root(Line v) {
#ifdef DIFFLUT_AVX512
  return _mm512_sqrt_ps(v);
#else
  for (int64_t i = 0; i < kLine; ++i) v[i] = std::sqrt(v[i]);
  return v;
#endif
}

struct Adam {
  float keep, step_size, scale, eps, rest1, keep2, rest2;

  // For step number `step`; the first step is number 1.
  Adam(double rate, double beta1, double beta2, double eps, double weight_decay, double step)
      : keep(float(1 - rate * weight_decay)),
        step_size(float(rate / (1 - std::pow(beta1, step)))),
        scale(float(1 / std::sqrt(1 - std::pow(beta2, step)))),
        eps(float(eps)),
        rest1(float(1 - beta1)),
        keep2(float(beta2)),
        rest2(float(1 - beta2)) {}

  // Updates up to a line of weights and their running means of the gradient and of its square; returns the weights.
  __attribute__((always_inline)) Line operator()(float* weight, float* mean, float* square, Line g,
                                                 int64_t count) const {
    const Line m = load<Line>(mean, count), new_mean = m + rest1 * (g - m);
    const Line new_square = keep2 * load<Line>(square, count) + rest2 * g * g;
    const Line w = keep * load<Line>(weight, count) - step_size * new_mean / (root(new_square) * scale + eps);
    store(mean, new_mean, count);
    store(square, new_square, count);
    store(weight, w, count);
    return w;
  }
};

// Inputs that are updated for one line of pins, while those of the next line are fetched.
constexpr int64_t kRows = 64;
// Lines of pins in a strip. They lie side by side in a row, so that a page of memory serves several of them.
constexpr int64_t kLines = 16;

struct Strip {
  Sums sums[kLines];
  Line best[kLines];
  Ints input[kLines];
};

// Updates logits[features][pins] for a strip of pins; chosen[pin] is the first input with the largest new logit.
void select_strip(const Adam& adam, const uint64_t* bits, const float* grad, int64_t batch, int64_t features,
                  int64_t pins, int64_t first, float* logits, float* mean, float* square, int64_t* chosen) {
  static thread_local Strip strip;
  const int64_t words = words_of(batch), width = std::min(kLines * kLine, pins - first);
  const int64_t lines = (width + kLine - 1) / kLine;
  for (int64_t l = 0; l < lines; ++l) {
    strip.sums[l].make(grad + (first + l * kLine) * batch, batch, std::min(kLine, width - l * kLine), batch);
    strip.best[l] = Line{} - std::numeric_limits<float>::infinity();
    strip.input[l] = Ints{};
  }
  for (int64_t start = 0; start < features; start += kRows)
    for (int64_t l = 0; l < lines; ++l) {
      const int64_t count = width - l * kLine, next = l + 1 < lines ? kLine : kRows * pins - l * kLine;
      for (int64_t f = start; f < std::min(start + kRows, features); ++f) {
        const int64_t at = f * pins + first + l * kLine;
        __builtin_prefetch(logits + at + next, 1);
        __builtin_prefetch(mean + at + next, 1);
        __builtin_prefetch(square + at + next, 1);
        const Line w = adam(logits + at, mean + at, square + at, strip.sums[l].signed_by(bits + f * words), count);
        const Ints better = w > strip.best[l];
        strip.best[l] = better ? w : strip.best[l];
        strip.input[l] = better ? Ints{} + int32_t(f) : strip.input[l];
      }
    }
  for (int64_t p = 0; p < width; ++p) chosen[first + p] = strip.input[p / kLine][p % kLine];
}

// One tensor, as `difflut_adam` gets it.
struct Tensor {
  float* weight;
  const float* grad;
  float *mean, *square, *steps;
  int64_t size;
};

extern "C" {

// One step for `count` tensors with the rate rate[0]; steps[0] of each counts it.
void difflut_adam(const Tensor* tensors, int64_t count, const double* rate, double beta1, double beta2, double eps,
                  double weight_decay, int64_t threads) {
  // Entries of a part: several parts even of one tensor, each with far more work than it takes to hand it out.
  constexpr int64_t kPart = 4096;
  int64_t total = 0;
  for (int64_t t = 0; t < count; ++t) total += tensors[t].size, ++*tensors[t].steps;
// With less work than this, waking threads costs more than it saves.
#pragma omp parallel num_threads(threads) if (total > 65536)
  for (int64_t t = 0; t < count; ++t) {
    const Tensor& x = tensors[t];
    const Adam adam(*rate, beta1, beta2, eps, weight_decay, *x.steps);
#pragma omp for nowait
    for (int64_t start = 0; start < x.size; start += kPart)
      for (int64_t i = start; i < std::min(start + kPart, x.size); i += kLine)
        adam(x.weight + i, x.mean + i, x.square + i, load<Line>(x.grad + i, x.size - i), x.size - i);
  }
}

// One step of logits[features][pins] with the gradient (2 x - 1)^T grad, from the bits of x and grad[pins][batch], for
// a batch of up to 128, which is kWords words; chosen[pins] are the inputs with the largest new logits, and steps[0]
// counts the step.
void difflut_select_adam(const uint64_t* bits, const float* grad, int64_t batch, int64_t features, int64_t pins,
                         float* logits, float* mean, float* square, float* steps, int64_t* chosen, const double* rate,
                         double beta1, double beta2, double eps, double weight_decay, int64_t threads) {
  const Adam adam(*rate, beta1, beta2, eps, weight_decay, ++*steps);
#pragma omp parallel for num_threads(threads) if (features * pins > 16384)
  for (int64_t first = 0; first < pins; first += kLines * kLine)
    select_strip(adam, bits, grad, batch, features, pins, first, logits, mean, square, chosen);
}

}  // extern "C"

}  // namespace difflut::adam
