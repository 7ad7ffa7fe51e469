// Registers of several numbers, as long as the compiler's target has them: the vector extensions of
// g++ and clang++, without instructions of a particular machine.
#pragma once

#include <cmath>
#include <cstring>
#include <utility>

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

/// The squares of `Side` numbers exchanged across the diagonal: one stage of transposing a matrix
/// of as many registers as a register has numbers.
template <index_t Side, class T, int... I>
inline void exchange(lanes_of<T>& upper, lanes_of<T>& lower, std::integer_sequence<int, I...>) {
  constexpr int n = static_cast<int>(lanes<T>);
  constexpr int side = static_cast<int>(Side);
  const lanes_of<T> x = upper;
  const lanes_of<T> y = lower;
  upper = __builtin_shufflevector(x, y, (I / side % 2 == 0 ? I : n + I - side)...);
  lower = __builtin_shufflevector(x, y, (I / side % 2 == 0 ? I + side : n + I)...);
}
template <index_t Side, class T>
inline void transpose_stage(lanes_of<T>* rows) {
#pragma GCC unroll 16
  for (index_t i = 0; i < lanes<T>; ++i) {
    if ((i & Side) == 0) {
      exchange<Side, T>(rows[i], rows[i + Side],
                        std::make_integer_sequence<int, static_cast<int>(lanes<T>)>{});
    }
  }
  if constexpr (Side > 1) {
    transpose_stage<Side / 2, T>(rows);
  }
}

/// to = fromᵀ for a square of as many rows as a register has numbers; rows from `count` on are 0.
template <class T>
VIERBEIN_WHOLE_REGISTERS inline void transpose_square(const T* from, index_t from_stride,
                                                      index_t count, T* to, index_t to_stride) {
  lanes_of<T> rows[lanes<T>];
#pragma GCC unroll 16
  for (index_t i = 0; i < lanes<T>; ++i) {
    rows[i] = lanes_of<T>{};
    if (i < count) {
      rows[i] = at(from + i * from_stride);
    }
  }
  transpose_stage<lanes<T> / 2, T>(rows);
#pragma GCC unroll 16
  for (index_t i = 0; i < lanes<T>; ++i) {
    at(to + i * to_stride) = rows[i];
  }
}

}  // namespace vierbein::backend::detail
