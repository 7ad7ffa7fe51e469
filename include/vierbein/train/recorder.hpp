// Records the losses of a batch of rows on a tape.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "vierbein/core/matrix.hpp"
#include "vierbein/graph/tape.hpp"
#include "vierbein/model/task_views.hpp"
#include "vierbein/train/labels.hpp"
#include "vierbein/train/sweep.hpp"

namespace vierbein::detail {

/// Some tasks of a model: their numbers in it, their names, and the columns of a label table.
struct task_selection {
  std::vector<index_t> numbers = {};
  std::vector<std::string> names = {};
  std::vector<index_t> columns = {};

  [[nodiscard]] index_t size() const { return static_cast<index_t>(numbers.size()); }
  /// Only those at these positions.
  [[nodiscard]] task_selection at(std::span<const index_t> positions) const {
    task_selection some;
    for (const index_t p : positions) {
      const auto i = static_cast<std::size_t>(p);
      some.numbers.push_back(numbers[i]);
      some.names.push_back(names[i]);
      some.columns.push_back(columns[i]);
    }
    return some;
  }
};

/// Records losses of the tasks that share a model's trunk. Each thread that records needs one of
/// its own; the model, the inputs and the labels must outlive it.
template <Backend B, class Model>
class batch_recorder {
 public:
  using views_type = task_views<B, typename Model::tasks_type>;

  batch_recorder(const Model& model, const typename Model::input_set& inputs,
                 const label_table& labels, task_selection tasks)
      : model_(model), inputs_(inputs), labels_(labels), tasks_(std::move(tasks)) {
    for (const index_t t : tasks_.numbers) {
      modules_.push_back(&model.module(t));
    }
    if constexpr (requires { model.alignment.perturbation_scale(); }) {
      scale_ = model.alignment.perturbation_scale();
    }
  }

  [[nodiscard]] const task_selection& tasks() const { return tasks_; }

  /// Losses of `rows`, in the order of the selection, with the alignment loss if it is asked for.
  step_losses<B> operator()(graph::tape<B>& tape, std::span<const index_t> rows, bool aligned) {
    step_losses<B> losses;
    each(tape, rows, aligned, [&](views_type& views, std::span<const bool> present) {
      losses.predictions = views.predictions();
      losses.tasks = views.losses_of(losses.predictions, views.all_tasks());
      losses.present = present;
      losses.representation = views.representation();
      if (aligned) {
        losses.alignment = model_.alignment(views);
      }
    });
    return losses;
  }

  /// f(views, present) with the views of `rows`.
  template <class F>
  void each(graph::tape<B>& tape, std::span<const index_t> rows, bool aligned, F&& f) {
    inputs_.gather(rows, batch_);
    const auto label_vars = tape.template host_array<graph::var<B>>(tasks_.size());
    const auto present = tape.template host_array<bool>(tasks_.size());
    labels_.record(tape, rows, tasks_.columns, label_vars, present, scratch_);
    const auto b = model_.represent(tape, model_.trunk(), batch_,
                                    aligned ? model_.alignment.copies() : 0, scale_);
    views_type views(tape, model_.task_list(), tasks_.numbers, modules_, label_vars, b,
                     static_cast<index_t>(rows.size()));
    f(views, std::span<const bool>(present));
  }

 private:
  const Model& model_;
  const typename Model::input_set& inputs_;
  const label_table& labels_;
  task_selection tasks_;
  std::vector<const task_module*> modules_;
  double scale_ = 0;
  typename Model::input_batch batch_;
  matrix<double> scratch_;
};

}  // namespace vierbein::detail
