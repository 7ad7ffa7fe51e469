// Every policy that weighs a step, and every decorator, examined by the library's own suite.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "vierbein/testing/check_weighting.hpp"
#include "vierbein/weighting/arml.hpp"
#include "vierbein/weighting/clip.hpp"
#include "vierbein/weighting/constant.hpp"
#include "vierbein/weighting/cosmos.hpp"
#include "vierbein/weighting/db_mtl.hpp"
#include "vierbein/weighting/dwa.hpp"
#include "vierbein/weighting/equal.hpp"
#include "vierbein/weighting/every.hpp"
#include "vierbein/weighting/excess_mtl.hpp"
#include "vierbein/weighting/famo.hpp"
#include "vierbein/weighting/finetune_after.hpp"
#include "vierbein/weighting/gcs.hpp"
#include "vierbein/weighting/gls.hpp"
#include "vierbein/weighting/graddrop.hpp"
#include "vierbein/weighting/imtl_l.hpp"
#include "vierbein/weighting/mean.hpp"
#include "vierbein/weighting/moco.hpp"
#include "vierbein/weighting/modo.hpp"
#include "vierbein/weighting/moving_average.hpp"
#include "vierbein/weighting/normalise.hpp"
#include "vierbein/weighting/ol_aux.hpp"
#include "vierbein/weighting/pbi.hpp"
#include "vierbein/weighting/primary_only.hpp"
#include "vierbein/weighting/rlw.hpp"
#include "vierbein/weighting/rotograd.hpp"
#include "vierbein/weighting/scale_to_mean.hpp"
#include "vierbein/weighting/sdmgrad.hpp"
#include "vierbein/weighting/si.hpp"
#include "vierbein/weighting/single_task.hpp"
#include "vierbein/weighting/stch.hpp"
#include "vierbein/weighting/trimmed_mean.hpp"
#include "vierbein/weighting/uncertainty.hpp"

using vierbein::testing::check_weighting;
using vierbein::testing::weighting_checks;
namespace weighting = vierbein::weighting;

TEST_CASE("policies that look at losses alone conform") {
  CHECK(check_weighting(weighting::equal{}));
  CHECK(check_weighting(weighting::mean{}));
  CHECK(check_weighting(weighting::constant{{2, 0.5, 1}}, {.fewest_tasks = 3, .most_tasks = 3}));
  CHECK(check_weighting(weighting::single_task{.target = "main"}));
  CHECK(check_weighting(weighting::rlw{}));
  CHECK(check_weighting(weighting::uncertainty{}));
  CHECK(check_weighting(weighting::imtl_l{}));
  CHECK(check_weighting(weighting::dwa{}));
  CHECK(check_weighting(weighting::gls{}));
  CHECK(check_weighting(weighting::si{}));
  CHECK(check_weighting(weighting::si::samsung()));
  CHECK(check_weighting(weighting::stch{}));
  CHECK(check_weighting(weighting::stch{.logarithmic = true, .warm_up = 2}));
  CHECK(check_weighting(weighting::cosmos{}));
  CHECK(check_weighting(weighting::pbi{}));
  CHECK(check_weighting(weighting::famo{}));
  CHECK(check_weighting(weighting::finetune_after{.target = "main", .epochs = 2}));
}

TEST_CASE("policies that serve a target conform") {
  CHECK(check_weighting(weighting::gcs{.target = "main"}));
  CHECK(check_weighting(weighting::gcs{.target = "main", .weighted = true}));
  CHECK(check_weighting(weighting::ol_aux{.target = "main"}));
  CHECK(check_weighting(weighting::arml{.target = "main"}));
}

TEST_CASE("policies of several batches conform") {
  CHECK(check_weighting(weighting::modo<>{}));
  // With its rate of 10 the inner descent overshoots, so that rounding grows from step to step.
  CHECK(check_weighting(weighting::sdmgrad{}, {.float_tolerance = 1e-2}));
  CHECK_FALSE(check_weighting(weighting::sdmgrad{}));
  CHECK(check_weighting(weighting::sdmgrad{.rate = 0.1}));
  CHECK(check_weighting(weighting::rotograd{}));
}

TEST_CASE("policies that see gradients element by element conform") {
  CHECK(check_weighting(weighting::graddrop{}));
  CHECK(check_weighting(weighting::trimmed_mean{}, {.fewest_tasks = 3}));
  CHECK(check_weighting(weighting::excess_mtl{}));
  CHECK(check_weighting(weighting::moco{}));
  CHECK(check_weighting(weighting::db_mtl_ema{}));
  CHECK(check_weighting(weighting::clip{.policy = weighting::graddrop{}, .norm = 0.1}));
}

TEST_CASE("decorators conform") {
  const weighting::gcs gcs{.target = "main", .weighted = true};
  CHECK(check_weighting(weighting::moving_average{.policy = gcs}));
  CHECK(check_weighting(weighting::moving_average{.policy = weighting::famo{}}));
  CHECK(check_weighting(weighting::every{.policy = gcs, .steps = 2}));
  CHECK(check_weighting(weighting::every{.policy = weighting::famo{}, .steps = 2}));
  CHECK(check_weighting(weighting::clip{.policy = gcs, .largest = 0.5, .norm = 0.1}));
  CHECK(check_weighting(weighting::clip{.policy = weighting::mean{}, .largest = 0.3}));
  for (const auto by : {weighting::gradient_size::l2, weighting::gradient_size::loss,
                        weighting::gradient_size::loss_plus, weighting::gradient_size::log}) {
    CHECK(check_weighting(weighting::normalise{.policy = gcs, .by = by}));
  }
  CHECK(check_weighting(weighting::scale_to_mean{.policy = gcs}));
  CHECK(check_weighting(weighting::scale_to_mean{.policy = weighting::equal{}}));
  CHECK(
      check_weighting(weighting::scale_to_mean{.policy = weighting::equal{}, .sum_to_one = false}));
  CHECK(check_weighting(weighting::primary_only{.policy = weighting::mean{}, .target = "main"}));
  CHECK(check_weighting(
      weighting::every{.policy = weighting::clip{.policy = gcs, .norm = 1}, .steps = 3}));
}
