// A weighting policy that is chosen while the program runs.
#pragma once

#include <algorithm>
#include <concepts>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "vierbein/weighting/concept.hpp"

namespace vierbein::weighting {

namespace detail {

struct with_target {
  std::string target;
};
struct without_target {};

}  // namespace detail

/// Holds a policy whose type only the running program knows:
///     any<gram_based> policy = name == "gcs" ? any<gram_based>(gcs{.target = "a"})
///                                            : any<gram_based>(equal{});
///
///     Kind             holds policies of the kinds
///     loss_based       loss_based
///     gram_based       loss_based, gram_based (of `Batches` batches, see concept.hpp)
///     gradient_based   gradient_based; never of the representation, since some need fixed columns
///     target_based     loss_based, gram_based, target_based; it has a target, which is the held
///                      policy's or is given, and chooses the best epoch
///     update_based     update_based; with a target, too
///
/// A copy copies the policy. Each call costs one virtual call more; the trainer does no more than
/// what the held policy looks at, but for several batches, which it draws whatever it holds.
/// `observe` is called, and paid for, when the held policy has it.
template <class Kind, std::size_t Batches = 1>
class any : public std::conditional_t<std::is_same_v<Kind, target_based> ||
                                          std::is_same_v<Kind, update_based>,
                                      detail::with_target, detail::without_target> {
  template <class... Kinds>
  static constexpr bool is = (std::is_same_v<Kind, Kinds> || ...);
  static_assert(is<loss_based, gram_based, gradient_based, target_based, update_based>,
                "any holds policies of a kind of weighting/kinds.hpp");
  static_assert(Batches == 1 || is<gram_based>, "only an any<gram_based> can have several batches");

  static constexpr bool has_target = is<target_based, update_based>;
  static constexpr bool in_steps = !is<update_based>;

  template <class P>
  static constexpr bool fits =
      (LossBasedWeighting<P> && is<loss_based, gram_based, target_based>) ||
      (GramBasedWeighting<P> && is<gram_based, target_based> &&
       weighting::gram_batches<P> == Batches) ||
      (GradientBasedWeighting<P> && is<gradient_based>) ||
      (TargetBasedWeighting<P> && is<target_based>) ||
      (UpdateBasedWeighting<P> && is<update_based>);

  template <class P>
  static constexpr bool other = !std::is_same_v<std::remove_cvref_t<P>, any>;

 public:
  using weighting_kind = Kind;
  static constexpr std::size_t gram_batches = Batches;
  static constexpr bool fixed_columns = is<gradient_based>;

  template <class P>
    requires(other<P> && fits<std::remove_cvref_t<P>> && !has_target)
  explicit any(P&& policy)
      : policy_(std::make_unique<holder<std::remove_cvref_t<P>>>(std::forward<P>(policy))) {}

  /// A policy with a target.
  template <class P>
    requires(other<P> && fits<std::remove_cvref_t<P>> && has_target &&
             HasTarget<std::remove_cvref_t<P>>)
  explicit any(P&& policy)
      : detail::with_target{target_of(policy)},
        policy_(std::make_unique<holder<std::remove_cvref_t<P>>>(std::forward<P>(policy))) {}

  /// A policy that knows no target: this one chooses the best epoch and is asked about.
  template <class P>
    requires(other<P> && fits<std::remove_cvref_t<P>> && has_target)
  any(P&& policy, std::string target_name)
      : detail::with_target{std::move(target_name)},
        policy_(std::make_unique<holder<std::remove_cvref_t<P>>>(std::forward<P>(policy))) {}

  any(const any& from) : base(from), policy_(from.policy_->clone()) {}
  any(any&&) noexcept = default;
  any& operator=(any from) noexcept {
    base::operator=(std::move(from));
    policy_ = std::move(from.policy_);
    return *this;
  }
  ~any() = default;

  void reset(const std::vector<std::string>& names) { policy_->reset(names); }
  void end_epoch(std::span<const double> means) { policy_->end_epoch(means); }
  [[nodiscard]] std::size_t iterations() const { return policy_->iterations(); }

  void observe(losses after)
    requires in_steps
  {
    policy_->observe(after);
  }
  [[nodiscard]] bool observes() const
    requires in_steps
  {
    return policy_->observes();
  }

  [[nodiscard]] bool uses_losses() const { return policy_->uses_losses(); }
  [[nodiscard]] sight looks_at(losses l) const
    requires in_steps
  {
    return policy_->looks_at(l);
  }

  void weigh(losses l, weights w)
    requires(is<loss_based>)
  {
    policy_->weigh(l, {}, nullptr, w);
  }
  void weigh(losses l, gram_matrix g, weights w)
    requires(is<gram_based>)
  {
    policy_->weigh(l, g, nullptr, w);
  }
  void weigh(losses l, gram_matrix g, step_oracle& oracle, weights w)
    requires(is<target_based>)
  {
    policy_->weigh(l, g, &oracle, w);
  }

  template <Scalar T>
  void combine(losses l, matrix_view<const T> j, std::span<T> d)
    requires(is<gradient_based>)
  {
    policy_->combine(l, j, d);
  }
  void layout(std::span<const gradient_columns> columns)
    requires(is<gradient_based>)
  {
    policy_->layout(columns);
  }

  void plan(round_plan& next)
    requires(is<update_based>)
  {
    policy_->plan(next);
  }
  void combine(update_oracle& oracle, weights alpha)
    requires(is<update_based>)
  {
    policy_->combine(oracle, alpha);
  }

  void worth(weights w) const
    requires(is<gradient_based, update_based>)
  {
    policy_->worth(w);
  }

 private:
  using base = std::conditional_t<has_target, detail::with_target, detail::without_target>;

  struct interface {
    interface() = default;
    interface(const interface&) = default;
    interface& operator=(const interface&) = delete;
    virtual ~interface() = default;
    [[nodiscard]] virtual std::unique_ptr<interface> clone() const = 0;
    virtual void reset(const std::vector<std::string>& names) = 0;
    virtual void end_epoch(std::span<const double> means) = 0;
    [[nodiscard]] virtual std::size_t iterations() const = 0;
    virtual void observe(losses after) = 0;
    [[nodiscard]] virtual bool observes() const = 0;
    [[nodiscard]] virtual bool uses_losses() const = 0;
    [[nodiscard]] virtual sight looks_at(losses l) const = 0;
    virtual void weigh(losses l, gram_matrix g, step_oracle* oracle, weights w) = 0;
    virtual void combine(losses l, matrix_view<const float> j, std::span<float> d) = 0;
    virtual void combine(losses l, matrix_view<const double> j, std::span<double> d) = 0;
    virtual void layout(std::span<const gradient_columns> columns) = 0;
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
    [[nodiscard]] std::size_t iterations() const override { return weighting::iterations(held); }

    // What the kind does not have is never called.
    void observe([[maybe_unused]] losses after) override {
      if constexpr (Observes<P>) {
        held.observe(after);
      }
    }
    [[nodiscard]] bool observes() const override {
      if constexpr (Observes<P>) {
        return weighting::observes(held);
      } else {
        return false;
      }
    }
    [[nodiscard]] bool uses_losses() const override { return weighting::uses_losses(held); }
    [[nodiscard]] sight looks_at(losses l) const override { return weighting::looks_at(held, l); }
    void weigh([[maybe_unused]] losses l, [[maybe_unused]] gram_matrix g,
               [[maybe_unused]] step_oracle* oracle, [[maybe_unused]] weights w) override {
      if constexpr (TargetBasedWeighting<P>) {
        held.weigh(l, g, *oracle, w);
      } else if constexpr (GramBasedWeighting<P>) {
        held.weigh(l, g, w);
      } else if constexpr (LossBasedWeighting<P>) {
        held.weigh(l, w);
      }
    }
    void combine([[maybe_unused]] losses l, [[maybe_unused]] matrix_view<const float> j,
                 [[maybe_unused]] std::span<float> d) override {
      if constexpr (GradientBasedWeighting<P>) {
        held.combine(l, j, d);
      }
    }
    void combine([[maybe_unused]] losses l, [[maybe_unused]] matrix_view<const double> j,
                 [[maybe_unused]] std::span<double> d) override {
      if constexpr (GradientBasedWeighting<P>) {
        held.combine(l, j, d);
      }
    }
    void layout([[maybe_unused]] std::span<const gradient_columns> columns) override {
      if constexpr (requires { held.layout(columns); }) {
        held.layout(columns);
      }
    }
    void plan([[maybe_unused]] round_plan& next) override {
      if constexpr (UpdateBasedWeighting<P>) {
        held.plan(next);
      }
    }
    void combine([[maybe_unused]] update_oracle& oracle, [[maybe_unused]] weights alpha) override {
      if constexpr (UpdateBasedWeighting<P>) {
        held.combine(oracle, alpha);
      }
    }
    void worth(weights w) const override {
      if constexpr (requires { held.worth(w); }) {
        held.worth(w);
      } else {
        std::fill(w.begin(), w.end(), 1.0);
      }
    }
  };

  std::unique_ptr<interface> policy_;
};

}  // namespace vierbein::weighting
