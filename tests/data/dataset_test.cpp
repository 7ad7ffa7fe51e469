#include "vierbein/data/dataset.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "vierbein/data/features.hpp"
#include "vierbein/data/graphs.hpp"

using vierbein::error;
using vierbein::index_t;
using vierbein::matrix;
using vierbein::data::dataset;
using vierbein::data::feature_set;
using vierbein::data::graph_set;

namespace {

constexpr double missing = std::numeric_limits<double>::quiet_NaN();
constexpr double infinite = std::numeric_limits<double>::infinity();

// Features (r, 10 r) in row r, from `first` on.
feature_set features(index_t rows, index_t first = 0) {
  feature_set set{matrix<double>(rows, 2)};
  for (index_t r = 0; r < rows; ++r) {
    set.values(r, 0) = static_cast<double>(first + r);
    set.values(r, 1) = 10.0 * static_cast<double>(first + r);
  }
  return set;
}

// A graph of one bond between two nodes; feature `x` everywhere.
graph_set bond(float x) {
  graph_set set;
  set.node_features = matrix<float>(2, 1, x);
  set.edge_features = matrix<float>(2, 1, x);
  set.features = matrix<double>(1, 1, x);
  set.source = {0, 1};
  set.target = {1, 0};
  set.reverse = {1, 0};
  set.node_offset = {0, 2};
  set.edge_offset = {0, 2};
  return set;
}

}  // namespace

TEST_CASE("labels are added and found by name") {
  dataset data{features(3)};
  data.add("log p", std::vector{1.0, missing, 3.0});
  data.add("toxic", matrix<double>(3, 2, 1.0));
  CHECK(data.size() == 3);
  CHECK(data.find("log p")->values(2, 0) == 3);
  CHECK(data.find("toxic")->values.cols() == 2);
  CHECK(data.find("other") == nullptr);
  CHECK(data.at("log p").has(0));
  CHECK_FALSE(data.at("log p").has(1));
  CHECK(vierbein::data::labelled_rows(data.at("log p"), std::vector<index_t>{2, 1, 0}) ==
        std::vector<index_t>{2, 0});
  CHECK_THROWS_WITH_AS(data.at("other"), "dataset: no labels 'other'; there are 'log p', 'toxic'",
                       error);
  CHECK_NOTHROW(data.check());
}

TEST_CASE("labels that do not fit are refused with their place") {
  dataset data{features(3)};
  data.add("a", std::vector{1.0, 2.0, 3.0});
  CHECK_THROWS_WITH_AS(data.add("a", std::vector{1.0, 2.0, 3.0}),
                       "dataset: labels 'a' exist already", error);
  CHECK_THROWS_WITH_AS(data.add("b", std::vector{1.0}),
                       "dataset: expected 3 labels 'b', one a sample, found 1", error);
  CHECK_THROWS_AS(data.add("", std::vector{1.0, 2.0, 3.0}), error);
  CHECK_THROWS_WITH_AS(data.add("b", std::vector{1.0, 2.0, -infinite}),
                       "labels 'b', row 2 (counted from 0): expected a finite number, or NaN where "
                       "it is missing, found -inf",
                       error);
  CHECK(data.labels.size() == 1);
  data.labels.push_back(data.labels[0]);
  CHECK_THROWS_WITH_AS(data.check(), "dataset: labels 'a' occur twice", error);
}

TEST_CASE("a feature that is no finite number is refused with its place") {
  dataset data{features(3)};
  data.inputs.values(1, 0) = missing;
  CHECK_THROWS_WITH_AS(
      data.check(),
      "features, row 1, column 0 (counted from 0): expected a finite number, found nan", error);
  dataset graphs{bond(1)};
  CHECK_NOTHROW(graphs.check());
  graphs.inputs.edge_features(1, 0) = std::numeric_limits<float>::infinity();
  CHECK_THROWS_WITH_AS(
      graphs.check(),
      "edge features, row 1, column 0 (counted from 0): expected a finite number, found inf",
      error);
}

TEST_CASE("select takes inputs and labels of the same rows") {
  dataset data{features(4)};
  data.add("a", std::vector{0.0, 1.0, missing, 3.0});
  const auto chosen = data.select(std::vector<index_t>{3, 2, 3});
  CHECK(chosen.size() == 3);
  CHECK(chosen.inputs.values(0, 1) == 30);
  CHECK(chosen.at("a").values(0, 0) == 3);
  CHECK(std::isnan(chosen.at("a").values(1, 0)));
  CHECK(chosen.at("a").values(2, 0) == 3);
  CHECK_THROWS_WITH_AS(data.select(std::vector<index_t>{4}), "dataset: no row 4 among 4 samples",
                       error);
  CHECK_THROWS_WITH_AS(data.inputs.select(std::vector<index_t>{0, 120}),
                       "features: no row 120 among 4 samples", error);
  CHECK_THROWS_WITH_AS(data.inputs.select(std::vector<index_t>{-1}),
                       "features: no row -1 among 4 samples", error);
  CHECK_THROWS_WITH_AS(vierbein::data::labelled_rows(data.at("a"), std::vector<index_t>{3, 4}),
                       "labels 'a': no row 4 among 4 samples", error);
}

TEST_CASE("labels that are fewer than the inputs are neither selected nor masked") {
  dataset data{features(4)};
  data.labels.push_back({"a", matrix<double>(2, 1, 1.0)});
  const std::vector<index_t> rows{3};
  const char* const problem = "dataset: expected 4 labels 'a', one a sample, found 2";
  CHECK_THROWS_WITH_AS(data.select(rows), problem, error);
  CHECK_THROWS_WITH_AS(data.mask_labels("a", rows), problem, error);
}

TEST_CASE("mask_labels removes labels of one task only") {
  dataset data{features(3)};
  data.add("a", std::vector{0.0, 1.0, 2.0});
  data.add("b", std::vector{0.0, 1.0, 2.0});
  data.mask_labels("a", std::vector<index_t>{0, 2});
  CHECK_FALSE(data.at("a").has(0));
  CHECK(data.at("a").has(1));
  CHECK_FALSE(data.at("a").has(2));
  CHECK(data.at("b").has(0));
  CHECK_THROWS_AS(data.mask_labels("a", std::vector<index_t>{3}), error);
  CHECK_THROWS_AS(data.mask_labels("c", std::vector<index_t>{0}), error);
}

TEST_CASE("concatenate appends rows and leaves gaps where a task has no labels") {
  dataset first{features(2)};
  first.add("a", std::vector{1.0, 2.0});
  dataset second{features(1, 5)};
  second.add("b", std::vector{7.0});
  dataset third{features(1, 6)};
  third.add("a", std::vector{3.0});
  const auto all = vierbein::data::concatenate(first, second, third);
  CHECK(all.size() == 4);
  CHECK(all.inputs.values(2, 1) == 50);
  CHECK_NOTHROW(all.check());
  const auto& a = all.at("a").values;
  CHECK(a(1, 0) == 2);
  CHECK(std::isnan(a(2, 0)));
  CHECK(a(3, 0) == 3);
  const auto& b = all.at("b").values;
  CHECK(std::isnan(b(0, 0)));
  CHECK(b(2, 0) == 7);
  CHECK(std::isnan(b(3, 0)));
  CHECK(first.size() == 2);
}

TEST_CASE("append refuses other widths and changes nothing then") {
  dataset data{features(2)};
  data.add("a", std::vector{1.0, 2.0});
  dataset wide{features(1)};
  wide.add("a", matrix<double>(1, 3, 0.0));
  CHECK_THROWS_WITH_AS(data.append(wide), "dataset: labels 'a' have 1 columns here and 3 there",
                       error);
  CHECK(data.size() == 2);
  CHECK_THROWS_WITH_AS(data.append(dataset{feature_set{matrix<double>(1, 3)}}),
                       "features: expected 2 columns as before, found 3", error);
  CHECK_NOTHROW(data.check());
}

TEST_CASE("appended graphs are those that select takes apart again") {
  graph_set set;
  set.append(bond(1));
  set.append(bond(2));
  set.append(graph_set{});
  set.append(set);
  CHECK(set.size() == 4);
  CHECK(set.source == std::vector<std::int32_t>{0, 1, 2, 3, 4, 5, 6, 7});
  CHECK(set.target == std::vector<std::int32_t>{1, 0, 3, 2, 5, 4, 7, 6});
  CHECK(set.reverse == set.target);
  CHECK(set.node_offset == std::vector<index_t>{0, 2, 4, 6, 8});
  CHECK(set.edge_offset == set.node_offset);
  const graph_set last = set.select(std::vector<index_t>{3});
  const graph_set expected = bond(2);
  CHECK(last.node_features == expected.node_features);
  CHECK(last.edge_features == expected.edge_features);
  CHECK(last.features == expected.features);
  CHECK(last.source == expected.source);
  CHECK(last.reverse == expected.reverse);
  graph_set wide = bond(1);
  wide.features = matrix<double>(1, 3);
  CHECK_THROWS_AS(set.append(wide), error);
}
