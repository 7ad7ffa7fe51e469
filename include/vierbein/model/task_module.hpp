// The networks that a task owns.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "vierbein/alignment/concept.hpp"
#include "vierbein/graph/layers.hpp"

namespace vierbein {

/// Sizes of the task modules, the same for all tasks of a model, so that they run together. Layers
/// are given by their output widths.
struct module_options {
  std::vector<index_t> encoder{64};  ///< E_t: b → z_t; the last is the latent width
  std::vector<index_t> transfer{64,
                                64};  ///< F_t: z_t → u_t; the last is the width of the flat frame
  std::vector<index_t> inverse{64};   ///< hidden layers of F⁻¹_t: u → z_t
  std::vector<index_t> head{64};      ///< hidden layers of H_t: z_t (or b) → prediction
  activation act = activation::relu;
  activation latent_act = activation::identity;  ///< of z_t
  double dropout = 0;

  template <class Visitor>
  void options(Visitor&& visit) {
    visit("encoder", encoder);
    visit("transfer", transfer);
    visit("inverse", inverse);
    visit("head", head);
    visit("activation", act);
    visit("latent_activation", latent_act);
    visit("dropout", dropout);
  }
};

/// How a task came into its model.
///   source            it was there when the model was built: later additions learn from it
///   added             it was added and reads the shared trunk
///   added_with_trunk  it was added and reads a trunk of its own
enum class task_origin { source, added, added_with_trunk };
constexpr auto option_names(task_origin) {
  return std::array{"source", "added", "added with trunk"};
}

/// E_t, F_t, F⁻¹_t and H_t of one task. What the alignment's frame does not need has no layers.
struct task_module {
  graph::dense_stack encoder;
  graph::dense_stack transfer;
  graph::dense_stack inverse;
  graph::dense_stack head;  ///< hidden layers
  graph::linear output;     ///< the head's last layer
  index_t trunk = 0;        ///< which trunk it reads: 0 is the shared one
  task_origin origin = task_origin::source;

  template <Scalar T>
  static task_module make(parameters<T>& theta, const std::string& name, index_t width,
                          alignment::latent_space needs, const module_options& options,
                          index_t outputs) {
    using graph::dense_stack;
    task_module m;
    const auto act = options.act;
    const auto none = activation::identity;
    const bool latent = needs != alignment::latent_space::none;
    m.encoder = dense_stack::make(theta, name + "/encoder", width,
                                  latent ? options.encoder : std::vector<index_t>{}, act,
                                  options.latent_act, options.dropout);
    if (needs == alignment::latent_space::flat) {
      require(!options.encoder.empty() && !options.transfer.empty(), "module_options",
              "GATE needs at least one encoder and one transfer layer");
      m.transfer = dense_stack::make(theta, name + "/transfer", m.encoder.width, options.transfer,
                                     act, none);
      auto back = options.inverse;
      back.push_back(m.encoder.width);
      m.inverse = dense_stack::make(theta, name + "/inverse", m.transfer.width, back, act,
                                    options.latent_act);
    }
    m.head = dense_stack::make(theta, name + "/head", m.encoder.width, options.head, act, act,
                               options.dropout);
    m.output = graph::linear::make(theta, name + "/output", m.head.width, outputs);
    return m;
  }
};

}  // namespace vierbein
