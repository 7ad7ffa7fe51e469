#include "vierbein/train/metrics.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

using doctest::Approx;
using numbers = std::vector<double>;
namespace metrics = vierbein::metrics;

namespace {
constexpr double missing = std::numeric_limits<double>::quiet_NaN();
}

TEST_CASE("rmse, mae and r2 skip missing labels") {
  const numbers prediction{1, 2, 100, 7};
  const numbers label{2, 2, missing, 5};
  CHECK(metrics::rmse(prediction, label) == Approx(std::sqrt(5.0 / 3)));
  CHECK(metrics::mae(prediction, label) == Approx(1));
  CHECK(metrics::r2(prediction, label) == Approx(1 - 5.0 / 6));
  CHECK(metrics::r2(numbers{3, 3, 3}, numbers{2, 3, 4}) == Approx(0));
}

TEST_CASE("regression metrics are NaN where they are undefined") {
  CHECK(std::isnan(metrics::rmse(numbers{1}, numbers{missing})));
  CHECK(std::isnan(metrics::mae(numbers{}, numbers{})));
  CHECK(std::isnan(metrics::r2(numbers{1}, numbers{1})));
  CHECK(std::isnan(metrics::r2(numbers{1, 2, 3}, numbers{0.1, 0.1, 0.1})));
  CHECK(std::isnan(metrics::rmse(numbers{missing, 1}, numbers{1, 1})));
  CHECK(std::isnan(metrics::r2(numbers{missing, 1}, numbers{1, 2})));
  CHECK_THROWS_WITH_AS(metrics::rmse(numbers{1}, numbers{1, 2}),
                       "metrics: 1 predictions for 2 labels", vierbein::error);
}

TEST_CASE("accuracy counts classes, or sides of a threshold") {
  CHECK(metrics::accuracy(numbers{0, 2, 1, 1}, numbers{0, 2, 2, missing}) == Approx(2.0 / 3));
  CHECK(metrics::binary_accuracy(numbers{0.5, 0.4, 0.9, 0.1}, numbers{1, 1, 1, 0}) == 0.75);
  CHECK(metrics::binary_accuracy(numbers{0.5, 0.4, 0.9, 0.1}, numbers{1, 1, 1, 0}, 0.3) == 1);
  CHECK(std::isnan(metrics::accuracy(numbers{}, numbers{})));
  CHECK(std::isnan(metrics::binary_accuracy(numbers{missing}, numbers{0})));
}

TEST_CASE("auroc is the share of pairs in the right order, ties one half") {
  CHECK(metrics::auroc(numbers{0.1, 0.4, 0.35, 0.8}, numbers{0, 0, 1, 1}) == 0.75);
  CHECK(metrics::auroc(numbers{1, 2, 3}, numbers{0, 1, 1}) == 1);
  CHECK(metrics::auroc(numbers{3, 2, 1}, numbers{0, 1, 1}) == 0);
  CHECK(metrics::auroc(numbers{5, 5, 5, 5}, numbers{0, 1, 0, 1}) == 0.5);
  // Pairs (positive, negative): (2,1) won, (2,2) tied, (3,1), (3,2) won.
  CHECK(metrics::auroc(numbers{1, 2, 2, 3, 9}, numbers{0, 0, 1, 1, missing}) == 3.5 / 4);
  CHECK(std::isnan(metrics::auroc(numbers{1, 2}, numbers{1, 1})));
  CHECK(std::isnan(metrics::auroc(numbers{1, missing}, numbers{0, 1})));
}

TEST_CASE("f1 of class 1, and the mean over classes") {
  // TP 1, FP 1, FN 1
  CHECK(metrics::f1(numbers{0.9, 0.8, 0.2, 0.1}, numbers{1, 0, 1, 0}) == Approx(0.5));
  CHECK(std::isnan(metrics::f1(numbers{0.1, 0.2}, numbers{0, 0})));
  CHECK(metrics::f1(numbers{0.1}, numbers{1}) == 0);
  // Class 0: 2 / (2 + 1), class 1: 2 / (2 + 2), class 2: 0 / (0 + 1), class 5: never
  CHECK(metrics::f1_macro(numbers{0, 1, 1, 1, 5}, numbers{0, 0, 1, 2, missing}) ==
        Approx((2.0 / 3 + 2.0 / 4 + 0) / 3));
  CHECK(std::isnan(metrics::f1_macro(numbers{1}, numbers{missing})));
  CHECK(std::isnan(metrics::f1_macro(numbers{missing, 1}, numbers{1, 1})));
}
