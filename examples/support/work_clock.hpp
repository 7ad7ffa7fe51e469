// How long the rest of a plan takes, learnt from what was done of it.
#pragma once

#include <algorithm>
#include <limits>
#include <map>
#include <string>

namespace examples {

/// Work comes in pieces of several kinds, and a piece in units. A kind that was measured takes as
/// long a unit as it did so far; any other is guessed from its expected cost, relative to the kinds
/// that were measured. Times in seconds, from any beginning.
class work_clock {
 public:
  /// Plans a piece of work. `cost`: seconds of a unit, right but for a factor common to all kinds.
  void plan(const std::string& name, double units, double cost) {
    kinds_[name].planned += units;
    kinds_[name].cost = cost;
  }

  /// Begins a piece that was planned.
  void start(const std::string& name, double units, double now) {
    current_ = name;
    units_ = units;
    began_ = now;
    fraction_ = 0;
  }

  /// How much of the present piece is done, in [0, 1].
  void advance(double fraction) { fraction_ = std::clamp(fraction, 0.0, 1.0); }

  /// The present piece is done.
  void finish(double now) {
    kind& k = kinds_[current_];
    k.planned = std::max(0.0, k.planned - units_);
    k.units += units_;
    k.seconds += now - began_;
    units_ = 0;
  }

  /// Seconds until all is done; NaN while nothing is known.
  [[nodiscard]] double left(double now) const {
    auto kinds = kinds_;
    if (units_ > 0) {  // what is done of the present piece counts as if it were one
      kind& k = kinds[current_];
      const double done = fraction_ * units_;
      k.planned = std::max(0.0, k.planned - done);
      if (fraction_ >= 0.05) {
        k.units += done;
        k.seconds += now - began_;
      }
    }
    double seconds = 0;
    double expected = 0;
    for (const auto& [name, k] : kinds) {
      seconds += k.seconds;
      expected += k.units * k.cost;
    }
    if (!(expected > 0)) {
      return std::numeric_limits<double>::quiet_NaN();
    }
    double total = 0;
    for (const auto& [name, k] : kinds) {
      total += k.planned * (k.units > 0 ? k.seconds / k.units : k.cost * seconds / expected);
    }
    return total;
  }

 private:
  struct kind {
    double planned = 0;  // units to do
    double units = 0;    // units done, and the seconds that they took
    double seconds = 0;
    double cost = 0;
  };

  std::map<std::string, kind> kinds_;
  std::string current_;
  double units_ = 0;
  double began_ = 0;
  double fraction_ = 0;
};

}  // namespace examples
