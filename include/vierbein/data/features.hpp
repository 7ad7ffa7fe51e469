// Dense inputs: one row of numbers a sample.
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <utility>

#include "vierbein/core/matrix.hpp"
#include "vierbein/data/rows.hpp"

namespace vierbein::data {

/// Precomputed features, (samples, features).
struct feature_set {
  matrix<double> values;

  /// What an encoder needs to know before the first batch: the number of features.
  struct shape_type {
    index_t width = 0;
    bool operator==(const shape_type&) const = default;
    [[nodiscard]] std::string describe() const { return formatted("{} features", width); }

    template <class Visitor>
    void options(Visitor&& visit) {
      visit("width", width);
    }
  };

  /// The rows of one batch.
  struct batch_type {
    matrix<double> values;
    [[nodiscard]] index_t size() const { return values.rows(); }
    /// See encoder/concept.hpp.
    template <class F>
    void each_array(F&& f) const {
      f(values.view());
    }
  };

  [[nodiscard]] index_t size() const { return values.rows(); }
  [[nodiscard]] shape_type shape() const { return {values.cols()}; }

  /// Copies the samples `rows` into `batch`, which keeps its memory from call to call.
  void gather(std::span<const index_t> rows, batch_type& batch) const {
    batch.values.resize(static_cast<index_t>(rows.size()), values.cols());
    for (std::size_t i = 0; i < rows.size(); ++i) {
      std::copy_n(values.row(rows[i]).data(), values.cols(),
                  batch.values.row(static_cast<index_t>(i)).data());
    }
  }

  /// The samples `rows` as a set of their own. Throws for a row that is not there.
  [[nodiscard]] feature_set select(std::span<const index_t> rows) const {
    require_rows(rows, size(), "features");
    batch_type chosen;
    gather(rows, chosen);
    return {std::move(chosen.values)};
  }

  /// Adds the samples of `other` behind these. A set without samples takes any width.
  void append(const feature_set& other) {
    if (size() == 0) {
      values = other.values;
    } else {
      append_rows(values, other.values, "features");
    }
  }

  /// Throws at the first feature that is NaN or infinite.
  void check() const { require_finite(values, "features"); }
};

}  // namespace vierbein::data
