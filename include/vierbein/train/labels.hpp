// The labels of a model's tasks in a data set, standardised, ready to be cut into batches.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "vierbein/data/dataset.hpp"
#include "vierbein/graph/tape.hpp"

namespace vierbein::detail {

/// One matrix (rows, width) a task, in the order of the tasks.
class label_table {
 public:
  /// Takes the labels of every task of `model` numbered in `which` from `data` and refuses what its
  /// head does not accept or the model's scalar cannot hold. Labels of heads that want it are
  /// standardised on `train_rows`, and the model remembers how.
  template <class Model, class Dataset>
  label_table(Model& model, std::span<const index_t> which, const Dataset& data,
              std::span<const index_t> train_rows) {
    using T = typename Model::scalar;
    for (const index_t t : which) {
      const std::string& name = model.task_list()[t].name;
      const auto& column = data.at(name);
      model.task_list().visit(t, [&](const auto& head) {
        require(column.values.cols() == head.label_width(), "labels",
                "task '{}' expects {} columns, found {}", name, head.label_width(),
                column.values.cols());
        for (index_t r = 0; r < column.values.rows(); ++r) {
          for (const double v : column.values.row(r)) {
            require(std::isnan(v) || head.valid(v), "labels",
                    "task '{}', row {} (counted from 0): expected {}, found {}", name, r,
                    head.accepts(), v);
          }
        }
        const auto labelled = data::labelled_rows(column, train_rows);
        require(!labelled.empty(), "labels", "task '{}' has no label among the training rows",
                name);
        matrix<double> values = column.values;
        if (head.standardise) {
          require(column.values.cols() == 1, "labels",
                  "task '{}' cannot standardise {} columns of labels: one is expected", name,
                  column.values.cols());
          const auto [mean, deviation] = moments(values, labelled);
          require(holds<T>(mean) && holds<T>(deviation) &&
                      deviation >= static_cast<double>(std::numeric_limits<T>::min()),
                  "labels",
                  "task '{}': expected a mean and a deviation within the range of {}, found {:.6g} "
                  "and {:.6g}: rescale the labels{}",
                  name, scalar_name<T>, mean, deviation, wider<T>);
          model.set_scaling(t, mean, deviation);
          for (index_t r = 0; r < values.rows(); ++r) {  // with what the model will remember
            values(r, 0) = (values(r, 0) - model.label_mean(t)) / model.label_deviation(t);
          }
        }
        for (index_t i = 0; i < values.size(); ++i) {
          require(std::isnan(values.data()[i]) || holds<T>(values.data()[i]), "labels",
                  "task '{}', row {} (counted from 0): expected a label within the range of {}, "
                  "found {:.6g}: rescale the labels{}",
                  name, i / values.cols(), scalar_name<T>, column.values.data()[i], wider<T>);
        }
        tasks_.push_back(std::move(values));
        rows_of_task_.push_back(labelled);
      });
    }
  }

  [[nodiscard]] index_t tasks() const { return static_cast<index_t>(tasks_.size()); }
  /// The training rows with a label of each task.
  [[nodiscard]] const std::vector<std::vector<index_t>>& rows_of_task() const {
    return rows_of_task_;
  }
  [[nodiscard]] const matrix<double>& operator[](std::size_t t) const { return tasks_[t]; }

  /// Copies a task's labels of `rows` and returns whether there are any. A row number beyond the
  /// table has no label.
  bool gather(index_t task, std::span<const index_t> rows, matrix<double>& labels) const {
    constexpr double missing = std::numeric_limits<double>::quiet_NaN();
    const matrix<double>& from = tasks_[static_cast<std::size_t>(task)];
    labels.resize(static_cast<index_t>(rows.size()), from.cols());
    bool present = false;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      for (index_t c = 0; c < from.cols(); ++c) {
        const double v = rows[i] < from.rows() ? from(rows[i], c) : missing;
        labels(static_cast<index_t>(i), c) = v;
        present = present || !std::isnan(v);
      }
    }
    return present;
  }

  /// Records the labels of `rows` as constants, one var for each of the tasks `which`, and says
  /// which of them have any. `scratch` is overwritten.
  template <Backend B>
  void record(graph::tape<B>& tape, std::span<const index_t> rows, std::span<const index_t> which,
              std::span<graph::var<B>> labels, std::span<bool> present,
              matrix<double>& scratch) const {
    for (std::size_t k = 0; k < which.size(); ++k) {
      present[k] = gather(which[k], rows, scratch);
      labels[k] = tape.upload(matrix_view<const double>(scratch.view()));
    }
  }

 private:
  struct mean_and_deviation {
    double mean, deviation;
  };

  // Of these rows of the first column; a deviation of 1 where all are the same. A power of two is
  // divided out first, so that neither sums nor squares leave the range of double.
  static mean_and_deviation moments(const matrix<double>& values,
                                    const std::vector<index_t>& rows) {
    double largest = 0;
    for (const index_t r : rows) {
      largest = std::max(largest, std::abs(values(r, 0)));
    }
    const int exponent = largest > 0 ? std::ilogb(largest) : 0;
    const auto n = static_cast<double>(rows.size());
    double mean = 0;
    for (const index_t r : rows) {
      mean += std::ldexp(values(r, 0), -exponent);
    }
    mean /= n;
    double squares = 0;
    for (const index_t r : rows) {
      const double from_mean = std::ldexp(values(r, 0), -exponent) - mean;
      squares += from_mean * from_mean;
    }
    const double deviation = std::sqrt(squares / n);
    const bool same = !(deviation > 1e-12 * std::abs(mean)) || deviation == 0;
    return {std::ldexp(mean, exponent), same ? 1.0 : std::ldexp(deviation, exponent)};
  }

  // Whether x is within the range of T.
  template <Scalar T>
  static bool holds(double x) {
    return std::abs(x) <= static_cast<double>(std::numeric_limits<T>::max());
  }

  template <Scalar T>
  static constexpr const char* scalar_name = std::is_same_v<T, float> ? "float" : "double";
  // The advice that a model of single precision can be given.
  template <Scalar T>
  static constexpr const char* wider =
      std::is_same_v<T, float> ? ", or make the model with multitask<double>" : "";

  std::vector<matrix<double>> tasks_;
  std::vector<std::vector<index_t>> rows_of_task_;
};

/// How many labels of these rows are present.
inline double count_labels(const matrix<double>& labels, std::span<const index_t> rows) {
  double count = 0;
  for (const index_t r : rows) {
    for (const double v : labels.row(r)) {
      count += std::isnan(v) ? 0 : 1;
    }
  }
  return count;
}

}  // namespace vierbein::detail
