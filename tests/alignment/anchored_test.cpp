// Alignment of one task with frozen sources: means over the sources stand for sums over them.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "setting.hpp"
#include "vierbein/testing/gradient_check.hpp"

namespace vb = vierbein;
namespace vg = vierbein::graph;
using namespace vierbein::alignment;  // NOLINT(google-build-using-namespace)
using setting::batch_of_tasks;
using setting::matrix;
using setting::reference;
using vb::index_t;
using var = vg::var<reference>;
using tape_type = vg::tape<reference>;
using views_type = vb::task_views<reference, vb::tasks<>>;

namespace {

constexpr double epsilon = 1e-4;

/// Task 1 of four; the others are its sources.
struct addition {
  batch_of_tasks tasks{4, 6, 2, 1};
  std::vector<index_t> sources{0, 2, 3};
  index_t target = 1;
  std::vector<matrix> flat;       // of every source
  std::vector<matrix> distances;  // of every source, copy by copy

  addition() {
    for (const index_t s : sources) {
      flat.push_back(tasks.flat(s));
      matrix d(tasks.copies * tasks.rows, 1);
      for (index_t k = 1; k <= tasks.copies; ++k) {
        const matrix one = setting::row_distances(tasks.flat(s), tasks.flat(s, k), epsilon);
        std::copy_n(one.data(), one.size(), d.row((k - 1) * tasks.rows).data());
      }
      distances.push_back(d);
    }
    // Only the target's module is trained.
    auto& theta = tasks.model.theta();
    theta.freeze("");
    theta.freeze(tasks.prefix(target), false);
    theta.freeze(tasks.prefix(target) + "/scaling");
  }

  static matrix mean(const std::vector<matrix>& all) {
    matrix m(all[0].rows(), all[0].cols());
    for (const matrix& one : all) {
      for (index_t i = 0; i < m.size(); ++i) {
        m.data()[i] += one.data()[i] / static_cast<double>(all.size());
      }
    }
    return m;
  }

  template <class F>
  var record(tape_type& tape, F&& f) const {
    const matrix mean_flat = mean(flat);
    const matrix mean_distances = mean(distances);
    vb::anchor_batch<reference> anchors;
    anchors.sources = static_cast<index_t>(sources.size());
    anchors.mean_flat = tape.upload(mean_flat.view());
    anchors.mean_distances = tape.upload(mean_distances.view());
    std::vector<var> parts;
    for (const matrix& u : flat) {
      parts.push_back(tape.upload(u.view()));
    }
    anchors.flat = vg::concatenate_rows<reference>(parts);
    const std::vector<index_t> same(static_cast<std::size_t>(tasks.copies), 0);
    const auto b = tasks.model.trunk()(tape, tasks.inputs);
    const var both[] = {
        b, vg::select_blocks<reference>(b, tasks.rows, same) + tape.upload(tasks.noise.view())};
    const std::vector<const vb::task_module*> modules{&tasks.model.module(target)};
    const std::vector<index_t> numbers{target};
    const std::vector<var> labels{
        tape.upload(tasks.labels[static_cast<std::size_t>(target)].view())};
    views_type views(tape, tasks.model.task_list(), numbers, modules, labels,
                     vg::concatenate_rows<reference>(both), tasks.rows, &anchors);
    return f(views);
  }

  struct outcome {
    double value;
    std::vector<double> gradient;
  };
  template <class F>
  outcome run(F&& f, vb::random_stream stream = {2, 2}) const {
    tape_type tape{reference{}};
    auto theta = tasks.model.theta();
    tape.bind(theta.segments(), theta.values());
    tape.begin(vg::mode::training, stream);
    const var loss = record(tape, f);
    REQUIRE(loss);
    outcome o{tape.read(loss), std::vector<double>(static_cast<std::size_t>(theta.size()))};
    tape.backward(loss, {o.gradient.data(), theta.size()});
    return o;
  }
};

void check_equal(const std::vector<double>& a, const std::vector<double>& b) {
  double largest = 0;
  double difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    largest = std::max(largest, std::abs(b[i]));
    difference = std::max(difference, std::abs(a[i] - b[i]));
  }
  CHECK(largest > 1e-3);
  CHECK(difference < 1e-13 * (1 + largest));
}

}  // namespace

TEST_CASE_FIXTURE(addition, "anchored consistency has the gradient of the sum over the sources") {
  const auto explicit_sum = [&](views_type& v) {
    var total{};
    for (const matrix& u : flat) {
      const auto one = vg::mean_squared_error(v.flat(), v.tape().upload(u.view()));
      total = total ? total + one : one;
    }
    return total;
  };
  const outcome expected = run(explicit_sum);
  const outcome sum = run(consistency{.scaling = pair_scaling::sum});
  auto twice = expected.gradient;  // either order of a pair counts
  auto average = expected.gradient;
  for (std::size_t i = 0; i < twice.size(); ++i) {
    twice[i] *= 2;
    average[i] /= 3;
  }
  check_equal(sum.gradient, twice);
  check_equal(run(consistency{}).gradient, average);
  // The value lacks what does not depend on the target: the sources' spread.
  double spread = 0;
  for (const matrix& u : flat) {
    spread += setting::mean_squared(u, mean(flat));
  }
  CHECK(sum.value == doctest::Approx(2 * (expected.value - spread)).epsilon(1e-12));
}

TEST_CASE_FIXTURE(addition, "anchored distance has the gradient of the sum over the sources") {
  const auto explicit_sum = [&](views_type& v) {
    const std::vector<index_t> same(static_cast<std::size_t>(tasks.copies), 0);
    const auto own = vg::row_norms(
        vg::select_blocks<reference>(v.flat(), tasks.rows, same) - v.flat_copies(), epsilon);
    var total{};
    for (const matrix& d : distances) {
      const auto one = vg::mean_squared_error(own, v.tape().upload(d.view()));
      total = total ? total + one : one;
    }
    return total;
  };
  const outcome expected = run(explicit_sum);
  auto twice = expected.gradient;
  auto average = expected.gradient;
  for (std::size_t i = 0; i < twice.size(); ++i) {
    twice[i] *= 2;
    average[i] /= 3;
  }
  check_equal(
      run(distance{.perturbations = 2, .epsilon = epsilon, .scaling = pair_scaling::sum}).gradient,
      twice);
  check_equal(run(distance{.perturbations = 2, .epsilon = epsilon}).gradient, average);
}

TEST_CASE_FIXTURE(addition, "anchored mapping decodes what the sources see") {
  std::vector<double> terms;
  for (const matrix& u : flat) {
    terms.push_back(tasks.head_loss(target, tasks.decode(target, u)));
  }
  const double total = terms[0] + terms[1] + terms[2];
  CHECK(run(mapping{.sources = 0}).value == doctest::Approx(total / 3).epsilon(1e-12));
  CHECK(run(mapping{.sources = 0, .scaling = pair_scaling::sum}).value ==
        doctest::Approx(total).epsilon(1e-12));
  // Two of three, drawn at random: every pair of neighbours occurs, and nothing else.
  std::vector<int> drawn(3, 0);
  for (std::uint64_t i = 0; i < 40; ++i) {
    const double v = run(mapping{.sources = 2}, {4, i}).value;
    std::size_t left_out = 3;
    for (std::size_t k = 0; k < 3; ++k) {
      if (std::abs(v - (total - terms[k]) / 2) < 1e-12) {
        left_out = k;
      }
    }
    REQUIRE(left_out < 3);
    ++drawn[left_out];
  }
  CHECK(*std::ranges::min_element(drawn) >= 4);  // expected 13, deviation 3
}

TEST_CASE_FIXTURE(addition, "autoencoding of an added task, and losses that need partners") {
  const double expected =
      setting::mean_squared(tasks.latent(target), tasks.decode(target, tasks.flat(target)));
  CHECK(run(autoencoding{}).value == doctest::Approx(expected).epsilon(1e-12));
  tape_type tape{reference{}};
  tape.bind(tasks.model.theta().segments(), tasks.model.theta().values());
  tape.begin(vg::mode::training);
  CHECK_FALSE(record(tape, coral{}));
  CHECK_FALSE(record(tape, mmd{}));
  CHECK_FALSE(record(tape, soft_sharing{}));
}

TEST_CASE_FIXTURE(addition, "the gradient of the anchored losses together") {
  const gate loss{.distance = {.perturbations = 2, .epsilon = epsilon}};
  const auto report = vb::testing::check_gradient(
      tasks.model.theta(), [&](tape_type& tape) { return record(tape, loss); });
  CAPTURE(report.where);
  CHECK(report);
}

TEST_CASE_FIXTURE(addition, "a pair set names no partner where all partners are the sources") {
  const consistency named{.pairs = {.target = "class"}};
  CHECK(run(named).value == run(consistency{}).value);
  for (const auto scaling : {pair_scaling::average, pair_scaling::sum}) {
    for (const index_t drawn : {0, 1, 2}) {
      const mapping all{.sources = drawn, .scaling = scaling};
      const mapping one{.sources = drawn, .pairs = {.target = "class"}, .scaling = scaling};
      CHECK(run(one).value == run(all).value);
    }
  }
}
