// The tasks that a batch has labels of: what is absent drops out of a policy's problem.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/core/matrix.hpp"
#include "vierbein/weighting/kinds.hpp"
#include "vierbein/weighting/tools.hpp"
#include "vierbein/weighting/traits.hpp"

namespace vierbein::weighting {

/// Gives a policy the losses and the Gramian of the tasks that are present, so that it needs to
/// know of no others, and the absent ones the weight 0:
///     tasks.weigh(l, g, w, "weighting::mine",
///                 [&](std::span<const double> loss, gram_matrix gram, weights present) { ... });
/// The call is skipped when no task is present. Answers that nobody should see are refused by name:
/// losses and gradients of present tasks that are not finite, and weights that are not.
///
/// Its memory grows with the number of tasks and is then kept.
class present_tasks {
 public:
  /// Begins a run: errors will name the tasks, and their number is settled.
  void begin(const std::vector<std::string>& names) { names_ = names; }

  /// Throws unless an option with one number for each task is empty or has them, none negative.
  static void require_preference(const std::vector<double>& chosen, std::size_t count,
                                 const char* policy) {
    require_one_a_task(chosen, count, "preference", policy);
    for (const double p : chosen) {
      require_not_negative(p, "preference", policy);
    }
  }

  template <class Compute>
  void weigh(losses l, gram_matrix g, weights w, const char* policy, Compute&& compute) {
    require(names_.empty() || names_.size() == l.size(), policy,
            "made for {} tasks, but given {} losses; call reset", names_.size(), l.size());
    require_finite(l, names_, policy);
    require_finite_gram(l, g, names_, policy);
    precision_ = l.gram_precision;
    compact(l, g);
    std::fill(w.begin(), w.end(), 0.0);
    if (index_.empty()) {
      return;
    }
    std::fill(weight_.begin(), weight_.end(), 0.0);
    compute(std::span<const double>(loss_), gram_matrix(gram_.view()), weights(weight_));
    for (std::size_t i = 0; i < index_.size(); ++i) {
      if (!std::isfinite(weight_[i])) {
        throw error(policy, "the weight of task " + label(i) + " would not be finite");
      }
      w[index_[i]] = weight_[i];
    }
  }

  /// Within `weigh`: the number of the i-th present task among all.
  [[nodiscard]] std::size_t operator[](std::size_t i) const { return index_[i]; }

  /// Within `weigh`: the relative precision of G's entries.
  [[nodiscard]] double precision() const { return precision_; }

  /// Within `weigh`: which of the present tasks is number `task` among all; their number when it is
  /// absent.
  [[nodiscard]] std::size_t find(std::size_t task) const {
    return static_cast<std::size_t>(std::find(index_.begin(), index_.end(), task) - index_.begin());
  }

  /// Within `weigh`: what each present task counts for, p. The user's numbers, and where there are
  /// none 1 / (number of present tasks) with weight_scale::mean, or 1.
  void preferences(const std::vector<double>& chosen, weight_scale scale,
                   std::span<double> p) const {
    for (std::size_t i = 0; i < p.size(); ++i) {
      p[i] = !chosen.empty()               ? chosen[index_[i]]
             : scale == weight_scale::mean ? 1 / static_cast<double>(p.size())
                                           : 1;
    }
  }

  /// Within `weigh`: what an error calls the i-th present task.
  [[nodiscard]] std::string label(std::size_t i) const { return task_label(names_, index_[i]); }

 private:
  void compact(losses l, gram_matrix g) {
    index_.clear();
    index_.reserve(l.size());
    for (std::size_t t = 0; t < l.size(); ++t) {
      if (l.has(t)) {
        index_.push_back(t);
      }
    }
    const std::size_t m = index_.size();
    loss_.reserve(l.size());
    weight_.reserve(l.size());
    gram_.resize(g.rows, g.rows);
    loss_.resize(m);
    weight_.resize(m);
    gram_.resize(static_cast<index_t>(m), static_cast<index_t>(m));
    for (std::size_t i = 0; i < m; ++i) {
      loss_[i] = l[index_[i]];
      const double* const from = g.row(static_cast<index_t>(index_[i]));
      double* const to = gram_.row(static_cast<index_t>(i)).data();
      for (std::size_t j = 0; j < m; ++j) {
        to[j] = from[index_[j]];
      }
    }
  }

  double precision_ = 0;
  std::vector<std::string> names_;
  std::vector<std::size_t> index_;
  std::vector<double> loss_, weight_;
  matrix<double> gram_;
};

}  // namespace vierbein::weighting
