#include "vierbein/weighting/fork_merge.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "situations.hpp"
#include "vierbein/core/error.hpp"

using doctest::Approx;
using situations::no_number;
using vierbein::branch_result;
using vierbein::error;
using vierbein::round_plan;
using vierbein::testing::quadratic_tasks;
using vierbein::testing::quadratic_update;
namespace weighting = vierbein::weighting;

static_assert(vierbein::UpdateBasedWeighting<weighting::fork_merge>);

namespace {

using numbers = std::vector<double>;

// Scores of so many branches, each alone; a mixture has the worst of its parts.
struct scripted final : vierbein::update_oracle {
  explicit scripted(numbers s) : scores(std::move(s)) {}
  numbers scores;
  int asked = 0;
  [[nodiscard]] std::size_t branches() const override { return scores.size(); }
  [[nodiscard]] std::size_t batches() const override { return 1; }
  double loss(std::span<const double>, std::size_t, std::span<double>) override { return 0; }
  double loss(std::span<const double>) override { return 0; }
  double score(std::span<const double> alpha) override {
    ++asked;
    double worst = std::numeric_limits<double>::infinity();
    for (std::size_t b = 0; b < alpha.size(); ++b) {
      worst = alpha[b] == 0 || scores[b] > worst ? worst : scores[b];
    }
    return worst;
  }
};

bool alike(const numbers& a, const numbers& b) {
  bool same = a.size() == b.size();
  for (std::size_t i = 0; same && i < a.size(); ++i) {
    same = a[i] == Approx(b[i]).epsilon(1e-12);
  }
  return same;
}

numbers worth(const weighting::fork_merge& policy, std::size_t tasks) {
  numbers w(tasks, -1);
  policy.worth(w);
  return w;
}

}  // namespace

TEST_CASE("fork_merge merges two branches as worked out by hand") {
  // θ = (4, 4), the gradients are (4, 4) and (-4, 8). One step of rate ½ leads the target alone to
  // (2, 2), loss 4, and both tasks to (4, 4) - ½ (0, 12) = (4, -2), loss 10. So the first has λ = 1
  // and the second one of 0, .2, ..., 1. At (θ_0 + λ θ_1) / (1 + λ) the loss is
  //     λ = .2: (2.8, 1.6) / 1.2, ½ (7.84 + 2.56) / 1.44 = 3.6111
  //     λ = .4: (3.6, 1.2) / 1.4, ½ (12.96 + 1.44) / 1.96 = 3.6735, and more for greater λ.
  quadratic_tasks problem{{{"main", {1, 1}, {0, 0}}, {"aux", {1, 1}, {8, -4}}}, "main", {4, 4}};
  weighting::fork_merge policy{.target = "main"};
  const auto run = problem.rounds(policy, 1, 1, 0.5);
  CHECK(run.branches == std::vector<std::vector<std::string>>{{"top 0", "top 1"}});
  CHECK(run.rehearsal == std::vector<bool>{false});  // one auxiliary needs no ranking
  CHECK(alike(run.alpha[0], {1 / 1.2, 0.2 / 1.2}));
  CHECK(alike(problem.theta, {2.8 / 1.2, 1.6 / 1.2}));
  CHECK(run.development_losses[0] == Approx(10.4 / 2.88));
  CHECK(alike(run.worth[0], {1, 0.2 / 1.2}));
}

TEST_CASE("fork_merge ranks auxiliaries in a rehearsal") {
  weighting::fork_merge policy{.target = "m", .top = {0, 1, 2, 7}, .pruning_epochs = 2};
  policy.reset({"a", "m", "b", "c"});
  CHECK(worth(policy, 4) == numbers{1, 1, 1, 1});
  round_plan plan;
  policy.plan(plan);
  CHECK(plan.rehearsal);
  CHECK(plan.epochs == 2);
  CHECK(plan.scorings == 2);
  CHECK(plan.equal_steps);
  CHECK_FALSE(plan.keep_optimizer_state);
  CHECK(plan.result == branch_result::best_of_round);
  REQUIRE(plan.branches.size() == 3);
  CHECK(plan.branches[1].name == "with b");
  CHECK(plan.branches[1].weights == numbers{0, 1, 1, 0});
  CHECK(plan.branches[1].draw.empty());

  scripted oracle({1, 5, 3});
  numbers alpha(3, -1);
  policy.combine(oracle, alpha);
  CHECK(alpha == numbers{0, 0, 0});
  CHECK(policy.ranking == std::vector<std::size_t>{2, 3, 0});

  policy.plan(plan);
  CHECK_FALSE(plan.rehearsal);
  CHECK(plan.epochs == 5);
  CHECK(plan.scorings == 5);
  CHECK(plan.equal_steps);
  CHECK(plan.keep_optimizer_state);
  CHECK(plan.result == branch_result::best_ever);
  REQUIRE(plan.branches.size() == 4);
  CHECK(plan.branches[0].name == "top 0");
  CHECK(plan.branches[0].weights == numbers{0, 1, 0, 0});
  CHECK(plan.branches[1].weights == numbers{0, 1, 1, 0});
  CHECK(plan.branches[2].weights == numbers{0, 1, 1, 1});
  CHECK(plan.branches[3].name == "top 3");
  CHECK(plan.branches[3].weights == numbers{1, 1, 1, 1});
  CHECK(worth(policy, 4) == numbers{1, 1, 1, 1});
}

TEST_CASE("fork_merge searches greedily, each branch up to the mean share of those before") {
  weighting::fork_merge policy{.target = "m", .top = {0, 1, 2}};
  policy.reset({"m", "a", "b"});
  scripted ranking({2, 1});
  numbers two(2);
  policy.combine(ranking, two);
  // From θ = 0, updates (-1, 1), (-1, -2) and (1, 0) with the losses 1, 2.5 and ½: the third has
  // λ = 1. The first may have up to 1; at (1 - λ, λ) / (1 + λ) twice the loss is .472 .265 .203
  // .210 .25 for λ = .2, ..., 1: λ = .6. The second may have up to 1.6 / 2 = .8; at
  // (.4 - λ, .6 - 2λ) / (1.6 + λ) twice the loss is .136 / 1.76² = .044 for λ = .16,
  // .008 / 1.92² = .002 for .32 and .136 / 2.08² = .031 for .48: λ = .32.
  const quadratic_tasks problem{{{"m", {1, 1}, {0, 0}}}, "m", {0, 0}};
  quadratic_update oracle(problem, {{-1, 1}, {-1, -2}, {1, 0}});
  numbers alpha(3);
  policy.combine(oracle, alpha);
  CHECK(alike(alpha, {0.6 / 1.92, 0.32 / 1.92, 1 / 1.92}));
  // top 0 is (.6), top 1 (.32) trains a, top 2 (1) trains both.
  CHECK(alike(worth(policy, 3), {1, 1.32 / 1.92, 1 / 1.92}));
  CHECK(policy.rounds == 1);
}

TEST_CASE("fork_merge draws tasks where it is told so") {
  weighting::fork_merge policy{.target = "m", .top = {0, 2, 3}, .sampled = true};
  policy.reset({"m", "a", "b", "c"});
  round_plan plan;
  policy.plan(plan);
  REQUIRE(plan.branches.size() == 3);
  CHECK(plan.branches[2].draw == numbers{0.5, 0, 0, 0.5});
  scripted ranking({1, 2, 3});
  numbers three(3);
  policy.combine(ranking, three);
  policy.plan(plan);
  CHECK(plan.branches[0].draw == numbers{1, 0, 0, 0});
  CHECK(plan.branches[1].draw == numbers{0.5, 0, 0.25, 0.25});
  CHECK(alike(plan.branches[2].draw, {0.5, 0.5 / 3, 0.5 / 3, 0.5 / 3}));
}

TEST_CASE("fork_merge's older parameters come back, or do not") {
  // Steps of rate 2.5 overshoot: θ = 1, -1.5, 2.25. The second round does not beat the first.
  const auto end = [](branch_result result) {
    quadratic_tasks problem{{{"main", {1}, {0}}}, "main", {1}};
    weighting::fork_merge policy{.target = "main", .result = result};
    problem.rounds(policy, 2, 1, 2.5);
    return problem.theta[0];
  };
  CHECK(end(branch_result::best_ever) == Approx(-1.5));
  CHECK(end(branch_result::best_of_round) == Approx(2.25));
  CHECK(end(branch_result::last) == Approx(2.25));
  // Two steps, scored after each: the best of a round is its first.
  quadratic_tasks problem{{{"main", {1}, {0}}}, "main", {1}};
  weighting::fork_merge policy{
      .target = "main", .epochs = 2, .result = branch_result::best_of_round};
  problem.rounds(policy, 1, 2, 2.5);
  CHECK(problem.theta[0] == Approx(-1.5));
}

TEST_CASE("fork_merge orders same, other and opposed tasks") {
  quadratic_tasks problem = situations::recovery();
  weighting::fork_merge policy{.target = "main", .top = {0, 1, 2, 3}};
  const auto run = problem.rounds(policy, 3, 4, 0.1);
  CHECK(run.rehearsal == std::vector<bool>{true, false, false, false});
  CHECK(policy.ranking == std::vector<std::size_t>{1, 3, 2});  // same, other, opposed
  // The target with its double descends fastest, and `other` as well changes nothing: which of
  // these two equal branches counts is up to rounding.
  CHECK(run.alpha.back()[0] == 0);
  CHECK(run.alpha.back()[3] == 0);
  const numbers& w = run.worth.back();
  CHECK(alike({w[0], w[1], w[2]}, {1, 1, 0}));
  CHECK((w[3] >= 0 && w[3] < 1));
  CHECK(problem.theta[0] == Approx(std::pow(0.8, 12)));
}

TEST_CASE("fork_merge ends at the single-task result when all auxiliaries harm") {
  quadratic_tasks problem = situations::all_harmful();
  weighting::fork_merge policy{.target = "main", .top = {0, 1, 2}};
  problem.rounds(policy, 5, 10, 0.1);
  CHECK(problem.theta[0] == Approx(2 * std::pow(0.9, 50)));
  CHECK(alike(worth(policy, 3), {1, 0, 0}));
}

TEST_CASE("fork_merge with one task has one branch") {
  quadratic_tasks problem = situations::alone();
  weighting::fork_merge policy{.target = "main"};
  const auto run = problem.rounds(policy, 2, 1, 0.5);
  CHECK(run.branches == std::vector<std::vector<std::string>>{{"top 0"}, {"top 0"}});
  CHECK(run.alpha == std::vector<numbers>{{1}, {1}});
  CHECK(run.worth.back() == numbers{1});
  CHECK(problem.theta[0] == Approx(0.5));
}

TEST_CASE("fork_merge passes over branches without a finite score") {
  weighting::fork_merge policy{.target = "m"};
  policy.reset({"m", "a"});
  scripted half({no_number, 3});
  numbers alpha(2, -1);
  policy.combine(half, alpha);
  CHECK(alpha == numbers{0, 1});
  CHECK(half.asked == 2);  // no mixture is tried
  scripted none({no_number, -std::numeric_limits<double>::infinity()});
  CHECK_THROWS_WITH_AS(policy.combine(none, alpha),
                       "weighting::fork_merge: no branch of round 2 has a finite score for the "
                       "target 'm': a smaller learning rate may help",
                       error);
  policy.top = {0, 1};
  policy.reset({"m", "a", "b"});
  scripted pruning({no_number, 1});
  policy.combine(pruning, alpha);
  CHECK(policy.ranking == std::vector<std::size_t>{2, 1});
  policy.reset({"m", "a", "b"});
  CHECK_THROWS_WITH_AS(policy.combine(none, alpha),
                       "weighting::fork_merge: no branch of the pruning has a finite score for the "
                       "target 'm': a smaller learning rate may help",
                       error);
}

TEST_CASE("fork_merge: reset begins again, and a copy goes its own way") {
  weighting::fork_merge policy{.target = "m", .top = {0, 1}};
  policy.reset({"m", "a", "b"});
  weighting::fork_merge copy = policy;
  scripted oracle({1, 2});
  numbers alpha(2);
  policy.combine(oracle, alpha);
  CHECK(policy.ranking == std::vector<std::size_t>{2, 1});
  CHECK(policy.ranked);
  CHECK(copy.ranking == std::vector<std::size_t>{1, 2});
  CHECK_FALSE(copy.ranked);
  policy.combine(oracle, alpha);
  CHECK(policy.rounds == 1);
  policy.reset({"m", "a", "b"});
  CHECK_FALSE(policy.ranked);
  CHECK(policy.rounds == 0);
  CHECK(worth(policy, 3) == numbers{1, 1, 1});
}

TEST_CASE("fork_merge refuses what it cannot use") {
  const std::vector<std::string> names{"a", "b"};
  round_plan plan;
  CHECK_THROWS_WITH_AS(weighting::fork_merge{}.plan(plan),
                       "weighting::fork_merge: call reset before plan", error);
  CHECK_THROWS_WITH_AS(weighting::fork_merge{.target = "c"}.reset(names),
                       "weighting::fork_merge: there is no task 'c' to be the target among a, b",
                       error);
  CHECK_THROWS_WITH_AS((weighting::fork_merge{.target = "a", .top = {}}.reset(names)),
                       "weighting::fork_merge: top must name the size of at least one branch",
                       error);
  CHECK_THROWS_WITH_AS((weighting::fork_merge{.target = "a", .epochs = no_number}.reset(names)),
                       "weighting::fork_merge: epochs must be finite and positive, but is nan",
                       error);
  CHECK_THROWS_AS((weighting::fork_merge{.target = "a", .pruning_epochs = 0}.reset(names)), error);
  CHECK_THROWS_WITH_AS((weighting::fork_merge{.target = "a", .grid = {0, -0.5}}.reset(names)),
                       "weighting::fork_merge: grid must be within [0, 1], but holds -0.5", error);
  CHECK_THROWS_AS((weighting::fork_merge{.target = "a", .grid = {no_number}}.reset(names)), error);
  weighting::fork_merge policy{.target = "a"};
  policy.reset(names);
  scripted three({1, 2, 3});
  numbers alpha(3);
  CHECK_THROWS_WITH_AS(policy.combine(three, alpha),
                       "weighting::fork_merge: planned 2 branches, but given 3; call reset", error);
}
