// Trains small models in every way that vierbein::compiled holds a part of, and prints all bits of
// what comes out. It is compiled twice: with the headers alone, and with vierbein::compiled.
#include <vierbein/vierbein.hpp>

#include "support/problems.hpp"

namespace vb = vierbein;

namespace {

void print(const char* what, double value) {
  fmt::print("{} {:a}\n", what, value);
}

void print(const char* what, const vb::history& h) {
  for (const vb::epoch_record& e : h.epochs) {
    print(what, e.train_loss);
    print(what, e.validation_loss);
  }
}

void print(const char* what, const std::vector<vb::matrix<double>>& predictions) {
  for (const auto& p : predictions) {
    for (vb::index_t i = 0; i < p.size(); ++i) {
      print(what, p.data()[i]);
    }
  }
}

/// A policy that no list knows.
struct inverse_loss {
  using weighting_kind = vb::loss_based;
  void weigh(vb::losses l, vb::weights w) const {
    for (std::size_t t = 0; t < w.size(); ++t) {
      w[t] = 1 / (1 + l[t]);
    }
  }
};

const vb::training options{.epochs = 2, .batch = 16, .validation_fraction = 0.25};

template <class Model, class Data>
void train(const char* what, Model model, const Data& data) {
  const vb::backend::cpu backend(2);
  print(what, vb::fit(backend, model, data, options, vb::optimizer::adam{}, vb::weighting::equal{},
                      vb::callback::early_stopping{}));
  print(what,
        vb::fit(backend, model, data, options, vb::optimizer::adamw{}, vb::weighting::pcgrad{}));
  print(what, vb::fit(backend, model, data, options, vb::optimizer::sgd{}, inverse_loss{}));
  print(what, model.predict(backend, data.inputs));
}

}  // namespace

int main() {
  const std::vector<std::string> names{"a", "b", "c"};
  const vb::tasks two{vb::regression("a"), vb::regression("b")};
  const auto dense = problems::related_tasks(64, 5, names, 1);
  train("dense", vb::multitask(vb::encoder::mlp{.widths = {16}}, two), dense);
  train("graphs", vb::multitask(vb::encoder::dmpnn{.hidden = 8}, two, vb::alignment::gate{}),
        problems::graph_tasks(48, names, 2));

  const vb::backend::cpu backend(2);
  auto model = vb::multitask(vb::encoder::mlp{.widths = {16}}, two, vb::alignment::gate{});
  print("source", vb::fit(backend, model, dense, options, vb::optimizer::adam{},
                          vb::weighting::alpha_vil{.target = "b"}));
  const auto extended = vb::add_task(backend, model, vb::regression("c"), dense,
                                     vb::addition{.train = options}, vb::optimizer::adam{});
  print("added", extended.predict(backend, dense.inputs));
}
