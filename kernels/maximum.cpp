// The largest or the smallest of a node's inputs, and its gradient. Inputs that are equally large share the gradient.
#include "bank.h"

namespace difflut::maximum {

// Which inputs are the largest, or the smallest, as a bit for each sample of a word.
template <int N>
using Chosen = std::array<uint64_t, N>;

// From packed bits; the largest, or the smallest, goes to `largest`.
template <int N>
Chosen<N> choose(const uint64_t* bits, const Bank& bank, const std::array<int64_t, N>& wires, const Block& block,
                 bool least, uint64_t& largest) {
  const int64_t words = words_of(bank.batch);
  Chosen<N> chosen;
  largest = least ? ~uint64_t(0) : 0;
  for (int j = 0; j < N; ++j) {
    chosen[j] = bits[(wires[j] + block.offset) * words + block.start / kBlock];
    largest = least ? largest & chosen[j] : largest | chosen[j];
  }
  for (int j = 0; j < N; ++j) chosen[j] = ~(chosen[j] ^ largest);
  return chosen;
}

// The same, written to out[samples].
template <int N>
Chosen<N> choose(const uint64_t* bits, const Bank& bank, const std::array<int64_t, N>& wires, const Block& block,
                 bool least, int64_t samples, float* out) {
  uint64_t largest;
  const Chosen<N> chosen = choose<N>(bits, bank, wires, block, least, largest);
  unpack(largest, samples, out);
  return chosen;
}

// The same from x[padded rows][batch].
template <int N>
Chosen<N> choose(const float* x, const Bank& bank, const std::array<int64_t, N>& wires, const Block& block, bool least,
                 int64_t samples, float* out) {
  Chosen<N> chosen = {};
  for (int64_t b = 0; b < samples; b += kLine) {
    const int64_t count = std::min(kLine, samples - b);
    Line input[N], largest;
    for (int j = 0; j < N; ++j) {
      input[j] = load<Line>(x + (wires[j] + block.offset) * bank.batch + block.start + b, count);
      if (j == 0) largest = input[j];
      const Ints no_number = input[j] != input[j];  // NaN stays NaN
      largest = ((least ? input[j] < largest : input[j] > largest) | no_number) ? input[j] : largest;
    }
    store(out + b, largest, count);
    for (int j = 0; j < N; ++j)
      for (int64_t i = 0; i < kLine; ++i) chosen[j] |= uint64_t(input[j][i] == largest[i]) << (b + i);
  }
  return chosen;
}

// y[nodes * placements][batch] and chosen[nodes * placements][N][words] of a node.
template <int N, class T>
void forward(const Bank& bank, const T* x, bool least, float* y, uint64_t* chosen, int64_t node) {
  const int64_t words = words_of(bank.batch);
  const auto wires = bank.wires<N>(node);
  for_each_blocks<kBlock, 1>(bank.at, bank.batch, [&](const Block* block, int) {
    const int64_t output = node * bank.at.count + block->placement;
    const int64_t samples = std::min(kBlock, bank.batch - block->start);
    const Chosen<N> some = choose<N>(x, bank, wires, *block, least, samples, y + output * bank.batch + block->start);
    for (int j = 0; j < N; ++j) chosen[(output * N + j) * words + block->start / kBlock] = some[j];
  });
}

// From packed bits to packed bits, y[nodes * placements][words], of a node.
template <int N>
void forward_bits(const Bank& bank, const uint64_t* bits, bool least, uint64_t* y, int64_t node) {
  const int64_t words = words_of(bank.batch);
  const auto wires = bank.wires<N>(node);
  bank.at.for_each([&](int64_t placement, int64_t offset) __attribute__((always_inline)) {
    uint64_t* out = y + (node * bank.at.count + placement) * words;
    for (int64_t w = 0; w < words; ++w)  // bits of samples past the batch are 0, and stay 0
      choose<N>(bits, bank, wires, {placement, offset, w * kBlock}, least, out[w]);
  });
}

// Adds to sums[padded row][pitch] what a node passes back at a row of placements, for a word of samples; which inputs
// share it at a block of samples is chosen_at(wires, block).
template <int N, class F>
void gradient(const Bank& bank, const float* grad, int64_t node, int64_t y, int64_t start, float* sums, int64_t pitch,
              F chosen_at) {
  const int64_t samples = std::min(kBlock, bank.batch - start);
  const auto wires = bank.wires<N>(node);
  for_each_blocks_in_row<1>(bank.at, y, start, [&](const Block* block, int) {
    const int64_t output = node * bank.at.count + block->placement;
    const Chosen<N> chosen = chosen_at(wires, *block);
    Line ones[N][kBlock / kLine];
    for (int j = 0; j < N; ++j) unpack(chosen[j], kBlock, (float*)ones[j]);
    for (int64_t b = 0; b < samples; b += kLine) {
      Line count = {};
      for (int j = 0; j < N; ++j) count += ones[j][b / kLine];
      const Line share = load<Line>(grad + output * bank.batch + start + b, samples - b) / count;
      for (int j = 0; j < N; ++j) {
        float* to = sums + (wires[j] + block->offset) * pitch + b;
        store(to, load<Line>(to) + share * ones[j][b / kLine]);
      }
    }
  });
}

// x_grad[features][batch] of a bank.
template <int N, class F>
void gradients(const Bank& bank, const float* grad, float* x_grad, int64_t threads, F chosen_at) {
  const auto sum_block = [&](int64_t start, float* sums, int64_t pitch) {
    for (int64_t y = 0; y < bank.at.out_height; ++y)  // a row of windows stays in the caches
      for (int64_t node = 0; node < bank.nodes; ++node)
        gradient<N>(bank, grad, node, y, start, sums, pitch,
                    [&](const auto& wires, const Block& block) { return chosen_at(node, wires, block); });
  };
  sum_by_sample<kBlock>(bank.at, bank.batch, bank.threads(threads), x_grad, sum_block);
}

extern "C" {

// y[nodes * placements][batch] and chosen[nodes * placements][n][words], from x as bits or else from
// x[padded rows][batch]; returns 1 where the wiring reads inputs that there are not.
int difflut_maximum(const uint64_t* bits, const float* x, const int64_t* wiring, int64_t least, float* y,
                    uint64_t* chosen, const int64_t* at, int64_t batch, int64_t nodes, int64_t n, int64_t threads) {
  const Bank bank{wiring, Placements(at), batch, nodes, n, 1};
  if (!bank.wiring_fits()) return 1;
  for_each_node(bank, threads, [&](auto inputs, int64_t node) {
    bits ? forward<inputs>(bank, bits, least, y, chosen, node) : forward<inputs>(bank, x, least, y, chosen, node);
  });
  return 0;
}

// The same from bits, as packed bits y[nodes * placements][words].
int difflut_maximum_bits(const uint64_t* bits, const int64_t* wiring, int64_t least, uint64_t* y, const int64_t* at,
                         int64_t batch, int64_t nodes, int64_t n, int64_t threads) {
  const Bank bank{wiring, Placements(at), batch, nodes, n, 1};
  if (!bank.wiring_fits()) return 1;
  for_each_node(bank, threads, [&](auto inputs, int64_t node) { forward_bits<inputs>(bank, bits, least, y, node); });
  return 0;
}

// x_grad[features][batch]
void difflut_maximum_gradient(const uint64_t* chosen, const int64_t* wiring, const float* grad, float* x_grad,
                              const int64_t* at, int64_t batch, int64_t nodes, int64_t n, int64_t threads) {
  const Bank bank{wiring, Placements(at), batch, nodes, n, 1};
  const int64_t words = words_of(batch);
  with_inputs(n, [&](auto inputs) {
    gradients<inputs>(bank, grad, x_grad, threads, [&](int64_t node, const auto&, const Block& block) {
      const int64_t output = node * bank.at.count + block.placement;
      Chosen<inputs> some;
      for (int j = 0; j < inputs; ++j) some[j] = chosen[(output * inputs + j) * words + block.start / kBlock];
      return some;
    });
  });
}

// The same from the bits that the maximum was taken of.
void difflut_maximum_bits_gradient(const uint64_t* bits, const int64_t* wiring, int64_t least, const float* grad,
                                   float* x_grad, const int64_t* at, int64_t batch, int64_t nodes, int64_t n,
                                   int64_t threads) {
  const Bank bank{wiring, Placements(at), batch, nodes, n, 1};
  with_inputs(n, [&](auto inputs) {
    gradients<inputs>(bank, grad, x_grad, threads, [&](int64_t, const auto& wires, const Block& block) {
      uint64_t largest;
      return choose<inputs>(bits, bank, wires, block, least, largest);
    });
  });
}

}  // extern "C"

}  // namespace difflut::maximum
