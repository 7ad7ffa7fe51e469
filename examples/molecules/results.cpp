#include "results.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <set>
#include <string_view>

#include "../support/text_table.hpp"
#include "vierbein/io/csv.hpp"
#include "vierbein/io/csv_writer.hpp"

namespace molecules {

using examples::minus;
using examples::show;
using examples::text_table;

namespace {

// Decimals that show three digits of the smallest value.
int decimals_for(double smallest) {
  if (!(smallest > 0) || !std::isfinite(smallest)) {
    return 3;
  }
  return std::clamp(2 - static_cast<int>(std::floor(std::log10(smallest))), 0, 9);
}

// By seed, the mean over the targets of log(RMSE / RMSE of finetune).
std::map<long, double> log_ratios(const std::vector<result>& results, const std::string& method,
                                  long labels, const std::vector<std::string>& targets) {
  std::map<long, double> total;
  std::map<long, double> count;
  for (const auto& target : targets) {
    const auto reference = by_seed(results, "finetune", labels, target, &result::rmse);
    for (const auto& [seed, rmse] : by_seed(results, method, labels, target, &result::rmse)) {
      if (reference.contains(seed) && rmse > 0 && reference.at(seed) > 0) {
        total[seed] += std::log(rmse / reference.at(seed));
        count[seed] += 1;
      }
    }
  }
  for (auto& [seed, value] : total) {
    value /= count[seed];
  }
  return total;
}

// RMSE, MAE, R² and seconds as they stand in a file.
std::array<std::string, 4> number_texts(const result& r) {
  return {fmt::format("{:.6g}", r.rmse), fmt::format("{:.6g}", r.mae), fmt::format("{:.5f}", r.r2),
          fmt::format("{:.2f}", r.seconds)};
}

std::string show_ratio(const std::map<long, double>& logs) {
  if (logs.empty()) {
    return "";
  }
  const summary v = summarise(logs);
  const double ratio = std::exp(v.mean);
  return logs.size() == 1 ? fmt::format("{:.3f}", ratio)
                          : fmt::format("{:.3f} ± {:.3f}", ratio, ratio * v.deviation);
}

}  // namespace

void write_results(const std::filesystem::path& file, const std::vector<result>& results) {
  const std::vector<std::string> names{"target", "method", "encoder", "labels", "seed",
                                       "rmse",   "mae",    "r2",      "seconds"};
  std::vector<std::vector<std::string>> rows;
  for (const result& r : results) {
    const auto [rmse, mae, r2, seconds] = number_texts(r);
    rows.push_back({r.target, r.method, r.encoder, fmt::format("{}", r.labels),
                    fmt::format("{}", r.seed), rmse, mae, r2, seconds});
  }
  vb::io::write_csv(file, names, rows);
}

result rounded(result r) {
  const auto [rmse, mae, r2, seconds] = number_texts(r);
  r.rmse = std::strtod(rmse.c_str(), nullptr);
  r.mae = std::strtod(mae.c_str(), nullptr);
  r.r2 = std::strtod(r2.c_str(), nullptr);
  r.seconds = std::strtod(seconds.c_str(), nullptr);
  return r;
}

std::vector<result> read_results(const std::filesystem::path& file) {
  const auto csv = vb::io::read_csv(file);
  const auto target = csv.text_column("target");
  const auto method = csv.text_column("method");
  const auto encoder = csv.text_column("encoder");
  const auto labels = csv.number_column("labels");
  const auto seed = csv.number_column("seed");
  const auto rmse = csv.number_column("rmse");
  const auto mae = csv.number_column("mae");
  const auto r2 = csv.number_column("r2");
  const auto seconds = csv.number_column("seconds");
  std::vector<result> results;
  for (std::size_t i = 0; i < target.size(); ++i) {
    results.push_back({target[i], method[i], encoder[i], std::lround(labels[i]),
                       std::lround(seed[i]), rmse[i], mae[i], r2[i], seconds[i]});
  }
  return results;
}

std::vector<result> selected(const std::vector<result>& results, const settings& s) {
  const auto among = [](const auto& list, const auto& value) {
    return std::find(list.begin(), list.end(), value) != list.end();
  };
  std::vector<result> chosen;
  for (const result& r : results) {
    if (r.encoder == s.encoder && among(s.targets, r.target) && among(s.methods, r.method) &&
        among(s.labels, r.labels) && r.seed >= s.first_seed && r.seed < s.first_seed + s.seeds) {
      chosen.push_back(r);
    }
  }
  return chosen;
}

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

void print_table(const std::vector<result>& all, const settings& s) {
  const auto results = selected(all, s);
  const auto has = [&](const char* method) {
    return std::any_of(results.begin(), results.end(),
                       [&](const result& r) { return r.method == method; });
  };
  const bool several = s.methods.size() > 1;
  const bool single = several && has("single");
  const bool finetune = several && has("finetune");
  std::set<long> seeds;
  for (const result& r : results) {
    seeds.insert(r.seed);
  }

  for (const long labels : s.labels) {
    const auto r2_of = [&](const std::string& method, const std::string& target) {
      return by_seed(results, method, labels, target, &result::r2);
    };
    const auto any = std::any_of(results.begin(), results.end(),
                                 [&](const result& r) { return r.labels == labels; });
    if (!any) {
      continue;
    }
    fmt::print("\n{} labels, encoder {}, {} split, test molecules hidden {}, {}\n\n", labels,
               s.encoder, s.split, s.hide == "all" ? "from all tasks" : "from the targets only",
               seeds.size() == 1
                   ? "1 seed"
                   : fmt::format("{} seeds: mean ± standard deviation", seeds.size()));

    // The columns that compare with another method are there when that method is.
    const auto row = [&](std::vector<std::string> cells, std::string difference, std::string ratio,
                         std::string seconds) {
      if (single) {
        cells.push_back(std::move(difference));
      }
      if (finetune) {
        cells.push_back(std::move(ratio));
      }
      cells.push_back(std::move(seconds));
      return cells;
    };
    const auto compared = [&](std::vector<std::string> cells, const std::string& method,
                              const std::string& target) {
      const auto targets = target.empty() ? s.targets : std::vector<std::string>{target};
      return row(
          std::move(cells),
          method == "single" ? ""
                             : show(minus(r2_of(method, target), r2_of("single", target)), 3, true),
          method == "finetune" ? "" : show_ratio(log_ratios(results, method, labels, targets)),
          fmt::format("{:.1f}",
                      summarise(by_seed(results, method, labels, target, &result::seconds)).mean));
    };

    text_table means(1);
    means.add(row(
        {fmt::format("mean over {} target{}", s.targets.size(), s.targets.size() == 1 ? "" : "s"),
         "R²"},
        "R² - single", "RMSE / finetune", "seconds"));
    for (const auto& method : s.methods) {
      if (const auto r2 = r2_of(method, ""); !r2.empty()) {
        means.add(compared({method, show(r2, 3)}, method, ""));
      }
    }
    means.print();
    fmt::print("\n");

    text_table details(2);
    details.add(row({"target", "method", "RMSE", "MAE", "R²"}, "R² - single", "RMSE / finetune",
                    "seconds"));
    for (const auto& target : s.targets) {
      std::map<const char*, int> decimals;
      for (const auto& [name, what] :
           {std::pair{"rmse", &result::rmse}, std::pair{"mae", &result::mae}}) {
        double smallest = std::numeric_limits<double>::infinity();
        for (const auto& method : s.methods) {
          if (const auto v = by_seed(results, method, labels, target, what); !v.empty()) {
            smallest = std::min(smallest, summarise(v).mean);
          }
        }
        decimals[name] = decimals_for(smallest);
      }
      if (&target != &s.targets.front()) {
        details.add_blank();
      }
      std::string shown = target;
      for (const auto& method : s.methods) {
        const auto r2 = r2_of(method, target);
        if (r2.empty()) {
          continue;
        }
        details.add(compared(
            {shown, method,
             show(by_seed(results, method, labels, target, &result::rmse), decimals["rmse"]),
             show(by_seed(results, method, labels, target, &result::mae), decimals["mae"]),
             show(r2, 3)},
            method, target));
        shown.clear();
      }
    }
    details.print();
  }
  fmt::print(
      "\nSeconds are those of a target; training on the sources, which finetune and addition start "
      "from, is not in them.\n");
}

}  // namespace molecules
