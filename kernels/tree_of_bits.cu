// Trees whose inputs are bits: a tree has one value and one gradient for every address that its inputs form. The
// backward pass sums the upstream gradient by address, and passes the sums back as if each address were a sample.
#include "lookup.cuh"
#include "tree.cuh"

namespace difflut::tree {

using lookup::address, lookup::addresses;

template <int D>
using Words = lookup::Words<GateTree<D>::kInputs, Image>;

template <int D>
__device__ void set_inputs(float (&v)[GateTree<D>::kValues], int address) {
#pragma unroll
  for (int p = 0; p < GateTree<D>::kInputs; ++p) v[p] = address >> p & 1 ? 1.0f : 0.0f;
}

// As `forward` in tree.cu, from bits[features][quads][4].
template <int D>
__global__ void __launch_bounds__(kBlock)
    forward_of_bits(Trees trees, Image image, const uint32_t* __restrict__ bits, float* __restrict__ y,
                    uint32_t* __restrict__ chosen) {
  follow();
  __shared__ alignas(16) GateTree<D> tree;
  __shared__ float values[1 << GateTree<D>::kInputs];
  const int root = blockIdx.x, places = trees.places_y(image) * trees.places_x(image);
  load_tables(tree, trees, root);
  for (int a = threadIdx.x; a < 1 << tree.kInputs; a += kBlock) {
    float v[tree.kValues];
    set_inputs<D>(v, a);
    tree.evaluate(v);
    values[a] = v[tree.kValues - 1];
  }
  __syncthreads();
  const Words<D> words(image, trees.wiring + int64_t(root) * GateTree<D>::kInputs, bits);
  const int64_t quads = trees.quads(), items = places * quads;
  for (int64_t i = int64_t(blockIdx.y) * kWarps + threadIdx.x / kWarp; i < items; i += int64_t(gridDim.y) * kWarps) {
    const Item item = item_of(image, i, quads);
    const Place place(trees, image, item.placement);
    Maxima maxima;
#pragma unroll 4
    for (int w = 0; w < trees.area(); ++w) {
      const uint32_t at = addresses(words.word(image, place.window(trees, image, w), quads, item.quad));
#pragma unroll
      for (int u = 0; u < kQuad; ++u) maxima.take(w, u, values[address(at, u)]);
    }
    maxima.store(trees, item, root, places, y, chosen);
  }
}

// What a lane reads for the gradients of a place.
template <int D>
struct Read {
  Upstream upstream;
  uint32_t words[kMostWindows] = {};

  __device__ Read(const Trees& trees, const Image& image, const Words<D>& from, const Item& item, int root, int places,
                  const uint32_t* chosen, const float* grad)
      : upstream(trees, item, root, places, chosen, grad) {
    const Place place(trees, image, item.placement);
#pragma unroll
    for (int w = 0; w < kMostWindows; ++w)
      if (w < trees.area()) words[w] = from.word(image, place.window(trees, image, w), trees.quads(), item.quad);
  }
};

// Sums the upstream gradients of a block's places by address. A block is a warp, each lane of which has sums of its
// own; as these leave room for few warps, each reads its next place while it works on one.
template <int D>
__device__ void sum_by_address(const Trees& trees, const Image& image, const uint32_t* bits, const uint32_t* chosen,
                               const float* grad, int root, float (&sums)[1 << GateTree<D>::kInputs][kWarp]) {
#pragma unroll 8
  for (auto& of_address : sums) of_address[lane_index()] = 0;
  const int places = trees.places_y(image) * trees.places_x(image);
  const int64_t quads = trees.quads(), items = places * quads;
  if (items == 0) return;
  const Words<D> words(image, trees.wiring + int64_t(root) * GateTree<D>::kInputs, bits);
  const auto read = [&](int64_t i) {
    return Read<D>(trees, image, words, item_of(image, i < items ? i : 0, quads), root, places, chosen, grad);
  };
  Read<D> next = read(blockIdx.y);
  for (int64_t i = blockIdx.y; i < items; i += gridDim.y) {
    Read<D> now = next;
    next = read(i + gridDim.y);
    now.upstream.divide();
#pragma unroll
    for (int first = 0; first < kMostWindows; first += 4) {
      if (first >= trees.area()) break;
      uint32_t at[4];
#pragma unroll
      for (int w = 0; w < 4; ++w) at[w] = addresses(now.words[first + w]);
#pragma unroll
      for (int w = 0; w < 4; ++w)
#pragma unroll
        for (int u = 0; u < kQuad; ++u) {
          const bool is_chosen = now.upstream.windows >> (8 * u + first + w) & 1;
          sums[address(at[w], u)][lane_index()] += is_chosen ? now.upstream.grad[u] : 0.0f;
        }
    }
  }
}

// That of all tables, as `gradients` in tree.cu finds it.
template <int D>
__global__ void __launch_bounds__(kWarp)
    gradients_of_bits(Trees trees, Image image, const uint32_t* __restrict__ bits, const uint32_t* __restrict__ chosen,
                      const float* __restrict__ grad, float* __restrict__ parts) {
  follow();
  constexpr int kInputs = GateTree<D>::kInputs, kValues = GateTree<D>::kValues;
  __shared__ alignas(16) GateTree<D> tree;
  __shared__ float sums[1 << kInputs][kWarp];
  const int root = blockIdx.x;
  load_tables(tree, trees, root);
  sum_by_address<D>(trees, image, bits, chosen, grad, root, sums);
  __syncwarp();
  float moments[tree.kMoments] = {};
#pragma unroll 1
  for (int a = lane_index(); a < 1 << kInputs; a += kWarp) {
    float v[kValues], g[kValues];
    g[kValues - 1] = 0;
    for (int l = 0; l < kWarp; ++l) g[kValues - 1] += sums[a][(l + lane_index()) % kWarp];  // a bank for each lane
    set_inputs<D>(v, a);
    tree.evaluate(v);
    tree.pass_back(v, g, moments);
  }
  store_tables<D>(moments, trees, root, parts);
}

extern "C" {

// As difflut_cuda_tree, from bits[features][quads][4].
int difflut_cuda_tree_of_bits(const uint32_t* bits, const int32_t* wiring, const Image* image, const float* leaves,
                              const float* first, const float* second, int64_t levels, int64_t pool_y, int64_t pool_x,
                              int64_t batch, int64_t roots, float* y, uint32_t* chosen, int64_t number,
                              cudaStream_t stream) {
  const Trees trees = trees_of(wiring, leaves, first, second, pool_y, pool_x, batch, roots);
  if (roots * batch == 0) return 0;
  with_inputs<kMostLevels>(levels, [&](auto depth) {
    enqueue(forward_of_bits<depth>, dim3(unsigned(roots), unsigned(number)), kBlock, 0, stream, trees, *image, bits, y,
            chosen);
  });
  return cudaGetLastError();
}

// As difflut_cuda_tree_gradients, of the tables alone.
int difflut_cuda_tree_of_bits_gradients(const uint32_t* bits, const int32_t* wiring, const Image* image,
                                        const float* leaves, const float* first, const float* second, int64_t levels,
                                        int64_t pool_y, int64_t pool_x, int64_t batch, int64_t roots,
                                        const uint32_t* chosen, const float* grad, float* table_grad, float* parts,
                                        int64_t number, cudaStream_t stream) {
  const Trees trees = trees_of(wiring, leaves, first, second, pool_y, pool_x, batch, roots);
  if (roots == 0) return 0;
  with_inputs<kMostLevels>(levels, [&](auto depth) {
    enqueue(gradients_of_bits<depth>, dim3(unsigned(roots), unsigned(number)), kWarp, 0, stream, trees, *image, bits,
            chosen, grad, number == 1 ? table_grad : parts);
  });
  return add_tables(levels, roots, parts, number, table_grad, stream);
}

}  // extern "C"

}  // namespace difflut::tree
