// The model: its parameters by name, its first values, its predictions and coordinates.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "../support/problems.hpp"
#include "vierbein/vierbein.hpp"

namespace vb = vierbein;
namespace vg = vierbein::graph;
using problems::normal_matrix;
using vb::index_t;

namespace {

using reference = vb::backend::reference_double;
const vb::module_options small{.encoder = {4, 3}, .transfer = {5}, .inverse = {6}, .head = {7}};
const vb::encoder::mlp trunk{.widths = {6, 5}};

std::vector<std::string> segment_names(const auto& model) {
  std::vector<std::string> names;
  for (const vb::segment& s : model.theta().segments()) {
    names.push_back(s.name);
  }
  return names;
}

/// The values of all segments that begin with `prefix`.
std::vector<double> values_of(const auto& model, const std::string& prefix) {
  std::vector<double> values;
  for (const vb::segment& s : model.theta().segments()) {
    if (s.name.starts_with(prefix)) {
      const auto* first = model.theta().values().data + s.offset;
      values.insert(values.end(), first, first + s.size());
    }
  }
  return values;
}

auto gate_model(std::uint64_t seed = 1) {
  auto model = vb::multitask<double>(
      trunk, vb::tasks{vb::regression("a"), vb::multiclass("b", 3), vb::binary("c")},
      vb::alignment::gate{}, small);
  model.build({4}, seed);
  return model;
}

void check_close(const vb::matrix<double>& a, const vb::matrix<double>& b) {
  REQUIRE(a.rows() == b.rows());
  REQUIRE(a.cols() == b.cols());
  for (index_t i = 0; i < a.size(); ++i) {
    CHECK(std::abs(a.data()[i] - b.data()[i]) < 1e-12 * (1 + std::abs(b.data()[i])));
  }
}

}  // namespace

TEST_CASE("parameters are called after the trunk and the tasks") {
  const auto model = gate_model();
  std::vector<std::string> expected{"trunk/scaling/mean",  "trunk/scaling/factor",
                                    "trunk/layer0/weight", "trunk/layer0/bias",
                                    "trunk/layer1/weight", "trunk/layer1/bias"};
  for (const std::string t : {"task/a", "task/b", "task/c"}) {
    for (const char* part : {"/encoder/layer0", "/encoder/layer1", "/transfer/layer0",
                             "/inverse/layer0", "/inverse/layer1", "/head/layer0", "/output"}) {
      expected.push_back(t + part + "/weight");
      expected.push_back(t + part + "/bias");
    }
    expected.push_back(t + "/scaling");
  }
  CHECK(segment_names(model) == expected);
  const auto shape = [&](const char* name) {
    const vb::segment& s = model.theta().at(model.theta().find(name));
    return std::pair{s.rows, s.cols};
  };
  CHECK(shape("task/b/encoder/layer0/weight") == std::pair<index_t, index_t>{5, 4});
  CHECK(shape("task/b/transfer/layer0/weight") == std::pair<index_t, index_t>{3, 5});
  CHECK(shape("task/b/inverse/layer1/weight") == std::pair<index_t, index_t>{6, 3});
  CHECK(shape("task/b/output/weight") == std::pair<index_t, index_t>{7, 3});
  for (const vb::segment& s : model.theta().segments()) {
    CHECK(s.frozen == (s.name.find("scaling") != std::string::npos));
  }
}

TEST_CASE("what an alignment does not need has no parameters") {
  auto hard = vb::multitask<double>(trunk, vb::tasks{vb::regression("a")});
  hard.modules = small;
  hard.build({4}, 1);
  CHECK(hard.theta().find("task/a/encoder/layer0/weight") < 0);
  CHECK(hard.theta().find("task/a/transfer/layer0/weight") < 0);
  CHECK(hard.theta().find("task/a/head/layer0/weight") >= 0);
  auto latent =
      vb::multitask<double>(trunk, vb::tasks{vb::regression("a")}, vb::alignment::coral{}, small);
  latent.build({4}, 1);
  CHECK(latent.theta().find("task/a/encoder/layer0/weight") >= 0);
  CHECK(latent.theta().find("task/a/transfer/layer0/weight") < 0);
  auto impossible = vb::multitask<double>(trunk, vb::tasks{vb::regression("a")},
                                          vb::alignment::gate{}, {.encoder = {}});
  CHECK_THROWS_AS(impossible.build({4}, 1), vb::error);
}

TEST_CASE("names of tasks") {
  vb::tasks<> list{vb::regression("log P"), vb::binary("toxic")};
  CHECK(list.size() == 2);
  CHECK(list.find("toxic") == 1);
  CHECK(list.find("tox") == -1);
  CHECK_THROWS_WITH_AS(list.add(vb::regression("")), "tasks: a task needs a name", vb::error);
  CHECK_THROWS_WITH_AS(list.add(vb::regression("a/b")), "tasks: the name 'a/b' contains a '/'",
                       vb::error);
  CHECK_THROWS_WITH_AS(list.add(vb::binary("log P")), "tasks: the task 'log P' is given twice",
                       vb::error);
  CHECK(list.size() == 2);
  CHECK_THROWS_AS((vb::tasks{vb::regression("a"), vb::multiclass("a", 4)}), vb::error);
  vb::tasks<> none;
  auto model = vb::multitask<double>(trunk, none);
  CHECK_THROWS_WITH_AS(model.build({3}, 1), "model: there is no task", vb::error);
}

TEST_CASE("first values depend on the seed and on names, not on which other tasks there are") {
  const auto first = gate_model(1);
  const auto again = gate_model(1);
  const auto other = gate_model(2);
  CHECK(first.theta().snapshot() == again.theta().snapshot());
  CHECK(values_of(first, "trunk/layer0/weight") != values_of(other, "trunk/layer0/weight"));

  auto reordered = vb::multitask<double>(
      trunk, vb::tasks{vb::multilabel("new", 4), vb::binary("c"), vb::regression("a")},
      vb::alignment::gate{}, small);
  reordered.build({4}, 1);
  CHECK(values_of(first, "trunk/") == values_of(reordered, "trunk/"));
  CHECK(values_of(first, "task/a/") == values_of(reordered, "task/a/"));
  CHECK(values_of(first, "task/c/") == values_of(reordered, "task/c/"));
  CHECK(values_of(first, "task/a/encoder") != values_of(first, "task/c/encoder"));

  auto single =
      vb::multitask<float>(trunk, vb::tasks{vb::regression("a")}, vb::alignment::gate{}, small);
  single.build({4}, 1);
  const auto wide = values_of(first, "task/a/");
  const auto narrow = values_of(single, "task/a/");
  REQUIRE(wide.size() == narrow.size());
  for (std::size_t i = 0; i < wide.size(); ++i) {
    CHECK(static_cast<float>(wide[i]) == static_cast<float>(narrow[i]));
  }
}

TEST_CASE("predictions have the labels' units, classes have probabilities") {
  auto model = gate_model();
  const vb::data::feature_set inputs{normal_matrix(10, 4, 3)};
  const auto raw = model.predict(reference{}, inputs);
  REQUIRE(raw.size() == 3);
  CHECK(raw[0].rows() == 10);
  CHECK(raw[0].cols() == 1);
  CHECK(raw[1].cols() == 3);
  CHECK(raw[2].cols() == 1);
  CHECK(model.label_mean(0) == 0);
  CHECK(model.label_deviation(0) == 1);
  model.set_scaling(0, -40, 8);
  model.set_scaling(1, 5, 5);  // of no consequence: classes are not standardised
  const auto shown = model.predict(reference{}, inputs);
  for (index_t r = 0; r < 10; ++r) {
    CHECK(shown[0](r, 0) == doctest::Approx(-40 + 8 * raw[0](r, 0)).epsilon(1e-14));
    CHECK(shown[1](r, 0) + shown[1](r, 1) + shown[1](r, 2) == doctest::Approx(1).epsilon(1e-14));
    CHECK(shown[2](r, 0) > 0);
    CHECK(shown[2](r, 0) < 1);
  }
  CHECK(shown[1] == raw[1]);
  CHECK(shown[2] == raw[2]);
  for (index_t t = 0; t < 3; ++t) {
    CHECK(model.predict(reference{}, inputs, t) == shown[static_cast<std::size_t>(t)]);
  }
  CHECK_THROWS_AS(model.predict(reference{}, inputs, 3), vb::error);
}

TEST_CASE("predictions and coordinates of many rows are those of each row") {
  const auto model = gate_model();
  const vb::data::feature_set inputs{normal_matrix(600, 4, 5)};  // several chunks
  const std::vector<index_t> few{0, 255, 256, 511, 512, 599};
  const vb::backend::cpu_double backend(2);
  const auto all = model.predict(backend, inputs);
  const auto some = model.predict(backend, inputs.select(few));
  const auto all_flat = model.coordinates(backend, inputs, vb::points_of::flat);
  const auto some_flat = model.coordinates(backend, inputs.select(few), vb::points_of::flat);
  for (std::size_t t = 0; t < 3; ++t) {
    const auto pick = [&](const vb::matrix<double>& from) {
      return vb::data::feature_set{from}.select(few).values;
    };
    CHECK(some[t] == pick(all[t]));  // bit for bit: rows do not depend on each other
    CHECK(some_flat[t] == pick(all_flat[t]));
  }
  CHECK(model.predict(backend, {vb::matrix<double>(0, 4)})[1].rows() == 0);
}

TEST_CASE("a kept predictor predicts what the model predicts, for any number of rows in turn") {
  const auto model = gate_model();
  const vb::backend::cpu_double backend(2);
  auto predict = model.predictor(backend);
  for (const index_t rows : {1, 300, 1, 7, 0}) {
    const vb::data::feature_set inputs{normal_matrix(rows, 4, static_cast<std::uint64_t>(rows))};
    CHECK(predict(inputs) == model.predict(backend, inputs));
  }
  CHECK_THROWS_AS(predict({vb::matrix<double>(2, 5)}), vb::error);
  CHECK(predict({normal_matrix(2, 4, 9)})[0].rows() == 2);  // and goes on
  // It keeps the model as it was, wherever it is moved.
  const vb::data::feature_set inputs{normal_matrix(2, 4, 9)};
  auto other = gate_model();
  const auto before = other.predict(backend, inputs);
  auto made = other.predictor(backend);
  auto of_before = std::move(made);
  other.append("later", vb::head::regression{}, vb::task_origin::added, 1);
  CHECK(of_before(inputs) == before);
  auto of_no_more = gate_model().predictor(backend);
  CHECK(of_no_more(inputs) == gate_model().predict(backend, inputs));
  const auto fresh = vb::multitask<double>(trunk, vb::tasks{vb::regression("a")});
  CHECK_THROWS_WITH_AS((void)fresh.predictor(backend), "model: it has not been trained", vb::error);
}

TEST_CASE("coordinates: latent points, the common frame, the head's last hidden layer") {
  const auto model = gate_model();
  const vb::data::feature_set inputs{normal_matrix(3, 4, 6)};
  const auto latent = model.coordinates(reference{}, inputs, vb::points_of::latent);
  const auto flat = model.coordinates(reference{}, inputs, vb::points_of::flat);
  const auto head = model.coordinates(reference{}, inputs, vb::points_of::head);
  REQUIRE(latent.size() == 3);
  const auto layer = [&](const std::string& name, const vb::matrix<double>& x, bool rectify) {
    const auto w = model.theta().view(model.theta().find(name + "/weight"));
    const auto b = model.theta().view(model.theta().find(name + "/bias"));
    vb::matrix<double> y(x.rows(), w.cols);
    for (index_t r = 0; r < x.rows(); ++r) {
      for (index_t c = 0; c < w.cols; ++c) {
        y(r, c) = b(0, c);
        for (index_t i = 0; i < w.rows; ++i) {
          y(r, c) += x(r, i) * w(i, c);
        }
        y(r, c) = rectify ? std::max(0.0, y(r, c)) : y(r, c);
      }
    }
    return y;
  };
  const auto b = layer("trunk/layer1", layer("trunk/layer0", inputs.values, true), true);
  for (std::size_t t = 0; t < 3; ++t) {
    const std::string name = "task/" + model.task_list()[static_cast<index_t>(t)].name;
    const auto z = layer(name + "/encoder/layer1", layer(name + "/encoder/layer0", b, true), false);
    check_close(latent[t], z);
    check_close(flat[t], layer(name + "/transfer/layer0", z, false));
    check_close(head[t], layer(name + "/head/layer0", z, true));
  }

  auto hard = vb::multitask<double>(trunk, vb::tasks{vb::regression("a"), vb::binary("c")});
  hard.build({4}, 1);
  const auto shared = hard.coordinates(reference{}, inputs, vb::points_of::latent);
  check_close(shared[0], b);
  CHECK(shared[0] == shared[1]);
  CHECK_THROWS_WITH_AS(hard.coordinates(reference{}, inputs, vb::points_of::flat),
                       "model: it has no common frame, which GATE would give it", vb::error);
}

TEST_CASE("inputs of another shape, and a model without training, are refused") {
  const auto model = gate_model();
  const vb::data::feature_set wide{normal_matrix(3, 5, 6)};
  CHECK_THROWS_WITH_AS(model.predict(reference{}, wide),
                       "inputs: the model was trained on 4 features, the inputs have 5 features",
                       vb::error);
  auto passing = vb::multitask<double>(vb::encoder::dmpnn{}, vb::tasks{vb::regression("a")});
  passing.build({.node_width = 3, .edge_width = 2, .feature_width = 1}, 1);
  CHECK_THROWS_WITH_AS(passing.predict(reference{}, problems::random_graphs(2, 1, 3, 4)),
                       "inputs: the model was trained on 3 node, 2 edge and 1 graph features, the "
                       "inputs have 3 node, 4 edge and 0 graph features",
                       vb::error);
  CHECK_THROWS_AS(model.coordinates(reference{}, wide, vb::points_of::flat), vb::error);
  vb::data::feature_set gap{normal_matrix(3, 4, 6)};
  gap.values(2, 1) = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_WITH_AS(
      model.predict(reference{}, gap),
      "features, row 2, column 1 (counted from 0): expected a finite number, found nan", vb::error);
  auto predict = model.predictor(reference{});
  CHECK_THROWS_AS(predict(gap), vb::error);
  const auto fresh = vb::multitask<double>(trunk, vb::tasks{vb::regression("a")});
  CHECK_FALSE(fresh.built());
  CHECK_THROWS_WITH_AS(fresh.predict(reference{}, wide), "model: it has not been trained",
                       vb::error);
}

TEST_CASE("a model whose modules could not be built does not count as built") {
  auto model = vb::multitask<double>(trunk, vb::tasks{vb::regression("a")}, vb::alignment::none{},
                                     {.head = {4, 0}});
  for (int i = 0; i < 2; ++i) {
    CHECK_THROWS_WITH_AS(model.build({4}, 1),
                         "task/a/head: the width of layer 1 must be at least 1, but is 0",
                         vb::error);
    CHECK_FALSE(model.built());
  }
  model.modules.head = {4};
  model.build({4}, 1);
  CHECK(model.built());
}

TEST_CASE("an appended task leaves all others as they are") {
  const vb::data::feature_set inputs{normal_matrix(9, 4, 8)};
  using enum vb::task_origin;
  for (const vb::task_origin origin : {source, added, added_with_trunk}) {
    const bool own_trunk = origin == added_with_trunk;
    CAPTURE(static_cast<int>(origin));
    const auto before = gate_model();
    auto model = before;
    CHECK(model.append("d", vb::head::regression{}, origin, 1) == 3);
    CHECK(model.task_list().size() == 4);
    for (const vb::segment& s : before.theta().segments()) {
      CHECK(values_of(model, s.name) == values_of(before, s.name));
    }
    CHECK((model.theta().find("task/d/trunk/layer0/weight") >= 0) == own_trunk);
    CHECK(model.module(3).trunk == (own_trunk ? 1 : 0));
    CHECK(model.module(3).origin == origin);
    CHECK(model.module(0).origin == source);
    CHECK(model.label_deviation(3) == 1);
    const auto old = before.predict(reference{}, inputs);
    const auto now = model.predict(reference{}, inputs);
    REQUIRE(now.size() == 4);
    for (std::size_t t = 0; t < 3; ++t) {
      CHECK(now[t] == old[t]);
    }
    // The same first values as in a model that had the task from the beginning.
    auto whole = vb::multitask<double>(
        trunk, vb::tasks{vb::regression("a"), vb::regression("d"), vb::binary("c")},
        vb::alignment::gate{}, small);
    whole.build({4}, 1);
    CHECK(values_of(model, "task/d/encoder") == values_of(whole, "task/d/encoder"));
    CHECK(values_of(model, "task/d/output") == values_of(whole, "task/d/output"));

    CHECK_THROWS_WITH_AS(model.append("a", vb::head::binary{}, origin, 1),
                         "tasks: the task 'a' is given twice", vb::error);
    CHECK(model.task_list().size() == 4);
    CHECK(model.theta().segments().size() ==
          before.theta().segments().size() + (own_trunk ? 21 : 15));
  }
  auto fresh = vb::multitask<double>(trunk, vb::tasks{vb::regression("a")});
  CHECK_THROWS_WITH_AS(fresh.append("b", vb::head::binary{}, added, 1),
                       "model: a task can be added only to a trained model", vb::error);
}

TEST_CASE("a model with a trunk of its own for one task reads the right trunk for each") {
  auto model = gate_model();
  model.append("d", vb::head::regression{}, vb::task_origin::added_with_trunk, 1);
  // With the same module and the same trunk, d predicts what a does.
  const auto source = model.theta();
  model.theta().copy(source, "task/a/", "task/d/");
  model.theta().copy(source, "trunk/", "task/d/trunk/");
  const vb::data::feature_set inputs{normal_matrix(300, 4, 2)};
  auto out = model.predict(reference{}, inputs);
  check_close(out[3], out[0]);
  const auto points = model.coordinates(reference{}, inputs, vb::points_of::flat);
  check_close(points[3], points[0]);
  // When the shared trunk changes, d stays.
  model.theta().view(model.theta().find("trunk/layer0/bias"))(0, 0) += 1;
  const auto changed = model.predict(reference{}, inputs);
  CHECK(changed[3] == out[3]);
  CHECK(changed[0] != out[0]);
}

TEST_CASE("perturbed copies of a representation") {
  auto model = gate_model();
  vg::tape<reference> tape{reference{}};
  tape.bind(model.theta().segments(), model.theta().values());
  const vb::data::feature_set::batch_type batch{normal_matrix(400, 4, 9)};
  tape.begin(vg::mode::training, {1, 2});
  const auto b = model.represent(tape, model.trunk(), batch, 3, 0.25);
  REQUIRE(b.rows() == 1600);
  const auto v = b.value();
  double squares = 0;
  for (index_t r = 0; r < 400; ++r) {
    for (index_t c = 0; c < v.cols; ++c) {
      squares += v(r, c) * v(r, c) / (400.0 * static_cast<double>(v.cols));
    }
  }
  for (index_t k = 1; k <= 3; ++k) {
    double mean = 0;
    double noise = 0;
    const auto n = static_cast<double>(400 * v.cols);
    for (index_t r = 0; r < 400; ++r) {
      for (index_t c = 0; c < v.cols; ++c) {
        const double d = v(k * 400 + r, c) - v(r, c);
        mean += d / n;
        noise += d * d / n;
      }
    }
    // 2000 normal numbers: the deviation is known to 1.6 %, the mean to 2.2 % of it.
    const double sigma = 0.25 * std::sqrt(squares);
    CHECK(std::abs(std::sqrt(noise) / sigma - 1) < 0.06);
    CHECK(std::abs(mean) < 0.09 * sigma);
  }
  CHECK(v(400, 0) - v(0, 0) != v(800, 0) - v(0, 0));
  tape.begin(vg::mode::training, {1, 2});
  CHECK(model.represent(tape, model.trunk(), batch, 0, 0.25).rows() == 400);
}
