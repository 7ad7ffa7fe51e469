// Gradients of one length, longer for tasks that train slowly.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/present_tasks.hpp"
#include "vierbein/weighting/traits.hpp"

namespace vierbein::weighting {

/// GradNorm (Chen, Badrinarayanan, Lee and Rabinovich 2018). With n_t = ‖g_t‖, the relative
/// training rate r_t = (ℓ_t / ℓ⁰_t) / mean_s(ℓ_s / ℓ⁰_s) and the target length n̄ r_t^α, n̄ = mean_s
/// w_s n_s held constant, the weights follow the slope of Σ_t |w_t n_t - n̄ r_t^α|,
///     ∂/∂w_t = n_t sign(w_t n_t - n̄ r_t^α),
/// and always Σ w_t = T. `weigh` answers with the present weights, 1 at first, and then moves them
/// by one step of `optimiser`, on w itself with w brought back to the sum T (`weights_as::numbers`,
/// as the paper and AuxiLearn) or on v with w = T softmax(v) (`weights_as::softmax`, as LibMTL),
///     ∂/∂v_k = w_k (∂/∂w_k - Σ_t w_t ∂/∂w_t / T).
/// ℓ⁰ is the loss when the task is first seen (`baseline::first_step`, the paper) or its mean over
/// the first epoch, during which w = 1 (`baseline::first_epoch`, LibMTL).
///
/// Defaults: α = 1.5, learning rate 0.025 and Adam, as the paper. LibMTL: α = 1.5, softmax, first
/// epoch; Samsung's code: α = 2. Peers train w with the model's optimiser; here it has its own.
/// Adam's steps do not depend on the unit of J, those of plain descent (`optimiser::sgd`) do.
/// Deviations: a weight does not fall below `smallest`; tasks that are absent keep theirs and do
/// not count in the means. Losses must be positive.
struct gradnorm {
  using weighting_kind = gram_based;
  enum class weights_as { numbers, softmax };
  enum class baseline { first_step, first_epoch };
  enum class optimiser { adam, sgd };

  double alpha = 1.5;
  double learning_rate = 0.025;
  weights_as parameters = weights_as::numbers;
  baseline reference = baseline::first_step;
  optimiser method = optimiser::adam;
  double smallest = 1e-3;

  /// What is remembered of one task.
  struct memory {
    double w = 1;
    double v = 0;           ///< with weights_as::softmax
    double first_loss = 0;  ///< ℓ⁰, 0 before it is known
    adam_moments moments = {};
  };
  present_tasks tasks = {};
  std::vector<memory> state = {};  ///< filled by `reset` or by the first `weigh`
  std::vector<double> lengths = {}, rates = {}, slopes = {};

  static gradnorm libmtl() {
    return {.parameters = weights_as::softmax, .reference = baseline::first_epoch};
  }

  [[nodiscard]] weighting_traits traits() const {
    return {.permutation_invariant = true, .stateful = true, .scale = weight_scale::sum};
  }

  /// Begins again. Throws for an unusable option.
  void reset(const std::vector<std::string>& names) {
    tasks.begin(names);
    begin(names.size());
  }

  void weigh(losses l, gram_matrix g, weights w) {
    constexpr const char* place = "weighting::gradnorm";
    if (state.empty()) {
      begin(l.size());
    }
    require(state.size() == l.size(), place, "made for {} tasks, but given {} losses; call reset",
            state.size(), l.size());
    tasks.weigh(l, g, w, place, [&](std::span<const double> loss, gram_matrix gram, weights out) {
      bool known = true;
      for (std::size_t i = 0; i < loss.size(); ++i) {
        memory& task = state[tasks[i]];
        if (!(loss[i] > 0)) {
          throw error(place, formatted("the loss of task {} must be positive, but is {}",
                                       tasks.label(i), loss[i]));
        }
        if (reference == baseline::first_step && task.first_loss == 0) {
          task.first_loss = loss[i];
        }
        known = known && task.first_loss > 0;
        out[i] = task.w;
      }
      if (known) {
        find_slopes(loss, gram);
        move(loss.size());
      }
    });
  }

  /// Takes the first epoch's mean losses for ℓ⁰ with baseline::first_epoch.
  void end_epoch(std::span<const double> mean) {
    for (std::size_t t = 0; t < state.size() && t < mean.size(); ++t) {
      if (reference == baseline::first_epoch && state[t].first_loss == 0 && mean[t] > 0) {
        state[t].first_loss = mean[t];
      }
    }
  }

 private:
  void begin(std::size_t count) {
    constexpr const char* place = "weighting::gradnorm";
    require_not_negative(alpha, "alpha", place);
    require_not_negative(learning_rate, "learning_rate", place);
    require(smallest > 0 && smallest < 1, place, "smallest must be in (0, 1), but is {}", smallest);
    state.assign(count, memory{});
  }

  void find_slopes(std::span<const double> loss, gram_matrix gram) {
    const std::size_t m = loss.size();
    lengths.resize(m);
    rates.resize(m);
    slopes.resize(m);
    double mean_length = 0;
    double mean_rate = 0;
    for (std::size_t i = 0; i < m; ++i) {
      const memory& task = state[tasks[i]];
      lengths[i] = gradient_norm(gram, i);
      rates[i] = loss[i] / task.first_loss;
      mean_length += task.w * lengths[i] / static_cast<double>(m);
      mean_rate += rates[i] / static_cast<double>(m);
    }
    for (std::size_t i = 0; i < m; ++i) {
      const double off =
          state[tasks[i]].w * lengths[i] - mean_length * std::pow(rates[i] / mean_rate, alpha);
      slopes[i] = off > 0 ? lengths[i] : off < 0 ? -lengths[i] : 0;
    }
  }

  void move(std::size_t m) {
    const auto count = static_cast<double>(state.size());
    const bool softmax = parameters == weights_as::softmax;
    double pull = 0;
    for (std::size_t i = 0; softmax && i < m; ++i) {
      pull += state[tasks[i]].w * slopes[i] / count;
    }
    for (std::size_t i = 0; i < m; ++i) {
      memory& task = state[tasks[i]];
      const double slope = softmax ? task.w * (slopes[i] - pull) : slopes[i];
      const double step = method == optimiser::adam ? task.moments.step(slope, learning_rate)
                                                    : learning_rate * slope;
      (softmax ? task.v : task.w) -= step;
    }
    double largest = 0;
    for (std::size_t t = 0; t < state.size(); ++t) {
      largest = t == 0 ? state[t].v : std::max(largest, state[t].v);
    }
    double total = 0;
    for (memory& task : state) {
      task.w = std::max(softmax ? std::exp(task.v - largest) : task.w, smallest);
      total += task.w;
    }
    for (memory& task : state) {
      task.w *= count / total;
    }
  }
};

}  // namespace vierbein::weighting
