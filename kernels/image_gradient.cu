// The gradient of an image, gathered from the pins that read its channels, at all placements of their nodes. No sum
// depends on the order in which threads run.
#include "image_scatter.cuh"
#include "multilinear.cuh"

namespace difflut::image {

using namespace lookup;

constexpr int kStrip = 4;  // neighbouring pixels of a line, which a warp has

// A pin, node * n + j, that reads a channel, where in the kernel it does, and what part of its gradient it passes back.
struct Listener {
  int pin, spot;
  float share;
};

// For every channel those that read it, from start[channel] to end[channel]; all shares are 1 where they are null.
struct Listeners {
  const int32_t *start, *end, *pins, *spots;
  const float* shares;

  __device__ Listener at(int i, int end) const {
    if (i >= end) return {};
    return {__ldg(pins + i), __ldg(spots + i), shares ? __ldg(shares + i) : 1.0f};
  }
};

// The placements at which a pin reads the pixels of a strip, -1 where there is none; whether there are any.
__device__ inline bool find_placements(const Image& image, int spot, int line, int first, int (&at)[kStrip]) {
  const auto quotient = [](int a, int b) { return b == 1 ? a : b == 2 ? a >> 1 : a / b; };
  const int dy = spot / image.kernel_x, y = line + image.padding_y - dy;
  const int x = first + image.padding_x - (spot - dy * image.kernel_x);
  const int down = quotient(y, image.stride_y);
  const bool meets = y >= 0 && down * image.stride_y == y && down < image.out_y;
  bool any = false;
#pragma unroll
  for (int i = 0; i < kStrip; ++i) {
    const int right = quotient(x + i, image.stride_x);
    const bool used = meets && first + i < image.width && x + i >= 0 && right * image.stride_x == x + i;
    at[i] = used && right < image.out_x ? down * image.out_x + right : -1;
    any |= at[i] >= 0;
  }
  return any;
}

// What pins pass back, as it was written down: grad[pin][placement][batch].
struct Written {
  const float* grad;
  int64_t batch;
  int placements;

  __device__ void add(int pin, float share, const int (&at)[kStrip], int64_t quad, float (&sums)[kStrip][kQuad]) const {
    const int left = samples_left(batch, quad);
#pragma unroll
    for (int i = 0; i < kStrip; ++i) {
      const float* from = grad + (int64_t(pin) * placements + at[i]) * batch + sample_of(quad, 0);
#pragma unroll
      for (int u = 0; u < kQuad; ++u)
        if (at[i] >= 0 && u * kWarp + lane_index() < left)
          sums[i][u] = fmaf(share, __ldg(from + u * kWarp), sums[i][u]);
    }
  }
};

// What pins pass back, from the addresses that their nodes took: codes[node][placement][quad][lane].
template <int N>
struct Found {
  const uint32_t* codes;
  const float* slope;
  Given grad;
  int m, placements;

  __device__ void add(int pin, float share, const int (&at)[kStrip], int64_t quad, float (&sums)[kStrip][kQuad]) const {
    const int node = unsigned(pin) / N, j = pin - node * N, left = samples_left(grad.batch, quad);
    const int64_t quads = ceil_div(grad.batch, kSamples);
    uint32_t rest[kStrip];
#pragma unroll
    for (int i = 0; i < kStrip; ++i) {
      const int64_t item = (int64_t(node) * placements + at[i]) * quads + quad;
      rest[i] = at[i] >= 0 ? without_input(__ldg(codes + item * kWarp + lane_index()), bits_below(j)) : 0;
    }
    for (int row = node * m; row < (node + 1) * m; ++row) {
      float g[kStrip][kQuad];
#pragma unroll
      for (int i = 0; i < kStrip; ++i) {
        const float* from = grad.row(row * placements + at[i]) + sample_of(quad, 0);
#pragma unroll
        for (int u = 0; u < kQuad; ++u)
          g[i][u] = at[i] >= 0 && u * kWarp + lane_index() < left ? __ldg(from + u * kWarp) : 0.0f;
      }
      const Differences<N> difference(slope + (int64_t(row) << N), j, share * grad.scale);
#pragma unroll
      for (int i = 0; i < kStrip; ++i)
#pragma unroll
        for (int u = 0; u < kQuad; ++u) sums[i][u] = fmaf(g[i][u], difference(rest[i] >> (8 * u)), sums[i][u]);
    }
  }
};

// What pins pass back where their nodes compute the extension of their tables at what they read of x[features][batch].
template <int N>
struct Extended {
  static constexpr int kEntries = 1 << (N - 1), kOthers = N > 1 ? N - 1 : 1;

  Image image;
  const int32_t* wiring;
  const float *x, *table, *grad;
  int64_t batch;
  int m;

  // The lane's samples of a quad of a row; 0 past the batch, and where the row is not `used`.
  __device__ void load(const float* rows, int row, int64_t quad, bool used, float (&out)[kQuad]) const {
    const int left = samples_left(batch, quad);
    const float* from = rows + row * batch + sample_of(quad, 0);
#pragma unroll
    for (int u = 0; u < kQuad; ++u) out[u] = used && u * kWarp + lane_index() < left ? __ldg(from + u * kWarp) : 0.0f;
  }

  __device__ void add(int pin, float share, const int (&at)[kStrip], int64_t quad, float (&sums)[kStrip][kQuad]) const {
    __shared__ alignas(16) float differences[kWarps][kEntries];
    const int node = unsigned(pin) / N, j = pin - node * N;
    float* mine = differences[threadIdx.x / kWarp];
    Image::Pin others[kOthers];
#pragma unroll
    for (int i = 0; i < N - 1; ++i) others[i] = image.pin(__ldg(wiring + int64_t(node) * N + i + (i >= j)));
    for (int row = node * m; row < (node + 1) * m; ++row) {
      __syncwarp();
      for (int e = lane_index(); e < kEntries; e += kWarp) {
        const float* low = table + (int64_t(row) << N) + without_bit(e, j);
        mine[e] = share * (__ldg(low + (1 << j)) - __ldg(low));
      }
      __syncwarp();
#pragma unroll
      for (int i = 0; i < kStrip; ++i) {
        if (at[i] < 0) continue;
        const auto window = image.window(at[i]);
        float inputs[kOthers][kQuad], g[kQuad], slope[kQuad];
        load(grad, row * image.count() + at[i], quad, true, g);
#pragma unroll
        for (int k = 0; k < N - 1; ++k) {
          const int from = image.row(others[k], window);
          load(x, from, quad, from >= 0, inputs[k]);
        }
        multilinear::extension<N - 1>(multilinear::Stored{mine}, inputs, slope);
#pragma unroll
        for (int u = 0; u < kQuad; ++u) sums[i][u] = fmaf(g[u], slope[u], sums[i][u]);
      }
    }
  }
};

// x_grad[features][batch]: a warp has a strip and every gridDim.y-th quad of samples. Warps that run together have
// different channels of a few strips: what these read lies in the cache.
template <class Source>
__global__ void __launch_bounds__(kBlock)
    input_gradient(Image image, Source source, Listeners listeners, int channels, int64_t batch,
                   float* __restrict__ x_grad) {
  follow();
  const int of_line = int(ceil_div(image.width, kStrip)), strip = row_of_warp() / channels;
  const int channel = row_of_warp() - strip * channels;
  const int line = strip / of_line, first = (strip - line * of_line) * kStrip;
  if (line >= image.height) return;
  const int begin = __ldg(listeners.start + channel), end = __ldg(listeners.end + channel);
  float* row = x_grad + ((int64_t(channel) * image.height + line) * image.width + first) * batch;
  for (int64_t quad = blockIdx.y; quad * kSamples < batch; quad += gridDim.y) {
    float sums[kStrip][kQuad] = {};
    Listener next = listeners.at(begin, end);
    for (int r = begin; r < end; ++r) {
      const Listener listener = next;
      next = listeners.at(r + 1, end);  // while this one's gradients are on their way
      int at[kStrip];
      if (find_placements(image, listener.spot, line, first, at))
        source.add(listener.pin, listener.share, at, quad, sums);
    }
    for (int i = 0; i < kStrip && first + i < image.width; ++i) store(row + i * batch, batch, quad, sums[i]);
  }
}

template <class Source>
int launch_input_gradient(const Image& image, const Source& source, const Listeners& listeners, int64_t channels,
                          int64_t batch, float* x_grad, cudaStream_t stream) {
  const int64_t strips = channels * image.height * ceil_div(image.width, kStrip);
  return enqueue(input_gradient<Source>, rows_by_batch(strips, ceil_div(batch, kSamples)), kBlock, 0, stream, image,
                 source, listeners, int(channels), batch, x_grad);
}

// The differences of the slope across each pin's bit, as a rule of `scatter`.
template <int N>
struct Differing {
  const float* slope;

  struct OfNode {
    Differences<N> difference[N];

    template <int... J>
    __device__ OfNode(const float* slope, std::integer_sequence<int, J...>) : difference{{slope, J}...} {}

    __device__ void operator()(int address, float g, float (&passed)[N]) const {
#pragma unroll
      for (int j = 0; j < N; ++j) passed[j] = g * difference[j](without_input(address, bits_below(j) & 255));
    }
  };

  __device__ OfNode of_node(int node) const {
    return {slope + (int64_t(node) << N), std::make_integer_sequence<int, N>()};
  }
};

// Shares up to this are left out: they change a pin's gradient by less than its rounding, 2**-24 of a float.
constexpr float kLeastShare = 0x1p-24f;

// The readers of each channel whose shares count, in order: `end`, `pins`, `spots` and `kept` of Listeners. Reader
// pin * choices + k is candidate k of a pin. Without `readers`, the candidates of all pins are the window's inputs.
__global__ void keep_shares(const int32_t* __restrict__ start, const int32_t* __restrict__ readers,
                            const int32_t* __restrict__ candidates, const float* __restrict__ shares, int choices,
                            int area, int channels, int32_t* __restrict__ end, int32_t* __restrict__ pins,
                            int32_t* __restrict__ spots, float* __restrict__ kept) {
  follow();
  const int channel = row_of_warp(), lane = lane_index();
  if (channel >= channels) return;
  const int begin = __ldg(start + channel), stop = __ldg(start + channel + 1);
  int next = begin;
#pragma unroll 4
  for (int first = begin; first < stop; first += kWarp) {
    const int i = first + lane, pin = (i - begin) / area;
    const int reader = i >= stop  ? -1
                       : readers ? __ldg(readers + i)
                                 : pin * choices + channel * area + (i - begin - pin * area);
    const float share = reader < 0 ? 0 : __ldg(shares + reader);
    const bool counts = share > kLeastShare;
    const uint32_t lanes = __ballot_sync(kAllLanes, counts);
    if (counts) {
      const int place = next + __popc(lanes & ((1u << lane) - 1));
      pins[place] = reader / choices;
      spots[place] = (candidates ? __ldg(candidates + reader) : reader % choices) % area;
      kept[place] = share;
    }
    next += __popc(lanes);
  }
  if (lane == 0) end[channel] = next;
}

extern "C" {

// x_grad[channels * height * width][batch] from grad[nodes * m * placements / group][batch], by the slopes across each
// address bit, where codes[nodes][placements][quads][32].
int difflut_cuda_image_gradient(const Image* image, const int32_t* start, const int32_t* end, const int32_t* pins,
                                const int32_t* spots, const float* shares, const uint32_t* codes, const float* slope,
                                const float* grad, int64_t group, double scale, float* x_grad, int64_t batch,
                                int64_t channels, int64_t n, int64_t m, cudaStream_t stream) {
  const Listeners listeners{start, end, pins, spots, shares};
  if (channels * batch == 0) return 0;
  with_inputs(n, [&](auto inputs) {
    const Found<inputs> found{codes, slope, {grad, batch, int(group), float(scale)}, int(m), image->count()};
    launch_input_gradient(*image, found, listeners, channels, batch, x_grad, stream);
  });
  return cudaGetLastError();
}

// The same of the extension of tables, at x[channels * height * width][batch].
int difflut_cuda_extension_image_gradient(const Image* image, const int32_t* start, const int32_t* end,
                                          const int32_t* pins, const int32_t* spots, const float* shares,
                                          const float* x, const int32_t* wiring, const float* table, const float* grad,
                                          float* x_grad, int64_t batch, int64_t channels, int64_t n, int64_t m,
                                          cudaStream_t stream) {
  const Listeners listeners{start, end, pins, spots, shares};
  if (channels * batch == 0) return 0;
  with_inputs(n, [&](auto inputs) {
    const Extended<inputs> extended{*image, wiring, x, table, grad, batch, int(m)};
    launch_input_gradient(*image, extended, listeners, channels, batch, x_grad, stream);
  });
  return cudaGetLastError();
}

// The same where every pixel is read by one pin at one placement, and nodes have one output.
int difflut_cuda_image_gradient_once(const Image* image, const int32_t* wiring, const uint32_t* codes,
                                     const float* slope, const float* grad, int64_t group, double scale, float* x_grad,
                                     int64_t batch, int64_t nodes, int64_t n, cudaStream_t stream) {
  const Bank bank{wiring, batch, nodes * n * image->count(), nodes, 1};
  if (nodes * batch == 0) return 0;
  with_inputs(n, [&](auto inputs) {
    launch_scatter<inputs>(*image, Differing<inputs>{slope}, bank, codes, {grad, batch, int(group), float(scale)},
                           x_grad, stream);
  });
  return cudaGetLastError();
}

// The same from grad[pins * placements][batch], the gradient of what each pin reads.
int difflut_cuda_image_gradient_of_pins(const Image* image, const int32_t* start, const int32_t* end,
                                        const int32_t* pins, const int32_t* spots, const float* shares,
                                        const float* grad, float* x_grad, int64_t batch, int64_t channels,
                                        cudaStream_t stream) {
  if (channels * batch == 0) return 0;
  const Written written{grad, batch, image->count()};
  return launch_input_gradient(*image, written, {start, end, pins, spots, shares}, channels, batch, x_grad, stream);
}

// shares[pins][choices]; candidates and readers are null where the candidates of all pins are the window's inputs.
int difflut_cuda_keep_shares(const int32_t* start, const int32_t* readers, const int32_t* candidates,
                             const float* shares, int64_t choices, int64_t area, int64_t channels, int32_t* end,
                             int32_t* pins, int32_t* spots, float* kept, cudaStream_t stream) {
  if (channels == 0) return 0;
  return enqueue(keep_shares, unsigned(ceil_div(channels, kWarps)), kBlock, 0, stream, start, readers, candidates,
                 shares, int(choices), int(area), int(channels), end, pins, spots, kept);
}

}  // extern "C"

}  // namespace difflut::image
