// What a weighting policy may ask about the target task: how its loss on the development rows
// changes with the policy's choice. The trainer answers; so does testing/quadratic_tasks.hpp, by
// hand-computable arithmetic.
//
// The development rows are those set aside for validation that have a label of the target. Their
// loss is the mean over labels, in evaluation mode.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/weighting/kinds.hpp"

namespace vierbein {

/// Through which head the target's development loss is taken: the model's own, or one that is
/// fitted on development rows for this purpose alone, the rest of the model held still
/// (Dery, Michel, Talwalkar and Neubig 2022).
enum class development_head { own, fitted };

/// Over which parameters gradients are compared: all, or those that the tasks share (all where they
/// share none), as the Gramian is formed.
enum class gradient_scope { all, shared };

/// A point near θ: the target's development loss L there and ‖∇L‖.
struct development_point {
  double loss = 0;
  double gradient_norm = 0;
};

/// Within a step at the parameters θ, with g_t the gradient of task t's loss on the step's batch.
/// All questions of one step are about the same development batch; the next step has the next one.
class step_oracle {
 public:
  virtual ~step_oracle() = default;
  step_oracle() = default;
  step_oracle(const step_oracle&) = delete;
  step_oracle& operator=(const step_oracle&) = delete;

  [[nodiscard]] virtual std::size_t tasks() const = 0;

  /// Looks at θ' = θ - Σ_t c_t g_t and assigns products[t] = ⟨∇L(θ'), g_t⟩, so that ∂L/∂c_t =
  /// -products[t] when `scope` is all: exact, by one forward and one backward pass and T inner
  /// products.
  virtual development_point look_ahead(std::span<const double> c, std::span<double> products,
                                       development_head head = development_head::own,
                                       gradient_scope scope = gradient_scope::all) = 0;

  /// Gives the coefficients a_t = ∂L_train/∂ℓ_t of an objective L_train(ℓ_1, ..., ℓ_T).
  using combination = std::function<void(losses, weights)>;

  /// Assigns products[t] = ⟨p, g_t⟩ with p = Σ_{j=0}^{terms} (I - ηH)^j ∇L(θ), where H is the
  /// Hessian of L_train on the step's batch and η p approximates H⁻¹∇L (Neumann series; Lorraine,
  /// Vicol and Duvenaud 2020). A product Hv is the central difference of ∇L_train between
  /// θ ± ε v, ε = relative_step · max(‖θ‖, 1) / ‖v‖: two forward and backward passes each.
  virtual void implicit(const combination& train, std::size_t terms, double eta,
                        double relative_step, std::span<double> products) = 0;
};

/// Between rounds at the parameters θ, with δ_i = θ_i - θ the update that branch i has made.
class update_oracle {
 public:
  virtual ~update_oracle() = default;
  update_oracle() = default;
  update_oracle(const update_oracle&) = delete;
  update_oracle& operator=(const update_oracle&) = delete;

  /// The number of branches.
  [[nodiscard]] virtual std::size_t branches() const = 0;
  /// The number of batches that the development rows are cut into, at least 1. They are drawn anew
  /// for each round.
  [[nodiscard]] virtual std::size_t batches() const = 0;

  /// The target's loss at θ + Σ_i α_i δ_i on one development batch. When `slope` is not empty it is
  /// assigned ∂/∂α_i = ⟨∇L(θ + Σ α δ), δ_i⟩: one backward pass more and one inner product a branch.
  virtual double loss(std::span<const double> alpha, std::size_t batch,
                      std::span<double> slope) = 0;
  /// The same loss on all development rows.
  virtual double loss(std::span<const double> alpha) = 0;
  /// How good the target is at θ + Σ α δ on all development rows; more is better. Accuracy for
  /// classes, otherwise the negative loss.
  virtual double score(std::span<const double> alpha) = 0;
};

/// What one branch of a round trains. All branches start from the same θ.
struct branch {
  std::string name = {};
  /// (T) Factor of each task's loss; a task with 0 takes no part in this branch.
  std::vector<double> weights = {};
  /// (T) With which probability a batch holds rows of this one task and counts for it alone. Empty:
  /// every batch holds rows of all the branch's tasks, and their weighted losses are added.
  std::vector<double> draw = {};
};

/// Which parameters of a branch count as its result.
enum class branch_result {
  last,           ///< those at the end of the round
  best_of_round,  ///< the best by the target's score that were seen in this round
  best_ever       ///< the best ever seen in a branch of this name; they may be of an older round
};

/// What happens in the next round.
struct round_plan {
  std::vector<branch> branches = {};
  /// Epochs that each branch trains: the share of its rows that it visits in this round.
  double epochs = 0.1;
  /// Every branch makes as many steps as the one with the most rows; one with fewer rows visits
  /// them more often. Otherwise each visits the same share of its own rows.
  bool equal_steps = false;
  /// A branch goes on with the optimiser's state of the last branch of its name; otherwise it
  /// begins with a new one.
  bool keep_optimizer_state = true;
  branch_result result = branch_result::last;
  /// How often a branch is scored within the round, for the best of it.
  std::size_t scorings = 1;
  /// Whether α scales all of a branch's update, or only that of the parameters the tasks share. In
  /// the second case what a task owns, its head above all, moves as far as its branch has moved it
  /// (with several branches that train the task, α scales it all the same).
  bool scale_own_modules = true;
  /// A round that only compares: it does not count as training time.
  bool rehearsal = false;
};

namespace weighting {

/// The number of the task called `target`; throws a sentence that begins with `policy` and lists
/// the names when there is none.
inline std::size_t find_target(const std::vector<std::string>& names, const std::string& target,
                               const char* policy) {
  for (std::size_t t = 0; t < names.size(); ++t) {
    if (names[t] == target) {
      return t;
    }
  }
  std::string known;
  for (const std::string& name : names) {
    known += (known.empty() ? "" : ", ") + name;
  }
  throw error(policy, formatted("there is no task '{}' to be the target among {}", target, known));
}

}  // namespace weighting

}  // namespace vierbein
