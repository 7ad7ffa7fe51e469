// The gradients that have the most company.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/present_tasks.hpp"
#include "vierbein/weighting/traits.hpp"

namespace vierbein::weighting {

/// Krum and Multi-Krum (Blanchard, El Mhamdi, Guerraoui and Stainer 2017), against up to f
/// gradients that are nonsense. A task's score is the sum of its T - f - 2 smallest distances to
/// others, ‖g_s - g_t‖ = √(G_ss + G_tt - 2 G_st), and
///     w = 1/k on the k tasks with the lowest scores, 0 on the others;
/// of equal scores the earlier task counts as lower. Needs T ≥ f + 3 and k ≤ T. f and k have no
/// common default: f = 0 and k = 1, as TorchJD has for k. With k = T it is the mean.
///
/// The paper squares distances; TorchJD does not, nor do we. In a batch with fewer tasks at least
/// one distance counts and at most all its tasks are selected.
struct krum {
  using weighting_kind = gram_based;

  std::size_t f = 0;
  std::size_t k = 1;

  present_tasks tasks = {};
  std::vector<double> distances = {}, scores = {};
  std::vector<std::size_t> order = {};

  static krum torchjd(std::size_t f, std::size_t k = 1) { return {.f = f, .k = k}; }

  [[nodiscard]] weighting_traits traits() const {
    return {.convex_weights = true, .homogeneity = 1, .scale = weight_scale::mean};
  }

  /// Throws when there are too few tasks for f and k.
  void reset(const std::vector<std::string>& names) {
    require_enough(names.size());
    tasks.begin(names);
  }

  void weigh(losses l, gram_matrix g, weights w) {
    require_enough(l.size());
    tasks.weigh(l, g, w, "weighting::krum",
                [&](std::span<const double> loss, gram_matrix gram, weights out) {
                  const std::size_t m = loss.size();
                  const std::size_t near =
                      m == 1 ? 0 : std::max<std::size_t>(m > f + 2 ? m - f - 2 : 1, 1);
                  scores.resize(m);
                  order.resize(m);
                  for (std::size_t i = 0; i < m; ++i) {
                    measure(gram, i);
                    const auto end = distances.begin() + static_cast<std::ptrdiff_t>(near);
                    std::partial_sort(distances.begin(), end, distances.end());
                    scores[i] = std::accumulate(distances.begin(), end, 0.0);
                  }
                  std::iota(order.begin(), order.end(), std::size_t{0});
                  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
                    return scores[a] < scores[b] || (scores[a] == scores[b] && a < b);
                  });
                  const std::size_t selected = std::min(k, m);
                  for (std::size_t i = 0; i < selected; ++i) {
                    out[order[i]] = 1 / static_cast<double>(selected);
                  }
                });
  }

 private:
  void require_enough(std::size_t count) const {
    require(k >= 1, "weighting::krum", "k must be at least 1, but is 0");
    require(count >= f + 3 && count >= k, "weighting::krum",
            "f = {} and k = {} need at least {} tasks, but there are {}", f, k, std::max(f + 3, k),
            count);
  }

  // The distances of gradient i from the others.
  void measure(gram_matrix gram, std::size_t i) {
    distances.clear();
    const auto r = static_cast<index_t>(i);
    for (index_t c = 0; c < gram.rows; ++c) {
      if (c != r) {
        const double square = gram(r, r) + gram(c, c) - 2 * gram(r, c);
        distances.push_back(std::sqrt(std::max(square, 0.0)));
      }
    }
  }
};

}  // namespace vierbein::weighting
