#include "vierbein/data/split.hpp"

#include <doctest/doctest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

using vierbein::error;
using vierbein::index_t;
using vierbein::data::column_split;
using vierbein::data::group_split;
using vierbein::data::random_split;
using vierbein::data::split_rows;
using rows = std::vector<index_t>;

namespace {

// Every row from 0 to n-1 is in exactly one part, and parts are in ascending order.
void check_partition(const split_rows& parts, index_t n) {
  std::set<index_t> seen;
  for (const rows* part : {&parts.train, &parts.validation, &parts.test}) {
    CHECK(std::ranges::is_sorted(*part));
    for (const index_t r : *part) {
      CHECK(r >= 0);
      CHECK(r < n);
      CHECK(seen.insert(r).second);
    }
  }
  CHECK(static_cast<index_t>(seen.size()) == n);
}

bool same(const split_rows& a, const split_rows& b) {
  return a.train == b.train && a.validation == b.validation && a.test == b.test;
}

// 60 rows: group A with 30, B with 12, and 18 groups of one.
std::vector<std::string> keys() {
  std::vector<std::string> all;
  for (int i = 0; i < 60; ++i) {
    all.push_back(i % 2 == 0 ? "A" : i % 5 == 0 || i % 3 == 0 ? "B" : std::to_string(i));
  }
  return all;
}

bool whole_groups(const split_rows& parts, const std::vector<std::string>& key) {
  std::map<std::string, std::set<int>> where;
  int part_number = 0;
  for (const rows* part : {&parts.train, &parts.validation, &parts.test}) {
    for (const index_t r : *part) {
      where[key[static_cast<std::size_t>(r)]].insert(part_number);
    }
    ++part_number;
  }
  return std::ranges::all_of(where, [](const auto& w) { return w.second.size() == 1; });
}

}  // namespace

TEST_CASE("a random split has the sizes asked for and depends on the seed alone") {
  const split_rows parts = random_split(101, {.train = 0.7, .validation = 0.1, .test = 0.2}, 3);
  check_partition(parts, 101);
  CHECK(parts.validation.size() == 10);
  CHECK(parts.test.size() == 20);
  CHECK(same(parts, random_split(101, {.train = 0.7, .validation = 0.1, .test = 0.2}, 3)));
  CHECK_FALSE(same(parts, random_split(101, {.train = 0.7, .validation = 0.1, .test = 0.2}, 4)));
}

TEST_CASE("a random split gives every part that was asked for a row, or refuses") {
  const split_rows few = random_split(3, {}, 0);
  check_partition(few, 3);
  CHECK(few.train.size() == 1);
  CHECK(few.validation.size() == 1);
  CHECK(few.test.size() == 1);
  CHECK(random_split(3, {.train = 1, .validation = 0, .test = 0}, 0).train.size() == 3);
  check_partition(random_split(7, {.train = 0, .validation = 0.45, .test = 0.55}, 0), 7);
  CHECK(random_split(7, {.train = 0, .validation = 0.45, .test = 0.55}, 0).train.empty());
  CHECK_THROWS_WITH_AS(random_split(2, {}, 0),
                       "random_split: 2 samples are too few for the fractions 0.8, 0.1 and 0.1",
                       error);
  CHECK_THROWS_WITH_AS(random_split(9, {.train = 0.8, .validation = 0.3, .test = 0.1}, 0),
                       "random_split: fractions must not be negative and must sum to 1, but are "
                       "0.8, 0.3 and 0.1",
                       error);
}

TEST_CASE("a group split keeps groups together") {
  const auto key = keys();
  for (const bool balanced : {true, false}) {
    for (std::uint64_t seed = 0; seed < 5; ++seed) {
      const split_rows parts = group_split(key, {}, seed, {.balanced = balanced});
      check_partition(parts, 60);
      CHECK(whole_groups(parts, key));
      CHECK(parts.train.size() == 48);
      CHECK(parts.validation.size() == 6);
      CHECK(parts.test.size() == 6);
      // Both large groups train.
      CHECK(std::ranges::find(parts.train, 0) != parts.train.end());
      CHECK(std::ranges::find(parts.train, 3) != parts.train.end());
      CHECK(same(parts, group_split(key, {}, seed, {.balanced = balanced})));
    }
  }
  CHECK_FALSE(same(group_split(key, {}, 1), group_split(key, {}, 2)));
  CHECK(same(group_split(key, {}, 1, {.balanced = false}),
             group_split(key, {}, 2, {.balanced = false})));
}

TEST_CASE("without balance the groups that come last are the rarest") {
  const std::vector<std::string> key{"rare", "b", "b", "a", "a", "a", "a", "b", "a", "c"};
  const split_rows parts =
      group_split(key, {.train = 0.8, .validation = 0.1, .test = 0.1}, 0, {.balanced = false});
  CHECK(parts.train == rows{1, 2, 3, 4, 5, 6, 7, 8});
  CHECK(parts.validation == rows{0});
  CHECK(parts.test == rows{9});
}

TEST_CASE("empty keys are one group, or each a group of its own") {
  const std::vector<std::string> key(20, "");
  CHECK_THROWS_WITH_AS(
      group_split(key, {}, 0),
      "group_split: 1 groups of 20 samples cannot be dealt so that no part stays empty", error);
  const split_rows parts = group_split(key, {}, 0, {.separate_empty = true});
  check_partition(parts, 20);
  CHECK(parts.train.size() == 16);
}

TEST_CASE("a column of text says what tests") {
  const std::vector<std::string> column{"test", "", "valid", "train", "test"};
  const split_rows two = column_split(column);
  CHECK(two.test == rows{0, 4});
  CHECK(two.train == rows{1, 2, 3});
  CHECK(two.validation.empty());
  const split_rows three = column_split(column, "test", "valid");
  CHECK(three.validation == rows{2});
  CHECK(three.train == rows{1, 3});
  CHECK_THROWS_WITH_AS(column_split(column, "Test"), "column_split: none of 5 rows holds 'Test'",
                       error);
  CHECK_THROWS_AS(column_split(column, "test", "validation"), error);
  CHECK_THROWS_AS(column_split(std::vector<std::string>{"test"}), error);
}
