// Trees of two-input nodes at every window of an image, with the maximum over neighbouring windows, as one operation.
// The values inside a tree stay in registers, and the backward pass computes them again.
//
// A tree of D levels above its F = 2**D leaves has the values v[0], ..., v[4 F - 2]: first its 2 F inputs, then those of
// its nodes, leaves first. Node t reads v[2 t] and v[2 t + 1] and gives v[2 F + t].
#include "placements.cuh"

namespace difflut::tree {

constexpr int kMostLevels = 2;  // `MOST_LEVELS` in cuda/trees.py

// The trees of a bank; table[k] has those of level k, leaves first, and follows the tree's number.
struct Trees {
  const int32_t* wiring;  // [roots * F][2]
  const float* table[kMostLevels + 1];
  int64_t batch, roots;
  int pool_y, pool_x;  // windows of which the maximum is taken

  __host__ __device__ int64_t quads() const { return ceil_div(batch, kSamples); }
  __host__ __device__ int area() const { return pool_y * pool_x; }
};

template <int D>
struct Sizes {
  static constexpr int kLeaves = 1 << D, kNodes = 2 * kLeaves - 1, kInputs = 2 * kLeaves, kValues = kInputs + kNodes;
};

// One tree, shared by the threads of a block.
template <int D>
struct Tree {
  float table[Sizes<D>::kNodes][4];
  Image::Pin pins[Sizes<D>::kInputs];

  __device__ void load(const Trees& trees, const Image& image, int root) {
    constexpr int kLeaves = Sizes<D>::kLeaves;
    for (int e = threadIdx.x; e < Sizes<D>::kNodes * 4; e += blockDim.x) {
      int level = 0, node = e / 4, width = kLeaves;
      while (node >= width) node -= width, width /= 2, ++level;
      table[e / 4][e % 4] = __ldg(trees.table[level] + (int64_t(root) * width + node) * 4 + e % 4);
    }
    for (int p = threadIdx.x; p < Sizes<D>::kInputs; p += blockDim.x)
      pins[p] = image.pin(__ldg(trees.wiring + int64_t(root) * Sizes<D>::kInputs + p));
    __syncthreads();
  }

  // Computes all values of the tree for one sample at one window.
  __device__ void evaluate(const int (&rows)[Sizes<D>::kInputs], const float* __restrict__ x, int64_t batch, bool inside,
                           float (&v)[Sizes<D>::kValues]) const {
#pragma unroll
    for (int p = 0; p < Sizes<D>::kInputs; ++p) v[p] = inside && rows[p] >= 0 ? __ldg(x + rows[p] * batch) : 0.0f;
#pragma unroll
    for (int t = 0; t < Sizes<D>::kNodes; ++t) {
      const float4 e = *reinterpret_cast<const float4*>(table[t]);
      const float low = fmaf(v[2 * t], e.y - e.x, e.x), high = fmaf(v[2 * t], e.w - e.z, e.z);
      v[Sizes<D>::kInputs + t] = fmaf(v[2 * t + 1], high - low, low);
    }
  }

  __device__ void rows(const Image& image, int placement, int (&found)[Sizes<D>::kInputs]) const {
    const auto window = image.window(placement);
#pragma unroll
    for (int p = 0; p < Sizes<D>::kInputs; ++p) found[p] = image.row(pins[p], window);
  }
};

// The placement of window w among those that a pooled place covers.
__device__ inline int window_of(const Trees& trees, const Image& image, int place, int w) {
  const int across = image.out_x / trees.pool_x, y = place / across, x = place - y * across, dy = w / trees.pool_x;
  return (y * trees.pool_y + dy) * image.out_x + x * trees.pool_x + w - dy * trees.pool_x;
}

// y[roots][places][batch]; bit w of a byte of chosen[root][place][quad][lane] is whether window w has the maximum. A
// block has one root, and its warps every gridDim.y * kWarps-th item.
template <int D>
__global__ void __launch_bounds__(kBlock)
    forward(Trees trees, Image image, const float* __restrict__ x, float* __restrict__ y,
            uint32_t* __restrict__ chosen) {
  follow();
  __shared__ alignas(16) Tree<D> tree;
  const int root = blockIdx.x, places = image.count() / trees.area();
  tree.load(trees, image, root);
  const int64_t quads = trees.quads(), items = places * quads;
  for (int64_t i = int64_t(blockIdx.y) * kWarps + threadIdx.x / kWarp; i < items; i += int64_t(gridDim.y) * kWarps) {
    const Item item = item_of(image, i, quads);
    const int left = samples_left(trees.batch, item.quad);
    float best[kQuad];
    uint32_t code = 0;
    for (int w = 0; w < trees.area(); ++w) {
      int rows[Sizes<D>::kInputs];
      tree.rows(image, window_of(trees, image, item.placement, w), rows);
#pragma unroll
      for (int u = 0; u < kQuad; ++u) {
        float v[Sizes<D>::kValues];
        tree.evaluate(rows, x + sample_of(item.quad, u), trees.batch, u * kWarp + lane_index() < left, v);
        const float value = v[Sizes<D>::kValues - 1];
        const uint32_t mine = 1u << (8 * u + w), all = 255u << (8 * u);
        if (w == 0 || value > best[u] || value != value) best[u] = value, code = (code & ~all) | mine;  // NaN stays
        else if (value == best[u]) code |= mine;
      }
    }
    const int64_t out = root * int64_t(places) + item.placement;
    if (chosen) chosen[(out * quads + item.quad) * kWarp + lane_index()] = code;
#pragma unroll
    for (int u = 0; u < kQuad; ++u)
      if (u * kWarp + lane_index() < left) y[out * trees.batch + sample_of(item.quad, u)] = best[u];
  }
}

// From grad[roots][places][batch]: that of the leaves, leaf_grad[roots * F][placements][batch] where it is not null, and
// of all tables, parts[gridDim.y][roots][2 F][4], nodes in the order of a tree's, of which the last is left out.
template <int D>
__global__ void __launch_bounds__(kBlock, 2)
    gradients(Trees trees, Image image, const float* __restrict__ x, const uint32_t* __restrict__ chosen,
              const float* __restrict__ grad, float* __restrict__ leaf_grad, float* __restrict__ parts) {
  follow();
  constexpr int kInputs = Sizes<D>::kInputs, kNodes = Sizes<D>::kNodes, kLeaves = Sizes<D>::kLeaves;
  __shared__ alignas(16) Tree<D> tree;
  const int root = blockIdx.x, places = image.count() / trees.area();
  tree.load(trees, image, root);
  float moments[(kNodes + 1) * 4] = {};
  const int64_t quads = trees.quads(), items = places * quads;
  for (int64_t i = int64_t(blockIdx.y) * kWarps + threadIdx.x / kWarp; i < items; i += int64_t(gridDim.y) * kWarps) {
    const Item item = item_of(image, i, quads);
    const int left = samples_left(trees.batch, item.quad);
    const int64_t out = root * int64_t(places) + item.placement;
    const uint32_t code = chosen ? __ldg(chosen + (out * quads + item.quad) * kWarp + lane_index()) : 0x01010101u;
    float share[kQuad];
#pragma unroll
    for (int u = 0; u < kQuad; ++u) {
      const bool inside = u * kWarp + lane_index() < left;
      share[u] = inside ? __ldg(grad + out * trees.batch + sample_of(item.quad, u)) : 0.0f;
      share[u] /= float(__popc(code >> (8 * u) & 255));
    }
    for (int w = 0; w < trees.area(); ++w) {
      const int placement = window_of(trees, image, item.placement, w);
      int rows[kInputs];
      tree.rows(image, placement, rows);
#pragma unroll
      for (int u = 0; u < kQuad; ++u) {
        const bool inside = u * kWarp + lane_index() < left;
        float v[Sizes<D>::kValues], g[Sizes<D>::kValues];
        tree.evaluate(rows, x + sample_of(item.quad, u), trees.batch, inside, v);
        g[kInputs + kNodes - 1] = code >> (8 * u + w) & 1 ? share[u] : 0.0f;
#pragma unroll
        for (int t = kNodes - 1; t >= 0; --t) {
          const float mine = g[kInputs + t], a = v[2 * t], b = v[2 * t + 1];
          moments[4 * t] += mine;
          moments[4 * t + 1] = fmaf(mine, a, moments[4 * t + 1]);
          moments[4 * t + 2] = fmaf(mine, b, moments[4 * t + 2]);
          moments[4 * t + 3] = fmaf(mine * a, b, moments[4 * t + 3]);
          if (t >= kLeaves) {
            const float4 e = *reinterpret_cast<const float4*>(tree.table[t]);
            const float low = e.y - e.x, high = e.w - e.z;
            g[2 * t] = mine * fmaf(b, high - low, low);
            g[2 * t + 1] = mine * (fmaf(a, high, e.z) - fmaf(a, low, e.x));
          } else if (leaf_grad && inside) {
            const int64_t row = (int64_t(root) * kLeaves + t) * image.count() + placement;
            leaf_grad[row * trees.batch + sample_of(item.quad, u)] = mine;
          }
        }
      }
    }
  }
#pragma unroll
  for (int t = 0; t < kNodes; ++t) {  // from moments to what the corners get
    float* m = moments + 4 * t;
    m[0] += m[3] - m[1] - m[2], m[1] -= m[3], m[2] -= m[3];
  }
  parts += (int64_t(blockIdx.y) * trees.roots + root) * (kNodes + 1) * 4;
  sum_block(moments, [&](int e, float total) { parts[e] = total; });
}

inline Trees trees_of(const int32_t* wiring, const float* leaves, const float* first, const float* second,
                      int64_t pool_y, int64_t pool_x, int64_t batch, int64_t roots) {
  return {wiring, {leaves, first, second}, batch, roots, int(pool_y), int(pool_x)};
}

extern "C" {

// y[roots][places][batch] from x[features][batch]; the tables of levels that there are not are null.
int difflut_cuda_tree(const float* x, const int32_t* wiring, const Image* image, const float* leaves,
                      const float* first, const float* second, int64_t levels, int64_t pool_y, int64_t pool_x,
                      int64_t batch, int64_t roots, float* y, uint32_t* chosen, int64_t number, cudaStream_t stream) {
  const Trees trees = trees_of(wiring, leaves, first, second, pool_y, pool_x, batch, roots);
  if (roots * batch == 0) return 0;
  with_inputs<kMostLevels>(levels, [&](auto depth) {
    enqueue(forward<depth>, dim3(unsigned(roots), unsigned(number)), kBlock, 0, stream, trees, *image, x, y, chosen);
  });
  return cudaGetLastError();
}

// leaf_grad and table_grad[roots][2 F][4]; where `number` of parts is not 1 they are kept in `parts`.
int difflut_cuda_tree_gradients(const float* x, const int32_t* wiring, const Image* image, const float* leaves,
                                const float* first, const float* second, int64_t levels, int64_t pool_y,
                                int64_t pool_x, int64_t batch, int64_t roots, const uint32_t* chosen,
                                const float* grad, float* leaf_grad, float* table_grad, float* parts, int64_t number,
                                cudaStream_t stream) {
  const Trees trees = trees_of(wiring, leaves, first, second, pool_y, pool_x, batch, roots);
  if (roots == 0) return 0;
  with_inputs<kMostLevels>(levels, [&](auto depth) {
    enqueue(gradients<depth>, dim3(unsigned(roots), unsigned(number)), kBlock, 0, stream, trees, *image, x, chosen,
            grad, leaf_grad, number == 1 ? table_grad : parts);
  });
  const int64_t entries = roots << (levels + 3);
  if (number > 1)
    enqueue(add_parts, unsigned(ceil_div(entries, kBlock)), kBlock, 0, stream, parts, entries, int(number), table_grad);
  return cudaGetLastError();
}

}  // extern "C"

}  // namespace difflut::tree
