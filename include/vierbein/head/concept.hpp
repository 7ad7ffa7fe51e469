// What a task head is.
//
// A head says how many numbers a task predicts, how they are compared with labels and how they are
// shown to the user. (The layers in front of it belong to the model, which runs those of all tasks
// together.) A type is a head when it is a plain aggregate of options and offers
//     static constexpr const char* kind;       its name, such as "binary"
//     static constexpr bool standardise;       whether labels are scaled to mean 0, deviation 1
//     index_t outputs() const;                 numbers predicted
//     index_t label_width() const;             columns of a label
//     template <Backend B>
//     graph::var<B> loss(graph::var<B> prediction, graph::var<B> label) const;
//                                              1 x 1, the mean over the labels that are not NaN
//     void transform(std::span<double> prediction) const;    raw outputs of a row to what the user
//                                                            sees
//     const char* accepts() const;             describes a valid label, for messages
//     bool valid(double label) const;
// and, where predictions are right or wrong,
//     double hits(std::span<const double> prediction, std::span<const double> label) const;
//                                              how many labels of a row, of those that are not NaN,
//                                              its raw outputs get right
// and, where an option can be unusable,
//     void validate() const;                   throws vierbein::error for such a one; `tasks` calls
//                                              it for every head it is given
// and, only to be stored in model files (core/options.hpp),
//     template <class Visitor> void options(Visitor&&);    names every option
//
// A head for counts, y ~ Poisson(e^p), whose loss is the mean of e^p - y p over the labels that are
// present:
//     struct poisson {
//       static constexpr const char* kind = "poisson";
//       static constexpr bool standardise = false;
//       index_t outputs() const { return 1; }
//       index_t label_width() const { return 1; }
//       template <Backend B>
//       graph::var<B> loss(graph::var<B> p, graph::var<B> label) const {
//         const auto present = graph::label_mask(label);
//         const auto terms = graph::exp(p) - graph::fill_missing(label, 0) * p;
//         return graph::sum(present * terms) / (graph::sum(present) + 1e-30);
//       }
//       void transform(std::span<double> p) const { p[0] = std::exp(p[0]); }
//       bool valid(double label) const { return label >= 0 && label == std::floor(label); }
//       const char* accepts() const { return "a whole number, not negative"; }
//     };
// (1e-30 makes the loss 0 where a batch has no label.)
#pragma once

#include <concepts>
#include <span>

#include "vierbein/backend/reference.hpp"
#include "vierbein/graph/loss.hpp"

namespace vierbein {

template <class H>
concept TaskHead = requires(const H head, graph::var<backend::reference_double> v,
                            std::span<double> row, double label) {
  { H::kind } -> std::convertible_to<const char*>;
  { H::standardise } -> std::convertible_to<bool>;
  { head.outputs() } -> std::convertible_to<index_t>;
  { head.label_width() } -> std::convertible_to<index_t>;
  { head.loss(v, v) } -> std::same_as<graph::var<backend::reference_double>>;
  head.transform(row);
  { head.valid(label) } -> std::convertible_to<bool>;
  { head.accepts() } -> std::convertible_to<const char*>;
};

}  // namespace vierbein
