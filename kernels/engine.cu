// The inference engine on a GPU: a block of threads takes a tile of samples from numbers to classes, all bits of its
// nodes in shared memory. A place holds kV words, of 32 samples each. `engine_chunks.h` says how nodes are arranged.
#include <cuda_runtime.h>

#include <cstdint>

namespace difflut::engine {

constexpr int kThreads = 1024;
constexpr int kWarp = 32;
constexpr int kWarps = kThreads / kWarp;
constexpr int kTurns = 2;    // gates of a thread in a chunk
constexpr int kDigits = 13;  // of a count within a part of a class's outputs
constexpr unsigned kAll = 0xffffffff;

// The network in device memory.
struct Network {
  const int32_t* chunks;   // [][3] begin, count, whether wide
  const uint64_t* gates;
  const uint64_t* wide;    // [][3]
  const int32_t* votes;
  const int32_t* start;    // [classes + 1]
  const int32_t* bias;     // [classes]
  const void* limits;      // bytes: [levels][quads] four limits; floats: [levels][features]
  const uint32_t* possible;  // bytes only: [levels][quads], bit 0 of each byte
  const uint16_t* places;  // [levels][features rounded up to four], 0xffff where there is no comparison
  int64_t features, levels, num_chunks, num_places, classes;
};

template <int V>
struct Words {
  uint32_t w[V];
};
template <>
struct alignas(8) Words<2> {
  uint32_t w[2];
};
template <>
struct alignas(16) Words<4> {
  uint32_t w[4];
};

// A mask of bit `k`.
__device__ inline uint32_t mask(uint32_t bits, int k) { return uint32_t(int32_t(bits << (31 - k)) >> 31); }

__device__ inline uint32_t mux(uint32_t pin, uint32_t high, uint32_t low) { return (pin & high) | (~pin & low); }

template <int V>
__device__ inline Words<V> gate(uint32_t table, Words<V> a, Words<V> b) {
  const uint32_t t0 = mask(table, 0), t1 = mask(table, 1), t2 = mask(table, 2), t3 = mask(table, 3);
  Words<V> y;
#pragma unroll
  for (int v = 0; v < V; ++v) y.w[v] = mux(b.w[v], mux(a.w[v], t3, t2), mux(a.w[v], t1, t0));
  return y;
}

// The entries of a table from `Entry` on, by the first Pins pins.
template <int V, int Pins, int Entry>
__device__ __forceinline__ Words<V> tree(uint32_t low, uint32_t high, const Words<V>* x) {
  Words<V> y;
  if constexpr (Pins == 1) {
    const uint32_t bits = Entry < 32 ? low : high;
    const uint32_t zero = mask(bits, Entry % 32), one = mask(bits, Entry % 32 + 1);
#pragma unroll
    for (int v = 0; v < V; ++v) y.w[v] = mux(x[0].w[v], one, zero);
  } else {
    const Words<V> zero = tree<V, Pins - 1, Entry>(low, high, x);
    const Words<V> one = tree<V, Pins - 1, Entry + (1 << (Pins - 1))>(low, high, x);
#pragma unroll
    for (int v = 0; v < V; ++v) y.w[v] = mux(x[Pins - 1].w[v], one.w[v], zero.w[v]);
  }
  return y;
}

// Bits of 32 rows, of four features a byte each: byte compares at once, then a transposition.
template <int V>
__device__ void encode(const uint8_t* x, int64_t first, int64_t rows, const Network& net, Words<V>* s) {
  const int quads = int((net.features + 3) / 4);
  const bool whole = net.features % 4 == 0 && reinterpret_cast<uintptr_t>(x) % 4 == 0;
  for (int unit = threadIdx.x; unit < quads * V; unit += kThreads) {
    const int quad = unit % quads, v = unit / quads;
    const int64_t begin = first + v * kWarp;
    uint32_t bytes[kWarp];
#pragma unroll
    for (int r = 0; r < kWarp; ++r) {
      const int64_t row = begin + r < rows ? begin + r : rows - 1;
      const uint8_t* from = x + row * net.features + 4 * quad;
      if (whole) {
        bytes[r] = __ldg(reinterpret_cast<const uint32_t*>(from));
      } else {
        bytes[r] = 0;
        for (int j = 0; j < 4 && 4 * quad + j < net.features; ++j) bytes[r] |= uint32_t(from[j]) << (8 * j);
      }
    }
    for (int level = 0; level < net.levels; ++level) {
      constexpr uint32_t kHigh = 0x80808080;
      const uint32_t limit = static_cast<const uint32_t*>(net.limits)[level * quads + quad];
      const uint32_t possible = net.possible[level * quads + quad];
      uint32_t eights[4] = {};  // byte j: eight rows of feature j
#pragma unroll
      for (int r = 0; r < kWarp; ++r) {
        const uint32_t difference = (bytes[r] | kHigh) - (limit & ~kHigh);
        const uint32_t holds = (bytes[r] & ~limit) | (~(bytes[r] ^ limit) & difference);
        eights[r / 8] |= holds >> (7 - r % 8) & (0x01010101u << (r % 8));
      }
      const uint32_t low01 = __byte_perm(eights[0], eights[1], 0x5140), low23 = __byte_perm(eights[2], eights[3], 0x5140);
      const uint32_t high01 = __byte_perm(eights[0], eights[1], 0x7362), high23 = __byte_perm(eights[2], eights[3], 0x7362);
      const uint32_t words[4] = {__byte_perm(low01, low23, 0x5410), __byte_perm(low01, low23, 0x7632),
                                 __byte_perm(high01, high23, 0x5410), __byte_perm(high01, high23, 0x7632)};
      const ushort4 to = reinterpret_cast<const ushort4*>(net.places)[level * quads + quad];
      const uint16_t place[4] = {to.x, to.y, to.z, to.w};
#pragma unroll
      for (int j = 0; j < 4; ++j)
        if (place[j] != 0xffff) s[place[j]].w[v] = words[j] & mask(possible, 8 * j);
    }
  }
}

template <int V>
__device__ void encode(const float* x, int64_t first, int64_t rows, const Network& net, Words<V>* s) {
  const int features = int(net.features), padded = (features + 3) / 4 * 4;
  for (int unit = threadIdx.x; unit < features * V; unit += kThreads) {
    const int feature = unit % features, v = unit / features;
    const int64_t begin = first + v * kWarp;
    float values[kWarp];
#pragma unroll
    for (int r = 0; r < kWarp; ++r) values[r] = __ldg(x + (begin + r < rows ? begin + r : rows - 1) * features + feature);
    for (int level = 0; level < net.levels; ++level) {
      const float limit = static_cast<const float*>(net.limits)[level * features + feature];
      const uint16_t place = net.places[level * padded + feature];
      uint32_t word = 0;
#pragma unroll
      for (int r = 0; r < kWarp; ++r) word |= values[r] > limit ? 1u << r : 0u;
      if (place != 0xffff) s[place].w[v] = word;
    }
  }
}

template <int V>
__device__ void evaluate(const Network& net, Words<V>* s) {
  for (int c = 0; c < net.num_chunks; ++c) {
    const int begin = __ldg(net.chunks + 3 * c), count = __ldg(net.chunks + 3 * c + 1);
    if (__ldg(net.chunks + 3 * c + 2)) {
      for (int i = threadIdx.x; i < count; i += kThreads) {
        const uint64_t* code = net.wide + 3 * int64_t(begin + i);
        const uint64_t table = __ldg(code), pins = __ldg(code + 1), rest = __ldg(code + 2);
        const Words<V> x[6] = {s[pins & 0xffff],       s[pins >> 16 & 0xffff], s[pins >> 32 & 0xffff],
                               s[pins >> 48],          s[rest & 0xffff],       s[rest >> 16 & 0xffff]};
        s[rest >> 32 & 0xffff] = tree<V, 6, 0>(uint32_t(table), uint32_t(table >> 32), x);
      }
    } else {
      uint64_t code[kTurns];
      Words<V> a[kTurns], b[kTurns];
#pragma unroll
      for (int k = 0; k < kTurns; ++k)
        if (const int i = threadIdx.x + k * kThreads; i < count) code[k] = __ldg(net.gates + begin + i);
#pragma unroll
      for (int k = 0; k < kTurns; ++k)
        if (int(threadIdx.x) + k * kThreads < count) a[k] = s[code[k] & 0x3fff], b[k] = s[code[k] >> 14 & 0x3fff];
#pragma unroll
      for (int k = 0; k < kTurns; ++k)
        if (int(threadIdx.x) + k * kThreads < count)
          s[code[k] >> 28 & 0x3fff] = gate(uint32_t(code[k] >> 42), a[k], b[k]);
    }
    __syncthreads();
  }
}

__device__ inline uint32_t carry_of(uint32_t& sum, uint32_t a, uint32_t b) {
  const uint32_t before = sum;
  sum = before ^ a ^ b;
  return (before & a) | (before & b) | (a & b);
}

// Bit-sliced counts of a class's outputs, each warp a part of them: digits[part][kDigits][V].
template <int V>
__device__ void count(const Network& net, int parts, const Words<V>* s, uint32_t* digits) {
  constexpr int kOwn = 8;  // digits of a lane's own count
  const int lane = threadIdx.x % kWarp;
  for (int job = threadIdx.x / kWarp; job < net.classes * parts; job += kWarps) {
    const int c = job / parts, part = job % parts, end = net.start[c + 1];
    uint32_t sum[kDigits][V] = {};
    int seen = 0;
    for (int i = net.start[c] + part * kWarp; i < end; i += 4 * parts * kWarp, seen += 4) {
      Words<V> votes[4];
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        const int at = i + k * parts * kWarp + lane;
        const int vote = at < end ? __ldg(net.votes + at) : 0;
        const Words<V> bits = s[vote < 0 ? ~vote : vote];
#pragma unroll
        for (int v = 0; v < V; ++v) votes[k].w[v] = at < end ? (vote < 0 ? ~bits.w[v] : bits.w[v]) : 0;
      }
#pragma unroll
      for (int v = 0; v < V; ++v) {
        const uint32_t two = carry_of(sum[0][v], votes[0].w[v], votes[1].w[v]);
        uint32_t carry = carry_of(sum[1][v], two, carry_of(sum[0][v], votes[2].w[v], votes[3].w[v]));
#pragma unroll
        for (int p = 2; p < kOwn; ++p) {
          if (seen + 4 >> p == 0) break;
          const uint32_t both = sum[p][v] & carry;
          sum[p][v] ^= carry, carry = both;
        }
      }
    }
    // Lanes exchange halves of their words, then add what they have of the same word.
    int words = V;
#pragma unroll
    for (int step = 0, apart = 16; step < 5; ++step, apart /= 2) {
      uint32_t carry[V] = {};
#pragma unroll
      for (int p = 0; p < kDigits; ++p) {
        if (p > kOwn + step) break;
#pragma unroll
        for (int v = 0; v < V; ++v) {
          if (words > 1 ? v >= words / 2 : v > 0) continue;
          uint32_t own = sum[p][v], other = own;
          if (words > 1) {
            const bool upper = lane & apart;
            other = upper ? own : sum[p][v + words / 2];
            own = upper ? sum[p][v + words / 2] : own;
          }
          const uint32_t received = __shfl_xor_sync(kAll, other, apart);
          sum[p][v] = own;
          carry[v] = carry_of(sum[p][v], received, carry[v]);
        }
      }
      words = words > 1 ? words / 2 : 1;
    }
    // The word that a lane is left with: bit 4 of the lane is the highest bit of its number.
    constexpr int kShare = kWarp / V;
    if (lane % kShare == 0)
      for (int p = 0; p < kDigits; ++p) digits[(job * kDigits + p) * V + lane / kShare] = sum[p][0];
  }
}

// Each thread the counts and the class of one sample of the tile.
template <int V>
__device__ void decide(const Network& net, int parts, int64_t first, int64_t rows, const uint32_t* digits,
                       int64_t* classes, int64_t* counts) {
  const int v = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int64_t row = first + threadIdx.x;
  if (v >= V || row >= rows) return;
  int best = 0, most = -1;
  for (int c = 0; c < net.classes; ++c) {
    int total = net.bias[c];
    for (int part = 0; part < parts; ++part)
#pragma unroll
      for (int p = 0; p < kDigits; ++p)
        total += (digits[((c * parts + part) * kDigits + p) * V + v] >> lane & 1) << p;
    if (counts) counts[row * net.classes + c] = total;
    if (total > most) best = c, most = total;
  }
  if (classes) classes[row] = best;
}

template <int V, class T>
__global__ __launch_bounds__(kThreads, 1) void infer(Network net, const T* x, int64_t rows, int parts, int64_t* classes,
                                                     int64_t* counts) {
  extern __shared__ uint4 memory[];
  auto* s = reinterpret_cast<Words<V>*>(memory);
  auto* digits = reinterpret_cast<uint32_t*>(s + net.num_places);
  for (int64_t first = int64_t(blockIdx.x) * V * kWarp; first < rows; first += int64_t(gridDim.x) * V * kWarp) {
    encode<V>(x, first, rows, net, s);
    __syncthreads();
    evaluate<V>(net, s);
    count<V>(net, parts, s, digits);
    __syncthreads();
    decide<V>(net, parts, first, rows, digits, classes, counts);
  }
}

template <int V, class T>
int start(const Network& net, const T* x, int64_t rows, int64_t* classes, int64_t* counts, cudaStream_t stream) {
  const int parts = net.classes < kWarps ? int(kWarps / net.classes) : 1;
  const size_t bytes = (net.num_places + net.classes * parts * kDigits + 3) / 4 * 4 * V * sizeof(uint32_t);
  const auto kernel = infer<V, T>;
  if (const cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(bytes)))
    return error;
  int device, processors;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
  const int64_t tiles = (rows + V * kWarp - 1) / (V * kWarp);
  kernel<<<tiles < processors ? tiles : processors, kThreads, bytes, stream>>>(net, x, rows, parts, classes, counts);
  return cudaGetLastError();
}

template <int V>
int start(const Network& net, const void* x, bool pixels, int64_t rows, int64_t* classes, int64_t* counts,
          cudaStream_t stream) {
  if (pixels) return start<V>(net, static_cast<const uint8_t*>(x), rows, classes, counts, stream);
  return start<V>(net, static_cast<const float*>(x), rows, classes, counts, stream);
}

extern "C" {

// x[rows][features]: floats or, where `pixels`, bytes. Either result may be null: classes[rows], counts[rows][classes].
int difflut_cuda_engine(const Network* net, const void* x, int64_t pixels, int64_t rows, int64_t words,
                        int64_t* classes, int64_t* counts, void* stream) {
  const auto on = static_cast<cudaStream_t>(stream);
  if (words == 4) return start<4>(*net, x, pixels, rows, classes, counts, on);
  if (words == 2) return start<2>(*net, x, pixels, rows, classes, counts, on);
  return start<1>(*net, x, pixels, rows, classes, counts, on);
}

}  // extern "C"

}  // namespace difflut::engine
