// Molecules as inputs of the two kinds of encoder.
#pragma once

#include "vierbein/chem/descriptors.hpp"
#include "vierbein/chem/fingerprint.hpp"
#include "vierbein/chem/graph.hpp"
#include "vierbein/encoder/dmpnn.hpp"
#include "vierbein/encoder/mlp.hpp"

namespace molecules {

namespace vb = vierbein;

/// Message passing on the molecular graph; physico-chemical descriptors join behind the readout.
struct dmpnn_inputs {
  static constexpr const char* name = "dmpnn";
  static constexpr vb::index_t latent_width = 64;
  static vb::encoder::dmpnn encoder() {
    return {.hidden = 128, .depth = 3, .readout = vb::encoder::readout::mean, .widths = {128}};
  }
  static vb::data::graph_set make(const vb::chem::molecule_set& set) {
    auto graphs = vb::chem::graphs(set);
    graphs.features = vb::chem::descriptors(set);
    return graphs;
  }
};

/// A fully connected network on Morgan fingerprint counts and physico-chemical descriptors.
struct dense_inputs {
  static constexpr const char* name = "dense";
  static constexpr vb::index_t latent_width = 128;
  static vb::encoder::mlp encoder() { return {.widths = {256, 128}}; }
  static vb::data::feature_set make(const vb::chem::molecule_set& set) {
    const auto bits = vb::chem::morgan(
        set, {.radius = 2, .bits = 512, .values = vb::chem::fingerprint_values::log_counts});
    const auto numbers = vb::chem::descriptors(set);
    vb::data::feature_set features{vb::matrix<double>(bits.rows(), bits.cols() + numbers.cols())};
    for (vb::index_t r = 0; r < bits.rows(); ++r) {
      const auto row = features.values.row(r);
      std::copy(bits.row(r).begin(), bits.row(r).end(), row.begin());
      std::copy(numbers.row(r).begin(), numbers.row(r).end(), row.begin() + bits.cols());
    }
    return features;
  }
};

}  // namespace molecules
