// The body of run_experiment; each encoder instantiates it in a file of its own, and those on a
// device in another.
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <map>
#include <optional>
#include <string>

#include "../support/molecule_inputs.hpp"
#include "../support/policies.hpp"
#include "checks.hpp"
#include "experiment.hpp"
#include "journal.hpp"
#include "methods.hpp"
#include "models.hpp"
#include "vierbein/alignment/gate.hpp"
#include "vierbein/optimizer/adamw.hpp"
#include "vierbein/optimizer/schedule.hpp"
#include "vierbein/train/add_task.hpp"
#include "vierbein/train/metrics.hpp"
#include "vierbein/weighting/equal.hpp"

namespace molecules {

template <class Inputs, class Backend>
class experiment {
 public:
  using input_set = typename decltype(Inputs::encoder())::input_set;
  using dataset = vb::data::dataset<input_set>;
  using plain_model = plain_model_of<Inputs>;
  using gate_model = gate_model_of<Inputs>;

  experiment(const settings& s, const molecule_table& table, const Backend& backend)
      : s_(s),
        table_(table),
        tests_(choose_test_molecules(s, table)),
        journal_(s, table),
        backend_(backend),
        inputs_(Inputs::make(table.set)) {}

  void run() {
    for (long seed = s_.first_seed; seed < s_.first_seed + s_.seeds && !stopped(); ++seed) {
      run_seed(seed);
    }
  }

  [[nodiscard]] const std::vector<result>& results() const { return journal_.results(); }

 private:
  using clock = std::chrono::steady_clock;

  static bool stopped() { return vb::interrupted(); }

  void run_seed(long seed) {
    const auto& test = tests_.at(seed);
    std::optional<plain_model> plain;
    std::optional<gate_model> gate;
    for (const long labels : s_.labels) {
      const auto targets = choose_labels(test, seed, labels);
      for (const std::string& name : s_.methods) {
        const method& m = find_method(name);
        if (journal_.has(name, labels, seed)) {
          continue;
        }
        if (m.weighted) {
          run_weighted(m, targets, test, seed, labels);
        } else if (m.joint) {
          run_joint(m, targets, test, seed, labels);
        } else if (m.pretraining == pretraining_kind::plain) {
          if (!plain) {
            plain = pretrain<plain_model>(test, seed, m.pretraining);
          }
          run_addition(m, *plain, targets, test, seed, labels);
        } else if (m.pretraining == pretraining_kind::gate) {
          if (!gate) {
            gate = pretrain<gate_model>(test, seed, m.pretraining);
          }
          run_addition(m, *gate, targets, test, seed, labels);
        } else {
          run_single(m, targets, seed, labels);
        }
        if (stopped()) {
          return;
        }
        journal_.save();
      }
    }
  }

  /// A target of one seed: the molecules whose labels may be used, and those to be predicted.
  struct target_rows {
    std::string name;
    vb::index_t column;
    std::vector<vb::index_t> train, test;
  };

  std::vector<target_rows> choose_labels(const std::vector<char>& test, long seed,
                                         long labels) const {
    std::vector<target_rows> targets;
    for (const auto& name : s_.targets) {
      target_rows t{name, column_of(name), {}, {}};
      for (vb::index_t i = 0; i < table_.set.size(); ++i) {
        if (!std::isnan(table_.values(i, t.column))) {
          (test[static_cast<std::size_t>(i)] != 0 ? t.test : t.train).push_back(i);
        }
      }
      vb::require(static_cast<long>(t.train.size()) >= labels, name.c_str(),
                  "asked for {} labels, but only {} molecules outside the test set have one",
                  labels, t.train.size());
      vb::require(t.test.size() >= 2, name.c_str(),
                  "the test set holds {} molecules with a label, too few to judge a prediction",
                  t.test.size());
      // The same order for every number of labels: 100 labels are among the 200.
      const auto order = vb::random_permutation(
          static_cast<vb::index_t>(t.train.size()),
          vb::random_stream{static_cast<std::uint64_t>(seed), vb::name_hash(name)});
      std::vector<vb::index_t> chosen;
      for (long k = 0; k < labels; ++k) {
        chosen.push_back(t.train[static_cast<std::size_t>(order[static_cast<std::size_t>(k)])]);
      }
      t.train = std::move(chosen);
      targets.push_back(std::move(t));
    }
    return targets;
  }

  [[nodiscard]] vb::index_t column_of(const std::string& name) const {
    const auto it = std::find(table_.properties.begin(), table_.properties.end(), name);
    return it - table_.properties.begin();
  }

  /// Molecules whose source labels may be used.
  [[nodiscard]] std::vector<vb::index_t> source_rows(const std::vector<char>& test) const {
    std::vector<vb::index_t> rows;
    for (vb::index_t i = 0; i < table_.set.size(); ++i) {
      if (s_.hide == "all" && test[static_cast<std::size_t>(i)] != 0) {
        continue;
      }
      for (const auto& name : s_.sources) {
        if (!std::isnan(table_.values(i, column_of(name)))) {
          rows.push_back(i);
          break;
        }
      }
    }
    vb::require(!rows.empty(), "sources", "no molecule outside the test set has a source label");
    return rows;
  }

  /// The rows with the labels of the sources.
  dataset source_data(const std::vector<vb::index_t>& rows) const {
    dataset data{inputs_.select(rows)};
    for (const auto& name : s_.sources) {
      data.add(name, column(name, rows));
    }
    return data;
  }

  std::vector<double> column(const std::string& name, const std::vector<vb::index_t>& rows) const {
    std::vector<double> values;
    for (const auto r : rows) {
      values.push_back(table_.values(r, column_of(name)));
    }
    return values;
  }

  vb::training pretraining_options(long seed) const {
    return {.epochs = s_.epochs,
            .batch = 64,
            .validation_fraction = 0.05,
            .schedule = vb::schedule::one_cycle{},
            .seed = static_cast<std::uint64_t>(seed)};
  }

  template <class Model>
  Model new_model(const std::vector<std::string>& names) const {
    vb::tasks<> tasks;
    for (const auto& name : names) {
      tasks.add(vb::regression(name));
    }
    return Model(Inputs::encoder(), std::move(tasks), alignment_of<Model>(),
                 module_sizes(Inputs::latent_width));
  }

  template <class Model>
  static typename Model::alignment_type alignment_of() {
    if constexpr (std::is_same_v<Model, gate_model>) {
      return gate_losses();
    } else {
      return {};
    }
  }

  template <class Model>
  Model pretrain(const std::vector<char>& test, long seed, pretraining_kind kind) {
    const char* const name = kind == pretraining_kind::gate ? "gate" : "plain";
    const auto piece = journal_.begin_pretraining(kind, seed);
    const auto rows = source_rows(test);
    const auto data = source_data(rows);
    auto model = new_model<Model>(s_.sources);
    const auto h = vb::fit(
        backend_, model, data, pretraining_options(seed), vb::optimizer::adamw{},
        vb::weighting::equal{},
        vb::callback::progress{fmt::format("seed {}: {} training on the sources", seed, name)},
        journal::watch{&journal_});
    if (!stopped()) {
      journal_.add(fmt::format("seed {}, {}", seed, name), h);
      if constexpr (std::is_same_v<Model, gate_model>) {
        if (seed == s_.first_seed) {
          draw_frame(model, rows, seed);
        }
      }
    }
    return model;
  }

  /// The tasks' points of some molecules before and after the training, as a picture.
  void draw_frame(const gate_model& trained, const std::vector<vb::index_t>& rows,
                  long seed) const {
    auto untrained = new_model<gate_model>(s_.sources);
    untrained.build(inputs_.shape(), static_cast<std::uint64_t>(seed));
    untrained.trunk().prepare(untrained.theta(), inputs_, rows);
    const auto order =
        vb::random_permutation(static_cast<vb::index_t>(rows.size()),
                               {static_cast<std::uint64_t>(seed), vb::name_hash("picture")});
    std::vector<vb::index_t> chosen;
    for (std::size_t i = 0; i < std::min<std::size_t>(order.size(), 300); ++i) {
      chosen.push_back(rows[static_cast<std::size_t>(order[i])]);
    }
    const auto some = inputs_.select(chosen);
    const auto plane = [&](const gate_model& model) {
      return principal_plane(model.coordinates(backend_, some, vb::points_of::flat));
    };
    write_frame_picture(s_.out / "frame.svg", {s_.sources, plane(untrained), plane(trained)});
  }

  void run_joint(const method& m, const std::vector<target_rows>& targets,
                 const std::vector<char>& test, long seed, long labels) {
    if (m.pretraining == pretraining_kind::gate) {
      joint<gate_model>(m, targets, test, seed, labels);
    } else {
      joint<plain_model>(m, targets, test, seed, labels);
    }
  }

  /// One model for the sources and all targets together.
  template <class Model>
  void joint(const method& m, const std::vector<target_rows>& targets,
             const std::vector<char>& test, long seed, long labels) {
    const auto piece = journal_.begin_method(m, labels, seed);
    const auto start = clock::now();
    auto rows = source_rows(test);
    std::vector<char> there(static_cast<std::size_t>(table_.set.size()), 0);
    for (const auto r : rows) {
      there[static_cast<std::size_t>(r)] = 1;
    }
    for (const auto& t : targets) {
      for (const auto r : t.train) {
        if (there[static_cast<std::size_t>(r)] == 0) {
          there[static_cast<std::size_t>(r)] = 1;
          rows.push_back(r);
        }
      }
    }
    auto data = source_data(rows);
    auto names = s_.sources;
    for (const auto& t : targets) {
      std::vector<char> mine(there.size(), 0);
      for (const auto r : t.train) {
        mine[static_cast<std::size_t>(r)] = 1;
      }
      auto values = column(t.name, rows);
      for (std::size_t i = 0; i < rows.size(); ++i) {
        if (mine[static_cast<std::size_t>(rows[i])] == 0) {
          values[i] = std::numeric_limits<double>::quiet_NaN();
        }
      }
      data.add(t.name, values);
      names.push_back(t.name);
    }
    auto model = new_model<Model>(names);
    auto options = pretraining_options(seed);
    options.validation_fraction = 0;  // every scarce label is for training
    options.balanced = true;
    const auto h =
        vb::fit(backend_, model, data, options, vb::optimizer::adamw{}, vb::weighting::equal{},
                vb::callback::progress{fmt::format("seed {}, {} labels: {}", seed, labels, m.name)},
                journal::watch{&journal_});
    if (stopped()) {
      return;
    }
    journal_.add(fmt::format("seed {}, {} labels, {}", seed, labels, m.name), h);
    if (journal_.keeps_model(m, labels, seed)) {
      save_model<Inputs>(model, s_.out / "model.safetensors");
    }
    const double seconds = since(start) / static_cast<double>(targets.size());
    for (std::size_t t = 0; t < targets.size(); ++t) {
      record(m, model, s_.sources.size() + t, targets[t], seed, labels, seconds);
    }
  }

  vb::training target_training(long seed, long labels) const {
    // The same number of steps whatever the number of labels.
    (void)labels;
    return {.epochs = s_.addition_epochs,
            .batch = 32,
            .validation_fraction = 0,
            .schedule = vb::schedule::one_cycle{},
            .seed = static_cast<std::uint64_t>(seed)};
  }

  dataset target_data(const target_rows& t) const {
    dataset data{inputs_.select(t.train)};
    data.add(t.name, column(t.name, t.train));
    return data;
  }

  template <class Model>
  void run_addition(const method& m, const Model& model, const std::vector<target_rows>& targets,
                    const std::vector<char>& test, long seed, long labels) {
    if (stopped()) {  // in the training on the sources
      return;
    }
    const auto piece = journal_.begin_method(m, labels, seed);
    const auto start = clock::now();
    vb::addition options = m.addition;
    options.train = target_training(seed, labels);
    std::vector<vb::target_task<vb::head::regression, dataset>> added;
    for (const auto& t : targets) {
      added.push_back({vb::regression(t.name), target_data(t)});
    }
    std::optional<input_set> pool;
    if (m.pool) {
      pool = inputs_.select(source_rows(test));
    }
    std::vector<vb::history> histories(targets.size());
    std::size_t done = 0;
    const auto extended = vb::add_tasks(backend_, model, added, pool ? &*pool : nullptr, options,
                                        vb::optimizer::adamw{.learning_rate = m.learning_rate},
                                        [&](std::size_t i, const vb::history& h) {
                                          histories[i] = h;
                                          journal_.advance(++done);
                                        });
    if (stopped()) {
      return;
    }
    add_histories(m, targets, histories, seed, labels);
    if (journal_.keeps_model(m, labels, seed)) {
      save_model<Inputs>(extended, s_.out / "model.safetensors");
    }
    const double seconds = since(start) / static_cast<double>(targets.size());
    for (std::size_t t = 0; t < targets.size(); ++t) {
      record(m, extended, s_.sources.size() + t, targets[t], seed, labels, seconds);
    }
  }

  void add_histories(const method& m, const std::vector<target_rows>& targets,
                     const std::vector<vb::history>& histories, long seed, long labels) {
    for (std::size_t t = 0; t < targets.size(); ++t) {
      journal_.add(fmt::format("seed {}, {} labels, {}, {}", seed, labels, m.name, targets[t].name),
                   histories[t]);
    }
  }

  void run_single(const method& m, const std::vector<target_rows>& targets, long seed,
                  long labels) {
    auto options = target_training(seed, labels);
    options.handle_interrupts = false;
    each_target(m, targets, seed, labels, 0, [&](const target_rows& t, vb::history& h) {
      auto model = new_model<plain_model>({t.name});
      h = vb::fit(backend_, model, target_data(t), options,
                  vb::optimizer::adamw{.learning_rate = m.learning_rate}, vb::weighting::equal{});
      return model;
    });
  }

  /// The sources and one target in one model, weighted by the policy of the method's name. A fifth
  /// of the target's labels, at least two, is set aside for the policy. They are too few to choose
  /// an epoch by as well: one odd molecule among them would decide.
  void run_weighted(const method& m, const std::vector<target_rows>& targets,
                    const std::vector<char>& test, long seed, long labels) {
    const auto source = source_rows(test);
    each_target(m, targets, seed, labels, s_.sources.size(),
                [&](const target_rows& t, vb::history& h) {
                  auto names = s_.sources;
                  names.push_back(t.name);
                  auto model = new_model<plain_model>(names);
                  auto options = pretraining_options(seed);
                  options.handle_interrupts = false;
                  options.balanced = true;
                  options.best = vb::best_by::last;
                  const auto data = weighted_data(t, source, labels, options.validation_rows);
                  h = fit_weighted(m, t, data, options, model);
                  return model;
                });
  }

  vb::history fit_weighted(const method& m, const target_rows& t, const dataset& data,
                           const vb::training& options, plain_model& model) {
    const vb::optimizer::adamw optimizer{.learning_rate = m.learning_rate};
    if (auto policy = ::examples::find_round_policy(m.name, t.name)) {
      return vb::fit(backend_, model, data, options, optimizer, *policy);
    }
    return vb::fit(backend_, model, data, options, optimizer,
                   *::examples::find_step_policy(m.name, t.name));
  }

  /// The labels of the sources and those of one target; the rows whose target labels are held back.
  dataset weighted_data(const target_rows& t, const std::vector<vb::index_t>& source, long labels,
                        std::vector<vb::index_t>& held_back) const {
    std::vector<vb::index_t> place(static_cast<std::size_t>(table_.set.size()), -1);
    auto rows = source;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      place[static_cast<std::size_t>(rows[i])] = static_cast<vb::index_t>(i);
    }
    for (const auto r : t.train) {
      auto& there = place[static_cast<std::size_t>(r)];
      if (there < 0) {
        there = static_cast<vb::index_t>(rows.size());
        rows.push_back(r);
      }
    }
    auto data = source_data(rows);
    const auto all = column(t.name, rows);
    std::vector<double> values(rows.size(), std::numeric_limits<double>::quiet_NaN());
    const auto held = static_cast<std::size_t>(std::max(2L, labels / 5));
    for (std::size_t k = 0; k < t.train.size(); ++k) {
      const auto at = place[static_cast<std::size_t>(t.train[k])];
      values[static_cast<std::size_t>(at)] = all[static_cast<std::size_t>(at)];
      if (k < held) {
        held_back.push_back(at);
      }
    }
    data.add(t.name, values);
    return data;
  }

  /// train(target, history) gives a model of its own for each target; several are trained side by
  /// side. `task` is the target's number in its model.
  template <class Train>
  void each_target(const method& m, const std::vector<target_rows>& targets, long seed, long labels,
                   std::size_t task, Train&& train) {
    const auto piece = journal_.begin_method(m, labels, seed);
    const auto start = clock::now();
    std::vector<std::optional<plain_model>> models(targets.size());
    std::vector<vb::history> histories(targets.size());
    std::size_t done = 0;
    std::exception_ptr failure;
    const auto count = static_cast<vb::index_t>(targets.size());
#pragma omp parallel for schedule(dynamic, 1) num_threads(backend_.threads())
    for (vb::index_t i = 0; i < count; ++i) {
      try {
        const auto k = static_cast<std::size_t>(i);
        models[k] = train(targets[k], histories[k]);
#pragma omp critical
        journal_.advance(++done);
      } catch (...) {
#pragma omp critical
        failure = std::current_exception();
      }
    }
    if (failure) {
      std::rethrow_exception(failure);
    }
    if (stopped()) {
      return;
    }
    add_histories(m, targets, histories, seed, labels);
    const double seconds = since(start) / static_cast<double>(targets.size());
    for (std::size_t t = 0; t < targets.size(); ++t) {
      record(m, *models[t], task, targets[t], seed, labels, seconds);
    }
  }

  template <class Model>
  void record(const method& m, const Model& model, std::size_t task, const target_rows& t,
              long seed, long labels, double seconds) {
    const auto predicted =
        model.predict(backend_, inputs_.select(t.test), static_cast<vb::index_t>(task));
    const auto truth = column(t.name, t.test);
    const std::span<const double> p(predicted.data(), truth.size());
    journal_.add({t.name, m.name, Inputs::name, labels, seed, vb::metrics::rmse(p, truth),
                  vb::metrics::mae(p, truth), vb::metrics::r2(p, truth), seconds});
  }

  static double since(clock::time_point start) {
    return std::chrono::duration<double>(clock::now() - start).count();
  }

  const settings& s_;
  const molecule_table& table_;
  std::map<long, std::vector<char>> tests_;  // by seed
  journal journal_;
  Backend backend_;
  input_set inputs_;
};

template <class Inputs, class Backend>
bool run_experiment(const settings& s, const molecule_table& table, const Backend& backend) {
  const vb::interrupt_guard guard;
  experiment<Inputs, Backend> e(s, table, backend);
  e.run();
  print_table(e.results(), s);
  write_chart(s.out / "chart.svg", e.results(), s);
  return !vb::interrupted();
}

}  // namespace molecules
