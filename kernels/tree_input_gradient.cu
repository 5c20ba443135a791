// The gradient of the image that trees read, from what their pins pass back at the windows that have the maximum.
#include "tree.cuh"

namespace difflut::tree {

constexpr int kPixels = 4;  // neighbours in a line, which a warp has
constexpr uint32_t kEach = 0x01010101;  // in every byte of a code

// What reads a pixel: the window at a distance from it. For every distance of a line, or column, from the last position
// in the kernel: 16 times the place of the window and its number there, or -1 where no window is.
struct Distances {
  int32_t *lines, *columns;

  __host__ __device__ static int lines_of(const Image& image) { return image.height + image.kernel_y - 1; }
  __host__ __device__ static int columns_of(const Image& image) { return image.width + image.kernel_x - 1; }

  // By the threads of a block.
  __device__ Distances(int32_t* shared, const Trees& trees, const Image& image)
      : lines(shared), columns(shared + lines_of(image)) {
    const int across = trees.places_x(image);
    for (int i = threadIdx.x; i < lines_of(image) + columns_of(image); i += blockDim.x) {
      const bool is_line = i < lines_of(image);
      const int from = is_line ? i - (image.kernel_y - 1) + image.padding_y
                               : i - lines_of(image) - (image.kernel_x - 1) + image.padding_x;
      const int stride = is_line ? image.stride_y : image.stride_x, out = is_line ? image.out_y : image.out_x;
      const int pool = is_line ? trees.pool_y : trees.pool_x, window = from / stride;
      const bool read = from >= 0 && window * stride == from && window < out;
      const int place = window / pool, inside = window - place * pool;
      shared[i] = !read ? -1 : is_line ? place * across << 4 | inside * trees.pool_x : place << 4 | inside;
    }
    __syncthreads();
  }
};

// x_grad[features][batch] from pin_grad. A block has some pixels of a channel, a warp kPixels of them, and every
// gridDim.y-th quad. Reader i of a channel reads it at spots[i] of the kernel, and is a pin of tree pins[i] >> shift.
// Ranks among equal windows are counted only where there are any.
__global__ void __launch_bounds__(kBlock, 4)
    input_gradient(Trees trees, Image image, Readers readers, const int32_t* __restrict__ spots,
                   const uint32_t* __restrict__ chosen, const float* __restrict__ pin_grad, int shift,
                   float* __restrict__ x_grad) {
  follow();
  extern __shared__ int32_t shared[];
  const Distances distances(shared, trees, image);
  const int across = int(ceil_div(image.width, kPixels)), groups = image.height * across, warps = blockDim.x / kWarp;
  const int blocks = int(ceil_div(groups, warps)), channel = blockIdx.x / blocks;
  const int group = (blockIdx.x - channel * blocks) * warps + threadIdx.x / kWarp;
  if (group >= groups) return;
  const int y = group / across, x = (group - y * across) * kPixels, lane = lane_index();
  const int begin = __ldg(readers.start + channel), end = __ldg(readers.start + channel + 1);
  const int places = trees.places_y(image) * trees.places_x(image);
  const int of_place = trees.area() * kSamples;
  const int64_t quads = trees.quads();
  for (int64_t quad = blockIdx.y; quad < quads; quad += gridDim.y) {
    float sums[kPixels][kQuad] = {};
    int mine = 0, at = 0;  // of a lane's reader: its pin, and how far from the pixel the kernel begins
    for (int r = begin; r < end; ++r) {
      const int turn = (r - begin) % kWarp;
      if (turn == 0 && r + lane < end) {
        const int spot = __ldg(spots + r + lane), row = spot / image.kernel_x;
        mine = __ldg(readers.pins + r + lane);
        at = (image.kernel_y - 1 - row) << 16 | (image.kernel_x - 1 - (spot - row * image.kernel_x));
      }
      const int pin = __shfl_sync(kAllLanes, mine, turn), distance = __shfl_sync(kAllLanes, at, turn);
      const int line = distances.lines[y + (distance >> 16)];
      if (line < 0) continue;
      const uint32_t* codes = chosen + ((pin >> shift) * quads + quad) * places * kWarp + lane;
      const float* passed = pin_grad + (pin * quads + quad) * places * of_place + lane;
      const float* from[kPixels];
      uint32_t hits[kPixels], before[kPixels], ties = 0;  // bytes: this window has the maximum, which did before
#pragma unroll
      for (int i = 0; i < kPixels; ++i) {
        const int column = x + i < image.width ? distances.columns[x + i + (distance & 0xffff)] : -1;
        const int place = (line + column) >> 4, window = (line + column) & 15;
        const uint32_t code = column < 0 ? 0 : chosen ? __ldg(codes + place * kWarp) : kEach;
        from[i] = passed + place * of_place;
        hits[i] = code >> window & kEach;
        before[i] = code & ((1u << window) - 1) * kEach;
        ties |= before[i] & hits[i] * 255;
      }
      const auto add = [&](auto rank) {
        float g[kPixels][kQuad];
#pragma unroll
        for (int i = 0; i < kPixels; ++i)
#pragma unroll
          for (int u = 0; u < kQuad; ++u)
            g[i][u] = hits[i] >> (8 * u) & 1 ? __ldg(from[i] + rank(i, u) * kSamples + u * kWarp) : 0.0f;
#pragma unroll
        for (int i = 0; i < kPixels; ++i)
#pragma unroll
          for (int u = 0; u < kQuad; ++u) sums[i][u] += g[i][u];
      };
      if (__any_sync(kAllLanes, ties)) add([&](int i, int u) { return __popc(before[i] >> (8 * u) & 255); });
      else add([](int, int) { return 0; });
    }
#pragma unroll
    for (int i = 0; i < kPixels; ++i) {
      float* out = x_grad + ((int64_t(channel) * image.height + y) * image.width + x + i) * trees.batch;
#pragma unroll
      for (int u = 0; u < kQuad; ++u) {
        const int64_t sample = sample_of(quad, u);
        if (x + i < image.width && sample < trees.batch) out[sample] = sums[i][u];
      }
    }
  }
}

extern "C" {

// x_grad[channels * height * width][batch] from what difflut_cuda_tree_gradients found.
int difflut_cuda_tree_input_gradient(const Image* image, int64_t levels, int64_t pool_y, int64_t pool_x, int64_t batch,
                                     int64_t roots, const int32_t* start, const int32_t* pins, const int32_t* spots,
                                     const uint32_t* chosen, const float* pin_grad, int64_t channels, float* x_grad,
                                     cudaStream_t stream) {
  const Trees trees = trees_of(nullptr, nullptr, nullptr, nullptr, pool_y, pool_x, batch, roots);
  if (channels * batch == 0) return 0;
  const int64_t groups = image->height * ceil_div(image->width, kPixels), warps = groups < kWarps ? groups : kWarps;
  const size_t shared = sizeof(int32_t) * (Distances::lines_of(*image) + Distances::columns_of(*image));
  const dim3 blocks(unsigned(channels * ceil_div(groups, warps)),
                    unsigned(trees.quads() < 65535 ? trees.quads() : 65535));
  return enqueue(input_gradient, blocks, unsigned(warps * kWarp), shared, stream, trees, *image, Readers{start, pins},
                 spots, chosen, pin_grad, int(levels) + 1, x_grad);
}

}  // extern "C"

}  // namespace difflut::tree
