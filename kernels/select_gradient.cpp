// What learnable selection passes back, to its logits and to its inputs.
#include "bit_sums.h"
#include "pin_gradients.h"

#include <cmath>

namespace difflut::select {

constexpr int64_t kPinBlock = 2048;  // pins whose softmax a thread computes at a time: 8 KiB of a row of logits

// A word of packed bits of each of 16 inputs; that of input k is bits[rows[k]].
#ifdef DIFFLUT_AVX512
struct Words {
  __m512i low, high;  // halves of the words, of 32 samples each

  Words(const uint64_t* bits, const int64_t* rows) {
    const auto eight = [&](const int64_t* r) {  // quicker than an instruction that gathers
      return _mm512_set_epi64(bits[r[7]], bits[r[6]], bits[r[5]], bits[r[4]], bits[r[3]], bits[r[2]], bits[r[1]],
                              bits[r[0]]);
    };
    const __m512i first = eight(rows), second = eight(rows + 8);
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    low = _mm512_permutex2var_epi32(first, even, second);
    high = _mm512_permutex2var_epi32(first, _mm512_or_si512(even, _mm512_set1_epi32(1)), second);
  }

  // For each input the entry of `sums` that its bits of a group of samples choose.
  Line chosen(const Line& sums, int group) const {
    const __m512i half = group < kGroups / 2 ? low : high;
    return Line(_mm512_permutexvar_ps(_mm512_srli_epi32(half, group * kGroup % 32), __m512(sums)));
  }
};
#else
struct Words {
  uint64_t word[kLine];

  Words(const uint64_t* bits, const int64_t* rows) {
    for (int k = 0; k < kLine; ++k) word[k] = bits[rows[k]];
  }

  Line chosen(const Line& sums, int group) const {
    Line line;
    for (int k = 0; k < kLine; ++k) line[k] = sums[word[k] >> (group * kGroup) & (kPatterns - 1)];
    return line;
  }
};
#endif

// x as packed bits: sums (2 x - 1) g over samples.
struct BitInputs {
  const uint64_t* bits;
  int64_t batch;

  int64_t pitch() const { return words_of(batch); }

  // Adds to sums[lines], of 16 inputs each, those over some blocks with gradients tile[block * tile_pitch + sample];
  // input k begins at the place rows[k].
  void add(const int64_t* rows, int64_t lines, const Block* blocks, int count, const float* tile, int64_t tile_pitch,
           Line* sums) const {
    Line signs[kGroup];  // of a group's samples in each pattern
    for (int i = 0; i < kGroup; ++i)
      for (int pattern = 0; pattern < kPatterns; ++pattern) signs[i][pattern] = pattern >> i & 1 ? 1.0f : -1.0f;
    Line patterns[kBlocks][kGroups];
    for (int i = 0; i < count; ++i)
      for (int group = 0; group < kGroups; ++group) {
        const float* g = tile + i * tile_pitch + group * kGroup;
        patterns[i][group] = (g[0] * signs[0] + g[1] * signs[1]) + (g[2] * signs[2] + g[3] * signs[3]);
      }
    for (int64_t line = 0; line < lines; ++line) {
      Line total[4] = {};
      for (int i = 0; i < count; ++i) {
        const Words words(bits + blocks[i].offset * pitch() + blocks[i].start / kBlock, rows + line * kLine);
        for (int group = 0; group < kGroups; ++group) total[group % 4] += words.chosen(patterns[i][group], group);
      }
      sums[line] += (total[0] + total[1]) + (total[2] + total[3]);
    }
  }
};

// The same for x as it is, x[padded rows][batch].
struct RealInputs {
  const float* x;
  int64_t batch;

  int64_t pitch() const { return batch; }

  void add(const int64_t* rows, int64_t lines, const Block* blocks, int count, const float* tile, int64_t tile_pitch,
           Line* sums) const {
    Line all = {};
    for (int i = 0; i < count; ++i)
      for (int64_t b = 0; b < kBlock; b += kLine) all += load<Line>(tile + i * tile_pitch + b);
    for (int64_t line = 0; line < lines; ++line) {
      Line products[kLine];
      for (int k = 0; k < kLine; ++k) {
        Line total[2] = {};
        for (int i = 0; i < count; ++i) {
          const float* row = x + rows[line * kLine + k] + blocks[i].offset * batch + blocks[i].start;
          const float* g = tile + i * tile_pitch;
          const int64_t samples = batch - blocks[i].start;
          for (int64_t b = 0; b < std::min(kBlock, samples); b += kLine)
            total[b / kLine % 2] += load<Line>(row + b, samples - b) * load<Line>(g + b);
        }
        products[k] = 2 * (total[0] + total[1]) - all;
      }
      sums[line] += line_sums(products);
    }
  }
};

// What a group of pins passes back to the logits of each of its candidates: sums of (2 x - 1) g.
template <class Source, class Inputs>
void candidates_gradient(const Source& source, const Inputs& inputs, const Placements& at, const int64_t* candidates,
                         int64_t choices, int64_t group, float* logits_grad) {
  constexpr int kPins = Source::kPins;
  const int64_t lines = (choices + kLine - 1) / kLine, first = group * kPins;
  static thread_local std::vector<int64_t> rows;
  static thread_local std::vector<Line> sums;
  rows.resize(kPins * lines * kLine);
  sums.assign(kPins * lines, Line{});
  for (int64_t j = 0; j < kPins; ++j)
    for (int64_t k = 0; k < lines * kLine; ++k)
      rows[j * lines * kLine + k] =
          at.row(candidates[(first + j) * choices + std::min(k, choices - 1)]) * inputs.pitch();
  for_each_blocks<kBlock, kBlocks>(at, inputs.batch, [&](const Block* blocks, int count) {
    alignas(64) float tiles[kBlocks * kPins * kBlock];
    source.fill(group, blocks, count, tiles);
    for (int64_t j = 0; j < kPins; ++j)
      inputs.add(&rows[j * lines * kLine], lines, blocks, count, tiles + j * kBlock, kPins * kBlock, &sums[j * lines]);
  });
  for (int64_t j = 0; j < kPins; ++j)
    for (int64_t k = 0; k < choices; k += kLine)
      store(logits_grad + (first + j) * choices + k, sums[j * lines + k / kLine], choices - k);
}

// Stores past the caches what is too large for them, which saves reading it first.
inline void stream_line(float* p, Line line, int64_t count) {
#ifdef DIFFLUT_AVX512
  if (count >= kLine && uintptr_t(p) % sizeof line == 0) return _mm512_stream_ps(p, __m512(line));
#endif
  store(p, line, count);
}

// The gradients of a line of pins, tile[pin][kWords * kBlock], at one placement.
template <class Source>
void fill_line(const Source& source, int64_t first, int64_t pins, const Block* blocks, int count, float* tile) {
  constexpr int kPins = Source::kPins;
  float own[kWords * kPins * kBlock];
  for (int64_t group = first / kPins; group * kPins < first + pins; ++group) {
    source.fill(group, blocks, count, own);
    for (int j = 0; j < kPins; ++j) {
      const int64_t pin = group * kPins + j - first;
      if (pin < 0 || pin >= pins) continue;
      for (int i = 0; i < count; ++i)
        std::copy_n(own + (i * kPins + j) * kBlock, kBlock, tile + (pin * kWords + i) * kBlock);
    }
  }
}

// Adds to logits_grad[window][pins] of a line of pins what `sums` gives, or writes it where it comes first.
inline void add_line(const Sums& sums, const uint64_t* bits, int64_t words, const int64_t* rows, int64_t window,
                     bool is_first, bool is_last, float* logits_grad, int64_t pins, int64_t count) {
  if (is_first && is_last)
    for (int64_t f = 0; f < window; ++f)
      stream_line(logits_grad + f * pins, sums.signed_by(bits + rows[f] * words), count);
  else
    for (int64_t f = 0; f < window; ++f) {
      float* out = logits_grad + f * pins;
      const Line total = sums.signed_by(bits + rows[f] * words);
      store(out, is_first ? total : load<Line>(out, count) + total, count);
    }
}

// logits_grad[window][pins] for a line of pins.
template <class Source>
void window_gradient(const Source& source, const uint64_t* bits, const Placements& at, int64_t batch, int64_t pins,
                     int64_t first, const int64_t* rows, float* logits_grad) {
  static thread_local Sums sums;
  const int64_t words = words_of(batch), count = std::min(kLine, pins - first);
  alignas(64) float tile[kLine * kWords * kBlock];
  at.for_each([&](int64_t placement, int64_t offset) {
    for (int64_t w = 0; w < words; w += kWords) {
      Block blocks[kWords];
      const int used = int(std::min(kWords, words - w));
      for (int i = 0; i < used; ++i) blocks[i] = {placement, offset, (w + i) * kBlock};
      fill_line(source, first, count, blocks, used, tile);
      sums.make(tile, kWords * kBlock, count, std::min(kWords * kBlock, batch - w * kBlock));
      const bool is_first = placement == 0 && w == 0, is_last = placement + 1 == at.count && w + kWords >= words;
      add_line(sums, bits + offset * words + w, words, rows, at.window(), is_first, is_last, logits_grad + first, pins,
               count);
    }
  });
#ifdef DIFFLUT_AVX512
  _mm_sfence();
#endif
}

// A pin passes back to an input this share of its gradient.
struct Share {
  int32_t pin, input;
  float share;
};

// Logits that are lower than the largest by kReach * tau are left out. Their shares are below exp(-kReach) = 2**-46, so
// those of 2**20 inputs add up to less than 2**-26, which the rounding of a sum of floats loses anyway.
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

// The softmax over all inputs of logits[window][pins] / tau for some pins, in the order of the pins.
std::vector<Share> shares_of_inputs(const float* logits, const int64_t* chosen, int64_t window, int64_t pins,
                                    int64_t first, int64_t count, float tau) {
  std::vector<float> largest(count), bound(count), total(count);
  for (int64_t p = 0; p < count; ++p) largest[p] = logits[chosen[first + p] * pins + first + p];
  for (int64_t p = 0; p < count; ++p) bound[p] = largest[p] - kReach * tau;
  std::vector<Share> shares;
  for (int64_t f = 0; f < window; ++f)
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
  std::vector<int64_t> next(count + 1);
  for (const Share& s : shares) ++next[s.pin - first + 1];
  for (int64_t p = 0; p < count; ++p) next[p + 1] += next[p];
  std::vector<Share> by_pin(shares.size());
  for (const Share& s : shares) by_pin[next[s.pin - first]++] = s;
  return by_pin;
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

// Adds to sums[padded row][pitch] what pins pass back at a row of placements, for a word of samples.
template <class Source>
void spread(const Source& source, const Placements& at, const std::vector<Share>& shares, int64_t y, int64_t start,
            float* sums, int64_t pitch) {
  constexpr int kPins = Source::kPins;
  for (const Share *s = shares.data(), *end = s + shares.size(), *next; s < end; s = next) {
    const int64_t group = s->pin / kPins;
    for (next = s; next < end && next->pin / kPins == group;) ++next;
    for_each_blocks_in_row<kBlocks>(at, y, start, [&](const Block* blocks, int count) {
      alignas(64) float tiles[kBlocks * kPins * kBlock];
      source.fill(group, blocks, count, tiles);
      for (const Share* share = s; share < next; ++share) {
        const int64_t row = at.row(share->input);
        for (int i = 0; i < count; ++i) {
          const float* g = tiles + (i * kPins + share->pin % kPins) * kBlock;
          float* to = sums + (row + blocks[i].offset) * pitch;
          for (int64_t b = 0; b < kBlock; b += kLine)
            store(to + b, load<Line>(to + b) + share->share * load<Line>(g + b));
        }
      }
    });
  }
}

extern "C" {

// logits_grad[window][pins] from bits; the gradients of pins are `Upstream`, here and below.
void difflut_select_inputs_gradient(const uint64_t* bits, const float* grad, const float* table,
                                    const uint64_t* read_bits, const float* read, const int64_t* wiring,
                                    const int64_t* sizes, int64_t batch, int64_t pins, int64_t n, int64_t m,
                                    float* logits_grad, int64_t threads) {
  const Upstream upstream{grad, table, read_bits, read, wiring, Placements(sizes), batch, pins, n, m};
  const Placements& at = upstream.at;
  const int64_t window = at.window();
  if (batch == 0) std::fill_n(logits_grad, window * pins, 0.0f);
  std::vector<int64_t> rows(window);
  for (int64_t f = 0; f < window; ++f) rows[f] = at.row(f);
  upstream.visit([&](const auto& source) {
#pragma omp parallel for num_threads(threads) if (window * pins * at.count > 16384)
    for (int64_t first = 0; first < pins; first += kLine)
      window_gradient(source, bits, at, batch, pins, first, rows.data(), logits_grad);
  });
}

// logits_grad[pins][choices], from x as bits or else from x[padded rows][batch].
void difflut_select_candidates_gradient(const uint64_t* bits, const float* x, const int64_t* candidates,
                                        int64_t choices, const float* grad, const float* table,
                                        const uint64_t* read_bits, const float* read, const int64_t* wiring,
                                        const int64_t* sizes, int64_t batch, int64_t pins, int64_t n, int64_t m,
                                        float* logits_grad, int64_t threads) {
  const Upstream upstream{grad, table, read_bits, read, wiring, Placements(sizes), batch, pins, n, m};
  upstream.visit([&](const auto& source) {
    const int64_t groups = pins / std::decay_t<decltype(source)>::kPins;
#pragma omp parallel for num_threads(upstream.threads(threads))
    for (int64_t group = 0; group < groups; ++group) {
      const auto place = [&](const auto& inputs) {
        candidates_gradient(source, inputs, upstream.at, candidates, choices, group, logits_grad);
      };
      bits ? place(BitInputs{bits, batch}) : place(RealInputs{x, batch});
    }
  });
}

// x_grad[features][batch]: what pins pass back through a softmax over all inputs, or over candidates where there are.
void difflut_select_x_gradient(const float* logits, const int64_t* candidates, int64_t choices, const int64_t* chosen,
                               double tau, const float* grad, const float* table, const uint64_t* read_bits,
                               const float* read, const int64_t* wiring, const int64_t* sizes, int64_t batch,
                               int64_t pins, int64_t n, int64_t m, float* x_grad, int64_t threads) {
  const Upstream upstream{grad, table, read_bits, read, wiring, Placements(sizes), batch, pins, n, m};
  const Placements& at = upstream.at;
  const int wanted = upstream.threads(threads);
  std::vector<std::vector<Share>> shares((pins + kPinBlock - 1) / kPinBlock);
#pragma omp parallel for num_threads(wanted)
  for (int64_t block = 0; block < int64_t(shares.size()); ++block) {
    const int64_t first = block * kPinBlock, count = std::min(kPinBlock, pins - first);
    shares[block] = candidates ? shares_of_candidates(logits, candidates, choices, first, count, float(tau))
                               : shares_of_inputs(logits, chosen, at.window(), pins, first, count, float(tau));
  }
  upstream.visit([&](const auto& source) {
    sum_by_sample<kBlock>(at, batch, wanted, x_grad, [&](int64_t start, float* sums, int64_t pitch) {
      for (int64_t y = 0; y < at.out_height; ++y)  // a row of windows stays in the caches
        for (const auto& some : shares) spread(source, at, some, y, start, sums, pitch);
    });
  });
}

}  // extern "C"

}  // namespace difflut::select
