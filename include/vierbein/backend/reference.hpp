// The reference backend: plain loops in one thread, in the order in which the formulas are written.
// It is the oracle that the other backends are tested against.
#pragma once

#include <vector>

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

  /// y(i, p, o) = act(bias(o) + Σ_k x(i, pixel k at p) w(k, o)); see convolution_layer
  void convolve(const convolution_layer<T, host_space>& layer, activation act) const {
    const index_t out = layer.w.cols;
    for (index_t i = 0; i < layer.x.rows; ++i) {
      for (index_t p = 0; p < layer.y.cols / out; ++p) {
        for (index_t o = 0; o < out; ++o) {
          double total = layer.bias.data != nullptr ? static_cast<double>(layer.bias(0, o)) : 0.0;
          each_pixel(layer, p, [&](index_t k, index_t pixel) {
            total += static_cast<double>(layer.x(i, pixel)) * static_cast<double>(layer.w(k, o));
          });
          if (layer.argument.data != nullptr) {
            layer.argument(i, p * out + o) = static_cast<T>(total);
          }
          layer.y(i, p * out + o) = formula::activate(act, static_cast<T>(total));
        }
      }
    }
  }

  /// dz = dy act'(·); dx(i, pixel k at p) (+)= Σ dz(i, p, o) w(k, o), dw(k, o) += Σ x(i, pixel k at
  /// p) dz(i, p, o), db(o) += Σ dz(i, p, o), for every slab
  void convolve_backward(const convolution_layer<T, host_space>& layer, activation act,
                         std::span<const convolution_slab<T, host_space>> slabs) const {
    const index_t n = layer.x.rows;
    const index_t out = layer.w.cols;
    const index_t positions = layer.y.cols / out;
    for (const auto& slab : slabs) {
      std::vector<double> gradient(static_cast<std::size_t>(n * layer.y.cols));
      for (index_t i = 0; i < n; ++i) {
        for (index_t c = 0; c < layer.y.cols; ++c) {
          const T v = layer.argument.data != nullptr ? layer.argument(i, c) : layer.y(i, c);
          gradient[static_cast<std::size_t>(i * layer.y.cols + c)] =
              static_cast<double>(slab.dy(i, c) * formula::activation_slope(act, v));
        }
      }
      const auto dz = [&](index_t i, index_t p, index_t o) {
        return gradient[static_cast<std::size_t>((i * positions + p) * out + o)];
      };
      for (index_t o = 0; o < out && slab.db.data != nullptr; ++o) {
        double total = static_cast<double>(slab.db(0, o));
        for (index_t i = 0; i < n; ++i) {
          for (index_t p = 0; p < positions; ++p) {
            total += dz(i, p, o);
          }
        }
        slab.db(0, o) = static_cast<T>(total);
      }
      std::vector<double> dw(static_cast<std::size_t>(layer.w.size()), 0.0);
      std::vector<double> dx(static_cast<std::size_t>(layer.image.size()));
      for (index_t i = 0; i < n; ++i) {
        std::fill(dx.begin(), dx.end(), 0.0);
        for (index_t p = 0; p < positions; ++p) {
          each_pixel(layer, p, [&](index_t k, index_t pixel) {
            for (index_t o = 0; o < out; ++o) {
              dw[static_cast<std::size_t>(k * out + o)] +=
                  static_cast<double>(layer.x(i, pixel)) * dz(i, p, o);
              dx[static_cast<std::size_t>(pixel)] +=
                  static_cast<double>(layer.w(k, o)) * dz(i, p, o);
            }
          });
        }
        for (index_t c = 0; c < layer.image.size() && slab.dx.data != nullptr; ++c) {
          const double old = slab.accumulate ? static_cast<double>(slab.dx(i, c)) : 0.0;
          slab.dx(i, c) = static_cast<T>(old + dx[static_cast<std::size_t>(c)]);
        }
      }
      for (index_t k = 0; k < layer.w.rows && slab.dw.data != nullptr; ++k) {
        for (index_t o = 0; o < out; ++o) {
          slab.dw(k, o) = static_cast<T>(static_cast<double>(slab.dw(k, o)) +
                                         dw[static_cast<std::size_t>(k * out + o)]);
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

 private:
  // f(k, element of the image) for every element k of the window at position p that lies within the
  // image.
  template <class F>
  static void each_pixel(const convolution_layer<T, host_space>& layer, index_t p, F&& f) {
    const image_shape& image = layer.image;
    const image_window& window = layer.window;
    const index_t across = window.over(image, layer.w.cols).width;
    for (index_t ky = 0; ky < window.height; ++ky) {
      for (index_t kx = 0; kx < window.width; ++kx) {
        const index_t iy = p / across * window.stride - window.padding + ky;
        const index_t ix = p % across * window.stride - window.padding + kx;
        if (iy < 0 || iy >= image.height || ix < 0 || ix >= image.width) {
          continue;
        }
        for (index_t c = 0; c < image.channels; ++c) {
          f((ky * window.width + kx) * image.channels + c,
            (iy * image.width + ix) * image.channels + c);
        }
      }
    }
  }
};

using reference = basic_reference<float>;
using reference_double = basic_reference<double>;

}  // namespace vierbein::backend
