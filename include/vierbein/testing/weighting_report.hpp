// What the checks of a weighting policy have found.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace vierbein::testing {

enum class weighting_verdict {
  held,           ///< checked, and nothing was found
  failed,         ///< a counter-example was found
  not_claimed,    ///< the policy does not declare the property
  not_applicable  ///< there is nothing to check in a policy of this kind, or no means to
};

/// One check.
struct weighting_check {
  std::string name = {};
  weighting_verdict verdict = weighting_verdict::not_applicable;
  bool measured = false;     ///< whether `worst` was measured
  double worst = 0;          ///< the greatest violation seen, in units of what is allowed
  double allowed = 0;        ///< the violation that is allowed, in the property's own unit
  std::string problem = {};  ///< what is wrong, in one sentence
  std::string example = {};  ///< where, as small as it could be made
};

/// All checks of one policy. True when none has failed; printable.
struct weighting_report {
  std::vector<weighting_check> checks = {};

  explicit operator bool() const {
    return std::ranges::none_of(
        checks, [](const auto& c) { return c.verdict == weighting_verdict::failed; });
  }

  /// The check of this name; nullptr when there is none.
  [[nodiscard]] const weighting_check* find(std::string_view name) const {
    const auto at = std::ranges::find(checks, name, &weighting_check::name);
    return at == checks.end() ? nullptr : &*at;
  }

  /// The names of the checks that failed, in their order.
  [[nodiscard]] std::vector<std::string> failures() const {
    std::vector<std::string> names;
    for (const weighting_check& c : checks) {
      if (c.verdict == weighting_verdict::failed) {
        names.push_back(c.name);
      }
    }
    return names;
  }

  /// A line for each failure with its example below it, and what was not checked.
  [[nodiscard]] std::string text() const {
    std::string s;
    std::string held, not_claimed, not_applicable;
    for (const weighting_check& c : checks) {
      if (c.verdict == weighting_verdict::failed) {
        s += fmt::format("FAILED {}: {}\n", c.name, c.problem);
        s += c.example.empty() ? "" : fmt::format("  example: {}\n", c.example);
      } else {
        std::string& list = c.verdict == weighting_verdict::held          ? held
                            : c.verdict == weighting_verdict::not_claimed ? not_claimed
                                                                          : not_applicable;
        list += (list.empty() ? "" : ", ") + c.name;
      }
    }
    s += held.empty() ? "" : "held: " + held + "\n";
    s += not_claimed.empty() ? "" : "not claimed: " + not_claimed + "\n";
    s += not_applicable.empty() ? "" : "not applicable: " + not_applicable + "\n";
    return s;
  }

  friend std::ostream& operator<<(std::ostream& out, const weighting_report& report) {
    return out << '\n' << report.text();
  }
};

}  // namespace vierbein::testing
