// The cosine and sine series of a bank and its gradients.
//
// A wave cos(pi <s, x>) or sin(pi <s, x>) is a part of a product of the unit numbers w_j = exp(i pi x_j / 2). The
// inputs are split into low and high ones. The low factors of the 2**n waves are taken around their middle, so that
// they are 2**(low - 1) conjugate pairs, whose parts are 2**low real numbers; the high factors, with the middle of the
// low ones, are 2**high complex numbers. The series is then bilinear in these two small vectors, with a matrix that has
// as many entries as there are coefficients. As all waves have modulus 1, gradients are passed back to their phases.
#include "bank.h"

namespace difflut::fourier {

constexpr int low_bits(int n) { return (n + 1) / 2; }

typedef int32_t IntVec __attribute__((vector_size(DIFFLUT_VECTOR_BYTES)));

// cos(pi x / 2) and sin(pi x / 2): Taylor polynomials around the nearest multiple of pi / 2.
inline void unit_wave(Vec x, Vec& cosine, Vec& sine) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2**23: adding it rounds to an integer
  const Vec nearest = (x + kRound) - kRound, r = (x - nearest) * 1.57079632679f, r2 = r * r;
  const Vec s = r * (1 + r2 * (-1 / 6.0f + r2 * (1 / 120.0f + r2 * (-1 / 5040.0f + r2 * (1 / 362880.0f)))));
  const Vec c = 1 + r2 * (-1 / 2.0f + r2 * (1 / 24.0f + r2 * (-1 / 720.0f + r2 * (1 / 40320.0f))));
  const IntVec quarter = __builtin_convertvector(nearest, IntVec);
  const IntVec odd = (quarter & 1) != 0;
  cosine = odd ? s : c;
  sine = odd ? c : s;
  cosine = ((quarter + 1) & 2) != 0 ? -cosine : cosine;
  sine = (quarter & 2) != 0 ? -sine : sine;
}

// The waves of one node for a vector of samples.
template <int N>
struct Waves {
  static constexpr int kLow = low_bits(N), kHigh = N - kLow, kHalf = 1 << (kLow - 1);
  static constexpr int kRows = 2 << kHigh, kColumns = 1 << kLow;
  Vec low[kColumns];  // cosines, then sines, of the pairs
  Vec high[kRows];    // cosine and sine in turn

  // From what the inputs are in rows of cosines and of sines, `stride` floats apart.
  __attribute__((always_inline)) Waves(const float* cosines, const float* sines, int64_t stride,
                                       const std::array<int64_t, N>& wires, int64_t count) {
    Vec c[N], s[N];
    for (int j = 0; j < N; ++j) {
      c[j] = load(cosines + wires[j] * stride, count);
      s[j] = load(sines + wires[j] * stride, count);
    }
    low[0] = c[kLow - 1], low[kHalf] = s[kLow - 1];
    high[0] = c[kLow - 1], high[1] = s[kLow - 1];
    for (int j = 0; j < kLow - 1; ++j) {
      for (int l = 0; l < 1 << j; ++l) {
        const Vec cc = low[l] * c[j], ss = low[kHalf + l] * s[j], cs = low[l] * s[j], sc = low[kHalf + l] * c[j];
        low[l] = cc + ss, low[kHalf + l] = sc - cs;
        low[l | 1 << j] = cc - ss, low[kHalf + (l | 1 << j)] = sc + cs;
      }
      turn(high, c[j], s[j], high);
    }
    for (int j = 0; j < kHigh; ++j) {
      const Vec cosine = c[kLow + j] * c[kLow + j] - s[kLow + j] * s[kLow + j];
      const Vec sine = 2 * c[kLow + j] * s[kLow + j];
      for (int h = 0; h < 1 << j; ++h) turn(high + 2 * h, cosine, sine, high + 2 * (h | 1 << j));
    }
  }

  static void turn(const Vec* wave, Vec cosine, Vec sine, Vec* out) {
    const Vec real = wave[0] * cosine - wave[1] * sine;
    out[1] = wave[0] * sine + wave[1] * cosine;
    out[0] = real;
  }

  __attribute__((always_inline)) Vec row_sum(const float* row) const {
    Vec sum = low[0] * row[0];
    for (int c = 1; c < kColumns; ++c) sum += low[c] * row[c];
    return sum;
  }

  // The derivatives of the series with the matrix `folded` by every input.
  __attribute__((always_inline)) void slopes(const float* folded, Vec* slope) const {
    constexpr float kPi = 3.14159265359f;
    Vec columns[kColumns] = {}, by_high[1 << kHigh], by_low[kHalf];
    for (int h = 0; h < 1 << kHigh; ++h) {
      const float *even = folded + 2 * h * kColumns, *odd = even + kColumns;
      by_high[h] = high[2 * h] * row_sum(odd) - high[2 * h + 1] * row_sum(even);
      for (int c = 0; c < kColumns; ++c) columns[c] += high[2 * h] * even[c] + high[2 * h + 1] * odd[c];
    }
    for (int l = 0; l < kHalf; ++l) by_low[l] = low[l] * columns[kHalf + l] - low[kHalf + l] * columns[l];
    for (int j = kHigh - 1; j >= 0; --j) {
      slope[kLow + j] = Vec{};
      for (int h = 0; h < 1 << j; ++h) {
        slope[kLow + j] += by_high[h | 1 << j];
        by_high[h] += by_high[h | 1 << j];
      }
      slope[kLow + j] *= kPi;
    }
    for (int j = kLow - 2; j >= 0; --j) {
      Vec difference = {};
      for (int l = 0; l < 1 << j; ++l) {
        difference += by_low[l | 1 << j] - by_low[l];
        by_low[l] += by_low[l | 1 << j];
      }
      slope[j] = (kPi / 2) * (by_high[0] + difference);
    }
    slope[kLow - 1] = (kPi / 2) * (by_high[0] + by_low[0]);
  }
};

// folded[rows][columns] of a node's output from its coefficients.
template <int N>
void fold(const float* cosines, const float* sines, float* folded) {
  constexpr int kHalf = Waves<N>::kHalf, kColumns = Waves<N>::kColumns;
  for (int first = 0; first < 1 << N; first += kColumns, folded += 2 * kColumns)
    for (int l = 0; l < kHalf; ++l) {
      const int up = first + kHalf + l, down = first + kHalf - 1 - l;
      folded[l] = cosines[up] + cosines[down];
      folded[kHalf + l] = sines[up] - sines[down];
      folded[kColumns + l] = sines[up] + sines[down];
      folded[kColumns + kHalf + l] = cosines[down] - cosines[up];
    }
}

// The transpose of `fold`.
template <int N>
void unfold(const float* folded, float* cosines, float* sines) {
  constexpr int kHalf = Waves<N>::kHalf, kColumns = Waves<N>::kColumns;
  for (int first = 0; first < 1 << N; first += kColumns, folded += 2 * kColumns)
    for (int l = 0; l < kHalf; ++l) {
      const int up = first + kHalf + l, down = first + kHalf - 1 - l;
      cosines[up] = folded[l] - folded[kColumns + kHalf + l];
      cosines[down] = folded[l] + folded[kColumns + kHalf + l];
      sines[up] = folded[kColumns + l] + folded[kHalf + l];
      sines[down] = folded[kColumns + l] - folded[kHalf + l];
    }
}

template <int N>
void forward(const Bank& bank, const float* waves, const float* folded, float* y, int64_t node) {
  using W = Waves<N>;
  const auto wires = bank.wires<N>(node);
  const float* sines = waves + bank.at.padded_rows() * bank.batch;
  bank.at.for_each([&](int64_t placement, int64_t offset) __attribute__((always_inline)) {
    for (int64_t b = 0; b < bank.batch; b += kLanes) {
      const int64_t first = offset * bank.batch + b, count = bank.batch - b;
      const W wave(waves + first, sines + first, bank.batch, wires, count);
      for (int64_t row = node * bank.m; row < (node + 1) * bank.m; ++row) {
        const float* matrix = folded + row * W::kRows * W::kColumns;
        Vec sum = {};
        for (int r = 0; r < W::kRows; ++r) sum += wave.high[r] * wave.row_sum(matrix + r * W::kColumns);
        store(y + (row * bank.at.count + placement) * bank.batch + b, sum, count);
      }
    }
  });
}

template <int N>
void coefficient_gradient(const Bank& bank, const float* waves, const float* grad, float* folded_grad, int64_t node) {
  using W = Waves<N>;
  constexpr int kEntries = W::kRows * W::kColumns;
  constexpr int kChunk = 8;                      // vectors of samples whose waves stay in the fastest cache
  constexpr int kSums = std::min(16, kEntries);  // entries whose sums stay in registers
  const auto wires = bank.wires<N>(node);
  const float* sines = waves + bank.at.padded_rows() * bank.batch;
  for (int64_t row = node * bank.m; row < (node + 1) * bank.m; ++row) {
    float* out = folded_grad + row * kEntries;
    std::fill_n(out, kEntries, 0.0f);
    const auto sum_chunk = [&](const Block* blocks, int vectors) __attribute__((always_inline)) {
      Vec low[kChunk][W::kColumns], high[kChunk][W::kRows];
      for (int v = 0; v < vectors; ++v) {
        const auto [placement, offset, b] = blocks[v];
        const int64_t first = offset * bank.batch + b;
        const W wave(waves + first, sines + first, bank.batch, wires, bank.batch - b);
        const Vec g = load(grad + (row * bank.at.count + placement) * bank.batch + b, bank.batch - b);
        std::copy_n(wave.low, W::kColumns, low[v]);
        for (int r = 0; r < W::kRows; ++r) high[v][r] = g * wave.high[r];
      }
      for (int first = 0; first < kEntries; first += kSums) {
        Vec sums[kSums] = {};
        for (int v = 0; v < vectors; ++v)
          for (int i = 0; i < kSums; ++i)
            sums[i] += high[v][(first + i) >> W::kLow] * low[v][i & (W::kColumns - 1)];
        add_lanes<kSums>(sums, out + first);
      }
    };
    for_each_blocks<kLanes, kChunk>(bank.at, bank.batch, sum_chunk);
  }
}

constexpr int64_t kTile = 32;  // samples that a thread works on together: two cache lines of every row

// Adds to x_grad[padded row][pitch] what a node passes back at a row of placements, from the samples whose waves are in
// waves[2][padded row][kTile], those from `start` on.
template <int N>
void input_gradient(const Bank& bank, const float* waves, const float* folded, const float* grad, float* x_grad,
                    int64_t pitch, int64_t node, int64_t y, int64_t start) {
  using W = Waves<N>;
  const auto wires = bank.wires<N>(node);
  const float* sines = waves + bank.at.padded_rows() * kTile;
  bank.at.for_each_in_row(y, [&](int64_t placement, int64_t offset) __attribute__((always_inline)) {
    for (int64_t b = 0; b < kTile && start + b < bank.batch; b += kLanes) {
      const int64_t first = offset * kTile + b;
      const W wave(waves + first, sines + first, kTile, wires, kLanes);
      Vec total[N] = {};
      for (int64_t row = node * bank.m; row < (node + 1) * bank.m; ++row) {
        Vec slope[N];
        wave.slopes(folded + row * W::kRows * W::kColumns, slope);
        const float* g = grad + (row * bank.at.count + placement) * bank.batch + start + b;
        const Vec upstream = load(g, bank.batch - start - b);
        for (int j = 0; j < N; ++j) total[j] += upstream * slope[j];
      }
      for (int j = 0; j < N; ++j) {
        float* sums = x_grad + (wires[j] + offset) * pitch + b;
        store(sums, load(sums) + total[j]);
      }
    }
  });
}

extern "C" {

// waves[2][count]: cosines and sines of a quarter turn times x.
void difflut_fourier_waves(const float* x, int64_t count, float* waves, int64_t threads) {
// With less work than this, waking threads costs more than it saves.
#pragma omp parallel for num_threads(threads) if (count > 65536)
  for (int64_t i = 0; i < count; i += kLanes) {
    Vec cosine, sine;
    unit_wave(load(x + i, count - i), cosine, sine);
    store(waves + i, cosine, count - i);
    store(waves + count + i, sine, count - i);
  }
}

// folded[outputs][2 * 2**n] from cosines[outputs][2**n] and sines[outputs][2**n].
void difflut_fourier_fold(const float* cosines, const float* sines, int64_t outputs, int64_t n, float* folded,
                          int64_t threads) {
  with_inputs(n, [&](auto inputs) {
#pragma omp parallel for num_threads(threads) if (outputs << n > 65536)
    for (int64_t i = 0; i < outputs << n; i += 1 << n) fold<inputs>(cosines + i, sines + i, folded + 2 * i);
  });
}

void difflut_fourier_unfold(const float* folded, int64_t outputs, int64_t n, float* cosines, float* sines,
                            int64_t threads) {
  with_inputs(n, [&](auto inputs) {
#pragma omp parallel for num_threads(threads) if (outputs << n > 65536)
    for (int64_t i = 0; i < outputs << n; i += 1 << n) unfold<inputs>(folded + 2 * i, cosines + i, sines + i);
  });
}

// y[nodes * m * placements][batch] from waves[2][padded rows][batch]; returns 1 where the wiring reads inputs that
// there are not.
int difflut_fourier(const float* waves, const int64_t* wiring, const float* folded, float* y, const int64_t* at,
                    int64_t batch, int64_t nodes, int64_t n, int64_t m, int64_t threads) {
  const Bank bank{wiring, Placements(at), batch, nodes, n, m};
  if (!bank.wiring_fits()) return 1;
  for_each_node(bank, threads, [&](auto inputs, int64_t node) { forward<inputs>(bank, waves, folded, y, node); });
  return 0;
}

// folded_grad[nodes * m][2 * 2**n]
void difflut_fourier_coefficient_gradient(const float* waves, const int64_t* wiring, const float* grad,
                                          float* folded_grad, const int64_t* at, int64_t batch, int64_t nodes,
                                          int64_t n, int64_t m, int64_t threads) {
  const Bank bank{wiring, Placements(at), batch, nodes, n, m};
  for_each_node(bank, threads, [&](auto inputs, int64_t node) {
    coefficient_gradient<inputs>(bank, waves, grad, folded_grad, node);
  });
}

// x_grad[features][batch]
void difflut_fourier_input_gradient(const float* waves, const int64_t* wiring, const float* folded, const float* grad,
                                    float* x_grad, const int64_t* at, int64_t batch, int64_t nodes, int64_t n,
                                    int64_t m, int64_t threads) {
  const Bank bank{wiring, Placements(at), batch, nodes, n, m};
  const int64_t rows = 2 * bank.at.padded_rows();
  with_inputs(n, [&](auto inputs) {
    sum_by_sample<kTile>(bank.at, batch, bank.threads(threads), x_grad, [&](int64_t start, float* sums, int64_t pitch) {
      float* tile = scratch<1>(rows * kTile);
      copy_rows<kTile>(waves + start, batch, tile, kTile, rows, batch - start);
      for (int64_t y = 0; y < bank.at.out_height; ++y)  // a row of windows stays in the caches
        for (int64_t node = 0; node < nodes; ++node)
          input_gradient<inputs>(bank, tile, folded, grad, sums, pitch, node, y, start);
    });
  });
}

}  // extern "C"

}  // namespace difflut::fourier
