// A tree of two-input nodes: what its nodes give, and what they pass back.
//
// A tree of D levels above its F = 2**D leaves has the values v[0], ..., v[4 F - 2]: first its 2 F inputs, then those
// of its nodes, leaves first. Node t reads v[2 t] and v[2 t + 1] and gives v[2 F + t].
#pragma once

#include "bank.cuh"

namespace difflut {

template <int D>
struct GateTree {
  static constexpr int kLeaves = 1 << D, kInputs = 2 * kLeaves, kNodes = 2 * kLeaves - 1, kValues = kInputs + kNodes;
  static constexpr int kMoments = 4 * (kNodes + 1);  // a power of two

  float4 table[kNodes];  // as x + y a + z b + w a b of a node's inputs

  // From the entries of a node's table.
  __device__ void set(int node, const float4& e) {
    table[node] = {e.x, e.y - e.x, e.z - e.x, (e.w - e.z) - (e.y - e.x)};
  }

  // The values of the nodes from those of the inputs.
  __device__ void evaluate(float (&v)[kValues]) const {
#pragma unroll
    for (int t = 0; t < kNodes; ++t) {
      const float4 e = table[t];
      v[kInputs + t] = fmaf(v[2 * t + 1], fmaf(e.w, v[2 * t], e.z), fmaf(e.y, v[2 * t], e.x));
    }
  }

  // The gradients g of all values from that of the last; adds to what the tables get.
  __device__ void pass_back(const float (&v)[kValues], float (&g)[kValues], float (&moments)[kMoments]) const {
#pragma unroll
    for (int t = kNodes - 1; t >= 0; --t) {
      const float mine = g[kInputs + t], a = v[2 * t], b = v[2 * t + 1];
      moments[4 * t] += mine;
      moments[4 * t + 1] = fmaf(mine, a, moments[4 * t + 1]);
      moments[4 * t + 2] = fmaf(mine, b, moments[4 * t + 2]);
      moments[4 * t + 3] = fmaf(mine * a, b, moments[4 * t + 3]);
      const float4 e = table[t];
      g[2 * t] = mine * fmaf(e.w, b, e.y);
      g[2 * t + 1] = mine * fmaf(e.w, a, e.z);
    }
  }

  // From the moments to what the entries of the tables get.
  __device__ static void as_entries(float (&moments)[kMoments]) {
#pragma unroll
    for (int t = 0; t < kNodes; ++t) {
      float* m = moments + 4 * t;
      m[0] += m[3] - m[1] - m[2], m[1] -= m[3], m[2] -= m[3];
    }
  }
};

}  // namespace difflut
