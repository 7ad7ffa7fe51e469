// Sums of products of bfloat16 numbers on what the processor has for them: tiles (AMX), registers
// (AVX512-BF16), or neither. The one place of the library with instructions of a particular
// machine, since no portable code reaches these units.
//
// A bfloat16 number is the upper half of a float: 8 significant bits, the same exponents. A word
// holds two of them, of even depth in its lower half and of odd depth in its upper half; a tile is
// 16 rows of 16 words, one behind the other. A tile of A holds 16 rows and a depth of 32; a tile of
// B, words across, 16 columns and the same depth:
//     A: word (r, k) = a(r, 2k), a(r, 2k + 1)        B: word (k, j) = b(2k, j), b(2k + 1, j)
#pragma once

#include <bit>
#include <cstdint>
#include <utility>

#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif
#if defined(__AMX_BF16__) && defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#define VIERBEIN_BF16_TILES 1
#endif

#include "vierbein/backend/lanes.hpp"
#include "vierbein/core/types.hpp"

namespace vierbein::backend::engine {

/// What multiplies bfloat16 numbers: plain arithmetic with floats, registers, or tiles. Sums are of
/// floats in each of them, but are rounded differently.
enum class bf16_unit { plain, registers, tiles };

/// The best one that the compiler's target has.
#if defined(VIERBEIN_BF16_TILES)
inline constexpr bf16_unit best_bf16_unit = bf16_unit::tiles;
#elif defined(__AVX512BF16__)
inline constexpr bf16_unit best_bf16_unit = bf16_unit::registers;
#else
inline constexpr bf16_unit best_bf16_unit = bf16_unit::plain;
#endif

namespace detail::bf16 {

using word = std::uint32_t;
inline constexpr index_t side = 16;           // rows of a tile, and words of a row
inline constexpr index_t tile = side * side;  // words of a tile
inline constexpr index_t tile_depth = 2 * side;
inline constexpr index_t square = 2 * side;  // of sums, which are computed together
inline constexpr word upper_half = 0xffff'0000U;

/// Which parts of A and B are multiplied, the smallest products first. From one to the next only
/// one operand changes. See engine::bf16.
struct part_pair {
  int a, b;
};
template <int Parts>
inline constexpr part_pair pairs[1] = {{0, 0}};
template <>
inline constexpr part_pair pairs<2>[3] = {{1, 0}, {0, 0}, {0, 1}};
template <>
inline constexpr part_pair pairs<3>[6] = {{2, 0}, {1, 0}, {1, 1}, {0, 1}, {0, 2}, {0, 0}};
template <int Parts>
inline constexpr int pair_count = Parts * (Parts + 1) / 2;

// Tiles lie in the order in which they are needed: those of 32 rows of A (or columns of B) side by
// side, `together` of them, 2 or at the end 1, for all parts; then the same of the next depth.

/// to (16, 16), whose rows lie `square` apart, = Σ of the products of `steps` tiles of each part,
/// by registers; the next tile of the depth lies `a_step` or `b_step` words behind.
template <int Parts, bf16_unit Unit>
[[gnu::noinline]] VIERBEIN_WHOLE_REGISTERS void sum_by_registers(const word* a, index_t a_step,
                                                                 const word* b, index_t b_step,
                                                                 index_t steps, float* to) {
  using backend::detail::at;
  using floats = backend::detail::lanes_of<float>;
  using words = backend::detail::lanes_of<word>;
  constexpr index_t n = backend::detail::lanes<float>;
  constexpr int across = static_cast<int>(side / n);
  constexpr int rows = backend::detail::registers == 32 ? 16 / across : 8 / across;
  for (index_t first = 0; first < side; first += rows) {
    floats sum[rows][across] = {};
    for (index_t s = 0; s < steps; ++s) {
      for (const part_pair p : pairs<Parts>) {
        const word* const x = a + s * a_step + p.a * tile + first * side;
        const word* const y = b + s * b_step + p.b * tile;
        for (index_t k = 0; k < side; ++k) {
#pragma GCC unroll 4
          for (int v = 0; v < across; ++v) {
            const words right = at(y + k * side + v * n);
#pragma GCC unroll 16
            for (int r = 0; r < rows; ++r) {
              const word left = x[r * side + k];
#if defined(__AVX512BF16__)
              if constexpr (Unit == bf16_unit::registers) {
                const words twice = words{} + left;
                sum[r][v] = reinterpret_cast<floats>(_mm512_dpbf16_ps(
                    reinterpret_cast<__m512>(sum[r][v]), reinterpret_cast<__m512bh>(twice),
                    reinterpret_cast<__m512bh>(right)));
                continue;
              }
#endif
              sum[r][v] += std::bit_cast<float>(left << 16) *
                           reinterpret_cast<floats>(static_cast<words>(right << 16));
              sum[r][v] += std::bit_cast<float>(left & upper_half) *
                           reinterpret_cast<floats>(static_cast<words>(right & upper_half));
            }
          }
        }
      }
    }
    for (int r = 0; r < rows; ++r) {
      for (int v = 0; v < across; ++v) {
        at(to + (first + r) * square + v * n) = sum[r][v];
      }
    }
  }
}

#if defined(VIERBEIN_BF16_TILES)

/// Whether the operating system lets this process use tiles; asks it the first time.
inline bool tiles_permitted() {
  constexpr long ask = 0x1023;         // ARCH_REQ_XCOMP_PERM
  constexpr long tile_registers = 18;  // XFEATURE_XTILEDATA
  static const bool granted = syscall(SYS_arch_prctl, ask, tile_registers) == 0;
  return granted;
}

/// Shapes of the tile registers: eight tiles of 16 rows of 64 bytes.
struct alignas(64) tile_shapes {
  std::uint8_t palette = 1, start = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
// A constant, since g++ takes only the first bytes of what the instruction reads to be needed.
inline constexpr tile_shapes whole_tiles{};

/// While it lives, this thread's eight tile registers hold a tile each.
class tile_registers {
 public:
  tile_registers() { _tile_loadconfig(&whole_tiles); }
  ~tile_registers() { _tile_release(); }
  tile_registers(const tile_registers&) = delete;
  tile_registers& operator=(const tile_registers&) = delete;
};

/// to (16 Rows, 16 Cols) = the same sums, by tiles; `Rows` and `Cols` tiles lie together.
template <int Parts, int Rows, int Cols>
[[gnu::noinline]] void sum_by_tiles(const word* a, const word* b, index_t steps, float* to) {
  constexpr long pitch = side * sizeof(word);
  constexpr index_t other = Parts * tile;  // the second of two tiles that lie together
  constexpr index_t ahead = 4 * Rows * Parts * tile;
  asm volatile("" ::: "memory");  // what was packed is in memory: the loads do not say they read it
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (index_t s = 0; s < steps; ++s, a += Rows * Parts * tile, b += Cols * Parts * tile) {
    for (index_t line = 0; line < Rows * Parts * tile; line += side) {
      __builtin_prefetch(a + ahead + line);
    }
    const auto multiply = [&]<int I>(std::integral_constant<int, I>) {
      constexpr part_pair p = pairs<Parts>[I];
      constexpr part_pair before = pairs<Parts>[I > 0 ? I - 1 : 0];
      if constexpr (I == 0 || p.a != before.a) {
        _tile_loadd(4, a + p.a * tile, pitch);
        if constexpr (Rows == 2) {
          _tile_loadd(5, a + other + p.a * tile, pitch);
        }
      }
      if constexpr (I == 0 || p.b != before.b) {
        _tile_loadd(6, b + p.b * tile, pitch);
        if constexpr (Cols == 2) {
          _tile_loadd(7, b + other + p.b * tile, pitch);
        }
      }
      _tile_dpbf16ps(0, 4, 6);
      if constexpr (Cols == 2) {
        _tile_dpbf16ps(1, 4, 7);
      }
      if constexpr (Rows == 2) {
        _tile_dpbf16ps(2, 5, 6);
      }
      if constexpr (Rows == 2 && Cols == 2) {
        _tile_dpbf16ps(3, 5, 7);
      }
    };
    [&]<int... I>(std::integer_sequence<int, I...>) {
      (multiply(std::integral_constant<int, I>{}), ...);
    }(std::make_integer_sequence<int, pair_count<Parts>>{});
  }
  constexpr long to_pitch = square * sizeof(float);
  _tile_stored(0, to, to_pitch);
  if constexpr (Cols == 2) {
    _tile_stored(1, to + side, to_pitch);
  }
  if constexpr (Rows == 2) {
    _tile_stored(2, to + side * square, to_pitch);
  }
  if constexpr (Rows == 2 && Cols == 2) {
    _tile_stored(3, to + side * square + side, to_pitch);
  }
}

#endif

}  // namespace detail::bf16
}  // namespace vierbein::backend::engine
