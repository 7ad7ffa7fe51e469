// One exception type: every refusal names a place and says what was expected there.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <cstddef>
#include <memory>
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

/// Thrown when a device fails. What had been trained until then need not be lost: `fit` gives the
/// model the best parameters so far, if they were chosen on validation rows, and says so.
class device_error : public error {
 public:
  device_error(std::string place, const std::string& problem)
      : error(std::move(place), problem), text_(error::what()) {}

  [[nodiscard]] const char* what() const noexcept override { return text_.c_str(); }

  /// The epoch (or round), from 1, whose parameters the model has now; 0 where it is unchanged.
  [[nodiscard]] std::ptrdiff_t kept_epoch() const noexcept { return kept_epoch_; }
  void keep(std::ptrdiff_t epoch) {
    kept_epoch_ = epoch;
    text_ = fmt::format("{}; the model has the parameters of epoch {}, the best so far",
                        error::what(), epoch);
  }

 private:
  std::string text_;
  std::ptrdiff_t kept_epoch_ = 0;
};

namespace detail {

/// An argument of a message. fmt's lists of arguments are compiled anew for every list of types,
/// hundreds of them in this library; an argument by itself is compiled once for its type.
class message_argument {
 public:
  template <class T>
  message_argument(const T& value)
      : value_(std::addressof(value)), print_([](const void* v, fmt::string_view spec) {
          return fmt::vformat(spec, fmt::make_format_args(*static_cast<const T*>(v)));
        }) {}
  message_argument(const char* value)
      : value_(value), print_([](const void* v, fmt::string_view spec) {
          const auto* text = static_cast<const char*>(v);
          return fmt::vformat(spec, fmt::make_format_args(text));
        }) {}

  /// `spec` is the field to be replaced, such as "{:.3g}".
  [[nodiscard]] std::string text(fmt::string_view spec) const { return print_(value_, spec); }

 private:
  const void* value_;
  std::string (*print_)(const void*, fmt::string_view);
};

/// A format string of fmt's for so many arguments, in their order: a wrong number does not compile.
template <std::size_t Arguments>
class message_format {
 public:
  consteval message_format(const char* text) : text_(text) {
    std::size_t fields = 0;
    for (const char* c = text; *c != '\0'; ++c) {
      if (c[0] == c[1] && (*c == '{' || *c == '}')) {
        ++c;
      } else if (*c == '{') {
        ++fields;
        while (*c != '}') {
          ++c;
        }
      } else if (*c == '}') {
        throw "a closing brace that was not opened";
      }
    }
    if (fields != Arguments) {
      throw "another number of fields than of arguments";
    }
  }
  [[nodiscard]] const char* text() const { return text_; }

 private:
  const char* text_;
};

[[gnu::cold, gnu::noinline]] inline std::string filled(const char* format,
                                                       const message_argument* next) {
  std::string out;
  for (const char* c = format; *c != '\0'; ++c) {
    if (c[0] == c[1] && (*c == '{' || *c == '}')) {
      out += *c++;
    } else if (*c == '{') {
      const char* const field = c;
      while (*c != '}') {
        ++c;
      }
      out += (next++)->text({field, static_cast<std::size_t>(c + 1 - field)});
    } else {
      out += *c;
    }
  }
  return out;
}

// Apart from `require`, so that every call of that is a test and a jump.
[[noreturn, gnu::cold, gnu::noinline]] inline void refuse(const char* place, const char* format,
                                                          const message_argument* arguments) {
  throw error(place, filled(format, arguments));
}

}  // namespace detail

/// As fmt::format, for what is said once: slower, but quickly compiled. Fields take the arguments
/// in their order: no numbers, no names, no fields within fields.
template <class... Args>
std::string formatted(detail::message_format<sizeof...(Args)> format, const Args&... args) {
  const detail::message_argument all[] = {args..., ""};
  return detail::filled(format.text(), all);
}

/// Throws `error(place, formatted(format, args...))` unless `condition` holds.
template <class... Args>
void require(bool condition, const char* place, detail::message_format<sizeof...(Args)> format,
             const Args&... args) {
  if (!condition) {
    const detail::message_argument all[] = {args..., ""};
    detail::refuse(place, format.text(), all);
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
