#include "results.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "../support/program.hpp"
#include "../support/settings_file.hpp"
#include "../support/summary.hpp"
#include "../support/text_table.hpp"
#include "vierbein/io/atomic_file.hpp"
#include "vierbein/io/csv.hpp"
#include "vierbein/io/csv_writer.hpp"

namespace compare_weightings {

namespace {

// What all results of a folder have in common. Methods and seeds say which results there are.
std::string shared_settings(const settings& s) {
  examples::settings_text text;
  text.add("data", s.data);
  if (s.data == "molecules") {
    text.add_file("table", s.table);
    text.add("smiles", s.smiles);
    text.add("properties", fmt::format("{}", fmt::join(s.properties, ", ")));
  } else {
    text.add_file("images", s.images);
    text.add_file("labels", s.labels);
    text.add("train", s.train);
    text.add("dev", s.dev);
    text.add("test", s.test);
  }
  text.add("target", s.target);
  text.add("epochs", s.epochs);
  text.add("batch", s.batch);
  text.add("learning-rate", s.learning_rate);
  text.add("compare", s.compare);
  text.add("heads", s.heads);
  return text.text();
}

std::string metric_text(double v) {
  return fmt::format("{:.6f}", v);
}
std::string time_text(double v) {
  return fmt::format("{:.4g}", v);
}
double number(const std::string& text) {
  return std::strtod(text.c_str(), nullptr);
}

// By seed, one number of a method's results.
template <class F>
std::map<long, double> by_seed(const std::vector<result>& results, const settings& s,
                               const std::string& method, F&& what) {
  std::map<long, double> values;
  for (const result& r : results) {
    if (r.method == method && r.seed >= s.first_seed && r.seed < s.first_seed + s.seeds) {
      values[r.seed] = what(r);
    }
  }
  return values;
}

}  // namespace

double result::metric() const {
  double total = 0;
  for (const double v : what.by_task) {
    total += v / static_cast<double>(what.by_task.size());
  }
  return total;
}

journal::journal(const settings& s) : s_(s), shared_(shared_settings(s)) {
  if (s.resume && std::filesystem::exists(s.out / "results.csv")) {
    examples::require_same_settings(s.out / "settings.txt", s.out / "results.csv", shared_);
    read();
    examples::tell("{} results are there already\n", results_.size());
  }
}

void journal::read() {
  const auto csv = vb::io::read_csv(s_.out / "results.csv");
  const auto method = csv.text_column("method");
  const auto seed = csv.number_column("seed");
  const auto ms = csv.number_column("ms_per_step");
  const auto seconds = csv.number_column("seconds");
  std::vector<std::vector<double>> tasks;
  for (const auto& name : task_names(s_)) {
    tasks.push_back(csv.number_column("task " + name));
  }
  for (std::size_t i = 0; i < method.size(); ++i) {
    result r{method[i], std::lround(seed[i]), {{}, ms[i], seconds[i]}};
    for (const auto& values : tasks) {
      r.what.by_task.push_back(values[i]);
    }
    results_.push_back(std::move(r));
  }
}

void journal::write() const {
  std::vector<std::string> names{"method", "seed", "metric", "ms_per_step", "seconds"};
  for (const auto& name : task_names(s_)) {
    names.push_back("task " + name);
  }
  std::vector<std::vector<std::string>> rows;
  for (const result& r : results_) {
    rows.push_back({r.method, fmt::format("{}", r.seed), metric_text(r.metric()),
                    time_text(r.what.ms_per_step), time_text(r.what.seconds)});
    for (const double v : r.what.by_task) {
      rows.back().push_back(metric_text(v));
    }
  }
  vb::io::write_csv(s_.out / "results.csv", names, rows);
}

bool journal::has(const std::string& method, long seed) const {
  return std::any_of(results_.begin(), results_.end(),
                     [&](const result& r) { return r.method == method && r.seed == seed; });
}

void journal::add(result exact) {
  for (double& v : exact.what.by_task) {
    v = number(metric_text(v));
  }
  exact.what.ms_per_step = number(time_text(exact.what.ms_per_step));
  exact.what.seconds = number(time_text(exact.what.seconds));
  const bool first = results_.empty() || !s_.resume;
  results_.push_back(std::move(exact));
  write();
  if (first) {  // after the results: should we be stopped in between, nothing is resumed by mistake
    vb::io::write_atomically(s_.out / "settings.txt", [&](std::ostream& out) { out << shared_; });
  }
}

void print_table(const std::vector<result>& results, const settings& s, const std::string& metric) {
  const auto metric_of = [](const result& r) { return r.metric(); };
  const auto ms_of = [](const result& r) { return r.what.ms_per_step; };
  const auto reference = by_seed(results, s, "equal", metric_of);
  const auto reference_ms = by_seed(results, s, "equal", ms_of);
  examples::text_table table(1);
  table.add({"method", metric, "against equal", "ms a step", "times equal"});
  table.add_blank();
  for (const auto& name : s.methods) {
    const auto values = by_seed(results, s, name, metric_of);
    if (values.empty()) {
      continue;
    }
    const auto ms = by_seed(results, s, name, ms_of);
    std::map<long, double> ratio;
    for (const auto& [seed, v] : ms) {
      if (reference_ms.contains(seed) && reference_ms.at(seed) > 0) {
        ratio[seed] = v / reference_ms.at(seed);
      }
    }
    table.add({name, examples::show(values, 4),
               name == "equal" ? "" : examples::show(examples::minus(values, reference), 4, true),
               examples::show(ms, 2), name == "equal" ? "" : examples::show(ratio, 2)});
  }
  fmt::print("mean {} of the tasks; mean ± standard deviation over {} seeds\n\n", metric,
             s.seeds);
  table.print();
}

}  // namespace compare_weightings
