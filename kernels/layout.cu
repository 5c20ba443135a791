// Packing activations of any strides into bits.
#include "bank.cuh"

namespace difflut::layout {

constexpr int kRows = 8;  // warps of a block: 256 threads, each for four values of a tile

// A block packs 32 features of 32 samples; the loads run along the axis that is contiguous.
__global__ void pack(const float* __restrict__ x, int64_t batch_stride, int64_t feature_stride, int64_t batch,
                     int64_t features, uint32_t* __restrict__ bits, int64_t words) {
  follow();
  __shared__ bool tile[kWarp][kWarp + 1];  // [feature][sample]; a column more, for fewer conflicts of banks
  const int64_t word = blockIdx.x % words, first = blockIdx.x / words * kWarp;
  const bool by_sample = batch_stride == 1;
  const int lane = threadIdx.x;
  for (int i = threadIdx.y; i < kWarp; i += kRows) {
    const int f = by_sample ? i : lane, s = by_sample ? lane : i;
    const int64_t feature = first + f, sample = word * kWarp + s;
    tile[f][s] =
        feature < features && sample < batch && x[sample * batch_stride + feature * feature_stride] >= 0.5f;
  }
  __syncthreads();
  for (int f = threadIdx.y; f < kWarp; f += kRows) {
    const uint32_t packed = __ballot_sync(kAllLanes, tile[f][lane]);
    if (lane == 0 && first + f < features) bits[(first + f) * words + word] = packed;
  }
}

extern "C" {

// bits[features][words]: bit i of word w tells whether sample 32 w + i is at least one half; bits past the batch are 0.
int difflut_cuda_pack(const float* x, int64_t batch_stride, int64_t feature_stride, int64_t batch, int64_t features,
                      uint32_t* bits, cudaStream_t stream) {
  const int64_t words = ceil_div(batch, kSamples) * kQuad;
  const auto blocks = unsigned(ceil_div(features, kWarp) * words);
  return enqueue(pack, blocks, dim3(kWarp, kRows), 0, stream, x, batch_stride, feature_stride, batch, features, bits,
                 words);
}

}  // extern "C"

}  // namespace difflut::layout
