// Branches with more and with fewer auxiliaries, merged by what the target makes of it.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/tools.hpp"

namespace vierbein::weighting {

/// ForkMerge (Jiang, Chen, Pan, Wang, Liu, Jiang and Long 2023).
///     Pruning, a rehearsal: for each auxiliary a, the target and a are trained together for
///         pruning_epochs epochs; the auxiliaries are ranked by the target's best score.
///     Fork, every `epochs` epochs: for each K in `top`, a branch trains the target and the K best
///         auxiliaries, all branches from the same θ.
///     Merge: θ ← Σ_b λ_b θ_b / Σ_b λ_b. In the order of their scores, the best branch gets λ = 1,
///         and the i-th after it, i = 1, 2, ..., that of α (Σ λ so far) / i, α in `grid`, with
///         which the merged θ scores best; 0 unless the score rises.
/// Scores are the target's on the development rows. In the two-branch form, top = {0, all},
/// θ = (1 - λ) θ_target + λ θ_joint with λ ≤ ½ for the worse of the two.
///
/// As published: epochs = 5, pruning_epochs = 1, top = {0, 3, 5}, grid = {0, .2, ..., 1}, branches
/// of equally many steps, each with an optimiser state of its own that merging neither averages nor
/// resets; all parameters are merged, the tasks' own heads too; and a branch's result is the best
/// ever scored in it (branch_result::best_ever). Its score is never reset, so a branch that does
/// not beat it comes back with the parameters of an older round; `result` has the alternatives.
/// Losses of a branch are added (the published code for one data set with many labels); with
/// `sampled`, every batch is of one task, the target's with probability ½ and each of K
/// auxiliaries' with ½ / K (that for many data sets).
///
/// Ours: a K beyond the number of auxiliaries means all, and each branch is made once; there is no
/// rehearsal when no branch depends on the ranking. With T = 1 there is one branch and α = 1. A
/// branch whose score is not a number gets λ = 0; when all are so, that is refused. Equal scores
/// keep the order of the tasks or of `top`. Which tasks a batch has labels for does not matter.
struct fork_merge {
  using weighting_kind = update_based;

  std::string target = {};
  std::vector<std::size_t> top = {0, 3, 5};
  double epochs = 5;
  double pruning_epochs = 1;
  std::vector<double> grid = {0, 0.2, 0.4, 0.6, 0.8, 1};
  bool sampled = false;
  branch_result result = branch_result::best_ever;

  named_tasks tasks = {};                 ///< set by `reset`
  std::vector<std::size_t> ranking = {};  ///< the auxiliaries, best first
  bool ranked = false;                    ///< whether that is settled
  std::vector<std::size_t> sizes = {};    ///< K of each branch
  std::vector<double> share = {};         ///< (T) by `worth`
  std::size_t rounds = 0;                 ///< merged so far

  /// Begins again. Throws for an unknown target or an unusable option.
  void reset(const std::vector<std::string>& names) {
    tasks.begin(names, target, place);
    require_positive(epochs, "epochs", place);
    require_positive(pruning_epochs, "pruning_epochs", place);
    require(!top.empty(), place, "top must name the size of at least one branch");
    for (const double a : grid) {
      require(a >= 0 && a <= 1, place, "grid must be within [0, 1], but holds {}", a);
    }
    ranking.clear();
    for (std::size_t t = 0; t < names.size(); ++t) {
      if (t != tasks.target) {
        ranking.push_back(t);
      }
    }
    sizes.clear();
    for (const std::size_t k : top) {
      const std::size_t size = std::min(k, ranking.size());
      if (std::find(sizes.begin(), sizes.end(), size) == sizes.end()) {
        sizes.push_back(size);
      }
    }
    ranked = std::all_of(sizes.begin(), sizes.end(),
                         [&](std::size_t k) { return k == 0 || k == ranking.size(); });
    share.assign(names.size(), 1.0);
    rounds = 0;
  }

  void plan(round_plan& p) const {
    require(tasks.size() > 0, place, "call reset before plan");
    p = round_plan{.equal_steps = true};
    if (ranked) {
      p.epochs = epochs;
      p.result = result;
      for (const std::size_t k : sizes) {
        p.branches.push_back(make_branch(formatted("top {}", k), std::span(ranking).first(k)));
      }
    } else {
      p.rehearsal = true;
      p.keep_optimizer_state = false;
      p.epochs = pruning_epochs;
      p.result = branch_result::best_of_round;
      for (const std::size_t a : ranking) {
        p.branches.push_back(make_branch(formatted("with {}", tasks.names[a]), std::span(&a, 1)));
      }
    }
    p.scorings = static_cast<std::size_t>(std::max(1.0, std::round(p.epochs)));
  }

  void combine(update_oracle& oracle, weights alpha) {
    const std::size_t branches = ranked ? sizes.size() : ranking.size();
    require(tasks.size() > 0 && oracle.branches() == branches && alpha.size() == branches, place,
            "planned {} branches, but given {}; call reset", branches, oracle.branches());
    // The branches by their scores, best first.
    std::vector<double> score(branches);
    for (std::size_t b = 0; b < branches; ++b) {
      std::fill(alpha.begin(), alpha.end(), 0.0);
      alpha[b] = 1;
      const double s = oracle.score(alpha);
      score[b] = std::isfinite(s) ? s : -std::numeric_limits<double>::infinity();
    }
    std::vector<std::size_t> order(branches);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return score[a] > score[b] || (score[a] == score[b] && a < b);
    });
    require(std::isfinite(score[order[0]]), place,
            "no branch of {} has a finite score for the target '{}': a smaller learning rate may "
            "help",
            ranked ? formatted("round {}", rounds + 1) : "the pruning", target);
    if (ranked) {
      merge(oracle, score, order, alpha);
    } else {
      const std::vector<std::size_t> auxiliaries = ranking;
      for (std::size_t i = 0; i < branches; ++i) {
        ranking[i] = auxiliaries[order[i]];
      }
      ranked = true;
      std::fill(alpha.begin(), alpha.end(), 0.0);
    }
  }

  /// (T) The share of the merged parameters that come from branches which train the task: 1 for the
  /// target, and for all tasks before the first merge.
  void worth(weights w) const { std::copy(share.begin(), share.end(), w.begin()); }

 private:
  static constexpr const char* place = "weighting::fork_merge";

  [[nodiscard]] branch make_branch(std::string name,
                                   std::span<const std::size_t> auxiliaries) const {
    branch b{.name = std::move(name), .weights = std::vector<double>(tasks.size())};
    b.weights[tasks.target] = 1;
    for (const std::size_t a : auxiliaries) {
      b.weights[a] = 1;
    }
    if (sampled) {
      const auto k = static_cast<double>(auxiliaries.size());
      b.draw.assign(tasks.size(), 0.0);
      b.draw[tasks.target] = auxiliaries.empty() ? 1 : 0.5;
      for (const std::size_t a : auxiliaries) {
        b.draw[a] = 0.5 / k;
      }
    }
    return b;
  }

  void merge(update_oracle& oracle, const std::vector<double>& score,
             const std::vector<std::size_t>& order, weights alpha) {
    std::vector<double> lambda(order.size());
    double total = 1;
    lambda[order[0]] = 1;
    double best_score = score[order[0]];
    for (std::size_t i = 1; i < order.size() && std::isfinite(score[order[i]]); ++i) {
      const std::size_t b = order[i];
      const double bound = total / static_cast<double>(i);
      double best = 0;
      for (const double a : grid) {
        if (a == 0) {
          continue;  // its score is known
        }
        lambda[b] = a * bound;
        normalise(lambda, total + lambda[b], alpha);
        const double s = oracle.score(alpha);
        if (s > best_score) {
          best_score = s;
          best = lambda[b];
        }
      }
      lambda[b] = best;
      total += best;
    }
    normalise(lambda, total, alpha);
    std::fill(share.begin(), share.end(), 0.0);
    for (std::size_t b = 0; b < alpha.size(); ++b) {
      share[tasks.target] += alpha[b];
      for (std::size_t k = 0; k < sizes[b]; ++k) {
        share[ranking[k]] += alpha[b];
      }
    }
    ++rounds;
  }

  static void normalise(const std::vector<double>& lambda, double total, weights alpha) {
    for (std::size_t b = 0; b < lambda.size(); ++b) {
      alpha[b] = lambda[b] / total;
    }
  }
};

}  // namespace vierbein::weighting
