// The gradient of the image that trees read, from what their pins pass back at the windows that have the maximum.
#include "tree.cuh"

namespace difflut::tree {

constexpr int kAhead = 8;               // places that a warp reads before it adds
constexpr int kStripBytes = 16 * 1024;  // of a warp's strip; a line of it is at most so long (cuda/trees.py)
constexpr int kEnoughWarps = 2048;

// The lines of the strips into which a channel is divided: many, where there are warps enough to fill a GPU.
inline int lines_of(const Image& image, int64_t warps_of_strips) {
  int lines = kStripBytes / (image.width * kWarp * int(sizeof(float)));
  if (lines > image.height) lines = image.height;
  while (lines > 1 && warps_of_strips * ceil_div(image.height, lines) < kEnoughWarps) lines = (lines + 1) / 2;
  return int(ceil_div(image.height, ceil_div(image.height, lines)));
}

// x_grad[features][batch] from pin_grad. A warp has a strip of a channel, and a word of every gridDim.y-th quad; what
// the channel's pins pass back it adds in shared memory, strip[lines][width][lane], as each lane has its own windows.
// Reader i of a channel reads it at spots[i] of the kernel.
__global__ void __launch_bounds__(kSamples, 4)
    input_gradient(Trees trees, Image image, Readers readers, const int32_t* __restrict__ spots,
                   const uint32_t* __restrict__ chosen, const float* __restrict__ pin_grad, int inputs, int lines,
                   float* __restrict__ x_grad) {
  follow();
  extern __shared__ float strips[];
  const int word = threadIdx.x / kWarp, lane = lane_index(), pixels = lines * image.width;
  float* strip = strips + word * pixels * kWarp + lane;
  const int of_channel = int(ceil_div(image.height, lines)), channel = blockIdx.x / of_channel;
  const int top = (blockIdx.x - channel * of_channel) * lines;
  const int bottom = top + lines < image.height ? top + lines : image.height;
  const int begin = __ldg(readers.start + channel), end = __ldg(readers.start + channel + 1);
  const int across = trees.places_x(image), down = trees.places_y(image), places = down * across;
  const int step = trees.pool_y * image.stride_y;
  const int64_t quads = trees.quads(), slot = trees.roots * inputs * quads * places * kSamples;
  for (int64_t quad = blockIdx.y; quad < quads; quad += gridDim.y) {
    const int64_t sample = sample_of(quad, word);
    const bool inside = sample < trees.batch;
    for (int e = 0; e < pixels; ++e) strip[e * kWarp] = 0;
    int pin = begin < end ? __ldg(readers.pins + begin) : 0, spot = begin < end ? __ldg(spots + begin) : 0;
    for (int r = begin; r < end; ++r) {
      const int y = spot / image.kernel_x - image.padding_y, x = spot % image.kernel_x - image.padding_x;
      const int root = pin / inputs;
      // The places of which some window reads the strip.
      const int before = top - y - (trees.pool_y - 1) * image.stride_y, after = bottom - 1 - y;
      const int first = before > 0 ? (before + step - 1) / step : 0, past = after < 0 ? 0 : after / step + 1;
      const int stop = (past < down ? past : down) * across;
      const uint32_t* codes = chosen + ((root * quads + quad) * places + first * across) * kWarp + lane;
      const float* passed = pin_grad + ((pin * quads + quad) * places + first * across) * kSamples + threadIdx.x;
      if (r + 1 < end) pin = __ldg(readers.pins + r + 1), spot = __ldg(spots + r + 1);
      int column = x, line = first * step + y - top;  // what the first window of a place reads
      for (int from = first * across; from < stop;
           from += kAhead, codes += kAhead * kWarp, passed += kAhead * kSamples) {
        uint32_t windows[kAhead];
        float g[kAhead];
#pragma unroll
        for (int i = 0; i < kAhead; ++i) {
          const bool used = inside && from + i < stop;
          windows[i] = used ? chosen ? __ldg(codes + i * kWarp) : 0x01010101u : 0;
          g[i] = used ? __ldg(passed + i * kSamples) : 0.0f;
        }
#pragma unroll
        for (int i = 0; i < kAhead; ++i) windows[i] = windows[i] >> (8 * word) & 255;
        const int first_column = column, first_line = line;
        const float* more = passed;
        while (true) {  // for the first of the windows that have the maximum, then where there is a second
          column = first_column, line = first_line;
          uint32_t left = 0;
#pragma unroll
          for (int i = 0; i < kAhead; ++i) {
            if (i == kAhead / 2 && from + i >= stop) break;
            const int w = __ffs(windows[i]) - 1, dy = trees.rows_of_windows >> (4 * (w & 7)) & 15;
            const int at_y = line + dy * image.stride_y, at_x = column + (w - dy * trees.pool_x) * image.stride_x;
            if (windows[i] && unsigned(at_y) < unsigned(bottom - top) && unsigned(at_x) < unsigned(image.width))
              strip[(at_y * image.width + at_x) * kWarp] += g[i];
            windows[i] &= windows[i] - 1;
            left |= windows[i];
            column += trees.pool_x * image.stride_x;
            if (column == x + across * trees.pool_x * image.stride_x) column = x, line += step;
          }
          if (!__any_sync(kAllLanes, left)) break;
          more += slot;
#pragma unroll
          for (int i = 0; i < kAhead; ++i) g[i] = windows[i] ? __ldg(more + i * kSamples) : 0.0f;
        }
      }
    }
    for (int e = 0; inside && e < (bottom - top) * image.width; ++e)
      x_grad[((int64_t(channel) * image.height + top) * image.width + e) * trees.batch + sample] = strip[e * kWarp];
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
  const int words = int(batch < kSamples ? ceil_div(batch, kWarp) : kQuad);
  const int lines = lines_of(*image, channels * words * trees.quads());
  const size_t shared = sizeof(float) * words * lines * image->width * kWarp;
  cudaFuncSetAttribute(input_gradient, cudaFuncAttributeMaxDynamicSharedMemorySize, kQuad * kStripBytes);
  const dim3 blocks(unsigned(channels * ceil_div(image->height, lines)),
                    unsigned(trees.quads() < 65535 ? trees.quads() : 65535));
  return enqueue(input_gradient, blocks, words * kWarp, shared, stream, trees, *image, Readers{start, pins}, spots,
                 chosen, pin_grad, 2 << levels, lines, x_grad);
}

}  // extern "C"

}  // namespace difflut::tree
