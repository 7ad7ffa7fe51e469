// How the programs of this folder measure: made-up data that the peer can make too, a training run
// by `fit` as a benchmark whose iterations are its steps, and the arithmetic that a step asks for.
//
// The numbers of scenario data come from a formula, not from a generator, so that `--losses` can
// train from the same weights on the same rows in the peer's language and find the same losses.
#pragma once

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <array>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "../measuring.hpp"
#include "vierbein/backend/engine/bf16.hpp"
#include "vierbein/data/dataset.hpp"
#include "vierbein/model/multitask.hpp"
#include "vierbein/optimizer/adam.hpp"
#include "vierbein/train/fit.hpp"
#include "vierbein/weighting/equal.hpp"
#ifdef VIERBEIN_BENCHMARK_CUDA
#include "vierbein/backend/cuda.hpp"
#endif

namespace steps {

namespace vb = vierbein;
using vb::index_t;

/// With `--losses` nothing is timed: `train` prints the losses of five steps instead.
inline bool print_losses = false;
/// The name of the benchmark that runs.
inline std::string scenario;

// ---- numbers by formula

/// Number `i` of list `salt`, spread evenly over [-1, 1).
inline double number(index_t i, index_t salt) {
  const double s =
      std::sin(12.9898 * static_cast<double>(i + 1) + 78.233 * static_cast<double>(salt)) *
      43758.5453;
  return 2 * (s - std::floor(s)) - 1;
}

/// (rows, cols), row after row.
inline vb::matrix<double> numbers(index_t rows, index_t cols, index_t salt) {
  vb::matrix<double> m(rows, cols);
  for (index_t i = 0; i < m.size(); ++i) {
    m.data()[i] = number(i, salt);
  }
  return m;
}

inline std::string task_name(index_t t) {
  return "task" + std::to_string(t);
}
inline vb::tasks<> regressions(index_t count) {
  vb::tasks<> list;
  for (index_t t = 0; t < count; ++t) {
    list.add(vb::regression(task_name(t)));
  }
  return list;
}

/// Adds the labels of `tasks` regressions: for row r and task t the number of list 100 + t.
template <class Dataset>
void add_regressions(Dataset& data, index_t tasks) {
  for (index_t t = 0; t < tasks; ++t) {
    std::vector<double> y;
    for (index_t r = 0; r < data.inputs.size(); ++r) {
      y.push_back(number(r, 100 + t));
    }
    data.add(task_name(t), y);
  }
}

/// Weight matrix k of the model, in the order in which they are named, is list 1000 + k times
/// sqrt(3 / in); biases are 0.
template <class Parameters>
void fill_by_formula(Parameters& theta) {
  index_t k = 0;
  for (vb::segment_id id = 0; id < std::ssize(theta.segments()); ++id) {
    const vb::segment& s = theta.at(id);
    if (s.init != vb::initialiser::glorot && s.init != vb::initialiser::he) {
      continue;
    }
    const double scale = std::sqrt(3.0 / static_cast<double>(s.rows));
    const auto to = theta.view(id);
    for (index_t i = 0; i < s.size(); ++i) {
      to.data[i] = static_cast<float>(scale * number(i, 1000 + k));
    }
    ++k;
  }
}

// ---- arithmetic

/// Multiply-adds of one row through layers of these widths.
inline double layer_work(const std::vector<index_t>& widths) {
  double total = 0;
  for (std::size_t i = 1; i < widths.size(); ++i) {
    total += static_cast<double>(widths[i - 1] * widths[i]);
  }
  return total;
}
/// FLOPs of a training step: forward, gradients of weights and of inputs, for `rows` rows. Layers
/// that read data have no gradient of their input.
inline double training_flops(double rows, const std::vector<index_t>& widths, bool reads_data) {
  const double all = layer_work(widths);
  const double first = reads_data ? layer_work({widths[0], widths[1]}) : 0;
  return 2 * rows * (3 * all - first);
}

// ---- training steps

/// What a step costs beyond time.
struct step_facts {
  double flops = 0;       ///< 0: not well defined
  double parameters = 0;  ///< that are trained
  double bytes = 0;  ///< read and written by passes of their own, or, `overlap`, by the products
  double held = 0;   ///< bytes of the arrays that these go over
  bool overlap = false;
};

/// A step of Adam reads parameters, gradients and two moments, and writes all but the gradients.
inline step_facts with_adam(double flops, double parameters) {
  return {flops, parameters, 7 * sizeof(float) * parameters, 4 * sizeof(float) * parameters};
}

/// Median and tenths of the seconds of all iterations, and what else is known of them.
inline void report(benchmark::State& state, const std::vector<double>& seconds,
                   const step_facts& facts) {
  if (seconds.empty()) {
    return;
  }
  state.counters["median"] = measuring::median(seconds);
  state.counters["p10"] = measuring::quantile(seconds, 0.1);
  state.counters["p90"] = measuring::quantile(seconds, 0.9);
  if (facts.flops > 0) {
    state.counters["flops"] = facts.flops;
  }
  if (facts.parameters > 0) {
    state.counters["parameters"] = facts.parameters;
  }
  if (facts.bytes > 0) {
    state.counters["bytes"] = facts.bytes;
    state.counters["held"] = facts.held;
    state.counters["overlap"] = facts.overlap ? 1 : 0;
  }
}

/// Calls f as often as the benchmark asks, each call an iteration.
template <class F>
void time_calls(benchmark::State& state, const step_facts& facts, F&& f) {
  std::vector<double> seconds;
  f();
  for (auto _ : state) {
    const double before = measuring::now();
    f();
    seconds.push_back(measuring::now() - before);
    state.SetIterationTime(seconds.back());
  }
  report(state, seconds, facts);
}

/// Thrown out of `fit` when there are steps enough.
struct enough {};

/// A callback whose iterations are the steps of a training run, or its rounds. The first of them
/// reserve memory and do not count; neither does the first step of an epoch, which shuffles.
class clock {
 public:
  clock(benchmark::State& state, std::vector<double>& seconds, int warm_up)
      : state_(&state), seconds_(&seconds), warm_up_(warm_up) {}

  void on_begin(const vb::progress_info& /*info*/) { last_ = measuring::now(); }
  void on_step(const vb::progress_info& info) {
    tick(info.step > 1);
    in_steps_ = true;
  }
  void on_epoch(const vb::history& /*course*/, const vb::progress_info& /*info*/) {
    if (!in_steps_) {
      tick(true);
    }
  }

 private:
  void tick(bool counts) {
    const double took = measuring::now() - last_;
    if (warm_up_ > 0) {
      --warm_up_;
      started_ = warm_up_ == 0 && state_->KeepRunning();
    } else if (started_ && counts) {
      seconds_->push_back(took);
      state_->SetIterationTime(took);
      if (!state_->KeepRunning()) {
        throw enough{};
      }
    }
    last_ = measuring::now();
  }

  benchmark::State* state_;
  std::vector<double>* seconds_;
  int warm_up_;
  bool in_steps_ = false;
  bool started_ = false;
  double last_ = 0;
};

/// Options of a run that goes on until it is stopped. The peer does not clip, so neither do we.
inline vb::training endless(index_t batch) {
  return {.epochs = 1'000'000'000,
          .batch = batch,
          .validation_fraction = 0,
          .clip_norm = 0,
          .handle_interrupts = false};
}

/// Scenarios with the prefix bf16/ are those of the same name with this backend.
using bf16_backend = vb::backend::basic_cpu<float, vb::backend::engine::bf16<>>;

#ifdef VIERBEIN_BENCHMARK_CUDA
/// Scenarios with the prefix cuda/ are those of the same name on a device, and larger ones. With
/// cuda-plain/ every operation is launched by itself, with cuda-tf32/ and cuda-bf16/ large products
/// are rounded.
using cuda_backend = vb::backend::cuda;
template <vb::backend::precision Products, bool Graphs = true>
struct cuda_with : cuda_backend {
  cuda_with() : cuda_backend({.products = Products, .graphs = Graphs}) {}
};
using cuda_plain = cuda_with<vb::backend::precision::full, false>;
using cuda_tf32 = cuda_with<vb::backend::precision::tf32>;
using cuda_bf16 = cuda_with<vb::backend::precision::bf16>;
#endif

/// Trains `model` by Adam; every iteration of the benchmark is a step (or a round) of `fit`.
template <class Backend = vb::backend::cpu, class Model, class Dataset, class Weighting>
void train(benchmark::State& state, Model model, const Dataset& data, vb::training options,
           const Weighting& weighting, double flops, int warm_up = 4) {
  const Backend backend;
  model.build(data.inputs.shape(), 1);
  double trained = 0;
  for (const vb::segment& s : model.theta().segments()) {
    trained += s.frozen ? 0 : static_cast<double>(s.size());
  }
  if (print_losses) {
    fill_by_formula(model.theta());
    options.epochs = 5;
    options.batch = data.size();
    // With Adam's own epsilon its first steps are ±learning_rate even where a gradient is nothing
    // but rounding, and two correct programs drift apart.
    const auto course =
        vb::fit(backend, model, data, options, vb::optimizer::adam{.epsilon = 1e-3}, weighting);
    std::string losses;
    for (const auto& epoch : course.epochs) {
      losses += fmt::format("{}{:.9g}", losses.empty() ? "" : ", ", epoch.train_loss);
    }
    fmt::print("{{\"scenario\": \"{}\", \"parameters\": {}, \"losses\": [{}]}}\n", scenario,
               trained, losses);
    state.SkipWithError("prints losses");
    return;
  }
  std::vector<double> seconds;
  try {
    vb::fit(backend, model, data, options, vb::optimizer::adam{}, weighting,
            clock(state, seconds, warm_up));
  } catch (const enough&) {
  }
  report(state, seconds, with_adam(flops, trained));
}

/// Batches of scenario data: few enough that it lies in the cache.
inline index_t rows_of(index_t batch) {
  return print_losses ? batch : 16 * batch;
}

/// Registers f(state) under a name.
template <class F>
void add(const std::string& name, F f) {
  benchmark::RegisterBenchmark(name.c_str(), [name, f](benchmark::State& state) {
    scenario = name;
    f(state);
  })->UseManualTime();
}

// One for each file of this folder.
void add_dense();
void add_gate();
void add_graphs_and_images();
void add_weightings();
void add_parts();
void add_probes();
void add_cuda_dense();
void add_cuda_gate();
void add_cuda_graphs_and_images();
void add_device_probes();

}  // namespace steps
