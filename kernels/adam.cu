// Adam for several tensors at once, with decoupled weight decay.
#include "bank.cuh"

namespace difflut::adam {

constexpr int kMostTensors = 64;       // their addresses go with the launch, which may pass 4 KiB
constexpr int kChunk = 4 * kBlock;     // entries of a block: four neighbours (a float4) for each thread

struct Parameters {
  float *weight[kMostTensors], *mean[kMostTensors], *square[kMostTensors];
  const float* grad[kMostTensors];
  int64_t count[kMostTensors];
  int first_block[kMostTensors + 1];
};

struct Rule {
  float keep, one_minus_beta1, beta2, one_minus_beta2, step_size, scale, eps;

  __device__ void operator()(float& weight, float grad, float& mean, float& square) const {
    mean = fmaf(one_minus_beta1, grad - mean, mean);
    square = fmaf(one_minus_beta2 * grad, grad, beta2 * square);
    weight = fmaf(keep, weight, -step_size * mean / (sqrtf(square) * scale + eps));
  }
};

// Adam for several tensors. The rate, the number of steps done, and beta1**step and beta2**step of the next step are on
// the device, so that a graph can be replayed.
__global__ void __launch_bounds__(kBlock) adam(const __grid_constant__ Parameters parameters, const double* rate,
                                               float* steps, double* powers, unsigned* ticket, double beta1,
                                               double beta2, float eps, double weight_decay) {
  follow();
  const double step_rate = __ldcg(rate);
  const Rule rule{float(1 - step_rate * weight_decay), float(1 - beta1), float(beta2), float(1 - beta2),
                  float(step_rate / (1 - __ldcg(powers))), float(1 / sqrt(1 - __ldcg(powers + 1))), eps};
  int tensor = 0;
  while (int(blockIdx.x) >= parameters.first_block[tensor + 1] && tensor < kMostTensors - 1) ++tensor;
  const int64_t first = int64_t(blockIdx.x - parameters.first_block[tensor]) * kChunk, count = parameters.count[tensor];
  float *weight = parameters.weight[tensor] + first, *mean = parameters.mean[tensor] + first;
  float* square = parameters.square[tensor] + first;
  const float* grad = parameters.grad[tensor] + first;
  const bool aligned = ((uintptr_t(weight) | uintptr_t(mean) | uintptr_t(square) | uintptr_t(grad)) & 15) == 0;
  if (aligned && first + kChunk <= count) {
    const float4 g = __ldg(reinterpret_cast<const float4*>(grad) + threadIdx.x);
    float4* places[] = {reinterpret_cast<float4*>(weight) + threadIdx.x, reinterpret_cast<float4*>(mean) + threadIdx.x,
                        reinterpret_cast<float4*>(square) + threadIdx.x};
    float4 w = *places[0], m = *places[1], v = *places[2];
    rule(w.x, g.x, m.x, v.x), rule(w.y, g.y, m.y, v.y), rule(w.z, g.z, m.z, v.z), rule(w.w, g.w, m.w, v.w);
    *places[0] = w, *places[1] = m, *places[2] = v;
  } else {
    for (int i = threadIdx.x; i < kChunk && first + i < count; i += kBlock)
      rule(weight[i], grad[i], mean[i], square[i]);
  }
  if (is_last_block(ticket) && threadIdx.x == 0) {
    *steps += 1;
    powers[0] *= beta1;
    powers[1] *= beta2;
  }
}

extern "C" {

// tensors[count][5], on the host: the addresses of weight, grad, mean and square, and the number of entries.
int difflut_cuda_adam(const int64_t* tensors, int64_t count, const double* rate, float* steps, double* powers,
                      unsigned* ticket, double beta1, double beta2, double eps, double weight_decay,
                      cudaStream_t stream) {
  if (count > kMostTensors) return cudaErrorInvalidValue;
  Parameters parameters{};
  for (int i = 0; i < count; ++i) {
    const int64_t* row = tensors + 5 * i;
    parameters.weight[i] = reinterpret_cast<float*>(row[0]);
    parameters.grad[i] = reinterpret_cast<const float*>(row[1]);
    parameters.mean[i] = reinterpret_cast<float*>(row[2]);
    parameters.square[i] = reinterpret_cast<float*>(row[3]);
    parameters.count[i] = row[4];
    parameters.first_block[i + 1] = parameters.first_block[i] + int(ceil_div(row[4], kChunk));
  }
  const int blocks = parameters.first_block[count];  // without entries, too, the step is counted
  return enqueue(adam, blocks > 0 ? blocks : 1, kBlock, 0, stream, parameters, rate, steps, powers, ticket, beta1,
                 beta2, float(eps), weight_decay);
}

}  // extern "C"

}  // namespace difflut::adam
