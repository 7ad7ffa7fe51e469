// Answers what a target_based weighting policy asks within a step.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "vierbein/optimizer/adamw.hpp"
#include "vierbein/train/development.hpp"
#include "vierbein/train/loop.hpp"

namespace vierbein::detail {

/// The target's development loss near the parameters of a step. The trainer says before each step
/// where it is (`begin`), and the sweep gives the tasks' gradients (`set_gradients`).
template <Backend B, class Model>
class step_probe final : public step_oracle {
 public:
  using scalar = typename B::scalar;
  using space = typename B::space;
  using flat_view = array_view<scalar, space>;
  using rows_view = matrix_view<scalar, space>;

  step_probe(const B& device, const Model& model, const typename Model::input_set& inputs,
             const label_table& labels, const task_selection& tasks, const task_selection& target,
             development_rows rows, const random_stream& stream)
      : device_(device),
        model_(model),
        tasks_(tasks.names.size()),
        rows_(std::move(rows)),
        stream_(stream),
        judge_(device, model, inputs, labels, target),
        record_(model, inputs, labels, tasks),
        tape_(device),
        point_(device, model.theta().size()),
        gradient_(device, model.theta().size()),
        coefficients_(device, static_cast<index_t>(tasks_)),
        products_(device, static_cast<index_t>(tasks_)),
        host_(tasks_) {
    const std::string own = model.prefix(target.numbers[0]);
    head_ranges_ = trainable_ranges(model.theta(),
                                    [&](const std::string& name) { return name.starts_with(own); });
    index_t end = 0;
    for (const range& r : compared_ranges(model.theta())) {
      not_shared_.push_back({end, r.offset - end});
      end = r.offset + r.size;
    }
    not_shared_.push_back({end, model.theta().size() - end});
    next_ = rows_.batches();
  }

  /// A step begins at θ with the batch `rows`.
  void begin(flat_view theta, std::span<const index_t> rows, random_stream step_stream) {
    theta_ = theta;
    gradients_ = {};
    batch_ = rows;
    step_stream_ = step_stream;
    if (next_ == rows_.batches()) {
      rows_.shuffle(stream_.fork(pass_++));
      next_ = 0;
    }
    development_ = rows_.batch(next_++);
  }
  /// Row t is ∇ℓ_t, all zero for a task that is absent.
  void set_gradients(matrix_view<const scalar, space> gradients) { gradients_ = gradients; }

  [[nodiscard]] std::size_t tasks() const override { return tasks_; }

  development_point look_ahead(std::span<const double> c, std::span<double> products,
                               development_head head, gradient_scope scope) override {
    require_gradients();
    require(c.size() == tasks_ && products.size() == tasks_, "weighting",
            "{} coefficients and {} products for {} tasks", c.size(), products.size(), tasks_);
    for (std::size_t t = 0; t < tasks_; ++t) {
      require(std::isfinite(c[t]), "weighting", "the coefficient of task {} is {}", t + 1, c[t]);
      host_[t] = static_cast<scalar>(-c[t]);
    }
    coefficients_.assign(device_, {host_.data(), std::ssize(host_)});
    copy(theta_, point_.view(), scalar{1}, false);
    multiply(backend::transposition::nn, coefficients_.row(), gradients_, point_.row(), true);
    if (head == development_head::fitted) {
      fit_head();
    }
    development_point result;
    result.loss = judge_.loss(point_.view(), development_, gradient_.view());
    if (scope == gradient_scope::shared) {
      for (const range& r : not_shared_) {  // some may be empty
        device_.fill(gradient_.row().col_range(r.offset, r.size), scalar{0});
      }
    }
    result.gradient_norm = std::sqrt(device_.squared_norm(gradient_.view()));
    inner_products(gradient_.view(), products);
    return result;
  }

  void implicit(const combination& train, std::size_t terms, double eta, double relative_step,
                std::span<double> products) override {
    require_gradients();
    require(products.size() == tasks_, "weighting", "{} products for {} tasks", products.size(),
            tasks_);
    if (v_.view().size == 0) {
      v_ = backend::buffer<B>(device_, theta_.size);
      p_ = backend::buffer<B>(device_, theta_.size);
      difference_ = backend::buffer<B>(device_, theta_.size);
    }
    judge_.loss(theta_, development_, v_.view());
    copy(v_.view(), p_.view(), scalar{1}, false);
    const double length = std::max(1.0, std::sqrt(device_.squared_norm(theta_)));
    for (std::size_t j = 0; j < terms; ++j) {
      const double norm = std::sqrt(device_.squared_norm(v_.view()));
      if (!(norm > 0)) {
        break;
      }
      // v ← v - η H v; p ← p + v
      const double epsilon = relative_step * length / norm;
      for (const double side : {1.0, -1.0}) {
        copy(theta_, point_.view(), scalar{1}, false);
        copy(v_.view(), point_.view(), static_cast<scalar>(side * epsilon), true);
        training_gradient(train);
        copy(gradient_.view(), difference_.view(), static_cast<scalar>(side), side < 0);
      }
      copy(difference_.view(), v_.view(), static_cast<scalar>(-eta / (2 * epsilon)), true);
      copy(v_.view(), p_.view(), scalar{1}, true);
    }
    inner_products(p_.view(), products);
  }

 private:
  void require_gradients() const {
    require(gradients_.data != nullptr, "weighting",
            "the policy asks about gradients in a step in which, it said, it would not look at "
            "them (looks_at)");
  }

  // The gradient of L_train at the point, on the step's batch.
  void training_gradient(const combination& train) {
    tape_.bind(model_.theta().segments(), point_.view());
    tape_.begin(graph::mode::training, step_stream_);  // the same dropout as the step itself
    const auto recorded = record_(tape_, batch_, false);
    values_.resize(tasks_);
    tape_.read(recorded.tasks, values_);
    weights_.assign(tasks_, 0.0);
    train({values_, recorded.present}, weights_);
    seeds_.clear();
    for (std::size_t t = 0; t < tasks_; ++t) {
      if (recorded.present[t]) {
        seeds_.push_back({recorded.tasks[t], weights_[t], 0});
      }
    }
    tape_.backward(seeds_, gradient_.row());
  }

  // Puts the fitted development head into the point: it follows AdamW (learning rate 1e-3, decay
  // 0.1, as the authors' code) on the step's development batch until its loss changes by less than
  // 1e-3 or 100 steps are done. It starts as the target's head at the point in the first step,
  // and from where it was in all later ones.
  void fit_head() {
    if (!head_optimizer_) {
      head_ = backend::buffer<B>(device_, theta_.size);
      copy(point_.view(), head_.view(), scalar{1}, false);
      head_optimizer_.emplace(optimizer::adamw{.learning_rate = 1e-3, .weight_decay = 0.1}, device_,
                              theta_.size);
    }
    for (const range& r : head_ranges_) {
      copy(head_.view().range(r.offset, r.size), point_.view().range(r.offset, r.size), scalar{1},
           false);
    }
    double before = std::numeric_limits<double>::infinity();
    for (int step = 0; step < 100; ++step) {
      const double loss = judge_.loss(point_.view(), development_, gradient_.view());
      if (std::abs(before - loss) < 1e-3) {
        break;
      }
      before = loss;
      head_optimizer_->step(point_.view(), gradient_.view(), 1.0, 1.0, head_ranges_);
    }
    for (const range& r : head_ranges_) {
      copy(point_.view().range(r.offset, r.size), head_.view().range(r.offset, r.size), scalar{1},
           false);
    }
  }

  void inner_products(flat_view with, std::span<double> products) {
    multiply(backend::transposition::nt, matrix_view<scalar, space>(with.data, 1, with.size),
             gradients_, products_.row(), false);
    products_.copy_to(device_, {host_.data(), std::ssize(host_)});
    std::copy(host_.begin(), host_.end(), products.begin());
  }

  void copy(flat_view from, flat_view to, scalar factor, bool accumulate) const {
    device_.copy(factor, matrix_view<const scalar, space>(from.data, 1, from.size),
                 matrix_view<scalar, space>(to.data, 1, to.size), accumulate);
  }
  void multiply(backend::transposition kind, matrix_view<const scalar, space> a,
                matrix_view<const scalar, space> b, matrix_view<scalar, space> c,
                bool accumulate) const {
    const backend::product<scalar, space> p{a, b, c};
    device_.multiply(kind, {&p, 1}, accumulate);
  }

  const B& device_;
  const Model& model_;
  std::size_t tasks_;
  development_rows rows_;
  random_stream stream_;
  target_judge<B, Model> judge_;
  batch_recorder<B, Model> record_;
  graph::tape<B> tape_;
  backend::buffer<B> point_, gradient_, v_, p_, difference_, head_, coefficients_, products_;
  std::optional<typename optimizer::adamw::template state<B>> head_optimizer_;
  std::vector<range> head_ranges_, not_shared_;
  std::vector<scalar> host_;
  std::vector<double> values_, weights_;
  std::vector<graph::seed<B>> seeds_;

  flat_view theta_;
  matrix_view<const scalar, space> gradients_;
  std::span<const index_t> batch_, development_;
  random_stream step_stream_{};
  std::size_t next_;  // development batch; the first step begins with a new order
  std::uint64_t pass_ = 0;
};

}  // namespace vierbein::detail
