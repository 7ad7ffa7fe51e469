#include "experiment.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "../support/fashion_pictures.hpp"
#include "../support/policies.hpp"
#include "journal.hpp"
#include "methods.hpp"
#include "results.hpp"
#include "vierbein/backend/cpu.hpp"
#include "vierbein/encoder/convolutional.hpp"
#include "vierbein/model/multitask.hpp"
#include "vierbein/optimizer/adam.hpp"
#include "vierbein/train/fit.hpp"
#include "vierbein/train/metrics.hpp"
#include "vierbein/weighting/equal.hpp"

namespace multi_fashion {

namespace {

using model_type =
    vb::multitask_model<vb::encoder::convolutional, vb::alignment::none, vb::tasks<>, float>;

/// The pictures of one seed as one target sees them.
struct problem {
  std::string target;
  long labels = 0;
  long seed = 0;
  dataset both;   // training and development pictures; the latter with labels of the target only
  dataset alone;  // the same with labels of the target only, see `target_only`
  std::vector<vb::index_t> both_dev, alone_dev;  // which of the rows are development pictures
};

class experiment {
 public:
  explicit experiment(const settings& s)
      : s_(s), sources_(read_sources(s.images, s.labels)), journal_(s), backend_(s.threads) {
    try {  // now and not in the first training
      const auto& shape = sources_.shape;
      new_model({"left"}).build({1, shape.height + offset, shape.width + offset}, 1);
    } catch (const vb::error& e) {
      throw vb::error(s.images.string(), e.what());
    }
  }

  void run() {
    for (long seed = s_.first_seed; seed < s_.first_seed + s_.seeds; ++seed) {
      std::optional<parts> pictures;
      for (const auto& target : s_.targets) {
        for (const long labels : s_.target_labels) {
          if (journal_.complete(target, labels, seed)) {
            continue;
          }
          if (!pictures) {
            pictures = overlay(sources_, {s_.train, s_.dev, s_.test}, s_.images, seed);
          }
          run_problem(make_problem(*pictures, target, labels, seed), pictures->test);
          if (vb::interrupted()) {
            return;
          }
        }
      }
    }
  }

  [[nodiscard]] const journal& done() const { return journal_; }

 private:
  using clock = std::chrono::steady_clock;

  /// A model and what it took.
  struct trained {
    model_type model;
    vb::history history;
    double seconds = 0;
  };

  static double since(clock::time_point start) {
    return std::chrono::duration<double>(clock::now() - start).count();
  }

  static std::string other(const std::string& target) {
    return target == "left" ? "right" : "left";
  }

  static std::vector<vb::index_t> range(vb::index_t first, vb::index_t last) {
    std::vector<vb::index_t> rows;
    for (vb::index_t r = first; r < last; ++r) {
      rows.push_back(r);
    }
    return rows;
  }

  problem make_problem(const parts& pictures, const std::string& target, long labels,
                       long seed) const {
    problem p{target, labels, seed, pictures.train, {}, {}, {}};
    const vb::index_t train = pictures.train.size();
    const vb::index_t labelled = labels == 0 ? train : labels;
    p.both.mask_labels(target, range(labelled, train));
    auto dev = pictures.dev;
    dev.mask_labels(other(target), range(0, dev.size()));
    p.both.append(dev);
    p.both_dev = range(train, p.both.size());

    // Few pictures return so often that an epoch has about as many as with all labels: an epoch is
    // then about as much work for every method, and is judged as often.
    const auto times =
        std::max(1L, std::lround(static_cast<double>(train) / static_cast<double>(labelled)));
    std::vector<vb::index_t> rows;
    for (long k = 0; k < times; ++k) {
      const auto once = range(0, labelled);
      rows.insert(rows.end(), once.begin(), once.end());
    }
    p.alone = pictures.train.select(rows);
    p.alone.append(dev);
    std::erase_if(p.alone.labels, [&](const auto& column) { return column.name != target; });
    p.alone_dev = range(static_cast<vb::index_t>(rows.size()), p.alone.size());
    return p;
  }

  void run_problem(const problem& p, const dataset& test) {
    std::optional<trained> shared;
    for (const std::string& name : s_.methods) {
      const cell c{p.target, p.labels, name, p.seed};
      if (journal_.has(c)) {
        continue;
      }
      journal_.begin(c);
      trained t = train(find_method(name), p, shared);
      if (vb::interrupted()) {
        return;
      }
      journal_.add({c, accuracy(t.model, test, p.target), t.seconds}, t.history);
    }
  }

  trained train(const method& m, const problem& p, std::optional<trained>& shared) {
    if (m.kind == training_kind::single) {
      auto model = new_model({p.target});
      return fit(m.name, p, std::move(model), true, vb::weighting::equal{}, s_.epochs);
    }
    if (m.kind == training_kind::policy) {
      auto model = new_model({"left", "right"});
      if (auto policy = examples::find_round_policy(m.name, p.target)) {
        return fit(m.name, p, std::move(model), false, *policy, s_.epochs);
      }
      return fit(m.name, p, std::move(model), false, *examples::find_step_policy(m.name, p.target),
                 s_.epochs);
    }
    if (!shared) {
      shared =
          fit("shared", p, new_model({"left", "right"}), false, vb::weighting::equal{}, s_.epochs);
    }
    if (m.kind == training_kind::shared || vb::interrupted()) {
      return *shared;
    }
    return finetune(p, *shared);
  }

  /// Half as many epochs again on the target alone, from the shared model.
  trained finetune(const problem& p, const trained& shared) {
    auto model = new_model({p.target});
    model.build(shared.model.shape(), static_cast<std::uint64_t>(p.seed));
    model.theta().copy(shared.model.theta(), "", "");
    trained t = fit("finetune", p, std::move(model), true, vb::weighting::equal{},
                    std::max(1L, s_.epochs / 2));
    t.seconds += shared.seconds;
    // The course is that of both.
    vb::history whole = shared.history;
    for (vb::epoch_record e : t.history.epochs) {
      e.epoch += s_.epochs;
      std::vector<double> weights(whole.task_names.size(), 0.0);
      const auto target = std::find(whole.task_names.begin(), whole.task_names.end(), p.target);
      weights[static_cast<std::size_t>(target - whole.task_names.begin())] = 1;
      e.weights = weights;
      whole.epochs.push_back(e);
    }
    t.history = std::move(whole);
    return t;
  }

  model_type new_model(const std::vector<std::string>& names) const {
    vb::tasks<> tasks;
    for (const auto& name : names) {
      tasks.add(vb::multiclass(name, sources_.class_count));
    }
    // The network of Sener and Koltun (2018) for two digits in one picture.
    return model_type(vb::encoder::convolutional{.channels = {10, 20}, .hidden = {50}},
                      std::move(tasks), {}, {.encoder = {}, .head = {50}});
  }

  template <class Weighting>
  trained fit(const std::string& name, const problem& p, model_type model, bool alone,
              const Weighting& weighting, long epochs) {
    vb::training options{.epochs = epochs,
                         .batch = s_.batch,
                         .validation_rows = alone ? p.alone_dev : p.both_dev,
                         .best = vb::best_by::score,
                         .balanced = !alone && p.labels > 0,
                         .seed = static_cast<std::uint64_t>(p.seed)};
    const auto start = clock::now();
    auto h = vb::fit(backend_, model, alone ? p.alone : p.both, options,
                     vb::optimizer::adam{.learning_rate = s_.learning_rate}, weighting,
                     vb::callback::progress{fmt::format("seed {}, target {}, {}: {}", p.seed,
                                                        p.target, labels_text(p.labels), name)});
    return {std::move(model), std::move(h), since(start)};
  }

  double accuracy(const model_type& model, const dataset& test, const std::string& target) const {
    const auto task = model.task_list().find(target);
    const auto probabilities = model.predict(backend_, test.inputs, task);
    std::vector<double> predicted;
    for (vb::index_t i = 0; i < probabilities.rows(); ++i) {
      const auto row = probabilities.row(i);
      predicted.push_back(
          static_cast<double>(std::max_element(row.begin(), row.end()) - row.begin()));
    }
    const auto& labels = test.find(target)->values;
    return vb::metrics::accuracy(predicted, {labels.data(), predicted.size()});
  }

  const settings& s_;
  source_pictures sources_;
  journal journal_;
  vb::backend::cpu backend_;
};

}  // namespace

bool run_experiment(const settings& s) {
  const vb::interrupt_guard guard;  // one interrupt stops everything, not one training
  experiment e(s);
  e.run();
  print_table(e.done().results(), s);
  write_chart(s.out / "chart.svg", e.done().results(), e.done().moments(), s);
  return !vb::interrupted();
}

}  // namespace multi_fashion
