// A training step allocates nothing once memory is warm.
#include "vierbein/testing/allocation_counter.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "../support/problems.hpp"
#include "vierbein/backend/engine/bf16.hpp"
#include "vierbein/vierbein.hpp"

namespace vb = vierbein;
using vb::index_t;
using vb::testing::allocation_counter;

namespace {

/// Counts what is allocated between two steps of an epoch, from epoch `warm` on.
struct step_allocations {
  std::uint64_t* total;
  index_t* steps;
  index_t warm = 3;
  allocation_counter counter{};

  void on_step(const vb::progress_info& info) {
    const auto count = counter.count();
    if (info.epoch >= warm && info.step > 1) {
      *total += count.value_or(0);
      ++*steps;
    }
    counter.reset();
  }
};

// A name that does not fit into a std::string without allocation.
const std::vector<std::string> names{"a", "the heat of vaporisation at 298 K", "c"};
const vb::tasks<> list{vb::regression(names[0]), vb::regression(names[1]), vb::binary(names[2])};
const vb::module_options modules{
    .encoder = {32}, .transfer = {32}, .inverse = {32}, .head = {32}, .dropout = 0.1};

template <class Dataset>
Dataset with_binary(Dataset data) {
  auto& values = data.at(names[2]).values;
  for (index_t r = 0; r < values.rows(); ++r) {
    values(r, 0) = r % 5 == 0 ? problems::missing : (values(r, 0) > values(0, 0) ? 1 : 0);
  }
  return data;
}

template <class Train>
void check_no_allocation(Train&& train) {
  for (const int threads : {1, 2}) {
    CAPTURE(threads);
    std::uint64_t total = 0;
    index_t steps = 0;
    train(vb::backend::cpu(threads), step_allocations{&total, &steps});
    CHECK(steps > 10);
    CHECK(total == 0);
  }
  if (!allocation_counter::counts) {
    MESSAGE("allocations are not counted in this build");
  }
}

/// Keeps the norm of every gradient equal: a weighting that needs all gradients.
struct balanced_norms {
  using weighting_kind = vb::gram_based;
  void weigh(vb::losses l, vb::gram_matrix g, vb::weights w) const {
    for (std::size_t t = 0; t < l.size(); ++t) {
      const auto i = static_cast<index_t>(t);
      w[t] = 1 / std::sqrt(g(i, i) + 1e-12);
    }
  }
};

/// Wants the losses after the step.
struct observing {
  using weighting_kind = vb::loss_based;
  void weigh(vb::losses, vb::weights w) const { std::ranges::fill(w, 1.0); }
  void observe(vb::losses) const {}
};

}  // namespace

TEST_CASE("a step of an mlp with GATE allocates nothing") {
  const auto data = with_binary(problems::related_tasks(400, 12, names, 1));
  const auto fit = [&](const auto& backend, auto callback, auto weighting) {
    for (const index_t sources : {0, 1}) {
      auto model = vb::multitask(vb::encoder::mlp{.widths = {64, 48}, .dropout = 0.1}, list,
                                 vb::alignment::gate{.mapping = {.sources = sources}}, modules);
      vb::fit(backend, model, data, {.epochs = 6, .batch = 80, .schedule = vb::schedule::cosine{}},
              vb::optimizer::adam{}, weighting, callback);
    }
  };
  check_no_allocation([&](const auto& backend, auto callback) {
    fit(backend, callback, vb::weighting::uncertainty{});
  });
  check_no_allocation(
      [&](const auto& backend, auto callback) { fit(backend, callback, balanced_norms{}); });
}

TEST_CASE("a step with products in bfloat16 allocates nothing") {
  const auto data = with_binary(problems::related_tasks(400, 12, names, 1));
  check_no_allocation([&](const vb::backend::cpu& cpu, auto callback) {
    auto model =
        vb::multitask(vb::encoder::mlp{.widths = {64, 48}}, list, vb::alignment::gate{}, modules);
    vb::fit(vb::backend::basic_cpu<float, vb::backend::engine::bf16<>>(cpu.threads()), model, data,
            {.epochs = 6, .batch = 80}, vb::optimizer::adam{}, vb::weighting::equal{}, callback);
  });
}

TEST_CASE("a step allocates nothing, however gradients are compared") {
  const auto data = with_binary(problems::related_tasks(400, 12, names, 1));
  const auto train = [&](auto weighting, const vb::training& options) {
    check_no_allocation([&](const auto& backend, auto callback) {
      auto model = vb::multitask(vb::encoder::mlp{.widths = {64, 48}, .dropout = 0.1}, list,
                                 vb::alignment::gate{}, modules);
      vb::fit(backend, model, data, options, vb::optimizer::adam{}, weighting, callback);
    });
  };
  vb::training options{.epochs = 6, .batch = 80};
  train(vb::weighting::excess_mtl{}, options);
  train(vb::weighting::modo<>{}, options);
  train(vb::weighting::sdmgrad{}, options);
  train(observing{}, options);
  for (const auto way : {vb::gramian_way::jacobian, vb::gramian_way::layers}) {
    options.gramian = way;
    train(balanced_norms{}, options);
  }
  options.own = vb::own_gradients::unweighted;
  train(balanced_norms{}, options);
  options.compare = vb::compared_gradients::representation;
  train(balanced_norms{}, options);
  train(vb::weighting::graddrop{}, options);
}

TEST_CASE("a step with pairs, soft sharing, coral and mmd allocates nothing") {
  const auto data = with_binary(problems::related_tasks(400, 12, names, 1));
  namespace va = vb::alignment;
  check_no_allocation([&](const auto& backend, auto callback) {
    const va::pair_set pairs{.list = {{names[1], names[0]}, {names[2], names[1]}}};
    auto model = vb::multitask(vb::encoder::mlp{.widths = {64}}, list,
                               va::sum{va::consistency{.pairs = pairs}, va::mapping{.pairs = pairs},
                                       va::distance{.pairs = {.target = names[1]}},
                                       va::soft_sharing{}, va::coral{}, va::mmd{}},
                               modules);
    vb::fit(backend, model, data, {.epochs = 6, .batch = 80, .balanced = true},
            vb::optimizer::sgd{.learning_rate = 1e-3}, vb::weighting::equal{}, callback);
  });
}

TEST_CASE("a step of message passing with GATE allocates nothing") {
  // Batches differ in size; from the second epoch on every buffer has met the largest it will see,
  // but for a quarter that it has to spare.
  const auto data = with_binary(problems::graph_tasks(300, names, 2, 3));
  check_no_allocation([&](const auto& backend, auto callback) {
    auto model =
        vb::multitask(vb::encoder::dmpnn{.hidden = 48, .depth = 3, .widths = {32}, .dropout = 0.1},
                      list, vb::alignment::gate{}, modules);
    vb::fit(backend, model, data, {.epochs = 8, .batch = 60}, vb::optimizer::adamw{},
            vb::weighting::equal{}, callback);
    vb::fit(backend, model, data, {.epochs = 8, .batch = 60, .gramian = vb::gramian_way::layers},
            vb::optimizer::adamw{}, balanced_norms{}, callback);
  });
}

TEST_CASE("a step of task addition allocates nothing") {
  const auto sources = with_binary(problems::related_tasks(400, 12, names, 1));
  const auto target = problems::related_tasks(120, 12, {"d"}, 1, 3);
  auto model =
      vb::multitask(vb::encoder::mlp{.widths = {64, 48}}, list, vb::alignment::gate{}, modules);
  vb::fit(vb::backend::cpu(2), model, sources, {.epochs = 2}, vb::optimizer::adam{},
          vb::weighting::equal{});
  for (const auto trunk : {vb::trunk_policy::frozen, vb::trunk_policy::tuned_copy}) {
    check_no_allocation([&](const auto& backend, auto callback) {
      vb::add_task(backend, model, vb::regression("d"), target, sources.inputs,
                   {.trunk = trunk, .train = {.epochs = 7, .batch = 30, .validation_fraction = 0}},
                   vb::optimizer::adam{}, callback);
    });
  }
}

TEST_CASE("a kept predictor allocates nothing when it predicts as many rows again") {
  const auto data = with_binary(problems::related_tasks(300, 12, names, 1));
  auto model =
      vb::multitask(vb::encoder::mlp{.widths = {64, 48}}, list, vb::alignment::gate{}, modules);
  model.build(data.inputs.shape(), 1);
  for (const index_t rows : {1, 300}) {
    std::vector<index_t> some(static_cast<std::size_t>(rows));
    const auto inputs = data.inputs.select(some);
    for (const int threads : {1, 2}) {
      const vb::backend::cpu backend(threads);
      auto predict = model.predictor(backend);
      for (int warm = 0; warm < 3; ++warm) {
        (void)predict(inputs);
      }
      const allocation_counter counter;
      (void)predict(inputs);
      CHECK(counter.count().value_or(0) == 0);
    }
  }
}
