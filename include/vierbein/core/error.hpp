// One exception type: every refusal names a place and says what was expected there.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

namespace vierbein {

/// Thrown for bad input, a bad option or an unusable file. `what()` is one sentence of the form
/// "<place>: <problem>", for example "molecules.csv, row 7, column log_p: expected a number, found
/// 'n/a'".
class error : public std::runtime_error {
 public:
  error(std::string place, const std::string& problem)
      : std::runtime_error(place + ": " + problem), place_(std::move(place)) {}

  /// Where it happened: a file with row and column, an option, an argument of a function.
  [[nodiscard]] const std::string& place() const noexcept { return place_; }

 private:
  std::string place_;
};

namespace detail {

// Apart from `require`, so that every call of that is a test and a jump.
[[noreturn, gnu::cold, gnu::noinline]] inline void refuse(const char* place,
                                                          fmt::string_view format,
                                                          fmt::format_args args) {
  throw error(place, fmt::vformat(format, args));
}

}  // namespace detail

/// Throws `error(place, fmt::format(format, args...))` unless `condition` holds.
template <class... Args>
void require(bool condition, const char* place, fmt::format_string<Args...> format,
             Args&&... args) {
  if (!condition) {
    detail::refuse(place, format, fmt::make_format_args(args...));
  }
}

// Options that are numbers: each of these throws, naming the place, unless `value` is as the name
// says, and finite.

inline void require_positive(double value, const char* option, const char* place) {
  require(value > 0 && std::isfinite(value), place, "{} must be finite and positive, but is {}",
          option, value);
}
inline void require_not_negative(double value, const char* option, const char* place) {
  require(value >= 0 && std::isfinite(value), place,
          "{} must be finite and not negative, but is {}", option, value);
}
inline void require_at_least(double least, double value, const char* option, const char* place) {
  require(value >= least && std::isfinite(value), place,
          "{} must be finite and at least {}, but is {}", option, least, value);
}
/// At least `low` and less than `high`.
inline void require_within(double low, double high, double value, const char* option,
                           const char* place) {
  require(value >= low && value < high, place, "{} must be at least {} and less than {}, but is {}",
          option, low, high, value);
}

}  // namespace vierbein
