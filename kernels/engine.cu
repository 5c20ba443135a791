// The inference engine on a GPU: a block of threads takes a tile of samples from numbers to classes, all bits of its
// signals in shared memory. A place there holds V words, of 32 samples each. `engine_chunks.h` says how nodes are
// arranged.
#include "engine_count.cuh"
#include "engine_encode.cuh"
#include "engine_evaluate.cuh"

namespace difflut::engine {

constexpr int kMostThreads = 768;  // of a multiprocessor: a node of six pins needs 80 of its 65536 registers

// Words that the descriptions of chunks take. They come first in shared memory, padded to 16 bytes, the size of the
// largest place, so that the places behind them are aligned.
__host__ __device__ inline int64_t chunk_words(const Network& net) { return (net.num_chunks + 2) / 2 * 2; }

// Bytes of shared memory of a block.
size_t room(const Network& net, int64_t words) {
  const int64_t digits = net.classes * net.parts * kDigits;
  return chunk_words(net) * sizeof(uint64_t) + (net.num_places + digits) * words * sizeof(uint32_t);
}

template <int V, class T>
__global__ __launch_bounds__(kMostThreads, 1) void infer(Network net, const T* x, int64_t rows, int64_t* classes,
                                                         int64_t* counts) {
  extern __shared__ uint4 memory[];
  auto* chunks = reinterpret_cast<uint64_t*>(memory);
  auto* s = reinterpret_cast<Words<V>*>(chunks + chunk_words(net));
  auto* digits = reinterpret_cast<uint32_t*>(s + net.num_places);
  for (int c = threadIdx.x; c <= net.num_chunks; c += blockDim.x) chunks[c] = net.chunks[c];
  __syncthreads();
  const int64_t step = int64_t(gridDim.x) * V * kWarp;
  for (int64_t first = int64_t(blockIdx.x) * V * kWarp; first < rows; first += step) {
    encode<V>(x, first, rows, net, s);
    prefetch<V>(x, first + step, rows, net.features);
    evaluate<V>(net, chunks, s);
    count<V>(net, s, digits);
    __syncthreads();
    decide<V>(net, first, rows, digits, classes, counts);
  }
}

template <int V, class T>
int start(const Network& net, const T* x, int64_t rows, int threads, int64_t* classes, int64_t* counts,
          cudaStream_t stream) {
  const auto kernel = infer<V, T>;
  const size_t bytes = room(net, V);
  int device, processors, resident;
  if (const auto error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(bytes)))
    return error;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
  if (const auto error = cudaOccupancyMaxActiveBlocksPerMultiprocessor(&resident, kernel, threads, bytes)) return error;
  const int64_t tiles = (rows + V * kWarp - 1) / (V * kWarp), most = int64_t(processors) * resident;
  kernel<<<tiles < most ? tiles : most, threads, bytes, stream>>>(net, x, rows, classes, counts);
  return cudaGetLastError();
}

template <int V>
int start(const Network& net, const void* x, bool pixels, int64_t rows, int threads, int64_t* classes, int64_t* counts,
          cudaStream_t stream) {
  if (pixels) return start<V>(net, static_cast<const uint8_t*>(x), rows, threads, classes, counts, stream);
  return start<V>(net, static_cast<const float*>(x), rows, threads, classes, counts, stream);
}

extern "C" {

// Bytes of shared memory that a block of threads needs; of the network only sizes are read.
int64_t difflut_cuda_engine_room(const Network* net, int64_t words) { return int64_t(room(*net, words)); }

// x[rows][features]: floats or, where `pixels`, bytes. Either result may be null: classes[rows], counts[rows][classes].
int difflut_cuda_engine(const Network* net, const void* x, int64_t pixels, int64_t rows, int64_t words, int64_t threads,
                        int64_t* classes, int64_t* counts, void* stream) {
  const auto on = static_cast<cudaStream_t>(stream);
  if (words == 4) return start<4>(*net, x, pixels, rows, int(threads), classes, counts, on);
  if (words == 2) return start<2>(*net, x, pixels, rows, int(threads), classes, counts, on);
  return start<1>(*net, x, pixels, rows, int(threads), classes, counts, on);
}

}  // extern "C"

}  // namespace difflut::engine
