// What the logits of learnable wirings learn: the sums of (2x - 1) g over placements and samples, for each candidate x
// of a pin whose gradient is g. Pins of a node often have the same candidates: then all of a node's sums are a product
// of a matrix of g with one of 2x - 1, of bits a matrix of signs. The sums are in float32; what is summed are products
// of bfloat16, where numbers that are no signs are sums of two, which have 16 bits. So the result is wrong by about
// 3e-6 of its norm: one sample more in the batch changes it far more.
#include "learned_pins.cuh"

namespace difflut::learned {

using multilinear::is_aligned, multilinear::with_alignment;

// parts[part][group][pin][width]: the sums for every input among[group][most] that pins of the group may choose, of
// which there are counts[group]; without `among` these are all inputs of the window. A block has a group, 64 of its
// candidates (blockIdx.y) and every gridDim.z-th stretch of the items.
template <class Source, class Inputs>
__global__ void __launch_bounds__(kThreads, 3)
    logits_gradient(Image image, Source source, Inputs inputs, const int32_t* __restrict__ among,
                    const int32_t* __restrict__ counts, int most, int64_t batch, float* __restrict__ parts) {
  follow();
  __shared__ float totals[kMostWarps][kMostPins][kCandidates];
  const int group = int(blockIdx.x), first = int(blockIdx.y) * kCandidates;
  const int warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
  const int count = (counts ? __ldg(counts + group) : most) - first;
  if (count <= 0) return;
  const int64_t quads = ceil_div(batch, kSamples), items = image.count() * quads;
  Image::Pin candidates[kTiles];
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
    const int c = t * kTile + own_row(), number = first + (c < count ? c : 0);
    candidates[t] = image.pin(among ? __ldg(among + int64_t(group) * most + number) : number);
  }
  float sums[kTiles][4] = {};
  for (int output = 0; output < source.outputs(); ++output) {
    source.begin(group, output);
    for (int64_t i = int(blockIdx.z) * warps + warp; i < items; i += int(gridDim.z) * warps) {
      const Item item = item_of(image, i, quads);
      const auto window = image.window(item.placement);
      const auto gradient = source.at(group, output, group * items + i, item);
      typename Inputs::Candidate x[kTiles];
#pragma unroll
      for (int t = 0; t < kTiles; ++t)
        x[t] = inputs.at(t * kTile < count ? image.row(candidates[t], window) : -1, item.quad);
#pragma unroll Inputs::kTogether
      for (int u = 0; u < kQuad; ++u) {
        float own[kOwn];
        uint32_t g[2][4];
        gradient.word(u, own);
#pragma unroll
        for (int s = 0; s < kHalf; ++s) split(own[s], own[kHalf + s], g[s / 2][s % 2 * 2], g[s / 2][s % 2 * 2 + 1]);
#pragma unroll
        for (int t = 0; t < kTiles; ++t) {
          if (t == kTiles / 2 && t * kTile >= count) break;  // a branch for every tile costs more than it spares
          inputs.multiply(x[t], item.quad, u, g, sums[t]);
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

template <class Source, class Inputs>
int launch_logits_gradient(const Image& image, const Source& source, const Inputs& inputs, const Choice& choice,
                           int64_t batch, cudaStream_t stream) {
  const int64_t items = image.count() * ceil_div(batch, kSamples), chunks = ceil_div(choice.most, kCandidates);
  const int64_t rows = choice.groups * Source::kPins, width = chunks * kCandidates;
  const int64_t count = choice.pins * (choice.slots ? choice.choices : choice.most);
  const dim3 blocks(unsigned(choice.groups), unsigned(chunks), unsigned(choice.number));
  const int failed = enqueue(logits_gradient<Source, Inputs>, blocks,
                             int(items < kMostWarps ? items : kMostWarps) * kWarp, 0, stream, image, source, inputs,
                             choice.among, choice.counts, int(choice.most), batch, choice.parts);
  if (failed) return failed;
  return enqueue(collect, unsigned(ceil_div(count, kBlock)), kBlock, 0, stream, choice.parts, rows * width,
                 int(choice.number), int(width), choice.slots, int(choice.pins), count, int(choice.choices),
                 choice.out);
}

extern "C" {

// out[nodes * n][choices], or [window][nodes * n] without slots, from grad[nodes * m * placements][batch] by the slopes
// across each address bit. Groups are nodes; parts[number][nodes * n][most, in whole blocks].
int difflut_cuda_learned_gradient(const uint4* bits, const Image* image, const int32_t* among, const int32_t* counts,
                                  const int32_t* slots, int64_t most, int64_t choices, const uint32_t* codes,
                                  const float* slope, const float* grad, int64_t batch, int64_t nodes, int64_t n,
                                  int64_t m, float* parts, int64_t number, float* out, cudaStream_t stream) {
  if (nodes * batch == 0) return 0;
  const Choice choice{among, counts, slots, nodes, most, nodes * n, choices, parts, number, out};
  const Bits inputs{bits, ceil_div(batch, kSamples)};
  with_inputs(n, [&](auto count) {
    with_alignment(is_aligned(batch, grad, grad), [&](auto vector) {
      const Found<count, vector> found{*image, codes, slope, {grad, batch}, int(m)};
      launch_logits_gradient(*image, found, inputs, choice, batch, stream);
    });
  });
  return cudaGetLastError();
}

// The same for the extension of tables at what the pins read of x[features][batch].
int difflut_cuda_extension_logits_gradient(const float* x, const Image* image, const int32_t* among,
                                           const int32_t* counts, const int32_t* slots, int64_t most, int64_t choices,
                                           const int32_t* wiring, const float* table, const float* grad, int64_t batch,
                                           int64_t nodes, int64_t n, int64_t m, float* parts, int64_t number,
                                           float* out, cudaStream_t stream) {
  if (nodes * batch == 0) return 0;
  const Choice choice{among, counts, slots, nodes, most, nodes * n, choices, parts, number, out};
  with_inputs(n, [&](auto count) {
    with_alignment(is_aligned(batch, x, grad), [&](auto vector) {
      const Values<vector> inputs{{x, batch}};
      const Extended<count, vector> extended{*image, wiring, inputs.x, table, {grad, batch}, int(m)};
      launch_logits_gradient(*image, extended, inputs, choice, batch, stream);
    });
  });
  return cudaGetLastError();
}

// The same from grad[pins * placements][batch], the gradient of what each pin reads. Groups are eight pins. x is given
// as bits or else as x[features][batch].
int difflut_cuda_logits_gradient(const uint4* bits, const float* x, const Image* image, const int32_t* among,
                                 const int32_t* counts, const int32_t* slots, int64_t most, int64_t choices,
                                 const float* grad, int64_t batch, int64_t pins, float* parts, int64_t number,
                                 float* out, cudaStream_t stream) {
  if (pins * batch == 0) return 0;
  const Choice choice{among, counts, slots, ceil_div(pins, kMostPins), most, pins, choices, parts, number, out};
  with_alignment(is_aligned(batch, bits ? grad : x, grad), [&](auto vector) {
    const Written<vector> written{*image, {grad, batch}, int(pins)};
    const Bits packed{bits, ceil_div(batch, kSamples)};
    if (bits) launch_logits_gradient(*image, written, packed, choice, batch, stream);
    else launch_logits_gradient(*image, written, Values<vector>{{x, batch}}, choice, batch, stream);
  });
  return cudaGetLastError();
}

}  // extern "C"

}  // namespace difflut::learned
