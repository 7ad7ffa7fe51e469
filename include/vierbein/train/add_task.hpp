// Task addition: a scarce target task joins a trained model; nothing that was trained before
// changes.
//
// "Task Addition in Multi-Task Learning by Geometrical Alignment" (Yim et al. 2024, arXiv
// 2409.16645): the target's own modules E_τ, F_τ, F⁻¹_τ, H_τ are trained on its data with GATE's
// losses between the frozen sources and the target. The sources are the tasks that the model was
// built with: a task that was added is no source of later additions, so their order is of no
// consequence.
#pragma once

#include <atomic>
#include <cmath>
#include <exception>
#include <mutex>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "vierbein/backend/ridge.hpp"
#include "vierbein/train/fit.hpp"
#include "vierbein/weighting/equal.hpp"

namespace vierbein {

/// What the target does with the trunk.
enum class trunk_policy {
  frozen,     ///< reads the shared one, which stays as it is: cheap, its outputs are computed once
  tuned_copy  ///< gets a copy and tunes it; the sources keep theirs
};

/// How the target's module begins. The source of a warm start is the one whose points in the last
/// hidden layer of its head predict the target's labels best, by the leave-one-out error of a ridge
/// regression. Of a label of several columns the regression takes the mean of those present.
enum class module_start {
  fresh,  ///< from its own random values
  warm    ///< as a copy of a source's module; the last layer of the head is fresh
};

/// Options of task addition.
struct addition {
  trunk_policy trunk = trunk_policy::tuned_copy;
  module_start start = module_start::warm;
  /// Multiplies the coefficients of the model's alignment loss; 0 adds the task without alignment.
  double alignment = 1;
  /// Rows without labels that join every batch for the alignment loss, when there is a pool, and
  /// how many of the pool's rows are used at most (drawn at random).
  index_t pool_batch = 64;
  index_t pool_limit = 4096;
  /// Penalty of the ridge regression that chooses the warm start.
  double ridge_penalty = 1e-2;
  training train{.epochs = 60, .batch = 32, .validation_fraction = 0};

  void validate() const {
    const auto not_negative = [](const char* name, auto value) {
      require(value >= 0 && std::isfinite(static_cast<double>(value)), "add_task",
              "{} must not be negative, but is {}", name, value);
    };
    not_negative("alignment", alignment);
    not_negative("pool_batch", pool_batch);
    not_negative("pool_limit", pool_limit);
    not_negative("ridge_penalty", ridge_penalty);
  }
};

namespace detail {

/// What does not change while the target is trained: the sources' points on its rows and, under a
/// frozen trunk, the representation itself. Rows of the pool follow the labelled rows.
template <Scalar T>
struct addition_cache {
  index_t sources = 0;
  index_t copies = 0;
  matrix<T> representation;     // (rows, d_b)
  matrix<T> noise;              // (rows, copies d_b)
  matrix<T> mean_flat;          // (rows, d_u)
  matrix<T> mean_distances;     // (rows, copies)
  std::vector<matrix<T>> flat;  // a source: (rows, d_u)
};

/// The rows `rows` of m, as a constant of the step.
template <Backend B, Scalar T>
graph::var<B> gathered(graph::tape<B>& tape, const matrix<T>& m, std::span<const index_t> rows,
                       matrix<T>& scratch) {
  scratch.resize(static_cast<index_t>(rows.size()), m.cols());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::copy_n(m.row(rows[i]).data(), m.cols(), scratch.row(static_cast<index_t>(i)).data());
  }
  return tape.upload(matrix_view<const T>(scratch.view()));
}

/// Columns [first, first + width) of the rows `rows`, below each other for every block of columns.
template <Backend B, Scalar T>
graph::var<B> gathered_blocks(graph::tape<B>& tape, const matrix<T>& m,
                              std::span<const index_t> rows, index_t blocks, matrix<T>& scratch) {
  const index_t width = m.cols() / blocks;
  const auto n = static_cast<index_t>(rows.size());
  scratch.resize(n * blocks, width);
  for (index_t k = 0; k < blocks; ++k) {
    for (index_t i = 0; i < n; ++i) {
      std::copy_n(m.row(rows[static_cast<std::size_t>(i)]).data() + k * width, width,
                  scratch.row(k * n + i).data());
    }
  }
  return tape.upload(matrix_view<const T>(scratch.view()));
}

/// The epsilon under the square root of a norm, as the alignment loss has it.
template <class Model>
double norm_epsilon_of(const Model& model) {
  if constexpr (requires { model.alignment.norm_epsilon(); }) {
    return model.alignment.norm_epsilon();
  } else {
    return 1e-12;
  }
}

/// Computes the cache for the rows of `inputs` with the sources numbered `sources`.
template <Backend B, class Model>
addition_cache<typename Model::scalar> make_cache(const B& device, const Model& model,
                                                  std::span<const index_t> sources,
                                                  const typename Model::input_set& inputs,
                                                  index_t copies, double scale, bool aligned,
                                                  random_stream stream) {
  using T = typename Model::scalar;
  constexpr index_t chunk = 256;
  addition_cache<T> cache;
  cache.sources = static_cast<index_t>(sources.size());
  cache.copies = aligned ? copies : 0;
  const index_t n = inputs.size();
  const index_t width = model.trunk().width();
  cache.representation = matrix<T>(n, width);

  graph::tape<B> tape(device);
  backend::buffer<B> theta(device, model.theta().size());
  theta.assign(device, model.theta().values());
  tape.bind(model.theta().segments(), theta.view());
  std::vector<const task_module*> modules;
  for (const index_t s : sources) {
    modules.push_back(&model.module(s));
  }
  typename Model::input_batch batch;
  std::vector<index_t> rows;
  const auto each_chunk = [&](auto&& f) {
    for (index_t first = 0; first < n; first += chunk) {
      rows.resize(static_cast<std::size_t>(std::min(chunk, n - first)));
      std::iota(rows.begin(), rows.end(), first);
      tape.begin(graph::mode::evaluation);
      f(first, static_cast<index_t>(rows.size()));
    }
  };
  each_chunk([&](index_t first, index_t count) {
    inputs.gather(rows, batch);
    device.download(model.trunk()(tape, batch).value(),
                    cache.representation.view().row_range(first, count));
  });
  if (!aligned) {
    return cache;
  }

  double squares = 0;
  for (index_t i = 0; i < cache.representation.size(); ++i) {
    const auto v = static_cast<double>(cache.representation.data()[i]);
    squares += v * v;
  }
  const double sigma =
      scale *
      std::sqrt(squares / static_cast<double>(std::max<index_t>(1, cache.representation.size())));
  cache.noise = matrix<T>(n, copies * width);
  for (index_t i = 0; i < cache.noise.size(); ++i) {
    cache.noise.data()[i] = static_cast<T>(sigma * stream.normal(static_cast<std::uint64_t>(i)));
  }

  matrix<T> scratch;
  const index_t frame = modules[0]->transfer.width;
  cache.mean_flat = matrix<T>(n, frame);
  cache.mean_distances = matrix<T>(n, copies);
  cache.flat.assign(sources.size(), matrix<T>(n, frame));
  matrix<T> distances;
  each_chunk([&](index_t first, index_t count) {
    auto b = gathered(tape, cache.representation, rows, scratch);
    if (copies > 0) {
      const auto same = tape.template host_array<index_t>(copies);
      const graph::var<B> parts[] = {b,
                                     graph::select_blocks<B>(b, count, same) +
                                         gathered_blocks(tape, cache.noise, rows, copies, scratch)};
      b = graph::concatenate_rows<B>(parts);
    }
    task_views<B, typename Model::tasks_type> views(tape, model.task_list(), sources, modules, {},
                                                    b, count);
    const auto u = views.flat();
    for (std::size_t s = 0; s < sources.size(); ++s) {
      const auto k = static_cast<index_t>(s);
      device.download(u.value().row_range(k * count, count),
                      cache.flat[s].view().row_range(first, count));
    }
    if (copies > 0) {
      const auto d = views.copy_distances(norm_epsilon_of(model));
      distances.resize(d.rows(), 1);
      device.download(d.value(), distances.view());
      for (index_t i = 0; i < d.rows(); ++i) {  // stacked by source, copy, row
        const index_t copy = i / count % copies;
        cache.mean_distances(first + i % count, copy) +=
            distances(i, 0) / static_cast<T>(cache.sources);
      }
    }
  });
  for (const matrix<T>& u : cache.flat) {
    for (index_t i = 0; i < u.size(); ++i) {
      cache.mean_flat.data()[i] += u.data()[i] / static_cast<T>(cache.sources);
    }
  }
  return cache;
}

/// Puts the rows of `more` below those of `cache`.
template <Scalar T>
void append_cache(addition_cache<T>& cache, const addition_cache<T>& more) {
  const auto append = [](matrix<T>& to, const matrix<T>& from) {
    data::append_rows(to, from, "add_task");
  };
  append(cache.representation, more.representation);
  append(cache.noise, more.noise);
  append(cache.mean_flat, more.mean_flat);
  append(cache.mean_distances, more.mean_distances);
  for (std::size_t s = 0; s < cache.flat.size(); ++s) {
    append(cache.flat[s], more.flat[s]);
  }
}

inline task_origin origin_of(trunk_policy policy) {
  return policy == trunk_policy::frozen ? task_origin::added : task_origin::added_with_trunk;
}

/// The tasks that the model was built with. Throws when there is none.
template <class Model>
std::vector<index_t> source_tasks(const Model& model) {
  std::vector<index_t> sources;
  for (index_t s = 0; s < model.task_list().size(); ++s) {
    if (model.module(s).origin == task_origin::source) {
      sources.push_back(s);
    }
  }
  require(!sources.empty(), "add_task", "all tasks of the model were added, none is a source");
  return sources;
}

/// Whether adding a task with these options uses the alignment loss.
template <class Model>
bool addition_is_aligned(const Model&, const addition& options) {
  return Model::alignment_type::needs == alignment::latent_space::flat && options.alignment > 0;
}

template <class Model>
double perturbation_scale_of(const Model& model) {
  if constexpr (requires { model.alignment.perturbation_scale(); }) {
    return model.alignment.perturbation_scale();
  } else {
    return 0;
  }
}

/// Rows of a pool, chosen and with their cache: the same for every target.
template <class Model>
struct prepared_pool {
  typename Model::input_set inputs;
  addition_cache<typename Model::scalar> cache;
};

template <Backend B, class Model>
prepared_pool<Model> prepare_pool(const B& device, const Model& model,
                                  const typename Model::input_set& pool, const addition& options) {
  options.validate();
  model.check_alignment();
  model.check_inputs(pool);
  auto rows = random_permutation(pool.size(), {options.train.seed, name_hash("pool")});
  rows.resize(std::min(rows.size(), static_cast<std::size_t>(options.pool_limit)));
  prepared_pool<Model> chosen{pool.select(rows), {}};
  chosen.cache = make_cache(device, model, source_tasks(model), chosen.inputs,
                            model.alignment.copies(), perturbation_scale_of(model), true,
                            random_stream{options.train.seed, name_hash("pool noise")});
  return chosen;
}

/// `training_rows` among the rows with a label: the others neither train nor validate.
inline std::pair<std::vector<index_t>, std::vector<index_t>> labelled_training_rows(
    const data::label_column& column, const training& options) {
  if (!options.validation_rows.empty()) {
    const auto [train, validation] = training_rows(column.size(), options);
    return {data::labelled_rows(column, train), data::labelled_rows(column, validation)};
  }
  std::vector<index_t> all(static_cast<std::size_t>(column.size()));
  std::iota(all.begin(), all.end(), index_t{0});
  const auto labelled = data::labelled_rows(column, all);
  if (labelled.empty()) {
    return {};
  }
  auto parts = training_rows(static_cast<index_t>(labelled.size()), options);
  for (auto* part : {&parts.first, &parts.second}) {
    for (index_t& r : *part) {
      r = labelled[static_cast<std::size_t>(r)];
    }
  }
  return parts;
}

/// The mean of what is not NaN, of which there is something.
inline double mean_of_present(std::span<const double> values) {
  double total = 0;
  double count = 0;
  for (const double v : values) {
    total += std::isnan(v) ? 0 : v;
    count += std::isnan(v) ? 0 : 1;
  }
  return total / count;
}

/// The source whose points, (labels, ·) a task, predict the labels best.
inline index_t best_source(const std::vector<matrix<double>>& points,
                           std::span<const index_t> sources, std::span<const double> labels,
                           double penalty) {
  index_t best = sources[0];
  double smallest = std::numeric_limits<double>::infinity();
  for (const index_t s : sources) {
    const double e =
        backend::ridge_leave_one_out(points[static_cast<std::size_t>(s)], labels, penalty);
    if (e < smallest) {
      smallest = e;
      best = s;
    }
  }
  return best;
}

/// `add_task` with everything given; `pool` may be null.
template <Backend B, class Model, class Dataset>
std::pair<Model, history> add_one_task(const B& device, const Model& model,
                                       const std::string& target_name,
                                       const typename Model::tasks_type::head_type& target_head,
                                       const Dataset& data, const prepared_pool<Model>* pool,
                                       const addition& options, const any_optimizer<B>& optimizer,
                                       callback::group& callbacks) {
  using T = typename Model::scalar;
  options.train.validate();
  options.validate();
  data.check();
  model.check_alignment();
  model.check_inputs(data.inputs);
  Model extended = model;
  const bool own_trunk = options.trunk == trunk_policy::tuned_copy;
  const index_t t =
      extended.append(target_name, target_head, origin_of(options.trunk), options.train.seed);

  const auto sources = source_tasks(model);
  const auto [train_rows, validation_rows] =
      labelled_training_rows(data.at(target_name), options.train);
  const std::vector<index_t> numbers{t};
  label_table labels(extended, numbers, data, train_rows);

  if (options.start == module_start::warm) {
    const auto& rows = labels.rows_of_task()[0];
    std::vector<double> values;
    for (const index_t r : rows) {
      values.push_back(mean_of_present(labels[0].row(r)));
    }
    const auto points = model.coordinates(device, data.inputs.select(rows), points_of::head);
    const index_t s = best_source(points, sources, values, options.ridge_penalty);
    for (const char* part : {"encoder/", "transfer/", "inverse/", "head/"}) {
      extended.theta().copy(model.theta(), model.prefix(s) + part, extended.prefix(t) + part);
    }
  }
  if (own_trunk) {
    extended.theta().copy(model.theta(), "trunk/", extended.prefix(t) + "trunk/");
  }
  // Only what belongs to the target is trained.
  std::vector<bool> frozen_before;
  for (const segment& s : extended.theta().segments()) {
    frozen_before.push_back(s.frozen);
    if (!s.name.starts_with(extended.prefix(t))) {
      extended.theta().freeze(static_cast<segment_id>(frozen_before.size()) - 1, true);
    }
  }

  // Inputs: the target's rows, then the pool's.
  const bool aligned = addition_is_aligned(model, options);
  const bool use_pool =
      pool != nullptr && aligned && options.pool_batch > 0 && pool->inputs.size() > 0;
  auto inputs = data.inputs;
  addition_cache<T> cache;
  if (aligned || !own_trunk) {
    cache = make_cache(device, model, sources, data.inputs, model.alignment.copies(),
                       perturbation_scale_of(model), aligned,
                       random_stream{options.train.seed, name_hash("noise")});
  }
  if (use_pool) {
    inputs.append(pool->inputs);
    append_cache(cache, pool->cache);
  }

  const task_module* const modules[] = {&extended.module(t)};
  typename Model::input_batch batch;
  matrix<T> scratch;
  matrix<double> label_scratch;
  const index_t label_column[] = {0};
  std::vector<index_t> all_rows;
  index_t next_in_pool = 0;
  const auto record = [&](graph::tape<B>& tape, std::span<const index_t> rows,
                          bool with_alignment) {
    const auto label_vars = tape.template host_array<graph::var<B>>(1);
    const auto present = tape.template host_array<bool>(1);
    labels.record(tape, rows, label_column, label_vars, present, label_scratch);
    const auto n = static_cast<index_t>(rows.size());
    graph::var<B> b;
    if (own_trunk) {
      inputs.gather(rows, batch);
      b = extended.trunk(extended.module(t).trunk)(tape, batch);
    } else {
      b = gathered(tape, cache.representation, rows, scratch);
    }
    anchor_batch<B> anchors;
    if (with_alignment) {
      anchors.sources = cache.sources;
      anchors.mean_flat = gathered(tape, cache.mean_flat, rows, scratch);
      const auto flat = tape.template host_array<graph::var<B>>(cache.sources);
      for (std::size_t s = 0; s < flat.size(); ++s) {
        flat[s] = gathered(tape, cache.flat[s], rows, scratch);
      }
      anchors.flat = graph::concatenate_rows<B>(flat);
      if (cache.copies > 0) {
        anchors.mean_distances =
            gathered_blocks(tape, cache.mean_distances, rows, cache.copies, scratch);
        const auto same = tape.template host_array<index_t>(cache.copies);
        const graph::var<B> parts[] = {
            b, graph::select_blocks<B>(b, n, same) +
                   gathered_blocks(tape, cache.noise, rows, cache.copies, scratch)};
        b = graph::concatenate_rows<B>(parts);
      }
    }
    task_views<B, typename Model::tasks_type> views(tape, extended.task_list(), numbers, modules,
                                                    label_vars, b, n,
                                                    with_alignment ? &anchors : nullptr);
    step_losses<B> losses;
    losses.predictions = views.predictions();
    losses.tasks = views.losses_of(losses.predictions, views.all_tasks());
    losses.present = present;
    if (with_alignment) {
      if (const auto loss = model.alignment(views)) {
        losses.alignment = options.alignment * loss;
      }
    }
    return losses;
  };
  const auto step = [&](graph::tape<B>& tape, std::span<const index_t> rows) {
    all_rows.assign(rows.begin(), rows.end());
    const index_t of_pool = use_pool ? std::min(options.pool_batch, pool->inputs.size()) : 0;
    for (index_t i = 0; i < of_pool; ++i) {
      all_rows.push_back(data.size() + next_in_pool);
      next_in_pool = (next_in_pool + 1) % pool->inputs.size();
    }
    return record(tape, all_rows, aligned);
  };
  const task_selection added{numbers, {target_name}, {0}};
  const auto validate = [&](graph::tape<B>& tape) -> std::vector<verdict> {
    if (validation_rows.empty()) {
      return {};
    }
    task_judge judge(extended.task_list(), added, labels);
    each_chunk(std::span<const index_t>(validation_rows), judged_at_once(options.train),
               [&](std::span<const index_t> some) {
                 tape.begin(graph::mode::evaluation);
                 judge.add(tape, record(tape, some, false), some);
               });
    return judge.verdicts();
  };

  const auto& labelled = labels.rows_of_task()[0];
  data::sampler::shuffled::state batches({.batch = options.train.batch}, labelled, {},
                                         options.train.seed);
  weighting::any<loss_based> equal(weighting::equal{});
  optimizer.validate();
  const auto follow = steer<B, weighting::any<loss_based>, false>(
      device, extended.theta(), added.names, options.train, equal, std::nullopt, no_probe);
  batch_order_of order(batches);
  training_problem_of<B, decltype(step), decltype(validate)> problem(step, validate);
  history result = training_loop(device, extended.theta(), options.train, added.names, order,
                                 optimizer, *follow, problem, callbacks);
  std::size_t i = 0;
  for (const bool frozen : frozen_before) {
    extended.theta().freeze(static_cast<segment_id>(i++), frozen);
  }
  return {std::move(extended), std::move(result)};
}

}  // namespace detail

/// Adds `target` to a trained model and returns the larger model; `model` and all that it predicts
/// stay as they are, bit for bit. `data` holds the target's labels; rows without one do not count,
/// for validation neither. `pool`, if given, is further inputs without labels. The cost does not
/// depend on how many rows the sources were trained on; it grows linearly with their number.
///
/// Tasks that were added before, frozen or with a trunk of their own, are no sources and change
/// nothing: adding d and then e gives the same d and e as e and then d.
///
/// Throws vierbein::error when the task exists already, its labels do not fit its head, or there
/// are none.
template <Backend B, class Model, class Head, class Dataset, class Optimizer, class... Callbacks>
Model add_task(const B& backend, const Model& model, const task<Head>& target, const Dataset& data,
               const addition& options, const Optimizer& optimizer, Callbacks... callbacks) {
  detail::require_training<B, typename Model::scalar, Optimizer, weighting::equal>();
  const auto update = detail::erase_optimizer<B>(optimizer);
  callback::group all(callbacks...);
  return detail::add_one_task<B, Model, Dataset>(backend, model, target.name, target.head, data,
                                                 nullptr, options, *update, all)
      .first;
}
template <Backend B, class Model, class Head, class Dataset, class Optimizer, class... Callbacks>
Model add_task(const B& backend, const Model& model, const task<Head>& target, const Dataset& data,
               const typename Model::input_set& pool, const addition& options,
               const Optimizer& optimizer, Callbacks... callbacks) {
  if (!detail::addition_is_aligned(model, options)) {
    return add_task(backend, model, target, data, options, optimizer, callbacks...);
  }
  detail::require_training<B, typename Model::scalar, Optimizer, weighting::equal>();
  const auto prepared = detail::prepare_pool(backend, model, pool, options);
  const auto update = detail::erase_optimizer<B>(optimizer);
  callback::group all(callbacks...);
  return detail::add_one_task<B, Model, Dataset>(backend, model, target.name, target.head, data,
                                                 &prepared, options, *update, all)
      .first;
}

/// A task to be added, with its labels.
template <class Head, class Dataset>
struct target_task {
  task<Head> what;
  Dataset data;
};

/// Adds several tasks, each as add_task would, side by side on the backend's threads: added tasks
/// do not know of each other, so the result is the same as adding them one by one, in any order.
/// `pool` may be null. `added(i, history)` is called as each is done, one call at a time.
///
/// An interrupt (Ctrl-C) stops every target that is in training after its step, and those to come
/// after their first; the model returned has them all, and `history.interrupted` says so. With
/// `handle_interrupts` off only a guard of the caller's is heeded.
///
/// Throws vierbein::error before any training when a name is given twice or is in the model
/// already; when targets fail, as the first of them did, by position. Later ones may then not have
/// been tried.
template <Backend B, class Model, class Head, class Dataset, class Optimizer, class Added>
Model add_tasks(const B& backend, const Model& model,
                const std::vector<target_task<Head, Dataset>>& targets,
                const typename Model::input_set* pool, const addition& options,
                const Optimizer& optimizer, Added&& added) {
  detail::require_training<B, typename Model::scalar, Optimizer, weighting::equal>();
  auto names = model.task_list();
  for (const auto& target : targets) {
    names.add(target.what);
  }
  detail::prepared_pool<Model> prepared;
  const bool use_pool = pool != nullptr && detail::addition_is_aligned(model, options);
  if (use_pool) {
    prepared = detail::prepare_pool(backend, model, *pool, options);
  }
  addition each = options;
  each.train.handle_interrupts = false;  // one guard for all of them
  std::optional<interrupt_guard> guard;
  if (options.train.handle_interrupts) {
    guard.emplace();
  }

  const auto update = detail::erase_optimizer<B>(optimizer);
  callback::group nobody;
  const auto count = static_cast<index_t>(targets.size());
  std::vector<std::optional<Model>> results(targets.size());
  std::atomic<index_t> failed = count;  // the first of those that did
  std::exception_ptr failure;
  std::mutex one_at_a_time;
#if defined(_OPENMP)
#pragma omp parallel for schedule(dynamic, 1) num_threads(backend.threads())
#endif
  for (index_t i = 0; i < count; ++i) {
    if (i > failed) {
      continue;
    }
    try {
      const auto& target = targets[static_cast<std::size_t>(i)];
      auto [extended, record] = detail::add_one_task<B, Model, Dataset>(
          backend, model, target.what.name, target.what.head, target.data,
          use_pool ? &prepared : nullptr, each, *update, nobody);
      results[static_cast<std::size_t>(i)] = std::move(extended);
      const std::lock_guard lock(one_at_a_time);
      added(static_cast<std::size_t>(i), record);
    } catch (...) {
      const std::lock_guard lock(one_at_a_time);
      if (i < failed) {
        failed = i;
        failure = std::current_exception();
      }
    }
  }
  if (failure) {
    std::rethrow_exception(failure);
  }

  Model together = model;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    const auto& what = targets[i].what;
    const index_t t =
        together.append(what.name, what.head, detail::origin_of(options.trunk), options.train.seed);
    together.theta().copy(results[i]->theta(), together.prefix(t), together.prefix(t));
  }
  return together;
}
template <Backend B, class Model, class Head, class Dataset, class Optimizer>
Model add_tasks(const B& backend, const Model& model,
                const std::vector<target_task<Head, Dataset>>& targets,
                const typename Model::input_set* pool, const addition& options,
                const Optimizer& optimizer) {
  return add_tasks(backend, model, targets, pool, options, optimizer,
                   [](std::size_t, const history&) {});
}

}  // namespace vierbein
