// Trains the branches of a round: side by side, each with parameters and an optimiser of its own.
#pragma once

#if defined(_OPENMP)
#include <omp.h>
#endif

#include <algorithm>
#include <cmath>
#include <exception>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "vierbein/alignment/none.hpp"
#include "vierbein/optimizer/concept.hpp"
#include "vierbein/train/development.hpp"
#include "vierbein/train/interrupt.hpp"
#include "vierbein/weighting/oracle.hpp"

namespace vierbein::detail {

/// Goes through rows in random order, again and again, as many at a time as are asked for.
class row_cursor {
 public:
  row_cursor(std::span<const index_t> rows, const random_stream& stream)
      : rows_(rows.begin(), rows.end()), next_(rows_.size()), stream_(stream) {}

  [[nodiscard]] index_t size() const { return static_cast<index_t>(rows_.size()); }

  /// Appends `count` rows; none twice unless the end of the order is passed in between.
  void take(index_t count, std::vector<index_t>& out) {
    for (index_t i = 0; i < count; ++i) {
      if (next_ == rows_.size()) {
        std::ranges::sort(rows_);
        data::sampler::shuffle(rows_, stream_.fork(rounds_++));
        next_ = 0;
      }
      out.push_back(rows_[next_++]);
    }
  }

 private:
  std::vector<index_t> rows_;
  std::size_t next_;
  std::uint64_t rounds_ = 0;
  random_stream stream_;
};

/// What a branch did in a round.
struct branch_report {
  std::vector<double> loss_totals = {};  ///< a task
  std::vector<index_t> steps = {};       ///< a task
  double alignment_total = 0;
  index_t aligned_steps = 0;
  std::size_t step_bytes = 0;  ///< the most that a step took
  double score = 0;            ///< of the result, if there was scoring
  std::string failure = {};    ///< why the branch had to stop; empty when it did not
};

/// Trains branches of a model. What a branch of one name leaves behind, its place in the rows, its
/// optimiser's state and its best parameters, is there for the next branch of that name.
template <Backend B, class Model>
class branch_trainer {
 public:
  using scalar = typename B::scalar;
  using space = typename B::space;
  using flat_view = array_view<scalar, space>;
  static constexpr bool aligned = !std::is_same_v<typename Model::alignment_type, alignment::none>;

  branch_trainer(const B& device, const Model& model, const typename Model::input_set& inputs,
                 const label_table& labels, const task_selection& tasks,
                 const task_selection& target, std::span<const index_t> development,
                 const training& options, const any_optimizer<B>& optimizer)
      : device_(device),
        model_(model),
        inputs_(inputs),
        labels_(labels),
        tasks_(tasks),
        target_(target),
        development_(development),
        options_(options),
        optimizer_(optimizer) {}

  /// Trains every branch from θ; row i of `results` (branches, length of θ) becomes the parameters
  /// of branch i. `from` is the progress of the whole training in [0, 1] at the beginning of the
  /// round, and `all` its epochs.
  std::vector<branch_report> run(const round_plan& plan, index_t round, flat_view theta,
                                 matrix_view<scalar, space> results, double from, double all) {
    const auto count = static_cast<index_t>(plan.branches.size());
    std::vector<state*> states;
    index_t longest = 0;
    double one_step = 1;
    for (const branch& b : plan.branches) {
      const auto called = [&](const branch& other) { return other.name == b.name; };
      require(!b.name.empty() && std::ranges::count_if(plan.branches, called) == 1, "weighting",
              "the branches of a round need different names, but {} are called '{}'",
              std::ranges::count_if(plan.branches, called), b.name);
      states.push_back(&prepare(b, plan.keep_optimizer_state));
      longest = std::max(longest, steps_of(*states.back(), plan.epochs));
      one_step = std::min(one_step, epochs_of_step(*states.back()));
    }
    trained_ = std::max(plan.epochs, one_step);
    const double to = plan.rehearsal ? from : std::min(from + trained_ / all, 1.0);
    const int threads =
        static_cast<int>(std::min<index_t>(device_.threads(), std::max(count, index_t{1})));
    while (static_cast<int>(slots_.size()) < threads) {
      slots_.push_back(std::make_unique<slot>(*this));
    }
    std::vector<branch_report> reports(plan.branches.size());
    std::exception_ptr failure;
    std::mutex one_at_a_time;
    const auto train = [&](index_t i, slot& with) {
      try {
        const auto k = static_cast<std::size_t>(i);
        const index_t steps = plan.equal_steps ? longest : steps_of(*states[k], plan.epochs);
        const flat_view mine{results.row_range(i, 1).data, results.cols};
        copy(theta, mine);
        reports[k] = train_branch(plan, plan.branches[k], *states[k], with, round, mine,
                                  states[k]->trains_nothing() ? 0 : steps, from, to);
      } catch (...) {
        const std::lock_guard lock(one_at_a_time);
        failure = std::current_exception();
      }
    };
    if (threads == 1) {  // the backend's own threads are free then
      for (index_t i = 0; i < count; ++i) {
        train(i, *slots_[0]);
      }
    } else {
#if defined(_OPENMP)
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
      for (index_t i = 0; i < count; ++i) {
        train(i, *slots_[static_cast<std::size_t>(omp_get_thread_num())]);
      }
#endif
    }
    if (failure) {
      std::rethrow_exception(failure);
    }
    return reports;
  }

  /// Epochs that the branches of the last round have trained: those that were planned, but no less
  /// than a step.
  [[nodiscard]] double trained() const { return trained_; }

 private:
  /// What a thread needs to train any branch.
  struct slot {
    explicit slot(const branch_trainer& owner)
        : tape(owner.device_),
          gradient(owner.device_, owner.model_.theta().size()),
          judge(owner.device_, owner.model_, owner.inputs_, owner.labels_, owner.target_) {
      limit_memory(tape, owner.options_);
    }
    graph::tape<B> tape;
    backend::buffer<B> gradient;
    target_judge<B, Model> judge;
    std::vector<index_t> rows;
    std::vector<graph::var<B>> scalars;
    std::vector<double> values;
    std::vector<graph::seed<B>> seeds;
    std::vector<std::size_t> counted;  // the tasks whose losses count in this step
  };

  /// What stays of a branch from round to round.
  struct state {
    std::vector<index_t> tasks;  // positions in the selection, of weight above 0
    std::optional<batch_recorder<B, Model>> record;
    std::vector<range> trainable;
    std::optional<row_cursor> together;  // rows with a label of any of its tasks
    std::vector<row_cursor> alone;       // rows of each of its tasks
    std::unique_ptr<optimizer_state<B>> optimizer;
    backend::buffer<B> best;
    double best_score = -std::numeric_limits<double>::infinity();

    [[nodiscard]] bool trains_nothing() const { return tasks.empty(); }
  };

  state& prepare(const branch& b, bool keep_optimizer) {
    require(b.weights.size() == tasks_.numbers.size(), "weighting",
            "branch '{}' has {} weights for {} tasks", b.name, b.weights.size(),
            tasks_.numbers.size());
    require(b.draw.empty() || b.draw.size() == b.weights.size(), "weighting",
            "branch '{}' draws with {} probabilities for {} tasks", b.name, b.draw.size(),
            b.weights.size());
    for (const double p : b.draw) {
      require(std::isfinite(p) && p >= 0, "weighting",
              "branch '{}' draws a task with probability {}", b.name, p);
    }
    std::vector<index_t> active;
    for (std::size_t t = 0; t < b.weights.size(); ++t) {
      require(std::isfinite(b.weights[t]), "weighting", "branch '{}' gives task '{}' the weight {}",
              b.name, tasks_.names[t], b.weights[t]);
      if (b.weights[t] != 0) {
        active.push_back(static_cast<index_t>(t));
      }
    }
    state& s = states_[b.name];
    if (!s.record || s.tasks != active) {
      s.tasks = active;
      // Alignment compares all tasks: then all are recorded, whichever the branch trains.
      std::vector<index_t> recorded = active;
      if (aligned) {
        recorded.resize(tasks_.numbers.size());
        std::iota(recorded.begin(), recorded.end(), index_t{0});
      }
      s.record.emplace(model_, inputs_, labels_, tasks_.at(recorded));
      s.trainable = ranges_of(recorded);
      s.alone.clear();
      std::vector<index_t> any;
      for (const index_t t : active) {
        const auto& rows = labels_.rows_of_task()[column(t)];
        s.alone.emplace_back(rows, stream(b.name, tasks_.names[static_cast<std::size_t>(t)]));
        any.insert(any.end(), rows.begin(), rows.end());
      }
      std::ranges::sort(any);
      any.erase(std::unique(any.begin(), any.end()), any.end());
      s.together.emplace(any, stream(b.name, "together"));
    }
    if (!s.optimizer || !keep_optimizer) {
      s.optimizer = optimizer_.state(device_, model_.theta().size());
    }
    return s;
  }

  [[nodiscard]] std::size_t column(index_t position) const {
    return static_cast<std::size_t>(tasks_.columns[static_cast<std::size_t>(position)]);
  }

  [[nodiscard]] random_stream stream(const std::string& branch, const std::string& what) const {
    return random_stream{options_.seed, name_hash("branch")}
        .fork(name_hash(branch))
        .fork(name_hash(what));
  }

  // A batch larger than the rows of a branch holds all of them.
  [[nodiscard]] double epochs_of_step(const state& s) const {
    const auto rows = std::max<index_t>(1, s.together->size());
    return static_cast<double>(std::min(options_.batch, rows)) / static_cast<double>(rows);
  }
  [[nodiscard]] index_t steps_of(const state& s, double epochs) const {
    return std::max<index_t>(1, std::llround(epochs / epochs_of_step(s)));
  }

  /// Trainable parameters of the trunk and of these tasks' own modules.
  [[nodiscard]] std::vector<range> ranges_of(std::span<const index_t> recorded) const {
    std::vector<std::string> prefixes{"trunk/"};
    for (const index_t t : recorded) {
      prefixes.push_back(model_.prefix(tasks_.numbers[static_cast<std::size_t>(t)]));
    }
    return trainable_ranges(model_.theta(), [&](const std::string& name) {
      return std::ranges::any_of(prefixes, [&](const auto& p) { return name.starts_with(p); });
    });
  }

  /// The rows of the next batch; returns the position, among the branch's tasks, of the task that
  /// alone counts for it, or -1 for all.
  index_t next_rows(const branch& b, state& s, double chance, std::vector<index_t>& rows) {
    rows.clear();
    if (!b.draw.empty()) {
      double total = 0;
      for (const index_t t : s.tasks) {
        total += b.draw[static_cast<std::size_t>(t)];
      }
      double below = chance * total;
      std::size_t k = 0;
      while (k + 1 < s.tasks.size() && below >= b.draw[static_cast<std::size_t>(s.tasks[k])]) {
        below -= b.draw[static_cast<std::size_t>(s.tasks[k++])];
      }
      s.alone[k].take(std::min(options_.batch, s.alone[k].size()), rows);
      return static_cast<index_t>(k);
    }
    if (options_.balanced && s.tasks.size() > 1) {
      const auto tasks = static_cast<index_t>(s.tasks.size());
      const index_t batch = std::min(options_.batch, s.together->size());
      for (index_t k = 0; k < tasks; ++k) {
        s.alone[static_cast<std::size_t>(k)].take(batch / tasks + (k < batch % tasks ? 1 : 0),
                                                  rows);
      }
    } else {
      s.together->take(std::min(options_.batch, s.together->size()), rows);
    }
    return -1;
  }

  branch_report train_branch(const round_plan& plan, const branch& b, state& s, slot& with,
                             index_t round, flat_view theta, index_t steps, double from,
                             double to) {
    branch_report report;
    report.loss_totals.resize(tasks_.numbers.size());
    report.steps.resize(tasks_.numbers.size());
    const bool scored = plan.result != branch_result::last;
    const auto scorings = scored ? std::max<index_t>(1, static_cast<index_t>(plan.scorings)) : 0;
    index_t scorings_done = 0;
    if (plan.result == branch_result::best_of_round) {
      s.best_score = -std::numeric_limits<double>::infinity();
    }
    with.tape.bind(model_.theta().segments(), theta);
    const random_stream chances = stream(b.name, "steps").fork(static_cast<std::uint64_t>(round));
    for (index_t i = 0; i < steps; ++i) {
      const random_stream chance = chances.fork(static_cast<std::uint64_t>(i));
      const index_t only = next_rows(b, s, chance.uniform(0), with.rows);
      if (!train_step(b, s, with, chance, only, theta,
                      from + (to - from) * static_cast<double>(i) / static_cast<double>(steps),
                      report)) {
        report.failure += formatted(" in round {}, step {}", round + 1, i + 1);
        return report;
      }
      if (interrupt_guards > 0 && interrupted()) {
        return report;
      }
      if (scored && (i + 1) * scorings / steps > scorings_done) {
        ++scorings_done;
        const double score = with.judge.judge(theta, development_).score;
        if (score > s.best_score) {
          s.best_score = score;
          if (s.best.view().size == 0) {
            s.best = backend::buffer<B>(device_, theta.size);
          }
          copy(theta, s.best.view());
        }
      }
    }
    if (scored && std::isfinite(s.best_score)) {
      copy(s.best.view(), theta);
      report.score = s.best_score;
    }
    return report;
  }

  /// False, with the failure in the report, when a loss is not finite.
  bool train_step(const branch& b, state& s, slot& with, const random_stream& chance, index_t only,
                  flat_view theta, double progress, branch_report& report) {
    with.tape.begin(graph::mode::training, chance.fork(1));
    const auto losses = (*s.record)(with.tape, with.rows, aligned);
    with.scalars.clear();
    with.seeds.clear();
    with.counted.clear();
    for (std::size_t k = 0; k < s.tasks.size(); ++k) {
      const auto t = static_cast<std::size_t>(s.tasks[k]);
      const std::size_t at = aligned ? t : k;
      if (losses.present[at] && (only < 0 || only == static_cast<index_t>(k))) {
        with.scalars.push_back(losses.tasks[at]);
        with.seeds.push_back({losses.tasks[at], b.draw.empty() ? b.weights[t] : 1.0, 0});
        with.counted.push_back(t);
      }
    }
    if (losses.alignment) {
      with.scalars.push_back(losses.alignment);
      with.seeds.push_back({losses.alignment, 1.0, 0});
    }
    with.values.resize(with.scalars.size());
    with.tape.read(with.scalars, with.values);
    for (std::size_t i = 0; i < with.values.size(); ++i) {
      const bool of_task = i < with.counted.size();
      if (!std::isfinite(with.values[i])) {
        report.failure =
            formatted("branch '{}': the loss of {} is not finite", b.name,
                      of_task ? "task '" + tasks_.names[with.counted[i]] + "'" : "the alignment");
        return false;
      }
      if (of_task) {
        report.loss_totals[with.counted[i]] += with.values[i];
        ++report.steps[with.counted[i]];
      } else {
        report.alignment_total += with.values[i];
        ++report.aligned_steps;
      }
    }
    with.tape.backward(with.seeds, with.gradient.row());
    report.step_bytes = with.tape.most_taken();
    double scale = 1;
    if (options_.clip_norm > 0) {
      const double norm = std::sqrt(device_.squared_norm(with.gradient.view()));
      scale = norm > options_.clip_norm ? options_.clip_norm / norm : 1.0;
    }
    const double rate = options_.schedule ? options_.schedule(progress) : 1.0;
    s.optimizer->step(theta, with.gradient.view(), scale, rate, s.trainable);
    return true;
  }

  void copy(flat_view from, flat_view to) const {
    device_.copy(scalar{1}, matrix_view<const scalar, space>(from.data, 1, from.size),
                 matrix_view<scalar, space>(to.data, 1, to.size), false);
  }

  const B& device_;
  const Model& model_;
  const typename Model::input_set& inputs_;
  const label_table& labels_;
  const task_selection& tasks_;
  const task_selection& target_;
  std::span<const index_t> development_;
  const training& options_;
  const any_optimizer<B>& optimizer_;
  std::map<std::string, state> states_;
  double trained_ = 0;
  std::vector<std::unique_ptr<slot>> slots_;
};

}  // namespace vierbein::detail
