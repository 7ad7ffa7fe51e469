#include "checks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "../support/program.hpp"
#include "methods.hpp"
#include "vierbein/core/error.hpp"

namespace molecules {

namespace {

template <class List>
void check_distinct(const char* option, const List& list) {
  std::set<typename List::value_type> seen;
  for (const auto& entry : list) {
    vb::require(seen.insert(entry).second, option, "'{}' is given twice", entry);
  }
}

void check_names(const char* option, const std::vector<std::string>& names) {
  for (const auto& name : names) {
    vb::require(!name.empty(), option, "expected names of columns, found an empty one");
    vb::require(name.find('/') == std::string::npos, option,
                "the name of a task must not contain a '/', but '{}' does", name);
  }
  check_distinct(option, names);
}

template <std::size_t N>
void check_choice(const char* option, const std::string& value,
                  const std::array<const char*, N>& choices) {
  vb::require(std::find(choices.begin(), choices.end(), value) != choices.end(), option,
              "expected one of {}; found '{}'", fmt::join(choices, ", "), value);
}

}  // namespace

void check_settings(const settings& s) {
  vb::require(!s.data.empty(), "--data", "expected the name of a CSV file");
  vb::require(!s.smiles.empty(), "--smiles", "expected the name of a column");
  vb::require(!s.out.empty(), "--out", "expected the name of a folder");
  examples::require_other_files(s.out,
                                {"results.csv", "history.csv", "settings.txt", "rejects.csv",
                                 "chart.svg", "frame.svg", "model.safetensors"},
                                "--data", s.data);
  check_choice("--device", s.device, std::array{"cpu", "cuda"});
#ifndef VIERBEIN_EXAMPLES_CUDA
  vb::require(s.device == "cpu", "--device",
              "this program was built without CUDA: configure it with VIERBEIN_WITH_CUDA=ON");
#endif
  vb::require(!s.methods.empty(), "--methods", "expected some of {}", method_names());
  bool sources_needed = false;
  bool weighted = false;
  for (const auto& name : s.methods) {
    const method& m = find_method(name);
    sources_needed = sources_needed || m.pretraining != pretraining_kind::none;
    weighted = weighted || m.weighted;
  }
  check_distinct("--methods", s.methods);
  vb::require(!s.sources.empty() || !sources_needed, "--sources",
              "expected columns of {}, such as --sources a,b", s.data.string());
  vb::require(!s.targets.empty(), "--targets", "expected columns of {}, such as --targets c,d",
              s.data.string());
  check_names("--sources", s.sources);
  check_names("--targets", s.targets);
  for (const auto& target : s.targets) {
    vb::require(std::find(s.sources.begin(), s.sources.end(), target) == s.sources.end(),
                "--targets", "'{}' is among the sources too", target);
  }
  vb::require(!s.labels.empty(), "--labels", "expected at least one number");
  for (const long labels : s.labels) {
    vb::require(labels >= 2, "--labels", "expected numbers of at least 2, found {}", labels);
    vb::require(labels >= 3 || !weighted, "--labels",
                "methods of --weighting hold back 2 labels and need at least 3, found {}", labels);
  }
  check_distinct("--labels", s.labels);
  check_choice("--encoder", s.encoder, std::array{"dmpnn", "dense"});
  check_choice("--hide", s.hide, std::array{"all", "target"});
  vb::require(s.split == "random" || s.split == "scaffold" ||
                  (s.split.starts_with("column:") && s.split.size() > 7),
              "--split", "expected random, scaffold or column:NAME; found '{}'", s.split);
  examples::check_seeds(s.first_seed, s.seeds);
  examples::check_positive("--epochs", s.epochs);
  examples::check_positive("--addition-epochs", s.addition_epochs);
  vb::require(s.threads >= 0, "--threads", "expected a positive number, found {}", s.threads);
}

std::map<long, std::vector<char>> choose_test_molecules(const settings& s,
                                                        const molecule_table& table) {
  const long most = *std::max_element(s.labels.begin(), s.labels.end());
  const auto place = [&](const std::string& column) {
    return fmt::format("{}, column {}", s.data.string(), column);
  };
  // Labels of a column, (in training, in test).
  const auto count = [&](std::size_t column, const std::vector<char>& test) {
    std::array<long, 2> counts{};
    for (std::size_t i = 0; i < test.size(); ++i) {
      const auto row = static_cast<vb::index_t>(i);
      if (!std::isnan(table.values(row, static_cast<vb::index_t>(column)))) {
        ++counts[test[i] != 0 ? 1 : 0];
      }
    }
    return counts;
  };
  const std::vector<char> none(static_cast<std::size_t>(table.set.size()), 0);
  for (std::size_t p = 0; p < table.properties.size(); ++p) {
    vb::require(count(p, none)[0] > 0, place(table.properties[p]).c_str(),
                "the task has no label, all cells are empty");
  }

  std::map<long, std::vector<char>> tests;
  for (long seed = s.first_seed; seed < s.first_seed + s.seeds; ++seed) {
    auto& test = tests[seed];
    try {
      test = test_molecules(table, s.split, static_cast<std::uint64_t>(seed));
    } catch (const vb::error& e) {
      throw vb::error(fmt::format("{}, --split {}", s.data.string(), s.split), e.what());
    }
    const auto tested = std::count(test.begin(), test.end(), char{1});
    vb::require(tested > 0 && tested < std::ssize(test), s.data.string().c_str(),
                "the split '{}' makes {} of {} molecules test molecules", s.split, tested,
                test.size());
    for (std::size_t p = 0; p < table.properties.size(); ++p) {
      const bool source = p < s.sources.size();
      const auto [train, held] = count(p, test);
      if (source) {
        const long usable = s.hide == "all" ? train : train + held;
        vb::require(usable >= 2, place(table.properties[p]).c_str(),
                    "with seed {}, only {} molecules outside the test set have a label", seed,
                    usable);
        continue;
      }
      vb::require(train >= most, place(table.properties[p]).c_str(),
                  "asked for {} labels, but with seed {} only {} molecules outside the test set "
                  "have one",
                  most, seed, train);
      vb::require(held >= 2, place(table.properties[p]).c_str(),
                  "with seed {} the test set holds {} molecules with a label, too few to judge a "
                  "prediction",
                  seed, held);
    }
  }
  return tests;
}

}  // namespace molecules
