// No encoder: the representation is the (standardised) input itself.
#pragma once

#include "vierbein/data/features.hpp"
#include "vierbein/encoder/concept.hpp"
#include "vierbein/graph/input_scaling.hpp"

namespace vierbein::encoder {

/// b = (x - mean) / deviation, as graph::input_scaling has it. For features that were learnt
/// elsewhere, or chosen by hand.
struct features {
  using input_set = data::feature_set;
  static constexpr const char* kind = "features";

  struct module {
    graph::input_scaling scaling;
    index_t inputs = 0;

    [[nodiscard]] index_t width() const { return inputs; }

    template <Backend B>
    graph::var<B> operator()(graph::tape<B>& t, const data::feature_set::batch_type& batch) const {
      return scaling(t, batch.values);
    }
    template <Scalar T>
    void prepare(parameters<T>& theta, const data::feature_set& inputs_set,
                 std::span<const index_t> rows) const {
      scaling.fit(theta, inputs_set.values, rows);
    }
  };

  template <Scalar T>
  module build(parameters<T>& theta, const std::string& name,
               const data::feature_set::shape_type& shape) const {
    require(shape.width > 0, "encoder::features", "expected at least one feature, found none");
    return {graph::input_scaling::make(theta, name + "/scaling", shape.width), shape.width};
  }

  template <class Visitor>
  void options(Visitor&&) {}
};

}  // namespace vierbein::encoder
