// What the methods achieved, as files, as a table and as a picture.
#pragma once

#include <filesystem>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "../support/summary.hpp"
#include "settings.hpp"
#include "vierbein/train/history.hpp"

namespace multi_fashion {

namespace vb = vierbein;

/// Which training: a target, how many of its labels are used (0: all), a method and a seed.
struct cell {
  std::string target;
  long labels = 0;
  std::string method;
  long seed = 0;
  auto operator<=>(const cell&) const = default;
};

struct result {
  cell of;
  double accuracy = 0;  // of the target on the test pictures
  double seconds = 0;   // of the training
};

/// An epoch or a round of a training. NaN where nothing was measured.
struct moment {
  cell of;
  long epoch = 0;
  double progress = 0;  // share of the training that is done then
  double seconds = 0;
  double train_loss = 0;
  double dev_loss = std::numeric_limits<double>::quiet_NaN();      // of the target
  double dev_accuracy = std::numeric_limits<double>::quiet_NaN();  // of the target
  double left_weight = std::numeric_limits<double>::quiet_NaN();
  double right_weight = std::numeric_limits<double>::quiet_NaN();
  std::string alpha;  // of a round's branches: "left=0.5;right=0.25"
};

void write_results(const std::filesystem::path& file, const std::vector<result>& results);
std::vector<result> read_results(const std::filesystem::path& file);
/// The result with its numbers rounded as write_results writes them.
result rounded(result r);

void write_history(const std::filesystem::path& file, const std::vector<moment>& moments);
std::vector<moment> read_history(const std::filesystem::path& file);

/// The moments of a training, rounded as in their file.
std::vector<moment> moments_of(const cell& of, const vb::history& h);

/// Those that the settings ask for.
std::vector<result> selected(const std::vector<result>& results, const settings& s);

/// By seed, one number of the results of a method.
std::map<long, double> by_seed(const std::vector<result>& results, const std::string& target,
                               long labels, const std::string& method,
                               double result::* what = &result::accuracy);

/// Prints, for every target and number of labels, each method's accuracy: mean ± standard deviation
/// over the seeds, and the differences to `single` and `shared`, paired by seed.
void print_table(const std::vector<result>& results, const settings& s);

/// For every target and number of labels: the accuracies, and the course of the first seed: the
/// target's accuracy or loss on the development pictures, the weights of the tasks, the α of the
/// branches.
void write_chart(const std::filesystem::path& file, const std::vector<result>& results,
                 const std::vector<moment>& moments, const settings& s);

/// "all labels" or "1500 labels".
std::string labels_text(long labels);

}  // namespace multi_fashion
