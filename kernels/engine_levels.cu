// The inference engine on a GPU for networks whose signals do not fit into shared memory, as those of convolutions: all
// multiprocessors take tiles of samples through one level after another, and signals lie in global memory.
//
// A tile is 128 samples, which a thread computes at once: one comparison, or one node.
#include <algorithm>

#include "engine_count.cuh"
#include "engine_evaluate.cuh"

namespace difflut::engine {

constexpr int kWords = 4;  // words of a tile: a thread reads a signal by one instruction of 16 bytes
constexpr int kTile = kWords * kWarp;
constexpr int kThreads = 256;    // of a block that compares or looks up
constexpr int kCounting = 1024;  // of the one block that counts the votes of a tile: the most that a block may have

using Tile = Words<kWords>;

// `engine_levels.h` says how nodes are arranged.
struct Levels {
  const int32_t* feature;  // [comparisons]
  const float* limit;      // [comparisons]
  const int32_t* pins;     // of each group [pins][count]
  const uint64_t* tables;  // [nodes]
  const int64_t* groups;   // [num_groups][3] first node, nodes, pins of each: in the memory of the host
  Network head;            // what is counted, features and classes
  int64_t num_groups, comparisons, signals;
};

// s[comparisons] of a tile: whether x > limit; past the last row that row is repeated.
template <class T>
__global__ __launch_bounds__(kThreads) void compare(Levels net, const T* x, int64_t rows, int64_t first, Tile* s) {
  const int64_t c = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (c >= net.comparisons) return;
  const float limit = net.limit[c];
  const T* from = x + net.feature[c];
  first += int64_t(blockIdx.y) * kTile;
  Tile y;
#pragma unroll
  for (int v = 0; v < kWords; ++v) {
    uint32_t word = 0;
#pragma unroll 8  // so that eight reads are on their way at once
    for (int r = 0; r < kWarp; ++r) {
      const int64_t row = first + v * kWarp + r;
      word |= uint32_t(float(__ldg(from + (row < rows ? row : rows - 1) * net.head.features)) > limit) << r;
    }
    y.w[v] = word;
  }
  s[blockIdx.y * net.signals + c] = y;
}

// The nodes of a group, each for a tile.
template <int Pins>
__global__ __launch_bounds__(kThreads) void look_up(const int32_t* pins, const uint64_t* tables, int count,
                                                    int64_t output, int64_t signals, Tile* s) {
  const int i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= count) return;
  s += blockIdx.y * signals;
  Tile x[Pins];
#pragma unroll
  for (int p = 0; p < Pins; ++p) x[p] = s[__ldg(pins + int64_t(p) * count + i)];
  const uint64_t table = __ldg(tables + i);
  s[output + i] = tree<kWords, Pins, 0>(uint32_t(table), uint32_t(table >> 32), x);
}

__global__ __launch_bounds__(kCounting) void finish(Levels net, int64_t rows, int64_t first, const Tile* s,
                                                    int64_t* classes, int64_t* counts) {
  extern __shared__ uint32_t digits[];
  count<kWords>(net.head, s + blockIdx.x * net.signals, digits);
  __syncthreads();
  decide<kWords>(net.head, first + blockIdx.x * kTile, rows, digits, classes, counts);
}

// The function of nodes with as many pins.
inline auto by_pins(int64_t pins) {
  switch (pins) {
    case 2: return look_up<2>;
    case 3: return look_up<3>;
    case 4: return look_up<4>;
    case 5: return look_up<5>;
    default: return look_up<6>;
  }
}

template <class T>
int run(const Levels& net, const T* x, int64_t rows, int64_t most, Tile* s, int64_t* classes, int64_t* counts,
        cudaStream_t stream) {
  const size_t digits = net.head.classes * net.head.parts * kDigits * kWords * sizeof(uint32_t);
  if (const auto error = cudaFuncSetAttribute(finish, cudaFuncAttributeMaxDynamicSharedMemorySize, int(digits)))
    return error;
  for (int64_t first = 0; first < rows; first += most * kTile) {
    const auto tiles = unsigned(std::min(most, (rows - first + kTile - 1) / kTile));
    auto blocks = [&](int64_t threads) { return dim3(unsigned((threads + kThreads - 1) / kThreads), tiles); };
    if (net.comparisons) compare<<<blocks(net.comparisons), kThreads, 0, stream>>>(net, x, rows, first, s);
    const int32_t* pins = net.pins;
    for (const int64_t* group = net.groups; group < net.groups + 3 * net.num_groups; group += 3) {
      by_pins(group[2])<<<blocks(group[1]), kThreads, 0, stream>>>(pins, net.tables + group[0], int(group[1]),
                                                                   net.comparisons + group[0], net.signals, s);
      pins += group[1] * group[2];
    }
    finish<<<tiles, kCounting, digits, stream>>>(net, rows, first, s, classes, counts);
  }
  return cudaGetLastError();
}

extern "C" {

// x[rows][features]: floats or, where `pixels`, bytes. Either result may be null: classes[rows], counts[rows][classes].
// `memory` has room for the signals of `tiles` tiles: [tiles][signals] of four words.
int difflut_cuda_levels(const Levels* net, const void* x, int64_t pixels, int64_t rows, int64_t tiles, void* memory,
                        int64_t* classes, int64_t* counts, void* stream) {
  const auto on = static_cast<cudaStream_t>(stream);
  auto* s = static_cast<Tile*>(memory);
  if (pixels) return run(*net, static_cast<const uint8_t*>(x), rows, tiles, s, classes, counts, on);
  return run(*net, static_cast<const float*>(x), rows, tiles, s, classes, counts, on);
}

}  // extern "C"

}  // namespace difflut::engine
