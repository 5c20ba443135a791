// The addresses that nodes took, as the forward pass keeps them for the gradients: byte u of code[node][quad][lane] is
// that of sample 32 u + lane.
#pragma once

#include "placements.cuh"

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

// What a lane reads for the addresses of a node: of input lane % 8, where there is one, word lane / 8.
template <int N, class Site>
struct Words {
  typename Site::Pin pin;
  bool used;
  const uint32_t* from;  // bits[features][quads][4]

  // From a node's entries of the wiring.
  __device__ Words(const Site& site, const int32_t* wiring, const void* bits)
      : used(lane_index() % 8 < N), from(static_cast<const uint32_t*>(bits) + lane_index() / 8) {
    pin = site.pin(__ldg(wiring + (used ? lane_index() % 8 : 0)));
  }

  // Zeros are outside of an image.
  __device__ uint32_t word(const Site& site, const typename Site::Window& window, int64_t quads, int64_t quad) const {
    const int row = used ? site.row(pin, window) : -1;
    return row < 0 ? 0 : __ldg(from + (row * quads + quad) * kQuad);
  }
};

// The addresses from the words of all lanes: a matrix of 32 by 32 bits is transposed.
__device__ inline uint32_t addresses(uint32_t word) {
  uint32_t low = 0xffff;  // of each 2 * distance bits
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2, low ^= low << distance) {
    const uint32_t other = __shfl_xor_sync(kAllLanes, word, distance);
    word = lane_index() & distance ? (word & ~low) | (other >> distance & low)
                                   : (word & low) | (other << distance & ~low);
  }
  return word;
}

}  // namespace difflut::lookup
