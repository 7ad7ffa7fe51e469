// Tasks that share a trunk of two dense layers, with heads of one hidden layer.
#pragma once

#include <array>

#include "harness.hpp"
#include "vierbein/alignment/none.hpp"
#include "vierbein/encoder/mlp.hpp"
#include "vierbein/weighting/any.hpp"

namespace steps {

struct dense_shape {
  index_t inputs;
  std::array<index_t, 2> trunk;
  index_t head;

  [[nodiscard]] auto model(index_t tasks) const {
    return vb::multitask(vb::encoder::mlp{.widths = {trunk[0], trunk[1]}}, regressions(tasks),
                         vb::alignment::none{}, {.head = {head}});
  }
  [[nodiscard]] auto data(index_t rows, index_t tasks) const {
    vb::data::dataset<vb::data::feature_set> d{{numbers(rows, inputs, 1)}};
    add_regressions(d, tasks);
    return d;
  }

  [[nodiscard]] std::vector<index_t> trunk_widths() const { return {inputs, trunk[0], trunk[1]}; }
  [[nodiscard]] std::vector<index_t> head_widths() const { return {trunk[1], head, 1}; }

  [[nodiscard]] double forward_flops(index_t batch, index_t tasks) const {
    return 2 * static_cast<double>(batch) *
           (layer_work(trunk_widths()) + static_cast<double>(tasks) * layer_work(head_widths()));
  }
  /// One sweep for the sum of all losses.
  [[nodiscard]] double flops(index_t batch, index_t tasks) const {
    const auto rows = static_cast<double>(batch);
    return training_flops(rows, trunk_widths(), true) +
           static_cast<double>(tasks) * training_flops(rows, head_widths(), false);
  }
  /// A sweep of the trunk for each task, G = J Jᵀ and one combination of J's rows: what the method
  /// takes as its papers write it. Who gets by with less, as `gramian_way::layers` may, can be
  /// beyond the peak.
  [[nodiscard]] double gradient_flops(index_t batch, index_t tasks) const {
    const auto n = static_cast<double>(tasks);
    const double forward = 2 * static_cast<double>(batch) * layer_work(trunk_widths());
    const double sweep = training_flops(static_cast<double>(batch), trunk_widths(), true) - forward;
    const double shared = layer_work(trunk_widths());
    return flops(batch, tasks) + (n - 1) * sweep + n * (n + 1) * shared + 2 * n * shared;
  }
};

}  // namespace steps
