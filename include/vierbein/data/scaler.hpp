// Columns with mean 0 and standard deviation 1.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/core/view.hpp"
#include "vierbein/data/rows.hpp"

namespace vierbein::data {

/// x ↦ (x - mean) / deviation, column by column; NaN stays NaN. The deviation is that of the
/// population (divided by n); a constant column gets 1.
struct standardiser {
  std::vector<double> mean;
  std::vector<double> deviation;

  /// Learns from the rows `rows` of x (samples, width), without the NaN among them. Throws for a
  /// row that is not there, and when a column has fewer than two values there, an infinite one, or
  /// values so far apart, or so close, that their squares leave the range of double; `place` stands
  /// in the message.
  void fit(matrix_view<const double> x, std::span<const index_t> rows,
           const std::string& place = "standardiser") {
    require_rows(rows, x.rows, place.c_str());
    mean.assign(static_cast<std::size_t>(x.cols), 0);
    deviation.assign(static_cast<std::size_t>(x.cols), 1);
    for (index_t c = 0; c < x.cols; ++c) {
      index_t count = 0;
      double total = 0;
      double lowest = std::numeric_limits<double>::infinity();
      double highest = -lowest;
      const auto each = [&](auto&& f) {
        for (const index_t r : rows) {
          if (!std::isnan(x(r, c))) {
            f(x(r, c));
          }
        }
      };
      each([&](double v) {
        ++count;
        total += v;
        lowest = std::min(lowest, v);
        highest = std::max(highest, v);
      });
      require(count >= 2, place.c_str(), "column {} has {} values, too few to standardise", c,
              count);
      require(std::isfinite(lowest) && std::isfinite(highest), place.c_str(),
              "column {} holds an infinite value", c);
      const auto k = static_cast<std::size_t>(c);
      if (lowest == highest) {
        mean[k] = lowest;
        continue;
      }
      mean[k] = total / static_cast<double>(count);
      double squares = 0;
      each([&](double v) { squares += (v - mean[k]) * (v - mean[k]); });
      deviation[k] = std::sqrt(squares / static_cast<double>(count));
      require(std::isnormal(squares), place.c_str(),
              "column {} has the mean {} and the deviation {}, beyond the range of double: rescale "
              "it",
              c, mean[k], deviation[k]);
    }
  }

  /// The same from all rows.
  void fit(matrix_view<const double> x, const std::string& place = "standardiser") {
    std::vector<index_t> all(static_cast<std::size_t>(x.rows));
    std::iota(all.begin(), all.end(), index_t{0});
    fit(x, all, place);
  }

  /// Standardises x (rows, width) in place. Throws before `fit`, and when the width is not that of
  /// `fit`; so does `invert`.
  void apply(matrix_view<double> x) const {
    require_width(x.cols);
    for (index_t r = 0; r < x.rows; ++r) {
      for (index_t c = 0; c < x.cols; ++c) {
        const auto k = static_cast<std::size_t>(c);
        x(r, c) = (x(r, c) - mean[k]) / deviation[k];
      }
    }
  }

  /// The way back, in place: x ↦ x deviation + mean.
  void invert(matrix_view<double> x) const {
    require_width(x.cols);
    for (index_t r = 0; r < x.rows; ++r) {
      for (index_t c = 0; c < x.cols; ++c) {
        const auto k = static_cast<std::size_t>(c);
        x(r, c) = x(r, c) * deviation[k] + mean[k];
      }
    }
  }

  bool operator==(const standardiser&) const = default;

 private:
  void require_width(index_t cols) const {
    require(!mean.empty() || cols == 0, "standardiser", "it has not been fitted");
    require(cols == static_cast<index_t>(mean.size()), "standardiser",
            "expected {} columns, found {}", mean.size(), cols);
  }
};

}  // namespace vierbein::data
