// How many molecules a second the library trains on and predicts, from SMILES to numbers.
//
//     smiles [data.csv [molecules [epochs [threads]]]]
//
// Reads the first molecules of examples/data/molecules.csv that have a melting point, makes graphs
// of them, trains a directed message passing network on them (hidden 300, depth 3, dense 300-1,
// batch 64, Adam: the defaults of Chemprop) and predicts them again from their SMILES. Each part is
// timed by itself, three times from the beginning; peers/chemprop_smiles.py does the same in
// Chemprop.
#include <cstdlib>
#include <string>
#include <vector>

#include "measuring.hpp"
#include "vierbein/alignment/none.hpp"
#include "vierbein/chem/graph.hpp"
#include "vierbein/encoder/dmpnn.hpp"
#include "vierbein/io/csv.hpp"
#include "vierbein/optimizer/adam.hpp"
#include "vierbein/train/fit.hpp"
#include "vierbein/weighting/equal.hpp"

namespace vb = vierbein;
using vb::index_t;

namespace {

struct table {
  std::vector<std::string> smiles;
  std::vector<double> labels;
};

table first_rows(const std::string& path, std::size_t count) {
  const auto csv = vb::io::read_csv(path);
  const auto smiles = csv.text_column("smiles");
  const auto labels = csv.number_column("melting_point");
  table t;
  for (std::size_t r = 0; r < smiles.size() && t.smiles.size() < count; ++r) {
    if (std::isfinite(labels[r])) {
      t.smiles.push_back(smiles[r]);
      t.labels.push_back(labels[r]);
    }
  }
  return t;
}

/// f's molecules a second, `passes` times over all of them.
template <class F>
double rate(std::size_t molecules, int passes, F&& f) {
  const double before = measuring::now();
  f();
  return static_cast<double>(molecules) * passes / (measuring::now() - before);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string path = argc > 1 ? argv[1] : "examples/data/molecules.csv";
  const int count = argc > 2 ? std::atoi(argv[2]) : 2000;
  const int epochs = argc > 3 ? std::atoi(argv[3]) : 5;
  const int threads = argc > 4 ? std::atoi(argv[4]) : 1;
  measuring::print_environment(threads);
  try {
    const table t = first_rows(path, static_cast<std::size_t>(count));
    const std::size_t n = t.smiles.size();
    const vb::backend::cpu backend(threads);
    std::vector<double> reading;
    std::vector<double> training;
    std::vector<double> predicting;
    for (int round = 0; round < 3; ++round) {
      vb::data::dataset<vb::data::graph_set> data;
      reading.push_back(
          rate(n, 1, [&] { data.inputs = vb::chem::graphs(vb::chem::read_smiles(t.smiles)); }));
      data.add("melting_point", t.labels);
      auto model = vb::multitask(vb::encoder::dmpnn{.hidden = 300, .depth = 3, .widths = {300}},
                                 vb::tasks{vb::regression("melting_point")}, vb::alignment::none{},
                                 {.head = {}});
      training.push_back(rate(n, epochs, [&] {
        vb::fit(backend, model, data,
                {.epochs = epochs,
                 .batch = 64,
                 .validation_fraction = 0,
                 .clip_norm = 0,
                 .handle_interrupts = false},
                vb::optimizer::adam{}, vb::weighting::equal{});
      }));
      predicting.push_back(rate(n, 1, [&] {
        (void)model.predict(backend, vb::chem::graphs(vb::chem::read_smiles(t.smiles)));
      }));
    }
    fmt::print(
        "{} molecules, molecules a second, median of three: reading {:.0f}, training {:.0f}, "
        "from SMILES to prediction {:.0f}\n",
        n, measuring::median(reading), measuring::median(training), measuring::median(predicting));
  } catch (const std::exception& e) {
    fmt::print(stderr, "{}\n", e.what());
    return 1;
  }
  return 0;
}
