// Trees of two-input nodes at every window of an image, with the maximum over neighbouring windows, as one operation.
// The values inside a tree stay in registers. The backward pass computes them again, at the windows that have the
// maximum.
#include "tree.cuh"

namespace difflut::tree {

// One tree, shared by the threads of a block.
template <int D>
struct Tree : GateTree<D> {
  static constexpr int kInputs = GateTree<D>::kInputs;

  Image::Pin pins[kInputs];
  // Where the rows of x begin that pins read at the windows of a warp's place, or -1.
  int64_t rows[kWarps][kMostWindows][kInputs];

  __device__ void load(const Trees& trees, const Image& image, int root) {
    for (int p = threadIdx.x; p < kInputs; p += blockDim.x)
      pins[p] = image.pin(__ldg(trees.wiring + int64_t(root) * kInputs + p));
    load_tables(*this, trees, root);
  }

  // Finds the rows for the warp.
  __device__ void go_to(const Trees& trees, const Image& image, const Place& place) {
    __syncwarp();
    for (int e = lane_index(); e < trees.area() * kInputs; e += kWarp) {
      const int row = image.row(pins[e % kInputs], place.window(trees, image, e / kInputs));
      rows[threadIdx.x / kWarp][e / kInputs][e % kInputs] = row < 0 ? -1 : row * trees.batch;
    }
    __syncwarp();
  }

  __device__ int64_t row(int window, int p) const { return rows[threadIdx.x / kWarp][window][p]; }
};

// y[roots][places][batch] from x[features][batch], and the windows that have the maxima. A block has one root, and its
// warps take turns with the others of their root.
template <int D>
__global__ void __launch_bounds__(kBlock, 3)
    forward(Trees trees, Image image, const float* __restrict__ x, float* __restrict__ y,
            uint32_t* __restrict__ chosen) {
  follow();
  __shared__ alignas(16) Tree<D> tree;
  const int root = blockIdx.x, places = trees.places_y(image) * trees.places_x(image);
  tree.load(trees, image, root);
  const int64_t quads = trees.quads(), items = places * quads;
  const int warps = blockDim.x / kWarp;
  for (int64_t i = int64_t(blockIdx.y) * warps + threadIdx.x / kWarp; i < items; i += int64_t(gridDim.y) * warps) {
    const Item item = item_of(image, i, quads);
    const int left = samples_left(trees.batch, item.quad);
    tree.go_to(trees, image, {trees, image, item.placement});
    const float* from = x + sample_of(item.quad, 0);
    Maxima maxima;
    for (int w = 0; w < trees.area(); ++w) {
      float v[kQuad][Tree<D>::kValues];
#pragma unroll
      for (int p = 0; p < Tree<D>::kInputs; ++p) {
        const int64_t row = tree.row(w, p);
#pragma unroll
        for (int u = 0; u < kQuad; ++u)
          v[u][p] = u * kWarp + lane_index() < left && row >= 0 ? __ldg(from + row + u * kWarp) : 0.0f;
      }
#pragma unroll
      for (int u = 0; u < kQuad; ++u) {
        tree.evaluate(v[u]);
        maxima.take(w, u, v[u][Tree<D>::kValues - 1]);
      }
    }
    maxima.store(trees, item, root, places, y, chosen);
  }
}

// From grad[roots][places][batch]: that of all tables, parts[gridDim.y][nodes][4], the banks one after the other; and
// of what the pins read, pin_grad[roots * 2 F][quads][places][windows][128] where it is not null, first of the windows
// that have the maximum of a place; what is behind them is not written.
template <int D>
__global__ void __launch_bounds__(kBlock, 2)
    gradients(Trees trees, Image image, const float* __restrict__ x, const uint32_t* __restrict__ chosen,
              const float* __restrict__ grad, float* __restrict__ pin_grad, float* __restrict__ parts) {
  follow();
  constexpr int kInputs = Tree<D>::kInputs, kValues = Tree<D>::kValues;
  __shared__ alignas(16) Tree<D> tree;
  const int root = blockIdx.x, places = trees.places_y(image) * trees.places_x(image);
  tree.load(trees, image, root);
  float moments[Tree<D>::kMoments] = {};
  const int64_t quads = trees.quads(), items = places * quads;
  const int warps = blockDim.x / kWarp;
  for (int64_t i = int64_t(blockIdx.y) * warps + threadIdx.x / kWarp; i < items; i += int64_t(gridDim.y) * warps) {
    const Item item = item_of(image, i, quads);
    tree.go_to(trees, image, {trees, image, item.placement});
    Upstream upstream(trees, item, root, places, chosen, grad);
    const float* from = x + sample_of(item.quad, 0);
    const auto read = [&](int u, float (&v)[kValues]) {  // at the first window that is left
      const uint32_t windows = upstream.windows >> (8 * u) & 255;
      const int first = windows ? __ffs(windows) - 1 : 0;
#pragma unroll
      for (int p = 0; p < kInputs; ++p) {
        const int64_t row = tree.row(first, p);
        v[p] = windows && row >= 0 ? __ldg(from + row + u * kWarp) : 0.0f;
      }
    };
    float v[kQuad][kValues];
#pragma unroll
    for (int u = 0; u < kQuad; ++u) read(u, v[u]);
    upstream.divide();
    const int64_t pin = items * trees.area() * kSamples;
    float* passed =
        pin_grad + ((root * (kInputs * quads) + item.quad) * places + item.placement) * trees.area() * kSamples;
    const auto pass_back = [&](int u, float (&v)[kValues]) {
      const uint32_t windows = upstream.windows >> (8 * u) & 255;
      upstream.windows &= ~((windows & -windows) << (8 * u));
      tree.evaluate(v);
      float g[kValues];
      g[kValues - 1] = windows ? upstream.grad[u] : 0.0f;
      tree.pass_back(v, g, moments);
      if (pin_grad && windows)
#pragma unroll
        for (int p = 0; p < kInputs; ++p) passed[p * pin + u * kWarp + lane_index()] = g[p];
    };
#pragma unroll
    for (int u = 0; u < kQuad; ++u) pass_back(u, v[u]);
    while (__any_sync(kAllLanes, upstream.windows)) {  // windows that are equal
      passed += kSamples;
#pragma unroll
      for (int u = 0; u < kQuad; ++u) {
        if (!__any_sync(kAllLanes, upstream.windows >> (8 * u) & 255)) continue;
        read(u, v[u]);
        pass_back(u, v[u]);
      }
    }
  }
  store_tables<D>(moments, trees, root, parts);
}

// Whole warps for a block whose root has so many items.
inline int threads_of(const Trees& trees, const Image& image) {
  const int64_t items = image.count() / trees.area() * trees.quads();
  return int(items < kWarps ? items : kWarps) * kWarp;
}

extern "C" {

// y[roots][places][batch] from x[features][batch]; the tables of levels that there are not are null.
int difflut_cuda_tree(const float* x, const int32_t* wiring, const Image* image, const float* leaves,
                      const float* first, const float* second, int64_t levels, int64_t pool_y, int64_t pool_x,
                      int64_t batch, int64_t roots, float* y, uint32_t* chosen, int64_t number, cudaStream_t stream) {
  const Trees trees = trees_of(wiring, leaves, first, second, pool_y, pool_x, batch, roots);
  if (roots * batch == 0) return 0;
  with_inputs<kMostLevels>(levels, [&](auto depth) {
    enqueue(forward<depth>, dim3(unsigned(roots), unsigned(number)), threads_of(trees, *image), 0, stream, trees,
            *image, x, y, chosen);
  });
  return cudaGetLastError();
}

// pin_grad and table_grad[nodes][4], the banks one after the other; where `number` of parts is not 1 they are kept in
// `parts`.
int difflut_cuda_tree_gradients(const float* x, const int32_t* wiring, const Image* image, const float* leaves,
                                const float* first, const float* second, int64_t levels, int64_t pool_y,
                                int64_t pool_x, int64_t batch, int64_t roots, const uint32_t* chosen, const float* grad,
                                float* pin_grad, float* table_grad, float* parts, int64_t number,
                                cudaStream_t stream) {
  const Trees trees = trees_of(wiring, leaves, first, second, pool_y, pool_x, batch, roots);
  if (roots == 0) return 0;
  with_inputs<kMostLevels>(levels, [&](auto depth) {
    enqueue(gradients<depth>, dim3(unsigned(roots), unsigned(number)), threads_of(trees, *image), 0, stream, trees,
            *image, x, chosen, grad, pin_grad, number == 1 ? table_grad : parts);
  });
  return add_tables(levels, roots, parts, number, table_grad, stream);
}

}  // extern "C"

}  // namespace difflut::tree
