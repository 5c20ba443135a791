// The multilinear extension of a bank's tables and its gradients. No sum depends on the order in which threads run.
#include "multilinear.cuh"

namespace difflut::multilinear {

// y[row][placement][batch]: a warp has a row and every gridDim.y-th item.
template <int N, bool Aligned, class Site>
__global__ void __launch_bounds__(kThreads, N <= kMostHeld ? 3 : N <= 6 ? 2 : 1)
    forward(Bank bank, Site site, const int32_t* __restrict__ order, const float* __restrict__ x,
            const float* __restrict__ tables, float* __restrict__ y) {
  follow();
  const int slot = row_of_warp(), m = int(bank.m);
  if (slot >= bank.rows()) return;
  const int64_t node = order ? __ldg(order + slot / m) : slot / m, row = node * m + slot % m;
  typename Site::Pin pins[N];
#pragma unroll
  for (int j = 0; j < N; ++j) pins[j] = site.pin(__ldg(bank.wiring + node * N + j));
  const std::conditional_t<N <= kMostHeld, Held<N>, Stored> table(tables + (row << N));
  const int64_t quads = bank.quads(), items = site.count() * quads, stride = int64_t(gridDim.y) * kSamples;
  for (int64_t i = blockIdx.y; i < items; i += gridDim.y) {
    const Item item = item_of(site, i, quads);
    const auto window = site.window(item.placement);
    const Place<Aligned> place(bank.batch, item.quad);
    Quad inputs[N], value;
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const int64_t from = site.row(pins[j], window);
      if constexpr (Site::kIsDense) place.prefetch(x + from * bank.batch, stride, bank.batch);
      place.load(x + from * bank.batch, inputs[j], Site::kIsDense || from >= 0);
    }
    extension<N>(table, inputs, value);
    place.store(y + (row * site.count() + item.placement) * bank.batch, value);
  }
}

// Gathered from the pins that read an input: its slope is the extension of the differences across it. Where there are
// many placements see image_gradient.cu.
template <int N, bool Aligned>
__global__ void input_gradient(Bank bank, const int32_t* __restrict__ order, const float* __restrict__ x,
                               const float* __restrict__ table, Readers readers, const float* __restrict__ grad,
                               float* __restrict__ x_grad) {
  follow();
  constexpr int kEntries = 1 << (N - 1);
  __shared__ alignas(16) float differences[kWarps][kEntries];
  const int slot = row_of_warp();
  if (slot >= bank.features) return;
  const int64_t feature = __ldg(order + slot);
  float* mine = differences[threadIdx.x / kWarp];
  const int begin = __ldg(readers.start + feature), end = __ldg(readers.start + feature + 1);
  for (int64_t quad = blockIdx.y; quad < bank.quads(); quad += gridDim.y) {
    const Place<Aligned> place(bank.batch, quad);
    Quad sums = {};
    for (int r = begin; r < end; ++r) {
      const int pin = __ldg(readers.pins + r), node = unsigned(pin) / N, j = pin - node * N;
      Quad inputs[N], slope, g;
#pragma unroll
      for (int i = 0; i < N - 1; ++i)
        place.load(x + __ldg(bank.wiring + int64_t(node) * N + i + (i >= j)) * bank.batch, inputs[i]);
      for (int64_t row = node * bank.m; row < (node + 1) * bank.m; ++row) {
        place.load(grad + row * bank.batch, g);
        __syncwarp();
        for (int e = lane_index(); e < kEntries; e += kWarp) {
          const float* low = table + (row << N) + without_bit(e, j);
          mine[e] = __ldg(low + (1 << j)) - __ldg(low);
        }
        __syncwarp();
        extension<N - 1>(Stored{mine}, inputs, slope);
#pragma unroll
        for (int u = 0; u < kQuad; ++u) sums[u] = fmaf(g[u], slope[u], sums[u]);
      }
    }
    place.store(x_grad + feature * bank.batch, sums);
  }
}

// weights[c] = scale * prod_j (bit j of c ? x_j : 1 - x_j)
template <int K>
__device__ void corners(const float* x, float scale, float* weights) {
  weights[0] = scale;
#pragma unroll
  for (int j = 0; j < K; ++j)
#pragma unroll
    for (int c = 0; c < 1 << j; ++c) {
      weights[c | 1 << j] = weights[c] * x[j];
      weights[c] -= weights[c | 1 << j];
    }
}

// table_grad[part][row][2**N]: the upstream gradient weighted by the corners. A block has one row of tables and, of
// inputs above the sixth, one corner (blockIdx.y), at every gridDim.z-th placement.
template <int N, class Site>
__global__ void __launch_bounds__(kBlock)
    table_gradient(Bank bank, Site site, const float* __restrict__ x, const float* __restrict__ grad,
                   float* __restrict__ table_grad) {
  follow();
  constexpr int kInputs = N < 6 ? N : 6, kLow = (kInputs + 1) / 2, kHigh = kInputs - kLow, kEntries = 1 << kInputs;
  const int64_t row = blockIdx.x, node = int(row) / int(bank.m), batch = bank.batch;
  typename Site::Pin pins[N];
#pragma unroll
  for (int j = 0; j < N; ++j) pins[j] = site.pin(__ldg(bank.wiring + node * N + j));
  float sums[kEntries] = {};
  for (int placement = blockIdx.z; placement < site.count(); placement += gridDim.z) {
    const auto window = site.window(placement);
    const float* upstream = grad + (row * site.count() + placement) * batch;
    int rows[N];
#pragma unroll
    for (int j = 0; j < N; ++j) rows[j] = site.row(pins[j], window);
    for (int64_t sample = threadIdx.x; sample < batch; sample += blockDim.x) {
      float inputs[N], low[1 << kLow], high[1 << kHigh], g = __ldg(upstream + sample);
#pragma unroll
      for (int j = 0; j < N; ++j)
        inputs[j] = Site::kIsDense || rows[j] >= 0 ? __ldg(x + rows[j] * batch + sample) : 0.0f;
#pragma unroll
      for (int j = kInputs; j < N; ++j) g *= blockIdx.y >> (j - kInputs) & 1 ? inputs[j] : 1 - inputs[j];
      corners<kLow>(inputs, 1.0f, low);
      corners<kHigh>(inputs + kLow, g, high);
#pragma unroll
      for (int h = 0; h < 1 << kHigh; ++h)
#pragma unroll
        for (int l = 0; l < 1 << kLow; ++l) sums[h << kLow | l] = fmaf(high[h], low[l], sums[h << kLow | l]);
    }
  }
  table_grad += blockIdx.z * bank.rows() << N;
  sum_block(sums, [&](int e, float total) {
    table_grad[(row << N) + (int64_t(blockIdx.y) << kInputs) + e] = total;
  });
}

extern "C" {

// y[nodes * m * placements][batch] from x[features][batch]; node_order[nodes], or null. The items are divided into
// `parts`.
int difflut_cuda_multilinear(const float* x, const int32_t* wiring, const Image* image, const int32_t* node_order,
                             const float* table, float* y, int64_t parts, int64_t batch, int64_t features,
                             int64_t nodes, int64_t n, int64_t m, cudaStream_t stream) {
  const Bank bank{wiring, batch, features, nodes, m};
  if (bank.rows() * batch == 0) return 0;
  const dim3 blocks(unsigned(ceil_div(bank.rows(), kBlockWarps)), unsigned(parts));
  with_site(image, [&](auto site) {
    with_inputs(n, [&](auto inputs) {
      with_alignment(is_aligned(batch, x, y), [&](auto aligned) {
        enqueue(forward<inputs, aligned, decltype(site)>, blocks, kThreads, 0, stream, bank, site, node_order, x, table,
                y);
      });
    });
  });
  return cudaGetLastError();
}

// x_grad[features][batch] from grad[nodes * m][batch] of a dense bank.
int difflut_cuda_multilinear_input_gradient(const float* x, const int32_t* wiring, const int32_t* feature_order,
                                            const int32_t* start, const int32_t* pins, const float* table,
                                            const float* grad, float* x_grad, int64_t batch, int64_t features,
                                            int64_t nodes, int64_t n, int64_t m, cudaStream_t stream) {
  const Bank bank{wiring, batch, features, nodes, m};
  if (features * batch == 0) return 0;
  with_inputs(n, [&](auto inputs) {
    with_alignment(is_aligned(batch, x, grad), [&](auto aligned) {
      enqueue(input_gradient<inputs, aligned>, rows_by_batch(features, bank.quads()), kBlock, 0, stream, bank,
              feature_order, x, table, Readers{start, pins}, grad, x_grad);
    });
  });
  return cudaGetLastError();
}

// table_grad[nodes * m][2**n] from grad[nodes * m * placements][batch]. Where `number` of parts is not 1 they are kept
// in parts[number][nodes * m][2**n].
int difflut_cuda_multilinear_table_gradient(const float* x, const int32_t* wiring, const Image* image,
                                            const float* grad, float* table_grad, float* parts, int64_t number,
                                            int64_t batch, int64_t features, int64_t nodes, int64_t n, int64_t m,
                                            cudaStream_t stream) {
  const Bank bank{wiring, batch, features, nodes, m};
  const int64_t entries = bank.rows() << n;
  if (entries == 0) return 0;
  const dim3 blocks(unsigned(bank.rows()), n < 6 ? 1 : 1u << (n - 6), unsigned(number));
  with_site(image, [&](auto site) {
    with_inputs(n, [&](auto inputs) {
      enqueue(table_gradient<inputs, decltype(site)>, blocks, threads_for(batch), 0, stream, bank, site, x, grad,
              number == 1 ? table_grad : parts);
    });
  });
  if (number > 1)
    enqueue(add_parts, unsigned(ceil_div(entries, kBlock)), kBlock, 0, stream, parts, entries, int(number), table_grad);
  return cudaGetLastError();
}

}  // extern "C"

}  // namespace difflut::multilinear
