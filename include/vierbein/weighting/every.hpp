// Weights that are computed now and then.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/weighting/decorator.hpp"
#include "vierbein/weighting/tools.hpp"

namespace vierbein::weighting {

/// Asks `policy` in the first step and in every `steps`-th after it; in between its last weights
/// stand, and a step costs what it costs without a policy. It is asked out of turn where the batch
/// has labels of a task that its last answer was without. `observe` reaches it only after a step in
/// which it was asked.
template <class Policy>
struct every {
  static_assert(StepWeighting<Policy>, "every wraps a policy of the kind loss_based or gram_based");
  using weighting_kind = typename Policy::weighting_kind;
  static constexpr std::size_t gram_batches = weighting::gram_batches<Policy>;

  Policy policy = {};
  std::size_t steps = 5;

  std::vector<double> last = {};  ///< (T) the policy's last answer
  std::vector<char> known = {};   ///< (T) which tasks that answer was about
  std::size_t age = 0;            ///< steps for which it has stood
  bool asked = false;             ///< whether the policy was asked in the last step

  [[nodiscard]] weighting_traits traits() const {
    weighting_traits t = traits_of(policy);
    t.stateful = t.stateful || steps > 1;
    return t;
  }

  /// Begins again. Throws when `steps` is 0.
  void reset(const std::vector<std::string>& names) {
    require(steps > 0, "weighting::every", "steps must be at least 1, but is 0");
    begin(names.size());
    weighting::reset(policy, names);
  }

  [[nodiscard]] sight looks_at(losses l) const {
    return due(l) ? weighting::looks_at(policy, l) : sight::losses;
  }

  void weigh(losses l, weights w)
    requires LossBasedWeighting<Policy>
  {
    if (turn(l)) {
      policy.weigh(l, w);
      keep(l, w);
    }
    std::copy(last.begin(), last.end(), w.begin());
  }
  void weigh(losses l, gram_matrix g, weights w)
    requires GramBasedWeighting<Policy>
  {
    if (turn(l)) {
      policy.weigh(l, g, w);
      keep(l, w);
    }
    std::copy(last.begin(), last.end(), w.begin());
  }

  [[nodiscard]] bool observes() const
    requires Observes<Policy>
  {
    return asked && weighting::observes(policy);
  }
  void observe(losses losses_after)
    requires Observes<Policy>
  {
    if (asked) {
      policy.observe(losses_after);
    }
  }
  void end_epoch(std::span<const double> mean)
    requires EndingEpochs<Policy>
  {
    policy.end_epoch(mean);
  }
  [[nodiscard]] std::size_t iterations() const { return asked ? weighting::iterations(policy) : 0; }

 private:
  void begin(std::size_t tasks) {
    last.assign(tasks, 0.0);
    known.assign(tasks, 0);
    age = 0;
    asked = false;
  }

  [[nodiscard]] bool due(losses l) const {
    bool yes = age == 0 || last.size() != l.size();
    for (std::size_t t = 0; t < l.size() && !yes; ++t) {
      yes = l.has(t) && known[t] == 0;
    }
    return yes;
  }

  bool turn(losses l) {
    if (last.empty()) {
      begin(l.size());
    }
    require(last.size() == l.size(), "weighting::every",
            "made for {} tasks, but given {} losses; call reset", last.size(), l.size());
    asked = due(l);
    age = asked ? 1 : age + 1;
    age = age == std::max<std::size_t>(steps, 1) ? 0 : age;
    return asked;
  }

  void keep(losses l, weights w) {
    std::copy(w.begin(), w.end(), last.begin());
    for (std::size_t t = 0; t < l.size(); ++t) {
      known[t] = l.has(t) ? 1 : 0;
    }
  }
};

}  // namespace vierbein::weighting
