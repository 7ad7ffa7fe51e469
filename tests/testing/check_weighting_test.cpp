// The suite finds in each broken policy exactly what is broken, and nothing in sound ones.
#include "vierbein/testing/check_weighting.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/weighting/equal.hpp"
#include "vierbein/weighting/gcs.hpp"
#include "vierbein/weighting/mean.hpp"
#include "vierbein/weighting/tools.hpp"
#include "vierbein/weighting/uncertainty.hpp"

using vierbein::gram_matrix;
using vierbein::index_t;
using vierbein::losses;
using vierbein::matrix_view;
using vierbein::weights;
using vierbein::testing::check_weighting;
using vierbein::testing::weighting_report;
using vierbein::testing::weighting_verdict;
using vierbein::weighting::weight_scale;
using vierbein::weighting::weighting_traits;
namespace weighting = vierbein::weighting;

namespace {

using names = std::vector<std::string>;

void require_gram(losses l, gram_matrix g) {
  for (std::size_t t = 0; t < l.size(); ++t) {
    const auto i = static_cast<index_t>(t);
    vierbein::require(!l.has(t) || std::isfinite(g(i, i)), "mutant", "task {} is not finite",
                      t + 1);
  }
}

double length(gram_matrix g, std::size_t t) {
  return std::sqrt(g(static_cast<index_t>(t), static_cast<index_t>(t)));
}

// ---- policies with one fault each

struct divides_by_zero {
  using weighting_kind = vierbein::gram_based;
  void weigh(losses l, gram_matrix g, weights w) const {
    require_gram(l, g);
    for (std::size_t t = 0; t < w.size(); ++t) {
      w[t] = l.has(t) ? 1 / length(g, t) : 0;
    }
  }
};

struct uses_what_it_denies {
  using weighting_kind = vierbein::loss_based;
  static constexpr bool uses_losses = false;
  void weigh(losses l, weights w) const {
    for (std::size_t t = 0; t < w.size(); ++t) {
      vierbein::require(!l.has(t) || std::isfinite(l[t]), "mutant", "task {} is not finite", t + 1);
      w[t] = l.has(t) && l[t] > 1 ? 2 : 1;
    }
  }
};

struct prefers_what_it_denies {
  using weighting_kind = vierbein::loss_based;
  static constexpr bool uses_losses = false;
  void weigh(losses l, weights w) const {
    for (std::size_t t = 0; t < w.size(); ++t) {
      w[t] = l.has(t) && l[t] > 1 ? 2 : 1;
    }
  }
};

// Says that it looks at the Gramian in every other step, and always does.
struct peeks {
  using weighting_kind = vierbein::gram_based;
  int step = 0;
  void reset(const std::vector<std::string>&) { step = 0; }
  [[nodiscard]] vierbein::sight looks_at(losses) const {
    return step % 2 == 0 ? vierbein::sight::gramian : vierbein::sight::losses;
  }
  void weigh(losses l, vierbein::gram_matrix g, weights w) {
    ++step;
    for (std::size_t t = 0; t < w.size(); ++t) {
      const auto k = static_cast<vierbein::index_t>(t);
      vierbein::require(!l.has(t) || std::isfinite(g(k, k)), "mutant", "task {} is not finite",
                        t + 1);
      w[t] = l.has(t) && g(k, k) > 1 ? 2 : 1;
    }
  }
};

struct throws_at_three {
  using weighting_kind = vierbein::loss_based;
  void weigh(losses l, weights w) const {
    vierbein::require(l.size() != 3, "mutant", "three is one too many");
    std::fill(w.begin(), w.end(), 1.0);
  }
};

struct forgets_the_last {
  using weighting_kind = vierbein::loss_based;
  void weigh(losses, weights w) const {
    for (std::size_t t = 0; t + 1 < std::max<std::size_t>(w.size(), 2) && t < w.size(); ++t) {
      w[t] = 1;
    }
  }
};

struct writes_beyond {
  using weighting_kind = vierbein::loss_based;
  void weigh(losses l, weights w) const {
    for (std::size_t t = 0; t <= l.size(); ++t) {
      w.data()[t] = 1;
    }
  }
};

struct silent {
  using weighting_kind = vierbein::loss_based;
  void weigh(losses l, weights w) const {
    for (std::size_t t = 0; t < w.size(); ++t) {
      w[t] = l.has(t) ? 1 / (1 + l[t]) : 0;
    }
  }
};

struct blames_nobody {
  using weighting_kind = vierbein::loss_based;
  void weigh(losses l, weights w) const {
    for (std::size_t t = 0; t < w.size(); ++t) {
      vierbein::require(!l.has(t) || std::isfinite(l[t]), "mutant", "a loss is not finite");
      w[t] = l.has(t) ? 1 / (1 + l[t]) : 0;
    }
  }
};

struct believes_what_it_observes {
  using weighting_kind = vierbein::loss_based;
  double last = 1;
  void reset(std::size_t) { last = 1; }
  void observe(losses after) { last = after.size() > 0 ? after[0] : 1; }
  void weigh(losses, weights w) const { std::fill(w.begin(), w.end(), 1 / last); }
};

struct sums_epochs {
  using weighting_kind = vierbein::loss_based;
  double sum = 1;
  void reset(std::size_t) { sum = 1; }
  void end_epoch(std::span<const double> mean) { sum += mean.empty() ? 0 : mean[0]; }
  void weigh(losses, weights w) const { std::fill(w.begin(), w.end(), 1 / sum); }
};

struct sees_the_absent {
  using weighting_kind = vierbein::loss_based;
  void weigh(losses l, weights w) const {
    double sum = 1;
    for (std::size_t t = 0; t < w.size(); ++t) {
      vierbein::require(!l.has(t) || std::isfinite(l[t]), "mutant", "task {} is not finite", t + 1);
      sum += std::isfinite(l[t]) ? l[t] : 0.0;
    }
    std::fill(w.begin(), w.end(), 1 / sum);
  }
};

struct refuses_gaps {
  using weighting_kind = vierbein::loss_based;
  void weigh(losses l, weights w) const {
    for (std::size_t t = 0; t < w.size(); ++t) {
      vierbein::require(l.has(t), "mutant", "task {} is absent", t + 1);
      w[t] = 1;
    }
  }
};

struct claims_non_conflicting : weighting::mean {
  [[nodiscard]] weighting_traits traits() const { return {.non_conflicting = true}; }
};

struct claims_the_sum : weighting::mean {
  [[nodiscard]] weighting_traits traits() const { return {.scale = weight_scale::sum}; }
};

struct prefers_the_last {
  using weighting_kind = vierbein::loss_based;
  void weigh(losses, weights w) const {
    for (std::size_t t = 0; t < w.size(); ++t) {
      w[t] = static_cast<double>(t + 1);
    }
  }
  [[nodiscard]] weighting_traits traits() const { return {.permutation_invariant = true}; }
};

struct unit_length {
  using weighting_kind = vierbein::gram_based;
  weighting_traits claims;
  void weigh(losses l, gram_matrix g, weights w) const {
    require_gram(l, g);
    for (std::size_t t = 0; t < w.size(); ++t) {
      w[t] = l.has(t) && length(g, t) > 0 ? 1 / length(g, t) : 0;
    }
  }
  [[nodiscard]] weighting_traits traits() const { return claims; }
};

// The shortest convex combination of two gradients.
struct shortest_of_two {
  using weighting_kind = vierbein::gram_based;
  void weigh(losses l, gram_matrix g, weights w) const {
    require_gram(l, g);
    const double d = g(0, 0) - 2 * g(0, 1) + g(1, 1);
    const double first = l.has(0) && l.has(1) && d > 0 ? (g(1, 1) - g(0, 1)) / d : 0.5;
    w[0] = std::clamp(first, 0.0, 1.0);
    w[1] = 1 - w[0];
  }
  [[nodiscard]] weighting_traits traits() const { return {.strongly_stationary = true}; }
};

struct claims_convexity : weighting::equal {
  [[nodiscard]] weighting_traits traits() const { return {.convex_weights = true}; }
};

struct counts {
  using weighting_kind = vierbein::loss_based;
  int calls = 0;
  weighting_traits claims = {};
  bool resets = true;
  void reset(std::size_t) { calls = resets ? 0 : calls; }
  void weigh(losses, weights w) { std::fill(w.begin(), w.end(), 1.0 + 1e-3 * calls++); }
};
struct claims_no_memory : counts {
  [[nodiscard]] weighting_traits traits() const { return {}; }
};

struct shares_its_memory {
  using weighting_kind = vierbein::loss_based;
  std::shared_ptr<int> calls = std::make_shared<int>(0);
  void reset(std::size_t) { *calls = 0; }
  void weigh(losses, weights w) { std::fill(w.begin(), w.end(), 1.0 + (*calls)++); }
};

struct keeps_its_size {
  using weighting_kind = vierbein::loss_based;
  std::vector<double> memory = {};
  void reset(std::size_t tasks) {
    if (memory.empty()) {
      memory.assign(tasks, 1.0);
    }
  }
  void weigh(losses, weights w) const {
    std::copy_n(memory.begin(), std::min(memory.size(), w.size()), w.begin());
  }
};

struct hangs_on_a_digit {
  using weighting_kind = vierbein::gram_based;
  void weigh(losses l, gram_matrix g, weights w) const {
    require_gram(l, g);
    for (std::size_t t = 0; t < w.size(); ++t) {
      const auto i = static_cast<index_t>(t);
      w[t] = l.has(t) ? 1 + 0.5 * std::sin(1e9 * g(i, i)) : 0;
    }
  }
};

struct of_two_minds {
  using weighting_kind = vierbein::gram_based;
  void weigh(losses l, gram_matrix g, weights w) const {
    require_gram(l, g);
    std::fill(w.begin(), w.end(), 1.0);
  }
  void combine(losses, matrix_view<const double> j, std::span<double> d) const {
    for (std::size_t p = 0; p < d.size(); ++p) {
      d[p] = 0;
      for (index_t t = 0; t < j.rows; ++t) {
        d[p] += j(t, static_cast<index_t>(p)) * (t == 1 ? 1.01 : 1.0);
      }
    }
  }
};

struct wrong_slope {
  using weighting_kind = vierbein::loss_based;
  void weigh(losses, weights w) const { std::fill(w.begin(), w.end(), 1.0); }
  [[nodiscard]] double objective(losses l) const {
    double sum = 0;
    for (std::size_t t = 0; t < l.size(); ++t) {
      sum += l.has(t) ? l[t] * l[t] : 0.0;
    }
    return sum;
  }
};

struct unsolved {
  using weighting_kind = vierbein::gram_based;
  struct proof {
    double residual = 0;
  };
  void weigh(losses l, gram_matrix g, weights w) const {
    require_gram(l, g);
    std::fill(w.begin(), w.end(), 1.0);
  }
  [[nodiscard]] proof last() const { return {.residual = 1e-3}; }
};

struct allocates {
  using weighting_kind = vierbein::loss_based;
  void weigh(losses l, weights w) const {
    const std::vector<double> ones(l.size(), 1.0);
    std::copy(ones.begin(), ones.end(), w.begin());
  }
};

// Projects each of two conflicting gradients on the other's normal, and makes far too much of it.
struct leaps {
  using weighting_kind = vierbein::gram_based;
  double factor = 1e6;
  void weigh(losses l, gram_matrix g, weights w) const {
    require_gram(l, g);
    const double product = l.has(0) && l.has(1) ? std::min(g(0, 1), 0.0) : 0.0;
    const double half = 0.5 * (product < 0 ? factor : 1);
    w[0] = half * (1 - (g(0, 0) > 0 ? product / g(0, 0) : 0.0));
    w[1] = half * (1 - (g(1, 1) > 0 ? product / g(1, 1) : 0.0));
  }
  [[nodiscard]] weighting_traits traits() const {
    return {.non_conflicting = true, .homogeneity = 1, .scale = weight_scale::mean};
  }
};

struct all_but_starves {
  using weighting_kind = vierbein::loss_based;
  void weigh(losses, weights w) const {
    for (std::size_t t = 0; t < w.size(); ++t) {
      w[t] = t == 0 ? 1 : 1e-5;
    }
  }
  [[nodiscard]] weighting_traits traits() const {
    return {.strongly_stationary = true, .homogeneity = 1};
  }
};

// As at the head of weighting/concept.hpp.
struct inverse_loss {  // w_t = 1 / ℓ_t
  using weighting_kind = vierbein::loss_based;
  std::vector<std::string> names = {};
  void reset(const std::vector<std::string>& task_names) { names = task_names; }
  void weigh(vierbein::losses l, vierbein::weights w) const {
    vierbein::weighting::require_above(l, 0, names, "inverse_loss");
    for (std::size_t t = 0; t < l.size(); ++t) {
      w[t] = l.has(t) ? 1 / l[t] : 0;
    }
  }
};

// NaN for all tasks that are there, with the sign that 0 / 0 has on most machines.
template <class Kind>
struct answers_nan {
  using weighting_kind = Kind;
  void weigh(losses l, weights w) const {
    for (std::size_t t = 0; t < w.size(); ++t) {
      w[t] = l.has(t) ? -std::numeric_limits<double>::quiet_NaN() : 0;
    }
  }
  void weigh(losses l, gram_matrix, weights w) const { weigh(l, w); }
  [[nodiscard]] weighting_traits traits() const {
    return {.non_conflicting = true,
            .permutation_invariant = true,
            .linear_under_scaling = true,
            .strongly_stationary = true,
            .convex_weights = true,
            .homogeneity = 1,
            .scale = weight_scale::sum};
  }
};

// NaN where some of the tasks are there, but not all.
struct undefined_with_gaps {
  using weighting_kind = vierbein::loss_based;
  void weigh(losses l, weights w) const {
    std::size_t there = 0;
    for (std::size_t t = 0; t < w.size(); ++t) {
      there += l.has(t) ? 1U : 0U;
    }
    const bool gaps = there > 0 && there < w.size();
    std::fill(w.begin(), w.end(), gaps ? -std::numeric_limits<double>::quiet_NaN() : 1.0);
  }
};

// Adds the gradients up element by element.
struct adds_up {
  using weighting_kind = vierbein::gradient_based;
  double excess = 0;
  template <class T>
  void combine(losses l, matrix_view<const T> j, std::span<T> d) const {
    for (std::size_t p = 0; p < d.size(); ++p) {
      double sum = 0;
      for (std::size_t t = 0; t < l.size(); ++t) {
        const T x = j(static_cast<index_t>(t), static_cast<index_t>(p));
        vierbein::require(!l.has(t) || std::isfinite(x), "adds_up", "task {} is not finite", t + 1);
        sum += l.has(t) ? static_cast<double>(x) : 0.0;
      }
      d[p] = static_cast<T>(sum) + (sizeof(T) == 4 ? static_cast<T>(excess) : T{0});
    }
  }
  [[nodiscard]] weighting_traits traits() const {
    return {.permutation_invariant = true,
            .linear_under_scaling = true,
            .strongly_stationary = true,
            .homogeneity = 1,
            .scale = weight_scale::sum};
  }
};

// Fails unless exactly these checks have failed.
void finds(const std::string& expected, const weighting_report& report) {
  std::string found;
  for (const std::string& name : report.failures()) {
    found += (found.empty() ? "" : ", ") + name;
  }
  INFO(report);
  CHECK(found == expected);
}

}  // namespace

TEST_CASE("sound policies pass") {
  CHECK(check_weighting(weighting::equal{}));
  CHECK(check_weighting(weighting::mean{}));
  CHECK(check_weighting(weighting::uncertainty{}));
  CHECK(check_weighting(weighting::gcs{.target = "main"}));
  CHECK(check_weighting(adds_up{}));
  CHECK(check_weighting(leaps{.factor = 1}, {.fewest_tasks = 2, .most_tasks = 2}));
}

TEST_CASE("each fault is found, and nothing else") {
  finds("finite answers", check_weighting(divides_by_zero{}));
  finds("finite answers", check_weighting(throws_at_three{}));
  finds("finite answers", check_weighting(writes_beyond{}));
  finds("unused losses", check_weighting(uses_what_it_denies{}));
  CHECK(!check_weighting(prefers_what_it_denies{}));
  finds("unseen gradients", check_weighting(peeks{}));
  finds("not a number", check_weighting(silent{}));
  finds("not a number", check_weighting(blames_nobody{}));
  finds("not a number", check_weighting(believes_what_it_observes{}));
  finds("absent tasks", check_weighting(sums_epochs{}));
  finds("absent tasks", check_weighting(sees_the_absent{}));
  finds("absent tasks", check_weighting(refuses_gaps{}));
  finds("non-conflicting", check_weighting(claims_non_conflicting{}));
  finds("permutation invariant", check_weighting(prefers_the_last{}));
  finds("linear under scaling",
        check_weighting(unit_length{.claims = {.linear_under_scaling = true}}));
  finds("homogeneous", check_weighting(unit_length{.claims = {.homogeneity = 1}}));
  finds("strongly stationary",
        check_weighting(shortest_of_two{}, {.fewest_tasks = 2, .most_tasks = 2}));
  finds("scale", check_weighting(claims_the_sum{}));
  finds("convex weights", check_weighting(claims_convexity{}));
  finds("no memory", check_weighting(claims_no_memory{}));
  finds("reset", check_weighting(counts{.resets = false}));
  finds("reset", check_weighting(shares_its_memory{}));
  finds("reset", check_weighting(keeps_its_size{}));
  finds("float", check_weighting(hangs_on_a_digit{}));
  finds("float", check_weighting(adds_up{.excess = 1}));
  finds("both verbs", check_weighting(of_two_minds{}));
  finds("objective", check_weighting(wrong_slope{}));
  finds("certificate", check_weighting(unsolved{}));
  finds("descent", check_weighting(leaps{}, {.fewest_tasks = 2, .most_tasks = 2}));
  finds("convergence", check_weighting(all_but_starves{}));
  const weighting_report report = check_weighting(allocates{});
  const auto verdict = report.find("allocations")->verdict;
  CHECK((verdict == weighting_verdict::failed || verdict == weighting_verdict::not_applicable));
  CHECK(report.failures().size() == (verdict == weighting_verdict::failed ? 1 : 0));
}

TEST_CASE("an answer that is not a number is one finding, and printed without a sign") {
  finds("finite answers", check_weighting(answers_nan<vierbein::loss_based>{}));
  finds("finite answers", check_weighting(answers_nan<vierbein::gram_based>{}));
  const weighting_report report = check_weighting(undefined_with_gaps{});
  finds("absent tasks", report);
  CHECK(report.find("absent tasks")->problem ==
        "at the first call it answers (nan, nan) where task 1 is absent");
  std::ostringstream out;
  out << report << check_weighting(answers_nan<vierbein::gram_based>{});
  CHECK(out.str().find("nan") != std::string::npos);
  CHECK(out.str().find("-nan") == std::string::npos);
}

TEST_CASE("the example at the head of weighting/concept.hpp conforms") {
  CHECK(check_weighting(inverse_loss{}));
}

TEST_CASE("an element that a policy does not assign is found") {
  // After a change of T without reset, too.
  CHECK(check_weighting(forgets_the_last{}).failures().front() == "finite answers");
}

TEST_CASE("golden values") {
  const auto golden = [](double second, int call = 1) {
    return vierbein::testing::weighting_checks{
        .golden = {{.j = {{1, 2}, {3, 4}}, .weights = {1, 1}},
                   {.j = {{1, 2}, {3, 4}}, .direction = {4, second}, .call = call}}};
  };
  CHECK(check_weighting(weighting::equal{}, golden(6)));
  CHECK(check_weighting(counts{}, golden(6)));
  CHECK_FALSE(check_weighting(counts{}, golden(6, 2)));
  const weighting_report report = check_weighting(weighting::equal{}, golden(7));
  finds("golden values", report);
  CHECK(report.find("golden values")->problem == "call 1 answers (4, 6) instead of (4, 7)");
}

TEST_CASE("a failure comes with a small example, and is printed with it") {
  // Row 2 pulls the mean against row 1: two tasks and one parameter are enough to show it.
  const weighting_report report = check_weighting(claims_non_conflicting{});
  CHECK(
      report.find("non-conflicting")->example.starts_with("losses (1, 1), J = [(1), (-2)] (from"));
  std::ostringstream out;
  out << report;
  CHECK(out.str().find("FAILED non-conflicting: task 1 gets worse: J d = (-0.5, 1) with w = "
                       "(0.5, 0.5)\n  example: losses (1, 1), J = [(1), (-2)]") !=
        std::string::npos);
  CHECK(check_weighting(divides_by_zero{})
            .find("finite answers")
            ->example.starts_with("losses (1), J = [(0)]"));
  // The task that a policy serves stays in the example.
  struct serves : weighting::gcs {
    [[nodiscard]] weighting_traits traits() const { return {.non_conflicting = true}; }
  };
  serves policy;
  policy.target = "main";
  const std::string example = check_weighting(policy).find("non-conflicting")->example;
  CHECK(example.find(", target 1 (from") != std::string::npos);
}

TEST_CASE("the measures of properties that are not claimed") {
  const weighting_report report = check_weighting(weighting::mean{}, {.measure_all = true});
  CHECK(report);
  const auto* conflict = report.find("non-conflicting");
  CHECK(conflict->verdict == weighting_verdict::not_claimed);
  CHECK(conflict->measured);
  CHECK(conflict->worst > 0.1);
  CHECK(report.find("linear under scaling")->worst < 1e-12);
  // Of a policy that declares nothing, the degree is found.
  const weighting_report degree = check_weighting(unit_length{.claims = {}}, {.measure_all = true});
  CHECK(degree.find("homogeneous")->worst < 1e-9);
  CHECK(degree.find("linear under scaling")->worst > 1e-2);
}
