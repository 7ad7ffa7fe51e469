// What an alignment loss sees of one batch.
#pragma once

#include <algorithm>
#include <numeric>
#include <span>

#include "vierbein/alignment/concept.hpp"
#include "vierbein/graph/operations.hpp"
#include "vierbein/model/task_module.hpp"

namespace vierbein {

/// The frozen sources of a task that is being added, on the rows of one batch.
template <Backend B>
struct anchor_batch {
  index_t sources = 0;
  graph::var<B> mean_flat;       ///< (n, d_u)
  graph::var<B> mean_distances;  ///< (K n, 1), none without copies
  graph::var<B> flat;            ///< (sources · n, d_u), stacked by source
};

/// The views of alignment/concept.hpp. Everything is recorded when first asked for.
template <Backend B, class Tasks>
class task_views {
 public:
  using backend_type = B;
  using var = graph::var<B>;

  /// `modules` and `labels` are those of the N tasks; `numbers` are their positions in `tasks`. `b`
  /// holds the batch's representation (n, d_b), followed by its K perturbed copies.
  task_views(graph::tape<B>& tape, const Tasks& tasks, std::span<const index_t> numbers,
             std::span<const task_module* const> modules, std::span<const var> labels, var b,
             index_t rows, const anchor_batch<B>* anchors = nullptr)
      : tape_(tape),
        tasks_(tasks),
        numbers_(numbers),
        modules_(modules),
        labels_(labels),
        b_(b),
        rows_(rows),
        copies_(rows > 0 ? b.rows() / rows - 1 : 0),
        anchors_(anchors) {}

  [[nodiscard]] graph::tape<B>& tape() const { return tape_; }
  [[nodiscard]] index_t tasks() const { return static_cast<index_t>(modules_.size()); }
  [[nodiscard]] index_t rows() const { return rows_; }
  [[nodiscard]] index_t copies() const { return copies_; }
  /// b of the batch, followed by its copies: (n (1 + K), d_b).
  [[nodiscard]] var representation() const { return b_; }

  [[nodiscard]] index_t task_index(const std::string& name) const {
    for (std::size_t i = 0; i < numbers_.size(); ++i) {
      if (tasks_[numbers_[i]].name == name) {
        return static_cast<index_t>(i);
      }
    }
    throw error("alignment", formatted("no task is called '{}'", name));
  }

  /// 0 ... N-1
  std::span<const index_t> all_tasks() {
    if (all_.empty()) {
      auto all = tape_.template host_array<index_t>(tasks());
      std::iota(all.begin(), all.end(), index_t{0});
      all_ = all;
    }
    return all_;
  }

  /// z_t of the batch, (N n, d).
  var latent() {
    if (!latent_) {
      latent_ = originals(everything_latent());
    }
    return latent_;
  }

  /// u_t of the batch, (N n, d_u), and of its copies, (N K n, d_u).
  var flat() {
    if (!flat_) {
      flat_ = originals(everything_flat());
    }
    return flat_;
  }
  var flat_copies() {
    auto blocks = tape_.template host_array<index_t>(tasks() * copies_);
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      const auto k = static_cast<index_t>(i);
      blocks[i] = k / copies_ * (copies_ + 1) + 1 + k % copies_;
    }
    return graph::select_blocks<B>(everything_flat(), rows_, blocks);
  }

  /// sqrt(‖u_t - u_t⁽ᵏ⁾‖² + epsilon) of every row, (N K n, 1), stacked by task and copy.
  var copy_distances(double epsilon) {
    return graph::copy_distances<B>(everything_flat(), rows_, copies_, epsilon);
  }

  /// F⁻¹ of task which[i] on block i of u, or on block blocks[i].
  var decode(var u, std::span<const index_t> which) {
    return through(&task_module::inverse, u, which);
  }
  var decode(var u, std::span<const index_t> which, std::span<const index_t> blocks) {
    return graph::stacked_tasks<B>(tape_, stacks(&task_module::inverse, which), u, rows_, blocks);
  }

  /// Prediction of every task for the batch, one var a task. Heads that all read the representation
  /// itself, without latent encoders between, read the same matrix.
  std::span<const var> predictions() {
    const task_module& first = *modules_[0];
    if (first.encoder.layers.empty() && (!first.head.layers.empty() || alike(all_tasks()))) {
      const var b = copies_ == 0 ? b_ : graph::slice_rows(b_, 0, rows_);
      return predictions_of(b, all_tasks(), true);
    }
    return predictions(latent(), all_tasks());
  }

  /// Prediction of task which[i] from block i of z, one var a block.
  std::span<const var> predictions(var z, std::span<const index_t> which) {
    return predictions_of(z, which, false);
  }

  /// The last hidden layer of every head, (N n, ·).
  var hidden() { return through(&task_module::head, latent(), all_tasks()); }

  /// Loss of head which[i] on block i of z against the batch's labels.
  std::span<const var> head_losses(var z, std::span<const index_t> which) {
    return losses_of(predictions(z, which), which);
  }
  /// The same from predictions that are there already.
  std::span<const var> losses_of(std::span<const var> predicted, std::span<const index_t> which) {
    auto out = tape_.template host_array<var>(static_cast<index_t>(which.size()));
    for (std::size_t i = 0; i < which.size(); ++i) {
      const auto k = static_cast<std::size_t>(which[i]);
      out[i] = tasks_.visit(numbers_[k],
                            [&](const auto& head) { return head.loss(predicted[i], labels_[k]); });
    }
    return out;
  }

  /// Parameters of the latent encoders: how many a task has, and number i of task t.
  [[nodiscard]] index_t latent_parameters() const {
    return 2 * static_cast<index_t>(modules_[0]->encoder.layers.size());
  }
  [[nodiscard]] var latent_parameter(index_t t, index_t i) const {
    const graph::linear& layer = module(t).encoder.layers[static_cast<std::size_t>(i / 2)];
    return tape_.parameter(i % 2 == 0 ? layer.weight : layer.bias);
  }

  [[nodiscard]] bool anchored() const { return anchors_ != nullptr; }
  [[nodiscard]] index_t source_count() const { return anchored() ? anchors_->sources : tasks(); }
  [[nodiscard]] var anchor_flat() const { return anchors_->mean_flat; }
  [[nodiscard]] var anchor_distances() const { return anchors_->mean_distances; }
  var source_flat() { return anchored() ? anchors_->flat : flat(); }

 private:
  [[nodiscard]] const task_module& module(index_t t) const {
    return *modules_[static_cast<std::size_t>(t)];
  }

  // Whether heads have as many outputs.
  [[nodiscard]] bool alike(std::span<const index_t> which) const {
    return std::all_of(which.begin(), which.end(), [&](index_t t) {
      return tape_.parameter(module(t).output.weight).cols() ==
             tape_.parameter(module(which[0]).output.weight).cols();
    });
  }

  // Predictions from the stacked rows z, or, `shared`, from rows that all these tasks have in
  // common.
  std::span<const var> predictions_of(var z, std::span<const index_t> which, bool shared) {
    const bool hidden = !module(which[0]).head.layers.empty();
    const var h = hidden ? through(&task_module::head, z, which, shared) : z;
    shared = shared && !hidden;
    const auto count = static_cast<index_t>(which.size());
    const index_t height = shared ? h.rows() : h.rows() / count;
    auto out = tape_.template host_array<var>(count);
    auto kernels = tape_.template host_array<var>(count);
    auto biases = tape_.template host_array<var>(count);
    for (std::size_t i = 0; i < which.size(); ++i) {
      const auto& layer = module(which[i]).output;
      kernels[i] = tape_.parameter(layer.weight);
      biases[i] = tape_.parameter(layer.bias);
    }
    if (!alike(which)) {
      for (std::size_t i = 0; i < which.size(); ++i) {
        out[i] = graph::affine(graph::slice_rows(h, static_cast<index_t>(i) * height, height),
                               kernels[i], biases[i]);
      }
      return out;
    }
    // Heads of one width end in one group of products.
    const var together =
        shared ? graph::affine_shared<B>(h, kernels, biases, activation::identity, true)
               : graph::affine_stacked<B>(h, kernels, biases);
    for (std::size_t i = 0; i < which.size(); ++i) {
      out[i] = graph::slice_rows(together, static_cast<index_t>(i) * height, height);
    }
    return out;
  }

  std::span<const graph::dense_stack* const> stacks(graph::dense_stack task_module::* part,
                                                    std::span<const index_t> which) const {
    auto all = tape_.template host_array<const graph::dense_stack*>(std::ssize(which));
    for (std::size_t i = 0; i < which.size(); ++i) {
      all[i] = &(module(which[i]).*part);
    }
    return all;
  }

  // One stack of several tasks' modules on the stacked rows x, or on the rows they share.
  var through(graph::dense_stack task_module::* part, var x, std::span<const index_t> which,
              bool shared = false) {
    return graph::stacked_tasks<B>(tape_, stacks(part, which), x, shared);
  }

  // z and u with the copies behind each task's rows: (N (1 + K) n, ·).
  var everything_latent() {
    if (!all_latent_) {
      all_latent_ = through(&task_module::encoder, b_, all_tasks(), true);
    }
    return all_latent_;
  }
  var everything_flat() {
    if (!all_flat_) {
      all_flat_ = through(&task_module::transfer, everything_latent(), all_tasks());
    }
    return all_flat_;
  }
  var originals(var everything) {
    if (copies_ == 0) {
      return everything;
    }
    auto blocks = tape_.template host_array<index_t>(tasks());
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      blocks[i] = static_cast<index_t>(i) * (copies_ + 1);
    }
    return graph::select_blocks<B>(everything, rows_, blocks);
  }

  graph::tape<B>& tape_;
  const Tasks& tasks_;
  std::span<const index_t> numbers_;
  std::span<const task_module* const> modules_;
  std::span<const var> labels_;
  var b_;
  index_t rows_;
  index_t copies_;
  const anchor_batch<B>* anchors_;
  std::span<const index_t> all_;
  var all_latent_, all_flat_, latent_, flat_;
};

}  // namespace vierbein
