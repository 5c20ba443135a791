// Both gradients of the multilinear extension at once, for nodes of few inputs: reading the activations is what costs
// there, and both gradients read the same.
#include "multilinear.cuh"

namespace difflut::multilinear {

constexpr int kMostFused = 3;  // inputs of a node; `FUSED_INPUTS` in cuda/multilinear.py

// The nodes and the features in the order in which warps take them, with all that they need in the same order, so that
// no warp must ask for one thing to find where another is: what a node reads, a feature's pins from start[i] to
// start[i + 1] and the other inputs of these pins' nodes.
struct Walk {
  const int32_t *nodes, *wiring, *features, *start, *pins, *others;
};

// The number, below `count`, that a slot has; -1 in the slots between. Numbers lie evenly over the slots, so that rows of
// tables and the features that they read lie side by side also where there are more of the ones than of the others.
__device__ inline int64_t number_of(int slot, int64_t count, int64_t slots) {
  const int64_t place = slot * count, number = place / slots;
  return place - number * slots < count ? number : -1;
}

// What one reading pin passes back to a feature, from one row of its node's tables.
template <int N>
struct Reader {
  const float* inputs[N > 1 ? N - 1 : 1];  // the node's other ones
  const float* grad;
  Held<N - 1> differences;

  __device__ Reader(const Bank& bank, const Walk& walk, const float* x, const float* table, const float* grad, int i,
                    int output) {
    const int pin = __ldg(walk.pins + i), node = unsigned(pin) / N, j = pin - node * N;
    const int64_t row = node * bank.m + output;
#pragma unroll
    for (int k = 0; k < N - 1; ++k) inputs[k] = x + __ldg(walk.others + int64_t(i) * (N - 1) + k) * bank.batch;
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

// Both gradients at once. A warp has a slot, with a feature and a row of tables or one of these, and every gridDim.y-th
// quad, for which it writes a part of the table gradient: parts[gridDim.y][rows][2**N].
template <int N, bool Aligned>
__global__ void __launch_bounds__(kThreads, N < 3 ? 2 : 1)
    gradients(Bank bank, Walk walk, const float* __restrict__ x, const float* __restrict__ table,
              const float* __restrict__ grad, float* __restrict__ x_grad, float* __restrict__ parts) {
  follow();
  constexpr int kEntries = 1 << N;
  const int slot = row_of_warp(), m = int(bank.m);
  const int64_t slots = bank.rows() > bank.features ? bank.rows() : bank.features;
  if (slot >= slots) return;
  const int64_t row_number = number_of(slot, bank.rows(), slots), stop = number_of(slot, bank.features, slots);
  const bool has_row = row_number >= 0, has_feature = stop >= 0;

  const int64_t step = has_row ? row_number / m : 0, node = __ldg(walk.nodes + step);
  const int64_t row = node * m + (has_row ? row_number % m : 0);
  const int64_t feature = has_feature ? __ldg(walk.features + stop) : 0;
  const float* inputs[N];
#pragma unroll
  for (int j = 0; j < N; ++j) inputs[j] = x + __ldg(walk.wiring + step * N + j) * bank.batch;
  const int begin = has_feature ? __ldg(walk.start + stop) : 0;
  const int count = has_feature ? (__ldg(walk.start + stop + 1) - begin) * m : 0;
  const auto reader = [&](int i) {
    return Reader<N>(bank, walk, x, table, grad, i < count ? begin + i / m : 0, i % m);
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
    for (int j = 0; j < N; ++j) place.load(inputs[j], values[j], has_row);
    const Passed<N> from_first(place, first, count > 0), from_second(place, second, count > 1);
    add_moments<N>(values, g, sums);
    from_first.add(first, total);
    from_second.add(second, total);
    for (int i = 2; i < count; i += 2) {
      const Reader<N> more = reader(i), last = reader(i + 1);
      const Passed<N> from_more(place, more, true), from_last(place, last, i + 1 < count);
      from_more.add(more, total);
      from_last.add(last, total);
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
int difflut_cuda_multilinear_gradients(const float* x, const int32_t* node_order, const int32_t* wiring,
                                       const int32_t* feature_order, const int32_t* start, const int32_t* pins,
                                       const int32_t* others, const float* table, const float* grad, float* x_grad,
                                       float* table_grad, float* parts, int64_t number, int64_t batch,
                                       int64_t features, int64_t nodes, int64_t n, int64_t m, cudaStream_t stream) {
  const Bank bank{nullptr, batch, features, nodes, m};
  const Walk walk{node_order, wiring, feature_order, start, pins, others};
  const int64_t slots = bank.rows() > features ? bank.rows() : features, entries = bank.rows() << n;
  if (entries == 0) return cudaMemsetAsync(x_grad, 0, sizeof(float) * features * batch, stream);
  const dim3 blocks(unsigned(ceil_div(slots, kBlockWarps)), unsigned(number));
  with_inputs<kMostFused>(n, [&](auto inputs) {
    with_alignment(is_aligned(batch, x, grad), [&](auto aligned) {
      enqueue(gradients<inputs, aligned>, blocks, kThreads, 0, stream, bank, walk, x, table, grad,
              x_grad, number == 1 ? table_grad : parts);
    });
  });
  if (number > 1)
    enqueue(add_parts, unsigned(ceil_div(entries, kBlock)), kBlock, 0, stream, parts, entries, int(number), table_grad);
  return cudaGetLastError();
}

}  // extern "C"

}  // namespace difflut::multilinear
