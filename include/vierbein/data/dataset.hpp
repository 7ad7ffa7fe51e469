// Inputs with their labels: a column of labels a task, with gaps.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/core/matrix.hpp"
#include "vierbein/data/rows.hpp"

namespace vierbein::data {

/// The labels of one task.
struct label_column {
  std::string name;
  matrix<double> values;  ///< (samples, width); NaN where a label is missing

  [[nodiscard]] index_t size() const { return values.rows(); }

  /// Whether sample `row` has a label: one that is not NaN, at least.
  [[nodiscard]] bool has(index_t row) const {
    for (const double v : values.row(row)) {
      if (!std::isnan(v)) {
        return true;
      }
    }
    return false;
  }
};

/// Those of the samples `rows` that have a label in `column`, in the same order. Throws for a row
/// that is not there.
[[nodiscard]] inline std::vector<index_t> labelled_rows(const label_column& column,
                                                        std::span<const index_t> rows) {
  require_rows(rows, column.size(), formatted("labels '{}'", column.name).c_str());
  std::vector<index_t> labelled;
  for (const index_t r : rows) {
    if (column.has(r)) {
      labelled.push_back(r);
    }
  }
  return labelled;
}

/// Inputs (`feature_set`, `graph_set` or a type like them) and any number of label columns, row by
/// row.
///
/// A kind of inputs offers `size()`, `select(rows)`, `append(other)` and `check()`.
template <class Inputs>
struct dataset {
  Inputs inputs;
  std::vector<label_column> labels = {};

  /// Number of samples.
  [[nodiscard]] index_t size() const { return inputs.size(); }

  /// The labels of that name, or nullptr.
  [[nodiscard]] const label_column* find(std::string_view name) const {
    for (const label_column& column : labels) {
      if (column.name == name) {
        return &column;
      }
    }
    return nullptr;
  }
  [[nodiscard]] label_column* find(std::string_view name) {
    return const_cast<label_column*>(std::as_const(*this).find(name));
  }

  /// The labels of that name; throws, with the names there are, when there is none.
  [[nodiscard]] const label_column& at(std::string_view name) const {
    const label_column* column = find(name);
    if (column == nullptr) {
      std::string names;
      for (const label_column& c : labels) {
        names += (names.empty() ? "" : "', '") + c.name;
      }
      throw error("dataset", formatted("no labels '{}'; there are '{}'", name, names));
    }
    return *column;
  }
  [[nodiscard]] label_column& at(std::string_view name) {
    return const_cast<label_column&>(std::as_const(*this).at(name));
  }

  /// Adds a column of labels, values (samples, width). Throws when it has no name, the name is
  /// taken, there are not as many rows as samples, or a label is infinite.
  void add(std::string name, matrix<double> values) {
    require(find(name) == nullptr, "dataset", "labels '{}' exist already", name);
    label_column column{std::move(name), std::move(values)};
    check(column);
    labels.push_back(std::move(column));
  }
  /// The same with one label a sample.
  void add(std::string name, std::span<const double> values) {
    matrix<double> column(static_cast<index_t>(values.size()), 1);
    std::copy_n(values.data(), column.rows(), column.data());
    add(std::move(name), std::move(column));
  }

  /// The samples `rows` as a data set of their own. Throws for a row that is not there, and for
  /// labels that are not as many as the inputs.
  [[nodiscard]] dataset select(std::span<const index_t> rows) const {
    require_rows(rows, size(), "dataset");
    dataset chosen{inputs.select(rows)};
    for (const label_column& column : labels) {
      require_length(column);
      matrix<double> values(static_cast<index_t>(rows.size()), column.values.cols());
      for (std::size_t i = 0; i < rows.size(); ++i) {
        std::copy_n(column.values.row(rows[i]).data(), values.cols(),
                    values.row(static_cast<index_t>(i)).data());
      }
      chosen.labels.push_back({column.name, std::move(values)});
    }
    return chosen;
  }

  /// Removes the labels `name` of the samples `rows`; the samples stay. Throws as `select` does.
  void mask_labels(std::string_view name, std::span<const index_t> rows) {
    label_column& column = at(name);
    require_rows(rows, size(), "dataset");
    require_length(column);
    for (const index_t r : rows) {
      std::fill_n(column.values.row(r).data(), column.values.cols(), missing);
    }
  }

  /// Adds the samples of `other` behind these. Columns are matched by name; where one side has no
  /// such column its samples have no label. Throws when widths differ.
  void append(const dataset& other) {
    const index_t before = size();
    for (const label_column& column : other.labels) {
      const label_column* mine = find(column.name);
      require(mine == nullptr || mine->values.cols() == column.values.cols(), "dataset",
              "labels '{}' have {} columns here and {} there", column.name,
              mine == nullptr ? 0 : mine->values.cols(), column.values.cols());
    }
    inputs.append(other.inputs);
    for (label_column& column : labels) {
      const label_column* more = other.find(column.name);
      append_rows(column.values,
                  more != nullptr ? matrix<double>(more->values)
                                  : matrix<double>(size() - before, column.values.cols(), missing),
                  "labels");
    }
    for (const label_column& column : other.labels) {
      if (find(column.name) == nullptr) {
        matrix<double> values(before, column.values.cols(), missing);
        append_rows(values, column.values, "labels");
        labels.push_back({column.name, std::move(values)});
      }
    }
  }

  /// Throws at the first fault: a column without name or of another length than the inputs, a name
  /// twice, an infinite label, a feature that is NaN or infinite.
  void check() const {
    inputs.check();
    for (const label_column& column : labels) {
      check(column);
      require(find(column.name) == &column, "dataset", "labels '{}' occur twice", column.name);
    }
  }

 private:
  static constexpr double missing = std::numeric_limits<double>::quiet_NaN();

  void require_length(const label_column& column) const {
    require(column.size() == size(), "dataset", "expected {} labels '{}', one a sample, found {}",
            size(), column.name, column.size());
  }

  void check(const label_column& column) const {
    require(!column.name.empty(), "dataset", "labels need a name");
    require_length(column);
    require(column.values.cols() > 0, "dataset", "labels '{}' have no column", column.name);
    for (index_t r = 0; r < column.size(); ++r) {
      for (const double v : column.values.row(r)) {
        if (std::isinf(v)) {
          throw error(
              formatted("labels '{}', row {} (counted from 0)", column.name, r),
              formatted("expected a finite number, or NaN where it is missing, found {}", v));
        }
      }
    }
  }
};

template <class Inputs>
dataset(Inputs) -> dataset<Inputs>;
template <class Inputs>
dataset(Inputs, std::vector<label_column>) -> dataset<Inputs>;

/// All samples of several data sets, in their order: for tasks that come with data of their own.
template <class Inputs, class... More>
[[nodiscard]] dataset<Inputs> concatenate(dataset<Inputs> first, const More&... more) {
  (first.append(more), ...);
  return first;
}

}  // namespace vierbein::data
