#include "vierbein/data/sampler.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <vector>

using vierbein::error;
using vierbein::index_t;
using vierbein::data::Sampler;
using vierbein::data::sampler::balanced;
using vierbein::data::sampler::shuffled;
using rows = std::vector<index_t>;

static_assert(Sampler<shuffled> && Sampler<balanced> && !Sampler<int>);

namespace {

rows range(index_t first, index_t last) {
  rows all;
  for (index_t r = first; r < last; ++r) {
    all.push_back(r);
  }
  return all;
}

template <class State>
std::vector<rows> epoch(State& state, index_t number) {
  state.begin_epoch(number);
  std::vector<rows> batches;
  for (index_t b = 0; b < state.batches(); ++b) {
    batches.emplace_back(state.batch(b).begin(), state.batch(b).end());
  }
  return batches;
}

index_t count_in(const rows& batch, index_t first, index_t last) {
  return std::ranges::count_if(batch, [&](index_t r) { return r >= first && r < last; });
}

}  // namespace

TEST_CASE("shuffled visits every row once an epoch, in an order of its own") {
  const rows all{3, 5, 7, 9, 11, 13, 15};
  shuffled::state state(shuffled{.batch = 3}, all, {}, 1);
  CHECK(state.batches() == 3);
  const auto first = epoch(state, 0);
  CHECK(first[0].size() == 3);
  CHECK(first[2].size() == 1);
  std::multiset<index_t> seen;
  for (const rows& b : first) {
    seen.insert(b.begin(), b.end());
  }
  CHECK(std::ranges::equal(seen, all));
  const auto second = epoch(state, 1);
  CHECK(second != first);
  CHECK(epoch(state, 0) == first);
  shuffled::state other(shuffled{.batch = 3}, all, {}, 2);
  CHECK(epoch(other, 0) != first);
}

TEST_CASE("shuffled can leave out the short batch") {
  const rows all = range(0, 7);
  shuffled::state state(shuffled{.batch = 3, .keep_last = false}, all, {}, 1);
  const auto batches = epoch(state, 0);
  CHECK(batches.size() == 2);
  CHECK(batches[1].size() == 3);
  CHECK_THROWS_AS(shuffled::state(shuffled{.batch = 8, .keep_last = false}, all, {}, 1), error);
  CHECK_THROWS_AS(shuffled::state(shuffled{.batch = 0}, all, {}, 1), error);
  CHECK_THROWS_AS(shuffled::state(shuffled{}, rows{}, {}, 1), error);
}

TEST_CASE("a shuffle is uniform") {
  // 6000 shuffles of three rows: each of the six orders about 1000 times; 5 standard deviations of
  // the binomial distribution are 144.
  std::map<rows, int> orders;
  for (std::uint64_t i = 0; i < 6000; ++i) {
    rows r{0, 1, 2};
    vierbein::data::sampler::shuffle(r, vierbein::random_stream{.seed = 1}.fork(i));
    ++orders[r];
  }
  CHECK(orders.size() == 6);
  for (const auto& [order, times] : orders) {
    CHECK(times > 1000 - 144);
    CHECK(times < 1000 + 144);
  }
}

TEST_CASE("balanced gives every task its share of every batch") {
  // Task 0 has 80 rows, task 1 has 8, and 12 rows have no label.
  const rows all = range(0, 100);
  const std::vector<rows> by_task{range(0, 80), range(80, 88)};
  balanced::state state(balanced{.batch = 10, .unlabelled = 0.2}, all, by_task, 5);
  CHECK(state.batches() == 10);
  std::map<index_t, int> scarce;
  const auto batches = epoch(state, 0);
  for (const rows& b : batches) {
    CHECK(b.size() == 10);
    CHECK(std::set<index_t>(b.begin(), b.end()).size() == 10);
    CHECK(count_in(b, 0, 80) == 4);
    CHECK(count_in(b, 80, 88) == 4);
    CHECK(count_in(b, 88, 100) == 2);
    for (const index_t r : b) {
      scarce[r] += r >= 80 && r < 88 ? 1 : 0;
    }
  }
  // 40 draws among 8 rows, each round all of them: 5 times each.
  for (index_t r = 80; r < 88; ++r) {
    CHECK(scarce[r] == 5);
  }
  CHECK(epoch(state, 1) != batches);
  CHECK(epoch(state, 0) == batches);
}

TEST_CASE("balanced deals an uneven share in turn and fills up where a task has too few rows") {
  const rows all = range(0, 40);
  const std::vector<rows> by_task{range(0, 20), range(18, 38), range(38, 40)};
  balanced::state state(balanced{.batch = 10}, all, by_task, 0);
  index_t first = 0;
  index_t second = 0;
  for (const rows& b : epoch(state, 3)) {
    CHECK(b.size() == 10);
    CHECK(std::set<index_t>(b.begin(), b.end()).size() == 10);
    CHECK(count_in(b, 38, 40) == 2);
    first += count_in(b, 0, 18);
    second += count_in(b, 20, 38);
  }
  CHECK(first > 8);
  CHECK(second > 8);
}

TEST_CASE("with rows labelled for every task a balanced batch as large as the data holds all") {
  const rows all = range(0, 6);
  const std::vector<rows> by_task{all, all};
  balanced::state state(balanced{.batch = 50}, all, by_task, 0);
  CHECK(state.batches() == 1);
  auto only = epoch(state, 0)[0];
  std::ranges::sort(only);
  CHECK(only == all);
}

TEST_CASE("a batch larger than the data is one of all rows, however large") {
  const rows all = range(0, 6);
  const std::vector<rows> by_task{all, range(0, 2)};
  for (const index_t batch : {index_t{7}, std::numeric_limits<index_t>::max()}) {
    CAPTURE(batch);
    const auto holds_all = [&](auto&& state) {
      REQUIRE(state.batches() == 1);
      auto only = epoch(state, 3)[0];
      std::ranges::sort(only);
      CHECK(only == all);
    };
    holds_all(shuffled::state(shuffled{.batch = batch}, all, {}, 1));
    holds_all(balanced::state(balanced{.batch = batch}, all, by_task, 1));
  }
  // In the order that a batch of exactly all rows has.
  shuffled::state exact(shuffled{.batch = 6}, all, {}, 1);
  shuffled::state larger(shuffled{.batch = std::numeric_limits<index_t>::max()}, all, {}, 1);
  CHECK(epoch(exact, 2) == epoch(larger, 2));
  CHECK_THROWS_WITH_AS(
      shuffled::state(shuffled{.batch = std::numeric_limits<index_t>::max(), .keep_last = false},
                      all, {}, 1),
      "sampler::shuffled: 6 rows are too few for a batch of 9223372036854775807 when the last, "
      "short one is left out",
      error);
}

TEST_CASE("balanced refuses tasks without rows and rows from elsewhere") {
  const rows all = range(0, 6);
  CHECK_THROWS_WITH_AS(balanced::state(balanced{}, all, std::vector<rows>{{0}, {}}, 0),
                       "sampler::balanced: task 1 has no labelled row", error);
  CHECK_THROWS_WITH_AS(balanced::state(balanced{}, rows{0, 2}, std::vector<rows>{{1}}, 0),
                       "sampler::balanced: row 1 of task 0 is not among the rows", error);
  CHECK_THROWS_AS(balanced::state(balanced{.unlabelled = 1}, all, std::vector<rows>{all}, 0),
                  error);
  CHECK_THROWS_AS(balanced::state(balanced{.batch = -1}, all, std::vector<rows>{all}, 0), error);
}
