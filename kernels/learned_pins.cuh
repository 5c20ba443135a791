// What the kernels of learnable wirings read: the gradients of pins, and what the pins choose among.
//
// Samples are taken in an order that suits their bits: a lane has, of every word, the four from 4 (lane % 4) on and
// those 16 later, and of rows (pins) and columns (candidates) number lane / 4.
#pragma once

#include "lookup_upstream.cuh"
#include "mma.cuh"
#include "multilinear.cuh"

namespace difflut::learned {

using namespace lookup;

constexpr int kMostPins = 8;                    // of a group: a node, or neighbouring pins
constexpr int kTile = 8;                        // candidates of a product
constexpr int kTiles = 8;                       // products of a warp
constexpr int kCandidates = kTile * kTiles;     // of a block; `CANDIDATES` in cuda/choices.py
constexpr int kMostWarps = 4;
constexpr int kThreads = kMostWarps * kWarp;

constexpr int kHalf = 4;
constexpr int kOwn = 2 * kHalf;  // samples of a lane in a word

__device__ inline int own_row() { return lane_index() / 4; }
__device__ inline int own_sample() { return kHalf * (lane_index() % 4); }

// Rows of floats, [..][batch], as a lane reads its samples, by halves of words. `Vector`: four samples lie aligned.
template <bool Vector>
struct Rows {
  const float* start;
  int64_t batch;

  // The lane's samples of a half; 0 past the batch, and where the row is -1.
  __device__ void load(int row, int64_t quad, int half, float (&out)[kHalf]) const {
    const int first = half * (kWarp / 2) + own_sample(), left = row < 0 ? 0 : samples_left(batch, quad);
    const float* from = start + row * batch + quad * kSamples + first;
    if constexpr (Vector) {
      const float4 four = first < left ? __ldg(reinterpret_cast<const float4*>(from)) : float4{};
      out[0] = four.x, out[1] = four.y, out[2] = four.z, out[3] = four.w;
    } else {
#pragma unroll
      for (int s = 0; s < kHalf; ++s) out[s] = first + s < left ? __ldg(from + s) : 0.0f;
    }
  }
};

// A lane's samples of a quad, word by word. All are read before any is used: the warps are too few to hide the way from
// memory otherwise.
using Own = float[kQuad][kOwn];

template <bool Vector>
__device__ void load_own(const Rows<Vector>& rows, int row, int64_t quad, Own& g) {
#pragma unroll
  for (int i = 0; i < 2 * kQuad; ++i) {
    float four[kHalf];
    rows.load(row, quad, i, four);
#pragma unroll
    for (int s = 0; s < kHalf; ++s) g[i / 2][i % 2 * kHalf + s] = four[s];
  }
}

// Two numbers as sums of two bfloat16.
__device__ inline void split(float first, float second, uint32_t& high, uint32_t& low) {
  high = bfloat16_pair(first, second);
  low = bfloat16_pair(first - __uint_as_float(high << 16), second - __uint_as_float(high & 0xffff0000u));
}

// The gradients of a group's pins as they were written down: grad[pin][placement][batch].
template <bool Vector>
struct Written {
  static constexpr int kPins = kMostPins;

  Image image;
  Rows<Vector> grad;
  int pins;

  __device__ static int outputs() { return 1; }
  __device__ void begin(int, int) {}

  struct OfItem {
    Own g;

    __device__ void word(int u, float (&out)[kOwn]) const {
#pragma unroll
      for (int s = 0; s < kOwn; ++s) out[s] = g[u][s];
    }
  };

  __device__ OfItem at(int group, int, int64_t, const Item& item) const {
    const int pin = group * kPins + own_row();
    OfItem found;
    load_own(grad, pin < pins ? pin * image.count() + item.placement : -1, item.quad, found.g);
    return found;
  }
};

// What the inputs of a node's output pass back at each corner of the others: the differences of its table's entries.
// One input's lie Pitch floats after those of the one before.
template <int N, int Pitch>
__device__ void take_differences(const float* table, float* out) {
  constexpr int kEntries = 1 << (N - 1);
  __syncthreads();
  for (int e = threadIdx.x; e < N * kEntries; e += blockDim.x) {
    const int j = e / kEntries, low = without_bit(e % kEntries, j);
    out[j * Pitch + e % kEntries] = __ldg(table + (low | 1 << j)) - __ldg(table + low);
  }
  __syncthreads();
}

// The gradients of a node's pins from the addresses that it took: codes[node][items][lane].
template <int N, bool Vector>
struct Found {
  static constexpr int kPins = N, kEntries = 1 << (N - 1);

  Image image;
  const uint32_t* codes;
  const float* slope;
  Rows<Vector> grad;
  int m;

  __device__ int outputs() const { return m; }

  __device__ static float* differences() {
    __shared__ float entries[N * kEntries];
    return entries;
  }

  __device__ void begin(int node, int output) const {
    take_differences<N, kEntries>(slope + (int64_t(node * m + output) << N), differences());
  }

  struct OfItem {
    Own g;
    const float* differences;
    uint32_t rest[kOwn];

    __device__ void word(int u, float (&out)[kOwn]) const {
#pragma unroll
      for (int s = 0; s < kOwn; ++s) out[s] = g[u][s] * differences[address(rest[s], u) & (kEntries - 1)];
    }
  };

  __device__ OfItem at(int node, int output, int64_t number, const Item& item) const {
    const int row = (node * m + output) * image.count() + item.placement, j = own_row() < N ? own_row() : 0;
    const uint32_t* own = codes + number * kWarp + own_sample();
    const uint4 first = __ldg(reinterpret_cast<const uint4*>(own));
    const uint4 second = __ldg(reinterpret_cast<const uint4*>(own + 16));
    const uint32_t code[kOwn] = {first.x, first.y, first.z, first.w, second.x, second.y, second.z, second.w};
    OfItem found;
    load_own(grad, own_row() < N ? row : -1, item.quad, found.g);
    found.differences = differences() + j * kEntries;
#pragma unroll
    for (int s = 0; s < kOwn; ++s) found.rest[s] = without_input(code[s], bits_below(j));
    return found;
  }
};

// The gradients of a node's pins where it computes the extension of its tables at what they read of x[features][batch].
template <int N, bool Vector>
struct Extended {
  static constexpr int kPins = N, kOthers = N > 1 ? N - 1 : 1;
  static constexpr int kPitch = (1 << (N - 1)) + 4;  // so that lanes of several inputs read other banks

  Image image;
  const int32_t* wiring;
  Rows<Vector> x;
  const float* table;
  Rows<Vector> grad;
  int m;

  __device__ int outputs() const { return m; }

  __device__ static float* differences() {
    __shared__ alignas(16) float entries[N * kPitch];
    return entries;
  }

  __device__ void begin(int node, int output) const {
    take_differences<N, kPitch>(table + (int64_t(node * m + output) << N), differences());
  }

  struct OfItem {
    const Extended& from;
    int row, others[kOthers];
    int64_t quad;

    __device__ void word(int u, float (&out)[kOwn]) const {
      const multilinear::Stored differences(Extended::differences() + (own_row() < N ? own_row() : 0) * kPitch);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        multilinear::Quad inputs[kOthers], g, slope;
        from.grad.load(row, quad, 2 * u + half, g);
#pragma unroll
        for (int i = 0; i < N - 1; ++i) from.x.load(others[i], quad, 2 * u + half, inputs[i]);
        multilinear::extension<N - 1>(differences, inputs, slope);
#pragma unroll
        for (int s = 0; s < kHalf; ++s) out[half * kHalf + s] = g[s] * slope[s];
      }
    }
  };

  __device__ OfItem at(int node, int output, int64_t, const Item& item) const {
    const int row = (node * m + output) * image.count() + item.placement, j = own_row() < N ? own_row() : 0;
    const auto window = image.window(item.placement);
    OfItem found{*this, own_row() < N ? row : -1, {}, item.quad};
#pragma unroll
    for (int i = 0; i < N - 1; ++i)
      found.others[i] = image.row(image.pin(__ldg(wiring + int64_t(node) * N + i + (i >= j))), window);
    return found;
  }
};

// What pins choose among: x as packed bits, [features][quads].
struct Bits {
  static constexpr int kTogether = kQuad;  // words of a quad that are unrolled

  const uint4* bits;
  int64_t quads;

  struct Candidate {
    uint32_t words[kQuad];
  };

  // That of a row of x, -1 outside of the image.
  __device__ Candidate at(int row, int64_t quad) const {
    const uint4 four = row >= 0 ? __ldg(bits + row * quads + quad) : uint4{};
    return {{four.x, four.y, four.z, four.w}};
  }

  __device__ void multiply(const Candidate& of, int64_t, int u, const uint32_t (&g)[2][4], float (&sums)[4]) const {
    uint32_t x[kHalf];  // 1 where a bit is set and -1 elsewhere: the bits become signs
#pragma unroll
    for (int s = 0; s < kHalf; ++s) x[s] = (of.words[u] << (15 - own_sample() - s) & 0x80008000u) ^ 0xbf80bf80u;
    multiply_add(sums, g[0], x[0], x[1]);
    multiply_add(sums, g[1], x[2], x[3]);
  }
};

// The same, x as it is: [features][batch].
template <bool Vector>
struct Values {
  static constexpr int kTogether = 1;

  Rows<Vector> x;

  using Candidate = int;

  __device__ Candidate at(int row, int64_t) const { return row; }

  __device__ void multiply(Candidate row, int64_t quad, int u, const uint32_t (&g)[2][4], float (&sums)[4]) const {
    float first[kHalf], second[kHalf];
    x.load(row, quad, 2 * u, first);
    x.load(row, quad, 2 * u + 1, second);
    uint32_t high[kHalf], low[kHalf];
#pragma unroll
    for (int s = 0; s < kHalf; ++s) split(2 * first[s] - 1, 2 * second[s] - 1, high[s], low[s]);
    multiply_add(sums, g[0], high[0], high[1]);
    multiply_add(sums, g[1], high[2], high[3]);
    multiply_add(sums, g[0], low[0], low[1]);
    multiply_add(sums, g[1], low[2], low[3]);
  }
};

}  // namespace difflut::learned
