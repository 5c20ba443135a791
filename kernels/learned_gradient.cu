// What the logits of learnable wirings learn: the sums of (2x - 1) g over placements and samples, for each candidate x
// of a pin whose gradient is g. Pins of a node often have the same candidates: then all of a node's sums are a product
// of a matrix of g with one of signs. Each g is a sum of two bfloat16, so a product has 16 bits of precision.
#include "lookup_upstream.cuh"
#include "mma.cuh"

namespace difflut::learned {

using namespace lookup;

constexpr int kMostPins = 8;                    // of a group: a node, or neighbouring pins
constexpr int kTile = 8;                        // candidates of a product
constexpr int kTiles = 8;                       // products of a warp
constexpr int kCandidates = kTile * kTiles;     // of a block; `CANDIDATES` in cuda/learned.py
constexpr int kMostWarps = 4;
constexpr int kThreads = kMostWarps * kWarp;

// Samples are taken in an order that suits their bits: a lane has, of every word, the four from 4 (lane % 4) on and
// those 16 later, and of rows (pins) and columns (candidates) number lane / 4.
constexpr int kHalf = 4;

__device__ inline int own_row() { return lane_index() / 4; }
__device__ inline int own_sample() { return kHalf * (lane_index() % 4); }

// A lane's samples of a quad, word by word.
using Own = float[kQuad][2 * kHalf];

// From a row of floats that begins at the quad's first sample. All are read before any is used: the warps are too few to
// hide the way from memory otherwise.
__device__ inline void load_own(const float* from, int left, bool vector, Own& g) {
  if (vector) {
#pragma unroll
    for (int i = 0; i < 2 * kQuad; ++i) {
      const int first = i * 16 + own_sample();
      const float4 four = first < left ? __ldg(reinterpret_cast<const float4*>(from + first)) : float4{};
      float* own = g[i / 2] + i % 2 * kHalf;
      own[0] = four.x, own[1] = four.y, own[2] = four.z, own[3] = four.w;
    }
  } else {
#pragma unroll
    for (int i = 0; i < 2 * kQuad * kHalf; ++i) {
      const int sample = i / kHalf * 16 + own_sample() + i % kHalf;
      g[i / (2 * kHalf)][i % (2 * kHalf)] = sample < left ? __ldg(from + sample) : 0.0f;
    }
  }
}

// The gradients of a group's pins as they were written down: grad[pin][placement][batch].
template <class Site>
struct Written {
  static constexpr int kPins = kMostPins;

  Site site;
  const float* grad;
  int64_t batch;
  int pins;
  bool vector;

  __device__ static int outputs() { return 1; }
  __device__ void begin(int, int) {}

  struct Row {
    Own g;

    __device__ float value(int word, int s) const { return g[word][s]; }
  };

  __device__ Row row(int group, int, int64_t, const Item& item) const {
    const int pin = group * kPins + own_row();
    const float* from = grad + (int64_t(pin) * site.count() + item.placement) * batch + item.quad * kSamples;
    Row found;
    load_own(from, pin < pins ? samples_left(batch, item.quad) : 0, vector, found.g);
    return found;
  }
};

// The gradients of a node's pins from the addresses that it took: codes[node][items][lane].
template <int N, class Site>
struct Found {
  static constexpr int kPins = N, kEntries = 1 << (N - 1);

  Site site;
  const uint32_t* codes;
  const float* slope;
  Given grad;
  int m;
  bool vector;

  __device__ int outputs() const { return m; }

  // What the inputs of one output pass back at each address without their own bit.
  __device__ static float* differences() {
    __shared__ float entries[N * kEntries];
    return entries;
  }

  __device__ void begin(int node, int output) const {
    const float* own = slope + (int64_t(node * m + output) << N);
    __syncthreads();
    for (int e = threadIdx.x; e < N * kEntries; e += blockDim.x) {
      const int j = e / kEntries, low = without_bit(e % kEntries, j);
      differences()[e] = __ldg(own + (low | 1 << j)) - __ldg(own + low);
    }
    __syncthreads();
  }

  struct Row {
    Own g;
    const float* differences;
    uint32_t rest[2 * kHalf];

    __device__ float value(int word, int s) const {
      return g[word][s] * differences[address(rest[s], word) & (kEntries - 1)];
    }
  };

  __device__ Row row(int node, int output, int64_t number, const Item& item) const {
    const int row = (node * m + output) * site.count() + item.placement, j = own_row() < N ? own_row() : 0;
    const uint32_t* own = codes + number * kWarp + own_sample();
    const uint4 first = __ldg(reinterpret_cast<const uint4*>(own)), second = __ldg(reinterpret_cast<const uint4*>(own + 16));
    const uint32_t code[2 * kHalf] = {first.x, first.y, first.z, first.w, second.x, second.y, second.z, second.w};
    Row found;
    load_own(grad.row(row) + item.quad * kSamples, own_row() < N ? samples_left(grad.batch, item.quad) : 0, vector, found.g);
    found.differences = differences() + j * kEntries;
#pragma unroll
    for (int s = 0; s < 2 * kHalf; ++s) found.rest[s] = without_input(code[s], bits_below(j));
    return found;
  }
};

// parts[part][group][pin][width]: the sums for every input among[group][most] that pins of the group may choose, of
// which there are counts[group]; without `among` these are all inputs of the window. A block has a group, 64 of its
// candidates (blockIdx.y) and every gridDim.z-th stretch of the items.
template <class Source, class Site>
__global__ void __launch_bounds__(kThreads, 3)
    logits_gradient(Site site, Source source, const uint4* __restrict__ bits, const int32_t* __restrict__ among,
                    const int32_t* __restrict__ counts, int most, int64_t batch, float* __restrict__ parts) {
  follow();
  __shared__ float totals[kMostWarps][kMostPins][kCandidates];
  const int group = int(blockIdx.x), first = int(blockIdx.y) * kCandidates;
  const int warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
  const int count = (counts ? __ldg(counts + group) : most) - first;
  if (count <= 0) return;
  const int64_t quads = ceil_div(batch, kSamples), items = site.count() * quads;
  typename Site::Pin candidates[kTiles];
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
    const int c = t * kTile + own_row(), number = first + (c < count ? c : 0);
    candidates[t] = site.pin(among ? __ldg(among + int64_t(group) * most + number) : number);
  }
  float sums[kTiles][4] = {};
  for (int output = 0; output < source.outputs(); ++output) {
    source.begin(group, output);
    for (int64_t i = int(blockIdx.z) * warps + warp; i < items; i += int(gridDim.z) * warps) {
      const Item item = item_of(site, i, quads);
      const auto window = site.window(item.placement);
      const auto row = source.row(group, output, group * items + i, item);
      uint32_t words[kTiles][kQuad];
#pragma unroll
      for (int t = 0; t < kTiles; ++t) {
        const int from = t * kTile < count ? site.row(candidates[t], window) : -1;
        const uint4 four = from >= 0 ? __ldg(bits + from * quads + item.quad) : uint4{};
        words[t][0] = four.x, words[t][1] = four.y, words[t][2] = four.z, words[t][3] = four.w;
      }
#pragma unroll
      for (int u = 0; u < kQuad; ++u) {
        uint32_t a[2][4];
#pragma unroll
        for (int s = 0; s < kHalf; ++s) {
          const float first = row.value(u, s), second = row.value(u, kHalf + s);
          const uint32_t high = bfloat16_pair(first, second);
          a[s / 2][s % 2 * 2] = high;
          a[s / 2][s % 2 * 2 + 1] =
              bfloat16_pair(first - __uint_as_float(high << 16), second - __uint_as_float(high & 0xffff0000u));
        }
#pragma unroll
        for (int t = 0; t < kTiles; ++t) {
          if (t == kTiles / 2 && t * kTile >= count) break;  // a branch for every tile costs more than it spares
          uint32_t b[kHalf];  // 1 where a bit is set and -1 elsewhere: the bits become signs
#pragma unroll
          for (int s = 0; s < kHalf; ++s)
            b[s] = (words[t][u] << (15 - own_sample() - s) & 0x80008000u) ^ 0xbf80bf80u;
          multiply_add(sums[t], a[0], b[0], b[1]);
          multiply_add(sums[t], a[1], b[2], b[3]);
        }
      }
    }
  }
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
    float* out = &totals[warp][own_row()][t * kTile + own_sample() / 2];
    out[0] = sums[t][0] + sums[t][2], out[1] = sums[t][1] + sums[t][3];
  }
  __syncthreads();
  const int width = int(gridDim.y) * kCandidates;
  parts += ((int64_t(blockIdx.z) * gridDim.x + group) * Source::kPins) * width + first;
  for (int e = threadIdx.x; e < Source::kPins * kCandidates; e += blockDim.x) {
    const int pin = e / kCandidates, c = e % kCandidates;
    float total = 0;
    for (int w = 0; w < warps; ++w) total += totals[w][pin][c];
    parts[pin * width + c] = total;
  }
}

// out[pins][choices] from parts[number][pins][width], by the slot that a candidate has there; without slots, out[inputs
// of the window][pins]. `stride` lies between parts.
__global__ void collect(const float* __restrict__ parts, int64_t stride, int number, int width,
                        const int32_t* __restrict__ slots, int pins, int64_t count, int choices,
                        float* __restrict__ out) {
  follow();
  const int64_t index = int64_t(blockIdx.x) * kBlock + threadIdx.x;
  if (index >= count) return;
  const int64_t from = slots ? index / choices * width + __ldg(slots + index) : index % pins * width + index / pins;
  float total = 0;
  for (int p = 0; p < number; ++p) total += __ldg(parts + p * stride + from);
  out[index] = total;
}

// The groups of pins, what they choose among, and where the sums go.
struct Choice {
  const int32_t *among, *counts, *slots;
  int64_t groups, most, pins, choices;
  float* parts;
  int64_t number;
  float* out;
};

template <class Source, class Site>
int launch_logits_gradient(const Site& site, const Source& source, const uint4* bits, const Choice& choice,
                           int64_t batch, cudaStream_t stream) {
  const int64_t items = site.count() * ceil_div(batch, kSamples), chunks = ceil_div(choice.most, kCandidates);
  const int64_t rows = choice.groups * Source::kPins, width = chunks * kCandidates;
  const int64_t count = choice.pins * (choice.slots ? choice.choices : choice.most);
  const dim3 blocks(unsigned(choice.groups), unsigned(chunks), unsigned(choice.number));
  const int failed = enqueue(logits_gradient<Source, Site>, blocks, int(items < kMostWarps ? items : kMostWarps) * kWarp,
                             0, stream, site, source, bits, choice.among, choice.counts, int(choice.most), batch,
                             choice.parts);
  if (failed) return failed;
  return enqueue(collect, unsigned(ceil_div(count, kBlock)), kBlock, 0, stream, choice.parts, rows * width,
                 int(choice.number), int(width), choice.slots, int(choice.pins), count, int(choice.choices), choice.out);
}

inline bool is_aligned(int64_t batch, const float* grad) { return batch % 4 == 0 && uintptr_t(grad) % 16 == 0; }

extern "C" {

// out[nodes * n][choices], or [window][nodes * n] without slots, from grad[nodes * m * placements][batch] by the slopes
// across each address bit. Groups are nodes; parts[number][nodes * n][most, in whole blocks].
int difflut_cuda_learned_gradient(const uint4* bits, const Image* image, const int32_t* among, const int32_t* counts,
                                  const int32_t* slots, int64_t most, int64_t choices, const uint32_t* codes,
                                  const float* slope, const float* grad, int64_t batch, int64_t nodes, int64_t n,
                                  int64_t m, float* parts, int64_t number, float* out, cudaStream_t stream) {
  if (nodes * batch == 0) return 0;
  const Choice choice{among, counts, slots, nodes, most, nodes * n, choices, parts, number, out};
  with_site(image, [&](auto site) {
    with_inputs(n, [&](auto inputs) {
      const Found<inputs, decltype(site)> found{site, codes, slope, {grad, batch, 1, 1.0f}, int(m), is_aligned(batch, grad)};
      launch_logits_gradient(site, found, bits, choice, batch, stream);
    });
  });
  return cudaGetLastError();
}

// The same from grad[pins * placements][batch], the gradient of what each pin reads. Groups are eight pins.
int difflut_cuda_logits_gradient(const uint4* bits, const Image* image, const int32_t* among, const int32_t* counts,
                                 const int32_t* slots, int64_t most, int64_t choices, const float* grad, int64_t batch,
                                 int64_t pins, float* parts, int64_t number, float* out, cudaStream_t stream) {
  if (pins * batch == 0) return 0;
  const Choice choice{among, counts, slots, ceil_div(pins, kMostPins), most, pins, choices, parts, number, out};
  with_site(image, [&](auto site) {
    const Written<decltype(site)> written{site, grad, batch, int(pins), is_aligned(batch, grad)};
    launch_logits_gradient(site, written, bits, choice, batch, stream);
  });
  return cudaGetLastError();
}

}  // extern "C"

}  // namespace difflut::learned
