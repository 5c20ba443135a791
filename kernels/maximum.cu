// The largest or the smallest input of every node, and its gradient. Equal inputs get equal parts of it.
// Which they are is kept in bytes, as addresses are: bit j of a byte of chosen[node][item][lane] stands for input j.
#include "image_scatter.cuh"

namespace difflut::maximum {

// chosen[nodes][items][lane] and y[nodes][placements][batch].
template <int N, class Site>
__global__ void of_values(Bank bank, Site site, bool least, const float* __restrict__ x, uint32_t* __restrict__ chosen,
                          float* __restrict__ y) {
  follow();
  const int node = row_of_warp();
  if (node >= bank.nodes) return;
  const int64_t quads = bank.quads(), items = site.count() * quads;
  typename Site::Pin pins[N];
#pragma unroll
  for (int j = 0; j < N; ++j) pins[j] = site.pin(__ldg(bank.wiring + int64_t(node) * N + j));
  for (int64_t i = blockIdx.y; i < items; i += gridDim.y) {
    const Item item = item_of(site, i, quads);
    const auto window = site.window(item.placement);
    const int left = samples_left(bank.batch, item.quad);
    float* out = y + (node * int64_t(site.count()) + item.placement) * bank.batch + sample_of(item.quad, 0);
    float inputs[N][kQuad];
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const int row = site.row(pins[j], window);
#pragma unroll
      for (int u = 0; u < kQuad; ++u)
        inputs[j][u] = (Site::kIsDense || row >= 0) && u * kWarp + lane_index() < left
                           ? __ldg(x + row * bank.batch + sample_of(item.quad, u))
                           : 0.0f;
    }
    uint32_t code = 0;
#pragma unroll
    for (int u = 0; u < kQuad; ++u) {
      float best = inputs[0][u];
#pragma unroll
      for (int j = 1; j < N; ++j) {
        const float next = inputs[j][u];
        best = (least ? next < best : next > best) || next != next ? next : best;  // NaN stays
      }
#pragma unroll
      for (int j = 0; j < N; ++j) code |= inputs[j][u] == best ? 1u << (8 * u + j) : 0;
      if (u * kWarp + lane_index() < left) out[u * kWarp] = best;
    }
    chosen[(node * items + i) * kWarp + lane_index()] = code;
  }
}

// The same of packed bits, and y_bits[nodes][placements][words].
template <int N, class Site>
__global__ void of_bits(Bank bank, Site site, bool least, const uint4* __restrict__ bits,
                        uint32_t* __restrict__ chosen, float* __restrict__ y, uint4* __restrict__ y_bits) {
  follow();
  const int node = row_of_warp();
  if (node >= bank.nodes) return;
  const int64_t quads = bank.quads(), items = site.count() * quads;
  const auto joined = [least](uint32_t a, uint32_t b) { return least ? a & b : a | b; };
  const auto equal = [](uint32_t a, uint32_t b) { return ~(a ^ b); };
  typename Site::Pin pins[N];
#pragma unroll
  for (int j = 0; j < N; ++j) pins[j] = site.pin(__ldg(bank.wiring + int64_t(node) * N + j));
  for (int64_t i = blockIdx.y; i < items; i += gridDim.y) {
    const Item item = item_of(site, i, quads);
    const auto window = site.window(item.placement);
    const int left = samples_left(bank.batch, item.quad);
    const int64_t out = node * int64_t(site.count()) + item.placement;
    uint4 words[N];
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const int row = site.row(pins[j], window);
      words[j] = Site::kIsDense || row >= 0 ? __ldg(bits + row * quads + item.quad) : uint4{};
    }
    uint4 best = words[0];
#pragma unroll
    for (int j = 1; j < N; ++j)
      best = {joined(best.x, words[j].x), joined(best.y, words[j].y), joined(best.z, words[j].z),
              joined(best.w, words[j].w)};
#pragma unroll
    for (int j = 0; j < N; ++j)
      words[j] = {equal(best.x, words[j].x), equal(best.y, words[j].y), equal(best.z, words[j].z),
                  equal(best.w, words[j].w)};
    chosen[(node * items + i) * kWarp + lane_index()] = lookup::addresses<N>(words);
    if (lane_index() == 0) y_bits[out * quads + item.quad] = best;
    const uint32_t values[kQuad] = {best.x, best.y, best.z, best.w};
#pragma unroll
    for (int u = 0; u < kQuad; ++u)
      if (u * kWarp + lane_index() < left)
        y[out * bank.batch + sample_of(item.quad, u)] = float(values[u] >> lane_index() & 1);
  }
}

// x_grad[features][batch], gathered from the pins that read a feature.
template <class Site>
__global__ void gradient(Bank bank, Site site, int n, Readers readers, const uint32_t* __restrict__ chosen,
                         const float* __restrict__ grad, float* __restrict__ x_grad) {
  follow();
  const int feature = row_of_warp();
  if (feature >= bank.features) return;
  const auto pixel = site.pixel(feature);
  const int channel = site.channel(pixel);
  const int begin = __ldg(readers.start + channel), end = __ldg(readers.start + channel + 1);
  const int64_t quads = bank.quads();
  for (int64_t quad = blockIdx.y; quad < quads; quad += gridDim.y) {
    const int left = samples_left(bank.batch, quad);
    float sums[kQuad] = {};
    for (int r = begin; r < end; ++r) {
      const int pin = __ldg(readers.pins + r), node = pin / n, j = pin - node * n;
      const int placement = site.placement(pixel, __ldg(bank.wiring + pin));
      if (placement < 0) continue;
      const int64_t out = node * int64_t(site.count()) + placement;
      const uint32_t code = __ldg(chosen + (out * quads + quad) * kWarp + lane_index());
#pragma unroll
      for (int u = 0; u < kQuad; ++u) {
        const int inputs = lookup::address(code, u);
        if (inputs >> j & 1 && u * kWarp + lane_index() < left)
          sums[u] += __ldg(grad + out * bank.batch + sample_of(quad, u)) / float(__popc(inputs));
      }
    }
#pragma unroll
    for (int u = 0; u < kQuad; ++u)
      if (u * kWarp + lane_index() < left) x_grad[int64_t(feature) * bank.batch + sample_of(quad, u)] = sums[u];
  }
}

// What the inputs of a node get, as a rule of `image::scatter`.
template <int N>
struct EqualParts {
  struct OfNode {
    __device__ void operator()(int inputs, float g, float (&passed)[N]) const {
      const float part = g / float(__popc(inputs));
#pragma unroll
      for (int j = 0; j < N; ++j) passed[j] = inputs >> j & 1 ? part : 0.0f;
    }
  };

  __device__ OfNode of_node(int) const { return {}; }
};

extern "C" {

int difflut_cuda_maximum(const float* x, const int32_t* wiring, const Image* image, int64_t least, uint32_t* chosen,
                         float* y, int64_t batch, int64_t features, int64_t nodes, int64_t n, cudaStream_t stream) {
  const Bank bank{wiring, batch, features, nodes, 1};
  if (nodes * batch == 0) return 0;
  with_site(image, [&](auto site) {
    with_inputs(n, [&](auto inputs) {
      enqueue(of_values<inputs, decltype(site)>, rows_by_batch(nodes, site.count() * bank.quads()), kBlock, 0, stream,
              bank, site, least != 0, x, chosen, y);
    });
  });
  return cudaGetLastError();
}

int difflut_cuda_maximum_of_bits(const uint4* bits, const int32_t* wiring, const Image* image, int64_t least,
                                 uint32_t* chosen, float* y, uint4* y_bits, int64_t batch, int64_t features,
                                 int64_t nodes, int64_t n, cudaStream_t stream) {
  const Bank bank{wiring, batch, features, nodes, 1};
  if (nodes * batch == 0) return 0;
  with_site(image, [&](auto site) {
    with_inputs(n, [&](auto inputs) {
      enqueue(of_bits<inputs, decltype(site)>, rows_by_batch(nodes, site.count() * bank.quads()), kBlock, 0, stream,
              bank, site, least != 0, bits, chosen, y, y_bits);
    });
  });
  return cudaGetLastError();
}

// With `once`, every pixel is read by one pin at one placement.
int difflut_cuda_maximum_gradient(const uint32_t* chosen, const int32_t* wiring, const Image* image, int64_t once,
                                  const int32_t* start, const int32_t* pins, const float* grad, float* x_grad,
                                  int64_t batch, int64_t features, int64_t nodes, int64_t n, cudaStream_t stream) {
  const Bank bank{wiring, batch, features, nodes, 1};
  if (features * batch == 0) return 0;
  if (once) {
    with_inputs(n, [&](auto inputs) {
      image::launch_scatter<inputs>(*image, EqualParts<inputs>(), bank, chosen, {grad, batch, 1, 1.0f}, x_grad, stream);
    });
    return cudaGetLastError();
  }
  with_site(image, [&](auto site) {
    enqueue(gradient<decltype(site)>, rows_by_batch(features, bank.quads()), kBlock, 0, stream, bank, site, int(n),
            Readers{start, pins}, chosen, grad, x_grad);
  });
  return cudaGetLastError();
}

}  // extern "C"

}  // namespace difflut::maximum
