// The sentence with which a call is refused.
#pragma once

#include <string>

#include "vierbein/core/error.hpp"

namespace test {

/// what() of the error that f() throws; empty when it throws none.
template <class Error = vierbein::error, class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const Error& problem) {
    return problem.what();
  }
  return "";
}

}  // namespace test
