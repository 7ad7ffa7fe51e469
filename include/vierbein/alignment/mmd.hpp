// The tasks' latent points are samples of one distribution.
#pragma once

#include "vierbein/alignment/concept.hpp"

namespace vierbein::alignment {

/// Maximum mean discrepancy (Gretton et al. 2012), biased estimate with Gaussian kernels
/// k(a, b) = Σ_j exp(-‖a - b‖² / (2 bandwidths_j d)), d the latent width:
///     coefficient · Σ over pairs of mean k(z_s, z_s) + mean k(z_t, z_t) - 2 mean k(z_s, z_t).
/// O(N²) pairs; absent when a task is added alone. Throws for a coefficient that is negative or not
/// finite, for no bandwidth, and for one that is not positive and finite.
struct mmd {
  double coefficient = 1;
  std::vector<double> bandwidths{0.25, 1, 4};
  pair_scaling scaling = pair_scaling::average;

  static constexpr const char* kind = "mmd";
  static constexpr latent_space needs = latent_space::latent;
  [[nodiscard]] index_t copies() const { return 0; }
  void validate() const {
    require_not_negative(coefficient, "coefficient", "alignment::mmd");
    require(!bandwidths.empty(), "alignment::mmd", "bandwidths must hold at least one number");
    for (std::size_t j = 0; j < bandwidths.size(); ++j) {
      require(std::isfinite(bandwidths[j]) && bandwidths[j] > 0, "alignment::mmd",
              "bandwidths[{}] must be finite and positive, but is {}", j, bandwidths[j]);
    }
  }

  template <class Views>
  typename Views::var operator()(Views& v) const {
    if (coefficient == 0 || v.tasks() < 2) {
      return {};
    }
    using B = typename Views::backend_type;
    using var = typename Views::var;
    const index_t n = v.rows();
    const index_t tasks = v.tasks();
    auto z = v.tape().template host_array<var>(tasks);
    auto terms = v.tape().template host_array<var>(tasks * (tasks + 1) / 2);
    auto weights = v.tape().template host_array<double>(tasks * (tasks + 1) / 2);
    const double pair = scaling == pair_scaling::sum ? 2.0 : 1.0 / static_cast<double>(tasks - 1);
    std::size_t count = 0;
    for (index_t t = 0; t < tasks; ++t) {
      z[static_cast<std::size_t>(t)] = graph::slice_rows(v.latent(), t * n, n);
    }
    for (index_t s = 0; s < tasks; ++s) {
      for (index_t t = s; t < tasks; ++t) {
        terms[count] = mean_kernel(z[static_cast<std::size_t>(s)], z[static_cast<std::size_t>(t)]);
        // Every task's own term occurs in each of its tasks - 1 pairs.
        weights[count++] = coefficient * pair * (s == t ? static_cast<double>(tasks - 1) : -2.0);
      }
    }
    return graph::weighted_sum<B>(terms, weights);
  }
  template <class Visitor>
  void options(Visitor&& visit) {
    visit("coefficient", coefficient);
    visit("bandwidths", bandwidths);
    visit("scaling", scaling);
  }

 private:
  // mean over all pairs of rows of Σ_j exp(-‖a - b‖² / (2 h_j d))
  template <class Var>
  Var mean_kernel(Var a, Var b) const {
    const index_t n = a.rows();
    const auto squares_a = graph::broadcast_column(graph::row_sums(graph::square(a)), n);
    // Column j of the transposed matrix holds ‖b_j‖²: 1 bᵀ through a product with a row of squares.
    const auto ones = a.owner->constant(filled(*a.owner, n, a.cols()));
    const auto squares_b = graph::product(ones, graph::square(b), backend::transposition::nt);
    const auto d2 =
        squares_a + squares_b + (-2.0) * graph::product(a, b, backend::transposition::nt);
    Var total{};
    for (const double h : bandwidths) {
      const auto k = graph::mean(graph::exp((-0.5 / (h * static_cast<double>(a.cols()))) * d2));
      total = total ? total + k : k;
    }
    return total;
  }
  template <class Tape>
  static auto filled(Tape& t, index_t rows, index_t cols) {
    const auto m = t.make(rows, cols);
    t.backend().fill(m, 1);
    return m;
  }
};

}  // namespace vierbein::alignment
