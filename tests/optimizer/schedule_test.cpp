#include "vierbein/optimizer/schedule.hpp"

#include <doctest/doctest.h>

#include <functional>
#include <limits>
#include <string>
#include <type_traits>

#include "vierbein/train/training.hpp"

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

TEST_CASE("a training takes any schedule, and refuses one with an unusable option") {
  using vierbein::training;
  CHECK_FALSE(training{}.schedule);
  CHECK_FALSE(training{.schedule = {}}.schedule);
  CHECK_FALSE(training{.schedule = nullptr}.schedule);
  CHECK_FALSE(training{.schedule = std::function<double(double)>{}}.schedule);
  CHECK(training{}.schedule(0.5) == 1);

  training options{.schedule = schedule::one_cycle{.start = 0.25}};
  REQUIRE(options.schedule);
  CHECK(options.schedule(0) == 0.25);
  const training copy = options;
  options.schedule = [calls = 0](double progress) mutable { return ++calls + progress; };
  CHECK(options.schedule(0.5) == 1.5);
  CHECK(options.schedule(0.5) == 2.5);
  CHECK(copy.schedule(0) == 0.25);
  const std::function<double(double)> function = options.schedule;
  CHECK(function(0) == 3);
  options.schedule = {};
  CHECK_FALSE(options.schedule);

  static_assert(!std::is_convertible_v<double, schedule::any>);
  static_assert(!std::is_convertible_v<std::string (*)(double), schedule::any>);

  CHECK_THROWS_WITH_AS(static_cast<void>(training{.schedule = schedule::cosine{.floor = 1.5}}),
                       "schedule::cosine: floor must be in [0, 1], but is 1.5", vierbein::error);
  CHECK_THROWS_WITH_AS(static_cast<void>(training{
                           .schedule = schedule::warm_up{.then = schedule::one_cycle{.rise = -1}}}),
                       "schedule::one_cycle: rise must be in [0, 1], but is -1", vierbein::error);
  const schedule::warm_up wrong{.fraction = 2};
  CHECK_THROWS_WITH_AS(options.schedule = wrong,
                       "schedule::warm_up: fraction must be in [0, 1], but is 2", vierbein::error);
  CHECK_FALSE(options.schedule);
}

TEST_CASE("a factor that no learning rate can have is refused with the progress") {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  struct row {
    double factor;
    const char* found;
  };
  for (const auto& [factor, found] :
       {row{-0.5, "-0.5"}, row{infinity, "inf"}, row{-infinity, "-inf"}, row{nan, "nan"}}) {
    const schedule::any s = [&](double progress) { return progress < 0.25 ? 0 : factor; };
    CHECK(s(0) == 0);
    CHECK_THROWS_WITH_AS(
        s(0.25),
        (std::string("schedule: the factor at progress 0.25 must be finite and not negative, but "
                     "is ") +
         found)
            .c_str(),
        vierbein::error);
  }
}
