// A hard network as the inference engine takes it: comparisons, look-up tables of up to six inputs, outputs by class.
//
// Signals are numbered: first those of the encoder, 64 for each of its groups where it is run here, then the nodes. A
// signal has a bit for each sample of a block.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#if !defined(DIFFLUT_PORTABLE) && defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VBMI__) && \
    defined(__GFNI__)
#include <immintrin.h>
#define DIFFLUT_ENGINE_AVX512
#endif

namespace difflut::engine {

constexpr int kPins = 6;

// What Python hands over. Its arrays are copied.
struct Plan {
  int64_t features;    // of an input
  int64_t comparisons; // of features with thresholds
  int64_t groups;      // of 64 comparisons that read at most 64 neighbouring features
  int64_t origin;      // the first node's signal
  int64_t nodes;
  int64_t classes;
  int64_t words;       // 64-bit words in a block: 1, 4 or 8; 0 is what is fastest
  int64_t assemble;    // whether machine code is wanted
  const int32_t* feature;          // [comparisons] ascending
  const float* limit;              // [comparisons] each holds where its feature exceeds this
  const int32_t* place;            // [comparisons] its signal: 64 times its group plus its lane there
  const int64_t* group_start;      // [groups] the first feature that a group reads
  const uint8_t* lane_feature;     // [groups][64] the feature of each comparison, counted from there
  const uint8_t* lane_pixel;       // [groups][64] it holds where the pixel is at least this …
  const uint64_t* lane_possible;   // [groups] … and this bit is set
  const int32_t* part;             // [origin] of the encoder's signals: the part of the input that each depends on
  const int32_t* wiring;           // [nodes][6] the signals read, least significant first; -1 is none
  const uint64_t* tables;          // [nodes] entries, repeated up to 64
  const int64_t* output_start;     // [classes + 1]
  const int32_t* outputs;          // signals that count for a class, classes one after another
  const int64_t* bias;             // [classes] at least 0
};

struct Node {
  uint64_t table;
  std::array<int32_t, kPins> pins;
  int arity;
  int32_t origin = -1;  // the signal that it was in the plan
};

// The nodes in an order in which they can be computed. `origin` is the first node's signal.
struct Netlist {
  int32_t origin;
  std::vector<Node> nodes;
  std::vector<int32_t> outputs;
  int32_t signals() const { return origin + int32_t(nodes.size()); }
};

// Entries where address bit `pin` is set, and the table with that bit fixed.
inline constexpr uint64_t kAddressBit[kPins] = {0xaaaaaaaaaaaaaaaa, 0xcccccccccccccccc, 0xf0f0f0f0f0f0f0f0,
                                                0xff00ff00ff00ff00, 0xffff0000ffff0000, 0xffffffff00000000};

inline uint64_t low_half(uint64_t table, int pin) {
  const uint64_t low = table & ~kAddressBit[pin];
  return low | low << (1 << pin);
}

inline uint64_t high_half(uint64_t table, int pin) {
  const uint64_t high = table & kAddressBit[pin];
  return high | high >> (1 << pin);
}

inline bool depends(uint64_t table, int pin) { return low_half(table, pin) != high_half(table, pin); }

inline uint64_t select(int pin, uint64_t high, uint64_t low) {
  return (high & kAddressBit[pin]) | (low & ~kAddressBit[pin]);
}

}  // namespace difflut::engine
