#include "settings.hpp"

#include <fmt/format.h>

#include <cmath>
#include <set>

#include "../support/program.hpp"
#include "methods.hpp"
#include "vierbein/core/error.hpp"

namespace multi_fashion {

namespace {

using examples::check_positive;
using vierbein::require;

template <class List>
void check_list(const char* option, const List& list) {
  require(!list.empty(), option, "expected at least one");
  std::set<typename List::value_type> seen;
  for (const auto& entry : list) {
    require(seen.insert(entry).second, option, "'{}' is given twice", entry);
  }
}

}  // namespace

void check_settings(const settings& s) {
  require(!s.images.empty(), "--images", "expected the name of an IDX file");
  require(!s.labels.empty(), "--labels", "expected the name of an IDX file");
  require(!s.out.empty(), "--out", "expected the name of a folder");
  const auto written = {"results.csv", "history.csv", "settings.txt", "chart.svg"};
  examples::require_other_files(s.out, written, "--images", s.images);
  examples::require_other_files(s.out, written, "--labels", s.labels);
  check_list("--target", s.targets);
  for (const auto& target : s.targets) {
    require(target == "left" || target == "right", "--target", "expected left or right, found '{}'",
            target);
  }
  check_list("--methods", s.methods);
  for (const auto& name : s.methods) {
    find_method(name);
  }
  check_positive("--train", s.train);
  check_positive("--dev", s.dev);
  check_positive("--test", s.test);
  check_positive("--epochs", s.epochs);
  check_positive("--batch", s.batch);
  examples::check_seeds(s.first_seed, s.seeds);
  check_list("--target-labels", s.target_labels);
  for (const long labels : s.target_labels) {
    require(labels >= 0 && labels <= s.train, "--target-labels",
            "expected numbers from 0 (all) to the {} training pictures, found {}", s.train, labels);
  }
  require(s.learning_rate > 0 && std::isfinite(s.learning_rate), "--learning-rate",
          "expected a positive number, found {}", s.learning_rate);
}

}  // namespace multi_fashion
