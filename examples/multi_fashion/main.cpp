// Compares ways of learning one of two overlaid pictures of clothes with the help of the other, or
// in spite of it.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <optional>

#include "../support/command_line.hpp"
#include "../support/program.hpp"
#include "experiment.hpp"
#include "methods.hpp"
#include "settings.hpp"
#include "vierbein/core/error.hpp"

namespace multi_fashion {

namespace {

void add_options(CLI::App& app, settings& s, std::optional<int>& threads) {
  const auto list = [](CLI::Option* option) {
    return option->delimiter(',')->allow_extra_args(false);
  };
  const auto number = [&](const char* name, auto& value, const char* words) {
    app.add_option(name, value, words)->type_name("NUMBER")->capture_default_str();
  };
  app.add_option("--images", s.images, "IDX file of single pictures, plain or gzip")
      ->type_name("FILE")
      ->capture_default_str();
  app.add_option("--labels", s.labels, "IDX file of their classes")
      ->type_name("FILE")
      ->capture_default_str();
  list(app.add_option("--target", s.targets, "which picture counts; one after the other for both"))
      ->type_name("left|right,...")
      ->default_str(fmt::format("{}", fmt::join(s.targets, ",")));
  list(app.add_option("--target-labels", s.target_labels,
                      "how many training pictures have a label of the target; 0 for all"))
      ->type_name("NUMBER,...")
      ->default_str(fmt::format("{}", fmt::join(s.target_labels, ",")));
  list(app.add_option("--methods", s.methods, "some of " + method_names()))
      ->type_name("NAME,...")
      ->default_str(fmt::format("{}", fmt::join(s.methods, ",")));
  number("--train", s.train, "overlaid pictures for training");
  number("--dev", s.dev, "for choosing parameters and weights by");
  number("--test", s.test, "to be predicted");
  number("--epochs", s.epochs, "passes over the training pictures");
  number("--batch", s.batch, "pictures of a batch");
  number("--learning-rate", s.learning_rate, "of Adam");
  number("--seeds", s.seeds, "how often everything is repeated, with other pictures");
  number("--first-seed", s.first_seed, "the seeds are this number and those that follow");
  app.add_option("--threads", threads, "threads; the results do not depend on it [all processors]")
      ->type_name("NUMBER");
  app.add_option("--out", s.out, "folder for results, courses and a chart")
      ->type_name("FOLDER")
      ->capture_default_str();
  app.add_flag("--resume", s.resume,
               "keep the results in the folder and run what is missing; the other settings must be "
               "those of the results (targets, their labels, methods and seeds may differ)");
}

int run(int argc, char** argv) {
  CLI::App app{
      "Compares ways of recognising one of two overlaid pictures: prints a table and leaves "
      "results.csv, history.csv and chart.svg in a folder. The pictures are those of Debian's "
      "package dataset-fashion-mnist, or of any IDX pair, such as MNIST."};
  app.name("multi_fashion");
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
  const bool complete = run_experiment(s);
  if (std::fflush(stdout) != 0) {
    throw vierbein::error("standard output",
                          "cannot be written: " + std::generic_category().message(errno));
  }
  return complete ? 0 : 130;
}

}  // namespace

}  // namespace multi_fashion

int main(int argc, char** argv) {
  // A limit on the size of files is an error of writing, not the end of the program.
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    return multi_fashion::run(argc, argv);
  } catch (const std::exception& e) {
    return examples::refuse(e);
  }
}
