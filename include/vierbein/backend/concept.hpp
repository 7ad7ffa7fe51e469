// What a backend must offer, and the few argument types that its operations share.
//
// A backend is a cheap handle that is passed to whoever computes. It says what numbers it computes
// with (`scalar`), where its memory lies (`space`, `memory`) and performs the operations that the
// tape records. Every operation takes views of its own memory space; none allocates after its first
// use with a given size (but in `reference`). `accumulate` adds to the destination instead of
// assigning.
//
// Results must not depend on the number of threads: work is partitioned by fixed chunks, and
// partial sums are added in a fixed order.
#pragma once

#include <cmath>
#include <concepts>
#include <cstdint>
#include <span>

#include "vierbein/backend/formulas.hpp"
#include "vierbein/core/image.hpp"
#include "vierbein/core/random.hpp"
#include "vierbein/core/view.hpp"

namespace vierbein {
namespace backend {

/// Which operands of a product are transposed: nn: C = A B, nt: C = A Bᵀ, tn: C = Aᵀ B.
enum class transposition { nn, nt, tn };

/// One of a group of products. Products with the same destination must be consecutive and are
/// summed.
template <class T, class Space>
struct product {
  matrix_view<const T, Space> a;
  matrix_view<const T, Space> b;
  matrix_view<T, Space> c;
};

/// One of a group of affine layers: y = act(x w + 1 bias + addend). `bias` (1, out), `addend`
/// (rows, out) and `argument` (rows, out: receives act's argument) may be empty.
template <class T, class Space>
struct affine_layer {
  matrix_view<const T, Space> x;       ///< (rows, in)
  matrix_view<const T, Space> w;       ///< (in, out)
  matrix_view<const T, Space> bias;    ///< (1, out) or empty
  matrix_view<const T, Space> addend;  ///< (rows, out) or empty
  matrix_view<T, Space> argument;      ///< (rows, out) or empty
  matrix_view<T, Space> y;             ///< (rows, out)
};

/// A convolution layer on images, channels last (core/image.hpp):
///     y(i, p, o) = act(bias(o) + Σ_k x(i, pixel k of the window at position p) w(k, o)),
/// pixels outside the image being 0. k = (row · window.width + column) · channels + channel. A row
/// of y is itself an image, of shape window.over(image, out); as (n · positions, out) its values
/// are the product of all patches with w. `argument` (act's argument, like y) may be empty.
///
/// With `where`, what the window gives is pooled before the activation: y = act(max pool of bias +
/// Σ ...), and y, argument and where are of shape pool.over(window.over(image, out), out). `where`
/// receives what host::pool writes. The windows of the pool lie side by side (stride >= height and
/// width) and have no padding. Only backends with `pools_convolutions` = true compute that.
template <class T, class Space>
struct convolution_layer {
  image_shape image;
  image_window window;
  matrix_view<const T, Space> x;     ///< (n, image.size())
  matrix_view<const T, Space> w;     ///< (window.size() · channels, out)
  matrix_view<const T, Space> bias;  ///< (1, out) or empty
  matrix_view<T, Space> argument;    ///< (n, positions · out) or empty
  matrix_view<T, Space> y;           ///< (n, positions · out)
  image_window pool{};
  matrix_view<T, Space> where{};  ///< like y, or empty: no pool
};

/// What one slab of cotangents `dy` of a convolution layer gives. Empty destinations are not
/// wanted; dw and db are added to, dx is added to or assigned.
template <class T, class Space>
struct convolution_slab {
  matrix_view<const T, Space> dy;  ///< like y
  matrix_view<T, Space> dx;        ///< (n, image.size()) or empty
  bool accumulate = false;         ///< dx is added to
  matrix_view<T, Space> dw;        ///< (window.size() · channels, out) or empty
  matrix_view<T, Space> db;        ///< (1, out) or empty
};

/// How the pixels under a window become one. Padding does not count: `maximum` is that of the
/// pixels inside the image, `mean` is divided by their number.
enum class pooling { maximum, mean };

/// Hyper-parameters of one Adam step, bias corrections included.
struct adam_coefficients {
  double learning_rate, beta1, beta2, epsilon, decay;
  double correction1 = 1, correction2 = 1;  ///< 1 - β₁ᵗ, 1 - β₂ᵗ

  template <class T>
  [[nodiscard]] formula::adam_rule<T> rule() const {
    return {static_cast<T>(learning_rate / correction1),
            static_cast<T>(1 - learning_rate * decay),
            static_cast<T>(beta1),
            static_cast<T>(beta2),
            static_cast<T>(1 / std::sqrt(correction2)),
            static_cast<T>(epsilon)};
  }
};

/// Hyper-parameters of one step of gradient descent with momentum.
struct sgd_coefficients {
  double learning_rate, momentum, decay;
  bool nesterov;

  template <class T>
  [[nodiscard]] formula::sgd_rule<T> rule() const {
    return {static_cast<T>(learning_rate), static_cast<T>(momentum), static_cast<T>(decay),
            nesterov};
  }
};

template <class B>
using matrix_of = matrix_view<typename B::scalar, typename B::space>;
template <class B>
using const_matrix_of = matrix_view<const typename B::scalar, typename B::space>;
template <class B>
using array_of = array_view<typename B::scalar, typename B::space>;
/// Whether a backend pools the outputs of convolutions as it computes them.
template <class B>
inline constexpr bool pools_convolutions = requires { requires B::pools_convolutions; };

/// Whether a backend's threads can each do a whole piece of several operations:
/// `apart(count, work, f)` calls f(piece, worker) for every piece, `work` being the multiply-adds
/// of all, with worker < threads(); `apart_pays(count, work)` says whether that keeps them busy.
/// Where pieces run side by side, the operations within f run in the one thread. Pieces of a matrix
/// have `rows_apart` rows.
template <class B>
inline constexpr bool works_apart = requires { B::rows_apart; };

/// Whether a backend copies what the next step uploads while it computes: see backend/cuda.hpp.
template <class B>
inline constexpr bool prefetches = requires(const B& b) { b.forget_prefetched(); };

template <class B>
using indices_of = array_view<const std::int32_t, typename B::space>;

}  // namespace backend

/// The requirements on a backend type. The meaning of every operation is written beside its
/// definition in backend/host.hpp (row-wise operations) and backend/reference.hpp (products and
/// sums).
template <class B>
concept Backend =
    Scalar<typename B::scalar> &&
    requires(
        const B& b, backend::matrix_of<B> out, backend::const_matrix_of<B> in,
        backend::indices_of<B> indices, backend::array_of<B> flat,
        std::span<const backend::product<typename B::scalar, typename B::space>> products,
        std::span<const backend::affine_layer<typename B::scalar, typename B::space>> layers,
        backend::convolution_layer<typename B::scalar, typename B::space> convolution,
        std::span<const backend::convolution_slab<typename B::scalar, typename B::space>> slabs,
        typename B::scalar s, random_stream stream) {
      typename B::space;
      typename B::memory;
      b.multiply(backend::transposition::nn, products, true);
      b.affine(layers, activation::relu);
      b.convolve(convolution, activation::relu);
      b.convolve_backward(convolution, activation::relu, slabs);
      b.pool(backend::pooling::maximum, convolution.image, convolution.window, in, out, out);
      b.pool_backward(backend::pooling::maximum, convolution.image, convolution.window, in, in, out,
                      true);
      b.column_sums(in, out, true);
      b.sum(in, s, out, true);
      b.copy(s, in, out, true);
      b.fill(out, s);
      b.unary(backend::unary::scale, s, in, out);
      b.binary(backend::binary::add, in, in, out);
      b.gather_rows(in, indices, out, true);
      b.segment_sum(in, indices, indices, false, out, true);
      b.loss(backend::loss_kind::squared, s, in, in, out);
      b.add_normal(in, s, stream, out);
    };

}  // namespace vierbein
