// Tasks that still have far to go count more, noisy ones do not.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/tools.hpp"

namespace vierbein::weighting {

/// ExcessMTL (He, Zhou, Zhang, Han, Chen, Sun, Yang and Zhao 2024). How far a task is from its own
/// optimum, its excess risk, is estimated to second order with AdaGrad's diagonal for the Hessian:
///     S_i ← S_i + g_i ∘ g_i,     e_i = Σ_k J_ik² / √(S_ik + 10⁻⁷),
///     w_i ← w_i exp(η e_i / e⁰_i) / Σ_j w_j exp(η e_j / e⁰_j),     d = Σ_i w_i g_i.
/// e⁰_i is e_i of the task's first step; in that step e_i itself stands for the quotient, as in the
/// published aggregators (`weigh_first`; otherwise the weights stay as they are in it). η = 1 and
/// w_i = 1 / T at first, as in the paper; `libmtl()` has η = 0.01, Σ w_i = T and leaves the
/// first step alone. J (T, P), d (P).
///
/// Deviation: the paper's averaging of e⁰ over a few epochs of warm-up is left out. A task that is
/// absent from a batch has no weight in it, and its state stays; its weight is not redistributed.
/// State: T × P numbers of 8 bytes.
struct excess_mtl {
  using weighting_kind = gradient_based;
  static constexpr bool fixed_columns = true;

  double eta = 1;
  bool weigh_first = true;    ///< the first step moves the weights too
  bool sum_to_tasks = false;  ///< Σ w_i = T instead of 1

  named_tasks tasks = {};             ///< set by `reset`
  std::vector<double> squares = {};   ///< (T, P) S
  std::vector<double> baseline = {};  ///< (T) e⁰, or -1 before a task's first step
  std::vector<double> value = {};     ///< (T) w, of sum 1
  std::vector<double> effect = {};    ///< (T) the weights of the last step
  std::vector<double> excess = {};    ///< (T) e of the last step

  static excess_mtl libmtl() { return {.eta = 0.01, .weigh_first = false, .sum_to_tasks = true}; }

  /// Begins again. Throws for an unusable option.
  void reset(const std::vector<std::string>& names) {
    require_not_negative(eta, "eta", "weighting::excess_mtl");
    tasks.begin(names);
    squares.clear();
    baseline.assign(names.size(), -1.0);
    value.assign(names.size(), 1.0 / static_cast<double>(std::max<std::size_t>(1, names.size())));
    effect.assign(names.size(), 0.0);
    excess.assign(names.size(), 0.0);
  }

  template <Scalar T>
  void combine(losses l, matrix_view<const T> j, std::span<T> d) {
    tasks.require_rows<T>(l, j, d, "weighting::excess_mtl");
    const std::size_t size = d.size();
    squares.resize(tasks.size() * size, 0.0);
    double largest = -std::numeric_limits<double>::infinity();
    for (std::size_t t = 0; t < tasks.size(); ++t) {
      excess[t] = 0;
      if (l.has(t)) {
        const double e = estimate(j.row(static_cast<index_t>(t)), squares.data() + t * size, size);
        const bool first = baseline[t] < 0;
        excess[t] = first ? (weigh_first ? e : 0.0) : e / (baseline[t] + 1e-7);
        baseline[t] = first ? e : baseline[t];
      }
      largest = std::max(largest, eta * excess[t]);
    }
    double sum = 0;
    for (std::size_t t = 0; t < tasks.size(); ++t) {
      // A factor that is common to all changes nothing. No weight may vanish for good.
      value[t] = std::max(value[t] * std::exp(eta * excess[t] - largest), 1e-300);
      sum += value[t];
    }
    const double scale = sum_to_tasks ? static_cast<double>(tasks.size()) : 1.0;
    for (std::size_t t = 0; t < tasks.size(); ++t) {
      value[t] /= sum;
      effect[t] = l.has(t) ? scale * value[t] : 0.0;
    }
    weighted_rows<T>(effect, j, d);
  }

  void worth(weights w) const { std::copy(effect.begin(), effect.end(), w.begin()); }

 private:
  template <Scalar T>
  static double estimate(const T* g, double* sums, std::size_t size) {
    double total = 0;
    for (std::size_t k = 0; k < size; ++k) {
      const double square = static_cast<double>(g[k]) * static_cast<double>(g[k]);
      sums[k] += square;
      total += square / std::sqrt(sums[k] + 1e-7);
    }
    return total;
  }
};

}  // namespace vierbein::weighting
