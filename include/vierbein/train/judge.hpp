// How good tasks are on rows of data.
#pragma once

#include <algorithm>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "vierbein/core/matrix.hpp"
#include "vierbein/graph/tape.hpp"
#include "vierbein/train/labels.hpp"
#include "vierbein/train/loop.hpp"
#include "vierbein/train/recorder.hpp"

namespace vierbein::detail {

/// Adds up how good the predictions of some tasks are, batch after batch. A task's loss is the mean
/// over its labels; its score the share of labels that its head calls right, where the head has
/// `hits`, otherwise the negative loss.
template <class TaskList>
class task_judge {
 public:
  /// Column `selection.columns[k]` of `labels` belongs to task `selection.numbers[k]` of `tasks`.
  task_judge(const TaskList& tasks, const task_selection& selection, const label_table& labels)
      : tasks_(tasks), selection_(selection), labels_(labels), sums_(selection.numbers.size()) {}

  /// Adds what was recorded of `rows`.
  template <Backend B>
  void add(graph::tape<B>& tape, const step_losses<B>& recorded, std::span<const index_t> rows) {
    values_.resize(sums_.size());
    tape.read(recorded.tasks, values_);
    for (std::size_t k = 0; k < sums_.size(); ++k) {
      const matrix<double>& labels = labels_[static_cast<std::size_t>(selection_.columns[k])];
      const double count = count_labels(labels, rows);
      if (count == 0) {
        continue;
      }
      sums_[k].labels += count;
      sums_[k].loss += values_[k] * count;
      tasks_.visit(selection_.numbers[k], [&](const auto& head) {
        if constexpr (requires(std::span<const double> row) { head.hits(row, row); }) {
          const auto& predicted = recorded.predictions[k];
          predictions_.resize(predicted.rows(), predicted.cols());
          tape.backend().download(predicted.value(), predictions_.view());
          sums_[k].knows_hits = true;
          for (std::size_t i = 0; i < rows.size(); ++i) {
            sums_[k].hits +=
                head.hits(predictions_.row(static_cast<index_t>(i)), labels.row(rows[i]));
          }
        }
      });
    }
  }

  /// One a task, in the order of the selection.
  [[nodiscard]] std::vector<verdict> verdicts() const {
    std::vector<verdict> result(sums_.size());
    for (std::size_t k = 0; k < sums_.size(); ++k) {
      if (const sum& s = sums_[k]; s.labels > 0) {
        const double loss = s.loss / s.labels;
        result[k] = {loss, s.knows_hits ? s.hits / s.labels : -loss};
      }
    }
    return result;
  }

 private:
  struct sum {
    double labels = 0;
    double loss = 0;
    double hits = 0;
    bool knows_hits = false;
  };

  const TaskList& tasks_;
  const task_selection& selection_;
  const label_table& labels_;
  std::vector<sum> sums_;
  std::vector<double> values_;
  matrix<double> predictions_;
};

/// How many rows are judged at once.
inline constexpr index_t rows_judged_at_once = 256;
inline index_t judged_at_once(const training& options) {
  return options.memory_limit > 0 ? std::min(options.batch, rows_judged_at_once)
                                  : rows_judged_at_once;
}

/// f(chunk) for chunks of `rows`, so many at a time.
template <class F>
void each_chunk(std::span<const index_t> rows, index_t at_once, F&& f) {
  const auto chunk = static_cast<std::size_t>(at_once);
  for (std::size_t first = 0; first < rows.size(); first += chunk) {
    f(rows.subspan(first, std::min(chunk, rows.size() - first)));
  }
}

/// Judges the tasks of `record` on any number of rows, so many at once, in evaluation mode, at the
/// parameters that the tape is bound to.
template <Backend B, class Model>
std::vector<verdict> judged(graph::tape<B>& tape, const Model& model, const label_table& labels,
                            batch_recorder<B, Model>& record, std::span<const index_t> rows,
                            index_t at_once = rows_judged_at_once) {
  task_judge judge(model.task_list(), record.tasks(), labels);
  each_chunk(rows, at_once, [&](std::span<const index_t> some) {
    tape.begin(graph::mode::evaluation);
    judge.add(tape, record(tape, some, false), some);
  });
  return judge.verdicts();
}

}  // namespace vierbein::detail
