#include <cmath>

#include "../support/molecule_inputs.hpp"
#include "../support/molecule_table.hpp"
#include "problem.hpp"
#include "training.hpp"
#include "vierbein/chem/molecules.hpp"
#include "vierbein/model/multitask.hpp"
#include "vierbein/train/metrics.hpp"

namespace compare_weightings {

namespace {

/// Properties of molecules, from fingerprints and descriptors; most labels are missing.
class molecule_problem final : public problem {
 public:
  using inputs = molecules::dense_inputs;

  explicit molecule_problem(const settings& s)
      : s_(s),
        table_(molecules::read_molecules(s.table, s.smiles, s.properties, "", s.out)),
        inputs_(inputs::make(table_.set)),
        backend_(s.threads) {
    for (vb::index_t p = 0; p < std::ssize(s.properties); ++p) {
      double count = 0;
      for (vb::index_t i = 0; i < table_.set.size(); ++i) {
        count += std::isnan(table_.values(i, p)) ? 0 : 1;
      }
      vb::require(count >= 20, s.properties[static_cast<std::size_t>(p)].c_str(),
                  "only {} molecules have a label, expected at least 20", count);
    }
  }

  [[nodiscard]] const char* metric() const override { return "R²"; }

  std::optional<outcome> train(const std::string& label, examples::any_policy policy, long seed,
                               vb::training_course* course) override {
    const auto test = molecules::test_molecules(table_, "random", static_cast<std::uint64_t>(seed));
    std::vector<vb::index_t> learn;
    std::vector<vb::index_t> judge;
    for (vb::index_t i = 0; i < table_.set.size(); ++i) {
      bool labelled = false;
      for (vb::index_t p = 0; p < std::ssize(s_.properties); ++p) {
        labelled = labelled || !std::isnan(table_.values(i, p));
      }
      if (labelled) {
        (test[static_cast<std::size_t>(i)] != 0 ? judge : learn).push_back(i);
      }
    }
    vb::data::dataset<vb::data::feature_set> data{inputs_.select(learn)};
    vb::tasks<> tasks;
    for (std::size_t p = 0; p < s_.properties.size(); ++p) {
      data.add(s_.properties[p], column(p, learn));
      tasks.add(vb::regression(s_.properties[p]));
    }
    auto options = s_.training(seed);
    options.validation_fraction = 0.1;
    auto model = vb::multitask(inputs::encoder(), tasks, vb::alignment::none{}, {.head = {64}});
    const timing t = train_by(std::move(policy), backend_, model, data, options, s_.learning_rate,
                              label, course);
    if (vb::interrupted()) {
      return {};
    }
    outcome o{{}, t.ms_per_step, t.seconds};
    const auto predicted = model.predict(backend_, inputs_.select(judge));
    for (std::size_t p = 0; p < s_.properties.size(); ++p) {
      const auto truth = column(p, judge);
      const auto& found = predicted[p];
      o.by_task.push_back(
          vb::metrics::r2({found.data(), static_cast<std::size_t>(found.size())}, truth));
    }
    return o;
  }

 private:
  std::vector<double> column(std::size_t property, const std::vector<vb::index_t>& rows) const {
    std::vector<double> values;
    for (const auto r : rows) {
      values.push_back(table_.values(r, static_cast<vb::index_t>(property)));
    }
    return values;
  }

  const settings& s_;
  molecules::molecule_table table_;
  vb::data::feature_set inputs_;
  vb::backend::cpu backend_;
};

}  // namespace

std::unique_ptr<problem> make_molecule_problem(const settings& s) {
  return std::make_unique<molecule_problem>(s);
}

}  // namespace compare_weightings
