// Trains a multi-task model.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "vierbein/core/function_ref.hpp"
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

/// The sampler that the options ask for.
class batch_source final : public batch_order {
 public:
  batch_source(const training& options, std::span<const index_t> rows,
               std::span<const std::vector<index_t>> rows_of_task)
      : state_(options.balanced
                   ? states(data::sampler::balanced::state({.batch = options.batch}, rows,
                                                           rows_of_task, options.seed))
                   : states(data::sampler::shuffled::state({.batch = options.batch}, rows,
                                                           rows_of_task, options.seed))) {}

  void begin_epoch(index_t epoch) override {
    std::visit([epoch](auto& s) { s.begin_epoch(epoch); }, state_);
  }
  [[nodiscard]] index_t batches() const override {
    return std::visit([](const auto& s) { return s.batches(); }, state_);
  }
  [[nodiscard]] std::span<const index_t> batch(index_t i) const override {
    return std::visit([i](const auto& s) { return s.batch(i); }, state_);
  }

 private:
  using states = std::variant<data::sampler::shuffled::state, data::sampler::balanced::state>;
  states state_;
};

/// What `fit` has made of the data before it trains.
struct training_set {
  const label_table& labels;
  const task_selection& tasks;
  std::span<const index_t> train_rows;
  std::span<const index_t> validation_rows;
};

/// A model's tasks on the data that it is trained on.
template <Backend B, class Model>
class model_problem final : public training_problem<B> {
 public:
  model_problem(const Model& model, const typename Model::input_set& inputs,
                const training_set& set, const training& options)
      : model_(model),
        set_(set),
        options_(options),
        record_(model, inputs, set.labels, set.tasks) {}

  step_losses<B> record(graph::tape<B>& tape, std::span<const index_t> rows) override {
    return record_(tape, rows, true);
  }
  void prepare(const B& device, std::span<const index_t> rows) override {
    record_.prepare(device, rows);
  }
  std::vector<verdict> validate(graph::tape<B>& tape) override {
    if (set_.validation_rows.empty()) {
      return {};
    }
    return judged(tape, model_, set_.labels, record_, set_.validation_rows,
                  judged_at_once(options_));
  }

 private:
  const Model& model_;
  const training_set& set_;
  const training& options_;
  batch_recorder<B, Model> record_;
};

/// Trains batch by batch what the policy that `policy` makes gives a direction for.
template <Backend B, class Model>
history fit_batches(const B& backend, Model& model, const typename Model::input_set& inputs,
                    const training_set& set, const training& options,
                    const any_optimizer<B>& optimizer,
                    function_ref<std::unique_ptr<steering<B>>()> policy,
                    callback::group& callbacks) {
  model_problem<B, Model> problem(model, inputs, set, options);
  batch_source batches(options, set.train_rows, set.labels.rows_of_task());
  const auto follow = policy();
  return training_loop(backend, model.theta(), options, set.tasks.names, batches, optimizer,
                       *follow, problem, callbacks);
}

/// The training of `fit` step by step: every batch moves the parameters.
template <Backend B, bool GramWanted, class Model, class Weighting>
history fit_steps(const B& backend, Model& model, const typename Model::input_set& inputs,
                  const training_set& set, const training& options,
                  const any_optimizer<B>& optimizer, Weighting& weighting,
                  const std::optional<std::string>& target_task, callback::group& callbacks) {
  const task_selection& tasks = set.tasks;
  const auto train = [&](auto probe) {
    const auto policy = [&] {
      return steer<B, Weighting, GramWanted>(backend, model.theta(), tasks.names, options,
                                             weighting, target_task, probe);
    };
    return fit_batches<B>(backend, model, inputs, set, options, optimizer, policy, callbacks);
  };
  if constexpr (TargetBasedWeighting<Weighting>) {
    const index_t where[] = {
        static_cast<index_t>(weighting::find_target(tasks.names, weighting.target, "weighting"))};
    const task_selection target = tasks.at(where);
    step_probe<B, Model> probe(
        backend, model, inputs, set.labels, tasks, target,
        development_rows(set.labels, static_cast<std::size_t>(target.columns[0]), weighting.target,
                         set.validation_rows, "weighting"),
        random_stream{options.seed, name_hash("development")});
    return train(&probe);
  } else if constexpr (weighting::gram_batches<Weighting> > 1) {
    std::vector<batch_source> sources;
    for (std::size_t k = 1; k < weighting::gram_batches<Weighting>; ++k) {
      training other = options;
      other.seed = random_stream{options.seed, name_hash("further batches")}.fork(k).stream;
      sources.emplace_back(other, set.train_rows, set.labels.rows_of_task());
    }
    further_batches<B, Model, batch_source> further(backend, model, inputs, set.labels, tasks,
                                                    std::move(sources));
    return train(&further);
  } else {
    return train(no_probe);
  }
}

/// `fit` but for the training itself: `train(model, what on)` is that.
template <class Model, class Dataset>
history fit_model(Model& model, const Dataset& data, const training& options,
                  function_ref<history(Model&, const training_set&)> train) {
  options.validate();
  data.check();
  model.check_alignment();
  Model trained = model;
  if (!trained.built()) {
    trained.build(data.inputs.shape(), options.seed);
  }
  trained.check_inputs(data.inputs);
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

  try {
    history result = train(trained, {labels, tasks, train_rows, validation_rows});
    model = std::move(trained);
    return result;
  } catch (const device_error& failure) {
    if (failure.kept_epoch() > 0) {
      model = std::move(trained);
    }
    throw;
  }
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
/// finite; `model` is then unchanged. A device that fails throws vierbein::device_error; `model`
/// then has the best parameters so far, if an epoch could be chosen by validation rows.
template <Backend B, class Model, class Dataset, class Optimizer, class Weighting,
          class... Callbacks>
history fit(const B& backend, Model& model, const Dataset& data, const training& options,
            const Optimizer& optimizer, Weighting weighting, Callbacks... callbacks) {
  using T = typename Model::scalar;
  detail::require_training<B, T, Optimizer, Weighting>();
  history result;
  if constexpr (detail::can_train<B, T, Optimizer, Weighting>) {  // else one sentence is enough
    const auto update = detail::erase_optimizer<B>(optimizer);
    const auto target = detail::target_name(weighting);
    auto policy = detail::of_its_kind(std::move(weighting));
    callback::group all(callbacks...);
    const auto train = [&](Model& trained, const detail::training_set& set) {
      update->validate();
      if constexpr (UpdateBasedWeighting<Weighting>) {
        return detail::run_rounds(backend, trained, data.inputs, set.labels, set.tasks,
                                  set.validation_rows, options, *update, policy, all);
      } else {
        constexpr bool gram_wanted = (callback::wants_gram<Callbacks> || ...);
        return detail::fit_steps<B, gram_wanted>(backend, trained, data.inputs, set, options,
                                                 *update, policy, target, all);
      }
    };
    result = detail::fit_model<Model, Dataset>(model, data, options, train);
  }
  return result;
}

}  // namespace vierbein
