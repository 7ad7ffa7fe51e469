#include "predict.hpp"

#include <fmt/format.h>

#include "../support/molecule_inputs.hpp"
#include "../support/program.hpp"
#include "models.hpp"
#include "vierbein/backend/cpu.hpp"
#include "vierbein/chem/molecules.hpp"
#include "vierbein/io/csv.hpp"
#include "vierbein/io/csv_writer.hpp"
#include "vierbein/io/model_file.hpp"

namespace molecules {

namespace {

constexpr const char* inputs_key = "inputs";

/// Names of the tasks, and their predictions: (molecules, tasks).
struct predictions {
  std::vector<std::string> tasks;
  vb::matrix<double> values;
};

template <class Inputs, class Model>
predictions predict_as(const predict_settings& s, const vb::chem::molecule_set& set) {
  const auto model = vb::load<Model>(s.model);
  const auto inputs = Inputs::make(set);
  vb::require(inputs.shape() == model.shape(), s.model.string().c_str(),
              "the model was trained on inputs of another width than the '{}' inputs of this "
              "program",
              Inputs::name);
  const vb::backend::cpu backend(s.threads);
  const auto columns = model.predict(backend, inputs);
  predictions result;
  result.values = vb::matrix<double>(set.size(), model.task_list().size());
  for (vb::index_t t = 0; t < model.task_list().size(); ++t) {
    result.tasks.push_back(model.task_list()[t].name);
    const auto& column = columns[static_cast<std::size_t>(t)];
    vb::require(column.cols() == 1, s.model.string().c_str(),
                "task '{}' predicts {} numbers, expected one", result.tasks.back(), column.cols());
    for (vb::index_t i = 0; i < set.size(); ++i) {
      result.values(i, t) = column(i, 0);
    }
  }
  return result;
}

template <class Inputs>
predictions predict_with(const std::string& alignment, const predict_settings& s,
                         const vb::chem::molecule_set& set) {
  if (alignment == vb::alignment::gate::kind) {
    return predict_as<Inputs, gate_model_of<Inputs>>(s, set);
  }
  vb::require(alignment == vb::alignment::none::kind, s.model.string().c_str(),
              "the model is aligned by '{}', this program knows '{}' and '{}'", alignment,
              vb::alignment::gate::kind, vb::alignment::none::kind);
  return predict_as<Inputs, plain_model_of<Inputs>>(s, set);
}

}  // namespace

template <class Inputs, class Model>
void save_model(const Model& model, const std::filesystem::path& file) {
  vb::save(
      model, file,
      {{inputs_key, Inputs::name}, {"encoder", Inputs::encoder().kind}, {"program", "molecules"}});
}

template void save_model<dmpnn_inputs>(const plain_model_of<dmpnn_inputs>&,
                                       const std::filesystem::path&);
template void save_model<dmpnn_inputs>(const gate_model_of<dmpnn_inputs>&,
                                       const std::filesystem::path&);
template void save_model<dense_inputs>(const plain_model_of<dense_inputs>&,
                                       const std::filesystem::path&);
template void save_model<dense_inputs>(const gate_model_of<dense_inputs>&,
                                       const std::filesystem::path&);

void predict(const predict_settings& s) {
  vb::require(!s.model.empty(), "--model", "expected the name of a model file");
  vb::require(!s.data.empty(), "--data", "expected the name of a CSV file");
  vb::require(!s.out.empty(), "--out", "expected the name of a CSV file");
  auto rejects_file = s.out;
  rejects_file.replace_extension(".rejects.csv");
  for (const auto& written : {s.out, rejects_file}) {
    examples::require_other_file(written, "--data", s.data);
    examples::require_other_file(written, "--model", s.model);
  }
  const auto metadata = vb::read_metadata(s.model);
  const auto kind = metadata.extra.find(inputs_key);
  const std::string inputs = kind == metadata.extra.end() ? "" : kind->second;
  const bool dense = inputs == dense_inputs::name;
  const std::string expected = dense ? dense_inputs::encoder().kind : dmpnn_inputs::encoder().kind;
  vb::require((dense || inputs == dmpnn_inputs::name) && metadata.encoder == expected,
              s.model.string().c_str(),
              "expected a model of this program, found one with the encoder '{}' and inputs '{}'",
              metadata.encoder, inputs);

  const auto csv = vb::io::read_csv(s.data);
  const auto smiles = csv.text_column(s.smiles);
  const auto place = fmt::format("{}, column {}", s.data.string(), s.smiles);
  vb::require(!smiles.empty(), place.c_str(), "there is no row below the header");
  const auto set = vb::chem::read_smiles(smiles);
  if (set.size() == 0) {
    throw vb::error(fmt::format("{}, row 1, column {}", s.data.string(), s.smiles),
                    fmt::format("none of the {} SMILES can be parsed, this one because of: {}",
                                smiles.size(), set.rejects[0].reason));
  }
  const auto predicted = dense ? predict_with<dense_inputs>(metadata.alignment, s, set)
                               : predict_with<dmpnn_inputs>(metadata.alignment, s, set);

  auto names = predicted.tasks;
  names.insert(names.begin(), s.smiles);
  std::vector<std::vector<std::string>> rows;
  for (const auto& text : smiles) {
    rows.emplace_back(names.size());
    rows.back()[0] = text;
  }
  for (vb::index_t i = 0; i < set.size(); ++i) {
    auto& row = rows[static_cast<std::size_t>(set.kept[static_cast<std::size_t>(i)])];
    for (vb::index_t t = 0; t < predicted.values.cols(); ++t) {
      row[static_cast<std::size_t>(t) + 1] = fmt::format("{:.6g}", predicted.values(i, t));
    }
  }
  vb::io::write_csv(s.out, names, rows);
  fmt::print("{}: {} tasks for {} of {} molecules\n", s.out.string(), predicted.tasks.size(),
             set.size(), smiles.size());

  if (set.rejects.empty()) {
    std::error_code ignored;
    std::filesystem::remove(rejects_file, ignored);  // those of an earlier prediction
  } else {
    vb::chem::write_rejects(rejects_file, set.rejects);
    fmt::print(stderr, "{} of {} SMILES could not be parsed; they are listed in {}\n",
               set.rejects.size(), smiles.size(), rejects_file.string());
  }
}

}  // namespace molecules
