// What an encoder is.
//
// An encoder turns an input into a representation b, (samples, width). A type is an encoder when it
// is a plain aggregate of options and offers
//     using input_set = ...;
//         the data it reads: data::feature_set, data::graph_set, or the user's own type with
//         `size()`, `check()`, `shape()`, `gather(rows, batch)`, `batch_type` and `shape_type`, for
//         add_task also `select(rows)` and `append(other)`: see data/dataset.hpp. Shapes are
//         compared by ==; a batch_type may have `void each_array(F f) const`, which gives f every
//         matrix view and std::span of row numbers that a module uploads, for devices that copy
//         them while the step before is computed; a shape may have `std::string describe() const`,
//         such as "41 features", for messages
//     template <Scalar T>
//     module build(parameters<T>& theta, const std::string& name, const shape_type& shape) const;
//         names its parameters and returns
//     struct module {
//       index_t width() const;                                                 the width of b
//       template <Backend B>
//       graph::var<B> operator()(graph::tape<B>&, const batch_type&) const;    b = B(x)
//       template <Scalar T>
//       void prepare(parameters<T>&, const input_set&, std::span<const index_t> rows) const;
//         optional: sets frozen parameters (input scaling) from the training rows
//     };
// and, only to be stored in model files (core/options.hpp),
//     static constexpr const char* kind;                   its name
//     template <class Visitor> void options(Visitor&&);    names every option
// The `shape_type` of an input set of the user's own then needs `options`, too.
#pragma once

#include <concepts>
#include <span>
#include <string>

#include "vierbein/backend/reference.hpp"
#include "vierbein/graph/tape.hpp"

namespace vierbein {

template <class E>
concept Encoder = requires(const E encoder, parameters<double>& theta, const std::string& name,
                           const typename E::input_set::shape_type& shape,
                           const typename E::input_set::batch_type& batch,
                           graph::tape<backend::reference_double>& tape) {
  { encoder.build(theta, name, shape).width() } -> std::convertible_to<index_t>;
  {
    encoder.build(theta, name, shape)(tape, batch)
  } -> std::same_as<graph::var<backend::reference_double>>;
};

namespace encoder {

/// The data that an encoder reads and the module that it builds. What is no encoder has
/// placeholders, so that the compiler says one sentence about it and no more.
template <class E>
struct types_of {
  struct module {};
  struct input_set {
    struct shape_type {};
    struct batch_type {};
  };
};
template <Encoder E>
struct types_of<E> {
  using input_set = typename E::input_set;
  using module = decltype(std::declval<const E&>().build(
      std::declval<parameters<double>&>(), std::string{},
      std::declval<const typename input_set::shape_type&>()));
};

}  // namespace encoder
}  // namespace vierbein
