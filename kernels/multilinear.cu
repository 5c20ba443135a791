// The multilinear extension of a bank's tables and its gradients. No sum depends on the order in which threads run.
//
// A lane has four neighbouring samples, so that every entry of a table it reads serves four. What a small n costs is
// reading activations: warps of a block have nodes and features that follow each other on a walk (`Walk`), and find
// most of what they read in the cache of their multiprocessor, since a neighbour reads it too.
#include "bank.cuh"

namespace difflut::multilinear {

constexpr int kBlockWarps = 16;
constexpr int kThreads = kBlockWarps * kWarp;
constexpr int kMostHeld = 3;  // inputs of nodes whose tables stay in registers

using Quad = float[kQuad];

// The order in which warps take nodes and features.
struct Walk {
  const int32_t *nodes, *features;
};

// The samples of a lane: those from `first` on, of which `count` are inside the batch; all or none where rows are
// Aligned to 16 bytes.
template <bool Aligned>
struct Place {
  int64_t first;
  int count;

  __device__ Place(int64_t batch, int64_t quad)
      : first(quad * kSamples + kQuad * lane_index()),
        count(batch <= first ? 0 : batch - first < kQuad ? int(batch - first) : kQuad) {}

  // Brings what comes `distance` samples later nearer: warps are too few to hide the way from memory.
  __device__ void prefetch(const float* row, int64_t distance, int64_t batch) const {
    constexpr int kLine = 128 / sizeof(float) / kQuad;  // lanes
    if (lane_index() % kLine == 0 && first + distance < batch)
      asm volatile("prefetch.global.L2 [%0];" ::"l"(row + first + distance));
  }

  // 0 past the batch, and where the row is not `used`.
  __device__ void load(const float* __restrict__ row, Quad& out, bool used = true) const {
    if constexpr (Aligned) {
      const float4 four = count && used ? __ldg(reinterpret_cast<const float4*>(row + first)) : float4{};
      out[0] = four.x, out[1] = four.y, out[2] = four.z, out[3] = four.w;
    } else {
#pragma unroll
      for (int u = 0; u < kQuad; ++u) out[u] = used && u < count ? __ldg(row + first + u) : 0.0f;
    }
  }

  __device__ void store(float* row, const Quad& values) const {
    if constexpr (Aligned) {
      if (count) *reinterpret_cast<float4*>(row + first) = {values[0], values[1], values[2], values[3]};
    } else {
#pragma unroll
      for (int u = 0; u < kQuad; ++u)
        if (u < count) row[first + u] = values[u];
    }
  }
};

__device__ inline float lerp(float low, float high, float x) { return fmaf(x, high - low, low); }

// Entries of a table in memory, and in registers.
struct Stored {
  const float* entries;

  __device__ explicit Stored(const float* entries) : entries(entries) {}
  __device__ float one(int i) const { return entries[i]; }
  __device__ float4 four(int i) const { return *reinterpret_cast<const float4*>(entries + i); }
};

template <int K>
struct Held {
  float entries[1 << K];

  __device__ Held() {}
  __device__ explicit Held(const float* table) {
#pragma unroll
    for (int e = 0; e < 1 << K; ++e) entries[e] = __ldg(table + e);
  }
  __device__ float one(int i) const { return entries[i]; }
  __device__ float4 four(int i) const { return {entries[i], entries[i + 1], entries[i + 2], entries[i + 3]}; }
};

// The extension of the 2**K entries from First on by K halving steps.
template <int K, int First = 0, class Table>
__device__ void extension(const Table& table, const Quad* x, Quad& out) {
  if constexpr (K == 0) {
#pragma unroll
    for (int u = 0; u < kQuad; ++u) out[u] = table.one(First);
  } else if constexpr (K == 1) {
    const float low = table.one(First), step = table.one(First + 1) - low;
#pragma unroll
    for (int u = 0; u < kQuad; ++u) out[u] = fmaf(x[0][u], step, low);
  } else if constexpr (K == 2) {
    const float4 entries = table.four(First);
    const float low_step = entries.y - entries.x, high_step = entries.w - entries.z;
#pragma unroll
    for (int u = 0; u < kQuad; ++u)
      out[u] = lerp(fmaf(x[0][u], low_step, entries.x), fmaf(x[0][u], high_step, entries.z), x[1][u]);
  } else {
    Quad high;
    extension<K - 1, First>(table, x, out);
    extension<K - 1, First + (1 << (K - 1))>(table, x, high);
#pragma unroll
    for (int u = 0; u < kQuad; ++u) out[u] = lerp(out[u], high[u], x[K - 1][u]);
  }
}

// y[row][batch]: a warp has a row and every gridDim.y-th quad.
template <int N, bool Aligned>
__global__ void __launch_bounds__(kThreads, N <= kMostHeld ? 3 : N <= 6 ? 2 : 1)
    forward(Bank bank, const int32_t* __restrict__ order, const float* __restrict__ x, const float* __restrict__ tables,
            float* __restrict__ y) {
  follow();
  const int slot = row_of_warp(), m = int(bank.m);
  if (slot >= bank.rows()) return;
  const int64_t node = __ldg(order + slot / m), row = node * m + slot % m;
  const float* features[N];
#pragma unroll
  for (int j = 0; j < N; ++j) features[j] = x + __ldg(bank.wiring + node * N + j) * bank.batch;
  const std::conditional_t<N <= kMostHeld, Held<N>, Stored> table(tables + (row << N));
  const int64_t stride = int64_t(gridDim.y) * kSamples;
  for (int64_t quad = blockIdx.y; quad < bank.quads(); quad += gridDim.y) {
    const Place<Aligned> place(bank.batch, quad);
    Quad inputs[N], value;
#pragma unroll
    for (int j = 0; j < N; ++j) {
      place.prefetch(features[j], stride, bank.batch);
      place.load(features[j], inputs[j]);
    }
    extension<N>(table, inputs, value);
    place.store(y + row * bank.batch, value);
  }
}

// Gathered from the pins that read an input: its slope is the extension of the differences across it.
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

// table_grad[row][2**N]: the upstream gradient weighted by the corners. A block has one row of tables and, of inputs
// above the sixth, one corner (blockIdx.y).
template <int N>
__global__ void __launch_bounds__(kBlock)
    table_gradient(Bank bank, const float* __restrict__ x, const float* __restrict__ grad,
                   float* __restrict__ table_grad) {
  follow();
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

__global__ void add_parts(const float* __restrict__ parts, int64_t count, int number, float* __restrict__ out) {
  follow();
  const int64_t index = int64_t(blockIdx.x) * kBlock + threadIdx.x;
  if (index >= count) return;
  float total = 0;
  for (int p = 0; p < number; ++p) total += __ldg(parts + p * count + index);
  out[index] = total;
}

bool is_aligned(int64_t batch, const void* a, const void* b) {
  return batch % kQuad == 0 && ((uintptr_t(a) | uintptr_t(b)) & 15) == 0;
}

// Calls f with true and with false as a compile-time constant.
template <class F>
void with_alignment(bool aligned, F f) {
  if (aligned) f(std::true_type());
  else f(std::false_type());
}

extern "C" {

// y[nodes * m][batch] from x[features][batch]; node_order[nodes]. The batch is divided into `parts`.
int difflut_cuda_multilinear(const float* x, const int32_t* wiring, const int32_t* node_order, const float* table,
                             float* y, int64_t parts, int64_t batch, int64_t features, int64_t nodes, int64_t n,
                             int64_t m, cudaStream_t stream) {
  const Bank bank{wiring, batch, features, nodes, m};
  if (bank.rows() * batch == 0) return 0;
  const dim3 blocks(unsigned(ceil_div(bank.rows(), kBlockWarps)), unsigned(parts));
  with_inputs(n, [&](auto inputs) {
    with_alignment(is_aligned(batch, x, y), [&](auto aligned) {
      enqueue(forward<inputs, aligned>, blocks, kThreads, 0, stream, bank, node_order, x, table, y);
    });
  });
  return cudaGetLastError();
}

// x_grad[features][batch] from grad[nodes * m][batch]; feature_order[features].
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

// table_grad[nodes * m][2**n] from grad[nodes * m][batch].
int difflut_cuda_multilinear_table_gradient(const float* x, const int32_t* wiring, const float* grad, float* table_grad,
                                            int64_t batch, int64_t features, int64_t nodes, int64_t n, int64_t m,
                                            cudaStream_t stream) {
  const Bank bank{wiring, batch, features, nodes, m};
  if (nodes * m == 0) return 0;
  const int warps = batch >= kBlock ? kWarps : batch > kWarp ? int(ceil_div(batch, kWarp)) : 1;
  const dim3 blocks(unsigned(bank.rows()), n < 6 ? 1 : 1u << (n - 6));
  with_inputs(n, [&](auto inputs) {
    enqueue(table_gradient<inputs>, blocks, warps * kWarp, 0, stream, bank, x, grad, table_grad);
  });
  return cudaGetLastError();
}

// Both of the above for n up to 3. The batch is divided into `number` parts; where that is not 1 they are kept in
// parts[number][nodes * m][2**n].
int difflut_cuda_multilinear_gradients(const float* x, const int32_t* wiring, const int32_t* node_order,
                                       const int32_t* feature_order, const int32_t* start, const int32_t* pins,
                                       const float* table, const float* grad, float* x_grad, float* table_grad,
                                       float* parts, int64_t number, int64_t batch, int64_t features, int64_t nodes,
                                       int64_t n, int64_t m, cudaStream_t stream) {
  const Bank bank{wiring, batch, features, nodes, m};
  const int64_t slots = bank.rows() > features ? bank.rows() : features, entries = bank.rows() << n;
  if (entries == 0) return cudaMemsetAsync(x_grad, 0, sizeof(float) * features * batch, stream);
  const dim3 blocks(unsigned(ceil_div(slots, kBlockWarps)), unsigned(number));
  const auto launch = [&](auto inputs) {
    with_alignment(is_aligned(batch, x, grad), [&](auto aligned) {
      enqueue(gradients<inputs, aligned>, blocks, kThreads, 0, stream, bank, Walk{node_order, feature_order}, x, table,
              Readers{start, pins}, grad, x_grad, number == 1 ? table_grad : parts);
    });
  };
  if (n == 1) launch(std::integral_constant<int, 1>());
  if (n == 2) launch(std::integral_constant<int, 2>());
  if (n == 3) launch(std::integral_constant<int, 3>());
  if (number > 1)
    enqueue(add_parts, unsigned(ceil_div(entries, kBlock)), kBlock, 0, stream, parts, entries, int(number), table_grad);
  return cudaGetLastError();
}

}  // extern "C"

}  // namespace difflut::multilinear
