// Weights from gradients that are tracked over steps, so that noise does not bias them.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/solver/simplex.hpp"
#include "vierbein/weighting/tools.hpp"

namespace vierbein::weighting {

/// MoCo (Fernando, Shen, Liu, Chaudhury, Murugesan and Chen 2023). The gradient of a random batch
/// is noisy, and a minimum-norm point of noisy gradients is biased; so each task's gradient is
/// tracked, y_i, and the weights take one projected step a batch. In step t = 1, 2, ...
///     ĝ_i = ℓ_i g_i / (‖g_i‖ + 10⁻⁸)  with `normalise`, else g_i,
///     y_i ← y_i - β_t (y_i - ĝ_i),                     β_t = β t^-σ,  y_i = 0 at first,
///     λ ← Π_Δ(λ - γ_t (Y Yᵀ + ρ I) λ),                  γ_t = γ t^-σ_γ, λ = 1 / T at first,
///     d = Σ_i λ_i y_i.
/// J (T, P), d (P). β = 0.5, γ = 0.1, σ = σ_γ = 0.5 and ρ = 0 are those of the published code,
/// which normalises and takes a softmax where the paper projects on the simplex Δ: `softmax`.
///
/// A task that is absent from a batch is not tracked in it, but y_i and λ_i still act, as they are.
/// State: T × P numbers of 8 bytes, and O(T P) operations a step: Y Yᵀλ is taken as Y (Yᵀλ).
struct moco {
  using weighting_kind = gradient_based;
  static constexpr bool fixed_columns = true;

  double beta = 0.5;
  double gamma = 0.1;
  double beta_decay = 0.5;   ///< σ
  double gamma_decay = 0.5;  ///< σ_γ
  double rho = 0;
  bool normalise = true;
  bool softmax = false;  ///< instead of the projection on the simplex

  named_tasks tasks = {};            ///< set by `reset`
  std::vector<double> tracked = {};  ///< (T, P) Y
  std::vector<double> lambda = {};   ///< (T)
  std::vector<double> slope = {};    ///< (T) (Y Yᵀ + ρ I) λ
  std::vector<double> room = {};     ///< (T)
  std::vector<double> sum = {};      ///< (P) Yᵀ λ
  double steps = 0;

  static moco libmtl() { return {.softmax = true}; }

  /// Begins again. Throws for an unusable option.
  void reset(const std::vector<std::string>& names) {
    constexpr const char* place = "weighting::moco";
    require(beta > 0 && beta <= 1, place, "beta must lie in (0, 1], but is {}", beta);
    require_not_negative(gamma, "gamma", place);
    require_not_negative(beta_decay, "beta_decay", place);
    require_not_negative(gamma_decay, "gamma_decay", place);
    require_not_negative(rho, "rho", place);
    tasks.begin(names);
    tracked.clear();
    sum.clear();
    lambda.assign(names.size(), 1.0 / static_cast<double>(std::max<std::size_t>(1, names.size())));
    slope.assign(names.size(), 0.0);
    room.assign(names.size(), 0.0);
    steps = 0;
  }

  template <Scalar T>
  void combine(losses l, matrix_view<const T> j, std::span<T> d) {
    tasks.require_rows<T>(l, j, d, "weighting::moco");
    const std::size_t size = d.size();
    tracked.resize(tasks.size() * size, 0.0);
    sum.resize(size, 0.0);
    steps += 1;
    const double follow = beta * std::pow(steps, -beta_decay);
    for (std::size_t t = 0; t < tasks.size(); ++t) {
      if (l.has(t)) {
        const double factor = normalise ? l[t] / (std::sqrt(squared_length(j, t)) + 1e-8) : 1.0;
        const T* g = j.row(static_cast<index_t>(t));
        double* y = tracked.data() + t * size;
        for (std::size_t k = 0; k < size; ++k) {
          y[k] -= follow * (y[k] - factor * static_cast<double>(g[k]));
        }
      }
    }
    add_up(size);
    for (std::size_t t = 0; t < tasks.size(); ++t) {
      double product = 0;  // y_t · Yᵀλ
      for (std::size_t k = 0; k < size; ++k) {
        product += tracked[t * size + k] * sum[k];
      }
      slope[t] = product + rho * lambda[t];
    }
    const double pace = gamma * std::pow(steps, -gamma_decay);
    for (std::size_t t = 0; t < tasks.size(); ++t) {
      lambda[t] -= pace * slope[t];
    }
    if (softmax) {
      const double largest = *std::max_element(lambda.begin(), lambda.end());
      double total = 0;
      for (double& v : lambda) {
        v = std::exp(v - largest);
        total += v;
      }
      for (double& v : lambda) {
        v /= total;
      }
    } else {
      solver::project_to_simplex(lambda, room);
    }
    add_up(size);
    for (std::size_t k = 0; k < size; ++k) {
      d[k] = static_cast<T>(sum[k]);
    }
  }

  void worth(weights w) const { std::copy(lambda.begin(), lambda.end(), w.begin()); }

 private:
  void add_up(std::size_t size) {
    std::fill(sum.begin(), sum.end(), 0.0);
    for (std::size_t t = 0; t < tasks.size(); ++t) {
      for (std::size_t k = 0; k < size; ++k) {
        sum[k] += lambda[t] * tracked[t * size + k];
      }
    }
  }
};

}  // namespace vierbein::weighting
