// What the methods achieved, as a file and as a table.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "problem.hpp"
#include "settings.hpp"

namespace compare_weightings {

struct result {
  std::string method;
  long seed = 0;
  outcome what;

  /// The mean over the tasks.
  [[nodiscard]] double metric() const;
};

/// The results of a comparison in <out>/results.csv, and what they have in common in
/// <out>/settings.txt. With `--resume` it begins with those in the folder.
class journal {
 public:
  /// Throws when results are to be resumed that other settings made.
  explicit journal(const settings& s);

  [[nodiscard]] bool has(const std::string& method, long seed) const;
  /// Adds a result, with its numbers as its file has them, and writes the file.
  void add(result exact);
  [[nodiscard]] const std::vector<result>& results() const { return results_; }

 private:
  void read();
  void write() const;

  const settings& s_;
  std::string shared_;
  std::vector<result> results_;
};

/// Prints, for every method, the metric's mean ± standard deviation over the seeds, the difference
/// to `equal`, paired by seed, and the median time of a step, also relative to `equal`.
void print_table(const std::vector<result>& results, const settings& s, const std::string& metric);

}  // namespace compare_weightings
