// The cosine and sine series of a bank and its gradients, from the waves u = exp(i pi x) of the inputs. The series is
// the real part of sum_s (cosines[s] - i sines[s]) prod_{j in s} u_j. No sum depends on the order in which threads run.
#include "placements.cuh"

namespace difflut::fourier {

constexpr float kPi = 3.14159265358979f;

// A complex number for each of the four samples of a lane.
struct Wave {
  float re[kQuad], im[kQuad];
};

// waves[2][features][batch]: real and imaginary parts.
struct Waves {
  const float *re, *im;
  int64_t batch;

  __host__ __device__ Waves(const float* waves, const Bank& bank)
      : re(waves), im(waves + bank.features * bank.batch), batch(bank.batch) {}

  // Where x is 0, as outside of an image (feature -1), the wave is 1.
  __device__ void load(int64_t feature, int64_t quad, int left, Wave& out) const {
#pragma unroll
    for (int u = 0; u < kQuad; ++u) {
      const bool inside = u * kWarp + lane_index() < left;
      const int64_t at = feature * batch + sample_of(quad, u);
      out.re[u] = feature < 0 ? 1.0f : inside ? __ldg(re + at) : 0.0f;
      out.im[u] = feature >= 0 && inside ? __ldg(im + at) : 0.0f;
    }
  }
};

__global__ void make_waves(const float* __restrict__ x, int64_t count, float* __restrict__ waves) {
  follow();
  const int64_t index = int64_t(blockIdx.x) * kBlock + threadIdx.x;
  if (index < count) sincospif(x[index], waves + count + index, waves + index);
}

// The sum over the sets of K inputs by halving steps, from coefficient First on.
template <int K, int First = 0>
__device__ void series(const float* cosines, const float* sines, const Wave* waves, Wave& out) {
  if constexpr (K == 0) {
#pragma unroll
    for (int u = 0; u < kQuad; ++u) out.re[u] = cosines[First], out.im[u] = -sines[First];
  } else if constexpr (K == 1) {
    const float2 c = *reinterpret_cast<const float2*>(cosines + First);
    const float2 s = *reinterpret_cast<const float2*>(sines + First);
#pragma unroll
    for (int u = 0; u < kQuad; ++u) {
      out.re[u] = fmaf(waves[0].im[u], s.y, fmaf(waves[0].re[u], c.y, c.x));
      out.im[u] = fmaf(waves[0].im[u], c.y, fmaf(-waves[0].re[u], s.y, -s.x));
    }
  } else {
    Wave with;
    series<K - 1, First>(cosines, sines, waves, out);
    series<K - 1, First + (1 << (K - 1))>(cosines, sines, waves, with);
#pragma unroll
    for (int u = 0; u < kQuad; ++u) {
      const float re = waves[K - 1].re[u], im = waves[K - 1].im[u];
      out.re[u] = fmaf(re, with.re[u], fmaf(-im, with.im[u], out.re[u]));
      out.im[u] = fmaf(re, with.im[u], fmaf(im, with.re[u], out.im[u]));
    }
  }
}

template <int N, class Site>
__global__ void __launch_bounds__(kBlock)
    forward(Bank bank, Site site, Waves waves, const float* __restrict__ cosines, const float* __restrict__ sines,
            float* __restrict__ y) {
  follow();
  const int node = row_of_warp();
  if (node >= bank.nodes) return;
  const int64_t quads = bank.quads(), items = site.count() * quads;
  for (int64_t i = blockIdx.y; i < items; i += gridDim.y) {
    const Item item = item_of(site, i, quads);
    const auto window = site.window(item.placement);
    const int left = samples_left(bank.batch, item.quad);
    Wave inputs[N], sum;
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const auto pin = site.pin(__ldg(bank.wiring + int64_t(node) * N + j));
      waves.load(site.row(pin, window), item.quad, left, inputs[j]);
    }
    for (int64_t row = node * bank.m; row < (node + 1) * bank.m; ++row) {
      float* out = y + (row * site.count() + item.placement) * bank.batch;
      series<N>(cosines + (row << N), sines + (row << N), inputs, sum);
#pragma unroll
      for (int u = 0; u < kQuad; ++u)
        if (u * kWarp + lane_index() < left) out[sample_of(item.quad, u)] = sum.re[u];
    }
  }
}

// Gathered from the pins that read an input: the slope of a series is -pi times the imaginary part of its terms with
// that input.
template <int N, class Site>
__global__ void __launch_bounds__(kBlock)
    input_gradient(Bank bank, Site site, Waves waves, const float* __restrict__ cosines,
                   const float* __restrict__ sines, Readers readers, const float* __restrict__ grad,
                   float* __restrict__ x_grad) {
  follow();
  constexpr int kTerms = 1 << (N - 1);
  __shared__ alignas(8) float with[kWarps][2][kTerms < 2 ? 2 : kTerms];
  const int feature = row_of_warp();
  if (feature >= bank.features) return;
  const auto pixel = site.pixel(feature);
  float *mine = with[threadIdx.x / kWarp][0], *my_sines = with[threadIdx.x / kWarp][1];
  const int channel = site.channel(pixel);
  const int begin = __ldg(readers.start + channel), end = __ldg(readers.start + channel + 1);
  for (int64_t quad = blockIdx.y; quad < bank.quads(); quad += gridDim.y) {
    const int left = samples_left(bank.batch, quad);
    Wave own;
    waves.load(feature, quad, left, own);
    float sums[kQuad] = {};
    for (int r = begin; r < end; ++r) {
      const int pin = __ldg(readers.pins + r), node = unsigned(pin) / N, j = pin - node * N;
      const int placement = site.placement(pixel, __ldg(bank.wiring + pin));
      if (placement < 0) continue;
      const auto window = site.window(placement);
      Wave others[N], sum;
#pragma unroll
      for (int i = 0; i < N - 1; ++i) {
        const auto other = site.pin(__ldg(bank.wiring + int64_t(node) * N + i + (i >= j)));
        waves.load(site.row(other, window), quad, left, others[i]);
      }
      for (int64_t row = node * bank.m; row < (node + 1) * bank.m; ++row) {
        const float* upstream = grad + (row * site.count() + placement) * bank.batch;
        __syncwarp();
        for (int e = lane_index(); e < kTerms; e += kWarp) {
          const int64_t term = (row << N) + (without_bit(e, j) | 1 << j);
          mine[e] = __ldg(cosines + term), my_sines[e] = __ldg(sines + term);
        }
        __syncwarp();
        series<N - 1>(mine, my_sines, others, sum);
#pragma unroll
        for (int u = 0; u < kQuad; ++u) {
          const float g = u * kWarp + lane_index() < left ? __ldg(upstream + sample_of(quad, u)) : 0.0f;
          sums[u] = fmaf(-kPi * g, fmaf(own.re[u], sum.im[u], own.im[u] * sum.re[u]), sums[u]);
        }
      }
    }
#pragma unroll
    for (int u = 0; u < kQuad; ++u)
      if (u * kWarp + lane_index() < left) x_grad[feature * bank.batch + sample_of(quad, u)] = sums[u];
  }
}

// The upstream gradient times the wave of every set. A block has one row and, of inputs above the fifth, one set
// (blockIdx.y), at every gridDim.z-th placement: cosines_grad and sines_grad [part][row][2**N].
template <int N, class Site>
__global__ void __launch_bounds__(kBlock)
    coefficient_gradient(Bank bank, Site site, Waves waves, const float* __restrict__ grad,
                         float* __restrict__ cosines_grad, float* __restrict__ sines_grad) {
  follow();
  constexpr int kInputs = N < 5 ? N : 5, kTerms = 1 << kInputs;
  const int64_t row = blockIdx.x, node = int(row) / int(bank.m);
  float sums[2 * kTerms] = {};  // cosines, then sines
  for (int placement = blockIdx.z; placement < site.count(); placement += gridDim.z) {
    const auto window = site.window(placement);
    const float* upstream = grad + (row * site.count() + placement) * bank.batch;
    int64_t features[N];
#pragma unroll
    for (int j = 0; j < N; ++j)
      features[j] = site.row(site.pin(__ldg(bank.wiring + node * N + j)), window) * bank.batch;
    for (int64_t sample = threadIdx.x; sample < bank.batch; sample += blockDim.x) {
      float re[kTerms] = {__ldg(upstream + sample)}, im[kTerms] = {};
#pragma unroll
      for (int j = N - 1; j >= 0; --j) {
        const bool inside = Site::kIsDense || features[j] >= 0;
        const float c = inside ? __ldg(waves.re + features[j] + sample) : 1.0f;
        const float s = inside ? __ldg(waves.im + features[j] + sample) : 0.0f;
        if (j >= kInputs) {
          if (blockIdx.y >> (j - kInputs) & 1) {
            const float turned = fmaf(re[0], c, -im[0] * s);
            im[0] = fmaf(re[0], s, im[0] * c);
            re[0] = turned;
          }
        } else {
          // Sets of the inputs above j lie 2**(j + 1) apart.
#pragma unroll
          for (int t = 0; t < kTerms; t += 2 << j) {
            re[t | 1 << j] = fmaf(re[t], c, -im[t] * s);
            im[t | 1 << j] = fmaf(re[t], s, im[t] * c);
          }
        }
      }
#pragma unroll
      for (int t = 0; t < kTerms; ++t) sums[t] += re[t], sums[kTerms + t] += im[t];
    }
  }
  const int64_t part = blockIdx.z * bank.rows() << N;
  sum_block(sums, [&](int e, float total) {
    (e < kTerms ? cosines_grad : sines_grad)[part + (row << N) + (int64_t(blockIdx.y) << kInputs) + e % kTerms] = total;
  });
}

extern "C" {

// waves[2][count]: cosines and sines of pi x[count].
int difflut_cuda_fourier_waves(const float* x, float* waves, int64_t count, cudaStream_t stream) {
  if (count == 0) return 0;
  return enqueue(make_waves, unsigned(ceil_div(count, kBlock)), kBlock, 0, stream, x, count, waves);
}

// y[nodes * m * placements][batch] from waves[2][features][batch].
int difflut_cuda_fourier(const float* waves, const int32_t* wiring, const Image* image, const float* cosines,
                         const float* sines, float* y, int64_t batch, int64_t features, int64_t nodes, int64_t n,
                         int64_t m, cudaStream_t stream) {
  const Bank bank{wiring, batch, features, nodes, m};
  if (nodes * batch == 0) return 0;
  with_site(image, [&](auto site) {
    with_inputs(n, [&](auto inputs) {
      enqueue(forward<inputs, decltype(site)>, rows_by_batch(nodes, site.count() * bank.quads()), kBlock, 0, stream,
              bank, site, Waves(waves, bank), cosines, sines, y);
    });
  });
  return cudaGetLastError();
}

// x_grad[features][batch] from grad[nodes * m * placements][batch].
int difflut_cuda_fourier_input_gradient(const float* waves, const int32_t* wiring, const Image* image,
                                        const int32_t* start, const int32_t* pins, const float* cosines,
                                        const float* sines, const float* grad, float* x_grad, int64_t batch,
                                        int64_t features, int64_t nodes, int64_t n, int64_t m, cudaStream_t stream) {
  const Bank bank{wiring, batch, features, nodes, m};
  if (features * batch == 0) return 0;
  with_site(image, [&](auto site) {
    with_inputs(n, [&](auto inputs) {
      enqueue(input_gradient<inputs, decltype(site)>, rows_by_batch(features, bank.quads()), kBlock, 0, stream, bank,
              site, Waves(waves, bank), cosines, sines, Readers{start, pins}, grad, x_grad);
    });
  });
  return cudaGetLastError();
}

// cosines_grad and sines_grad [nodes * m][2**n] from grad[nodes * m * placements][batch]. Where `number` of parts is
// not 1 they are kept in parts[2][number][nodes * m][2**n].
int difflut_cuda_fourier_coefficient_gradient(const float* waves, const int32_t* wiring, const Image* image,
                                              const float* grad, float* cosines_grad, float* sines_grad, float* parts,
                                              int64_t number, int64_t batch, int64_t features, int64_t nodes,
                                              int64_t n, int64_t m, cudaStream_t stream) {
  const Bank bank{wiring, batch, features, nodes, m};
  const int64_t entries = bank.rows() << n;
  if (entries == 0) return 0;
  const dim3 blocks(unsigned(bank.rows()), n < 5 ? 1 : 1u << (n - 5), unsigned(number));
  float* sine_parts = parts + number * entries;
  with_site(image, [&](auto site) {
    with_inputs(n, [&](auto inputs) {
      enqueue(coefficient_gradient<inputs, decltype(site)>, blocks, threads_for(batch), 0, stream, bank, site,
              Waves(waves, bank), grad, number == 1 ? cosines_grad : parts, number == 1 ? sines_grad : sine_parts);
    });
  });
  if (number > 1) {
    const auto blocks = unsigned(ceil_div(entries, kBlock));
    enqueue(add_parts, blocks, kBlock, 0, stream, parts, entries, int(number), cosines_grad);
    enqueue(add_parts, blocks, kBlock, 0, stream, sine_parts, entries, int(number), sines_grad);
  }
  return cudaGetLastError();
}

}  // extern "C"

}  // namespace difflut::fourier
