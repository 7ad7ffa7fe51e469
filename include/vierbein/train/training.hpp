// The options of a training run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/core/types.hpp"
#include "vierbein/optimizer/schedule.hpp"

namespace vierbein {

/// What to do when a branch of an update_based weighting policy fails: a loss that is not finite,
/// or an update beyond `training::largest_update`.
enum class failed_round {
  discard,  ///< forget the round and go on from the parameters before it; the tenth in a row ends
            ///< it
  stop      ///< end the training with the best parameters so far
};

/// Which gradients a weighting policy compares (and a gradient_based one combines): those of the
/// parameters that the tasks share, or those of the representation b that these parameters give,
/// row after row of the batch. The second takes no sweep of the trunk for each task, but sees a
/// sample's part in b, not in the parameters: the Gramian bounds that of the parameters up to the
/// trunk's Jacobian (Sener and Koltun 2018).
enum class compared_gradients { shared_parameters, representation };

/// What a task's own parameters (its module and head) follow: w_t ∇ℓ_t, as in the sum of weighted
/// losses, or ∇ℓ_t; in both cases plus the alignment's gradient. Published code has either:
/// LibMTL's and TorchJD's backward over the shared parameters leave heads unweighted, everything
/// that weighs losses weights them too.
enum class own_gradients { weighted, unweighted };

/// How the Gramian of gradients is found. The results differ by rounding.
///   jacobian   all tasks' gradients of all parameters at once: memory (T + 1) P; one sweep
///   layers     added up layer by layer (graph/gramian.hpp): no memory for gradients but one
///              panel's; the direction takes a second sweep
///   automatic  jacobian where the tasks share no trunk, or are two with few parameters; else
///              layers
enum class gramian_way { automatic, jacobian, layers };

/// What makes an epoch, or a round, the best one, whose parameters are kept. The score is the
/// accuracy where a head knows what is right, otherwise the negative loss; of equal scores the
/// smaller loss decides. With `last` it is the last one: when only some tens of rows are set aside,
/// the best of many epochs on them is chance, and a schedule that ends low needs no choice.
enum class best_by { loss, score, last };

/// How long and on what to train.
struct training {
  index_t epochs = 40;
  index_t batch = 64;  ///< rows of a batch
  /// Share of the rows set aside to choose the best epoch by; 0 keeps the last one. Not used when
  /// `validation_rows` names them.
  double validation_fraction = 0.1;
  std::vector<index_t> validation_rows = {};
  /// By what the best epoch is chosen on the validation rows. A classifier's loss rises long before
  /// its accuracy falls.
  best_by best = best_by::loss;
  /// Every batch holds rows of every task: see data::sampler::balanced. Otherwise rows are
  /// shuffled.
  bool balanced = false;
  /// Largest Euclidean norm of the gradient; a longer one is scaled down to it. 0 for no limit.
  double clip_norm = 5;
  /// Factor of the learning rate from the progress in [0, 1]: any callable, double to double. See
  /// optimizer/schedule.hpp.
  vierbein::schedule::any schedule = {};
  std::uint64_t seed = 1;
  compared_gradients compare = compared_gradients::shared_parameters;
  own_gradients own = own_gradients::weighted;
  gramian_way gramian = gramian_way::automatic;
  failed_round on_failed_round = failed_round::discard;
  /// The longest update of a branch in one round, relative to max(‖θ‖, 1), that is no failure.
  double largest_update = 10;
  /// The most bytes that a step's values and their gradients may take, validation included; a step
  /// that needs more, as a rule the first, ends the training with an error. 0 for no limit.
  /// `history::step_bytes` says what they took. With an update_based policy it holds for the steps
  /// of each thread; what policies look at beside the steps (development rows, further batches) is
  /// not in it.
  std::size_t memory_limit = 0;
  /// On an interrupt (Ctrl-C) training stops after the step and keeps the best parameters.
  bool handle_interrupts = true;

  void validate() const {
    require(epochs > 0, "training", "epochs must be positive, but is {}", epochs);
    require(batch > 0, "training", "batch must be positive, but is {}", batch);
    require(validation_fraction >= 0 && validation_fraction < 1, "training",
            "validation_fraction must be at least 0 and less than 1, but is {}",
            validation_fraction);
    require(clip_norm >= 0, "training", "clip_norm must not be negative, but is {}", clip_norm);
    require(largest_update > 0, "training", "largest_update must be positive, but is {}",
            largest_update);
  }
};

}  // namespace vierbein
