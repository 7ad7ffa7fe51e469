#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "../support/message_of.hpp"
#include "vierbein/backend/cpu.hpp"
#include "vierbein/backend/reference.hpp"
#include "vierbein/optimizer/adam.hpp"
#include "vierbein/optimizer/adamw.hpp"
#include "vierbein/optimizer/sgd.hpp"

using vierbein::array_view;
using vierbein::error;
using vierbein::index_t;
using vierbein::Optimizer;
using vierbein::range;
using vierbein::optimizer::adam;
using vierbein::optimizer::adamw;
using vierbein::optimizer::sgd;
using reference = vierbein::backend::reference_double;

static_assert(Optimizer<sgd, reference> && Optimizer<adam, reference> &&
              Optimizer<adamw, vierbein::backend::basic_cpu<float>>);
static_assert(!Optimizer<int, reference>);

namespace {

// Takes steps with the given gradients, all of θ trainable unless told otherwise.
template <class O>
std::vector<double> after_steps(const O& options, std::vector<double> theta,
                                const std::vector<std::vector<double>>& gradients, double scale = 1,
                                double rate_factor = 1, std::vector<range> trainable = {}) {
  const auto n = static_cast<index_t>(theta.size());
  if (trainable.empty()) {
    trainable = {{0, n}};
  }
  typename O::template state<reference> state(options, reference{}, n);
  for (const auto& g : gradients) {
    state.step({theta.data(), n}, {g.data(), n}, scale, rate_factor, trainable);
  }
  return theta;
}

template <class O>
std::string refusal(const O& options) {
  return test::message_of([&] { options.validate(); });
}

}  // namespace

TEST_CASE("sgd takes the steps that are worked out by hand") {
  const std::vector<std::vector<double>> g{{2.0}, {1.0}};
  CHECK(after_steps(sgd{.learning_rate = 0.1}, {1}, g)[0] == doctest::Approx(1 - 0.2 - 0.1));
  // u: 2, then 0.5 * 2 + 1 = 2
  CHECK(after_steps(sgd{.learning_rate = 0.1, .momentum = 0.5}, {1}, g)[0] ==
        doctest::Approx(1 - 0.2 - 0.2));
  // g + 0.5 u: 2 + 1 = 3, then 1 + 0.5 * 2 = 2
  CHECK(after_steps(sgd{.learning_rate = 0.1, .momentum = 0.5, .nesterov = true}, {1}, g)[0] ==
        doctest::Approx(1 - 0.3 - 0.2));
  // 1 - 0.1 (2 + 0.5 * 1) = 0.75; 0.75 - 0.1 (1 + 0.5 * 0.75) = 0.6125
  CHECK(after_steps(sgd{.learning_rate = 0.1, .weight_decay = 0.5}, {1}, g)[0] ==
        doctest::Approx(0.6125));
}

TEST_CASE("adam takes the steps that are worked out by hand") {
  const adam options{.learning_rate = 0.1, .beta1 = 0.5, .beta2 = 0.75, .epsilon = 1e-12};
  // The first step is the learning rate, whatever the gradient's size.
  CHECK(after_steps(options, {1, 1}, {{4, -1e-3}})[0] == doctest::Approx(0.9));
  CHECK(after_steps(options, {1, 1}, {{4, -1e-3}})[1] == doctest::Approx(1.1));
  // g = 4, then 0: m = 2, 1; v = 4, 3; m̂ = 1 / 0.75, v̂ = 3 / 0.4375
  CHECK(after_steps(options, {1}, {{4}, {0}})[0] ==
        doctest::Approx(0.9 - 0.1 * (1 / 0.75) / std::sqrt(3 / 0.4375)));
}

TEST_CASE("adamw decays by learning rate times weight decay, beside adam's own step") {
  const adam plain{.learning_rate = 0.1};
  const adamw decayed{.learning_rate = 0.1, .weight_decay = 0.5};
  const double step = after_steps(plain, {2}, {{3}})[0] - 2;
  CHECK(after_steps(decayed, {2}, {{3}})[0] == doctest::Approx(2 * (1 - 0.05) + step));
  CHECK(adamw{}.weight_decay == 1e-2);
}

TEST_CASE_TEMPLATE("scale multiplies the gradient, rate_factor the learning rate", O, sgd, adam,
                   adamw) {
  const std::vector<std::vector<double>> g{{2.0, -1}, {1.0, 3}};
  const std::vector<std::vector<double>> halves{{1.0, -0.5}, {0.5, 1.5}};
  CHECK(after_steps(O{}, {1, 2}, g, 0.5) == after_steps(O{}, {1, 2}, halves));
  O slower{};
  slower.learning_rate /= 4;
  CHECK(after_steps(O{}, {1, 2}, g, 1, 0.25) == after_steps(slower, {1, 2}, g));
  CHECK(after_steps(O{}, {1, 2}, g, 1, 0) == std::vector<double>{1, 2});
}

TEST_CASE("what is not trainable stays bit for bit, whatever its gradient, momentum and decay") {
  const auto check = [](const auto& options) {
    using state_type = typename std::remove_cvref_t<decltype(options)>::template state<reference>;
    std::vector<double> theta(48, 0.3);
    const std::vector<double> g(48, 1.0);
    state_type state(options, reference{}, 48);
    const std::vector<range> all{{0, 48}};
    state.step({theta.data(), 48}, {g.data(), 48}, 1, 1, all);
    const std::vector<double> before = theta;
    const std::vector<range> some{{0, 16}, {40, 8}};
    for (int i = 0; i < 3; ++i) {
      state.step({theta.data(), 48}, {g.data(), 48}, 1, 1, some);
    }
    for (std::size_t i = 0; i < 48; ++i) {
      const bool trained = i < 16 || i >= 40;
      CHECK((theta[i] != before[i]) == trained);
    }
  };
  check(sgd{.momentum = 0.9, .weight_decay = 0.1});
  check(adam{});
  check(adamw{});
}

TEST_CASE_TEMPLATE("padding stays zero, in float too", O, sgd, adam, adamw) {
  using backend_type = vierbein::backend::basic_cpu<float>;
  std::vector<float> theta(32, 0.0F);
  std::vector<float> g(32, 0.0F);
  g[3] = 1;
  typename O::template state<backend_type> state(O{}, backend_type{}, 32);
  const std::vector<range> all{{0, 32}};
  for (int i = 0; i < 10; ++i) {
    state.step({theta.data(), 32}, {g.data(), 32}, 1, 1, all);
  }
  for (std::size_t i = 0; i < 32; ++i) {
    CHECK((theta[i] != 0) == (i == 3));
  }
}

TEST_CASE_TEMPLATE("steps reach the minimum of a quadratic, and a moved state goes on", O, sgd,
                   adam, adamw) {
  O options{};
  options.learning_rate = 0.05;
  std::vector<double> theta{3, -2};
  typename O::template state<reference> first(options, reference{}, 2);
  auto state = std::move(first);
  const std::vector<range> all{{0, 2}};
  for (int i = 0; i < 1000; ++i) {
    const std::vector<double> g{theta[0] - 1, theta[1] - 1};
    state.step({theta.data(), 2}, {g.data(), 2}, 1, 1, all);
  }
  CHECK(theta[0] == doctest::Approx(1).epsilon(0.02));
  CHECK(theta[1] == doctest::Approx(1).epsilon(0.02));
}

TEST_CASE("options that cannot work are refused in one sentence") {
  CHECK(refusal(adam{}) == "");
  CHECK(refusal(sgd{}) == "");
  CHECK(refusal(adamw{}) == "");
  CHECK(refusal(adam{.learning_rate = -1}) ==
        "adam: learning_rate must be finite and not negative, but is -1");
  CHECK(refusal(adam{.learning_rate = std::nan("")}) != "");
  CHECK(refusal(adam{.beta1 = 1}) == "adam: beta1 must be at least 0 and less than 1, but is 1");
  CHECK(refusal(adam{.beta2 = -0.1}) != "");
  CHECK(refusal(adam{.epsilon = 0}) != "");
  CHECK(refusal(adamw{.weight_decay = -1}) != "");
  CHECK(refusal(adamw{.learning_rate = 2, .weight_decay = 0.5}) ==
        "adamw: learning_rate * weight_decay must be at least 0 and less than 1, but is 1");
  CHECK(refusal(sgd{.momentum = 1}) != "");
  CHECK(refusal(sgd{.weight_decay = -1}) != "");
  CHECK(refusal(sgd{.nesterov = true}) == "sgd: nesterov needs a momentum greater than 0");
  CHECK_THROWS_AS((adam::state<reference>(adam{.beta1 = 2}, reference{}, 4)), error);
}

TEST_CASE("a step refuses other lengths than the state was made for") {
  std::vector<double> v(8);
  adam::state<reference> state(adam{}, reference{}, 8);
  const std::vector<range> beyond{{4, 5}};
  const std::vector<range> all{{0, 8}};
  CHECK_THROWS_WITH_AS(state.step({v.data(), 8}, {v.data(), 8}, 1, 1, beyond),
                       "adam: range [4, 9) lies outside the 8 parameters", error);
  CHECK_THROWS_AS(state.step({v.data(), 7}, {v.data(), 7}, 1, 1, all), error);
}
