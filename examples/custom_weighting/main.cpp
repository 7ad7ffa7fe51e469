// Examines a weighting policy of one's own, then trains with it beside policies of the library.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "../support/command_line.hpp"
#include "../support/program.hpp"
#include "agreement.hpp"
#include "vierbein/chem/descriptors.hpp"
#include "vierbein/chem/molecules.hpp"
#include "vierbein/data/split.hpp"
#include "vierbein/io/csv.hpp"
#include "vierbein/testing/check_weighting.hpp"
#include "vierbein/vierbein.hpp"

namespace custom_weighting {

namespace {

const std::vector<std::string> properties{"boiling_point", "log_p", "density", "dipole_moment"};

/// Molecules with two of the properties or more, by their descriptors; the labels of a fifth of
/// them are kept for the test.
struct experiment {
  vb::data::dataset<vb::data::feature_set> data;
  std::vector<std::vector<double>> test;  ///< (properties, molecules), NaN for all others
  vb::index_t epochs;

  experiment(const std::filesystem::path& file, vb::index_t epoch_count) : epochs(epoch_count) {
    const auto csv = vb::io::read_csv(file);
    const auto all_smiles = csv.text_column("smiles");
    std::vector<std::vector<double>> columns;
    for (const auto& name : properties) {
      columns.push_back(csv.number_column(name));
    }
    std::vector<std::size_t> rows;
    std::vector<std::string> smiles;
    for (std::size_t r = 0; r < all_smiles.size(); ++r) {
      if (std::ranges::count_if(columns, [&](const auto& c) { return !std::isnan(c[r]); }) > 1) {
        rows.push_back(r);
        smiles.push_back(all_smiles[r]);
      }
    }
    const auto molecules = vb::chem::read_smiles(smiles);
    data.inputs = vb::data::feature_set{vb::chem::descriptors(molecules)};
    const auto parts =
        vb::data::random_split(data.inputs.size(), {.train = 0.8, .validation = 0, .test = 0.2}, 1);
    for (std::size_t t = 0; t < properties.size(); ++t) {
      std::vector<double> train;
      for (const auto kept : molecules.kept) {
        train.push_back(columns[t][rows[static_cast<std::size_t>(kept)]]);
      }
      test.emplace_back(train.size(), std::numeric_limits<double>::quiet_NaN());
      for (const auto i : parts.test) {
        std::swap(train[static_cast<std::size_t>(i)], test[t][static_cast<std::size_t>(i)]);
      }
      data.add(properties[t], train);
    }
  }

  /// Trains one model of all properties and prints what it predicts of the test molecules.
  template <class Weighting>
  void run(const char* name, Weighting weighting) const {
    const vb::backend::cpu backend;
    auto model =
        vb::multitask(vb::encoder::mlp{.widths = {128, 64}},
                      vb::tasks{vb::regression("boiling_point"), vb::regression("log_p"),
                                vb::regression("density"), vb::regression("dipole_moment")},
                      vb::alignment::none{});
    vb::fit(backend, model, data, vb::training{.epochs = epochs, .batch = 128},
            vb::optimizer::adamw{.learning_rate = 1e-3}, weighting);
    const auto predictions = model.predict(backend, data.inputs);
    fmt::print("{:<12}", name);
    for (std::size_t t = 0; t < properties.size(); ++t) {
      const auto& p = predictions[t];
      fmt::print(" {:>13.3f}",
                 vb::metrics::r2({p.data(), static_cast<std::size_t>(p.size())}, test[t]));
    }
    fmt::print("\n");
  }
};

int run(const std::filesystem::path& file, vb::index_t epochs) {
  const auto report = vb::testing::check_weighting(agreement{});
  fmt::print("{}\n", report.text());
  if (!report) {
    return 1;
  }
  const experiment molecules(file, epochs);
  fmt::print("R² of test molecules\n{:<12}", "weighting");
  for (const auto& name : properties) {
    fmt::print(" {:>13}", name);
  }
  fmt::print("\n");
  molecules.run("mean", vb::weighting::mean{});
  molecules.run("agreement", agreement{});
  molecules.run("upgrad", vb::weighting::upgrad{});
  molecules.run("every fifth", vb::weighting::every{.policy = agreement{}, .steps = 5});
  return 0;
}

}  // namespace

}  // namespace custom_weighting

int main(int argc, char** argv) {
  CLI::App app("Examines a weighting policy of one's own, then trains with it.");
  app.name("custom_weighting");
  std::filesystem::path file = "examples/data/molecules.csv";
  vierbein::index_t epochs = 6;
  app.add_option("--data", file, "CSV file with the molecules")->capture_default_str();
  app.add_option("--epochs", epochs, "epochs of training")->capture_default_str();
  if (const auto ends = examples::parse(app, argc, argv)) {
    return *ends;
  }
  try {
    return custom_weighting::run(file, epochs);
  } catch (const std::exception& e) {
    return examples::refuse(e);
  }
}
