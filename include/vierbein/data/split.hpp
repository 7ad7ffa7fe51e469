// Which samples train, which validate, which test.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/core/random.hpp"

namespace vierbein::data {

/// Row numbers of the three parts, each in ascending order; no row is in two of them.
struct split_rows {
  std::vector<index_t> train;
  std::vector<index_t> validation;
  std::vector<index_t> test;
};

/// Shares of the samples; they sum to 1.
struct fractions {
  double train = 0.8;
  double validation = 0.1;
  double test = 0.1;
};

namespace detail {

// Rows of validation and test: the nearest whole number, and at least one when any were asked for.
inline std::pair<index_t, index_t> split_sizes(const char* place, index_t n, const fractions& f) {
  require(f.train >= 0 && f.validation >= 0 && f.test >= 0 &&
              std::abs(f.train + f.validation + f.test - 1) < 1e-9,
          place, "fractions must not be negative and must sum to 1, but are {}, {} and {}", f.train,
          f.validation, f.test);
  const auto rows = [n](double share) {
    return share > 0 ? std::max<index_t>(1, std::lround(share * static_cast<double>(n))) : 0;
  };
  const auto validation = rows(f.validation);
  const auto test = rows(f.test);
  require(validation + test + (f.train > 0 ? 1 : 0) <= n, place,
          "{} samples are too few for the fractions {}, {} and {}", n, f.train, f.validation,
          f.test);
  return {validation, test};
}

inline void sort_parts(split_rows& parts) {
  for (auto* part : {&parts.train, &parts.validation, &parts.test}) {
    std::sort(part->begin(), part->end());
  }
}

}  // namespace detail

/// Samples at random, in parts of the nearest whole size; at least one sample for each fraction
/// above 0. Throws when there are too few samples for that.
[[nodiscard]] inline split_rows random_split(index_t n, const fractions& f, std::uint64_t seed) {
  const auto [validation, test] = detail::split_sizes("random_split", n, f);
  const std::vector<index_t> order =
      random_permutation(n, random_stream{seed, name_hash("random_split")});
  split_rows parts;
  parts.test.assign(order.begin(), order.begin() + test);
  parts.validation.assign(order.begin() + test, order.begin() + test + validation);
  parts.train.assign(order.begin() + test + validation, order.end());
  if (f.train == 0) {  // what rounding left over
    parts.test.insert(parts.test.end(), parts.train.begin(), parts.train.end());
    parts.train.clear();
  }
  detail::sort_parts(parts);
  return parts;
}

/// Options of `group_split`.
struct group_options {
  /// Each sample with an empty key is a group of its own, instead of all of them one group
  /// (molecules without a ring all have the empty scaffold).
  bool separate_empty = false;
  /// Large groups train, the others are dealt at random. Otherwise the largest group is dealt first
  /// and the rarest ones fill validation and test, whatever the seed.
  bool balanced = true;
};

/// Whole groups: samples with the same key (the scaffold of a molecule, a laboratory) come into the
/// same part, so the test asks for groups never seen. As Chemprop's (balanced) scaffold split: in
/// `balanced` mode the groups larger than half of validation or test come first, in random order,
/// then all others in random order; otherwise groups come by descending size. Each group goes to
/// train if it fits there, else to validation if it fits there, else to test; so test can be larger
/// than asked for, and train and validation are never. Throws when a part with a fraction above 0
/// stays empty.
[[nodiscard]] inline split_rows group_split(std::span<const std::string> keys, const fractions& f,
                                            std::uint64_t seed, const group_options& options = {}) {
  const auto n = static_cast<index_t>(keys.size());
  const auto [validation, test] = detail::split_sizes("group_split", n, f);
  const index_t train = f.train > 0 ? n - validation - test : 0;

  // Groups in the order of their first sample.
  std::vector<std::vector<index_t>> groups;
  std::map<std::string_view, std::size_t> known;
  for (index_t r = 0; r < n; ++r) {
    const std::string_view key = keys[static_cast<std::size_t>(r)];
    const bool alone = options.separate_empty && key.empty();
    const std::size_t g =
        alone ? groups.size() : known.try_emplace(key, groups.size()).first->second;
    if (g == groups.size()) {
      groups.emplace_back();
    }
    groups[g].push_back(r);
  }

  const auto size_of = [&](index_t g) {
    return static_cast<index_t>(groups[static_cast<std::size_t>(g)].size());
  };
  std::vector<index_t> order;
  if (options.balanced) {
    const std::vector<index_t> random = random_permutation(
        static_cast<index_t>(groups.size()), random_stream{seed, name_hash("group_split")});
    for (const bool large : {true, false}) {
      for (const index_t g : random) {
        if ((2 * size_of(g) > validation || 2 * size_of(g) > test) == large) {
          order.push_back(g);
        }
      }
    }
  } else {
    order.resize(groups.size());
    std::iota(order.begin(), order.end(), index_t{0});
    std::sort(order.begin(), order.end(), [&](index_t a, index_t b) {
      return std::pair(size_of(b), a) < std::pair(size_of(a), b);
    });
  }

  split_rows parts;
  for (const index_t g : order) {
    const auto& rows = groups[static_cast<std::size_t>(g)];
    const auto fits = [&](const std::vector<index_t>& part, index_t size) {
      return static_cast<index_t>(part.size() + rows.size()) <= size;
    };
    std::vector<index_t>& part = fits(parts.train, train)             ? parts.train
                                 : fits(parts.validation, validation) ? parts.validation
                                                                      : parts.test;
    part.insert(part.end(), rows.begin(), rows.end());
  }
  require((f.train == 0 || !parts.train.empty()) &&
              (f.validation == 0 || !parts.validation.empty()) &&
              (f.test == 0 || !parts.test.empty()),
          "group_split", "{} groups of {} samples cannot be dealt so that no part stays empty",
          groups.size(), n);
  detail::sort_parts(parts);
  return parts;
}

/// By a column of text: rows that hold `test` test, rows that hold `validation` (unless that is
/// empty) validate, all others train. Throws when no row tests or none trains.
[[nodiscard]] inline split_rows column_split(std::span<const std::string> column,
                                             std::string_view test = "test",
                                             std::string_view validation = "") {
  split_rows parts;
  for (std::size_t r = 0; r < column.size(); ++r) {
    std::vector<index_t>& part = column[r] == test                                ? parts.test
                                 : !validation.empty() && column[r] == validation ? parts.validation
                                                                                  : parts.train;
    part.push_back(static_cast<index_t>(r));
  }
  require(!parts.test.empty(), "column_split", "none of {} rows holds '{}'", column.size(), test);
  require(!parts.train.empty(), "column_split", "no row is left to train on among {}",
          column.size());
  require(validation.empty() || !parts.validation.empty(), "column_split",
          "none of {} rows holds '{}'", column.size(), validation);
  return parts;
}

}  // namespace vierbein::data
