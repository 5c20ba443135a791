// Where the gradients of pins come from: from memory, or from the look-up or the extension that reads the pins.
#pragma once

#include "multilinear.h"
#include "tables.h"

namespace difflut {

// Gradients as they lie in memory, grad[pins][placements][batch]: a pin at a time.
struct GivenGradients {
  static constexpr int kPins = 1;
  Placements at;
  int64_t batch;
  const float* grad;

  // Fills tiles[block][kPins][kBlock] with the gradients of a group of kPins pins; what is past the batch is 0.
  void fill(int64_t group, const Block* blocks, int count, float* tiles) const {
    for (int i = 0; i < count; ++i) {
      const auto [placement, offset, start] = blocks[i];
      const float* from = grad + (group * at.count + placement) * batch + start;
      for (int64_t b = 0; b < kBlock; b += kLine)
        store(tiles + i * kBlock + b, load<Line>(from + b, std::max<int64_t>(0, batch - start - b)));
    }
  }
};

// Gradients that a look-up passes back to the pins of a node, never written down.
template <int N>
struct LookupGradients {
  static constexpr int kPins = N;
  const Bank& bank;
  PassedBack<N> passed_back;

  void fill(int64_t node, const Block* blocks, int count, float* tiles) const {
    std::fill_n(tiles, count * N * kBlock, 0.0f);
    passed_back(node, bank.wires<N>(node), blocks, count, counted<N>(),
                [&](int i) { return tiles + i * N * kBlock; });
  }
};

// Gradients that the multilinear extension of tables passes back, at x[padded rows][batch].
template <int N>
struct ExtensionGradients {
  static constexpr int kPins = N;
  const Bank& bank;
  const float *x, *table, *grad;

  void fill(int64_t node, const Block* blocks, int count, float* tiles) const {
    std::fill_n(tiles, count * N * kBlock, 0.0f);
    const multilinear::Inputs<N> inputs(x, bank.batch, bank.wires<N>(node));
    for (int64_t row = node * bank.m; row < (node + 1) * bank.m; ++row) {
      const multilinear::Steps<N> steps(table + (row << N));
      for (int i = 0; i < count; ++i) {
        const auto [placement, offset, start] = blocks[i];
        const float* g = grad + (row * bank.at.count + placement) * bank.batch + start;
        const multilinear::Inputs<N> here = inputs.moved(offset * bank.batch + start);
        const int64_t samples = std::min(kBlock, bank.batch - start);
        for (int64_t b = 0; b < samples; b += kLanes) {
          Vec input[N], slope[N];
          here.load_at(b, samples - b, input);
          steps.slopes_at(input, slope);
          const Vec upstream = load(g + b, samples - b);
          for (int j = 0; j < N; ++j) {
            float* sums = tiles + (i * N + j) * kBlock + b;
            store(sums, load(sums) + upstream * slope[j]);
          }
        }
      }
    }
  }
};

// The arguments of the kernels below: grad is that of the pins themselves, or where there is a table that of the bank
// with n inputs and m outputs whose pins have chosen `wiring`. The bank looks bits up, and the table is its slope; or
// it computes the table's extension at x.
struct Upstream {
  const float *grad, *table;
  const uint64_t* bits;
  const float* x;
  const int64_t* wiring;
  Placements at;
  int64_t batch, pins, n, m;

  // Calls f(source of gradients).
  template <class F>
  void visit(F f) const {
    if (!table) return f(GivenGradients{at, batch, grad});
    const Bank bank{wiring, at, batch, pins / n, n, m};
    with_inputs(n, [&](auto inputs) {
      if (x) f(ExtensionGradients<inputs>{bank, x, table, grad});
      else f(LookupGradients<inputs>{bank, {bank, bits, table, {grad, batch, 1}}});
    });
  }

  int threads(int64_t wanted) const { return pins * at.count * batch <= 16384 ? 1 : int(wanted); }
};

}  // namespace difflut
