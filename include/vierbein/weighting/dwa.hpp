// Tasks whose losses fall slowly count more.
#pragma once

#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/tools.hpp"
#include "vierbein/weighting/traits.hpp"

namespace vierbein::weighting {

/// Dynamic weight average (Liu, Johns and Davison 2019). With L_t(e) the mean loss of task t in
/// epoch e, the weights of epoch e are
///     r_t = L_t(e-1) / L_t(e-2),   w_t = T e^{r_t / τ} / Σ_s e^{r_s / τ},
/// and 1 in the first two epochs. τ = 2 in the paper and in its peers (LibMTL, TorchJD, FAMO).
///
/// A task that an epoch has no label of (its mean is NaN) keeps its last mean; r_t is 1 until two
/// are known, and where L_t(e-2) is 0. The weights of one epoch do not depend on which tasks a
/// batch has labels of. A mean loss that is negative or infinite is refused by name. It remembers:
/// a copy goes its own way, and `reset` begins again.
struct dwa {
  using weighting_kind = loss_based;

  double temperature = 2;  ///< τ

  std::vector<std::string> names = {};   ///< set by `reset`
  std::vector<double> last = {};         ///< (T) L(e-1), NaN while unknown
  std::vector<double> before_last = {};  ///< (T) L(e-2), NaN while unknown
  std::vector<double> present = {};      ///< (T) the weights of this epoch

  static dwa libmtl() { return {.temperature = 2}; }
  static dwa torchjd() { return {.temperature = 2}; }

  [[nodiscard]] weighting_traits traits() const {
    return {.permutation_invariant = true,
            .linear_under_scaling = true,
            .strongly_stationary = true,
            .stateful = true,
            .homogeneity = 1,
            .scale = weight_scale::sum};
  }

  /// Begins again. Throws for an unusable option.
  void reset(const std::vector<std::string>& task_names) {
    names = task_names;
    begin(task_names.size());
  }

  void weigh(losses l, weights w) {
    if (present.empty()) {
      begin(l.size());
    }
    require(present.size() == l.size(), "weighting::dwa",
            "made for {} tasks, but given {} losses; call reset", present.size(), l.size());
    std::copy(present.begin(), present.end(), w.begin());
  }

  /// Takes the mean losses of an epoch (T), NaN for a task without labels.
  void end_epoch(std::span<const double> mean) {
    if (present.empty()) {
      begin(mean.size());
    }
    require(present.size() == mean.size(), "weighting::dwa",
            "made for {} tasks, but given {} mean losses; call reset", present.size(), mean.size());
    for (std::size_t t = 0; t < mean.size(); ++t) {
      if (mean[t] < 0 || std::isinf(mean[t])) {
        throw error("weighting::dwa",
                    formatted("the mean loss of task {} must be finite and not negative, but "
                              "is {}",
                              task_label(names, t), mean[t]));
      }
    }
    for (std::size_t t = 0; t < mean.size(); ++t) {
      if (!std::isnan(mean[t])) {
        before_last[t] = last[t];
        last[t] = mean[t];
      }
      const bool known = before_last[t] > 0;
      present[t] = (known ? last[t] / before_last[t] : 1.0) / temperature;
    }
    softmax(losses{mean}, present);
    for (double& w : present) {
      w *= static_cast<double>(mean.size());
    }
  }

 private:
  void begin(std::size_t count) {
    require_positive(temperature, "temperature", "weighting::dwa");
    last.assign(count, std::numeric_limits<double>::quiet_NaN());
    before_last = last;
    present.assign(count, 1.0);
  }
};

}  // namespace vierbein::weighting
