// The number of a node's inputs as a compile-time constant.
#pragma once

#include <cstdint>
#include <type_traits>

namespace difflut {

// Calls f with n, from 1 to `Most`, as a std::integral_constant.
template <int Most = 8, class F>
void with_inputs(int64_t n, F f) {
  if (n == Most) return f(std::integral_constant<int, Most>());
  if constexpr (Most > 1) with_inputs<Most - 1>(n, f);
}

}  // namespace difflut
