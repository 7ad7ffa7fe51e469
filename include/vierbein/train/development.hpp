// How good one task is on the development rows, at any parameters.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "vierbein/backend/buffer.hpp"
#include "vierbein/data/sampler.hpp"
#include "vierbein/train/judge.hpp"

namespace vierbein::detail {

/// The validation rows with a label of the target, cut into batches.
class development_rows {
 public:
  static constexpr index_t largest_batch = 256;

  development_rows(const label_table& labels, std::size_t column, const std::string& target,
                   std::span<const index_t> validation, const char* policy) {
    for (const index_t r : validation) {
      if (std::ranges::any_of(labels[column].row(r), [](double v) { return !std::isnan(v); })) {
        rows_.push_back(r);
      }
    }
    require(!rows_.empty(), policy,
            "the target '{}' has no label among the {} rows set aside for validation", target,
            validation.size());
    std::ranges::sort(rows_);
    order_ = rows_;
  }

  /// What the batches hold.
  void shuffle(const random_stream& stream) {
    order_ = rows_;  // so that it depends on the stream alone
    data::sampler::shuffle(order_, stream);
  }

  /// Always in the same order, so that the same parameters are judged alike.
  [[nodiscard]] std::span<const index_t> all() const { return rows_; }
  [[nodiscard]] std::size_t batches() const {
    return (rows_.size() + static_cast<std::size_t>(largest_batch) - 1) /
           static_cast<std::size_t>(largest_batch);
  }
  /// Batches of as nearly the same size as can be.
  [[nodiscard]] std::span<const index_t> batch(std::size_t i) const {
    const std::size_t first = i * rows_.size() / batches();
    return std::span(order_).subspan(first, (i + 1) * rows_.size() / batches() - first);
  }

 private:
  std::vector<index_t> rows_;
  std::vector<index_t> order_;
};

/// Judges one task of a model at parameters in the backend's memory, in evaluation mode. Each
/// thread needs one of its own.
template <Backend B, class Model>
class target_judge {
 public:
  using scalar = typename B::scalar;
  using space = typename B::space;
  using flat_view = array_view<scalar, space>;

  target_judge(const B& device, const Model& model, const typename Model::input_set& inputs,
               const label_table& labels, const task_selection& target)
      : model_(model), labels_(labels), tape_(device), record_(model, inputs, labels, target) {}

  /// Mean loss of `rows` at θ; when `gradient` is not empty it is assigned ∇.
  double loss(flat_view theta, std::span<const index_t> rows, flat_view gradient = {}) {
    begin(theta);
    const auto recorded = record_(tape_, rows, false);
    const double value = tape_.read(recorded.tasks[0]);
    if (gradient.data != nullptr) {
      tape_.backward(recorded.tasks[0], gradient);
    }
    return value;
  }

  /// On any number of rows.
  verdict judge(flat_view theta, std::span<const index_t> rows) {
    tape_.bind(model_.theta().segments(), theta);
    return judged(tape_, model_, labels_, record_, rows)[0];
  }

 private:
  void begin(flat_view theta) {
    tape_.bind(model_.theta().segments(), theta);
    tape_.begin(graph::mode::evaluation);
  }

  const Model& model_;
  const label_table& labels_;
  graph::tape<B> tape_;
  batch_recorder<B, Model> record_;
};

}  // namespace vierbein::detail
