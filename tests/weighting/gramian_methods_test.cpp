// The weighting methods on the Gramian: values worked out by hand or pinned, what their papers
// promise on random gradients at every scale, and what all of them do with absent tasks and bad
// input.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <string>
#include <vector>

#include "situations.hpp"
#include "vierbein/core/error.hpp"
#include "vierbein/core/matrix.hpp"
#include "vierbein/testing/gradient_matrices.hpp"
#include "vierbein/weighting/aligned_mtl.hpp"
#include "vierbein/weighting/cagrad.hpp"
#include "vierbein/weighting/config.hpp"
#include "vierbein/weighting/cr_mogm.hpp"
#include "vierbein/weighting/db_mtl.hpp"
#include "vierbein/weighting/dual_proj.hpp"
#include "vierbein/weighting/fairgrad.hpp"
#include "vierbein/weighting/gradnorm.hpp"
#include "vierbein/weighting/gradvac.hpp"
#include "vierbein/weighting/imtl_g.hpp"
#include "vierbein/weighting/krum.hpp"
#include "vierbein/weighting/mgda.hpp"
#include "vierbein/weighting/nash_mtl.hpp"
#include "vierbein/weighting/pcgrad.hpp"
#include "vierbein/weighting/primary_gradvac.hpp"
#include "vierbein/weighting/primary_pcgrad.hpp"
#include "vierbein/weighting/upgrad.hpp"

using doctest::Approx;
using vierbein::error;
using vierbein::index_t;
using vierbein::losses;
using vierbein::matrix;
namespace testing = vierbein::testing;
namespace weighting = vierbein::weighting;
using situations::no_number;
using testing::stationarity;
using weighting::weight_scale;
using vec = std::vector<double>;

namespace {

matrix<double> rows(const std::vector<vec>& values) {
  matrix<double> j(static_cast<index_t>(values.size()), static_cast<index_t>(values[0].size()));
  for (index_t t = 0; t < j.rows(); ++t) {
    std::copy(values[static_cast<std::size_t>(t)].begin(),
              values[static_cast<std::size_t>(t)].end(), j.row(t).begin());
  }
  return j;
}

std::vector<std::string> names(std::size_t count) {
  std::vector<std::string> all(count);
  for (std::size_t t = 0; t < count; ++t) {
    all[t] = "task" + std::to_string(t);
  }
  return all;
}

// The weights at J with losses of 1.
template <class P>
vec weigh(P& policy, const matrix<double>& j) {
  const auto count = static_cast<std::size_t>(j.rows());
  const vec values(count, 1.0);
  const matrix<double> g = testing::gram_of(j);
  vec w(count, no_number);
  policy.weigh(losses{values}, g.view(), w);
  return w;
}
template <class P>
vec weigh(P&& policy, const matrix<double>& j) {
  return weigh(policy, j);
}

bool near(const vec& a, const vec& b, double tolerance) {
  bool same = a.size() == b.size();
  for (std::size_t i = 0; same && i < a.size(); ++i) {
    same = std::abs(a[i] - b[i]) <= tolerance;
  }
  return same;
}

double distance(const vec& a, const vec& b) {
  vec d = a;
  for (std::size_t i = 0; i < d.size(); ++i) {
    d[i] -= b[i];
  }
  return testing::norm_of(d);
}

double size_of(const matrix<double>& j) {
  return testing::norm_of({j.data(), static_cast<std::size_t>(j.size())});
}

// G = [18 -22; -22 38].
const matrix<double> opposing = rows({{-4, 1, 1}, {6, 1, 1}});
constexpr double four_digits = 6e-5;
constexpr double scales[] = {1e-12, 1e-6, 1, 1e6, 1e12};

template <class Check>
void each_matrix(Check&& check) {
  std::uint64_t stream = 100;
  for (const stationarity kind : testing::every_stationarity) {
    for (const auto& [tasks, parameters] :
         {std::pair<index_t, index_t>{2, 3}, {4, 3}, {5, 9}, {9, 11}, {16, 40}}) {
      const index_t largest = testing::largest_rank(kind, tasks, parameters);
      for (const index_t rank : {largest, (largest + 1) / 2}) {
        CAPTURE(testing::name(kind));
        CAPTURE(tasks);
        CAPTURE(rank);
        check(testing::gradient_matrix(kind, tasks, parameters, rank, {21, ++stream}), kind);
      }
    }
  }
}

}  // namespace

// ---- values

TEST_CASE("the methods at two opposing gradients") {
  const auto& j = opposing;
  using weighting::aligned_mtl;
  // TorchJD pins 1.1109 and 0.6109: it adds 1e-4 tr(G) to the diagonal.
  CHECK(near(weigh(weighting::upgrad{}, j), {(1 + 22.0 / 18) / 2, (1 + 22.0 / 38) / 2}, 1e-14));
  CHECK(near(weigh(weighting::dual_proj{}, j), {22.0 / 36, 0.5}, 1e-14));
  CHECK(near(weigh(weighting::mgda{}, j), {0.6, 0.4}, 1e-14));
  CHECK(near(weigh(weighting::pcgrad{}, j), {1 + 22.0 / 18, 1 + 22.0 / 38}, 1e-14));
  CHECK(near(weigh(weighting::imtl_g{}, j), {0.5923, 0.4077}, four_digits));
  CHECK(near(weigh(aligned_mtl{}, j), {0.5591, 0.4083}, four_digits));
  CHECK(near(weigh(aligned_mtl::libmtl(), j), {1.1181, 0.8165}, four_digits));
  CHECK(near(weigh(weighting::cagrad{.c = 0.5}, j), {0.7041, 0.5}, four_digits));
  CHECK(near(weigh(weighting::cagrad::libmtl(), j), {0.7041 / 1.25, 0.4}, four_digits));
  CHECK(near(weigh(weighting::fairgrad{}, j), {0.5915, 0.4071}, four_digits));
  CHECK(near(weigh(weighting::fairgrad{.a = 2}, j), {0.4714, 0.3195}, four_digits));
  CHECK(near(weigh(weighting::fairgrad{.a = 0.5}, j), {0.7428, 0.5254}, four_digits));
  CHECK(near(weigh(weighting::fairgrad{.a = 0.1}, j), {1.0319, 0.8111}, four_digits));
  CHECK(near(weigh(weighting::config{}, j), {1.2265, 0.8441}, four_digits));
  CHECK(near(weigh(weighting::db_mtl{}, j), {std::sqrt(38.0 / 18), 1}, 1e-7));
  CHECK(near(testing::combine(j, weigh(weighting::nash_mtl{}, j)), {0.0542, 0.7061, 0.7061},
             four_digits));
  CHECK(near(testing::combine(j, weigh(weighting::config{}, j)), {0.1588, 2.0706, 2.0706},
             four_digits));
}

TEST_CASE("aligned_mtl with the median and the mean of eigenvalues") {
  // G = diag(1, 4, 9) scales g_t by √(λ_ref / λ_t).
  const auto j = rows({{1, 0, 0}, {0, 2, 0}, {0, 0, 3}});
  using weighting::aligned_mtl;
  CHECK(near(weigh(aligned_mtl{.scale = weight_scale::sum}, j), {1, 1.0 / 2, 1.0 / 3}, 1e-14));
  CHECK(near(
      weigh(aligned_mtl{.reference = aligned_mtl::component::median, .scale = weight_scale::sum},
            j),
      {2, 1, 2.0 / 3}, 1e-14));
  CHECK(near(
      weigh(aligned_mtl{.reference = aligned_mtl::component::mean, .preference = {3, 0, 1}}, j),
      {3 * std::sqrt(14.0 / 3), 0, std::sqrt(14.0 / 27)}, 1e-14));
  // Of rank 1 only the common direction is kept: the projection of p.
  CHECK(near(weigh(aligned_mtl{.preference = {1, 0}}, rows({{2, 0}, {2, 0}})), {0.5, 0.5}, 1e-14));
  CHECK(weigh(aligned_mtl{.preference = {1, 3}}, rows({{0, 0}, {0, 0}})) == vec{1, 3});
}

TEST_CASE("mgda with normalised gradients") {
  using weighting::mgda;
  using size = mgda::gradient_normalisation;
  const auto j = rows({{1, 0}, {0, 2}});
  const matrix<double> g = testing::gram_of(j);
  const vec values{0.5, 4};
  const auto at = [&](mgda policy) {
    vec w(2);
    policy.weigh(losses{values}, g.view(), w);
    return w;
  };
  CHECK(near(at(mgda{}), {0.8, 0.2}, 1e-15));
  CHECK(near(at({.normalisation = size::l2}), {0.5, 0.5}, 1e-15));
  CHECK(near(at(mgda::libmtl(size::l2)), {0.5, 0.25}, 1e-15));
  // Squared lengths 4 and ¼: 1/17 and 16/17.
  CHECK(near(at({.normalisation = size::loss}), {1.0 / 17, 16.0 / 17}, 1e-15));
  CHECK(near(at(mgda::libmtl(size::loss)), {2.0 / 17, 4.0 / 17}, 1e-15));
  // 4 and 1/16: 1/65 and 64/65.
  CHECK(near(at({.normalisation = size::loss_plus}), {1.0 / 65, 64.0 / 65}, 1e-15));
  CHECK(near(at(mgda::libmtl(size::loss_plus)), {2.0 / 65, 8.0 / 65}, 1e-15));
  const vec bad{1, 0};
  vec w(2);
  mgda policy{.normalisation = size::loss};
  policy.reset({"a", "b"});
  CHECK_THROWS_WITH_AS(
      policy.weigh(losses{bad}, g.view(), w),
      "weighting::mgda: the loss of task 'b' must be positive to divide by, but is 0", error);
}

TEST_CASE("gradvac: the first call is PCGrad, then cosines are aimed at") {
  weighting::gradvac policy;
  CHECK(near(weigh(policy, opposing), {2.2222, 1.5789}, four_digits));
  CHECK(near(weigh(policy, opposing), {1.8580, 1.4064}, four_digits));
  policy.reset({"a", "b"});
  CHECK(near(weigh(policy, opposing), {2.2222, 1.5789}, four_digits));
  // Equal gradients stay as they are, however often.
  weighting::gradvac equal;
  for (int i = 0; i < 100; ++i) {
    CHECK(near(weigh(equal, rows({{0.1, 0.2}, {0.1, 0.2}, {0.3, 0.6}})), {1, 1, 1}, 1e-12));
  }
}

TEST_CASE("the vaccine gives the cosine that is aimed at") {
  const auto j = rows({{3, 1, 0}, {-1, 2, 2}});
  const matrix<double> g = testing::gram_of(j);
  for (const double aim : {-0.05, 0.0, 0.5, 0.99}) {
    weighting::combination x;
    x.begin(g.view(), 0);
    CHECK(x.vaccinate(1, aim) == Approx(-1 / std::sqrt(90)));
    const vec d = testing::combine(j, x.coefficients());
    CHECK(testing::along(j, d)[1] / testing::norm_of(d) / 3 == Approx(aim).epsilon(1e-6));
  }
  weighting::combination x;
  x.begin(g.view(), 0);
  x.vaccinate(1, -0.5);  // the cosine is higher already
  CHECK(vec(x.coefficients().begin(), x.coefficients().end()) == vec{1, 0});
}

TEST_CASE("primary_pcgrad and primary_gradvac leave the target as it is") {
  // Gradients (3, 4), (0, 4), (-3, 0); the last conflicts: 9 / 25 of the target is added.
  const auto j = rows({{3, 4}, {0, 4}, {-3, 0}});
  weighting::primary_pcgrad project{.target = "main"};
  project.reset(situations::names);
  CHECK(near(weigh(project, j), {1.36, 1, 1}, 1e-15));
  weighting::primary_gradvac turn{.target = "main", .beta = 0.5};
  turn.reset(situations::names);
  CHECK(near(weigh(turn, j), {1.36, 1, 1}, 1e-7));
  // φ̂ is 0.4 and -0.3 now; the cosines 0.8 and -0.6: the last one is turned to -0.3.
  const double sine = std::sqrt(1 - 0.09);
  CHECK(near(weigh(turn, j), {1 + 3 * (-0.3 * 0.8 + 0.6 * sine) / (5 * sine), 1, 1}, 1e-7));
  CHECK(turn.aims[1] == Approx(0.6));
  CHECK(turn.aims[2] == Approx(-0.45));
  CHECK_THROWS_WITH_AS(
      (weighting::primary_pcgrad{.target = "mian"}.reset(situations::names)),
      "weighting::primary_pcgrad: there is no task 'mian' to be the target among main, near, far",
      error);
  const vec values(3, 1.0);
  const matrix<double> g = testing::gram_of(j);
  vec w(3);
  project.weigh(losses{values, situations::without_target}, g.view(), w);
  CHECK(w == vec{0, 1, 1});
  turn.weigh(losses{values, situations::without_target}, g.view(), w);
  CHECK(w == vec{0, 1, 1});
  CHECK(turn.aims[2] == Approx(-0.45));
}

TEST_CASE("krum selects what has company") {
  const auto j = rows({{1, 1, 1}, {1, 0, 1}, {75, -666, 23}, {1, 2, 3}, {2, 0, 1}});
  CHECK(weigh(weighting::krum{.f = 1, .k = 4}, j) == vec{0.25, 0.25, 0, 0.25, 0.25});
  // Sums of the two smallest distances: 1 + √2, 1 + 1, ..., 1 + √2.
  CHECK(weigh(weighting::krum{.f = 1}, j) == vec{0, 1, 0, 0, 0});
  CHECK(weigh(weighting::krum{.f = 2, .k = 5}, j) == vec(5, 0.2));
  CHECK_THROWS_WITH_AS(weighting::krum{.f = 1}.reset(names(3)),
                       "weighting::krum: f = 1 and k = 1 need at least 4 tasks, but there are 3",
                       error);
  CHECK_THROWS_AS((weighting::krum{.k = 4}.reset(names(3))), error);
  CHECK_THROWS_AS(weighting::krum{.k = 0}.reset(names(3)), error);
}

TEST_CASE("db_mtl: log losses, a bound, and gradients that are 0") {
  const matrix<double> g = testing::gram_of(rows({{1, 0}, {0, 1}, {0, 0}, {1e-9, 0}}));
  const vec values{2, 0.5, 4, 1};
  vec w(4);
  weighting::db_mtl{}.weigh(losses{values}, g.view(), w);
  // Lengths ½, 2, 0 and 1e-9: v = 4, 1, 1 and 1e4.
  CHECK(near(w, {2, 2, 0.25, 1e4}, 1e-3));
  const vec negative{2, -0.5, 4, 1};
  CHECK_THROWS_WITH_AS(weighting::db_mtl{}.weigh(losses{negative}, g.view(), w),
                       "weighting::db_mtl: the loss of task 2 must be positive, but is -0.5",
                       error);
}

TEST_CASE("nash_mtl: ‖d‖² = T before the bound, and steps in between keep w") {
  each_matrix([&](const matrix<double>& j, stationarity kind) {
    if (kind == stationarity::non_weak) {
      for (const double s : scales) {
        const auto scaled = testing::scaled(j, s);
        const vec d = testing::combine(scaled, weigh(weighting::nash_mtl{.max_norm = 0}, scaled));
        CHECK(testing::norm_of(d) * testing::norm_of(d) ==
              Approx(static_cast<double>(j.rows())).epsilon(1e-7));
        CHECK(testing::norm_of(testing::combine(scaled, weigh(weighting::nash_mtl{}, scaled))) ==
              Approx(1).epsilon(1e-12));
      }
    }
  });
  weighting::nash_mtl policy{.max_norm = 0, .update_every = 3};
  policy.reset({"a", "b"});
  const vec first = weigh(policy, opposing);
  const auto other = rows({{1, 0}, {0, 1}});
  CHECK(weigh(policy, other) == first);
  CHECK(weigh(policy, other) == first);
  CHECK(near(weigh(policy, other), {1, 1}, 1e-14));
  policy.max_norm = 1;
  CHECK(near(weigh(policy, other), {std::sqrt(0.5), std::sqrt(0.5)}, 1e-14));
  policy.reset({"a", "b"});
  policy.max_norm = 0;
  CHECK(weigh(policy, opposing) == first);
}

TEST_CASE("gradnorm by hand") {
  using weighting::gradnorm;
  const matrix<double> g = testing::gram_of(rows({{1, 0}, {0, 3}}));
  vec w(2);
  const vec start{2, 4};
  SUBCASE("plain descent on the weights") {
    gradnorm policy{.alpha = 1, .learning_rate = 0.1, .method = gradnorm::optimiser::sgd};
    policy.reset({"a", "b"});
    policy.weigh(losses{start}, g.view(), w);
    CHECK(w == vec{1, 1});
    // Lengths 1 and 3, mean 2, rates 1: slopes -1 and +3; w = 1.1 and 0.7, brought to the sum 2.
    const vec later{1, 4};
    policy.weigh(losses{later}, g.view(), w);
    CHECK(near(w, {2.2 / 1.8, 1.4 / 1.8}, 1e-14));
    // Rates ½ and 1, over their mean 2/3 and 4/3. Weighted lengths 1.2222 and 2.3333, mean 1.7778,
    // aims 1.1852 and 2.3704: slopes +1 and -3.
    policy.weigh(losses{later}, g.view(), w);
    const double a = 2.2 / 1.8 - 0.1;
    const double b = 1.4 / 1.8 + 0.3;
    CHECK(near(w, {2 * a / (a + b), 2 * b / (a + b)}, 1e-14));
  }
  SUBCASE("softmax") {
    gradnorm policy{.alpha = 1,
                    .learning_rate = 0.1,
                    .parameters = gradnorm::weights_as::softmax,
                    .method = gradnorm::optimiser::sgd};
    policy.reset({"a", "b"});
    policy.weigh(losses{start}, g.view(), w);
    policy.weigh(losses{start}, g.view(), w);
    // Slopes of w -1 and 3, mean 1: slopes of v -2 and 2.
    const double a = std::exp(0.2);
    const double b = std::exp(-0.2);
    CHECK(near(w, {2 * a / (a + b), 2 * b / (a + b)}, 1e-14));
  }
  SUBCASE("the first epoch's mean for a baseline") {
    gradnorm policy = gradnorm::libmtl();
    policy.reset({"a", "b"});
    for (int i = 0; i < 3; ++i) {
      policy.weigh(losses{start}, g.view(), w);
      CHECK(w == vec{1, 1});
    }
    policy.end_epoch(start);
    policy.weigh(losses{start}, g.view(), w);
    policy.weigh(losses{start}, g.view(), w);
    CHECK(w[0] > 1);
    CHECK(w[0] + w[1] == Approx(2));
  }
  SUBCASE("gradients come to one length") {
    gradnorm policy;
    for (int i = 0; i < 500; ++i) {
      policy.weigh(losses{start}, g.view(), w);
    }
    CHECK(w[0] == Approx(1.5).epsilon(0.02));
    CHECK(w[1] == Approx(0.5).epsilon(0.04));
  }
  SUBCASE("an absent task keeps its weight, options are checked") {
    gradnorm policy{.learning_rate = 0.1};
    policy.reset({"a", "b"});
    const std::array<bool, 2> first{true, false};
    policy.weigh(losses{start, first}, g.view(), w);
    CHECK(w == vec{1, 0});
    CHECK(policy.state[1].first_loss == 0);
    policy.weigh(losses{start}, g.view(), w);
    CHECK(w == vec{1, 1});
    CHECK_THROWS_AS(gradnorm{.alpha = -1}.reset(names(2)), error);
    CHECK_THROWS_AS(gradnorm{.learning_rate = no_number}.reset(names(2)), error);
    CHECK_THROWS_AS(gradnorm{.smallest = 0}.reset(names(2)), error);
    const vec zero{1, 0};
    CHECK_THROWS_WITH_AS(policy.weigh(losses{zero}, g.view(), w),
                         "weighting::gradnorm: the loss of task 'b' must be positive, but is 0",
                         error);
  }
}

TEST_CASE("cr_mogm by hand: the first weights, then a moving average") {
  weighting::cr_mogm<weighting::mgda> policy{.policy = weighting::mgda{}, .memory = 0.9};
  policy.reset({"a", "b"});
  CHECK(near(weigh(policy, opposing), {0.6, 0.4}, 1e-14));
  CHECK(near(weigh(policy, rows({{1, 0}, {0, 2}})), {0.9 * 0.6 + 0.08, 0.9 * 0.4 + 0.02}, 1e-14));
}

// ---- what papers promise

TEST_CASE("upgrad and dual_proj harm no task, at every scale") {
  each_matrix([&](const matrix<double>& j, stationarity kind) {
    for (const double s : scales) {
      const auto scaled = testing::scaled(j, s);
      const auto check = [&](auto policy) {
        const vec d = testing::combine(scaled, weigh(policy, scaled));
        const vec slopes = testing::along(scaled, d);
        for (index_t t = 0; t < j.rows(); ++t) {
          CHECK(slopes[static_cast<std::size_t>(t)] >=
                -1e-8 * testing::norm_of(scaled.row(t)) * testing::norm_of(d));
        }
        CHECK(policy.last().converged);
        if (kind == stationarity::strong) {
          CHECK(testing::norm_of(d) == 0);
        } else if (kind == stationarity::non_weak) {
          CHECK(testing::norm_of(d) > 1e-3 * size_of(scaled));
        }
      };
      check(weighting::upgrad{});
      check(weighting::dual_proj{});
      check(weighting::cagrad{.c = 1});
      check(weighting::cagrad{.c = 2});
    }
  });
}

TEST_CASE("upgrad is linear in the lengths of gradients") {
  std::uint64_t stream = 0;
  each_matrix([&](const matrix<double>& j, stationarity) {
    const vierbein::random_stream random{4, ++stream};
    const auto stretched = [&](const vec& c) {
      matrix<double> k = j;
      for (index_t t = 0; t < j.rows(); ++t) {
        for (double& x : k.row(t)) {
          x *= c[static_cast<std::size_t>(t)];
        }
      }
      return testing::combine(k, weigh(weighting::upgrad{}, k));
    };
    vec one(static_cast<std::size_t>(j.rows()));
    vec two = one;
    vec both = one;
    for (std::size_t t = 0; t < one.size(); ++t) {
      one[t] = random.uniform(2 * t) + 1e-3;
      two[t] = random.uniform(2 * t + 1) + 1e-3;
      both[t] = 0.3 * one[t] + 0.6 * two[t];
    }
    vec sum = stretched(one);
    const vec second = stretched(two);
    for (std::size_t p = 0; p < sum.size(); ++p) {
      sum[p] = 0.3 * sum[p] + 0.6 * second[p];
    }
    CHECK(distance(stretched(both), sum) < 1e-7 * size_of(j));
  });
}

TEST_CASE("for two tasks pcgrad is upgrad with preferences of 1") {
  for (std::uint64_t k = 0; k < 20; ++k) {
    const auto j = testing::gradient_matrix(stationarity::normal, 2, 50, 2, {6, k});
    for (const double s : scales) {
      const auto scaled = testing::scaled(j, s);
      CHECK(near(weigh(weighting::pcgrad{}, scaled),
                 weigh(weighting::upgrad{.scale = weight_scale::sum}, scaled), 1e-12));
      CHECK(near(weigh(weighting::pcgrad{}, scaled),
                 weigh(weighting::upgrad{.preference = {1, 1}}, scaled), 1e-12));
    }
  }
}

TEST_CASE("pcgrad goes through the others in an order that the seed decides") {
  const auto j = testing::gradient_matrix(stationarity::normal, 5, 5, 5, {6, 60});
  // Worked through on the vectors themselves, with the same orders.
  weighting::pcgrad policy{.seed = 3};
  policy.reset(names(5));
  const auto stream = vierbein::random_stream{3, vierbein::name_hash("weighting::pcgrad")}.fork(0);
  vec sum(5, 0.0);
  for (index_t i = 0; i < 5; ++i) {
    vec x(j.row(i).begin(), j.row(i).end());
    for (const index_t other :
         vierbein::random_permutation(5, stream.fork(static_cast<std::uint64_t>(i)))) {
      const double product = testing::along(j, x)[static_cast<std::size_t>(other)];
      const double length = testing::norm_of(j.row(other));
      for (std::size_t p = 0; p < 5 && other != i && product < 0; ++p) {
        x[p] -= product / (length * length) * j(other, static_cast<index_t>(p));
      }
    }
    for (std::size_t p = 0; p < 5; ++p) {
      sum[p] += x[p];
    }
  }
  const vec first = weigh(policy, j);
  CHECK(distance(testing::combine(j, first), sum) < 1e-13 * size_of(j));
  const vec second = weigh(policy, j);
  CHECK(second != first);
  policy.reset(names(5));
  CHECK(weigh(policy, j) == first);
  weighting::pcgrad other{.seed = 4};
  CHECK(weigh(other, j) != first);
}

TEST_CASE("imtl_g projects alike on all gradients, config has one cosine with all") {
  each_matrix([&](const matrix<double>& j, stationarity kind) {
    for (const double s : scales) {
      const auto scaled = testing::scaled(j, s);
      weighting::imtl_g impartial;
      const vec w = weigh(impartial, scaled);
      if (kind == stationarity::non_weak && impartial.last().converged) {
        CHECK(std::accumulate(w.begin(), w.end(), 0.0) == Approx(1));
        const vec slopes = testing::along(scaled, testing::combine(scaled, w));
        const double first = slopes[0] / testing::norm_of(scaled.row(0));
        for (index_t t = 1; t < j.rows(); ++t) {
          CHECK(slopes[static_cast<std::size_t>(t)] / testing::norm_of(scaled.row(t)) ==
                Approx(first).epsilon(1e-6));
        }
      }
      weighting::config same;
      const vec d = testing::combine(scaled, weigh(same, scaled));
      if (kind == stationarity::non_weak && same.last().converged) {
        const vec slopes = testing::along(scaled, d);
        const double first = slopes[0] / testing::norm_of(scaled.row(0)) / testing::norm_of(d);
        for (index_t t = 1; t < j.rows(); ++t) {
          CHECK(slopes[static_cast<std::size_t>(t)] / testing::norm_of(scaled.row(t)) /
                    testing::norm_of(d) ==
                Approx(first).epsilon(1e-6));
        }
      }
    }
  });
}

// ---- what holds for all of them

TEST_CASE_TEMPLATE("a method on G", P, weighting::mgda, weighting::upgrad, weighting::dual_proj,
                   weighting::cagrad, weighting::fairgrad, weighting::nash_mtl, weighting::imtl_g,
                   weighting::aligned_mtl, weighting::config, weighting::pcgrad, weighting::gradvac,
                   weighting::db_mtl, weighting::gradnorm, weighting::krum,
                   weighting::primary_pcgrad, weighting::primary_gradvac) {
  static_assert(vierbein::GramBasedWeighting<P>);
  static_assert(vierbein::WeightingPolicy<P>);
  static_assert(weighting::HasTraits<P>);
  constexpr bool is_krum = std::is_same_v<P, weighting::krum>;
  constexpr bool is_gradnorm = std::is_same_v<P, weighting::gradnorm>;
  P policy;
  if constexpr (weighting::HasTarget<P>) {
    policy.target = "task1";
  }
  const auto j = testing::gradient_matrix(stationarity::non_weak, 4, 6, 4, {8, 1});
  policy.reset(names(4));
  const vec first = weigh(policy, j);
  CHECK(std::all_of(first.begin(), first.end(), [](double v) { return std::isfinite(v); }));
  const weighting::weighting_traits traits = policy.traits();

  SUBCASE("degree, scale and simplex are those declared") {
    const vec d = testing::combine(j, first);
    for (const double s : scales) {
      if (traits.homogeneity) {
        policy.reset(names(4));
        const auto scaled = testing::scaled(j, s);
        vec other = testing::combine(scaled, weigh(policy, scaled));
        for (double& v : other) {
          v /= std::pow(s, *traits.homogeneity);
        }
        CHECK(distance(other, d) < 1e-9 * testing::norm_of(d));
      }
    }
    if (traits.scale != weight_scale::other) {
      policy.reset(names(4));
      const vec one = testing::combine(rows({{1, 2}, {1, 2}, {1, 2}, {1, 2}}),
                                       weigh(policy, rows({{1, 2}, {1, 2}, {1, 2}, {1, 2}})));
      CHECK(one[0] == Approx(traits.scale == weight_scale::mean ? 1 : 4));
    }
    if (traits.convex_weights) {
      CHECK(std::accumulate(first.begin(), first.end(), 0.0) == Approx(1));
      CHECK(*std::min_element(first.begin(), first.end()) >= 0);
    }
  }
  SUBCASE("reset begins again, a copy goes its own way") {
    const vec second = weigh(policy, j);
    P copy = policy;
    const vec third = weigh(policy, j);
    CHECK(weigh(copy, j) == third);
    CHECK((traits.stateful || second == first));
    policy.reset(names(4));
    CHECK(weigh(policy, j) == first);
    CHECK(weigh(policy, j) == second);
  }
  SUBCASE("an absent task drops out and has the weight 0") {
    if constexpr (!is_krum) {
      matrix<double> g = testing::gram_of(j);
      for (index_t t = 0; t < 4; ++t) {
        g(2, t) = g(t, 2) = no_number;
      }
      const vec values{1, 1, no_number, 1};
      const std::array<bool, 4> present{true, true, false, true};
      vec w(4, no_number);
      policy.reset(names(4));
      policy.weigh(losses{values, present}, g.view(), w);
      CHECK(w[2] == 0);
      matrix<double> rest(3, 6);
      for (index_t t = 0; t < 3; ++t) {
        std::copy(j.row(t == 2 ? 3 : t).begin(), j.row(t == 2 ? 3 : t).end(), rest.row(t).begin());
      }
      policy.reset(names(3));
      const vec alone = weigh(policy, rest);
      if constexpr (!std::is_same_v<P, weighting::pcgrad> &&
                    !std::is_same_v<P, weighting::gradvac>) {  // other orders
        CHECK(near({w[0], w[1], w[3]}, alone, 1e-12));
      }
      const std::array<bool, 4> none{};
      policy.reset(names(4));
      policy.weigh(losses{values, none}, g.view(), w);
      CHECK(w == vec(4, 0.0));
    }
  }
  SUBCASE("one task") {
    if constexpr (!is_krum) {
      if constexpr (weighting::HasTarget<P>) {
        policy.target = "task0";
      }
      policy.reset(names(1));
      const vec w = weigh(policy, rows({{3, 4}}));
      const double expected = std::is_same_v<P, weighting::cagrad>     ? 1.4
                              : std::is_same_v<P, weighting::fairgrad> ? 0.2
                              : std::is_same_v<P, weighting::nash_mtl> ? 0.2
                                                                       : 1;
      CHECK(w[0] == Approx(expected));
      policy.reset(names(1));
      CHECK(std::isfinite(weigh(policy, rows({{0, 0}}))[0]));
    }
  }
  SUBCASE("degenerate gradients give finite weights") {
    for (const auto& hard :
         {rows({{0, 0}, {0, 0}, {0, 0}, {0, 0}}), rows({{1, 0}, {1, 0}, {1, 0}, {1, 0}}),
          rows({{1, 0}, {-1, 0}, {2, 0}, {-3, 0}}), rows({{1, 2}, {0, 0}, {-1, 2}, {0, 1}}),
          rows({{1e-9, 0}, {0, 1e9}, {1, 1}, {-1, 1e-3}}),
          rows({{1e-150, 0}, {0, 1e-150}, {1e-150, 1e-150}, {-1e-150, 0}}),
          rows({{1e150, 0}, {0, 1e150}, {1e150, 1e150}, {-1e150, 0}})}) {
      policy.reset(names(4));
      for (int i = 0; i < 3; ++i) {
        const vec w = weigh(policy, hard);
        CHECK(std::all_of(w.begin(), w.end(), [](double v) { return std::isfinite(v); }));
      }
    }
  }
  SUBCASE("what is not finite is refused by name") {
    matrix<double> g = testing::gram_of(j);
    vec values(4, 1.0);
    vec w(4);
    values[2] = no_number;
    CHECK_THROWS_AS(policy.weigh(losses{values}, g.view(), w), error);
    try {
      policy.weigh(losses{values}, g.view(), w);
    } catch (const error& e) {
      CHECK(std::string(e.what()).ends_with(": the loss of task 'task2' is not finite"));
    }
    values[2] = 1;
    g(1, 3) = g(3, 1) = no_number;
    try {
      policy.weigh(losses{values}, g.view(), w);
      CHECK(false);
    } catch (const error& e) {
      CHECK(std::string(e.what()).ends_with(
          ": the gradients of tasks 'task1' and 'task3' have no finite inner product"));
    }
    g(3, 3) = std::numeric_limits<double>::infinity();
    try {
      policy.weigh(losses{values}, g.view(), w);
      CHECK(false);
    } catch (const error& e) {
      CHECK(std::string(e.what()).ends_with(": the gradient of task 'task3' has no finite norm"));
    }
    CHECK_THROWS_AS(weigh(policy, rows({{1}, {2}})), error);  // another number of tasks
    const matrix<double> small(2, 2, 1.0);
    CHECK_THROWS_AS(policy.weigh(losses{values}, small.view(), w), error);
    if constexpr (!weighting::HasTarget<P> && !is_gradnorm && !is_krum) {
      P nameless;
      values[1] = no_number;
      try {
        nameless.weigh(losses{values}, testing::gram_of(j).view(), w);
        CHECK(false);
      } catch (const error& e) {
        CHECK(std::string(e.what()).ends_with(": the loss of task 2 is not finite"));
      }
    }
  }
}

TEST_CASE("unusable options of methods on G are refused") {
  CHECK_THROWS_WITH_AS(weighting::cagrad{.c = -1}.reset(names(2)),
                       "weighting::cagrad: c must be finite and not negative, but is -1", error);
  CHECK_THROWS_AS(weighting::cagrad{.rescale = 3}.reset(names(2)), error);
  CHECK_THROWS_AS(weighting::fairgrad{.a = 0}.reset(names(2)), error);
  CHECK_THROWS_AS(weighting::nash_mtl{.max_norm = -1}.reset(names(2)), error);
  CHECK_THROWS_AS(weighting::nash_mtl{.update_every = 0}.reset(names(2)), error);
  CHECK_THROWS_AS(weighting::gradvac{.beta = 2}.reset(names(2)), error);
  CHECK_THROWS_AS((weighting::primary_gradvac{.target = "task0", .beta = -1}.reset(names(2))),
                  error);
  CHECK_THROWS_AS(weighting::db_mtl{.largest_weight = 0}.reset(names(2)), error);
  CHECK_THROWS_AS(weighting::upgrad{.preference = {1}}.reset(names(2)), error);
  CHECK_THROWS_AS((weighting::dual_proj{.preference = {1, -1}}.reset(names(2))), error);
  CHECK_THROWS_AS((weighting::aligned_mtl{.preference = {1, no_number}}.reset(names(2))), error);
  CHECK_THROWS_AS((weighting::config{.preference = {1, 2, 3}}.reset(names(2))), error);
}

TEST_CASE("a Gramian in single precision does not turn noise into weights") {
  // Opposed gradients: in single precision their cosine may come out as -1 + 1e-7.
  matrix<double> g(2, 2, 1.0);
  g(0, 1) = g(1, 0) = -1 + 1e-7;
  const vec values{1, 1};
  vec w(2);
  weighting::upgrad policy;
  policy.weigh(losses{values}, g.view(), w);
  CHECK(w[0] == Approx(1).epsilon(1e-6));
  constexpr double single = 0x1p-23;
  policy.weigh(losses{.values = values, .gram_precision = single}, g.view(), w);
  CHECK(w == vec{0, 0});
  // Dependent gradients of all kinds. Taken for exact, the noise makes d conflict altogether.
  double as_told = 0;
  double as_exact = 0;
  for (std::uint64_t k = 0; k < 40; ++k) {
    const auto j = testing::gradient_matrix(stationarity::normal, 8, 50, 4, {9, k});
    matrix<double> rounded(8, 8);
    for (index_t s = 0; s < 8; ++s) {
      for (index_t t = 0; t < 8; ++t) {
        float sum = 0;
        for (index_t p = 0; p < 50; ++p) {
          sum += static_cast<float>(j(s, p)) * static_cast<float>(j(t, p));
        }
        rounded(s, t) = sum;
      }
    }
    const vec eight(8, 1.0);
    vec v(8);
    for (const double precision : {single, 0x1p-52}) {
      policy.weigh(losses{.values = eight, .gram_precision = precision}, rounded.view(), v);
      const vec d = testing::combine(j, v);
      const vec slopes = testing::along(j, d);
      double& worst = precision == single ? as_told : as_exact;
      for (index_t t = 0; t < 8 && testing::norm_of(d) > 0; ++t) {
        worst = std::max(worst, -slopes[static_cast<std::size_t>(t)] / testing::norm_of(j.row(t)) /
                                    testing::norm_of(d));
      }
    }
  }
  CHECK(as_told < 1e-3);
  CHECK(as_exact > 1e-2);
}
