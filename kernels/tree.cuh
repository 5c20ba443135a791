// What the kernels of trees share.
#pragma once

#include "placements.cuh"

namespace difflut::tree {

constexpr int kMostLevels = 2;   // `MOST_LEVELS` in cuda/trees.py
constexpr int kMostWindows = 8;  // of a place

// The trees of a bank; table[k] has those of level k, leaves first, and follows the tree's number. The maximum is taken
// of pool_y * pool_x windows, row by row: window w is in row `rows_of_windows >> 4 * w & 15`.
struct Trees {
  const int32_t* wiring;  // [roots * F][2]
  const float* table[kMostLevels + 1];
  int64_t batch, roots;
  int pool_y, pool_x;
  uint32_t rows_of_windows;

  __host__ __device__ int64_t quads() const { return ceil_div(batch, kSamples); }
  __host__ __device__ int area() const { return pool_y * pool_x; }
  __host__ __device__ int places_y(const Image& image) const { return image.out_y / pool_y; }
  __host__ __device__ int places_x(const Image& image) const { return image.out_x / pool_x; }
};

// A place has the maximum of some windows.
struct Place {
  int y, x;  // of its first window, in windows

  __device__ Place(const Trees& trees, const Image& image, int number) {
    const int across = trees.places_x(image);
    y = number / across, x = (number - y * across) * trees.pool_x, y *= trees.pool_y;
  }

  __device__ Image::Window window(const Trees& trees, const Image& image, int w) const {
    const int dy = trees.rows_of_windows >> (4 * w) & 15;
    return {(y + dy) * image.stride_y, (x + w - dy * trees.pool_x) * image.stride_x};
  }
};

inline Trees trees_of(const int32_t* wiring, const float* leaves, const float* first, const float* second,
                      int64_t pool_y, int64_t pool_x, int64_t batch, int64_t roots) {
  Trees trees{wiring, {leaves, first, second}, batch, roots, int(pool_y), int(pool_x), 0};
  for (int w = 0; w < trees.area(); ++w) trees.rows_of_windows |= uint32_t(w / pool_x) << (4 * w);
  return trees;
}

}  // namespace difflut::tree
