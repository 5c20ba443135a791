// The gradients of the hard look-up. No sum depends on the order in which threads run.
#include "lookup_upstream.cuh"

namespace difflut::lookup {

// out[row][batch]: an upstream gradient written down.
template <class Upstream>
__global__ void write_gradient(Upstream upstream, int64_t rows, int64_t batch, float* __restrict__ out) {
  follow();
  const int row = row_of_warp();
  if (row >= rows) return;
  const auto gradient = upstream.row(row);
  float sums[kQuad];
  for (int64_t quad = blockIdx.y; quad * kSamples < batch; quad += gridDim.y) {
    gradient(quad, sums);
    store(out + row * batch, batch, quad, sums);
  }
}

__device__ inline uint32_t bfloat16(float value) {
  const uint32_t bits = __float_as_uint(value);
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

// The gradient of every pin: out[pin][placement][padded batch], or where Split as two bfloat16 whose sum it is,
// out[pin][placement][2][padded batch]; 0 past the batch.
template <int N, bool Split, class Site>
__global__ void pin_gradient(Bank bank, Site site, const uint32_t* __restrict__ codes, const float* __restrict__ slope,
                             Given grad, void* out) {
  follow();
  const int node = row_of_warp(), m = int(bank.m), lane = lane_index();
  if (node >= bank.nodes) return;
  const int64_t quads = bank.quads(), items = site.count() * quads;
  for (int64_t i = blockIdx.y; i < items; i += gridDim.y) {
    const Item item = item_of(site, i, quads);
    const uint32_t code = __ldg(codes + (node * items + i) * kWarp + lane);
    const int left = samples_left(bank.batch, item.quad);
    float sums[N][kQuad] = {};
    for (int row = node * m; row < (node + 1) * m; ++row) {
      const float* upstream = grad.row(row * site.count() + item.placement) + sample_of(item.quad, 0);
      float g[kQuad];
#pragma unroll
      for (int u = 0; u < kQuad; ++u) g[u] = u * kWarp + lane < left ? __ldg(upstream + u * kWarp) : 0.0f;
#pragma unroll
      for (int j = 0; j < N; ++j) {
        const Differences<N> difference(slope + (int64_t(row) << N), j);
        const uint32_t rest = without_input(code, bits_below(j));
#pragma unroll
        for (int u = 0; u < kQuad; ++u) sums[j][u] = fmaf(g[u], difference(rest >> (8 * u)), sums[j][u]);
      }
    }
#pragma unroll
    for (int j = 0; j < N; ++j)
#pragma unroll
      for (int u = 0; u < kQuad; ++u) {
        const int64_t pin = (int64_t(node) * N + j) * site.count() + item.placement;
        const int64_t samples = quads * kSamples, sample = sample_of(item.quad, u);
        const float value = grad.scale * sums[j][u];
        if constexpr (Split) {
          const uint32_t high = bfloat16(value);
          auto* halves = static_cast<uint16_t*>(out) + pin * 2 * samples + sample;
          halves[0] = uint16_t(high);
          halves[samples] = uint16_t(bfloat16(value - __uint_as_float(high << 16)));
        } else {
          static_cast<float*>(out)[pin * samples + sample] = value;
        }
      }
  }
}

// Warps that share a row of tables. A warp's histograms take 128 << N bytes, so all take 32 KiB at most, and several
// blocks fit the shared memory of a multiprocessor.
template <int N>
int table_warps(int64_t items) {
  constexpr int kMost = N < 6 ? 8 : 256 >> N;
  return int(items > kMost ? kMost : items > 1 ? items : 1);
}

// table_grad[part][row][2**N]: the upstream gradient summed by address. Each lane has a histogram of its own, so no two
// lanes add to the same entry. Where `out` is given the gradient is also written down, out[row][batch]. A block has one
// row and every gridDim.y-th stretch of its items.
template <int N, class Upstream>
__global__ void table_gradient(Bank bank, int64_t items, const uint32_t* __restrict__ codes, Upstream upstream,
                               float* __restrict__ table_grad, float* __restrict__ out) {
  follow();
  extern __shared__ float sums[];  // [warp][address][lane]
  const int64_t row = blockIdx.x;
  const int warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp, lane = lane_index();
  float* mine = sums + (warp << (N + 5)) + lane;
#pragma unroll 8
  for (int a = 0; a < 1 << N; ++a) mine[a * kWarp] = 0;
  const auto gradient = upstream.row(int(row));
  codes += int(row) / int(bank.m) * items * kWarp + lane;
#pragma unroll 2
  for (int64_t item = int(blockIdx.y) * warps + warp; item < items; item += int(gridDim.y) * warps) {
    float g[kQuad];
    const uint32_t code = __ldg(codes + item * kWarp);
    gradient(item, g);
#pragma unroll
    for (int u = 0; u < kQuad; ++u) mine[address(code, u) * kWarp] += g[u];
    if (out) store(out + row * bank.batch, bank.batch, item, g);
  }
  // A warp sums its histograms by halving steps, 32 addresses at a time, and leaves the sums where the first one was.
  constexpr int kTogether = N < 5 ? 1 << N : kWarp, kSpread = kWarp / kTogether;
#pragma unroll 1
  for (int first = 0; first < 1 << N; first += kTogether) {
    float entries[kTogether];
#pragma unroll
    for (int a = 0; a < kTogether; ++a) entries[a] = mine[(first + a) * kWarp];
    sum_lanes<kTogether, kWarp / 2>(entries);
    mine[first * kWarp] = entries[0];
  }
  __syncthreads();
  table_grad += blockIdx.y * bank.rows() << N;
  for (int a = threadIdx.x; a < 1 << N; a += blockDim.x) {
    const float* found = sums + a / kTogether * kTogether * kWarp + a % kTogether * kSpread;
    float total = 0;
    for (int w = 0; w < warps; ++w) total += found[w << (N + 5)];
    table_grad[(row << N) + a] = total;
  }
}

template <int N, class Upstream>
void launch_table_gradient(const Bank& bank, int64_t items, int64_t number, const uint32_t* codes,
                           const Upstream& upstream, float* table_grad, float* out, cudaStream_t stream) {
  const int warps = table_warps<N>(items);
  if (bank.rows() == 0) return;
  enqueue(table_gradient<N, Upstream>, dim3(unsigned(bank.rows()), unsigned(number)), warps * kWarp,
          sizeof(float) * kWarp * warps << N, stream, bank, items, codes, upstream, table_grad, out);
}

extern "C" {

// out[rows][batch] from sums[rows / group][batch].
int difflut_cuda_spread(const float* sums, int64_t group, float* out, int64_t batch, int64_t rows,
                        cudaStream_t stream) {
  const Direct<Dense> direct{{}, {sums, batch, int(group), 1.0f}};
  const dim3 blocks = rows_by_batch(rows, ceil_div(batch, kSamples));
  return enqueue(write_gradient<Direct<Dense>>, blocks, kBlock, 0, stream, direct, rows, batch, out);
}

// x_grad[features][batch] from grad[nodes * m / group][batch].
int difflut_cuda_lookup_input_gradient(const uint32_t* codes, const int32_t* start, const int32_t* pins,
                                       const float* slope, const float* grad, int64_t group, double scale,
                                       float* x_grad, int64_t batch, int64_t features, int64_t nodes, int64_t n,
                                       int64_t m, cudaStream_t stream) {
  const Bank bank{nullptr, batch, features, nodes, m};
  if (features * batch == 0) return 0;
  if (bank.rows() == 0) return cudaMemsetAsync(x_grad, 0, sizeof(float) * features * batch, stream);
  const dim3 blocks = rows_by_batch(features, bank.quads());
  with_inputs(n, [&](auto inputs) {
    const Gathered<inputs> gathered{bank, codes, slope, {start, pins}, {grad, batch, int(group), float(scale)}};
    enqueue(write_gradient<Gathered<inputs>>, blocks, kBlock, 0, stream, gathered, features, batch, x_grad);
  });
  return cudaGetLastError();
}

// out[nodes * n][placements][padded batch], or of two bfloat16 where `split` is not 0.
int difflut_cuda_lookup_pin_gradient(const uint32_t* codes, const Image* image, const float* slope, const float* grad,
                                     int64_t group, double scale, int64_t split, void* out, int64_t batch,
                                     int64_t nodes, int64_t n, int64_t m, cudaStream_t stream) {
  const Bank bank{nullptr, batch, 0, nodes, m};
  if (nodes * batch == 0) return 0;
  const Given given{grad, batch, int(group), float(scale)};
  with_site(image, [&](auto site) {
    const dim3 blocks = rows_by_batch(nodes, site.count() * bank.quads());
    with_inputs(n, [&](auto inputs) {
      const auto kernel =
          split ? pin_gradient<inputs, true, decltype(site)> : pin_gradient<inputs, false, decltype(site)>;
      enqueue(kernel, blocks, kBlock, 0, stream, bank, site, codes, slope, given, out);
    });
  });
  return cudaGetLastError();
}

// table_grad[nodes * m][2**n] from grad[nodes * m * placements / group][batch]. Where `number` of parts is not 1 they
// are kept in parts[number][nodes * m][2**n].
int difflut_cuda_lookup_table_gradient(const uint32_t* codes, const Image* image, const float* grad, int64_t group,
                                       double scale, float* table_grad, float* parts, int64_t number, int64_t batch,
                                       int64_t nodes, int64_t n, int64_t m, cudaStream_t stream) {
  const Bank bank{nullptr, batch, 0, nodes, m};
  const int64_t entries = bank.rows() << n;
  if (entries == 0) return 0;
  with_site(image, [&](auto site) {
    const Direct<decltype(site)> direct{site, {grad, batch, int(group), float(scale)}};
    with_inputs(n, [&](auto inputs) {
      launch_table_gradient<inputs>(bank, site.count() * bank.quads(), number, codes, direct,
                                    number == 1 ? table_grad : parts, nullptr, stream);
    });
  });
  if (number > 1)
    enqueue(add_parts, unsigned(ceil_div(entries, kBlock)), kBlock, 0, stream, parts, entries, int(number), table_grad);
  return cudaGetLastError();
}

// The table gradient of a bank whose outputs are the inputs of a next one with the same n; the gradient between the two
// is written to `out` [nodes * m][batch] only where that is not null.
int difflut_cuda_lookup_chained_gradient(const uint32_t* codes, float* table_grad, float* out, int64_t batch,
                                         int64_t nodes, int64_t n, int64_t m, const uint32_t* next_codes,
                                         const int32_t* start, const int32_t* pins, const float* slope,
                                         const float* grad, int64_t group, double scale, int64_t next_nodes,
                                         int64_t next_m, cudaStream_t stream) {
  const Bank bank{nullptr, batch, 0, nodes, m}, next{nullptr, batch, nodes * m, next_nodes, next_m};
  with_inputs(n, [&](auto inputs) {
    const Gathered<inputs> gathered{next, next_codes, slope, {start, pins}, {grad, batch, int(group), float(scale)}};
    launch_table_gradient<inputs>(bank, bank.quads(), 1, codes, gathered, table_grad, out, stream);
  });
  return cudaGetLastError();
}

}  // extern "C"

}  // namespace difflut::lookup
