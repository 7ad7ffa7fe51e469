// The loop that all training shares: batches, losses, weights, one sweep, one step, validation.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "vierbein/backend/buffer.hpp"
#include "vierbein/graph/tape.hpp"
#include "vierbein/optimizer/concept.hpp"
#include "vierbein/train/callbacks.hpp"
#include "vierbein/train/history.hpp"
#include "vierbein/train/insight.hpp"
#include "vierbein/train/interrupt.hpp"
#include "vierbein/train/parts.hpp"
#include "vierbein/train/sweep.hpp"
#include "vierbein/train/training.hpp"
#include "vierbein/train/verdict.hpp"
#include "vierbein/weighting/concept.hpp"

namespace vierbein::detail {

/// Mean loss of the tasks that a batch has labels for.
inline double step_loss(std::span<const double> values, std::span<const bool> present) {
  double total = 0;
  double count = 0;
  for (std::size_t t = 0; t < present.size(); ++t) {
    total += present[t] ? values[t] : 0.0;
    count += present[t] ? 1 : 0;
  }
  return count > 0 ? total / count : std::numeric_limits<double>::quiet_NaN();
}

/// Whether parameters of type T can be trained on backend B with this optimizer and weighting.
template <class B, Scalar T, class Optimizer, class Weighting>
inline constexpr bool can_train = std::is_same_v<typename B::scalar, T> &&
                                  vierbein::Optimizer<Optimizer, B> && WeightingPolicy<Weighting>;

/// Refuses to compile, with one sentence, when they cannot.
template <class B, Scalar T, class Optimizer, class Weighting>
consteval void require_training() {
  constexpr bool same_scalar = std::is_same_v<typename B::scalar, T>;
  static_assert(same_scalar,
                "the backend computes with another scalar than the model has parameters");
  constexpr bool optimizer_fits = !same_scalar || vierbein::Optimizer<Optimizer, B>;
  static_assert(optimizer_fits,
                "an optimizer must offer learning_rate, validate() and a nested `template <Backend "
                "B> class state`: see optimizer/concept.hpp");
  weighting::require_policy<Weighting>();
}

/// Makes the tape refuse what is beyond `options.memory_limit`.
template <Backend B>
void limit_memory(graph::tape<B>& tape, const training& options) {
  if (options.memory_limit > 0) {
    tape.limit(options.memory_limit);
  }
}

/// Forgets what was prefetched when a run ends, however it ends: addresses are used again.
template <Backend B>
struct forgets_prefetched {
  const B& device;
  explicit forgets_prefetched(const B& on) : device(on) {}
  forgets_prefetched(const forgets_prefetched&) = delete;
  forgets_prefetched& operator=(const forgets_prefetched&) = delete;
  ~forgets_prefetched() {
    if constexpr (backend::prefetches<B>) {
      device.forget_prefetched();
    }
  }
};

/// The epochs of training_loop. `best` becomes the parameters of the best one so far, that of
/// result.best_epoch, where rows are there to choose it by.
template <Backend B>
void train_epochs(const B& device, const parameters<typename B::scalar>& theta,
                  const training& options, const std::vector<std::string>& names,
                  batch_order& batches, const any_optimizer<B>& optimizer, steering<B>& weighting,
                  training_problem<B>& problem, callback::group& callbacks, history& result,
                  aligned_vector<typename B::scalar>& best) {
  using T = typename B::scalar;
  const auto count = static_cast<index_t>(names.size());
  const std::optional<std::size_t> target = weighting.target();
  backend::buffer<B> parameters_on_device(device, theta.size());
  parameters_on_device.assign(device, theta.values());
  graph::tape<B> tape(device);
  limit_memory(tape, options);
  tape.bind(theta.segments(), parameters_on_device.view());
  const auto ranges = trainable_ranges(theta);
  const auto update = optimizer.state(device, theta.size());

  const forgets_prefetched<B> at_the_end{device};

  std::vector<graph::var<B>> scalars(names.size() + 1);
  std::vector<double> values(names.size() + 1);
  std::vector<double> totals(names.size());
  std::vector<double> weight_totals(names.size());
  std::vector<index_t> seen(names.size());
  std::vector<double> means(names.size());
  verdict best_verdict = verdict::worst();

  std::optional<interrupt_guard> guard;
  if (options.handle_interrupts) {
    guard.emplace();
  }
  result.task_names = names;
  progress_info info;
  info.epochs = options.epochs;
  info.steps = batches.batches();
  info.tasks = names;
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  callbacks.on_begin(info);

  const random_stream stream{options.seed, name_hash("training")};
  bool go_on = true;
  for (index_t epoch = 0; epoch < options.epochs && go_on; ++epoch) {
    const double epoch_start = elapsed();
    batches.begin_epoch(epoch);
    weighting.begin_epoch(epoch);
    std::fill(totals.begin(), totals.end(), 0.0);
    std::fill(weight_totals.begin(), weight_totals.end(), 0.0);
    std::fill(seen.begin(), seen.end(), 0);
    double alignment_total = 0;
    double conflicts = 0;
    index_t pairs_seen = 0;
    double iterations = 0;
    index_t aligned_steps = 0;
    double rate = 1;
    const index_t steps = batches.batches();
    for (index_t i = 0; i < steps && go_on; ++i) {
      const double progress =
          (static_cast<double>(epoch) + static_cast<double>(i) / static_cast<double>(steps)) /
          static_cast<double>(options.epochs);
      rate = options.schedule ? options.schedule(progress) : 1.0;
      const auto step_stream = stream.fork(static_cast<std::uint64_t>(epoch * steps + i));
      tape.begin(graph::mode::training, step_stream);
      weighting.begin_step(parameters_on_device.view(), batches.batch(i), i, step_stream);
      const step_losses<B> losses_now = problem.record(tape, batches.batch(i));
      std::copy(losses_now.tasks.begin(), losses_now.tasks.end(), scalars.begin());
      const std::size_t known = losses_now.alignment ? names.size() + 1 : names.size();
      scalars[names.size()] = losses_now.alignment;
      const auto to_read = std::span<const graph::var<B>>(scalars).first(known);
      const auto read_values = std::span(values).first(known);
      const auto require_finite_losses = [&] {
        for (std::size_t t = 0; t < known; ++t) {
          if (!std::isfinite(values[t])) {
            throw error("training",
                        formatted("the loss of {} is not finite in epoch {}, step {}: a smaller "
                                  "learning rate may help",
                                  t < names.size() ? "task '" + names[t] + "'" : "the alignment",
                                  epoch + 1, i + 1));
          }
        }
      };
      const bool read_first = weighting.uses_losses();
      if (read_first) {
        tape.read(to_read, read_values);
        require_finite_losses();
      } else {
        std::fill(values.begin(), values.end(), std::numeric_limits<double>::quiet_NaN());
      }
      const losses now{std::span(values).first(names.size()), losses_now.present};
      weighting.sweep(tape, losses_now, now, {epoch + 1, i + 1});
      if (i + 1 < steps && !weighting.observes()) {  // else this batch comes once more
        problem.prepare(device, batches.batch(i + 1));
      }
      double squared_norm = 0;
      if (read_first) {
        squared_norm = device.squared_norm(weighting.gradient());
      } else {
        squared_norm = tape.read(to_read, read_values, weighting.gradient());
        require_finite_losses();
      }
      const double norm = std::sqrt(squared_norm);
      if (!std::isfinite(norm)) {
        const std::string of = weighting.culprit(tape, losses_now, now);
        throw error("training",
                    formatted("the gradient{} is not finite in epoch {}, step {}: a "
                              "smaller learning rate may help",
                              of.empty() ? "" : " of task '" + of + "'", epoch + 1, i + 1));
      }
      const bool too_long = options.clip_norm > 0 && norm > options.clip_norm;
      update->step(parameters_on_device.view(), weighting.gradient(),
                   too_long ? options.clip_norm / norm : 1.0, rate, ranges);
      callbacks.on_weights({.epoch = epoch + 1,
                            .step = i + 1,
                            .names = names,
                            .values = now,
                            .weights = weighting.weights(),
                            .gram = weighting.gram(),
                            .iterations = weighting.iterations()});
      iterations += static_cast<double>(weighting.iterations());
      if (const double share = conflict_share(now, weighting.gram()); !std::isnan(share)) {
        conflicts += share;
        ++pairs_seen;
      }
      for (std::size_t t = 0; t < names.size(); ++t) {
        if (losses_now.present[t]) {
          totals[t] += values[t];
          weight_totals[t] += weighting.weights()[t];
          ++seen[t];
        }
      }
      if (losses_now.alignment) {
        alignment_total += values[names.size()];
        ++aligned_steps;
      }
      info.loss = step_loss(values, losses_now.present);
      if (weighting.observes()) {  // the same batch again, with the same random numbers
        tape.begin(graph::mode::training, step_stream);
        const step_losses<B> after = problem.record(tape, batches.batch(i));
        tape.read(after.tasks, std::span(values).first(names.size()));
        weighting.observe({std::span(values).first(names.size()), after.present});
      }
      info.epoch = epoch;
      info.step = i + 1;
      info.elapsed = elapsed();
      info.left = info.elapsed * (1 / info.fraction() - 1);
      callbacks.on_step(info);
      if (interrupt_guards > 0 && interrupted()) {
        result.interrupted = true;
        go_on = false;
      }
    }

    epoch_record record;
    record.epoch = epoch + 1;
    record.learning_rate = optimizer.learning_rate() * rate;
    if (aligned_steps > 0) {
      record.alignment_loss = alignment_total / static_cast<double>(aligned_steps);
    }
    if (pairs_seen > 0) {
      record.conflict_share = conflicts / static_cast<double>(pairs_seen);
    }
    record.solver_iterations = iterations / static_cast<double>(std::max<index_t>(1, info.step));
    for (std::size_t t = 0; t < names.size(); ++t) {
      const auto n = static_cast<double>(seen[t]);
      means[t] = seen[t] > 0 ? totals[t] / n : std::numeric_limits<double>::quiet_NaN();
      record.weights.push_back(seen[t] > 0 ? weight_totals[t] / n : 0.0);
      record.train_loss += seen[t] > 0 ? means[t] / static_cast<double>(count) : 0.0;
    }
    record.task_losses = means;
    weighting.end_epoch(means);
    const std::vector<verdict> held_out = problem.validate(tape);
    result.step_bytes = tape.most_taken();
    record.validation_loss = std::numeric_limits<double>::quiet_NaN();
    if (!held_out.empty()) {
      const verdict now = target ? held_out[*target] : verdict::mean(held_out);
      record.validation_loss = now.loss;
      record.validation_score = now.score;
      if (now.better(best_verdict, options.best)) {
        best_verdict = now;
        result.best_epoch = epoch + 1;
        best.resize(static_cast<std::size_t>(theta.size()));
        parameters_on_device.copy_to(device, {best.data(), theta.size()});
      }
    }
    if (best.empty()) {  // no validation, or without any label: the last epoch is kept
      result.best_epoch = epoch + 1;
    }
    record.seconds = elapsed() - epoch_start;
    result.epochs.push_back(std::move(record));
    info.epoch = epoch + 1;
    info.step = 0;
    info.loss = result.epochs.back().train_loss;
    go_on = callbacks.on_epoch(result, info) && go_on;
  }
  if (best.empty()) {
    best.resize(static_cast<std::size_t>(theta.size()));
    parameters_on_device.copy_to(device, {best.data(), theta.size()});
  }
  require(std::ranges::all_of(best, [](T v) { return std::isfinite(v); }), "training",
          "the parameters are not finite after epoch {}: a smaller learning rate may help",
          result.best_epoch);
}

/// Trains θ in place. Where `problem` validates, the parameters of the epoch with the best mean
/// verdict of the tasks are kept (of the target's, where the policy serves one; those of the last
/// epoch with best_by::last). Throws when a loss, a gradient, or a parameter that would be kept, is
/// not finite; θ is then unchanged. When a device fails, θ becomes the best so far, if there is
/// one.
template <Backend B>
history training_loop(const B& device, parameters<typename B::scalar>& theta,
                      const training& options, const std::vector<std::string>& names,
                      batch_order& batches, const any_optimizer<B>& optimizer,
                      steering<B>& weighting, training_problem<B>& problem,
                      callback::group& callbacks) {
  history result;
  aligned_vector<typename B::scalar> best;
  try {
    train_epochs(device, theta, options, names, batches, optimizer, weighting, problem, callbacks,
                 result, best);
  } catch (device_error& failure) {
    if (!best.empty()) {
      theta.restore(best);
      failure.keep(result.best_epoch);
    }
    throw;
  }
  theta.restore(best);
  callbacks.on_end(result);
  return result;
}

/// The same for parts of certain types: `step(tape, rows)` records the losses of a batch,
/// `validate(tape)` returns each task's verdict on the validation rows (an empty vector for no
/// validation at all). `probe` serves what the policy asks for beyond a step: a step_probe,
/// further_batches or no_probe.
template <Backend B, class Sampler, class Optimizer, class Weighting, class Step, class Validate,
          class Probe, class... Callbacks>
history run_training(const B& device, parameters<typename B::scalar>& theta,
                     const training& options, const std::vector<std::string>& names,
                     Sampler& batches, const Optimizer& optimizer, Weighting& weighting,
                     Step&& step, Validate&& validate, Probe probe, Callbacks&... callbacks) {
  const auto update = erase_optimizer<B>(optimizer);
  update->validate();
  const auto follow = steer<B, Weighting, (callback::wants_gram<Callbacks> || ...)>(
      device, theta, names, options, weighting, target_name(weighting), probe);
  batch_order_of order(batches);
  training_problem_of<B, std::remove_reference_t<Step>, std::remove_reference_t<Validate>> problem(
      step, validate);
  callback::group all(callbacks...);
  return training_loop(device, theta, options, names, order, *update, *follow, problem, all);
}

}  // namespace vierbein::detail
