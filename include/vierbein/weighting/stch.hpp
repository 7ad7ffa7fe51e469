// The smoothed greatest loss.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/tools.hpp"
#include "vierbein/weighting/traits.hpp"

namespace vierbein::weighting {

/// Smooth Tchebycheff scalarisation (Lin, Zhang, Yang, Zhang, Liu and Zhang 2024), over the T tasks
/// that the batch has labels of:
///     L = μ log Σ_t exp(λ_t (ℓ_t - z_t) / μ),     w_t = λ_t softmax(λ (ℓ - z) / μ)_t,
/// which tends to max_t λ_t (ℓ_t - z_t) as μ → 0. This is TorchJD's form.
///
/// With `logarithmic`, the form of the authors' multi-task experiments and of LibMTL: for `warm_up`
/// epochs L = Σ_t log ℓ_t; the mean losses of the last of them are the nadir n (1 for a task
/// without labels in it, and everywhere when warm_up = 0), and from then on
///     y_t = log(ℓ_t / n_t),  L = T μ log Σ_t exp(y_t / μ),  w_t = T softmax(y / μ)_t / ℓ_t.
/// LibMTL subtracts the greatest y_t and forgets to add it again: its value differs, its gradient
/// does not; its 1e-20 within the logarithm is left out.
///
/// The exponentials are taken after the greatest exponent is subtracted. An absent task gets 0. A
/// loss that is not finite, or with `logarithmic` not positive, is refused by name.
struct stch {
  using weighting_kind = loss_based;

  double mu = 1;
  std::vector<double> preference = {};  ///< (T) λ, or empty for 1 / T each
  std::vector<double> reference = {};   ///< (T) z, the least losses hoped for, or empty for zeros
  bool logarithmic = false;             ///< without preference and reference
  std::size_t warm_up = 0;              ///< epochs, with `logarithmic`

  std::vector<std::string> names = {};  ///< set by `reset`, for errors
  std::vector<double> nadir = {};       ///< (T) n, empty for ones
  std::size_t epoch = 0;                ///< epochs done since `reset`

  static stch torchjd(double mu) { return {.mu = mu}; }
  /// LibMTL's STCH_warmup_epoch = 4: four epochs, and one more whose mean is the nadir.
  static stch libmtl() { return {.mu = 1, .logarithmic = true, .warm_up = 5}; }

  [[nodiscard]] weighting_traits traits() const {
    return {.permutation_invariant = preference.empty() && reference.empty(),
            .linear_under_scaling = true,
            .strongly_stationary = preference.empty(),
            .stateful = warm_up > 0,
            .homogeneity = 1};
  }

  /// Begins again. Throws for an unusable option.
  void reset(const std::vector<std::string>& task_names) {
    names = task_names;
    nadir.clear();
    epoch = 0;
    check_options(names.size());
    for (const double v : preference) {
      require_not_negative(v, "preference", "weighting::stch");
    }
    require_finite(reference, "reference", "weighting::stch");
    require(!logarithmic || (preference.empty() && reference.empty()), "weighting::stch",
            "the logarithmic form has no preference and no reference");
    require(logarithmic || warm_up == 0, "weighting::stch",
            "only the logarithmic form has epochs of warm-up, but warm_up is {}", warm_up);
  }

  /// L, with its constant.
  [[nodiscard]] double objective(losses l) const {
    check(l);
    double greatest = -std::numeric_limits<double>::infinity();
    double logarithms = 0;
    for (std::size_t t = 0; t < l.size(); ++t) {
      if (l.has(t)) {
        greatest = std::max(greatest, exponent(l, t));
        logarithms += logarithmic ? std::log(l[t]) : 0.0;
      }
    }
    double sum = 0;
    for (std::size_t t = 0; t < l.size(); ++t) {
      sum += l.has(t) ? std::exp(exponent(l, t) - greatest) : 0.0;
    }
    const auto count = static_cast<double>(present_count(l));
    if (count == 0 || warming()) {
      return logarithms;
    }
    return (logarithmic ? count : 1.0) * mu * (greatest + std::log(sum));
  }

  void weigh(losses l, weights w) const {
    check(l);
    for (std::size_t t = 0; t < l.size(); ++t) {
      w[t] = warming() ? (l.has(t) ? 1 / l[t] : 0.0) : exponent(l, t);
    }
    if (warming()) {
      return;
    }
    softmax(l, w);
    const auto count = static_cast<double>(present_count(l));
    for (std::size_t t = 0; t < l.size(); ++t) {
      w[t] *= !l.has(t) ? 0.0 : logarithmic ? count / l[t] : lambda(l, t);
    }
  }

  /// Takes the mean losses of an epoch (T), NaN for a task without labels.
  void end_epoch(std::span<const double> mean) {
    ++epoch;
    if (logarithmic && epoch == warm_up) {
      nadir.assign(mean.size(), 1.0);
      for (std::size_t t = 0; t < mean.size(); ++t) {
        if (mean[t] <= 0 || std::isinf(mean[t])) {
          throw error("weighting::stch",
                      formatted("the mean loss of task {} must be finite and positive, but is {}",
                                task_label(names, t), mean[t]));
        }
        nadir[t] = std::isnan(mean[t]) ? 1.0 : mean[t];
      }
    }
  }

 private:
  [[nodiscard]] bool warming() const { return logarithmic && epoch < warm_up; }

  [[nodiscard]] double lambda(losses l, std::size_t t) const {
    return preference.empty() ? 1 / static_cast<double>(present_count(l)) : preference[t];
  }

  // What is exponentiated for a task: 0 for an absent one, whose loss has no meaning.
  [[nodiscard]] double exponent(losses l, std::size_t t) const {
    if (!l.has(t)) {
      return 0;
    }
    if (logarithmic) {
      return (std::log(l[t]) - (nadir.empty() ? 0.0 : std::log(nadir[t]))) / mu;
    }
    return lambda(l, t) * (l[t] - (reference.empty() ? 0.0 : reference[t])) / mu;
  }

  void check_options(std::size_t tasks) const {
    require_positive(mu, "mu", "weighting::stch");
    require_one_a_task(preference, tasks, "preference", "weighting::stch");
    require_one_a_task(reference, tasks, "reference", "weighting::stch");
    require(nadir.empty() || nadir.size() == tasks, "weighting::stch",
            "made for {} tasks, but given {} losses; call reset", nadir.size(), tasks);
  }

  void check(losses l) const {
    check_options(l.size());
    if (logarithmic) {
      require_above(l, 0, names, "weighting::stch");
    } else {
      require_finite(l, names, "weighting::stch");
    }
  }
};

}  // namespace vierbein::weighting
