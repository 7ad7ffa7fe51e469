// Examines a weighting policy: does it answer whatever may come, and does it keep what it claims?
//
// Requirements. A policy of the kind loss_based, gram_based or gradient_based, as described at the
// head of weighting/concept.hpp, copyable. What it claims it says in a member
// `weighting_traits traits() const` (weighting/traits.hpp); a claim that is not made is not
// checked.
//
// Signature.
//     weighting_report check_weighting(policy, weighting_checks options = {});
// The report is true when nothing was found; printed, it says what failed, with the smallest
// example that still does. No test framework is needed; in doctest, CHECK prints the report.
//
// Example (with vierbein/weighting/tools.hpp).
//     struct inverse_loss {                                   // w_t = 1 / ℓ_t
//       using weighting_kind = vierbein::loss_based;
//       std::vector<std::string> names = {};
//       void reset(const std::vector<std::string>& task_names) { names = task_names; }
//       void weigh(vierbein::losses l, vierbein::weights w) const {
//         vierbein::weighting::require_above(l, 0, names, "inverse_loss");
//         for (std::size_t t = 0; t < l.size(); ++t) {
//           w[t] = l.has(t) ? 1 / l[t] : 0;
//         }
//       }
//       vierbein::weighting::weighting_traits traits() const {
//         return {.permutation_invariant = true, .linear_under_scaling = true};
//       }
//     };
//     TEST_CASE("inverse_loss conforms") { CHECK(check_weighting(inverse_loss{})); }
//
// Program. For every policy:
//   finite answers   on gradients of every kind of stationarity, of rank below T, zero, equal,
//                    opposed, with a row of zeros, of lengths 1e-12 to 1e12; losses of 1e-12 to
//                    1e12; T = 1; P = 0; no task at all; at the first call and after a few steps.
//                    Where a loss is 0 or there is no task, a vierbein::error may be thrown instead
//   not a number     a loss or a gradient that is NaN or infinite is refused by a vierbein::error
//                    that names the task, unless the answer does not depend on it; one that is
//                    observed after the step is refused likewise or leaves no trace
//   unused losses    where it says so (uses_losses), the answer does not depend on the losses
//   unseen gradients where it says so (looks_at), the answer does not depend on the gradients
//   absent tasks     what stands in the place of a task that the batch has no label of changes no
//                    other task's weight, and is never refused, nor is an epoch without its labels
//   reset            makes the next answer the first again; a copy goes its own way; another number
//                    of tasks without reset is refused or answered, and answered rightly after it
//   float            gradients in single precision give nearly the same d
//   both verbs       where a policy offers weigh and combine, they agree
//   objective        where it has `double objective(losses) const`, w_t = ∂objective/∂ℓ_t
//   certificate      where it has a `last()` with a member `residual`, that is small where
//   gradients
//                    are independent; for others `converged` may be false
//   golden values    those given in the options
//   allocations      none once a policy is warm; needs testing/allocation_counter.hpp in one
//                    translation unit of the program
// and for the traits that it declares, each on many matrices:
//   non-conflicting, permutation invariant, linear under scaling, homogeneous, scale, strongly
//   stationary, convex weights
//                    as weighting/traits.hpp defines them; convex weights also after some steps
//   no memory        (where `stateful` is false) an answer does not depend on earlier calls
//   descent          (non-conflicting, degree 1) a small step makes no task of three toy problems
//                    worse (testing/pareto_tasks.hpp)
//   convergence      (strongly stationary, degree 1, neither memory nor random numbers) descent
//                    ends in the strong Pareto set of the toy problems
// Where the answer to an example is not finite, or an error, that is a matter of `finite answers`
// alone, and nothing else is asked about the example.
// A violation is measured relative to Σ_t |w_t| ‖g_t‖, the length of d before anything cancels.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <exception>
#include <functional>
#include <iterator>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/core/matrix.hpp"
#include "vierbein/core/random.hpp"
#include "vierbein/testing/allocation_tally.hpp"
#include "vierbein/testing/gradient_matrices.hpp"
#include "vierbein/testing/pareto_tasks.hpp"
#include "vierbein/testing/weighting_example.hpp"
#include "vierbein/testing/weighting_report.hpp"
#include "vierbein/testing/weighting_subject.hpp"

namespace vierbein::testing {

/// An answer that is known.
struct weighting_golden {
  std::vector<std::vector<double>> j = {};  ///< rows of J (T, P)
  std::vector<double> losses = {};          ///< (T), or empty for ones
  std::vector<double> weights = {};         ///< (T) expected, or
  std::vector<double> direction = {};       ///< (P) expected d
  int call = 1;                             ///< at the first call, or the second, ...
  double tolerance = 1e-4;                  ///< absolute; published values have four digits
};

struct weighting_checks {
  std::uint64_t seed = 1;
  std::size_t fewest_tasks = 1;  ///< with fewer the policy is not asked
  std::size_t most_tasks = 5;
  double tolerance = 1e-6;        ///< relative violation that a claimed property may have
  double float_tolerance = 1e-4;  ///< relative difference that single precision may make
  bool measure_all = false;       ///< measure the properties that are not claimed too
  std::vector<weighting_golden> golden = {};
};

namespace detail {

class weighting_examination {
 public:
  /// `observes` says whether the policy has a member `observe`.
  weighting_examination(const weighting_subject& subject, weighting_checks options, bool observes)
      : subject_(subject),
        o_(std::move(options)),
        observes_(observes),
        examples_(make_examples()) {}

  weighting_report operator()() {
    finite_answers();
    not_a_number();
    unused_losses();
    unseen_gradients();
    absent_tasks();
    properties();
    both_verbs();
    state();
    trajectories();
    single_precision();
    certificate();
    golden();
    objective();
    allocations();
    return std::move(report_);
  }

 private:
  using traits_type = weighting::weighting_traits;
  static constexpr double infinity = std::numeric_limits<double>::infinity();
  static constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  static constexpr int some_steps = 3;
  static constexpr std::ptrdiff_t margin = 4;  // watched elements beyond an answer

  // Which tasks a batch has labels of.
  class mask {
   public:
    explicit mask(std::size_t size, bool value = true)
        : data_(std::make_unique<bool[]>(size)), size_(size) {
      std::fill_n(data_.get(), size, value);
    }
    bool& operator[](std::size_t t) { return data_[t]; }
    [[nodiscard]] std::span<const bool> view() const { return {data_.get(), size_}; }

   private:
    std::unique_ptr<bool[]> data_;
    std::size_t size_;
  };

  struct answer {
    std::vector<double> w;  // (T), empty where the policy answers a direction
    std::vector<double> d;  // (P)
    double size = 0;        // Σ |w_t| ‖g_t‖, or ‖J‖ where there are no weights
    bool beyond = false;    // whether more elements were assigned than there are

    [[nodiscard]] const std::vector<double>& own() const { return w.empty() ? d : w; }
    [[nodiscard]] bool finite() const {
      return std::ranges::all_of(own(), [](double x) { return std::isfinite(x); });
    }
  };

  // What a check says about one example: a violation, and a sentence where it is too great.
  struct finding {
    double violation = 0;
    std::string problem = {};
  };
  using measure = std::function<finding(const weighting_example&)>;

  // ---- examples

  [[nodiscard]] std::vector<std::string> names_of(std::size_t tasks) const {
    std::vector<std::string> names;
    for (std::size_t t = 0; t < tasks; ++t) {
      names.push_back(t == 0 && subject_.target ? *subject_.target
                                                : "task " + std::to_string(t + 1));
    }
    return names;
  }

  [[nodiscard]] weighting_example example(std::string kind, matrix<double> j) const {
    weighting_example e;
    e.kind = std::move(kind);
    const auto tasks = static_cast<std::size_t>(j.rows());
    e.names = names_of(tasks);
    const random_stream numbers{o_.seed, name_hash(e.kind)};
    for (std::size_t t = 0; t < tasks; ++t) {
      e.losses.push_back(0.5 + 1.5 * numbers.uniform(t));
    }
    e.j = std::move(j);
    e.seed = o_.seed;
    return e;
  }

  [[nodiscard]] matrix<double> independent_rows(std::size_t tasks, std::size_t parameters,
                                                std::uint64_t which) const {
    matrix<double> j(static_cast<index_t>(tasks), static_cast<index_t>(parameters));
    const random_stream numbers = random_stream{o_.seed, name_hash("rows")}.fork(which);
    for (index_t i = 0; i < j.size(); ++i) {
      j.data()[i] = numbers.normal(static_cast<std::uint64_t>(i));
    }
    return j;
  }

  // The numbers of tasks that are tried.
  [[nodiscard]] std::vector<std::size_t> sizes() const {
    std::vector<std::size_t> all;
    const std::size_t most = std::max(o_.most_tasks, o_.fewest_tasks);
    for (const std::size_t t :
         {std::size_t{1}, std::size_t{2}, std::size_t{3}, o_.fewest_tasks, most}) {
      if (t >= o_.fewest_tasks && t <= most && std::ranges::find(all, t) == all.end()) {
        all.push_back(t);
      }
    }
    return all;
  }

  // Seeded matrices of every kind, each with several shapes and ranks.
  [[nodiscard]] std::vector<weighting_example> make_examples() const {
    std::vector<weighting_example> all;
    std::uint64_t which = 0;
    for (const std::size_t tasks : sizes()) {
      const auto rows = static_cast<index_t>(tasks);
      for (const stationarity kind : every_stationarity) {
        for (const index_t columns : {2 * rows + 1, rows, std::max<index_t>(rows - 1, 1)}) {
          const index_t largest = largest_rank(kind, rows, columns);
          for (const index_t rank : {largest, largest / 2}) {
            if (rank >= 1) {
              const random_stream stream{o_.seed, ++which};
              all.push_back(
                  example(fmt::format("{}, {} x {} of rank {}", name(kind), rows, columns, rank),
                          gradient_matrix(kind, rows, columns, rank, stream)));
              all.back().seed = o_.seed + which;
            }
          }
        }
      }
      all.push_back(example(fmt::format("independent rows, {} tasks", tasks),
                            independent_rows(tasks, 4 * tasks, ++which)));
    }
    return all;
  }

  // Those that only an answer is asked of.
  [[nodiscard]] std::vector<weighting_example> hard_examples() const {
    std::vector<weighting_example> all = examples_;
    std::ranges::move(few_examples(), std::back_inserter(all));
    for (const std::size_t tasks : sizes()) {
      const matrix<double> j = independent_rows(tasks, tasks + 2, 77);
      for (const double s : {1e-12, 1e-6, 1e6, 1e12}) {
        all.push_back(example(fmt::format("gradients times {}", s), scaled(j, s)));
        all.push_back(example(fmt::format("losses times {}", s), j));
        for (double& l : all.back().losses) {
          l *= s;
        }
      }
      all.push_back(example("zero", scaled(j, 0)));
      all.push_back(example("no parameters", matrix<double>(j.rows(), 0)));
      auto e = example("equal gradients", j);
      auto opposed = example("opposed gradients", j);
      auto zero_row = example("one gradient of zero", j);
      for (index_t t = 0; t < j.rows(); ++t) {
        for (index_t p = 0; p < j.cols(); ++p) {
          e.j(t, p) = j(0, p);
          opposed.j(t, p) = t % 2 == 0 ? j(0, p) : -j(0, p);
          zero_row.j(t, p) *= t + 1 == j.rows() ? 0 : 1;
        }
      }
      all.push_back(std::move(e));
      all.push_back(std::move(opposed));
      all.push_back(std::move(zero_row));
      e = example("lengths from 1e-6 to 1e6", j);
      std::vector<double> factors(tasks);
      for (std::size_t t = 0; t < tasks; ++t) {
        factors[t] = t % 2 == 0 ? 1e-6 : 1e6;
      }
      all.push_back(e.rows_times(factors));
    }
    return all;
  }

  // ---- asking

  // One call. An element that the policy does not assign stays NaN.
  static answer call(weighting_subject& s, const weighting_example& e,
                     std::span<const bool> present = {}) {
    answer a;
    const auto columns = static_cast<std::size_t>(e.j.cols());
    a.w.assign(e.tasks() + static_cast<std::size_t>(margin), nan);
    a.d.assign(columns + static_cast<std::size_t>(margin), nan);
    const matrix<double> g = gram_of(e.j);
    const losses l{e.losses, present};
    s.weigh(l, e.j.view(), g.view(), std::span(a.w).first(e.tasks()),
            std::span(a.d).first(columns));
    const auto assigned = [](double x) { return !std::isnan(x); };
    a.beyond = std::any_of(a.w.end() - margin, a.w.end(), assigned) ||
               std::any_of(a.d.end() - margin, a.d.end(), assigned);
    a.w.resize(e.tasks());
    a.d.resize(columns);
    if (s.answers_weights) {
      std::vector<double> w = a.w;
      for (std::size_t t = 0; t < w.size(); ++t) {
        w[t] = l.has(t) ? w[t] : 0.0;
      }
      a.d = combine(e.j, w);
    } else {
      a.w.clear();
    }
    for (std::size_t t = 0; t < e.tasks(); ++t) {
      const double length = norm_of(e.j.row(static_cast<index_t>(t)));
      a.size = s.answers_weights ? a.size + (l.has(t) ? std::abs(a.w[t]) * length : 0.0)
                                 : std::hypot(a.size, length);
    }
    return a;
  }

  // A few steps of training: losses and gradients vary by up to 15 % in a way that belongs to a
  // task's name, losses fall, and each step ends an epoch.
  static void live(weighting_subject& s, const weighting_example& e, int steps) {
    for (int k = 0; k < steps; ++k) {
      std::vector<double> factors(e.tasks());
      weighting_example now = e;
      for (std::size_t t = 0; t < e.tasks(); ++t) {
        const random_stream numbers{name_hash(e.names[t]), 5};
        factors[t] = 0.85 + 0.3 * numbers.uniform(static_cast<std::uint64_t>(k));
        now.losses[t] *= factors[t];
      }
      now = now.rows_times(factors);
      call(s, now);
      for (double& l : now.losses) {
        l *= 0.9;
      }
      s.observe({now.losses});
      s.end_epoch(now.losses);
    }
  }

  // The first answer after reset, or the one after some steps.
  [[nodiscard]] answer ask(const weighting_example& e, int steps = 0,
                           std::span<const bool> present = {}) const {
    const auto s = subject_.copy();
    s->reset(e.names);
    live(*s, e, steps);
    return call(*s, e, present);
  }

  static double difference(const std::vector<double>& a, const std::vector<double>& b) {
    double square = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      square += (a[i] - b[i]) * (a[i] - b[i]);
    }
    return std::sqrt(square);
  }
  // Whether two answers are the same, element by element; NaN is the same as NaN.
  static bool same(const std::vector<double>& a, const std::vector<double>& b) {
    return std::ranges::equal(
        a, b, [](double x, double y) { return x == y || (std::isnan(x) && std::isnan(y)); });
  }
  // A violation x relative to a size; 0 / 0 is none.
  static double relative(double x, double size) { return x == 0 ? 0.0 : x / size; }

  static std::string list(const std::vector<double>& x) {
    std::string s = "(";
    for (const double v : x) {
      s += s.size() > 1 ? ", " : "";
      s += std::isnan(v) ? "nan" : fmt::format("{:.6g}", v);  // without its sign
    }
    return s + ")";
  }

  // ---- running a check

  // A policy that throws, or whose answer is not finite, violates `finite answers` and nothing
  // else.
  enum class on_throw { skips, fails };

  finding measured(const measure& m, const weighting_example& e, on_throw how) const {
    try {
      if (how == on_throw::skips && !ask(e).finite()) {
        return finding{};
      }
      finding f = m(e);
      f.violation = std::isnan(f.violation) ? infinity : f.violation;
      return f;
    } catch (const std::exception& x) {
      return how == on_throw::fails ? finding{infinity, fmt::format("it throws: {}", x.what())}
                                    : finding{};
    }
  }

  void run(std::string name, bool claimed, double allowed,
           const std::vector<weighting_example>& examples, const measure& m,
           on_throw how = on_throw::skips) {
    weighting_check check{.name = std::move(name), .allowed = allowed};
    if (!claimed && !o_.measure_all) {
      check.verdict = weighting_verdict::not_claimed;
      report_.checks.push_back(std::move(check));
      return;
    }
    const weighting_example* worst = nullptr;
    for (const weighting_example& e : examples) {
      const finding f = measured(m, e, how);
      if (f.violation > check.worst) {
        check.worst = f.violation;
        worst = &e;
      }
    }
    check.measured = true;
    check.verdict = claimed ? weighting_verdict::held : weighting_verdict::not_claimed;
    if (claimed && check.worst > allowed) {
      check.verdict = weighting_verdict::failed;
      const weighting_example small = shrink(
          *worst,
          [&](const weighting_example& e) { return measured(m, e, how).violation > allowed; },
          o_.fewest_tasks, subject_.target.value_or(""));
      check.problem = measured(m, small, how).problem;
      check.example = small.text();
      if (!small.names.empty() && subject_.target) {
        check.example += fmt::format(", target {}", position(small, *subject_.target) + 1);
      }
      check.example += fmt::format(" (from: {})", worst->kind);
    }
    report_.checks.push_back(std::move(check));
  }

  static std::size_t position(const weighting_example& e, const std::string& name) {
    return static_cast<std::size_t>(std::ranges::find(e.names, name) - e.names.begin());
  }

  void add(std::string name, weighting_verdict verdict, std::string problem = {},
           std::string where = {}) {
    report_.checks.push_back({.name = std::move(name),
                              .verdict = verdict,
                              .problem = std::move(problem),
                              .example = std::move(where)});
  }

  // ---- for every policy

  void finite_answers() {
    auto examples = hard_examples();
    run(
        "finite answers", true, 0, examples,
        [&](const weighting_example& e) {
          for (const int steps : {0, some_steps}) {
            const answer a = ask(e, steps);
            if (!a.finite() || a.beyond) {
              return finding{1, fmt::format("it answers {}{} {}", list(a.own()),
                                            a.beyond ? " and writes beyond" : "", when(steps))};
            }
          }
          return finding{};
        },
        on_throw::fails);
    // What may be refused, but not by another exception or a wrong answer.
    weighting_check& check = report_.checks.back();
    std::vector<weighting_example> refusable;
    for (const std::size_t tasks : sizes()) {
      refusable.push_back(example("losses of 0", independent_rows(tasks, tasks + 2, 78)));
      refusable.back().losses.assign(tasks, 0.0);
    }
    if (!subject_.target && o_.fewest_tasks <= 1) {
      refusable.push_back(example("no task", matrix<double>(0, 3)));
    }
    for (const weighting_example& e : refusable) {
      std::string problem;
      try {
        const answer a = ask(e);
        problem = a.finite() && !a.beyond ? ""
                  : a.beyond              ? "it writes beyond its answer"
                                          : "it answers " + list(a.own());
      } catch (const error&) {
      } catch (const std::exception& x) {
        problem = fmt::format("it throws what is no vierbein::error: {}", x.what());
      }
      if (!problem.empty() && check.verdict == weighting_verdict::held) {
        check.verdict = weighting_verdict::failed;
        check.problem = problem;
        check.example = e.text();
      }
    }
  }

  static std::string when(int steps) {
    return steps == 0 ? "at the first call" : fmt::format("after {} steps", steps);
  }

  [[nodiscard]] std::vector<weighting_example> few_examples() const {
    std::vector<weighting_example> few;
    for (const std::size_t tasks : sizes()) {
      few.push_back(example(fmt::format("independent rows, {} tasks", tasks),
                            independent_rows(tasks, tasks + 2, 79)));
    }
    return few;
  }

  void not_a_number() {
    run("not a number", true, 0, few_examples(), [&](const weighting_example& e) {
      if (!ask(e, some_steps).finite()) {  // where that throws, nothing is asked further either
        return finding{};
      }
      for (std::size_t k = 0; k < e.tasks() && observes_; ++k) {
        finding f = observed(e, k);
        if (f.violation > 0) {
          return f;
        }
      }
      for (const int steps : {0, some_steps}) {
        for (std::size_t k = 0; k < e.tasks(); ++k) {
          for (const double poison : {nan, infinity}) {
            for (const bool in_loss : {true, false}) {
              if (in_loss || subject_.sees_gradients) {
                finding f = poisoned(e, k, poison, in_loss, steps);
                if (f.violation > 0) {
                  return f;
                }
              }
            }
          }
        }
      }
      return finding{};
    });
  }

  // The answer to e after some steps on what is in order, or the error that it makes.
  finding poisoned(const weighting_example& e, std::size_t k, double poison, bool in_loss,
                   int steps) const {
    const auto with = [&](double value, double factor) {
      weighting_example changed = e;
      if (in_loss) {
        changed.losses[k] = value;
      } else {
        for (double& x : changed.j.row(static_cast<index_t>(k))) {
          x = std::isfinite(value) ? x * factor + 0.1 : value;
        }
      }
      const auto s = subject_.copy();
      s->reset(e.names);
      live(*s, e, steps);
      return call(*s, changed).own();
    };
    const std::string what = fmt::format("with {} in the {} of {} {}", poison,
                                         in_loss ? "loss" : "gradient", e.names[k], when(steps));
    std::vector<double> answered;
    try {
      answered = with(poison, 0);
    } catch (const error& x) {
      if (std::string_view(x.what()).find(e.names[k]) == std::string_view::npos) {
        return {1, fmt::format("{} its error does not name the task: {}", what, x.what())};
      }
      return {};
    } catch (const std::exception& x) {
      return {1, fmt::format("{} it throws what is no vierbein::error: {}", what, x.what())};
    }
    // No error: right only where the answer does not depend on it.
    if (!same(answered, with(0.7, -2)) || !same(answered, with(1.9, 3))) {
      return {1, fmt::format("{} it answers {} and reports nothing", what, list(answered))};
    }
    return {};
  }

  // What comes of a loss that is not a number after the step.
  finding observed(const weighting_example& e, std::size_t k) const {
    const auto s = subject_.copy();
    s->reset(e.names);
    live(*s, e, some_steps);
    call(*s, e);
    std::vector<double> after = e.losses;
    after[k] = nan;
    try {
      s->observe({after});
    } catch (const error& x) {
      const bool named = std::string_view(x.what()).find(e.names[k]) != std::string_view::npos;
      return {named ? 0.0 : 1.0, fmt::format("with nan in the observed loss of {} its error does "
                                             "not name the task: {}",
                                             e.names[k], x.what())};
    }
    const answer a = call(*s, e);
    return {a.finite() ? 0.0 : 1.0,
            fmt::format("after observing nan as the loss of {} it answers {}", e.names[k],
                        list(a.own()))};
  }

  void unused_losses() {
    if (subject_.uses_losses) {
      return;
    }
    run("unused losses", true, 0, few_examples(), [&](const weighting_example& e) {
      weighting_example unknown = e;
      std::fill(unknown.losses.begin(), unknown.losses.end(), nan);
      const std::vector<double> with = ask(e).own();
      std::vector<double> without;
      try {
        without = ask(unknown).own();
      } catch (const std::exception& x) {
        return finding{1, fmt::format("without the losses it throws: {}", x.what())};
      }
      return finding{
          same(with, without) ? 0.0 : 1.0,
          fmt::format("with the losses it answers {}, without {}", list(with), list(without))};
    });
  }

  // Beside a policy that is shown all gradients, one that is shown NaN where it will not look.
  void unseen_gradients() {
    if (!subject_.says_what_it_sees) {
      return;
    }
    run("unseen gradients", true, 0, few_examples(), [&](const weighting_example& e) {
      const auto seeing = subject_.copy();
      const auto blind = subject_.copy();
      seeing->reset(e.names);
      blind->reset(e.names);
      weighting_example unknown = e;
      std::fill_n(unknown.j.data(), unknown.j.size(), nan);
      for (int k = 0; k < 3 * some_steps; ++k) {
        const std::vector<double> with = call(*seeing, e).own();
        std::vector<double> without;
        try {
          without = call(*blind, blind->spares_gramian({e.losses}) ? unknown : e).own();
        } catch (const std::exception& x) {
          return finding{1, fmt::format("where it does not look it throws: {}", x.what())};
        }
        if (!same(with, without)) {
          return finding{1, fmt::format("with the gradients it answers {}, without {}", list(with),
                                        list(without))};
        }
        seeing->observe({e.losses});
        blind->observe({e.losses});
      }
      return finding{};
    });
  }

  void absent_tasks() {
    std::vector<weighting_example> examples;
    for (weighting_example& e : few_examples()) {
      if (e.tasks() >= std::max<std::size_t>(2, o_.fewest_tasks + 1)) {
        examples.push_back(std::move(e));
      }
    }
    if (examples.empty()) {
      add("absent tasks", weighting_verdict::not_applicable);
      return;
    }
    const measure m = [&](const weighting_example& e) {
      try {
        if (!ask(e).finite() || !ask(e, some_steps).finite()) {
          return finding{};
        }
      } catch (const std::exception&) {
        return finding{};
      }
      for (const int steps : {0, some_steps}) {
        for (std::size_t k = 0;
             k < e.tasks() && e.tasks() > std::max<std::size_t>(1, o_.fewest_tasks); ++k) {
          finding f = absent(e, k, steps);
          f = f.violation > 0 ? f : absent_for_an_epoch(e, k);
          if (f.violation > 0) {
            return f;
          }
        }
        if (o_.fewest_tasks <= 1) {
          const auto s = subject_.copy();
          s->reset(e.names);
          live(*s, e, steps);
          const answer a = call(*s, e.times(0), mask(e.tasks(), false).view());
          if (!a.finite()) {
            return finding{1, fmt::format("it answers {} {} to a batch without any label",
                                          list(a.own()), when(steps))};
          }
        }
      }
      return finding{};
    };
    run("absent tasks", true, 0, examples, m, on_throw::fails);
  }

  finding absent_for_an_epoch(const weighting_example& e, std::size_t k) const {
    const auto s = subject_.copy();
    s->reset(e.names);
    std::vector<double> mean = e.losses;
    for (int epoch = 0; epoch < some_steps; ++epoch) {
      call(*s, e);
      mean[k] = epoch == 1 ? nan : e.losses[k];
      s->end_epoch(mean);
    }
    const answer a = call(*s, e);
    return {a.finite() ? 0.0 : 1.0, fmt::format("it answers {} some time after an epoch without "
                                                "labels of {}",
                                                list(a.own()), e.names[k])};
  }

  finding absent(const weighting_example& e, std::size_t k, int steps) const {
    mask present(e.tasks());
    present[k] = false;
    const auto with = [&](double loss, double entry) {
      const auto s = subject_.copy();
      s->reset(e.names);
      live(*s, e, steps);
      weighting_example changed = e;
      changed.losses[k] = loss;
      std::ranges::fill(changed.j.row(static_cast<index_t>(k)), entry);
      answer a = call(*s, changed, present.view());
      if (s->answers_weights && std::isfinite(a.w[k])) {
        a.w[k] = 0;  // has no effect
      }
      return a;
    };
    const answer expected = with(0, 0);
    if (!expected.finite()) {
      return {1, fmt::format("{} it answers {} where {} is absent", when(steps),
                             list(expected.own()), e.names[k])};
    }
    for (const double value : {7.0, nan}) {
      const answer found = with(value, value);
      if (!same(expected.own(), found.own())) {
        return {1, fmt::format("{} the absent {} changes the answer from {} to {} where its loss "
                               "and gradient are {}",
                               when(steps), e.names[k], list(expected.own()), list(found.own()),
                               value)};
      }
    }
    return {};
  }

  // ---- claimed properties

  [[nodiscard]] bool claims(bool traits_type::* property) const {
    return subject_.traits && (*subject_.traits).*property;
  }

  void properties() {
    const traits_type t = subject_.traits.value_or(traits_type{});
    run("non-conflicting", claims(&traits_type::non_conflicting), o_.tolerance, examples_,
        [&](const weighting_example& e) {
          const answer a = ask(e);
          const std::vector<double> slopes = along(e.j, a.d);
          finding f;
          for (std::size_t i = 0; i < slopes.size(); ++i) {
            const double length = norm_of(e.j.row(static_cast<index_t>(i)));
            const double v = relative(std::max(-slopes[i], 0.0), length * a.size);
            if (v > f.violation) {
              f = {v, fmt::format("{} gets worse: J d = {} with w = {}", e.names[i], list(slopes),
                                  list(a.own()))};
            }
          }
          return f;
        });
    run("permutation invariant", claims(&traits_type::permutation_invariant), o_.tolerance,
        examples_, [&](const weighting_example& e) { return permuted(e); });
    run("linear under scaling", claims(&traits_type::linear_under_scaling), o_.tolerance, examples_,
        [&](const weighting_example& e) { return linear(e); });
    run("homogeneous", t.homogeneity.has_value(), o_.tolerance, examples_,
        [&](const weighting_example& e) { return homogeneous(e, t.homogeneity); });
    run("scale", subject_.traits && t.scale != weighting::weight_scale::other, o_.tolerance,
        few_examples(), [&](const weighting_example& e) { return scale(e, t.scale); });
    run("strongly stationary", claims(&traits_type::strongly_stationary), 1, examples_,
        [&](const weighting_example& e) {
          if (!improvable(e.j)) {
            return finding{};
          }
          const answer a = ask(e);
          const double ratio = relative(norm_of(a.d), a.size);
          return finding{stationary_length / ratio,
                         fmt::format("d = {} with w = {} although the tasks can still be improved",
                                     list(a.d), list(a.own()))};
        });
    if (!subject_.answers_weights) {
      add("convex weights", weighting_verdict::not_applicable);
    } else {
      run("convex weights", claims(&traits_type::convex_weights), 1e-9, examples_,
          [&](const weighting_example& e) {
            finding f;
            for (const int steps : {0, some_steps}) {
              const answer a = ask(e, steps);
              double sum = 0;
              double v = 0;
              for (const double w : a.w) {
                sum += w;
                v = std::max(v, -w);
              }
              v = std::max(v, std::abs(sum - 1));
              if (v > f.violation) {
                f = {v, fmt::format("w = {} {}", list(a.w), when(steps))};
              }
            }
            return f;
          });
    }
    if (!subject_.traits || t.stateful || !t.deterministic) {
      add("no memory", weighting_verdict::not_claimed);
    } else {
      run("no memory", true, 1e-9, few_examples(), [&](const weighting_example& e) {
        const answer first = ask(e);
        const answer later = ask(e, some_steps);
        const double v = relative(difference(first.own(), later.own()), norm_of(first.own()));
        return finding{v, fmt::format("it answers {} at first and {} after {} steps",
                                      list(first.own()), list(later.own()), some_steps)};
      });
    }
  }

  static constexpr double stationary_length = 1e-6;

  finding permuted(const weighting_example& e) const {
    const answer a = ask(e);
    finding f;
    std::vector<std::size_t> order(e.tasks());
    for (int kind = 0; kind < 3; ++kind) {
      const auto drawn =
          random_permutation(static_cast<index_t>(order.size()), random_stream{e.seed, 12});
      for (std::size_t i = 0; i < order.size(); ++i) {
        order[i] = kind == 0   ? order.size() - 1 - i
                   : kind == 1 ? (i + 1) % order.size()
                               : static_cast<std::size_t>(drawn[i]);
      }
      const answer b = ask(e.reordered(order));
      const double v = relative(difference(a.d, b.d), std::max(a.size, b.size));
      if (v > f.violation) {
        f = {v, fmt::format("d = {}, but {} in another order of the tasks", list(a.d), list(b.d))};
      }
    }
    return f;
  }

  finding linear(const weighting_example& e) const {
    const random_stream numbers{e.seed, 13};
    std::vector<double> first(e.tasks()), second(e.tasks()), both(e.tasks());
    const double alpha = 0.1 + 0.9 * numbers.uniform(1000);
    const double beta = 0.1 + 0.9 * numbers.uniform(1001);
    for (std::size_t t = 0; t < e.tasks(); ++t) {
      first[t] = 0.1 + 0.9 * numbers.uniform(2 * t);
      second[t] = 0.1 + 0.9 * numbers.uniform(2 * t + 1);
      both[t] = alpha * first[t] + beta * second[t];
    }
    const answer a = ask(e.rows_times(first));
    const answer b = ask(e.rows_times(second));
    const answer c = ask(e.rows_times(both));
    std::vector<double> sum(c.d.size());
    for (std::size_t p = 0; p < sum.size(); ++p) {
      sum[p] = alpha * a.d[p] + beta * b.d[p];
    }
    const double size = std::max({alpha * a.size, beta * b.size, c.size});
    return {relative(difference(sum, c.d), size),
            fmt::format("d = {} for the rows times {}, but {} from the rows times {} and {}",
                        list(c.d), list(both), list(sum), list(first), list(second))};
  }

  finding homogeneous(const weighting_example& e, std::optional<double> degree) const {
    const answer a = ask(e);
    double k = degree.value_or(1);
    if (!degree) {  // the degree that fits best
      const double longer = norm_of(ask(e.times(1024)).d);
      k = norm_of(a.d) > 0 && longer > 0 ? std::log2(longer / norm_of(a.d)) / 10 : 1;
      k = std::round(k * 1e6) / 1e6;
    }
    finding f;
    for (const double s : {1e-12, 1e-6, 1e-3, 0.5, 3.0, 1e3, 1e6, 1e12}) {
      answer b = ask(e.times(s));
      for (double& x : b.d) {
        x /= std::pow(s, k);
      }
      const double v = relative(difference(a.d, b.d), std::max(a.size, b.size / std::pow(s, k)));
      if (!(v <= f.violation)) {
        f = {v,
             fmt::format("d = {}, but times {} it is s^{} times {}", list(a.d), s, k, list(b.d))};
      }
    }
    return f;
  }

  // d where all gradients are that of the first task.
  finding scale(weighting_example e, weighting::weight_scale expected) const {
    for (index_t t = 1; t < e.j.rows(); ++t) {
      std::ranges::copy(e.j.row(0), e.j.row(t).begin());
    }
    const double factor =
        expected == weighting::weight_scale::sum ? static_cast<double>(e.tasks()) : 1.0;
    const answer a = ask(e);
    std::vector<double> d(e.j.row(0).begin(), e.j.row(0).end());
    for (double& x : d) {
      x *= factor;
    }
    return {relative(difference(a.d, d), norm_of(d)),
            fmt::format("all gradients are {}, but d = {} instead of {} times that",
                        list({e.j.row(0).begin(), e.j.row(0).end()}), list(a.d), factor)};
  }

  // Whether some direction makes no task worse and one better, so that J is not strongly
  // stationary: whether the range of J meets the positive cone, found by Dykstra's alternating
  // projections of (1, ..., 1) on both.
  static bool improvable(const matrix<double>& j) {
    const auto rows = static_cast<std::size_t>(j.rows());
    double greatest = 0;
    for (index_t i = 0; i < j.size(); ++i) {
      greatest = std::max(greatest, std::abs(j.data()[i]));
    }
    std::vector<std::vector<double>> basis;  // of the range
    for (index_t p = 0; p < j.cols(); ++p) {
      std::vector<double> column(rows);
      for (std::size_t t = 0; t < rows; ++t) {
        column[t] = j(static_cast<index_t>(t), p) / (greatest > 0 ? greatest : 1);
      }
      remove(column, basis);
      if (norm_of(column) > 1e-9) {
        orthonormalise(column, basis);
        basis.push_back(column);
      }
    }
    std::vector<double> y(rows, 1.0), correction(rows, 0.0), inside(rows);
    for (int i = 0; i < 500; ++i) {
      inside = y;
      remove(inside, basis);
      for (std::size_t t = 0; t < rows; ++t) {
        inside[t] = y[t] - inside[t];  // in the range
        const double moved = inside[t] + correction[t];
        y[t] = std::max(moved, 0.0);
        correction[t] = moved - y[t];
      }
    }
    const double least = *std::ranges::min_element(inside);
    const double most = *std::ranges::max_element(inside);
    return most > 1e-2 && least > -1e-6 * most;
  }

  static void remove(std::vector<double>& v, const std::vector<std::vector<double>>& basis) {
    for (const auto& b : basis) {
      double product = 0;
      for (std::size_t i = 0; i < v.size(); ++i) {
        product += v[i] * b[i];
      }
      for (std::size_t i = 0; i < v.size(); ++i) {
        v[i] -= product * b[i];
      }
    }
  }

  // ---- verbs, state, precision

  void both_verbs() {
    bool offered = false;
    {
      const weighting_example e = few_examples().back();
      const auto s = subject_.copy();
      std::vector<double> d(static_cast<std::size_t>(e.j.cols()));
      try {
        s->reset(e.names);
        offered = s->combine_as_well({e.losses}, e.j.view(), d);
      } catch (const error&) {
        offered = true;
      }
    }
    if (!offered) {
      add("both verbs", weighting_verdict::not_applicable);
      return;
    }
    run("both verbs", true, o_.tolerance, examples_, [&](const weighting_example& e) {
      const answer a = ask(e);
      const auto s = subject_.copy();
      s->reset(e.names);
      std::vector<double> d(a.d.size());
      s->combine_as_well({e.losses}, e.j.view(), d);
      return finding{relative(difference(a.d, d), a.size),
                     fmt::format("weigh gives d = {}, combine {}", list(a.d), list(d))};
    });
  }

  void state() {
    const std::size_t tasks = std::max<std::size_t>(2, sizes().front());
    const weighting_example e = example("state", independent_rows(tasks, tasks + 2, 80));
    const weighting_example other = example("another", independent_rows(tasks, tasks + 2, 81));
    std::string problem;
    try {
      (void)ask(e);
      (void)ask(other, some_steps);
    } catch (const std::exception&) {  // a matter of `finite answers`
      add("reset", weighting_verdict::not_applicable);
      return;
    }
    try {
      const auto s = subject_.copy();
      s->reset(e.names);
      const answer first = call(*s, e);
      live(*s, other, some_steps);
      s->reset(e.names);
      const answer again = call(*s, e);
      if (!same(first.own(), again.own())) {
        problem = fmt::format("it answers {} at first and {} after steps and reset",
                              list(first.own()), list(again.own()));
      }
      const answer untouched = ask(e);
      if (problem.empty() && !same(first.own(), untouched.own())) {
        problem = fmt::format("it answers {}, and a copy of it as it was made {}",
                              list(first.own()), list(untouched.own()));
      }
      // A copy taken on the way answers as the original would have, whatever either does since.
      const auto expected = [&] {
        const auto alone = subject_.copy();
        alone->reset(e.names);
        live(*alone, other, 2);
        return call(*alone, e);
      }();
      s->reset(e.names);
      live(*s, other, 2);
      const auto branch = s->copy();
      live(*s, e, some_steps);
      const answer of_copy = call(*branch, e);
      if (problem.empty() && !same(expected.own(), of_copy.own())) {
        problem = fmt::format("a copy answers {} instead of {} after its original has gone on",
                              list(of_copy.own()), list(expected.own()));
      }
      if (problem.empty()) {
        problem = another_number(e, other);
      }
    } catch (const std::exception& x) {
      problem = fmt::format("it throws: {}", x.what());
    }
    add("reset", problem.empty() ? weighting_verdict::held : weighting_verdict::failed, problem,
        problem.empty() ? "" : e.text());
  }

  // After steps with one number of tasks: another is refused or answered, and reset puts it right.
  std::string another_number(const weighting_example& e, const weighting_example& other) const {
    const std::size_t tasks = e.tasks() + 1;
    if (tasks > std::max(o_.most_tasks, o_.fewest_tasks)) {
      return {};
    }
    const weighting_example more = example("more", independent_rows(tasks, tasks + 1, 82));
    answer expected;
    try {
      expected = ask(more);
    } catch (const std::exception&) {  // a matter of `finite answers`
      return {};
    }
    if (!expected.finite()) {
      return {};
    }
    const auto s = subject_.copy();
    s->reset(e.names);
    live(*s, other, 2);
    try {
      const answer a = call(*s, more);
      if (!a.finite()) {
        return fmt::format("after {} tasks it answers {} to {}", e.tasks(), list(a.own()), tasks);
      }
    } catch (const error&) {
    }
    s->reset(more.names);
    const answer found = call(*s, more);
    if (!same(expected.own(), found.own())) {
      return fmt::format("after {} tasks and reset it answers {} to {} instead of {}", e.tasks(),
                         list(found.own()), tasks, list(expected.own()));
    }
    return {};
  }

  void single_precision() {
    if (!subject_.sees_gradients) {
      add("float", weighting_verdict::not_applicable);
      return;
    }
    std::vector<weighting_example> examples;
    for (const std::size_t tasks : sizes()) {
      for (std::uint64_t i = 0; i < 5; ++i) {
        examples.push_back(example(fmt::format("independent rows, {} tasks", tasks),
                                   independent_rows(tasks, 4 * tasks, 90 + i)));
      }
    }
    run("float", true, o_.float_tolerance, examples, [&](const weighting_example& e) {
      const answer a = ask(e);
      weighting_example rounded = e;
      matrix<float> j(e.j.rows(), e.j.cols());
      for (index_t i = 0; i < j.size(); ++i) {
        j.data()[i] = static_cast<float>(e.j.data()[i]);
        rounded.j.data()[i] = static_cast<double>(j.data()[i]);
      }
      std::vector<double> d(a.d.size());
      if (subject_.answers_weights) {
        d = from_single_gram(rounded, j);
      } else {
        const auto s = subject_.copy();
        s->reset(e.names);
        std::vector<float> single(d.size());
        if (!s->combine({e.losses}, j.view(), single)) {
          return finding{1, "it offers no combine in single precision"};
        }
        std::ranges::copy(single, d.begin());
      }
      return finding{
          relative(difference(a.d, d), a.size),
          fmt::format("d = {} in double and {} from single precision", list(a.d), list(d))};
    });
  }

  // d from a Gramian that was summed in single precision.
  [[nodiscard]] std::vector<double> from_single_gram(const weighting_example& e,
                                                     const matrix<float>& j) const {
    matrix<double> g(j.rows(), j.rows());
    for (index_t r = 0; r < j.rows(); ++r) {
      for (index_t c = 0; c < j.rows(); ++c) {
        float sum = 0;
        for (index_t p = 0; p < j.cols(); ++p) {
          sum += j(r, p) * j(c, p);
        }
        g(r, c) = static_cast<double>(sum);
      }
    }
    const auto s = subject_.copy();
    s->reset(e.names);
    std::vector<double> w(e.tasks() + static_cast<std::size_t>(margin), nan);
    std::vector<double> unused(static_cast<std::size_t>(e.j.cols()));
    const losses l{e.losses, {}, std::numeric_limits<float>::epsilon()};
    s->weigh(l, e.j.view(), g.view(), std::span(w).first(e.tasks()), unused);
    return vierbein::testing::combine(e.j, w);
  }

  void certificate() {
    const auto s = subject_.copy();
    if (!s->certificate()) {
      add("certificate", weighting_verdict::not_applicable);
      return;
    }
    run("certificate", true, o_.tolerance, examples_, [&](const weighting_example& e) {
      const auto solver = subject_.copy();
      solver->reset(e.names);
      const answer a = call(*solver, e);
      const auto [residual, converged] = solver->certificate().value_or(std::pair{0.0, true});
      if (!converged && !independent(e.j)) {
        return finding{};  // there may be no solution, and the policy says so
      }
      return finding{residual,
                     fmt::format("the residual is {:.3g}{} at w = {}", residual,
                                 converged ? " but said to be small enough" : "", list(a.own()))};
    });
  }

  // Whether the rows are clearly independent.
  static bool independent(const matrix<double>& j) {
    std::vector<std::vector<double>> basis;
    for (index_t t = 0; t < j.rows(); ++t) {
      std::vector<double> row(j.row(t).begin(), j.row(t).end());
      const double length = norm_of(row);
      remove(row, basis);
      if (!(norm_of(row) > 1e-2 * length)) {
        return false;
      }
      orthonormalise(row, basis);
      basis.push_back(std::move(row));
    }
    return true;
  }

  void golden() {
    if (o_.golden.empty()) {
      add("golden values", weighting_verdict::not_applicable);
      return;
    }
    std::string problem, where;
    for (const weighting_golden& known : o_.golden) {
      weighting_example e = example(
          "golden",
          matrix<double>(static_cast<index_t>(known.j.size()),
                         known.j.empty() ? 0 : static_cast<index_t>(known.j.front().size())));
      for (std::size_t t = 0; t < known.j.size(); ++t) {
        std::ranges::copy(known.j[t], e.j.row(static_cast<index_t>(t)).begin());
      }
      e.losses.assign(e.tasks(), 1.0);
      std::ranges::copy(known.losses, e.losses.begin());
      std::string here;
      try {
        const auto s = subject_.copy();
        s->reset(e.names);
        answer a = call(*s, e);
        for (int i = 1; i < known.call; ++i) {
          a = call(*s, e);
        }
        const auto& expected = known.weights.empty() ? known.direction : known.weights;
        const auto& found = known.weights.empty() ? a.d : a.w;
        bool same = expected.size() == found.size();
        for (std::size_t i = 0; same && i < found.size(); ++i) {
          same = std::abs(expected[i] - found[i]) <= known.tolerance;
        }
        here = same ? ""
                    : fmt::format("call {} answers {} instead of {}", known.call, list(found),
                                  list(expected));
      } catch (const std::exception& x) {
        here = fmt::format("it throws: {}", x.what());
      }
      if (problem.empty() && !here.empty()) {
        problem = here;
        where = e.text();
      }
    }
    add("golden values", problem.empty() ? weighting_verdict::held : weighting_verdict::failed,
        problem, where);
  }

  void objective() {
    bool offered = false;
    try {
      const weighting_example e = few_examples().back();
      const auto s = subject_.copy();
      s->reset(e.names);
      offered = s->objective({e.losses}).has_value();
    } catch (const error&) {
      offered = true;
    }
    if (!offered) {
      add("objective", weighting_verdict::not_applicable);
      return;
    }
    run("objective", true, 1e-5, few_examples(), [&](const weighting_example& e) {
      finding f;
      for (const int steps : {0, some_steps}) {
        for (std::size_t k = 0; k <= e.tasks(); ++k) {  // task k is absent
          if (k < e.tasks() && e.tasks() <= o_.fewest_tasks) {
            continue;
          }
          const finding here = slopes(e, k, steps);
          f = here.violation > f.violation ? here : f;
        }
      }
      return f;
    });
  }

  finding slopes(const weighting_example& e, std::size_t absent, int steps) const {
    const auto s = subject_.copy();
    s->reset(e.names);
    live(*s, e, steps);
    mask present(e.tasks());
    if (absent < e.tasks()) {
      present[absent] = false;
    }
    std::vector<double> expected(e.tasks(), 0.0);
    for (std::size_t t = 0; t < e.tasks(); ++t) {
      const double h = 1e-6 * std::max(std::abs(e.losses[t]), 1e-3);
      std::vector<double> moved = e.losses;
      moved[t] = e.losses[t] + h;
      const double above = s->objective({moved, present.view()}).value_or(nan);
      moved[t] = e.losses[t] - h;
      const double below = s->objective({moved, present.view()}).value_or(nan);
      expected[t] = (above - below) / (2 * h);
    }
    std::vector<double> w = call(*s, e, present.view()).w;
    if (absent < e.tasks()) {
      w[absent] = 0;
    }
    return {difference(expected, w) / std::max(norm_of(expected), 1.0),
            fmt::format("w = {} but the objective's slopes are {}{} {}", list(w), list(expected),
                        absent < e.tasks() ? " without " + e.names[absent] : "", when(steps))};
  }

  // ---- trajectories

  struct plane_run {
    const pareto_tasks& problem;
    plane_point x;
    double factor = 0;  // 0 until the first step
    double unit = 1;    // the greatest loss at the start, less 1
  };

  plane_run begin(const pareto_tasks& p, plane_point x) const {
    plane_run run{.problem = p, .x = x};
    run.unit = std::max(p.loss(0, x), p.loss(1, x)) - 1;
    return run;
  }

  // The losses in a unit in which they are between 1 and 2 at the start.
  static std::vector<double> shown(const plane_run& run, plane_point x) {
    return {1 + (run.problem.loss(0, x) - 1) / run.unit,
            1 + (run.problem.loss(1, x) - 1) / run.unit};
  }

  // d at x, scaled so that d of the mean's length comes of equal gradients. The policy is shown
  // both losses in the run's unit, which d of degree 1 undoes.
  plane_point direction(weighting_subject& s, plane_run& run) const {
    weighting_example e;
    e.names = names_of(2);
    e.losses = shown(run, run.x);
    e.j = matrix<double>(2, 2);
    for (std::size_t t = 0; t < 2; ++t) {
      const plane_point g = run.problem.gradient(t, run.x);
      e.j(static_cast<index_t>(t), 0) = g[0] / run.unit;
      e.j(static_cast<index_t>(t), 1) = g[1] / run.unit;
    }
    const answer a = call(s, e);
    if (run.factor == 0) {
      run.factor = 1;
      if (subject_.traits && subject_.traits->scale == weighting::weight_scale::sum) {
        run.factor = 0.5;
      } else if (subject_.traits && subject_.traits->scale == weighting::weight_scale::other &&
                 s.answers_weights) {
        const double sum = std::abs(a.w[0]) + std::abs(a.w[1]);
        run.factor = sum > 0 ? 1 / sum : 1;
      }
    }
    return {run.factor * run.unit * a.d[0], run.factor * run.unit * a.d[1]};
  }

  void trajectories() {
    const traits_type t = subject_.traits.value_or(traits_type{});
    const bool two = o_.fewest_tasks <= 2 && std::max(o_.most_tasks, o_.fewest_tasks) >= 2;
    const bool descends = two && t.non_conflicting && t.homogeneity == 1;
    const bool converges =
        two && t.strongly_stationary && t.homogeneity == 1 && t.deterministic && !t.stateful;
    add("descent", descends ? weighting_verdict::held
                   : two    ? weighting_verdict::not_claimed
                            : weighting_verdict::not_applicable);
    if (descends || (two && o_.measure_all)) {
      try_plane(report_.checks.back(), descends, 1,
                [&](const pareto_tasks& p, plane_point x) { return one_step(p, x); });
    }
    add("convergence", converges ? weighting_verdict::held
                       : two     ? weighting_verdict::not_claimed
                                 : weighting_verdict::not_applicable);
    if (converges || (two && o_.measure_all)) {
      try_plane(report_.checks.back(), converges, convergence_distance,
                [&](const pareto_tasks& p, plane_point x) { return many_steps(p, x); });
    }
  }

  static constexpr double convergence_distance = 1e-2;

  void try_plane(weighting_check& check, bool claimed, double allowed,
                 const std::function<finding(const pareto_tasks&, plane_point)>& m) {
    check.allowed = allowed;
    check.measured = true;
    for (const pareto_tasks& p : every_pareto_problem()) {
      for (const plane_point& x : p.starts) {
        finding f;
        try {
          f = m(p, x);
        } catch (const std::exception&) {  // a matter of `finite answers`
        }
        f.violation = std::isnan(f.violation) ? infinity : f.violation;
        if (f.violation > check.worst) {
          check.worst = f.violation;
          if (claimed && f.violation > allowed) {
            check.verdict = weighting_verdict::failed;
            check.problem = f.problem;
            check.example = fmt::format("{}, from ({}, {})", p.name, x[0], x[1]);
          }
        }
      }
    }
  }

  // By how much the losses rise in one small step, in units of what their curvature explains where
  // weights are at most 2.
  finding one_step(const pareto_tasks& p, plane_point x) const {
    const auto s = subject_.copy();
    s->reset(names_of(2));
    plane_run run = begin(p, x);
    const plane_point d = direction(*s, run);
    const double eta = 1e-3 * p.rate;
    const plane_point next{x[0] - eta * d[0], x[1] - eta * d[1]};
    double length = 0;
    for (std::size_t t = 0; t < 2; ++t) {
      length += std::hypot(p.gradient(t, x)[0], p.gradient(t, x)[1]);
    }
    finding f;
    for (std::size_t t = 0; t < 2; ++t) {
      const double curvature = p.curvature[t][0] + p.curvature[t][2];
      const double rise = p.loss(t, next) - p.loss(t, x) - 1e-14 * p.loss(t, x);
      const double v = rise / (4 * eta * eta * curvature * length * length);
      if (v > f.violation) {
        f = {v, fmt::format("a step of {} along d = ({:.6g}, {:.6g}) raises loss {} by {:.3g}", eta,
                            d[0], d[1], t + 1, rise)};
      }
    }
    return f;
  }

  finding many_steps(const pareto_tasks& p, plane_point start) const {
    const auto s = subject_.copy();
    s->reset(names_of(2));
    plane_run run = begin(p, start);
    double distance = infinity;
    int step = 0;
    for (; step < 3000 && distance > convergence_distance / 10; ++step) {
      const plane_point d = direction(*s, run);
      if (step == 0 && !(std::isfinite(d[0]) && std::isfinite(d[1]))) {
        return {};  // a matter of `finite answers`
      }
      for (std::size_t i = 0; i < 2; ++i) {
        run.x[i] -= p.rate * d[i];
      }
      const std::vector<double> after = shown(run, run.x);
      if (!std::isfinite(after[0]) || !std::isfinite(after[1])) {
        return {infinity, fmt::format("descent diverges in step {}", step + 1)};
      }
      s->observe({after});
      s->end_epoch(after);
      distance = step % 50 == 49 ? p.distance(run.x) : infinity;
    }
    distance = p.distance(run.x);
    return {distance, fmt::format("after {} steps x = ({:.6g}, {:.6g}) is {:.3g} away from the "
                                  "strong Pareto set",
                                  step, run.x[0], run.x[1], distance)};
  }

  // ---- allocations

  void allocations() {
    if (!allocations_are_counted()) {
      add("allocations", weighting_verdict::not_applicable);
      return;
    }
    const std::size_t tasks = std::max<std::size_t>(3, sizes().back());
    const std::size_t used = std::min(tasks, std::max(o_.most_tasks, o_.fewest_tasks));
    const weighting_example e = example("allocations", independent_rows(used, used + 2, 83));
    std::string problem;
    try {
      const auto s = subject_.copy();
      s->reset(e.names);
      live(*s, e, some_steps);
      const matrix<double> g = gram_of(e.j);
      std::vector<double> buffer(e.tasks() + static_cast<std::size_t>(margin));
      const std::span w = std::span(buffer).first(e.tasks());
      std::vector<double> d(static_cast<std::size_t>(e.j.cols()));
      const std::uint64_t before = vierbein::testing::detail::allocations.load();
      for (int i = 0; i < 5; ++i) {
        s->weigh({e.losses}, e.j.view(), g.view(), w, d);
        s->observe({e.losses});
        s->end_epoch(e.losses);
      }
      const std::uint64_t count = vierbein::testing::detail::allocations.load() - before;
      problem = count == 0 ? "" : fmt::format("five steps make {} allocations", count);
    } catch (const std::exception&) {  // a matter of `finite answers`
    }
    add("allocations", problem.empty() ? weighting_verdict::held : weighting_verdict::failed,
        problem, problem.empty() ? "" : fmt::format("{} tasks", used));
  }

  const weighting_subject& subject_;
  weighting_checks o_;
  bool observes_;
  std::vector<weighting_example> examples_;
  weighting_report report_ = {};
};

}  // namespace detail

/// Examines a policy: see the head of this file. Takes well under a second for T ≤ 5.
template <class P>
[[nodiscard]] weighting_report check_weighting(P policy, weighting_checks options = {}) {
  static_assert(detail::of_steps<P>,
                "check_weighting examines policies of the kinds loss_based, gram_based and "
                "gradient_based: they weigh a step from losses and gradients alone");
  if constexpr (detail::of_steps<P>) {
    const detail::subject_of<P> subject(std::move(policy));
    return detail::weighting_examination(subject, std::move(options), weighting::Observes<P>)();
  } else {
    return {};
  }
}

}  // namespace vierbein::testing
