#include "settings.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "../support/program.hpp"
#include "../support/weightings.hpp"
#include "vierbein/core/error.hpp"

namespace compare_weightings {

namespace {

using examples::check_positive;
using vierbein::require;

void check_list(const char* option, const std::vector<std::string>& list) {
  require(!list.empty(), option, "expected at least one");
  std::set<std::string> seen;
  for (const auto& entry : list) {
    require(seen.insert(entry).second, option, "'{}' is given twice", entry);
  }
}

void check_choice(const char* option, const std::string& value, const char* one,
                  const char* other) {
  require(value == one || value == other, option, "expected {} or {}, found '{}'", one, other,
          value);
}

void check_method(const char* option, const std::string& name, const settings& s) {
  require(examples::find_policy(name, s.target).has_value(), option,
          "expected some of {}; found '{}'", fmt::join(examples::names_of_all_policies(), ", "),
          name);
  require(examples::least_tasks(name) <= task_names(s).size(), option,
          "'{}' needs at least {} tasks, but there are {}", name, examples::least_tasks(name),
          task_names(s).size());
}

}  // namespace

std::vector<std::string> task_names(const settings& s) {
  return s.data == "molecules" ? s.properties : std::vector<std::string>{"left", "right"};
}

void check_settings(settings& s) {
  check_choice("--data", s.data, "molecules", "multi_fashion");
  check_choice("--compare", s.compare, "parameters", "representation");
  check_choice("--heads", s.heads, "weighted", "unweighted");
  check_list("--properties", s.properties);
  const auto tasks = task_names(s);
  if (s.target.empty()) {
    s.target = tasks.front();
  }
  require(std::find(tasks.begin(), tasks.end(), s.target) != tasks.end(), "--target",
          "there is no task '{}' among {}", s.target, fmt::join(tasks, ", "));
  if (const auto all = std::find(s.methods.begin(), s.methods.end(), "all");
      all != s.methods.end()) {
    auto names = examples::names_without_target();
    std::erase_if(names, [&](const std::string& name) {
      return examples::least_tasks(name) > tasks.size() ||
             std::find(s.methods.begin(), s.methods.end(), name) != s.methods.end();
    });
    s.methods.insert(s.methods.erase(all), names.begin(), names.end());
  }
  check_list("--methods", s.methods);
  for (const auto& name : s.methods) {
    check_method("--methods", name, s);
  }
  if (!s.cosines.empty()) {
    check_method("--cosines", s.cosines, s);
    const auto policy = *examples::find_policy(s.cosines, s.target);
    require(s.cosines == "equal" || !(std::holds_alternative<examples::loss_policy>(policy) ||
                                      std::holds_alternative<examples::round_policy>(policy)),
            "--cosines", "'{}' does not look at gradients", s.cosines);
  }
  require(!s.out.empty(), "--out", "expected the name of a folder");
  const auto written = {"results.csv", "settings.txt", "rejects.csv", "cosines.svg"};
  examples::require_other_files(s.out, written, "--table", s.table);
  examples::require_other_files(s.out, written, "--images", s.images);
  examples::require_other_files(s.out, written, "--labels", s.labels);
  check_positive("--train", s.train);
  check_positive("--dev", s.dev);
  check_positive("--test", s.test);
  check_positive("--epochs", s.epochs);
  check_positive("--batch", s.batch);
  examples::check_seeds(s.first_seed, s.seeds);
  require(s.learning_rate > 0 && std::isfinite(s.learning_rate), "--learning-rate",
          "expected a positive number, found {}", s.learning_rate);
}

}  // namespace compare_weightings
