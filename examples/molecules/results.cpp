#include "results.hpp"

#include <fmt/format.h>

#include <cmath>
#include <map>
#include <set>

#include "vierbein/io/csv_writer.hpp"

namespace molecules {

namespace {

struct summary {
  double mean = 0;
  double deviation = 0;
};

// Mean and standard deviation (of a sample).
summary summarise(const std::vector<double>& values) {
  summary s;
  for (const double v : values) {
    s.mean += v / static_cast<double>(values.size());
  }
  double squares = 0;
  for (const double v : values) {
    squares += (v - s.mean) * (v - s.mean);
  }
  s.deviation = values.size() > 1 ? std::sqrt(squares / static_cast<double>(values.size() - 1)) : 0;
  return s;
}

// Values of one method and number of labels by seed, for a target or ("") meaned over the targets.
std::map<long, double> by_seed(const std::vector<result>& results, const std::string& method,
                               long labels, const std::string& target, double result::* what) {
  std::map<long, double> total;
  std::map<long, double> count;
  for (const result& r : results) {
    if (r.method == method && r.labels == labels && (target.empty() || r.target == target)) {
      total[r.seed] += r.*what;
      count[r.seed] += 1;
    }
  }
  for (auto& [seed, value] : total) {
    value /= count[seed];
  }
  return total;
}

std::vector<double> values_of(const std::map<long, double>& map) {
  std::vector<double> values;
  for (const auto& [seed, value] : map) {
    values.push_back(value);
  }
  return values;
}

}  // namespace

void write_results(const std::filesystem::path& file, const std::vector<result>& results) {
  const std::vector<std::string> names{"target", "method", "encoder", "labels", "seed",
                                       "rmse",   "mae",    "r2",      "seconds"};
  std::vector<std::vector<std::string>> rows;
  for (const result& r : results) {
    rows.push_back({r.target, r.method, r.encoder, fmt::format("{}", r.labels),
                    fmt::format("{}", r.seed), fmt::format("{:.6g}", r.rmse),
                    fmt::format("{:.6g}", r.mae), fmt::format("{:.5f}", r.r2),
                    fmt::format("{:.2f}", r.seconds)});
  }
  vb::io::write_csv(file, names, rows);
}

void print_table(const std::vector<result>& results, const settings& s) {
  auto rows = s.targets;
  rows.emplace_back();  // the mean over the targets
  for (const long labels : s.labels) {
    fmt::print("\n{} labels, encoder {}, split {}, hide {}, {} seeds: mean ± standard deviation\n",
               labels, s.encoder, s.split, s.hide, s.seeds);
    fmt::print("{:<26} {:<24} {:>18} {:>18} {:>16} {:>18} {:>9}\n", "target", "method", "RMSE",
               "MAE", "R²", "R² - R²(single)", "seconds");
    for (const auto& target : rows) {
      for (const auto& method : s.methods) {
        const auto r2 = by_seed(results, method, labels, target, &result::r2);
        if (r2.empty()) {
          continue;
        }
        const auto cell = [&](double result::* what) {
          const auto v = summarise(values_of(by_seed(results, method, labels, target, what)));
          return fmt::format("{:.4g} ± {:.2g}", v.mean, v.deviation);
        };
        const auto q = summarise(values_of(r2));
        std::string difference;
        if (method != "single") {
          const auto single = by_seed(results, "single", labels, target, &result::r2);
          std::vector<double> paired;
          for (const auto& [seed, value] : r2) {
            if (single.contains(seed)) {
              paired.push_back(value - single.at(seed));
            }
          }
          if (!paired.empty()) {
            const auto d = summarise(paired);
            difference = fmt::format("{:+.3f} ± {:.3f}", d.mean, d.deviation);
          }
        }
        const auto seconds =
            summarise(values_of(by_seed(results, method, labels, target, &result::seconds)));
        fmt::print("{:<26} {:<24} {:>18} {:>18} {:>16} {:>18} {:>9.1f}\n",
                   target.empty() ? "mean over the targets" : target, method,
                   target.empty() ? "" : cell(&result::rmse),
                   target.empty() ? "" : cell(&result::mae),
                   fmt::format("{:.3f} ± {:.3f}", q.mean, q.deviation), difference, seconds.mean);
      }
    }
  }
}

}  // namespace molecules
