// Schedules: the factor of the learning rate as training proceeds.
//
// A schedule is any object that is called with the progress, a number from 0 (the first step) to 1
// (the end), and returns the factor: finite and not negative. Where it has a `void validate()
// const` that throws vierbein::error for an unusable option, that is called when `training` is
// given the schedule; one that is put into another one (`warm_up`) must have it.
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <functional>
#include <numbers>
#include <type_traits>
#include <utility>

#include "vierbein/core/error.hpp"

namespace vierbein {

template <class S>
concept Schedule = requires(const S& s, double progress) {
  { s(progress) } -> std::convertible_to<double>;
  s.validate();  // throws vierbein::error for an unusable option
};

namespace schedule {

/// Throws unless `value` lies in [0, 1].
inline void require_fraction(const char* schedule, const char* option, double value) {
  require(value >= 0 && value <= 1, schedule, "{} must be in [0, 1], but is {}", option, value);
}

/// From `from` at t = 0 to `to` at t = 1 along half a cosine wave.
inline double cosine_between(double from, double to, double t) {
  return to + (from - to) * 0.5 * (1 + std::cos(std::numbers::pi * std::clamp(t, 0.0, 1.0)));
}

/// Always 1.
struct constant {
  void validate() const {}
  double operator()(double /*progress*/) const { return 1; }
};

/// From 1 to `floor` along half a cosine wave (Loshchilov and Hutter 2017, without restarts).
struct cosine {
  double floor = 0;

  void validate() const { require_fraction("schedule::cosine", "floor", floor); }
  double operator()(double progress) const { return cosine_between(1, floor, progress); }
};

/// The 1cycle policy (Smith and Topin 2018): the factor rises in a straight line from `start` to 1
/// during the first `rise` of the training, then falls to `end`. The paper falls in a straight line
/// to `start` and then below it; here one half cosine wave does both.
struct one_cycle {
  double rise = 0.3;    ///< share of the training
  double start = 0.04;  ///< first factor
  double end = 1e-4;    ///< last factor

  void validate() const {
    require_fraction("schedule::one_cycle", "rise", rise);
    require_fraction("schedule::one_cycle", "start", start);
    require_fraction("schedule::one_cycle", "end", end);
  }
  double operator()(double progress) const {
    if (progress < rise) {
      return start + (1 - start) * std::max(progress, 0.0) / rise;
    }
    return rise < 1 ? cosine_between(1, end, (progress - rise) / (1 - rise)) : 1;
  }
};

/// Rises in a straight line from 0 to the first factor of `then` during the first `fraction` of the
/// training; `then` runs its whole course in what is left.
template <Schedule Then = constant>
struct warm_up {
  double fraction = 0.05;
  Then then{};

  void validate() const {
    require_fraction("schedule::warm_up", "fraction", fraction);
    then.validate();
  }
  double operator()(double progress) const {
    if (progress < fraction) {
      return then(0) * std::max(progress, 0.0) / fraction;
    }
    return then(fraction < 1 ? (progress - fraction) / (1 - fraction) : 0);
  }
};

/// A schedule of any type, or none: an empty one's factor is 1. Throws for what the `validate` of
/// the given one throws for, and when a factor is negative or not finite.
class any {
 public:
  any() = default;
  any(std::nullptr_t) {}  // NOLINT(google-explicit-constructor)
  template <class S>
    requires(!std::same_as<std::remove_cvref_t<S>, any> &&
             std::is_invocable_r_v<double, std::decay_t<S>&, double> &&
             std::copy_constructible<std::decay_t<S>>)
  any(S&& given) {  // NOLINT(google-explicit-constructor)
    if constexpr (requires { given.validate(); }) {
      given.validate();
    }
    factor_ = std::forward<S>(given);
  }

  [[nodiscard]] explicit operator bool() const { return static_cast<bool>(factor_); }

  double operator()(double progress) const {
    if (!factor_) {
      return 1;
    }
    const double factor = factor_(progress);
    require(std::isfinite(factor) && factor >= 0, "schedule",
            "the factor at progress {} must be finite and not negative, but is {}", progress,
            factor);
    return factor;
  }

 private:
  std::function<double(double)> factor_;
};

}  // namespace schedule
}  // namespace vierbein
