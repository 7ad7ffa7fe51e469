// One training by a policy of any kind.
#pragma once

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "../support/weightings.hpp"
#include "vierbein/backend/cpu.hpp"
#include "vierbein/optimizer/adam.hpp"
#include "vierbein/train/callbacks.hpp"
#include "vierbein/train/fit.hpp"
#include "vierbein/train/insight.hpp"

namespace compare_weightings {

namespace vb = vierbein;

/// Notes how long steps take, and what was weighed in them.
struct step_notes {
  std::vector<double>* seconds;
  vb::training_course* course;

  std::chrono::steady_clock::time_point last = {};

  void on_weights(const vb::step_record& r) const {
    if (course != nullptr && r.gram.rows > 0) {
      course->task_names.assign(r.names.begin(), r.names.end());
      course->steps.push_back(vb::callback::insight::examine(r));
    }
  }
  void on_step(const vb::progress_info& info) {
    const auto now = std::chrono::steady_clock::now();
    if (info.step > 1) {  // the first one of an epoch comes after a validation
      seconds->push_back(std::chrono::duration<double>(now - last).count());
    }
    last = now;
  }
};

struct timing {
  double ms_per_step = 0;
  double seconds = 0;
};

/// Trains `model` by the policy.
template <class Model, class Dataset>
timing train_by(examples::any_policy policy, const vb::backend::cpu& backend, Model& model,
                const Dataset& data, const vb::training& options, double learning_rate,
                const std::string& label, vb::training_course* course) {
  std::vector<double> steps;
  const auto start = std::chrono::steady_clock::now();
  std::visit(
      [&](auto& one) {
        vb::fit(backend, model, data, options, vb::optimizer::adam{.learning_rate = learning_rate},
                std::move(one), vb::callback::progress{label}, step_notes{&steps, course});
      },
      policy);
  timing t;
  t.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (!steps.empty()) {
    const auto middle = steps.begin() + std::ssize(steps) / 2;
    std::nth_element(steps.begin(), middle, steps.end());
    t.ms_per_step = 1e3 * *middle;
  }
  return t;
}

}  // namespace compare_weightings
