#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "situations.hpp"
#include "vierbein/core/error.hpp"
#include "vierbein/core/matrix.hpp"
#include "vierbein/weighting/auto_lambda.hpp"
#include "vierbein/weighting/auxilearn.hpp"
#include "vierbein/weighting/diw.hpp"
#include "vierbein/weighting/meta_tartan.hpp"

using doctest::Approx;
using situations::no_number;
using vierbein::development_head;
using vierbein::development_point;
using vierbein::error;
using vierbein::gradient_scope;
using vierbein::losses;
using vierbein::testing::quadratic_step;
using vierbein::testing::quadratic_tasks;
namespace weighting = vierbein::weighting;

static_assert(vierbein::TargetBasedWeighting<weighting::diw> &&
              vierbein::TargetBasedWeighting<weighting::auto_lambda> &&
              vierbein::TargetBasedWeighting<weighting::meta_tartan> &&
              vierbein::TargetBasedWeighting<weighting::auxilearn>);

namespace {

using numbers = std::vector<double>;

// The weights at three_four(), with these tasks in the batch.
template <class P>
numbers weigh(P& policy, std::span<const bool> present = {}) {
  const quadratic_tasks problem = situations::three_four();
  quadratic_step step(problem, present);
  numbers w(3, -1);
  policy.weigh(step.values(), step.gram(), step, w);
  return w;
}

template <class P>
P ready(P policy) {
  policy.reset(situations::names);
  return policy;
}

bool alike(const numbers& a, const numbers& b, double tolerance = 1e-12) {
  bool same = a.size() == b.size();
  for (std::size_t i = 0; same && i < a.size(); ++i) {
    same = a[i] == Approx(b[i]).epsilon(tolerance);
  }
  return same;
}

// A step of Adam is shorter than the learning rate by its epsilon of 1e-8 over the slope.
constexpr double adam_epsilon = 1e-6;

// Answers as it is told and remembers what it was asked.
struct scripted final : vierbein::step_oracle {
  development_point point{1, 1};
  numbers answer{1, 1, 1};
  int asked = 0;
  numbers c = {};
  development_head head = development_head::own;
  gradient_scope scope = gradient_scope::all;

  [[nodiscard]] std::size_t tasks() const override { return answer.size(); }
  development_point look_ahead(std::span<const double> steps, std::span<double> products,
                               development_head through, gradient_scope compared) override {
    ++asked;
    scope = compared;
    c.assign(steps.begin(), steps.end());
    head = through;
    std::copy(answer.begin(), answer.end(), products.begin());
    return point;
  }
  void implicit(const combination&, std::size_t, double, double,
                std::span<double> products) override {
    ++asked;
    std::copy(answer.begin(), answer.end(), products.begin());
  }
};

template <class P>
numbers weigh(P& policy, scripted& oracle, std::span<const bool> present = {}) {
  const quadratic_tasks problem = situations::three_four();
  const quadratic_step step(problem, present);
  numbers w(3, -1);
  policy.weigh(step.values(), step.gram(), oracle, w);
  return w;
}

}  // namespace

// ---- DIW

TEST_CASE("diw follows cosines and keeps the sum") {
  // Without a look-ahead the cosines are 1, 0.8 and -0.6: w = (1.3, 1.24, 0.82) - 0.12.
  weighting::diw policy = ready(weighting::diw{.target = "main", .rate = 0.3, .look_ahead = 0});
  CHECK(alike(weigh(policy), {1.18, 1.12, 0.7}));
  // θ' = (3, 4) - ½ (0, 8) = (3, 0): the cosines are 9 / 15, 0 and -1, w = (1.18, 1, 0.7) + 0.04.
  policy = ready(weighting::diw{.target = "main", .rate = 0.3, .look_ahead = 0.5});
  CHECK(alike(weigh(policy), {1.22, 1.04, 0.74}));
  // With a rate of 3, w = (4, 3.4, -0.8): the third falls to 0 and the others lose 2.2.
  policy = ready(weighting::diw{.target = "main", .rate = 3, .look_ahead = 0});
  CHECK(alike(weigh(policy), {1.8, 1.2, 0}));
  // Then (4.8, 3.6, -1.8): only the first is left.
  CHECK(alike(weigh(policy), {2.1, 0.9, 0}));
}

TEST_CASE("diw leaves absent tasks as they are") {
  weighting::diw policy = ready(weighting::diw{.target = "main", .rate = 0.3, .look_ahead = 0});
  // (1.24, 0.82) - 0.03 for those present
  CHECK(alike(weigh(policy, situations::without_target), {1, 1.21, 0.79}));
  // (1.3, 0.79 - 0.18) - 0.06 keep the sum 1.79
  CHECK(alike(weigh(policy, situations::without_near), {1.24, 1.21, 0.55}));
}

TEST_CASE("diw orders same, other and opposed tasks") {
  quadratic_tasks problem = situations::recovery();
  weighting::diw policy{.target = "main", .rate = 0.1};
  const auto run = problem.descend(policy, 60, 0.1);
  // The cosines are 1, 1, -1 and 0, their mean is ¼.
  CHECK(alike(run.weights[0], {1.075, 1.075, 0.875, 0.975}));
  CHECK(alike(run.weights.back(), {2, 2, 0, 0}));
  CHECK(problem.development.loss(problem.theta) < 1e-6);
}

// ---- Auto-λ

TEST_CASE("auto_lambda follows Adam on the exact slope") {
  weighting::auto_lambda policy =
      ready(weighting::auto_lambda{.target = "main", .learning_rate = 0.01, .look_ahead = 1});
  // θ' = (3, 4) - 0.1 (0, 8) = (3, 3.2), the products are 9 + 12.8, 12.8 and -9; Adam's first step
  // is the learning rate.
  CHECK(alike(weigh(policy), {0.11, 0.11, 0.09}, adam_epsilon));
  CHECK(alike(policy.products, {21.8, 12.8, -9}));
  // θ' = (3, 4) - (0.11 · 3 - 0.09 · 3, 0.11 · 8) = (2.94, 3.12)
  const double m = (0.9 * 0.1 * 9 + 0.1 * 8.82) / (1 - 0.81);
  const double v = (0.999 * 0.001 * 81 + 0.001 * 8.82 * 8.82) / (1 - 0.999 * 0.999);
  CHECK(weigh(policy)[2] == Approx(0.09 - 0.01 * m / std::sqrt(v)).epsilon(1e-9));
  CHECK(alike(policy.products, {21.3, 12.48, -8.82}, adam_epsilon));
}

TEST_CASE("auto_lambda leaves absent tasks as they are, and clamps unless told not to") {
  weighting::auto_lambda policy =
      ready(weighting::auto_lambda{.target = "main", .learning_rate = 0.2, .initial = 0.1});
  CHECK(alike(weigh(policy, situations::without_near), {0.3, 0.1, 0}, adam_epsilon));
  CHECK(policy.moments[1].first == 0);
  policy.clamp = false;
  policy.reset(situations::names);
  CHECK(alike(weigh(policy, situations::without_target), {0.1, 0.3, -0.1}, adam_epsilon));
}

TEST_CASE("auto_lambda orders same, other and opposed tasks") {
  quadratic_tasks problem = situations::recovery();
  weighting::auto_lambda policy{.target = "main", .learning_rate = 0.01};
  const auto run = problem.descend(policy, 40, 0.1);
  const numbers& w = run.weights.back();
  CHECK(w[1] > 0.3);
  CHECK(w[3] == Approx(0.1));
  CHECK(w[2] == 0);
}

// ---- META-TARTAN

TEST_CASE("meta_tartan is the softmax of summed cosines") {
  weighting::meta_tartan policy = ready(weighting::meta_tartan{.target = "main", .rate = 0.5});
  // ω = (0.5, 0.4, -0.3)
  const double sum = std::exp(0.5) + std::exp(0.4) + std::exp(-0.3);
  CHECK(alike(weigh(policy), {std::exp(0.5) / sum, std::exp(0.4) / sum, std::exp(-0.3) / sum}));
  weigh(policy);
  CHECK(alike(policy.omega, {1, 0.8, -0.6}));
}

TEST_CASE("meta_tartan's head, look-ahead and absent tasks") {
  weighting::meta_tartan policy = ready(weighting::meta_tartan{.target = "main"});
  scripted oracle;
  weigh(policy, oracle);
  CHECK(oracle.head == development_head::fitted);
  CHECK(oracle.c == numbers{0, 0, 0});
  policy = ready(
      weighting::meta_tartan{.target = "main", .look_ahead = 0.3, .head = development_head::own});
  weigh(policy, oracle, situations::without_near);
  CHECK(oracle.head == development_head::own);
  CHECK(alike(oracle.c, {0.1, 0, 0.1}));
  CHECK(policy.omega[1] == 0);
  CHECK(policy.omega[2] == Approx(0.01 / 3));  // 1 / (1 · ‖(-3, 0)‖)
}

TEST_CASE("meta_tartan orders same, other and opposed tasks") {
  quadratic_tasks problem = situations::recovery();
  weighting::meta_tartan policy{.target = "main", .rate = 0.05};
  const auto run = problem.descend(policy, 40, 0.1);
  CHECK(alike(policy.omega, {2, 2, -2, 0}));
  const numbers& w = run.weights.back();
  CHECK(w[1] > w[3]);
  CHECK(w[3] > w[2]);
  CHECK(w[0] + w[1] + w[2] + w[3] == Approx(1));
}

// ---- AuxiLearn

TEST_CASE("auxilearn's linear combination is moved by the Neumann series") {
  weighting::auxilearn policy =
      ready(weighting::auxilearn{.target = "main", .every = 1, .terms = 1, .eta = 0.1});
  // L_train = 2 ℓ_main + ℓ_near + ℓ_far has the Hessian 4 I, so p = (1 + (1 - 0.4)) (3, 4) =
  // (4.8, 6.4); products (40, 25.6, -14.4). φ = 1 ± 0.01 by Adam's first step.
  CHECK(alike(weigh(policy), {2.01, 1.01, 0.99}, adam_epsilon));
  CHECK(alike(policy.products, {40, 25.6, -14.4}));
  CHECK(policy.moments[2].first == Approx(0.1 * -0.1 * -14.4));
  // The Hessian is now 4.01 I.
  weigh(policy);
  CHECK(alike(policy.products, {25 * 1.599, 16 * 1.599, -9 * 1.599}, adam_epsilon));
}

TEST_CASE("auxilearn's network gives the slope of its combination") {
  // One hidden unit, U = (0, 1, ½), b = -12, v = 2: z = 8 + 2.25 - 12 = -1.75, and
  // w = (1, 0, 0) + 2 σ(-1.75) (0, 1, ½).
  weighting::auxilearn policy =
      ready(weighting::auxilearn{.target = "main", .hidden = 1, .learning_rate = 0});
  policy.phi = {0, 1, 0.5, -12, 2};
  const double s = 1 / (1 + std::exp(1.75));
  CHECK(alike(weigh(policy), {1, 2 * s, s}));
  // Without near, z = 2.25 - 12.
  const double t = 1 / (1 + std::exp(9.75));
  CHECK(alike(weigh(policy, situations::without_near), {1, 2 * t, t}));
}

TEST_CASE("auxilearn's network follows the slope of Σ products_t w_t") {
  scripted oracle;
  oracle.answer = {3, -2, 5};
  const numbers start{0.3, 0.1, 0.2, 0.05, 0.15, 0.4, -1, 0.5, 0.7, 0.9};  // U (2, 3), b, v
  const weighting::auxilearn still = ready(weighting::auxilearn{
      .target = "main", .hidden = 2, .learning_rate = 0, .every = 1, .eta = 0.1});
  const auto objective = [&](const numbers& phi) {
    weighting::auxilearn p = still;
    p.phi = phi;
    const numbers w = weigh(p, oracle);
    return 3 * w[0] - 2 * w[1] + 5 * w[2];
  };
  weighting::auxilearn policy = still;
  policy.phi = start;
  weigh(policy, oracle);
  for (std::size_t i = 0; i < start.size(); ++i) {
    CAPTURE(i);
    numbers above = start;
    numbers below = start;
    above[i] += 1e-5;
    below[i] -= 1e-5;
    const double slope = (objective(above) - objective(below)) / 2e-5;
    CHECK(std::abs(slope) > 1e-4);
    // The first moment after one step is a tenth of the slope -η ∂.
    CHECK(policy.moments[i].first == Approx(0.1 * -0.1 * slope).epsilon(1e-7));
  }
}

TEST_CASE("auxilearn's combination stays increasing, and absent tasks as they are") {
  scripted oracle;
  oracle.answer = {-1, -1, -1};
  weighting::auxilearn linear =
      ready(weighting::auxilearn{.target = "main", .learning_rate = 2, .every = 1});
  CHECK(alike(weigh(linear, oracle, situations::without_near), {1, 1, 0}));
  weighting::auxilearn network =
      ready(weighting::auxilearn{.target = "main", .hidden = 3, .learning_rate = 2, .every = 1});
  const numbers before = network.phi;
  weigh(network, oracle, situations::without_near);
  for (std::size_t k = 0; k < 3; ++k) {
    CHECK(network.phi[3 * k] == 0);
    CHECK(network.phi[3 * k + 1] == before[3 * k + 1]);
    CHECK(network.phi[12 + k] == 0);
  }
}

TEST_CASE("auxilearn's network begins near the linear combination, by its seed") {
  const auto phi = [](std::uint64_t seed) {
    return ready(weighting::auxilearn{.target = "main", .hidden = 4, .initial = 0.5, .seed = seed})
        .phi;
  };
  CHECK(phi(1) == phi(1));
  CHECK(phi(1) != phi(2));
  const numbers p = phi(1);
  REQUIRE(p.size() == 4 * (3 + 2));
  for (std::size_t i = 0; i < 12; ++i) {
    CHECK((p[i] >= 0 && p[i] < 1));
  }
  CHECK(p[12] == 0);
  CHECK(p[16] == 0.25);
}

TEST_CASE("auxilearn orders same, other and opposed tasks") {
  for (const std::size_t hidden : {std::size_t{0}, std::size_t{4}}) {
    CAPTURE(hidden);
    quadratic_tasks problem = situations::recovery();
    weighting::auxilearn policy{
        .target = "main", .hidden = hidden, .learning_rate = 0.02, .every = 1};
    const auto run = problem.descend(policy, 120, 0.01);
    // How far each weight has come from its beginning, which is random in the network.
    numbers w = run.weights.back();
    for (std::size_t t = 0; t < w.size(); ++t) {
      w[t] -= run.weights.front()[t];
    }
    CHECK(w[1] > 0.1);
    CHECK(w[2] < -0.1);
    if (hidden == 0) {
      CHECK(w[3] == 0);
    } else {
      CHECK(w[3] > w[2]);  // a unit that helps grows with all its inputs
    }
    CHECK(run.weights.back()[2] >= 0);
  }
}

// ---- what holds for all of them

namespace {

// Options with which a policy learns within a few hundred steps of a toy problem.
template <class P>
P quick() {
  if constexpr (std::is_same_v<P, weighting::diw>) {
    return {.target = "main", .rate = 0.05};
  } else if constexpr (std::is_same_v<P, weighting::meta_tartan>) {
    return {.target = "main", .rate = 0.05};
  } else if constexpr (std::is_same_v<P, weighting::auto_lambda>) {
    return {.target = "main", .learning_rate = 0.01};
  } else {
    return {.target = "main", .learning_rate = 0.02, .every = 1};
  }
}

template <class P>
std::string place() {
  return std::is_same_v<P, weighting::diw>           ? "weighting::diw"
         : std::is_same_v<P, weighting::auto_lambda> ? "weighting::auto_lambda"
         : std::is_same_v<P, weighting::meta_tartan> ? "weighting::meta_tartan"
                                                     : "weighting::auxilearn";
}

}  // namespace

#define ALL_POLICIES \
  weighting::diw, weighting::auto_lambda, weighting::meta_tartan, weighting::auxilearn

TEST_CASE_TEMPLATE("a target_based policy ends near the single-task result when all others harm", P,
                   ALL_POLICIES) {
  quadratic_tasks problem = situations::all_harmful();
  P policy = quick<P>();
  const auto run = problem.descend(policy, 500, 0.1);
  CHECK(run.weights.back()[1] < 1e-6);
  CHECK(run.weights.back()[2] < 1e-6);
  CHECK(problem.development.loss(problem.theta) < 1e-6);
}

TEST_CASE_TEMPLATE("a target_based policy serves the development loss, not the training loss", P,
                   ALL_POLICIES) {
  // The target's training rows are biased; the auxiliary leads to where the development rows are.
  quadratic_tasks problem{{{"main", {1}, {2}}, {"aux", {1}, {0}}}, "main", {1}};
  problem.development = {"development", {1}, {0}};
  P policy = quick<P>();
  const auto run = problem.descend(policy, 20, 0.1);
  CHECK(run.weights[19][1] > run.weights[0][1]);
  CHECK(run.weights[19][0] < run.weights[0][0]);
}

TEST_CASE_TEMPLATE("a target_based policy with one task asks nothing and gives 1", P,
                   ALL_POLICIES) {
  P policy = quick<P>();
  policy.reset({"main"});
  scripted oracle;
  const std::vector<double> value{2};
  const vierbein::matrix<double> g(1, 1, 4.0);
  for (int i = 0; i < 3; ++i) {
    std::vector<double> w{-1};
    policy.weigh(losses{value}, g.view(), oracle, w);
    CHECK(w[0] == 1);
  }
  CHECK(oracle.asked == 0);
}

TEST_CASE_TEMPLATE("a target_based policy asks in every k-th step", P, ALL_POLICIES) {
  P policy = quick<P>();
  policy.every = 3;
  policy.reset(situations::names);
  scripted oracle;
  const numbers first = weigh(policy, oracle);
  CHECK(oracle.asked == 1);
  CHECK(weigh(policy, oracle) == first);
  CHECK(weigh(policy, oracle) == first);
  CHECK(oracle.asked == 1);
  CHECK(weigh(policy, oracle) != first);
  CHECK(oracle.asked == 2);
}

TEST_CASE_TEMPLATE("a target_based policy refuses what is not finite, by name", P, ALL_POLICIES) {
  P policy = quick<P>();
  policy.reset(situations::names);
  scripted oracle;
  const numbers before = weigh(policy, oracle);
  oracle.answer[1] = no_number;
  const std::string product = place<P>() +
                              ": the gradient of task 'near' has no finite inner product with that "
                              "of the development loss";
  CHECK_THROWS_WITH_AS(weigh(policy, oracle), product.c_str(), error);
  // What an oracle says of an absent task is not looked at.
  for (const double w : weigh(policy, oracle, situations::without_near)) {
    CHECK(std::isfinite(w));
  }
  oracle.answer[1] = 1;
  if constexpr (!std::is_same_v<P, weighting::auxilearn>) {
    const std::string loss = place<P>() +
                             ": the development loss of the target 'main' or its gradient is not "
                             "finite at the look-ahead: a shorter one may help";
    oracle.point.loss = no_number;
    CHECK_THROWS_WITH_AS(weigh(policy, oracle), loss.c_str(), error);
    oracle.point = {1, std::numeric_limits<double>::infinity()};
    CHECK_THROWS_WITH_AS(weigh(policy, oracle), loss.c_str(), error);
    oracle.point = {1, 1};
  }
  vierbein::matrix<double> g(3, 3, 1.0);
  g(2, 2) = no_number;
  const numbers ones{1, 1, 1};
  numbers w(3, -1);
  CHECK_THROWS_WITH_AS(policy.weigh(losses{ones}, g.view(), oracle, w),
                       (place<P>() + ": the gradient of task 'far' has no finite norm").c_str(),
                       error);
  if constexpr (std::is_same_v<P, weighting::auxilearn>) {
    g(2, 2) = 1;
    const numbers bad{1, 1, no_number};
    CHECK_THROWS_WITH_AS(policy.weigh(losses{bad}, g.view(), oracle, w),
                         "weighting::auxilearn: the loss of task 'far' is not finite", error);
  }
  for (const double b : before) {
    CHECK(std::isfinite(b));
  }
}

TEST_CASE_TEMPLATE("a target_based policy bears gradients of 0", P, ALL_POLICIES) {
  P policy = quick<P>();
  policy.reset(situations::names);
  scripted oracle;
  oracle.point = {0, 0};
  oracle.answer = {0, 0, 0};
  const numbers ones{1, 1, 1};
  const vierbein::matrix<double> g(3, 3, 0.0);
  numbers first(3);
  numbers w(3);
  policy.weigh(losses{ones}, g.view(), oracle, first);
  for (int i = 0; i < 5; ++i) {
    policy.weigh(losses{ones}, g.view(), oracle, w);
  }
  CHECK(alike(w, first));
  CHECK(std::isfinite(w[0]));
}

TEST_CASE_TEMPLATE("a target_based policy: unknown targets, reset and copies", P, ALL_POLICIES) {
  P policy = quick<P>();
  CHECK_THROWS_WITH_AS(weigh(policy),
                       (place<P>() + ": made for 0 tasks, but given 3 losses; call reset").c_str(),
                       error);
  policy.target = "mian";
  CHECK_THROWS_WITH_AS(
      policy.reset(situations::names),
      (place<P>() + ": there is no task 'mian' to be the target among main, near, far").c_str(),
      error);
  policy.target = "main";
  policy.reset(situations::names);
  const auto after = [](P& p, int steps) {
    numbers w;
    for (int i = 0; i < steps; ++i) {
      w = weigh(p);
    }
    return w;
  };
  const numbers first = after(policy, 5);
  P copy = policy;
  const numbers further = after(policy, 5);
  CHECK(further != first);
  CHECK(after(copy, 5) == further);
  policy.reset(situations::names);
  CHECK(after(policy, 5) == first);
}

TEST_CASE("unusable options of target_based policies are refused") {
  CHECK_THROWS_WITH_AS(ready(weighting::auto_lambda{.target = "main", .initial = -0.1}),
                       "weighting::auto_lambda: initial must be finite and not negative, but is "
                       "-0.1",
                       error);
  CHECK_THROWS_AS(ready(weighting::auto_lambda{.target = "main", .initial = no_number}), error);
  CHECK_THROWS_AS(ready(weighting::auto_lambda{.target = "main", .learning_rate = -1}), error);
  CHECK_THROWS_WITH_AS(ready(weighting::auto_lambda{.target = "main", .look_ahead = 0}),
                       "weighting::auto_lambda: look_ahead must be finite and positive, but is 0",
                       error);
  CHECK_THROWS_AS(ready(weighting::auto_lambda{.target = "main", .every = 0}), error);
  CHECK_THROWS_AS(ready(weighting::diw{.target = "main", .rate = no_number}), error);
  CHECK_THROWS_AS(ready(weighting::diw{.target = "main", .look_ahead = -1}), error);
  CHECK_THROWS_AS(ready(weighting::diw{.target = "main", .every = 0}), error);
  CHECK_THROWS_AS(ready(weighting::meta_tartan{.target = "main", .rate = -1}), error);
  CHECK_THROWS_AS(ready(weighting::meta_tartan{.target = "main", .look_ahead = no_number}), error);
  CHECK_THROWS_AS(ready(weighting::meta_tartan{.target = "main", .every = 0}), error);
  CHECK_THROWS_AS(ready(weighting::auxilearn{.target = "main", .initial = -1}), error);
  CHECK_THROWS_AS(ready(weighting::auxilearn{.target = "main", .initial = no_number}), error);
  CHECK_THROWS_AS(ready(weighting::auxilearn{.target = "main", .learning_rate = no_number}), error);
  CHECK_THROWS_AS(ready(weighting::auxilearn{.target = "main", .eta = 0}), error);
  CHECK_THROWS_AS(ready(weighting::auxilearn{.target = "main", .relative_step = 0}), error);
  CHECK_THROWS_AS(ready(weighting::auxilearn{.target = "main", .every = 0}), error);
}
