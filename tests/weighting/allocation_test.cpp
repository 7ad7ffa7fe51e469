// Weighing a step allocates nothing once a policy is reset.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "situations.hpp"
#include "vierbein/core/matrix.hpp"
#include "vierbein/testing/allocation_counter.hpp"
#include "vierbein/weighting/arml.hpp"
#include "vierbein/weighting/auto_lambda.hpp"
#include "vierbein/weighting/auxilearn.hpp"
#include "vierbein/weighting/diw.hpp"
#include "vierbein/weighting/finetune_after.hpp"
#include "vierbein/weighting/gcs.hpp"
#include "vierbein/weighting/meta_tartan.hpp"
#include "vierbein/weighting/ol_aux.hpp"

namespace weighting = vierbein::weighting;
using vierbein::testing::allocation_counter;

namespace {

// Answers without allocating, and asks for the combination as an oracle would.
struct constant_oracle final : vierbein::step_oracle {
  std::vector<double> slopes = std::vector<double>(3);
  [[nodiscard]] std::size_t tasks() const override { return 3; }
  vierbein::development_point look_ahead(std::span<const double>, std::span<double> products,
                                         vierbein::development_head,
                                         vierbein::gradient_scope) override {
    std::fill(products.begin(), products.end(), 1.0);
    return {1, 1};
  }
  void implicit(const combination& train, std::size_t, double, double,
                std::span<double> products) override {
    train({slopes}, slopes);
    std::fill(products.begin(), products.end(), 1.0);
  }
};

}  // namespace

TEST_CASE_TEMPLATE("a policy weighs without allocating", P, weighting::gcs, weighting::ol_aux,
                   weighting::arml, weighting::diw, weighting::auto_lambda, weighting::meta_tartan,
                   weighting::auxilearn, weighting::finetune_after<>) {
  P policy{.target = "main"};
  if constexpr (std::is_same_v<P, weighting::auxilearn>) {
    policy.hidden = 2;
  }
  policy.reset(situations::names);
  constant_oracle oracle;
  const std::vector<double> values{1, 2, 3};
  const vierbein::matrix<double> gram(3, 3, 1.0);
  std::vector<double> w(3);
  allocation_counter counter;
  for (int i = 0; i < 25; ++i) {
    if constexpr (vierbein::TargetBasedWeighting<P>) {
      policy.weigh({values}, gram.view(), oracle, w);
    } else if constexpr (vierbein::GramBasedWeighting<P>) {
      policy.weigh({values}, gram.view(), w);
    } else {
      policy.weigh({values}, w);
    }
  }
  const auto count = counter.count();
  if (count) {
    CHECK(*count == 0);
  } else {
    MESSAGE("allocations are not counted in this build");
  }
}
