// The hard look-up of a bank, from packed bits, and the sum of its outputs by class.
#include "lookup.cuh"

namespace difflut::lookup {

// code[nodes][items][lane], and y[rows][batch] and y_bits[rows][words] where they are not null.
template <int N, class Site>
__global__ void forward(Bank bank, Site site, const uint4* __restrict__ bits, const float* __restrict__ table,
                        uint32_t* __restrict__ codes, float* __restrict__ y, uint4* __restrict__ y_bits) {
  follow();
  const int node = row_of_warp();
  if (node >= bank.nodes) return;
  const int64_t quads = bank.quads(), items = site.count() * quads;
  const Words<N, Site> words(site, bank.wiring + int64_t(node) * N, bits);
#pragma unroll 2
  for (int64_t i = blockIdx.y; i < items; i += gridDim.y) {
    const Item item = item_of(site, i, quads);
    const uint32_t code = addresses(words.word(site, site.window(item.placement), quads, item.quad));
    codes[(node * items + i) * kWarp + lane_index()] = code;
    if (!y && !y_bits) continue;
    const int left = samples_left(bank.batch, item.quad);
    for (int64_t row = node * bank.m; row < (node + 1) * bank.m; ++row) {
      const int64_t out = row * site.count() + item.placement;
      uint32_t packed[kQuad];
#pragma unroll
      for (int u = 0; u < kQuad; ++u) {
        const bool inside = u * kWarp + lane_index() < left;
        const float value = __ldg(table + (row << N) + address(code, u));
        if (y && inside) y[out * bank.batch + sample_of(item.quad, u)] = value;
        packed[u] = __ballot_sync(kAllLanes, value >= 0.5f && inside);
      }
      if (y_bits && lane_index() == 0) y_bits[out * quads + item.quad] = {packed[0], packed[1], packed[2], packed[3]};
    }
  }
}

constexpr int kGroupWarps = 32;  // the most that a block may have, as a group has many rows

// sums[rows / group][batch]: the table entries that a group's rows read, over tau. A block has one group and one quad.
__global__ void group_sum(const uint32_t* __restrict__ codes, const float* __restrict__ table, int64_t batch,
                          int64_t quads, int m, int n, int group, float tau, float* __restrict__ sums) {
  follow();
  __shared__ float parts[kGroupWarps][kSamples];
  const int warp = threadIdx.x / kWarp, lane = lane_index();
  for (int64_t quad = blockIdx.y; quad < quads; quad += gridDim.y) {
    float part[kQuad] = {};
#pragma unroll 4
    for (int r = warp; r < group; r += kGroupWarps) {
      const int row = int(blockIdx.x) * group + r;
      const uint32_t code = __ldg(codes + (row / m * quads + quad) * kWarp + lane);
#pragma unroll
      for (int u = 0; u < kQuad; ++u) part[u] += __ldg(table + (int64_t(row) << n) + address(code, u));
    }
#pragma unroll
    for (int u = 0; u < kQuad; ++u) parts[warp][u * kWarp + lane] = part[u];
    __syncthreads();
    const int64_t sample = quad * kSamples + threadIdx.x;
    if (threadIdx.x < kSamples && sample < batch) {
      float total = 0;
#pragma unroll
      for (int w = 0; w < kGroupWarps; ++w) total += parts[w][threadIdx.x];
      sums[blockIdx.x * batch + sample] = total / tau;
    }
    __syncthreads();
  }
}

extern "C" {

// codes[nodes][placements][quads][32], and y[nodes * m * placements][batch] and y_bits[nodes * m * placements][words]
// where they are not null.
int difflut_cuda_lookup(const uint4* bits, const int32_t* wiring, const Image* image, const float* table,
                        uint32_t* codes, float* y, uint4* y_bits, int64_t batch, int64_t features, int64_t nodes,
                        int64_t n, int64_t m, cudaStream_t stream) {
  const Bank bank{wiring, batch, features, nodes, m};
  if (nodes * batch == 0) return 0;
  with_site(image, [&](auto site) {
    with_inputs(n, [&](auto inputs) {
      enqueue(forward<inputs, decltype(site)>, rows_by_batch(nodes, site.count() * bank.quads()), kBlock, 0, stream,
              bank, site, bits, table, codes, y, y_bits);
    });
  });
  return cudaGetLastError();
}

// sums[nodes * m / group][batch].
int difflut_cuda_group_sum(const uint32_t* codes, const float* table, int64_t group, double tau, float* sums,
                           int64_t batch, int64_t nodes, int64_t n, int64_t m, cudaStream_t stream) {
  const int64_t quads = ceil_div(batch, kSamples);
  if (nodes * batch == 0) return 0;
  const dim3 blocks(unsigned(nodes * m / group), unsigned(quads < 32768 ? quads : 32768));
  return enqueue(group_sum, blocks, kGroupWarps * kWarp, 0, stream, codes, table, batch, quads, int(m), int(n),
                 int(group), float(tau), sums);
}

}  // extern "C"

}  // namespace difflut::lookup
