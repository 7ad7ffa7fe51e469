// The encoders on dense features.
#include <doctest/doctest.h>

#include <cmath>
#include <numeric>

#include "../support/problems.hpp"
#include "vierbein/backend/cpu.hpp"
#include "vierbein/backend/reference.hpp"
#include "vierbein/encoder/features.hpp"
#include "vierbein/encoder/mlp.hpp"
#include "vierbein/graph/operations.hpp"
#include "vierbein/testing/gradient_check.hpp"

namespace vb = vierbein;
namespace vg = vierbein::graph;
using problems::normal_matrix;
using vb::activation;
using vb::index_t;

namespace {

using reference = vb::backend::reference_double;

std::vector<index_t> all_rows(index_t n) {
  std::vector<index_t> rows(static_cast<std::size_t>(n));
  std::iota(rows.begin(), rows.end(), index_t{0});
  return rows;
}

/// b of all rows of `x`, in evaluation mode.
template <class Module>
vb::matrix<double> represent(const Module& module, vb::parameters<double>& theta,
                             const vb::matrix<double>& x, vg::mode mode = vg::mode::evaluation) {
  vg::tape<reference> tape{reference{}};
  tape.bind(theta.segments(), theta.values());
  tape.begin(mode, {5, 5});
  const vb::data::feature_set::batch_type batch{x};
  const auto b = module(tape, batch);
  vb::matrix<double> out(b.rows(), b.cols());
  tape.backend().download(b.value(), out.view());
  return out;
}

/// A scalar that depends on every element, and not linearly.
template <vb::Backend B>
vg::var<B> project(vg::var<B> y) {
  const auto r =
      y.owner->upload(vb::matrix_view<const double>(normal_matrix(y.rows(), y.cols(), 99).view()));
  return vg::sum(r * (y + 0.5 * vg::square(y)));
}

// Biases begin at 0; other values show whether they are used.
void randomise(vb::parameters<double>& theta) {
  for (vb::segment_id id = 0; id < static_cast<vb::segment_id>(theta.segments().size()); ++id) {
    if (!theta.at(id).frozen) {
      const auto values =
          normal_matrix(theta.at(id).rows, theta.at(id).cols, 200 + static_cast<unsigned>(id));
      for (index_t i = 0; i < values.size(); ++i) {
        theta.view(id).data[i] = 0.5 * values.data()[i];
      }
    }
  }
}

}  // namespace

TEST_CASE("the gradient through mlp, with every activation and with dropout") {
  const auto x = normal_matrix(6, 4, 1);
  for (const activation act : {activation::identity, activation::relu, activation::gelu,
                               activation::silu, activation::tanh}) {
    for (const double p : {0.0, 0.3}) {
      CAPTURE(static_cast<int>(act));
      CAPTURE(p);
      const vb::encoder::mlp encoder{
          .widths = {5, 3, 4}, .act = act, .dropout = p, .input_dropout = p / 2};
      vb::parameters<double> theta;
      const auto module = encoder.build(theta, "trunk", {4});
      theta.initialise(3);
      module.prepare(theta, {x}, all_rows(6));
      randomise(theta);
      const auto report = vb::testing::check_gradient(
          theta, [&](auto& tape) { return project(module(tape, {x})); });
      CAPTURE(report.where);
      CHECK(report);
    }
  }
}

TEST_CASE("mlp is what its formula says") {
  const auto x = normal_matrix(5, 3, 2);
  const vb::encoder::mlp encoder{.widths = {4, 2}, .act = activation::tanh, .dropout = 0.5};
  vb::parameters<double> theta;
  const auto module = encoder.build(theta, "trunk", {3});
  theta.initialise(8);
  randomise(theta);
  CHECK(module.width() == 2);
  const auto w = [&](const char* name) { return theta.view(theta.find(name)); };
  // Before `prepare` the input is not scaled. In evaluation mode nothing is dropped.
  const auto b = represent(module, theta, x);
  for (index_t r = 0; r < x.rows(); ++r) {
    double h[4];
    for (index_t k = 0; k < 4; ++k) {
      double sum = w("trunk/layer0/bias")(0, k);
      for (index_t c = 0; c < 3; ++c) {
        sum += x(r, c) * w("trunk/layer0/weight")(c, k);
      }
      h[k] = std::tanh(sum);
    }
    for (index_t k = 0; k < 2; ++k) {
      double sum = w("trunk/layer1/bias")(0, k);
      for (index_t c = 0; c < 4; ++c) {
        sum += h[c] * w("trunk/layer1/weight")(c, k);
      }
      CHECK(b(r, k) == doctest::Approx(std::tanh(sum)).epsilon(1e-12));
    }
  }
}

TEST_CASE("dropout acts in training only, and behind the last layer not at all") {
  const auto x = normal_matrix(40, 3, 4);
  vb::parameters<double> theta;
  const auto module =
      vb::encoder::mlp{.widths = {30}, .act = activation::identity, .dropout = 0.5}.build(theta,
                                                                                          "t", {3});
  const auto inputs = vb::encoder::mlp{.widths = {30}, .input_dropout = 0.5}.build(theta, "u", {3});
  const auto deep = vb::encoder::mlp{.widths = {30, 5}, .dropout = 0.5}.build(theta, "v", {3});
  theta.initialise(1);
  using enum vg::mode;
  CHECK(represent(module, theta, x, training) == represent(module, theta, x, evaluation));
  CHECK(represent(inputs, theta, x, training) != represent(inputs, theta, x, evaluation));
  CHECK(represent(deep, theta, x, training) != represent(deep, theta, x, evaluation));
}

TEST_CASE("the encoder `features` gives the standardised input") {
  auto x = normal_matrix(50, 3, 7);
  for (index_t r = 0; r < x.rows(); ++r) {
    x(r, 0) = 1e3 + 5 * x(r, 0);
    x(r, 1) = 4.2;  // constant
  }
  const vb::encoder::features encoder;
  vb::parameters<double> theta;
  const auto module = encoder.build(theta, "trunk", {3});
  theta.initialise(1);
  CHECK(module.width() == 3);
  CHECK(theta.at(theta.find("trunk/scaling/mean")).frozen);
  CHECK(theta.at(theta.find("trunk/scaling/factor")).frozen);

  // Statistics come from the rows given, here all but the last ten.
  module.prepare(theta, {x}, all_rows(40));
  auto unheard = x;
  unheard(49, 1) = -7;   // of a column that was constant in training
  unheard(48, 0) = 1e9;  // far beyond what was seen
  unheard(47, 2) = -1e9;
  const auto b = represent(module, theta, unheard);
  for (const index_t c : {0, 2}) {
    double mean = 0;
    double squares = 0;
    for (index_t r = 0; r < 40; ++r) {
      mean += x(r, c) / 40;
    }
    for (index_t r = 0; r < 40; ++r) {
      squares += (x(r, c) - mean) * (x(r, c) - mean) / 40;
    }
    for (index_t r = 0; r < 47; ++r) {
      // Rounding of a number of size 1000 with a deviation of 5, in double.
      CHECK(std::abs(b(r, c) - (x(r, c) - mean) / std::sqrt(squares)) < 1e-11);
    }
  }
  for (index_t r = 0; r < 50; ++r) {
    CHECK(b(r, 1) == 0);
  }
  CHECK(b(48, 0) == 10);
  CHECK(b(47, 2) == -10);
}

TEST_CASE("a column that is constant but for rounding counts as constant") {
  vb::matrix<double> x(30, 2);
  for (index_t r = 0; r < 30; ++r) {
    x(r, 0) = 0.1 + 0.2 + (r % 2 == 0 ? 1e-16 : 0.0);
    x(r, 1) = 1e-30 * static_cast<double>(r);  // small, but not constant
  }
  vb::parameters<double> theta;
  const auto module = vb::encoder::features{}.build(theta, "t", {2});
  theta.initialise(1);
  module.prepare(theta, {x}, all_rows(30));
  const auto b = represent(module, theta, x);
  CHECK(b(0, 0) == 0);
  CHECK(b(1, 0) == 0);
  CHECK(b(29, 1) > 1);
}

TEST_CASE("encoders of features refuse inputs without features and impossible options") {
  vb::parameters<double> theta;
  CHECK_THROWS_WITH_AS((vb::encoder::mlp{}.build(theta, "t", {0})),
                       "encoder::mlp: expected at least one feature, found none", vb::error);
  CHECK_THROWS_WITH_AS((vb::encoder::features{}.build(theta, "t", {0})),
                       "encoder::features: expected at least one feature, found none", vb::error);
  CHECK_THROWS_WITH_AS((vb::encoder::mlp{.input_dropout = 1}.build(theta, "t", {2})),
                       "encoder::mlp: input_dropout must be at least 0 and less than 1, but is 1",
                       vb::error);
  CHECK_THROWS_WITH_AS((vb::encoder::mlp{.widths = {}}.build(theta, "t", {2})),
                       "encoder::mlp: expected at least one layer width", vb::error);
}
