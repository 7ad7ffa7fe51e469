// Options (core/options.hpp) as JSON, and strictly back.
//
//     number, truth value, text     the same in JSON; a double that is not finite is a text: "inf",
//                                   "-inf" or "nan"
//     enumeration                   its name, or its number when it has no `option_names`
//     std::vector, std::pair        an array
//     type with options             an object, with its name as "kind" when it has one
//     std::variant of such types    the object of the one it holds; their kinds differ
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/core/options.hpp"
#include "vierbein/io/safetensors.hpp"

namespace vierbein::io {

/// JSON whose objects keep the order of their keys.
using json = nlohmann::ordered_json;

/// Where an option stands: in which file, and there under which name, such as "encoder.widths[0]".
struct option_place {
  std::string file;
  std::string name = {};

  [[nodiscard]] option_place member(std::string_view key) const {
    return {file, name.empty() ? std::string(key) : fmt::format("{}.{}", name, key)};
  }
  [[nodiscard]] option_place element(std::size_t i) const {
    return {file, fmt::format("{}[{}]", name, i)};
  }
  [[nodiscard]] error refuse(std::string_view problem) const {
    return {file, fmt::format("option {} {}", detail::quoted(name), problem)};
  }
};

namespace detail {

template <class V>
inline constexpr bool is_vector = false;
template <class V, class Allocator>
inline constexpr bool is_vector<std::vector<V, Allocator>> = true;

template <class V>
inline constexpr bool is_pair = false;
template <class First, class Second>
inline constexpr bool is_pair<std::pair<First, Second>> = true;

template <class V>
inline constexpr bool is_variant = false;
template <class... Alternatives>
inline constexpr bool is_variant<std::variant<Alternatives...>> = true;

template <class E>
concept NamedEnum = std::is_enum_v<E> && requires { option_names(E{}); };

template <class V>
inline constexpr bool never = false;

template <class... Alternatives>
consteval bool different_kinds(const std::variant<Alternatives...>*) {
  std::array<std::string_view, sizeof...(Alternatives)> kinds{Alternatives::kind...};
  std::sort(kinds.begin(), kinds.end());
  return std::adjacent_find(kinds.begin(), kinds.end()) == kinds.end();
}

/// What stands at a place, as an error message shows it: on one line, not too long.
inline std::string shown(const json& value) {
  constexpr std::size_t longest = 60;
  std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
  if (text.size() > longest) {
    text.resize(longest);
    text += "...";
  }
  return text;
}

inline error unexpected(const option_place& at, const json& found, std::string_view wanted) {
  return at.refuse(fmt::format("is {}, expected {}", shown(found), wanted));
}

}  // namespace detail

/// An option as JSON. Errors name `at`.
template <class V>
json option_to_json(const option_place& at, const V& value) {
  if constexpr (std::floating_point<V>) {
    if (!std::isfinite(value)) {
      return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
    }
    return static_cast<double>(value);
  } else if constexpr (std::integral<V> || std::same_as<V, std::string>) {
    return value;
  } else if constexpr (detail::NamedEnum<V>) {
    constexpr auto names = option_names(V{});
    const auto i = static_cast<std::size_t>(value);
    if (i >= names.size()) {
      throw at.refuse(fmt::format("has the value {}, which has no name", i));
    }
    return names[i];
  } else if constexpr (std::is_enum_v<V>) {
    return static_cast<std::underlying_type_t<V>>(value);
  } else if constexpr (detail::is_vector<V>) {
    json list = json::array();
    for (std::size_t i = 0; i < value.size(); ++i) {
      const typename V::value_type element = value[i];
      list.push_back(option_to_json(at.element(i), element));
    }
    return list;
  } else if constexpr (detail::is_pair<V>) {
    json list = json::array();
    list.push_back(option_to_json(at.element(0), value.first));
    list.push_back(option_to_json(at.element(1), value.second));
    return list;
  } else if constexpr (detail::is_variant<V>) {
    return std::visit([&](const auto& held) { return option_to_json(at, held); }, value);
  } else if constexpr (HasOptions<V>) {
    json object = json::object();
    if constexpr (HasKind<V>) {
      object["kind"] = V::kind;
    }
    V copy = value;  // options() may change what it is called on
    copy.options([&](std::string_view name, const auto& option) {
      const std::string key(name);
      if (object.contains(key)) {
        throw at.member(name).refuse("is named twice");
      }
      object[key] = option_to_json(at.member(name), option);
    });
    return object;
  } else {
    static_assert(detail::never<V>,
                  "an option must be a number, bool, std::string, enumeration, a type with options "
                  "or a std::vector or std::pair of those: see core/options.hpp");
  }
}

/// Sets `value` to the option that `from` holds. Throws, with the place, for anything that
/// option_to_json would not have written for this type: a missing or unknown option, another type,
/// another kind.
template <class V>
void option_from_json(const option_place& at, const json& from, V& value) {
  if constexpr (std::same_as<V, bool>) {
    if (!from.is_boolean()) {
      throw detail::unexpected(at, from, "true or false");
    }
    value = from.get<bool>();
  } else if constexpr (std::floating_point<V>) {
    if (from == "inf" || from == "-inf") {
      value =
          from == "inf" ? std::numeric_limits<V>::infinity() : -std::numeric_limits<V>::infinity();
    } else if (from == "nan") {
      value = std::numeric_limits<V>::quiet_NaN();
    } else if (from.is_number()) {
      value = static_cast<V>(from.get<double>());
    } else {
      throw detail::unexpected(at, from, "a number");
    }
  } else if constexpr (std::integral<V>) {
    const bool fits = from.is_number_unsigned()
                          ? std::in_range<V>(from.get<std::uint64_t>())
                          : from.is_number_integer() && std::in_range<V>(from.get<std::int64_t>());
    if (!fits) {
      throw detail::unexpected(at, from, "a whole number");
    }
    value = from.get<V>();
  } else if constexpr (std::same_as<V, std::string>) {
    if (!from.is_string()) {
      throw detail::unexpected(at, from, "a text");
    }
    value = from.get<std::string>();
  } else if constexpr (detail::NamedEnum<V>) {
    constexpr auto names = option_names(V{});
    const auto it =
        std::find_if(names.begin(), names.end(), [&](const char* n) { return from == n; });
    if (it == names.end()) {
      throw detail::unexpected(at, from, fmt::format("one of {}", fmt::join(names, ", ")));
    }
    value = static_cast<V>(it - names.begin());
  } else if constexpr (std::is_enum_v<V>) {
    std::underlying_type_t<V> number{};
    option_from_json(at, from, number);
    value = static_cast<V>(number);
  } else if constexpr (detail::is_vector<V>) {
    if (!from.is_array()) {
      throw detail::unexpected(at, from, "a list");
    }
    value.clear();
    for (std::size_t i = 0; i < from.size(); ++i) {
      typename V::value_type element{};
      option_from_json(at.element(i), from[i], element);
      value.push_back(std::move(element));
    }
  } else if constexpr (detail::is_pair<V>) {
    if (!from.is_array() || from.size() != 2) {
      throw detail::unexpected(at, from, "a list of two");
    }
    option_from_json(at.element(0), from[0], value.first);
    option_from_json(at.element(1), from[1], value.second);
  } else if constexpr (detail::is_variant<V>) {
    static_assert(detail::different_kinds(static_cast<const V*>(nullptr)),
                  "two heads of one model have the same `kind`, a model file could not tell them "
                  "apart");
    const auto kind = from.is_object() ? from.find("kind") : from.end();
    if (!from.is_object() || kind == from.end()) {
      throw detail::unexpected(at, from, "options with a 'kind'");
    }
    const auto matches = [&]<std::size_t... I>(std::index_sequence<I...>) {
      const auto read = [&](auto& held) { option_from_json(at, from, held); };
      return ((*kind == std::variant_alternative_t<I, V>::kind &&
               (read(value.template emplace<I>()), true)) ||
              ...);
    };
    if (!matches(std::make_index_sequence<std::variant_size_v<V>>{})) {
      throw at.refuse(
          fmt::format("is of the kind {}, which the program does not know", detail::shown(*kind)));
    }
  } else {
    static_assert(HasOptions<V>, "an option must be of a type that option_to_json knows");
    if (!from.is_object()) {
      throw detail::unexpected(at, from, "named options");
    }
    std::vector<std::string> known;
    const auto find = [&](std::string_view name) -> const json& {
      known.emplace_back(name);
      const auto it = from.find(known.back());
      if (it == from.end()) {
        throw at.member(name).refuse("is missing");
      }
      return *it;
    };
    if constexpr (HasKind<V>) {
      if (const json& kind = find("kind"); kind != V::kind) {
        throw at.refuse(fmt::format("is of the kind {}, the program expects {}",
                                    detail::shown(kind), detail::quoted(V::kind)));
      }
    }
    value.options([&](std::string_view name, auto& option) {
      option_from_json(at.member(name), find(name), option);
    });
    for (const auto& [key, ignored] : from.items()) {
      if (std::find(known.begin(), known.end(), key) == known.end()) {
        throw at.member(key).refuse("is not known");
      }
    }
  }
}

}  // namespace vierbein::io
