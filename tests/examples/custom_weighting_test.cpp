// The example of a weighting policy of one's own: its policy is tested as its author would test it,
// and the program run as its user would run it.
#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <string>

#include "../../examples/custom_weighting/agreement.hpp"
#include "folder.hpp"
#include "vierbein/testing/check_weighting.hpp"

// Where the program is; without it, for want of its libraries, there is nothing to run.
#ifndef VIERBEIN_CUSTOM_WEIGHTING
#define VIERBEIN_CUSTOM_WEIGHTING ""
#endif

using custom_weighting::agreement;
using vierbein::testing::check_weighting;

TEST_CASE("agreement conforms") {
  // The cosines of (1, 0), (1, 1) and (0, -2) have the means (1 + √½) / 3, 1 / 3 and (1 - √½) / 3.
  const double step = std::exp(2 * std::sqrt(0.5) / 3);
  const double sum = step + 1 + 1 / step;
  CHECK(
      check_weighting(agreement{}, {.golden = {{.j = {{1, 0}, {1, 1}, {0, -2}},
                                                .weights = {step / sum, 1 / sum, 1 / (step * sum)},
                                                .tolerance = 1e-12}}}));
  CHECK(check_weighting(agreement{.sharpness = 0}));
}

TEST_CASE("custom_weighting examines the policy, then looks for the molecules") {
  const std::string program = VIERBEIN_CUSTOM_WEIGHTING;
  if (program.empty()) {
    MESSAGE("there is no program custom_weighting");
    return;
  }
  const example_test::folder folder(program, "custom_weighting");
  const auto outcome = folder.run("--data nowhere.csv");
  example_test::check_refused(outcome, "nowhere.csv");
  CHECK(outcome.out.starts_with("held: finite answers"));
  example_test::check_refused(folder.run("--colour red"), "custom_weighting: ");
  example_test::check_refused(folder.run("--epochs ten"), "--epochs");
  CHECK(folder.run("--help").status == 0);
}
