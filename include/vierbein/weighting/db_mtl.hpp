// Gradients of log losses, brought to the length of the longest.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/present_tasks.hpp"
#include "vierbein/weighting/tools.hpp"
#include "vierbein/weighting/traits.hpp"

namespace vierbein::weighting {

/// DB-MTL, dual-balancing (Lin, Jiang, Ye, Zhang, Chen, Chen, Liu and Kwok 2023), without a moving
/// average of gradients (β = 0; with one it needs the gradients themselves: db_mtl_ema). With ĝ_t =
/// g_t / (ℓ_t + 10⁻⁸), the gradients of log ℓ_t,
///     d = Σ_t v_t ĝ_t,   v_t = max_s ‖ĝ_s‖ / ‖ĝ_t‖,   that is w_t = v_t / (ℓ_t + 10⁻⁸).
///
/// Deviations: the authors divide by ‖ĝ_t‖ + 10⁻⁸, which makes a task whose gradient vanishes count
/// up to 10⁸-fold and lets the unit of J matter; here no v_t exceeds `largest_weight`, and a
/// gradient that is 0 has v_t = 1. Losses must be positive.
struct db_mtl {
  using weighting_kind = gram_based;

  double largest_weight = 1e4;

  present_tasks tasks = {};
  std::vector<double> lengths = {};

  [[nodiscard]] weighting_traits traits() const {
    return {.permutation_invariant = true, .homogeneity = 1};
  }

  /// Throws for an unusable option.
  void reset(const std::vector<std::string>& names) {
    require_positive(largest_weight, "largest_weight", "weighting::db_mtl");
    tasks.begin(names);
  }

  void weigh(losses l, gram_matrix g, weights w) {
    constexpr const char* place = "weighting::db_mtl";
    require_positive(largest_weight, "largest_weight", place);
    tasks.weigh(l, g, w, place, [&](std::span<const double> loss, gram_matrix gram, weights out) {
      lengths.resize(loss.size());
      double longest = 0;
      for (std::size_t i = 0; i < loss.size(); ++i) {
        if (!(loss[i] > 0)) {
          throw error(place, formatted("the loss of task {} must be positive, but is {}",
                                       tasks.label(i), loss[i]));
        }
        lengths[i] = gradient_norm(gram, i) / (loss[i] + 1e-8);
        longest = std::max(longest, lengths[i]);
      }
      for (std::size_t i = 0; i < loss.size(); ++i) {
        const double v = lengths[i] > 0 ? std::min(longest / lengths[i], largest_weight) : 1;
        out[i] = v / (loss[i] + 1e-8);
      }
    });
  }
};

/// DB-MTL (Lin, Jiang, Ye, Zhang, Chen, Chen, Liu and Kwok 2023) with its moving average of the
/// gradients. In step t = 1, 2, ..., with ĝ_i = g_i / (ℓ_i + 10⁻⁸), the gradient of log ℓ_i,
///     b_i ← ĝ_i + β_t (b_i - ĝ_i),  β_t = β t^-σ,  b_i = 0 at first,
///     d = Σ_i w_i b_i,              w_i = max_j ‖b_j‖ / ‖b_i‖.
/// J (T, P), d (P) of the scale of T log losses. β = 0.9 and σ = 0, as in the authors' code. With
/// β = 0 the Gramian is enough, which takes no memory for J: see db_mtl.
///
/// Deviations: the authors divide by ‖b_i‖ + 10⁻⁸, which makes a task whose gradient vanishes count
/// up to 10⁸-fold; here no w_i exceeds `largest_weight` (10⁴), and a b_i that is 0 has the weight
/// 1. A task that is absent from a batch keeps b_i and takes part with it. Losses must be positive.
/// State: T × P numbers of 8 bytes.
struct db_mtl_ema {
  using weighting_kind = gradient_based;
  static constexpr bool fixed_columns = true;

  double beta = 0.9;
  double sigma = 0;
  double largest_weight = 1e4;

  named_tasks tasks = {};             ///< set by `reset`
  std::vector<double> averages = {};  ///< (T, P) b
  std::vector<double> lengths = {};   ///< (T) ‖b‖
  std::vector<double> value = {};     ///< (T) w
  double steps = 0;

  /// Begins again. Throws for an unusable option.
  void reset(const std::vector<std::string>& names) {
    constexpr const char* place = "weighting::db_mtl_ema";
    require(beta >= 0 && beta < 1, place, "beta must lie in [0, 1), but is {}", beta);
    require_not_negative(sigma, "sigma", place);
    require(largest_weight >= 1, place, "largest_weight must be at least 1, but is {}",
            largest_weight);
    tasks.begin(names);
    averages.clear();
    lengths.assign(names.size(), 0.0);
    value.assign(names.size(), 1.0);
    steps = 0;
  }

  template <Scalar T>
  void combine(losses l, matrix_view<const T> j, std::span<T> d) {
    constexpr const char* place = "weighting::db_mtl_ema";
    tasks.require_rows<T>(l, j, d, place);
    const std::size_t size = d.size();
    averages.resize(tasks.size() * size, 0.0);
    steps += 1;
    const double keep = beta * std::pow(steps, -sigma);
    double longest = 0;
    for (std::size_t t = 0; t < tasks.size(); ++t) {
      double* b = averages.data() + t * size;
      if (l.has(t)) {
        require(l[t] >= 0, place, "the loss of task '{}' is negative and has no logarithm",
                tasks.names[t]);
        const T* g = j.row(static_cast<index_t>(t));
        const double factor = 1 / (l[t] + 1e-8);
        for (std::size_t k = 0; k < size; ++k) {
          const double log_gradient = factor * static_cast<double>(g[k]);
          b[k] = log_gradient + keep * (b[k] - log_gradient);
        }
      }
      lengths[t] =
          std::sqrt(squared_length(matrix_view<const double>(b, 1, static_cast<index_t>(size)), 0));
      longest = std::max(longest, lengths[t]);
    }
    std::fill(d.begin(), d.end(), T{0});
    for (std::size_t t = 0; t < tasks.size(); ++t) {
      value[t] = lengths[t] > 0 ? std::min(longest / lengths[t], largest_weight) : 1.0;
      const double* b = averages.data() + t * size;
      for (std::size_t k = 0; k < size; ++k) {
        d[k] += static_cast<T>(value[t] * b[k]);
      }
    }
  }

  void worth(weights w) const { std::copy(value.begin(), value.end(), w.begin()); }
};

}  // namespace vierbein::weighting
