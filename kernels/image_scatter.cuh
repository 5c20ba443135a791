// The gradient of an image of which every pixel is read by one pin at one placement, as by pooling: nothing is summed,
// and each node writes what its pins pass back.
#pragma once

#include "lookup_upstream.cuh"

namespace difflut::image {

// x_grad[features][batch] from codes[nodes][items][lane]. A warp has a node and every gridDim.y-th item. By the rule, a
// byte of its codes and a gradient become what each pin passes back.
template <int N, class Rule>
__global__ void __launch_bounds__(kBlock)
    scatter(Image image, Rule rule, Bank bank, const uint32_t* __restrict__ codes, Given grad,
            float* __restrict__ x_grad) {
  follow();
  const int node = row_of_warp();
  if (node >= bank.nodes) return;
  Image::Pin pins[N];
#pragma unroll
  for (int j = 0; j < N; ++j) pins[j] = image.pin(__ldg(bank.wiring + node * N + j));
  const auto of_node = rule.of_node(node);
  const int64_t quads = bank.quads(), items = image.count() * quads;
  for (int64_t i = blockIdx.y; i < items; i += gridDim.y) {
    const Item item = item_of(image, i, quads);
    const auto window = image.window(item.placement);
    const int left = samples_left(bank.batch, item.quad);
    const uint32_t code = __ldg(codes + (node * items + i) * kWarp + lane_index());
    const float* from = grad.row(node * image.count() + item.placement) + sample_of(item.quad, 0);
    float g[kQuad];
#pragma unroll
    for (int u = 0; u < kQuad; ++u)
      g[u] = u * kWarp + lane_index() < left ? __ldg(from + u * kWarp) * grad.scale : 0.0f;
    float* to = x_grad + sample_of(item.quad, 0);
#pragma unroll
    for (int u = 0; u < kQuad; ++u) {
      float passed[N];
      of_node(lookup::address(code, u), g[u], passed);
#pragma unroll
      for (int j = 0; j < N; ++j)
        if (u * kWarp + lane_index() < left) to[image.row(pins[j], window) * bank.batch + u * kWarp] = passed[j];
    }
  }
}

template <int N, class Rule>
int launch_scatter(const Image& image, const Rule& rule, const Bank& bank, const uint32_t* codes, const Given& grad,
                   float* x_grad, cudaStream_t stream) {
  return enqueue(scatter<N, Rule>, rows_by_batch(bank.nodes, image.count() * bank.quads()), kBlock, 0, stream, image,
                 rule, bank, codes, grad, x_grad);
}

}  // namespace difflut::image
