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
#include "vierbein/core/matrix.hpp"
#include "vierbein/graph/tape.hpp"
#include "vierbein/optimizer/concept.hpp"
#include "vierbein/train/callbacks.hpp"
#include "vierbein/train/history.hpp"
#include "vierbein/train/interrupt.hpp"
#include "vierbein/train/training.hpp"
#include "vierbein/weighting/concept.hpp"

namespace vierbein::detail {

/// What a training step records: a loss and the predictions a task, which of them the batch has
/// labels for, and the alignment loss, if any.
template <Backend B>
struct step_losses {
  std::span<const graph::var<B>> tasks;
  std::span<const graph::var<B>> predictions;
  std::span<const bool> present;
  graph::var<B> alignment;
};

/// How good a task is on some rows: its mean loss, and a score that is larger when it is better.
/// Both are NaN when the rows have no label of it.
struct verdict {
  double loss = std::numeric_limits<double>::quiet_NaN();
  double score = std::numeric_limits<double>::quiet_NaN();

  /// Whether this is better than `other` by what is asked for. NaN is never better.
  [[nodiscard]] bool better(const verdict& other, best_by by) const {
    if (by == best_by::score && !(score == other.score)) {
      return score > other.score;
    }
    return loss < other.loss;
  }
  /// The mean of those that have labels; worse than all others when none has any.
  static verdict mean(std::span<const verdict> all) {
    verdict sum{0, 0};
    double present = 0;
    for (const verdict& v : all) {
      if (!std::isnan(v.loss)) {
        sum.loss += v.loss;
        sum.score += v.score;
        ++present;
      }
    }
    return {sum.loss / present, sum.score / present};
  }
  /// Worse than every other.
  static constexpr verdict worst() {
    return {std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()};
  }
};

/// Contiguous ranges of the parameters that are not frozen and whose name is `wanted`, padding
/// included.
template <Scalar T, class Wanted>
std::vector<range> trainable_ranges(const parameters<T>& theta, Wanted&& wanted) {
  std::vector<range> ranges;
  const auto& segments = theta.segments();
  for (std::size_t i = 0; i < segments.size(); ++i) {
    if (segments[i].frozen || !wanted(segments[i].name)) {
      continue;
    }
    const index_t end = i + 1 < segments.size() ? segments[i + 1].offset : theta.size();
    if (!ranges.empty() && ranges.back().offset + ranges.back().size == segments[i].offset) {
      ranges.back().size = end - ranges.back().offset;
    } else {
      ranges.push_back({segments[i].offset, end - segments[i].offset});
    }
  }
  return ranges;
}
template <Scalar T>
std::vector<range> trainable_ranges(const parameters<T>& theta) {
  return trainable_ranges(theta, [](const std::string&) { return true; });
}

/// Gives a gradient of Σ w_t ∇ℓ_t + ∇alignment, as the kind of weighting policy asks for it.
template <Backend B, class Weighting>
class weighted_sweep {
 public:
  using scalar = typename B::scalar;
  using space = typename B::space;

  static constexpr bool uses_gram =
      GramBasedWeighting<Weighting> || TargetBasedWeighting<Weighting>;

  /// `compared` are the parameters whose gradients make up G.
  weighted_sweep(const B& backend, index_t tasks, index_t size, std::span<const range> compared)
      : backend_(backend),
        tasks_(tasks),
        compared_(compared.begin(), compared.end()),
        gradient_(backend, size),
        weights_(static_cast<std::size_t>(tasks), 1.0),
        seeds_(static_cast<std::size_t>(tasks) + 1) {
    if constexpr (uses_gram) {
      jacobian_ = backend::buffer<B>(backend, (tasks + 1) * size);
      gram_ = backend::buffer<B>(backend, tasks * tasks);
      host_gram_ = matrix<double>(tasks, tasks);
      row_weights_ = backend::buffer<B>(backend, tasks + 1);
      host_row_weights_.resize(static_cast<std::size_t>(tasks) + 1);
    }
  }

  [[nodiscard]] array_view<scalar, space> gradient() const { return gradient_.view(); }
  [[nodiscard]] std::span<const double> weights() const { return weights_; }

  template <class Probe>
  void operator()(graph::tape<B>& tape, const step_losses<B>& step, losses values,
                  Weighting& weighting, Probe probe) {
    std::size_t count = 0;
    const index_t size = gradient_.view().size;
    if constexpr (LossBasedWeighting<Weighting>) {
      weighting.weigh(values, weights_);
      for (std::size_t t = 0; t < step.tasks.size(); ++t) {
        if (values.has(t)) {
          seeds_[count++] = {step.tasks[t], weights_[t], 0};
        }
      }
      if (step.alignment) {
        seeds_[count++] = {step.alignment, 1.0, 0};
      }
      tape.backward(std::span(seeds_).first(count), gradient_.row());
    } else {
      // One row a task, swept together; G = J Jᵀ; then the combination of the rows.
      for (std::size_t t = 0; t < step.tasks.size(); ++t) {
        if (values.has(t)) {
          seeds_[count++] = {step.tasks[t], 1.0, static_cast<index_t>(t)};
        }
      }
      if (step.alignment) {
        seeds_[count++] = {step.alignment, 1.0, tasks_};
      }
      const matrix_view<scalar, space> j(jacobian_.view().data, tasks_ + 1, size);
      tape.backward(std::span(seeds_).first(count), j);
      const matrix_view<scalar, space> g(gram_.view().data, tasks_, tasks_);
      const auto rows = j.row_range(0, tasks_);
      bool more = false;
      for (const range& r : compared_) {
        const auto part = rows.col_range(r.offset, r.size);
        multiply(backend::transposition::nt, part, part, g, more);
        more = true;
      }
      backend_.download(matrix_view<const scalar, space>(g), host_gram_.view());
      const gram_matrix gram(host_gram_.view());
      if constexpr (TargetBasedWeighting<Weighting>) {
        probe->set_gradients(rows);
        weighting.weigh(values, gram, *probe, weights_);
      } else {
        weighting.weigh(values, gram, weights_);
      }
      for (std::size_t t = 0; t < weights_.size(); ++t) {
        host_row_weights_[t] = static_cast<scalar>(weights_[t]);
      }
      host_row_weights_.back() = scalar{1};
      row_weights_.assign(backend_, {host_row_weights_.data(), tasks_ + 1});
      multiply(backend::transposition::nn, row_weights_.row(), j, gradient_.row(), false);
    }
  }

 private:
  void multiply(backend::transposition kind, matrix_view<const scalar, space> a,
                matrix_view<const scalar, space> b, matrix_view<scalar, space> c, bool accumulate) {
    const backend::product<scalar, space> p{a, b, c};
    backend_.multiply(kind, {&p, 1}, accumulate);
  }

  const B& backend_;
  index_t tasks_;
  std::vector<range> compared_;
  backend::buffer<B> gradient_;
  std::vector<double> weights_;
  std::vector<graph::seed<B>> seeds_;
  backend::buffer<B> jacobian_, gram_, row_weights_;
  matrix<double> host_gram_;
  std::vector<scalar> host_row_weights_;
};

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

/// Whose gradients say how tasks agree: the parameters of the shared trunk, or all of them where
/// the trunk has none.
template <Scalar T>
std::vector<range> compared_ranges(const parameters<T>& theta) {
  const auto shared =
      trainable_ranges(theta, [](const std::string& name) { return name.starts_with("trunk/"); });
  return shared.empty() ? trainable_ranges(theta) : shared;
}

/// For weighting policies that ask nothing about a target.
inline constexpr std::nullptr_t no_probe = nullptr;

/// Trains θ in place. `step(tape, rows)` records the losses of a batch, `validate(tape)` returns
/// each task's verdict on the validation rows (an empty vector for no validation at all). When
/// there is validation, the parameters of the epoch with the best mean of them are kept. Throws
/// when a loss, or a parameter that would be kept, is not finite; θ is then unchanged.
template <Backend B, Scalar T, class Sampler, class Optimizer, class Weighting, class Step,
          class Validate, class Probe, class... Callbacks>
history run_training(const B& device, parameters<T>& theta, const training& options,
                     const std::vector<std::string>& names, Sampler& batches,
                     const Optimizer& optimizer, Weighting& weighting, Step&& step,
                     Validate&& validate, Probe probe, Callbacks&... callbacks) {
  optimizer.validate();
  const auto count = static_cast<index_t>(names.size());
  weighting::reset(weighting, names);
  std::optional<std::size_t> target;
  if constexpr (weighting::HasTarget<Weighting>) {
    target = weighting::find_target(names, weighting.target, "weighting");
  }

  backend::buffer<B> parameters_on_device(device, theta.size());
  parameters_on_device.assign(device, theta.values());
  graph::tape<B> tape(device);
  tape.bind(theta.segments(), parameters_on_device.view());
  const auto ranges = trainable_ranges(theta);
  weighted_sweep<B, Weighting> sweep(device, count, theta.size(), compared_ranges(theta));
  typename Optimizer::template state<B> update(optimizer, device, theta.size());

  std::vector<graph::var<B>> scalars(names.size() + 1);
  std::vector<double> values(names.size() + 1);
  std::vector<double> totals(names.size());
  std::vector<double> weight_totals(names.size());
  std::vector<index_t> seen(names.size());
  std::vector<double> means(names.size());
  aligned_vector<T> best;
  verdict best_verdict = verdict::worst();

  std::optional<interrupt_guard> guard;
  if (options.handle_interrupts) {
    guard.emplace();
  }
  history result;
  result.task_names = names;
  progress_info info;
  info.epochs = options.epochs;
  info.steps = batches.batches();
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  (callback::require_callback<Callbacks>(), ...);
  callback::begin(info, callbacks...);

  const random_stream stream{options.seed, name_hash("training")};
  bool go_on = true;
  for (index_t epoch = 0; epoch < options.epochs && go_on; ++epoch) {
    const double epoch_start = elapsed();
    batches.begin_epoch(epoch);
    std::fill(totals.begin(), totals.end(), 0.0);
    std::fill(weight_totals.begin(), weight_totals.end(), 0.0);
    std::fill(seen.begin(), seen.end(), 0);
    double alignment_total = 0;
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
      if constexpr (TargetBasedWeighting<Weighting>) {
        probe->begin(parameters_on_device.view(), batches.batch(i), step_stream);
      }
      const step_losses<B> losses_now = step(tape, batches.batch(i));
      std::copy(losses_now.tasks.begin(), losses_now.tasks.end(), scalars.begin());
      const std::size_t known = losses_now.alignment ? names.size() + 1 : names.size();
      scalars[names.size()] = losses_now.alignment;
      tape.read(std::span(scalars).first(known), std::span(values).first(known));
      for (std::size_t t = 0; t < known; ++t) {
        if (!std::isfinite(values[t])) {
          throw error("training",
                      fmt::format("the loss of {} is not finite in epoch {}, step {}: a smaller "
                                  "learning rate may help",
                                  t < names.size() ? "task '" + names[t] + "'" : "the alignment",
                                  epoch + 1, i + 1));
        }
      }
      sweep(tape, losses_now, {std::span(values).first(names.size()), losses_now.present},
            weighting, probe);
      double scale = 1;
      if (options.clip_norm > 0) {
        const double norm = std::sqrt(device.squared_norm(sweep.gradient()));
        scale = norm > options.clip_norm ? options.clip_norm / norm : 1.0;
      }
      update.step(parameters_on_device.view(), sweep.gradient(), scale, rate, ranges);

      for (std::size_t t = 0; t < names.size(); ++t) {
        if (losses_now.present[t]) {
          totals[t] += values[t];
          weight_totals[t] += sweep.weights()[t];
          ++seen[t];
        }
      }
      if (losses_now.alignment) {
        alignment_total += values[names.size()];
        ++aligned_steps;
      }
      info.epoch = epoch;
      info.step = i + 1;
      info.elapsed = elapsed();
      info.left = info.elapsed * (1 / info.fraction() - 1);
      info.loss = step_loss(values, losses_now.present);
      callback::step(info, callbacks...);
      if (interrupt_guards > 0 && interrupted()) {
        result.interrupted = true;
        go_on = false;
      }
    }

    epoch_record record;
    record.epoch = epoch + 1;
    record.learning_rate = optimizer.learning_rate * rate;
    if (aligned_steps > 0) {
      record.alignment_loss = alignment_total / static_cast<double>(aligned_steps);
    }
    for (std::size_t t = 0; t < names.size(); ++t) {
      const auto n = static_cast<double>(seen[t]);
      means[t] = seen[t] > 0 ? totals[t] / n : std::numeric_limits<double>::quiet_NaN();
      record.weights.push_back(seen[t] > 0 ? weight_totals[t] / n : 0.0);
      record.train_loss += seen[t] > 0 ? means[t] / static_cast<double>(count) : 0.0;
    }
    record.task_losses = means;
    if constexpr (requires { weighting.end_epoch(std::span<const double>(means)); }) {
      weighting.end_epoch(std::span<const double>(means));
    }
    const std::vector<verdict> held_out = validate(tape);
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
    go_on = callback::epoch(result, info, callbacks...) && go_on;
  }
  if (best.empty()) {
    best.resize(static_cast<std::size_t>(theta.size()));
    parameters_on_device.copy_to(device, {best.data(), theta.size()});
  }
  require(std::ranges::all_of(best, [](T v) { return std::isfinite(v); }), "training",
          "the parameters are not finite after epoch {}: a smaller learning rate may help",
          result.best_epoch);
  theta.restore(best);
  callback::end(result, callbacks...);
  return result;
}

}  // namespace vierbein::detail
