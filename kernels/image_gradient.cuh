// The gradient of an image, gathered from the pins that read its channels, at all placements of their nodes.
#pragma once

#include "lookup_upstream.cuh"

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

// x_grad[features][batch]: a warp has a strip and every gridDim.y-th quad of samples. No sum depends on the order in which
// threads run.
template <class Source>
__global__ void __launch_bounds__(kBlock)
    input_gradient(Image image, Source source, Listeners listeners, int channels, int64_t batch,
                   float* __restrict__ x_grad) {
  follow();
  const int of_line = int(ceil_div(image.width, kStrip)), strip = row_of_warp() % of_line;
  const int line = row_of_warp() / of_line % image.height, channel = row_of_warp() / of_line / image.height;
  if (channel >= channels) return;
  const int first = strip * kStrip;
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

}  // namespace difflut::image
