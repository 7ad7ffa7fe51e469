// Trains a multi-task model.
#pragma once

#include <numeric>
#include <utility>
#include <variant>
#include <vector>

#include "vierbein/data/dataset.hpp"
#include "vierbein/data/sampler.hpp"
#include "vierbein/data/split.hpp"
#include "vierbein/model/multitask.hpp"
#include "vierbein/train/labels.hpp"
#include "vierbein/train/loop.hpp"

namespace vierbein {

namespace detail {

/// Rows to train on and rows to validate on.
inline std::pair<std::vector<index_t>, std::vector<index_t>> training_rows(
    index_t size, const training& options) {
  std::vector<index_t> train;
  std::vector<index_t> validation = options.validation_rows;
  if (validation.empty() && options.validation_fraction > 0) {
    auto parts = data::random_split(size,
                                    {.train = 1 - options.validation_fraction,
                                     .validation = options.validation_fraction,
                                     .test = 0},
                                    options.seed);
    return {std::move(parts.train), std::move(parts.validation)};
  }
  std::vector<char> held(static_cast<std::size_t>(size), 0);
  for (const index_t r : validation) {
    require(r >= 0 && r < size, "training", "validation row {} of {}", r, size);
    held[static_cast<std::size_t>(r)] = 1;
  }
  for (index_t r = 0; r < size; ++r) {
    if (held[static_cast<std::size_t>(r)] == 0) {
      train.push_back(r);
    }
  }
  return {std::move(train), std::move(validation)};
}

/// The sampler that the options ask for. One type, so that the loop is compiled once.
class batch_source {
 public:
  batch_source(const training& options, std::span<const index_t> rows,
               std::span<const std::vector<index_t>> rows_of_task)
      : state_(options.balanced
                   ? states(data::sampler::balanced::state({.batch = options.batch}, rows,
                                                           rows_of_task, options.seed))
                   : states(data::sampler::shuffled::state({.batch = options.batch}, rows,
                                                           rows_of_task, options.seed))) {}

  void begin_epoch(index_t epoch) {
    std::visit([epoch](auto& s) { s.begin_epoch(epoch); }, state_);
  }
  [[nodiscard]] index_t batches() const {
    return std::visit([](const auto& s) { return s.batches(); }, state_);
  }
  [[nodiscard]] std::span<const index_t> batch(index_t i) const {
    return std::visit([i](const auto& s) { return s.batch(i); }, state_);
  }

 private:
  using states = std::variant<data::sampler::shuffled::state, data::sampler::balanced::state>;
  states state_;
};

/// `fit`, for types that fit together.
template <Backend B, class Model, class Dataset, class Optimizer, class Weighting,
          class... Callbacks>
history fit_model(const B& backend, Model& model, const Dataset& data, const training& options,
                  const Optimizer& optimizer, Weighting& weighting, Callbacks&... callbacks) {
  options.validate();
  data.check();
  Model trained = model;
  if (!trained.built()) {
    trained.build(data.inputs.shape(), options.seed);
  }
  trained.check_shape(data.inputs);
  const auto [train_rows, validation_rows] = training_rows(data.size(), options);
  require(!train_rows.empty(), "training", "there is no row to train on");

  std::vector<index_t> numbers;
  std::vector<std::string> names;
  std::vector<const task_module*> modules;
  for (index_t t = 0; t < trained.task_list().size(); ++t) {
    require(trained.module(t).trunk == 0, "training",
            "task '{}' has a trunk of its own and cannot be trained with the others",
            trained.task_list()[t].name);
    numbers.push_back(t);
    names.push_back(trained.task_list()[t].name);
    modules.push_back(&trained.module(t));
  }
  label_table labels(trained, numbers, data, train_rows);
  if constexpr (requires { trained.trunk().prepare(trained.theta(), data.inputs, train_rows); }) {
    trained.trunk().prepare(trained.theta(), data.inputs, train_rows);
  }

  double scale = 0;
  if constexpr (requires { trained.alignment.perturbation_scale(); }) {
    scale = trained.alignment.perturbation_scale();
  }
  typename Model::input_batch batch;
  const auto record = [&](graph::tape<B>& tape, std::span<const index_t> rows, bool aligned) {
    data.inputs.gather(rows, batch);
    const auto count = static_cast<index_t>(names.size());
    const auto label_vars = tape.template host_array<graph::var<B>>(count);
    const auto present = tape.template host_array<bool>(count);
    labels.record(tape, rows, label_vars, present);
    const auto b = trained.represent(tape, trained.trunk(), batch,
                                     aligned ? trained.alignment.copies() : 0, scale);
    task_views<B, typename Model::tasks_type> views(tape, trained.task_list(), numbers, modules,
                                                    label_vars, b,
                                                    static_cast<index_t>(rows.size()));
    step_losses<B> losses;
    losses.tasks = views.head_losses(views.latent(), views.all_tasks());
    losses.present = present;
    if (aligned) {
      losses.alignment = trained.alignment(views);
    }
    return losses;
  };
  const auto step = [&](graph::tape<B>& tape, std::span<const index_t> rows) {
    return record(tape, rows, true);
  };
  const auto validate = [&](graph::tape<B>& tape) -> std::vector<double> {
    if (validation_rows.empty()) {
      return {};
    }
    constexpr std::size_t chunk = 256;
    loss_average average(names.size());
    for (std::size_t first = 0; first < validation_rows.size(); first += chunk) {
      const auto rows = std::span(validation_rows)
                            .subspan(first, std::min(chunk, validation_rows.size() - first));
      tape.begin(graph::mode::evaluation);
      const auto losses = record(tape, rows, false);
      std::vector<double> values(names.size());
      tape.read(losses.tasks, values);
      for (std::size_t t = 0; t < names.size(); ++t) {
        average.add(t, values[t], count_labels(labels[t], rows));
      }
    }
    return average.means();
  };

  batch_source batches(options, train_rows, labels.rows_of_task());
  history result = run_training(backend, trained.theta(), options, names, batches, optimizer,
                                weighting, step, validate, callbacks...);
  model = std::move(trained);
  return result;
}

}  // namespace detail

/// Trains `model` on `data`, which holds a column of labels for every task; labels may be missing,
/// rows without any still serve the alignment loss. A model that is new gets its shapes and first
/// values; one that was trained goes on from where it is. Labels of regression tasks and dense
/// inputs are standardised on the training rows. When rows are set aside for validation the best
/// epoch's parameters are kept.
///
/// The loss is Σ_t w_t ℓ_t + alignment, w from the weighting policy. Throws vierbein::error for
/// labels or inputs that do not fit, and when a loss or a parameter is no longer finite; `model` is
/// then unchanged.
template <Backend B, class Model, class Dataset, class Optimizer, class Weighting,
          class... Callbacks>
history fit(const B& backend, Model& model, const Dataset& data, const training& options,
            const Optimizer& optimizer, Weighting weighting, Callbacks... callbacks) {
  using T = typename Model::scalar;
  detail::require_training<B, T, Optimizer, Weighting>();
  history result;
  if constexpr (detail::can_train<B, T, Optimizer, Weighting>) {  // else one sentence is enough
    result = detail::fit_model(backend, model, data, options, optimizer, weighting, callbacks...);
  }
  return result;
}

}  // namespace vierbein
