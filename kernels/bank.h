// What the kernels share: sizes of a bank, and how its nodes and its samples are divided among threads.
//
// Tensors are feature-major: the row of a feature or an output holds its value for every sample of the batch.
#pragma once

#include <algorithm>
#include <vector>

#include "inputs.h"
#include "vectors.h"

namespace difflut {

constexpr int64_t kBlock = 64;  // samples in a word of packed bits

inline int64_t words_of(int64_t batch) { return (batch + kBlock - 1) / kBlock; }

// `nodes` look-up tables with n inputs and m outputs each, read by `batch` samples of `features` inputs.
struct Bank {
  const int64_t* wiring;  // [nodes][n]
  int64_t batch, features, nodes, n, m;

  bool wiring_fits() const {
    int64_t outside = 0;
    for (int64_t i = 0; i < nodes * n; ++i) outside |= uint64_t(wiring[i]) >= uint64_t(features);
    return outside == 0;
  }

  // Below some work, waking a second thread costs more than it saves.
  int threads(int64_t wanted) const { return nodes * m * batch < 16384 ? 1 : int(wanted); }
};

// Calls f(n as a constant, node) for every node of a bank.
template <class F>
void for_each_node(const Bank& bank, int64_t threads, F f) {
  with_inputs(bank.n, [&](auto n) {
#pragma omp parallel for num_threads(bank.threads(threads))
    for (int64_t node = 0; node < bank.nodes; ++node) f(n, node);
  });
}

// Room for `floats`, kept by each thread, one for each number: fresh memory would cost more page faults than the work
// on it takes.
template <int Number = 0>
float* scratch(size_t floats) {
  static thread_local std::vector<float> room;
  if (room.size() < floats) room.resize(floats);
  return room.data();
}

// Copies the first Width floats, or `count` where there are fewer, of each row.
template <int64_t Width>
void copy_rows(const float* from, int64_t from_stride, float* to, int64_t to_stride, int64_t rows, int64_t count) {
  if (count >= Width)  // a constant size, for which the compiler needs no call
    for (int64_t r = 0; r < rows; ++r) std::memcpy(to + r * to_stride, from + r * from_stride, Width * sizeof(float));
  else
    for (int64_t r = 0; r < rows; ++r) std::memcpy(to + r * to_stride, from + r * from_stride, count * sizeof(float));
}

// Fills x_grad[features][batch] with what f(start, sums) adds to sums[features][Tile] for the samples from `start` on.
// A thread owns samples, so the order of the sums is the same for any number of threads.
template <int64_t Tile, class F>
void sum_by_sample(int64_t features, int64_t batch, int threads, float* x_grad, F f) {
#pragma omp parallel num_threads(threads)
  {
    float* sums = scratch(features * Tile);
#pragma omp for
    for (int64_t start = 0; start < batch; start += Tile) {
      std::fill_n(sums, features * Tile, 0.0f);
      f(start, sums);
      copy_rows<Tile>(sums, Tile, x_grad + start, batch, features, batch - start);
    }
  }
}

}  // namespace difflut
