// The multilinear extension of a bank's tables and its gradients. No sum depends on the order in which threads run.
//
// A lane has the same sample of each word of a quad, so that every entry of a table it reads serves four samples.
#include "bank.cuh"

namespace difflut::multilinear {

using Quad = float[kQuad];

__device__ inline float lerp(float low, float high, float x) { return fmaf(x, high - low, low); }

// The extension of 2**K entries by K halving steps.
template <int K>
__device__ void extension(const float* table, const Quad* x, Quad& out) {
  if constexpr (K == 0) {
#pragma unroll
    for (int u = 0; u < kQuad; ++u) out[u] = *table;
  } else if constexpr (K == 1) {
    const float low = table[0], step = table[1] - table[0];
#pragma unroll
    for (int u = 0; u < kQuad; ++u) out[u] = fmaf(x[0][u], step, low);
  } else if constexpr (K == 2) {
    const float4 entries = *reinterpret_cast<const float4*>(table);
    const float low_step = entries.y - entries.x, high_step = entries.w - entries.z;
#pragma unroll
    for (int u = 0; u < kQuad; ++u)
      out[u] = lerp(fmaf(x[0][u], low_step, entries.x), fmaf(x[0][u], high_step, entries.z), x[1][u]);
  } else {
    Quad high;
    extension<K - 1>(table, x, out);
    extension<K - 1>(table + (1 << (K - 1)), x, high);
#pragma unroll
    for (int u = 0; u < kQuad; ++u) out[u] = lerp(out[u], high[u], x[K - 1][u]);
  }
}

// The values of one row for a quad of samples, of which `left` are inside the batch; 0 past it.
__device__ inline void load(const float* __restrict__ row, int64_t quad, int left, Quad& out) {
#pragma unroll
  for (int u = 0; u < kQuad; ++u)
    out[u] = u * kWarp + lane_index() < left ? __ldg(row + sample_of(quad, u)) : 0.0f;
}

__device__ inline void store(float* row, int64_t quad, int left, const Quad& values) {
#pragma unroll
  for (int u = 0; u < kQuad; ++u)
    if (u * kWarp + lane_index() < left) row[sample_of(quad, u)] = values[u];
}

template <int N>
__global__ void forward(Bank bank, const float* __restrict__ x, const float* __restrict__ table,
                        float* __restrict__ y) {
  const int node = row_of_warp();
  if (node >= bank.nodes) return;
  for (int64_t quad = blockIdx.y; quad < bank.quads(); quad += gridDim.y) {
    const int left = samples_left(bank.batch, quad);
    Quad inputs[N], value;
#pragma unroll
    for (int j = 0; j < N; ++j)
      load(x + __ldg(bank.wiring + int64_t(node) * N + j) * bank.batch, quad, left, inputs[j]);
    for (int64_t row = node * bank.m; row < (node + 1) * bank.m; ++row) {
      extension<N>(table + (row << N), inputs, value);
      store(y + row * bank.batch, quad, left, value);
    }
  }
}

// Gathered from the pins that read an input: its slope is the extension of the differences across it.
template <int N>
__global__ void input_gradient(Bank bank, const float* __restrict__ x, const float* __restrict__ table,
                               Readers readers, const float* __restrict__ grad, float* __restrict__ x_grad) {
  constexpr int kEntries = 1 << (N - 1);
  __shared__ alignas(16) float differences[kWarps][kEntries];
  const int feature = row_of_warp();
  if (feature >= bank.features) return;
  float* mine = differences[threadIdx.x / kWarp];
  const int begin = __ldg(readers.start + feature), end = __ldg(readers.start + feature + 1);
  for (int64_t quad = blockIdx.y; quad < bank.quads(); quad += gridDim.y) {
    const int left = samples_left(bank.batch, quad);
    Quad sums = {};
    for (int r = begin; r < end; ++r) {
      const int pin = __ldg(readers.pins + r), node = unsigned(pin) / N, j = pin - node * N;
      Quad inputs[N], slope, g;
#pragma unroll
      for (int i = 0; i < N - 1; ++i)
        load(x + __ldg(bank.wiring + int64_t(node) * N + i + (i >= j)) * bank.batch, quad, left, inputs[i]);
      for (int64_t row = node * bank.m; row < (node + 1) * bank.m; ++row) {
        load(grad + row * bank.batch, quad, left, g);
        __syncwarp();
        for (int e = lane_index(); e < kEntries; e += kWarp) {
          const float* low = table + (row << N) + without_bit(e, j);
          mine[e] = __ldg(low + (1 << j)) - __ldg(low);
        }
        __syncwarp();
        extension<N - 1>(mine, inputs, slope);
#pragma unroll
        for (int u = 0; u < kQuad; ++u) sums[u] = fmaf(g[u], slope[u], sums[u]);
      }
    }
    store(x_grad + feature * bank.batch, quad, left, sums);
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

// Sums v[0], ..., v[Count - 1] over the lanes, halving the entries of a lane as long as there are several: lane l then
// has in v[i] the sum of entry l * max(1, Count / 32) + i (where Count < 32, of entry l * Count / 32).
template <int Count, int Distance>
__device__ void sum_lanes(float* v) {
  if constexpr (Distance > 0) {
    if constexpr (Count > 1) {
      const bool upper = lane_index() & Distance;
#pragma unroll
      for (int i = 0; i < Count / 2; ++i) {
        const float sent = upper ? v[i] : v[i + Count / 2], kept = upper ? v[i + Count / 2] : v[i];
        v[i] = kept + __shfl_xor_sync(kAllLanes, sent, Distance);
      }
      sum_lanes<Count / 2, Distance / 2>(v);
    } else {
      v[0] += __shfl_xor_sync(kAllLanes, v[0], Distance);
      sum_lanes<1, Distance / 2>(v);
    }
  }
}

// table_grad[row][2**N]: the upstream gradient weighted by the corners. A block has one row of tables and, of inputs
// above the sixth, one corner (blockIdx.y).
template <int N>
__global__ void __launch_bounds__(kBlock)
    table_gradient(Bank bank, const float* __restrict__ x, const float* __restrict__ grad,
                   float* __restrict__ table_grad) {
  constexpr int kInputs = N < 6 ? N : 6, kLow = (kInputs + 1) / 2, kHigh = kInputs - kLow, kEntries = 1 << kInputs;
  __shared__ float totals[kWarps][kEntries];
  const int64_t row = blockIdx.x, node = int(row) / int(bank.m), batch = bank.batch;
  const int warp = threadIdx.x / kWarp;
  const float* features[N];
#pragma unroll
  for (int j = 0; j < N; ++j) features[j] = x + __ldg(bank.wiring + node * N + j) * batch;
  grad += row * batch;
  float sums[kEntries] = {};
  for (int64_t sample = threadIdx.x; sample < batch; sample += blockDim.x) {
    float inputs[N], low[1 << kLow], high[1 << kHigh], g = __ldg(grad + sample);
#pragma unroll
    for (int j = 0; j < N; ++j) inputs[j] = __ldg(features[j] + sample);
#pragma unroll
    for (int j = kInputs; j < N; ++j) g *= blockIdx.y >> (j - kInputs) & 1 ? inputs[j] : 1 - inputs[j];
    corners<kLow>(inputs, 1.0f, low);
    corners<kHigh>(inputs + kLow, g, high);
#pragma unroll
    for (int h = 0; h < 1 << kHigh; ++h)
#pragma unroll
      for (int l = 0; l < 1 << kLow; ++l) sums[h << kLow | l] = fmaf(high[h], low[l], sums[h << kLow | l]);
  }
  sum_lanes<kEntries, kWarp / 2>(sums);
  constexpr int kKept = kEntries > kWarp ? kEntries / kWarp : 1;
#pragma unroll
  for (int i = 0; i < kKept; ++i)
    totals[warp][kEntries >= kWarp ? lane_index() * kKept + i : lane_index() * kEntries / kWarp] = sums[i];
  __syncthreads();
  for (int a = threadIdx.x; a < kEntries; a += blockDim.x) {
    float total = 0;
    for (int w = 0; w < blockDim.x / kWarp; ++w) total += totals[w][a];
    table_grad[(row << N) + (int64_t(blockIdx.y) << kInputs) + a] = total;
  }
}

extern "C" {

// y[nodes * m][batch] from x[features][batch].
int difflut_cuda_multilinear(const float* x, const int32_t* wiring, const float* table, float* y, int64_t batch,
                             int64_t features, int64_t nodes, int64_t n, int64_t m, cudaStream_t stream) {
  const Bank bank{wiring, batch, features, nodes, m};
  if (nodes * batch == 0) return 0;
  with_inputs(n, [&](auto inputs) {
    forward<inputs><<<rows_by_batch(nodes, bank.quads()), kBlock, 0, stream>>>(bank, x, table, y);
  });
  return cudaGetLastError();
}

// x_grad[features][batch] from grad[nodes * m][batch].
int difflut_cuda_multilinear_input_gradient(const float* x, const int32_t* wiring, const int32_t* start,
                                            const int32_t* pins, const float* table, const float* grad, float* x_grad,
                                            int64_t batch, int64_t features, int64_t nodes, int64_t n, int64_t m,
                                            cudaStream_t stream) {
  const Bank bank{wiring, batch, features, nodes, m};
  if (features * batch == 0) return 0;
  with_inputs(n, [&](auto inputs) {
    input_gradient<inputs><<<rows_by_batch(features, bank.quads()), kBlock, 0, stream>>>(
        bank, x, table, {start, pins}, grad, x_grad);
  });
  return cudaGetLastError();
}

// table_grad[nodes * m][2**n] from grad[nodes * m][batch].
int difflut_cuda_multilinear_table_gradient(const float* x, const int32_t* wiring, const float* grad, float* table_grad,
                                            int64_t batch, int64_t features, int64_t nodes, int64_t n, int64_t m,
                                            cudaStream_t stream) {
  const Bank bank{wiring, batch, features, nodes, m};
  if (nodes * m == 0) return 0;
  const int warps = batch >= kBlock ? kWarps : batch > kWarp ? int(ceil_div(batch, kWarp)) : 1;
  const dim3 blocks(unsigned(bank.rows()), n < 6 ? 1 : 1u << (n - 6));
  with_inputs(n, [&](auto inputs) {
    table_gradient<inputs><<<blocks, warps * kWarp, 0, stream>>>(bank, x, grad, table_grad);
  });
  return cudaGetLastError();
}

}  // extern "C"

}  // namespace difflut::multilinear
