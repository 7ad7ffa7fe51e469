#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "../support/svg.hpp"
#include "results.hpp"
#include "vierbein/io/atomic_file.hpp"

namespace molecules {

using examples::palette;
using examples::svg;
using examples::xml_text;

namespace {

struct target_point {
  std::string name;
  double r2 = 0;
};

struct bar {
  std::string method;
  summary mean;
  std::vector<target_point> targets;
};

struct panel {
  long labels = 0;
  std::vector<bar> bars;
};

std::vector<panel> make_panels(const std::vector<result>& results, const settings& s) {
  std::vector<panel> panels;
  for (const long labels : s.labels) {
    panel p{labels, {}};
    for (const auto& method : s.methods) {
      auto means = by_seed(results, method, labels, "", &result::r2);
      std::erase_if(means, [](const auto& entry) { return !std::isfinite(entry.second); });
      if (means.empty()) {
        continue;
      }
      bar b{method, summarise(means), {}};
      for (const auto& target : s.targets) {
        const double r2 = summarise(by_seed(results, method, labels, target, &result::r2)).mean;
        if (std::isfinite(r2)) {
          b.targets.push_back({target, r2});
        }
      }
      p.bars.push_back(std::move(b));
    }
    if (!p.bars.empty()) {
      panels.push_back(std::move(p));
    }
  }
  return panels;
}

/// The R² from `lowest` to 1 on a horizontal axis. Means and whiskers always fit; a target far
/// below them may not.
struct axis {
  double lowest = 0;
  double step = 0.1;

  explicit axis(const std::vector<panel>& panels) {
    double least_mean = 1;
    double least = 1;
    for (const panel& p : panels) {
      for (const bar& b : p.bars) {
        least_mean = std::min(least_mean, b.mean.mean - b.mean.deviation);
        for (const target_point& t : b.targets) {
          least = std::min(least, t.r2);
        }
      }
    }
    least = std::min(least_mean, std::max(least, least_mean - 0.5));
    for (const double candidate : {0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0}) {
      step = candidate;
      if (1 - least <= 8 * step) {
        break;
      }
    }
    lowest = std::min(1 - step, std::floor(least / step + 1e-9) * step);
    if (1 - lowest > 100 * step) {  // beyond anything that a chart could show
      lowest = 1 - 100 * step;
    }
  }

  [[nodiscard]] double share(double r2) const { return (r2 - lowest) / (1 - lowest); }
};

}  // namespace

void write_chart(const std::filesystem::path& file, const std::vector<result>& all,
                 const settings& s) {
  const auto results = selected(all, s);
  const auto panels = make_panels(results, s);
  if (panels.empty()) {
    return;
  }
  const axis scale(panels);
  std::size_t longest = 6;
  std::size_t most = 0;
  for (const panel& p : panels) {
    most = std::max(most, p.bars.size());
    for (const bar& b : p.bars) {
      longest = std::max(longest, b.method.size());
    }
  }

  constexpr double width = 330;  // of a panel's axis
  constexpr double gap = 84;     // between panels, for the numbers
  constexpr double row = 40;
  constexpr double top = 108;
  const double left = 34 + 7.4 * static_cast<double>(longest);
  const double bottom = top + row * static_cast<double>(most);
  const auto count = static_cast<double>(panels.size());
  const double whole = std::max(left + count * width + count * gap, 760.0);

  svg picture(whole, bottom + 104);
  picture.text(24, 34,
               fmt::format("How well {} predicted from few labels",
                           s.targets.size() == 1 ? "a property is" : "properties are"),
               R"(font-size="19" font-weight="bold")");
  const auto seeds = [&] {
    std::map<long, int> found;
    for (const result& r : results) {
      found[r.seed] = 1;
    }
    return found.size();
  }();
  picture.text(
      24, 56,
      fmt::format("R² on unseen molecules: encoder {}, {} split, hidden from {}, {} "
                  "target{}, {} seed{}",
                  s.encoder, s.split, s.hide == "all" ? "all tasks" : "the targets only",
                  s.targets.size(), s.targets.size() == 1 ? "" : "s", seeds, seeds == 1 ? "" : "s"),
      R"(fill="#555555")");

  for (std::size_t k = 0; k < panels.size(); ++k) {
    const panel& p = panels[k];
    const double x0 = left + static_cast<double>(k) * (width + gap);
    const auto at = [&](double r2) { return x0 + width * std::clamp(scale.share(r2), 0.0, 1.0); };
    picture.text(x0, top - 16, fmt::format("{} labels", p.labels),
                 R"(font-size="15" font-weight="bold")");
    for (int i = 0; scale.lowest + i * scale.step <= 1 + 1e-9; ++i) {
      const double r2 = scale.lowest + i * scale.step;
      const bool zero = std::abs(r2) < 1e-9;
      picture.line(
          at(r2), top - 4, at(r2), bottom,
          zero ? R"(stroke="#999999" stroke-width="1")" : R"(stroke="#E4E4E4" stroke-width="1")");
      picture.text(at(r2), bottom + 18, fmt::format("{:.1f}", zero ? 0.0 : r2),
                   R"(text-anchor="middle" font-size="12" fill="#555555")");
    }
    picture.line(x0, bottom, x0 + width, bottom, R"(stroke="#555555" stroke-width="1")");
    picture.text(x0 + width / 2, bottom + 38, "R²", R"(text-anchor="middle" fill="#555555")");

    for (std::size_t i = 0; i < p.bars.size(); ++i) {
      const bar& b = p.bars[i];
      const double y = top + row * (static_cast<double>(i) + 0.5);
      const auto chosen = static_cast<std::size_t>(
          std::find(s.methods.begin(), s.methods.end(), b.method) - s.methods.begin());
      const auto colour = palette[chosen % palette.size()];
      if (k == 0) {
        picture.text(left - 14, y + 1, b.method, R"(text-anchor="end" font-size="14")");
      }
      // Targets on a line below the mean, so that neither hides the other.
      for (const target_point& t : b.targets) {
        const auto words = fmt::format("{}, {}: R² = {:.3f}", t.name, b.method, t.r2);
        if (t.r2 < scale.lowest) {
          picture.add(R"(<path d="M{:.2f} {:.2f} l7 -4 v8 z" fill="{}" fill-opacity="0.5">)"
                      R"(<title>{}</title></path>)",
                      x0 + 1, y + 9, colour, xml_text(words));
        } else {
          picture.circle(at(t.r2), y + 9, 3.2,
                         fmt::format(R"(fill="{}" fill-opacity="0.5")", colour), words);
        }
      }
      const double low = at(b.mean.mean - b.mean.deviation);
      const double high = at(b.mean.mean + b.mean.deviation);
      const auto stroke = fmt::format(R"(stroke="{}" stroke-width="2")", colour);
      if (b.mean.deviation > 0) {
        picture.line(low, y - 4, high, y - 4, stroke);
        picture.line(low, y - 9, low, y + 1, stroke);
        picture.line(high, y - 9, high, y + 1, stroke);
      }
      picture.circle(
          at(b.mean.mean), y - 4, 6,
          fmt::format(R"(fill="{}" stroke="#FFFFFF" stroke-width="1.2")", colour),
          fmt::format("{}: mean R² = {:.3f} ± {:.3f}", b.method, b.mean.mean, b.mean.deviation));
      picture.text(x0 + width + 12, y + 1, fmt::format("{:.3f}", b.mean.mean),
                   R"(font-size="14" font-weight="bold")");
    }
  }

  const double y = bottom + 74;
  picture.circle(32, y - 4, 6, R"(fill="#5B5B5B")");
  picture.line(18, y - 4, 46, y - 4, R"(stroke="#5B5B5B" stroke-width="2")");
  picture.text(56, y, "mean over the targets ± standard deviation over the seeds",
               R"(fill="#555555")");
  picture.circle(500, y - 4, 3.2, R"(fill="#5B5B5B" fill-opacity="0.5")");
  picture.text(512, y, "one target, mean over the seeds", R"(fill="#555555")");
  vb::io::write_atomically(file, [&](std::ostream& out) { out << picture.str(); });
}

}  // namespace molecules
