#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "experiment.hpp"
#include "inputs.hpp"
#include "methods.hpp"

int main(int argc, char** argv) {
  using namespace molecules;
  CLI::App app{"Predicts scarce molecular properties from abundant ones."};
  settings s;
  app.add_option("--data", s.data)->required();
  app.add_option("--smiles", s.smiles);
  app.add_option("--sources", s.sources)->delimiter(',');
  app.add_option("--targets", s.targets)->delimiter(',');
  app.add_option("--labels", s.labels)->delimiter(',');
  app.add_option("--methods", s.methods)->delimiter(',');
  app.add_option("--encoder", s.encoder);
  app.add_option("--split", s.split);
  app.add_option("--hide", s.hide);
  app.add_option("--seeds", s.seeds);
  app.add_option("--first-seed", s.first_seed);
  app.add_option("--epochs", s.epochs);
  app.add_option("--addition-epochs", s.addition_epochs);
  app.add_option("--threads", s.threads);
  app.add_option("--out", s.out);
  CLI11_PARSE(app, argc, argv);
  try {
    std::filesystem::create_directories(s.out);
    auto properties = s.sources;
    properties.insert(properties.end(), s.targets.begin(), s.targets.end());
    const auto table = read_molecules(s.data, s.smiles, properties,
                                      s.split.starts_with("column:") ? s.split.substr(7) : "", s.out);
    if (s.encoder == "dense") {
      run_experiment<dense_inputs>(s, table);
    } else {
      run_experiment<dmpnn_inputs>(s, table);
    }
  } catch (const vb::error& e) {
    fmt::print(stderr, "{}\n", e.what());
    return 2;
  }
}
