// The policies that look at losses alone: worked examples, peers' presets, refusals.
#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/weighting/cosmos.hpp"
#include "vierbein/weighting/dwa.hpp"
#include "vierbein/weighting/famo.hpp"
#include "vierbein/weighting/gls.hpp"
#include "vierbein/weighting/imtl_l.hpp"
#include "vierbein/weighting/mean.hpp"
#include "vierbein/weighting/pbi.hpp"
#include "vierbein/weighting/rlw.hpp"
#include "vierbein/weighting/si.hpp"
#include "vierbein/weighting/single_task.hpp"
#include "vierbein/weighting/stch.hpp"
#include "vierbein/weighting/uncertainty.hpp"

using doctest::Approx;
using vierbein::error;
using vierbein::losses;
namespace weighting = vierbein::weighting;

namespace {

using numbers = std::vector<double>;
constexpr double no_number = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();
const std::vector<std::string> ab{"a", "b"};

template <class P>
numbers weigh(P& policy, const numbers& values) {
  numbers w(values.size(), -1);
  policy.weigh(losses{values}, w);
  return w;
}

bool alike(const numbers& a, const numbers& b, double tolerance = 1e-12) {
  bool same = a.size() == b.size();
  for (std::size_t i = 0; same && i < a.size(); ++i) {
    same = a[i] == Approx(b[i]).epsilon(tolerance);
  }
  return same;
}

}  // namespace

TEST_CASE("mean and single_task") {
  weighting::mean mean;
  CHECK(weigh(mean, {5, 0, 1, 2}) == numbers{0.25, 0.25, 0.25, 0.25});
  weighting::single_task single{.target = "b"};
  CHECK_THROWS_WITH_AS(single.reset({"a"}),
                       "weighting::single_task: there is no task 'b' to be the target among a",
                       error);
  single.reset(ab);
  CHECK(weigh(single, {5, 3}) == numbers{0, 1});
  CHECK_THROWS_AS(weigh(single, {1, 2, 3}), error);
}

TEST_CASE("random weights are on the simplex, drawn anew in each step and repeated after reset") {
  weighting::rlw policy{.seed = 3};
  const numbers first = weigh(policy, {1, 1, 1});
  const numbers second = weigh(policy, {1, 1, 1});
  CHECK(first != second);
  policy.reset(3);
  CHECK(weigh(policy, {9, 9, 9}) == first);
  weighting::rlw other{.seed = 4};
  CHECK(weigh(other, {1, 1, 1}) != first);
  // The mean of softmax(z) is 1 / T by symmetry, and log w_s - log w_t = z_s - z_t has variance 2.
  numbers sum(3);
  double square = 0;
  constexpr int draws = 4000;
  for (int i = 0; i < draws; ++i) {
    const numbers w = weigh(policy, {1, 1, 1});
    CHECK(w[0] + w[1] + w[2] == Approx(1));
    square += std::pow(std::log(w[0] / w[1]), 2);
    for (std::size_t t = 0; t < 3; ++t) {
      sum[t] += w[t];
    }
  }
  CHECK(sum[0] / draws == Approx(1.0 / 3).epsilon(0.03));
  CHECK(square / draws == Approx(2).epsilon(0.1));
}

TEST_CASE("IMTL-L is twice uncertainty weighting of the opposite sign") {
  weighting::imtl_l imtl{.learning_rate = 0.1, .initial = 0.3};
  weighting::uncertainty uncertainty{.learning_rate = 0.1, .initial = -0.3};
  imtl.reset(ab);
  uncertainty.reset(ab);
  for (int i = 0; i < 20; ++i) {
    const numbers values{4.0 - 0.1 * i, 0.5};
    CHECK(imtl.objective({values}) == Approx(2 * uncertainty.objective({values})));
    const numbers w = weigh(imtl, values);
    const numbers half = weigh(uncertainty, values);
    CHECK(alike(w, {2 * half[0], 2 * half[1]}, 1e-6));  // epsilon of Adam
  }
  weighting::imtl_l resting{.learning_rate = 0.05};
  for (int i = 0; i < 3000; ++i) {
    weigh(resting, {4, 0.1});
  }
  CHECK(alike(weigh(resting, {4, 0.1}), {0.25, 10}, 1e-2));
  CHECK(weighting::uncertainty::libmtl().initial == -0.5);
}

TEST_CASE("DWA: weights from the last two epochs' means") {
  weighting::dwa policy;
  policy.reset(ab);
  CHECK(weigh(policy, {1, 2}) == numbers{1, 1});
  policy.end_epoch(numbers{1, 2});
  CHECK(weigh(policy, {1, 2}) == numbers{1, 1});
  policy.end_epoch(numbers{0.9, 1.0});
  CHECK(alike(weigh(policy, {7, 7}), {1.0997, 0.9003}, 1e-4));  // r = (0.9, 0.5), τ = 2
  // An epoch without labels of b: r_b stays 0.5.
  policy.end_epoch(numbers{0.81, no_number});
  CHECK(alike(weigh(policy, {7, 7}), {1.0997, 0.9003}, 1e-4));
  policy.end_epoch(numbers{0, 0.5});
  policy.end_epoch(numbers{1, 0.5});  // 1 / 0: r = 1
  CHECK(alike(weigh(policy, {7, 7}), {1, 1}));
  CHECK_THROWS_WITH_AS(policy.end_epoch(numbers{1, -1}),
                       "weighting::dwa: the mean loss of task 'b' must be finite and not negative, "
                       "but is -1",
                       error);
  policy.reset(ab);
  CHECK(weigh(policy, {7, 7}) == numbers{1, 1});
  CHECK_THROWS_AS(weighting::dwa{.temperature = 0}.reset(ab), error);
}

TEST_CASE("GLS: the geometric mean, without overflow") {
  weighting::gls policy;
  CHECK(policy.objective({numbers{1, 4}}) == Approx(2));
  CHECK(alike(weigh(policy, {1, 4}), {1, 0.25}));  // 2 / (2 · 1), 2 / (2 · 4)
  CHECK(alike(weigh(policy, {1e-200, 1e-200}), {0.5, 0.5}));
  CHECK(alike(weigh(policy, {1e200, 1e200}), {0.5, 0.5}));
  CHECK(weigh(policy, {0, 4}) == numbers{0, 0});
  policy.reset(ab);
  CHECK_THROWS_WITH_AS(weigh(policy, {1, -4}),
                       "weighting::gls: the loss of task 'b' must not be negative, but is -4",
                       error);
  const numbers values{2, 8, 0};
  const std::array<bool, 3> present{true, true, false};
  numbers w(3, -1);
  policy.weigh({values, present}, w);
  CHECK(alike(w, {1, 0.25, 0}));
}

TEST_CASE("SI: the logarithm of a loss, or of one plus it") {
  auto policy = weighting::si::famo();
  CHECK(alike(weigh(policy, {2, 0.5}), {0.5, 2}));
  CHECK(policy.objective({numbers{2, 0.5}}) == Approx(0).epsilon(1e-12));
  CHECK_THROWS_WITH_AS(weigh(policy, {2, 0}),
                       "weighting::si: the loss of task 2 must be greater than 0, but is 0", error);
  policy = weighting::si::samsung();
  CHECK(alike(weigh(policy, {1, 0}), {0.5, 1}));
  CHECK(policy.objective({numbers{1, 0}}) == Approx(std::log(2)));
  policy = {.factors = {1, 3}};
  CHECK(alike(weigh(policy, {2, 1}), {0.5, 3}));
  CHECK_THROWS_WITH_AS(policy.reset({"a", "b", "c"}),
                       "weighting::si: factors must be empty or hold 3 numbers, one a task, but "
                       "holds 2",
                       error);
  policy = {.factors = {-1, 1}};  // would be trained to be great
  CHECK_THROWS_WITH_AS(policy.reset(ab),
                       "weighting::si: factors must be finite and not negative, but is -1", error);
  policy = {.factors = {0, no_number}};
  CHECK_THROWS_WITH_AS(policy.reset(ab),
                       "weighting::si: factors must be finite and not negative, but is nan", error);
}

TEST_CASE("STCH: the smoothed greatest loss") {
  auto policy = weighting::stch::torchjd(0.5);
  // Exponents (1, 3) / (2 · 0.5); L = 0.5 log(e + e³).
  CHECK(policy.objective({numbers{1, 3}}) == Approx(0.5 * std::log(std::exp(1) + std::exp(3))));
  const double second = 1 / (1 + std::exp(-2));
  CHECK(alike(weigh(policy, {1, 3}), {0.5 * (1 - second), 0.5 * second}));
  policy.mu = 1e-3;
  CHECK(policy.objective({numbers{1, 3}}) == Approx(1.5));  // the greatest of ℓ / 2
  CHECK(alike(weigh(policy, {1e9, 3}), {0.5, 0}));
  CHECK_THROWS_AS(weighting::stch{.mu = 0}.reset(ab), error);
  CHECK_THROWS_AS((weighting::stch{.reference = {1, 1}, .logarithmic = true}.reset(ab)), error);
  CHECK_THROWS_AS((weighting::stch{.warm_up = 1}.reset(ab)), error);
  CHECK_THROWS_WITH_AS((weighting::stch{.reference = {0, no_number}}.reset(ab)),
                       "weighting::stch: reference must be finite, but is nan", error);
  CHECK_THROWS_WITH_AS((weighting::stch{.reference = {-infinity, 0}}.reset(ab)),
                       "weighting::stch: reference must be finite, but is -inf", error);
}

TEST_CASE("STCH as LibMTL has it: logarithms, a nadir after five epochs, then the greatest") {
  auto policy = weighting::stch::libmtl();
  policy.reset(ab);
  for (int epoch = 0; epoch < 5; ++epoch) {
    CHECK(alike(weigh(policy, {2, 4}), {0.5, 0.25}));
    CHECK(policy.objective({numbers{2, 4}}) == Approx(std::log(8)));
    policy.end_epoch(epoch < 4 ? numbers{9, 9} : numbers{1, 8});
  }
  // y = (log 2, log ½), e^y = (2, ½), softmax = (0.8, 0.2), T = 2.
  CHECK(alike(weigh(policy, {2, 4}), {2 * 0.8 / 2, 2 * 0.2 / 4}));
  CHECK(policy.objective({numbers{2, 4}}) == Approx(2 * std::log(2.5)));
  policy.end_epoch(numbers{100, 100});  // the nadir stays
  CHECK(alike(weigh(policy, {2, 4}), {0.8, 0.1}));
  policy.reset(ab);
  CHECK(alike(weigh(policy, {2, 4}), {0.5, 0.25}));
}

TEST_CASE("COSMOS: a sum less λ times a cosine") {
  weighting::cosmos policy{.lambda = 2, .preference = {3, 4}};
  // ‖r‖ = 5, ℓ = (4, 3), ‖ℓ‖ = 5, ⟨r, ℓ⟩ = 24, cos = 0.96.
  CHECK(policy.objective({numbers{4, 3}}) == Approx(24 - 2 * 0.96));
  CHECK(alike(weigh(policy, {4, 3}),
              {3 - 2 * (3.0 / 25 - 0.96 * 4 / 25), 4 - 2 * (4.0 / 25 - 0.96 * 3 / 25)}));
  CHECK(weigh(policy, {0, 0}) == numbers{3, 4});
  policy.lambda = 0;  // linear
  CHECK(weigh(policy, {4, 3}) == numbers{3, 4});
}

TEST_CASE("PBI: distance along a ray, and from it") {
  weighting::pbi policy{.theta = 5, .preference = {3, 4}, .ideal = {1, 1}};
  // v = (0.6, 0.8), f = (4, 3), d₁ = 4.8, f - d₁ v = (1.12, -0.84), d₂ = 1.4.
  CHECK(policy.objective({numbers{5, 4}}) == Approx(4.8 + 5 * 1.4));
  CHECK(alike(weigh(policy, {5, 4}), {0.6 + 5 * 0.8, 0.8 - 5 * 0.6}, 1e-10));
  CHECK(alike(weigh(policy, {1, 1}), {0.6, 0.8}));        // f = 0
  CHECK(alike(weigh(policy, {4, 5}), {0.6, 0.8}, 1e-4));  // on the ray
  policy.preference = {0, 1};
  policy.reset(ab);
  policy.preference = {0, 0};
  CHECK_THROWS_WITH_AS(policy.reset(ab),
                       "weighting::pbi: preference must be positive in sum, but all of it is 0",
                       error);
  policy = {.ideal = {0, infinity}};
  CHECK_THROWS_WITH_AS(policy.reset(ab), "weighting::pbi: ideal must be finite, but is inf", error);
}

TEST_CASE("FAMO: coefficients and the first logit gradient, as published") {
  weighting::famo policy;
  policy.reset(ab);
  CHECK(alike(weigh(policy, {1, 2}), {2.0 / 3, 1.0 / 3}, 1e-7));
  policy.observe(losses{numbers{0.9, 1.9}});
  const double slope = 0.5 * (policy.delta[0] - 0.5 * (policy.delta[0] + policy.delta[1]));
  CHECK(slope == Approx(0.013517).epsilon(1e-4));
  // Adam's first step is the learning rate against the slope's sign.
  CHECK(policy.tasks[0].x == Approx(-0.025).epsilon(1e-5));
  CHECK(policy.tasks[1].x == Approx(0.025).epsilon(1e-5));
  const numbers w = weigh(policy, {1, 2});
  CHECK(w[0] < 2.0 / 3 - 1e-3);
  CHECK(w[0] + w[1] == Approx(1));
  CHECK(weighting::famo::official().decay == 1e-5);
  CHECK(weighting::famo::libmtl().decay == 1e-3);
}

TEST_CASE("FAMO without observing, with bounds, and with bad losses") {
  weighting::famo policy{.bounds = {0.5, 0}};
  policy.reset(ab);
  policy.observe(losses{numbers{1, 1}});  // nothing was weighed
  CHECK(policy.tasks[0].x == 0);
  CHECK(alike(weigh(policy, {1, 2}), {0.8, 0.2}, 1e-7));  // D = (0.5, 2)
  CHECK_THROWS_WITH_AS(weigh(policy, {0.4, 2}),
                       "weighting::famo: the loss of task 'a' must not be below its bound 0.5, but "
                       "is 0.4",
                       error);
  CHECK_THROWS_WITH_AS(policy.observe(losses{numbers{1, no_number}}),
                       "weighting::famo: the loss of task 'b' is not finite", error);
  CHECK_THROWS_AS(weighting::famo{.decay = -1}.reset(ab), error);
}

TEST_CASE("FAMO brings tasks to fall at the same rate") {
  // ℓ_t falls by the share rate_t · w_t in each step: b is ten times as hard to improve.
  weighting::famo policy{.decay = 0};
  policy.reset(ab);
  const numbers rate{0.02, 0.002};
  numbers values{1, 1};
  numbers w;
  for (int i = 0; i < 3000; ++i) {
    w = weigh(policy, {1, 1});
    policy.observe(losses{numbers{1 - rate[0] * w[0], 1 - rate[1] * w[1]}});
  }
  CHECK(rate[0] * w[0] == Approx(rate[1] * w[1]).epsilon(0.02));
}
