// The addresses that nodes took, as the forward pass keeps them for the gradients: byte u of code[node][quad][lane] is
// that of sample 32 u + lane.
#pragma once

#include "bank.cuh"

namespace difflut::lookup {

__device__ inline int address(uint32_t code, int word) { return code >> (8 * word) & 255; }

// Of each of the four addresses, the bits that are less significant than that of input j.
__device__ inline uint32_t bits_below(int j) { return ((1u << j) - 1) * 0x01010101u; }

// The four addresses with the bit of one input taken out.
__device__ inline uint32_t without_input(uint32_t code, uint32_t below) {
  return (code >> 1 & ~below) | (code & below);
}

// The addresses that a node's inputs form, from a quad of words of each.
template <int N>
__device__ uint32_t addresses(const uint4 (&words)[N]) {
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

}  // namespace difflut::lookup
