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
#include "vierbein/train/further_batches.hpp"
#include "vierbein/train/labels.hpp"
#include "vierbein/train/loop.hpp"
#include "vierbein/train/probe.hpp"
#include "vierbein/train/recorder.hpp"
#include "vierbein/train/rounds.hpp"

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

/// The training of `fit` step by step: every batch moves the parameters.
template <Backend B, class Model, class Optimizer, class Weighting, class... Callbacks>
history fit_steps(const B& backend, Model& model, const typename Model::input_set& inputs,
                  const label_table& labels, const task_selection& tasks,
                  std::span<const index_t> train_rows, std::span<const index_t> validation_rows,
                  const training& options, const Optimizer& optimizer, Weighting& weighting,
                  Callbacks&... callbacks) {
  batch_recorder<B, Model> record(model, inputs, labels, tasks);
  const auto step = [&](graph::tape<B>& tape, std::span<const index_t> rows) {
    return record(tape, rows, true);
  };
  const auto validate = [&](graph::tape<B>& tape) -> std::vector<verdict> {
    if (validation_rows.empty()) {
      return {};
    }
    return judged(tape, model, labels, record, validation_rows, judged_at_once(options));
  };
  batch_source batches(options, train_rows, labels.rows_of_task());
  if constexpr (TargetBasedWeighting<Weighting>) {
    const index_t where[] = {
        static_cast<index_t>(weighting::find_target(tasks.names, weighting.target, "weighting"))};
    const task_selection target = tasks.at(where);
    step_probe<B, Model> probe(backend, model, inputs, labels, tasks, target,
                               development_rows(labels, static_cast<std::size_t>(target.columns[0]),
                                                weighting.target, validation_rows, "weighting"),
                               random_stream{options.seed, name_hash("development")});
    return run_training(backend, model.theta(), options, tasks.names, batches, optimizer, weighting,
                        step, validate, &probe, callbacks...);
  } else if constexpr (weighting::gram_batches<Weighting> > 1) {
    std::vector<batch_source> sources;
    for (std::size_t k = 1; k < weighting::gram_batches<Weighting>; ++k) {
      training other = options;
      other.seed = random_stream{options.seed, name_hash("further batches")}.fork(k).stream;
      sources.emplace_back(other, train_rows, labels.rows_of_task());
    }
    further_batches<B, Model, batch_source> further(backend, model, inputs, labels, tasks,
                                                    std::move(sources));
    return run_training(backend, model.theta(), options, tasks.names, batches, optimizer, weighting,
                        step, validate, &further, callbacks...);
  } else {
    return run_training(backend, model.theta(), options, tasks.names, batches, optimizer, weighting,
                        step, validate, no_probe, callbacks...);
  }
}

/// `fit`, for types that fit together.
template <Backend B, class Model, class Dataset, class Optimizer, class Weighting,
          class... Callbacks>
history fit_model(const B& backend, Model& model, const Dataset& data, const training& options,
                  const Optimizer& optimizer, Weighting& weighting, Callbacks&... callbacks) {
  options.validate();
  data.check();
  model.check_alignment();
  Model trained = model;
  if (!trained.built()) {
    trained.build(data.inputs.shape(), options.seed);
  }
  trained.check_shape(data.inputs);
  const auto [train_rows, validation_rows] = training_rows(data.size(), options);
  require(!train_rows.empty(), "training", "there is no row to train on");

  task_selection tasks;
  for (index_t t = 0; t < trained.task_list().size(); ++t) {
    require(trained.module(t).trunk == 0, "training",
            "task '{}' has a trunk of its own and cannot be trained with the others",
            trained.task_list()[t].name);
    tasks.numbers.push_back(t);
    tasks.names.push_back(trained.task_list()[t].name);
    tasks.columns.push_back(t);
  }
  const label_table labels(trained, tasks.numbers, data, train_rows);
  if constexpr (requires { trained.trunk().prepare(trained.theta(), data.inputs, train_rows); }) {
    trained.trunk().prepare(trained.theta(), data.inputs, train_rows);
  }

  history result;
  if constexpr (UpdateBasedWeighting<Weighting>) {
    result = run_rounds(backend, trained, data.inputs, labels, tasks, validation_rows, options,
                        optimizer, weighting, callbacks...);
  } else {
    result = fit_steps(backend, trained, data.inputs, labels, tasks, train_rows, validation_rows,
                       options, optimizer, weighting, callbacks...);
  }
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
/// The loss is Σ_t w_t ℓ_t + alignment, w from the weighting policy; one of the kind gradient_based
/// gives the shared parameters' direction itself. A policy of the kind
/// update_based trains branches in rounds instead and combines their updates; it needs validation
/// rows with labels of its target, as one of the kind target_based does. Throws vierbein::error for
/// labels or inputs that do not fit, and when a loss, a gradient or a parameter is no longer
/// finite; `model` is then unchanged.
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
