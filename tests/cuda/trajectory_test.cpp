// Training on a device goes the same way as on the CPU: the losses of every epoch and the
// parameters after a hundred steps. On the device, two runs agree bit for bit.
//
// Two runs differ by rounding, which a hundred steps of Adam let grow where a gradient is close to
// 0: by 1e-9 of the largest parameter in double and by 1e-3 in float, at most. (Emulated, they
// differ by a rounding or two.)
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "../support/message_of.hpp"
#include "../support/problems.hpp"
#include "vierbein/backend/cuda.hpp"
#include "vierbein/vierbein.hpp"

namespace vb = vierbein;
using vb::index_t;

namespace {

const vb::tasks<> list{vb::regression("a"), vb::regression("b"), vb::binary("c")};

const vb::module_options modules{
    .encoder = {16}, .transfer = {16}, .inverse = {16}, .head = {16}, .act = vb::activation::gelu};

template <class Dataset>
Dataset with_binary(Dataset data) {
  auto& values = data.at("c").values;
  const double threshold = values(0, 0);
  for (index_t r = 0; r < values.rows(); ++r) {
    values(r, 0) = r % 5 == 0 ? problems::missing : (values(r, 0) > threshold ? 1 : 0);
  }
  return data;
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

/// Trains the same model on both and compares.
template <class Model, class Dataset, class Weighting>
void check_same(const Model& model, const Dataset& data, const vb::training& options,
                const Weighting& weighting) {
  using T = typename Model::scalar;
  const double tolerance = std::is_same_v<T, double> ? 1e-9 : 1e-3;
  const auto train = [&](const auto& backend, Model& trained) {
    return vb::fit(backend, trained, data, options, vb::optimizer::adamw{.learning_rate = 1e-3},
                   weighting);
  };
  Model on_cpu = model;
  Model on_device = model;
  const vb::backend::basic_cuda<T> device;
  const auto expected = train(vb::backend::basic_cpu<T>(1), on_cpu);
  const auto found = train(device, on_device);
  Model again = model;
  train(vb::backend::basic_cuda<T>(), again);
  CHECK(again.theta().snapshot() == on_device.theta().snapshot());  // bit for bit
  REQUIRE(found.epochs.size() == expected.epochs.size());
  for (std::size_t e = 0; e < found.epochs.size(); ++e) {
    CAPTURE(e);
    const auto near = [&](double x, double y) {
      return std::abs(x - y) <= tolerance * (1 + std::abs(y)) || (std::isnan(x) && std::isnan(y));
    };
    CHECK(near(found.epochs[e].train_loss, expected.epochs[e].train_loss));
    CHECK(near(found.epochs[e].alignment_loss, expected.epochs[e].alignment_loss));
    CHECK(near(found.epochs[e].validation_loss, expected.epochs[e].validation_loss));
  }
  CHECK(found.epochs.back().train_loss < 0.9 * found.epochs.front().train_loss);
  double largest = 0;
  double difference = 0;
  for (vb::segment_id id = 0; id < std::ssize(on_cpu.theta().segments()); ++id) {
    if (on_cpu.theta().at(id).frozen) {  // the scaling of labels
      continue;
    }
    const auto mine = on_device.theta().view(id);
    const auto wanted = on_cpu.theta().view(id);
    for (index_t i = 0; i < wanted.size(); ++i) {
      largest = std::max(largest, std::abs(static_cast<double>(wanted.data[i])));
      difference =
          std::max(difference, std::abs(static_cast<double>(mine.data[i] - wanted.data[i])));
    }
  }
  CAPTURE(difference);
  CAPTURE(largest);
  CHECK(difference <= tolerance * largest);

  const auto prediction = on_device.predict(device, data.inputs)[0];
  const auto wanted_prediction = on_device.predict(vb::backend::basic_cpu<T>(1), data.inputs)[0];
  const double rounding = std::is_same_v<T, double> ? 1e-12 : 1e-4;
  double scale = 0;
  double worst = 0;
  for (index_t i = 0; i < prediction.size(); ++i) {
    scale = std::max(scale, std::abs(wanted_prediction.data()[i]));
    worst = std::max(worst, std::abs(prediction.data()[i] - wanted_prediction.data()[i]));
  }
  CHECK(worst <= rounding * scale);
}

// 200 rows in batches of 40: 5 steps an epoch, 100 in all, of which the last one counts.
const vb::training hundred_steps{.epochs = 20, .batch = 40, .validation_fraction = 0};

}  // namespace

TEST_CASE("an mlp with GATE, dropout and missing labels") {
  const auto model = vb::multitask<float>(vb::encoder::mlp{.widths = {24, 16}, .dropout = 0.1},
                                          list, vb::alignment::gate{}, modules);
  check_same(model, with_binary(problems::related_tasks(200, 12, {"a", "b", "c"}, 1)),
             hundred_steps, vb::weighting::equal{});
}

TEST_CASE("the same in double, with all gradients and their Gramian") {
  const auto model = vb::multitask<double>(vb::encoder::mlp{.widths = {24, 16}, .dropout = 0.1},
                                           list, vb::alignment::gate{}, modules);
  check_same(model, with_binary(problems::related_tasks(200, 12, {"a", "b", "c"}, 1)),
             hundred_steps, balanced_norms{});
}

TEST_CASE("message passing") {
  const auto model = vb::multitask<double>(
      vb::encoder::dmpnn{.hidden = 12, .depth = 3, .widths = {16}, .dropout = 0.1}, list,
      vb::alignment::none{}, modules);
  check_same(model, with_binary(problems::graph_tasks(200, {"a", "b", "c"}, 2, 3)), hundred_steps,
             vb::weighting::equal{});
}

TEST_CASE("images") {
  const vb::image_shape shape{2, 8, 8};
  const auto values = problems::normal_matrix<float>(100, shape.size(), 3);
  vb::data::dataset<vb::data::image_set> data{
      {shape, std::span<const float>(values.data(), static_cast<std::size_t>(values.size()))}};
  std::vector<double> y(100);
  for (index_t r = 0; r < 100; ++r) {
    y[static_cast<std::size_t>(r)] = static_cast<double>(values(r, 3) + values(r, 5));
  }
  data.add("a", y);
  const auto model = vb::multitask<double>(vb::encoder::residual{.channels = {4, 6}},
                                           vb::tasks{vb::regression("a")}, vb::alignment::none{});
  check_same(model, data, {.epochs = 20, .batch = 18}, vb::weighting::equal{});
}

namespace {

/// Ends a training in its third step.
struct throwing {
  static void on_step(const vb::progress_info& info) {
    if (info.step == 3) {
      throw vb::error("test", "enough");
    }
  }
};

}  // namespace

TEST_CASE("a training that was cut off leaves nothing behind") {
  const auto start = vb::multitask<float>(vb::encoder::mlp{.widths = {24, 16}}, list,
                                          vb::alignment::none{}, modules);
  const auto data = with_binary(problems::related_tasks(200, 12, {"a", "b", "c"}, 1));
  const vb::backend::cuda device;
  const auto train = [&](const auto& backend, auto... callbacks) {
    auto model = start;
    vb::fit(backend, model, data, hundred_steps, vb::optimizer::adamw{.learning_rate = 1e-3},
            vb::weighting::equal{}, callbacks...);
    return model;
  };
  const auto expected = train(vb::backend::cuda());
  CHECK_THROWS_AS(train(device, throwing{}), vb::error);
  // What was prepared for the next step lay at addresses that others have now.
  CHECK(device.prefetched() == 0);
  CHECK(train(device).theta().snapshot() == expected.theta().snapshot());
}

#if defined(VIERBEIN_EMULATED_CUDA)

namespace {

/// Lets the device fail after two rounds.
struct failing_after_rounds {
  static bool on_epoch(const vb::history& record, const vb::progress_info& /*info*/) {
    if (record.epochs.size() == 2) {
      emulated::device.at_synchronise = cudaErrorIllegalAddress;
    }
    return true;
  }
};

/// Lets the device fail in the second epoch.
struct failing_device {
  static void on_step(const vb::progress_info& info) {
    if (info.epoch == 1) {
      emulated::device.at_synchronise = cudaErrorIllegalAddress;
    }
  }
};

}  // namespace

namespace {

/// What the emulated machine did in each step but the first ones of an epoch.
struct step_watch {
  std::vector<int>* waits;
  std::vector<int>* event_waits;
  int last_waits = 0, last_event_waits = 0;

  void on_step(const vb::progress_info& info) {
    const auto& machine = emulated::device;
    if (info.epoch > 0 && info.step > 1) {  // between epochs, and for memory, others wait, too
      waits->push_back(machine.synchronisations - last_waits);
      event_waits->push_back(machine.event_waits - last_event_waits);
    }
    last_waits = machine.synchronisations;
    last_event_waits = machine.event_waits;
  }
};

template <class Weighting>
std::pair<std::vector<int>, std::vector<int>> watched(const Weighting& weighting) {
  std::vector<int> waits, event_waits;
  auto model = vb::multitask<float>(vb::encoder::mlp{.widths = {24, 16}, .dropout = 0.1}, list,
                                    vb::alignment::gate{}, modules);
  vb::fit(vb::backend::cuda(), model,
          with_binary(problems::related_tasks(200, 12, {"a", "b", "c"}, 1)), hundred_steps,
          vb::optimizer::adamw{.learning_rate = 1e-3}, weighting, step_watch{&waits, &event_waits});
  return {waits, event_waits};
}

}  // namespace

TEST_CASE("a step waits once where the weights are known, twice where losses give them") {
  // In every step but the first of an epoch the batch has been copied while the step before was
  // computed.
  const auto [waits, event_waits] = watched(vb::weighting::equal{});
  CHECK(waits == std::vector<int>(76, 1));
  CHECK(event_waits == std::vector<int>(76, 1));
  CHECK(watched(vb::weighting::dwa{}).first == std::vector<int>(76, 2));
}

TEST_CASE("a device that fails in mid-run ends the training with one sentence") {
  auto model = vb::multitask<float>(vb::encoder::mlp{.widths = {24, 16}, .dropout = 0.1}, list,
                                    vb::alignment::gate{}, modules);
  const auto data = with_binary(problems::related_tasks(200, 12, {"a", "b", "c"}, 1));
  const vb::backend::cuda device;
  const auto train = [&](auto... callbacks) {
    vb::fit(device, model, data, hundred_steps, vb::optimizer::adamw{.learning_rate = 1e-3},
            vb::weighting::equal{}, callbacks...);
  };
  train();
  const auto before = model.theta().snapshot();
  const std::string said = test::message_of([&] { train(failing_device{}); });
  CHECK(said.starts_with("cuda, waiting for the operations up to "));
  CHECK(
      said.ends_with(": cudaStreamSynchronize: an illegal memory access was encountered "
                     "(cudaErrorIllegalAddress)"));
  CHECK(model.theta().snapshot() == before);
}

TEST_CASE("a device that fails after an epoch was chosen leaves the best model") {
  const auto start = vb::multitask<float>(vb::encoder::mlp{.widths = {24, 16}, .dropout = 0.1},
                                          list, vb::alignment::gate{}, modules);
  const auto data = with_binary(problems::related_tasks(200, 12, {"a", "b", "c"}, 1));
  const vb::backend::cuda device;
  auto options = hundred_steps;
  options.validation_fraction = 0.2;
  const auto check = [&](const auto& weighting) {
    auto failed = start;
    try {
      vb::fit(device, failed, data, options, vb::optimizer::adamw{.learning_rate = 1e-3}, weighting,
              failing_device{});
      FAIL("it did not fail");
    } catch (const vb::device_error& e) {
      CHECK(e.kept_epoch() == 1);
      CHECK(std::string(e.what()).ends_with(
          "(cudaErrorIllegalAddress); the model has the parameters of epoch 1, the best so far"));
    }
    auto one_epoch = start;
    options.epochs = 1;
    vb::fit(device, one_epoch, data, options, vb::optimizer::adamw{.learning_rate = 1e-3},
            weighting);
    options.epochs = hundred_steps.epochs;
    CHECK(failed.theta().snapshot() == one_epoch.theta().snapshot());
  };
  check(vb::weighting::equal{});
  check(vb::weighting::dwa{});
}

TEST_CASE("a device that fails after a round leaves the best model") {
  auto model = vb::multitask<float>(vb::encoder::mlp{.widths = {24, 16}}, list,
                                    vb::alignment::none{}, modules);
  const auto data = with_binary(problems::related_tasks(200, 12, {"a", "b", "c"}, 1));
  CHECK_THROWS_AS(vb::fit(vb::backend::cuda(), model, data, {.epochs = 20, .batch = 40},
                          vb::optimizer::adamw{.learning_rate = 1e-3},
                          vb::weighting::alpha_vil{.target = "a"}, failing_after_rounds{}),
                  vb::device_error);
  REQUIRE(model.built());
  const auto predicted = model.predict(vb::backend::cpu(1), data.inputs)[0];
  CHECK(std::all_of(predicted.data(), predicted.data() + predicted.size(),
                    [](double v) { return std::isfinite(v); }));
}

#endif
