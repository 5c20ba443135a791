// The hard look-up of a bank and its gradients, from packed bits.
#include "tables.h"

namespace difflut::lookup {

template <int N>
void forward(const Bank& bank, const uint64_t* bits, const float* table, float* y, int64_t node) {
  const int64_t words = words_of(bank.batch);
  const auto wires = bank.wires<N>(node);
  alignas(64) uint8_t address[kBlock];
  bank.at.for_each([&](int64_t placement, int64_t offset) {
    for (int64_t w = 0; w < words; ++w) {
      addresses<N>(bits + offset * words, words, w, wires.data(), address);
      const int64_t samples = std::min(kBlock, bank.batch - w * kBlock);
      for (int64_t row = node * bank.m; row < (node + 1) * bank.m; ++row) {
        float* out = y + (row * bank.at.count + placement) * bank.batch + w * kBlock;
#ifdef DIFFLUT_AVX512
        Registers<N> values;
        values.load(table + (row << N));
        for (int64_t b = 0; b < samples; b += 16)
          _mm512_mask_storeu_ps(out + b, first_lanes(samples - b), values(widened(address + b)));
#else
        for (int64_t b = 0; b < samples; ++b) out[b] = table[(row << N) + address[b]];
#endif
      }
    }
  });
}

// The same as packed bits, y[nodes * m * placements][words].
template <int N>
void forward_bits(const Bank& bank, const uint64_t* bits, const float* table, uint64_t* y, int64_t node) {
  const int64_t words = words_of(bank.batch), rest = bank.batch % kBlock;
  const uint64_t used = rest ? (uint64_t(1) << rest) - 1 : ~uint64_t(0);  // samples of the last word
  const auto wires = bank.wires<N>(node);
  for (int64_t row = node * bank.m; row < (node + 1) * bank.m; ++row) {
    const BitTable<N> values(table + (row << N));
    bank.at.for_each([&](int64_t placement, int64_t offset) __attribute__((always_inline)) {
      uint64_t* out = y + (row * bank.at.count + placement) * words;
      for (int64_t w = 0; w < words; ++w) {
        alignas(64) uint8_t address[kBlock];
        addresses<N>(bits + offset * words, words, w, wires.data(), address);
        out[w] = w + 1 < words ? values(address) : values(address) & used;
      }
    });
  }
}

// y[groups][batch] for a word of samples: the sums over each group of neighbouring outputs, divided by tau.
template <int N>
void group_sums(const Bank& bank, const uint64_t* bits, const float* table, int64_t group, float tau, float* y,
                int64_t w) {
  const int64_t words = words_of(bank.batch), samples = std::min(kBlock, bank.batch - w * kBlock);
  Line sums[kBlock / kLine] = {};
  int64_t left = group;
  float* out = y + w * kBlock;
  for (int64_t row = 0; row < bank.nodes * bank.m; ++row) {
    const auto wires = bank.wires<N>(row / bank.m);
    bank.at.for_each([&](int64_t, int64_t offset) __attribute__((always_inline)) {
      alignas(64) uint8_t address[kBlock];
      addresses<N>(bits + offset * words, words, w, wires.data(), address);
#ifdef DIFFLUT_AVX512
      Registers<N> values;
      values.load(table + (row << N));
      for (int64_t i = 0; i < kBlock / kLine; ++i) sums[i] += Line(values(widened(address + i * kLine)));
#else
      for (int64_t b = 0; b < kBlock; ++b) sums[b / kLine][b % kLine] += table[(row << N) + address[b]];
#endif
      if (--left) return;
      left = group;
      for (int64_t i = 0; i < kBlock / kLine && i * kLine < samples; ++i)
        store(out + i * kLine, sums[i] / tau, samples - i * kLine), sums[i] = Line{};
      out += bank.batch;
    });
  }
}

template <int N>
void table_gradient(const Bank& bank, const uint64_t* bits, const OutputGradients& grad, float* table_grad,
                    int64_t node) {
  constexpr int kCopies = 4;  // neighbouring samples add to different copies, so equal addresses need not wait
  typedef float Sums __attribute__((vector_size(sizeof(float) << N)));
  const int64_t words = words_of(bank.batch);
  const auto wires = bank.wires<N>(node);
  alignas(64) uint8_t address[kBlock];
  for (int64_t row = node * bank.m; row < (node + 1) * bank.m; ++row) {
    Sums total = {};
    for (int64_t line = 0; line < bank.at.out_height; ++line) {  // short sums round less
      union {
        Sums all[kCopies];
        float entry[kCopies][1 << N];
      } sums;
      for (int c = 0; c < kCopies; ++c) sums.all[c] = Sums{};
      bank.at.for_each_in_row(line, [&](int64_t placement, int64_t offset) {
        for (int64_t w = 0; w < words; ++w) {
          addresses<N>(bits + offset * words, words, w, wires.data(), address);
          const float* g = grad.of(row * bank.at.count + placement) + w * kBlock;
          const int64_t samples = std::min(kBlock, bank.batch - w * kBlock);
          int64_t b = 0;
          for (; b + 8 <= samples; b += 8) {
            uint64_t eight;
            std::memcpy(&eight, address + b, 8);
            for (int i = 0; i < 8; ++i) sums.entry[i % kCopies][eight >> (8 * i) & 255] += g[b + i];
          }
          for (; b < samples; ++b) sums.entry[b % kCopies][address[b]] += g[b];
        }
      });
      total += (sums.all[0] + sums.all[1]) + (sums.all[2] + sums.all[3]);
    }
    std::memcpy(table_grad + (row << N), &total, sizeof total);
  }
}

// pin_grad[nodes * N][placements][batch] of one node.
template <int N>
void pin_gradient(const Bank& bank, const PassedBack<N>& passed_back, float* pin_grad, int64_t node) {
  const int64_t places = bank.at.count;
  const auto wires = bank.wires<N>(node);
  for_each_blocks<kBlock, kBlocks>(bank.at, bank.batch, [&](const Block* blocks, int count) {
    float tiles[kBlocks][N * kBlock];
    std::fill_n(tiles[0], count * N * kBlock, 0.0f);
    passed_back(node, wires, blocks, count, counted<N>(), [&](int i) { return tiles[i]; });
    for (int i = 0; i < count; ++i) {
      const auto [placement, offset, start] = blocks[i];
      copy_rows<kBlock>(tiles[i], kBlock, pin_grad + (node * N * places + placement) * bank.batch + start,
                        places * bank.batch, N, bank.batch - start);
    }
  });
}

extern "C" {

// y[nodes * m * placements][batch]; returns 1 where the wiring reads inputs that there are not.
int difflut_lookup(const uint64_t* bits, const int64_t* wiring, const float* table, float* y, const int64_t* at,
                   int64_t batch, int64_t nodes, int64_t n, int64_t m, int64_t threads) {
  const Bank bank{wiring, Placements(at), batch, nodes, n, m};
  if (!bank.wiring_fits()) return 1;
  for_each_node(bank, threads, [&](auto inputs, int64_t node) { forward<inputs>(bank, bits, table, y, node); });
  return 0;
}

// The same as packed bits, y[nodes * m * placements][words].
int difflut_lookup_bits(const uint64_t* bits, const int64_t* wiring, const float* table, uint64_t* y, const int64_t* at,
                        int64_t batch, int64_t nodes, int64_t n, int64_t m, int64_t threads) {
  const Bank bank{wiring, Placements(at), batch, nodes, n, m};
  if (!bank.wiring_fits()) return 1;
  for_each_node(bank, threads, [&](auto inputs, int64_t node) { forward_bits<inputs>(bank, bits, table, y, node); });
  return 0;
}

// The same summed, y[groups][batch]: over `group` neighbouring outputs each, divided by tau.
int difflut_lookup_sums(const uint64_t* bits, const int64_t* wiring, const float* table, float* y, int64_t group,
                        double tau, const int64_t* at, int64_t batch, int64_t nodes, int64_t n, int64_t m,
                        int64_t threads) {
  const Bank bank{wiring, Placements(at), batch, nodes, n, m};
  if (!bank.wiring_fits()) return 1;
  with_inputs(n, [&](auto inputs) {
#pragma omp parallel for num_threads(bank.threads(threads))
    for (int64_t w = 0; w < words_of(batch); ++w) group_sums<inputs>(bank, bits, table, group, float(tau), y, w);
  });
  return 0;
}

// table_grad[nodes * m][2**n]: the upstream gradients, summed by address; `group` outputs share a row of grad.
void difflut_lookup_table_gradient(const uint64_t* bits, const int64_t* wiring, const float* grad, int64_t group,
                                   float* table_grad, const int64_t* at, int64_t batch, int64_t nodes, int64_t n,
                                   int64_t m, int64_t threads) {
  const Bank bank{wiring, Placements(at), batch, nodes, n, m};
  for_each_node(bank, threads, [&](auto inputs, int64_t node) {
    table_gradient<inputs>(bank, bits, {grad, batch, group}, table_grad, node);
  });
}

// pin_grad[nodes * n * placements][batch]: what each pin passes back, in the place of the inputs that they read.
void difflut_lookup_pin_gradient(const uint64_t* bits, const int64_t* wiring, const float* slope, const float* grad,
                                 float* pin_grad, const int64_t* at, int64_t batch, int64_t nodes, int64_t n,
                                 int64_t m, int64_t threads) {
  const Bank bank{wiring, Placements(at), batch, nodes, n, m};
  for_each_node(bank, threads, [&](auto inputs, int64_t node) {
    pin_gradient<inputs>(bank, {bank, bits, slope, {grad, batch, 1}}, pin_grad, node);
  });
}

// x_grad[features][batch]; `group` outputs share a row of grad.
void difflut_lookup_input_gradient(const uint64_t* bits, const int64_t* wiring, const float* slope, const float* grad,
                                   int64_t group, float* x_grad, const int64_t* at, int64_t batch, int64_t nodes,
                                   int64_t n, int64_t m, int64_t threads) {
  const Bank bank{wiring, Placements(at), batch, nodes, n, m};
  with_inputs(n, [&](auto inputs) {
    const PassedBack<inputs> passed_back{bank, bits, slope, {grad, batch, group}};
    const auto sum_block = [&](int64_t start, float* sums, int64_t pitch) {
      for (int64_t y = 0; y < bank.at.out_height; ++y)  // a row of windows stays in the caches
        for (int64_t node = 0; node < nodes; ++node) {
          const auto wires = bank.template wires<inputs>(node);
          for_each_blocks_in_row<kBlocks>(bank.at, y, start, [&](const Block* blocks, int count) {
            auto tile = [&](int i) { return sums + blocks[i].offset * pitch; };
            passed_back(node, wires, blocks, count, wires, tile, pitch);
          });
        }
    };
    sum_by_sample<kBlock>(bank.at, batch, bank.threads(threads), x_grad, sum_block);
  });
}

}  // extern "C"

}  // namespace difflut::lookup
