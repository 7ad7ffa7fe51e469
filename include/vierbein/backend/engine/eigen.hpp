// Products by Eigen: `basic_cpu<float, engine::eigen>`.
#pragma once

#include <algorithm>

#include "vierbein/backend/engine/concept.hpp"
#include "vierbein/backend/engine/eigen_core.hpp"
#include "vierbein/core/arena.hpp"

namespace vierbein::backend::engine {

namespace detail {

/// Packing buffers of Eigen's product kernel, kept by each thread: Eigen would allocate them anew.
template <Scalar T>
class eigen_blocking : public Eigen::internal::level3_blocking<T, T> {
 public:
  eigen_blocking(Eigen::Index rows, Eigen::Index cols, Eigen::Index depth) {
    this->m_mc = rows;
    this->m_nc = cols;
    this->m_kc = depth;
    Eigen::internal::computeProductBlockingSizes<T, T>(this->m_kc, this->m_mc, this->m_nc,
                                                       Eigen::Index{1});
    static thread_local aligned_vector<T> buffer;
    const auto a = static_cast<std::size_t>(this->m_mc * this->m_kc + 64);
    const auto b = static_cast<std::size_t>(this->m_kc * this->m_nc + 64);
    if (buffer.size() < a + b) {
      buffer.resize(a + b);
    }
    this->m_blockA = buffer.data();
    this->m_blockB = buffer.data() + a / 16 * 16;
  }
};

}  // namespace detail

/// Eigen's kernel, called directly. It works on column-major matrices, and a row-major C is the
/// transpose of a column-major one: Cᵀ += Bᵀ Aᵀ.
struct eigen {
  static constexpr bool independent_rows = false;
  static constexpr index_t row_step = 16;

  template <bool TransposeA, bool TransposeB, Scalar T>
  [[gnu::noinline]] static void run(matrix_view<const T> a, matrix_view<const T> b, start<T> s,
                                    matrix_view<T> c, bool rectify) {
    using Eigen::ColMajor;
    using Eigen::RowMajor;
    if (s.data != c.data) {
      for (index_t r = 0; r < c.rows; ++r) {
        if (s.data == nullptr) {
          std::fill_n(c.row(r), c.cols, T{0});
        } else {
          std::copy_n(s.row(r), c.cols, c.row(r));
        }
      }
    }
    const index_t depth = TransposeA ? a.rows : a.cols;
    if (c.size() > 0 && depth > 0) {
      detail::eigen_blocking<T> blocking(c.cols, c.rows, depth);
      Eigen::internal::general_matrix_matrix_product<
          Eigen::Index, T, TransposeB ? RowMajor : ColMajor, false, T,
          TransposeA ? RowMajor : ColMajor, false, ColMajor, 1>::run(c.cols, c.rows, depth, b.data,
                                                                     b.stride, a.data, a.stride,
                                                                     c.data, 1, c.stride, T{1},
                                                                     blocking, nullptr);
    }
    for (index_t r = 0; r < c.rows && rectify; ++r) {
      T* const v = c.row(r);
      for (index_t j = 0; j < c.cols; ++j) {
        v[j] = v[j] < 0 ? T{0} : v[j];
      }
    }
  }
};

}  // namespace vierbein::backend::engine
