#include "vierbein/optimizer/schedule.hpp"

#include <doctest/doctest.h>

using doctest::Approx;
namespace schedule = vierbein::schedule;

static_assert(vierbein::Schedule<schedule::constant> && vierbein::Schedule<schedule::one_cycle> &&
              vierbein::Schedule<schedule::warm_up<schedule::cosine>>);

TEST_CASE("the cosine schedule falls from 1 to its floor") {
  const schedule::cosine s{.floor = 0.2};
  CHECK(s(0) == Approx(1));
  CHECK(s(0.5) == Approx(0.6));
  CHECK(s(1.0 / 3) == Approx(0.2 + 0.8 * 0.75));
  CHECK(s(1) == Approx(0.2));
  CHECK(s(2) == Approx(0.2));
}

TEST_CASE("one cycle rises in a line and falls to its end") {
  const schedule::one_cycle s{.rise = 0.4, .start = 0.1, .end = 0.001};
  CHECK(s(0) == Approx(0.1));
  CHECK(s(0.2) == Approx(0.55));
  CHECK(s(0.4) == Approx(1));
  CHECK(s(0.7) == Approx((1 + 0.001) / 2));
  CHECK(s(1) == Approx(0.001));
  CHECK(schedule::one_cycle{.rise = 1, .start = 0.5}(1) == 1);
  CHECK(schedule::one_cycle{.rise = 0}(0) == Approx(1));
}

TEST_CASE("a warm-up runs in front of another schedule, which runs its whole course") {
  const schedule::warm_up s{.fraction = 0.2, .then = schedule::cosine{.floor = 0}};
  CHECK(s(0) == 0);
  CHECK(s(0.1) == Approx(0.5));
  CHECK(s(0.2) == Approx(1));
  CHECK(s(0.6) == Approx(0.5));
  CHECK(s(1) == Approx(0));
  CHECK(schedule::warm_up{.fraction = 0.5}(0.75) == 1);
  CHECK(schedule::warm_up{.fraction = 0}(0) == 1);
  CHECK(schedule::warm_up{.fraction = 1}(1) == 1);
}

TEST_CASE("a schedule refuses what is no fraction") {
  CHECK_NOTHROW(schedule::one_cycle{}.validate());
  CHECK_THROWS_WITH_AS(schedule::cosine{.floor = 1.5}.validate(),
                       "schedule::cosine: floor must be in [0, 1], but is 1.5", vierbein::error);
  CHECK_THROWS_AS(schedule::one_cycle{.rise = -1}.validate(), vierbein::error);
  CHECK_THROWS_AS((schedule::warm_up{.then = schedule::cosine{.floor = -1}}.validate()),
                  vierbein::error);
}
