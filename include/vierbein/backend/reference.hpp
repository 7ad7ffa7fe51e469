// The reference backend: plain loops in one thread, in the order in which the formulas are written.
// It is the oracle that the other backends are tested against.
#pragma once

#include "vierbein/backend/host.hpp"

namespace vierbein::backend {

/// Plain loops; sums are formed in double.
template <Scalar T>
class basic_reference : public host<basic_reference<T>, T> {
 public:
  using view = matrix_view<T>;
  using const_view = matrix_view<const T>;

  [[nodiscard]] int threads() const { return 1; }

  /// Everything in one chunk, in order.
  template <class F>
  void run(index_t count, index_t /*cost*/, F&& f) const {
    f(index_t{0}, count);
  }
  template <class F>
  double add_up(index_t count, index_t /*cost*/, F&& f) const {
    return f(index_t{0}, count);
  }

  /// C (+)= A B, A Bᵀ or Aᵀ B for every product of the group; consecutive products with the same
  /// destination are summed.
  void multiply(transposition kind, std::span<const product<T, host_space>> group,
                bool accumulate) const {
    for (std::size_t i = 0; i < group.size(); ++i) {
      const auto& [a, b, c] = group[i];
      const bool add = accumulate || (i > 0 && group[i - 1].c.data == c.data);
      const index_t depth = kind == transposition::tn ? a.rows : a.cols;
      for (index_t r = 0; r < c.rows; ++r) {
        for (index_t s = 0; s < c.cols; ++s) {
          double total = 0;
          for (index_t k = 0; k < depth; ++k) {
            const T left = kind == transposition::tn ? a(k, r) : a(r, k);
            const T right = kind == transposition::nt ? b(s, k) : b(k, s);
            total += static_cast<double>(left) * static_cast<double>(right);
          }
          c(r, s) = static_cast<T>((add ? static_cast<double>(c(r, s)) : 0.0) + total);
        }
      }
    }
  }

  /// y = act(x w + 1 bias + addend) for every layer of the group
  void affine(std::span<const affine_layer<T, host_space>> group, activation act) const {
    for (const auto& layer : group) {
      for (index_t r = 0; r < layer.y.rows; ++r) {
        for (index_t c = 0; c < layer.y.cols; ++c) {
          double total = layer.bias.data != nullptr ? static_cast<double>(layer.bias(0, c)) : 0.0;
          total += layer.addend.data != nullptr ? static_cast<double>(layer.addend(r, c)) : 0.0;
          for (index_t k = 0; k < layer.x.cols; ++k) {
            total += static_cast<double>(layer.x(r, k)) * static_cast<double>(layer.w(k, c));
          }
          if (layer.argument.data != nullptr) {
            layer.argument(r, c) = static_cast<T>(total);
          }
          layer.y(r, c) = formula::activate(act, static_cast<T>(total));
        }
      }
    }
  }

  /// out (1, cols) (+)= Σ_r x(r, ·)
  void column_sums(const_view x, view out, bool accumulate) const {
    for (index_t c = 0; c < x.cols; ++c) {
      double total = accumulate ? static_cast<double>(out(0, c)) : 0.0;
      for (index_t r = 0; r < x.rows; ++r) {
        total += static_cast<double>(x(r, c));
      }
      out(0, c) = static_cast<T>(total);
    }
  }

  /// out (1, cols) (+)= Σ_r x(r, ·) y(r, ·)
  void column_dots(const_view x, const_view y, view out, bool accumulate) const {
    for (index_t c = 0; c < x.cols; ++c) {
      double total = accumulate ? static_cast<double>(out(0, c)) : 0.0;
      for (index_t r = 0; r < x.rows; ++r) {
        total += static_cast<double>(x(r, c)) * static_cast<double>(y(r, c));
      }
      out(0, c) = static_cast<T>(total);
    }
  }

  /// out (1, 1) (+)= scale Σ x
  void sum(const_view x, T scale, view out, bool accumulate) const {
    double total = 0;
    for (index_t r = 0; r < x.rows; ++r) {
      for (index_t c = 0; c < x.cols; ++c) {
        total += static_cast<double>(x(r, c));
      }
    }
    out(0, 0) = static_cast<T>((accumulate ? static_cast<double>(out(0, 0)) : 0.0) +
                               static_cast<double>(scale) * total);
  }

  /// Σ x² on the host
  [[nodiscard]] double squared_norm(array_view<const T> x) const {
    double total = 0;
    for (const T v : x) {
      total += static_cast<double>(v) * static_cast<double>(v);
    }
    return total;
  }
};

using reference = basic_reference<float>;
using reference_double = basic_reference<double>;

}  // namespace vierbein::backend
