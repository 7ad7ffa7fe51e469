// What the methods achieved.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

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

/// Points of the tasks in the common frame, before and after alignment: one matrix (molecules, 2) a task.
struct frame_picture {
  std::vector<std::string> tasks;
  std::vector<vb::matrix<double>> before, after;
};

void write_results(const std::filesystem::path& file, const std::vector<result>& results);

/// Prints, for every number of labels, each target and the mean over the targets: mean ± standard deviation over
/// the seeds, and the difference to `single` paired by seed.
void print_table(const std::vector<result>& results, const settings& s);

/// The mean R² of every method as a chart.
void write_chart(const std::filesystem::path& file, const std::vector<result>& results,
                 const settings& s);

void write_frame_picture(const std::filesystem::path& file, const frame_picture& picture);

/// The first two principal axes of the rows of all matrices together, and the rows along them.
std::vector<vb::matrix<double>> principal_plane(const std::vector<vb::matrix<double>>& points);

}  // namespace molecules
