// Weighing a step allocates nothing once a policy is reset.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "situations.hpp"
#include "vierbein/core/matrix.hpp"
#include "vierbein/testing/allocation_counter.hpp"
#include "vierbein/testing/gradient_matrices.hpp"
#include "vierbein/weighting/aligned_mtl.hpp"
#include "vierbein/weighting/arml.hpp"
#include "vierbein/weighting/auto_lambda.hpp"
#include "vierbein/weighting/auxilearn.hpp"
#include "vierbein/weighting/cagrad.hpp"
#include "vierbein/weighting/config.hpp"
#include "vierbein/weighting/cr_mogm.hpp"
#include "vierbein/weighting/db_mtl.hpp"
#include "vierbein/weighting/diw.hpp"
#include "vierbein/weighting/dual_proj.hpp"
#include "vierbein/weighting/fairgrad.hpp"
#include "vierbein/weighting/finetune_after.hpp"
#include "vierbein/weighting/gcs.hpp"
#include "vierbein/weighting/gradnorm.hpp"
#include "vierbein/weighting/gradvac.hpp"
#include "vierbein/weighting/imtl_g.hpp"
#include "vierbein/weighting/krum.hpp"
#include "vierbein/weighting/meta_tartan.hpp"
#include "vierbein/weighting/mgda.hpp"
#include "vierbein/weighting/nash_mtl.hpp"
#include "vierbein/weighting/ol_aux.hpp"
#include "vierbein/weighting/pcgrad.hpp"
#include "vierbein/weighting/primary_gradvac.hpp"
#include "vierbein/weighting/primary_pcgrad.hpp"
#include "vierbein/weighting/upgrad.hpp"

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

TEST_CASE_TEMPLATE("a method on the Gramian allocates nothing after its first call", P,
                   weighting::mgda, weighting::upgrad, weighting::dual_proj, weighting::cagrad,
                   weighting::fairgrad, weighting::nash_mtl, weighting::imtl_g,
                   weighting::aligned_mtl, weighting::config, weighting::pcgrad, weighting::gradvac,
                   weighting::db_mtl, weighting::gradnorm, weighting::krum,
                   weighting::cr_mogm<weighting::upgrad>, weighting::primary_pcgrad,
                   weighting::primary_gradvac) {
  namespace testing = vierbein::testing;
  P policy;
  if constexpr (requires { policy.target; }) {
    policy.target = "main";
  }
  policy.reset({"main", "b", "c", "d", "e"});
  const std::vector<double> values(5, 1.0);
  std::vector<double> w(5);
  const auto weigh = [&](testing::stationarity kind) {
    for (const vierbein::index_t rank : {4, 2}) {
      const auto g = testing::gram_of(testing::gradient_matrix(kind, 5, 6, rank, {1, 1}));
      allocation_counter counter;
      policy.weigh({values}, g.view(), w);
      if (const auto count = counter.count()) {
        CHECK(*count == 0);
      }
    }
  };
  const auto g =
      testing::gram_of(testing::gradient_matrix(testing::stationarity::non_weak, 5, 6, 5, {1, 1}));
  policy.weigh({values}, g.view(), w);
  for (const testing::stationarity kind : testing::every_stationarity) {
    weigh(kind);
    weigh(kind);
  }
}
