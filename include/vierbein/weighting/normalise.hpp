// Gradients brought to one size before they are weighed.
#pragma once

#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/core/matrix.hpp"
#include "vierbein/weighting/decorator.hpp"
#include "vierbein/weighting/tools.hpp"

namespace vierbein::weighting {

/// By what each task is divided before it is weighed.
enum class gradient_size {
  l2,         ///< s_t = ‖g_t‖
  loss,       ///< s_t = ℓ_t
  loss_plus,  ///< s_t = ℓ_t ‖g_t‖
  log         ///< s_t = ℓ_t, the gradients of log ℓ_t; the policy sees the losses log ℓ_t
};

/// Shows `policy` the tasks ℓ_t / s_t, whose gradients are g_t / s_t with s_t held constant, and
/// weighs accordingly: from its weights v of
///     G'_st = G_st / (s_s s_t),  ℓ'_t = ℓ_t / s_t      come      w_t = v_t / s_t,
/// so that d = Σ_t v_t g_t / s_t. The choices of s are the gradient normalisations that MGDA is
/// used with (Sener and Koltun 2018, in their program, where, unlike here, v itself then weighs the
/// gradients as they were).
///
/// A gradient of 0 is not divided. For loss, loss_plus and log a loss must be positive. What is not
/// finite or not positive is refused by name.
template <class Policy>
struct normalise {
  static_assert(GramBasedWeighting<Policy>, "normalise wraps a policy of the kind gram_based");
  static_assert(weighting::gram_batches<Policy> == 1,
                "normalise needs a policy whose Gramian is that of one batch");
  using weighting_kind = gram_based;

  Policy policy = {};
  gradient_size by = gradient_size::l2;

  std::vector<std::string> names = {};  ///< set by `reset`, for errors
  std::vector<double> size = {};        ///< (T) s
  std::vector<double> values = {};      ///< (T) the losses that the policy sees
  matrix<double> gram = {};             ///< (T, T) G'

  [[nodiscard]] weighting_traits traits() const {
    weighting_traits t = traits_of(policy);
    if (by == gradient_size::l2 || by == gradient_size::loss_plus) {
      t.homogeneity = t.homogeneity ? std::optional<double>(0) : std::nullopt;
      t.linear_under_scaling = false;
    }
    t.convex_weights = false;
    t.scale = weight_scale::other;
    return t;
  }

  void reset(const std::vector<std::string>& task_names) {
    names = task_names;
    begin(names.size());
    weighting::reset(policy, names);
  }

  void weigh(losses l, gram_matrix g, weights w) {
    if (size.size() != l.size()) {
      require(size.empty(), "weighting::normalise",
              "made for {} tasks, but given {} losses; call reset", size.size(), l.size());
      begin(l.size());
    }
    measure(l, g);
    for (std::size_t s = 0; s < l.size(); ++s) {
      for (std::size_t t = 0; t < l.size(); ++t) {
        const auto row = static_cast<index_t>(s);
        const auto column = static_cast<index_t>(t);
        gram(row, column) = l.has(s) && l.has(t) ? g(row, column) / size[s] / size[t] : 0.0;
      }
    }
    policy.weigh({values, l.present, l.gram_precision}, gram.view(), w);
    for (std::size_t t = 0; t < l.size(); ++t) {
      w[t] /= size[t];
    }
  }

  [[nodiscard]] bool observes() const
    requires Observes<Policy>
  {
    return weighting::observes(policy);
  }
  void observe(losses losses_after)
    requires Observes<Policy>
  {
    for (std::size_t t = 0; t < values.size(); ++t) {
      values[t] = !losses_after.has(t)       ? 0.0
                  : by == gradient_size::log ? std::log(losses_after[t])
                                             : losses_after[t] / size[t];
    }
    policy.observe({values, losses_after.present});
  }
  void end_epoch(std::span<const double> mean)
    requires EndingEpochs<Policy>
  {
    policy.end_epoch(mean);
  }
  [[nodiscard]] std::size_t iterations() const { return weighting::iterations(policy); }

 private:
  void begin(std::size_t tasks) {
    size.assign(tasks, 1.0);
    values.assign(tasks, 0.0);
    gram = matrix<double>(static_cast<index_t>(tasks), static_cast<index_t>(tasks));
  }

  void measure(losses l, gram_matrix g) {
    if (by != gradient_size::l2) {
      require_above(l, 0, names, "weighting::normalise");
    }
    for (std::size_t t = 0; t < l.size(); ++t) {
      size[t] = 1;
      values[t] = 0;
      if (l.has(t)) {
        const double length = gradient_norm(g, t);
        if (!std::isfinite(length) ||
            std::isnan(g(static_cast<index_t>(t), static_cast<index_t>(t)))) {
          throw error("weighting::normalise",
                      "the gradient of task " + task_label(names, t) + " has no finite norm");
        }
        const bool divides = by != gradient_size::l2 && by != gradient_size::loss_plus;
        size[t] = divides || !(length > 0) ? 1.0 : length;
        size[t] *= by == gradient_size::l2 ? 1.0 : l[t];
        values[t] = by == gradient_size::log ? std::log(l[t]) : l[t] / size[t];
      }
    }
  }
};

}  // namespace vierbein::weighting
