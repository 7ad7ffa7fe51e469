// Options by name: how a policy, or the shape of an input, tells a model file what it is made of.
//
// A type with options offers a member that names each of them once, in a fixed order:
//     template <class Visitor>
//     void options(Visitor&& visit) {
//       visit("depth", depth);
//       visit("readout", readout);
//     }
// An option is a number, a truth value, a std::string, an enumeration, a type with options, or a
// std::vector or std::pair of those. The values of an enumeration are stored by name when a
// function beside it lists the names from the value 0 on, and as numbers otherwise:
//     enum class readout { mean, sum };
//     constexpr auto option_names(readout) { return std::array{"mean", "sum"}; }
// A policy (encoder, head, alignment loss) that is to be stored also has a name:
//     static constexpr const char* kind = "dmpnn";
#pragma once

#include <concepts>
#include <string_view>

namespace vierbein {

namespace detail {

struct any_visitor {
  template <class V>
  void operator()(std::string_view, V&) const {}
};

}  // namespace detail

template <class P>
concept HasOptions = requires(P policy) { policy.options(detail::any_visitor{}); };

template <class P>
concept HasKind = requires {
  { P::kind } -> std::convertible_to<const char*>;
};

/// Refuses to compile, with one sentence, when a model file cannot hold the policy P.
template <class P>
consteval void require_storable() {
  static_assert(HasKind<P>,
                "an encoder, head or alignment loss must declare "
                "`static constexpr const char* kind = \"...\";` to be stored in a model file");
  static_assert(HasOptions<P>,
                "an encoder, head or alignment loss must have the member "
                "`template <class Visitor> void options(Visitor&&)` to be stored in a model file: "
                "see core/options.hpp");
}

}  // namespace vierbein
