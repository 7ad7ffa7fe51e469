// What the tests of several weighting policies are tried on.
#pragma once

#include <array>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "vierbein/testing/quadratic_tasks.hpp"

namespace situations {

using vierbein::testing::quadratic_tasks;

inline const std::vector<std::string> names{"main", "near", "far"};

/// Gradients (3, 4), (0, 4) and (-3, 0) at θ = (3, 4), so G is
///     25  16  -9
///     16  16   0
///     -9   0   9
/// and the cosines with the first are 1, 16 / 20 = 0.8 and -9 / 15 = -0.6. The losses are 12.5, 8
/// and 4.5; every Hessian is the identity; the first is the target.
inline quadratic_tasks three_four() {
  return {{{"main", {1, 1}, {0, 0}}, {"near", {1, 1}, {3, 0}}, {"far", {1, 1}, {6, 4}}},
          "main",
          {3, 4}};
}

/// From θ = (1, 1): `same` is the target once more; `opposed` pulls θ_0 away from the target's
/// minimum 0 up to 3; `other` sees θ_1 alone, to which the target is indifferent.
inline quadratic_tasks recovery() {
  return {{{"main", {1, 0}, {0, 0}},
           {"same", {1, 0}, {0, 0}},
           {"opposed", {1, 0}, {3, 0}},
           {"other", {0, 1}, {0, 0}}},
          "main",
          {1, 1}};
}

/// From θ = (2, 2), both auxiliaries pull away from the target's minimum 0, all the way. Equal
/// weights end at (11, 8) / 3, where the target's loss is 185 / 18 = 10.3; the target alone ends
/// at 0.
inline quadratic_tasks all_harmful() {
  return {{{"main", {1, 1}, {0, 0}}, {"worse", {1, 1}, {5, 5}}, {"bad", {1, 1}, {6, 3}}},
          "main",
          {2, 2}};
}

/// A target alone, from θ = 2.
inline quadratic_tasks alone() {
  return {{{"main", {1}, {0}}}, "main", {2}};
}

inline constexpr std::array<bool, 3> without_target{false, true, true};
inline constexpr std::array<bool, 3> without_near{true, false, true};
inline constexpr double no_number = std::numeric_limits<double>::quiet_NaN();

}  // namespace situations
