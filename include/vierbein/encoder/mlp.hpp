// A fully connected network on dense features.
#pragma once

#include "vierbein/data/features.hpp"
#include "vierbein/encoder/concept.hpp"
#include "vierbein/graph/input_scaling.hpp"
#include "vierbein/graph/layers.hpp"

namespace vierbein::encoder {

/// h_0 = standardised x, h_{i+1} = act(h_i W_i + 1 b_i), b the last h. The activation follows every
/// layer.
struct mlp {
  using input_set = data::feature_set;
  static constexpr const char* kind = "mlp";

  std::vector<index_t> widths{256, 128};  ///< outputs of the layers; the last is the width of b
  activation act = activation::relu;      ///< after every layer
  double dropout = 0;                     ///< behind every layer but the last
  double input_dropout = 0;               ///< on the standardised input

  struct module {
    graph::input_scaling scaling;
    graph::dense_stack stack;
    double input_dropout = 0;

    [[nodiscard]] index_t width() const { return stack.width; }

    template <Backend B>
    graph::var<B> operator()(graph::tape<B>& t, const data::feature_set::batch_type& batch) const {
      return stack(t, graph::dropout(scaling(t, batch.values), input_dropout));
    }
    template <Scalar T>
    void prepare(parameters<T>& theta, const data::feature_set& inputs,
                 std::span<const index_t> rows) const {
      scaling.fit(theta, inputs.values, rows);
    }
  };

  template <Scalar T>
  module build(parameters<T>& theta, const std::string& name,
               const data::feature_set::shape_type& shape) const {
    require(!widths.empty(), "encoder::mlp", "expected at least one layer width");
    require(shape.width > 0, "encoder::mlp", "expected at least one feature, found none");
    require_within(0, 1, input_dropout, "input_dropout", "encoder::mlp");
    return {graph::input_scaling::make(theta, name + "/scaling", shape.width),
            graph::dense_stack::make(theta, name, shape.width, widths, act, act, dropout),
            input_dropout};
  }

  template <class Visitor>
  void options(Visitor&& visit) {
    visit("widths", widths);
    visit("activation", act);
    visit("dropout", dropout);
    visit("input_dropout", input_dropout);
  }
};

}  // namespace vierbein::encoder
