#include "vierbein/weighting/finetune_after.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "situations.hpp"
#include "vierbein/core/error.hpp"
#include "vierbein/weighting/constant.hpp"
#include "vierbein/weighting/uncertainty.hpp"

using doctest::Approx;
using vierbein::error;
using vierbein::losses;
using vierbein::testing::quadratic_tasks;
namespace weighting = vierbein::weighting;

namespace {

// Counts how it is called.
struct counting {
  using weighting_kind = vierbein::loss_based;
  int resets = 0, weighed = 0, observed = 0, epochs = 0;
  void reset(std::size_t) { ++resets; }
  void weigh(losses, vierbein::weights w) {
    ++weighed;
    std::fill(w.begin(), w.end(), 3.0);
  }
  void observe(losses) { ++observed; }
  void end_epoch(std::span<const double>) { ++epochs; }
};

template <class P>
std::vector<double> weigh(P& policy, const std::vector<double>& values) {
  std::vector<double> w(values.size(), -1);
  policy.weigh(losses{values}, w);
  return w;
}

template <class P>
concept Observes = requires(P& p) { p.observe(losses{}); };

}  // namespace

static_assert(vierbein::WeightingPolicy<weighting::finetune_after<>> &&
              vierbein::WeightingPolicy<weighting::finetune_after<weighting::uncertainty>> &&
              vierbein::WeightingPolicy<weighting::finetune_after<counting>>);
// Observing costs a forward pass, so it is offered only where it is wanted.
static_assert(Observes<weighting::finetune_after<counting>> &&
              !Observes<weighting::finetune_after<>>);

TEST_CASE("finetune_after gives Inner's weights, then the target alone") {
  weighting::finetune_after policy{
      .target = "b", .epochs = 2, .inner = weighting::constant{{0.5, 2, 0}}};
  policy.reset({"a", "b", "c"});
  const std::vector<double> mean{1, 1, 1};
  CHECK(weigh(policy, {7, 7, 7}) == std::vector<double>{0.5, 2, 0});
  policy.end_epoch(mean);
  CHECK(weigh(policy, {7, 7, 7}) == std::vector<double>{0.5, 2, 0});
  CHECK_FALSE(policy.fine_tuning());
  policy.end_epoch(mean);
  CHECK(policy.fine_tuning());
  CHECK(weigh(policy, {7, 7, 7}) == std::vector<double>{0, 1, 0});
  // It does not look at losses then.
  CHECK(weigh(policy, {situations::no_number, 7, 7}) == std::vector<double>{0, 1, 0});
  policy.reset({"a", "b", "c"});
  CHECK(weigh(policy, {7, 7, 7}) == std::vector<double>{0.5, 2, 0});
}

TEST_CASE("finetune_after passes on what Inner wants to know, while it is asked") {
  weighting::finetune_after policy{.target = "a", .epochs = 1, .inner = counting{}};
  policy.reset({"a"});
  const std::vector<double> one{1};
  CHECK(weigh(policy, one) == std::vector<double>{3});
  policy.observe(losses{one});
  policy.end_epoch(one);
  CHECK(weigh(policy, one) == std::vector<double>{1});
  policy.observe(losses{one});
  policy.end_epoch(one);
  CHECK(policy.inner.resets == 1);
  CHECK(policy.inner.weighed == 1);
  CHECK(policy.inner.observed == 1);
  CHECK(policy.inner.epochs == 1);
}

TEST_CASE("finetune_after undoes what harmful auxiliaries have done") {
  quadratic_tasks problem = situations::all_harmful();
  weighting::finetune_after policy{.target = "main", .epochs = 50};
  const auto run = problem.descend(policy, 150, 0.1);
  CHECK(run.weights[49] == std::vector<double>{1, 1, 1});
  CHECK(run.weights[50] == std::vector<double>{1, 0, 0});
  // Equal weights have the rate 0.3 and end at (11, 8) / 3; then 100 steps of 0.9.
  CHECK(run.development_losses[49] == Approx(185.0 / 18).epsilon(1e-6));
  CHECK(problem.theta[0] == Approx(11.0 / 3 * std::pow(0.9, 100)).epsilon(1e-6));
  CHECK(problem.development.loss(problem.theta) < 1e-6);
}

TEST_CASE("finetune_after with one task, no epochs, or nothing usable") {
  quadratic_tasks problem = situations::alone();
  weighting::finetune_after policy{.target = "main", .epochs = 0};
  CHECK(problem.descend(policy, 1, 0.1).weights[0] == std::vector<double>{1});
  policy.target = "x";
  CHECK_THROWS_WITH_AS(
      policy.reset({"a", "b"}),
      "weighting::finetune_after: there is no task 'x' to be the target among a, b", error);
  policy.target = "a";
  policy.reset({"a", "b"});
  CHECK_THROWS_WITH_AS(
      weigh(policy, {1}),
      "weighting::finetune_after: made for 2 tasks, but given 1 losses; call reset", error);
  weighting::finetune_after negative{.target = "a", .inner = weighting::constant{{1, -1}}};
  CHECK_THROWS_WITH_AS(
      negative.reset({"a", "b"}),
      "weighting::constant: expected weights that are finite and not negative, got -1", error);
}

TEST_CASE("a copy of finetune_after goes its own way") {
  weighting::finetune_after policy{
      .target = "a", .epochs = 1, .inner = weighting::uncertainty{.learning_rate = 0.1}};
  policy.reset({"a", "b"});
  weigh(policy, {9, 1});
  weighting::finetune_after copy = policy;
  copy.end_epoch(std::vector<double>{9, 1});
  CHECK(copy.fine_tuning());
  CHECK_FALSE(policy.fine_tuning());
  CHECK(weigh(policy, {9, 1})[0] == Approx(0.5 * std::exp(-0.1)));
}
