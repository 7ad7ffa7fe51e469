#include "results.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <set>

#include "../support/text_table.hpp"
#include "vierbein/io/csv.hpp"
#include "vierbein/io/csv_writer.hpp"

namespace multi_fashion {

namespace {

std::string number(double v) {
  return std::isnan(v) ? "" : fmt::format("{:.6g}", v);
}

// What reading gives after writing.
double kept(double v) {
  return std::isnan(v) ? v : std::strtod(number(v).c_str(), nullptr);
}

}  // namespace

void write_results(const std::filesystem::path& file, const std::vector<result>& results) {
  std::vector<std::vector<std::string>> rows;
  for (const result& r : results) {
    rows.push_back({r.of.target, fmt::format("{}", r.of.labels), r.of.method,
                    fmt::format("{}", r.of.seed), fmt::format("{:.6f}", r.accuracy),
                    fmt::format("{:.2f}", r.seconds)});
  }
  const std::vector<std::string> names{"target", "labels", "method", "seed", "accuracy", "seconds"};
  vb::io::write_csv(file, names, rows);
}

result rounded(result r) {
  r.accuracy = std::strtod(fmt::format("{:.6f}", r.accuracy).c_str(), nullptr);
  r.seconds = std::strtod(fmt::format("{:.2f}", r.seconds).c_str(), nullptr);
  return r;
}

std::vector<result> read_results(const std::filesystem::path& file) {
  const auto csv = vb::io::read_csv(file);
  const auto target = csv.text_column("target");
  const auto labels = csv.number_column("labels");
  const auto method = csv.text_column("method");
  const auto seed = csv.number_column("seed");
  const auto accuracy = csv.number_column("accuracy");
  const auto seconds = csv.number_column("seconds");
  std::vector<result> results;
  for (std::size_t i = 0; i < target.size(); ++i) {
    results.push_back({{target[i], std::lround(labels[i]), method[i], std::lround(seed[i])},
                       accuracy[i],
                       seconds[i]});
  }
  return results;
}

void write_history(const std::filesystem::path& file, const std::vector<moment>& moments) {
  std::vector<std::vector<std::string>> rows;
  for (const moment& m : moments) {
    rows.push_back({m.of.target, fmt::format("{}", m.of.labels), m.of.method,
                    fmt::format("{}", m.of.seed), fmt::format("{}", m.epoch), number(m.progress),
                    fmt::format("{:.4f}", m.seconds), number(m.train_loss), number(m.dev_loss),
                    number(m.dev_accuracy), number(m.left_weight), number(m.right_weight),
                    m.alpha});
  }
  const std::vector<std::string> names{"target",   "labels",       "method",      "seed",
                                       "epoch",    "progress",     "seconds",     "train_loss",
                                       "dev_loss", "dev_accuracy", "weight_left", "weight_right",
                                       "alpha"};
  vb::io::write_csv(file, names, rows);
}

std::vector<moment> read_history(const std::filesystem::path& file) {
  const auto csv = vb::io::read_csv(file);
  const auto target = csv.text_column("target");
  const auto method = csv.text_column("method");
  const auto alpha = csv.text_column("alpha");
  const auto numbers = [&](const char* name) { return csv.number_column(name); };
  const auto labels = numbers("labels");
  const auto seed = numbers("seed");
  const auto epoch = numbers("epoch");
  const auto progress = numbers("progress");
  const auto seconds = numbers("seconds");
  const auto train_loss = numbers("train_loss");
  const auto dev_loss = numbers("dev_loss");
  const auto dev_accuracy = numbers("dev_accuracy");
  const auto left = numbers("weight_left");
  const auto right = numbers("weight_right");
  std::vector<moment> moments;
  for (std::size_t i = 0; i < target.size(); ++i) {
    moments.push_back({{target[i], std::lround(labels[i]), method[i], std::lround(seed[i])},
                       std::lround(epoch[i]),
                       progress[i],
                       seconds[i],
                       train_loss[i],
                       dev_loss[i],
                       dev_accuracy[i],
                       left[i],
                       right[i],
                       alpha[i]});
  }
  return moments;
}

std::vector<moment> moments_of(const cell& of, const vb::history& h) {
  std::vector<moment> moments;
  const auto count = static_cast<double>(h.epochs.size());
  for (const vb::epoch_record& e : h.epochs) {
    moment m;
    m.of = of;
    m.epoch = e.epoch;
    m.progress = kept(static_cast<double>(moments.size() + 1) / count);
    m.seconds = e.seconds;
    m.train_loss = kept(e.train_loss);
    m.dev_loss = kept(e.validation_loss);
    m.dev_accuracy = kept(e.validation_score);
    for (std::size_t t = 0; t < h.task_names.size() && t < e.weights.size(); ++t) {
      (h.task_names[t] == "left" ? m.left_weight : m.right_weight) = kept(e.weights[t]);
    }
    for (const vb::branch_coefficient& b : e.branches) {
      m.alpha += fmt::format("{}{}={:.4g}", m.alpha.empty() ? "" : ";", b.name, b.alpha);
    }
    moments.push_back(std::move(m));
  }
  return moments;
}

std::vector<result> selected(const std::vector<result>& results, const settings& s) {
  const auto among = [](const auto& list, const auto& value) {
    return std::find(list.begin(), list.end(), value) != list.end();
  };
  std::vector<result> chosen;
  for (const result& r : results) {
    if (among(s.targets, r.of.target) && among(s.target_labels, r.of.labels) &&
        among(s.methods, r.of.method) && r.of.seed >= s.first_seed &&
        r.of.seed < s.first_seed + s.seeds) {
      chosen.push_back(r);
    }
  }
  return chosen;
}

std::map<long, double> by_seed(const std::vector<result>& results, const std::string& target,
                               long labels, const std::string& method, double result::* what) {
  std::map<long, double> values;
  for (const result& r : results) {
    if (r.of.target == target && r.of.labels == labels && r.of.method == method) {
      values[r.of.seed] = r.*what;
    }
  }
  return values;
}

std::string labels_text(long labels) {
  return labels == 0 ? "all labels" : fmt::format("{} labels", labels);
}

void print_table(const std::vector<result>& all, const settings& s) {
  const auto results = selected(all, s);
  for (const auto& target : s.targets) {
    for (const long labels : s.target_labels) {
      const auto accuracies = [&](const std::string& method) {
        return by_seed(results, target, labels, method);
      };
      std::set<long> seeds;
      for (const auto& method : s.methods) {
        for (const auto& [seed, value] : accuracies(method)) {
          seeds.insert(seed);
        }
      }
      if (seeds.empty()) {
        continue;
      }
      fmt::print("\ntarget {}, {}, {} test pictures, {}\n\n", target, labels_text(labels), s.test,
                 seeds.size() == 1
                     ? "1 seed"
                     : fmt::format("{} seeds: mean ± standard deviation", seeds.size()));
      // The columns that compare with another method are there when that method is.
      std::vector<std::string> references;
      for (const char* name : {"single", "shared"}) {
        if (s.methods.size() > 1 && !accuracies(name).empty()) {
          references.emplace_back(name);
        }
      }
      examples::text_table table(1);
      std::vector<std::string> head{"method", "accuracy"};
      for (const auto& name : references) {
        head.push_back("- " + name);
      }
      head.emplace_back("seconds");
      table.add(head);
      for (const auto& method : s.methods) {
        const auto values = accuracies(method);
        if (values.empty()) {
          continue;
        }
        std::vector<std::string> row{method, examples::show(values, 4)};
        for (const auto& name : references) {
          row.push_back(name == method
                            ? ""
                            : examples::show(examples::minus(values, accuracies(name)), 4, true));
        }
        row.push_back(fmt::format(
            "{:.1f}",
            examples::summarise(by_seed(results, target, labels, method, &result::seconds)).mean));
        table.add(row);
      }
      table.print();
    }
  }
}

}  // namespace multi_fashion
