// A learned combination of the losses, trained by implicit differentiation.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "vierbein/core/random.hpp"
#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/tools.hpp"

namespace vierbein::weighting {

/// AuxiLearn (Navon, Achituve, Maron, Chechik and Fetaya 2021): the model follows the gradient of
///     L_train = ℓ_target + h_φ(ℓ_1, ..., ℓ_T),    so w_t = 1[t = target] + ∂h/∂ℓ_t,
/// with h increasing in every loss:
///     hidden = 0:  h = Σ_t φ_t ℓ_t,                                        φ_t ≥ 0;
///     otherwise:   h = Σ_k v_k softplus(z_k),  z_k = Σ_t U_kt ℓ_t + b_k,   U, v ≥ 0, `hidden`
///     units.
/// φ serves the target's development loss at the θ that training with φ arrives at; by the implicit
/// function theorem and the Neumann series of step_oracle::implicit, with products_t = ⟨p, g_t⟩,
///     ∂L_dev/∂φ = -∇L_dev H⁻¹ ∂_φ∇L_train ≈ -eta Σ_t products_t ∂w_t/∂φ.
/// In every `every`-th step φ moves by Adam, elements below 0 become 0, and then w is given.
///
/// Published and kept: φ_t = 1 at first (`initial`), 3 terms beyond the first, eta = 1e-4 (of the
/// order of the model's learning rate), b = 0 at first. Ours: Adam with learning_rate 1e-2 instead
/// of stochastic gradient descent with a clipped gradient, since the size of ∂L_dev/∂φ depends on
/// the losses' units and on eta; one hidden layer, with U uniform on [0, 2 initial), v = 1 /
/// hidden, so that h begins near the linear one; no weight normalisation or decay of φ; H comes
/// from the step's own training batch; `every` = 10; products with H are differences of gradients
/// (relative_step: see step_oracle).
///
/// In the network a loss is also a sign of how far training has come: a unit that serves the target
/// grows with all its inputs, so the weight of an irrelevant task may rise, that of a harmful one
/// falls.
///
/// An absent task enters h with the loss 0, and its own φ_t or U_kt stay. The target may be absent:
/// what counts are its development rows. With T = 1 the weight is 1 and nothing is asked. Losses
/// and gradients that are not finite are refused by name.
struct auxilearn {
  using weighting_kind = target_based;

  std::string target = {};
  std::size_t hidden = 0;       ///< units of the monotone network; 0: h is linear
  double learning_rate = 1e-2;  ///< of φ
  double initial = 1;
  std::size_t every = 10;  ///< φ moves in every so many steps
  std::size_t terms = 3;   ///< of the Neumann series, beyond the first
  double eta = 1e-4;
  double relative_step = 1e-3;
  std::uint64_t seed = 0;  ///< of U

  named_tasks tasks = {};                  ///< set by `reset`
  std::vector<double> phi = {};            ///< φ (T); or U (hidden, T), b (hidden), v (hidden)
  std::vector<adam_moments> moments = {};  ///< of φ
  std::vector<double> products = {};       ///< (T)
  std::size_t count = 0;                   ///< steps of the run

  /// Begins again. Throws for an unknown target or an unusable option.
  void reset(const std::vector<std::string>& names) {
    tasks.begin(names, target, "weighting::auxilearn");
    require_not_negative(learning_rate, "learning_rate", "weighting::auxilearn");
    require_not_negative(initial, "initial", "weighting::auxilearn");
    require_positive(eta, "eta", "weighting::auxilearn");
    require_positive(relative_step, "relative_step", "weighting::auxilearn");
    require_every(every, "weighting::auxilearn");
    if (hidden == 0) {
      phi.assign(names.size(), initial);
    } else {
      const random_stream stream{seed, name_hash("weighting::auxilearn")};
      phi.assign(hidden * (names.size() + 2), 0.0);
      for (std::size_t i = 0; i < hidden * names.size(); ++i) {
        phi[i] = 2 * initial * stream.uniform(i);
      }
      std::fill(phi.end() - static_cast<std::ptrdiff_t>(hidden), phi.end(),
                1 / static_cast<double>(hidden));
    }
    moments.assign(phi.size(), {});
    products.assign(names.size(), 0.0);
    count = 0;
  }

  /// Between its moves at the losses alone.
  [[nodiscard]] sight looks_at(losses) const { return moves() ? sight::gradients : sight::losses; }

  void weigh(losses l, gram_matrix g, step_oracle& oracle, weights w) {
    tasks.require_losses(l, "weighting::auxilearn");
    if (moves()) {
      tasks.require_gradients(l, g, "weighting::auxilearn");
      oracle.implicit([this](losses at, weights slopes) { combine(at, slopes); }, terms, eta,
                      relative_step, products);
      tasks.require_products(l, products, "weighting::auxilearn");
      move(l);
    }
    ++count;
    combine(l, w);
  }

 private:
  [[nodiscard]] bool moves() const { return count % every == 0 && tasks.size() > 1; }

  [[nodiscard]] std::size_t row(std::size_t unit) const { return unit * tasks.size(); }  // of U
  [[nodiscard]] std::size_t bias(std::size_t unit) const { return row(hidden) + unit; }  // of b
  [[nodiscard]] std::size_t out(std::size_t unit) const { return bias(hidden) + unit; }  // of v

  // σ(z_k), the slope of softplus.
  [[nodiscard]] double activity(losses l, std::size_t unit) const {
    double z = phi[bias(unit)];
    for (std::size_t t = 0; t < tasks.size(); ++t) {
      z += l.has(t) ? phi[row(unit) + t] * l[t] : 0.0;
    }
    return 1 / (1 + std::exp(-z));
  }

  // w_t = ∂L_train/∂ℓ_t.
  void combine(losses l, weights w) const {
    std::fill(w.begin(), w.end(), 0.0);
    w[tasks.target] = 1;
    if (tasks.size() == 1) {
      return;
    }
    for (std::size_t t = 0; t < tasks.size() && hidden == 0; ++t) {
      w[t] += phi[t];
    }
    for (std::size_t k = 0; k < hidden; ++k) {
      const double s = phi[out(k)] * activity(l, k);
      for (std::size_t t = 0; t < tasks.size(); ++t) {
        w[t] += s * phi[row(k) + t];
      }
    }
  }

  void move(losses l) {
    for (std::size_t t = 0; t < tasks.size() && hidden == 0; ++t) {
      if (l.has(t)) {
        descend(t, -eta * products[t]);
        phi[t] = std::max(0.0, phi[t]);
      }
    }
    // With s = σ(z_k) and q = Σ_t products_t U_kt, the sum Σ_t products_t w_t has the part
    // v_k s q, whose derivatives by v_k, b_k and U_kt are below.
    for (std::size_t k = 0; k < hidden; ++k) {
      const double s = activity(l, k);
      const double v = phi[out(k)];
      double q = 0;
      for (std::size_t t = 0; t < tasks.size(); ++t) {
        q += l.has(t) ? products[t] * phi[row(k) + t] : 0.0;
      }
      const double bend = v * s * (1 - s) * q;
      for (std::size_t t = 0; t < tasks.size(); ++t) {
        if (l.has(t)) {
          descend(row(k) + t, -eta * (v * s * products[t] + bend * l[t]));
          phi[row(k) + t] = std::max(0.0, phi[row(k) + t]);
        }
      }
      descend(bias(k), -eta * bend);
      descend(out(k), -eta * s * q);
      phi[out(k)] = std::max(0.0, phi[out(k)]);
    }
  }

  void descend(std::size_t element, double slope) {
    phi[element] -= moments[element].step(slope, learning_rate);
  }
};

}  // namespace vierbein::weighting
