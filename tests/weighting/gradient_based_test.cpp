// Policies that look at gradients element by element, and those that ask for several batches.
#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "situations.hpp"
#include "vierbein/core/error.hpp"
#include "vierbein/core/matrix.hpp"
#include "vierbein/testing/allocation_counter.hpp"
#include "vierbein/weighting/db_mtl.hpp"
#include "vierbein/weighting/excess_mtl.hpp"
#include "vierbein/weighting/graddrop.hpp"
#include "vierbein/weighting/moco.hpp"
#include "vierbein/weighting/modo.hpp"
#include "vierbein/weighting/rotograd.hpp"
#include "vierbein/weighting/sdmgrad.hpp"
#include "vierbein/weighting/trimmed_mean.hpp"

using doctest::Approx;
using vierbein::index_t;
using vierbein::matrix;
using vierbein::matrix_view;
namespace weighting = vierbein::weighting;

static_assert(vierbein::GradientBasedWeighting<weighting::graddrop> &&
              vierbein::GradientBasedWeighting<weighting::trimmed_mean> &&
              vierbein::GradientBasedWeighting<weighting::excess_mtl> &&
              vierbein::GradientBasedWeighting<weighting::moco> &&
              vierbein::GradientBasedWeighting<weighting::db_mtl_ema>);
static_assert(weighting::gram_batches<weighting::modo<>> == 2 &&
              weighting::gram_batches<weighting::modo<3>> == 3 &&
              weighting::gram_batches<weighting::sdmgrad> == 3 &&
              weighting::gram_batches<weighting::rotograd> == 1);

namespace {

template <class T>
matrix<T> rows(const std::vector<std::vector<double>>& values) {
  matrix<T> m(static_cast<index_t>(values.size()), static_cast<index_t>(values[0].size()));
  for (std::size_t r = 0; r < values.size(); ++r) {
    for (std::size_t c = 0; c < values[r].size(); ++c) {
      m(static_cast<index_t>(r), static_cast<index_t>(c)) = static_cast<T>(values[r][c]);
    }
  }
  return m;
}

std::vector<std::string> names_of(std::size_t n) {
  std::vector<std::string> names;
  for (std::size_t t = 0; t < n; ++t) {
    names.push_back("task " + std::to_string(t));
  }
  return names;
}

template <class P>
P ready(P policy, std::size_t tasks) {
  policy.reset(names_of(tasks));
  return policy;
}

template <class T = double, class P>
std::vector<double> combine(P& policy, const std::vector<std::vector<double>>& values,
                            std::span<const bool> present = {}, std::vector<double> l = {}) {
  const auto j = rows<T>(values);
  l.resize(values.size(), 1.0);
  std::vector<T> d(values[0].size(), T{-7});
  policy.combine(vierbein::losses{l, present}, matrix_view<const T>(j.view()), std::span<T>(d));
  return {d.begin(), d.end()};
}

template <class P>
std::vector<double> weigh(P& policy, const std::vector<std::vector<double>>& gram,
                          std::span<const bool> present = {}) {
  const auto g = rows<double>(gram);
  const std::vector<double> l(gram.size(), 1.0);
  std::vector<double> w(gram.size(), -7);
  policy.weigh(vierbein::losses{l, present}, g.view(), w);
  return w;
}

bool alike(const std::vector<double>& a, const std::vector<double>& b, double epsilon = 1e-12) {
  bool same = a.size() == b.size();
  for (std::size_t i = 0; same && i < a.size(); ++i) {
    same = std::abs(a[i] - b[i]) <= epsilon * (1 + std::abs(b[i]));
  }
  return same;
}

constexpr std::array<bool, 3> without_second{true, false, true};

}  // namespace

// ---- graddrop

TEST_CASE("graddrop keeps one sign in every coordinate, with the right probability") {
  // Coordinate 0: P = ½ (1 + (3 - 1) / 4) = 0.75, so 3 or -1; coordinate 1 has one sign alone;
  // coordinate 2 is 0.
  auto policy = ready(weighting::graddrop{.seed = 3}, 2);
  int positive = 0;
  const int calls = 4000;
  for (int i = 0; i < calls; ++i) {
    const auto d = combine(policy, {{3, 2, 0}, {-1, 1, 0}});
    REQUIRE((d[0] == 3 || d[0] == -1));
    CHECK(d[1] == 3);
    CHECK(d[2] == 0);
    positive += d[0] == 3 ? 1 : 0;
  }
  // Standard deviation of the share: √(0.75 · 0.25 / 4000) = 0.0068.
  CHECK(std::abs(positive / double{calls} - 0.75) < 4 * 0.0068);
}

TEST_CASE("graddrop lets a share of what is dropped through, and repeats its numbers") {
  auto policy = ready(weighting::graddrop{.leak = {0.5, 0.25}}, 2);
  std::vector<double> first;
  for (int i = 0; i < 20; ++i) {
    const auto d = combine(policy, {{3, 2, 0}, {-1, 1, 0}});
    REQUIRE((d[0] == 3 - 0.25 || d[0] == 1.5 - 1));
    first.push_back(d[0]);
  }
  policy.reset(names_of(2));
  for (int i = 0; i < 20; ++i) {
    CHECK(combine<float>(policy, {{3, 2, 0}, {-1, 1, 0}})[0] == first[static_cast<std::size_t>(i)]);
  }
  CHECK_THROWS_WITH(ready(weighting::graddrop{.leak = {0.5}}, 2),
                    "weighting::graddrop: 1 leaks for 2 tasks");
  CHECK_THROWS_WITH(ready(weighting::graddrop{.leak = {0.5, 2}}, 2),
                    "weighting::graddrop: a leak must lie in [0, 1], but is 2");
}

// ---- trimmed mean

TEST_CASE("trimmed_mean drops the extremes of every coordinate") {
  auto policy = ready(weighting::trimmed_mean{}, 4);
  const std::vector<std::vector<double>> j{{1e11, 3}, {1, -1e11}, {-1e10, 1e10}, {2, 2}};
  CHECK(alike(combine(policy, j), {1.5, 2.5}));
  CHECK(alike(combine<float>(policy, j), {1.5, 2.5}));
  auto mean = ready(weighting::trimmed_mean{.trim = 0}, 2);
  CHECK(alike(combine(mean, {{1, 2}, {3, -6}}), {2, -2}));
  CHECK_THROWS_WITH(ready(weighting::trimmed_mean{.trim = 2}, 4),
                    "weighting::trimmed_mean: trim = 2 needs at least 5 tasks, but there are 4");
}

TEST_CASE("trimmed_mean drops fewer where tasks are absent") {
  auto policy = ready(weighting::trimmed_mean{}, 3);
  CHECK(alike(combine(policy, {{1, 5}, {2, 7}, {9, 6}}), {2, 6}));
  CHECK(alike(combine(policy, {{1, 5}, {0, 0}, {9, 6}}, without_second), {5, 5.5}));
}

// ---- excess risks

TEST_CASE("excess_mtl: the first step and the recurrence by hand") {
  auto policy = ready(weighting::excess_mtl{}, 2);
  // e = (4 / √4, 1 / √1) = (2, 1)
  const double a = 1 / (1 + std::exp(-1.0));
  CHECK(alike(combine(policy, {{2, 0}, {1, 0}}), {2 * a + (1 - a), 0}, 1e-6));
  CHECK(a == Approx(0.7311).epsilon(1e-4));
  CHECK(policy.value[0] == Approx(0.7311).epsilon(1e-4));
  CHECK(policy.value[1] == Approx(0.2689).epsilon(1e-4));
  // S = (4 + 1, 1 + 4); e = (1 / √5, 4 / √5); relative to (2, 1): 1 / (2 √5) and 4 / √5.
  combine(policy, {{1, 0}, {2, 0}});
  const double up = a * std::exp(1 / (2 * std::sqrt(5.0)));
  const double other = (1 - a) * std::exp(4 / std::sqrt(5.0));
  CHECK(policy.value[0] == Approx(up / (up + other)).epsilon(1e-6));
  std::vector<double> w(2);
  policy.worth(w);
  CHECK(alike(w, policy.value));
}

TEST_CASE("excess_mtl as LibMTL has it, absent tasks, and huge gradients") {
  auto policy = ready(weighting::excess_mtl::libmtl(), 3);
  CHECK(alike(combine(policy, {{2, 0}, {1, 0}, {0, 1}}), {3, 1}));
  CHECK(combine(policy, {{2, 0}, {5, 5}, {0, 0}}, without_second)[1] == 0);
  std::vector<double> w(3);
  policy.worth(w);
  CHECK(w[1] == 0);
  CHECK(policy.value[0] + policy.value[1] + policy.value[2] == Approx(1));
  auto wild = ready(weighting::excess_mtl{}, 2);
  const auto d = combine(wild, {{1e30, 0}, {1, 0}});
  CHECK(std::isfinite(d[0]));
  CHECK(wild.value[0] == Approx(1));
}

// ---- moco

TEST_CASE("moco: two steps of the recurrence by hand") {
  auto policy =
      ready(weighting::moco{.beta = 0.5, .gamma = 0.1, .rho = 0.2, .normalise = false}, 2);
  // y = ½ J = (1, 0), (0, 2); YYᵀ = diag(1, 4); slope = (0.5 + 0.1, 2 + 0.1)
  // λ = (0.5 - 0.06, 0.5 - 0.21) = (0.44, 0.29) + 0.135 = (0.575, 0.425)
  CHECK(alike(combine(policy, {{2, 0}, {0, 4}}), {0.575, 0.85}));
  CHECK(alike(policy.lambda, {0.575, 0.425}));
  const double follow = 0.5 / std::sqrt(2.0);
  const double y0 = 1 + follow;      // 1 - follow (1 - 2)
  const double y1 = 2 - follow * 2;  // 2 - follow (2 - 0)
  const double pace = 0.1 / std::sqrt(2.0);
  const double a = 0.575 - pace * (y0 * y0 + 0.2) * 0.575;
  const double b = 0.425 - pace * (y1 * y1 + 0.2) * 0.425;
  const double shift = (1 - a - b) / 2;
  CHECK(alike(combine(policy, {{2, 0}, {0, 0}}), {(a + shift) * y0, (b + shift) * y1}));
}

TEST_CASE("moco normalises by losses, takes a softmax as LibMTL does, and skips absent tasks") {
  auto policy = ready(weighting::moco::libmtl(), 3);
  // ĝ = ℓ g / ‖g‖ = 2 (0.6, 0.8) and so on; y = half of it.
  const auto d = combine(policy, {{3, 4}, {5, 5}, {0, 9}}, without_second, {2, 1, 4});
  CHECK(alike({policy.tracked.begin(), policy.tracked.end()}, {0.6, 0.8, 0, 0, 0, 2}, 1e-8));
  // λ = softmax(⅓ (1 - 0.1 · (YYᵀ 1)_i)); YYᵀ1 = (1 + 1.6, 0, 1.6 + 4)
  const double a = std::exp((1 - 0.26) / 3);
  const double b = std::exp(1.0 / 3);
  const double c = std::exp((1 - 0.56) / 3);
  const double sum = a + b + c;
  CHECK(alike(policy.lambda, {a / sum, b / sum, c / sum}, 1e-7));
  CHECK(alike(d, {0.6 * a / sum, (0.8 * a + 2 * c) / sum}, 1e-7));
  CHECK_THROWS_WITH(ready(weighting::moco{.beta = 0}, 2),
                    "weighting::moco: beta must lie in (0, 1], but is 0");
}

// ---- DB-MTL

TEST_CASE("db_mtl_ema: averages of log losses' gradients, all as long as the longest") {
  auto policy = ready(weighting::db_mtl_ema{.beta = 0.5}, 2);
  // b = ½ g / ℓ = (1, 0), (0, 3): lengths 1 and 3
  CHECK(alike(combine(policy, {{2, 0}, {0, 12}}, {}, {1, 2}), {3, 3}, 1e-7));
  CHECK(alike(policy.value, {3, 1}, 1e-7));
  // b = ½ (g / ℓ + b) = (0.5, 0), (0, 3.5)
  CHECK(alike(combine(policy, {{0, 0}, {0, 4}}, {}, {1, 1}), {3.5, 3.5}, 1e-7));
  auto decaying = ready(weighting::db_mtl_ema{.beta = 0.5, .sigma = 1}, 1);
  combine(decaying, {{2}});
  CHECK(alike(combine(decaying, {{0}}), {0.25}, 1e-7));  // β₂ = ¼ of b = 1
}

TEST_CASE("db_mtl_ema bounds the weight of a vanishing gradient, and refuses negative losses") {
  auto policy = ready(weighting::db_mtl_ema{.beta = 0}, 3);
  combine(policy, {{1, 0}, {1e-9, 0}, {0, 0}});
  CHECK(alike(policy.value, {1, 1e4, 1}));
  CHECK_THROWS_WITH(combine(policy, {{1, 0}, {1, 0}, {1, 0}}, {}, {1, -1, 1}),
                    "weighting::db_mtl_ema: the loss of task 'task 1' is negative and has no "
                    "logarithm");
}

TEST_CASE("db_mtl_ema without average equals the golden weights") {
  // J = (-4, 1, 1), (6, 1, 1): lengths √18 and √38, weights (1.4530, 1).
  auto policy = ready(weighting::db_mtl_ema{.beta = 0}, 2);
  const double w = std::sqrt(38.0 / 18.0);
  CHECK(alike(combine(policy, {{-4, 1, 1}, {6, 1, 1}}), {-4 * w + 6, w + 1, w + 1}, 1e-7));
  CHECK(policy.value[0] == Approx(1.4530).epsilon(1e-4));
}

// ---- rotograd

TEST_CASE("rotograd gives all gradients one length, set by the slowest task") {
  auto policy = ready(weighting::rotograd{.burn_in = 2}, 2);
  // In the first step α = ½ each: C = (2 + 4) / 2 = 3.
  CHECK(alike(weigh(policy, {{4, 0}, {0, 16}}), {1.5, 0.75}));
  // Lengths 1 and 4: ratios ½ and 1, α = (⅓, ⅔), C = ⅓ + 8 / 3 = 3.
  CHECK(alike(weigh(policy, {{1, 0}, {0, 16}}), {3, 0.75}));
  // The third step is number burn_in: n⁰ anew.
  CHECK(alike(weigh(policy, {{1, 0}, {0, 9}}), {2, 2.0 / 3}));
  CHECK(policy.first_length == std::vector<double>{1, 3});
}

TEST_CASE("rotograd gives nothing to the absent and to gradients that vanish") {
  auto policy = ready(weighting::rotograd{}, 3);
  CHECK(alike(weigh(policy, {{4, 0, 0}, {0, 9, 0}, {0, 0, 0}}, without_second), {1, 0, 0}));
  CHECK(alike(weigh(policy, {{0, 0, 0}, {0, 0, 0}, {0, 0, 0}}), {0, 0, 0}));
}

// ---- several batches

TEST_CASE("modo: the golden step, and matrices that are not symmetric") {
  auto policy = ready(weighting::modo<>{}, 2);
  CHECK(alike(weigh(policy, {{1, 0}, {0, 2}}), {0.525, 0.475}));
  // λ - 0.1 (G λ + 0.1 λ), G = ((0, 4), (0, 0)): first 0.525 - 0.19 - 0.00525, second 0.47025
  const double a = 0.525 - 0.19 - 0.00525;
  const double b = 0.475 - 0.00475;
  CHECK(alike(weigh(policy, {{0, 4}, {0, 0}}), {a + (1 - a - b) / 2, b + (1 - a - b) / 2}));
  CHECK(weighting::modo<3>::libmtl().gamma == 1e-3);
}

TEST_CASE("sdmgrad: two steps of projected descent with momentum by hand") {
  auto policy =
      ready(weighting::sdmgrad{.lambda = 0.5, .steps = 2, .momentum = 0.5, .rate = 0.1}, 2);
  // A = diag(1, 4) / 1.5²; w̃ = ½, λ w̃ = ¼.
  const double p = 1 / 2.25;
  const double q = 4 / 2.25;
  double v0 = p * 0.75;
  double v1 = q * 0.75;
  double w0 = 0.5 - 0.1 * v0;
  double w1 = 0.5 - 0.1 * v1;
  double shift = (1 - w0 - w1) / 2;
  w0 += shift;
  w1 += shift;
  v0 = 0.5 * v0 + p * (w0 + 0.25);
  v1 = 0.5 * v1 + q * (w1 + 0.25);
  w0 -= 0.1 * v0;
  w1 -= 0.1 * v1;
  shift = (1 - w0 - w1) / 2;
  w0 += shift;
  w1 += shift;
  CHECK(alike(weigh(policy, {{1, 0}, {0, 4}}), {(w0 + 0.25) / 1.5, (w1 + 0.25) / 1.5}));
  CHECK(alike(policy.value, {w0, w1}));
}

TEST_CASE("sdmgrad stays on the simplex, whatever the scale, with and without absent tasks") {
  for (const double scale : {1e-12, 1.0, 1e12}) {
    auto policy = ready(weighting::sdmgrad{}, 3);
    const auto w = weigh(
        policy, {{4 * scale, -1 * scale, 0}, {-2 * scale, 9 * scale, scale}, {0, scale, scale}});
    CHECK(w[0] + w[1] + w[2] == Approx(1));
    const double second = policy.value[1];
    weigh(policy, {{4 * scale, 0, 0}, {0, 0, 0}, {0, 0, scale}}, without_second);
    CHECK(policy.value[1] == second);
    CHECK(policy.value[0] + policy.value[1] + policy.value[2] == Approx(1));
    CHECK(*std::min_element(policy.value.begin(), policy.value.end()) >= 0);
  }
  auto policy = ready(weighting::sdmgrad{}, 2);  // noise alone: nothing is known
  CHECK(alike(weigh(policy, {{-1, 0}, {0, -1}}), {0.5, 0.5}));
}

// ---- all

TEST_CASE_TEMPLATE("gradients that are not finite are refused by the task's name", P,
                   weighting::graddrop, weighting::trimmed_mean, weighting::excess_mtl,
                   weighting::moco, weighting::db_mtl_ema) {
  auto policy = ready(P{}, 3);
  const double nan = situations::no_number;
  try {
    combine(policy, {{1, 2}, {1, nan}, {1, 2}});
    FAIL("no error");
  } catch (const vierbein::error& e) {
    CHECK(std::string(e.what()).ends_with(": the gradient of task 'task 1' has no finite norm"));
  }
  CHECK_NOTHROW(combine(policy, {{1, 2}, {1, nan}, {1, 2}}, without_second));
}

TEST_CASE_TEMPLATE("float and double agree, and nothing is allocated", P, weighting::graddrop,
                   weighting::trimmed_mean, weighting::excess_mtl, weighting::moco,
                   weighting::db_mtl_ema) {
  auto policy = ready(P{}, 3);
  auto twin = policy;
  const std::vector<std::vector<double>> values{{3, -2, 0.5}, {-1, 4, 0.25}, {2, 2, -1}};
  CHECK(alike(combine(policy, values), combine<float>(twin, values), 1e-6));
  const auto j = rows<double>(values);
  const std::vector<double> l(3, 1.0);
  std::vector<double> d(3);
  vierbein::testing::allocation_counter counter;
  for (int i = 0; i < 20; ++i) {
    policy.combine(vierbein::losses{l}, matrix_view<const double>(j.view()), std::span<double>(d));
  }
  CHECK(counter.count().value_or(0) == 0);
}
