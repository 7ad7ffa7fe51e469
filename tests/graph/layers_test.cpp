#include "vierbein/graph/layers.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "../support/message_of.hpp"
#include "vierbein/backend/cpu.hpp"
#include "vierbein/backend/engine/bf16.hpp"
#include "vierbein/backend/engine/eigen.hpp"
#include "vierbein/backend/reference.hpp"
#include "vierbein/graph/input_scaling.hpp"
#include "vierbein/graph/operations.hpp"
#include "vierbein/testing/gradient_check.hpp"

namespace vb = vierbein;
namespace vg = vierbein::graph;
using B = vb::backend::cpu_double;
using test::message_of;
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

using stack_list = std::vector<const vg::dense_stack*>;
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

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
  const std::array<index_t, 3> from{2, 0, 2};
  const auto chosen = vg::stacked_tasks<B>(f.tape, f.pointers, x, 2, from);
  REQUIRE(chosen.rows() == 6);
  for (std::size_t t = 0; t < 3; ++t) {
    check_equal(chosen.value().row_range(2 * static_cast<index_t>(t), 2),
                x.value().row_range(2 * from[t], 2));
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

TEST_CASE("stacked tasks on chosen blocks: some serve several tasks, some none") {
  tasks f({6, 5});
  const vb::matrix<double> kept = random_matrix(8, 4);
  const std::array<const vg::dense_stack*, 5> several{&f.stacks[2], &f.stacks[0], &f.stacks[2],
                                                      &f.stacks[1], &f.stacks[2]};
  const std::array<index_t, 5> from{3, 1, 0, 1, 1};
  const auto x = f.tape.constant(kept.view());
  const auto y = vg::stacked_tasks<B>(f.tape, several, x, 2, from);
  REQUIRE(y.rows() == 10);
  for (std::size_t i = 0; i < from.size(); ++i) {
    check_equal(y.value().row_range(2 * static_cast<index_t>(i), 2),
                (*several[i])(f.tape, vg::slice_rows(x, 2 * from[i], 2)).value());
  }
}

namespace {

// Gradients of stacked tasks by all their parameters and by their input, which is a parameter, or
// is computed, or both.
template <class Backend>
void check_gradients_on_blocks(const std::vector<index_t>& widths, activation last) {
  vb::parameters<double> theta;
  std::vector<vg::dense_stack> stacks;
  for (int t = 0; t < 3; ++t) {
    stacks.push_back(vg::dense_stack::make(theta, "task" + std::to_string(t), 3, widths,
                                           activation::gelu, last));
  }
  const auto input = theta.add("x", 8, 3, vb::initialiser::he);
  theta.initialise(5);
  for (double& v : theta.values()) {
    v += v == 0 ? 0.25 : 0;
  }
  const std::array<const vg::dense_stack*, 5> several{&stacks[2], &stacks[0], &stacks[2],
                                                      &stacks[1], &stacks[2]};
  const std::array<index_t, 5> repeated{3, 1, 0, 1, 1};
  const std::array<index_t, 3> apart{3, 0, 2};
  const auto three = std::span(several).first(3);
  const auto report = vb::testing::check_gradient(
      theta,
      [&](auto& t) {
        const auto x = t.parameter(input);
        const auto z = vg::square(x);
        return vg::mean(vg::square(vg::stacked_tasks<Backend>(t, several, z, 2, repeated) + 0.3)) +
               vg::mean(vg::square(vg::stacked_tasks<Backend>(t, three, z, 2, apart) + 0.2)) +
               vg::mean(vg::square(vg::stacked_tasks<Backend>(t, several, x, 2, repeated))) +
               vg::mean(vg::square(vg::stacked_tasks<Backend>(t, three, 2.0 * x, true) + 0.1));
      },
      Backend{});
  CHECK(report);
}

}  // namespace

TEST_CASE_TEMPLATE("gradients of stacked tasks on chosen blocks", Backend,
                   vb::backend::reference_double, vb::backend::cpu_double) {
  for (const activation last : {activation::tanh, activation::identity}) {
    check_gradients_on_blocks<Backend>({5, 4, 2}, last);
    check_gradients_on_blocks<Backend>({4}, last);
  }
}

TEST_CASE_TEMPLATE("stacked tasks: the same bits chain by chain as layer by layer, on any threads",
                   Engine, vb::backend::engine::tiled, vb::backend::engine::eigen,
                   vb::backend::engine::bf16<2>) {
  using F = vb::backend::basic_cpu<float, Engine>;
  vb::parameters<float> theta;
  std::vector<vg::dense_stack> stacks;
  for (int t = 0; t < 3; ++t) {
    stacks.push_back(vg::dense_stack::make(theta, "task" + std::to_string(t), 70, {90, 40, 30},
                                           activation::relu, activation::tanh));
  }
  const auto trunk = vg::linear::make(theta, "trunk", 70, 70, activation::relu);
  theta.initialise(3);
  const std::array<const vg::dense_stack*, 5> several{&stacks[2], &stacks[0], &stacks[2],
                                                      &stacks[1], &stacks[2]};
  const std::array<index_t, 5> repeated{3, 1, 0, 1, 1};
  const std::array<index_t, 5> own{0, 1, 2, 3, 4};
  vb::matrix<float> x(5 * 300, 70);
  for (index_t i = 0; i < x.size(); ++i) {
    x.data()[i] = static_cast<float>(vb::random_stream{3, 1}.normal(static_cast<std::uint64_t>(i)));
  }
  const auto gradient = [&](int threads, std::span<const index_t> from, bool whole) {
    vg::tape<F> tape(F{threads});
    tape.bind(theta.segments(), theta.values());
    tape.begin(vg::mode::training);
    auto z = trunk(tape, tape.constant(x.view()), activation::relu);
    if (whole) {
      z = vg::stacked_tasks<F>(tape, several, z, 300, from);
    } else {
      z = vg::select_blocks<F>(z, 300, from);
      for (std::size_t i = 0; i < 3; ++i) {
        std::vector<vg::var<F>> w;
        std::vector<vg::var<F>> b;
        for (const vg::dense_stack* stack : several) {
          w.push_back(tape.parameter(stack->layers[i].weight));
          b.push_back(tape.parameter(stack->layers[i].bias));
        }
        z = vg::affine_stacked<F>(z, w, b, i < 2 ? activation::relu : activation::tanh);
      }
    }
    vb::matrix<float> g(2, theta.size());
    const std::array<vg::seed<F>, 2> seeds{vg::seed<F>{vg::mean(vg::square(z)), 1.0, 0},
                                           vg::seed<F>{vg::sum(z), 1.0, 1}};
    tape.backward(seeds, g.view());
    return g;
  };
  const auto same = [](const vb::matrix<float>& a, const vb::matrix<float>& b) {
    return std::memcmp(a.data(), b.data(), sizeof(float) * static_cast<std::size_t>(a.size())) == 0;
  };
  const auto by_layer = gradient(1, own, false);
  const auto one = gradient(1, repeated, true);
  for (const int threads : {1, 2, 3, 7}) {
    CAPTURE(threads);
    CHECK(same(gradient(threads, own, true), by_layer));
    CHECK(same(gradient(threads, repeated, true), one));
  }
}

TEST_CASE("stacks that share parameters are not taken side by side") {
  constexpr index_t n = 300;
  vb::parameters<double> theta;
  const auto make = [&](const std::string& name) {
    return vg::dense_stack::make(theta, name, 70, {90, 40}, activation::relu, activation::tanh);
  };
  const auto one = make("one");
  auto same = one;  // a copy names the same parameters
  auto mixed = make("mixed");
  mixed.layers[1] = one.layers[1];
  theta.initialise(4);
  const vb::matrix<double> kept = random_matrix(n, 70);
  const auto gradient = [&](int threads, auto&& record) {
    vg::tape<B> tape(B{threads});
    std::vector<double> g(static_cast<std::size_t>(theta.size()));
    tape.bind(theta.segments(), theta.values());
    tape.begin(vg::mode::training);
    const auto y = record(tape, tape.constant(kept.view()));
    tape.backward(vg::sum(vg::square(y)), {g.data(), theta.size()});
    return g;
  };
  for (const stack_list& list : {stack_list{&one, &same}, stack_list{&one, &mixed}}) {
    const auto stacked = [&](auto& tape, auto x) {
      return vg::stacked_tasks<B>(tape, list, x, true);
    };
    const auto alone = gradient(1, stacked);
    for (int repetition = 0; repetition < 20; ++repetition) {
      CHECK(gradient(2, stacked) == alone);
    }
    const auto each = gradient(1, [&](auto& tape, auto x) {
      return vg::concatenate_rows<B>(std::array{(*list[0])(tape, x), (*list[1])(tape, x)});
    });
    for (std::size_t i = 0; i < alone.size(); ++i) {
      CHECK(alone[i] == doctest::Approx(each[i]).epsilon(1e-9));
    }
  }
}

TEST_CASE("chains of layers refuse what does not fit") {
  tasks f({6, 5});
  const vb::matrix<double> kept = random_matrix(6, 4);
  const auto x = f.tape.constant(kept.view());
  const std::array<index_t, 3> beyond{0, 1, 3};
  CHECK(message_of([&] { (void)vg::stacked_tasks<B>(f.tape, f.pointers, x, 2, beyond); }) ==
        "affine_chains: block 3 of 2 rows in an input of 6");
  const std::array<index_t, 3> first{};
  CHECK(message_of([&] { (void)vg::stacked_tasks<B>(f.tape, f.pointers, x, -2, first); }) ==
        "affine_chains: blocks of -2 rows");
  CHECK(message_of([&] { (void)vg::stacked_tasks<B>(f.tape, f.pointers, x, 2, first, true); }) ==
        "affine_chains: chains that serve a task each begin with all 6 rows, not with 2");
  const std::array<index_t, 2> few{};
  CHECK(message_of([&] { (void)vg::stacked_tasks<B>(f.tape, f.pointers, x, 2, few); }) ==
        "stacked_tasks: 2 blocks for 3 tasks");
  const auto narrow = vg::slice_cols(x, 0, 3);
  CHECK(message_of([&] { (void)vg::stacked_tasks<B>(f.tape, f.pointers, narrow, true); }) ==
        "affine: the input has 3 columns, the weight 4 rows");
  const auto odd = vg::slice_rows(x, 0, 4);
  CHECK(message_of([&] { (void)vg::stacked_tasks<B>(f.tape, f.pointers, odd, false); }) ==
        "stacked_tasks: 4 rows are not divisible among 3 tasks");
}

TEST_CASE("a stack refuses layers without width and impossible dropout") {
  vb::parameters<double> theta;
  const auto make = [&](std::vector<index_t> widths, double dropout) {
    return message_of([&] {
      (void)vg::dense_stack::make(theta, "trunk", 4, widths, activation::relu, activation::relu,
                                  dropout);
    });
  };
  CHECK(make({3, 0}, 0) == "trunk: the width of layer 1 must be at least 1, but is 0");
  CHECK(make({-2}, 0) == "trunk: the width of layer 0 must be at least 1, but is -2");
  const std::string refused = "trunk: dropout must be at least 0 and less than 1, but is ";
  CHECK(make({3}, 1) == refused + "1");
  CHECK(make({3}, -0.5) == refused + "-0.5");
  CHECK(make({3}, not_a_number) == refused + "nan");
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
  // Sums or squares that double cannot hold: not a column that is constant.
  for (const auto& [a, b] : {std::pair{1.2e308, 1.6e308}, {-1.2e308, 1.6e308}, {1e200, 3e200}}) {
    CAPTURE(a);
    CHECK_THROWS_WITH_AS(fit(0.0, column(a, b)), doctest::Contains("beyond the range"), vb::error);
    CHECK_THROWS_WITH_AS(fit(0.0F, column(a, b)), doctest::Contains("beyond the range"), vb::error);
  }
  CHECK_NOTHROW(fit(0.0, column(1.7e9 - 30, 1.7e9 + 30)));
  CHECK_NOTHROW(fit(0.0F, column(2.4e6 - 10, 2.4e6 + 10)));
}
