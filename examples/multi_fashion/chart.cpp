#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <sstream>
#include <string_view>

#include "../support/svg.hpp"
#include "results.hpp"
#include "vierbein/io/atomic_file.hpp"

namespace multi_fashion {

namespace {

using examples::palette;
using examples::svg;

struct point {
  double x = 0;  // in [0, 1]
  double y = 0;
};

struct series {
  std::string words;
  std::string_view colour;
  bool dashed = false;
  std::vector<point> points;
};

// Values on the vertical axis of a panel, with ticks at multiples of `step`.
struct axis {
  double lowest = 0;
  double highest = 1;
  double step = 0.25;

  axis(const std::vector<series>& all, bool from_zero) {
    lowest = from_zero ? 0 : 1e300;
    highest = from_zero ? 0 : -1e300;
    for (const series& s : all) {
      for (const point& p : s.points) {
        lowest = std::min(lowest, p.y);
        highest = std::max(highest, p.y);
      }
    }
    const double span = std::max(highest - lowest, 1e-3);
    step = std::pow(10.0, std::floor(std::log10(span)));
    for (const double finer : {0.2, 0.5, 1.0, 2.0}) {
      if (span / (finer * step) <= 5) {
        step *= finer;
        break;
      }
    }
    lowest = std::floor(lowest / step + 1e-9) * step;
    highest = std::max(std::ceil(highest / step - 1e-9) * step, lowest + step);
  }
  [[nodiscard]] double share(double y) const { return (y - lowest) / (highest - lowest); }
};

constexpr double width = 340;  // of a panel's axes
constexpr double height = 150;
constexpr double left = 64;     // of the first panel's axis
constexpr double across = 430;  // from panel to panel
constexpr double down = 216;

void draw_panel(svg& picture, double x0, double y0, std::string_view title,
                const std::vector<series>& all, bool from_zero) {
  picture.text(x0, y0 - 12, title, R"(font-size="14" font-weight="bold")");
  const bool empty =
      std::all_of(all.begin(), all.end(), [](const series& s) { return s.points.empty(); });
  if (empty) {
    picture.text(x0, y0 + 16, "none of these methods has any", R"(fill="#555555")");
    return;
  }
  const axis scale(all, from_zero);
  const auto at_y = [&](double y) { return y0 + height * (1 - scale.share(y)); };
  for (double y = scale.lowest; y <= scale.highest + scale.step / 2; y += scale.step) {
    picture.line(x0, at_y(y), x0 + width, at_y(y), R"(stroke="#E4E4E4" stroke-width="1")");
    picture.text(x0 - 8, at_y(y) + 4, fmt::format("{:.3g}", std::abs(y) < 1e-9 ? 0.0 : y),
                 R"(text-anchor="end" font-size="12" fill="#555555")");
  }
  picture.line(x0, y0 + height, x0 + width, y0 + height, R"(stroke="#555555" stroke-width="1")");
  for (const auto& [x, words] : {std::pair{0.0, "0"}, {0.5, "½"}, {1.0, "1"}}) {
    picture.text(x0 + x * width, y0 + height + 18, words,
                 R"(text-anchor="middle" font-size="12" fill="#555555")");
  }
  for (const series& s : all) {
    std::string path;
    for (const point& p : s.points) {
      path +=
          fmt::format("{}{:.2f} {:.2f}", path.empty() ? "M" : " L", x0 + width * p.x, at_y(p.y));
    }
    if (s.points.size() == 1) {
      picture.circle(x0 + width * s.points[0].x, at_y(s.points[0].y), 3,
                     fmt::format(R"(fill="{}")", s.colour), s.words);
    } else if (!path.empty()) {
      picture.add(R"(<path d="{}" fill="none" stroke="{}" stroke-width="1.8"{}>)"
                  R"(<title>{}</title></path>)",
                  path, s.colour, s.dashed ? R"( stroke-dasharray="6 4")" : "",
                  examples::xml_text(s.words));
    }
  }
}

// The branches of "left=0.5;right=0.25".
std::vector<std::pair<std::string, double>> branches_of(const std::string& alpha) {
  std::vector<std::pair<std::string, double>> branches;
  std::istringstream stream(alpha);
  for (std::string one; std::getline(stream, one, ';');) {
    const auto at = one.rfind('=');
    if (at != std::string::npos) {
      branches.emplace_back(one.substr(0, at), std::strtod(one.c_str() + at + 1, nullptr));
    }
  }
  return branches;
}

// The course of one number in the trainings of `target` with `labels` and the first seed.
template <class F>
std::vector<series> course(const std::vector<moment>& moments, const settings& s,
                           const std::string& target, long labels, const char* name, bool dashed,
                           F&& number) {
  std::vector<series> all;
  for (std::size_t i = 0; i < s.methods.size(); ++i) {
    series one{fmt::format("{}{}", s.methods[i], name), palette[i % palette.size()], dashed, {}};
    for (const moment& m : moments) {
      const cell wanted{target, labels, s.methods[i], s.first_seed};
      if (const double y = number(m); m.of == wanted && std::isfinite(y)) {
        one.points.push_back({m.progress, y});
      }
    }
    all.push_back(std::move(one));
  }
  return all;
}

std::vector<series> joined(std::vector<series> a, const std::vector<series>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

std::vector<series> coefficients(const std::vector<moment>& moments, const settings& s,
                                 const std::string& target, long labels) {
  std::vector<series> all;
  for (std::size_t i = 0; i < s.methods.size(); ++i) {
    const cell wanted{target, labels, s.methods[i], s.first_seed};
    std::vector<series> mine;
    for (const moment& m : moments) {
      if (m.of != wanted) {
        continue;
      }
      for (const auto& [name, alpha] : branches_of(m.alpha)) {
        const auto words = fmt::format("{}: α of {}", s.methods[i], name);
        auto known = std::find_if(mine.begin(), mine.end(),
                                  [&](const series& one) { return one.words == words; });
        if (known == mine.end()) {
          mine.push_back({words, palette[i % palette.size()], name != target, {}});
          known = mine.end() - 1;
        }
        known->points.push_back({m.progress, alpha});
      }
    }
    all = joined(std::move(all), mine);
  }
  return all;
}

void draw_accuracies(svg& picture, double x0, double y0, const std::vector<result>& results,
                     const settings& s, const std::string& target, long labels) {
  picture.text(x0, y0 - 12, "accuracy on test pictures", R"(font-size="14" font-weight="bold")");
  double lowest = 1;
  double highest = 0;
  for (const auto& method : s.methods) {
    if (const auto values = by_seed(results, target, labels, method); !values.empty()) {
      const auto v = examples::summarise(values);
      lowest = std::min(lowest, v.mean - v.deviation);
      highest = std::max(highest, v.mean + v.deviation);
    }
  }
  const double margin = std::max(0.05 * (highest - lowest), 0.002);
  lowest -= margin;
  highest += margin;
  const auto at = [&](double y) {
    return x0 + 110 + (width - 170) * (y - lowest) / (highest - lowest);
  };
  const double row = std::min(22.0, (height + 26) / static_cast<double>(s.methods.size()));
  for (std::size_t i = 0; i < s.methods.size(); ++i) {
    const auto values = by_seed(results, target, labels, s.methods[i]);
    if (values.empty()) {
      continue;
    }
    const auto v = examples::summarise(values);
    const double y = y0 + row * (static_cast<double>(i) + 0.5);
    const auto colour = palette[i % palette.size()];
    picture.text(x0 + 96, y + 4, s.methods[i], R"(text-anchor="end" font-size="12")");
    if (v.deviation > 0) {
      picture.line(at(v.mean - v.deviation), y, at(v.mean + v.deviation), y,
                   fmt::format(R"(stroke="{}" stroke-width="2")", colour));
    }
    picture.circle(at(v.mean), y, 5, fmt::format(R"(fill="{}")", colour),
                   fmt::format("{}: {:.4f} ± {:.4f}", s.methods[i], v.mean, v.deviation));
    picture.text(x0 + width, y + 4, fmt::format("{:.4f}", v.mean),
                 R"(text-anchor="end" font-size="12" font-weight="bold")");
  }
}

}  // namespace

void write_chart(const std::filesystem::path& file, const std::vector<result>& all,
                 const std::vector<moment>& moments, const settings& s) {
  const auto results = selected(all, s);
  if (results.empty()) {
    return;
  }
  const auto columns = static_cast<double>(s.targets.size() * s.target_labels.size());
  constexpr double top = 128;
  svg picture(left + across * columns, top + 5 * down);
  picture.text(24, 34, "Two pictures in one: how well the target is recognised",
               R"(font-size="19" font-weight="bold")");
  picture.text(
      24, 56,
      fmt::format("{} training pictures; courses of seed {} over the share of the training "
                  "that is done",
                  s.train, s.first_seed),
      R"(fill="#555555")");
  double x = left;
  for (const auto& target : s.targets) {
    for (const long labels : s.target_labels) {
      picture.text(x, 86, fmt::format("target {}, {}", target, labels_text(labels)),
                   R"(font-size="16" font-weight="bold")");
      double y = top;
      draw_accuracies(picture, x, y, results, s, target, labels);
      const auto draw = [&](std::string_view title, const std::vector<series>& lines,
                            bool from_zero) {
        y += down;
        draw_panel(picture, x, y, title, lines, from_zero);
      };
      const auto of = [&](const char* name, bool dashed, auto&& number) {
        return course(moments, s, target, labels, name, dashed, number);
      };
      draw("accuracy on development pictures, by rounds",
           of("", false, [](const moment& m) { return m.dev_accuracy; }), false);
      draw("loss on development pictures",
           of("", false, [](const moment& m) { return m.dev_loss; }), false);
      const bool is_left = target == "left";
      draw("weights w: target solid, auxiliary dashed",
           joined(of(": target", false,
                     [&](const moment& m) { return is_left ? m.left_weight : m.right_weight; }),
                  of(": auxiliary", true,
                     [&](const moment& m) { return is_left ? m.right_weight : m.left_weight; })),
           true);
      draw("α of the branches: target solid, others dashed",
           coefficients(moments, s, target, labels), true);
      x += across;
    }
  }
  vb::io::write_atomically(file, [&](std::ostream& out) { out << picture.str(); });
}

}  // namespace multi_fashion
