// The kinds of weighting policies, and what all of them see.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "vierbein/core/view.hpp"

namespace vierbein {

// ---- kinds: what a policy needs to see

struct loss_based {};      ///< weigh(losses, weights)
struct gram_based {};      ///< weigh(losses, gram, weights); gram (T, T) holds ∇ℓ_s · ∇ℓ_t
struct gradient_based {};  ///< combine(losses, jacobian, direction), element by element
struct target_based {};    ///< weigh(losses, gram, step_oracle, weights)
struct update_based {};    ///< plan(round_plan), combine(update_oracle, alpha): between rounds

/// What a policy looks at in a step, each with all before it. The gradients are those of all tasks
/// and all parameters, about which a step_oracle can be asked.
enum class sight { losses, gramian, gradients };

/// The losses of one batch, one a task, in the order of the tasks. A task that has no label in the
/// batch is absent: its value is 0 and its weight has no effect.
struct losses {
  std::span<const double> values;      ///< (T), never NaN
  std::span<const bool> present = {};  ///< (T), or empty when all tasks are present
  /// ε of the numbers that a Gramian beside these losses was summed in, relative to ‖g_s‖ ‖g_t‖:
  /// what is smaller is noise to a policy that inverts it.
  double gram_precision = 0x1p-52;

  [[nodiscard]] std::size_t size() const { return values.size(); }
  [[nodiscard]] double operator[](std::size_t task) const { return values[task]; }
  /// Whether the batch holds a label of this task.
  [[nodiscard]] bool has(std::size_t task) const { return present.empty() || present[task]; }
};

/// Where a policy writes its weights, (T).
using weights = std::span<double>;

/// The matrix of inner products of the tasks' gradients with respect to the parameters that they
/// share, (T, T); with respect to all parameters when they share none.
using gram_matrix = matrix_view<const double>;

/// Which columns of a Jacobian belong to one segment of the parameters.
struct gradient_columns {
  std::string segment;  ///< its name, such as "trunk/layer0/weight"
  index_t first = 0;
  index_t count = 0;
};

}  // namespace vierbein
