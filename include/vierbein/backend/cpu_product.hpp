// The CPU backend's product of matrices: Eigen's kernel, called directly.
#pragma once

#include "vierbein/backend/concept.hpp"
#include "vierbein/backend/eigen.hpp"
#include "vierbein/core/arena.hpp"

namespace vierbein::backend::detail {

/// Packing buffers of Eigen's product kernel, kept by each thread: Eigen would allocate them anew.
template <Scalar T>
class product_blocking : public Eigen::internal::level3_blocking<T, T> {
 public:
  product_blocking(Eigen::Index rows, Eigen::Index cols, Eigen::Index depth) {
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

/// C += A B, or with A, B or both transposed. Eigen's kernel works on column-major matrices, and a
/// row-major C is the transpose of a column-major one: Cᵀ += Bᵀ Aᵀ.
template <bool TransposeA, bool TransposeB, Scalar T>
[[gnu::noinline]] void add_product(matrix_view<const T> a, matrix_view<const T> b,
                                   matrix_view<T> c) {
  using Eigen::ColMajor;
  using Eigen::RowMajor;
  const index_t depth = TransposeA ? a.rows : a.cols;
  if (c.rows == 0 || c.cols == 0 || depth == 0) {
    return;
  }
  product_blocking<T> blocking(c.cols, c.rows, depth);
  Eigen::internal::general_matrix_matrix_product<Eigen::Index, T, TransposeB ? RowMajor : ColMajor,
                                                 false, T, TransposeA ? RowMajor : ColMajor, false,
                                                 ColMajor, 1>::run(c.cols, c.rows, depth, b.data,
                                                                   b.stride, a.data, a.stride,
                                                                   c.data, 1, c.stride, T{1},
                                                                   blocking, nullptr);
}

/// The same for a kind that is known at run time.
template <Scalar T>
void add_product(transposition kind, matrix_view<const T> a, matrix_view<const T> b,
                 matrix_view<T> c) {
  switch (kind) {
    case transposition::nn: add_product<false, false, T>(a, b, c); break;
    case transposition::nt: add_product<false, true, T>(a, b, c); break;
    case transposition::tn: add_product<true, false, T>(a, b, c); break;
  }
}

}  // namespace vierbein::backend::detail
