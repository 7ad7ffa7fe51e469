// Adding scarce tasks to a trained model.
#include "vierbein/train/add_task.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <csignal>
#include <numeric>
#include <set>
#include <string>

#include "../support/problems.hpp"
#include "vierbein/vierbein.hpp"

namespace vb = vierbein;
using problems::missing;
using problems::related_tasks;
using vb::index_t;
using vb::module_start;
using vb::trunk_policy;

namespace {

using reference = vb::backend::reference_double;
using cpu = vb::backend::cpu_double;
using dataset = vb::data::dataset<vb::data::feature_set>;
using matrix = vb::matrix<double>;

const vb::module_options small{
    .encoder = {10}, .transfer = {10}, .inverse = {10}, .head = {10}, .act = vb::activation::silu};

/// Three sources of different kinds, trained for a while.
template <class Alignment = vb::alignment::gate>
auto trained(Alignment alignment = {}, index_t epochs = 4) {
  auto data = related_tasks(160, 4, {"a", "b", "c"}, 1);
  for (index_t r = 0; r < 160; ++r) {
    data.at("c").values(r, 0) = data.at("c").values(r, 0) > 200 ? 1 : 0;
  }
  auto model = vb::multitask<double>(
      vb::encoder::mlp{.widths = {16}, .act = vb::activation::silu},
      vb::tasks{vb::regression("a"), vb::regression("b"), vb::binary("c")}, alignment, small);
  vb::fit(cpu(1), model, data, {.epochs = epochs, .batch = 40, .validation_fraction = 0},
          vb::optimizer::adam{.learning_rate = 5e-3}, vb::weighting::equal{});
  return model;
}

dataset target_data(const std::string& name, index_t rows = 40, std::uint64_t from = 3) {
  auto data = related_tasks(rows, 4, {"x", "y", name}, 1, from);
  data.labels.erase(data.labels.begin(), data.labels.begin() + 2);
  return data;
}

const vb::data::feature_set& pool() {
  static const vb::data::feature_set inputs = related_tasks(90, 4, {"x"}, 1, 5).inputs;
  return inputs;
}

/// Whether all segments of `before` stand in `after` with the same bits and the same freedom.
bool contains(const auto& after, const auto& before) {
  for (std::size_t i = 0; i < before.theta().segments().size(); ++i) {
    const auto id = static_cast<vb::segment_id>(i);
    const vb::segment& s = before.theta().at(id);
    const vb::segment& now = after.theta().at(id);
    if (now.name != s.name || now.frozen != s.frozen ||
        !std::equal(before.theta().view(id).data, before.theta().view(id).data + s.size(),
                    after.theta().view(id).data)) {
      return false;
    }
  }
  return true;
}

matrix part(const auto& model, const std::string& name) {
  const auto id = model.theta().find(name);
  REQUIRE(id >= 0);
  const auto v = model.theta().view(id);
  matrix m(v.rows, v.cols);
  std::copy_n(v.data, v.size(), m.data());
  return m;
}

double mean_squared(const matrix& a, const matrix& b) {
  double total = 0;
  for (index_t i = 0; i < a.size(); ++i) {
    total += std::pow(a.data()[i] - b.data()[i], 2) / static_cast<double>(a.size());
  }
  return total;
}

double r2(const auto& model, const dataset& data, const std::string& name) {
  const auto p = model.predict(reference{}, data.inputs, model.task_list().find(name));
  const auto& y = data.at(name).values;
  return vb::metrics::r2({p.data(), static_cast<std::size_t>(p.size())},
                         {y.data(), static_cast<std::size_t>(y.size())});
}

}  // namespace

TEST_CASE("sources and their predictions stay as they are, bit for bit") {
  const auto model = trained();
  const auto snapshot = model.theta().snapshot();
  const auto data = target_data("d");
  const vb::optimizer::adamw optimizer{.learning_rate = 1e-2};
  const auto old = model.predict(cpu(2), pool());
  for (const auto trunk : {trunk_policy::frozen, trunk_policy::tuned_copy}) {
    for (const auto start : {module_start::fresh, module_start::warm}) {
      for (const double alignment : {0.0, 0.5}) {
        for (const bool with_pool : {false, true}) {
          CAPTURE(static_cast<int>(trunk));
          CAPTURE(static_cast<int>(start));
          CAPTURE(alignment);
          CAPTURE(with_pool);
          const vb::addition options{.trunk = trunk,
                                     .start = start,
                                     .alignment = alignment,
                                     .pool_batch = 16,
                                     .train = {.epochs = 3, .batch = 16}};
          const auto larger = with_pool ? vb::add_task(cpu(2), model, vb::regression("d"), data,
                                                       pool(), options, optimizer)
                                        : vb::add_task(cpu(2), model, vb::regression("d"), data,
                                                       options, optimizer);
          CHECK(model.theta().snapshot() == snapshot);
          CHECK(contains(larger, model));
          CHECK(larger.task_list().size() == 4);
          CHECK(larger.task_list()[3].name == "d");
          CHECK(larger.module(3).trunk == (trunk == trunk_policy::frozen ? 0 : 1));
          const auto now = larger.predict(cpu(2), pool());
          for (std::size_t t = 0; t < 3; ++t) {
            CHECK(now[t] == old[t]);
          }
          // Something was trained, the copy of the trunk included.
          auto untrained = model;
          untrained.append("d", vb::head::regression{}, vb::task_origin::added, options.train.seed);
          CHECK(part(larger, "task/d/output/weight") != part(untrained, "task/d/output/weight"));
          if (trunk == trunk_policy::tuned_copy) {
            CHECK(part(larger, "task/d/trunk/layer0/weight") != part(model, "trunk/layer0/weight"));
            CHECK(part(larger, "task/d/trunk/scaling/mean") == part(model, "trunk/scaling/mean"));
          }
        }
      }
    }
  }
}

TEST_CASE("the cache holds what the sources compute") {
  auto model = trained();
  model.alignment.distance.epsilon = 1e-3;  // large enough to be seen
  const std::vector<index_t> sources{0, 2};
  const auto inputs = related_tasks(300, 4, {"x"}, 1, 9).inputs;  // more than one chunk
  const auto cache =
      vb::detail::make_cache(reference{}, model, sources, inputs, 2, 0.3, true, {4, 4});
  CHECK(cache.sources == 2);
  CHECK(cache.copies == 2);
  const auto direct = model.coordinates(reference{}, inputs, vb::points_of::flat);
  CHECK(cache.flat[0] == direct[0]);
  CHECK(cache.flat[1] == direct[2]);
  double spread = 0;
  double noise = 0;
  for (index_t r = 0; r < 300; ++r) {
    for (index_t c = 0; c < direct[0].cols(); ++c) {
      CHECK(cache.mean_flat(r, c) ==
            doctest::Approx((direct[0](r, c) + direct[2](r, c)) / 2).epsilon(1e-13));
    }
  }
  const auto width = cache.representation.cols();
  for (index_t i = 0; i < cache.representation.size(); ++i) {
    spread += std::pow(cache.representation.data()[i], 2) / static_cast<double>(300 * width);
  }
  for (index_t i = 0; i < cache.noise.size(); ++i) {
    noise += std::pow(cache.noise.data()[i], 2) / static_cast<double>(cache.noise.size());
  }
  // 300 · 2 · 16 normal numbers: their deviation is known to 0.7 %.
  CHECK(std::sqrt(noise / spread) == doctest::Approx(0.3).epsilon(0.03));

  // Distances: the sources' networks on the perturbed representation, layer by layer.
  const auto flat_of = [&](const std::string& task, const matrix& b) {
    const auto affine = [&](const std::string& name, const matrix& x) {
      const matrix w = part(model, "task/" + task + name + "/weight");
      const matrix bias = part(model, "task/" + task + name + "/bias");
      matrix y(x.rows(), w.cols());
      for (index_t r = 0; r < x.rows(); ++r) {
        for (index_t c = 0; c < w.cols(); ++c) {
          y(r, c) = bias(0, c);
          for (index_t i = 0; i < w.rows(); ++i) {
            y(r, c) += x(r, i) * w(i, c);
          }
        }
      }
      return y;
    };
    return affine("/transfer/layer0", affine("/encoder/layer0", b));
  };
  for (index_t k = 0; k < 2; ++k) {
    matrix moved = cache.representation;
    for (index_t r = 0; r < 300; ++r) {
      for (index_t c = 0; c < width; ++c) {
        moved(r, c) += cache.noise(r, k * width + c);
      }
    }
    const std::array<matrix, 2> copies{flat_of("a", moved), flat_of("c", moved)};
    for (index_t r = 0; r < 300; ++r) {
      double mean = 0;
      for (std::size_t s = 0; s < 2; ++s) {
        double squares = 1e-3;
        for (index_t c = 0; c < copies[s].cols(); ++c) {
          squares += std::pow(copies[s](r, c) - cache.flat[s](r, c), 2);
        }
        mean += std::sqrt(squares) / 2;
      }
      CHECK(cache.mean_distances(r, k) == doctest::Approx(mean).epsilon(1e-11));
    }
  }
}

TEST_CASE("the leave-one-out error of a ridge regression is that of leaving each out") {
  const matrix x = problems::normal_matrix(9, 1, 3);
  const matrix noise = problems::normal_matrix(9, 1, 4);
  std::vector<double> y(9);
  double mean_x = 0;
  double squares = 0;
  for (index_t i = 0; i < 9; ++i) {
    y[static_cast<std::size_t>(i)] = 2 + 3 * x(i, 0) + noise(i, 0);
    mean_x += x(i, 0) / 9;
  }
  for (index_t i = 0; i < 9; ++i) {
    squares += std::pow(x(i, 0) - mean_x, 2) / 9;
  }
  constexpr double penalty = 0.05;
  double expected = 0;
  for (index_t out = 0; out < 9; ++out) {
    // y = c + s z, z the scaled x; minimises Σ (y - c - s z)² + penalty 9 s² over the other eight.
    double z = 0;
    double zz = 0;
    double sum_y = 0;
    double zy = 0;
    const auto scaled = [&](index_t i) { return (x(i, 0) - mean_x) / std::sqrt(squares); };
    for (index_t i = 0; i < 9; ++i) {
      if (i != out) {
        z += scaled(i);
        zz += scaled(i) * scaled(i);
        sum_y += y[static_cast<std::size_t>(i)];
        zy += scaled(i) * y[static_cast<std::size_t>(i)];
      }
    }
    const double slope = (zy - z * sum_y / 8) / (zz - z * z / 8 + penalty * 9);
    const double offset = (sum_y - slope * z) / 8;
    expected += std::pow(y[static_cast<std::size_t>(out)] - offset - slope * scaled(out), 2) / 9;
  }
  CHECK(vb::backend::ridge_leave_one_out(x, y, penalty) ==
        doctest::Approx(expected).epsilon(1e-12));
}

TEST_CASE("a warm start takes the module of the source that knows the target") {
  auto model = trained();
  auto data = target_data("d");
  // Plant the answer: the target is a linear function of the last hidden layer of one source.
  for (const index_t planted : {0, 1, 2}) {
    const auto points = model.coordinates(reference{}, data.inputs, vb::points_of::head);
    const auto& h = points[static_cast<std::size_t>(planted)];
    for (index_t r = 0; r < data.size(); ++r) {
      data.at("d").values(r, 0) = 0;
      for (index_t c = 0; c < h.cols(); ++c) {
        data.at("d").values(r, 0) += (c % 2 == 0 ? 1.0 : -2.0) * h(r, c);
      }
    }
    const std::string source = model.task_list()[planted].name;
    CAPTURE(source);
    const vb::addition options{.trunk = trunk_policy::frozen,
                               .start = module_start::warm,
                               .train = {.epochs = 1, .validation_fraction = 0}};
    const auto larger = vb::add_task(reference{}, model, vb::regression("d"), data, options,
                                     vb::optimizer::sgd{.learning_rate = 0});
    for (const std::string name : {"/encoder/layer0/weight", "/transfer/layer0/bias",
                                   "/inverse/layer1/weight", "/head/layer0/weight"}) {
      CHECK(part(larger, "task/d" + name) == part(model, "task/" + source + name));
    }
    CHECK(part(larger, "task/d/output/weight") != part(model, "task/" + source + "/output/weight"));
    auto fresh_options = options;
    fresh_options.start = module_start::fresh;
    const auto fresh = vb::add_task(reference{}, model, vb::regression("d"), data, fresh_options,
                                    vb::optimizer::sgd{.learning_rate = 0});
    auto appended = model;
    appended.append("d", vb::head::regression{}, vb::task_origin::added, options.train.seed);
    CHECK(part(fresh, "task/d/encoder/layer0/weight") ==
          part(appended, "task/d/encoder/layer0/weight"));
    CHECK(part(larger, "task/d/output/weight") == part(appended, "task/d/output/weight"));
  }
}

TEST_CASE("an untouched copy of the trunk and a warm module see what the source sees") {
  const auto model = trained();
  const auto data = target_data("d");
  const vb::addition options{.train = {.epochs = 1, .validation_fraction = 0}};
  const auto larger = vb::add_task(reference{}, model, vb::regression("d"), data, options,
                                   vb::optimizer::sgd{.learning_rate = 0});
  const auto points = larger.coordinates(reference{}, pool(), vb::points_of::flat);
  CHECK((points[3] == points[0] || points[3] == points[1] || points[3] == points[2]));
}

TEST_CASE("a pool of no rows is no pool, and unusable options are refused") {
  const auto model = trained();
  const auto data = target_data("d");
  const vb::optimizer::adam adam{};
  vb::addition options{.train = {.epochs = 2, .batch = 16, .validation_fraction = 0}};
  const auto without = vb::add_task(cpu(1), model, vb::regression("d"), data, options, adam);
  const auto snapshot = without.theta().snapshot();
  const vb::data::feature_set empty{matrix(0, pool().values.cols())};
  CHECK(vb::add_task(cpu(1), model, vb::regression("d"), data, empty, options, adam)
            .theta()
            .snapshot() == snapshot);
  const auto with = [&](vb::addition o) {
    return vb::add_task(cpu(1), model, vb::regression("d"), data, pool(), o, adam);
  };
  auto none = options;
  none.pool_limit = 0;
  CHECK(with(none).theta().snapshot() == snapshot);
  CHECK(with(options).theta().snapshot() != snapshot);
  const auto refused = [&](auto change, const char* sentence) {
    auto o = options;
    change(o);
    CHECK_THROWS_WITH_AS(with(o), sentence, vb::error);
  };
  refused([](auto& o) { o.pool_limit = -1; },
          "add_task: pool_limit must not be negative, but is -1");
  refused([](auto& o) { o.pool_batch = -2; },
          "add_task: pool_batch must not be negative, but is -2");
  refused([](auto& o) { o.alignment = -0.5; },
          "add_task: alignment must not be negative, but is -0.5");
  refused([](auto& o) { o.ridge_penalty = std::nan(""); },
          "add_task: ridge_penalty must not be negative, but is nan");
  auto poisoned = pool();
  poisoned.values(3, 1) = std::nan("");
  CHECK_THROWS_WITH_AS(
      vb::add_task(cpu(1), model, vb::regression("d"), data, poisoned, options, adam),
      doctest::Contains("features, row 3"), vb::error);
}

TEST_CASE("validation while a task is added takes no more memory than a step") {
  const auto model = trained();
  const auto data = target_data("d", 200);
  std::vector<index_t> held(150);
  std::iota(held.begin(), held.end(), index_t{0});
  vb::addition options{.alignment = 0, .train = {.epochs = 1, .batch = 4, .validation_rows = held}};
  std::size_t needed = 0;
  const auto add = [&](std::size_t limit) {
    options.train.memory_limit = limit;
    const std::vector<vb::target_task<vb::head::regression, dataset>> one{
        {vb::regression("d"), data}};
    vb::add_tasks(cpu(1), model, one, nullptr, options, vb::optimizer::adam{},
                  [&](std::size_t, const vb::history& h) { needed = h.step_bytes; });
  };
  add(std::size_t{1} << 30);
  const std::size_t enough = needed;
  CHECK_NOTHROW(add(enough));
  CHECK_THROWS_AS(add(enough - 1), vb::error);
  add(0);  // all at once
  CHECK(needed > 4 * enough);
}

TEST_CASE("alignment brings the target's coordinates to the sources', on the pool, too") {
  const auto model = trained(vb::alignment::gate{}, 30);
  const auto data = target_data("d", 30);
  const auto distance_to_mean = [&](double alignment, bool with_pool) {
    const vb::addition options{.trunk = trunk_policy::frozen,
                               .start = module_start::fresh,
                               .alignment = alignment,
                               .pool_batch = 30,
                               .train = {.epochs = 60, .batch = 15, .validation_fraction = 0}};
    const vb::optimizer::adam adam{.learning_rate = 5e-3};
    const auto larger =
        with_pool ? vb::add_task(cpu(1), model, vb::regression("d"), data, pool(), options, adam)
                  : vb::add_task(cpu(1), model, vb::regression("d"), data, options, adam);
    const auto points = larger.coordinates(cpu(1), pool(), vb::points_of::flat);
    matrix mean(points[0].rows(), points[0].cols());
    for (index_t i = 0; i < mean.size(); ++i) {
      mean.data()[i] = (points[0].data()[i] + points[1].data()[i] + points[2].data()[i]) / 3;
    }
    return mean_squared(points[3], mean);
  };
  const double without = distance_to_mean(0, false);
  const double on_labelled = distance_to_mean(1, false);
  const double with_pool = distance_to_mean(1, true);
  CHECK(on_labelled < 0.2 * without);
  CHECK(with_pool < on_labelled);
}

TEST_CASE("a scarce task is learnt from what the sources know") {
  const auto model = trained(vb::alignment::gate{}, 60);
  const auto data = target_data("d", 30);
  const auto test = target_data("d", 200, 8);
  for (const auto trunk : {trunk_policy::frozen, trunk_policy::tuned_copy}) {
    for (const auto start : {module_start::fresh, module_start::warm}) {
      const vb::addition options{.trunk = trunk,
                                 .start = start,
                                 .train = {.epochs = 60, .batch = 15, .validation_fraction = 0}};
      const auto larger = vb::add_task(cpu(1), model, vb::regression("d"), data, options,
                                       vb::optimizer::adam{.learning_rate = 5e-3});
      CAPTURE(static_cast<int>(trunk));
      CAPTURE(static_cast<int>(start));
      CAPTURE(r2(larger, test, "d"));
      CHECK(r2(larger, test, "d") > 0.8);
    }
  }
}

TEST_CASE("added tasks do not know of each other: any order, and side by side") {
  const auto model = trained();
  const vb::optimizer::adam adam{.learning_rate = 5e-3};
  using target = vb::target_task<vb::head::regression, dataset>;
  const std::vector<target> targets{{vb::regression("d"), target_data("d")},
                                    {vb::regression("e"), target_data("e", 25, 4)},
                                    {vb::regression("f"), target_data("f", 33, 6)}};
  for (const auto trunk : {trunk_policy::frozen, trunk_policy::tuned_copy}) {
    const vb::addition options{.trunk = trunk,
                               .pool_batch = 8,
                               .train = {.epochs = 3, .batch = 16, .validation_fraction = 0.2}};
    CAPTURE(static_cast<int>(trunk));
    std::vector<matrix> alone;
    for (const target& t : targets) {
      alone.push_back(vb::add_task(cpu(1), model, t.what, t.data, pool(), options, adam)
                          .predict(cpu(1), pool(), 3));
    }
    std::vector<int> calls(3, 0);
    std::vector<std::string> told(3);
    for (const int threads : {1, 2, 7}) {
      const auto together = vb::add_tasks(cpu(threads), model, targets, &pool(), options, adam,
                                          [&](std::size_t i, const vb::history& h) {
                                            ++calls[i];
                                            told[i] = h.task_names.at(0);
                                          });
      CHECK(contains(together, model));
      REQUIRE(together.task_list().size() == 6);
      const auto all = together.predict(cpu(1), pool());
      for (std::size_t i = 0; i < 3; ++i) {
        CHECK(all[3 + i] == alone[i]);
      }
    }
    CHECK(calls == std::vector<int>{3, 3, 3});
    CHECK(told == std::vector<std::string>{"d", "e", "f"});
    const auto reversed =
        vb::add_tasks(cpu(2), model, std::vector<target>{targets[2], targets[1], targets[0]},
                      &pool(), options, adam);
    const auto all = reversed.predict(cpu(1), pool());
    for (std::size_t i = 0; i < 3; ++i) {
      CHECK(all[5 - i] == alone[i]);
    }
    // One after the other: those that are there already change no bit.
    for (const std::array<std::size_t, 3>& order :
         {std::array<std::size_t, 3>{0, 1, 2}, std::array<std::size_t, 3>{2, 0, 1},
          std::array<std::size_t, 3>{1, 2, 0}}) {
      auto growing = model;
      for (const std::size_t i : order) {
        growing =
            vb::add_task(cpu(1), growing, targets[i].what, targets[i].data, pool(), options, adam);
        CHECK(growing.module(growing.task_list().size() - 1).origin != vb::task_origin::source);
      }
      for (std::size_t i = 0; i < 3; ++i) {
        const std::string& name = targets[i].what.name;
        CHECK(growing.predict(cpu(1), pool(), growing.task_list().find(name)) == alone[i]);
        for (const vb::segment& s : reversed.theta().segments()) {
          if (s.name.starts_with("task/" + name + "/")) {
            CHECK(part(growing, s.name) == part(reversed, s.name));
          }
        }
      }
    }
  }
}

TEST_CASE("an added task is no source, not even one that knows the next target exactly") {
  const auto model = trained();
  const auto data = target_data("d");
  const vb::addition options{.trunk = trunk_policy::frozen,
                             .start = module_start::warm,
                             .train = {.epochs = 3, .batch = 16}};
  const vb::optimizer::adam adam{.learning_rate = 5e-3};
  const auto first = vb::add_task(cpu(1), model, vb::regression("d"), data, options, adam);
  CHECK(vb::detail::source_tasks(first) == std::vector<index_t>{0, 1, 2});
  // The target is a linear function of the last hidden layer of d.
  auto planted = data;
  const auto h = first.coordinates(cpu(1), data.inputs, vb::points_of::head)[3];
  std::vector<double> y(static_cast<std::size_t>(data.size()), 0.0);
  for (index_t r = 0; r < data.size(); ++r) {
    for (index_t c = 0; c < h.cols(); ++c) {
      y[static_cast<std::size_t>(r)] += (c % 2 == 0 ? 1.0 : -2.0) * h(r, c);
    }
  }
  planted.add("e", y);
  const auto with = vb::add_task(cpu(1), first, vb::regression("e"), planted, options, adam);
  const auto without = vb::add_task(cpu(1), model, vb::regression("e"), planted, options, adam);
  CHECK(with.predict(cpu(1), pool(), 4) == without.predict(cpu(1), pool(), 3));
}

TEST_CASE("of a label of several columns a warm start takes the mean of those present") {
  const auto model = trained();
  auto data = target_data("one");
  matrix gaps(data.size(), 3);
  std::set<std::string> chosen;
  for (const index_t planted : {0, 1, 2}) {
    const auto points = model.coordinates(reference{}, data.inputs, vb::points_of::head);
    const auto& h = points[static_cast<std::size_t>(planted)];
    std::vector<double> y(static_cast<std::size_t>(data.size()), 0.0);
    for (index_t r = 0; r < data.size(); ++r) {
      for (index_t c = 0; c < h.cols(); ++c) {
        y[static_cast<std::size_t>(r)] += (c % 2 == 0 ? 1.0 : -2.0) * h(r, c);
      }
    }
    auto sorted = y;
    std::ranges::sort(sorted);
    const double middle = sorted[sorted.size() / 2];
    for (index_t r = 0; r < data.size(); ++r) {
      const double label = y[static_cast<std::size_t>(r)] > middle ? 1 : 0;
      data.at("one").values(r, 0) = label;
      gaps(r, 0) = r % 2 == 0 ? missing : label;  // one label, or two that are the same
      gaps(r, 1) = label;
      gaps(r, 2) = missing;
    }
    auto several = data;
    several.add("several", gaps);
    const vb::addition options{.trunk = trunk_policy::frozen,
                               .start = module_start::warm,
                               .train = {.epochs = 1, .validation_fraction = 0}};
    const vb::optimizer::sgd still{.learning_rate = 0};
    const auto one = vb::add_task(reference{}, model, vb::binary("one"), data, options, still);
    const auto three =
        vb::add_task(reference{}, model, vb::multilabel("several", 3), several, options, still);
    const std::string layer = "/encoder/layer0/weight";
    CHECK(part(three, "task/several" + layer) == part(one, "task/one" + layer));
    for (const char* source : {"a", "b", "c"}) {
      if (part(one, "task/one" + layer) == part(model, std::string("task/") + source + layer)) {
        chosen.insert(source);
      }
    }
  }
  CHECK(chosen.size() > 1);  // or it would not matter what the labels are
}

TEST_CASE("an interrupt while tasks are added keeps what there is") {
  const auto model = trained();
  using target = vb::target_task<vb::head::regression, dataset>;
  const std::vector<target> targets{{vb::regression("d"), target_data("d")},
                                    {vb::regression("e"), target_data("e", 25, 4)}};
  std::vector<bool> interrupted;
  const auto larger =
      vb::add_tasks(cpu(1), model, targets, nullptr, {.train = {.epochs = 3, .batch = 16}},
                    vb::optimizer::adam{}, [&](std::size_t, const vb::history& h) {
                      interrupted.push_back(h.interrupted);
                      if (interrupted.size() == 1) {
                        std::raise(SIGINT);
                      }
                    });
  CHECK(interrupted == std::vector<bool>{false, true});
  CHECK(larger.task_list().size() == 5);
  CHECK(contains(larger, model));

  // Within a guard of the caller's, which knows of the interrupt afterwards.
  const vb::interrupt_guard guard;
  for (const bool handle : {true, false}) {
    interrupted.clear();
    std::size_t epochs = 0;
    vb::addition options{.train = {.epochs = 3, .batch = 16}};
    options.train.handle_interrupts = handle;
    const auto both = vb::add_tasks(cpu(1), model, targets, nullptr, options, vb::optimizer::adam{},
                                    [&](std::size_t i, const vb::history& h) {
                                      interrupted.push_back(h.interrupted);
                                      epochs += h.epochs.size();
                                      if (i == 0 && !vb::interrupted()) {
                                        std::raise(SIGINT);
                                      }
                                    });
    CHECK(vb::interrupted());
    CHECK(interrupted == std::vector<bool>{!handle, true});
    CHECK(epochs == (handle ? 4 : 2));  // the second time it is interrupted from the beginning
    CHECK(both.task_list().size() == 5);
  }
}

TEST_CASE("validation of an added task keeps the best epoch, and needs labels to count") {
  const auto model = trained();
  auto data = target_data("d", 60);
  std::vector<index_t> held;
  for (index_t r = 40; r < 60; ++r) {
    held.push_back(r);
  }
  vb::history told;
  const auto add = [&](const dataset& with) {
    vb::addition options{.trunk = trunk_policy::frozen,
                         .train = {.epochs = 6, .batch = 16, .validation_rows = held}};
    using target = vb::target_task<vb::head::regression, dataset>;
    return vb::add_tasks(cpu(1), model, std::vector<target>{{vb::regression("d"), with}}, nullptr,
                         options, vb::optimizer::adam{.learning_rate = 5e-3},
                         [&](std::size_t, const vb::history& h) { told = h; });
  };
  const auto larger = add(data);
  const auto p = larger.predict(cpu(1), data.inputs.select(held), 3);
  double loss = 0;
  for (std::size_t i = 0; i < held.size(); ++i) {
    const double d = (p(static_cast<index_t>(i), 0) - data.at("d").values(held[i], 0)) /
                     larger.label_deviation(3);
    loss += d * d / static_cast<double>(held.size());
  }
  double best = std::numeric_limits<double>::infinity();
  for (const auto& e : told.epochs) {
    best = std::min(best, e.validation_loss);
  }
  CHECK(loss == doctest::Approx(best).epsilon(1e-9));

  // Rows without a label do not matter: the same with them among all rows.
  auto more = target_data("d", 30, 9);
  more.mask_labels("d", std::vector<index_t>{0, 3, 4, 5, 6, 7, 9, 10, 11, 12, 20, 22, 29});
  std::vector<index_t> labelled;
  for (index_t r = 0; r < 30; ++r) {
    if (more.at("d").has(r)) {
      labelled.push_back(r);
    }
  }
  const vb::training share{.validation_fraction = 0.3};
  const auto [train, validation] = vb::detail::labelled_training_rows(more.at("d"), share);
  CHECK(validation.size() == 5);  // of 17
  const auto alone = vb::detail::training_rows(17, share);
  for (std::size_t i = 0; i < 5; ++i) {
    CHECK(validation[i] == labelled[static_cast<std::size_t>(alone.second[i])]);
  }
  CHECK(train.size() == 12);
  for (std::size_t i = 0; i < 12; ++i) {
    CHECK(train[i] == labelled[static_cast<std::size_t>(alone.first[i])]);
  }
  const auto named =
      vb::detail::labelled_training_rows(more.at("d"), {.validation_rows = {0, 1, 2, 3}});
  CHECK(named.second == std::vector<index_t>{1, 2});
  CHECK(named.first.size() == 15);

  data.mask_labels("d", held);
  const auto blind = add(data);
  CHECK(std::isnan(told.epochs[0].validation_loss));
  CHECK(told.best_epoch == 6);
  auto first = model;
  first.append("d", vb::head::regression{}, vb::task_origin::added, 1);
  CHECK(part(blind, "task/d/output/weight") != part(first, "task/d/output/weight"));
}

TEST_CASE("any alignment, any head, and message passing") {
  const auto data = target_data("d");
  const vb::addition options{.pool_batch = 8, .train = {.epochs = 2, .batch = 16}};
  const auto check = [&](auto alignment) {
    const auto model = trained(alignment, 2);
    for (const auto trunk : {trunk_policy::frozen, trunk_policy::tuned_copy}) {
      auto with = options;
      with.trunk = trunk;
      const auto larger = vb::add_task(cpu(1), model, vb::regression("d"), data, pool(), with,
                                       vb::optimizer::adam{});
      CHECK(contains(larger, model));
      CHECK(larger.predict(cpu(1), pool())[2] == model.predict(cpu(1), pool())[2]);
    }
  };
  check(vb::alignment::none{});
  check(vb::alignment::coral{});
  check(vb::alignment::sum{vb::alignment::consistency{}, vb::alignment::soft_sharing{},
                           vb::alignment::distance{.perturbations = 2}});

  auto kinds = data;
  std::vector<double> which;
  matrix several(data.size(), 2);
  for (index_t r = 0; r < data.size(); ++r) {
    which.push_back(static_cast<double>(r % 3));
    several(r, 0) = static_cast<double>(r % 2);
    several(r, 1) = r % 4 == 0 ? missing : static_cast<double>(r % 3 == 0);
  }
  kinds.add("which", which);
  kinds.add("several", several);
  const auto model = trained();
  const auto grown =
      vb::add_task(cpu(1),
                   vb::add_task(cpu(1), model, vb::multiclass("which", 3), kinds, options,
                                vb::optimizer::adam{}),
                   vb::multilabel("several", 2), kinds, options, vb::optimizer::adam{});
  CHECK(contains(grown, model));
  const auto out = grown.predict(cpu(1), pool());
  CHECK(out[3].cols() == 3);
  CHECK(out[4].cols() == 2);

  const auto graphs = problems::graph_tasks(60, {"a", "b", "d"}, 4, 2);
  auto passing = vb::multitask<double>(vb::encoder::dmpnn{.hidden = 12, .widths = {8}},
                                       vb::tasks{vb::regression("a"), vb::regression("b")},
                                       vb::alignment::gate{}, small);
  vb::fit(cpu(1), passing, graphs, {.epochs = 2}, vb::optimizer::adam{}, vb::weighting::equal{});
  for (const auto trunk : {trunk_policy::frozen, trunk_policy::tuned_copy}) {
    auto with = options;
    with.trunk = trunk;
    const auto larger = vb::add_task(cpu(1), passing, vb::regression("d"), graphs, graphs.inputs,
                                     with, vb::optimizer::adam{});
    CHECK(contains(larger, passing));
    CHECK(larger.predict(cpu(1), graphs.inputs)[1] == passing.predict(cpu(1), graphs.inputs)[1]);
  }
}

TEST_CASE("what cannot be added is refused, and nothing changes") {
  const auto model = trained();
  const auto data = target_data("d", 20);
  const vb::addition options{.train = {.epochs = 1}};
  const vb::optimizer::adam adam;
  const auto add = [&](auto what, const dataset& with, vb::addition how) {
    vb::add_task(reference{}, model, what, with, how, adam);
  };
  CHECK_THROWS_WITH_AS(add(vb::regression("a"), data, options),
                       "tasks: the task 'a' is given twice", vb::error);
  CHECK_THROWS_WITH_AS(add(vb::regression("e"), data, options),
                       "dataset: no labels 'e'; there are 'd'", vb::error);
  auto empty = data;
  std::ranges::fill(empty.at("d").values.row(0), missing);
  for (index_t r = 0; r < 20; ++r) {
    empty.at("d").values(r, 0) = missing;
  }
  CHECK_THROWS_WITH_AS(add(vb::regression("d"), empty, options),
                       "labels: task 'd' has no label among the training rows", vb::error);
  auto wrong = data;
  for (index_t r = 0; r < 20; ++r) {
    wrong.at("d").values(r, 0) = r == 11 ? 3 : 1;
  }
  CHECK_THROWS_WITH_AS(add(vb::binary("d"), wrong, options),
                       "labels: task 'd', row 11 (counted from 0): expected 0 or 1, found 3",
                       vb::error);
  auto bad_feature = data;
  bad_feature.inputs.values(2, 1) = missing;
  CHECK_THROWS_AS(add(vb::regression("d"), bad_feature, options), vb::error);
  CHECK_THROWS_WITH_AS(add(vb::regression("d"), data, {.alignment = -1}),
                       "add_task: alignment must not be negative, but is -1", vb::error);
  const auto narrow = related_tasks(20, 3, {"d"}, 1);
  const std::string width =
      "inputs: the model was trained on 4 features, the inputs have 3 features";
  CHECK_THROWS_WITH_AS(add(vb::regression("d"), narrow, options), width.c_str(), vb::error);
  CHECK_THROWS_WITH_AS(
      vb::add_task(reference{}, model, vb::regression("d"), data, narrow.inputs, options, adam),
      width.c_str(), vb::error);
  const auto fresh = vb::multitask<double>(vb::encoder::mlp{}, vb::tasks{vb::regression("a")});
  CHECK_THROWS_WITH_AS(vb::add_task(reference{}, fresh, vb::regression("d"), data, options, adam),
                       "model: it has not been trained", vb::error);
  using target = vb::target_task<vb::head::regression, dataset>;
  int calls = 0;
  const auto add_all = [&](const std::vector<target>& targets) {
    vb::add_tasks(cpu(2), model, targets, nullptr, options, adam,
                  [&](std::size_t, const vb::history&) { ++calls; });
  };
  CHECK_THROWS_WITH_AS(add_all({{vb::regression("d"), data}, {vb::regression("b"), data}}),
                       "tasks: the task 'b' is given twice", vb::error);
  CHECK_THROWS_WITH_AS(add_all({{vb::regression("d"), data}, {vb::regression("d"), data}}),
                       "tasks: the task 'd' is given twice", vb::error);
  CHECK(calls == 0);
  // Of several that fail the first by position is told, even if a later one failed before it.
  for (int i = 0; i < 5; ++i) {
    CHECK_THROWS_WITH_AS(
        add_all({{vb::regression("d"), data},
                 {vb::regression("e"), bad_feature},
                 {vb::regression("f"), data}}),
        "features, row 2, column 1 (counted from 0): expected a finite number, found nan",
        vb::error);
    CHECK_THROWS_WITH_AS(
        add_all({{vb::regression("d"), empty}, {vb::regression("e"), bad_feature}}),
        "labels: task 'd' has no label among the training rows", vb::error);
  }
  // What the caller's function throws is a failure of its target: the first one fails late.
  const vb::addition longer{.train = {.epochs = 40}};
  for (int i = 0; i < 3; ++i) {
    CHECK_THROWS_WITH_AS(
        vb::add_tasks(
            cpu(2), model,
            std::vector<target>{{vb::regression("d"), data}, {vb::regression("e"), bad_feature}},
            nullptr, longer, adam,
            [](std::size_t, const vb::history&) { throw vb::error("here", "enough"); }),
        "here: enough", vb::error);
  }

  // A model whose tasks were all added has nothing to learn from.
  auto orphans = model;
  orphans.rebuild(orphans.shape(), std::vector(3, vb::task_origin::added));
  CHECK_THROWS_WITH_AS(vb::add_task(reference{}, orphans, vb::regression("d"), data, options, adam),
                       "add_task: all tasks of the model were added, none is a source", vb::error);
  CHECK_THROWS_WITH_AS(
      vb::add_task(reference{}, orphans, vb::regression("d"), data, pool(), options, adam),
      "add_task: all tasks of the model were added, none is a source", vb::error);
}
