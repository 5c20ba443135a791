// Trees of two-input nodes whose leaves read single features, as one operation: dense banks, each of which reads every
// output of the one before once. A warp has a tree, and a lane four neighbouring samples of it. What nodes give each
// other stays in registers, and the backward pass computes it again.
#include "gate_tree.cuh"
#include "multilinear.cuh"

namespace difflut::dense_trees {

using multilinear::is_aligned, multilinear::Place, multilinear::Quad, multilinear::with_alignment;

constexpr int kMostLevels = 2;  // `MOST_LEVELS` in cuda/dense_trees.py

struct Trees {
  const int32_t* pins;                // [roots][2 F]: the features that they read
  const int32_t* order[kMostLevels];  // [roots][F >> k]: the numbers of a tree's nodes in the bank of level k
  const float* table[kMostLevels + 1];
  int64_t batch, roots;

  __host__ __device__ int64_t quads() const { return ceil_div(batch, kSamples); }
};

// The tables of a tree, in registers.
template <int D>
struct Tree : GateTree<D> {
  __device__ Tree(const Trees& trees, int root) {
#pragma unroll
    for (int t = 0, level = 0, width = this->kLeaves, i = 0; t < this->kNodes; ++t) {
      const int64_t own = int64_t(root) * width + i;
      const int64_t node = level < D ? __ldg(trees.order[level] + own) : own;
      this->set(t, __ldg(reinterpret_cast<const float4*>(trees.table[level]) + node));
      if (++i == width) i = 0, width /= 2, ++level;
    }
  }
};

// Rows of a tree's pins.
template <int Inputs>
__device__ void load_rows(const int32_t* __restrict__ from, int root, int (&rows)[Inputs]) {
#pragma unroll
  for (int p = 0; p < Inputs; p += 4) {
    const int4 four = __ldg(reinterpret_cast<const int4*>(from + int64_t(root) * Inputs + p));
    rows[p] = four.x, rows[p + 1] = four.y, rows[p + 2] = four.z, rows[p + 3] = four.w;
  }
}

// y[roots][batch]. A warp has every gridDim.y-th quad.
template <int D, bool Aligned>
__global__ void __launch_bounds__(kBlock, 3) forward(Trees trees, const float* __restrict__ x, float* __restrict__ y) {
  follow();
  constexpr int kInputs = Tree<D>::kInputs;
  const int root = row_of_warp();
  if (root >= trees.roots) return;
  int pins[kInputs];
  load_rows(trees.pins, root, pins);
  const Tree<D> tree(trees, root);
  for (int64_t quad = blockIdx.y; quad < trees.quads(); quad += gridDim.y) {
    const Place<Aligned> place(trees.batch, quad);
    Quad inputs[kInputs], value;
#pragma unroll
    for (int p = 0; p < kInputs; ++p) place.load(x + pins[p] * trees.batch, inputs[p]);
#pragma unroll
    for (int u = 0; u < kQuad; ++u) {
      float v[Tree<D>::kValues];
#pragma unroll
      for (int p = 0; p < kInputs; ++p) v[p] = inputs[p][u];
      tree.evaluate(v);
      value[u] = v[Tree<D>::kValues - 1];
    }
    place.store(y + root * trees.batch, value);
  }
}

// From grad[roots][batch]: that of all tables, parts[gridDim.y][nodes][4], the banks one after the other; and of what
// the pins read, pin_grad[slots[root][pin]][batch] where it is not null.
template <int D, bool Aligned>
__global__ void __launch_bounds__(kBlock, 2)
    gradients(Trees trees, const float* __restrict__ x, const float* __restrict__ grad,
              const int32_t* __restrict__ slots, float* __restrict__ pin_grad, float* __restrict__ parts) {
  follow();
  constexpr int kInputs = Tree<D>::kInputs, kNodes = Tree<D>::kNodes, kMoments = Tree<D>::kMoments;
  const int root = row_of_warp();
  if (root >= trees.roots) return;
  int pins[kInputs];
  load_rows(trees.pins, root, pins);
  const Tree<D> tree(trees, root);
  float moments[kMoments] = {};
  for (int64_t quad = blockIdx.y; quad < trees.quads(); quad += gridDim.y) {
    const Place<Aligned> place(trees.batch, quad);
    Quad inputs[kInputs], upstream;  // then what is passed back to the inputs
#pragma unroll
    for (int p = 0; p < kInputs; ++p) place.load(x + pins[p] * trees.batch, inputs[p]);
    place.load(grad + root * trees.batch, upstream);
#pragma unroll
    for (int u = 0; u < kQuad; ++u) {
      float v[Tree<D>::kValues], g[Tree<D>::kValues];
#pragma unroll
      for (int p = 0; p < kInputs; ++p) v[p] = inputs[p][u];
      tree.evaluate(v);
      g[Tree<D>::kValues - 1] = upstream[u];
      tree.pass_back(v, g, moments);
#pragma unroll
      for (int p = 0; p < kInputs; ++p) inputs[p][u] = g[p];
    }
    if (!pin_grad) continue;
    int to[kInputs];
    load_rows(slots, root, to);
#pragma unroll
    for (int p = 0; p < kInputs; ++p) place.store(pin_grad + to[p] * trees.batch, inputs[p]);
  }
  tree.as_entries(moments);
  sum_lanes<kMoments, kWarp / 2>(moments);
  constexpr int kEach = kWarp / kMoments;  // lanes of an entry
  const int entry = lane_index() / kEach;
  int t = entry / 4, width = 1 << D;
  if (t == kNodes || lane_index() % kEach) return;
  int64_t bank = blockIdx.y * trees.roots * kNodes;
  const int32_t* order = trees.order[0];
#pragma unroll
  for (int level = 1; level <= D; ++level) {
    if (t < width) break;
    bank += trees.roots * width, t -= width, width /= 2, order = level < D ? trees.order[level] : nullptr;
  }
  const int64_t own = int64_t(root) * width + t;
  parts[(bank + (order ? __ldg(order + own) : own)) * 4 + entry % 4] = moments[0];
}

// x_grad[features][batch]: the sums of the rows of pin_grad that are a feature's.
template <bool Aligned>
__global__ void input_gradient(const int32_t* __restrict__ start, const float* __restrict__ pin_grad, int64_t batch,
                               int64_t features, float* __restrict__ x_grad) {
  follow();
  const int feature = row_of_warp();
  if (feature >= features) return;
  const int begin = __ldg(start + feature), end = __ldg(start + feature + 1);
  for (int64_t quad = blockIdx.y; quad < ceil_div(batch, kSamples); quad += gridDim.y) {
    const Place<Aligned> place(batch, quad);
    Quad total = {};
#pragma unroll 4
    for (int r = begin; r < end; ++r) {
      Quad one;
      place.load(pin_grad + r * batch, one);
#pragma unroll
      for (int u = 0; u < kQuad; ++u) total[u] += one[u];
    }
    place.store(x_grad + feature * batch, total);
  }
}

inline dim3 blocks_of(int64_t rows, int64_t number) { return dim3(unsigned(ceil_div(rows, kWarps)), unsigned(number)); }

extern "C" {

// y[roots][batch] from x[features][batch]; the order and the tables of levels that there are not are null. The batch is
// divided into `number` parts.
int difflut_cuda_dense_trees(const float* x, const int32_t* pins, const int32_t* leaves, const int32_t* inner,
                             const float* table, const float* first, const float* second, int64_t levels, int64_t batch,
                             int64_t roots, float* y, int64_t number, cudaStream_t stream) {
  const Trees trees{pins, {leaves, inner}, {table, first, second}, batch, roots};
  if (roots * batch == 0) return 0;
  with_inputs<kMostLevels>(levels, [&](auto depth) {
    with_alignment(is_aligned(batch, x, y), [&](auto aligned) {
      enqueue(forward<depth, aligned>, blocks_of(roots, number), kBlock, 0, stream, trees, x, y);
    });
  });
  return cudaGetLastError();
}

// pin_grad[pins][batch] and table_grad[nodes][4], the banks one after the other; where `number` of parts is not 1 they
// are kept in `parts`.
int difflut_cuda_dense_tree_gradients(const float* x, const int32_t* pins, const int32_t* leaves, const int32_t* inner,
                                      const float* table, const float* first, const float* second, int64_t levels,
                                      int64_t batch, int64_t roots, const float* grad, const int32_t* slots,
                                      float* pin_grad, float* table_grad, float* parts, int64_t number,
                                      cudaStream_t stream) {
  const Trees trees{pins, {leaves, inner}, {table, first, second}, batch, roots};
  if (roots == 0) return 0;
  with_inputs<kMostLevels>(levels, [&](auto depth) {
    with_alignment(is_aligned(batch, x, grad), [&](auto aligned) {
      enqueue(gradients<depth, aligned>, blocks_of(roots, number), kBlock, 0, stream, trees, x, grad, slots, pin_grad,
              number == 1 ? table_grad : parts);
    });
  });
  const int64_t entries = roots * ((2 << levels) - 1) * 4;
  if (number > 1)
    enqueue(add_parts, unsigned(ceil_div(entries, kBlock)), kBlock, 0, stream, parts, entries, int(number), table_grad);
  return cudaGetLastError();
}

// x_grad[features][batch] from what difflut_cuda_dense_tree_gradients found; pins start[f] to start[f + 1] - 1 read f.
int difflut_cuda_dense_tree_input_gradient(const int32_t* start, const float* pin_grad, int64_t batch, int64_t features,
                                           float* x_grad, int64_t number, cudaStream_t stream) {
  if (features * batch == 0) return 0;
  with_alignment(is_aligned(batch, pin_grad, x_grad), [&](auto aligned) {
    enqueue(input_gradient<aligned>, blocks_of(features, number), kBlock, 0, stream, start, pin_grad, batch, features,
            x_grad);
  });
  return cudaGetLastError();
}

}  // extern "C"

}  // namespace difflut::dense_trees
