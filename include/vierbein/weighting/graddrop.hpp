// Coordinate by coordinate, only the gradients of one sign survive.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "vierbein/core/random.hpp"
#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/tools.hpp"

namespace vierbein::weighting {

/// GradDrop (Chen, Ngiam, Huang, Luong, Kretzschmar, Chai and Anguelov 2020). In every coordinate k
///     P_k = ½ (1 + Σ_i J_ik / Σ_i |J_ik|),     U_k uniform on [0, 1),
///     d_k = Σ_i (leak_i + (1 - leak_i) M_ik) J_ik,
///     M_ik = 1 where J_ik > 0 and P_k > U_k, or J_ik < 0 and P_k < U_k, else 0:
/// all positive entries survive with the probability P_k, otherwise all negative ones. J (T, P),
/// d (P) of the scale of the plain sum. Default: leak_i = 0 for every task.
///
/// Deviations: P_k itself is compared with U_k, without the paper's optional monotone function. The
/// paper drops gradients of the representation summed over the batch, signed by the representation;
/// here J is what the trainer compares, which `training::compare` says, and signs are its own.
///
/// A coordinate in which all gradients are 0 gives 0. T = 1 gives J itself (P_k is 0 or 1). In the
/// same step of a run U is the same whatever the backend. State: none but a counter of steps.
struct graddrop {
  using weighting_kind = gradient_based;

  std::vector<double> leak = {};  ///< (T) in [0, 1], or empty for 0
  std::uint64_t seed = 1;

  named_tasks tasks = {};   ///< set by `reset`
  std::uint64_t steps = 0;  ///< since `reset`

  /// Begins again. Throws for leaks that do not fit.
  void reset(const std::vector<std::string>& names) {
    constexpr const char* place = "weighting::graddrop";
    tasks.begin(names);
    require(leak.empty() || leak.size() == names.size(), place, "{} leaks for {} tasks",
            leak.size(), names.size());
    for (const double v : leak) {
      require(v >= 0 && v <= 1, place, "a leak must lie in [0, 1], but is {}", v);
    }
    steps = 0;
  }

  template <Scalar T>
  void combine(losses l, matrix_view<const T> j, std::span<T> d) {
    tasks.require_rows<T>(l, j, d, "weighting::graddrop");
    const random_stream stream = random_stream{seed, name_hash("graddrop")}.fork(steps++);
    std::array<std::uint32_t, 4> words{};
    for (index_t k = 0; k < j.cols; ++k) {
      const auto at = static_cast<std::size_t>(k);
      if (k % 4 == 0) {
        words = stream.words(at / 4);
      }
      double sum = 0;
      double length = 0;
      for (std::size_t t = 0; t < tasks.size(); ++t) {
        const double v = entry(l, j, t, k);
        sum += v;
        length += std::abs(v);
      }
      const double positive = length > 0 ? 0.5 * (1 + sum / length) : 0.5;
      const double u = random_stream::unit(words[at % 4]);
      double total = 0;
      for (std::size_t t = 0; t < tasks.size(); ++t) {
        const double v = entry(l, j, t, k);
        const bool kept = (positive > u && v > 0) || (positive < u && v < 0);
        total += kept ? v : (leak.empty() ? 0.0 : leak[t] * v);
      }
      d[at] = static_cast<T>(total);
    }
  }

 private:
  template <Scalar T>
  static double entry(losses l, matrix_view<const T> j, std::size_t t, index_t k) {
    return l.has(t) ? static_cast<double>(j(static_cast<index_t>(t), k)) : 0.0;
  }
};

}  // namespace vierbein::weighting
