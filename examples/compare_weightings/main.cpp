// Compares weighting policies on tasks that share a network.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <optional>

#include "../support/command_line.hpp"
#include "../support/program.hpp"
#include "picture.hpp"
#include "problem.hpp"
#include "results.hpp"
#include "settings.hpp"
#include "vierbein/core/error.hpp"
#include "vierbein/train/interrupt.hpp"

namespace compare_weightings {

namespace {

void add_options(CLI::App& app, settings& s, std::optional<int>& threads) {
  const auto list = [&](const char* name, std::vector<std::string>& values,
                        const std::string& words) {
    app.add_option(name, values, words)
        ->delimiter(',')
        ->allow_extra_args(false)
        ->type_name("NAME,...")
        ->default_str(fmt::format("{}", fmt::join(values, ",")));
  };
  const auto number = [&](const char* name, auto& value, const char* words) {
    app.add_option(name, value, words)->type_name("NUMBER")->capture_default_str();
  };
  const auto text = [&](const char* name, auto& value, const char* type, const char* words) {
    app.add_option(name, value, words)->type_name(type)->capture_default_str();
  };
  list("--methods", s.methods,
       fmt::format("all (those that need no target), or some of {}",
                   fmt::join(examples::names_of_all_policies(), ", ")));
  text("--data", s.data, "molecules|multi_fashion", "what is learnt");
  text("--target", s.target, "TASK", "of methods that serve one task [the first]");
  text("--images", s.images, "FILE", "IDX file of single pictures, plain or gzip");
  text("--labels", s.labels, "FILE", "IDX file of their classes");
  number("--train", s.train, "overlaid pictures for training");
  number("--dev", s.dev, "for choosing the best epoch by");
  number("--test", s.test, "to be recognised");
  text("--table", s.table, "FILE", "CSV file of molecules");
  text("--smiles", s.smiles, "COLUMN", "its SMILES");
  list("--properties", s.properties, "its columns that are learnt");
  number("--epochs", s.epochs, "passes over the training rows");
  number("--batch", s.batch, "rows of a batch");
  number("--learning-rate", s.learning_rate, "of Adam, the same for all methods");
  text("--compare", s.compare, "parameters|representation", "whose gradients methods compare");
  text("--heads", s.heads, "weighted|unweighted", "what a task's own parameters follow");
  number("--seeds", s.seeds, "how often everything is repeated, with other rows");
  number("--first-seed", s.first_seed, "the seeds are this number and those that follow");
  app.add_option("--threads", threads, "threads; the results do not depend on it [all processors]")
      ->type_name("NUMBER");
  text("--cosines", s.cosines, "NAME",
       "a method to train once more, with the first seed, whose gradients' cosines are drawn in "
       "cosines.svg; one that looks at gradients (for equal weights they are looked at for this)");
  text("--out", s.out, "FOLDER", "for results.csv and pictures");
  app.add_flag("--resume", s.resume,
               "keep the results in the folder and run what is missing; methods and seeds may "
               "differ, all other settings must be those of the results");
}

/// Equal weights, with gradients that are looked at so that they can be drawn.
struct watched_equal {
  using weighting_kind = vb::gram_based;
  void weigh(vb::losses, vb::gram_matrix, vb::weights w) const { std::ranges::fill(w, 1.0); }
};

bool compare(const settings& s) {
  const vb::interrupt_guard guard;  // one interrupt stops everything, not one training
  const auto tasks = s.data == "molecules" ? make_molecule_problem(s) : make_fashion_problem(s);
  journal done(s);
  for (long seed = s.first_seed; seed < s.first_seed + s.seeds && !vb::interrupted(); ++seed) {
    for (const auto& name : s.methods) {
      if (done.has(name, seed)) {
        continue;
      }
      const auto found = tasks->train(fmt::format("seed {}, {}", seed, name),
                                      *examples::find_policy(name, s.target), seed, nullptr);
      if (!found) {
        break;
      }
      done.add({name, seed, *found});
    }
  }
  if (!s.cosines.empty() && !vb::interrupted()) {
    auto policy = *examples::find_policy(s.cosines, s.target);
    if (s.cosines == "equal") {
      policy = examples::gram_policy(watched_equal{});
    }
    vb::training_course course;
    tasks->train("cosines, " + s.cosines, std::move(policy), s.first_seed, &course);
    if (!vb::interrupted()) {
      write_cosines(s.out / "cosines.svg", course,
                    fmt::format("{}, {}, seed {}", s.data, s.cosines, s.first_seed));
    }
  }
  print_table(done.results(), s, tasks->metric());
  return !vb::interrupted();
}

int run(int argc, char** argv) {
  CLI::App app{
      "Compares weighting policies: trains the same network by each of them, with several seeds, "
      "prints a table of what they reach and what a step costs, and leaves results.csv in a "
      "folder."};
  app.name("compare_weightings");
  settings s;
  std::optional<int> threads;
  add_options(app, s, threads);
  if (const auto ends = examples::parse(app, argc, argv)) {
    return *ends;
  }
  vierbein::require(threads.value_or(1) > 0, "--threads", "expected a positive number, found {}",
                    threads.value_or(1));
  s.threads = threads.value_or(0);
  check_settings(s);
  const examples::output_folder folder(s.out);
  const bool complete = compare(s);
  if (std::fflush(stdout) != 0) {
    throw vierbein::error("standard output",
                          "cannot be written: " + std::generic_category().message(errno));
  }
  return complete ? 0 : 130;
}

}  // namespace

}  // namespace compare_weightings

int main(int argc, char** argv) {
  // A limit on the size of files is an error of writing, not the end of the program.
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    return compare_weightings::run(argc, argv);
  } catch (const std::exception& e) {
    return examples::refuse(e);
  }
}
