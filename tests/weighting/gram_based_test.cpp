#include <doctest/doctest.h>

#include <limits>
#include <span>
#include <string>
#include <vector>

#include "situations.hpp"
#include "vierbein/core/error.hpp"
#include "vierbein/core/matrix.hpp"
#include "vierbein/weighting/arml.hpp"
#include "vierbein/weighting/gcs.hpp"
#include "vierbein/weighting/ol_aux.hpp"

using doctest::Approx;
using situations::no_number;
using vierbein::error;
using vierbein::losses;
using vierbein::testing::quadratic_step;
using vierbein::testing::quadratic_tasks;
namespace weighting = vierbein::weighting;

static_assert(vierbein::GramBasedWeighting<weighting::gcs> &&
              vierbein::GramBasedWeighting<weighting::ol_aux> &&
              vierbein::GramBasedWeighting<weighting::arml>);

namespace {

// The weights at three_four(), with these tasks in the batch.
template <class P>
std::vector<double> weigh(P& policy, std::span<const bool> present = {}) {
  const quadratic_tasks problem = situations::three_four();
  const quadratic_step step(problem, present);
  std::vector<double> w(3, -1);
  policy.weigh(step.values(), step.gram(), w);
  return w;
}

template <class P>
P ready(P policy) {
  policy.reset(situations::names);
  return policy;
}

bool alike(const std::vector<double>& a, const std::vector<double>& b) {
  bool same = a.size() == b.size();
  for (std::size_t i = 0; same && i < a.size(); ++i) {
    same = a[i] == Approx(b[i]).epsilon(1e-12);
  }
  return same;
}

}  // namespace

// ---- gcs

TEST_CASE("gcs gates by the sign of the cosine, or weighs by it") {
  // The cosines are 0.8 and -0.6: see three_four().
  weighting::gcs gate = ready(weighting::gcs{.target = "main"});
  CHECK(alike(weigh(gate), {1, 1, 0}));
  weighting::gcs slope = ready(weighting::gcs{.target = "main", .weighted = true});
  CHECK(alike(weigh(slope), {1, 0.8, 0}));
  // With "far" for the target: cos(far, main) = -0.6, cos(far, near) = 0, which is not above 0.
  weighting::gcs other = ready(weighting::gcs{.target = "far"});
  CHECK(alike(weigh(other), {0, 0, 1}));
}

TEST_CASE("gcs keeps the last weight of what a batch says nothing about") {
  weighting::gcs policy = ready(weighting::gcs{.target = "main", .weighted = true});
  CHECK(alike(weigh(policy, situations::without_target), {1, 1, 1}));
  CHECK(alike(weigh(policy, situations::without_near), {1, 1, 0}));
  CHECK(alike(weigh(policy), {1, 0.8, 0}));
  CHECK(alike(weigh(policy, situations::without_target), {1, 0.8, 0}));
  CHECK(alike(weigh(policy, situations::without_near), {1, 0.8, 0}));
}

TEST_CASE("gcs orders same, other and opposed tasks") {
  quadratic_tasks problem = situations::recovery();
  weighting::gcs policy{.target = "main", .weighted = true};
  const auto run = problem.descend(policy, 30, 0.1);
  for (const auto& w : run.weights) {
    CHECK(alike(w, {1, 1, 0, 0}));
  }
  // The target and its double: θ_0 = 0.8^30; nothing has moved θ_1.
  CHECK(problem.theta[0] == Approx(std::pow(0.8, 30)));
  CHECK(problem.theta[1] == 1);
}

TEST_CASE("gcs leaves harmful tasks out altogether") {
  quadratic_tasks problem = situations::all_harmful();
  weighting::gcs policy{.target = "main"};
  problem.descend(policy, 20, 0.1);
  CHECK(problem.theta[0] == Approx(2 * std::pow(0.9, 20)));
  CHECK(problem.theta[1] == Approx(2 * std::pow(0.9, 20)));
}

// ---- OL-AUX

TEST_CASE("ol_aux adds up similarities and moves every N steps") {
  weighting::ol_aux policy =
      ready(weighting::ol_aux{.target = "main", .rate = 0.1, .every = 2, .initial = 1});
  CHECK(alike(weigh(policy), {1, 1, 1}));
  // 1 + 0.1 (0.8 + 0.8) and 1 - 0.1 (0.6 + 0.6)
  CHECK(alike(weigh(policy), {1, 1.16, 0.88}));
  CHECK(alike(weigh(policy), {1, 1.16, 0.88}));
  CHECK(alike(weigh(policy), {1, 1.32, 0.76}));
}

TEST_CASE("ol_aux with inner products, clamped and not") {
  weighting::ol_aux policy{.target = "main", .rate = 0.1, .every = 2, .cosines = false};
  policy.reset(situations::names);
  weigh(policy);
  // 1 + 0.1 (16 + 16) and 1 - 0.1 (9 + 9) = -0.8
  CHECK(alike(weigh(policy), {1, 4.2, 0}));
  policy.clamp = false;
  policy.reset(situations::names);
  weigh(policy);
  CHECK(alike(weigh(policy), {1, 4.2, -0.8}));
}

TEST_CASE("ol_aux does not count batches without the target") {
  weighting::ol_aux policy =
      ready(weighting::ol_aux{.target = "main", .rate = 0.1, .every = 2, .initial = 0.5});
  weigh(policy);
  CHECK(alike(weigh(policy, situations::without_target), {1, 0.5, 0.5}));
  CHECK(alike(weigh(policy, situations::without_near), {1, 0.58, 0.38}));
}

TEST_CASE("ol_aux orders same, other and opposed tasks") {
  quadratic_tasks problem = situations::recovery();
  weighting::ol_aux policy{.target = "main", .rate = 0.02};
  const auto run = problem.descend(policy, 100, 0.1);
  const auto& w = run.weights.back();
  CHECK(w[1] == Approx(1 + 100 * 0.02));  // cosine 1 throughout
  CHECK(w[2] == 0);                       // 1 - 50 · 0.02, then it stays
  CHECK(w[3] == 1);
  CHECK(problem.development.loss(problem.theta) < 1e-4);
}

TEST_CASE("ol_aux ends near the single-task result when all auxiliaries harm") {
  quadratic_tasks problem = situations::all_harmful();
  weighting::ol_aux policy{.target = "main", .rate = 0.05};
  problem.descend(policy, 200, 0.1);
  CHECK(problem.development.loss(problem.theta) < 1e-6);
}

// ---- ARML

TEST_CASE("arml steps down the distance of gradients") {
  weighting::arml policy = ready(weighting::arml{.target = "main", .rate = 0.5});
  // G of the auxiliaries is diag(16, 9), of trace 25. With w = (1, 1): 16 - 16 = 0 and -9 - 9 =
  // -18, so w_far = 1 - 2 (0.5 / 25) 18 = 0.28; then -9 - 9 · 0.28 = -11.52, and 0.28 - 0.4608 < 0.
  CHECK(alike(weigh(policy), {1, 1, 0.28}));
  CHECK(alike(weigh(policy), {1, 1, 0}));
  // D is smallest at w_near = ⟨g_near, g_main⟩ / ‖g_near‖² = 1.
  policy = ready(weighting::arml{.target = "main", .rate = 0.5, .initial = 0});
  for (int i = 0; i < 60; ++i) {
    weigh(policy);
  }
  CHECK(alike(weigh(policy), {1, 1, 0}));
}

TEST_CASE("arml leaves out absent tasks") {
  weighting::arml policy = ready(weighting::arml{.target = "main", .rate = 0.5, .initial = 0.5});
  CHECK(alike(weigh(policy, situations::without_target), {1, 0.5, 0.5}));
  // Alone, far has the trace 9: w = 0.5 + 2 (0.5 / 9) (-9 - 0.5 · 9) = 0.5 - 1.5 < 0.
  CHECK(alike(weigh(policy, situations::without_near), {1, 0.5, 0}));
}

TEST_CASE("arml orders same, other and opposed tasks") {
  quadratic_tasks problem = situations::recovery();
  weighting::arml policy{.target = "main", .rate = 0.1};
  // At (1, 1) the traces are 1 + 4 + 1 = 6; the sums are 1 - (1 - 2) = 2, -2 - (-2 + 4) = -4 and
  // 0 - 1: w = 1 + 0.2 / 6 · (2, -4, -1).
  auto run = problem.descend(policy, 1, 0.1);
  CHECK(alike(run.weights[0], {1, 1 + 0.4 / 6, 1 - 0.8 / 6, 1 - 0.2 / 6}));
  problem = situations::recovery();
  run = problem.descend(policy, 60, 0.1);
  const auto& w = run.weights.back();
  CHECK(w[1] > w[3]);
  CHECK(w[3] > w[2]);
  CHECK(w[2] < 1e-3);  // it falls with θ_0, which is what its gradient is weighed against
}

TEST_CASE("arml ends near the single-task result when all auxiliaries harm") {
  quadratic_tasks problem = situations::all_harmful();
  weighting::arml policy{.target = "main", .rate = 0.1};
  problem.descend(policy, 300, 0.1);
  CHECK(problem.development.loss(problem.theta) < 1e-6);
}

// ---- what holds for all of them

TEST_CASE_TEMPLATE("a policy on G: one task, unknown targets, reset and copies", P, weighting::gcs,
                   weighting::ol_aux, weighting::arml) {
  const std::string place = std::is_same_v<P, weighting::gcs>      ? "weighting::gcs"
                            : std::is_same_v<P, weighting::ol_aux> ? "weighting::ol_aux"
                                                                   : "weighting::arml";
  P policy{.target = "main"};
  SUBCASE("one task has the weight 1") {
    quadratic_tasks problem = situations::alone();
    const auto run = problem.descend(policy, 7, 0.1);
    for (const auto& w : run.weights) {
      CHECK(w == std::vector<double>{1});
    }
  }
  SUBCASE("an unknown target, or none, is refused by name") {
    policy.target = "mian";
    CHECK_THROWS_WITH_AS(
        policy.reset(situations::names),
        (place + ": there is no task 'mian' to be the target among main, near, far").c_str(),
        error);
    CHECK_THROWS_WITH_AS(P{}.reset({"a"}),
                         (place + ": there is no task '' to be the target among a").c_str(), error);
  }
  SUBCASE("another number of tasks is refused") {
    CHECK_THROWS_WITH_AS(weigh(policy),
                         (place + ": made for 0 tasks, but given 3 losses; call reset").c_str(),
                         error);
    policy.reset({"main", "near"});
    CHECK_THROWS_AS(weigh(policy), error);
  }
  SUBCASE("gradients that are not finite are refused by name, unless their task is absent") {
    policy.reset(situations::names);
    const std::vector<double> values{1, 1, 1};
    vierbein::matrix<double> g(3, 3, 1.0);
    std::vector<double> w(3, -1);
    g(1, 1) = std::numeric_limits<double>::infinity();
    CHECK_THROWS_WITH_AS(policy.weigh(losses{values}, g.view(), w),
                         (place + ": the gradient of task 'near' has no finite norm").c_str(),
                         error);
    CHECK_NOTHROW(policy.weigh(losses{values, situations::without_near}, g.view(), w));
    CHECK(std::isfinite(w[1]));
    g(1, 1) = 1;
    g(1, 2) = g(2, 1) = 1e9;  // of an absent task: not looked at
    policy.reset(situations::names);
    policy.weigh(losses{values, situations::without_near}, g.view(), w);
    CHECK(w[2] == 1);  // 1 - 1 · 1 = 0 moves nothing
    g(1, 2) = g(2, 1) = 1;
    g(2, 0) = no_number;
    CHECK_THROWS_WITH_AS(
        policy.weigh(losses{values}, g.view(), w),
        (place + ": the gradients of tasks 'far' and 'main' have no finite inner product").c_str(),
        error);
    CHECK_NOTHROW(policy.weigh(losses{values, situations::without_target}, g.view(), w));
    const vierbein::matrix<double> small(2, 2, 1.0);
    CHECK_THROWS_AS(policy.weigh(losses{values}, small.view(), w), error);
  }
  SUBCASE("gradients of 0 give finite weights") {
    policy.reset(situations::names);
    const std::vector<double> values{1, 1, 1};
    const vierbein::matrix<double> g(3, 3, 0.0);
    std::vector<double> w(3, no_number);
    for (int i = 0; i < 12; ++i) {
      policy.weigh(losses{values}, g.view(), w);
    }
    CHECK(w[0] == 1);
    CHECK(w[1] == (std::is_same_v<P, weighting::gcs> ? 0 : 1));
    CHECK(w[2] == w[1]);
  }
  SUBCASE("losses are not looked at") {
    policy.reset(situations::names);
    const quadratic_tasks problem = situations::three_four();
    const quadratic_step step(problem);
    const std::vector<double> values{no_number, no_number, no_number};
    std::vector<double> w(3, no_number);
    policy.weigh(losses{values}, step.gram(), w);
    CHECK((std::isfinite(w[0]) && std::isfinite(w[1]) && std::isfinite(w[2])));
  }
  SUBCASE("a copy goes its own way, and reset begins again") {
    policy.reset(situations::names);
    const auto after = [](P& p, int steps) {
      std::vector<double> w;
      for (int i = 0; i < steps; ++i) {
        w = weigh(p);
      }
      return w;
    };
    const auto first = after(policy, 7);
    P copy = policy;
    const auto further = after(policy, 7);
    CHECK(after(copy, 7) == further);
    if constexpr (!std::is_same_v<P, weighting::gcs>) {
      CHECK(further != first);
    }
    policy.reset(situations::names);
    CHECK(after(policy, 7) == first);
  }
}

TEST_CASE("unusable options of policies on G are refused") {
  const auto& names = situations::names;
  CHECK_THROWS_WITH_AS(ready(weighting::ol_aux{.target = "main", .initial = -1}),
                       "weighting::ol_aux: initial must be finite and not negative, but is -1",
                       error);
  CHECK_THROWS_AS(ready(weighting::ol_aux{.target = "main", .initial = no_number}), error);
  CHECK_THROWS_AS(ready(weighting::ol_aux{.target = "main", .rate = -0.1}), error);
  CHECK_THROWS_WITH_AS(ready(weighting::ol_aux{.target = "main", .every = 0}),
                       "weighting::ol_aux: every must be at least 1, but is 0", error);
  CHECK_THROWS_WITH_AS(ready(weighting::arml{.target = "main", .rate = 1.5}),
                       "weighting::arml: rate must be in (0, 1], but is 1.5", error);
  CHECK_THROWS_AS(ready(weighting::arml{.target = "main", .rate = no_number}), error);
  CHECK_THROWS_AS(ready(weighting::arml{.target = "main", .initial = no_number}), error);
  CHECK_THROWS_AS((weighting::arml{.target = "main", .initial = -1}.reset(names)), error);
}
