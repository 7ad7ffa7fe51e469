// Random matrices of gradients, of every kind of Pareto stationarity, for tests of weighting
// policies.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/core/matrix.hpp"
#include "vierbein/core/random.hpp"

namespace vierbein::testing {

/// Where a point with the gradients J (T, P) stands. It is weakly Pareto stationary when there is a
/// v ≥ 0, v ≠ 0 with Jᵀv = 0 (no direction improves all tasks), and strongly so when there is one
/// with v_t > 0 for every t.
enum class stationarity {
  normal,         ///< not arranged: with rank T not weakly stationary
  strong,         ///< strongly stationary, and so weakly
  strictly_weak,  ///< weakly stationary, but not strongly
  non_weak        ///< not weakly stationary, whatever the rank
};

/// All of them, to go through.
inline constexpr std::array every_stationarity{stationarity::normal, stationarity::strong,
                                               stationarity::strictly_weak, stationarity::non_weak};

constexpr std::string_view name(stationarity kind) {
  switch (kind) {
    case stationarity::normal: return "normal";
    case stationarity::strong: return "strong";
    case stationarity::strictly_weak: return "strictly weak";
    default: return "non-weak";
  }
}

/// The largest rank that gradient_matrix offers: min(T, P), less 1 for the kinds that need a null
/// vector on the left.
constexpr index_t largest_rank(stationarity kind, index_t tasks, index_t parameters) {
  const bool null_vector = kind == stationarity::strong || kind == stationarity::strictly_weak;
  return std::min(null_vector ? tasks - 1 : tasks, parameters);
}

/// ‖x‖.
inline double norm_of(std::span<const double> x) {
  double square = 0;
  for (const double v : x) {
    square += v * v;
  }
  return std::sqrt(square);
}

namespace detail {

// Numbers of a stream one after the other.
struct number_source {
  random_stream stream;
  std::uint64_t next = 0;
  double normal() { return stream.normal(next++); }
};

// Makes `v` orthogonal to the orthonormal vectors `basis` and of length 1; twice, for accuracy.
inline void orthonormalise(std::vector<double>& v, const std::vector<std::vector<double>>& basis) {
  for (int pass = 0; pass < 2; ++pass) {
    for (const auto& b : basis) {
      double product = 0;
      for (std::size_t i = 0; i < v.size(); ++i) {
        product += v[i] * b[i];
      }
      for (std::size_t i = 0; i < v.size(); ++i) {
        v[i] -= product * b[i];
      }
    }
    double square = 0;
    for (const double x : v) {
      square += x * x;
    }
    for (double& x : v) {
      x /= std::sqrt(square);
    }
  }
}

// Extends `basis` by random vectors of length `size` until it has `count` of them.
inline void extend(std::vector<std::vector<double>>& basis, std::size_t size, std::size_t count,
                   number_source& numbers) {
  while (basis.size() < count) {
    std::vector<double> v(size);
    for (double& x : v) {
      x = numbers.normal();
    }
    orthonormalise(v, basis);
    basis.push_back(std::move(v));
  }
}

}  // namespace detail

/// J = U diag(|s|) Vᵀ (T, P) of the given rank r, with s (r) standard normal, the columns of V (P,
/// r) orthonormal and drawn uniformly, and those of U (T, r) likewise, except that
///     strong:         Uᵀv = 0 for a v > 0
///     strictly_weak:  Uᵀv = 0 and the first column of U is v', for v, v' ≥ 0 with v + v' > 0 that
///                     are never positive together, so that Jᵀw = 0 with w > 0 would ask for v'·w =
///                     0
///     non_weak:       the first column of U is a v > 0.
/// The construction is that of the tests of TorchJD (Quinton and Rey 2024). The same arguments give
/// the same matrix. Throws unless 1 ≤ r ≤ largest_rank(kind, T, P).
inline matrix<double> gradient_matrix(stationarity kind, index_t tasks, index_t parameters,
                                      index_t rank, const random_stream& stream) {
  const index_t largest = largest_rank(kind, tasks, parameters);
  require(rank >= 1 && rank <= largest, "testing::gradient_matrix",
          "the rank of a {} matrix of {} x {} must be between 1 and {}, but is {}", name(kind),
          tasks, parameters, largest, rank);
  const auto rows = static_cast<std::size_t>(tasks);
  const auto r = static_cast<std::size_t>(rank);
  detail::number_source numbers{stream.fork(0)};
  std::vector<std::vector<double>> left;  // `fixed` helpers, then the columns of U
  std::size_t helpers = 0;
  if (kind != stationarity::normal) {
    std::vector<double> positive(rows);
    for (double& x : positive) {
      x = std::abs(numbers.normal()) + 1e-3;
    }
    if (kind == stationarity::strictly_weak) {
      // The first half of the tasks cancels, the others go along with v'.
      std::vector<double> rest(rows, 0.0);
      for (std::size_t t = (rows + 1) / 2; t < rows; ++t) {
        rest[t] = positive[t];
        positive[t] = 0;
      }
      detail::orthonormalise(positive, {});
      detail::orthonormalise(rest, {});
      left = {positive, rest};
      helpers = 1;
    } else {
      detail::orthonormalise(positive, {});
      left = {positive};
      helpers = kind == stationarity::strong ? 1 : 0;
    }
  }
  detail::extend(left, rows, helpers + r, numbers);
  std::vector<std::vector<double>> right;
  detail::extend(right, static_cast<std::size_t>(parameters), r, numbers);
  matrix<double> j(tasks, parameters, 0.0);
  for (std::size_t k = 0; k < r; ++k) {
    const double s = std::abs(numbers.normal());
    for (std::size_t t = 0; t < rows; ++t) {
      const double factor = s * left[helpers + k][t];
      const auto row = j.row(static_cast<index_t>(t));
      for (std::size_t p = 0; p < row.size(); ++p) {
        row[p] += factor * right[k][p];
      }
    }
  }
  // A gradient that is 0 but for rounding is 0.
  double longest = 0;
  for (index_t t = 0; t < tasks; ++t) {
    longest = std::max(longest, norm_of(j.row(t)));
  }
  for (index_t t = 0; t < tasks; ++t) {
    if (norm_of(j.row(t)) < 1e-13 * longest) {
      std::fill(j.row(t).begin(), j.row(t).end(), 0.0);
    }
  }
  return j;
}

/// factor · J.
inline matrix<double> scaled(matrix<double> j, double factor) {
  for (index_t t = 0; t < j.rows(); ++t) {
    for (double& x : j.row(t)) {
      x *= factor;
    }
  }
  return j;
}

/// G = J Jᵀ (T, T).
inline matrix<double> gram_of(const matrix<double>& j) {
  matrix<double> g(j.rows(), j.rows(), 0.0);
  for (index_t s = 0; s < j.rows(); ++s) {
    for (index_t t = s; t < j.rows(); ++t) {
      double sum = 0;
      for (index_t p = 0; p < j.cols(); ++p) {
        sum += j(s, p) * j(t, p);
      }
      g(s, t) = g(t, s) = sum;
    }
  }
  return g;
}

/// d = Jᵀw (P).
inline std::vector<double> combine(const matrix<double>& j, std::span<const double> w) {
  std::vector<double> d(static_cast<std::size_t>(j.cols()), 0.0);
  for (index_t t = 0; t < j.rows(); ++t) {
    for (std::size_t p = 0; p < d.size(); ++p) {
      d[p] += w[static_cast<std::size_t>(t)] * j(t, static_cast<index_t>(p));
    }
  }
  return d;
}

/// J d (T): by how much each task's loss changes to first order, per unit step along d.
inline std::vector<double> along(const matrix<double>& j, std::span<const double> d) {
  std::vector<double> product(static_cast<std::size_t>(j.rows()), 0.0);
  for (index_t t = 0; t < j.rows(); ++t) {
    for (std::size_t p = 0; p < d.size(); ++p) {
      product[static_cast<std::size_t>(t)] += j(t, static_cast<index_t>(p)) * d[p];
    }
  }
  return product;
}

}  // namespace vierbein::testing
