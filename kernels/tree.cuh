// What the kernels of trees share.
#pragma once

#include "gate_tree.cuh"
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

// Brings the tables of a tree into shared memory, by the threads of a block.
template <int D>
__device__ void load_tables(GateTree<D>& tree, const Trees& trees, int root) {
  for (int t = threadIdx.x; t < tree.kNodes; t += blockDim.x) {
    int level = 0, node = t, width = tree.kLeaves;
    while (node >= width) node -= width, width /= 2, ++level;
    const float* entries = trees.table[level] + (int64_t(root) * width + node) * 4;
    tree.set(t, {__ldg(entries), __ldg(entries + 1), __ldg(entries + 2), __ldg(entries + 3)});
  }
  __syncthreads();
}

// Sums over the threads of a block what the tables of a tree get, to parts[gridDim.y][nodes][4].
template <int D>
__device__ void store_tables(float (&moments)[GateTree<D>::kMoments], const Trees& trees, int root, float* parts) {
  GateTree<D>::as_entries(moments);
  parts += blockIdx.y * trees.roots * GateTree<D>::kNodes * 4;
  sum_block(moments, [&](int e, float total) {
    int t = e / 4, width = GateTree<D>::kLeaves;
    if (t == GateTree<D>::kNodes) return;
    int64_t bank = 0;
    while (t >= width) bank += trees.roots * width, t -= width, width /= 2;
    parts[(bank + root * int64_t(width) + t) * 4 + e % 4] = total;
  });
}

// The maxima of a lane's samples, and which windows have them: bit w of byte u for window w and word u.
struct Maxima {
  float value[kQuad];
  uint32_t windows = 0;

  __device__ Maxima() {
#pragma unroll
    for (int u = 0; u < kQuad; ++u) value[u] = -INFINITY;
  }

  // Lanes do not branch, as they would part here.
  __device__ void take(int w, int u, float one) {
    const bool above = one > value[u] || one != one, equal = one == value[u];  // NaN stays
    const uint32_t others = above ? ~(255u << (8 * u)) : ~0u, mine = above || equal ? 1u << (8 * u + w) : 0;
    windows = (windows & others) | mine;
    value[u] = above ? one : value[u];
  }

  // To y[roots][places][batch], and where it is not null chosen[roots][quads][places][lane].
  __device__ void store(const Trees& trees, const Item& item, int root, int places, float* y, uint32_t* chosen) const {
    const int left = samples_left(trees.batch, item.quad);
    if (chosen) chosen[((root * trees.quads() + item.quad) * places + item.placement) * kWarp + lane_index()] = windows;
    y += (root * int64_t(places) + item.placement) * trees.batch;
#pragma unroll
    for (int u = 0; u < kQuad; ++u)
      if (u * kWarp + lane_index() < left) y[sample_of(item.quad, u)] = value[u];
  }
};

// What goes back to the windows of a place: those that have the maxima of a lane's samples, none past the batch, as
// `Maxima` stored them, or the one window where nothing was chosen; and the gradient of each sample.
struct Upstream {
  uint32_t windows;
  float grad[kQuad];

  __device__ Upstream(const Trees& trees, const Item& item, int root, int places, const uint32_t* __restrict__ chosen,
                      const float* __restrict__ grads) {
    const int left = samples_left(trees.batch, item.quad);
    const float* from = grads + (root * int64_t(places) + item.placement) * trees.batch + sample_of(item.quad, 0);
    const int64_t own = (root * trees.quads() + item.quad) * places + item.placement;
    windows = chosen ? __ldg(chosen + own * kWarp + lane_index()) : 0x01010101u;
#pragma unroll
    for (int u = 0; u < kQuad; ++u) {
      const bool inside = u * kWarp + lane_index() < left;
      grad[u] = inside ? __ldg(from + u * kWarp) : 0.0f;
      if (!inside) windows &= ~(255u << (8 * u));
    }
  }

  // Windows that are equal get equal parts.
  __device__ void divide() {
#pragma unroll
    for (int u = 0; u < kQuad; ++u) {
      const int equal = __popc(windows >> (8 * u) & 255);
      if (equal > 1) grad[u] /= float(equal);
    }
  }
};

// table_grad[nodes][4] from `number` parts, where it was not written at once.
inline int add_tables(int64_t levels, int64_t roots, const float* parts, int64_t number, float* table_grad,
                      cudaStream_t stream) {
  const int64_t entries = roots * ((2 << levels) - 1) * 4;
  if (number > 1)
    enqueue(add_parts, unsigned(ceil_div(entries, kBlock)), kBlock, 0, stream, parts, entries, int(number), table_grad);
  return cudaGetLastError();
}

}  // namespace difflut::tree
