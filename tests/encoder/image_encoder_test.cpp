// The encoders on images: shapes, formula, gradient, threads, allocations, refusals.
#include <doctest/doctest.h>

#include <cmath>
#include <numeric>
#include <set>
#include <string>

#include "../support/message_of.hpp"
#include "../support/problems.hpp"
#include "vierbein/backend/cpu.hpp"
#include "vierbein/backend/reference.hpp"
#include "vierbein/encoder/convolutional.hpp"
#include "vierbein/encoder/residual.hpp"
#include "vierbein/graph/operations.hpp"
#include "vierbein/testing/allocation_counter.hpp"
#include "vierbein/testing/gradient_check.hpp"

namespace vb = vierbein;
namespace vg = vierbein::graph;
using problems::normal_matrix;
using vb::activation;
using vb::image_shape;
using vb::index_t;
using vb::testing::allocation_counter;

namespace {

vb::data::image_set images(const image_shape& shape, index_t n, std::uint64_t which) {
  const auto values = normal_matrix<float>(n, shape.size(), which);
  return {shape, std::span<const float>(values.data(), static_cast<std::size_t>(values.size()))};
}

std::vector<index_t> first_rows(index_t n) {
  std::vector<index_t> rows(static_cast<std::size_t>(n));
  std::iota(rows.begin(), rows.end(), index_t{0});
  return rows;
}

vb::data::image_set::batch_type batch_of(const vb::data::image_set& set) {
  vb::data::image_set::batch_type batch;
  set.gather(first_rows(set.size()), batch);
  return batch;
}

template <vb::Backend B>
vg::var<B> project(vg::var<B> y) {
  const auto r =
      y.owner->upload(vb::matrix_view<const double>(normal_matrix(y.rows(), y.cols(), 99).view()));
  return vg::sum(r * (y + 0.5 * vg::square(y)));
}

template <class T>
void randomise(vb::parameters<T>& theta) {
  for (vb::segment_id id = 0; id < std::ssize(theta.segments()); ++id) {
    const auto values =
        normal_matrix(theta.at(id).rows, theta.at(id).cols, 200 + static_cast<unsigned>(id));
    for (index_t i = 0; i < values.size() && !theta.at(id).frozen; ++i) {
      theta.view(id).data[i] = static_cast<T>(0.4 * values.data()[i]);
    }
  }
}

template <class Encoder>
void check_whole_gradient(const Encoder& encoder, const vb::data::image_set& set) {
  vb::parameters<double> theta;
  const auto module = encoder.build(theta, "trunk", set.shape());
  theta.initialise(3);
  module.prepare(theta, set, first_rows(set.size()));
  randomise(theta);
  const auto batch = batch_of(set);
  const auto report =
      vb::testing::check_gradient(theta, [&](auto& tape) { return project(module(tape, batch)); });
  CAPTURE(report.where);
  CAPTURE(report.numeric);
  CAPTURE(report.swept);
  CHECK(report);
}

// Value and gradient of a sum over b in training mode, with dropout.
template <class Encoder>
vb::aligned_vector<double> step(const Encoder& encoder, const vb::data::image_set& set,
                                int threads) {
  using B = vb::backend::cpu_double;
  vb::parameters<double> theta;
  const auto module = encoder.build(theta, "trunk", set.shape());
  theta.initialise(3);
  module.prepare(theta, set, first_rows(set.size()));
  vg::tape<B> tape{B{threads}};
  tape.bind(theta.segments(), theta.values());
  tape.begin(vg::mode::training, {1, 2});
  const auto loss = project(module(tape, batch_of(set)));
  vb::aligned_vector<double> gradient(static_cast<std::size_t>(theta.size()));
  tape.backward(loss, {gradient.data(), theta.size()});
  gradient.push_back(tape.read(loss));
  return gradient;
}

template <class Encoder>
void check_allocations(const Encoder& encoder, const vb::data::image_set& set) {
  using B = vb::backend::cpu;
  for (const int threads : {1, 2}) {
    CAPTURE(threads);
    vb::parameters<float> theta;
    const auto module = encoder.build(theta, "trunk", set.shape());
    theta.initialise(3);
    vg::tape<B> tape{B{threads}};
    tape.bind(theta.segments(), theta.values());
    vb::aligned_vector<float> gradient(static_cast<std::size_t>(theta.size()));
    vb::data::image_set::batch_type batch;
    const auto rows = first_rows(set.size());
    const auto run = [&] {
      tape.begin(vg::mode::training, {1, 2});
      set.gather(rows, batch);
      tape.backward(vg::sum(vg::square(module(tape, batch))), {gradient.data(), theta.size()});
    };
    run();
    tape.begin(vg::mode::training);  // one block takes the place of several
    const allocation_counter counter;
    run();
    run();
    if (allocation_counter::counts) {
      CHECK(counter.count().value() == 0);
    } else {
      MESSAGE("allocations are not counted in this build");
    }
  }
}

template <class Encoder>
std::string refusal(const Encoder& encoder, const image_shape& shape) {
  return test::message_of([&] {
    vb::parameters<double> theta;
    (void)encoder.build(theta, "trunk", shape);
  });
}

}  // namespace

TEST_CASE("convolutional: names, shapes and width") {
  vb::parameters<float> theta;
  const vb::encoder::convolutional encoder;
  const auto module = encoder.build(theta, "trunk", {1, 36, 36});
  CHECK(module.width() == 84);
  const auto shape = [&](const char* name) {
    REQUIRE(theta.find(name) >= 0);
    const auto& s = theta.at(theta.find(name));
    return std::pair{s.rows, s.cols};
  };
  CHECK(shape("trunk/convolution0/weight") == std::pair<index_t, index_t>{25, 6});
  CHECK(shape("trunk/convolution1/weight") == std::pair<index_t, index_t>{150, 16});
  CHECK(shape("trunk/convolution1/bias") == std::pair<index_t, index_t>{1, 16});
  CHECK(shape("trunk/layer0/weight") == std::pair<index_t, index_t>{6 * 6 * 16, 120});
  CHECK(shape("trunk/layer1/weight") == std::pair<index_t, index_t>{120, 84});
  CHECK(theta.at(theta.find("trunk/scaling/mean")).frozen);
  CHECK(theta.segments().size() == 10);

  vb::parameters<float> other;
  const auto flat =
      vb::encoder::convolutional{.channels = {3}, .hidden = {}}.build(other, "trunk", {2, 8, 10});
  CHECK(flat.width() == 2 * 3 * 3);  // (8 - 4) / 2, (10 - 4) / 2, 3 channels
}

TEST_CASE("convolutional is what its formula says") {
  const auto set = images({2, 5, 6}, 3, 1);
  vb::parameters<double> theta;
  const vb::encoder::convolutional encoder{
      .channels = {3}, .kernel = 2, .pool = 2, .hidden = {4}, .act = activation::tanh};
  const auto module = encoder.build(theta, "trunk", set.shape());
  theta.initialise(8);
  module.prepare(theta, set, first_rows(3));
  randomise(theta);
  vg::tape<vb::backend::reference_double> tape{{}};
  tape.bind(theta.segments(), theta.values());
  tape.begin(vg::mode::evaluation);
  const auto b = module(tape, batch_of(set)).value();
  const auto w = [&](const char* name) { return theta.view(theta.find(name)); };
  // Statistics of each channel.
  double mean[2] = {};
  double deviation[2] = {};
  const auto each = [&](auto&& f) {
    for (index_t i = 0; i < 3; ++i) {
      for (index_t c = 0; c < 2; ++c) {
        for (index_t y = 0; y < 5; ++y) {
          for (index_t x = 0; x < 6; ++x) {
            f(c, static_cast<double>(set.value(i, c, y, x)));
          }
        }
      }
    }
  };
  each([&](index_t c, double v) { mean[c] += v / 90; });
  each([&](index_t c, double v) { deviation[c] += (v - mean[c]) * (v - mean[c]) / 90; });
  for (index_t i = 0; i < 3; ++i) {
    double h[2 * 2 * 3];
    for (index_t py = 0; py < 2; ++py) {
      for (index_t px = 0; px < 2; ++px) {
        for (index_t o = 0; o < 3; ++o) {
          double best = -1e300;
          for (index_t y = 2 * py; y < 2 * py + 2; ++y) {
            for (index_t x = 2 * px; x < 2 * px + 2; ++x) {
              double total = w("trunk/convolution0/bias")(0, o);
              for (index_t k = 0; k < 8; ++k) {
                const index_t c = k % 2;
                const double pixel = static_cast<double>(set.value(i, c, y + k / 4, x + k / 2 % 2));
                total += (pixel - mean[c]) / std::sqrt(deviation[c]) *
                         w("trunk/convolution0/weight")(k, o);
              }
              best = std::max(best, total);
            }
          }
          h[(py * 2 + px) * 3 + o] = std::tanh(best);
        }
      }
    }
    for (index_t o = 0; o < 4; ++o) {
      double total = w("trunk/layer0/bias")(0, o);
      for (index_t k = 0; k < 12; ++k) {
        total += h[k] * w("trunk/layer0/weight")(k, o);
      }
      CHECK(b(i, o) == doctest::Approx(std::tanh(total)).epsilon(1e-10));
    }
  }
}

TEST_CASE("the gradient through convolutional") {
  for (const activation act : {activation::relu, activation::gelu}) {
    for (const index_t pool : {1, 2}) {
      CAPTURE(static_cast<int>(act));
      CAPTURE(pool);
      check_whole_gradient(vb::encoder::convolutional{.channels = {2, 3},
                                                      .kernel = 3,
                                                      .padding = 1,
                                                      .pool = pool,
                                                      .hidden = {5, 4},
                                                      .act = act,
                                                      .dropout = 0.25},
                           images({2, 6, 7}, 3, 4));
    }
  }
}

TEST_CASE("the gradient through residual") {
  for (const bool normalise : {true, false}) {
    CAPTURE(normalise);
    check_whole_gradient(vb::encoder::residual{.channels = {3, 4},
                                               .blocks = 2,
                                               .normalise = normalise,
                                               .hidden = {5},
                                               .act = activation::silu,
                                               .dropout = 0.25},
                         images({2, 5, 4}, 2, 4));
  }
}

TEST_CASE("residual: names, shapes and width") {
  vb::parameters<float> theta;
  const auto module = vb::encoder::residual{.blocks = 2}.build(theta, "t", {1, 36, 35});
  CHECK(module.width() == 64);
  CHECK(module.last_image() == image_shape{64, 9, 9});
  REQUIRE(module.blocks.size() == 6);
  CHECK(module.blocks[0].projection.weight == -1);
  CHECK(module.blocks[2].projection.weight >= 0);
  CHECK(module.blocks[3].projection.weight == -1);
  CHECK(theta.find("t/stage1/block0/shortcut/weight") >= 0);
  CHECK(theta.find("t/stem/gain") >= 0);
  CHECK(theta.find("t/stem/bias") >= 0);  // of the normalisation: the convolution has none
  CHECK(theta.at(theta.find("t/stage2/block1/second/weight")).rows == 9 * 64);
}

TEST_CASE("a sample's representation does not depend on the others of its batch") {
  const auto set = images({1, 8, 9}, 9, 2);
  vb::parameters<double> theta;
  const auto module = vb::encoder::residual{.channels = {4, 6}}.build(theta, "t", set.shape());
  theta.initialise(1);
  module.prepare(theta, set, first_rows(9));
  vg::tape<vb::backend::cpu_double> tape{vb::backend::cpu_double{2}};
  tape.bind(theta.segments(), theta.values());
  tape.begin(vg::mode::training);
  const auto all = module(tape, batch_of(set)).value();
  const auto two = module(tape, batch_of(set.select(std::vector<index_t>{7, 3}))).value();
  for (index_t c = 0; c < 6; ++c) {
    CHECK(two(0, c) == doctest::Approx(all(7, c)).epsilon(1e-12));
    CHECK(two(1, c) == doctest::Approx(all(3, c)).epsilon(1e-12));
  }
}

TEST_CASE("image encoders: the same bits for 1, 2 and 7 threads") {
  const auto set = images({1, 20, 20}, 70, 3);
  const auto check = [&](const auto& encoder) {
    const auto one = step(encoder, set, 1);
    CHECK(step(encoder, set, 2) == one);
    CHECK(step(encoder, set, 7) == one);
  };
  check(vb::encoder::convolutional{.dropout = 0.2});
  check(vb::encoder::convolutional{.channels = {16}, .kernel = 3, .padding = 1, .pool = 1});
  check(vb::encoder::residual{.channels = {16, 20}, .dropout = 0.2});
}

TEST_CASE("a step of an image encoder that was made before allocates nothing") {
  const auto set = images({1, 20, 20}, 70, 3);
  check_allocations(vb::encoder::convolutional{.act = activation::gelu, .dropout = 0.2}, set);
  check_allocations(vb::encoder::residual{.channels = {8, 16}}, set);
}

TEST_CASE("a channel that is constant becomes 0, the others get mean 0 and deviation 1") {
  auto values = normal_matrix<float>(6, 2 * 4 * 4, 1);  // as N x C x H x W
  for (index_t i = 0; i < 6; ++i) {
    for (index_t p = 0; p < 16; ++p) {
      values(i, p) = 5 + 3 * values(i, p);
      values(i, 16 + p) = 7;
    }
  }
  const vb::data::image_set set(
      {2, 4, 4}, std::span<const float>(values.data(), static_cast<std::size_t>(values.size())));
  vb::parameters<double> theta;
  const auto scaling = vg::image_scaling::make(theta, "s", set.shape());
  theta.initialise(1);
  scaling.fit(theta, set.channel_moments(first_rows(6)));
  vg::tape<vb::backend::reference_double> tape{{}};
  tape.bind(theta.segments(), theta.values());
  tape.begin(vg::mode::training);
  const auto batch = batch_of(set);
  const auto x = scaling(tape, batch.values.view()).value();
  double mean = 0;
  double squares = 0;
  for (index_t i = 0; i < 6; ++i) {
    for (index_t p = 0; p < 16; ++p) {
      mean += x(i, 2 * p) / 96;
      squares += x(i, 2 * p) * x(i, 2 * p) / 96;
      CHECK(x(i, 2 * p + 1) == 0);
    }
  }
  CHECK(std::abs(mean) < 1e-6);
  CHECK(squares == doctest::Approx(1).epsilon(1e-6));
}

TEST_CASE("images and options that do not fit are refused in one sentence") {
  using vb::encoder::convolutional;
  using vb::encoder::residual;
  CHECK(refusal(convolutional{}, {1, 4, 9}) ==
        "encoder::convolutional: a window of 5 x 5 does not fit into an image of 4 x 9 with a "
        "padding of 0");
  CHECK(refusal(convolutional{}, {1, 13, 13}) ==
        "encoder::convolutional: a window of 5 x 5 does not fit into an image of 4 x 4 with a "
        "padding of 0");
  CHECK(refusal(convolutional{.pool = 5}, {1, 8, 8}) ==
        "encoder::convolutional: a window of 5 x 5 does not fit into an image of 4 x 4 with a "
        "padding of 0");
  CHECK(refusal(convolutional{.channels = {}}, {1, 8, 8}) ==
        "encoder::convolutional: expected at least one convolution");
  CHECK(refusal(convolutional{.channels = {4, 0}}, {1, 36, 36}) ==
        "trunk/convolution1: expected at least one channel, found 0");
  CHECK(refusal(convolutional{.kernel = 0}, {1, 8, 8}) ==
        "encoder::convolutional: expected a window and a stride of 1 to 4096 pixels, found 0 x 0 "
        "and 1");
  CHECK(refusal(convolutional{.padding = 5}, {1, 8, 8}) ==
        "encoder::convolutional: expected a padding narrower than the window of 5 x 5, found 5");
  CHECK(refusal(convolutional{}, {1, 0, 36}) ==
        "encoder::convolutional: expected images of at least one pixel and one channel, found 1 "
        "channel of 0 x 36 pixels");
  CHECK(refusal(convolutional{}, {index_t{1} << 40, 36, 36}) ==
        "encoder::convolutional: expected images of at least one pixel and one channel, found "
        "1099511627776 channels of 36 x 36 pixels");
  CHECK(refusal(residual{.channels = {}}, {1, 8, 8}) ==
        "encoder::residual: expected at least one stage and one block, found 0 and 1");
  CHECK(refusal(residual{.channels = {4, 1}}, {1, 8, 8}) ==
        "encoder::residual: expected at least 2 channels in a stage, found 1");
  CHECK(refusal(residual{.channels = {4, 1}, .normalise = false}, {1, 1, 1}).empty());
}
