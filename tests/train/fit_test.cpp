// Training several tasks together.
#include "vierbein/train/fit.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <functional>
#include <limits>
#include <string>

#include "../support/message_of.hpp"
#include "../support/problems.hpp"
#include "vierbein/vierbein.hpp"

namespace vb = vierbein;
using problems::missing;
using problems::related_tasks;
using vb::index_t;

namespace {

using reference = vb::backend::reference_double;
using features = vb::data::feature_set;
using dataset = vb::data::dataset<features>;

const vb::module_options small{.encoder = {12}, .transfer = {12}, .inverse = {12}, .head = {12}};

auto gate_model(std::vector<std::string> names = {"a", "b"}, index_t width = 24) {
  vb::tasks<> list;
  for (const std::string& n : names) {
    list.add(vb::regression(n));
  }
  return vb::multitask<double>(vb::encoder::mlp{.widths = {width}, .act = vb::activation::silu},
                               list, vb::alignment::gate{}, small);
}

double r2(const auto& model, const dataset& data, index_t t) {
  const auto p = model.predict(vb::backend::cpu_double(1), data.inputs, t);
  const auto& y = data.at(model.task_list()[t].name).values;
  return vb::metrics::r2({p.data(), static_cast<std::size_t>(p.size())},
                         {y.data(), static_cast<std::size_t>(y.size())});
}

/// Calls what a test wants after each step and epoch.
struct observer {
  std::function<void(const vb::progress_info&)> step;
  std::function<void(const vb::history&)> epoch;
  void on_step(const vb::progress_info& info) const {
    if (step) {
      step(info);
    }
  }
  void on_epoch(const vb::history& h, const vb::progress_info&) const {
    if (epoch) {
      epoch(h);
    }
  }
};

/// Mean over tasks of the mean squared error in standard deviations of the training labels.
double standardised_loss(const auto& model, const dataset& data, const std::vector<index_t>& rows) {
  const auto out = model.predict(reference{}, data.inputs.select(rows));
  double total = 0;
  for (index_t t = 0; t < model.task_list().size(); ++t) {
    const auto& y = data.at(model.task_list()[t].name).values;
    double sum = 0;
    double count = 0;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (!std::isnan(y(rows[i], 0))) {
        const double d =
            out[static_cast<std::size_t>(t)](static_cast<index_t>(i), 0) - y(rows[i], 0);
        sum += d * d / (model.label_deviation(t) * model.label_deviation(t));
        ++count;
      }
    }
    total += sum / count / static_cast<double>(model.task_list().size());
  }
  return total;
}

std::vector<index_t> row_range(index_t first, index_t last) {
  std::vector<index_t> rows;
  for (index_t r = first; r < last; ++r) {
    rows.push_back(r);
  }
  return rows;
}

/// Fixed weights that look at the matrix of gradients' products but do not use it.
struct fixed_by_gram {
  using weighting_kind = vb::gram_based;
  std::vector<double> values;
  void weigh(vb::losses l, vb::gram_matrix g, vb::weights w) const {
    CHECK(g.rows == static_cast<index_t>(l.size()));
    CHECK(g(0, 1) == doctest::Approx(g(1, 0)).epsilon(1e-12));
    std::ranges::copy(values, w.begin());
  }
};

/// MGDA (Sener and Koltun 2018) for two tasks: the shortest vector between two gradients.
struct mgda_of_two {
  using weighting_kind = vb::gram_based;
  static inline int calls = 0;
  void weigh(vb::losses l, vb::gram_matrix g, vb::weights w) const {
    REQUIRE(l.size() == 2);
    const double length = g(0, 0) - 2 * g(0, 1) + g(1, 1);
    w[0] = length > 0 ? std::clamp((g(1, 1) - g(0, 1)) / length, 0.0, 1.0) : 0.5;
    w[1] = 1 - w[0];
    CHECK(g(0, 0) * g(1, 1) * (1 + 1e-9) >= g(0, 1) * g(0, 1));  // Cauchy and Schwarz
    ++calls;
  }
};

}  // namespace

TEST_CASE("training reaches a good fit on rows that were not seen, whatever the seed") {
  const auto data = related_tasks(300, 4, {"a", "b"}, 1);
  const auto test = related_tasks(200, 4, {"a", "b"}, 1, 7);
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    auto model = gate_model();
    const auto h =
        vb::fit(vb::backend::cpu_double(1), model, data, {.epochs = 60, .batch = 50, .seed = seed},
                vb::optimizer::adam{.learning_rate = 5e-3}, vb::weighting::equal{});
    CHECK(h.task_names == std::vector<std::string>{"a", "b"});
    REQUIRE(h.epochs.size() == 60);
    CHECK(h.epochs.back().train_loss < 0.1 * h.epochs.front().train_loss);
    CHECK(h.epochs.back().alignment_loss < 0.5 * h.epochs.front().alignment_loss);
    CAPTURE(seed);
    for (index_t t = 0; t < 2; ++t) {
      CAPTURE(r2(model, test, t));
      CHECK(r2(model, test, t) > 0.9);
    }
  }
}

TEST_CASE("with missing labels, and with rows of its own for each task") {
  const auto test = related_tasks(200, 4, {"a", "b"}, 1, 7);
  auto gaps = related_tasks(400, 4, {"a", "b"}, 1);
  for (index_t r = 0; r < 400; ++r) {
    if (r % 5 < 2) {
      gaps.at("a").values(r, 0) = missing;
    }
    if (r % 5 >= 1 && r % 5 < 4) {
      gaps.at("b").values(r, 0) = missing;  // rows with r % 5 == 1 have no label at all
    }
  }
  auto apart = related_tasks(200, 4, {"a"}, 1);
  auto second = related_tasks(200, 4, {"a", "b"}, 1, 3);
  second.labels.erase(second.labels.begin());
  apart.append(second);
  for (const dataset& data : {gaps, apart}) {
    for (const bool balanced : {false, true}) {
      auto model = gate_model();
      const auto h =
          vb::fit(vb::backend::cpu_double(1), model, data,
                  {.epochs = 60, .batch = 50, .validation_fraction = 0, .balanced = balanced},
                  vb::optimizer::adam{.learning_rate = 5e-3}, vb::weighting::equal{});
      CHECK(h.best_epoch == 60);
      CAPTURE(balanced);
      for (index_t t = 0; t < 2; ++t) {
        CAPTURE(r2(model, test, t));
        CHECK(r2(model, test, t) > 0.9);
      }
    }
  }
}

TEST_CASE("labels are standardised on the training rows that have one") {
  auto data = related_tasks(60, 3, {"a", "b"}, 4);
  for (index_t r = 0; r < 60; ++r) {
    if (r % 3 == 0) {
      data.at("b").values(r, 0) = missing;
    }
  }
  data.at("b").values(59, 0) = 1e6;  // for validation, so of no consequence
  auto model = gate_model();
  vb::fit(reference{}, model, data, {.epochs = 1, .validation_rows = row_range(50, 60)},
          vb::optimizer::adam{}, vb::weighting::equal{});
  double mean = 0;
  double squares = 0;
  double count = 0;
  for (index_t r = 0; r < 50; ++r) {
    const double y = data.at("b").values(r, 0);
    if (!std::isnan(y)) {
      mean += y;
      squares += y * y;
      ++count;
    }
  }
  mean /= count;
  CHECK(model.label_mean(1) == doctest::Approx(mean).epsilon(1e-12));
  CHECK(model.label_deviation(1) ==
        doctest::Approx(std::sqrt(squares / count - mean * mean)).epsilon(1e-9));
}

TEST_CASE("validation keeps the parameters of the best epoch") {
  auto data = related_tasks(120, 4, {"a", "b"}, 2);
  const auto noise = problems::normal_matrix(120, 2, 5);
  for (index_t r = 0; r < 120; ++r) {  // so much of it that a long training overfits
    data.at("a").values(r, 0) += noise(r, 0);
    data.at("b").values(r, 0) += 10 * noise(r, 1);
  }
  data.at("b").values(3, 0) = missing;
  const auto held = row_range(0, 40);
  auto model = gate_model({"a", "b"}, 60);
  std::vector<double> seen;
  const auto h = vb::fit(
      reference{}, model, data, {.epochs = 40, .batch = 20, .validation_rows = held},
      vb::optimizer::adam{.learning_rate = 1e-2}, vb::weighting::equal{},
      observer{{},
               [&](const vb::history& now) { seen.push_back(now.epochs.back().validation_loss); }});
  REQUIRE(seen.size() == 40);
  const auto best = std::ranges::min_element(seen);
  CHECK(h.best_epoch == best - seen.begin() + 1);
  CHECK(h.best_epoch < 40);  // it does overfit
  CHECK(seen.back() > 1.02 * *best);
  CHECK(standardised_loss(model, data, held) == doctest::Approx(*best).epsilon(1e-10));
}

TEST_CASE("the best epoch by accuracy is another than that by loss") {
  auto data = related_tasks(240, 4, {"a", "b"}, 2);
  const auto noise = problems::normal_matrix(240, 1, 5);
  auto& labels = data.at("a").values;
  for (index_t r = 0; r < 240; ++r) {  // noisy classes, so that a long training overfits
    labels(r, 0) = labels(r, 0) + 1.5 * noise(r, 0) > 0 ? 1 : 0;
  }
  const auto held = row_range(0, 60);
  const auto check = [&](const auto& weighting, const auto& device, index_t epochs) {
    vb::tasks<> list;
    list.add(vb::multiclass("a", 2));
    list.add(vb::regression("b"));
    vb::multitask_model<vb::encoder::mlp, vb::alignment::none, vb::tasks<>, double> model(
        vb::encoder::mlp{.widths = {60}}, list, {}, small);
    vb::training options{
        .epochs = epochs, .batch = 20, .validation_rows = held, .best = vb::best_by::score};
    auto by_score = model;
    const vb::optimizer::adam adam{.learning_rate = 5e-3};
    const auto h = vb::fit(device, by_score, data, options, adam, weighting);
    options.best = vb::best_by::loss;
    CHECK(vb::fit(device, model, data, options, adam, weighting).best_epoch != h.best_epoch);
    const auto& best = h.epochs[static_cast<std::size_t>(h.best_epoch) - 1];
    for (const auto& e : h.epochs) {
      const bool worse = e.validation_score < best.validation_score ||
                         (e.validation_score == best.validation_score &&
                          e.validation_loss >= best.validation_loss);
      CHECK(worse);
    }
    return std::pair{std::move(by_score), best};
  };
  const auto accuracy = [&](const auto& model, const auto& device) {
    const auto p = model.predict(device, data.inputs.select(held), 0);
    double right = 0;
    for (const index_t r : held) {
      right += (p(r, 1) > p(r, 0) ? 1.0 : 0.0) == labels(r, 0) ? 1 : 0;
    }
    return right / static_cast<double>(held.size());
  };
  // Step by step: the mean of the accuracy and the other task's negative loss.
  const auto [steps, of_steps] = check(vb::weighting::equal{}, reference{}, 40);
  const auto p = steps.predict(reference{}, data.inputs.select(held), 1);
  double loss = 0;
  for (const index_t r : held) {
    const double d = (p(r, 0) - data.at("b").values(r, 0)) / steps.label_deviation(1);
    loss += d * d / static_cast<double>(held.size());
  }
  CHECK(of_steps.validation_score ==
        doctest::Approx((accuracy(steps, reference{}) - loss) / 2).epsilon(1e-9));
  // In rounds: the target's accuracy alone.
  const vb::backend::cpu_double cpu(1);
  const auto [rounds, of_rounds] = check(vb::weighting::alpha_vil{.target = "a"}, cpu, 20);
  CHECK(of_rounds.validation_score == doctest::Approx(accuracy(rounds, cpu)).epsilon(1e-12));
}

TEST_CASE("an alignment that was made unusable after the model was built is refused") {
  const auto data = related_tasks(60, 3, {"a", "b"}, 2);
  auto model = gate_model();
  const auto train = [&] {
    vb::fit(reference{}, model, data, {.epochs = 1, .batch = 30}, vb::optimizer::adam{},
            vb::weighting::equal{});
  };
  train();
  model.alignment.mapping.sources = -1;
  CHECK_THROWS_WITH_AS(train(), "alignment::mapping: sources must not be negative, but is -1",
                       vb::error);
}

TEST_CASE("a step that needs more memory than it may take is refused") {
  const auto data = related_tasks(60, 3, {"a", "b"}, 2);
  const auto check = [&](const auto& weighting) {
    const auto untrained = gate_model();
    const vb::training options{.epochs = 2, .batch = 30, .validation_rows = row_range(0, 30)};
    auto model = untrained;
    const std::size_t needed =
        vb::fit(reference{}, model, data, options, vb::optimizer::adam{}, weighting).step_bytes;
    CHECK(needed > 30 * 3 * sizeof(double));
    const auto with_limit = [&](std::size_t limit) {
      auto limited = options;
      limited.memory_limit = limit;
      auto again = untrained;
      vb::fit(reference{}, again, data, limited, vb::optimizer::adam{}, weighting);
      return again.theta().snapshot();
    };
    CHECK(with_limit(needed) == model.theta().snapshot());
    CHECK_THROWS_WITH_AS(with_limit(needed - 1), doctest::Contains("a smaller batch takes less"),
                         vb::error);
  };
  check(vb::weighting::equal{});
  check(vb::weighting::alpha_vil{.target = "a", .share = 1});
}

TEST_CASE("the last parameters are kept where that is asked for") {
  auto data = related_tasks(80, 4, {"a", "b"}, 2);
  const auto noise = problems::normal_matrix(80, 2, 6);
  for (index_t r = 0; r < 80; ++r) {
    data.at("a").values(r, 0) += noise(r, 0);
  }
  const auto held = row_range(0, 10);
  const auto check = [&](const auto& weighting) {
    auto model = gate_model({"a", "b"}, 60);
    vb::training options{.epochs = 40, .batch = 20, .validation_rows = held};
    const vb::optimizer::adam adam{.learning_rate = 1e-2};
    auto best = model;
    REQUIRE(vb::fit(reference{}, best, data, options, adam, weighting).best_epoch < 40);
    options.best = vb::best_by::last;
    const auto h = vb::fit(reference{}, model, data, options, adam, weighting);
    CHECK(h.best_epoch == std::ssize(h.epochs));
    const auto p = model.predict(reference{}, data.inputs.select(held), 0);
    double loss = 0;
    for (const index_t r : held) {
      const double d = (p(r, 0) - data.at("a").values(r, 0)) / model.label_deviation(0);
      loss += d * d / static_cast<double>(held.size());
    }
    CHECK(h.epochs.back().validation_loss == doctest::Approx(loss).epsilon(1e-9));
  };
  check(vb::weighting::single_task{.target = "a"});
  check(vb::weighting::alpha_vil{.target = "a", .share = 1});
}

TEST_CASE("without validation the last epoch is kept") {
  const auto data = related_tasks(60, 3, {"a", "b"}, 2);
  auto model = gate_model();
  const auto h =
      vb::fit(reference{}, model, data, {.epochs = 3, .batch = 30, .validation_fraction = 0},
              vb::optimizer::adam{}, vb::weighting::equal{});
  CHECK(h.best_epoch == 3);
  CHECK(std::isnan(h.epochs.back().validation_loss));
  auto longer = gate_model();
  vb::fit(reference{}, longer, data, {.epochs = 4, .batch = 30, .validation_fraction = 0},
          vb::optimizer::adam{}, vb::weighting::equal{});
  CHECK(longer.theta().snapshot() != model.theta().snapshot());
}

TEST_CASE("early stopping") {
  auto data = related_tasks(80, 4, {"a", "b"}, 2);
  const auto noise = problems::normal_matrix(80, 2, 6);
  for (index_t r = 0; r < 80; ++r) {
    data.at("a").values(r, 0) += noise(r, 0);
    data.at("b").values(r, 0) += 10 * noise(r, 1);
  }
  auto model = gate_model({"a", "b"}, 60);
  const auto h = vb::fit(reference{}, model, data,
                         {.epochs = 200, .batch = 20, .validation_rows = row_range(0, 30)},
                         vb::optimizer::adam{.learning_rate = 1e-2}, vb::weighting::equal{},
                         vb::callback::early_stopping{.patience = 4});
  CHECK(h.epochs.size() < 100);
  CHECK(static_cast<index_t>(h.epochs.size()) == h.best_epoch + 4);
  CHECK_FALSE(h.interrupted);
  CHECK(standardised_loss(model, data, row_range(0, 30)) ==
        doctest::Approx(h.epochs[static_cast<std::size_t>(h.best_epoch) - 1].validation_loss)
            .epsilon(1e-10));
}

TEST_CASE("an interrupt stops after the step and keeps the best parameters") {
  const auto data = related_tasks(80, 4, {"a", "b"}, 2);
  const auto held = row_range(0, 20);
  for (const bool validated : {true, false}) {
    auto model = gate_model();
    index_t steps = 0;
    const auto h = vb::fit(reference{}, model, data,
                           {.epochs = 50,
                            .batch = 20,
                            .validation_fraction = 0,
                            .validation_rows = validated ? held : std::vector<index_t>{}},
                           vb::optimizer::adam{.learning_rate = 5e-3}, vb::weighting::equal{},
                           observer{[&](const vb::progress_info& info) {
                                      ++steps;
                                      if (info.epoch == 4 && info.step == 2) {
                                        std::raise(SIGINT);
                                      }
                                    },
                                    {}});
    CHECK(h.interrupted);
    REQUIRE(h.epochs.size() == 5);
    CHECK(steps == 4 * (validated ? 3 : 4) + 2);
    // The unfinished epoch's means are over the two steps that were done.
    CHECK(h.epochs[4].alignment_loss > 0.5 * h.epochs[3].alignment_loss);
    CHECK(h.epochs[4].train_loss > 0.5 * h.epochs[3].train_loss);
    if (validated) {
      CHECK(standardised_loss(model, data, held) ==
            doctest::Approx(h.epochs[static_cast<std::size_t>(h.best_epoch) - 1].validation_loss)
                .epsilon(1e-10));
    } else {
      CHECK(h.best_epoch == 5);
      CHECK(standardised_loss(model, data, row_range(0, 80)) < h.epochs[0].train_loss);
    }
  }
}

TEST_CASE("a loss that is not finite is an error, and the model stays as it was") {
  const auto data = related_tasks(60, 3, {"a", "b"}, 2);
  auto model = gate_model();
  model.build(data.inputs.shape(), 5);
  const auto before = model.theta().snapshot();
  const auto diverge = [&](auto& m) {
    vb::fit(reference{}, m, data, {.epochs = 40, .batch = 20, .clip_norm = 0},
            vb::optimizer::sgd{.learning_rate = 1e8}, vb::weighting::equal{});
  };
  const std::string message = test::message_of([&] { diverge(model); });
  CAPTURE(message);
  CHECK(message.starts_with("training: the loss of task 'a' is not finite in epoch 1, step "));
  CHECK(message.ends_with("a smaller learning rate may help"));
  CHECK(model.theta().snapshot() == before);
  auto fresh = gate_model();
  CHECK_THROWS_AS(diverge(fresh), vb::error);
  CHECK_FALSE(fresh.built());

  // One loss alone: the alignment's. Its coefficient overflows.
  auto aligned = gate_model();
  aligned.alignment.consistency.coefficient = 1e308;
  aligned.alignment.consistency.scaling = vb::alignment::pair_scaling::sum;
  CHECK_THROWS_WITH_AS(
      vb::fit(reference{}, aligned, data, {.epochs = 1}, vb::optimizer::adam{},
              vb::weighting::equal{}),
      "training: the loss of the alignment is not finite in epoch 1, step 1: a smaller learning "
      "rate may help",
      vb::error);
}

TEST_CASE("a last step that diverges is an error, and the model stays as it was") {
  const auto data = related_tasks(60, 3, {"a", "b"}, 2);
  auto model = gate_model();
  model.build(data.inputs.shape(), 5);
  const auto before = model.theta().snapshot();
  constexpr double largest = std::numeric_limits<double>::max();
  index_t epochs = 0;
  index_t steps = 0;
  const auto diverge = [&](double validation_fraction) {
    steps = 0;
    vb::fit(reference{}, model, data,
            {.epochs = 3,
             .batch = 60,
             .validation_fraction = validation_fraction,
             .schedule = [](double p) { return p < 0.5 ? 1e-4 : largest; }},
            vb::optimizer::sgd{.learning_rate = 10}, vb::weighting::equal{},
            observer{[&](const vb::progress_info&) { ++steps; },
                     [&](const vb::history& h) { epochs = std::ssize(h.epochs); }});
  };
  CHECK_THROWS_WITH_AS(
      diverge(0),
      "training: the parameters are not finite after epoch 3: a smaller learning rate may help",
      vb::error);
  CHECK(epochs == 3);
  CHECK(steps == 3);
  CHECK(model.theta().snapshot() == before);
  // With validation the best epoch is kept, which is another.
  diverge(0.2);
  CHECK(model.theta().snapshot() != before);
}

TEST_CASE("bad data is refused in one sentence") {
  const auto good = related_tasks(20, 3, {"a", "b"}, 2);
  const auto fit = [](const dataset& data, vb::training options = {.epochs = 1}) {
    auto model = gate_model();
    vb::fit(reference{}, model, data, options, vb::optimizer::adam{}, vb::weighting::equal{});
  };
  auto unknown = good;
  unknown.labels[1].name = "c";
  CHECK_THROWS_WITH_AS(fit(unknown), "dataset: no labels 'b'; there are 'a', 'c'", vb::error);
  auto empty = good;
  empty.mask_labels("b", row_range(0, 20));
  CHECK_THROWS_WITH_AS(fit(empty), "labels: task 'b' has no label among the training rows",
                       vb::error);
  auto only_held = good;
  only_held.mask_labels("b", row_range(5, 20));
  CHECK_THROWS_AS(fit(only_held, {.epochs = 1, .validation_rows = row_range(0, 5)}), vb::error);
  auto infinite = good;
  infinite.at("a").values(7, 0) = std::numeric_limits<double>::infinity();
  CHECK_THROWS_WITH_AS(fit(infinite),
                       "labels 'a', row 7 (counted from 0): expected a finite number, or NaN where "
                       "it is missing, found inf",
                       vb::error);
  auto feature = good;
  feature.inputs.values(4, 2) = -std::numeric_limits<double>::infinity();
  CHECK_THROWS_WITH_AS(
      fit(feature),
      "features, row 4, column 2 (counted from 0): expected a finite number, found -inf",
      vb::error);
  CHECK_THROWS_WITH_AS(fit(good, {.epochs = 1, .validation_rows = {3, 20}}),
                       "training: validation row 20 of 20", vb::error);
  CHECK_THROWS_WITH_AS(fit(good, {.epochs = 1, .validation_rows = row_range(0, 20)}),
                       "training: there is no row to train on", vb::error);
  CHECK_THROWS_WITH_AS(fit(good, {.epochs = 0}), "training: epochs must be positive, but is 0",
                       vb::error);
  CHECK_THROWS_AS(fit(good, {.epochs = 1, .batch = 0}), vb::error);
  CHECK_THROWS_AS(fit(good, {.epochs = 1, .validation_fraction = 1}), vb::error);
  CHECK_THROWS_AS(fit(good, {.epochs = 1, .clip_norm = -1}), vb::error);

  auto model = gate_model();
  model.build({4}, 1);
  CHECK_THROWS_WITH_AS(vb::fit(reference{}, model, good, {.epochs = 1}, vb::optimizer::adam{},
                               vb::weighting::equal{}),
                       "inputs: the model was trained on 4 features, the inputs have 3 features",
                       vb::error);
  CHECK_THROWS_AS(vb::fit(reference{}, model, related_tasks(20, 4, {"a", "b"}, 2), {.epochs = 1},
                          vb::optimizer::adam{}, vb::weighting::constant{{1, 1, 1}}),
                  vb::error);
  model.append("own", vb::head::regression{}, vb::task_origin::added_with_trunk, 1);
  auto three = related_tasks(20, 4, {"a", "b", "own"}, 2);
  CHECK_THROWS_WITH_AS(
      vb::fit(reference{}, model, three, {.epochs = 1}, vb::optimizer::adam{},
              vb::weighting::equal{}),
      "training: task 'own' has a trunk of its own and cannot be trained with the others",
      vb::error);
}

TEST_CASE("a trained model goes on from where it is") {
  const auto data = related_tasks(100, 3, {"a", "b"}, 2);
  auto model = gate_model();
  const vb::training options{.epochs = 15, .batch = 25, .validation_fraction = 0};
  const vb::optimizer::adam adam{.learning_rate = 5e-3};
  const auto first = vb::fit(reference{}, model, data, options, adam, vb::weighting::equal{});
  const auto second = vb::fit(reference{}, model, data, options, adam, vb::weighting::equal{});
  CHECK(second.epochs.front().train_loss < 0.5 * first.epochs.front().train_loss);
  CHECK(second.epochs.back().train_loss < first.epochs.back().train_loss);
}

TEST_CASE("frozen parameters stay as they are") {
  const auto data = related_tasks(60, 3, {"a", "b"}, 2);
  auto model = gate_model();
  model.build(data.inputs.shape(), 1);
  model.theta().freeze("trunk/");
  model.theta().freeze("task/b/transfer/layer0/bias");
  const auto before = model.theta();
  vb::fit(reference{}, model, data, {.epochs = 2}, vb::optimizer::adamw{.learning_rate = 1e-2},
          vb::weighting::equal{});
  for (vb::segment_id id = 0; id < static_cast<vb::segment_id>(before.segments().size()); ++id) {
    const vb::segment& s = before.at(id);
    if (s.name.find("scaling") != std::string::npos) {
      continue;  // set from the data
    }
    CAPTURE(s.name);
    const bool same = std::equal(before.view(id).data, before.view(id).data + s.size(),
                                 model.theta().view(id).data);
    CHECK(same == s.frozen);
    CHECK(model.theta().at(id).frozen == s.frozen);
  }
}

TEST_CASE("the gradient is clipped, the learning rate follows the schedule") {
  const auto data = related_tasks(60, 3, {"a", "b"}, 2);
  const auto moved = [&](vb::training options, double rate) {
    auto model = gate_model();
    model.build(data.inputs.shape(), 1);
    options.batch = 60;
    options.validation_fraction = 0;
    const auto before = model.theta();
    vb::fit(reference{}, model, data, options, vb::optimizer::sgd{.learning_rate = rate},
            vb::weighting::equal{});
    double squares = 0;
    for (vb::segment_id id = 0; id < static_cast<vb::segment_id>(before.segments().size()); ++id) {
      for (index_t i = 0; i < before.at(id).size() && !before.at(id).frozen; ++i) {
        squares += std::pow(before.view(id).data[i] - model.theta().view(id).data[i], 2);
      }
    }
    return std::sqrt(squares);
  };
  const double free = moved({.epochs = 1, .clip_norm = 0}, 1e-3);
  CHECK(free > 1e-4);
  const double norm = free / 1e-3;
  CHECK(moved({.epochs = 1, .clip_norm = norm / 4}, 1e-3) ==
        doctest::Approx(free / 4).epsilon(1e-9));
  CHECK(moved({.epochs = 1, .clip_norm = 2 * norm}, 1e-3) == doctest::Approx(free).epsilon(1e-9));
  CHECK(moved({.epochs = 1, .clip_norm = 0, .schedule = [](double) { return 0.5; }}, 1e-3) ==
        doctest::Approx(free / 2).epsilon(1e-9));
  std::vector<double> progress;
  moved({.epochs = 4,
         .schedule =
             [&](double p) {
               progress.push_back(p);
               return 1.0;
             }},
        1e-3);
  CHECK(progress == std::vector<double>{0, 0.25, 0.5, 0.75});
  CHECK_THROWS_WITH_AS(
      moved({.epochs = 4, .schedule = [](double p) { return p < 0.5 ? 1 : -1; }}, 1e-3),
      "schedule: the factor at progress 0.5 must be finite and not negative, but is -1", vb::error);
}

TEST_CASE("weights from the matrix of gradients' products") {
  auto data = related_tasks(80, 3, {"a", "b"}, 2);
  for (index_t r = 0; r < 80; ++r) {
    if (r % 4 == 0) {
      data.at("a").values(r, 0) = missing;
    }
  }
  const vb::training options{.epochs = 4, .batch = 16, .validation_fraction = 0};
  const vb::optimizer::sgd sgd{.learning_rate = 0.02, .momentum = 0.9};
  auto by_loss = gate_model();
  auto by_gram = gate_model();
  const auto h =
      vb::fit(reference{}, by_loss, data, options, sgd, vb::weighting::constant{{0.3, 2}});
  const auto g = vb::fit(reference{}, by_gram, data, options, sgd, fixed_by_gram{{0.3, 2}});
  const auto a = by_loss.theta().snapshot();
  const auto b = by_gram.theta().snapshot();
  double difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference = std::max(difference, std::abs(a[i] - b[i]));
  }
  // Twenty steps, each with rounding errors of 1e-16; the sums are formed in another order.
  CHECK(difference < 1e-11);
  CHECK(h.epochs.back().weights == std::vector<double>{0.3, 2});
  CHECK(g.epochs.back().train_loss == doctest::Approx(h.epochs.back().train_loss).epsilon(1e-9));

  auto model = gate_model();
  mgda_of_two::calls = 0;
  const auto m = vb::fit(vb::backend::cpu_double(2), model, data,
                         {.epochs = 20, .batch = 40, .validation_fraction = 0},
                         vb::optimizer::adam{.learning_rate = 5e-3}, mgda_of_two{});
  CHECK(mgda_of_two::calls == 40);
  CHECK(m.epochs.back().train_loss < 0.7 * m.epochs.front().train_loss);
  for (const auto& e : m.epochs) {
    CHECK(e.weights[0] + e.weights[1] == doctest::Approx(1).epsilon(1e-9));
  }
}

TEST_CASE("hard sharing and the other alignments train, too") {
  const auto data = related_tasks(200, 3, {"a", "b"}, 3);
  const auto test = related_tasks(100, 3, {"a", "b"}, 3, 7);
  const auto check = [&](auto alignment) {
    auto model = vb::multitask<double>(
        vb::encoder::mlp{.widths = {24}, .act = vb::activation::silu},
        vb::tasks{vb::regression("a"), vb::regression("b")}, alignment, small);
    const auto h = vb::fit(vb::backend::cpu_double(1), model, data, {.epochs = 60, .batch = 40},
                           vb::optimizer::adam{.learning_rate = 5e-3}, vb::weighting::equal{});
    CHECK(r2(model, test, 0) > 0.9);
    CHECK(r2(model, test, 1) > 0.9);
    CHECK(std::isnan(h.epochs.back().alignment_loss) ==
          std::is_same_v<decltype(alignment), vb::alignment::none>);
  };
  check(vb::alignment::none{});
  check(vb::alignment::sum{vb::alignment::coral{.coefficient = 0.1},
                           vb::alignment::soft_sharing{.coefficient = 0.1},
                           vb::alignment::mmd{.coefficient = 0.1}});
}
