// What surrounds the network in a training step: choosing its samples, and the loss.
#include "bank.h"

#include <cmath>

namespace difflut::step {

// Transposes a square of bits: bit i of rows[k] becomes bit k of rows[i].
inline void transpose(uint64_t* rows) {
  uint64_t low = 0xffffffff;  // of each pair of stretches that change places, the lower one
  for (int width = 32; width > 0; width /= 2, low ^= low << width)
    for (int first = 0; first < kBlock; first += 2 * width)
      for (int k = first; k < first + width; ++k) {
        const uint64_t differs = (rows[k] >> width ^ rows[k + width]) & low;
        rows[k] ^= differs << width;
        rows[k + width] ^= differs;
      }
}

extern "C" {

// bits[features][words] and chosen_labels[batch] of the samples order[position], order[position + 1], ...; rows hold a
// sample's bits, 64 features a word. Moves the position on.
void difflut_choose(const uint64_t* rows, int64_t row_words, const int64_t* labels, const int64_t* order,
                    int64_t* position, int64_t batch, int64_t features, uint64_t* bits, int64_t* chosen_labels,
                    int64_t threads) {
  const int64_t words = words_of(batch), *chosen = order + *position;
  for (int64_t b = 0; b < batch; ++b) chosen_labels[b] = labels[chosen[b]];
#pragma omp parallel for num_threads(threads) if (batch * features > 1048576)
  for (int64_t w = 0; w < words; ++w) {
    const int64_t samples = std::min(kBlock, batch - w * kBlock);
    for (int64_t b = 0; b < samples; ++b)  // rows that lie anywhere in memory are fetched together
      for (int64_t column = 0; column < row_words; column += 8)
        __builtin_prefetch(rows + chosen[w * kBlock + b] * row_words + column);
    for (int64_t column = 0; column < row_words; ++column) {
      uint64_t square[kBlock] = {};
      for (int64_t b = 0; b < samples; ++b) square[b] = rows[chosen[w * kBlock + b] * row_words + column];
      transpose(square);
      const int64_t first = column * kBlock, count = std::min(kBlock, features - first);
      for (int64_t f = 0; f < count; ++f) bits[(first + f) * words + w] = square[f];
    }
  }
  *position += batch;
}

// The gradient of the mean cross entropy, [classes][batch]; adds the summed loss and the number of samples whose
// largest logit is their label's to totals[2].
void difflut_cross_entropy(const float* logits, const int64_t* labels, int64_t batch, int64_t classes, float* grad,
                           double* totals, int64_t) {
  double loss = 0;
  int64_t hits = 0;
  for (int64_t b = 0; b < batch; ++b) {
    int64_t best = 0;
    for (int64_t c = 1; c < classes; ++c)
      if (logits[c * batch + b] > logits[best * batch + b]) best = c;
    const float largest = logits[best * batch + b];
    float sum = 0;
    for (int64_t c = 0; c < classes; ++c) sum += grad[c * batch + b] = std::exp(logits[c * batch + b] - largest);
    for (int64_t c = 0; c < classes; ++c)
      grad[c * batch + b] = (grad[c * batch + b] / sum - float(c == labels[b])) / float(batch);
    loss += std::log(sum) - (logits[labels[b] * batch + b] - largest);
    hits += best == labels[b];
  }
  totals[0] += loss;
  totals[1] += double(hits);
}

}  // extern "C"

}  // namespace difflut::step
