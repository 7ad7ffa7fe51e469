// What happened in each epoch, and its way into a file.
#pragma once

#include <cerrno>
#include <cmath>
#include <cstddef>
#include <fstream>
#include <limits>
#include <ostream>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/core/types.hpp"

namespace vierbein {

/// How far the parameters followed one branch of a round.
struct branch_coefficient {
  std::string name;
  double alpha = 0;
};

/// One epoch, or one round of an update_based weighting policy. NaN stands for what was not
/// measured.
struct epoch_record {
  index_t epoch = 0;   ///< from 1
  double seconds = 0;  ///< of this epoch
  double train_loss = 0;
  double validation_loss = std::numeric_limits<double>::quiet_NaN();
  std::vector<double> task_losses = {};  ///< in the order of the tasks
  std::vector<double> weights = {};      ///< in the order of the tasks
  double alignment_loss = std::numeric_limits<double>::quiet_NaN();
  double learning_rate = std::numeric_limits<double>::quiet_NaN();
  /// On the validation rows: accuracy where a head knows what is right, otherwise the negative
  /// loss; the mean over tasks, or the target's where a weighting policy has one.
  double validation_score = std::numeric_limits<double>::quiet_NaN();
  /// Mean over the epoch's steps of the share of pairs of tasks whose gradients point against each
  /// other, where the weighting policy or a callback looks at gradients.
  double conflict_share = std::numeric_limits<double>::quiet_NaN();
  /// Mean number of iterations of the weighting policy's solver in a step; 0 where it has none.
  double solver_iterations = 0;
  std::vector<branch_coefficient> branches = {};  ///< of a round
  std::string note = {};                          ///< what went wrong; mostly empty
};

namespace detail {

// As short as possible, but such that it reads back as the same number. What is not a number is
// empty, or in JSON `null`; JSON knows no infinity either.
inline std::string number_text(double v, bool json) {
  if (std::isnan(v) || (json && std::isinf(v))) {
    return json ? "null" : "";
  }
  return fmt::format("{}", v);
}

inline std::string csv_text(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) {
    return std::string(text);
  }
  std::string quoted = "\"";
  for (const char c : text) {
    quoted += c == '"' ? "\"\"" : std::string(1, c);
  }
  return quoted + '"';
}

inline std::string json_text(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    switch (c) {
      case '"': quoted += "\\\""; break;
      case '\\': quoted += "\\\\"; break;
      case '\n': quoted += "\\n"; break;
      case '\r': quoted += "\\r"; break;
      case '\t': quoted += "\\t"; break;
      default:
        quoted += static_cast<unsigned char>(c) < 0x20
                      ? formatted("\\u{:04x}", static_cast<unsigned>(c))
                      : std::string(1, c);
    }
  }
  return quoted + '"';
}

/// Throws, with the reason, unless all that was asked of `file` was done.
inline void require_written(const std::ofstream& file, const std::string& path) {
  if (!file) {
    throw error(path, "cannot be written: " + std::generic_category().message(errno));
  }
}

/// Throws, with the reason, when the file cannot be opened for writing. What it holds stays; where
/// there is none it is created.
inline void require_writable(const std::string& path) {
  require_written(std::ofstream(path, std::ios::app), path);
}

}  // namespace detail

/// The course of a training run.
struct history {
  std::vector<std::string> task_names = {};
  std::vector<epoch_record> epochs = {};
  index_t best_epoch = 0;    ///< the number of the epoch whose parameters were kept; 0 before any
  bool interrupted = false;  ///< by Ctrl-C or a request to terminate
  /// The most bytes that one step's values and their gradients took. Parameters, optimiser state
  /// and data are not in it.
  std::size_t step_bytes = 0;

  /// A header and one row an epoch: epoch, seconds, train_loss, validation_loss, alignment_loss,
  /// learning_rate, validation_score, note, then `loss NAME` and `weight NAME` for every task. A
  /// cell is empty where a number is NaN. What became of a round's branches, the share of conflicts
  /// and the solver's iterations are in the JSON lines.
  void write_csv(std::ostream& out) const {
    write_csv_header(out);
    for (const epoch_record& e : epochs) {
      write_csv_row(out, e);
    }
  }

  void write_csv_header(std::ostream& out) const {
    out << "epoch,seconds,train_loss,validation_loss,alignment_loss,learning_rate,"
           "validation_score,note";
    for (const std::string& name : task_names) {
      out << ',' << detail::csv_text("loss " + name);
    }
    for (const std::string& name : task_names) {
      out << ',' << detail::csv_text("weight " + name);
    }
    out << '\n';
  }

  void write_csv_row(std::ostream& out, const epoch_record& e) const {
    out << e.epoch;
    for (const double v : {e.seconds, e.train_loss, e.validation_loss, e.alignment_loss,
                           e.learning_rate, e.validation_score}) {
      out << ',' << detail::number_text(v, false);
    }
    out << ',' << detail::csv_text(e.note);
    for (const std::vector<double>* values : {&e.task_losses, &e.weights}) {
      for (std::size_t t = 0; t < task_names.size(); ++t) {
        out << ',' << (t < values->size() ? detail::number_text((*values)[t], false) : "");
      }
    }
    out << '\n';
  }

  /// One JSON object a line and epoch (jsonlines.org), with the tasks' losses and weights as
  /// objects by name, conflict_share, solver_iterations and the coefficients of a round's branches;
  /// null where a number is NaN or infinite.
  void write_json_lines(std::ostream& out) const {
    for (const epoch_record& e : epochs) {
      write_json_line(out, e);
    }
  }

  void write_json_line(std::ostream& out, const epoch_record& e) const {
    const auto number = [](double v) { return detail::number_text(v, true); };
    out << "{\"epoch\":" << e.epoch << ",\"seconds\":" << number(e.seconds)
        << ",\"train_loss\":" << number(e.train_loss)
        << ",\"validation_loss\":" << number(e.validation_loss)
        << ",\"alignment_loss\":" << number(e.alignment_loss)
        << ",\"learning_rate\":" << number(e.learning_rate)
        << ",\"validation_score\":" << number(e.validation_score)
        << ",\"conflict_share\":" << number(e.conflict_share)
        << ",\"solver_iterations\":" << number(e.solver_iterations)
        << ",\"note\":" << detail::json_text(e.note);
    const auto by_task = [&](const char* key, const std::vector<double>& values) {
      out << ",\"" << key << "\":{";
      for (std::size_t t = 0; t < task_names.size(); ++t) {
        out << (t > 0 ? "," : "") << detail::json_text(task_names[t]) << ':'
            << (t < values.size() ? number(values[t]) : "null");
      }
      out << '}';
    };
    by_task("losses", e.task_losses);
    by_task("weights", e.weights);
    out << ",\"branches\":{";
    for (std::size_t i = 0; i < e.branches.size(); ++i) {
      out << (i > 0 ? "," : "") << detail::json_text(e.branches[i].name) << ':'
          << number(e.branches[i].alpha);
    }
    out << "}}\n";
  }
};

}  // namespace vierbein
