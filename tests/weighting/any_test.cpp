#include "vierbein/weighting/any.hpp"

#include <doctest/doctest.h>

#include <vector>

#include "situations.hpp"
#include "vierbein/weighting/alpha_vil.hpp"
#include "vierbein/weighting/diw.hpp"
#include "vierbein/weighting/equal.hpp"
#include "vierbein/weighting/gcs.hpp"

namespace weighting = vierbein::weighting;
using vierbein::target_based;
using vierbein::update_based;
using weighting::any;

static_assert(vierbein::TargetBasedWeighting<any<target_based>>);
static_assert(vierbein::UpdateBasedWeighting<any<update_based>>);
static_assert(!vierbein::UpdateBasedWeighting<any<target_based>>);
static_assert(!std::is_constructible_v<any<update_based>, weighting::gcs>);

TEST_CASE("a policy behaves the same when its type is hidden") {
  const auto same = [](auto policy, any<target_based> hidden) {
    auto one = situations::recovery();
    auto other = situations::recovery();
    CHECK(hidden.target == "main");
    CHECK(one.descend(policy, 20, 0.1).weights == other.descend(hidden, 20, 0.1).weights);
  };
  const weighting::gcs gcs{.target = "main"};
  const weighting::diw diw{.target = "main", .rate = 0.1};
  same(gcs, any<target_based>(gcs));
  same(diw, any<target_based>(diw));
  same(weighting::equal{}, any<target_based>(weighting::equal{}, "main"));

  weighting::alpha_vil vil{.target = "main"};
  any<update_based> hidden(vil);
  auto one = situations::recovery();
  auto other = situations::recovery();
  const auto expected = one.rounds(vil, 5, 3, 0.1);
  const auto found = other.rounds(hidden, 5, 3, 0.1);
  CHECK(expected.alpha == found.alpha);
  CHECK(expected.worth == found.worth);
}

TEST_CASE("a copy of a hidden policy goes its own way") {
  any<update_based> policy(weighting::alpha_vil{.target = "main"});
  auto problem = situations::recovery();
  problem.rounds(policy, 5, 3, 0.1);
  any<update_based> copy = policy;
  problem.rounds(policy, 5, 3, 0.1);
  std::vector<double> w(4);
  std::vector<double> of_copy(4);
  policy.worth(w);
  copy.worth(of_copy);
  CHECK(w != of_copy);
}
