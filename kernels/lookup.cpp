// The hard look-up of a bank and its gradients, from packed bits.
#include "addresses.h"

namespace difflut::lookup {

#ifdef DIFFLUT_AVX512

// A table of 2**K floats in registers, read at 16 addresses at once. Address bits from K on are ignored.
template <int K>
struct Registers {
  static constexpr int kCount = K > 4 ? 1 << (K - 4) : 1;
  __m512 part[kCount];

  void load(const float* table) {
    constexpr __mmask16 kEntries = K < 4 ? (1 << (1 << K)) - 1 : 0xffff;
    for (int i = 0; i < kCount; ++i) part[i] = _mm512_maskz_loadu_ps(kEntries, table + 16 * i);
  }

  __m512 operator()(__m512i address) const { return read<K>(part, address); }

  template <int Bits>
  static __m512 read(const __m512* part, __m512i address) {
    if constexpr (Bits <= 4) return _mm512_permutexvar_ps(address, part[0]);
    else if constexpr (Bits == 5) return _mm512_permutex2var_ps(part[0], address, part[1]);
    else
      return _mm512_mask_blend_ps(_mm512_test_epi32_mask(address, _mm512_set1_epi32(1 << (Bits - 1))),
                                  read<Bits - 1>(part, address),
                                  read<Bits - 1>(part + (1 << (Bits - 5)), address));
  }
};

inline __m512i widened(const uint8_t* address) {
  return _mm512_cvtepu8_epi32(_mm_load_si128(reinterpret_cast<const __m128i*>(address)));
}

#endif

template <int N>
void forward(const Bank& bank, const uint64_t* bits, const float* table, float* y, int64_t node) {
  const int64_t words = words_of(bank.batch);
  alignas(64) uint8_t address[kBlock];
  for (int64_t w = 0; w < words; ++w) {
    addresses<N>(bits, words, w, bank.wiring + node * N, address);
    const int64_t samples = std::min(kBlock, bank.batch - w * kBlock);
    for (int64_t row = node * bank.m; row < (node + 1) * bank.m; ++row) {
      float* out = y + row * bank.batch + w * kBlock;
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
}

template <int N>
void table_gradient(const Bank& bank, const uint64_t* bits, const float* grad, float* table_grad, int64_t node) {
  constexpr int kCopies = 4;  // so that equal addresses of neighbouring samples need not wait for each other
  typedef float Sums __attribute__((vector_size(sizeof(float) << N)));
  const int64_t words = words_of(bank.batch);
  alignas(64) uint8_t address[kBlock];
  for (int64_t row = node * bank.m; row < (node + 1) * bank.m; ++row) {
    union {
      Sums all[kCopies];
      float entry[kCopies][1 << N];
    } sums;
    for (int c = 0; c < kCopies; ++c) sums.all[c] = Sums{};
    for (int64_t w = 0; w < words; ++w) {
      addresses<N>(bits, words, w, bank.wiring + node * N, address);
      const float* g = grad + row * bank.batch + w * kBlock;
      const int64_t samples = std::min(kBlock, bank.batch - w * kBlock);
      int64_t b = 0;
      for (; b + 8 <= samples; b += 8) {
        uint64_t eight;
        std::memcpy(&eight, address + b, 8);
        for (int i = 0; i < 8; ++i) sums.entry[i % kCopies][eight >> (8 * i) & 255] += g[b + i];
      }
      for (; b < samples; ++b) sums.entry[b % kCopies][address[b]] += g[b];
    }
    const Sums total = (sums.all[0] + sums.all[1]) + (sums.all[2] + sums.all[3]);
    std::memcpy(table_grad + (row << N), &total, sizeof total);
  }
}

// slope[a | 1 << j] - slope[a & ~(1 << j)] at every address a with its bit j taken out.
template <int N>
void difference(const float* slope, int j, float* out) {
  for (int rest = 0; rest < 1 << (N - 1); ++rest) {
    const int low = (rest >> j << (j + 1)) | (rest & ((1 << j) - 1));
    out[rest] = slope[low | 1 << j] - slope[low];
  }
}

#ifdef DIFFLUT_AVX512

// Entry [j][i]: the number i with a zero put in as its bit j.
alignas(64) constexpr auto kWithout = [] {
  std::array<std::array<int32_t, 16>, 4> numbers{};
  for (int j = 0; j < 4; ++j)
    for (int i = 0; i < 16; ++i) numbers[j][i] = (i >> j << (j + 1)) | (i & ((1 << j) - 1));
  return numbers;
}();

template <int N>
Registers<N - 1> difference(const float* slope, int j) {
  Registers<N - 1> result;
  if constexpr (N < 5) {
    float scalars[1 << (N - 1)];
    difference<N>(slope, j, scalars);
    result.load(scalars);
  } else {
    for (int i = 0; i < result.kCount; ++i) {
      if (j < 4) {
        const __m512 first = _mm512_loadu_ps(slope + 32 * i), second = _mm512_loadu_ps(slope + 32 * i + 16);
        const __m512i low = _mm512_load_si512(kWithout[j].data());
        const __m512i high = _mm512_or_si512(low, _mm512_set1_epi32(1 << j));
        result.part[i] = _mm512_sub_ps(_mm512_permutex2var_ps(first, high, second),
                                       _mm512_permutex2var_ps(first, low, second));
      } else {
        const float* low = slope + 16 * ((i >> (j - 4) << (j - 3)) | (i & ((1 << (j - 4)) - 1)));
        result.part[i] = _mm512_sub_ps(_mm512_loadu_ps(low + (1 << j)), _mm512_loadu_ps(low));
      }
    }
  }
  return result;
}

// Adds to tile[feature][kBlock] what one row of tables passes back to its node's inputs.
template <int N>
void add_input_gradient(const float* slope, const float* grad, const uint8_t* address, int64_t samples,
                        const int64_t* wires, float* tile) {
  Registers<N - 1> differences[N];
  for (int j = 0; j < N; ++j) differences[j] = difference<N>(slope, j);
  for (int64_t b = 0; b < samples; b += 16) {
    const __m512i full = widened(address + b), shifted = _mm512_srli_epi32(full, 1);
    const __m512 g = _mm512_maskz_loadu_ps(first_lanes(samples - b), grad + b);
    for (int j = 0; j < N; ++j) {
      constexpr int kSecondWhereFirst = 0xca;
      const __m512i below = _mm512_set1_epi32((1 << j) - 1);
      const __m512i rest = _mm512_ternarylogic_epi32(below, full, shifted, kSecondWhereFirst);
      float* sums = tile + wires[j] * kBlock + b;
      _mm512_storeu_ps(sums, _mm512_fmadd_ps(g, differences[j](rest), _mm512_loadu_ps(sums)));
    }
  }
}

#else

template <int N>
void add_input_gradient(const float* slope, const float* grad, const uint8_t* address, int64_t samples,
                        const int64_t* wires, float* tile) {
  float differences[1 << (N - 1)];
  for (int j = 0; j < N; ++j) {
    difference<N>(slope, j, differences);
    float* sums = tile + wires[j] * kBlock;
    const int below = (1 << j) - 1;
    for (int64_t b = 0; b < samples; ++b)
      sums[b] += grad[b] * differences[(address[b] >> 1 & ~below) | (address[b] & below)];
  }
}

#endif

template <int N>
void input_gradient(const Bank& bank, const uint64_t* bits, const float* slope, const float* grad, float* tile,
                    int64_t word) {
  const int64_t samples = std::min(kBlock, bank.batch - word * kBlock);
  alignas(64) uint8_t address[kBlock];
  for (int64_t node = 0; node < bank.nodes; ++node) {
    const int64_t* wires = bank.wiring + node * N;
    addresses<N>(bits, words_of(bank.batch), word, wires, address);
    for (int64_t row = node * bank.m; row < (node + 1) * bank.m; ++row)
      add_input_gradient<N>(slope + (row << N), grad + row * bank.batch + word * kBlock, address, samples, wires, tile);
  }
}

// pin_grad[nodes * N][batch] of one node.
template <int N>
void pin_gradient(const Bank& bank, const uint64_t* bits, const float* slope, const float* grad, float* pin_grad,
                  int64_t node) {
  static constexpr int64_t kOwn[8] = {0, 1, 2, 3, 4, 5, 6, 7};
  const int64_t words = words_of(bank.batch);
  alignas(64) uint8_t address[kBlock];
  for (int64_t w = 0; w < words; ++w) {
    const int64_t samples = std::min(kBlock, bank.batch - w * kBlock);
    float tile[N * kBlock] = {};
    addresses<N>(bits, words, w, bank.wiring + node * N, address);
    for (int64_t row = node * bank.m; row < (node + 1) * bank.m; ++row)
      add_input_gradient<N>(slope + (row << N), grad + row * bank.batch + w * kBlock, address, samples, kOwn, tile);
    copy_rows<kBlock>(tile, kBlock, pin_grad + node * N * bank.batch + w * kBlock, bank.batch, N, samples);
  }
}

extern "C" {

// y[nodes * m][batch]; returns 1 where the wiring reads inputs that there are not.
int difflut_lookup(const uint64_t* bits, const int64_t* wiring, const float* table, float* y, int64_t batch,
                   int64_t features, int64_t nodes, int64_t n, int64_t m, int64_t threads) {
  const Bank bank{wiring, batch, features, nodes, n, m};
  if (!bank.wiring_fits()) return 1;
  for_each_node(bank, threads, [&](auto inputs, int64_t node) { forward<inputs>(bank, bits, table, y, node); });
  return 0;
}

// table_grad[nodes * m][2**n]: the upstream gradients, summed by address.
void difflut_lookup_table_gradient(const uint64_t* bits, const int64_t* wiring, const float* grad, float* table_grad,
                                   int64_t batch, int64_t features, int64_t nodes, int64_t n, int64_t m,
                                   int64_t threads) {
  const Bank bank{wiring, batch, features, nodes, n, m};
  for_each_node(bank, threads, [&](auto inputs, int64_t node) {
    table_gradient<inputs>(bank, bits, grad, table_grad, node);
  });
}

// pin_grad[nodes * n][batch]: what each pin passes back, in the place of the inputs that they read.
void difflut_lookup_pin_gradient(const uint64_t* bits, const int64_t* wiring, const float* slope, const float* grad,
                                 float* pin_grad, int64_t batch, int64_t features, int64_t nodes, int64_t n, int64_t m,
                                 int64_t threads) {
  const Bank bank{wiring, batch, features, nodes, n, m};
  for_each_node(bank, threads, [&](auto inputs, int64_t node) {
    pin_gradient<inputs>(bank, bits, slope, grad, pin_grad, node);
  });
}

// x_grad[features][batch]
void difflut_lookup_input_gradient(const uint64_t* bits, const int64_t* wiring, const float* slope, const float* grad,
                                   float* x_grad, int64_t batch, int64_t features, int64_t nodes, int64_t n, int64_t m,
                                   int64_t threads) {
  const Bank bank{wiring, batch, features, nodes, n, m};
  with_inputs(n, [&](auto inputs) {
    sum_by_sample<kBlock>(features, batch, bank.threads(threads), x_grad, [&](int64_t start, float* sums) {
      input_gradient<inputs>(bank, bits, slope, grad, sums, start / kBlock);
    });
  });
}

// Clamps values to [-1, 1]; bits are 1 where they are at least 0. NaN stays, and is no 1.
void difflut_binarize(float* values, float* bits, int64_t count, int64_t threads) {
#pragma omp parallel for num_threads(threads) if (count > 65536)
  for (int64_t i = 0; i < count; i += kLanes) {
    const Vec value = load(values + i, count - i), zero = {}, one = zero + 1.0f;
    store(values + i, value > one ? one : value < -one ? -one : value, count - i);
    store(bits + i, value >= zero ? one : zero, count - i);
  }
}

}  // extern "C"

}  // namespace difflut::lookup
