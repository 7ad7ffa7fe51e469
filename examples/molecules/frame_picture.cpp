#include "vierbein/backend/engine/eigen_core.hpp"  // before all other Eigen headers

#include <fmt/format.h>

#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>
#include <iterator>

#include "../support/svg.hpp"
#include "results.hpp"
#include "vierbein/core/error.hpp"
#include "vierbein/io/atomic_file.hpp"

namespace molecules {

using examples::palette;
using examples::svg;
using examples::xml_text;

namespace {

constexpr double side = 420;  // of a panel

/// The mean of a molecule's points over the tasks: (molecules, 2).
vb::matrix<double> centres(const std::vector<vb::matrix<double>>& points) {
  vb::matrix<double> mean(points[0].rows(), 2);
  for (const auto& task : points) {
    for (vb::index_t i = 0; i < task.rows(); ++i) {
      for (vb::index_t c = 0; c < 2; ++c) {
        mean(i, c) += task(i, c) / static_cast<double>(points.size());
      }
    }
  }
  return mean;
}

/// The share of the variance of all points that lies between the points of the same molecule.
double disagreement(const std::vector<vb::matrix<double>>& points) {
  const auto mean = centres(points);
  double within = 0;
  double total = 0;
  const auto count = static_cast<double>(mean.rows());
  for (vb::index_t c = 0; c < 2; ++c) {
    double middle = 0;
    for (vb::index_t i = 0; i < mean.rows(); ++i) {
      middle += mean(i, c) / count;
    }
    for (const auto& task : points) {
      for (vb::index_t i = 0; i < task.rows(); ++i) {
        within += (task(i, c) - mean(i, c)) * (task(i, c) - mean(i, c));
        total += (task(i, c) - middle) * (task(i, c) - middle);
      }
    }
  }
  return total > 0 ? within / total : 0;
}

void draw_panel(svg& picture, double x0, double y0, const std::string& title,
                const std::vector<vb::matrix<double>>& points) {
  picture.text(x0, y0 - 32, title, R"(font-size="16" font-weight="bold")");
  picture.text(x0, y0 - 12,
               fmt::format("{:.0f} % of the variance is between the tasks' points of a molecule",
                           100 * disagreement(points)),
               R"(fill="#555555")");
  // One scale for both axes; the middle of the points in the middle of the panel.
  double low[2];
  double high[2];
  for (const vb::index_t c : {0, 1}) {
    low[c] = points[0](0, c);
    high[c] = low[c];
    for (const auto& task : points) {
      for (vb::index_t i = 0; i < task.rows(); ++i) {
        low[c] = std::min(low[c], task(i, c));
        high[c] = std::max(high[c], task(i, c));
      }
    }
  }
  const double extent = std::max({high[0] - low[0], high[1] - low[1], 1e-12});
  const double scale = 0.94 * side / extent;
  const auto x = [&](double v) { return x0 + side / 2 + scale * (v - (low[0] + high[0]) / 2); };
  const auto y = [&](double v) { return y0 + side / 2 - scale * (v - (low[1] + high[1]) / 2); };

  picture.add(R"(<rect x="{}" y="{}" width="{}" height="{}" fill="#FAFAFA" stroke="#C8C8C8"/>)", x0,
              y0, side, side);
  const auto mean = centres(points);
  for (vb::index_t i = 0; i < mean.rows(); ++i) {
    std::string path;
    for (const auto& task : points) {
      fmt::format_to(std::back_inserter(path), "M{:.1f} {:.1f}L{:.1f} {:.1f}", x(mean(i, 0)),
                     y(mean(i, 1)), x(task(i, 0)), y(task(i, 1)));
    }
    picture.add(
        R"(<path d="{}" fill="none" stroke="#9A9A9A" stroke-width="0.5" stroke-opacity="0.35"/>)",
        path);
  }
  // A few molecules at a time, so that no task lies on top of all others. A point is a line of no
  // length with round ends.
  constexpr vb::index_t chunk = 12;
  for (vb::index_t first = 0; first < mean.rows(); first += chunk) {
    for (std::size_t t = 0; t < points.size(); ++t) {
      const auto k = (t + static_cast<std::size_t>(first / chunk)) % points.size();
      std::string path;
      for (vb::index_t i = first; i < std::min(first + chunk, mean.rows()); ++i) {
        fmt::format_to(std::back_inserter(path), "M{:.1f} {:.1f}h0", x(points[k](i, 0)),
                       y(points[k](i, 1)));
      }
      picture.add(R"(<path d="{}" fill="none" stroke="{}" stroke-width="4.6" )"
                  R"(stroke-linecap="round" stroke-opacity="0.8"/>)",
                  path, palette[k % palette.size()]);
    }
  }
  picture.text(x0 + side / 2, y0 + side + 20, "first principal axis",
               R"(text-anchor="middle" font-size="12" fill="#555555")");
  picture.add(
      R"svg(<text transform="translate({:.1f} {:.1f}) rotate(-90)" text-anchor="middle" )svg"
      R"svg(font-size="12" fill="#555555">second principal axis</text>)svg",
      x0 - 10, y0 + side / 2);
}

}  // namespace

std::vector<vb::matrix<double>> principal_plane(const std::vector<vb::matrix<double>>& points) {
  using matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  vb::require(!points.empty() && points[0].rows() > 0, "principal_plane", "there are no points");
  const auto width = static_cast<Eigen::Index>(points[0].cols());
  Eigen::RowVectorXd mean = Eigen::RowVectorXd::Zero(width);
  Eigen::Index rows = 0;
  for (const auto& p : points) {
    mean += Eigen::Map<const matrix>(p.data(), p.rows(), width).colwise().sum();
    rows += p.rows();
  }
  mean /= static_cast<double>(rows);
  Eigen::MatrixXd covariance = Eigen::MatrixXd::Zero(width, width);
  for (const auto& p : points) {
    const matrix centred = Eigen::Map<const matrix>(p.data(), p.rows(), width).rowwise() - mean;
    covariance += centred.transpose() * centred;
  }
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(covariance);
  Eigen::MatrixXd axes = Eigen::MatrixXd::Zero(width, 2);
  for (Eigen::Index k = 0; k < std::min<Eigen::Index>(2, width); ++k) {
    axes.col(k) = solver.eigenvectors().col(width - 1 - k);  // the eigenvalues ascend
    Eigen::Index largest = 0;
    axes.col(k).cwiseAbs().maxCoeff(&largest);
    if (axes(largest, k) < 0) {
      axes.col(k) *= -1;
    }
  }
  std::vector<vb::matrix<double>> plane;
  for (const auto& p : points) {
    plane.emplace_back(p.rows(), vb::index_t{2});
    Eigen::Map<matrix>(plane.back().data(), p.rows(), 2) =
        (Eigen::Map<const matrix>(p.data(), p.rows(), width).rowwise() - mean) * axes;
  }
  return plane;
}

void write_frame_picture(const std::filesystem::path& file, const frame_picture& p) {
  constexpr double left = 44;
  constexpr double top = 122;
  constexpr double gap = 52;
  constexpr double column = 210;  // of the legend
  const double width = left + 2 * side + gap + 24;
  const auto columns = static_cast<std::size_t>((width - left) / column);
  const auto lines = (p.tasks.size() + columns - 1) / columns;
  const double below = top + side + 52;

  svg picture(width, below + 22 * static_cast<double>(lines) + 18);
  picture.text(left - 20, 34, "Where the tasks see the same molecules",
               R"(font-size="19" font-weight="bold")");
  picture.text(left - 20, 56,
               fmt::format("{} molecules in the common frame of the sources, on the plane of its "
                           "principal axes; grey lines join a molecule's points",
                           p.before[0].rows()),
               R"(fill="#555555")");
  draw_panel(picture, left, top, "Before training", p.before);
  draw_panel(picture, left + side + gap, top, "After training with alignment", p.after);
  for (std::size_t t = 0; t < p.tasks.size(); ++t) {
    const double x = left + column * static_cast<double>(t % columns);
    const double y = below + 22 * static_cast<double>(t / columns);
    picture.circle(x + 6, y, 5, fmt::format(R"(fill="{}")", palette[t % palette.size()]));
    picture.text(x + 18, y + 4.5, p.tasks[t]);
  }
  vb::io::write_atomically(file, [&](std::ostream& out) { out << picture.str(); });
}

}  // namespace molecules
