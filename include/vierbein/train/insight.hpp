// How tasks agree while they are trained: what a callback makes of the trainer's step records.
#pragma once

#include <cmath>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "vierbein/train/callbacks.hpp"
#include "vierbein/weighting/tools.hpp"

namespace vierbein {

/// The share of the pairs of tasks in a batch whose gradients point against each other, G_st < 0;
/// NaN when there is no pair or no Gramian.
inline double conflict_share(const losses& l, const gram_matrix& g) {
  double pairs = 0;
  double conflicts = 0;
  for (index_t s = 0; s < g.rows; ++s) {
    for (index_t t = 0; t < s; ++t) {
      if (l.has(static_cast<std::size_t>(s)) && l.has(static_cast<std::size_t>(t))) {
        ++pairs;
        conflicts += g(s, t) < 0 ? 1 : 0;
      }
    }
  }
  return pairs > 0 ? conflicts / pairs : std::numeric_limits<double>::quiet_NaN();
}

/// One step of a training run. NaN stands for tasks that the batch had no labels of.
struct step_insight {
  index_t epoch = 0;                 ///< from 1
  index_t step = 0;                  ///< in the epoch, from 1
  std::vector<double> losses = {};   ///< (T) before the step
  std::vector<double> weights = {};  ///< (T)
  std::vector<double> lengths = {};  ///< (T) ‖g_t‖ over what is compared
  /// cos(g_s, g_t) of the pairs (1, 0), (2, 0), (2, 1), (3, 0), ...
  std::vector<double> cosines = {};
  double conflict_share = std::numeric_limits<double>::quiet_NaN();
  std::size_t iterations = 0;  ///< of the policy's solver
};

/// What `callback::insight` has collected.
struct training_course {
  std::vector<std::string> task_names = {};
  std::vector<step_insight> steps = {};
};

namespace callback {

/// Collects losses, weights, gradients' lengths and cosines, the share of conflicts and the
/// solver's iterations of every `every`-th step: in `into`, if it is given, and in a CSV file, if
/// `path` is. Its columns are epoch, step, conflicts, iterations, then `loss NAME`, `weight NAME`
/// and `length NAME` for every task and `cosine NAME|NAME` for every pair; cells are empty for
/// tasks that a batch had no labels of. The file is written after each epoch and replaces one of an
/// earlier run.
///
/// The trainer then forms the Gramian in every step, whatever the policy. Throws when the file
/// cannot be written, before the first step where it can be known then.
struct insight {
  static constexpr bool wants_gram = true;

  std::string path = {};
  training_course* into = nullptr;
  index_t every = 1;

  std::string buffer = {};  ///< rows that wait for the end of the epoch
  bool begun = false;       ///< whether this run has written to the file
  index_t count = 0;        ///< steps

  void on_begin(const progress_info& /*info*/) {
    require(every > 0, "callback::insight", "every must be at least 1, but is {}", every);
    if (!path.empty()) {
      detail::require_writable(path);
    }
    buffer.clear();
    begun = false;
    count = 0;
    if (into != nullptr) {
      *into = {};
    }
  }

  void on_weights(const step_record& r) {
    if (count++ % every != 0) {
      return;
    }
    const step_insight s = examine(r);
    if (into != nullptr) {
      into->task_names.assign(r.names.begin(), r.names.end());
      into->steps.push_back(s);
    }
    if (!path.empty()) {
      if (count == 1) {
        write_header(r.names);
      }
      write_row(s);
    }
  }

  void on_epoch(const history& /*h*/, const progress_info& /*info*/) {
    if (path.empty() || buffer.empty()) {
      return;
    }
    std::ofstream file(path, begun ? std::ios::app : std::ios::trunc);
    file << buffer;
    file.close();
    detail::require_written(file, path);
    buffer.clear();
    begun = true;
  }

  /// A record as numbers that outlive it.
  static step_insight examine(const step_record& r) {
    constexpr double none = std::numeric_limits<double>::quiet_NaN();
    step_insight s{.epoch = r.epoch,
                   .step = r.step,
                   .conflict_share = conflict_share(r.values, r.gram),
                   .iterations = r.iterations};
    for (std::size_t t = 0; t < r.names.size(); ++t) {
      const bool has = r.values.has(t);
      s.losses.push_back(has ? r.values[t] : none);
      s.weights.push_back(has ? r.weights[t] : none);
      s.lengths.push_back(has && r.gram.rows > 0 ? weighting::gradient_norm(r.gram, t) : none);
      for (std::size_t u = 0; u < t; ++u) {
        s.cosines.push_back(
            has && r.values.has(u) && r.gram.rows > 0 ? weighting::cosine(r.gram, t, u) : none);
      }
    }
    return s;
  }

 private:
  void write_header(std::span<const std::string> names) {
    buffer += "epoch,step,conflicts,iterations";
    for (const char* what : {"loss ", "weight ", "length "}) {
      for (const std::string& name : names) {
        buffer += ',' + detail::csv_text(what + name);
      }
    }
    for (std::size_t t = 0; t < names.size(); ++t) {
      for (std::size_t u = 0; u < t; ++u) {
        buffer += ',' + detail::csv_text("cosine " + names[t] + '|' + names[u]);
      }
    }
    buffer += '\n';
  }

  void write_row(const step_insight& s) {
    buffer += fmt::format("{},{},{},{}", s.epoch, s.step,
                          detail::number_text(s.conflict_share, false), s.iterations);
    for (const auto* values : {&s.losses, &s.weights, &s.lengths, &s.cosines}) {
      for (const double v : *values) {
        buffer += ',' + detail::number_text(v, false);
      }
    }
    buffer += '\n';
  }
};

}  // namespace callback
}  // namespace vierbein
