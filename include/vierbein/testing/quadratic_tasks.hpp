// Toy tasks on which a weighting policy can be followed by hand, without a model.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/core/matrix.hpp"
#include "vierbein/weighting/concept.hpp"

namespace vierbein::testing {

/// ℓ(θ) = ½ Σ_k curvature_k (θ_k - centre_k)², so ∇ℓ = curvature (θ - centre), element by element.
struct quadratic_task {
  std::string name = {};
  std::vector<double> curvature = {};  ///< (P)
  std::vector<double> centre = {};     ///< (P)

  [[nodiscard]] double loss(std::span<const double> theta) const {
    double sum = 0;
    for (std::size_t k = 0; k < theta.size(); ++k) {
      const double d = theta[k] - centre[k];
      sum += 0.5 * curvature[k] * d * d;
    }
    return sum;
  }
  [[nodiscard]] double slope(std::span<const double> theta, std::size_t k) const {
    return curvature[k] * (theta[k] - centre[k]);
  }
};

/// T quadratic tasks on P parameters θ, one of them the target; the model is θ itself, and training
/// is plain gradient descent. The target's development loss is `development`: a further quadratic,
/// at first the target's own.
///
///     quadratic_tasks problem({{"main", {1, 1}, {0, 0}}, {"other", {1, 1}, {2, 0}}}, "main",
///                             {1, 1});
///     weighting::gcs policy{.target = "main"};
///     problem.descend(policy, 100, 0.1);
///     CHECK(problem.development.loss(problem.theta) < 1e-6);
struct quadratic_tasks {
  std::vector<quadratic_task> tasks;
  std::size_t target = 0;
  std::vector<double> theta;
  quadratic_task development;
  std::vector<std::string> names;

  /// Throws when the sizes do not match or no task is called `target_name`.
  quadratic_tasks(std::vector<quadratic_task> all, const std::string& target_name,
                  std::vector<double> start)
      : tasks(std::move(all)), theta(std::move(start)) {
    for (const quadratic_task& t : tasks) {
      require(t.curvature.size() == theta.size() && t.centre.size() == theta.size(),
              "testing::quadratic_tasks", "task '{}' must have {} curvatures and centres", t.name,
              theta.size());
      names.push_back(t.name);
    }
    target = weighting::find_target(names, target_name, "testing::quadratic_tasks");
    development = tasks[target];
  }

  /// What a descent has shown: a row a step.
  struct descent {
    std::vector<std::vector<double>> weights = {};  ///< (steps, T)
    std::vector<double> development_losses = {};    ///< (steps) after the step
  };

  /// Resets the policy and makes `steps` steps θ ← θ - rate Σ_t w_t ∇ℓ_t. All tasks are present.
  /// Each step counts as an epoch: `observe` and `end_epoch` follow it where the policy has them.
  template <class P>
  descent descend(P& policy, std::size_t steps, double rate);

  /// What rounds have shown: a row a round, rehearsals included.
  struct merging {
    std::vector<std::vector<std::string>> branches = {};  ///< their names
    std::vector<std::vector<double>> alpha = {};
    std::vector<std::vector<double>> worth = {};  ///< (rounds, T)
    std::vector<bool> rehearsal = {};
    std::vector<double> development_losses = {};  ///< after the round
  };

  /// Resets the policy and makes `count` rounds, not counting rehearsals: each branch makes `steps`
  /// steps θ_b ← θ_b - rate Σ_t w_t ∇ℓ_t with the plan's weights w (times their probability where
  /// tasks are drawn: what happens on average), then θ ← θ + Σ_b α_b (θ_b - θ), in rehearsals too.
  /// There is one development batch, and score is the negative development loss. Branches are
  /// scored `scorings` times, evenly spread, with the end of the round the last. The plan's epochs,
  /// equal_steps, keep_optimizer_state and scale_own_modules have no effect. Throws after 1,000
  /// rehearsals in a row.
  template <class P>
  merging rounds(P& policy, std::size_t count, std::size_t steps, double rate);
};

/// A step at problem.theta, answering by exact arithmetic. The fitted development head is the own
/// one. `present` marks the tasks in the batch (T); empty: all. Absent tasks have loss and gradient
/// 0.
class quadratic_step final : public step_oracle {
 public:
  explicit quadratic_step(const quadratic_tasks& problem, std::span<const bool> present = {})
      : problem_(problem),
        present_(present),
        gradients_(static_cast<index_t>(problem.tasks.size()),
                   static_cast<index_t>(problem.theta.size())),
        gram_(gradients_.rows(), gradients_.rows()),
        values_(problem.tasks.size()) {
    for (index_t t = 0; t < gradients_.rows(); ++t) {
      const auto task = static_cast<std::size_t>(t);
      if (present.empty() || present[task]) {
        values_[task] = problem.tasks[task].loss(problem.theta);
        for (index_t k = 0; k < gradients_.cols(); ++k) {
          gradients_(t, k) = problem.tasks[task].slope(problem.theta, static_cast<std::size_t>(k));
        }
      }
    }
    for (index_t s = 0; s < gram_.rows(); ++s) {
      for (index_t t = 0; t < gram_.rows(); ++t) {
        gram_(s, t) = inner(gradients_.row(s), gradients_.row(t));
      }
    }
  }

  /// The losses and the Gramian of the step; valid while it lives.
  [[nodiscard]] losses values() const { return {values_, present_}; }
  [[nodiscard]] gram_matrix gram() const { return gram_.view(); }
  /// ∇ℓ_t (P), a row a task.
  [[nodiscard]] const matrix<double>& gradients() const { return gradients_; }

  [[nodiscard]] std::size_t tasks() const override { return values_.size(); }

  development_point look_ahead(std::span<const double> c, std::span<double> products,
                               development_head /*head*/ = development_head::own,
                               gradient_scope /*scope*/ = gradient_scope::all) override {
    std::vector<double> theta = problem_.theta;
    for (std::size_t t = 0; t < tasks(); ++t) {
      const auto g = gradients_.row(static_cast<index_t>(t));
      for (std::size_t k = 0; k < theta.size(); ++k) {
        theta[k] -= c[t] * g[k];
      }
    }
    const std::vector<double> slope = development_slope(theta);
    multiply(slope, products);
    return {problem_.development.loss(theta), std::sqrt(inner(slope, slope))};
  }

  /// With a = ∂L_train/∂ℓ, H v = Σ_t a_t H_t v + Σ_s (∂a_s/∂θ · v) g_s. The first term is exact; in
  /// the second, which vanishes when L_train is linear, a(ℓ) is differentiated along ℓ' = J v by a
  /// central difference in double. relative_step is not used.
  void implicit(const combination& train, std::size_t terms, double eta, double /*relative_step*/,
                std::span<double> products) override {
    std::vector<double> v = development_slope(problem_.theta);
    std::vector<double> sum = v;
    std::vector<double> a(tasks());
    std::vector<double> bend(tasks());
    std::vector<double> along(tasks());
    train(values(), a);
    for (std::size_t j = 0; j < terms; ++j) {
      multiply(v, along);
      differentiate(train, along, bend);
      std::vector<double> h(v.size());
      for (std::size_t t = 0; t < tasks(); ++t) {
        const auto g = gradients_.row(static_cast<index_t>(t));
        for (std::size_t k = 0; k < v.size() && values().has(t); ++k) {
          h[k] += a[t] * problem_.tasks[t].curvature[k] * v[k] + bend[t] * g[k];
        }
      }
      for (std::size_t k = 0; k < v.size(); ++k) {
        v[k] -= eta * h[k];
        sum[k] += v[k];
      }
    }
    multiply(sum, products);
  }

 private:
  static double inner(std::span<const double> a, std::span<const double> b) {
    double sum = 0;
    for (std::size_t k = 0; k < a.size(); ++k) {
      sum += a[k] * b[k];
    }
    return sum;
  }

  [[nodiscard]] std::vector<double> development_slope(std::span<const double> theta) const {
    std::vector<double> slope(theta.size());
    for (std::size_t k = 0; k < theta.size(); ++k) {
      slope[k] = problem_.development.slope(theta, k);
    }
    return slope;
  }

  // products = J v
  void multiply(std::span<const double> v, std::span<double> products) const {
    for (std::size_t t = 0; t < tasks(); ++t) {
      products[t] = inner(gradients_.row(static_cast<index_t>(t)), v);
    }
  }

  // bend = ∂a/∂ℓ · along
  void differentiate(const combination& train, std::span<const double> along,
                     std::span<double> bend) const {
    constexpr double step = 1e-5;
    std::vector<double> shifted(values_);
    std::vector<double> below(tasks());
    for (std::size_t t = 0; t < tasks(); ++t) {
      shifted[t] = values_[t] - step * along[t];
    }
    train({shifted, present_}, below);
    for (std::size_t t = 0; t < tasks(); ++t) {
      shifted[t] = values_[t] + step * along[t];
    }
    train({shifted, present_}, bend);
    for (std::size_t t = 0; t < tasks(); ++t) {
      bend[t] = (bend[t] - below[t]) / (2 * step);
    }
  }

  const quadratic_tasks& problem_;
  std::span<const bool> present_;
  matrix<double> gradients_;  // (T, P)
  matrix<double> gram_;       // (T, T)
  std::vector<double> values_;
};

/// The end of a round at problem.theta with the branches' updates δ_b (P): one development batch,
/// and the score is the negative development loss. An update whose α is 0 is not looked at.
class quadratic_update final : public update_oracle {
 public:
  quadratic_update(const quadratic_tasks& problem, std::vector<std::vector<double>> updates)
      : problem_(problem), updates_(std::move(updates)) {}

  [[nodiscard]] std::size_t branches() const override { return updates_.size(); }
  [[nodiscard]] std::size_t batches() const override { return 1; }

  double loss(std::span<const double> alpha, std::size_t /*batch*/,
              std::span<double> slope) override {
    const std::vector<double> theta = at(alpha);
    for (std::size_t b = 0; b < slope.size(); ++b) {
      slope[b] = 0;
      for (std::size_t k = 0; k < theta.size(); ++k) {
        slope[b] += problem_.development.slope(theta, k) * updates_[b][k];
      }
    }
    return problem_.development.loss(theta);
  }
  double loss(std::span<const double> alpha) override {
    return problem_.development.loss(at(alpha));
  }
  double score(std::span<const double> alpha) override { return -loss(alpha); }

  /// θ + Σ_b α_b δ_b.
  [[nodiscard]] std::vector<double> at(std::span<const double> alpha) const {
    std::vector<double> theta = problem_.theta;
    for (std::size_t b = 0; b < updates_.size(); ++b) {
      for (std::size_t k = 0; k < theta.size() && alpha[b] != 0; ++k) {
        theta[k] += alpha[b] * updates_[b][k];
      }
    }
    return theta;
  }

 private:
  const quadratic_tasks& problem_;
  std::vector<std::vector<double>> updates_;  // (branches, P)
};

template <class P>
quadratic_tasks::descent quadratic_tasks::descend(P& policy, std::size_t steps, double rate) {
  static_assert(LossBasedWeighting<P> || GramBasedWeighting<P> || TargetBasedWeighting<P>,
                "descend needs a policy that weighs each step; for update_based ones there is "
                "rounds");
  weighting::reset(policy, names);
  descent result;
  for (std::size_t i = 0; i < steps; ++i) {
    quadratic_step step(*this);
    std::vector<double> w(tasks.size());
    if constexpr (LossBasedWeighting<P>) {
      policy.weigh(step.values(), w);
    } else if constexpr (GramBasedWeighting<P>) {
      policy.weigh(step.values(), step.gram(), w);
    } else {
      policy.weigh(step.values(), step.gram(), step, w);
    }
    for (std::size_t t = 0; t < tasks.size(); ++t) {
      const auto g = step.gradients().row(static_cast<index_t>(t));
      for (std::size_t k = 0; k < theta.size(); ++k) {
        theta[k] -= rate * w[t] * g[k];
      }
    }
    if constexpr (requires { policy.observe(losses{}); }) {
      policy.observe(quadratic_step(*this).values());
    }
    if constexpr (requires { policy.end_epoch(std::span<const double>{}); }) {
      policy.end_epoch(step.values().values);
    }
    result.weights.push_back(std::move(w));
    result.development_losses.push_back(development.loss(theta));
  }
  return result;
}

template <class P>
quadratic_tasks::merging quadratic_tasks::rounds(P& policy, std::size_t count, std::size_t steps,
                                                 double rate) {
  static_assert(UpdateBasedWeighting<P>,
                "rounds needs a policy of the kind update_based; for the others there is descend");
  struct scored {
    double score = 0;
    std::vector<double> theta = {};
    void offer(double s, const std::vector<double>& at) {
      if (theta.empty() || s > score) {
        score = s;
        theta = at;
      }
    }
  };
  weighting::reset(policy, names);
  merging result;
  std::map<std::string, scored> best_ever;
  std::size_t rehearsals = 0;
  for (std::size_t done = 0; done < count;) {
    round_plan plan;
    policy.plan(plan);
    rehearsals = plan.rehearsal ? rehearsals + 1 : 0;
    require(rehearsals <= 1000, "testing::quadratic_tasks", "the policy plans only rehearsals");
    std::vector<std::vector<double>> updates;
    result.branches.emplace_back();
    for (const branch& b : plan.branches) {
      std::vector<double> x = theta;
      scored best_of_round;
      const std::size_t scorings = std::max<std::size_t>(1, plan.scorings);
      for (std::size_t i = 1; i <= steps; ++i) {
        std::vector<double> slope(x.size());
        for (std::size_t t = 0; t < tasks.size(); ++t) {
          const double w = b.weights[t] * (b.draw.empty() ? 1.0 : b.draw[t]);
          for (std::size_t k = 0; k < x.size() && w != 0; ++k) {
            slope[k] += w * tasks[t].slope(x, k);
          }
        }
        for (std::size_t k = 0; k < x.size(); ++k) {
          x[k] -= rate * slope[k];
        }
        if (i * scorings / steps != (i - 1) * scorings / steps) {
          best_of_round.offer(-development.loss(x), x);
        }
      }
      if (plan.result == branch_result::best_of_round && steps > 0) {
        x = best_of_round.theta;
      } else if (plan.result == branch_result::best_ever && steps > 0) {
        scored& best = best_ever[b.name];
        best.offer(best_of_round.score, best_of_round.theta);
        x = best.theta;
      }
      for (std::size_t k = 0; k < x.size(); ++k) {
        x[k] -= theta[k];
      }
      updates.push_back(std::move(x));
      result.branches.back().push_back(b.name);
    }
    std::vector<double> alpha(plan.branches.size());
    quadratic_update oracle(*this, std::move(updates));
    policy.combine(oracle, alpha);
    theta = oracle.at(alpha);
    std::vector<double> worth(tasks.size());
    std::as_const(policy).worth(worth);
    result.alpha.push_back(std::move(alpha));
    result.worth.push_back(std::move(worth));
    result.rehearsal.push_back(plan.rehearsal);
    result.development_losses.push_back(development.loss(theta));
    done += plan.rehearsal ? 0 : 1;
  }
  return result;
}

}  // namespace vierbein::testing
