// The hard look-up of a bank and its gradients, from packed bits. No sum depends on the order in which threads run.
//
// The forward pass keeps the addresses that nodes took: byte u of code[node][quad][lane] is that of sample 32 u + lane.
#include <utility>

#include "bank.cuh"

namespace difflut::lookup {

// The addresses that a node's inputs form for a quad of words.
template <int N>
__device__ uint32_t addresses(const uint4* const (&inputs)[N], int64_t quad) {
  uint4 words[N];
#pragma unroll
  for (int j = 0; j < N; ++j) words[j] = __ldg(inputs[j] + quad);
  uint32_t code = 0;
  const uint32_t mine = 1u << lane_index();
#pragma unroll
  for (int j = 0; j < N; ++j) {
    code |= words[j].x & mine ? 1u << j : 0;
    code |= words[j].y & mine ? 1u << (8 + j) : 0;
    code |= words[j].z & mine ? 1u << (16 + j) : 0;
    code |= words[j].w & mine ? 1u << (24 + j) : 0;
  }
  return code;
}

__device__ inline int address(uint32_t code, int word) { return code >> (8 * word) & 255; }

// code[nodes][quads][lane], and y[rows][batch] and y_bits[rows][words] where they are not null.
template <int N>
__global__ void forward(Bank bank, const uint4* __restrict__ bits, const float* __restrict__ table,
                        uint32_t* __restrict__ codes, float* __restrict__ y, uint4* __restrict__ y_bits) {
  follow();
  const int node = row_of_warp();
  if (node >= bank.nodes) return;
  const int64_t quads = bank.quads();
  const uint4* inputs[N];
#pragma unroll
  for (int j = 0; j < N; ++j) inputs[j] = bits + __ldg(bank.wiring + int64_t(node) * N + j) * quads;
#pragma unroll 2
  for (int64_t quad = blockIdx.y; quad < quads; quad += gridDim.y) {
    const uint32_t code = addresses<N>(inputs, quad);
    codes[(node * quads + quad) * kWarp + lane_index()] = code;
    if (!y && !y_bits) continue;
    const int left = samples_left(bank.batch, quad);
    for (int64_t row = node * bank.m; row < (node + 1) * bank.m; ++row) {
      uint32_t packed[kQuad];
#pragma unroll
      for (int u = 0; u < kQuad; ++u) {
        const bool inside = u * kWarp + lane_index() < left;
        const float value = __ldg(table + (row << N) + address(code, u));
        if (y && inside) y[row * bank.batch + sample_of(quad, u)] = value;
        packed[u] = __ballot_sync(kAllLanes, value >= 0.5f && inside);
      }
      if (y_bits && lane_index() == 0) y_bits[row * quads + quad] = {packed[0], packed[1], packed[2], packed[3]};
    }
  }
}

constexpr int kGroupWarps = 32;

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

// What one row of tables passes back to its input j: slope[a | 1 << j] - slope[a & ~(1 << j)] at every address a with
// its bit j taken out, spread over the lanes.
template <int N>
struct Differences {
  static constexpr int kEntries = 1 << (N - 1), kParts = (kEntries + kWarp - 1) / kWarp;
  float part[kParts];

  __device__ Differences(const float* __restrict__ slope, int j) {
#pragma unroll
    for (int i = 0; i < kParts; ++i) {
      const int low = without_bit((lane_index() + i * kWarp) & (kEntries - 1), j);
      part[i] = __ldg(slope + (low | 1 << j)) - __ldg(slope + low);
    }
  }

  // Bits of `rest` that no entry needs are ignored.
  __device__ float operator()(uint32_t rest) const {
    float value = __shfl_sync(kAllLanes, part[0], rest);
#pragma unroll
    for (int i = 1; i < kParts; ++i) {
      const float other = __shfl_sync(kAllLanes, part[i], rest);
      value = rest / kWarp % kParts == i ? other : value;
    }
    return value;
  }
};

// The gradient of a bank's inputs, gathered from the pins that read them.
template <int N>
struct Gathered {
  Bank bank;
  const uint32_t* codes;
  const float* slope;
  Readers readers;
  Given grad;

  // One pin of one row of tables.
  struct Reader {
    Differences<N> difference;
    const uint32_t* codes;
    const float* grad;
    uint32_t below;

    __device__ Reader(const Gathered& from, int pin, int row, int j)
        : difference(from.slope + (int64_t(row) << N), j),
          codes(from.codes + unsigned(pin) / N * from.bank.quads() * kWarp + lane_index()),
          grad(from.grad.row(row) + lane_index()),
          below(((1u << j) - 1) * 0x01010101u) {}

    __device__ void add(uint32_t code, const float (&g)[kQuad], float (&sums)[kQuad]) const {
      const uint32_t rest = (code >> 1 & ~below) | (code & below);
#pragma unroll
      for (int u = 0; u < kQuad; ++u) sums[u] = fmaf(g[u], difference(rest >> (8 * u)), sums[u]);
    }

    __device__ void load(int64_t quad, int left, bool used, uint32_t& code, float (&g)[kQuad]) const {
      code = used ? __ldg(codes + quad * kWarp) : 0;
#pragma unroll
      for (int u = 0; u < kQuad; ++u)
        g[u] = used && u * kWarp + lane_index() < left ? __ldg(grad + quad * kSamples + u * kWarp) : 0.0f;
    }
  };

  // The readers of one input, of which the first few stay in registers.
  struct Row {
    static constexpr int kHeld = N < 7 ? 4 : 2;
    const Gathered& from;
    int begin, count;
    Reader held[kHeld];

    __device__ Reader reader(int i) const {
      const int m = int(from.bank.m), pin = count ? __ldg(from.readers.pins + begin + (i < count ? i : 0) / m) : 0;
      const int node = unsigned(pin) / N;
      return {from, pin, node * m + i % m, pin - node * N};
    }

    template <int... I>
    __device__ Row(const Gathered& from, int begin, int count, std::integer_sequence<int, I...>)
        : from(from), begin(begin), count(count), held{reader(I)...} {}

    __device__ void operator()(int64_t quad, float (&sums)[kQuad]) const {
      const int left = samples_left(from.bank.batch, quad);
      uint32_t code[kHeld];
      float g[kHeld][kQuad];
#pragma unroll
      for (int i = 0; i < kHeld; ++i) held[i].load(quad, left, i < count, code[i], g[i]);
#pragma unroll
      for (int u = 0; u < kQuad; ++u) sums[u] = 0;
#pragma unroll
      for (int i = 0; i < kHeld; ++i) held[i].add(code[i], g[i], sums);
      for (int i = kHeld; i < count; ++i) {
        const Reader more = reader(i);
        more.load(quad, left, true, code[0], g[0]);
        more.add(code[0], g[0], sums);
      }
#pragma unroll
      for (int u = 0; u < kQuad; ++u) sums[u] *= from.grad.scale;
    }
  };

  __device__ Row row(int feature) const {
    const int begin = __ldg(readers.start + feature), end = __ldg(readers.start + feature + 1);
    return {*this, begin, (end - begin) * int(bank.m), std::make_integer_sequence<int, Row::kHeld>()};
  }
};

// The gradient of a bank's outputs, as it was given.
struct Direct {
  Given grad;

  struct Row {
    const float* grad;
    float scale;
    int64_t batch;

    __device__ void operator()(int64_t quad, float (&sums)[kQuad]) const {
      const int left = samples_left(batch, quad);
#pragma unroll
      for (int u = 0; u < kQuad; ++u)
        sums[u] = u * kWarp + lane_index() < left ? __ldg(grad + sample_of(quad, u)) : 0.0f;
#pragma unroll
      for (int u = 0; u < kQuad; ++u) sums[u] *= scale;
    }
  };

  __device__ Row row(int row) const { return {grad.row(row), grad.scale, grad.batch}; }
};

__device__ inline void store(float* out, int64_t batch, int64_t quad, const float (&values)[kQuad]) {
  const int left = samples_left(batch, quad);
#pragma unroll
  for (int u = 0; u < kQuad; ++u)
    if (u * kWarp + lane_index() < left) out[sample_of(quad, u)] = values[u];
}

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

// The gradient of every pin: out[pin][padded batch], or where Split as two bfloat16 whose sum it is,
// out[pin][2][padded batch]; 0 past the batch.
template <int N, bool Split>
__global__ void pin_gradient(Bank bank, const uint32_t* __restrict__ codes, const float* __restrict__ slope, Given grad,
                             void* out) {
  follow();
  const int node = row_of_warp(), m = int(bank.m), lane = lane_index();
  if (node >= bank.nodes) return;
  const int64_t quads = bank.quads();
  for (int64_t quad = blockIdx.y; quad < quads; quad += gridDim.y) {
    const uint32_t code = __ldg(codes + (node * quads + quad) * kWarp + lane);
    const int left = samples_left(bank.batch, quad);
    float sums[N][kQuad] = {};
    for (int row = node * m; row < (node + 1) * m; ++row) {
      const float* upstream = grad.row(row) + sample_of(quad, 0);
      float g[kQuad];
#pragma unroll
      for (int u = 0; u < kQuad; ++u) g[u] = u * kWarp + lane < left ? __ldg(upstream + u * kWarp) : 0.0f;
#pragma unroll
      for (int j = 0; j < N; ++j) {
        const Differences<N> difference(slope + (int64_t(row) << N), j);
        const uint32_t below = ((1u << j) - 1) * 0x01010101u, rest = (code >> 1 & ~below) | (code & below);
#pragma unroll
        for (int u = 0; u < kQuad; ++u) sums[j][u] = fmaf(g[u], difference(rest >> (8 * u)), sums[j][u]);
      }
    }
#pragma unroll
    for (int j = 0; j < N; ++j)
#pragma unroll
      for (int u = 0; u < kQuad; ++u) {
        const int64_t pin = int64_t(node) * N + j, samples = quads * kSamples, sample = sample_of(quad, u);
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

// Warps that share a row of tables: as many as leave several blocks a multiprocessor's shared memory.
template <int N>
int table_warps(int64_t quads) {
  constexpr int kMost = N < 6 ? 8 : 256 >> N;
  return int(quads > kMost ? kMost : quads > 1 ? quads : 1);
}

// table_grad[row][2**N]: the upstream gradient summed by address, in one histogram a lane, hence without conflicts.
// Where `out` is given the gradient is also written down, out[row][batch]. A block has one row.
template <int N, class Upstream>
__global__ void table_gradient(Bank bank, const uint32_t* __restrict__ codes, Upstream upstream,
                               float* __restrict__ table_grad, float* __restrict__ out) {
  follow();
  extern __shared__ float sums[];  // [warp][address][lane]
  const int64_t row = blockIdx.x, quads = bank.quads();
  const int warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp, lane = lane_index();
  float* mine = sums + (warp << (N + 5)) + lane;
#pragma unroll 8
  for (int a = 0; a < 1 << N; ++a) mine[a * kWarp] = 0;
  const auto gradient = upstream.row(int(row));
  codes += int(row) / int(bank.m) * quads * kWarp + lane;
#pragma unroll 2
  for (int64_t quad = warp; quad < quads; quad += warps) {
    float g[kQuad];
    const uint32_t code = __ldg(codes + quad * kWarp);
    gradient(quad, g);
#pragma unroll
    for (int u = 0; u < kQuad; ++u) mine[address(code, u) * kWarp] += g[u];
    if (out) store(out + row * bank.batch, bank.batch, quad, g);
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
  for (int a = threadIdx.x; a < 1 << N; a += blockDim.x) {
    const float* found = sums + a / kTogether * kTogether * kWarp + a % kTogether * kSpread;
    float total = 0;
    for (int w = 0; w < warps; ++w) total += found[w << (N + 5)];
    table_grad[(row << N) + a] = total;
  }
}

template <int N, class Upstream>
void launch_table_gradient(const Bank& bank, const uint32_t* codes, const Upstream& upstream, float* table_grad,
                           float* out, cudaStream_t stream) {
  const int warps = table_warps<N>(bank.quads());
  if (bank.rows() == 0) return;
  enqueue(table_gradient<N, Upstream>, unsigned(bank.rows()), warps * kWarp, sizeof(float) * kWarp * warps << N, stream,
          bank, codes, upstream, table_grad, out);
}

extern "C" {

// codes[nodes][quads][32], and y[nodes * m][batch] and y_bits[nodes * m][words] where they are not null.
int difflut_cuda_lookup(const uint4* bits, const int32_t* wiring, const float* table, uint32_t* codes, float* y,
                        uint4* y_bits, int64_t batch, int64_t features, int64_t nodes, int64_t n, int64_t m,
                        cudaStream_t stream) {
  const Bank bank{wiring, batch, features, nodes, m};
  if (nodes * batch == 0) return 0;
  with_inputs(n, [&](auto inputs) {
    enqueue(forward<inputs>, rows_by_batch(nodes, bank.quads()), kBlock, 0, stream, bank, bits, table, codes, y,
            y_bits);
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

// out[rows][batch] from sums[rows / group][batch].
int difflut_cuda_spread(const float* sums, int64_t group, float* out, int64_t batch, int64_t rows,
                        cudaStream_t stream) {
  const Direct direct{{sums, batch, int(group), 1.0f}};
  const dim3 blocks = rows_by_batch(rows, ceil_div(batch, kSamples));
  return enqueue(write_gradient<Direct>, blocks, kBlock, 0, stream, direct, rows, batch, out);
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

// out[nodes * n][padded batch], or of two bfloat16 where `split` is not 0.
int difflut_cuda_lookup_pin_gradient(const uint32_t* codes, const float* slope, const float* grad, int64_t group,
                                     double scale, int64_t split, void* out, int64_t batch, int64_t nodes, int64_t n,
                                     int64_t m, cudaStream_t stream) {
  const Bank bank{nullptr, batch, 0, nodes, m};
  if (nodes * batch == 0) return 0;
  const dim3 blocks = rows_by_batch(nodes, bank.quads());
  const Given given{grad, batch, int(group), float(scale)};
  with_inputs(n, [&](auto inputs) {
    if (split) enqueue(pin_gradient<inputs, true>, blocks, kBlock, 0, stream, bank, codes, slope, given, out);
    else enqueue(pin_gradient<inputs, false>, blocks, kBlock, 0, stream, bank, codes, slope, given, out);
  });
  return cudaGetLastError();
}

// table_grad[nodes * m][2**n] from grad[nodes * m / group][batch].
int difflut_cuda_lookup_table_gradient(const uint32_t* codes, const float* grad, int64_t group, double scale,
                                       float* table_grad, int64_t batch, int64_t nodes, int64_t n, int64_t m,
                                       cudaStream_t stream) {
  const Bank bank{nullptr, batch, 0, nodes, m};
  with_inputs(n, [&](auto inputs) {
    const Direct direct{{grad, batch, int(group), float(scale)}};
    launch_table_gradient<inputs>(bank, codes, direct, table_grad, nullptr, stream);
  });
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
    launch_table_gradient<inputs>(bank, codes, gathered, table_grad, out, stream);
  });
  return cudaGetLastError();
}

}  // extern "C"

}  // namespace difflut::lookup
