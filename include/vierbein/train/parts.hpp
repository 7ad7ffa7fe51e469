// The parts of a training run behind virtual functions.
//
// Model, sampler, optimiser, weighting policy and callbacks can be combined in thousands of ways. A
// loop that has all five in its type is compiled for each of them; this one is compiled once, and
// each part once by itself. A step makes some ten virtual calls, which take nanoseconds.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "vierbein/optimizer/concept.hpp"
#include "vierbein/train/sweep.hpp"
#include "vierbein/train/training.hpp"
#include "vierbein/train/verdict.hpp"
#include "vierbein/weighting/any.hpp"
#include "vierbein/weighting/concept.hpp"

namespace vierbein::detail {

// ---- which rows make a batch

/// The state of a sampler.
class batch_order {
 public:
  virtual ~batch_order() = default;
  virtual void begin_epoch(index_t epoch) = 0;
  [[nodiscard]] virtual index_t batches() const = 0;
  [[nodiscard]] virtual std::span<const index_t> batch(index_t i) const = 0;
};

template <class State>
class batch_order_of final : public batch_order {
 public:
  explicit batch_order_of(State& state) : state_(state) {}
  void begin_epoch(index_t epoch) override { state_.begin_epoch(epoch); }
  [[nodiscard]] index_t batches() const override { return state_.batches(); }
  [[nodiscard]] std::span<const index_t> batch(index_t i) const override { return state_.batch(i); }

 private:
  State& state_;
};

// ---- what a batch's losses are

/// The tasks of a model on some data.
template <Backend B>
class training_problem {
 public:
  virtual ~training_problem() = default;
  /// Records the losses of a batch.
  virtual step_losses<B> record(graph::tape<B>& tape, std::span<const index_t> rows) = 0;
  /// Another batch will be recorded next: a device may be given it while it computes.
  virtual void prepare(const B& /*device*/, std::span<const index_t> /*rows*/) {}
  /// Each task's verdict on the validation rows; nothing where there are none.
  virtual std::vector<verdict> validate(graph::tape<B>& tape) = 0;
};

/// One from two functions.
template <Backend B, class Step, class Validate>
class training_problem_of final : public training_problem<B> {
 public:
  training_problem_of(Step& step, Validate& validate) : step_(step), validate_(validate) {}
  step_losses<B> record(graph::tape<B>& tape, std::span<const index_t> rows) override {
    return step_(tape, rows);
  }
  std::vector<verdict> validate(graph::tape<B>& tape) override { return validate_(tape); }

 private:
  Step& step_;
  Validate& validate_;
};

// ---- how the parameters follow

/// The state of an optimiser.
template <Backend B>
class optimizer_state {
 public:
  using scalar = typename B::scalar;
  using space = typename B::space;

  virtual ~optimizer_state() = default;
  /// See optimizer/concept.hpp.
  virtual void step(array_view<scalar, space> theta, array_view<const scalar, space> gradient,
                    double scale, double rate_factor, std::span<const range> trainable) = 0;
};

/// An optimiser on a backend.
template <Backend B>
class any_optimizer {
 public:
  virtual ~any_optimizer() = default;
  virtual void validate() const = 0;
  [[nodiscard]] virtual double learning_rate() const = 0;
  [[nodiscard]] virtual std::unique_ptr<optimizer_state<B>> state(const B& device,
                                                                  index_t size) const = 0;
};

template <Backend B, class Optimizer>
class any_optimizer_of final : public any_optimizer<B> {
 public:
  explicit any_optimizer_of(const Optimizer& optimizer) : optimizer_(optimizer) {}
  void validate() const override { optimizer_.validate(); }
  [[nodiscard]] double learning_rate() const override { return optimizer_.learning_rate; }
  [[nodiscard]] std::unique_ptr<optimizer_state<B>> state(const B& device,
                                                          index_t size) const override {
    return std::make_unique<state_of>(optimizer_, device, size);
  }

 private:
  class state_of final : public optimizer_state<B> {
   public:
    using typename optimizer_state<B>::scalar;
    using typename optimizer_state<B>::space;
    state_of(const Optimizer& optimizer, const B& device, index_t size)
        : state_(optimizer, device, size) {}
    void step(array_view<scalar, space> theta, array_view<const scalar, space> gradient,
              double scale, double rate_factor, std::span<const range> trainable) override {
      state_.step(theta, gradient, scale, rate_factor, trainable);
    }

   private:
    typename Optimizer::template state<B> state_;
  };

  const Optimizer& optimizer_;
};

/// Refers to `optimizer`, which must outlive it.
template <Backend B, class Optimizer>
std::unique_ptr<any_optimizer<B>> erase_optimizer(const Optimizer& optimizer) {
  return std::make_unique<any_optimizer_of<B, Optimizer>>(optimizer);
}

// ---- what the parameters follow

/// A weighting policy, its sweep, and what it asks for beyond a step.
template <Backend B>
class steering {
 public:
  using flat_view = array_view<typename B::scalar, typename B::space>;

  virtual ~steering() = default;
  /// The task that the policy serves, if there is one.
  [[nodiscard]] virtual std::optional<std::size_t> target() const = 0;
  virtual void begin_epoch(index_t epoch) = 0;
  /// Whether `sweep` looks at the losses' values.
  [[nodiscard]] virtual bool uses_losses() const = 0;
  /// Step i of the epoch begins at θ with the batch `rows`.
  virtual void begin_step(flat_view theta, std::span<const index_t> rows, index_t i,
                          random_stream stream) = 0;
  /// See weighted_sweep.
  virtual void sweep(graph::tape<B>& tape, const step_losses<B>& step, losses values,
                     step_place place) = 0;
  [[nodiscard]] virtual flat_view gradient() const = 0;
  [[nodiscard]] virtual std::span<const double> weights() const = 0;
  [[nodiscard]] virtual gram_matrix gram() const = 0;
  [[nodiscard]] virtual std::string culprit(graph::tape<B>& tape, const step_losses<B>& step,
                                            losses values) = 0;
  /// See weighting/concept.hpp.
  [[nodiscard]] virtual std::size_t iterations() const = 0;
  [[nodiscard]] virtual bool observes() const = 0;
  virtual void observe(losses after) = 0;
  virtual void end_epoch(std::span<const double> means) = 0;
};

template <Backend B, class Weighting, bool GramWanted, class Probe>
class steering_of final : public steering<B> {
 public:
  using typename steering<B>::flat_view;

  steering_of(const B& device, const parameters<typename B::scalar>& theta,
              const std::vector<std::string>& names, const training& options, Weighting& weighting,
              const std::optional<std::string>& target, Probe probe)
      : weighting_((weighting::reset(weighting, names), weighting)),
        probe_(probe),
        sweep_(device, theta, names, options) {
    if (target) {
      target_ = weighting::find_target(names, *target, "weighting");
    }
    sweep_.describe(weighting_, theta.segments());
  }

  [[nodiscard]] std::optional<std::size_t> target() const override { return target_; }
  void begin_epoch([[maybe_unused]] index_t epoch) override {
    if constexpr (weighting::gram_batches<Weighting> > 1) {
      probe_->begin_epoch(epoch);
    }
  }
  [[nodiscard]] bool uses_losses() const override { return weighting::uses_losses(weighting_); }
  void begin_step([[maybe_unused]] flat_view theta, [[maybe_unused]] std::span<const index_t> rows,
                  [[maybe_unused]] index_t i, [[maybe_unused]] random_stream stream) override {
    if constexpr (TargetBasedWeighting<Weighting>) {
      probe_->begin(theta, rows, stream);
    } else if constexpr (weighting::gram_batches<Weighting> > 1) {
      probe_->begin(theta, i, stream);
    }
  }
  void sweep(graph::tape<B>& tape, const step_losses<B>& step, losses values,
             step_place place) override {
    sweep_(tape, step, values, weighting_, probe_, place);
  }
  [[nodiscard]] flat_view gradient() const override { return sweep_.gradient(); }
  [[nodiscard]] std::span<const double> weights() const override { return sweep_.weights(); }
  [[nodiscard]] gram_matrix gram() const override { return sweep_.gram(); }
  [[nodiscard]] std::string culprit(graph::tape<B>& tape, const step_losses<B>& step,
                                    losses values) override {
    return sweep_.culprit(tape, step, values);
  }
  [[nodiscard]] std::size_t iterations() const override {
    return weighting::iterations(weighting_);
  }
  [[nodiscard]] bool observes() const override {
    if constexpr (weighting::Observes<Weighting>) {
      return weighting::observes(weighting_);
    } else {
      return false;
    }
  }
  void observe([[maybe_unused]] losses after) override {
    if constexpr (weighting::Observes<Weighting>) {
      weighting_.observe(after);
    }
  }
  void end_epoch([[maybe_unused]] std::span<const double> means) override {
    if constexpr (requires { weighting_.end_epoch(means); }) {
      weighting_.end_epoch(means);
    }
  }

 private:
  Weighting& weighting_;
  Probe probe_;
  std::optional<std::size_t> target_;
  weighted_sweep<B, Weighting, GramWanted> sweep_;
};

/// The name of the task that a policy serves, if it serves one.
template <class Weighting>
std::optional<std::string> target_name([[maybe_unused]] const Weighting& weighting) {
  if constexpr (weighting::HasTarget<Weighting>) {
    return weighting::target_of(weighting);
  } else {
    return {};
  }
}

/// The policy as an any of its kind: a run is then compiled once for a kind and not for each of its
/// policies. One of the kind gradient_based stays what it is, since some need fixed columns.
template <class Weighting>
auto of_its_kind(Weighting weighting) {
  if constexpr (GradientBasedWeighting<Weighting>) {
    return weighting;
  } else {
    using kind = typename Weighting::weighting_kind;
    using any = weighting::any<kind, weighting::gram_batches<Weighting>>;
    if constexpr (std::is_same_v<Weighting, any>) {
      return weighting;
    } else {
      return any(std::move(weighting));
    }
  }
}

/// A new run of `weighting`, which must outlive it, as must all other arguments but the target.
/// With `GramWanted` the Gramian is formed even where the policy does not look at it; `probe` is a
/// step_probe, further_batches or no_probe.
template <Backend B, class Weighting, bool GramWanted, class Probe>
std::unique_ptr<steering<B>> steer(const B& device, const parameters<typename B::scalar>& theta,
                                   const std::vector<std::string>& names, const training& options,
                                   Weighting& weighting, const std::optional<std::string>& target,
                                   Probe probe) {
  return std::make_unique<steering_of<B, Weighting, GramWanted, Probe>>(
      device, theta, names, options, weighting, target, probe);
}

}  // namespace vierbein::detail
