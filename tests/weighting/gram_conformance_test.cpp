// Every policy that sees the Gramian, examined by the library's own suite.
#include <doctest/doctest.h>

#include "vierbein/testing/check_weighting.hpp"
#include "vierbein/weighting/aligned_mtl.hpp"
#include "vierbein/weighting/cagrad.hpp"
#include "vierbein/weighting/clip.hpp"
#include "vierbein/weighting/config.hpp"
#include "vierbein/weighting/cr_mogm.hpp"
#include "vierbein/weighting/db_mtl.hpp"
#include "vierbein/weighting/dual_proj.hpp"
#include "vierbein/weighting/every.hpp"
#include "vierbein/weighting/fairgrad.hpp"
#include "vierbein/weighting/gradnorm.hpp"
#include "vierbein/weighting/gradvac.hpp"
#include "vierbein/weighting/imtl_g.hpp"
#include "vierbein/weighting/krum.hpp"
#include "vierbein/weighting/mgda.hpp"
#include "vierbein/weighting/nash_mtl.hpp"
#include "vierbein/weighting/normalise.hpp"
#include "vierbein/weighting/pcgrad.hpp"
#include "vierbein/weighting/primary_gradvac.hpp"
#include "vierbein/weighting/primary_only.hpp"
#include "vierbein/weighting/primary_pcgrad.hpp"
#include "vierbein/weighting/scale_to_mean.hpp"
#include "vierbein/weighting/upgrad.hpp"

using vierbein::testing::check_weighting;
namespace weighting = vierbein::weighting;

TEST_CASE("policies of the Gramian conform") {
  CHECK(check_weighting(weighting::mgda{}));
  CHECK(check_weighting(weighting::pcgrad{}));
  CHECK(check_weighting(weighting::gradvac{}));
  CHECK(check_weighting(weighting::cagrad{}));
  CHECK(check_weighting(weighting::imtl_g{}));
  CHECK(check_weighting(weighting::nash_mtl{}));
  CHECK(check_weighting(weighting::fairgrad{}));
  CHECK(check_weighting(weighting::fairgrad{.a = 2}));
  CHECK(check_weighting(weighting::aligned_mtl{}));
  CHECK(check_weighting(weighting::dual_proj{}));
  CHECK(check_weighting(weighting::upgrad{}));
  CHECK(check_weighting(weighting::config{}));
  CHECK(check_weighting(weighting::krum{}, {.fewest_tasks = 4}));
  CHECK(check_weighting(weighting::gradnorm{}));
  CHECK(check_weighting(weighting::db_mtl{}));
  CHECK(check_weighting(weighting::primary_pcgrad{.target = "main"}));
  CHECK(check_weighting(weighting::primary_gradvac{.target = "main"}));
}

TEST_CASE("decorated policies of the Gramian conform") {
  CHECK(check_weighting(weighting::cr_mogm<weighting::mgda>{}));
  CHECK(check_weighting(weighting::every{.policy = weighting::upgrad{}, .steps = 2}));
  CHECK(check_weighting(weighting::clip{.policy = weighting::upgrad{}, .norm = 0.1}));
  CHECK(check_weighting(weighting::normalise{.policy = weighting::mgda{}}));
  CHECK(check_weighting(weighting::normalise{.policy = weighting::upgrad{},
                                             .by = weighting::gradient_size::loss_plus}));
  CHECK(check_weighting(weighting::scale_to_mean{.policy = weighting::upgrad{}}));
  CHECK(check_weighting(
      weighting::scale_to_mean{.policy = weighting::pcgrad{}, .sum_to_one = false}));
  CHECK(check_weighting(weighting::primary_only{.policy = weighting::mgda{}, .target = "main"}));
}
