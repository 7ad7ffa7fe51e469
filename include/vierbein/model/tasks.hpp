// Tasks: a name and a head each. The head types are fixed at compile time; number and names are
// not.
#pragma once

#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/head/binary.hpp"
#include "vierbein/head/multiclass.hpp"
#include "vierbein/head/multilabel.hpp"
#include "vierbein/head/regression.hpp"

namespace vierbein {

/// A task: the name of its label column and its head.
template <class Head>
struct task {
  static constexpr bool head_fits = TaskHead<Head>;  // as a value: no list of what was tried
  static_assert(head_fits,
                "a head must offer kind, standardise, outputs(), label_width(), "
                "loss(prediction, label), transform(row), valid(label) and accepts(): see "
                "head/concept.hpp");

  std::string name;
  Head head{};
};

/// Tasks with the heads of this library.
inline task<head::regression> regression(std::string name, head::regression options = {}) {
  return {std::move(name), options};
}
inline task<head::binary> binary(std::string name, head::binary options = {}) {
  return {std::move(name), options};
}
inline task<head::multiclass> multiclass(std::string name, index_t classes) {
  return {std::move(name), {classes}};
}
inline task<head::multilabel> multilabel(std::string name, index_t labels) {
  return {std::move(name), {labels}};
}

/// A set of head types.
template <class... Heads>
struct head_set {
  using variant = std::variant<Heads...>;
};

/// The heads of this library.
using standard_heads = head_set<head::regression, head::binary, head::multiclass, head::multilabel>;

namespace detail {

// Known with those of Given that it does not hold yet.
template <class Known, class... Given>
struct heads_with {
  using type = Known;
};
template <class... Known, class First, class... Rest>
struct heads_with<head_set<Known...>, First, Rest...> {
  using next = std::conditional_t<(std::is_same_v<First, Known> || ...), head_set<Known...>,
                                  head_set<Known..., First>>;
  using type = typename heads_with<next, Rest...>::type;
};

}  // namespace detail

/// A list of tasks whose heads are of the types in `Heads`. Write `vb::tasks{vb::regression("log
/// P"), vb::binary("toxic")}`: the set then holds the heads of this library and any of the user's
/// own that occur.
template <class Heads = standard_heads>
class tasks {
 public:
  using head_type = typename Heads::variant;
  struct entry {
    std::string name;
    head_type head;
  };

  tasks() = default;
  template <class... Given>
    requires(sizeof...(Given) > 0)
  explicit tasks(task<Given>... given) {
    (add(std::move(given)), ...);
  }

  /// Appends a task. Throws when the name is empty, taken, or contains a '/' (it names parameters),
  /// or when an option of the head is unusable.
  template <class Head>
  void add(task<Head> given) {
    add(std::move(given.name), head_type(std::move(given.head)));
  }
  void add(std::string name, head_type head) {
    require(!name.empty(), "tasks", "a task needs a name");
    require(name.find('/') == std::string::npos, "tasks", "the name '{}' contains a '/'", name);
    require(find(name) < 0, "tasks", "the task '{}' is given twice", name);
    try {
      std::visit(
          [](const auto& given) {
            if constexpr (requires { given.validate(); }) {
              given.validate();
            }
          },
          head);
    } catch (const error& problem) {
      throw error(formatted("task '{}'", name), problem.what());
    }
    entries_.push_back({std::move(name), std::move(head)});
  }

  /// The position of a task, or -1.
  [[nodiscard]] index_t find(std::string_view name) const {
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      if (entries_[i].name == name) {
        return static_cast<index_t>(i);
      }
    }
    return -1;
  }

  [[nodiscard]] index_t size() const { return static_cast<index_t>(entries_.size()); }
  [[nodiscard]] const entry& operator[](index_t t) const {
    return entries_[static_cast<std::size_t>(t)];
  }
  [[nodiscard]] auto begin() const { return entries_.begin(); }
  [[nodiscard]] auto end() const { return entries_.end(); }

  /// f(head) of task t, whatever its type.
  template <class F>
  decltype(auto) visit(index_t t, F&& f) const {
    return std::visit(std::forward<F>(f), (*this)[t].head);
  }

 private:
  std::vector<entry> entries_;
};

template <class... Given>
tasks(task<Given>...) -> tasks<typename detail::heads_with<standard_heads, Given...>::type>;

}  // namespace vierbein
