// From the losses of a step to the direction that the parameters follow, as the kind of weighting
// policy asks for it.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "vierbein/backend/buffer.hpp"
#include "vierbein/core/matrix.hpp"
#include "vierbein/graph/elementwise.hpp"
#include "vierbein/graph/gramian.hpp"
#include "vierbein/graph/reduction.hpp"
#include "vierbein/graph/tape.hpp"
#include "vierbein/train/training.hpp"
#include "vierbein/weighting/concept.hpp"

namespace vierbein::detail {

/// What a training step records: a loss and the predictions a task, which of them the batch has
/// labels for, the alignment loss, if any, and the encoder's output.
template <Backend B>
struct step_losses {
  std::span<const graph::var<B>> tasks;
  std::span<const graph::var<B>> predictions;
  std::span<const bool> present;
  graph::var<B> alignment;
  graph::var<B> representation;
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

/// Whether a segment belongs to the trunk that tasks share.
inline bool is_shared(const std::string& name) {
  return name.starts_with("trunk/");
}

/// Whose gradients say how tasks agree: the parameters of the shared trunk, or all of them where
/// the trunk has none.
template <Scalar T>
std::vector<range> compared_ranges(const parameters<T>& theta) {
  const auto shared = trainable_ranges(theta, is_shared);
  return shared.empty() ? trainable_ranges(theta) : shared;
}

/// The task that each segment serves alone, by its name; -1 where there is none.
inline std::vector<index_t> owners_of(const std::vector<segment>& segments,
                                      const std::vector<std::string>& tasks) {
  std::vector<index_t> owners;
  for (const segment& s : segments) {
    index_t owner = -1;
    index_t count = 0;
    for (std::size_t t = 0; t < tasks.size(); ++t) {
      if (s.name.starts_with("task/" + tasks[t] + "/")) {
        owner = static_cast<index_t>(t);
        ++count;
      }
    }
    owners.push_back(count == 1 ? owner : -1);  // of "a" and "a/b" nothing is certain
  }
  return owners;
}

/// For weighting policies that ask the trainer for nothing beyond a step.
inline constexpr std::nullptr_t no_probe = nullptr;

/// Where a training run is, for its messages; both from 1.
struct step_place {
  index_t epoch = 0;
  index_t step = 0;
};

/// Gives Σ w_t ∇ℓ_t + ∇alignment, or the direction that takes its place. With `GramWanted` the
/// Gramian is formed even where the policy does not look at it.
template <Backend B, class Weighting, bool GramWanted = false>
class weighted_sweep {
 public:
  using scalar = typename B::scalar;
  using space = typename B::space;
  using tape_type = graph::tape<B>;
  using var = graph::var<B>;
  using rows_view = matrix_view<scalar, space>;

  static constexpr std::size_t batches = weighting::gram_batches<Weighting>;
  static constexpr bool gradient_based = GradientBasedWeighting<Weighting>;
  static constexpr bool target_based = TargetBasedWeighting<Weighting>;
  static constexpr bool gram_based = GramBasedWeighting<Weighting>;

  template <Scalar T>
  weighted_sweep(const B& backend, const parameters<T>& theta,
                 const std::vector<std::string>& names, const training& options)
      : backend_(backend),
        names_(names),
        tasks_(std::ssize(names)),
        compared_(compared_ranges(theta)),
        own_(trainable_ranges(theta, [](const std::string& name) { return !is_shared(name); })),
        segments_(theta.segments()),
        owners_(owners_of(theta.segments(), names)),
        own_unweighted_(options.own == own_gradients::unweighted),
        by_representation_(options.compare == compared_gradients::representation),
        gradient_(backend, theta.size()),
        weights_(names.size(), 1.0),
        own_weights_(names.size(), 1.0),
        seeds_(names.size() + 1),
        task_seeds_(names.size()),
        host_gram_(tasks_, tasks_) {
    const bool trunk_learns = !trainable_ranges(theta, is_shared).empty();
    if (!trunk_learns) {
      own_.clear();  // all there is is compared
    }
    require(trunk_learns || (!by_representation_ && !own_unweighted_), "training",
            "the trunk has no parameters that are trained, so gradients of the representation "
            "cannot be compared, nor do own parameters differ from shared ones");
    require(!by_representation_ || !(target_based || batches > 1), "training",
            "the weighting policy compares gradients of parameters, not of the representation");
    if constexpr (requires { Weighting::fixed_columns; }) {
      require(!by_representation_ || !Weighting::fixed_columns, "training",
              "the weighting policy needs gradients whose elements mean the same in every step; "
              "those of the representation belong to the samples of a batch");
    }
    if constexpr (gradient_based || batches > 1) {
      if (!by_representation_) {
        first_.emplace(backend, segments_, theta.size(), compared_, tasks_, true);
      }
    } else if constexpr (gram_based || target_based) {
      gram_by_rows_ = !by_representation_ && takes_jacobian(options, theta.size());
    }
    if constexpr (batches > 1) {
      second_.emplace(backend, theta.segments(), theta.size(), compared_, tasks_, true);
      gram_ = backend::buffer<B>(backend, tasks_ * tasks_);
      sum_ = backend::buffer<B>(backend, theta.size());
      mean_.resize(names.size());
      in_both_ = std::make_unique<bool[]>(names.size());
    }
    if ((gradient_based && !own_.empty()) || own_unweighted_) {
      other_ = backend::buffer<B>(backend, theta.size());
    }
    if (gradient_based && !by_representation_) {
      direction_ = backend::buffer<B>(backend, first_->columns());
    }
  }

  /// Tells a policy that wants to know which columns of J belong to which segment.
  void describe(Weighting& policy, const std::vector<segment>& segments) const {
    if constexpr (requires(std::span<const gradient_columns> c) { policy.layout(c); }) {
      std::vector<gradient_columns> columns;
      for (std::size_t i = 0; i < segments.size(); ++i) {
        const auto id = static_cast<segment_id>(i);
        if (first_ && first_->compares(id)) {
          columns.push_back({segments[i].name, first_->column(id), segments[i].size()});
        }
      }
      policy.layout(std::span<const gradient_columns>(columns));
    }
  }

  [[nodiscard]] array_view<scalar, space> gradient() const { return gradient_.view(); }
  /// (T) Of the last step; of a gradient_based policy what it says its tasks are worth.
  [[nodiscard]] std::span<const double> weights() const { return weights_; }
  /// (T, T) Of the last step, zero where a task was absent; without rows where nobody asked for it.
  [[nodiscard]] gram_matrix gram() const {
    return gram_known_ ? gram_matrix(host_gram_.view()) : gram_matrix{};
  }

  /// `extra` is the step_probe of a target_based policy, or the source of further batches.
  template <class Extra>
  void operator()(tape_type& tape, const step_losses<B>& step, losses values, Weighting& policy,
                  Extra extra, step_place place) {
    place_ = place;
    gram_known_ = false;
    present_ = 0;
    values.gram_precision = std::numeric_limits<scalar>::epsilon();
    for (std::size_t t = 0; t < step.tasks.size(); ++t) {
      if (values.has(t)) {
        task_seeds_[present_++] = {step.tasks[t], 1.0, static_cast<index_t>(t)};
      }
    }
    if constexpr (gradient_based) {
      combine(tape, step, values, policy);
    } else if constexpr (batches > 1) {
      weigh_batches(tape, step, values, policy, *extra);
    } else {
      [[maybe_unused]] const sight seen = weighting::looks_at(policy, values);
      if constexpr (gram_based || target_based) {
        if (seen == sight::gradients || (seen == sight::gramian && gram_by_rows_)) {
          return weigh_rows(tape, step, values, policy, extra, seen);
        }
      }
      if (GramWanted || seen != sight::losses) {
        find_gram(tape, step, values);
      }
      forget_weights();
      const gram_matrix shown = seen != sight::losses ? gram() : gram_matrix{};
      if constexpr (gram_based) {
        policy.weigh(values, shown, weights_);
      } else if constexpr (target_based) {
        policy.weigh(values, shown, *extra, weights_);
      } else if constexpr (LossBasedWeighting<Weighting>) {
        policy.weigh(values, weights_);
      }
      require_weights(values);
      follow(tape, step, values, weights_);
      unweigh_own(tape, step, values);
    }
  }

  /// For an error message: the first task whose gradient is not finite by itself, or "".
  [[nodiscard]] std::string culprit(tape_type& tape, const step_losses<B>& step, losses values) {
    for (std::size_t t = 0; t < step.tasks.size(); ++t) {
      if (values.has(t)) {
        tape.backward(step.tasks[t], gradient_.view());
        if (!std::isfinite(backend_.squared_norm(gradient_.view()))) {
          return names_[t];
        }
      }
    }
    return "";
  }

 private:
  // Whether G is taken from all tasks' gradients at once: see gramian_way. benchmarks/gramian says
  // when it pays.
  [[nodiscard]] bool takes_jacobian(const training& options, index_t size) const {
    constexpr index_t small = index_t{1} << 20;
    switch (options.gramian) {
      case gramian_way::jacobian: return true;
      case gramian_way::layers: return false;
      case gramian_way::automatic: break;
    }
    return own_.empty() || (tasks_ <= 2 && (tasks_ + 1) * size <= small);
  }

  [[nodiscard]] std::span<const graph::seed<B>> present_tasks() const {
    return std::span(task_seeds_).first(present_);
  }

  // Σ w_t ∇ℓ_t + ∇alignment, of everything.
  void follow(tape_type& tape, const step_losses<B>& step, losses values, std::span<const double> w,
              bool aligned = true) {
    tape.backward(weighted_seeds(step, values, w, aligned), gradient_.row());
  }

  std::span<const graph::seed<B>> weighted_seeds(const step_losses<B>& step, losses values,
                                                 std::span<const double> w, bool aligned) {
    std::size_t count = 0;
    for (std::size_t t = 0; t < step.tasks.size(); ++t) {
      if (values.has(t)) {
        seeds_[count++] = {step.tasks[t], w[t], 0};
      }
    }
    if (aligned && step.alignment) {
      seeds_[count++] = {step.alignment, 1.0, 0};
    }
    return std::span(seeds_).first(count);
  }

  // Own parameters get ∇ℓ_t + ∇alignment where the trainer's options say so.
  void unweigh_own(tape_type& tape, const step_losses<B>& step, losses values) {
    if (own_unweighted_) {
      std::fill(own_weights_.begin(), own_weights_.end(), 1.0);
      tape.backward(weighted_seeds(step, values, own_weights_, true), other_.row(),
                    step.representation);
      copy_own(false);
    }
  }

  void copy_own(bool accumulate) {
    for (const range& r : own_) {
      backend_.copy(scalar{1}, part(other_, r), part(gradient_, r), accumulate);
    }
  }

  // G of the tasks that are present.
  void find_gram(tape_type& tape, const step_losses<B>& step, losses values) {
    if (present_ == 0) {
      clear(host_gram_);
    } else if (by_representation_) {
      const auto rows = representation_rows(tape, step);
      const auto count = static_cast<index_t>(present_);
      const rows_view g = tape.make(count, count);
      multiply(backend::transposition::nt, rows, rows, g, false);
      host_square_.resize(present_ * present_);
      const matrix_view<double> square(host_square_.data(), count, count);
      backend_.download(matrix_view<const scalar, space>(g), square);
      clear(host_gram_);
      for (index_t a = 0; a < count; ++a) {
        for (index_t b = 0; b < count; ++b) {
          host_gram_(task_seeds_[static_cast<std::size_t>(a)].row,
                     task_seeds_[static_cast<std::size_t>(b)].row) = square(a, b);
        }
      }
    } else {
      if (!first_) {
        first_.emplace(backend_, segments_, gradient_.view().size, compared_, tasks_, false);
      }
      tape.backward(present_tasks(), tasks_, *first_);
      first_->read(host_gram_.view());
    }
    gram_found(values);
  }

  // (tasks present, rows · width of the representation)
  matrix_view<const scalar, space> representation_rows(tape_type& tape,
                                                       const step_losses<B>& step) {
    const auto stacked = tape.backward(present_tasks(), tasks_, step.representation);
    const auto count = static_cast<index_t>(present_);
    return {stacked.data, count, stacked.size() / count};
  }

  void gram_found(losses values) {
    gram_known_ = true;
    for (index_t t = 0; t < tasks_; ++t) {
      const auto task = static_cast<std::size_t>(t);
      require_finite(!values.has(task) || std::isfinite(host_gram_(t, t)), task);
    }
  }

  void require_finite(bool finite, std::size_t task) const {
    if (!finite) {
      throw error("training",
                  formatted("the gradient of task '{}' is not finite in epoch {}, step {}: a "
                            "smaller learning rate may help",
                            names_[task], place_.epoch, place_.step));
    }
  }

  // So that one which a policy does not assign is found.
  void forget_weights() {
    std::fill(weights_.begin(), weights_.end(), std::numeric_limits<double>::quiet_NaN());
  }

  void require_weights(losses values) const {
    for (std::size_t t = 0; t < weights_.size(); ++t) {
      if (values.has(t) && !std::isfinite(weights_[t])) {
        throw error("training",
                    formatted("the weighting policy gives task '{}' the weight {} in epoch {}, "
                              "step {}",
                              names_[t], weights_[t], place_.epoch, place_.step));
      }
    }
  }

  // ---- all gradients at once: G = J Jᵀ, then the combination of the rows

  template <class Extra>
  void weigh_rows(tape_type& tape, const step_losses<B>& step, losses values, Weighting& policy,
                  [[maybe_unused]] Extra extra, [[maybe_unused]] sight seen) {
    if (jacobian_.view().size == 0) {
      jacobian_ = backend::buffer<B>(backend_, (tasks_ + 1) * gradient_.view().size);
      gram_ = backend::buffer<B>(backend_, tasks_ * tasks_);
      row_weights_ = backend::buffer<B>(backend_, tasks_ + 1);
      host_row_weights_.resize(names_.size() + 1);
    }
    const rows_view j(jacobian_.view().data, tasks_ + 1, gradient_.view().size);
    const auto rows = j.row_range(0, tasks_);
    tape.backward(present_tasks(), tasks_, owners_, rows);
    if (step.alignment) {
      seeds_[0] = {step.alignment, 1.0, 0};
      tape.backward(std::span(seeds_).first(1), j.row_range(tasks_, 1));
    } else {
      backend_.fill(j.row_range(tasks_, 1), scalar{0});
    }
    product_of_rows(rows, rows);
    gram_found(values);
    forget_weights();
    if constexpr (target_based) {
      if (seen == sight::gradients) {
        extra->set_gradients(rows);
      }
      policy.weigh(values, gram_matrix(host_gram_.view()), *extra, weights_);
    } else if constexpr (gram_based) {
      policy.weigh(values, gram_matrix(host_gram_.view()), weights_);
    }
    require_weights(values);
    for (std::size_t t = 0; t < weights_.size(); ++t) {
      host_row_weights_[t] = values.has(t) ? static_cast<scalar>(weights_[t]) : scalar{0};
    }
    host_row_weights_.back() = scalar{1};
    row_weights_.assign(backend_, {host_row_weights_.data(), tasks_ + 1});
    multiply(backend::transposition::nn, row_weights_.row(), j, gradient_.row(), false);
    if (own_unweighted_) {
      backend_.fill(row_weights_.row(), scalar{1});
      for (const range& r : own_) {
        multiply(backend::transposition::nn, row_weights_.row(), j.col_range(r.offset, r.size),
                 part(gradient_, r), false);
      }
    }
  }

  // G_st = ⟨row s of a, row t of b⟩ over what is compared, rows as long as θ.
  void product_of_rows(rows_view a, rows_view b) {
    const rows_view g(gram_.view().data, tasks_, tasks_);
    bool more = false;
    for (const range& r : compared_) {
      multiply(backend::transposition::nt, a.col_range(r.offset, r.size),
               b.col_range(r.offset, r.size), g, more);
      more = true;
    }
    backend_.download(matrix_view<const scalar, space>(g), host_gram_.view());
  }

  // ---- independent batches: G = J₁ J₂ᵀ

  template <class Extra>
  void weigh_batches(tape_type& tape, const step_losses<B>& step, losses values, Weighting& policy,
                     Extra& extra) {
    std::fill_n(in_both_.get(), names_.size(), true);
    std::fill(mean_.begin(), mean_.end(), 0.0);
    if constexpr (batches == 2) {
      take(tape, step, values, *first_);
    } else {
      extra.record(1, place_, [&](tape_type& from, const step_losses<B>& other, losses l) {
        take(from, other, l, *first_);
      });
    }
    extra.record(0, place_, [&](tape_type& from, const step_losses<B>& other, losses l) {
      take(from, other, l, *second_);
      const rows_view g(gram_.view().data, tasks_, tasks_);
      multiply(backend::transposition::nt, first_->rows(), second_->rows(), g, false);
      backend_.download(matrix_view<const scalar, space>(g), host_gram_.view());
      const losses in_both{mean_, {in_both_.get(), names_.size()}};
      gram_found(in_both);
      forget_weights();
      policy.weigh(in_both, gram_matrix(host_gram_.view()), weights_);
      require_weights(values);
      follow(tape, step, values, weights_);
      unweigh_own(tape, step, values);
      if constexpr (batches == 2) {  // the mean over both batches
        backend_.copy(scalar{0.5}, gradient_.row(), sum_.row(), false);
        follow(from, other, l, weights_);
        unweigh_own(from, other, l);
        backend_.copy(scalar{0.5}, gradient_.row(), sum_.row(), true);
        backend_.copy(scalar{1}, sum_.row(), gradient_.row(), false);
      }
    });
  }

  // All tasks' gradients of one batch as rows.
  void take(tape_type& tape, const step_losses<B>& recorded, losses values,
            graph::gramian<B>& sink) {
    std::size_t count = 0;
    for (std::size_t t = 0; t < names_.size(); ++t) {
      if (values.has(t)) {
        task_seeds_[count++] = {recorded.tasks[t], 1.0, static_cast<index_t>(t)};
      }
      in_both_[t] = in_both_[t] && values.has(t);
      mean_[t] += values[t] / 2;
    }
    if (count > 0) {
      tape.backward(std::span<const graph::seed<B>>(task_seeds_).first(count), tasks_, sink);
    } else {
      backend_.fill(sink.rows(), scalar{0});
    }
  }

  // ---- gradients element by element

  void combine(tape_type& tape, const step_losses<B>& step, losses values, Weighting& policy) {
    // J (T, P) in host memory; d (P).
    index_t length = 0;
    matrix_view<const scalar> j;
    if (by_representation_) {
      length = step.representation.value().size();
      host_rows_.assign(static_cast<std::size_t>(tasks_ * length), scalar{0});
      const matrix_view<scalar> rows(host_rows_.data(), tasks_, length);
      if (present_ > 0) {
        const auto found = representation_rows(tape, step);
        for (std::size_t i = 0; i < present_; ++i) {
          const auto row = found.row_range(static_cast<index_t>(i), 1);
          require_finite(std::isfinite(backend_.squared_norm({row.data, row.cols})),
                         static_cast<std::size_t>(task_seeds_[i].row));
          backend_.download(row, rows.row_range(task_seeds_[i].row, 1));
        }
      }
      j = rows;
    } else {
      length = first_->columns();
      if (present_ > 0) {
        tape.backward(present_tasks(), tasks_, *first_);
        first_->read(host_gram_.view());
        gram_found(values);
      } else {
        backend_.fill(first_->rows(), scalar{0});
      }
      if constexpr (std::is_same_v<space, host_space>) {
        j = first_->rows();
      } else {
        host_rows_.resize(static_cast<std::size_t>(tasks_ * length));
        const matrix_view<scalar> rows(host_rows_.data(), tasks_, length);
        backend_.download(matrix_view<const scalar, space>(first_->rows()), rows);
        j = rows;
      }
    }
    host_direction_.resize(static_cast<std::size_t>(length));
    policy.combine(values, j, std::span<scalar>(host_direction_));
    if constexpr (requires { policy.worth(vierbein::weights(weights_)); }) {
      forget_weights();
      policy.worth(vierbein::weights(weights_));
      require_weights(values);
    }
    const matrix_view<const scalar> direction(host_direction_.data(), 1, length);

    // The shared parameters: along d, or along what d at the representation gives.
    if (by_representation_) {
      const auto b = step.representation.value();
      const rows_view target = tape.make(b.rows, b.cols);
      backend_.upload(matrix_view<const scalar>(host_direction_.data(), b.rows, b.cols), target);
      graph::seed<B> both[2] = {{graph::sum(step.representation * tape.constant(target)), 1.0, 0},
                                {step.alignment, 1.0, 0}};
      tape.backward(std::span<const graph::seed<B>>(both, step.alignment ? 2U : 1U),
                    gradient_.row());
    } else {
      if (step.alignment) {
        tape.backward(step.alignment, gradient_.view());
      } else {
        backend_.fill(gradient_.row(), scalar{0});
      }
      direction_.assign(backend_, {direction.data, length});
      index_t column = 0;
      for (const range& r : compared_) {
        backend_.copy(scalar{1}, part(direction_, {column, r.size}), part(gradient_, r), true);
        column += r.size;
      }
    }
    // The tasks' own ones.
    if (!own_.empty() && present_ > 0) {
      std::copy(weights_.begin(), weights_.end(), own_weights_.begin());
      if (own_unweighted_) {
        std::fill(own_weights_.begin(), own_weights_.end(), 1.0);
      }
      tape.backward(weighted_seeds(step, values, own_weights_, false), other_.row(),
                    step.representation);
      copy_own(true);
    }
  }

  // ---- helpers

  static void clear(matrix<double>& m) { std::fill_n(m.data(), m.size(), 0.0); }

  static rows_view part(const backend::buffer<B>& whole, const range& r) {
    return whole.row().col_range(r.offset, r.size);
  }

  void multiply(backend::transposition kind, matrix_view<const scalar, space> a,
                matrix_view<const scalar, space> b, matrix_view<scalar, space> c, bool accumulate) {
    const backend::product<scalar, space> p{a, b, c};
    backend_.multiply(kind, {&p, 1}, accumulate);
  }

  const B& backend_;
  const std::vector<std::string>& names_;
  index_t tasks_;
  std::vector<range> compared_, own_;
  const std::vector<segment>& segments_;
  std::vector<index_t> owners_;  // of the segments
  bool own_unweighted_, by_representation_;
  bool gram_by_rows_ = false;  // from all tasks' gradients at once
  backend::buffer<B> gradient_;
  std::vector<double> weights_, own_weights_;
  std::vector<graph::seed<B>> seeds_, task_seeds_;
  std::size_t present_ = 0;
  step_place place_;

  matrix<double> host_gram_;
  bool gram_known_ = false;
  std::vector<double> host_square_;
  std::optional<graph::gramian<B>> first_, second_;
  backend::buffer<B> jacobian_, gram_, row_weights_, other_, sum_, direction_;
  std::vector<scalar> host_row_weights_;

  std::vector<double> mean_;  // losses of two batches
  std::unique_ptr<bool[]> in_both_;
  aligned_vector<scalar> host_rows_, host_direction_;
};

}  // namespace vierbein::detail
