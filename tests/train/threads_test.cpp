// Training gives the same bits whatever the number of threads.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "../support/problems.hpp"
#include "vierbein/vierbein.hpp"

namespace vb = vierbein;
using vb::index_t;

namespace {

/// θ and the history's losses after training with so many threads.
template <class T>
struct outcome {
  vb::aligned_vector<T> theta;
  std::vector<double> losses;
  bool operator==(const outcome&) const = default;
};

/// Weights that depend on all of the Gramian.
struct by_gram {
  using weighting_kind = vb::gram_based;
  void weigh(vb::losses, vb::gram_matrix g, vb::weights w) const {
    for (index_t t = 0; t < g.rows; ++t) {
      w[static_cast<std::size_t>(t)] = 1 / (1e-3 + std::abs(g(t, 0)) + std::sqrt(g(t, t)));
    }
  }
};

template <class Model, class Dataset, class Weighting = vb::weighting::equal>
auto train(Model model, const Dataset& data, const vb::training& options, int threads,
           Weighting weighting = {}) {
  using scalar = typename Model::scalar;
  const auto h = vb::fit(vb::backend::basic_cpu<scalar>(threads), model, data, options,
                         vb::optimizer::adam{.learning_rate = 2e-3}, weighting);
  outcome<scalar> o{model.theta().snapshot(), {}};
  for (const auto& e : h.epochs) {
    o.losses.insert(o.losses.end(), {e.train_loss, e.alignment_loss, e.validation_loss});
  }
  return o;
}

template <class Model, class Dataset>
void check_threads(const Model& model, const Dataset& data, const vb::training& options) {
  const auto one = train(model, data, options, 1);
  CHECK(train(model, data, options, 1) == one);
  CHECK(train(model, data, options, 2) == one);
  CHECK(train(model, data, options, 7) == one);
  vb::training other = options;
  other.seed += 1;
  CHECK(train(model, data, other, 1).theta != one.theta);
}

const vb::tasks<> list{vb::regression("a"), vb::regression("b"), vb::regression("c")};

}  // namespace

// The layers have 600 rows, three pieces of a product, and millions of multiplications: more than
// what makes the backend fork.
// Sums are formed in double: in a model of floats, another order of them would seldom show.
TEST_CASE_TEMPLATE("an mlp with GATE: the same bits for 1, 2 and 7 threads", T, float, double) {
  auto data = problems::related_tasks(700, 20, {"a", "b", "c"}, 1);
  for (index_t r = 0; r < 700; r += 3) {
    data.at("c").values(r, 0) = problems::missing;
  }
  const auto model =
      vb::multitask<T>(vb::encoder::mlp{.widths = {128, 96}, .dropout = 0.1, .input_dropout = 0.1},
                       list, vb::alignment::gate{},
                       {.encoder = {48}, .transfer = {48, 48}, .inverse = {48}, .head = {48}});
  vb::training options{.epochs = 2, .batch = 600};
  check_threads(model, data, options);
  options.balanced = true;
  options.epochs = 1;
  check_threads(model, data, options);
}

TEST_CASE("message passing with GATE: the same bits for 1, 2 and 7 threads") {
  const auto data = problems::graph_tasks(220, {"a", "b", "c"}, 2, 3);
  const auto model = vb::multitask(
      vb::encoder::dmpnn{.hidden = 96, .depth = 3, .widths = {64}, .dropout = 0.1}, list,
      vb::alignment::gate{}, {.encoder = {32}, .transfer = {32}, .inverse = {32}, .head = {32}});
  check_threads(model, data, {.epochs = 2, .batch = 198});
}

TEST_CASE_TEMPLATE("gradients of several tasks: the same bits for 1, 2 and 7 threads", Weighting,
                   by_gram, vb::weighting::excess_mtl, vb::weighting::modo<>) {
  const auto data = problems::related_tasks(700, 20, {"a", "b", "c"}, 1);
  const auto model = vb::multitask<double>(
      vb::encoder::mlp{.widths = {400, 96}, .dropout = 0.1}, list, vb::alignment::gate{},
      {.encoder = {48}, .transfer = {48}, .inverse = {48}, .head = {48}});
  for (const auto way : {vb::gramian_way::jacobian, vb::gramian_way::layers}) {
    const vb::training options{.epochs = 2, .batch = 300, .gramian = way};
    const auto one = train(model, data, options, 1, Weighting{});
    CHECK(train(model, data, options, 2, Weighting{}) == one);
    CHECK(train(model, data, options, 7, Weighting{}) == one);
  }
}

TEST_CASE("adding a task: the same bits for 1, 2 and 7 threads") {
  const auto data = problems::related_tasks(700, 20, {"a", "b", "c", "d"}, 1);
  auto model = vb::multitask(vb::encoder::mlp{.widths = {128, 96}}, list, vb::alignment::gate{},
                             {.encoder = {48}, .transfer = {48}, .inverse = {48}, .head = {48}});
  vb::fit(vb::backend::cpu(2), model, data, {.epochs = 1}, vb::optimizer::adam{},
          vb::weighting::equal{});
  for (const auto trunk : {vb::trunk_policy::frozen, vb::trunk_policy::tuned_copy}) {
    const auto add = [&](int threads) {
      return vb::add_task(vb::backend::cpu(threads), model, vb::regression("d"), data, data.inputs,
                          {.trunk = trunk, .pool_batch = 200, .train = {.epochs = 1, .batch = 300}},
                          vb::optimizer::adam{})
          .theta()
          .snapshot();
    };
    const auto one = add(1);
    CHECK(add(2) == one);
    CHECK(add(7) == one);
  }
}
