// Weighting policies that wrap another, in training.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "../support/problems.hpp"
#include "vierbein/vierbein.hpp"

namespace vb = vierbein;
namespace weighting = vierbein::weighting;

namespace {

const std::vector<std::string> names{"a", "b", "c"};

// Counts its calls in counters that all copies share.
struct counted {
  using weighting_kind = vb::gram_based;
  int* weighed = nullptr;
  int* observed = nullptr;
  void weigh(vb::losses, vb::gram_matrix, vb::weights w) const {
    ++*weighed;
    std::ranges::fill(w, 1.0);
  }
  void observe(vb::losses) const { ++*observed; }
};

template <class Weighting>
vb::history fit(Weighting policy, vb::index_t epochs = 2) {
  auto model = vb::multitask<double>(
      vb::encoder::mlp{.widths = {8}},
      vb::tasks<>{vb::regression(names[0]), vb::regression(names[1]), vb::regression(names[2])},
      vb::alignment::none{});
  return vb::fit(vb::backend::cpu_double(1), model, problems::related_tasks(60, 5, names, 1),
                 vb::training{.epochs = epochs, .batch = 12, .validation_fraction = 0.2},
                 vb::optimizer::sgd{.learning_rate = 0.01}, policy);
}

}  // namespace

TEST_CASE("every saves the second forward pass of steps in which the policy is not asked") {
  int weighed = 0;
  int observed = 0;
  fit(weighting::every{.policy = counted{&weighed, &observed}, .steps = 4});
  CHECK(weighed == 2);  // 48 rows make 4 steps an epoch
  CHECK(observed == 2);
  fit(weighting::clip{.policy = counted{&weighed, &observed}});
  CHECK(weighed == 2 + 8);
  CHECK(observed == 2 + 8);
}

TEST_CASE("the target of a wrapped policy chooses the best epoch") {
  const auto plain = fit(weighting::gcs{.target = "b"}, 6);
  const auto wrapped = fit(weighting::clip{.policy = weighting::gcs{.target = "b"}}, 6);
  CHECK(wrapped.best_epoch == plain.best_epoch);
  for (std::size_t e = 0; e < 6; ++e) {
    CHECK(wrapped.epochs[e].validation_loss == plain.epochs[e].validation_loss);
  }
  CHECK(fit(weighting::equal{}, 6).epochs[0].validation_loss != plain.epochs[0].validation_loss);
}

TEST_CASE("composed policies train, whatever they wrap") {
  const auto falls = [](const vb::history& h) {
    return h.epochs.back().train_loss < h.epochs.front().train_loss;
  };
  CHECK(falls(
      fit(weighting::every{.policy = weighting::clip{.policy = weighting::upgrad{}, .norm = 1},
                           .steps = 3},
          8)));
  CHECK(falls(fit(weighting::moving_average{.policy = weighting::famo{}}, 8)));
  CHECK(falls(fit(weighting::normalise{.policy = weighting::mgda{}}, 8)));
  CHECK(falls(fit(weighting::primary_only{.policy = weighting::pcgrad{}, .target = "a"}, 8)));
  CHECK(falls(fit(weighting::scale_to_mean{.policy = weighting::dwa{}}, 8)));
}
