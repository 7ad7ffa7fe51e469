// Training with products in bfloat16.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "../support/problems.hpp"
#include "vierbein/alignment/gate.hpp"
#include "vierbein/backend/cpu.hpp"
#include "vierbein/backend/engine/bf16.hpp"
#include "vierbein/encoder/mlp.hpp"
#include "vierbein/optimizer/adam.hpp"
#include "vierbein/train/fit.hpp"
#include "vierbein/weighting/equal.hpp"

namespace vb = vierbein;

namespace {

const std::vector<std::string> names{"a", "b", "c"};

/// Validation losses of all epochs.
template <class Backend>
std::vector<double> course(const Backend& backend) {
  const auto data = problems::related_tasks(600, 12, names, 1);
  auto model = vb::multitask(
      vb::encoder::mlp{.widths = {48, 40}},
      vb::tasks{vb::regression(names[0]), vb::regression(names[1]), vb::regression(names[2])},
      vb::alignment::gate{}, {.encoder = {32}, .transfer = {32}, .inverse = {32}, .head = {32}});
  const auto history =
      vb::fit(backend, model, data, {.epochs = 12, .batch = 64, .validation_fraction = 0.25},
              vb::optimizer::adam{}, vb::weighting::equal{});
  std::vector<double> losses;
  for (const auto& epoch : history.epochs) {
    losses.push_back(epoch.validation_loss);
  }
  return losses;
}

template <int Parts>
std::vector<double> course_in_bf16(int threads) {
  return course(vb::backend::basic_cpu<float, vb::backend::engine::bf16<Parts>>(threads));
}

/// The largest difference, relative to the second list.
double apart(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    most = std::max(most, std::abs(a[i] - b[i]) / b[i]);
  }
  return most;
}

}  // namespace

TEST_CASE("training in bfloat16 takes the course of training in float") {
  const auto in_float = course(vb::backend::cpu(1));
  REQUIRE(in_float.back() < 0.5 * in_float.front());  // there is something to learn
  const double one = apart(course_in_bf16<1>(1), in_float);
  const double two = apart(course_in_bf16<2>(1), in_float);
  const double three = apart(course_in_bf16<3>(1), in_float);
  CHECK(one < 0.1);
  CHECK(one > 0);
  CHECK(two < 0.02);
  CHECK(three < 1e-3);
}

TEST_CASE("training in bfloat16 has the same bits on 1, 2 and 3 threads") {
  const auto once = course_in_bf16<1>(1);
  CHECK(course_in_bf16<1>(2) == once);
  CHECK(course_in_bf16<1>(3) == once);
}
