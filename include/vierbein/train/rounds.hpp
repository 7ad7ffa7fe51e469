// Training in rounds: branches train from the same parameters, a policy combines their updates.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "vierbein/train/branches.hpp"
#include "vierbein/train/callbacks.hpp"
#include "vierbein/train/history.hpp"

namespace vierbein::detail {

/// Parameters θ, the updates δ_i of a round's branches, and the target's judge: what a policy asks
/// about. Everything stays in the backend's memory.
template <Backend B, class Model>
class round_oracle final : public update_oracle {
 public:
  using scalar = typename B::scalar;
  using space = typename B::space;
  using flat_view = array_view<scalar, space>;

  round_oracle(const B& device, target_judge<B, Model>& judge, development_rows& rows, index_t size)
      : device_(device),
        judge_(judge),
        rows_(rows),
        base_(device, size),
        point_(device, size),
        gradient_(device, size) {}

  /// Room for the results of so many branches; row i is branch i's.
  matrix_view<scalar, space> results(index_t branches) {
    if (branches != branches_) {
      branches_ = branches;
      updates_ = backend::buffer<B>(device_, branches * size());
      alpha_ = backend::buffer<B>(device_, branches);
      slope_ = backend::buffer<B>(device_, branches);
      host_.resize(static_cast<std::size_t>(branches));
    }
    return updates();
  }

  /// Turns results into updates δ_i = θ_i - θ. What is known of θ need not be judged again.
  void begin(flat_view theta, const std::optional<verdict>& of_theta) {
    judged_.clear();
    if (of_theta) {
      judged_.push_back({std::vector<double>(branches(), 0.0), *of_theta});
    }
    copy(theta, base_.view(), scalar{1}, false);
    for (index_t i = 0; i < branches_; ++i) {
      copy(theta, update(i), scalar{-1}, true);
    }
  }

  [[nodiscard]] flat_view update(index_t i) const {
    return {updates().row_range(i, 1).data, size()};
  }
  [[nodiscard]] double update_norm(index_t i) const {
    return std::sqrt(device_.squared_norm(update(i)));
  }

  /// What branch i has done to these parameters is taken over as it is, whatever α will be.
  void keep(index_t i, std::span<const range> ranges) {
    judged_.clear();
    for (const range& r : ranges) {
      const flat_view part = update(i).range(r.offset, r.size);
      copy(part, base_.view().range(r.offset, r.size), scalar{1}, true);
      device_.fill(matrix_view<scalar, space>(part.data, 1, part.size), scalar{0});
    }
  }

  /// θ + Σ α_i δ_i
  flat_view at(std::span<const double> alpha) {
    require(std::ssize(alpha) == branches_, "weighting", "{} coefficients for {} branches",
            alpha.size(), branches_);
    for (std::size_t i = 0; i < alpha.size(); ++i) {
      require(std::isfinite(alpha[i]), "weighting", "the coefficient of branch {} is {}", i + 1,
              alpha[i]);
      host_[i] = static_cast<scalar>(alpha[i]);
    }
    alpha_.assign(device_, {host_.data(), branches_});
    copy(base_.view(), point_.view(), scalar{1}, false);
    multiply(backend::transposition::nn, alpha_.row(), updates(), point_.row(), true);
    return point_.view();
  }

  [[nodiscard]] std::size_t branches() const override {
    return static_cast<std::size_t>(branches_);
  }
  [[nodiscard]] std::size_t batches() const override { return rows_.batches(); }

  double loss(std::span<const double> alpha, std::size_t batch, std::span<double> slope) override {
    require(batch < rows_.batches(), "weighting", "development batch {} of {}", batch,
            rows_.batches());
    if (slope.empty()) {
      return judge_.loss(at(alpha), rows_.batch(batch));
    }
    require(slope.size() == alpha.size(), "weighting", "{} slopes for {} branches", slope.size(),
            alpha.size());
    const double value = judge_.loss(at(alpha), rows_.batch(batch), gradient_.view());
    multiply(backend::transposition::nt, gradient_.row(), updates(), slope_.row(), false);
    slope_.copy_to(device_, {host_.data(), branches_});
    std::copy(host_.begin(), host_.end(), slope.begin());
    return value;
  }
  double loss(std::span<const double> alpha) override { return judge(alpha).loss; }
  double score(std::span<const double> alpha) override { return judge(alpha).score; }

  /// On all development rows. Points of this round that were judged before are remembered.
  verdict judge(std::span<const double> alpha) {
    for (const judged& j : judged_) {
      if (std::ranges::equal(j.alpha, alpha)) {
        return j.result;
      }
    }
    judged_.push_back({{alpha.begin(), alpha.end()}, judge_.judge(at(alpha), rows_.all())});
    return judged_.back().result;
  }

 private:
  struct judged {
    std::vector<double> alpha;
    verdict result;
  };

  [[nodiscard]] index_t size() const { return base_.view().size; }
  [[nodiscard]] matrix_view<scalar, space> updates() const {
    return {updates_.view().data, branches_, size()};
  }
  void copy(flat_view from, flat_view to, scalar factor, bool accumulate) const {
    device_.copy(factor, matrix_view<const scalar, space>(from.data, 1, from.size),
                 matrix_view<scalar, space>(to.data, 1, to.size), accumulate);
  }
  void multiply(backend::transposition kind, matrix_view<const scalar, space> a,
                matrix_view<const scalar, space> b, matrix_view<scalar, space> c,
                bool accumulate) const {
    const backend::product<scalar, space> p{a, b, c};
    device_.multiply(kind, {&p, 1}, accumulate);
  }

  const B& device_;
  target_judge<B, Model>& judge_;
  development_rows& rows_;
  index_t branches_ = 0;
  backend::buffer<B> base_, point_, gradient_, updates_, alpha_, slope_;
  std::vector<scalar> host_;
  std::vector<judged> judged_;
};

/// Why the round cannot be used: the first branch that failed. Empty when it can.
template <class Oracle>
std::string failure_of(const round_plan& plan, std::span<const branch_report> reports,
                       const Oracle& oracle, index_t round, double largest_update) {
  for (std::size_t i = 0; i < reports.size(); ++i) {
    if (!reports[i].failure.empty()) {
      return reports[i].failure;
    }
    const double norm = oracle.update_norm(static_cast<index_t>(i));
    if (!(norm <= largest_update)) {
      return formatted(
          "branch '{}': its update in round {} has the norm {:.3g}, where {:.3g} is the limit",
          plan.branches[i].name, round + 1, norm, largest_update);
    }
  }
  return {};
}

/// Takes over, as it is, what a task's one branch has done to the task's own parameters.
template <class Model, class Oracle>
void keep_own_modules(const round_plan& plan, const Model& model, const task_selection& tasks,
                      Oracle& oracle) {
  for (std::size_t t = 0; t < tasks.numbers.size(); ++t) {
    index_t trained_by = -1;
    index_t count = 0;
    for (std::size_t i = 0; i < plan.branches.size(); ++i) {
      if (plan.branches[i].weights[t] != 0) {
        trained_by = static_cast<index_t>(i);
        ++count;
      }
    }
    if (count == 1) {
      const std::string own = model.prefix(tasks.numbers[t]);
      oracle.keep(trained_by, trainable_ranges(model.theta(), [&](const std::string& name) {
                    return name.starts_with(own);
                  }));
    }
  }
}

/// What the branches did, task by task, into the record of a round.
inline void summarise(const round_plan& plan, std::span<const branch_report> reports,
                      std::span<const double> alpha, std::size_t tasks, epoch_record& record) {
  double alignment = 0;
  double aligned_steps = 0;
  for (const branch_report& r : reports) {
    alignment += r.alignment_total;
    aligned_steps += static_cast<double>(r.aligned_steps);
  }
  if (aligned_steps > 0) {
    record.alignment_loss = alignment / aligned_steps;
  }
  double seen = 0;
  for (std::size_t t = 0; t < tasks; ++t) {
    double total = 0;
    double steps = 0;
    for (const branch_report& r : reports) {
      total += r.loss_totals[t];
      steps += static_cast<double>(r.steps[t]);
    }
    record.task_losses.push_back(steps > 0 ? total / steps
                                           : std::numeric_limits<double>::quiet_NaN());
    record.train_loss += steps > 0 ? total / steps : 0;
    seen += steps > 0 ? 1 : 0;
  }
  record.train_loss /= std::max(seen, 1.0);
  for (std::size_t i = 0; i < plan.branches.size(); ++i) {
    record.branches.push_back({plan.branches[i].name, alpha[i]});
  }
}

/// The rounds of run_rounds. `best` becomes the parameters of the best one so far, that of
/// result.best_epoch.
template <Backend B, class Model, class Weighting>
void train_rounds(const B& device, const Model& model, const typename Model::input_set& inputs,
                  const label_table& labels, const task_selection& tasks,
                  std::span<const index_t> validation, const training& options,
                  const any_optimizer<B>& optimizer, Weighting& weighting,
                  callback::group& callbacks, history& result,
                  aligned_vector<typename Model::scalar>& best) {
  using T = typename Model::scalar;
  using flat_view = array_view<T, typename B::space>;
  constexpr const char* place = "weighting";
  weighting::reset(weighting, tasks.names);
  const index_t where[] = {
      static_cast<index_t>(weighting::find_target(tasks.names, weighting.target, place))};
  const task_selection target = tasks.at(where);
  development_rows development(labels, static_cast<std::size_t>(target.columns[0]),
                               weighting.target, validation, place);

  const auto& theta = model.theta();
  backend::buffer<B> on_device(device, theta.size());
  on_device.assign(device, theta.values());
  const flat_view now = on_device.view();
  target_judge<B, Model> judge(device, model, inputs, labels, target);
  round_oracle<B, Model> oracle(device, judge, development, theta.size());
  branch_trainer<B, Model> branches(device, model, inputs, labels, tasks, target, development.all(),
                                    options, optimizer);

  std::optional<interrupt_guard> guard;
  if (options.handle_interrupts) {
    guard.emplace();
  }
  result.task_names = tasks.names;
  progress_info info;
  info.steps = 1000;  // parts of an epoch, as fine as rounds may be
  info.epochs = options.epochs;
  info.tasks = tasks.names;
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  callbacks.on_begin(info);

  const auto total = static_cast<double>(options.epochs);
  best.resize(static_cast<std::size_t>(theta.size()));
  on_device.copy_to(device, {best.data(), theta.size()});
  verdict best_verdict = verdict::worst();
  std::optional<verdict> known;  // of the present parameters
  double done = 0;
  bool go_on = true;
  std::string first_failure;
  constexpr int most_failures = 10;  // in a row: nothing better is to be expected then
  int failures = 0;
  round_plan plan;
  std::vector<double> alpha;
  for (index_t round = 0; go_on && done < total - 1e-9; ++round) {
    const double round_start = elapsed();
    plan = {};
    weighting.plan(plan);
    require(!plan.branches.empty() && plan.epochs > 0, place,
            "the plan of round {} has {} branches that train {} epochs; expected at least one and "
            "more than none",
            round + 1, plan.branches.size(), plan.epochs);
    const auto count = static_cast<index_t>(plan.branches.size());
    plan.epochs = std::min(plan.epochs, plan.rehearsal ? total : total - done);
    development.shuffle(random_stream{options.seed, name_hash("development")}.fork(
        static_cast<std::uint64_t>(round)));
    const auto results = oracle.results(count);
    const auto reports = branches.run(plan, round, now, results, done / total, total);
    if (interrupt_guards > 0 && interrupted()) {
      result.interrupted = true;
      break;
    }

    epoch_record record;
    record.epoch = round + 1;
    for (const branch_report& r : reports) {
      result.step_bytes = std::max(result.step_bytes, r.step_bytes);
    }
    oracle.begin(now, known);
    record.note =
        failure_of(plan, reports, oracle, round,
                   options.largest_update * std::max(1.0, std::sqrt(device.squared_norm(now))));
    alpha.assign(plan.branches.size(), 0.0);
    if (record.note.empty()) {
      if (!plan.scale_own_modules && !plan.rehearsal) {
        keep_own_modules(plan, model, tasks, oracle);
      }
      weighting.combine(oracle, alpha);
      const flat_view combined = oracle.at(alpha);
      device.copy(T{1}, matrix_view<const T, typename B::space>(combined.data, 1, combined.size),
                  on_device.row(), false);
    } else {
      first_failure = first_failure.empty() ? record.note : first_failure;
      record.note += options.on_failed_round == failed_round::discard ? "; the round is discarded"
                                                                      : "; the training ends";
      go_on = options.on_failed_round == failed_round::discard && ++failures < most_failures;
    }
    failures = record.note.empty() ? 0 : failures;
    done = plan.rehearsal ? done : std::min(done + branches.trained(), total);

    summarise(plan, reports, alpha, tasks.names.size(), record);
    record.weights.resize(tasks.names.size());
    weighting.worth(record.weights);
    record.learning_rate =
        optimizer.learning_rate() * (options.schedule ? options.schedule(done / total) : 1.0);
    const verdict result_now =
        record.note.empty() ? oracle.judge(alpha) : judge.judge(now, development.all());
    known = result_now;
    record.validation_loss = result_now.loss;
    record.validation_score = result_now.score;
    if (result_now.better(best_verdict, options.best) && record.note.empty()) {
      best_verdict = result_now;
      result.best_epoch = round + 1;
      on_device.copy_to(device, {best.data(), theta.size()});
    }
    record.seconds = elapsed() - round_start;
    result.epochs.push_back(std::move(record));
    info.elapsed = elapsed();
    info.epoch = static_cast<index_t>(done + 1e-9);
    info.step = static_cast<index_t>((done + 1e-9 - std::floor(done + 1e-9)) * 1000);
    info.left = done > 0 ? info.elapsed * (total / done - 1) : info.left;
    info.loss = result.epochs.back().validation_loss;
    go_on = callbacks.on_epoch(result, info) && go_on;
  }
  if (!result.interrupted && result.best_epoch == 0) {
    throw error("training", formatted("no round could be used: {}", first_failure));
  }
}

/// Trains a model in rounds, as an update_based policy has it. The parameters of the round with the
/// target's best verdict on the development rows are kept, also when a device fails in a later one.
/// `options.epochs` counts what a branch trains.
template <Backend B, class Model, class Weighting>
history run_rounds(const B& device, Model& model, const typename Model::input_set& inputs,
                   const label_table& labels, const task_selection& tasks,
                   std::span<const index_t> validation, const training& options,
                   const any_optimizer<B>& optimizer, Weighting& weighting,
                   callback::group& callbacks) {
  history result;
  aligned_vector<typename Model::scalar> best;
  try {
    train_rounds(device, model, inputs, labels, tasks, validation, options, optimizer, weighting,
                 callbacks, result, best);
  } catch (device_error& failure) {
    if (result.best_epoch > 0) {
      model.theta().restore(best);
      failure.keep(result.best_epoch);
    }
    throw;
  }
  model.theta().restore(best);
  callbacks.on_end(result);
  return result;
}

}  // namespace vierbein::detail
