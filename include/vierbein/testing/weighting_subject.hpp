// A weighting policy of any kind, as the checks see it.
#pragma once

#include <concepts>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "vierbein/core/matrix.hpp"
#include "vierbein/testing/gradient_matrices.hpp"
#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/traits.hpp"

namespace vierbein::testing {

namespace detail {

template <class P, class T>
concept Combines =
    requires(P& p, losses l, matrix_view<const T> j, std::span<T> d) { p.combine(l, j, d); };

template <class P>
inline constexpr bool of_steps =
    LossBasedWeighting<P> || GramBasedWeighting<P> || Combines<P, double>;

/// Hides the policy's type, so that the checks are compiled once.
class weighting_subject {
 public:
  virtual ~weighting_subject() = default;
  weighting_subject() = default;
  weighting_subject(const weighting_subject&) = default;
  weighting_subject& operator=(const weighting_subject&) = delete;

  [[nodiscard]] virtual std::unique_ptr<weighting_subject> copy() const = 0;
  virtual void reset(const std::vector<std::string>& names) = 0;
  /// Calls the policy's verb: assigns the weights w (T), or where it answers none the direction
  /// d (P). Allocates nothing itself.
  virtual void weigh(losses l, matrix_view<const double> j, gram_matrix g, std::span<double> w,
                     std::span<double> d) = 0;
  /// combine in single precision; false where the policy does not offer it.
  virtual bool combine(losses l, matrix_view<const float> j, std::span<float> d) = 0;
  /// combine where the policy answers weights too; false where it does not offer it.
  virtual bool combine_as_well(losses l, matrix_view<const double> j, std::span<double> d) = 0;
  /// Whether the policy says that it will not look at the Gramian (looks_at).
  [[nodiscard]] virtual bool spares_gramian(losses l) const = 0;
  virtual void observe(losses after) = 0;
  virtual void end_epoch(std::span<const double> mean) = 0;
  [[nodiscard]] virtual std::optional<double> objective(losses l) const = 0;
  /// The residual of the last answer, and whether the policy says that it has found one; nothing
  /// where it offers no certificate.
  [[nodiscard]] virtual std::optional<std::pair<double, bool>> certificate() const = 0;

  std::optional<weighting::weighting_traits> traits;
  std::optional<std::string> target;
  bool answers_weights = true;
  bool sees_gradients = true;
  bool uses_losses = true;
  bool says_what_it_sees = false;  // looks_at
};

template <class P>
class subject_of final : public weighting_subject {
 public:
  explicit subject_of(P policy) : policy_(std::move(policy)) {
    if constexpr (weighting::HasTraits<P>) {
      traits = policy_.traits();
    }
    if constexpr (weighting::HasTarget<P>) {
      target = weighting::target_of(policy_);
    }
    answers_weights = LossBasedWeighting<P> || GramBasedWeighting<P>;
    sees_gradients = !LossBasedWeighting<P>;
    uses_losses = weighting::uses_losses(policy_);
    says_what_it_sees = GramBasedWeighting<P> && requires { policy_.looks_at(losses{}); };
  }

  [[nodiscard]] std::unique_ptr<weighting_subject> copy() const override {
    return std::make_unique<subject_of>(*this);
  }
  void reset(const std::vector<std::string>& names) override { weighting::reset(policy_, names); }
  void weigh(losses l, matrix_view<const double> j, gram_matrix g, std::span<double> w,
             std::span<double> d) override {
    if constexpr (LossBasedWeighting<P>) {
      policy_.weigh(l, w);
    } else if constexpr (GramBasedWeighting<P>) {
      policy_.weigh(l, g, w);
    } else {
      policy_.combine(l, j, d);
    }
  }
  bool combine(losses l, matrix_view<const float> j, std::span<float> d) override {
    if constexpr (Combines<P, float>) {
      policy_.combine(l, j, d);
      return true;
    } else {
      return false;
    }
  }
  bool combine_as_well(losses l, matrix_view<const double> j, std::span<double> d) override {
    if constexpr ((LossBasedWeighting<P> || GramBasedWeighting<P>) && Combines<P, double>) {
      policy_.combine(l, j, d);
      return true;
    } else {
      return false;
    }
  }
  [[nodiscard]] bool spares_gramian(losses l) const override {
    return GramBasedWeighting<P> && weighting::looks_at(policy_, l) == sight::losses;
  }
  void observe(losses after) override {
    if constexpr (requires { policy_.observe(after); }) {
      policy_.observe(after);
    }
  }
  void end_epoch(std::span<const double> mean) override {
    if constexpr (requires { policy_.end_epoch(mean); }) {
      policy_.end_epoch(mean);
    }
  }
  [[nodiscard]] std::optional<double> objective(losses l) const override {
    if constexpr (requires {
                    { policy_.objective(l) } -> std::convertible_to<double>;
                  }) {
      return policy_.objective(l);
    } else {
      return std::nullopt;
    }
  }
  [[nodiscard]] std::optional<std::pair<double, bool>> certificate() const override {
    if constexpr (requires {
                    { policy_.last().residual } -> std::convertible_to<double>;
                  }) {
      const auto last = policy_.last();
      if constexpr (requires { last.converged; }) {
        return std::pair{static_cast<double>(last.residual), static_cast<bool>(last.converged)};
      } else {
        return std::pair{static_cast<double>(last.residual), true};
      }
    } else {
      return std::nullopt;
    }
  }

 private:
  P policy_;
};

}  // namespace detail
}  // namespace vierbein::testing
