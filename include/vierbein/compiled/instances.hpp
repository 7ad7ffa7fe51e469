// What vierbein::compiled holds: templates that are compiled once, for the default backend.
//
// The list is read twice. In a program that links vierbein::compiled the umbrella vierbein.hpp ends
// with it, and every entry says that this template need not be compiled there; in library.cpp every
// entry compiles it. Whoever changes the arguments of a function below changes its entry: the
// compiler refuses an entry that fits no template.
//
// Only templates that are not inline help, since inline ones are compiled wherever they are called,
// in the hope of inlining them. So the entries are few and lie on the borders between the parts of
// a training run (train/parts.hpp): what lies below is not called by its name outside.
#ifndef VIERBEIN_INSTANCES_KNOWN  // no #pragma once: library.cpp may be the second to read the list
#define VIERBEIN_INSTANCES_KNOWN

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "vierbein/alignment/gate.hpp"
#include "vierbein/alignment/none.hpp"
#include "vierbein/backend/cpu.hpp"
#include "vierbein/backend/lanes.hpp"
#include "vierbein/core/function_ref.hpp"
#include "vierbein/encoder/convolutional.hpp"
#include "vierbein/encoder/dmpnn.hpp"
#include "vierbein/encoder/features.hpp"
#include "vierbein/encoder/mlp.hpp"
#include "vierbein/encoder/residual.hpp"
#include "vierbein/graph/operations.hpp"
#include "vierbein/optimizer/adam.hpp"
#include "vierbein/optimizer/adamw.hpp"
#include "vierbein/optimizer/sgd.hpp"
#include "vierbein/train/add_task.hpp"
#include "vierbein/train/callbacks.hpp"
#include "vierbein/train/fit.hpp"
#include "vierbein/train/insight.hpp"
#include "vierbein/weighting/any.hpp"

// What the entries below call by short names.
namespace vierbein::compiled {

using cpu = backend::cpu;
using var = graph::var<cpu>;
using vars = std::span<const var>;
using blocks = std::span<const index_t>;
using numbers = std::span<const std::int32_t>;
using update = vierbein::detail::any_optimizer<cpu>;
using policy = std::unique_ptr<vierbein::detail::steering<cpu>>;
using training_set = vierbein::detail::training_set;

/// A model of the usual heads, and its parts.
template <class Encoder, class Alignment>
using model = multitask_model<Encoder, Alignment, tasks<>, float>;
template <class Encoder>
using inputs = typename Encoder::input_set;
template <class Encoder>
using dataset = data::dataset<inputs<Encoder>>;

/// Defined for the flags that library.cpp was compiled with, and asked for by every program that
/// reads this file: a program that was compiled for another processor, or without OpenMP, does not
/// link. It would else mix functions that take registers to be of different width.
template <int RegisterBytes, int Registers, bool MultiplyAdd, bool OpenMp>
void for_these_flags();

inline constexpr bool multiply_add =
#ifdef __FMA__
    true;
#else
    false;
#endif
inline constexpr bool openmp =
#ifdef _OPENMP
    true;
#else
    false;
#endif

[[gnu::used]] inline void (*const same_flags)() = &for_these_flags<
    backend::detail::register_bytes, backend::detail::registers, multiply_add, openmp>;

}  // namespace vierbein::compiled

#endif

#ifndef VIERBEIN_INSTANCE
#define VIERBEIN_INSTANCE extern template
#endif

namespace vierbein {

// ---- training, whatever the model

VIERBEIN_INSTANCE history detail::training_loop<compiled::cpu>(
    const compiled::cpu&, parameters<float>&, const training&, const std::vector<std::string>&,
    detail::batch_order&, const compiled::update&, detail::steering<compiled::cpu>&,
    detail::training_problem<compiled::cpu>&, callback::group&);

#define VIERBEIN_POLICIES(kind, gram_wanted)                                           \
  VIERBEIN_INSTANCE compiled::policy                                                   \
  detail::steer<compiled::cpu, weighting::any<kind>, gram_wanted, std::nullptr_t>(     \
      const compiled::cpu&, const parameters<float>&, const std::vector<std::string>&, \
      const training&, weighting::any<kind>&, const std::optional<std::string>&, std::nullptr_t)
VIERBEIN_POLICIES(loss_based, false);
VIERBEIN_POLICIES(loss_based, true);
VIERBEIN_POLICIES(gram_based, false);
#undef VIERBEIN_POLICIES

#define VIERBEIN_OPTIMIZER(name)                      \
  VIERBEIN_INSTANCE std::unique_ptr<compiled::update> \
  detail::erase_optimizer<compiled::cpu, optimizer::name>(const optimizer::name&)
VIERBEIN_OPTIMIZER(adam);
VIERBEIN_OPTIMIZER(adamw);
VIERBEIN_OPTIMIZER(sgd);
#undef VIERBEIN_OPTIMIZER

#define VIERBEIN_CALLBACK(name)                                                           \
  VIERBEIN_INSTANCE std::unique_ptr<callback::listener> callback::listen<callback::name>( \
      callback::name&)
VIERBEIN_CALLBACK(progress);
VIERBEIN_CALLBACK(early_stopping);
VIERBEIN_CALLBACK(log_to);
VIERBEIN_CALLBACK(insight);
#undef VIERBEIN_CALLBACK

// ---- what models are made of, for those that are not in the list below

VIERBEIN_INSTANCE class graph::tape<compiled::cpu>;
VIERBEIN_INSTANCE class graph::gramian<compiled::cpu>;
VIERBEIN_INSTANCE class parameters<float>;
VIERBEIN_INSTANCE class task_views<compiled::cpu, tasks<>>;
VIERBEIN_INSTANCE class detail::task_judge<tasks<>>;
VIERBEIN_INSTANCE class backend::basic_cpu<float>;
VIERBEIN_INSTANCE class backend::host<backend::basic_cpu<float>, float>;

#define VIERBEIN_OPERATION(...) VIERBEIN_INSTANCE compiled::var graph::__VA_ARGS__
VIERBEIN_OPERATION(detail::record_affine(compiled::var, index_t, compiled::blocks, compiled::vars,
                                         compiled::vars, std::span<const activation>, compiled::var,
                                         bool));
VIERBEIN_OPERATION(affine_shared(compiled::var, compiled::vars, compiled::vars, activation, bool));
VIERBEIN_OPERATION(affine_stacked(compiled::var, compiled::vars, compiled::vars, activation));
VIERBEIN_OPERATION(stacked_tasks(graph::tape<compiled::cpu>&,
                                 std::span<const graph::dense_stack* const>, compiled::var, index_t,
                                 compiled::blocks, bool));
VIERBEIN_OPERATION(stacked_tasks(graph::tape<compiled::cpu>&,
                                 std::span<const graph::dense_stack* const>, compiled::var, bool));
VIERBEIN_OPERATION(product(compiled::var, compiled::var, backend::transposition));
VIERBEIN_OPERATION(convolve(compiled::var, const image_shape&, const image_window&, compiled::var,
                            compiled::var, activation));
VIERBEIN_OPERATION(convolve_and_pool(compiled::var, const image_shape&, const image_window&,
                                     compiled::var, compiled::var, const image_window&,
                                     activation));
VIERBEIN_OPERATION(detail::pool(const char*, backend::pooling, compiled::var, const image_shape&,
                                const image_window&));
VIERBEIN_OPERATION(channel_norm(compiled::var, const image_shape&, compiled::var, compiled::var,
                                double));
VIERBEIN_OPERATION(layer_norm(compiled::var, compiled::var, compiled::var, double));
VIERBEIN_OPERATION(batch_norm(compiled::var, compiled::var, compiled::var, compiled::var,
                              compiled::var, double, double));
VIERBEIN_OPERATION(dropout(compiled::var, double));
VIERBEIN_OPERATION(add_normal(compiled::var, double));
VIERBEIN_OPERATION(detail::unary(backend::unary, double, compiled::var));
VIERBEIN_OPERATION(detail::binary(backend::binary, const char*, compiled::var, compiled::var));
VIERBEIN_OPERATION(activate(compiled::var, activation));
VIERBEIN_OPERATION(broadcast_row(compiled::var, index_t));
VIERBEIN_OPERATION(broadcast_column(compiled::var, index_t));
VIERBEIN_OPERATION(sum(compiled::var));
VIERBEIN_OPERATION(mean(compiled::var));
VIERBEIN_OPERATION(column_sums(compiled::var));
VIERBEIN_OPERATION(row_sums(compiled::var));
VIERBEIN_OPERATION(row_norms(compiled::var, double));
VIERBEIN_OPERATION(copy_distances(compiled::var, index_t, index_t, double));
VIERBEIN_OPERATION(weighted_sum(compiled::vars, std::span<const double>));
VIERBEIN_OPERATION(group_spread(compiled::var, index_t, double));
VIERBEIN_OPERATION(slice_rows(compiled::var, index_t, index_t));
VIERBEIN_OPERATION(slice_cols(compiled::var, index_t, index_t));
VIERBEIN_OPERATION(concatenate_rows(compiled::vars));
VIERBEIN_OPERATION(concatenate_cols(compiled::vars));
VIERBEIN_OPERATION(select_blocks(compiled::var, index_t, std::span<const index_t>, bool));
VIERBEIN_OPERATION(gather_rows(compiled::var, compiled::numbers, compiled::numbers,
                               compiled::numbers));
VIERBEIN_OPERATION(segment_sum(compiled::var, compiled::numbers, compiled::numbers));
VIERBEIN_OPERATION(segment_mean(compiled::var, compiled::numbers, compiled::numbers));
VIERBEIN_OPERATION(segment_sum(compiled::var, compiled::numbers, compiled::numbers,
                               compiled::numbers));
VIERBEIN_OPERATION(edge_messages(compiled::var, compiled::var, compiled::numbers, compiled::numbers,
                                 compiled::numbers, compiled::numbers));
VIERBEIN_OPERATION(masked_loss(backend::loss_kind, compiled::var, compiled::var, double));
#undef VIERBEIN_OPERATION

// ---- models with the library's encoders, by hard sharing and by GATE

#define VIERBEIN_MODEL(encoder, alignment)                                                         \
  VIERBEIN_INSTANCE history                                                                        \
  detail::fit_model<compiled::model<encoder, alignment>, compiled::dataset<encoder>>(              \
      compiled::model<encoder, alignment>&, const compiled::dataset<encoder>&, const training&,    \
      function_ref<history(compiled::model<encoder, alignment>&, const compiled::training_set&)>); \
  VIERBEIN_INSTANCE history                                                                        \
  detail::fit_batches<compiled::cpu, compiled::model<encoder, alignment>>(                         \
      const compiled::cpu&, compiled::model<encoder, alignment>&,                                  \
      const compiled::inputs<encoder>&, const compiled::training_set&, const training&,            \
      const compiled::update&, function_ref<compiled::policy()>, callback::group&);                \
  VIERBEIN_INSTANCE history detail::run_rounds<compiled::cpu, compiled::model<encoder, alignment>, \
                                               weighting::any<update_based>>(                      \
      const compiled::cpu&, compiled::model<encoder, alignment>&,                                  \
      const compiled::inputs<encoder>&, const detail::label_table&, const detail::task_selection&, \
      std::span<const index_t>, const training&, const compiled::update&,                          \
      weighting::any<update_based>&, callback::group&);                                            \
  VIERBEIN_INSTANCE std::pair<compiled::model<encoder, alignment>, history> detail::add_one_task<  \
      compiled::cpu, compiled::model<encoder, alignment>, compiled::dataset<encoder>>(             \
      const compiled::cpu&, const compiled::model<encoder, alignment>&, const std::string&,        \
      const tasks<>::head_type&, const compiled::dataset<encoder>&,                                \
      const detail::prepared_pool<compiled::model<encoder, alignment>>*, const addition&,          \
      const compiled::update&, callback::group&);                                                  \
  VIERBEIN_INSTANCE std::vector<matrix<double>>                                                    \
  compiled::model<encoder, alignment>::predict<compiled::cpu>(                                     \
      const compiled::cpu&, const compiled::inputs<encoder>&) const;                               \
  VIERBEIN_INSTANCE matrix<double> compiled::model<encoder, alignment>::predict<compiled::cpu>(    \
      const compiled::cpu&, const compiled::inputs<encoder>&, index_t) const
VIERBEIN_MODEL(encoder::mlp, alignment::none);
VIERBEIN_MODEL(encoder::mlp, alignment::gate);
VIERBEIN_MODEL(encoder::features, alignment::none);
VIERBEIN_MODEL(encoder::features, alignment::gate);
VIERBEIN_MODEL(encoder::dmpnn, alignment::none);
VIERBEIN_MODEL(encoder::dmpnn, alignment::gate);
VIERBEIN_MODEL(encoder::convolutional, alignment::none);
VIERBEIN_MODEL(encoder::convolutional, alignment::gate);
VIERBEIN_MODEL(encoder::residual, alignment::none);
VIERBEIN_MODEL(encoder::residual, alignment::gate);
#undef VIERBEIN_MODEL

}  // namespace vierbein

#undef VIERBEIN_INSTANCE
