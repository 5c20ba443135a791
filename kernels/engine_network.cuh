// A network in the memory of a GPU, and the words that its threads work on.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace difflut::engine {

constexpr int kWarp = 32;
constexpr unsigned kAll = 0xffffffff;

struct Network {
  const uint64_t* chunks;  // [num_chunks + 1], the last empty: `engine_chunks.h`
  const uint64_t* code;
  const int32_t* votes;    // places that are counted, ~place where zeros are
  const int32_t* start;    // [classes + 1] of votes
  const int32_t* bias;     // [classes]
  const int32_t* quads;    // of features that are compared, when they are bytes
  const void* limits;      // bytes: [levels][num_quads] four places, four halves; floats: [levels][features]
  const uint16_t* places;  // floats only: [levels][features]
  int64_t features, num_quads, levels, num_chunks, num_places, classes;
  int64_t parts;  // of a class's votes, each counted by a warp
};

// A tile's bits of one signal: V words of 32 samples.
template <int V>
struct alignas(4 * V) Words {
  uint32_t w[V];
};

// All ones where bit `k` is set, else 0: the sign of a byte, repeated.
__device__ __forceinline__ uint32_t mask(uint32_t bits, int k) {
  uint32_t y;
  asm("prmt.b32 %0, %1, 0, %2;" : "=r"(y) : "r"(bits << (7 - k % 8)), "r"(0x8888 + 0x1111 * (k / 8)));
  return y;
}

}  // namespace difflut::engine
