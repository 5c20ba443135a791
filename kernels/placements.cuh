// Where the nodes of a bank stand: once, or at every window of an image. The work of a node is counted in items: an
// item is a quad of samples at a placement. The items of a placement are neighbours.
#pragma once

#include "bank.cuh"

namespace difflut {

// One placement, whose window is all features.
struct Dense {
  using Pin = int;      // a feature
  struct Window {};     // that of a placement
  using Pixel = int;    // a feature

  static constexpr bool kIsDense = true;

  __host__ __device__ static constexpr int count() { return 1; }
  __device__ static Window window(int) { return {}; }
  __device__ static Pin pin(int entry) { return entry; }
  __device__ static int row(Pin pin, Window) { return pin; }
  __device__ static Pixel pixel(int feature) { return feature; }
  __device__ static int channel(Pixel pixel) { return pixel; }
  __device__ static int placement(Pixel, int) { return 0; }
};

// `Placements` in placements.py, in the order of `image_of` in cuda/layout.py.
struct Image {
  int32_t height, width, kernel_y, kernel_x, stride_y, stride_x, padding_y, padding_x, out_y, out_x;

  // What a pin reads at the first placement: its row, as if the image went on where the padding is, and where it lies.
  struct Pin {
    int row, y, x;
  };

  // Pixels from the first placement to this one.
  struct Window {
    int y, x;
  };

  // Counted from the corner of the padding.
  struct Pixel {
    int channel, y, x;
  };

  static constexpr bool kIsDense = false;

  __host__ __device__ int count() const { return out_y * out_x; }

  __device__ Window window(int placement) const {
    const int y = placement / out_x;
    return {y * stride_y, (placement - y * out_x) * stride_x};
  }

  __device__ Pin pin(int entry) const {
    const int line = entry / kernel_x, channel = line / kernel_y;
    const int y = line - channel * kernel_y - padding_y, x = entry - line * kernel_x - padding_x;
    return {(channel * height + y) * width + x, y, x};
  }

  // -1 outside of the image.
  __device__ int row(const Pin& pin, const Window& window) const {
    const bool inside = unsigned(pin.y + window.y) < unsigned(height) && unsigned(pin.x + window.x) < unsigned(width);
    return inside ? pin.row + window.y * width + window.x : -1;
  }

  __device__ Pixel pixel(int feature) const {
    const int line = feature / width, channel = line / height;
    return {channel, line - channel * height + padding_y, feature - line * width + padding_x};
  }

  __device__ static int channel(const Pixel& pixel) { return pixel.channel; }

  // The placement at which a wiring's entry, of this pixel's channel, reads the pixel; -1 where there is none.
  __device__ int placement(const Pixel& pixel, int entry) const {
    const int line = entry / kernel_x, y = pixel.y - line % kernel_y, x = pixel.x - (entry - line * kernel_x);
    if (y < 0 || x < 0) return -1;
    const int down = stride_y == 1 ? y : y / stride_y, right = stride_x == 1 ? x : x / stride_x;
    const bool meets = down * stride_y == y && right * stride_x == x && down < out_y && right < out_x;
    return meets ? down * out_x + right : -1;
  }
};

// One of a node's items.
struct Item {
  int placement;
  int64_t quad;
};

template <class Site>
__device__ Item item_of(const Site&, int64_t item, int64_t quads) {
  if constexpr (Site::kIsDense) return {0, item};
  const int placement = quads == 1 ? int(item) : int(item / quads);
  return {placement, item - placement * quads};
}

// Calls f with the placements: those of an image, or one where there is none.
template <class F>
void with_site(const Image* image, F f) {
  if (image) f(*image);
  else f(Dense());
}

}  // namespace difflut
