// What a weighting policy is shown in a test, and how a failing one is made small.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "vierbein/core/matrix.hpp"

namespace vierbein::testing {

/// T tasks at one point: their names, losses (T) and gradients J (T, P) by rows.
struct weighting_example {
  std::string kind = {};  ///< how it was made
  std::vector<std::string> names = {};
  std::vector<double> losses = {};
  matrix<double> j = {};
  std::uint64_t seed = 0;  ///< of what a check draws in addition

  [[nodiscard]] std::size_t tasks() const { return losses.size(); }

  /// Without task t.
  [[nodiscard]] weighting_example without_task(std::size_t t) const {
    weighting_example e = *this;
    e.names.erase(e.names.begin() + static_cast<std::ptrdiff_t>(t));
    e.losses.erase(e.losses.begin() + static_cast<std::ptrdiff_t>(t));
    e.j = matrix<double>(j.rows() - 1, j.cols());
    for (index_t r = 0, to = 0; r < j.rows(); ++r) {
      if (r != static_cast<index_t>(t)) {
        std::ranges::copy(j.row(r), e.j.row(to++).begin());
      }
    }
    return e;
  }

  /// Without parameter p.
  [[nodiscard]] weighting_example without_parameter(index_t p) const {
    weighting_example e = *this;
    e.j = matrix<double>(j.rows(), j.cols() - 1);
    for (index_t r = 0; r < j.rows(); ++r) {
      for (index_t c = 0; c < e.j.cols(); ++c) {
        e.j(r, c) = j(r, c < p ? c : c + 1);
      }
    }
    return e;
  }

  /// The tasks in another order: task i is the old task order[i].
  [[nodiscard]] weighting_example reordered(const std::vector<std::size_t>& order) const {
    weighting_example e = *this;
    for (std::size_t i = 0; i < order.size(); ++i) {
      e.names[i] = names[order[i]];
      e.losses[i] = losses[order[i]];
      std::ranges::copy(j.row(static_cast<index_t>(order[i])),
                        e.j.row(static_cast<index_t>(i)).begin());
    }
    return e;
  }

  /// Row t of J times factors[t].
  [[nodiscard]] weighting_example rows_times(const std::vector<double>& factors) const {
    weighting_example e = *this;
    for (std::size_t t = 0; t < factors.size(); ++t) {
      for (double& x : e.j.row(static_cast<index_t>(t))) {
        x *= factors[t];
      }
    }
    return e;
  }
  [[nodiscard]] weighting_example times(double factor) const {
    return rows_times(std::vector<double>(tasks(), factor));
  }

  /// "losses (1, 2), J = [(1, 0), (0, 3)]"
  [[nodiscard]] std::string text() const {
    const auto row_text = [](const auto& row) {
      std::string s = "(";
      for (const double x : row) {
        s += (s.size() > 1 ? ", " : "") + fmt::format("{}", x);
      }
      return s + ")";
    };
    std::string s = "losses " + row_text(losses) + ", J = [";
    for (index_t r = 0; r < j.rows(); ++r) {
      s += (r > 0 ? ", " : "") + row_text(j.row(r));
    }
    return s + "]";
  }
};

/// Makes an example as small as greedy steps do while `fails` still holds: fewer tasks (not fewer
/// than `fewest`, and not without the task `keep`), fewer parameters, losses of 1, rounder numbers,
/// zeros. Makes at most `trials` trials.
inline weighting_example shrink(weighting_example e,
                                const std::function<bool(const weighting_example&)>& fails,
                                std::size_t fewest = 1, const std::string& keep = {},
                                int trials = 600) {
  const auto accept = [&](weighting_example candidate) {
    if (trials-- <= 0 || !fails(candidate)) {
      return false;
    }
    e = std::move(candidate);
    return true;
  };
  for (bool smaller = true; smaller && trials > 0;) {
    smaller = false;
    for (std::size_t t = e.tasks(); t-- > 0;) {
      if (e.tasks() > std::max<std::size_t>(fewest, 1) && e.names[t] != keep) {
        smaller = accept(e.without_task(t)) || smaller;
      }
    }
    for (index_t p = e.j.cols(); p-- > 0;) {
      smaller = (e.j.cols() > 1 && accept(e.without_parameter(p))) || smaller;
    }
  }
  weighting_example simple = e;
  simple.losses.assign(e.tasks(), 1.0);
  if (!accept(simple)) {
    simple = e;
    for (double& l : simple.losses) {
      l = std::round(l * 10) / 10;
    }
    accept(simple);
  }
  // Whole numbers up to 3, 9, 99, then three digits.
  double greatest = 0;
  for (index_t i = 0; i < e.j.size(); ++i) {
    greatest = std::max(greatest, std::abs(e.j.data()[i]));
  }
  bool round = false;
  for (const double top : {3.0, 9.0, 99.0}) {
    simple = e;
    for (index_t i = 0; i < e.j.size() && greatest > 0; ++i) {
      simple.j.data()[i] = std::round(e.j.data()[i] * (top / greatest)) + 0.0;
    }
    if (std::isfinite(greatest) && accept(simple)) {
      round = true;
      break;
    }
  }
  for (index_t i = 0; i < e.j.size() && !round && std::isfinite(greatest); ++i) {
    simple = e;
    const double x = std::abs(e.j.data()[i]);
    const double unit = x > 0 ? std::pow(10.0, std::floor(std::log10(x)) - 2) : 1.0;
    simple.j.data()[i] = std::round(e.j.data()[i] / unit) * unit;
    accept(simple);
  }
  for (index_t i = 0; i < e.j.size(); ++i) {
    for (const double value : {0.0, 1.0, -1.0, 2.0, -2.0}) {
      const double now = e.j.data()[i];
      if (now != 0 && std::abs(now) > std::abs(value)) {
        simple = e;
        simple.j.data()[i] = value;
        accept(simple);
      }
    }
  }
  return e;
}

}  // namespace vierbein::testing
