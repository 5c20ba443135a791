// The nodes of a tile, chunk after chunk: `engine_chunks.h` says how they are arranged.
#pragma once

#include "engine_network.cuh"

namespace difflut::engine {

constexpr int kRow = 6;     // words of code that a thread takes at a time, as in engine_chunks.h
constexpr int kGather = 3;  // gates whose operands a thread reads together: half a row, to spare registers

// Nodes of as many pins each, in rows of `lanes` words: gates have a word each, a thread as many of them as there are
// rows; it has one of the other nodes, which have two or three words.
struct Chunk {
  int begin, lanes, pins, rows;
  bool last;
  __device__ explicit Chunk(uint64_t word)
      : begin(int(word)), lanes(int(word >> 32 & 0xffff)), pins(int(word >> 48 & 0xff)), rows(int(word >> 56 & 0x7f)),
        last(word >> 63) {}
};

struct Row {
  uint64_t w[kRow];
};

// Threads without a node load words that are not theirs, and ignore them; so the code ends in padding.
__device__ __forceinline__ Row load(const uint64_t* code, const Chunk& chunk) {
  Row row = {};
  const uint64_t* from = code + chunk.begin;
#pragma unroll
  for (int w = 0; w < kRow; ++w, from += chunk.lanes)
    if (w < chunk.rows) row.w[w] = __ldg(from);
  return row;
}

__device__ __forceinline__ uint32_t mux(uint32_t pin, uint32_t high, uint32_t low) {
  return (pin & high) | (~pin & low);
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

// An exclusive or (bit 14), or an and of operands, inverted or not (bits 7 and 15).
template <int V>
__device__ __forceinline__ Words<V> gate(uint32_t kind, const Words<V>& a, const Words<V>& b) {
  const uint32_t p = mask(kind, 23), q = mask(kind, 31), exclusive = mask(kind, 30);
  Words<V> y;
#pragma unroll
  for (int v = 0; v < V; ++v) {
    const uint32_t first = a.w[v] ^ p, second = b.w[v] ^ q;
    y.w[v] = (exclusive & (first ^ second)) | (~exclusive & first & second);
  }
  return y;
}

template <int V>
__device__ __forceinline__ void gates(const Row& row, int rows, Words<V>* s) {
#pragma unroll
  for (int begin = 0; begin < kRow; begin += kGather) {
    if (begin >= rows) break;
    Words<V> a[kGather], b[kGather];
#pragma unroll
    for (int k = 0; k < kGather; ++k) {
      a[k] = s[row.w[begin + k] & 0xffff];
      b[k] = s[row.w[begin + k] >> 16 & 0xffff];
    }
#pragma unroll
    for (int k = 0; k < kGather; ++k) {
      const Words<V> y = gate(uint32_t(row.w[begin + k] >> 32), a[k], b[k]);
      if (begin + k < rows) s[row.w[begin + k] >> 32 & 0xffff] = y;
    }
  }
}

template <int V, int Pins>
__device__ __forceinline__ void node(const Row& row, Words<V>* s) {
  Words<V> x[Pins];
#pragma unroll
  for (int p = 0; p < Pins; ++p) x[p] = s[row.w[p / 4] >> (16 * p % 64) & 0xffff];
  if constexpr (Pins == 6) s[row.w[1] >> 32 & 0xffff] = tree<V, 6, 0>(uint32_t(row.w[2]), uint32_t(row.w[2] >> 32), x);
  else s[row.w[1] >> 16 & 0xffff] = tree<V, Pins, 0>(uint32_t(row.w[1] >> 32), 0, x);
}

template <int V>
__device__ __forceinline__ void run(const Row& row, const Chunk& chunk, Words<V>* s) {
  if (threadIdx.x >= chunk.lanes) return;
  switch (chunk.pins) {
    case 2: return gates(row, chunk.rows, s);
    case 3: return node<V, 3>(row, s);
    case 4: return node<V, 4>(row, s);
    case 5: return node<V, 5>(row, s);
    default: node<V, 6>(row, s);
  }
}

// The code of a chunk is loaded while the one before it is computed.
template <int V>
__device__ void evaluate(const Network& net, const uint64_t* chunks, Words<V>* s) {
  const uint64_t* code = net.code + threadIdx.x;
  Chunk chunk(chunks[0]);
  Row next = load(code, chunk);
  __syncthreads();
  for (int c = 0; c < net.num_chunks; ++c) {
    const Row row = next;
    const Chunk now = chunk;
    chunk = Chunk(chunks[c + 1]);
    next = load(code, chunk);
    run(row, now, s);
    if (now.last) __syncthreads();
  }
}

}  // namespace difflut::engine
