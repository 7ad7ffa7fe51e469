#include "vierbein/graph/layers.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <numeric>
#include <vector>

#include "vierbein/backend/cpu.hpp"
#include "vierbein/graph/input_scaling.hpp"
#include "vierbein/graph/operations.hpp"
#include "vierbein/testing/gradient_check.hpp"

namespace vb = vierbein;
namespace vg = vierbein::graph;
using B = vb::backend::cpu_double;
using vb::activation;
using vb::index_t;

namespace {

vb::matrix<double> random_matrix(index_t rows, index_t cols) {
  vb::matrix<double> m(rows, cols);
  for (index_t i = 0; i < m.size(); ++i) {
    m.data()[i] = vb::random_stream{3, 1}.normal(static_cast<std::uint64_t>(i));
  }
  return m;
}

// Three tasks with a stack of the given widths each, on an input of width 4.
struct tasks {
  vb::parameters<double> theta;
  std::vector<vg::dense_stack> stacks;
  std::array<const vg::dense_stack*, 3> pointers{};
  vg::tape<B> tape{B{}};

  explicit tasks(const std::vector<index_t>& widths) {
    for (int t = 0; t < 3; ++t) {
      stacks.push_back(vg::dense_stack::make(theta, "task" + std::to_string(t), 4, widths,
                                             activation::silu, activation::tanh));
    }
    for (std::size_t t = 0; t < 3; ++t) {
      pointers[t] = &stacks[t];
    }
    theta.initialise(5);
    for (double& x : theta.values()) {
      x += x == 0 ? 0.25 : 0;  // biases too
    }
    tape.bind(theta.segments(), theta.values());
    tape.begin(vg::mode::training);
  }
};

void check_equal(vb::matrix_view<const double> a, vb::matrix_view<const double> b) {
  REQUIRE(a.rows == b.rows);
  REQUIRE(a.cols == b.cols);
  for (index_t r = 0; r < a.rows; ++r) {
    for (index_t c = 0; c < a.cols; ++c) {
      CHECK(a(r, c) == doctest::Approx(b(r, c)).epsilon(1e-14));
    }
  }
}

}  // namespace

TEST_CASE("a dense stack names its parameters and ends in the last activation") {
  tasks f({6, 5});
  const vg::dense_stack& stack = f.stacks[1];
  CHECK(stack.width == 5);
  REQUIRE(stack.layers.size() == 2);
  CHECK(f.theta.find("task1/layer0/weight") == stack.layers[0].weight);
  CHECK(f.theta.find("task1/layer1/bias") == stack.layers[1].bias);
  CHECK(f.theta.at(stack.layers[0].weight).rows == 4);
  CHECK(f.theta.at(stack.layers[1].weight).cols == 5);
  const vb::matrix<double> kept = random_matrix(3, 4);
  const auto input = f.tape.constant(kept.view());
  const auto parameter = [&](vb::segment_id id) { return f.tape.parameter(id); };
  const auto hidden = vg::affine(input, parameter(stack.layers[0].weight),
                                 parameter(stack.layers[0].bias), activation::silu);
  const auto expected = vg::affine(hidden, parameter(stack.layers[1].weight),
                                   parameter(stack.layers[1].bias), activation::tanh);
  check_equal(stack(f.tape, input).value(), expected.value());
}

TEST_CASE("without layers a stack is the identity") {
  tasks f({});
  const vb::matrix<double> kept = random_matrix(6, 4);
  const auto x = f.tape.constant(kept.view());
  CHECK(f.stacks[0].width == 4);
  CHECK(f.stacks[0](f.tape, x).id == x.id);
  CHECK(vg::stacked_tasks<B>(f.tape, f.pointers, x, false).id == x.id);
  const auto copies = vg::stacked_tasks<B>(f.tape, f.pointers, x, true);
  REQUIRE(copies.rows() == 18);
  for (index_t t = 0; t < 3; ++t) {
    check_equal(copies.value().row_range(6 * t, 6), x.value());
  }
}

TEST_CASE("stacked tasks compute what each task computes alone") {
  tasks f({6, 5});
  const vb::matrix<double> kept = random_matrix(6, 4);
  const auto x = f.tape.constant(kept.view());
  const auto shared = vg::stacked_tasks<B>(f.tape, f.pointers, x, true);
  const auto own = vg::stacked_tasks<B>(f.tape, f.pointers, x, false);
  REQUIRE(shared.rows() == 18);
  REQUIRE(own.rows() == 6);
  for (index_t t = 0; t < 3; ++t) {
    const auto& stack = f.stacks[static_cast<std::size_t>(t)];
    check_equal(shared.value().row_range(6 * t, 6), stack(f.tape, x).value());
    check_equal(own.value().row_range(2 * t, 2),
                stack(f.tape, vg::slice_rows(x, 2 * t, 2)).value());
  }
}

TEST_CASE("gradients of stacked tasks, a task twice among them") {
  tasks f({6, 5});
  const vb::matrix<double> kept = random_matrix(8, 4);
  const std::array<const vg::dense_stack*, 4> several{&f.stacks[0], &f.stacks[1], &f.stacks[0],
                                                      &f.stacks[2]};
  for (const bool shared : {true, false}) {
    const auto report = vb::testing::check_gradient(
        f.theta,
        [&](vg::tape<B>& t) {
          const auto x = t.constant(kept.view());
          return vg::mean(vg::square(vg::stacked_tasks<B>(t, several, x, shared) + 0.3));
        },
        B{});
    CHECK(report);
  }
}

TEST_CASE("dropout stands behind every layer but the last") {
  vb::parameters<double> theta;
  const auto stack =
      vg::dense_stack::make(theta, "s", 4, {50, 40}, activation::tanh, activation::identity, 0.5);
  theta.initialise(1);
  vg::tape<B> tape(B{});
  tape.bind(theta.segments(), theta.values());
  const vb::matrix<double> kept = random_matrix(3, 4);
  const auto run = [&](vg::mode mode, std::uint64_t seed) {
    tape.begin(mode, {seed, 0});
    const auto y = stack(tape, tape.constant(kept.view())).value();
    vb::matrix<double> copy(y.rows, y.cols);
    tape.backend().download(y, copy.view());
    return copy;
  };
  CHECK(run(vg::mode::training, 1) == run(vg::mode::training, 1));
  CHECK(!(run(vg::mode::training, 1) == run(vg::mode::training, 2)));
  CHECK(run(vg::mode::evaluation, 1) == run(vg::mode::evaluation, 2));
  const auto y = run(vg::mode::training, 1);
  CHECK(std::all_of(y.data(), y.data() + y.size(), [](double v) { return v != 0; }));
}

TEST_CASE("input scaling: mean 0 and deviation 1 on the training rows, constants to 0, clipped") {
  vb::parameters<double> theta;
  const auto scaling = vg::input_scaling::make(theta, "scaling", 3);
  CHECK(theta.at(scaling.mean).frozen);
  CHECK(theta.at(scaling.factor).frozen);
  vb::matrix<double> x(5, 3);
  for (index_t r = 0; r < 5; ++r) {
    x(r, 0) = 100 + 2 * static_cast<double>(r);
    x(r, 1) = 7.3;  // constant on the training rows
    x(r, 2) = r % 2 == 0 ? 1 : -1;
  }
  x(4, 0) = 1e6;
  x(4, 1) = 8;
  const std::array<index_t, 4> training{0, 1, 2, 3};
  scaling.fit(theta, x, training);
  vg::tape<B> tape(B{});
  tape.bind(theta.segments(), theta.values());
  tape.begin(vg::mode::evaluation);
  const auto z = scaling(tape, x);
  CHECK(!tape.wants_gradient(z));
  for (const index_t c : {0, 2}) {
    double mean = 0;
    double square = 0;
    for (const index_t r : training) {
      mean += z.value()(r, c) / 4;
      square += z.value()(r, c) * z.value()(r, c) / 4;
    }
    CHECK(mean == doctest::Approx(0).epsilon(1e-12));
    CHECK(square == doctest::Approx(1).epsilon(1e-12));
  }
  CHECK(z.value()(0, 0) == doctest::Approx(-3 / std::sqrt(5.0)));
  CHECK(z.value()(0, 1) == 0);
  CHECK(z.value()(4, 0) == 10);
  CHECK(z.value()(4, 1) == 0);
}

TEST_CASE("input scaling: a column of mostly zeros keeps them, whatever its unit") {
  vb::matrix<double> x(10, 4, 0.0);
  x(2, 0) = 1;  // a bit
  x(3, 3) = 2;  // a count
  x(4, 3) = 7;
  x(2, 1) = 3e4;
  x(7, 1) = -4e4;
  x(1, 2) = 2e-7;
  std::vector<index_t> rows(10);
  std::iota(rows.begin(), rows.end(), index_t{0});
  vb::parameters<float> theta;
  const auto scaling = vg::input_scaling::make(theta, "scaling", 4);
  scaling.fit(theta, x, rows);
  const auto mean = theta.view(scaling.mean);
  const auto factor = theta.view(scaling.factor);
  for (const index_t c : {0, 1, 2, 3}) {
    CHECK(mean(0, c) == 0);
  }
  CHECK(factor(0, 0) == 1);
  CHECK(factor(0, 3) == 1);
  CHECK(1 / factor(0, 1) == doctest::Approx(std::sqrt(12.5) * 1e4));
  CHECK(1 / factor(0, 2) == doctest::Approx(2e-7));
}

TEST_CASE(
    "input scaling refuses numbers that float cannot tell apart or hold, and takes them in "
    "double") {
  const std::vector<index_t> rows{0, 1, 2, 3};
  const auto column = [](double a, double b) {
    vb::matrix<double> x(4, 2, 1.0);
    x(0, 1) = x(1, 1) = a;
    x(2, 1) = x(3, 1) = b;
    return x;
  };
  const auto fit = [&]<class T>(T, const vb::matrix<double>& x) {
    vb::parameters<T> theta;
    vg::input_scaling::make(theta, "scaling", 2).fit(theta, x, rows);
  };
  CHECK_THROWS_WITH_AS(fit(0.0F, column(1.7e9 - 30, 1.7e9 + 30)),
                       "features: column 1 (counted from 0) has the mean 1700000000 and the "
                       "deviation 30, too little for the model's numbers: subtract a constant from "
                       "it, or take a model of doubles",
                       vb::error);
  for (const double size : {1e39, 1e-39, 1e-50}) {
    CAPTURE(size);
    CHECK_THROWS_WITH_AS(fit(0.0F, column(size, 2 * size)), doctest::Contains("beyond the range"),
                         vb::error);
    CHECK_NOTHROW(fit(0.0, column(size, 2 * size)));
  }
  CHECK_NOTHROW(fit(0.0, column(1.7e9 - 30, 1.7e9 + 30)));
  CHECK_NOTHROW(fit(0.0F, column(2.4e6 - 10, 2.4e6 + 10)));
}
