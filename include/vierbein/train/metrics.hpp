// How good predictions are. Every function takes as many predictions as labels and leaves out the
// pairs whose label is NaN. Each returns NaN where the quantity is not defined, which its comment
// tells, and when a prediction with a label is NaN.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/core/types.hpp"

namespace vierbein::metrics {

namespace detail {

inline constexpr double undefined = std::numeric_limits<double>::quiet_NaN();

// Calls f(prediction, label) for every labelled pair and returns how many there are, or -1 when one
// of the predictions is NaN.
template <class F>
index_t for_each_pair(std::span<const double> prediction, std::span<const double> label, F&& f) {
  require(prediction.size() == label.size(), "metrics", "{} predictions for {} labels",
          prediction.size(), label.size());
  index_t count = 0;
  bool defined = true;
  for (std::size_t i = 0; i < label.size(); ++i) {
    if (!std::isnan(label[i])) {
      defined = defined && !std::isnan(prediction[i]);
      f(prediction[i], label[i]);
      ++count;
    }
  }
  return defined ? count : -1;
}

template <class F>
double mean_of(std::span<const double> prediction, std::span<const double> label, F&& f) {
  double total = 0;
  const index_t n = for_each_pair(prediction, label, [&](double p, double y) { total += f(p, y); });
  return n > 0 ? total / static_cast<double>(n) : undefined;
}

}  // namespace detail

/// √ mean (p - y)². Undefined without labels.
inline double rmse(std::span<const double> prediction, std::span<const double> label) {
  return std::sqrt(
      detail::mean_of(prediction, label, [](double p, double y) { return (p - y) * (p - y); }));
}

/// mean |p - y|. Undefined without labels.
inline double mae(std::span<const double> prediction, std::span<const double> label) {
  return detail::mean_of(prediction, label, [](double p, double y) { return std::abs(p - y); });
}

/// The coefficient of determination 1 - Σ (p - y)² / Σ (y - mean y)². Undefined when all labels are
/// the same, or there are fewer than two.
inline double r2(std::span<const double> prediction, std::span<const double> label) {
  const double mean = detail::mean_of(prediction, label, [](double, double y) { return y; });
  double total = 0;
  double residual = 0;
  double lowest = std::numeric_limits<double>::infinity();
  double highest = -lowest;
  const index_t n = detail::for_each_pair(prediction, label, [&](double p, double y) {
    total += (y - mean) * (y - mean);
    residual += (p - y) * (p - y);
    lowest = std::min(lowest, y);
    highest = std::max(highest, y);
  });
  return n >= 2 && lowest < highest ? 1 - residual / total : detail::undefined;
}

/// Share of predicted classes that equal the label, both given as class numbers. Undefined without
/// labels.
inline double accuracy(std::span<const double> predicted_class, std::span<const double> label) {
  return detail::mean_of(predicted_class, label,
                         [](double p, double y) { return p == y ? 1.0 : 0.0; });
}

/// Share of binary labels (0 or 1) that the probability of class 1 is on the right side of the
/// threshold for; the threshold itself counts as class 1. Undefined without labels.
inline double binary_accuracy(std::span<const double> probability, std::span<const double> label,
                              double threshold = 0.5) {
  return detail::mean_of(probability, label, [threshold](double p, double y) {
    return (p >= threshold) == (y > 0.5) ? 1.0 : 0.0;
  });
}

/// Area under the receiver operating characteristic: the probability that a random sample of class
/// 1 has a higher score than one of class 0, where a tie counts one half (Hanley and McNeil 1982).
/// `score` may be any number that grows with the probability; labels are 0 or 1. Undefined unless
/// both classes occur.
inline double auroc(std::span<const double> score, std::span<const double> label) {
  std::vector<std::pair<double, bool>> samples;
  const index_t n = detail::for_each_pair(
      score, label, [&](double s, double y) { samples.emplace_back(s, y > 0.5); });
  if (n < 0) {
    return detail::undefined;
  }
  std::sort(samples.begin(), samples.end());
  double positive = 0;
  double negative = 0;  // of a lower score
  double wins = 0;
  for (std::size_t first = 0; first < samples.size();) {
    double tied_positive = 0;
    double tied_negative = 0;
    std::size_t i = first;
    for (; i < samples.size() && samples[i].first == samples[first].first; ++i) {
      (samples[i].second ? tied_positive : tied_negative) += 1;
    }
    wins += tied_positive * (negative + 0.5 * tied_negative);
    positive += tied_positive;
    negative += tied_negative;
    first = i;
  }
  return positive > 0 && negative > 0 ? wins / (positive * negative) : detail::undefined;
}

/// F1 of class 1, 2 TP / (2 TP + FP + FN), where the probability of class 1 reaches the threshold;
/// labels are 0 or 1. Undefined when class 1 occurs neither among labels nor predictions.
inline double f1(std::span<const double> probability, std::span<const double> label,
                 double threshold = 0.5) {
  double hits = 0;
  double wrong = 0;
  const index_t n = detail::for_each_pair(probability, label, [&](double p, double y) {
    const bool predicted = p >= threshold;
    const bool actual = y > 0.5;
    hits += predicted && actual ? 1 : 0;
    wrong += predicted != actual ? 1 : 0;
  });
  return n > 0 && hits + wrong > 0 ? 2 * hits / (2 * hits + wrong) : detail::undefined;
}

/// Mean of each class's F1, over the classes that occur among labels or predictions, both given as
/// class numbers. Undefined without labels.
inline double f1_macro(std::span<const double> predicted_class, std::span<const double> label) {
  struct counts {
    double hits = 0;
    double wrong = 0;  // false positives and false negatives
  };
  std::map<double, counts> classes;
  const index_t n = detail::for_each_pair(predicted_class, label, [&](double p, double y) {
    if (p == y) {
      classes[y].hits += 1;
    } else if (!std::isnan(p)) {
      classes[p].wrong += 1;
      classes[y].wrong += 1;
    }
  });
  if (n <= 0) {
    return detail::undefined;
  }
  double total = 0;
  for (const auto& [number, c] : classes) {
    total += 2 * c.hits / (2 * c.hits + c.wrong);
  }
  return total / static_cast<double>(classes.size());
}

}  // namespace vierbein::metrics
