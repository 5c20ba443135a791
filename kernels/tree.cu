// Trees of two-input nodes at every window of an image, with the maximum over neighbouring windows, as one operation.
// The values inside a tree stay in registers. The backward pass computes them again, at the windows that have the
// maximum.
//
// A tree of D levels above its F = 2**D leaves has the values v[0], ..., v[4 F - 2]: first its 2 F inputs, then those of
// its nodes, leaves first. Node t reads v[2 t] and v[2 t + 1] and gives v[2 F + t].
#include "tree.cuh"

namespace difflut::tree {

template <int D>
struct Sizes {
  static constexpr int kLeaves = 1 << D, kNodes = 2 * kLeaves - 1, kInputs = 2 * kLeaves, kValues = kInputs + kNodes;
};

// What trees read: x[features][length], where a row has samples or words of bits. `sample` is a lane's in word u.
struct Values {
  const float* x;
  int64_t length;

  __device__ const float* at(int64_t quad) const { return x + sample_of(quad, 0); }
  __device__ static float sample(const float* row, int u) { return __ldg(row + u * kWarp); }
};

struct PackedBits {
  const uint32_t* bits;
  int64_t length;

  __device__ const uint32_t* at(int64_t quad) const { return bits + quad * kQuad; }
  __device__ static float sample(const uint32_t* row, int u) {
    return __ldg(row + u) >> lane_index() & 1 ? 1.0f : 0.0f;
  }
};

// One tree, shared by the threads of a block.
template <int D>
struct Tree {
  static constexpr int kInputs = Sizes<D>::kInputs;

  float4 table[Sizes<D>::kNodes];  // as x + y a + z b + w a b of a node's inputs
  Image::Pin pins[kInputs];
  // Where the rows begin that pins read at the windows of a warp's place, or -1.
  alignas(16) int64_t rows[kWarps][kMostWindows][kInputs];

  __device__ void load(const Trees& trees, const Image& image, int root) {
    for (int t = threadIdx.x; t < Sizes<D>::kNodes; t += blockDim.x) {
      int level = 0, node = t, width = Sizes<D>::kLeaves;
      while (node >= width) node -= width, width /= 2, ++level;
      const float* entries = trees.table[level] + (int64_t(root) * width + node) * 4;
      const float a = __ldg(entries), b = __ldg(entries + 1), c = __ldg(entries + 2), d = __ldg(entries + 3);
      table[t] = {a, b - a, c - a, (d - c) - (b - a)};
    }
    for (int p = threadIdx.x; p < kInputs; p += blockDim.x)
      pins[p] = image.pin(__ldg(trees.wiring + int64_t(root) * kInputs + p));
    __syncthreads();
  }

  // Finds the rows, of that length, for the warp.
  __device__ void go_to(const Trees& trees, const Image& image, const Place& place, int64_t length) {
    __syncwarp();
    for (int e = lane_index(); e < trees.area() * kInputs; e += kWarp) {
      const int row = image.row(pins[e % kInputs], place.window(trees, image, e / kInputs));
      rows[threadIdx.x / kWarp][e / kInputs][e % kInputs] = row < 0 ? -1 : row * length;
    }
    __syncwarp();
  }

  // Where the row begins that pin p reads at a window of the place, or -1.
  __device__ int64_t row(int window, int p) const { return rows[threadIdx.x / kWarp][window][p]; }

  // The values of the nodes from those of the inputs.
  __device__ void evaluate(float (&v)[Sizes<D>::kValues]) const {
#pragma unroll
    for (int t = 0; t < Sizes<D>::kNodes; ++t) {
      const float4 e = table[t];
      v[kInputs + t] = fmaf(v[2 * t + 1], fmaf(e.w, v[2 * t], e.z), fmaf(e.y, v[2 * t], e.x));
    }
  }
};

// y[roots][places][batch]; bit w of a byte of chosen[root][quad][place][lane] is whether window w has the maximum. A
// block has one root, and its warps take turns with the others of their root.
template <int D, class Input>
__global__ void __launch_bounds__(kBlock, 3)
    forward(Trees trees, Image image, Input input, float* __restrict__ y, uint32_t* __restrict__ chosen) {
  follow();
  __shared__ alignas(16) Tree<D> tree;
  const int root = blockIdx.x, places = trees.places_y(image) * trees.places_x(image);
  tree.load(trees, image, root);
  const int64_t quads = trees.quads(), items = places * quads;
  const int warps = blockDim.x / kWarp;
  for (int64_t i = int64_t(blockIdx.y) * warps + threadIdx.x / kWarp; i < items; i += int64_t(gridDim.y) * warps) {
    const Item item = item_of(image, i, quads);
    const int left = samples_left(trees.batch, item.quad);
    tree.go_to(trees, image, {trees, image, item.placement}, input.length);
    const auto* from = input.at(item.quad);
    float best[kQuad];
    uint32_t code = 0;
    for (int w = 0; w < trees.area(); ++w) {
      float v[kQuad][Sizes<D>::kValues];
#pragma unroll
      for (int p = 0; p < Sizes<D>::kInputs; ++p) {
        const int64_t row = tree.row(w, p);
        const auto* own = from + row;
#pragma unroll
        for (int u = 0; u < kQuad; ++u)
          v[u][p] = u * kWarp + lane_index() < left && row >= 0 ? Input::sample(own, u) : 0.0f;
      }
#pragma unroll
      for (int u = 0; u < kQuad; ++u) {
        tree.evaluate(v[u]);
        const float value = v[u][Sizes<D>::kValues - 1];
        const uint32_t mine = 1u << (8 * u + w), all = 255u << (8 * u);
        if (w == 0 || value > best[u] || value != value) best[u] = value, code = (code & ~all) | mine;  // NaN stays
        else if (value == best[u]) code |= mine;
      }
    }
    const int64_t out = root * int64_t(places) + item.placement;
    if (chosen) chosen[((root * quads + item.quad) * places + item.placement) * kWarp + lane_index()] = code;
#pragma unroll
    for (int u = 0; u < kQuad; ++u)
      if (u * kWarp + lane_index() < left) y[out * trees.batch + sample_of(item.quad, u)] = best[u];
  }
}

// From grad[roots][places][batch]: that of all tables, parts[gridDim.y][nodes][4], the banks one after the other; and
// of what the pins read, pin_grad[roots * 2 F][quads][places][windows][128] where it is not null, first of the windows
// that have the maximum of a place; what is behind them is not written.
template <int D, class Input>
__global__ void __launch_bounds__(kBlock, 2)
    gradients(Trees trees, Image image, Input input, const uint32_t* __restrict__ chosen,
              const float* __restrict__ grad, float* __restrict__ pin_grad, float* __restrict__ parts) {
  follow();
  constexpr int kInputs = Sizes<D>::kInputs, kNodes = Sizes<D>::kNodes;
  __shared__ alignas(16) Tree<D> tree;
  const int root = blockIdx.x, places = trees.places_y(image) * trees.places_x(image);
  tree.load(trees, image, root);
  float moments[(kNodes + 1) * 4] = {};
  const int64_t quads = trees.quads(), items = places * quads;
  const int warps = blockDim.x / kWarp;
  for (int64_t i = int64_t(blockIdx.y) * warps + threadIdx.x / kWarp; i < items; i += int64_t(gridDim.y) * warps) {
    const Item item = item_of(image, i, quads);
    const int left = samples_left(trees.batch, item.quad);
    const int64_t out = root * int64_t(places) + item.placement;
    tree.go_to(trees, image, {trees, image, item.placement}, input.length);
    const int64_t of_root = (root * quads + item.quad) * places + item.placement;
    uint32_t code = chosen ? __ldg(chosen + of_root * kWarp + lane_index()) : 0x01010101u;
#pragma unroll
    for (int u = 0; u < kQuad; ++u)
      if (u * kWarp + lane_index() >= left) code &= ~(255u << (8 * u));
    const auto* from = input.at(item.quad);
    const float* upstream = grad + out * trees.batch;
    const uint32_t all = code;
    const int64_t pin = items * trees.area() * kSamples;
    float* passed =
        pin_grad + ((root * (kInputs * quads) + item.quad) * places + item.placement) * trees.area() * kSamples;
    const auto pass_back = [&](int u) {  // from the first window that is left
      const uint32_t windows = code >> (8 * u) & 255;
      code &= ~((windows & -windows) << (8 * u));
      float v[Sizes<D>::kValues], g[Sizes<D>::kValues];
#pragma unroll
      for (int p = 0; p < kInputs; ++p) {
        const int64_t row = tree.row(windows ? __ffs(windows) - 1 : 0, p);
        v[p] = windows && row >= 0 ? Input::sample(from + row, u) : 0.0f;
      }
      tree.evaluate(v);
      const float share = windows ? __ldg(upstream + sample_of(item.quad, u)) : 0.0f;
      g[kInputs + kNodes - 1] = windows ? share / float(__popc(all >> (8 * u) & 255)) : 0.0f;
#pragma unroll
      for (int t = kNodes - 1; t >= 0; --t) {
        const float mine = g[kInputs + t], a = v[2 * t], b = v[2 * t + 1];
        moments[4 * t] += mine;
        moments[4 * t + 1] = fmaf(mine, a, moments[4 * t + 1]);
        moments[4 * t + 2] = fmaf(mine, b, moments[4 * t + 2]);
        moments[4 * t + 3] = fmaf(mine * a, b, moments[4 * t + 3]);
        const float4 e = tree.table[t];
        g[2 * t] = mine * fmaf(e.w, b, e.y);
        g[2 * t + 1] = mine * fmaf(e.w, a, e.z);
      }
      if (pin_grad && windows)
#pragma unroll
        for (int p = 0; p < kInputs; ++p) passed[p * pin + u * kWarp + lane_index()] = g[p];
    };
#pragma unroll 2
    for (int u = 0; u < kQuad; ++u) pass_back(u);
    while (__any_sync(kAllLanes, code)) {  // windows that are equal
      passed += kSamples;
#pragma unroll 1
      for (int u = 0; u < kQuad; ++u)
        if (__any_sync(kAllLanes, code >> (8 * u) & 255)) pass_back(u);
    }
  }
#pragma unroll
  for (int t = 0; t < kNodes; ++t) {  // from moments to what the corners get
    float* m = moments + 4 * t;
    m[0] += m[3] - m[1] - m[2], m[1] -= m[3], m[2] -= m[3];
  }
  parts += blockIdx.y * trees.roots * kNodes * 4;
  sum_block(moments, [&](int e, float total) {
    int t = e / 4, width = Sizes<D>::kLeaves;
    if (t == kNodes) return;
    int64_t bank = 0;
    while (t >= width) bank += trees.roots * width, t -= width, width /= 2;
    parts[(bank + root * int64_t(width) + t) * 4 + e % 4] = total;
  });
}

// Whole warps for a block whose root has so many items.
inline int threads_of(const Trees& trees, const Image& image) {
  const int64_t items = image.count() / trees.area() * trees.quads();
  return int(items < kWarps ? items : kWarps) * kWarp;
}

// Calls f with what the trees read: bits, where they are not null.
template <class F>
void with_input(const float* x, const uint32_t* bits, const Trees& trees, F f) {
  if (bits) f(PackedBits{bits, trees.quads() * kQuad});
  else f(Values{x, trees.batch});
}

extern "C" {

// y[roots][places][batch] from x[features][batch] or bits; the tables of levels that there are not are null.
int difflut_cuda_tree(const float* x, const uint32_t* bits, const int32_t* wiring, const Image* image,
                      const float* leaves, const float* first, const float* second, int64_t levels, int64_t pool_y,
                      int64_t pool_x, int64_t batch, int64_t roots, float* y, uint32_t* chosen, int64_t number,
                      cudaStream_t stream) {
  const Trees trees = trees_of(wiring, leaves, first, second, pool_y, pool_x, batch, roots);
  if (roots * batch == 0) return 0;
  with_inputs<kMostLevels>(levels, [&](auto depth) {
    with_input(x, bits, trees, [&](auto input) {
      enqueue(forward<depth, decltype(input)>, dim3(unsigned(roots), unsigned(number)), threads_of(trees, *image), 0,
              stream, trees, *image, input, y, chosen);
    });
  });
  return cudaGetLastError();
}

// pin_grad and table_grad[nodes][4], the banks one after the other; where `number` of parts is not 1 they are kept in
// `parts`.
int difflut_cuda_tree_gradients(const float* x, const uint32_t* bits, const int32_t* wiring, const Image* image,
                                const float* leaves, const float* first, const float* second, int64_t levels,
                                int64_t pool_y, int64_t pool_x, int64_t batch, int64_t roots, const uint32_t* chosen,
                                const float* grad, float* pin_grad, float* table_grad, float* parts, int64_t number,
                                cudaStream_t stream) {
  const Trees trees = trees_of(wiring, leaves, first, second, pool_y, pool_x, batch, roots);
  if (roots == 0) return 0;
  with_inputs<kMostLevels>(levels, [&](auto depth) {
    with_input(x, bits, trees, [&](auto input) {
      enqueue(gradients<depth, decltype(input)>, dim3(unsigned(roots), unsigned(number)), threads_of(trees, *image), 0,
              stream, trees, *image, input, chosen, grad, pin_grad, number == 1 ? table_grad : parts);
    });
  });
  const int64_t entries = roots * ((2 << levels) - 1) * 4;
  if (number > 1)
    enqueue(add_parts, unsigned(ceil_div(entries, kBlock)), kBlock, 0, stream, parts, entries, int(number), table_grad);
  return cudaGetLastError();
}

}  // extern "C"

}  // namespace difflut::tree
