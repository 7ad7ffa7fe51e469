#include "vierbein/core/parameters.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "../support/message_of.hpp"

using vierbein::index_t;
using vierbein::initialiser;
using vierbein::parameters;
using vierbein::segment_id;

namespace {

template <class T>
parameters<T> two_layers() {
  parameters<T> theta;
  theta.add("trunk/layer0/weight", 5, 7, initialiser::he);
  theta.add("trunk/layer0/bias", 1, 7, initialiser::zeros);
  theta.add("head/weight", 7, 3, initialiser::glorot);
  theta.add("head/scale", 1, 3, initialiser::ones);
  return theta;
}

}  // namespace

TEST_CASE_TEMPLATE("segments are aligned and do not overlap", T, float, double) {
  const parameters<T> theta = two_layers<T>();
  CHECK(theta.count() == 35 + 7 + 21 + 3);
  index_t end = 0;
  for (const auto& s : theta.segments()) {
    CHECK(s.offset % 16 == 0);
    CHECK(s.offset >= end);
    end = s.offset + s.size();
    const auto* const first = theta.values().data + s.offset;
    CHECK(reinterpret_cast<std::uintptr_t>(first) % vierbein::alignment_bytes == 0);
  }
  CHECK(theta.size() >= end);
  CHECK(theta.size() % 16 == 0);
}

TEST_CASE("a segment is found by its name") {
  parameters<float> theta = two_layers<float>();
  CHECK(theta.find("head/weight") == 2);
  CHECK(theta.find("head") == -1);
  CHECK(theta.at(2).rows == 7);
  CHECK(theta.at(2).cols == 3);
  CHECK(test::message_of([&] { theta.add("head/weight", 1, 1, initialiser::zeros); }) ==
        "parameters: segment 'head/weight' exists already");
  CHECK(theta.segments().size() == 4);
}

TEST_CASE("a view of a segment writes into the flat vector") {
  parameters<double> theta = two_layers<double>();
  const auto weight = theta.view(theta.find("head/weight"));
  CHECK(weight.rows == 7);
  CHECK(weight.cols == 3);
  weight(6, 2) = 5;
  CHECK(theta.values()[theta.at(2).offset + 20] == 5);
  const auto& constant = theta;
  CHECK(constant.view(2)(6, 2) == 5);
}

TEST_CASE_TEMPLATE("first values follow their distributions, padding stays zero", T, float,
                   double) {
  parameters<T> theta;
  const index_t in = 200;
  const index_t out = 300;
  theta.add("glorot", in, out, initialiser::glorot);
  theta.add("he", in, out, initialiser::he);
  theta.add("zeros", 1, 3, initialiser::zeros);
  theta.add("ones", 1, 3, initialiser::ones);
  theta.initialise(11);

  const auto moments = [&](segment_id id) {
    const auto w = theta.view(id);
    double mean = 0;
    double square = 0;
    double largest = 0;
    for (index_t r = 0; r < w.rows; ++r) {
      for (index_t c = 0; c < w.cols; ++c) {
        mean += w(r, c);
        square += static_cast<double>(w(r, c)) * w(r, c);
        largest = std::max(largest, std::abs(static_cast<double>(w(r, c))));
      }
    }
    const auto n = static_cast<double>(w.size());
    return std::array{mean / n, square / n, largest};
  };
  const double n = in * out;
  const auto glorot = moments(0);
  const double bound = std::sqrt(6.0 / (in + out));
  CHECK(std::abs(glorot[0]) < 5 * bound / std::sqrt(3 * n));
  CHECK(glorot[1] == doctest::Approx(bound * bound / 3).epsilon(5 * std::sqrt(0.8 / n)));
  CHECK(glorot[2] <= bound * 1.000001);
  CHECK(glorot[2] > bound * 0.99);
  const auto he = moments(1);
  CHECK(std::abs(he[0]) < 5 * std::sqrt(2.0 / in / n));
  CHECK(he[1] == doctest::Approx(2.0 / in).epsilon(5 * std::sqrt(2 / n)));
  CHECK(moments(2)[2] == 0);
  CHECK(moments(3)[0] == 1);

  index_t next = 0;
  for (const auto& s : theta.segments()) {
    for (; next < s.offset; ++next) {
      CHECK(theta.values()[next] == 0);
    }
    next = s.offset + s.size();
  }
  for (; next < theta.size(); ++next) {
    CHECK(theta.values()[next] == 0);
  }
}

TEST_CASE("a segment's first values depend on seed and name, not on its neighbours") {
  parameters<float> alone;
  alone.add("head/weight", 7, 3, initialiser::glorot);
  alone.initialise(5);
  parameters<float> theta = two_layers<float>();
  theta.initialise(5);
  const auto same = theta.view(2);
  for (index_t r = 0; r < 7; ++r) {
    for (index_t c = 0; c < 3; ++c) {
      CHECK(alone.view(0)(r, c) == same(r, c));
    }
  }
  alone.initialise(6);
  CHECK(alone.view(0)(0, 0) != same(0, 0));
  parameters<float> renamed;
  renamed.add("other/weight", 7, 3, initialiser::glorot);
  renamed.initialise(5);
  CHECK(renamed.view(0)(0, 0) != same(0, 0));
}

TEST_CASE("freezing goes by the beginning of the name") {
  parameters<float> theta = two_layers<float>();
  theta.freeze("trunk/");
  CHECK(theta.at(0).frozen);
  CHECK(theta.at(1).frozen);
  CHECK_FALSE(theta.at(2).frozen);
  theta.freeze("trunk/layer0/bias", false);
  CHECK(theta.at(0).frozen);
  CHECK_FALSE(theta.at(1).frozen);
  theta.freeze("");
  for (const auto& s : theta.segments()) {
    CHECK(s.frozen);
  }
  CHECK_THROWS_WITH_AS(theta.freeze("trnk/"),
                       "parameters: none of the 4 segments has a name that begins with 'trnk/'",
                       vierbein::error);
  CHECK_THROWS_AS(parameters<float>{}.freeze(""), vierbein::error);
}

TEST_CASE("a snapshot brings every value back") {
  parameters<float> theta = two_layers<float>();
  theta.initialise(3);
  const auto before = theta.snapshot();
  for (float& x : theta.values()) {
    x += 1;
  }
  CHECK(theta.snapshot() != before);
  theta.restore(before);
  CHECK(theta.snapshot() == before);

  parameters<float> smaller;
  smaller.add("a", 1, 1, initialiser::zeros);
  CHECK(test::message_of([&] { smaller.restore(before); }) ==
        "parameters: a snapshot of " + std::to_string(before.size()) +
            " values does not fit a vector of 16");
}

TEST_CASE("segments are copied by the beginning of their names") {
  parameters<float> source = two_layers<float>();
  source.initialise(3);
  parameters<float> copy;
  copy.add("new/layer0/weight", 5, 7, initialiser::zeros);
  copy.add("new/layer1/weight", 5, 7, initialiser::ones);
  copy.add("head/weight", 7, 3, initialiser::zeros);
  copy.initialise(0);
  CHECK(copy.copy(source, "trunk/", "new/") == 1);  // the bias has no counterpart
  for (index_t r = 0; r < 5; ++r) {
    for (index_t c = 0; c < 7; ++c) {
      CHECK(copy.view(0)(r, c) == source.view(0)(r, c));
      CHECK(copy.view(1)(r, c) == 1);
    }
  }
  CHECK(copy.view(2)(0, 0) == 0);

  parameters<float> wrong;
  wrong.add("head/weight", 7, 4, initialiser::zeros);
  CHECK(test::message_of([&] { wrong.copy(source, "head/", "head/"); }) ==
        "parameters: segment 'head/weight' is 7 x 4 but 'head/weight' is 7 x 3");
}

TEST_CASE("parameters refuse a segment of an impossible size") {
  parameters<float> theta;
  CHECK_THROWS_WITH_AS(theta.add("a", -1, 2, initialiser::zeros),
                       "parameters: segment 'a' cannot be -1 x 2", vierbein::error);
  CHECK_THROWS_AS(theta.add("a", 1, -2, initialiser::zeros), vierbein::error);
  constexpr index_t huge = std::numeric_limits<index_t>::max();
  CHECK_THROWS_AS(theta.add("a", huge, huge, initialiser::zeros), vierbein::error);
  CHECK_THROWS_AS(theta.add("a", 1, huge, initialiser::zeros), vierbein::error);
  theta.limit(32);
  theta.add("a", 4, 5, initialiser::zeros);
  CHECK_THROWS_AS(theta.add("b", 1, 1, initialiser::zeros), vierbein::error);
  theta.limit(parameters<float>::unlimited);
  theta.add("b", 1, 1, initialiser::zeros);
  CHECK(theta.segments().size() == 2);
}
