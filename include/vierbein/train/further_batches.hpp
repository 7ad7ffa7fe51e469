// Independent batches beside that of a step, for weighting policies with `gram_batches`.
#pragma once

#include <cmath>
#include <span>
#include <utility>
#include <vector>

#include "vierbein/train/recorder.hpp"
#include "vierbein/train/sweep.hpp"

namespace vierbein::detail {

/// Batches of the same training rows in another order, on a tape of their own. `Source` is a
/// sampler's state.
template <Backend B, class Model, class Source>
class further_batches {
 public:
  using scalar = typename B::scalar;
  using space = typename B::space;

  further_batches(const B& device, const Model& model, const typename Model::input_set& inputs,
                  const label_table& labels, const task_selection& tasks,
                  std::vector<Source> sources)
      : model_(model),
        tape_(device),
        record_(model, inputs, labels, tasks),
        sources_(std::move(sources)),
        values_(tasks.names.size()) {}

  void begin_epoch(index_t epoch) {
    for (Source& s : sources_) {
      s.begin_epoch(epoch);
    }
  }

  /// Step i of the epoch begins at θ.
  void begin(array_view<scalar, space> theta, index_t i, random_stream stream) {
    tape_.bind(model_.theta().segments(), theta);
    step_ = i;
    stream_ = stream;
  }

  /// f(tape, losses, their values) for the step's further batch k. The tape holds it until the next
  /// one is recorded.
  template <class F>
  void record(std::size_t k, step_place place, F&& f) {
    tape_.begin(graph::mode::training, stream_.fork(k + 1));
    const step_losses<B> recorded = record_(tape_, sources_[k].batch(step_), true);
    tape_.read(recorded.tasks, values_);
    for (std::size_t t = 0; t < values_.size(); ++t) {
      if (!std::isfinite(values_[t])) {
        throw error("training",
                    formatted("the loss of task '{}' is not finite in epoch {}, step {}: a "
                              "smaller learning rate may help",
                              record_.tasks().names[t], place.epoch, place.step));
      }
    }
    f(tape_, recorded, losses{values_, recorded.present});
  }

 private:
  const Model& model_;
  graph::tape<B> tape_;
  batch_recorder<B, Model> record_;
  std::vector<Source> sources_;
  std::vector<double> values_;
  index_t step_ = 0;
  random_stream stream_{};
};

}  // namespace vierbein::detail
