// First all tasks, then the target alone.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/equal.hpp"

namespace vierbein::weighting {

/// Multi-task training for `epochs` epochs with Inner's weights, then fine-tuning: w = 1 for the
/// target and 0 for all others. Inner is any loss_based policy. epochs = 0 is single-task training.
///
///     weighting::finetune_after{.target = "log P", .epochs = 20}
///     weighting::finetune_after{.target = "log P", .epochs = 20, .inner =
///     weighting::uncertainty{}}
///
/// The optimiser goes on with its state. While fine-tuning, a batch without the target has the
/// gradient 0 (an optimiser with momentum still moves), and Inner is not called. What happens in
/// absent tasks and with losses that are not finite is Inner's matter; fine-tuning does not look at
/// losses. With T = 1, w is Inner's and then 1.
template <class Inner = equal>
struct finetune_after {
  static_assert(LossBasedWeighting<Inner>,
                "finetune_after needs an inner policy of the kind loss_based");
  using weighting_kind = loss_based;

  std::string target = {};
  std::size_t epochs = 10;
  Inner inner = {};

  std::size_t target_task = 0;  ///< set by `reset`
  std::size_t task_count = 0;   ///< set by `reset`
  std::size_t epoch = 0;        ///< epochs done

  [[nodiscard]] bool fine_tuning() const { return epoch >= epochs; }

  /// Begins again. Throws for an unknown target, or when Inner does.
  void reset(const std::vector<std::string>& names) {
    target_task = find_target(names, target, "weighting::finetune_after");
    task_count = names.size();
    epoch = 0;
    weighting::reset(inner, names);
  }

  void weigh(losses l, weights w) {
    require(task_count == l.size(), "weighting::finetune_after",
            "made for {} tasks, but given {} losses; call reset", task_count, l.size());
    if (fine_tuning()) {
      std::fill(w.begin(), w.end(), 0.0);
      w[target_task] = 1;
    } else {
      inner.weigh(l, w);
    }
  }

  void observe(losses losses_after)
    requires requires(Inner& i) { i.observe(losses_after); }
  {
    if (!fine_tuning()) {
      inner.observe(losses_after);
    }
  }

  void end_epoch(std::span<const double> mean) {
    if constexpr (requires { inner.end_epoch(mean); }) {
      if (!fine_tuning()) {
        inner.end_epoch(mean);
      }
    }
    ++epoch;
  }
};

}  // namespace vierbein::weighting
