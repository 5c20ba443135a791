// Trees whose inputs are bits: a tree has one value and one gradient for every address that its inputs form. The
// backward pass sums the upstream gradient by address, and passes the sums back as if each address were a sample.
#include "lookup.cuh"
#include "tree.cuh"

namespace difflut::tree {

using lookup::address;

constexpr int kMostInputs = 2 << kMostLevels;  // of a tree: a byte has their address

// What a lane reads of a tree's inputs: a word of one of them.
template <int D>
struct Words {
  const Trees& trees;
  const Image& image;
  const uint32_t* from;  // [features][quads][4]
  Image::Pin pin;
  bool used;

  __device__ Words(const Trees& trees, const Image& image, const uint32_t* bits, int root)
      : trees(trees), image(image), from(bits + lane_index() / kMostInputs) {
    const int input = lane_index() % kMostInputs;
    used = input < GateTree<D>::kInputs;
    pin = image.pin(used ? __ldg(trees.wiring + int64_t(root) * GateTree<D>::kInputs + input) : 0);
  }

  // At a window of a place; zeros are outside of the image.
  __device__ uint32_t word(const Place& place, int window, int64_t quad) const {
    const int row = used ? image.row(pin, place.window(trees, image, window)) : -1;
    return row < 0 ? 0 : __ldg(from + (row * trees.quads() + quad) * kQuad);
  }
};

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
  const Words<D> words(trees, image, bits, root);
  const int64_t quads = trees.quads(), items = places * quads;
  for (int64_t i = int64_t(blockIdx.y) * kWarps + threadIdx.x / kWarp; i < items; i += int64_t(gridDim.y) * kWarps) {
    const Item item = item_of(image, i, quads);
    const Place place(trees, image, item.placement);
    Maxima maxima;
#pragma unroll 4
    for (int w = 0; w < trees.area(); ++w) {
      const uint32_t at = lookup::transposed(words.word(place, w, item.quad));
#pragma unroll
      for (int u = 0; u < kQuad; ++u) maxima.take(w, u, values[address(at, u)]);
    }
    maxima.store(trees, item, root, places, y, chosen);
  }
}

// What a lane reads for the gradients of a place.
struct Read {
  uint32_t words[kMostWindows], windows;
  float grad[kQuad];
};

// That of all tables, as `gradients` in tree.cu finds it. A block is a warp, each lane of which has sums of its own.
// These leave room for few warps, so that each reads its next item while it works on one.
template <int D>
__global__ void __launch_bounds__(kWarp)
    gradients_of_bits(Trees trees, Image image, const uint32_t* __restrict__ bits, const uint32_t* __restrict__ chosen,
                      const float* __restrict__ grad, float* __restrict__ parts) {
  follow();
  constexpr int kInputs = GateTree<D>::kInputs, kValues = GateTree<D>::kValues, kAddresses = 1 << kInputs;
  __shared__ alignas(16) GateTree<D> tree;
  __shared__ float sums[kAddresses][kWarp];
  const int root = blockIdx.x, places = trees.places_y(image) * trees.places_x(image), lane = lane_index();
  load_tables(tree, trees, root);
#pragma unroll 8
  for (int a = 0; a < kAddresses; ++a) sums[a][lane] = 0;
  const Words<D> words(trees, image, bits, root);
  const int64_t quads = trees.quads(), items = places * quads;
  const auto read = [&](int64_t i) {
    Read now = {};
    if (i >= items) return now;
    const Item item = item_of(image, i, quads);
    const Place place(trees, image, item.placement);
    const int left = samples_left(trees.batch, item.quad);
    const float* from = grad + (root * int64_t(places) + item.placement) * trees.batch + sample_of(item.quad, 0);
#pragma unroll
    for (int w = 0; w < kMostWindows; ++w)
      if (w < trees.area()) now.words[w] = words.word(place, w, item.quad);
#pragma unroll
    for (int u = 0; u < kQuad; ++u)
      if (u * kWarp + lane < left) now.grad[u] = __ldg(from + u * kWarp);
    now.windows = load_windows(trees, item, root, places, chosen);
    return now;
  };
  Read next = read(blockIdx.y);
  for (int64_t i = blockIdx.y; i < items; i += gridDim.y) {
    Read now = next;
    next = read(i + gridDim.y);
#pragma unroll
    for (int u = 0; u < kQuad; ++u) now.grad[u] /= float(max(1, __popc(now.windows >> (8 * u) & 255)));
#pragma unroll
    for (int first = 0; first < kMostWindows; first += 4) {
      if (first >= trees.area()) break;
      uint32_t at[4];
#pragma unroll
      for (int w = 0; w < 4; ++w) at[w] = lookup::transposed(now.words[first + w]);
#pragma unroll
      for (int w = 0; w < 4; ++w)
#pragma unroll
        for (int u = 0; u < kQuad; ++u)
          sums[address(at[w], u)][lane] += now.windows >> (8 * u + first + w) & 1 ? now.grad[u] : 0.0f;
    }
  }
  __syncwarp();
  float moments[tree.kMoments] = {};
#pragma unroll 1
  for (int a = lane; a < kAddresses; a += kWarp) {
    float v[kValues], g[kValues];
    g[kValues - 1] = 0;
    for (int l = 0; l < kWarp; ++l) g[kValues - 1] += sums[a][(l + lane) % kWarp];  // a bank for each lane
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
