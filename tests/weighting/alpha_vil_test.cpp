#include "vierbein/weighting/alpha_vil.hpp"

#include <doctest/doctest.h>

#include <limits>
#include <span>
#include <string>
#include <vector>

#include "situations.hpp"
#include "vierbein/core/error.hpp"

using doctest::Approx;
using situations::no_number;
using vierbein::error;
using vierbein::round_plan;
using vierbein::testing::quadratic_tasks;
namespace weighting = vierbein::weighting;

static_assert(vierbein::UpdateBasedWeighting<weighting::alpha_vil>);

namespace {

using numbers = std::vector<double>;

bool alike(const numbers& a, const numbers& b) {
  bool same = a.size() == b.size();
  for (std::size_t i = 0; same && i < a.size(); ++i) {
    same = a[i] == Approx(b[i]).epsilon(1e-12);
  }
  return same;
}

quadratic_tasks two() {
  return {{{"main", {1, 1}, {0, 0}}, {"near", {1, 1}, {3, 0}}}, "main", {3, 4}};
}

// Answers with the same loss and slopes whatever it is asked.
struct scripted final : vierbein::update_oracle {
  double value = 1;
  numbers slopes{1, 1};
  int asked = 0;
  [[nodiscard]] std::size_t branches() const override { return slopes.size(); }
  [[nodiscard]] std::size_t batches() const override { return 3; }
  double loss(std::span<const double>, std::size_t, std::span<double> slope) override {
    ++asked;
    std::copy(slopes.begin(), slopes.end(), slope.begin());
    return value;
  }
  double loss(std::span<const double>) override { return value; }
  double score(std::span<const double>) override { return -value; }
};

}  // namespace

TEST_CASE("the paper's rule as worked out by hand") {
  // θ = (3, 4), one step of rate ½: δ_main = (-1.5, -2), δ_near = (0, -2). At θ + δ_main + δ_near =
  // (1.5, 0) the slopes are -2.25 and 0, so α = (1.225, 1) with a step of 0.1.
  quadratic_tasks problem = two();
  auto policy = weighting::alpha_vil::published("main", 0.1);
  const auto run = problem.rounds(policy, 1, 1, 0.5);
  CHECK(alike(run.alpha[0], {1.225, 1}));
  CHECK(alike(run.worth[0], {1.225, 1}));
  CHECK(alike(problem.theta, {3 - 1.5 * 1.225, 4 - 2 * 1.225 - 2}));
  // Then each task trains on w_i ℓ_i.
  round_plan plan;
  policy.plan(plan);
  CHECK(plan.branches[0].weights == numbers{1.225, 0});
  CHECK(plan.branches[1].weights == numbers{0, 1});
  CHECK(plan.epochs == 1);
}

TEST_CASE("the paper's rule drains all weights when the sum of the updates overshoots") {
  // Two tasks that agree, θ = 2, one step right into the minimum: θ + Σ δ = -2, slopes 4 and 4,
  // α = 0.6, for both; θ becomes 2 - 0.6 · 4.
  quadratic_tasks problem{{{"main", {1}, {0}}, {"same", {1}, {0}}}, "main", {2}};
  auto policy = weighting::alpha_vil::published("main", 0.1);
  auto run = problem.rounds(policy, 1, 1, 1.0);
  CHECK(alike(run.worth[0], {0.6, 0.6}));
  CHECK(problem.theta[0] == Approx(-0.4));
  problem.theta[0] = 20;
  run = problem.rounds(policy, 1, 1, 1.0);
  CHECK(alike(run.worth[0], {0, 0}));  // 1 - 0.1 · 400, and not below 0
}

TEST_CASE("the relative rule as worked out by hand") {
  // The updates are those above. At the average θ + ½ δ_main + ½ δ_near = (2.25, 2) the slopes are
  // -(2.25 · 1.5 + 2 · 2) = -7.375 and -4, so r = (-1, 1) and w ∝ (e^0.2, e^-0.2).
  quadratic_tasks problem = two();
  weighting::alpha_vil policy{
      .target = "main", .combined = weighting::alpha_vil::length::average, .alpha_steps = 1};
  auto run = problem.rounds(policy, 1, 1, 0.5);
  const double main = 2 / (1 + std::exp(-0.4));
  CHECK(alike(run.worth[0], {main, 2 - main}));
  CHECK(alike(run.alpha[0], {main / 2, 1 - main / 2}));
  CHECK(alike(problem.theta, {3 - 0.75 * main, 4 - 2}));
  // As long as one update: at θ + (δ_main + δ_near) / √2 the order of the slopes is the same, so w
  // is, but α = w / ‖w‖.
  problem = two();
  policy.combined = weighting::alpha_vil::length::one_update;
  run = problem.rounds(policy, 1, 1, 0.5);
  const double norm = std::hypot(main, 2 - main);
  CHECK(alike(run.worth[0], {main, 2 - main}));
  CHECK(alike(run.alpha[0], {main / norm, (2 - main) / norm}));
  CHECK(alike(problem.theta, {3 - 1.5 * main / norm, 4 - 2 * 2 / norm}));
  round_plan plan;
  policy.plan(plan);
  CHECK(plan.branches[0].weights == numbers{1, 0});  // w is not in the loss
  CHECK(plan.epochs == 0.2);
  CHECK(plan.equal_steps);
}

TEST_CASE("a task that was given up can come back") {
  quadratic_tasks problem = situations::recovery();
  weighting::alpha_vil policy{.target = "main"};
  problem.rounds(policy, 60, 3, 0.1);
  CHECK(policy.state.w[2] < 0.01);
  problem.development = problem.tasks[2];  // what was opposed is wanted now
  problem.theta = {-1, 1};
  const auto before = policy.state.w[2];
  vierbein::testing::quadratic_update oracle(problem, {{0, 0}, {0, 0}, {0.5, 0}, {0, 0}});
  numbers alpha(4);
  for (int k = 0; k < 60; ++k) {
    policy.combine(oracle, alpha);
  }
  CHECK(policy.state.w[2] > 100 * before);
}

TEST_CASE("tasks are ordered by what they are worth") {
  quadratic_tasks problem = situations::recovery();
  weighting::alpha_vil policy{.target = "main"};
  const auto run = problem.rounds(policy, 12, 2, 0.1);
  const auto& w = run.worth.back();
  CHECK(w[0] == Approx(w[1]));  // the target once more
  CHECK(w[1] > w[3] + 0.1);     // it is indifferent to `other`
  CHECK(w[3] > w[2] + 0.1);     // `opposed`
  CHECK(w[2] < 0.05);
  CHECK(w[2] >= 0);
  CHECK(w[0] + w[1] + w[2] + w[3] == Approx(4));
}

TEST_CASE("with harmful auxiliaries the target fares as it would alone") {
  quadratic_tasks problem = situations::all_harmful();
  weighting::alpha_vil policy{.target = "main"};
  const auto run = problem.rounds(policy, 60, 3, 0.1);
  CHECK(run.worth.back()[0] > 2.9);
  CHECK(run.development_losses.back() < 0.01);  // 10.3 with equal weights
}

TEST_CASE("a round that makes the target much worse on its development rows is not taken") {
  // At θ = 1 the loss is ½; with both updates, 0.3 in all, by √½ it is higher by 0.4692.
  const auto after = [](double tolerance) {
    quadratic_tasks problem{{{"main", {1}, {0}}, {"bad", {1}, {2.5}}}, "main", {1}};
    weighting::alpha_vil policy{.target = "main", .step = 0, .tolerance = tolerance};
    problem.rounds(policy, 1, 1, 0.6);  // δ = -0.6 and 0.9
    return problem.theta[0];
  };
  CHECK(after(0.2) == 1);
  CHECK(after(0.46) == 1);
  CHECK(after(0.48) == Approx(1 + 0.3 * std::sqrt(0.5)));
  CHECK(after(std::numeric_limits<double>::infinity()) == Approx(1 + 0.3 * std::sqrt(0.5)));
}

TEST_CASE("one task alone is simply trained") {
  quadratic_tasks problem = situations::alone();
  weighting::alpha_vil policy{.target = "main"};
  const auto run = problem.rounds(policy, 3, 1, 0.5);
  CHECK(run.worth.back()[0] == 1);
  CHECK(run.alpha[0][0] == 1);
  CHECK(problem.theta[0] == 2 * 0.125);
}

TEST_CASE("slopes that are no numbers end the steps of α") {
  scripted oracle;
  oracle.slopes = {no_number, 1};
  weighting::alpha_vil policy{.target = "a"};
  policy.reset({"a", "b"});
  numbers alpha(2);
  policy.combine(oracle, alpha);
  CHECK(oracle.asked == 1);
  CHECK(alike(alpha, {std::sqrt(0.5), std::sqrt(0.5)}));
  CHECK(alike(policy.state.w, {1, 1}));
  oracle.slopes = {1, 2};
  oracle.value = no_number;
  policy.combine(oracle, alpha);
  CHECK(std::isfinite(alpha[0]));
  CHECK(alike(policy.state.w, {1, 1}));
}

TEST_CASE("the number of steps: as told, or every development batch once") {
  scripted oracle;
  oracle.slopes = {1, 2};
  weighting::alpha_vil policy{.target = "a", .alpha_steps = 0};
  policy.reset({"a", "b"});
  numbers alpha(2);
  policy.combine(oracle, alpha);
  CHECK(oracle.asked == 3);
  policy.alpha_steps = 7;
  policy.combine(oracle, alpha);
  CHECK(oracle.asked == 3 + 7);
  CHECK(alpha[0] > alpha[1]);  // it harms less than the other, and α does not become negative
  CHECK(alpha[1] > 0);
  CHECK(std::hypot(alpha[0], alpha[1]) == Approx(1));
}

TEST_CASE("it begins again, a copy goes its own way, bad options are refused") {
  quadratic_tasks problem = situations::all_harmful();
  weighting::alpha_vil policy{.target = "main"};
  problem.rounds(policy, 3, 3, 0.1);
  const weighting::alpha_vil copy = policy;
  policy.reset(problem.names);
  CHECK(alike(policy.state.w, {1, 1, 1}));
  CHECK(copy.state.w[0] > 1);
  CHECK_THROWS_WITH_AS(policy.reset({"a", "b"}),
                       "weighting::alpha_vil: there is no task 'main' to be the target among a, b",
                       error);
  policy.share = 0;
  CHECK_THROWS_WITH_AS(policy.reset(problem.names),
                       "weighting::alpha_vil: share must be positive, but is 0", error);
  policy = {.target = "main", .step = no_number};
  CHECK_THROWS_WITH_AS(policy.reset(problem.names),
                       "weighting::alpha_vil: step must not be negative, but is nan", error);
  policy = {.target = "main", .tolerance = no_number};
  CHECK_THROWS_WITH_AS(policy.reset(problem.names),
                       "weighting::alpha_vil: tolerance must not be negative, but is nan", error);
  policy = {.target = "main", .smallest_weight = -1};
  CHECK_THROWS_WITH_AS(policy.reset(problem.names),
                       "weighting::alpha_vil: smallest_weight must be in (0, 1), but is -1", error);
}
