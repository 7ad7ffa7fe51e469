// Every alignment loss against a sum over pairs in plain loops, and its gradient against
// differences.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <string>

#include "../support/message_of.hpp"
#include "setting.hpp"
#include "vierbein/testing/gradient_check.hpp"

namespace vb = vierbein;
namespace vg = vierbein::graph;
using namespace vierbein::alignment;  // NOLINT(google-build-using-namespace)
using setting::batch_of_tasks;
using setting::matrix;
using setting::mean_squared;
using setting::names;
using setting::reference;
using vb::index_t;

namespace {

struct pair {
  index_t source, target;
};

/// A pair set with the pairs it stands for among `count` tasks.
struct pairs_case {
  const char* what;
  pair_set set;
  std::vector<pair> pairs;
};

std::vector<pairs_case> pair_cases(index_t count) {
  std::vector<pairs_case> cases;
  pairs_case all{"all pairs", {}, {}};
  for (index_t s = 0; s < count; ++s) {
    for (index_t t = 0; t < count; ++t) {
      if (s != t) {
        all.pairs.push_back({s, t});
      }
    }
  }
  cases.push_back(all);
  for (index_t target = 0; target < count; ++target) {
    pairs_case one{"one target", {.target = names()[static_cast<std::size_t>(target)]}, {}};
    for (index_t s = 0; s < count; ++s) {
      if (s != target) {
        one.pairs.push_back({s, target});
      }
    }
    cases.push_back(one);
  }
  pairs_case list{"a list", {}, {{1, 0}, {0, 1}}};
  if (count > 2) {
    list.pairs = {{0, 2}, {2, 1}, {1, 2}, {0, 1}};  // in no order
  }
  for (const auto& [s, t] : list.pairs) {
    list.set.list.emplace_back(names()[static_cast<std::size_t>(s)],
                               names()[static_cast<std::size_t>(t)]);
  }
  cases.push_back(list);
  return cases;
}

/// Weight of a pair of a symmetric loss: `average` adds up to N / 2 over unordered pairs (the mean
/// over its partners for every task, each pair once), `sum` counts either order.
double symmetric_weight(pair_scaling scaling, bool all, index_t count, std::size_t pairs) {
  const auto n = static_cast<double>(count);
  if (all) {  // `pairs` are ordered: either order has half of the pair
    return scaling == pair_scaling::sum ? 1.0 : 1 / (2 * (n - 1));
  }
  return scaling == pair_scaling::sum ? 2.0 : n / 2 / static_cast<double>(pairs);
}

/// f(tasks, pairs_case, scaling) for 2, 3 and 5 tasks, every pair set, both scalings.
template <class F>
void each_case(F&& f) {
  for (const index_t count : {2, 3, 5}) {
    const batch_of_tasks tasks(count);
    for (const pairs_case& c : pair_cases(count)) {
      for (const auto scaling : {pair_scaling::average, pair_scaling::sum}) {
        CAPTURE(count);
        CAPTURE(c.what);
        CAPTURE(c.set.target);
        CAPTURE(static_cast<int>(scaling));
        f(tasks, c, scaling);
      }
    }
  }
}

doctest::Approx near(double v) {
  return doctest::Approx(v).epsilon(1e-11);  // double, sums of some hundred terms
}

template <class Loss>
void check_gradient(const Loss& loss, index_t count = 3, index_t copies = 2) {
  batch_of_tasks tasks(count, 5, copies, 1);
  const auto record = [&](auto& tape) {
    return tasks.with_views(tape, [&](auto& views) { return loss(views); });
  };
  const auto report = vb::testing::check_gradient(tasks.model.theta(), record);
  CAPTURE(report.where);
  CAPTURE(report.numeric);
  CAPTURE(report.swept);
  CHECK(report);
}

/// Covariance of the rows of z.
matrix covariance(const matrix& z) {
  const auto n = static_cast<double>(z.rows());
  matrix c(z.cols(), z.cols());
  for (index_t i = 0; i < z.cols(); ++i) {
    for (index_t j = 0; j < z.cols(); ++j) {
      double mean_i = 0;
      double mean_j = 0;
      double product = 0;
      for (index_t r = 0; r < z.rows(); ++r) {
        mean_i += z(r, i) / n;
        mean_j += z(r, j) / n;
        product += z(r, i) * z(r, j);
      }
      c(i, j) = (product - n * mean_i * mean_j) / (n - 1);
    }
  }
  return c;
}

double mean_kernel(const matrix& a, const matrix& b, const std::vector<double>& bandwidths) {
  double total = 0;
  for (index_t r = 0; r < a.rows(); ++r) {
    for (index_t s = 0; s < b.rows(); ++s) {
      double squares = 0;
      for (index_t c = 0; c < a.cols(); ++c) {
        squares += (a(r, c) - b(s, c)) * (a(r, c) - b(s, c));
      }
      for (const double h : bandwidths) {
        total += std::exp(-squares / (2 * h * static_cast<double>(a.cols())));
      }
    }
  }
  return total / static_cast<double>(a.rows() * b.rows());
}

}  // namespace

TEST_CASE("autoencoding is the sum over tasks of MSE(z, F⁻¹(F(z)))") {
  for (const index_t count : {1, 2, 3, 5}) {
    const batch_of_tasks tasks(count);
    double expected = 0;
    for (index_t t = 0; t < count; ++t) {
      expected += mean_squared(tasks.latent(t), tasks.decode(t, tasks.flat(t)));
    }
    CHECK(tasks.value(autoencoding{}) == near(expected));
    CHECK(tasks.value(autoencoding{.coefficient = 0.3}) == near(0.3 * expected));
  }
}

TEST_CASE("consistency is a sum over pairs of MSE(u_s, u_t)") {
  each_case([](const batch_of_tasks& tasks, const pairs_case& c, pair_scaling scaling) {
    const double weight = symmetric_weight(scaling, c.set.all(), tasks.count, c.pairs.size());
    double expected = 0;
    for (const auto& [s, t] : c.pairs) {
      expected += 0.7 * weight * mean_squared(tasks.flat(s), tasks.flat(t));
    }
    CHECK(tasks.value(consistency{.coefficient = 0.7, .pairs = c.set, .scaling = scaling}) ==
          near(expected));
  });
}

TEST_CASE("distance is a sum over pairs of MSE(‖u_s - u_s⁽ᵏ⁾‖, ‖u_t - u_t⁽ᵏ⁾‖)") {
  each_case([](const batch_of_tasks& tasks, const pairs_case& c, pair_scaling scaling) {
    constexpr double epsilon = 1e-3;
    const double weight = symmetric_weight(scaling, c.set.all(), tasks.count, c.pairs.size());
    double expected = 0;
    for (const auto& [s, t] : c.pairs) {
      for (index_t k = 1; k <= tasks.copies; ++k) {
        expected += 1.3 * weight / static_cast<double>(tasks.copies) *
                    mean_squared(setting::row_distances(tasks.flat(s), tasks.flat(s, k), epsilon),
                                 setting::row_distances(tasks.flat(t), tasks.flat(t, k), epsilon));
      }
    }
    CHECK(tasks.value(distance{.coefficient = 1.3,
                               .perturbations = tasks.copies,
                               .epsilon = epsilon,
                               .pairs = c.set,
                               .scaling = scaling}) == near(expected));
  });
}

TEST_CASE("mapping is a sum over ordered pairs of t's loss on what s sees") {
  each_case([](const batch_of_tasks& tasks, const pairs_case& c, pair_scaling scaling) {
    const auto n = static_cast<double>(tasks.count);
    const double weight =
        scaling == pair_scaling::sum ? 1.0 : n / static_cast<double>(c.pairs.size());
    double expected = 0;
    for (const auto& [s, t] : c.pairs) {
      expected += 0.4 * weight * tasks.head_loss(t, tasks.decode(t, tasks.flat(s)));
    }
    CHECK(tasks.value(
              mapping{.coefficient = 0.4, .sources = 0, .pairs = c.set, .scaling = scaling}) ==
          near(expected));
  });
}

TEST_CASE("a sampled mapping is one of its terms, and their mean is the full mapping") {
  for (const index_t count : {2, 3, 5}) {
    const batch_of_tasks tasks(count);
    for (index_t sources = 1; sources < count; ++sources) {
      for (const auto scaling : {pair_scaling::average, pair_scaling::sum}) {
        CAPTURE(count);
        CAPTURE(sources);
        const mapping sampled{.coefficient = 2, .sources = sources, .scaling = scaling};
        const double full =
            tasks.value(mapping{.coefficient = 2, .sources = 0, .scaling = scaling});
        // What can be drawn: in the first round, the partner `start` + 1 places further on.
        const index_t partners = count - 1;
        std::vector<double> possible(static_cast<std::size_t>(partners), 0.0);
        double mean = 0;
        for (index_t start = 0; start < partners; ++start) {
          double& total = possible[static_cast<std::size_t>(start)];
          for (index_t t = 0; t < count; ++t) {
            for (index_t r = 0; r < sources; ++r) {
              const index_t s = (t + 1 + (start + r) % partners) % count;
              REQUIRE(s != t);
              total += 2 / static_cast<double>(sources) *
                       (scaling == pair_scaling::sum ? static_cast<double>(partners) : 1.0) *
                       tasks.head_loss(t, tasks.decode(t, tasks.flat(s)));
            }
          }
          mean += total / static_cast<double>(partners);
        }
        CHECK(mean == near(full));
        std::vector<int> drawn(possible.size(), 0);
        constexpr int draws = 60;
        for (std::uint64_t i = 0; i < draws; ++i) {
          const double v = tasks.value(sampled, vb::random_stream{9, i});
          const auto it = std::ranges::find_if(
              possible, [v](double p) { return std::abs(p - v) < 1e-11 * std::abs(p); });
          REQUIRE(it != possible.end());
          ++drawn[static_cast<std::size_t>(it - possible.begin())];
        }
        // Equally likely: a binomial count, within four standard deviations (unless all starts
        // give the same sum).
        const double p = 1 / static_cast<double>(partners);
        for (const int d : drawn) {
          if (sources < partners) {
            CHECK(std::abs(d - draws * p) < 4 * std::sqrt(draws * p * (1 - p)));
          }
        }
      }
    }
  }
}

TEST_CASE("soft_sharing is a sum over pairs and segments of mean squared differences") {
  for (const index_t count : {2, 3, 5}) {
    const batch_of_tasks tasks(count);
    double expected = 0;
    for (index_t s = 0; s < count; ++s) {
      for (index_t t = s + 1; t < count; ++t) {
        for (const char* part : {"/encoder/layer0/weight", "/encoder/layer0/bias",
                                 "/encoder/layer1/weight", "/encoder/layer1/bias"}) {
          const auto a = tasks.parameter(tasks.prefix(s) + part);
          const auto b = tasks.parameter(tasks.prefix(t) + part);
          for (index_t i = 0; i < a.size(); ++i) {
            expected += std::pow(a.data[i] - b.data[i], 2) / static_cast<double>(a.size());
          }
        }
      }
    }
    const double average = 1 / static_cast<double>(count - 1);
    CHECK(tasks.value(soft_sharing{.coefficient = 0.6}) == near(0.6 * average * expected));
    CHECK(tasks.value(soft_sharing{.scaling = pair_scaling::sum}) == near(2 * expected));
  }
}

TEST_CASE("coral is a sum over pairs of ‖C_s - C_t‖² / (4 d²)") {
  for (const index_t count : {2, 3, 5}) {
    const batch_of_tasks tasks(count);
    double expected = 0;
    for (index_t s = 0; s < count; ++s) {
      for (index_t t = s + 1; t < count; ++t) {
        expected += mean_squared(covariance(tasks.latent(s)), covariance(tasks.latent(t))) / 4;
      }
    }
    const double average = 1 / static_cast<double>(count - 1);
    CHECK(tasks.value(coral{.coefficient = 0.6}) == near(0.6 * average * expected));
    CHECK(tasks.value(coral{.scaling = pair_scaling::sum}) == near(2 * expected));
  }
}

TEST_CASE("mmd is a sum over pairs of k(z_s, z_s) + k(z_t, z_t) - 2 k(z_s, z_t)") {
  for (const index_t count : {2, 3, 5}) {
    const batch_of_tasks tasks(count);
    const std::vector<double> bandwidths{0.5, 2};
    double expected = 0;
    for (index_t s = 0; s < count; ++s) {
      for (index_t t = s + 1; t < count; ++t) {
        const matrix a = tasks.latent(s);
        const matrix b = tasks.latent(t);
        expected += mean_kernel(a, a, bandwidths) + mean_kernel(b, b, bandwidths) -
                    2 * mean_kernel(a, b, bandwidths);
      }
    }
    CHECK(expected > 0);
    const double average = 1 / static_cast<double>(count - 1);
    CHECK(tasks.value(mmd{.coefficient = 0.6, .bandwidths = bandwidths}) ==
          near(0.6 * average * expected));
    CHECK(tasks.value(mmd{.bandwidths = bandwidths, .scaling = pair_scaling::sum}) ==
          near(2 * expected));
  }
}

TEST_CASE("gate and sum add their parts") {
  const batch_of_tasks tasks(3);
  const gate all{.autoencoding = {.coefficient = 0.5},
                 .consistency = {.coefficient = 0.25},
                 .mapping = {.coefficient = 2, .sources = 0},
                 .distance = {.coefficient = 3, .perturbations = 2}};
  CHECK(tasks.value(all) == near(tasks.value(all.autoencoding) + tasks.value(all.consistency) +
                                 tasks.value(all.mapping) + tasks.value(all.distance)));
  CHECK(tasks.value(all.scaled_by(0.1)) == near(0.1 * tasks.value(all)));
  CHECK(all.copies() == 2);
  CHECK(all.perturbation_scale() == all.distance.scale);

  const sum both{coral{.coefficient = 0.3}, soft_sharing{.coefficient = 0.2}};
  CHECK(tasks.value(both) == near(tasks.value(coral{.coefficient = 0.3}) +
                                  tasks.value(soft_sharing{.coefficient = 0.2})));
  CHECK(both.copies() == 0);
  static_assert(decltype(both)::needs == latent_space::latent);
  const sum mixed{mmd{}, distance{.perturbations = 2, .scale = 0.4}, none{}};
  static_assert(decltype(mixed)::needs == latent_space::flat);
  CHECK(mixed.copies() == 2);
  CHECK(mixed.perturbation_scale() == 0.4);
  CHECK(tasks.value(mixed) == near(tasks.value(mmd{}) + tasks.value(distance{.perturbations = 2})));
}

TEST_CASE("a part with coefficient 0 is not recorded, nor is one without partners") {
  const batch_of_tasks tasks(3);
  CHECK(tasks.absent(autoencoding{.coefficient = 0}));
  CHECK(tasks.absent(consistency{.coefficient = 0}));
  CHECK(tasks.absent(mapping{.coefficient = 0}));
  CHECK(tasks.absent(distance{.coefficient = 0}));
  CHECK(tasks.absent(soft_sharing{.coefficient = 0}));
  CHECK(tasks.absent(coral{.coefficient = 0}));
  CHECK(tasks.absent(mmd{.coefficient = 0}));
  CHECK(tasks.absent(gate{}.scaled_by(0)));
  CHECK(tasks.absent(none{}));
  CHECK(tasks.absent(sum{none{}, coral{.coefficient = 0}}));
  CHECK(gate{}.copies() == 1);
  CHECK(gate{.distance = {.coefficient = 0}}.copies() == 0);

  const gate some{.autoencoding = {.coefficient = 0},
                  .mapping = {.coefficient = 0},
                  .distance = {.coefficient = 0}};
  CHECK(tasks.value(some) == near(tasks.value(consistency{})));

  const batch_of_tasks alone(1);
  CHECK(alone.absent(consistency{}));
  CHECK(alone.absent(mapping{}));
  CHECK(alone.absent(distance{.perturbations = 2}));
  CHECK(alone.absent(soft_sharing{}));
  CHECK(alone.absent(coral{}));
  CHECK(alone.absent(mmd{}));
  CHECK(alone.value(gate{.distance = {.perturbations = 2}}) == near(alone.value(autoencoding{})));
}

TEST_CASE("an unknown name in a pair set is an error") {
  const batch_of_tasks tasks(3);
  const consistency wrong_target{.pairs = {.target = "viscosity"}};
  CHECK_THROWS_WITH_AS(tasks.value(wrong_target), "alignment: no task is called 'viscosity'",
                       vb::error);
  const mapping wrong_list{.pairs = {.list = {{"melting", "viscosity"}}}};
  CHECK_THROWS_AS(tasks.value(wrong_list), vb::error);
}

TEST_CASE("an unusable option is refused before anything is built") {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const pair_set both{.target = "melting", .list = {{"melting", "toxic"}}};
  const auto refusal = [](const auto& loss) { return test::message_of([&] { loss.validate(); }); };
  const auto coefficient = [](const char* loss, const char* value) {
    return fmt::format("alignment::{}: coefficient must be finite and not negative, but is {}",
                       loss, value);
  };
  struct row {
    std::string found, expected;
  };
  for (const auto& [found, expected] : {
           row{refusal(autoencoding{.coefficient = -1}), coefficient("autoencoding", "-1")},
           row{refusal(autoencoding{.coefficient = infinity}), coefficient("autoencoding", "inf")},
           row{refusal(consistency{.coefficient = nan}), coefficient("consistency", "nan")},
           row{refusal(consistency{.pairs = both}),
               "alignment::consistency: pairs must have a target or a list, but has the target "
               "'melting' and a list of 1"},
           row{refusal(consistency{.pairs = {.list = {{"melting", "toxic"}, {"toxic", "toxic"}}}}),
               "alignment::consistency: pairs must be of two tasks, but one in the list is 'toxic' "
               "with itself"},
           row{refusal(coral{.coefficient = nan}), coefficient("coral", "nan")},
           row{refusal(soft_sharing{.coefficient = -0.5}), coefficient("soft_sharing", "-0.5")},
           row{refusal(mapping{.coefficient = -infinity}), coefficient("mapping", "-inf")},
           row{refusal(mapping{.sources = -1}),
               "alignment::mapping: sources must not be negative, but is -1"},
           row{refusal(mapping{.pairs = both}),
               "alignment::mapping: pairs must have a target or a list, but has the target "
               "'melting' and a list of 1"},
           row{refusal(distance{.coefficient = -1}), coefficient("distance", "-1")},
           row{refusal(distance{.perturbations = -1}),
               "alignment::distance: perturbations must not be negative, but is -1"},
           row{refusal(distance{.scale = -0.1}),
               "alignment::distance: scale must be finite and not negative, but is -0.1"},
           row{refusal(distance{.scale = infinity}),
               "alignment::distance: scale must be finite and not negative, but is inf"},
           row{refusal(distance{.epsilon = 0}),
               "alignment::distance: epsilon must be finite and at least 1e-30, but is 0"},
           row{refusal(distance{.epsilon = nan}),
               "alignment::distance: epsilon must be finite and at least 1e-30, but is nan"},
           row{refusal(distance{.pairs = both}),
               "alignment::distance: pairs must have a target or a list, but has the target "
               "'melting' and a list of 1"},
           row{refusal(mmd{.coefficient = -1}), coefficient("mmd", "-1")},
           row{refusal(mmd{.bandwidths = {}}),
               "alignment::mmd: bandwidths must hold at least one number"},
           row{refusal(mmd{.bandwidths = {1, 0}}),
               "alignment::mmd: bandwidths[1] must be finite and positive, but is 0"},
           row{refusal(mmd{.bandwidths = {-2}}),
               "alignment::mmd: bandwidths[0] must be finite and positive, but is -2"},
           row{refusal(mmd{.bandwidths = {1, 4, nan}}),
               "alignment::mmd: bandwidths[2] must be finite and positive, but is nan"},
           row{refusal(gate{.autoencoding = {.coefficient = -1}}),
               coefficient("autoencoding", "-1")},
           row{refusal(gate{.consistency = {.coefficient = -1}}), coefficient("consistency", "-1")},
           row{refusal(gate{.mapping = {.sources = -1}}),
               "alignment::mapping: sources must not be negative, but is -1"},
           row{refusal(gate{.distance = {.perturbations = -1}}),
               "alignment::distance: perturbations must not be negative, but is -1"},
           row{refusal(sum{none{}, coral{}, soft_sharing{.coefficient = nan}}),
               coefficient("soft_sharing", "nan")},
           row{refusal(sum{sum{gate{.mapping = {.coefficient = nan}}}, none{}}),
               coefficient("mapping", "nan")},
           // What is off or has no effect is no mistake.
           row{refusal(gate{}.scaled_by(0)), ""},
           row{refusal(mapping{.sources = 0}), ""},
           row{refusal(distance{.perturbations = 0, .scale = 0}), ""},
           row{refusal(mmd{}), ""},
           row{refusal(sum{none{}, coral{}}), ""},
           row{refusal(sum<>{}), ""},
       }) {
    CHECK(found == expected);
  }

  // The model asks, whatever the loss.
  const auto build = [](const auto& loss) {
    auto model = vb::multitask<double>(vb::encoder::mlp{.widths = {4}},
                                       vb::tasks{vb::regression("a"), vb::regression("b")}, loss);
    model.build({3}, 1);
    return model.built();
  };
  CHECK_THROWS_WITH_AS(build(mmd{.bandwidths = {}}),
                       "alignment::mmd: bandwidths must hold at least one number", vb::error);
  CHECK_THROWS_WITH_AS(build(gate{.mapping = {.sources = -1}}),
                       "alignment::mapping: sources must not be negative, but is -1", vb::error);
  CHECK(build(sum<>{}));
}

TEST_CASE("the sum of no losses is no alignment") {
  static_assert(sum<>::needs == latent_space::none);
  const sum<> nothing{};
  CHECK(nothing.copies() == 0);
  CHECK(nothing.perturbation_scale() == 0);
  CHECK(nothing.norm_epsilon() == 0);
  const batch_of_tasks tasks(2);
  CHECK(tasks.absent(nothing));
  int visited = 0;
  sum<>{}.options([&](const std::string&, auto&) { ++visited; });
  CHECK(visited == 0);
}

TEST_CASE("consistency is 0 when and only when all tasks agree") {
  batch_of_tasks tasks(3);
  CHECK(tasks.value(consistency{}) > 1e-3);
  auto& theta = tasks.model.theta();
  const auto before = theta;
  for (const index_t t : {1, 2}) {
    for (const std::string part : {"/encoder", "/transfer"}) {
      theta.copy(before, tasks.prefix(0) + part, tasks.prefix(t) + part);
    }
  }
  // The mean of three equal numbers is off by one rounding of 1e-16, squared.
  CHECK(tasks.value(consistency{}) < 1e-29);
  CHECK(tasks.value(distance{.perturbations = 2}) < 1e-29);
  CHECK(tasks.value(soft_sharing{}) < 1e-29);
  CHECK(tasks.value(coral{}) < 1e-29);
  CHECK(std::abs(tasks.value(mmd{})) < 1e-14);
  theta.view(theta.find(tasks.prefix(2) + "/transfer/layer1/bias"))(0, 0) += 1e-3;
  CHECK(tasks.value(consistency{}) > 1e-8);
  CHECK(tasks.value(distance{.perturbations = 2}) < 1e-24);  // a shift keeps distances
}

TEST_CASE("rows without labels count for what needs none, and not for what needs labels") {
  const batch_of_tasks with(3, 9, 2, 4);
  batch_of_tasks without(3, 9, 2, 4);
  // The same without the last four rows, which have no label.
  without.rows = 5;
  without.inputs.values = matrix(5, 4);
  std::copy_n(with.inputs.values.data(), 20, without.inputs.values.data());
  without.noise = matrix(10, 5);
  std::copy_n(with.noise.row(0).data(), 25, without.noise.row(0).data());
  std::copy_n(with.noise.row(9).data(), 25, without.noise.row(5).data());
  for (index_t t = 0; t < 3; ++t) {
    auto& y = without.labels[static_cast<std::size_t>(t)];
    const matrix all = y;
    y = matrix(5, 1);
    std::copy_n(all.data(), 5, y.data());
  }
  const auto heads = [](auto& views) {
    const auto l = views.head_losses(views.latent(), views.all_tasks());
    return l[0] + l[1] + l[2];
  };
  CHECK(with.value(heads) == near(without.value(heads)));
  CHECK(with.value(mapping{.sources = 0}) == near(without.value(mapping{.sources = 0})));
  const auto differs = [&](const auto& loss) {
    return std::abs(with.value(loss) / without.value(loss) - 1) > 1e-3;
  };
  CHECK(differs(autoencoding{}));
  CHECK(differs(consistency{}));
  CHECK(differs(distance{.perturbations = 2}));
}

TEST_CASE("the head losses are the mean over the labels that are there") {
  const batch_of_tasks tasks(5);
  for (index_t t = 0; t < 5; ++t) {
    const auto one = [t](auto& views) {
      return views.head_losses(views.latent(), views.all_tasks())[static_cast<std::size_t>(t)];
    };
    CHECK(tasks.value(one) == near(tasks.head_loss(t, tasks.latent(t))));
  }
}

TEST_CASE("the gradient of every alignment loss") {
  const pair_set target{.target = "toxic"};
  const pair_set list{.list = {{"class", "melting"}, {"melting", "toxic"}, {"toxic", "melting"}}};
  check_gradient(autoencoding{.coefficient = 0.7});
  check_gradient(coral{});
  check_gradient(coral{.scaling = pair_scaling::sum}, 2);
  check_gradient(mmd{});
  check_gradient(mmd{.scaling = pair_scaling::sum}, 2);
  check_gradient(soft_sharing{});
  check_gradient(sum{soft_sharing{.scaling = pair_scaling::sum}, coral{}, autoencoding{}}, 2);
  for (const pair_set& pairs : {pair_set{}, target, list}) {
    for (const auto scaling : {pair_scaling::average, pair_scaling::sum}) {
      check_gradient(consistency{.pairs = pairs, .scaling = scaling});
      check_gradient(mapping{.sources = 0, .pairs = pairs, .scaling = scaling});
      check_gradient(distance{.perturbations = 2, .pairs = pairs, .scaling = scaling});
    }
  }
  check_gradient(mapping{.sources = 2}, 5);
  check_gradient(gate{.mapping = {.sources = 1}, .distance = {.perturbations = 1}}, 5, 1);
  check_gradient(gate{.distance = {.coefficient = 0}}, 2, 0);
}

TEST_CASE("the whole loss, heads and alignment, on either backend") {
  batch_of_tasks tasks(3, 6, 1, 1);
  const auto record = [&](auto& tape) {
    return tasks.with_views(tape, [](auto& views) {
      auto total = gate{}(views);
      for (const auto& l : views.head_losses(views.latent(), views.all_tasks())) {
        total = total + l;
      }
      return total;
    });
  };
  CHECK(vb::testing::check_gradient(tasks.model.theta(), record));
  CHECK(vb::testing::check_gradient(tasks.model.theta(), record, vb::backend::cpu_double{}));
}
