#include "vierbein/core/error.hpp"

#include <doctest/doctest.h>

#include <string>

TEST_CASE("an error is one sentence that begins with its place") {
  const vierbein::error e{"molecules.csv, row 7", "expected a number"};
  CHECK(std::string(e.what()) == "molecules.csv, row 7: expected a number");
  CHECK(e.place() == "molecules.csv, row 7");
}

TEST_CASE("require throws only when the condition does not hold") {
  CHECK_NOTHROW(vierbein::require(true, "here", "{}", 1));
  CHECK_THROWS_WITH_AS(vierbein::require(false, "here", "{} of {}", 1, "two"), "here: 1 of two",
                       vierbein::error);
}
