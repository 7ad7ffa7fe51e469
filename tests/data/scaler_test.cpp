#include "vierbein/data/scaler.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "../support/message_of.hpp"
#include "vierbein/core/matrix.hpp"

using doctest::Approx;
using vierbein::error;
using vierbein::index_t;
using vierbein::matrix;
using vierbein::data::standardiser;

namespace {

constexpr double missing = std::numeric_limits<double>::quiet_NaN();

matrix<double> column(const std::vector<double>& values) {
  matrix<double> x(static_cast<index_t>(values.size()), 1);
  std::copy(values.begin(), values.end(), x.data());
  return x;
}

}  // namespace

TEST_CASE("a standardiser learns from the given rows, without the missing ones") {
  auto x = column({2, missing, 4, 1000, 6});
  standardiser s;
  s.fit(x.view(), std::vector<index_t>{0, 1, 2, 4});
  CHECK(s.mean[0] == Approx(4));
  CHECK(s.deviation[0] == Approx(std::sqrt(8.0 / 3)));
  s.apply(x.view());
  CHECK(x(0, 0) == Approx(-2 / std::sqrt(8.0 / 3)));
  CHECK(x(2, 0) == Approx(0));
  CHECK(std::isnan(x(1, 0)));
  s.invert(x.view());
  CHECK(x(3, 0) == Approx(1000));
  CHECK(x(4, 0) == Approx(6));
}

TEST_CASE("a constant column is only shifted, exactly to zero") {
  auto x = column({0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1});
  standardiser s;
  s.fit(x.view());
  CHECK(s.deviation[0] == 1);
  s.apply(x.view());
  CHECK(x(3, 0) == 0);
}

TEST_CASE("a large offset does not drown a small deviation") {
  const auto x = column({1e9 + 1, 1e9 + 2, 1e9 + 3});
  standardiser s;
  s.fit(x.view());
  CHECK(s.deviation[0] == Approx(std::sqrt(2.0 / 3)).epsilon(1e-9));
}

TEST_CASE("a standardiser refuses what it cannot learn from") {
  standardiser s;
  CHECK_THROWS_WITH_AS(s.fit(column({1, missing}).view(), "task 'log p'"),
                       "task 'log p': column 0 has 1 values, too few to standardise", error);
  CHECK_THROWS_AS(s.fit(column({1, std::numeric_limits<double>::infinity()}).view()), error);
  s.fit(column({1, 2}).view());
  CHECK_THROWS_WITH_AS(s.fit(column({1, 2, 3}).view(), std::vector<index_t>{0, 1, 5}),
                       "standardiser: no row 5 among 3 samples", error);
  matrix<double> wide(1, 2);
  CHECK_THROWS_WITH_AS(s.apply(wide.view()), "standardiser: expected 1 columns, found 2", error);
}

TEST_CASE("a standardiser refuses squares beyond the range of double") {
  const auto said = [](const std::vector<double>& values) {
    standardiser s;
    return test::message_of([&] { s.fit(column(values).view()); });
  };
  CHECK(said({1e200, 3e200}) ==
        "standardiser: column 0 has the mean 2e+200 and the deviation inf, beyond the range of "
        "double: rescale it");
  CHECK(said({0, 1e-200}) ==
        "standardiser: column 0 has the mean 5e-201 and the deviation 0, beyond the range of "
        "double: rescale it");
  for (const auto& values : {std::vector<double>{1.2e308, 1.6e308}, {-1.2e308, 1.6e308}}) {
    CHECK(said(values).ends_with("beyond the range of double: rescale it"));
  }
  CHECK(said({1e150, 3e150}) == "");
  CHECK(said({1e308, 1e308, 1e308}) == "");  // only shifted
}

TEST_CASE("a standardiser is used only after it was fitted") {
  const standardiser s;
  matrix<double> x(1, 2);
  CHECK_THROWS_WITH_AS(s.apply(x.view()), "standardiser: it has not been fitted", error);
  CHECK_THROWS_WITH_AS(s.invert(x.view()), "standardiser: it has not been fitted", error);
}
