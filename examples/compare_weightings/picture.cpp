#include "picture.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "../support/svg.hpp"
#include "vierbein/core/error.hpp"
#include "vierbein/io/atomic_file.hpp"

namespace compare_weightings {

namespace {

constexpr double none = std::numeric_limits<double>::quiet_NaN();

// Means of a quantity over `cells` equal stretches of the steps; NaN where nothing was measured.
template <class F>
std::vector<double> stretches(const std::vector<vierbein::step_insight>& steps, std::size_t cells,
                              F&& what) {
  std::vector<double> means(cells, none);
  for (std::size_t c = 0; c < cells; ++c) {
    double total = 0;
    double count = 0;
    for (std::size_t i = steps.size() * c / cells; i < steps.size() * (c + 1) / cells; ++i) {
      if (const double v = what(steps[i]); !std::isnan(v)) {
        total += v;
        ++count;
      }
    }
    means[c] = count > 0 ? total / count : none;
  }
  return means;
}

// White at 0, blue at 1, red at -1, grey for nothing.
std::string colour(double cosine) {
  if (std::isnan(cosine)) {
    return "#DDDDDD";
  }
  const double strength = std::min(1.0, std::abs(cosine));
  const auto mix = [&](double at_one) {
    return static_cast<int>(std::lround(255 + strength * (at_one - 255)));
  };
  return cosine >= 0 ? fmt::format("#{:02X}{:02X}{:02X}", mix(0), mix(114), mix(178))
                     : fmt::format("#{:02X}{:02X}{:02X}", mix(213), mix(94), mix(0));
}

}  // namespace

void write_cosines(const std::filesystem::path& file, const vierbein::training_course& course,
                   const std::string& title) {
  vierbein::require(!course.steps.empty(), file.string().c_str(),
                    "there are no gradients to draw: the method does not look at them");
  const auto& names = course.task_names;
  const std::size_t pairs = course.steps.front().cosines.size();
  const std::size_t cells = std::min<std::size_t>(course.steps.size(), 120);
  constexpr double left = 330;
  constexpr double top = 60;
  constexpr double width = 600;
  constexpr double height = 18;
  const double bottom = top + height * static_cast<double>(pairs);
  const double cell = width / static_cast<double>(cells);

  examples::svg picture(left + width + 40, bottom + 130);
  picture.text(20, 28, title, R"(font-size="16")");
  picture.text(20, 46, "cosine of the gradients of two tasks, by step; blue 1, white 0, red -1",
               R"(fill="#5B5B5B")");
  std::size_t pair = 0;
  for (std::size_t t = 0; t < names.size(); ++t) {
    for (std::size_t u = 0; u < t; ++u, ++pair) {
      const double y = top + height * static_cast<double>(pair);
      picture.text(left - 8, y + 13, names[u] + ", " + names[t], R"(text-anchor="end")");
      const auto means = stretches(
          course.steps, cells, [&](const vierbein::step_insight& s) { return s.cosines[pair]; });
      for (std::size_t c = 0; c < cells; ++c) {
        picture.add(R"(<rect x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}" fill="{}"/>)",
                    left + cell * static_cast<double>(c), y, cell + 0.2, height - 1,
                    colour(means[c]));
      }
    }
  }
  // The share of conflicts, from 0 to 1.
  const double base = bottom + 80;
  picture.text(left - 8, base - 20, "pairs in conflict", R"(text-anchor="end")");
  picture.line(left, base, left + width, base, R"(stroke="#5B5B5B")");
  picture.line(left, base - 50, left + width, base - 50,
               R"(stroke="#5B5B5B" stroke-dasharray="2,3")");
  picture.text(left + width + 6, base + 4, "0");
  picture.text(left + width + 6, base - 46, "1");
  const auto shares = stretches(course.steps, cells,
                                [](const vierbein::step_insight& s) { return s.conflict_share; });
  for (std::size_t c = 0; c < cells; ++c) {
    if (!std::isnan(shares[c])) {
      picture.circle(left + cell * (static_cast<double>(c) + 0.5), base - 50 * shares[c], 2,
                     R"(fill="#D55E00")");
    }
  }
  const auto& first = course.steps.front();
  const auto& last = course.steps.back();
  picture.text(left, base + 22, fmt::format("epoch {}", first.epoch));
  picture.text(left + width, base + 22, fmt::format("epoch {}", last.epoch),
               R"(text-anchor="end")");
  vierbein::io::write_atomically(file, [&](std::ostream& out) { out << picture.str(); });
}

}  // namespace compare_weightings
