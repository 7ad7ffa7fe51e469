// A program that trains a model, as users write it: its compile time is measured, it need not run.
#include <vierbein/vierbein.hpp>

namespace vb = vierbein;

int main() {
  vb::data::dataset<vb::data::feature_set> data{{vb::matrix<double>(64, 8, 0.5)}};
  data.add("log P", vb::matrix<double>(64, 1, 1.0));
  data.add("melting point", vb::matrix<double>(64, 1, 2.0));
  auto model = vb::multitask(vb::encoder::mlp{.widths = {256, 128}},
                             vb::tasks{vb::regression("log P"), vb::regression("melting point")},
                             vb::alignment::gate{});
  vb::fit(vb::backend::cpu{}, model, data, {.epochs = 2}, vb::optimizer::adam{},
          vb::weighting::equal{}, vb::callback::progress{});
  return model.predict(vb::backend::cpu{}, data.inputs).size() == 2 ? 0 : 1;
}
