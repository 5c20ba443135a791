// What the kernels share: sizes of a bank, where its nodes stand, and how nodes and samples are divided among threads.
//
// Tensors are feature-major: the row of a feature or an output holds its value for every sample of the batch.
#pragma once

#include <algorithm>
#include <array>
#include <vector>

#include "inputs.h"
#include "vectors.h"

namespace difflut {

constexpr int64_t kBlock = 64;  // samples in a word of packed bits

inline int64_t words_of(int64_t batch) { return (batch + kBlock - 1) / kBlock; }

// The windows of an image; every node stands at each of them. See `Placements` in Python. Kernels read the image with
// its padding, which is rows of zeros. So the row of a pin at any placement is its row at the first one plus an offset.
struct Placements {
  int64_t channels, height, width, kernel_height, kernel_width, stride_y, stride_x, padding_y, padding_x;
  int64_t row_pitch, plane, out_height, out_width, count;

  explicit Placements(const int64_t* sizes) {
    std::copy_n(sizes, 9, &channels);
    row_pitch = width + 2 * padding_x;
    plane = (height + 2 * padding_y) * row_pitch;
    out_height = (height + 2 * padding_y - kernel_height) / stride_y + 1;
    out_width = (row_pitch - kernel_width) / stride_x + 1;
    count = out_height * out_width;
  }

  int64_t features() const { return channels * height * width; }
  int64_t padded_rows() const { return channels * plane; }
  int64_t window() const { return channels * kernel_height * kernel_width; }

  // The row of a position in the window, at the first placement.
  int64_t row(int64_t position) const {
    if (plane == 1) return position;  // divisions take longer than most of what is done with a row
    const uint32_t rest = uint32_t(position) / uint32_t(kernel_width), x = uint32_t(position) % uint32_t(kernel_width);
    return rest / uint32_t(kernel_height) * plane + rest % uint32_t(kernel_height) * row_pitch + x;
  }

  // Calls f(placement, its offset) for a row of placements, or for all.
  template <class F>
  __attribute__((always_inline)) void for_each_in_row(int64_t y, F f) const {
    for (int64_t x = 0; x < out_width; ++x) f(y * out_width + x, y * stride_y * row_pitch + x * stride_x);
  }
  template <class F>
  __attribute__((always_inline)) void for_each(F f) const {
    for (int64_t y = 0; y < out_height; ++y) for_each_in_row(y, f);
  }

  // Calls f(first row counted with padding, first row counted without, number of rows) for stretches between paddings.
  template <class F>
  void for_each_stretch(F f) const {
    if (padding_y == 0 && padding_x == 0) return f(int64_t(0), int64_t(0), features());
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t y = 0; y < height; ++y)
        f(c * plane + (y + padding_y) * row_pitch + padding_x, (c * height + y) * width, width);
  }
};

// Writes the bits of a word of samples as the floats 0 and 1.
inline void unpack(uint64_t word, int64_t samples, float* out) {
#ifdef DIFFLUT_AVX512
  for (int64_t b = 0; b < samples; b += 16)
    _mm512_mask_storeu_ps(out + b, first_lanes(samples - b),
                          _mm512_maskz_mov_ps(__mmask16(word >> b), _mm512_set1_ps(1.0f)));
#else
  for (int64_t b = 0; b < samples; ++b) out[b] = float(word >> b & 1);
#endif
}

// `nodes` look-up tables with n inputs and m outputs each, read by `batch` samples at every placement.
struct Bank {
  const int64_t* wiring;  // [nodes][n], positions in the window
  Placements at;
  int64_t batch, nodes, n, m;

  bool wiring_fits() const {
    int64_t outside = 0;
    for (int64_t i = 0; i < nodes * n; ++i) outside |= uint64_t(wiring[i]) >= uint64_t(at.window());
    return outside == 0;
  }

  // The rows that a node reads at the first placement.
  template <int N>
  std::array<int64_t, N> wires(int64_t node) const {
    std::array<int64_t, N> rows;
    std::copy_n(wiring + node * N, N, rows.data());
    for (int64_t& row : rows) row = at.row(row);
    return rows;
  }

  // With less work than 16384 look-ups, waking a second thread costs more than it saves.
  int threads(int64_t wanted) const { return nodes * m * at.count * batch < 16384 ? 1 : int(wanted); }
};

// Calls f(n as a constant, node) for every node of a bank.
template <class F>
void for_each_node(const Bank& bank, int64_t threads, F f) {
  with_inputs(bank.n, [&](auto n) {
#pragma omp parallel for num_threads(bank.threads(threads))
    for (int64_t node = 0; node < bank.nodes; ++node) f(n, node);
  });
}

// Some samples at a placement; the first is number `start`. `offset` leads to the rows of the placement.
struct Block {
  int64_t placement, offset, start;
};

// Calls f(blocks, count) for up to Most blocks of Width samples at a time, of all samples and placements.
template <int64_t Width, int Most, class F>
__attribute__((always_inline)) inline void for_each_blocks(const Placements& at, int64_t batch, F f) {
  int64_t y = 0, x = 0, start = 0;
  for (int64_t left = at.count * ((batch + Width - 1) / Width); left > 0; left -= Most) {
    Block blocks[Most];
    const int count = int(std::min<int64_t>(left, Most));
    for (int i = 0; i < count; ++i) {
      blocks[i] = {y * at.out_width + x, y * at.stride_y * at.row_pitch + x * at.stride_x, start};
      start += Width;
      if (start >= batch) start = 0, ++x;
      if (x == at.out_width) x = 0, ++y;
    }
    f(blocks, count);
  }
}

// The same for the samples from `start` on at a row of placements.
template <int Most, class F>
__attribute__((always_inline)) inline void for_each_blocks_in_row(const Placements& at, int64_t y, int64_t start, F f) {
  for (int64_t first = 0; first < at.out_width; first += Most) {
    Block blocks[Most];
    const int count = int(std::min<int64_t>(at.out_width - first, Most));
    for (int i = 0; i < count; ++i) {
      const int64_t x = first + i;
      blocks[i] = {y * at.out_width + x, y * at.stride_y * at.row_pitch + x * at.stride_x, start};
    }
    f(blocks, count);
  }
}

// Room for `floats` floats. Each thread keeps one for each `Number`, because the page faults of fresh memory would take
// longer than the work on it.
template <int Number = 0>
float* scratch(size_t floats) {
  static thread_local std::vector<float> room;
  if (room.size() < floats) room.resize(floats);
  return room.data();
}

// Copies the first Width floats of each row, or `count` floats where `count` is less.
template <int64_t Width>
void copy_rows(const float* from, int64_t from_stride, float* to, int64_t to_stride, int64_t rows, int64_t count) {
  if (count >= Width)  // a constant size, which the compiler copies without a call
    for (int64_t r = 0; r < rows; ++r) std::memcpy(to + r * to_stride, from + r * from_stride, Width * sizeof(float));
  else
    for (int64_t r = 0; r < rows; ++r) std::memcpy(to + r * to_stride, from + r * from_stride, count * sizeof(float));
}

// Fills x_grad[features][batch]. f(start, sums, pitch) adds the gradients of Tile samples, from number `start` on, to
// sums[padded rows][pitch]. A thread owns samples, so any number of threads adds in the same order.
template <int64_t Tile, class F>
void sum_by_sample(const Placements& at, int64_t batch, int threads, float* x_grad, F f) {
#pragma omp parallel num_threads(threads)
  {
    const bool in_place = at.padded_rows() == at.features() && batch % Tile == 0;
    float* sums = in_place ? nullptr : scratch(at.padded_rows() * Tile);
#pragma omp for
    for (int64_t start = 0; start < batch; start += Tile) {
      if (in_place) {
        for (int64_t row = 0; row < at.features(); ++row) std::fill_n(x_grad + row * batch + start, Tile, 0.0f);
        f(start, x_grad + start, batch);
        continue;
      }
      std::fill_n(sums, at.padded_rows() * Tile, 0.0f);
      f(start, sums, Tile);
      at.for_each_stretch([&](int64_t padded, int64_t row, int64_t rows) {
        copy_rows<Tile>(sums + padded * Tile, Tile, x_grad + row * batch + start, batch, rows, batch - start);
      });
    }
  }
}

}  // namespace difflut
