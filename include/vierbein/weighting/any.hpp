// A weighting policy that is chosen while the program runs.
#pragma once

#include <concepts>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "vierbein/weighting/concept.hpp"

namespace vierbein::weighting {

/// Holds a policy whose type only the running program knows:
///     any<target_based> policy = name == "gcs" ? any<target_based>(gcs{.target = "a"})
///                                              : any<target_based>(diw{.target = "a"});
/// `Kind` is target_based, which also takes policies of the kinds loss_based and gram_based, or
/// update_based. A copy copies the policy. Each call costs one virtual call more; what a Kind asks
/// of the trainer it asks whatever it holds, so a loss_based policy is dearer in an
/// any<target_based> than by itself. `observe` is not passed on.
template <class Kind>
class any {
  static_assert(std::is_same_v<Kind, target_based> || std::is_same_v<Kind, update_based>,
                "any holds policies of the kind target_based or update_based");
  static constexpr bool in_steps = std::is_same_v<Kind, target_based>;

  template <class P>
  static constexpr bool fits =
      in_steps ? (LossBasedWeighting<P> || GramBasedWeighting<P> || TargetBasedWeighting<P>)
               : UpdateBasedWeighting<P>;

 public:
  using weighting_kind = Kind;

  /// A policy with a target.
  template <class P>
    requires(!std::is_same_v<std::remove_cvref_t<P>, any> && fits<std::remove_cvref_t<P>> &&
             HasTarget<std::remove_cvref_t<P>>)
  explicit any(P&& policy)
      : target(target_of(policy)),
        policy_(std::make_unique<holder<std::remove_cvref_t<P>>>(std::forward<P>(policy))) {}

  /// A policy that knows no target: this one chooses the best epoch and is asked about.
  template <class P>
    requires(!std::is_same_v<std::remove_cvref_t<P>, any> && fits<std::remove_cvref_t<P>>)
  any(P&& policy, std::string target_name)
      : target(std::move(target_name)),
        policy_(std::make_unique<holder<std::remove_cvref_t<P>>>(std::forward<P>(policy))) {}

  any(const any& other) : target(other.target), policy_(other.policy_->clone()) {}
  any(any&&) noexcept = default;
  any& operator=(any other) noexcept {
    target = std::move(other.target);
    policy_ = std::move(other.policy_);
    return *this;
  }
  ~any() = default;

  std::string target;

  void reset(const std::vector<std::string>& names) { policy_->reset(names); }
  void end_epoch(std::span<const double> means) { policy_->end_epoch(means); }

  void weigh(losses l, gram_matrix g, step_oracle& oracle, weights w)
    requires in_steps
  {
    policy_->weigh(l, g, oracle, w);
  }

  void plan(round_plan& next)
    requires(!in_steps)
  {
    policy_->plan(next);
  }
  void combine(update_oracle& oracle, weights alpha)
    requires(!in_steps)
  {
    policy_->combine(oracle, alpha);
  }
  void worth(weights w) const
    requires(!in_steps)
  {
    policy_->worth(w);
  }

 private:
  struct interface {
    interface() = default;
    interface(const interface&) = default;
    interface& operator=(const interface&) = delete;
    virtual ~interface() = default;
    [[nodiscard]] virtual std::unique_ptr<interface> clone() const = 0;
    virtual void reset(const std::vector<std::string>& names) = 0;
    virtual void end_epoch(std::span<const double> means) = 0;
    virtual void weigh(losses l, gram_matrix g, step_oracle& oracle, weights w) = 0;
    virtual void plan(round_plan& next) = 0;
    virtual void combine(update_oracle& oracle, weights alpha) = 0;
    virtual void worth(weights w) const = 0;
  };

  template <class P>
  struct holder final : interface {
    explicit holder(P policy) : held(std::move(policy)) {}
    P held;

    [[nodiscard]] std::unique_ptr<interface> clone() const override {
      return std::make_unique<holder>(held);
    }
    void reset(const std::vector<std::string>& names) override { weighting::reset(held, names); }
    void end_epoch(std::span<const double> means) override {
      if constexpr (requires { held.end_epoch(means); }) {
        held.end_epoch(means);
      }
    }
    // What the kind does not have is never called.
    void weigh([[maybe_unused]] losses l, [[maybe_unused]] gram_matrix g,
               [[maybe_unused]] step_oracle& oracle, [[maybe_unused]] weights w) override {
      if constexpr (TargetBasedWeighting<P>) {
        held.weigh(l, g, oracle, w);
      } else if constexpr (GramBasedWeighting<P>) {
        held.weigh(l, g, w);
      } else if constexpr (LossBasedWeighting<P>) {
        held.weigh(l, w);
      }
    }
    void plan([[maybe_unused]] round_plan& next) override {
      if constexpr (!in_steps) {
        held.plan(next);
      }
    }
    void combine([[maybe_unused]] update_oracle& oracle, [[maybe_unused]] weights alpha) override {
      if constexpr (!in_steps) {
        held.combine(oracle, alpha);
      }
    }
    void worth([[maybe_unused]] weights w) const override {
      if constexpr (!in_steps) {
        held.worth(w);
      }
    }
  };

  std::unique_ptr<interface> policy_;
};

}  // namespace vierbein::weighting
