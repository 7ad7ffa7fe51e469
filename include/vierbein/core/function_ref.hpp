// A function that is passed and not kept, whatever its type.
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

namespace vierbein {

template <class Signature>
class function_ref;

/// Refers to something that can be called as R(Args...): what takes one is compiled once, where a
/// template would be compiled for every lambda. Unlike std::function it owns nothing and allocates
/// nothing: what it refers to must outlive it.
template <class R, class... Args>
class function_ref<R(Args...)> {
 public:
  template <class F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, function_ref> &&
             std::is_invocable_r_v<R, F&, Args...>)
  function_ref(F&& f)
      : what_(const_cast<void*>(static_cast<const void*>(std::addressof(f)))),
        call_([](void* what, Args... args) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(what))(std::forward<Args>(args)...);
        }) {}

  R operator()(Args... args) const { return call_(what_, std::forward<Args>(args)...); }

 private:
  void* what_;
  R (*call_)(void*, Args...);
};

}  // namespace vierbein
