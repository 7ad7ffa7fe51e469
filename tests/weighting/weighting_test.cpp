#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/weighting/constant.hpp"
#include "vierbein/weighting/equal.hpp"
#include "vierbein/weighting/uncertainty.hpp"

using doctest::Approx;
using vierbein::error;
using vierbein::loss_based;
using vierbein::losses;
using vierbein::WeightingPolicy;
using vierbein::weights;
namespace weighting = vierbein::weighting;

namespace {

template <class P>
std::vector<double> weigh(P& policy, const std::vector<double>& values) {
  std::vector<double> w(values.size(), -1);
  policy.weigh(losses{values}, w);
  return w;
}

struct inverse_loss {
  using weighting_kind = loss_based;
  void weigh(losses l, weights w) const {
    for (std::size_t t = 0; t < l.size(); ++t) {
      w[t] = l.has(t) ? 1 / l[t] : 0;
    }
  }
};
struct largest_gradient {
  using weighting_kind = vierbein::gram_based;
  void weigh(losses, vierbein::gram_matrix, weights) {}
};
struct without_kind {
  void weigh(losses, weights) {}
};
struct without_verb {
  using weighting_kind = loss_based;
};
struct with_another_hook : inverse_loss {
  void reset(const char*) {}
};

}  // namespace

static_assert(WeightingPolicy<weighting::equal> && WeightingPolicy<weighting::constant> &&
              WeightingPolicy<weighting::uncertainty> && WeightingPolicy<inverse_loss> &&
              WeightingPolicy<largest_gradient>);
static_assert(!WeightingPolicy<without_kind> && !WeightingPolicy<without_verb> &&
              !WeightingPolicy<with_another_hook> && !WeightingPolicy<int>);

TEST_CASE("policies of the library pass the check that tells what is missing") {
  weighting::require_policy<weighting::equal>();
  weighting::require_policy<weighting::constant>();
  weighting::require_policy<weighting::uncertainty>();
  weighting::require_policy<largest_gradient>();
}

TEST_CASE("an absent task is marked as such") {
  const std::array<double, 2> values{3, 0};
  const std::array<bool, 2> present{true, false};
  const losses l{values, present};
  CHECK(l.has(0));
  CHECK_FALSE(l.has(1));
  CHECK(losses{values}.has(1));
  std::array<double, 2> w{};
  inverse_loss{}.weigh(l, w);
  CHECK(w[0] == Approx(1.0 / 3));
  CHECK(w[1] == 0);
}

TEST_CASE("equal weights are 1") {
  weighting::equal policy;
  CHECK(weigh(policy, {5, 0, 1e9}) == std::vector<double>{1, 1, 1});
}

TEST_CASE("constant weights are the user's, one a task") {
  weighting::constant policy{.values = {2, 0.5}};
  CHECK_NOTHROW(policy.reset(2));
  CHECK(weigh(policy, {7, 7}) == std::vector<double>{2, 0.5});
  CHECK_THROWS_WITH_AS(policy.reset(3),
                       "weighting::constant: expected 3 weights, one a task, got 2", error);
  CHECK_THROWS_AS(weigh(policy, {1, 2, 3}), error);
  CHECK_THROWS_AS(weighting::constant{{-1}}.reset(1), error);
  CHECK_THROWS_AS(weighting::constant{{std::nan("")}}.reset(1), error);
}

TEST_CASE("uncertainty weights and steps are those worked out by hand") {
  weighting::uncertainty policy{.learning_rate = 0.1, .initial = std::log(2)};
  // w = ½ e^{-log 2} = 1/4; the slopes ½ (1 - ℓ / 2) are -½ and ¼, and Adam's first step is the
  // learning rate.
  CHECK(weigh(policy, {4, 1})[0] == Approx(0.25));
  CHECK(policy.tasks[0].s == Approx(std::log(2) + 0.1));
  CHECK(policy.tasks[1].s == Approx(std::log(2) - 0.1));
  // The second weights are those of the moved s.
  const double s = std::log(2) + 0.1;
  const double slope = 0.5 * (1 - std::exp(-s) * 4);
  CHECK(weigh(policy, {4, 1})[0] == Approx(0.5 * std::exp(-s)));
  const double m = (0.9 * 0.1 * -0.5 + 0.1 * slope) / (1 - 0.81);
  const double v = (0.999 * 0.001 * 0.25 + 0.001 * slope * slope) / (1 - 0.999 * 0.999);
  CHECK(policy.tasks[0].s == Approx(s - 0.1 * m / std::sqrt(v)));
}

TEST_CASE("uncertainty rests where s is the logarithm of the loss") {
  weighting::uncertainty policy{.learning_rate = 0.05};
  for (int i = 0; i < 3000; ++i) {
    weigh(policy, {4, 0.1});
  }
  CHECK(policy.tasks[0].s == Approx(std::log(4)).epsilon(1e-3));
  CHECK(policy.tasks[1].s == Approx(std::log(0.1)).epsilon(1e-3));
  CHECK(weigh(policy, {4, 0.1})[1] == Approx(5).epsilon(1e-2));
}

TEST_CASE("an absent task keeps its s") {
  weighting::uncertainty policy;
  const std::array<double, 2> values{3, 0};
  const std::array<bool, 2> present{true, false};
  std::array<double, 2> w{};
  policy.weigh(losses{values, present}, w);
  CHECK(policy.tasks[0].s != 0);
  CHECK(policy.tasks[1].s == 0);
  CHECK(w[1] == 0.5);
}

TEST_CASE("a copy of uncertainty goes its own way, and reset begins again") {
  weighting::uncertainty policy;
  weigh(policy, {9});
  const weighting::uncertainty copy = policy;
  for (int i = 0; i < 5; ++i) {
    weigh(policy, {9});
  }
  CHECK(policy.tasks[0].s > copy.tasks[0].s);
  CHECK(copy.tasks[0].s == Approx(0.01));
  policy.reset(2);
  CHECK(weigh(policy, {9, 9}) == std::vector<double>{0.5, 0.5});
  CHECK_THROWS_WITH_AS(weigh(policy, {9}),
                       "weighting::uncertainty: made for 2 tasks, but given 1 losses; call reset",
                       error);
  CHECK_THROWS_AS(weighting::uncertainty{.learning_rate = -1}.reset(1), error);
}
