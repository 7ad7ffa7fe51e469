// Policies that wrap another one: what they make of its weights, worked out by hand, and that they
// pass everything else on.
#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/core/matrix.hpp"
#include "vierbein/weighting/any.hpp"
#include "vierbein/weighting/clip.hpp"
#include "vierbein/weighting/constant.hpp"
#include "vierbein/weighting/equal.hpp"
#include "vierbein/weighting/every.hpp"
#include "vierbein/weighting/famo.hpp"
#include "vierbein/weighting/gcs.hpp"
#include "vierbein/weighting/mean.hpp"
#include "vierbein/weighting/moving_average.hpp"
#include "vierbein/weighting/normalise.hpp"
#include "vierbein/weighting/primary_only.hpp"
#include "vierbein/weighting/scale_to_mean.hpp"
#include "vierbein/weighting/trimmed_mean.hpp"

using doctest::Approx;
using vierbein::error;
using vierbein::gram_matrix;
using vierbein::losses;
using vierbein::matrix;
using vierbein::weights;
namespace weighting = vierbein::weighting;

namespace {

using numbers = std::vector<double>;
const std::vector<std::string> ab{"a", "b"};

// Answers what it is told to and counts its calls.
struct told {
  using weighting_kind = vierbein::loss_based;
  numbers answer = {};
  int resets = 0, calls = 0, observed = 0, epochs = 0;
  bool wants = true;
  [[nodiscard]] bool observes() const { return wants; }
  [[nodiscard]] std::size_t iterations() const { return 7; }
  void reset(const std::vector<std::string>&) { ++resets; }
  void weigh(losses, weights w) {
    ++calls;
    std::copy(answer.begin(), answer.end(), w.begin());
  }
  void observe(losses) { ++observed; }
  void end_epoch(std::span<const double>) { ++epochs; }
};

// Remembers what it is shown and answers it.
struct shown {
  using weighting_kind = vierbein::gram_based;
  numbers answer = {};
  numbers values = {}, entries = {}, after = {};
  void weigh(losses l, gram_matrix g, weights w) {
    values.assign(l.values.begin(), l.values.end());
    entries = {g(0, 0), g(0, 1), g(1, 0), g(1, 1)};
    std::copy(answer.begin(), answer.end(), w.begin());
  }
  void observe(losses l) { after.assign(l.values.begin(), l.values.end()); }
};

struct two_batches : shown {
  static constexpr std::size_t gram_batches = 2;
};

template <class P>
numbers weigh(P& policy, const numbers& values = {1, 1}) {
  numbers w(values.size(), -1);
  policy.weigh(losses{values}, w);
  return w;
}

// G of the gradients (3, 4) and (0, 2).
matrix<double> gram() {
  matrix<double> g(2, 2);
  g(0, 0) = 25;
  g(0, 1) = g(1, 0) = 8;
  g(1, 1) = 4;
  return g;
}

template <class P>
numbers weigh_gram(P& policy, const numbers& values = {1, 1}) {
  numbers w(values.size(), -1);
  const matrix<double> g = gram();
  policy.weigh(losses{values}, g.view(), w);
  return w;
}

bool alike(const numbers& a, const numbers& b) {
  bool same = a.size() == b.size();
  for (std::size_t i = 0; same && i < a.size(); ++i) {
    same = a[i] == Approx(b[i]).epsilon(1e-12);
  }
  return same;
}

}  // namespace

TEST_CASE("decorators compose, keep the kind, the target and the hooks, and ask for no more") {
  const auto outer = weighting::every{
      .policy =
          weighting::clip{.policy = weighting::normalise{.policy = weighting::gcs{.target = "b"}},
                          .norm = 1},
      .steps = 5};
  using outer_type = std::remove_const_t<decltype(outer)>;
  static_assert(vierbein::GramBasedWeighting<outer_type> && vierbein::WeightingPolicy<outer_type> &&
                weighting::HasTarget<outer_type> && !weighting::Observes<outer_type> &&
                !weighting::EndingEpochs<outer_type>);
  CHECK(weighting::target_of(outer) == "b");
  CHECK(weighting::any<vierbein::target_based>(outer).target == "b");

  auto observing = weighting::moving_average{.policy = weighting::famo{}};
  static_assert(vierbein::LossBasedWeighting<decltype(observing)> &&
                weighting::Observes<decltype(observing)> &&
                !weighting::EndingEpochs<decltype(observing)> &&
                !weighting::HasTarget<decltype(observing)>);

  const auto passes_on = [](auto policy) {
    policy.reset(ab);
    weigh(policy);
    const numbers means{1, 1};
    policy.observe(losses{means});
    policy.end_epoch(means);
    CHECK(policy.policy.resets == 1);
    CHECK(policy.policy.calls == 1);
    CHECK(policy.policy.observed == 1);
    CHECK(policy.policy.epochs == 1);
    CHECK(policy.iterations() == 7);
    CHECK(policy.observes());
    policy.policy.wants = false;
    CHECK_FALSE(policy.observes());
  };
  const told inner{.answer = {1, 1}};
  passes_on(weighting::moving_average{.policy = inner});
  passes_on(weighting::every{.policy = inner});
  passes_on(weighting::clip{.policy = inner});
  passes_on(weighting::scale_to_mean{.policy = inner});
  passes_on(weighting::primary_only{.policy = inner, .target = "a"});
}

TEST_CASE("moving_average: ρ λ + (1 - ρ) ŵ, from the first answer on") {
  weighting::moving_average policy{.policy = told{.answer = {1, 0}}, .memory = 0.75};
  policy.reset(ab);
  CHECK(weigh(policy) == numbers{1, 0});
  policy.policy.answer = {0, 1};
  CHECK(alike(weigh(policy), {0.75, 0.25}));
  CHECK(alike(weigh(policy), {0.5625, 0.4375}));
  // b is absent: its average stays.
  const numbers values{1, 0};
  const std::array<bool, 2> without_b{true, false};
  numbers w(2, -1);
  policy.weigh({values, without_b}, w);
  CHECK(alike(w, {0.75 * 0.5625, 0.4375}));
  policy.reset(ab);
  CHECK(weigh(policy) == numbers{0, 1});
  CHECK_THROWS_AS(weigh(policy, {1, 2, 3}), error);
  policy.memory = 1;
  CHECK_THROWS_WITH_AS(policy.reset(ab),
                       "weighting::moving_average: memory must be in [0, 1), but is 1", error);
}

TEST_CASE("every: the policy is asked in each third step") {
  weighting::every policy{.policy = told{.answer = {1, 2}}, .steps = 3};
  policy.reset(ab);
  const numbers values{1, 1};
  for (int step = 0; step < 7; ++step) {
    CHECK(weigh(policy) == (step < 3 ? numbers{1, 2} : numbers{5, 6}));
    CHECK(policy.observes() == (step % 3 == 0));
    CHECK(policy.iterations() == (step % 3 == 0 ? 7 : 0));
    policy.observe(losses{values});
    policy.policy.answer = {5, 6};
  }
  CHECK(policy.policy.calls == 3);
  CHECK(policy.policy.observed == 3);  // steps 1, 4 and 7
  policy.reset(ab);
  weigh(policy);
  CHECK(policy.policy.calls == 4);
  policy.steps = 0;
  CHECK_THROWS_WITH_AS(policy.reset(ab), "weighting::every: steps must be at least 1, but is 0",
                       error);
}

TEST_CASE("every: a task that the last answer was without is asked about at once") {
  weighting::every policy{.policy = told{.answer = {1, 0}}, .steps = 10};
  policy.reset(ab);
  const numbers values{1, 0};
  const std::array<bool, 2> without_b{true, false};
  numbers w(2, -1);
  policy.weigh({values, without_b}, w);
  policy.weigh({values, without_b}, w);
  CHECK(policy.policy.calls == 1);
  policy.policy.answer = {0.5, 0.5};
  CHECK(weigh(policy) == numbers{0.5, 0.5});
  policy.weigh({values, without_b}, w);
  CHECK(policy.policy.calls == 2);
}

TEST_CASE("clip: each weight, and the length of the step") {
  weighting::clip elements{.policy = told{.answer = {3, -4}}, .largest = 2};
  CHECK(weigh(elements) == numbers{2, -2});
  elements.norm = 1;
  CHECK_THROWS_WITH_AS(elements.reset(ab),
                       "weighting::clip: norm needs a policy that sees gradients, but this one "
                       "sees losses alone",
                       error);
  // d = 2 (3, 4) - (0, 2) = (6, 6).
  weighting::clip length{.policy = shown{.answer = {2, -1}}, .norm = std::sqrt(2)};
  length.reset(ab);
  CHECK(alike(weigh_gram(length), {2.0 / 6, -1.0 / 6}));
  length.norm = 9;
  CHECK(weigh_gram(length) == numbers{2, -1});
  length.norm = -1;
  CHECK_THROWS_AS(length.reset(ab), error);
  // The median of (3, 4), (0, 2) and (5, 5) is (3, 4).
  weighting::clip direction{.policy = weighting::trimmed_mean{}, .norm = 1};
  direction.reset({"a", "b", "c"});
  const std::array<float, 6> rows{3, 4, 0, 2, 5, 5};
  const numbers values{1, 1, 1};
  std::array<float, 2> d{};
  direction.combine<float>({values}, {rows.data(), 3, 2}, d);
  CHECK(d[0] == Approx(0.6));
  CHECK(d[1] == Approx(0.8));
  direction.largest = 1;
  CHECK_THROWS_WITH_AS(direction.reset(ab),
                       "weighting::clip: largest needs a policy that answers weights, but this one "
                       "answers a direction",
                       error);
}

TEST_CASE("what a policy asks of the trainer its decorators ask too") {
  weighting::every outer{.policy = weighting::clip{.policy = two_batches{}}};
  static_assert(weighting::gram_batches<decltype(outer)> == 2 &&
                vierbein::WeightingPolicy<decltype(outer)>);
  static_assert(weighting::gram_batches<weighting::every<shown>> == 1);
  outer.reset(ab);
  outer.policy.norm = 1;
  CHECK_THROWS_WITH_AS(outer.reset(ab),
                       "weighting::clip: norm needs the Gramian of one batch, but the policy asks "
                       "for 2 batches",
                       error);
}

TEST_CASE("normalise: what the policy sees, and what becomes of its weights") {
  const auto check = [](weighting::gradient_size by, const numbers& entries, const numbers& values,
                        const numbers& expected) {
    weighting::normalise policy{.policy = shown{.answer = {1, 3}}, .by = by};
    policy.reset(ab);
    CHECK(alike(weigh_gram(policy, {10, 0.5}), expected));
    CHECK(alike(policy.policy.entries, entries));
    CHECK(alike(policy.policy.values, values));
    const numbers halves{5, 0.25};
    policy.observe(losses{halves});
    CHECK(policy.policy.after[0] ==
          Approx(by == weighting::gradient_size::log ? std::log(5) : values[0] / 2));
  };
  // ‖g‖ = (5, 2), ℓ = (10, ½).
  check(weighting::gradient_size::l2, {1, 0.8, 0.8, 1}, {2, 0.25}, {1.0 / 5, 3.0 / 2});
  check(weighting::gradient_size::loss, {0.25, 1.6, 1.6, 16}, {1, 1}, {0.1, 6});
  check(weighting::gradient_size::loss_plus, {0.01, 0.16, 0.16, 4}, {0.2, 0.5}, {1.0 / 50, 3});
  check(weighting::gradient_size::log, {0.25, 1.6, 1.6, 16}, {std::log(10), std::log(0.5)},
        {0.1, 6});
}

TEST_CASE("normalise: what cannot be divided by") {
  weighting::normalise policy{.policy = shown{.answer = {1, 3}}};
  policy.reset(ab);
  matrix<double> g = gram();
  g(1, 1) = g(0, 1) = g(1, 0) = 0;
  const numbers values{1, 1};
  numbers w(2);
  policy.weigh(losses{values}, g.view(), w);
  CHECK(alike(w, {0.2, 3}));
  g(1, 1) = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_WITH_AS(policy.weigh(losses{values}, g.view(), w),
                       "weighting::normalise: the gradient of task 'b' has no finite norm", error);
  policy.by = weighting::gradient_size::loss;
  CHECK_THROWS_WITH_AS(weigh_gram(policy, {1, 0}),
                       "weighting::normalise: the loss of task 'b' must be greater than 0, but is "
                       "0",
                       error);
}

TEST_CASE("scale_to_mean: weights that add up to one, or a T-th of those that add up to T") {
  weighting::scale_to_mean policy{.policy = told{.answer = {3, -1}}};
  CHECK(weigh(policy) == numbers{0.75, -0.25});
  policy.policy.answer = {0, 0};
  CHECK(weigh(policy) == numbers{0, 0});
  policy.policy.answer = {3, 5};
  const numbers values{1, 0};
  const std::array<bool, 2> without_b{true, false};
  numbers w(2, -1);
  policy.weigh({values, without_b}, w);
  CHECK(w[0] == 1);

  weighting::scale_to_mean sum{.policy = weighting::equal{}, .sum_to_one = false};
  CHECK(weigh(sum) == numbers{0.5, 0.5});
  CHECK(sum.traits().scale == weighting::weight_scale::mean);
  weighting::scale_to_mean mean{.policy = weighting::mean{}, .sum_to_one = false};
  CHECK(weigh(mean) == numbers{0.5, 0.5});
}

TEST_CASE("primary_only: 1 for the target, a share of the policy's weights for the others") {
  weighting::primary_only policy{
      .policy = weighting::constant{{0.5, 4}}, .target = "a", .share = 0.25};
  policy.reset(ab);
  CHECK(weigh(policy) == numbers{1, 1});
  policy.share = 0;
  CHECK(weigh(policy) == numbers{1, 0});
  CHECK_THROWS_WITH_AS(policy.reset({"b", "c"}),
                       "weighting::primary_only: there is no task 'a' to be the target among b, c",
                       error);
  CHECK(weighting::target_of(policy) == "a");
}
