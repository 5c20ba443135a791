// Counts of the outputs of each class, and the best class.
#pragma once

#include "engine_network.cuh"

namespace difflut::engine {

constexpr int kOwn = 6;    // binary digits of a lane's own count: at most 63 votes
constexpr int kAdded = 5;  // more digits for the sum over the 32 lanes of a warp
constexpr int kDigits = kOwn + kAdded;

__device__ inline uint32_t carry_of(uint32_t& sum, uint32_t a, uint32_t b) {
  const uint32_t before = sum;
  sum = before ^ a ^ b;
  return (before & a) | (before & b) | (a & b);
}

// The bits of four of a lane's outputs, inverted where zeros count, and 0 where no output is left.
template <int V>
__device__ __forceinline__ void take(const int32_t* votes, int at, int end, int step, const Words<V>* s,
                                     Words<V> (&bits)[4]) {
#pragma unroll
  for (int k = 0; k < 4; ++k, at += step) {
    const int vote = at < end ? __ldg(votes + at) : 0;
    const uint32_t zeros = vote >> 31, used = at < end ? kAll : 0;
    bits[k] = s[vote ^ zeros];
#pragma unroll
    for (int v = 0; v < V; ++v) bits[k].w[v] = (bits[k].w[v] ^ zeros) & used;
  }
}

// Adds a lane's share of outputs `at`, `at` + `step`, …, eight at a time.
template <int V>
__device__ __forceinline__ void add(const int32_t* votes, int at, int end, int step, const Words<V>* s,
                                    uint32_t (&sum)[kDigits][V]) {
  for (; at < end; at += 8 * step) {
    uint32_t fours[2][V];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      Words<V> bits[4];
      take<V>(votes, at + 4 * half * step, end, step, s, bits);
#pragma unroll
      for (int v = 0; v < V; ++v) {
        const uint32_t two = carry_of(sum[0][v], bits[0].w[v], bits[1].w[v]);
        fours[half][v] = carry_of(sum[1][v], two, carry_of(sum[0][v], bits[2].w[v], bits[3].w[v]));
      }
    }
#pragma unroll
    for (int v = 0; v < V; ++v) {
      uint32_t carry = carry_of(sum[2][v], fours[0][v], fours[1][v]);
#pragma unroll
      for (int p = 3; p < kOwn; ++p) {
        const uint32_t both = sum[p][v] & carry;
        sum[p][v] ^= carry, carry = both;
      }
    }
  }
}

// Bit-sliced counts, each warp a part of a class's outputs: digits[class][part][kDigits][V].
template <int V>
__device__ void count(const Network& net, const Words<V>* s, uint32_t* digits) {
  const int lane = threadIdx.x % kWarp, parts = int(net.parts);
  for (int job = threadIdx.x / kWarp; job < net.classes * parts; job += blockDim.x / kWarp) {
    const int c = job / parts, part = job % parts;
    uint32_t sum[kDigits][V] = {};
    add<V>(net.votes, net.start[c] + part * kWarp + lane, net.start[c + 1], parts * kWarp, s, sum);
    // Two lanes exchange halves of their words, so that each then adds both counts for its own half.
    int words = V;
#pragma unroll
    for (int step = 0, apart = 16; step < kAdded; ++step, apart /= 2) {
      uint32_t carry[V] = {};
#pragma unroll
      for (int p = 0; p <= kOwn + step && p < kDigits; ++p) {
#pragma unroll
        for (int v = 0; v < V; ++v) {
          if (words > 1 ? v >= words / 2 : v > 0) continue;
          uint32_t mine = sum[p][v], other = mine;
          if (words > 1) {
            const bool upper = lane & apart;
            other = upper ? mine : sum[p][v + words / 2];
            mine = upper ? sum[p][v + words / 2] : mine;
          }
          const uint32_t received = __shfl_xor_sync(kAll, other, apart);
          sum[p][v] = mine;
          carry[v] = carry_of(sum[p][v], received, carry[v]);
        }
      }
      words = words > 1 ? words / 2 : 1;
    }
    // Each lane has one word left. Its number is the highest bits of the lane's: lanes 16 apart exchanged first.
    constexpr int kShare = kWarp / V;
    if (lane % kShare == 0)
#pragma unroll
      for (int p = 0; p < kDigits; ++p)
        digits[(job * kDigits + p) * V + lane / kShare] = sum[p][0];
  }
}

// Counts and class of each sample: by the last warps, which have least to encode of the next tile meanwhile.
template <int V>
__device__ void decide(const Network& net, int64_t first, int64_t rows, const uint32_t* digits, int64_t* classes,
                       int64_t* counts) {
  const int v = (blockDim.x - 1 - threadIdx.x) / kWarp, lane = threadIdx.x % kWarp;
  const int number = int(net.classes), parts = int(net.parts);
  const int64_t row = first + v * kWarp + lane;
  if (v >= V || row >= rows) return;
  int best = 0, most = -1;
#pragma unroll 1
  for (int c = 0; c < number; ++c) {
    int total = __ldg(net.bias + c);
#pragma unroll 1
    for (int part = 0; part < parts; ++part, digits += kDigits * V)
#pragma unroll
      for (int p = 0; p < kDigits; ++p) total += (digits[p * V + v] >> lane & 1) << p;
    if (counts) counts[row * number + c] = total;
    if (total > most) best = c, most = total;
  }
  if (classes) classes[row] = best;
}

}  // namespace difflut::engine
