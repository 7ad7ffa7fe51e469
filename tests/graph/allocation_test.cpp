// A training step that was made before allocates nothing.
#include "vierbein/testing/allocation_counter.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "vierbein/backend/cpu.hpp"
#include "vierbein/core/matrix.hpp"
#include "vierbein/graph/operations.hpp"

namespace vb = vierbein;
namespace vg = vierbein::graph;
using B = vb::backend::cpu;
using vb::index_t;
using vb::testing::allocation_counter;

namespace {

// Four tasks: a trunk with layer norm and dropout, stacked task modules, masked losses, their
// spread; Adam. Products are large enough for several threads and for several panels.
struct training {
  static constexpr std::size_t tasks = 4;
  vb::parameters<float> theta;
  vg::dense_stack trunk = vg::dense_stack::make(theta, "trunk", 40, {width, width},
                                                vb::activation::gelu, vb::activation::relu, 0.1);
  vb::segment_id gain = theta.add("gain", 1, width, vb::initialiser::ones);
  vb::segment_id bias = theta.add("bias", 1, width, vb::initialiser::zeros);
  std::vector<vg::dense_stack> modules;
  std::array<const vg::dense_stack*, tasks> pointers{};
  vg::dense_stack head =
      vg::dense_stack::make(theta, "head", 16, {1}, vb::activation::relu, vb::activation::identity);
  index_t rows;
  vb::matrix<double> x, label;
  vb::aligned_vector<float> gradient, m, v;
  std::array<double, tasks + 1> values{};
  vg::tape<B> tape;
  int steps = 0;

  static constexpr index_t width = 96;

  training(index_t n, int threads) : rows(n), x(n, 40), label(n, tasks), tape(B{threads}) {
    for (std::size_t t = 0; t < tasks; ++t) {
      modules.push_back(vg::dense_stack::make(theta, "task" + std::to_string(t), width, {32, 16},
                                              vb::activation::relu, vb::activation::identity, 0.1));
    }
    for (std::size_t t = 0; t < tasks; ++t) {
      pointers[t] = &modules[t];
    }
    theta.initialise(1);
    for (index_t i = 0; i < x.size(); ++i) {
      x.data()[i] = vb::random_stream{1, 1}.normal(static_cast<std::uint64_t>(i));
    }
    for (index_t i = 0; i < label.size(); ++i) {
      label.data()[i] = i % 5 == 0 ? std::numeric_limits<double>::quiet_NaN() : x.data()[3 * i];
    }
    for (auto* state : {&gradient, &m, &v}) {
      state->resize(static_cast<std::size_t>(theta.size()));
    }
    tape.bind(theta.segments(), theta.values());
  }

  void forget() { tape.begin(vg::mode::training, {1, static_cast<std::uint64_t>(++steps)}); }

  void step() {
    auto z = trunk(tape, tape.upload(vb::matrix_view<const double>(x.view())));
    z = vg::layer_norm(z, tape.parameter(gain), tape.parameter(bias));
    const auto latent = vg::stacked_tasks<B>(tape, pointers, z, true);
    const auto labels = tape.upload(vb::matrix_view<const double>(label.view()));
    std::array<vg::var<B>, tasks + 1> losses;
    std::array<vg::seed<B>, tasks + 1> seeds;
    for (std::size_t t = 0; t < tasks; ++t) {
      const auto i = static_cast<index_t>(t);
      const auto p = head(tape, vg::slice_rows(latent, i * rows, rows));
      losses[t] = vg::masked_loss(vb::backend::loss_kind::squared, p, vg::slice_cols(labels, i, 1));
    }
    losses[tasks] = vg::group_spread(latent, tasks, 1e-5);
    for (std::size_t t = 0; t <= tasks; ++t) {
      seeds[t] = {losses[t], 0.2, 0};
    }
    const index_t n = theta.size();
    tape.backward(seeds, vb::matrix_view<float>(gradient.data(), 1, n));
    tape.read(losses, values);
    const double norm = std::sqrt(tape.backend().squared_norm({gradient.data(), n}));
    tape.backend().adam_step(
        theta.values(), {gradient.data(), n}, static_cast<float>(1 / std::max(1.0, norm)),
        {m.data(), n}, {v.data(), n},
        {1e-2, 0.9, 0.999, 1e-8, 0, 1 - std::pow(0.9, steps), 1 - std::pow(0.999, steps)});
  }
};

}  // namespace

TEST_CASE("a training step that was made before allocates nothing") {
  for (const index_t rows : {index_t{8}, index_t{700}}) {
    for (const int threads : {1, 2}) {
      CAPTURE(rows);
      CAPTURE(threads);
      training run(rows, threads);
      run.forget();
      run.step();
      const double first = run.values[0];
      const std::size_t capacity = run.tape.capacity();
      allocation_counter counter;
      run.forget();  // where the first step took several blocks, one block takes their place
      const auto exchange = counter.count();
      counter.reset();
      for (int i = 0; i < 5; ++i) {
        run.step();
        run.forget();
      }
      const auto later = counter.count();
      if (allocation_counter::counts) {
        CHECK(exchange.value() <= 2);  // one for values, one for objects
        CHECK(later.value() == 0);
      } else {
        CHECK(!later.has_value());
        MESSAGE("allocations are not counted in this build");
      }
      CHECK(run.tape.capacity() <= capacity + capacity / 4 + 1);
      CHECK(run.values[0] < first);  // and it does train
    }
  }
}

TEST_CASE("a step of convolutions that was made before allocates nothing") {
  constexpr index_t images = 40;
  constexpr vb::image_shape shape{1, 24, 24};
  const vb::image_window pool{2, 2, 2, 0};
  vb::parameters<float> theta;
  const auto first = vg::convolution::make(theta, "first", shape, 20, {5, 5, 1, 2});
  const auto second =
      vg::convolution::make(theta, "second", pool.over(first.out, 20), 16, {3, 3, 1, 0});
  theta.initialise(1);
  const vb::matrix<double> x(images, shape.size(), 0.5);
  vb::aligned_vector<float> gradient(static_cast<std::size_t>(theta.size()));
  for (const int threads : {1, 2}) {
    CAPTURE(threads);
    vg::tape<B> tape(B{threads});
    tape.bind(theta.segments(), theta.values());
    const auto step = [&] {
      tape.begin(vg::mode::training);
      const auto h = first.pooled(tape, tape.upload(x.view()), pool, vb::activation::relu);
      const auto y = second(tape, h, vb::activation::gelu);
      tape.backward(vg::sum(vg::square(y)), {gradient.data(), theta.size()});
    };
    step();
    step();
    const allocation_counter counter;
    step();
    CHECK(counter.count().value_or(0) == 0);
  }
}

TEST_CASE("a smaller step after a larger one allocates nothing") {
  training large(300, 1);
  for (int i = 0; i < 2; ++i) {
    large.forget();
    large.step();
  }
  large.rows = 100;
  large.x = vb::matrix<double>(100, 40, 0.5);
  large.label = vb::matrix<double>(100, training::tasks, 0.25);
  const allocation_counter counter;
  large.forget();
  large.step();
  CHECK(counter.count().value_or(0) == 0);
}

TEST_CASE("the counter sees an allocation within a step") {
  training run(8, 1);
  const allocation_counter counter;
  run.forget();
  run.step();
  CHECK(counter.count().value_or(1) > 0);
}
