// The heads: their losses by hand, with missing labels, and what they show to the user.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "../support/problems.hpp"
#include "vierbein/vierbein.hpp"

namespace vb = vierbein;
namespace vg = vierbein::graph;
using problems::missing;
using vb::index_t;

namespace {

using reference = vb::backend::reference_double;

vb::matrix<double> from(index_t rows, index_t cols, const std::vector<double>& values) {
  vb::matrix<double> m(rows, cols);
  std::ranges::copy(values, m.data());
  return m;
}

/// The loss of a head, and its gradient with respect to the predictions.
template <class Head>
std::pair<double, std::vector<double>> loss(const Head& head, const vb::matrix<double>& prediction,
                                            const vb::matrix<double>& label) {
  vb::parameters<double> theta;
  const auto id = theta.add("p", prediction.rows(), prediction.cols(), vb::initialiser::zeros);
  std::copy_n(prediction.data(), prediction.size(), theta.view(id).data);
  vg::tape<reference> tape{reference{}};
  tape.bind(theta.segments(), theta.values());
  tape.begin(vg::mode::training);
  const auto l = head.loss(tape.parameter(id), tape.upload(label.view()));
  CHECK(l.rows() == 1);
  CHECK(l.cols() == 1);
  std::vector<double> gradient(static_cast<std::size_t>(theta.size()));
  tape.backward(l, {gradient.data(), theta.size()});
  gradient.resize(static_cast<std::size_t>(prediction.size()));
  return {tape.read(l), gradient};
}

template <class Head>
std::vector<double> shown(const Head& head, std::vector<double> raw) {
  head.transform(raw);
  return raw;
}

doctest::Approx near(double v) {
  return doctest::Approx(v).epsilon(1e-13);
}

/// Counts: y ~ Poisson(e^p), the loss e^p - y p up to a constant of y.
struct poisson {
  static constexpr const char* kind = "poisson";
  static constexpr bool standardise = false;
  [[nodiscard]] index_t outputs() const { return 1; }
  [[nodiscard]] index_t label_width() const { return 1; }

  template <vb::Backend B>
  vg::var<B> loss(vg::var<B> prediction, vg::var<B> label) const {
    const auto present = vg::label_mask(label);
    const auto terms = vg::exp(prediction) - vg::fill_missing(label, 0) * prediction;
    return vg::sum(present * terms) / (vg::sum(present) + 1e-30);
  }
  void transform(std::span<double> p) const { p[0] = std::exp(p[0]); }
  [[nodiscard]] bool valid(double label) const { return label >= 0 && label == std::floor(label); }
  [[nodiscard]] const char* accepts() const { return "a whole number, not negative"; }
  template <class Visitor>
  void options(Visitor&&) {}
};

/// The three quartiles at once: pinball losses, from operations of the graph alone.
struct quartiles {
  static constexpr const char* kind = "quartiles";
  static constexpr bool standardise = true;
  static constexpr std::array<double, 3> levels{0.25, 0.5, 0.75};
  [[nodiscard]] index_t outputs() const { return 3; }
  [[nodiscard]] index_t label_width() const { return 1; }

  template <vb::Backend B>
  vg::var<B> loss(vg::var<B> prediction, vg::var<B> label) const {
    // max(q d, (q - 1) d) = |d| / 2 + (q - 1/2) d, d = y - p. Masked losses leave out missing
    // labels.
    using vb::backend::loss_kind;
    vg::var<B> total{};
    for (std::size_t k = 0; k < levels.size(); ++k) {
      const auto p = vg::slice_cols(prediction, static_cast<index_t>(k), 1);
      // mean (y - p) over the present = (mean (p - y - 1)² - mean (p - y)² - 1) / 2
      const auto shifted = vg::masked_loss(loss_kind::squared, p + -1.0, label);
      const auto plain = vg::masked_loss(loss_kind::squared, p, label);
      const auto d = 0.5 * (shifted - plain + -1.0);
      const auto one = 0.5 * vg::masked_loss(loss_kind::absolute, p, label) + (levels[k] - 0.5) * d;
      total = total ? total + one : one;
    }
    return total;
  }
  void transform(std::span<double>) const {}
  [[nodiscard]] bool valid(double label) const { return std::isfinite(label); }
  [[nodiscard]] const char* accepts() const { return "a finite number"; }
  template <class Visitor>
  void options(Visitor&&) {}
};

static_assert(vb::TaskHead<poisson> && vb::TaskHead<quartiles>);

}  // namespace

TEST_CASE("the losses of regression, with a missing label") {
  const auto p = from(4, 1, {1, -2, 7, 0.5});
  const auto y = from(4, 1, {0.5, 1, missing, 0.25});
  {
    const auto [value, gradient] = loss(vb::head::regression{}, p, y);
    CHECK(value == near((0.25 + 9 + 0.0625) / 3));
    CHECK(gradient[0] == near(2 * 0.5 / 3));
    CHECK(gradient[1] == near(2 * -3.0 / 3));
    CHECK(gradient[2] == 0);
    CHECK(gradient[3] == near(2 * 0.25 / 3));
  }
  {
    const vb::head::regression head{.deviation = vb::head::deviation::absolute};
    const auto [value, gradient] = loss(head, p, y);
    CHECK(value == near((0.5 + 3 + 0.25) / 3));
    CHECK(gradient == std::vector<double>{1.0 / 3, -1.0 / 3, 0, 1.0 / 3});
  }
  {
    const vb::head::regression head{.deviation = vb::head::deviation::huber, .huber_delta = 0.4};
    const auto [value, gradient] = loss(head, p, y);
    CHECK(value == near((0.4 * (0.5 - 0.2) + 0.4 * (3 - 0.2) + 0.25 * 0.25 / 2) / 3));
    CHECK(gradient[0] == near(0.4 / 3));
    CHECK(gradient[1] == near(-0.4 / 3));
    CHECK(gradient[3] == near(0.25 / 3));
  }
}

TEST_CASE("the loss of binary labels") {
  const auto p = from(4, 1, {0.7, -1.5, 40, -900});
  const auto y = from(4, 1, {1, 1, missing, 0});
  const auto [value, gradient] = loss(vb::head::binary{}, p, y);
  const auto probability = [](double z) { return 1 / (1 + std::exp(-z)); };
  CHECK(value == near(-(std::log(probability(0.7)) + std::log(probability(-1.5))) / 3));
  CHECK(gradient[0] == near((probability(0.7) - 1) / 3));
  CHECK(gradient[2] == 0);
  CHECK(gradient[3] == 0);
  // A logit of 800 on the wrong side costs 800, not infinity.
  CHECK(loss(vb::head::binary{}, from(1, 1, {800}), from(1, 1, {0})).first == near(800));
}

TEST_CASE("the losses of the heads that are written here") {
  const auto [value, gradient] =
      loss(poisson{}, from(3, 1, {0.5, -1, 2}), from(3, 1, {3, missing, 0}));
  CHECK(value == near((std::exp(0.5) - 1.5 + std::exp(2.0)) / 2));
  CHECK(gradient[0] == near((std::exp(0.5) - 3) / 2));
  CHECK(gradient[1] == 0);
  // d = y - p is 2, -1 and 0.5; the pinball loss is q d, or (q - 1) d where d is negative.
  const auto pinball =
      loss(quartiles{}, from(2, 3, {-1, 2, 0.5, 9, 9, 9}), from(2, 1, {1, missing})).first;
  CHECK(pinball == near(0.25 * 2 + 0.5 * 1 + 0.75 * 0.5));
}

TEST_CASE("the loss of several classes") {
  const auto p = from(3, 3, {1, 2, 3, 0, 0, 0, -500, 900, 2});
  const auto y = from(3, 1, {2, missing, 1});
  const auto [value, gradient] = loss(vb::head::multiclass{3}, p, y);
  const double total = std::exp(1.0) + std::exp(2.0) + std::exp(3.0);
  CHECK(value == near((std::log(total) - 3 + 0) / 2));
  CHECK(gradient[0] == near(std::exp(1.0) / total / 2));
  CHECK(gradient[2] == near((std::exp(3.0) / total - 1) / 2));
  CHECK(gradient[3] == 0);
  CHECK(gradient[4] == 0);
}

TEST_CASE("the loss of several labels, each of which may be missing") {
  const auto p = from(2, 2, {0.5, 1, -1, 3});
  const auto y = from(2, 2, {1, missing, 0, 1});
  const auto [value, gradient] = loss(vb::head::multilabel{2}, p, y);
  CHECK(value == near((std::log1p(std::exp(-0.5)) + std::log1p(std::exp(-1.0)) +
                       std::log1p(std::exp(-3.0))) /
                      3));
  CHECK(gradient[1] == 0);
  CHECK(gradient[3] == near((1 / (1 + std::exp(-3.0)) - 1) / 3));
}

TEST_CASE("without any label the loss and its gradient are 0") {
  const auto check = [](const auto& head, index_t outputs, index_t width) {
    const auto [value, gradient] =
        loss(head, problems::normal_matrix(3, outputs, 1), vb::matrix<double>(3, width, missing));
    CHECK(value == 0);
    CHECK(gradient == std::vector<double>(static_cast<std::size_t>(3 * outputs), 0.0));
  };
  check(vb::head::regression{}, 1, 1);
  check(vb::head::regression{.deviation = vb::head::deviation::huber}, 1, 1);
  check(vb::head::binary{}, 1, 1);
  check(vb::head::multiclass{4}, 4, 1);
  check(vb::head::multilabel{2}, 2, 2);
  check(poisson{}, 1, 1);
}

TEST_CASE("probabilities") {
  CHECK(shown(vb::head::regression{}, {-3.5}) == std::vector<double>{-3.5});
  CHECK(shown(vb::head::binary{}, {0}) == std::vector<double>{0.5});
  CHECK(shown(vb::head::binary{}, {std::log(3.0)})[0] == near(0.75));
  CHECK(shown(vb::head::binary{}, {-800})[0] == 0);
  CHECK(shown(vb::head::multilabel{2}, {std::log(3.0), -std::log(3.0)})[1] == near(0.25));
  const auto p = shown(vb::head::multiclass{3}, {1000, 1000 + std::log(2.0), 1000});
  CHECK(p[0] == near(0.25));
  CHECK(p[1] == near(0.5));
  CHECK(p[0] + p[1] + p[2] == near(1));
}

TEST_CASE("what each head accepts as a label") {
  const double infinity = std::numeric_limits<double>::infinity();
  CHECK(vb::head::regression{}.valid(-1e30));
  CHECK_FALSE(vb::head::regression{}.valid(infinity));
  CHECK(vb::head::binary{}.valid(0));
  CHECK(vb::head::binary{}.valid(1));
  CHECK_FALSE(vb::head::binary{}.valid(0.5));
  CHECK_FALSE(vb::head::binary{}.valid(-1));
  CHECK(vb::head::multiclass{3}.valid(2));
  CHECK_FALSE(vb::head::multiclass{3}.valid(3));
  CHECK_FALSE(vb::head::multiclass{3}.valid(1.5));
  CHECK_FALSE(vb::head::multiclass{3}.valid(-1));
  CHECK(vb::head::multilabel{2}.valid(1));
  CHECK_FALSE(vb::head::multilabel{2}.valid(2));
}

TEST_CASE("tasks refuse a head with an unusable option") {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const auto huber = [](double delta) {
    return vb::head::regression{.deviation = vb::head::deviation::huber, .huber_delta = delta};
  };
  struct row {
    vb::tasks<>::head_type head;
    std::string expected;
  };
  for (const auto& [head, expected] :
       {row{huber(0), "head::regression: huber_delta must be finite and positive, but is 0"},
        row{huber(-1), "head::regression: huber_delta must be finite and positive, but is -1"},
        row{huber(missing),
            "head::regression: huber_delta must be finite and positive, but is "
            "nan"},
        row{huber(infinity),
            "head::regression: huber_delta must be finite and positive, but is "
            "inf"},
        row{vb::head::multiclass{1}, "head::multiclass: classes must be at least 2, but is 1"},
        row{vb::head::multiclass{-3}, "head::multiclass: classes must be at least 2, but is -3"},
        row{vb::head::multilabel{0}, "head::multilabel: labels must be at least 1, but is 0"}}) {
    vb::tasks list{vb::regression("a")};
    CHECK_THROWS_WITH_AS(list.add("b", head), ("task 'b': " + expected).c_str(), vb::error);
    CHECK(list.size() == 1);
  }
  CHECK_THROWS_WITH_AS((vb::tasks{vb::binary("a"), vb::multiclass("which", 0)}),
                       "task 'which': head::multiclass: classes must be at least 2, but is 0",
                       vb::error);
  CHECK((vb::tasks{vb::regression("a", huber(1e-3)), vb::multiclass("b", 2), vb::multilabel("c", 1),
                   vb::task<poisson>{"d"}})
            .size() == 4);
}

TEST_CASE("mixed kinds of heads in one model, the user's own among them") {
  constexpr index_t rows = 240;
  auto data = problems::related_tasks(rows, 3, {"number", "spread"}, 4);
  const auto& x = data.inputs.values;
  std::vector<double> yes(rows);
  std::vector<double> which(rows);
  std::vector<double> count(rows);
  vb::matrix<double> several(rows, 2);
  const auto noise = problems::normal_matrix(rows, 1, 71);
  for (index_t r = 0; r < rows; ++r) {  // quartiles are for labels with noise
    data.at("spread").values(r, 0) += 10 * noise(r, 0);
  }
  for (index_t r = 0; r < rows; ++r) {
    const auto k = static_cast<std::size_t>(r);
    yes[k] = x(r, 0) > 0 ? 1 : 0;
    which[k] = x(r, 0) > 0.4 ? 2 : (x(r, 1) > 0 ? 1 : 0);
    count[k] = std::round(std::exp(1 + x(r, 2)));
    several(r, 0) = r % 5 == 0 ? missing : (x(r, 1) > 0 ? 1 : 0);
    several(r, 1) = x(r, 2) > 0 ? 1 : 0;
    if (r % 7 == 0) {
      yes[k] = which[k] = count[k] = missing;
    }
  }
  data.add("yes", yes);
  data.add("which", which);
  data.add("several", several);
  data.add("count", count);

  auto model = vb::multitask<double>(
      vb::encoder::mlp{.widths = {24}},
      vb::tasks{vb::regression("number"), vb::binary("yes"), vb::multiclass("which", 3),
                vb::multilabel("several", 2), vb::task<poisson>{"count"},
                vb::task<quartiles>{"spread"}},
      vb::alignment::gate{},
      vb::module_options{.encoder = {8}, .transfer = {8}, .inverse = {8}, .head = {8}});
  const reference backend;
  const auto history = vb::fit(
      backend, model, data, {.epochs = 40, .batch = 40, .validation_fraction = 0, .balanced = true},
      vb::optimizer::adam{.learning_rate = 1e-2}, vb::weighting::equal{});
  CHECK(history.epochs.back().train_loss < 0.5 * history.epochs.front().train_loss);

  const auto out = model.predict(backend, data.inputs);
  REQUIRE(out.size() == 6);
  const std::vector<index_t> widths{1, 1, 3, 2, 1, 3};
  for (std::size_t t = 0; t < out.size(); ++t) {
    CHECK(out[t].rows() == rows);
    CHECK(out[t].cols() == widths[t]);
  }
  // On the training rows these tasks are easy: at least nine of ten right.
  index_t right_yes = 0;
  index_t right_which = 0;
  std::array<double, 3> below{};
  double count_error = 0;
  double count_spread = 0;
  for (index_t r = 0; r < rows; ++r) {
    right_yes += (out[1](r, 0) > 0.5) == (x(r, 0) > 0) ? 1 : 0;
    const auto p = out[2].row(r);
    CHECK(p[0] + p[1] + p[2] == near(1));
    const auto best = std::ranges::max_element(p) - p.begin();
    right_which += best == (x(r, 0) > 0.4 ? 2 : (x(r, 1) > 0 ? 1 : 0)) ? 1 : 0;
    const double truth = std::exp(1 + x(r, 2));
    count_error += std::pow(out[4](r, 0) - truth, 2);
    count_spread += std::pow(std::exp(1.0) - truth, 2);
    for (std::size_t k = 0; k < 3; ++k) {
      below[k] += data.at("spread").values(r, 0) < out[5](r, static_cast<index_t>(k)) ? 1 : 0;
    }
  }
  CHECK(right_yes > 216);
  CHECK(right_which > 216);
  CHECK(count_error < 0.2 * count_spread);
  // Of 240 noisy labels about 60 lie below the first quartile, 120 below the median, 180 below the
  // third; three standard deviations are 20, 23 and 20.
  for (std::size_t k = 0; k < 3; ++k) {
    CAPTURE(below[k]);
    CHECK(std::abs(below[k] - 60 * static_cast<double>(k + 1)) < 30);
  }
}

TEST_CASE("labels that a head does not accept are refused with their row") {
  auto data = problems::related_tasks(20, 2, {"a"}, 1);
  const auto fit = [&](auto task_list, const vb::data::dataset<vb::data::feature_set>& with) {
    auto model = vb::multitask<double>(vb::encoder::mlp{.widths = {4}}, task_list);
    vb::fit(reference{}, model, with, {.epochs = 1}, vb::optimizer::adam{}, vb::weighting::equal{});
  };
  std::vector<double> labels(20, 0.0);
  labels[0] = 1;
  labels[3] = missing;
  labels[7] = 0.5;
  auto wrong = data;
  wrong.add("b", labels);
  CHECK_THROWS_WITH_AS(fit(vb::tasks{vb::binary("b")}, wrong),
                       "labels: task 'b', row 7 (counted from 0): expected 0 or 1, found 0.5",
                       vb::error);
  CHECK_THROWS_WITH_AS(
      fit(vb::tasks{vb::multiclass("b", 2)}, wrong),
      "labels: task 'b', row 7 (counted from 0): expected a class number from 0 to below the "
      "number of classes, found 0.5",
      vb::error);
  CHECK_THROWS_WITH_AS(
      fit(vb::tasks{vb::task<poisson>{"b"}}, wrong),
      "labels: task 'b', row 7 (counted from 0): expected a whole number, not negative, found 0.5",
      vb::error);
  CHECK_THROWS_WITH_AS(fit(vb::tasks{vb::multilabel("b", 3)}, wrong),
                       "labels: task 'b' expects 3 columns, found 1", vb::error);
}
