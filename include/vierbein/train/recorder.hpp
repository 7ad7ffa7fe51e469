// Records the losses of a batch of rows on a tape.
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <utility>
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

/// What a batch uploads.
template <class Inputs>
struct gathered_batch {
  std::vector<index_t> rows;
  typename Inputs::batch_type inputs;
  std::vector<matrix<double>> labels;  // of each task
  std::vector<char> present;           // whether there are any

  /// f(array) for every matrix and every list of row numbers.
  template <class F>
  void each_array(F&& f) const {
    if constexpr (requires { inputs.each_array(f); }) {
      inputs.each_array(f);
    }
    for (const matrix<double>& m : labels) {
      f(m.view());
    }
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

  /// Gathers the batch that is recorded next, and lets a device that can copy it while it computes.
  /// Others are spared the detour.
  void prepare([[maybe_unused]] const B& device, [[maybe_unused]] std::span<const index_t> rows) {
    if constexpr (backend::prefetches<B>) {
      device.prefetch([&](auto&& announce) {  // the device already computes
        gather(rows, next_);
        next_.each_array(announce);
      });
    }
  }

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
    const bool prepared = !next_.rows.empty() && std::ranges::equal(rows, next_.rows);
    if (prepared) {
      std::swap(now_, next_);
      next_.rows.clear();
    } else {
      gather(rows, now_);
    }
    const auto label_vars = tape.template host_array<graph::var<B>>(tasks_.size());
    const auto present = tape.template host_array<bool>(tasks_.size());
    for (std::size_t k = 0; k < tasks_.numbers.size(); ++k) {
      present[k] = now_.present[k] != 0;
      label_vars[k] = tape.upload(std::as_const(now_.labels[k]).view());
    }
    const auto b = model_.represent(tape, model_.trunk(), now_.inputs,
                                    aligned ? model_.alignment.copies() : 0, scale_);
    if constexpr (backend::prefetches<B>) {
      if (prepared) {
        tape.backend().forget_prefetched();
      }
    }
    views_type views(tape, model_.task_list(), tasks_.numbers, modules_, label_vars, b,
                     static_cast<index_t>(rows.size()));
    f(views, std::span<const bool>(present));
  }

 private:
  using batch = gathered_batch<typename Model::input_set>;

  void gather(std::span<const index_t> rows, batch& to) const {
    to.rows.assign(rows.begin(), rows.end());
    inputs_.gather(rows, to.inputs);
    to.labels.resize(tasks_.numbers.size());
    to.present.resize(tasks_.numbers.size());
    for (std::size_t k = 0; k < tasks_.numbers.size(); ++k) {
      to.present[k] = labels_.gather(tasks_.columns[k], rows, to.labels[k]) ? 1 : 0;
    }
  }

  const Model& model_;
  const typename Model::input_set& inputs_;
  const label_table& labels_;
  task_selection tasks_;
  std::vector<const task_module*> modules_;
  double scale_ = 0;
  batch now_, next_;
};

}  // namespace vierbein::detail
