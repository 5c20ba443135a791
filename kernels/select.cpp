// Learnable selection: each pin reads the input with the largest logit.
#include "bank.h"

namespace difflut::select {

constexpr int64_t kPins = 2048;  // pins searched together: 16 KiB hold what is known of them, in the fastest cache

// best, input: the largest logits so far of some pins and where they are; compares them with `Rows` rows more.
template <int Rows>
void compare_rows(const float* logits, int64_t first_row, int64_t pins, int64_t count, Line* best, Ints* input) {
  for (int64_t p = 0; p < count; p += kLine, ++best, ++input) {
    Line largest = *best;
    Ints where = *input;
    for (int r = 0; r < Rows; ++r) {
      const Line row = load<Line>(logits + (first_row + r) * pins + p, count - p);
      const Ints better = row > largest;
      largest = better ? row : largest;
      where = better ? Ints{} + int32_t(first_row + r) : where;
    }
    *best = largest, *input = where;
  }
}

// chosen[pin]: the first input with the largest of logits[features][pins], for some pins.
void best_inputs(const float* logits, int64_t features, int64_t pins, int64_t first, int64_t count, int64_t* chosen) {
  constexpr int kRows = 8;  // rows compared at a time: what is known of the pins is read once for all of them
  Line best[kPins / kLine];
  Ints input[kPins / kLine] = {};
  logits += first;
  std::memcpy(best, logits, count * sizeof(float));
  int64_t f = 0;
  for (; f + kRows <= features; f += kRows) compare_rows<kRows>(logits, f, pins, count, best, input);
  for (; f < features; ++f) compare_rows<1>(logits, f, pins, count, best, input);
  for (int64_t p = 0; p < count; ++p) chosen[first + p] = input[p / kLine][p % kLine];
}

inline int64_t best_candidate(const float* logits, int64_t count) {
  float best = logits[0];
  for (int64_t k = 1; k < count; ++k) best = logits[k] > best ? logits[k] : best;
  int64_t first = 0;
  while (first < count - 1 && logits[first] != best) ++first;
  return first;
}

extern "C" {

// chosen[pins]: the first of the inputs with the largest logit, from logits[features][pins].
void difflut_select_inputs(const float* logits, int64_t features, int64_t pins, int64_t* chosen, int64_t threads) {
#pragma omp parallel for num_threads(threads) if (features * pins > 65536)
  for (int64_t first = 0; first < pins; first += kPins)
    best_inputs(logits, features, pins, first, std::min(kPins, pins - first), chosen);
}

// The same among candidates[pins][choices]; returns 1 where there are inputs among them that there are not.
int difflut_select_candidates(const float* logits, const int64_t* candidates, int64_t choices, int64_t features,
                              int64_t pins, int64_t* chosen, int64_t threads) {
  int64_t outside = 0;
#pragma omp parallel for num_threads(threads) reduction(| : outside) if (choices * pins > 65536)
  for (int64_t pin = 0; pin < pins; ++pin) {
    const int64_t* among = candidates + pin * choices;
    for (int64_t k = 0; k < choices; ++k) outside |= uint64_t(among[k]) >= uint64_t(features);
    chosen[pin] = among[best_candidate(logits + pin * choices, choices)];
  }
  return outside != 0;
}

// y[pins * placements][batch] from bits: what each pin has chosen.
void difflut_select_read(const uint64_t* bits, const int64_t* chosen, const int64_t* sizes, int64_t batch, int64_t pins,
                         float* y, int64_t threads) {
  const Placements at(sizes);
  const int64_t words = words_of(batch);
#pragma omp parallel for num_threads(threads) if (batch * pins * at.count > 65536)
  for (int64_t pin = 0; pin < pins; ++pin) {
    const uint64_t* row = bits + at.row(chosen[pin]) * words;
    at.for_each([&](int64_t placement, int64_t offset) {
      for (int64_t w = 0; w < words; ++w)
        unpack(row[offset * words + w], std::min(kBlock, batch - w * kBlock),
               y + (pin * at.count + placement) * batch + w * kBlock);
    });
  }
}

}  // extern "C"

}  // namespace difflut::select
