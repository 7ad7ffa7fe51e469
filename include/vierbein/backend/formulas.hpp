// The scalar formulas that every backend evaluates: activations, element-wise functions, losses.
// Plain functions of numbers, so that each backend (and each device) compiles the same text.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>

#include "vierbein/core/types.hpp"

namespace vierbein {

/// Activation of an affine layer.
///   identity  x
///   relu      max(x, 0)
///   gelu      x Φ(x), Φ the standard normal distribution function   (Hendrycks and Gimpel 2016)
///   silu      x / (1 + e^-x)                                        (Elfwing et al. 2018)
///   tanh      tanh x
enum class activation { identity, relu, gelu, silu, tanh };
constexpr auto option_names(activation) {
  return std::array{"identity", "relu", "gelu", "silu", "tanh"};
}

namespace backend {

/// Element-wise functions of one argument. `scale` is a·x and `shift` is x + a with a constant a;
/// `root` is sqrt(x + a).
enum class unary {
  scale,
  shift,
  square,
  root,
  absolute,
  exponential,
  logarithm,
  softplus,
  sigmoid
};

/// Element-wise functions of two arguments.
enum class binary { add, subtract, multiply, divide };

/// Losses of one prediction and one label; `width` predictions belong to one label for `softmax`.
///   squared    (p - y)²
///   absolute   |p - y|
///   huber      ½(p - y)² within δ, else δ(|p - y| - ½δ)      (Huber 1964)
///   logistic   log(1 + e^p) - y p, y ∈ {0, 1}: p is a logit
///   softmax    log Σ_k e^{p_k} - p_y, y ∈ {0 … width - 1}
enum class loss_kind { squared, absolute, huber, logistic, softmax };

namespace formula {

template <class T>
VIERBEIN_HOST_DEVICE inline T sigmoid(T x) {
  return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x));
}

template <class T>
VIERBEIN_HOST_DEVICE inline T activate(activation kind, T x) {
  switch (kind) {
    case activation::identity: return x;
    case activation::relu: return x < 0 ? T{0} : x;  // NaN stays NaN
    case activation::gelu: return x * T(0.5) * std::erfc(-x * T(0.7071067811865476));
    case activation::silu: return x * sigmoid(x);
    case activation::tanh: return std::tanh(x);
  }
  return x;
}

/// True when the derivative is computed from the activation's argument; otherwise its value serves.
constexpr bool derivative_needs_argument(activation kind) {
  return kind == activation::gelu || kind == activation::silu;
}

/// Derivative; `v` is the argument or the value, as `derivative_needs_argument` says.
template <class T>
VIERBEIN_HOST_DEVICE inline T activation_slope(activation kind, T v) {
  switch (kind) {
    case activation::identity: return T{1};
    case activation::relu: return v > 0 ? T{1} : T{0};
    case activation::gelu:
      return T(0.5) * std::erfc(-v * T(0.7071067811865476)) +
             v * T(0.3989422804014327) * std::exp(-v * v / 2);
    case activation::silu: {
      const T s = sigmoid(v);
      return s * (1 + v * (1 - s));
    }
    case activation::tanh: return 1 - v * v;
  }
  return T{1};
}

template <class T>
VIERBEIN_HOST_DEVICE inline T evaluate(unary f, T a, T x) {
  switch (f) {
    case unary::scale: return a * x;
    case unary::shift: return x + a;
    case unary::square: return x * x;
    case unary::root: return std::sqrt(x + a);
    case unary::absolute: return std::abs(x);
    case unary::exponential: return std::exp(x);
    case unary::logarithm: return std::log(x);
    case unary::softplus: return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
    case unary::sigmoid: return sigmoid(x);
  }
  return x;
}

/// Derivative of a unary function at x, where it has the value y.
template <class T>
VIERBEIN_HOST_DEVICE inline T slope(unary f, T a, T x, T y) {
  switch (f) {
    case unary::scale: return a;
    case unary::shift: return T{1};
    case unary::square: return 2 * x;
    case unary::root: return T(0.5) / y;
    case unary::absolute: return x > 0 ? T{1} : (x < 0 ? T{-1} : T{0});
    case unary::exponential: return y;
    case unary::logarithm: return 1 / x;
    case unary::softplus: return sigmoid(x);
    case unary::sigmoid: return y * (1 - y);
  }
  return T{1};
}

template <class T>
VIERBEIN_HOST_DEVICE inline T combine(binary f, T x, T y) {
  switch (f) {
    case binary::add: return x + y;
    case binary::subtract: return x - y;
    case binary::multiply: return x * y;
    case binary::divide: return x / y;
  }
  return x;
}

template <class T>
VIERBEIN_HOST_DEVICE inline T loss(loss_kind kind, T delta, T p, T y) {
  const T d = p - y;
  switch (kind) {
    case loss_kind::squared: return d * d;
    case loss_kind::absolute: return std::abs(d);
    case loss_kind::huber:
      return std::abs(d) <= delta ? d * d / 2 : delta * (std::abs(d) - delta / 2);
    case loss_kind::logistic: return evaluate(unary::softplus, T{0}, p) - y * p;
    case loss_kind::softmax: break;
  }
  return T{0};
}

/// Derivative of `loss` with respect to the prediction.
template <class T>
VIERBEIN_HOST_DEVICE inline T loss_slope(loss_kind kind, T delta, T p, T y) {
  const T d = p - y;
  switch (kind) {
    case loss_kind::squared: return 2 * d;
    case loss_kind::absolute: return d > 0 ? T{1} : (d < 0 ? T{-1} : T{0});
    case loss_kind::huber: return std::abs(d) <= delta ? d : (d > 0 ? delta : -delta);
    case loss_kind::logistic: return sigmoid(p) - y;
    case loss_kind::softmax: break;
  }
  return T{0};
}

/// log Σ e^p of n numbers, which does not overflow.
template <class T>
VIERBEIN_HOST_DEVICE inline T log_sum_exp(const T* p, index_t n) {
  T largest = -std::numeric_limits<T>::infinity();
  for (index_t i = 0; i < n; ++i) {
    largest = p[i] > largest ? p[i] : largest;
  }
  T total = 0;
  for (index_t i = 0; i < n; ++i) {
    total += std::exp(p[i] - largest);
  }
  return largest + std::log(total);
}

/// One step of Adam (Kingma and Ba 2015) with decoupled weight decay (Loshchilov and Hutter 2019)
/// for one parameter p with gradient g and moments m, v: m = β₁m + (1-β₁)g, v = β₂v + (1-β₂)g²,
/// p = shrink p - rate m / (root √v + ε), where rate = lr / (1 - β₁ᵗ), shrink = 1 - lr decay and
/// root = 1 / √(1 - β₂ᵗ).
template <class T>
struct adam_rule {
  T rate, shrink, b1, b2, root, epsilon;
  VIERBEIN_HOST_DEVICE void operator()(T& p, T g, T& m, T& v) const {
    moments(g, m, v);
    move(p, m, std::sqrt(v));
  }

  /// Its two halves; V is T or a register of them, `root_v` is √v.
  template <class V>
  VIERBEIN_HOST_DEVICE void moments(const V& g, V& m, V& v) const {
    m = b1 * m + (1 - b1) * g;
    v = b2 * v + (1 - b2) * g * g;
  }
  template <class V>
  VIERBEIN_HOST_DEVICE void move(V& p, const V& m, const V& root_v) const {
    p = shrink * p - rate * m / (root_v * root + epsilon);
  }
};

/// One step of gradient descent for one parameter p with gradient g and velocity u: d = g + decay
/// p, u = momentum u + d; p -= rate u, or with Nesterov's acceleration p -= rate (d + momentum u).
template <class T>
struct sgd_rule {
  T rate, momentum, decay;
  bool nesterov;
  VIERBEIN_HOST_DEVICE void operator()(T& p, T g, T& u) const {
    const T d = g + decay * p;
    u = momentum * u + d;
    p -= rate * (nesterov ? d + momentum * u : u);
  }
};

}  // namespace formula
}  // namespace backend
}  // namespace vierbein
