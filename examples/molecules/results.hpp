// What the methods achieved, as files, as a table and as pictures.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "../support/summary.hpp"
#include "settings.hpp"
#include "vierbein/core/matrix.hpp"

namespace molecules {

namespace vb = vierbein;

/// One target predicted by one method.
struct result {
  std::string target;
  std::string method;
  std::string encoder;
  long labels = 0;
  long seed = 0;
  double rmse = 0;
  double mae = 0;
  double r2 = 0;
  double seconds = 0;
};

/// Points of the tasks in the common frame, before and after alignment: one matrix (molecules, 2) a
/// task.
struct frame_picture {
  std::vector<std::string> tasks;
  std::vector<vb::matrix<double>> before, after;
};

void write_results(const std::filesystem::path& file, const std::vector<result>& results);
/// The result with its numbers rounded as write_results writes them, so that what is shown does not
/// depend on whether it was read from a file.
result rounded(result r);
/// What write_results wrote.
std::vector<result> read_results(const std::filesystem::path& file);

/// Those that the settings ask for.
std::vector<result> selected(const std::vector<result>& results, const settings& s);

using examples::summarise;
using examples::summary;

/// Values of one method and number of labels by seed, for a target or, for "", averaged over the
/// targets.
std::map<long, double> by_seed(const std::vector<result>& results, const std::string& method,
                               long labels, const std::string& target, double result::* what);

/// Prints, for every number of labels, the means over the targets and then each target: mean ±
/// standard deviation over the seeds, the difference to `single` paired by seed, and the geometric
/// mean of the ratio of the errors (RMSE) to those of `finetune`, paired by target and seed.
void print_table(const std::vector<result>& results, const settings& s);

/// The mean R² of every method as a chart.
void write_chart(const std::filesystem::path& file, const std::vector<result>& results,
                 const settings& s);

void write_frame_picture(const std::filesystem::path& file, const frame_picture& picture);

/// The rows of all matrices along the first two principal axes of all rows together. The sign of an
/// axis is such that its largest component is positive.
std::vector<vb::matrix<double>> principal_plane(const std::vector<vb::matrix<double>>& points);

}  // namespace molecules
