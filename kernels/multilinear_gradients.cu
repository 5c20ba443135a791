// Both gradients of the multilinear extension at once, for nodes of few inputs: reading the activations is what costs
// there, and both gradients read the same.
#include "multilinear.cuh"

namespace difflut::multilinear {

constexpr int kMostFused = 3;  // inputs of a node; `FUSED_INPUTS` in cuda/extension.py

// The order in which warps take nodes and features.
struct Walk {
  const int32_t *nodes, *features;
};

// What one reading pin passes back to a feature, from one row of its node's tables.
template <int N>
struct Reader {
  const float* inputs[N > 1 ? N - 1 : 1];  // the node's other ones
  const float* grad;
  Held<N - 1> differences;

  __device__ Reader(const Bank& bank, const float* x, const float* table, const float* grad, int pin, int output) {
    const int node = unsigned(pin) / N, j = pin - node * N;
    const int64_t row = node * bank.m + output;
#pragma unroll
    for (int i = 0; i < N - 1; ++i)
      inputs[i] = x + __ldg(bank.wiring + int64_t(node) * N + i + (i >= j)) * bank.batch;
    this->grad = grad + row * bank.batch;
#pragma unroll
    for (int e = 0; e < 1 << (N - 1); ++e) {
      const float* low = table + (row << N) + without_bit(e, j);
      differences.entries[e] = __ldg(low + (1 << j)) - __ldg(low);
    }
  }
};

// What a reader passes back for four samples.
template <int N>
struct Passed {
  Quad others[N], grad;

  template <bool Aligned>
  __device__ Passed(const Place<Aligned>& place, const Reader<N>& reader, bool used) {
    place.load(reader.grad, grad, used);
#pragma unroll
    for (int i = 0; i < N - 1; ++i) place.load(reader.inputs[i], others[i], used);
  }

  __device__ void add(const Reader<N>& reader, Quad& sums) const {
    Quad slope;
    extension<N - 1>(reader.differences, others, slope);
#pragma unroll
    for (int u = 0; u < kQuad; ++u) sums[u] = fmaf(grad[u], slope[u], sums[u]);
  }
};

// Adds g times the product of the inputs in S to moments[S], for every set S.
template <int N>
__device__ void add_moments(const Quad (&x)[N], const Quad& g, float (&moments)[1 << N]) {
  constexpr int kHalf = 1 << (N - 1);
#pragma unroll
  for (int u = 0; u < kQuad; ++u) {
    float products[kHalf] = {g[u]};
#pragma unroll
    for (int j = 0; j < N - 1; ++j)
#pragma unroll
      for (int s = 0; s < 1 << j; ++s) products[s | 1 << j] = products[s] * x[j][u];
#pragma unroll
    for (int s = 0; s < kHalf; ++s) {
      moments[s] += products[s];
      moments[s | kHalf] = fmaf(products[s], x[N - 1][u], moments[s | kHalf]);
    }
  }
}

// Moments to what the corners get.
template <int N>
__device__ void to_corners(float (&moments)[1 << N]) {
#pragma unroll
  for (int j = 0; j < N; ++j)
#pragma unroll
    for (int e = 0; e < 1 << (N - 1); ++e) moments[without_bit(e, j)] -= moments[without_bit(e, j) | 1 << j];
}

// Both gradients at once. A warp has a feature and a row of tables, side by side on the walk, and every gridDim.y-th
// quad, for which it writes a part of the table gradient: parts[gridDim.y][rows][2**N].
template <int N, bool Aligned>
__global__ void __launch_bounds__(kThreads, N < 3 ? 2 : 1)
    gradients(Bank bank, Walk walk, const float* __restrict__ x, const float* __restrict__ table, Readers readers,
              const float* __restrict__ grad, float* __restrict__ x_grad, float* __restrict__ parts) {
  follow();
  constexpr int kEntries = 1 << N;
  const int slot = row_of_warp(), m = int(bank.m);
  const bool has_row = slot < bank.rows(), has_feature = slot < bank.features;
  if (!has_row && !has_feature) return;

  const int64_t node = has_row ? __ldg(walk.nodes + slot / m) : 0, row = node * m + slot % m;
  const int64_t feature = has_feature ? __ldg(walk.features + slot) : 0;
  const float* inputs[N];
#pragma unroll
  for (int j = 0; j < N; ++j) inputs[j] = x + __ldg(bank.wiring + node * N + j) * bank.batch;
  const int begin = __ldg(readers.start + feature);
  const int count = has_feature ? (__ldg(readers.start + feature + 1) - begin) * m : 0;
  const auto reader = [&](int i) {
    const int pin = i < count ? __ldg(readers.pins + begin + i / m) : 0;
    return Reader<N>(bank, x, table, grad, pin, i % m);
  };
  const Reader<N> first = reader(0), second = reader(1);  // mostly there are no more

  const int64_t stride = int64_t(gridDim.y) * kSamples;
  float sums[kEntries] = {};
  for (int64_t quad = blockIdx.y; quad < bank.quads(); quad += gridDim.y) {
    const Place<Aligned> place(bank.batch, quad);
    Quad values[N], g, total = {};
    place.prefetch(grad + row * bank.batch, stride, bank.batch);
    place.prefetch(x + feature * bank.batch, stride, bank.batch);
    place.load(grad + row * bank.batch, g, has_row);
#pragma unroll
    for (int j = 0; j < N; ++j) place.load(inputs[j], values[j]);
    const Passed<N> from_first(place, first, count > 0), from_second(place, second, count > 1);
    add_moments<N>(values, g, sums);
    from_first.add(first, total);
    from_second.add(second, total);
    for (int i = 2; i < count; ++i) {
      const Reader<N> more = reader(i);
      Passed<N>(place, more, true).add(more, total);
    }
    if (has_feature) place.store(x_grad + feature * bank.batch, total);
  }
  if (!has_row) return;
  to_corners<N>(sums);
  sum_lanes<kEntries, kWarp / 2>(sums);
  if (lane_index() % (kWarp / kEntries) == 0)
    parts[((blockIdx.y * bank.rows() + row) << N) + lane_index() / (kWarp / kEntries)] = sums[0];
}

extern "C" {

// x_grad[features][batch] and table_grad[nodes * m][2**n], for n up to kMostFused. The batch is divided into `number`
// parts; where that is not 1 they are kept in parts[number][nodes * m][2**n].
int difflut_cuda_multilinear_gradients(const float* x, const int32_t* wiring, const int32_t* node_order,
                                       const int32_t* feature_order, const int32_t* start, const int32_t* pins,
                                       const float* table, const float* grad, float* x_grad, float* table_grad,
                                       float* parts, int64_t number, int64_t batch, int64_t features, int64_t nodes,
                                       int64_t n, int64_t m, cudaStream_t stream) {
  const Bank bank{wiring, batch, features, nodes, m};
  const int64_t slots = bank.rows() > features ? bank.rows() : features, entries = bank.rows() << n;
  if (entries == 0) return cudaMemsetAsync(x_grad, 0, sizeof(float) * features * batch, stream);
  const dim3 blocks(unsigned(ceil_div(slots, kBlockWarps)), unsigned(number));
  with_inputs<kMostFused>(n, [&](auto inputs) {
    with_alignment(is_aligned(batch, x, grad), [&](auto aligned) {
      enqueue(gradients<inputs, aligned>, blocks, kThreads, 0, stream, bank, Walk{node_order, feature_order}, x, table,
              Readers{start, pins}, grad, x_grad, number == 1 ? table_grad : parts);
    });
  });
  if (number > 1)
    enqueue(add_parts, unsigned(ceil_div(entries, kBlock)), kBlock, 0, stream, parts, entries, int(number), table_grad);
  return cudaGetLastError();
}

}  // extern "C"

}  // namespace difflut::multilinear
