// What an alignment loss is.
//
// An alignment loss pulls the tasks' latent spaces together. A type is one when it is a plain
// aggregate of options and offers
//     static constexpr latent_space needs;         which task modules it needs (see below)
//     index_t copies() const;                      perturbed copies of each input that it wants,
//                                                  mostly 0
//     double perturbation_scale() const;           where copies() > 0: the standard deviation of
//                                                  the noise that makes a copy of b (else 0)
//     double norm_epsilon() const;                 optional: the epsilon of anchor_distances();
//                                                  1e-12 without
//     template <class Views>
//     typename Views::var operator()(Views& v) const;    records the loss, 1 x 1; an empty var for
//                                                        none
// and, where an option can be unusable,
//     void validate() const;                       throws vierbein::error for such a one; the model
//                                                  calls it when it is built
// and, only to be stored in model files (core/options.hpp),
//     static constexpr const char* kind;                   its name
//     template <class Visitor> void options(Visitor&&);    names every option
//
// `Views` shows the tasks of one batch of n rows. Matrices of several tasks are stacked by task:
//     v.tape()                            the tape
//     v.tasks(), v.rows(), v.copies()     N, n, K
//     v.task_index(name)                  the position of a task, or an error
//     v.latent()                          z_t = E_t(b), (N n, d)
//     v.flat()                            u_t = F_t(z_t), coordinates in the common frame,
//                                         (N n, d_u)
//     v.flat_copies()                     the same of the perturbed copies, (N K n, d_u), copy by
//                                         copy
//     v.copy_distances(epsilon)           sqrt(‖u_t - u_t⁽ᵏ⁾‖² + epsilon), (N K n, 1)
//     v.decode(u, which)                  F⁻¹_t(u), block i decoded by task which[i]
//     v.decode(u, which, blocks)          the same of block blocks[i]; a block may occur repeatedly
//     v.head_losses(z, which)             loss of head which[i] on block i against the batch's
//                                         labels; rows without a label of that task do not count
//     v.all_tasks()                       0 ... N-1, for `which`
//     v.source_flat()                     the sources' coordinates, (sources n, d_u)
//     v.latent_parameters(), v.latent_parameter(t, i)   the parameters of E_t, for soft sharing
// When a task is added to a trained model, N = 1 and the frozen sources take part as constants:
//     v.anchored()                        true then
//     v.source_count()                    their number (else N)
//     v.anchor_flat()                     the mean over the sources of their u_s, (n, d_u)
//     v.anchor_distances()                the mean over the sources of ‖u_s - u_s⁽ᵏ⁾‖, (K n, 1)
// Means suffice: Σ_s ‖u_s - u‖² = S ‖ū - u‖² + a constant, so consistency and distance cost the
// same whatever the number of sources.
#pragma once

#include <array>
#include <concepts>
#include <string>
#include <utility>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/graph/operations.hpp"

namespace vierbein::alignment {

/// The task modules that an alignment loss needs.
///   none    a head on the shared representation (hard sharing)
///   latent  a latent encoder E_t and a head
///   flat    also the transfer F_t into the common frame and its inverse F⁻¹_t (GATE)
enum class latent_space { none, latent, flat };

/// Which pairs of tasks are aligned: all, or those of a target or a list (not both).
struct pair_set {
  /// Every task with one target; "" for no target.
  std::string target = {};
  /// Named pairs (source, target); empty for all pairs.
  std::vector<std::pair<std::string, std::string>> list = {};

  [[nodiscard]] bool all() const { return target.empty() && list.empty(); }

  /// Throws for a target together with a list, and for a pair of a task with itself.
  void validate(const char* loss) const {
    require(target.empty() || list.empty(), loss,
            "pairs must have a target or a list, but has the target '{}' and a list of {}", target,
            list.size());
    for (const auto& [source, partner] : list) {
      require(source != partner, loss,
              "pairs must be of two tasks, but one in the list is '{}' with itself", source);
    }
  }

  template <class Visitor>
  void options(Visitor&& visit) {
    visit("target", target);
    visit("list", list);
  }
};

/// How the terms of several pairs among N tasks are put together.
///
/// Symmetric losses (consistency, distance, coral, mmd, soft_sharing) take an unordered pair once.
/// With `sum` it weighs 2, one for either order: N (N - 1) in total for all pairs, 2 (N - 1) for
/// one target, 2 P for a list of P. With `average` all pairs together weigh N / 2, those of a
/// target or of a list as well. Every entry of a list is a pair: one that is listed in both orders
/// counts twice.
///
/// `mapping` takes ordered pairs s → t: both orders when all pairs are aligned, only those into the
/// target when there is one, else those listed. With `sum` each weighs 1; with `average` all
/// together weigh N.
///
/// For a task that is added to S sources all of these stand for the S pairs with a source, whatever
/// the pair set: with `sum` each weighs 2 (mapping: 1), with `average` all together weigh 1.
enum class pair_scaling {
  average,  ///< every task gets the mean over its partners: a coefficient means the same for 2 and
            ///< for 64 tasks (our default)
  sum       ///< all ordered pairs are added, as the paper writes it
};
constexpr auto option_names(pair_scaling) {
  return std::array{"average", "sum"};
}

template <class A>
concept AlignmentLoss = requires(const A a) {
  { A::needs } -> std::convertible_to<latent_space>;
  { a.copies() } -> std::convertible_to<index_t>;
};

namespace detail {

/// An ordered pair of tasks by position.
struct ordered_pair {
  index_t source;
  index_t target;
};

/// The ordered pairs of a pair set that is not `all()`, by target. They live on the tape until the
/// step ends.
template <class Views>
std::span<ordered_pair> ordered_pairs(Views& v, const pair_set& set) {
  const bool listed = !set.list.empty();
  const auto count = listed ? static_cast<index_t>(set.list.size()) : v.tasks() - 1;
  const auto pairs = v.tape().template host_array<ordered_pair>(count);
  const index_t target = listed ? 0 : v.task_index(set.target);
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const auto k = static_cast<index_t>(i);
    pairs[i] = listed
                   ? ordered_pair{v.task_index(set.list[i].first), v.task_index(set.list[i].second)}
                   : ordered_pair{k < target ? k : k + 1, target};
  }
  std::sort(pairs.begin(), pairs.end(), [](const ordered_pair& a, const ordered_pair& b) {
    return a.target != b.target ? a.target < b.target : a.source < b.source;
  });
  return pairs;
}

/// Σ over pairs of the mean squared difference of two blocks of the stacked matrix x, weighted as
/// pair_scaling says for symmetric losses.
template <class Views>
typename Views::var pair_spread(Views& v, const pair_set& set, pair_scaling scaling,
                                typename Views::var x, index_t blocks) {
  using B = typename Views::backend_type;
  const auto tasks = static_cast<double>(blocks);
  if (blocks < 2) {
    return {};
  }
  const index_t height = x.rows() / blocks;
  if (v.anchored() || set.all()) {
    const double each = 1.0 / static_cast<double>(height * x.cols());
    const double sources = v.anchored() ? static_cast<double>(v.source_count()) : 1.0;
    return graph::group_spread(
        x, blocks, scaling == pair_scaling::sum ? 2 * each * sources : each / (tasks - 1));
  }
  const auto pairs = ordered_pairs(v, set);
  const auto count = static_cast<index_t>(pairs.size());
  const auto terms = v.tape().template host_array<typename Views::var>(count);
  const auto weights = v.tape().template host_array<double>(count);
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    terms[i] = graph::mean_squared_error(graph::slice_rows(x, pairs[i].source * height, height),
                                         graph::slice_rows(x, pairs[i].target * height, height));
    weights[i] = scaling == pair_scaling::sum ? 2.0 : tasks / 2 / static_cast<double>(count);
  }
  return graph::weighted_sum<B>(terms, weights);
}

}  // namespace detail

/// coefficient · loss, or nothing.
template <class Var>
Var scaled(double coefficient, Var loss) {
  return loss && coefficient != 1 ? coefficient * loss : loss;
}

}  // namespace vierbein::alignment

namespace vierbein {
using alignment::AlignmentLoss;
}
