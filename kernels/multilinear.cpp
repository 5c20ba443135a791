// The multilinear extension of a bank's tables and its gradients.
#include "multilinear.h"

namespace difflut::multilinear {

template <int N>
void forward(const Bank& bank, const float* x, const float* table, float* y, int64_t node) {
  const Inputs<N> inputs(x, bank.batch, bank.wires<N>(node));
  float steps[1 << (N - 1)];
  for (int64_t row = node * bank.m; row < (node + 1) * bank.m; ++row) {
    const float* values = table + (row << N);
    differences<1 << N>(values, 1, steps);
    const int64_t batch = bank.batch;
    bank.at.for_each([&](int64_t placement, int64_t offset) __attribute__((always_inline)) {
      float* out = y + (row * bank.at.count + placement) * batch;
      const Inputs<N> here = inputs.moved(offset * batch);
      for (int64_t b = 0; b < batch; b += kLanes) {
        Vec input[N];
        here.load_at(b, batch - b, input);
        store(out + b, extension<N>(values, steps, 1, input), batch - b);
      }
    });
  }
}

template <int N>
void table_gradient(const Bank& bank, const float* x, const float* grad, float* table_grad, int64_t node) {
  constexpr int kLow = low_bits(N), kHigh = N - kLow;
  constexpr int kChunk = 8;                    // vectors of samples whose weights stay in the fastest cache
  constexpr int kSums = std::min(16, 1 << N);  // entries whose sums stay in registers
  const Inputs<N> inputs(x, bank.batch, bank.wires<N>(node));
  Vec low[kChunk][1 << kLow], high[kChunk][1 << kHigh];
  for (int64_t row = node * bank.m; row < (node + 1) * bank.m; ++row) {
    float* out = table_grad + (row << N);
    std::fill(out, out + (1 << N), 0.0f);
    const auto sum_chunk = [&](const Block* blocks, int vectors) __attribute__((always_inline)) {
      for (int v = 0; v < vectors; ++v) {
        const auto [placement, offset, b] = blocks[v];
        Vec input[N];
        inputs.load_at(offset * bank.batch + b, bank.batch - b, input);
        corners<kLow>(input, Vec{} + 1.0f, low[v]);
        const float* g = grad + (row * bank.at.count + placement) * bank.batch + b;
        corners<kHigh>(input + kLow, load(g, bank.batch - b), high[v]);
      }
      for (int first = 0; first < 1 << N; first += kSums) {
        Vec sums[kSums] = {};
        for (int v = 0; v < vectors; ++v)
          for (int l = 0; l < 1 << kLow; ++l) {
            const Vec weight = low[v][l];
            for (int h = 0; h < kSums >> kLow; ++h) sums[h << kLow | l] += high[v][(first >> kLow) + h] * weight;
          }
        add_lanes<kSums>(sums, out + first);
      }
    };
    for_each_blocks<kLanes, kChunk>(bank.at, bank.batch, sum_chunk);
  }
}

constexpr int64_t kTile = 32;  // samples of a feature that lie together while a thread sums the gradient of x

// Adds to x_grad[padded row][pitch] what a node passes back at a row of placements, from the samples in
// x[padded row][kTile], those from `start` on.
template <int N>
void input_gradient(const Bank& bank, const float* x, const float* table, const float* grad, float* x_grad,
                    int64_t pitch, int64_t node, int64_t y, int64_t start) {
  const auto wires = bank.wires<N>(node);
  const Inputs<N> inputs(x, kTile, wires);
  for (int64_t row = node * bank.m; row < (node + 1) * bank.m; ++row) {
    const Steps<N> steps(table + (row << N));
    bank.at.for_each_in_row(y, [&](int64_t placement, int64_t offset) __attribute__((always_inline)) {
      const float* g = grad + (row * bank.at.count + placement) * bank.batch + start;
      float* to = x_grad + offset * pitch;
      const Inputs<N> here = inputs.moved(offset * kTile);
      for (int64_t b = 0; b < kTile; b += kLanes) {
        Vec input[N], slope[N];
        here.load_at(b, kLanes, input);
        steps.slopes_at(input, slope);
        const Vec upstream = load(g + b, std::max<int64_t>(0, bank.batch - start - b));
        for (int j = 0; j < N; ++j) {
          float* sums = to + wires[j] * pitch + b;
          store(sums, load(sums) + upstream * slope[j]);
        }
      }
    });
  }
}

extern "C" {

// y[nodes * m * placements][batch] from x[padded rows][batch]; returns 1 where the wiring reads inputs that there are
// not.
int difflut_multilinear(const float* x, const int64_t* wiring, const float* table, float* y, const int64_t* at,
                        int64_t batch, int64_t nodes, int64_t n, int64_t m, int64_t threads) {
  const Bank bank{wiring, Placements(at), batch, nodes, n, m};
  if (!bank.wiring_fits()) return 1;
  for_each_node(bank, threads, [&](auto inputs, int64_t node) { forward<inputs>(bank, x, table, y, node); });
  return 0;
}

// table_grad[nodes * m][2**n]: the upstream gradients, summed with the weights of the corners.
void difflut_multilinear_table_gradient(const float* x, const int64_t* wiring, const float* grad, float* table_grad,
                                        const int64_t* at, int64_t batch, int64_t nodes, int64_t n, int64_t m,
                                        int64_t threads) {
  const Bank bank{wiring, Placements(at), batch, nodes, n, m};
  for_each_node(bank, threads, [&](auto inputs, int64_t node) {
    table_gradient<inputs>(bank, x, grad, table_grad, node);
  });
}

// x_grad[features][batch]
void difflut_multilinear_input_gradient(const float* x, const int64_t* wiring, const float* table, const float* grad,
                                        float* x_grad, const int64_t* at, int64_t batch, int64_t nodes, int64_t n,
                                        int64_t m, int64_t threads) {
  const Bank bank{wiring, Placements(at), batch, nodes, n, m};
  const int64_t rows = bank.at.padded_rows();
  with_inputs(n, [&](auto inputs) {
    sum_by_sample<kTile>(bank.at, batch, bank.threads(threads), x_grad, [&](int64_t start, float* sums, int64_t pitch) {
      float* tile = scratch<1>(rows * kTile);
      copy_rows<kTile>(x + start, batch, tile, kTile, rows, batch - start);
      for (int64_t y = 0; y < bank.at.out_height; ++y)  // a row of windows stays in the caches
        for (int64_t node = 0; node < nodes; ++node)
          input_gradient<inputs>(bank, tile, table, grad, sums, pitch, node, y, start);
    });
  });
}

}  // extern "C"

}  // namespace difflut::multilinear
