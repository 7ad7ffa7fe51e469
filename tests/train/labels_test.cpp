// Labels on their way into a training run: what the model's scalar can hold.
#include "vierbein/train/labels.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "../support/message_of.hpp"
#include "../support/problems.hpp"
#include "vierbein/vierbein.hpp"

namespace vb = vierbein;
using vb::index_t;

namespace {

using dataset = vb::data::dataset<vb::data::feature_set>;

/// Two tasks of labels near 1; those of the second times `factor`, plus `offset`.
dataset labels_of(double factor, double offset = 0) {
  auto data = problems::related_tasks(40, 3, {"a", "b"}, 2);
  auto& values = data.at("b").values;
  for (index_t r = 0; r < values.rows(); ++r) {
    values(r, 0) = offset + factor * (values(r, 0) - 100);
  }
  return data;
}

template <vb::Scalar T>
auto trained(const dataset& data, vb::training options = {.epochs = 1, .validation_fraction = 0}) {
  using backend = std::conditional_t<std::is_same_v<T, float>, vb::backend::reference,
                                     vb::backend::reference_double>;
  auto model = vb::multitask<T>(vb::encoder::mlp{.widths = {6}},
                                vb::tasks<>{vb::regression("a"), vb::regression("b")},
                                vb::alignment::none{}, {.head = {}});
  vb::fit(backend{}, model, data, options, vb::optimizer::adam{}, vb::weighting::equal{});
  return model;
}

}  // namespace

TEST_CASE("labels outside the range of the model's scalar are refused by name") {
  const auto of_float = [](double factor, double offset = 0) {
    return test::message_of([&] { trained<float>(labels_of(factor, offset)); });
  };
  const std::string begin =
      "labels: task 'b': expected a mean and a deviation within the range of float, found ";
  const std::string end = ": rescale the labels, or make the model with multitask<double>";
  for (const double factor : {1e39, 1e200, 1e-40, 1e-50, 1e-200}) {
    const std::string message = of_float(factor);
    CAPTURE(factor);
    CAPTURE(message);
    CHECK(message.starts_with(begin));
    CHECK(message.ends_with(end));
  }
  auto two = labels_of(1);
  for (index_t r = 0; r < 40; ++r) {
    two.at("b").values(r, 0) = r % 2 == 0 ? 2e39 : 4e39;
  }
  CHECK(test::message_of([&] { trained<float>(two); }) == begin + "3e+39 and 1e+39" + end);
  CHECK(of_float(1, 1e39).starts_with(begin));  // all the same number, so of deviation 1
  for (const double factor : {1e30, 1.0, 1e-30}) {
    CHECK(of_float(factor) == "");
  }
}

TEST_CASE("labels of any size that double holds are standardised in double") {
  const auto usual = trained<double>(labels_of(1));
  for (const int exponent : {-1000, -600, 600, 1010}) {  // where squares leave the range
    CAPTURE(exponent);
    const auto model = trained<double>(labels_of(std::ldexp(1.0, exponent)));
    CHECK(model.label_mean(1) == std::ldexp(usual.label_mean(1), exponent));
    CHECK(model.label_deviation(1) == std::ldexp(usual.label_deviation(1), exponent));
  }
  const auto message = test::message_of([] { trained<double>(labels_of(1e-310)); });
  CAPTURE(message);
  CHECK(
      message.starts_with("labels: task 'b': expected a mean and a deviation within the range of "
                          "double, found "));
  CHECK(message.ends_with(": rescale the labels"));
}

TEST_CASE("one label outside the range of the model's scalar is refused by its row") {
  auto data = labels_of(1);
  data.at("b").values(7, 0) = -1e60;
  CHECK(test::message_of([&] { trained<float>(data, {.epochs = 1, .validation_rows = {6, 7}}); }) ==
        "labels: task 'b', row 7 (counted from 0): expected a label within the range of float, "
        "found -1e+60: "
        "rescale the labels, or make the model with multitask<double>");
  CHECK(test::message_of(
            [&] { trained<double>(data, {.epochs = 1, .validation_rows = {6, 7}}); }) == "");
}
