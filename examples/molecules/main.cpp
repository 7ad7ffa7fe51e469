// Compares ways of predicting scarce molecular properties, and predicts with the model that is
// left.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <optional>

#include "../support/command_line.hpp"
#include "../support/molecule_inputs.hpp"
#include "../support/policies.hpp"
#include "../support/program.hpp"
#include "checks.hpp"
#include "experiment.hpp"
#include "methods.hpp"
#include "predict.hpp"
#include "vierbein/backend/cpu.hpp"

namespace molecules {

namespace {

void add_options(CLI::App& app, settings& s, std::optional<int>& threads) {
  const auto list = [](CLI::Option* option) {
    return option->delimiter(',')->allow_extra_args(false);
  };
  app.add_option("--data", s.data, "CSV file with a molecule a row; empty cells are unknown values")
      ->type_name("FILE");
  app.add_option("--smiles", s.smiles, "column that holds the SMILES")
      ->type_name("COLUMN")
      ->capture_default_str();
  list(app.add_option("--sources", s.sources, "columns of the abundant properties"))
      ->type_name("COLUMN,...");
  list(app.add_option("--targets", s.targets, "columns of the scarce properties"))
      ->type_name("COLUMN,...");
  list(app.add_option("--labels", s.labels, "how many labels of a target may be used"))
      ->type_name("NUMBER,...")
      ->default_str(fmt::format("{}", fmt::join(s.labels, ",")));
  list(app.add_option("--methods", s.methods, "some of " + method_names()))
      ->type_name("NAME,...")
      ->default_str(fmt::format("{}", fmt::join(s.methods, ",")));
  list(app.add_option("--weighting", s.weighting,
                      "further methods: sources and one target at a time in one model, weighted "
                      "for the target's benefit; some of " +
                          examples::policy_names()))
      ->type_name("NAME,...");
  app.add_option("--encoder", s.encoder,
                 "dmpnn (message passing on the graph) or dense (fingerprint and descriptors)")
      ->type_name("NAME")
      ->capture_default_str();
  app.add_option(
         "--split", s.split,
         "who is tested: random, scaffold, or column:NAME for the rows that hold 'test' there")
      ->type_name("KIND")
      ->capture_default_str();
  app.add_option("--hide", s.hide,
                 "from whom test molecules are hidden: all tasks, or the target alone")
      ->type_name("all|target")
      ->capture_default_str();
  app.add_option("--seeds", s.seeds, "how often everything is repeated")
      ->type_name("NUMBER")
      ->capture_default_str();
  app.add_option("--first-seed", s.first_seed, "the seeds are this number and those that follow")
      ->type_name("NUMBER")
      ->capture_default_str();
  app.add_option("--epochs", s.epochs, "epochs of training on the sources")
      ->type_name("NUMBER")
      ->capture_default_str();
  app.add_option("--addition-epochs", s.addition_epochs, "epochs of training a target")
      ->type_name("NUMBER")
      ->capture_default_str();
  app.add_option("--device", s.device, "where models are trained: cpu, or cuda if built with it")
      ->type_name("NAME")
      ->capture_default_str();
  app.add_option("--threads", threads, "threads; the results do not depend on it [all processors]")
      ->type_name("NUMBER");
  app.add_option("--out", s.out, "folder for results, history, pictures and the model")
      ->type_name("FOLDER")
      ->capture_default_str();
  app.add_flag("--resume", s.resume,
               "keep the results in the folder and run what is missing; the other settings must be "
               "those of the results (methods, labels, seeds and encoder may differ)");
}

void add_options(CLI::App& app, predict_settings& s, std::optional<int>& threads) {
  app.add_option("--model", s.model, "model.safetensors of a comparison")
      ->type_name("FILE")
      ->required();
  app.add_option("--data", s.data, "CSV file with a molecule a row")->type_name("FILE")->required();
  app.add_option("--smiles", s.smiles, "column that holds the SMILES")
      ->type_name("COLUMN")
      ->capture_default_str();
  app.add_option("--out", s.out, "CSV file for the predictions")->type_name("FILE")->required();
  app.add_option("--threads", threads, "threads [all processors]")->type_name("NUMBER");
}

/// Every policy of --weighting is a method.
void add_weighting(settings& s) {
  for (const auto& name : s.weighting) {
    vb::require(examples::find_round_policy(name, "") || examples::find_step_policy(name, ""),
                "--weighting", "expected some of {}; found '{}'", examples::policy_names(), name);
    s.methods.push_back(name);
  }
}

template <class Inputs>
bool run_with(const settings& s, const molecule_table& table) {
#ifdef VIERBEIN_EXAMPLES_CUDA
  if (s.device == "cuda") {
    return run_on_cuda<Inputs>(s, table);
  }
#endif
  return run_experiment<Inputs>(s, table, vb::backend::cpu(s.threads));
}

/// Returns whether it came to its end.
bool compare(const settings& s) {
  check_settings(s);
  const examples::output_folder folder(s.out);
  auto properties = s.sources;
  properties.insert(properties.end(), s.targets.begin(), s.targets.end());
  const auto table = read_molecules(s.data, s.smiles, properties,
                                    s.split.starts_with("column:") ? s.split.substr(7) : "", s.out);
  const bool complete = s.encoder == dense_inputs::name ? run_with<dense_inputs>(s, table)
                                                        : run_with<dmpnn_inputs>(s, table);
  if (table.set.rejects.empty()) {
    std::error_code ignored;
    std::filesystem::remove(s.out / "rejects.csv", ignored);  // those of an earlier run
  }
  return complete;
}

int run(int argc, char** argv) {
  CLI::App app{
      "Compares ways of predicting scarce molecular properties from abundant ones: prints a table "
      "and leaves results.csv, history.csv, chart.svg, frame.svg and model.safetensors in a "
      "folder."};
  app.name("molecules");
  settings s;
  predict_settings p;
  std::optional<int> threads;
  std::optional<int> predict_threads;
  add_options(app, s, threads);
  auto* const command = app.add_subcommand("predict", "Predicts the properties of new molecules");
  add_options(*command, p, predict_threads);
  if (const auto ends = examples::parse(app, argc, argv)) {
    return *ends;
  }
  const auto positive = [](std::optional<int> given) {
    vb::require(given.value_or(1) > 0, "--threads", "expected a positive number, found {}",
                given.value_or(1));
    return given.value_or(0);
  };
  bool complete = true;
  if (command->parsed()) {
    p.threads = positive(predict_threads);
    predict(p);
  } else {
    s.threads = positive(threads);
    add_weighting(s);
    complete = compare(s);
  }
  if (std::fflush(stdout) != 0) {
    throw vb::error("standard output",
                    "cannot be written: " + std::generic_category().message(errno));
  }
  return complete ? 0 : 130;
}

}  // namespace

}  // namespace molecules

int main(int argc, char** argv) {
  // A limit on the size of files is an error of writing, not the end of the program.
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    return molecules::run(argc, argv);
  } catch (const std::exception& e) {
    return examples::refuse(e);
  }
}
