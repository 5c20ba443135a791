// What the CUDA kernels share. A warp works on 128 samples of one row at a time: a quad, four words of 32 samples, in
// which bit i of word w is sample 32 w + i. Lane i has sample i of each word. Tensors are feature-major, and rows of
// bits are padded to whole quads.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "inputs.h"

namespace difflut {

constexpr int kWarp = 32;
constexpr int kQuad = 4;  // words: a lane reads them, or four floats, by one instruction of 16 bytes
constexpr int kSamples = kWarp * kQuad;
constexpr int kBlock = 256;  // threads: eight warps, of which several blocks fit a multiprocessor
constexpr int kWarps = kBlock / kWarp;
constexpr unsigned kAllLanes = 0xffffffff;

__host__ __device__ constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// A bank of `nodes` tables with m outputs, read by `batch` samples of `features` inputs.
struct Bank {
  const int32_t* wiring;  // [nodes][n]
  int64_t batch, features, nodes, m;

  __host__ __device__ int64_t quads() const { return ceil_div(batch, kSamples); }
  __host__ __device__ int64_t rows() const { return nodes * m; }
};

// The upstream gradient: row r of the bank's outputs has scale times row r / group of grad [rows / group][batch].
struct Given {
  const float* grad;
  int64_t batch;
  int group;
  float scale;

  __device__ const float* row(int row) const { return grad + int64_t(group == 1 ? row : row / group) * batch; }
};

// For every channel (where there is one placement, every feature) the pins that read it: pins[start[c]] to
// pins[start[c + 1] - 1]; pin node * n + j is input j.
struct Readers {
  const int32_t *start, *pins;
};

__device__ inline int lane_index() { return threadIdx.x % kWarp; }

__device__ inline int64_t sample_of(int64_t quad, int word) { return quad * kSamples + word * kWarp + lane_index(); }

// The number of samples from a quad's first one on, at most those of eight quads, so that an int holds it.
__device__ inline int samples_left(int64_t batch, int64_t quad) {
  const int64_t left = batch - quad * kSamples;
  return int(left < 8 * kSamples ? left : 8 * kSamples);
}

// The number e with a 0 inserted as its bit j.
__device__ inline int without_bit(int e, int j) {
  const int below = (1 << j) - 1;
  return (e & ~below) << 1 | (e & below);
}

// Every kernel begins with this. It may be launched before the kernel ahead of it has ended (see `enqueue`), and waits
// here until all results of that kernel are in memory. From here on the kernel behind it may be launched.
__device__ inline void follow() {
#if __CUDA_ARCH__ >= 900
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
#endif
}

// Launches a kernel that begins with follow(). Where the GPU can (from Hopper, 9.0, on), the launch overlaps the end of
// the kernel before it: launches are most of the time of a small step.
template <class... Parameters, class... Arguments>
int enqueue(void (*kernel)(Parameters...), dim3 blocks, dim3 threads, size_t shared, cudaStream_t stream,
            Arguments... arguments) {
  int device = 0, major = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  cudaLaunchAttribute overlap{};
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = blocks, config.blockDim = threads, config.dynamicSmemBytes = shared, config.stream = stream;
  config.attrs = &overlap, config.numAttrs = major >= 9;
  const int failed = cudaLaunchKernelEx(&config, kernel, Parameters(arguments)...);
  return failed ? failed : int(cudaGetLastError());
}

// A grid in which a warp has one row (row_of_warp) and every gridDim.y-th of `steps` stretches of the batch. A warp has
// several stretches, up to eight, only where there are enough warps to fill a GPU.
inline dim3 rows_by_batch(int64_t rows, int64_t steps) {
  constexpr int64_t kEnough = 32768;  // warps: about four times those that an H100 or H200 holds at once (132 x 64)
  const int64_t each = ceil_div(rows * steps, kEnough);
  const int64_t turns = ceil_div(steps, each < 8 ? each : 8);
  return dim3(unsigned(ceil_div(rows, kWarps)), unsigned(turns < 65535 ? turns : 65535));
}

__device__ inline int row_of_warp() { return (int(blockIdx.x) * blockDim.x + threadIdx.x) / kWarp; }

// True in all threads of the block that is the last of its grid to come here; `ticket` is 0 before and after.
__device__ inline bool is_last_block(unsigned* ticket) {
  __shared__ bool last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    last = atomicAdd(ticket, 1) == gridDim.x * gridDim.y - 1;
    if (last) *ticket = 0;
  }
  __syncthreads();
  return last;
}

// Sums v[0], ..., v[Count - 1] over the lanes. Each step halves the entries of a lane, as long as it has several. At
// the end v[i] of lane l is the sum of entry l * max(1, Count / 32) + i; where Count < 32, of entry l * Count / 32.
template <int Count, int Distance>
__device__ void sum_lanes(float* v) {
  if constexpr (Distance > 0) {
    if constexpr (Count > 1) {
      const bool upper = lane_index() & Distance;
#pragma unroll
      for (int i = 0; i < Count / 2; ++i) {
        const float sent = upper ? v[i] : v[i + Count / 2], kept = upper ? v[i + Count / 2] : v[i];
        v[i] = kept + __shfl_xor_sync(kAllLanes, sent, Distance);
      }
      sum_lanes<Count / 2, Distance / 2>(v);
    } else {
      v[0] += __shfl_xor_sync(kAllLanes, v[0], Distance);
      sum_lanes<1, Distance / 2>(v);
    }
  }
}

// Sums v[0], ..., v[Count - 1] over the threads of a block, in an order that does not depend on their timing, and calls
// f with the number of each entry and its total.
template <int Count, class F>
__device__ void sum_block(float (&v)[Count], F f) {
  __shared__ float totals[kWarps][Count];
  constexpr int kKept = Count > kWarp ? Count / kWarp : 1;
  sum_lanes<Count, kWarp / 2>(v);
#pragma unroll
  for (int i = 0; i < kKept; ++i)
    totals[threadIdx.x / kWarp][Count >= kWarp ? lane_index() * kKept + i : lane_index() * Count / kWarp] = v[i];
  __syncthreads();
  for (int e = threadIdx.x; e < Count; e += blockDim.x) {
    float total = 0;
    for (int w = 0; w < blockDim.x / kWarp; ++w) total += totals[w][e];
    f(e, total);
  }
}

// out[count]: the sums of parts[number][count].
static __global__ void add_parts(const float* __restrict__ parts, int64_t count, int number, float* __restrict__ out) {
  follow();
  const int64_t index = int64_t(blockIdx.x) * kBlock + threadIdx.x;
  if (index >= count) return;
  float total = 0;
  for (int p = 0; p < number; ++p) total += __ldg(parts + p * count + index);
  out[index] = total;
}

// Threads of a block that sums over the batch: whole warps, no more than the samples need.
inline int threads_for(int64_t batch) {
  return int(batch >= kBlock ? kBlock : batch > kWarp ? ceil_div(batch, kWarp) * kWarp : kWarp);
}

}  // namespace difflut
