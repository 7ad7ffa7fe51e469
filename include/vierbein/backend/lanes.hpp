// Registers of several numbers, as long as the compiler's target has them: the vector extensions of
// g++ and clang++, without instructions of a particular machine.
#pragma once

#include <cmath>
#include <cstring>

#include "vierbein/core/types.hpp"

namespace vierbein::backend::detail {

#if defined(__AVX512F__)
inline constexpr index_t register_bytes = 64;
inline constexpr int registers = 32;
#elif defined(__AVX__)
inline constexpr index_t register_bytes = 32;
inline constexpr int registers = 16;
#elif defined(__aarch64__)
inline constexpr index_t register_bytes = 16;
inline constexpr int registers = 32;
#else
inline constexpr index_t register_bytes = 16;
inline constexpr int registers = 16;
#endif

// clang would otherwise split registers in two on machines that it takes to prefer shorter ones.
#if defined(__clang__) && defined(__AVX512F__)
#define VIERBEIN_WHOLE_REGISTERS __attribute__((min_vector_width(512)))
#else
#define VIERBEIN_WHOLE_REGISTERS
#endif

/// As many numbers as a register holds, and the same anywhere in memory.
template <class T>
struct lane_vector {
  typedef T type __attribute__((vector_size(register_bytes)));  // `using` would drop attributes
  typedef T in_memory __attribute__((vector_size(register_bytes), aligned(alignof(T)), may_alias));
};
template <class T>
using lanes_of = typename lane_vector<T>::type;
template <class T>
inline constexpr index_t lanes = register_bytes / static_cast<index_t>(sizeof(T));

/// The numbers from p on, to be read or assigned as one register.
template <class T>
inline typename lane_vector<T>::in_memory& at(T* p) {
  return *reinterpret_cast<typename lane_vector<T>::in_memory*>(p);
}
template <class T>
inline const typename lane_vector<T>::in_memory& at(const T* p) {
  return *reinterpret_cast<const typename lane_vector<T>::in_memory*>(p);
}

/// x = √x, correctly rounded. std::sqrt in a loop stays scalar, because it must set errno; so the
/// compilers' own names for the instruction, where they have one.
template <class T>
inline void take_root(lanes_of<T>& x) {
  [[maybe_unused]] constexpr bool single = sizeof(T) == 4;
#if __has_builtin(__builtin_elementwise_sqrt)
  x = __builtin_elementwise_sqrt(x);
#elif defined(__AVX512F__) && __has_builtin(__builtin_ia32_sqrtps512_mask)
  if constexpr (single) {
    x = __builtin_ia32_sqrtps512_mask(x, x, -1, 4);
  } else {
    x = __builtin_ia32_sqrtpd512_mask(x, x, -1, 4);
  }
#elif defined(__AVX__) && !defined(__AVX512F__) && __has_builtin(__builtin_ia32_sqrtps256)
  if constexpr (single) {
    x = __builtin_ia32_sqrtps256(x);
  } else {
    x = __builtin_ia32_sqrtpd256(x);
  }
#elif defined(__SSE2__) && !defined(__AVX__) && __has_builtin(__builtin_ia32_sqrtps)
  if constexpr (single) {
    x = __builtin_ia32_sqrtps(x);
  } else {
    x = __builtin_ia32_sqrtpd(x);
  }
#else
  for (index_t i = 0; i < lanes<T>; ++i) {
    x[i] = std::sqrt(x[i]);
  }
#endif
}

}  // namespace vierbein::backend::detail
