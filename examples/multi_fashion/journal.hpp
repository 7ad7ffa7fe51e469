// What is done of a comparison, and what is still to do.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "../support/work_clock.hpp"
#include "methods.hpp"
#include "results.hpp"
#include "settings.hpp"

namespace multi_fashion {

/// The results and courses of a comparison, in <out>/results.csv and <out>/history.csv, and the
/// time that the rest takes, told on stderr. With `--resume` it begins with what is in the folder.
///
/// <out>/settings.txt holds the settings that all results in a folder share. Targets, labels,
/// methods and seeds are not among them: they say which results there are.
class journal {
 public:
  /// Throws when results are to be resumed that other settings made.
  explicit journal(const settings& s);

  [[nodiscard]] bool has(const cell& c) const;
  /// Whether anything of this target, number of labels and seed is to be done.
  [[nodiscard]] bool complete(const std::string& target, long labels, long seed) const;

  /// Begins a training; it ends with `add`.
  void begin(const cell& c);
  /// Adds a result, rounded as in its file, and its course, and writes both files. They take the
  /// place of older ones of the same cell.
  void add(const result& exact, const vb::history& h);

  [[nodiscard]] const std::vector<result>& results() const { return results_; }
  [[nodiscard]] const std::vector<moment>& moments() const { return moments_; }

 private:
  void load();
  [[nodiscard]] double now() const;

  const settings& s_;
  std::string shared_;  // the text of settings.txt
  std::vector<result> results_;
  std::vector<moment> moments_;
  bool settings_written_ = false;
  examples::work_clock clock_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::size_t trainings_ = 0;
  std::size_t begun_ = 0;
};

}  // namespace multi_fashion
