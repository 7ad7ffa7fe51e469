// What several policies share: the named tasks of a run, checks that answer in one sentence, and
// the few formulas that are not one paper's own.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/weighting/kinds.hpp"
#include "vierbein/weighting/oracle.hpp"

namespace vierbein::weighting {

// `policy` is the place that an error names, for example "weighting::gcs".

/// Throws unless a policy acts at least once in a while.
inline void require_every(std::size_t every, const char* policy) {
  require(every > 0, policy, "every must be at least 1, but is 0");
}

/// ‖g_t‖² of row t of j (T, P), added up in an order that depends on P alone.
template <Scalar T>
double squared_length(matrix_view<const T> j, std::size_t task) {
  constexpr index_t lanes = 8;
  const T* row = j.row(static_cast<index_t>(task));
  double part[lanes] = {};
  for (index_t k = 0; k < j.cols; ++k) {
    part[k % lanes] += static_cast<double>(row[k]) * static_cast<double>(row[k]);
  }
  double total = 0;
  for (const double p : part) {
    total += p;
  }
  return total;
}

/// d = Σ_t w_t g_t over the rows of j (T, P).
template <Scalar T>
void weighted_rows(std::span<const double> w, matrix_view<const T> j, std::span<T> d) {
  std::fill(d.begin(), d.end(), T{0});
  for (std::size_t t = 0; t < w.size(); ++t) {
    if (w[t] != 0) {
      const T* row = j.row(static_cast<index_t>(t));
      const auto factor = static_cast<T>(w[t]);
      for (std::size_t k = 0; k < d.size(); ++k) {
        d[k] += factor * row[k];
      }
    }
  }
}

/// What an error calls a task: its name in quotation marks, or its number, from 1, where a policy
/// has not been told the names.
inline std::string task_label(const std::vector<std::string>& names, std::size_t task) {
  return task < names.size() ? "'" + names[task] + "'" : std::to_string(task + 1);
}

/// Throws when a vector of options is neither empty nor one number a task.
inline void require_one_a_task(std::span<const double> values, std::size_t tasks,
                               const char* option, const char* policy) {
  require(values.empty() || values.size() == tasks, policy,
          "{} must be empty or hold {} numbers, one a task, but holds {}", option, tasks,
          values.size());
}

/// Throws when a number of a vector of options is not finite.
inline void require_finite(std::span<const double> values, const char* option, const char* policy) {
  for (const double v : values) {
    require(std::isfinite(v), policy, "{} must be finite, but is {}", option, v);
  }
}

/// Throws, with the name of the task, when the loss of one that is present is not finite.
inline void require_finite(losses l, const std::vector<std::string>& names, const char* policy) {
  for (std::size_t t = 0; t < l.size(); ++t) {
    if (l.has(t) && !std::isfinite(l[t])) {
      throw error(policy, "the loss of task " + task_label(names, t) + " is not finite");
    }
  }
}

/// Throws, with the name of the task, unless the losses of those that are present are greater than
/// `bound`.
inline void require_above(losses l, double bound, const std::vector<std::string>& names,
                          const char* policy) {
  require_finite(l, names, policy);
  for (std::size_t t = 0; t < l.size(); ++t) {
    if (l.has(t) && !(l[t] > bound)) {
      throw error(policy, formatted("the loss of task {} must be greater than {}, but is {}",
                                    task_label(names, t), bound, l[t]));
    }
  }
}

/// Throws, with the name of a task, when G is not (T, T) or not finite where tasks are present.
/// Other rows and columns are not looked at.
inline void require_finite_gram(losses l, gram_matrix g, const std::vector<std::string>& names,
                                const char* policy) {
  const auto count = static_cast<index_t>(l.size());
  require(g.rows == count && g.cols == count, policy,
          "expected a gram matrix of {} x {}, got {} x {}", count, count, g.rows, g.cols);
  const auto finite = [&](std::size_t s, std::size_t t) {
    return !l.has(s) || !l.has(t) ||
           std::isfinite(g(static_cast<index_t>(s), static_cast<index_t>(t)));
  };
  for (std::size_t t = 0; t < l.size(); ++t) {
    if (!finite(t, t)) {
      throw error(policy, "the gradient of task " + task_label(names, t) + " has no finite norm");
    }
  }
  for (std::size_t s = 0; s < l.size(); ++s) {
    for (std::size_t t = 0; t < l.size(); ++t) {
      if (!finite(s, t)) {
        throw error(policy, "the gradients of tasks " + task_label(names, s) + " and " +
                                task_label(names, t) + " have no finite inner product");
      }
    }
  }
}

/// How many tasks the batch has labels for.
inline std::size_t present_count(losses l) {
  std::size_t count = 0;
  for (std::size_t t = 0; t < l.size(); ++t) {
    count += l.has(t) ? 1 : 0;
  }
  return count;
}

/// Turns logits x into softmax(x) over the tasks that are present, 0 for the others; T = 0 is
/// allowed. The greatest logit is subtracted first, so that nothing overflows.
inline void softmax(losses l, std::span<double> x) {
  double greatest = -std::numeric_limits<double>::infinity();
  for (std::size_t t = 0; t < x.size(); ++t) {
    greatest = l.has(t) ? std::max(greatest, x[t]) : greatest;
  }
  double sum = 0;
  for (std::size_t t = 0; t < x.size(); ++t) {
    x[t] = l.has(t) ? std::exp(x[t] - greatest) : 0.0;
    sum += x[t];
  }
  for (double& v : x) {
    v = sum > 0 ? v / sum : 0.0;
  }
}

/// The tasks of a training run, and the one that the others serve.
struct named_tasks {
  std::vector<std::string> names = {};
  std::size_t target = 0;

  /// Begins a run. Throws when no task is called `target_name`.
  void begin(const std::vector<std::string>& task_names, const std::string& target_name,
             const char* policy) {
    target = find_target(task_names, target_name, policy);
    names = task_names;
  }

  /// Begins a run in which no task is the target.
  void begin(const std::vector<std::string>& task_names) {
    target = 0;
    names = task_names;
  }

  [[nodiscard]] std::size_t size() const { return names.size(); }

  /// Throws unless there is one loss for each of the run's tasks.
  void require_count(losses l, const char* policy) const {
    require(size() == l.size(), policy, "made for {} tasks, but given {} losses; call reset",
            size(), l.size());
  }

  /// Throws, with the name of a task, when the loss of one that is present is not finite.
  void require_losses(losses l, const char* policy) const {
    require_count(l, policy);
    for (std::size_t t = 0; t < size(); ++t) {
      require(!l.has(t) || std::isfinite(l[t]), policy, "the loss of task '{}' is not finite",
              names[t]);
    }
  }

  /// Throws, with the name of a task, when G (T, T) is not finite where tasks are present. Other
  /// rows and columns are not looked at.
  void require_gradients(losses l, gram_matrix g, const char* policy) const {
    require_count(l, policy);
    require_finite_gram(l, g, names, policy);
  }

  /// Throws, with the name of a task, when the shapes do not fit a gradient_based policy or the
  /// gradient of a task that is present is not finite. j (T, P), d (P).
  template <Scalar T>
  void require_rows(losses l, matrix_view<const T> j, std::span<const T> d,
                    const char* policy) const {
    require_losses(l, policy);
    require(j.rows == static_cast<index_t>(size()) && j.cols == std::ssize(d), policy,
            "expected gradients of {} x {}, got {} x {}", size(), d.size(), j.rows, j.cols);
    for (std::size_t t = 0; t < size(); ++t) {
      require(!l.has(t) || std::isfinite(squared_length(j, t)), policy,
              "the gradient of task '{}' has no finite norm", names[t]);
    }
  }

  /// Throws when an oracle's answer about the target's development loss is not finite.
  void require_answer(losses l, const development_point& at, std::span<const double> products,
                      const char* policy) const {
    require(std::isfinite(at.loss) && std::isfinite(at.gradient_norm), policy,
            "the development loss of the target '{}' or its gradient is not finite at the "
            "look-ahead: a shorter one may help",
            names[target]);
    require_products(l, products, policy);
  }

  /// Throws, with the name of a task, when an inner product with its gradient is not finite.
  void require_products(losses l, std::span<const double> products, const char* policy) const {
    for (std::size_t t = 0; t < size(); ++t) {
      require(!l.has(t) || std::isfinite(products[t]), policy,
              "the gradient of task '{}' has no finite inner product with that of the "
              "development loss",
              names[t]);
    }
  }
};

/// ‖g_t‖ = √G_tt.
inline double gradient_norm(gram_matrix g, std::size_t task) {
  const auto t = static_cast<index_t>(task);
  return std::sqrt(std::max(g(t, t), 0.0));
}

/// A cosine from an inner product and two lengths, within [-1, 1]; 0 when a length is 0.
inline double cosine(double product, double length, double other_length) {
  if (!(length > 0) || !(other_length > 0)) {
    return 0;
  }
  return std::clamp(product / length / other_length, -1.0, 1.0);
}

/// cos(g_s, g_t) = G_st / √(G_ss G_tt), and 0 when a gradient is 0.
inline double cosine(gram_matrix g, std::size_t s, std::size_t t) {
  return cosine(g(static_cast<index_t>(s), static_cast<index_t>(t)), gradient_norm(g, s),
                gradient_norm(g, t));
}

/// What Adam (Kingma and Ba 2015) remembers of a single number; epsilon is 1e-8.
struct adam_moments {
  double first = 0;
  double second = 0;
  double beta1_power = 1;  ///< β₁ to the number of steps
  double beta2_power = 1;

  /// Takes the slope into account and returns by how much the number falls.
  double step(double slope, double learning_rate, double beta1 = 0.9, double beta2 = 0.999) {
    beta1_power *= beta1;
    beta2_power *= beta2;
    first = beta1 * first + (1 - beta1) * slope;
    second = beta2 * second + (1 - beta2) * slope * slope;
    return learning_rate * (first / (1 - beta1_power)) /
           (std::sqrt(second / (1 - beta2_power)) + 1e-8);
  }
};

}  // namespace vierbein::weighting
