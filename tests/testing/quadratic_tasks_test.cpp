#include "vierbein/testing/quadratic_tasks.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/weighting/equal.hpp"

using doctest::Approx;
using vierbein::branch_result;
using vierbein::error;
using vierbein::losses;
using vierbein::testing::quadratic_step;
using vierbein::testing::quadratic_tasks;
using vierbein::testing::quadratic_update;

namespace {

using numbers = std::vector<double>;

// At θ = (1, 2): ℓ = ½ (1 + 2 · 4) = 4.5 and ½ (3 · 4 + 1) = 6.5, the gradients are (1, 4) and
// (-6, 1), and the development loss ½ (1 + 1) = 1 has the gradient (1, 1).
quadratic_tasks two() {
  quadratic_tasks problem{{{"a", {1, 2}, {0, 0}}, {"b", {3, 1}, {3, 1}}}, "a", {1, 2}};
  problem.development = {"development", {1, 1}, {0, 1}};
  return problem;
}

// Plans the branches it is given and merges with the coefficients it is given.
struct scripted {
  using weighting_kind = vierbein::update_based;
  std::string target = "a";
  vierbein::round_plan next = {};
  numbers alpha = {};
  int rehearsals = 0;  // before each round
  int done = 0;

  void plan(vierbein::round_plan& p) {
    p = next;
    p.rehearsal = done < rehearsals;
  }
  void combine(vierbein::update_oracle& oracle, vierbein::weights a) {
    CHECK(oracle.branches() == next.branches.size());
    std::copy(alpha.begin(), alpha.end(), a.begin());
    ++done;
  }
  void worth(vierbein::weights w) const { std::fill(w.begin(), w.end(), 0.5); }
};

}  // namespace

TEST_CASE("quadratic tasks: losses, gradients and Gramian of a step") {
  const quadratic_tasks problem = two();
  const quadratic_step step(problem);
  CHECK(step.values()[0] == 4.5);
  CHECK(step.values()[1] == 6.5);
  CHECK(step.gram()(0, 0) == 17);
  CHECK(step.gram()(0, 1) == -2);
  CHECK(step.gram()(1, 1) == 37);
  const std::array<bool, 2> present{true, false};
  const quadratic_step partial(problem, present);
  CHECK_FALSE(partial.values().has(1));
  CHECK(partial.values()[1] == 0);
  CHECK(partial.gram()(0, 0) == 17);
  CHECK(partial.gram()(1, 1) == 0);
}

TEST_CASE("quadratic tasks look ahead exactly") {
  const quadratic_tasks problem = two();
  quadratic_step step(problem);
  numbers products(2);
  // θ' = (1, 2) - ½ (1, 4) + ¼ (-6, 1) = (-1, ¼): ∇L = (-1, -¾).
  const auto at = step.look_ahead(numbers{0.5, -0.25}, products);
  CHECK(at.loss == Approx(0.5 * (1 + 0.5625)));
  CHECK(at.gradient_norm == Approx(1.25));
  CHECK(products[0] == Approx(-4));
  CHECK(products[1] == Approx(6 - 0.75));
}

TEST_CASE("quadratic tasks solve with the exact Hessian of a linear combination") {
  const quadratic_tasks problem = two();
  quadratic_step step(problem);
  numbers products(2);
  const auto train = [](losses, vierbein::weights a) {
    a[0] = 1;
    a[1] = 2;
  };
  // H = diag(1 + 6, 2 + 2). One term: p = (1, 1) + (1 - 0.7, 1 - 0.4).
  step.implicit(train, 1, 0.1, 1e-3, products);
  CHECK(products[0] == Approx(1.3 + 4 * 1.6));
  CHECK(products[1] == Approx(-6 * 1.3 + 1.6));
  // Many: η p = H⁻¹ ∇L = (1 / 7, 1 / 4).
  step.implicit(train, 500, 0.1, 1e-3, products);
  CHECK(0.1 * products[0] == Approx(1.0 / 7 + 1));
  CHECK(0.1 * products[1] == Approx(-6.0 / 7 + 0.25));
}

TEST_CASE("quadratic tasks know how a combination bends") {
  const quadratic_tasks problem = two();
  quadratic_step step(problem);
  numbers products(2);
  // L_train = ½ ℓ_a² + ℓ_a ℓ_b: a = (ℓ_a + ℓ_b, ℓ_a) = (11, 4.5). With v = (1, 1), J v = (5, -5),
  // so a changes by (0, 5); H v = 11 (1, 2) + 4.5 (3, 1) + 5 (-6, 1) = (-5.5, 31.5).
  const auto train = [](losses l, vierbein::weights a) {
    a[0] = l[0] + l[1];
    a[1] = l[0];
  };
  step.implicit(train, 1, 0.01, 1e-3, products);
  CHECK(products[0] == Approx((2 + 0.055) + 4 * (2 - 0.315)).epsilon(1e-9));
  CHECK(products[1] == Approx(-6 * (2 + 0.055) + (2 - 0.315)).epsilon(1e-9));
}

TEST_CASE("quadratic tasks judge combined updates") {
  const quadratic_tasks problem = two();
  const double nan = std::nan("");
  quadratic_update update(problem, {{1, 0}, {0, -2}, {nan, nan}});
  CHECK(update.branches() == 3);
  CHECK(update.batches() == 1);
  const numbers alpha{1, 0.25, 0};
  // (2, 1.5): ∇L = (2, ½)
  CHECK(update.loss(alpha) == Approx(2 + 0.125));
  CHECK(update.score(alpha) == Approx(-2.125));
  numbers slope(2);
  CHECK(update.loss(alpha, 0, slope) == Approx(2.125));
  CHECK(slope[0] == Approx(2));
  CHECK(slope[1] == Approx(-1));
  CHECK(std::isnan(update.loss(numbers{0, 0, 1})));
}

TEST_CASE("a descent on quadratic tasks") {
  quadratic_tasks problem = two();
  vierbein::weighting::equal policy;
  const auto run = problem.descend(policy, 2, 0.1);
  // (1, 2) - 0.1 (-5, 5) = (1.5, 1.5); then the gradients are (1.5, 3) and (-4.5, 0.5).
  CHECK(run.weights == std::vector<numbers>{{1, 1}, {1, 1}});
  CHECK(run.development_losses[0] == Approx(0.5 * (2.25 + 0.25)));
  CHECK(problem.theta[0] == Approx(1.8));
  CHECK(problem.theta[1] == Approx(1.15));
}

TEST_CASE("rounds on quadratic tasks") {
  quadratic_tasks problem = two();
  scripted policy;
  policy.next.branches = {{.name = "a", .weights = {1, 0}},
                          {.name = "both", .weights = {1, 2}},
                          {.name = "drawn", .weights = {1, 1}, .draw = {0.75, 0.25}}};
  policy.alpha = {1, 0.5, 0};
  auto run = problem.rounds(policy, 1, 1, 0.1);
  // The updates are -0.1 times (1, 4), (1 - 12, 4 + 2) and (¾ - 1.5, 3 + ¼).
  CHECK(problem.theta[0] == Approx(1 - 0.1 + 0.55));
  CHECK(problem.theta[1] == Approx(2 - 0.4 - 0.3));
  CHECK(run.branches == std::vector<std::vector<std::string>>{{"a", "both", "drawn"}});
  CHECK(run.alpha == std::vector<numbers>{{1, 0.5, 0}});
  CHECK(run.worth == std::vector<numbers>{{0.5, 0.5}});
  problem = two();
  policy.alpha = {0, 0, 1};
  run = problem.rounds(policy, 1, 1, 0.1);
  CHECK(problem.theta[0] == Approx(1.075));
  CHECK(problem.theta[1] == Approx(1.675));
}

TEST_CASE("rounds on quadratic tasks: rehearsals and results of branches") {
  quadratic_tasks problem{{{"a", {1}, {0}}}, "a", {1}};
  scripted policy;
  policy.next.branches = {{.name = "a", .weights = {1}}};
  policy.alpha = {1};
  policy.rehearsals = 2;
  auto run = problem.rounds(policy, 1, 1, 0.5);
  CHECK(run.rehearsal == std::vector<bool>{true, true, false});
  CHECK(problem.theta[0] == Approx(0.125));  // this policy moves in rehearsals too

  // Three steps of rate 1.5 and -½ each: 1, -½, ¼, -⅛. Of two scorings one is after the second step
  // (1 · 3 / 2 rounded up) and one after the third.
  const auto end = [](branch_result result, double rate, std::size_t scorings, std::size_t rounds) {
    quadratic_tasks one{{{"a", {1}, {0}}}, "a", {1}};
    scripted p;
    p.next = {.branches = {{.name = "a", .weights = {1}}}, .result = result, .scorings = scorings};
    p.alpha = {1};
    one.rounds(p, rounds, 3, rate);
    return one.theta[0];
  };
  CHECK(end(branch_result::last, 1.5, 3, 1) == Approx(-0.125));
  // Rate 3 doubles and turns: 1, -2, 4, -8; the best that is scored.
  CHECK(end(branch_result::last, 3, 3, 1) == Approx(-8));
  CHECK(end(branch_result::best_of_round, 3, 3, 1) == Approx(-2));
  CHECK(end(branch_result::best_of_round, 3, 2, 1) == Approx(4));
  CHECK(end(branch_result::best_of_round, 3, 1, 1) == Approx(-8));
  CHECK(end(branch_result::best_of_round, 3, 3, 2) == Approx(4));
  CHECK(end(branch_result::best_ever, 3, 3, 2) == Approx(-2));

  policy.rehearsals = 1'000'000;
  CHECK_THROWS_WITH_AS(problem.rounds(policy, 1, 1, 0.5),
                       "testing::quadratic_tasks: the policy plans only rehearsals", error);
}

TEST_CASE("quadratic tasks refuse what does not fit") {
  CHECK_THROWS_WITH_AS((quadratic_tasks{{{"a", {1, 1}, {0}}}, "a", {1, 1}}),
                       "testing::quadratic_tasks: task 'a' must have 2 curvatures and centres",
                       error);
  CHECK_THROWS_WITH_AS((quadratic_tasks{{{"a", {1}, {0}}}, "b", {1}}),
                       "testing::quadratic_tasks: there is no task 'b' to be the target among a",
                       error);
}
