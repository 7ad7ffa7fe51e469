// Convolutions, pooling and the normalisation of channels: gradients against central differences in
// double, several cotangents at once, what costs no backward work, refusals.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "../support/problems.hpp"
#include "vierbein/backend/cpu.hpp"
#include "vierbein/backend/reference.hpp"
#include "vierbein/graph/operations.hpp"
#include "vierbein/testing/gradient_check.hpp"

#define DOUBLE_BACKENDS vierbein::backend::reference_double, vierbein::backend::cpu_double
TYPE_TO_STRING(vierbein::backend::reference_double);
TYPE_TO_STRING(vierbein::backend::cpu_double);

namespace vb = vierbein;
namespace vg = vierbein::graph;
using problems::normal_matrix;
using vb::activation;
using vb::image_shape;
using vb::image_window;
using vb::index_t;

namespace {

struct image_case {
  image_shape image;
  image_window window;
  index_t out;
};

// One pixel of a window, overlap, steps of 2, padding, neither image nor window square; shapes that
// the CPU backend lays out as patches and as planes.
constexpr image_case cases[] = {{{3, 3, 4}, {1, 1, 1, 0}, 2},   {{1, 5, 6}, {3, 3, 1, 0}, 3},
                                {{2, 6, 5}, {3, 2, 2, 1}, 2},   {{9, 4, 3}, {3, 3, 1, 1}, 17},
                                {{17, 3, 4}, {2, 2, 2, 0}, 16}, {{2, 2, 3}, {2, 3, 1, 0}, 1}};

/// A scalar that depends on every element of y, and not linearly.
template <vb::Backend B>
vg::var<B> project(vg::var<B> y, unsigned which = 0) {
  const auto r = y.owner->upload(
      vb::matrix_view<const double>(normal_matrix(y.rows(), y.cols(), 100 + which).view()));
  return vg::sum(r * (y + 0.5 * vg::square(y)));
}

vb::segment_id add(vb::parameters<double>& theta, const std::string& name, index_t rows,
                   index_t cols, unsigned which) {
  const auto id = theta.add(name, rows, cols, vb::initialiser::zeros);
  const auto values = normal_matrix(rows, cols, which);
  std::copy_n(values.data(), values.size(), theta.view(id).data);
  return id;
}

template <vb::Backend B, class F>
void check(vb::parameters<double>& theta, F&& loss) {
  const auto report = vb::testing::check_gradient(theta, loss, B{});
  CAPTURE(report.where);
  CAPTURE(report.numeric);
  CAPTURE(report.swept);
  CHECK(report.worst < 1e-6);
}

}  // namespace

TEST_CASE_TEMPLATE("gradient of a convolution", B, DOUBLE_BACKENDS) {
  for (const image_case& c : cases) {
    for (const activation act : {activation::identity, activation::relu, activation::gelu,
                                 activation::silu, activation::tanh}) {
      for (const bool with_bias : {true, false}) {
        CAPTURE(c.out);
        CAPTURE(static_cast<int>(act));
        CAPTURE(with_bias);
        vb::parameters<double> theta;
        const auto x = add(theta, "x", 2, c.image.size(), 1);
        const auto w = add(theta, "w", c.window.size() * c.image.channels, c.out, 2);
        const auto b = add(theta, "b", 1, c.out, 3);
        // The input is a parameter, a value, and a value that also goes elsewhere.
        for (const int use : {0, 1, 2}) {
          CAPTURE(use);
          check<B>(theta, [&](auto& t) {
            auto in = t.parameter(x);
            in = use == 0 ? in : 1.25 * in;
            const auto y = vg::convolve(in, c.image, c.window, t.parameter(w),
                                        with_bias ? t.parameter(b) : vg::var<B>{}, act);
            const auto loss = project(y);
            return use < 2 ? loss : loss + project(in, 1);
          });
        }
      }
    }
  }
}

TEST_CASE_TEMPLATE("gradient of the same filters used twice", B, DOUBLE_BACKENDS) {
  vb::parameters<double> theta;
  const image_shape image{2, 4, 4};
  const auto x = add(theta, "x", 2, image.size(), 1);
  const auto w = add(theta, "w", 18, 2, 2);
  const auto b = add(theta, "b", 1, 2, 3);
  check<B>(theta, [&](auto& t) {
    auto h = t.parameter(x);
    for (int i = 0; i < 2; ++i) {
      h = vg::convolve(h, image, {3, 3, 1, 1}, t.parameter(w), t.parameter(b), activation::tanh);
    }
    return project(h);
  });
}

TEST_CASE_TEMPLATE("gradient of pooling", B, DOUBLE_BACKENDS) {
  for (const image_case& c : cases) {
    vb::parameters<double> theta;
    const auto x = add(theta, "x", 2, c.image.size(), 1);
    for (const int kind : {0, 1, 2}) {
      for (const int use : {0, 1, 2}) {
        CAPTURE(kind);
        CAPTURE(use);
        check<B>(theta, [&](auto& t) {
          auto in = t.parameter(x);
          in = use == 0 ? in : 1.25 * in;
          const auto y = kind == 0   ? vg::max_pool(in, c.image, c.window)
                         : kind == 1 ? vg::average_pool(in, c.image, c.window)
                                     : vg::global_average_pool(in, c.image);
          const auto loss = project(y);
          return use < 2 ? loss : loss + project(in, 1);
        });
      }
    }
  }
}

TEST_CASE_TEMPLATE("gradient of a convolution that is pooled", B, DOUBLE_BACKENDS) {
  struct pooled_case {
    image_case c;
    image_window pool;
  };
  // Pools side by side, with lines between them, over the edge of what is left, and overlapping.
  for (const pooled_case& one : {pooled_case{{{1, 7, 6}, {3, 3, 1, 0}, 3}, {2, 2, 2, 0}},
                                 pooled_case{{{2, 6, 7}, {3, 2, 1, 1}, 8}, {2, 3, 3, 0}},
                                 pooled_case{{{3, 5, 5}, {2, 2, 1, 0}, 17}, {2, 2, 1, 0}},
                                 pooled_case{{{8, 5, 4}, {1, 1, 1, 0}, 16}, {3, 2, 2, 1}}}) {
    const image_case& c = one.c;
    for (const activation act :
         {activation::identity, activation::relu, activation::gelu, activation::tanh}) {
      CAPTURE(c.out);
      CAPTURE(static_cast<int>(act));
      vb::parameters<double> theta;
      const auto x = add(theta, "x", 2, c.image.size(), 1);
      const auto w = add(theta, "w", c.window.size() * c.image.channels, c.out, 2);
      const auto b = add(theta, "b", 1, c.out, 3);
      check<B>(theta, [&](auto& t) {
        const auto in = 1.25 * t.parameter(x);
        return project(vg::convolve_and_pool(in, c.image, c.window, t.parameter(w), t.parameter(b),
                                             one.pool, act)) +
               project(in, 1);
      });
    }
  }
}

TEST_CASE_TEMPLATE("gradient of the normalisation of channels", B, DOUBLE_BACKENDS) {
  const image_shape image{5, 2, 3};
  vb::parameters<double> theta;
  const auto x = add(theta, "x", 3, image.size(), 1);
  const auto gain = add(theta, "gain", 1, 5, 2);
  const auto bias = add(theta, "bias", 1, 5, 3);
  for (const int use : {0, 1, 2}) {
    CAPTURE(use);
    check<B>(theta, [&](auto& t) {
      auto in = t.parameter(x);
      in = use == 0 ? in : 1.25 * in;
      const auto loss = project(vg::channel_norm(in, image, t.parameter(gain), t.parameter(bias)));
      return use < 2 ? loss : loss + project(in, 1);
    });
  }
}

TEST_CASE_TEMPLATE("channels of a pixel get mean 0 and variance 1", B, DOUBLE_BACKENDS) {
  const image_shape image{4, 2, 2};
  vb::parameters<double> theta;
  const auto norm = vg::channel_normalisation::make(theta, "norm", image);
  theta.initialise(1);
  vg::tape<B> tape{B{}};
  tape.bind(theta.segments(), theta.values());
  tape.begin(vg::mode::training);
  const auto x = normal_matrix(3, image.size(), 5);
  const auto y = norm(tape, tape.upload(x.view())).value();
  for (index_t i = 0; i < 3; ++i) {
    for (index_t p = 0; p < 4; ++p) {
      double mean = 0;
      double squares = 0;
      for (index_t c = 0; c < 4; ++c) {
        mean += y(i, p * 4 + c) / 4;
        squares += y(i, p * 4 + c) * y(i, p * 4 + c) / 4;
      }
      CHECK(std::abs(mean) < 1e-12);
      CHECK(squares == doctest::Approx(1).epsilon(1e-3));  // epsilon in the root
    }
  }
}

TEST_CASE_TEMPLATE("several cotangents at once are those one after the other", B, DOUBLE_BACKENDS) {
  const image_shape image{3, 6, 7};
  vb::parameters<double> theta;
  const auto x = add(theta, "x", 4, image.size(), 1);
  const auto first =
      vg::convolution::make(theta, "first", image, 17, {3, 3, 1, 1}, activation::gelu);
  const auto second =
      vg::convolution::make(theta, "second", first.out, 2, {3, 2, 2, 0}, activation::relu);
  theta.initialise(first.weight, 1);
  theta.initialise(second.weight, 2);
  vg::tape<B> tape{B{}};
  tape.bind(theta.segments(), theta.values());
  const auto losses = [&] {
    tape.begin(vg::mode::training);
    const auto h = first(tape, 1.5 * tape.parameter(x), activation::gelu);
    const auto y = vg::max_pool(second(tape, h, activation::relu), second.out, {2, 2, 1, 0});
    // The third loss sees h alone: its cotangent does not reach the second convolution.
    return std::vector{project(y, 1), project(y, 2),
                       project(vg::average_pool(h, first.out, {2, 2, 2, 0}), 3)};
  };
  vb::matrix<double> together(3, theta.size());
  vb::matrix<double> alone(3, theta.size());
  {
    const auto l = losses();
    const vg::seed<B> seeds[] = {{l[0], 1, 0}, {l[1], -2, 1}, {l[2], 0.5, 2}};
    tape.backward(seeds, together.view());
  }
  for (index_t row = 0; row < 3; ++row) {
    const auto l = losses();
    const double weights[] = {1, -2, 0.5};
    const vg::seed<B> seed{l[static_cast<std::size_t>(row)], weights[row], 0};
    tape.backward({&seed, 1}, alone.view().row_range(row, 1));
  }
  double worst = 0;
  for (index_t i = 0; i < alone.size(); ++i) {
    worst = std::max(worst, std::abs(together.data()[i] - alone.data()[i]));
  }
  CHECK(worst < 1e-11);
  CHECK(std::abs(alone(2, theta.at(first.weight).offset)) > 1e-6);
  CHECK(alone(2, theta.at(second.weight).offset) == 0);
}

namespace {

// The CPU backend, counting how many destinations the sweep asks of a convolution.
struct counting : vb::backend::cpu_double {
  int* dx;
  int* dw;
  explicit counting(int* x, int* w) : vb::backend::cpu_double(1), dx(x), dw(w) {}
  void convolve_backward(
      const vb::backend::convolution_layer<double, vb::host_space>& layer, activation act,
      std::span<const vb::backend::convolution_slab<double, vb::host_space>> slabs) const {
    for (const auto& slab : slabs) {
      *dx += slab.dx.data != nullptr ? 1 : 0;
      *dw += slab.dw.data != nullptr ? 1 : 0;
    }
    vb::backend::cpu_double::convolve_backward(layer, act, slabs);
  }
};

}  // namespace

TEST_CASE("a first layer computes no gradient of its input, a frozen one none of its filters") {
  const image_shape image{1, 8, 8};
  vb::parameters<double> theta;
  const auto first = vg::convolution::make(theta, "first", image, 2, {3, 3});
  const auto second = vg::convolution::make(theta, "second", first.out, 2, {3, 3});
  theta.initialise(3);
  int dx = 0;
  int dw = 0;
  vg::tape<counting> tape{counting(&dx, &dw)};
  tape.bind(theta.segments(), theta.values());
  vb::aligned_vector<double> gradient(static_cast<std::size_t>(theta.size()));
  const auto x = normal_matrix(3, image.size(), 1);
  const auto sweep = [&] {
    dx = dw = 0;
    tape.begin(vg::mode::training);
    tape.backward(project(second(tape, first(tape, tape.upload(x.view())))),
                  {gradient.data(), theta.size()});
  };
  sweep();
  CHECK(dx == 1);
  CHECK(dw == 2);
  theta.freeze(first.weight, true);
  sweep();
  CHECK(dx == 1);  // the first bias still learns
  CHECK(dw == 1);
  theta.freeze("first");
  sweep();
  CHECK(dx == 0);
  CHECK(dw == 1);
  theta.freeze("second");
  sweep();
  CHECK(dx + dw == 0);
}

TEST_CASE("shapes that do not fit are refused") {
  using B = vb::backend::reference_double;
  vb::parameters<double> theta;
  const auto x = add(theta, "x", 2, 24, 1);
  const auto w = add(theta, "w", 8, 3, 2);
  const auto b = add(theta, "b", 1, 3, 3);
  vg::tape<B> t{B{}};
  t.bind(theta.segments(), theta.values());
  t.begin(vg::mode::training);
  const image_shape image{2, 3, 4};
  const auto refuse = [&](const image_shape& shape, const image_window& window, vb::segment_id f,
                          vb::segment_id bias, const char* said) {
    CHECK_THROWS_WITH_AS(
        vg::convolve(t.parameter(x), shape, window, t.parameter(f), t.parameter(bias)), said,
        vb::error);
  };
  CHECK_NOTHROW(vg::convolve(t.parameter(x), image, {2, 2}, t.parameter(w), t.parameter(b)));
  refuse(image, {4, 2}, w, b,
         "convolve: a window of 4 x 2 does not fit into an image of 3 x 4 with a padding of 0");
  refuse(image, {2, 2, 0}, w, b,
         "convolve: expected a window and a stride of 1 to 4096 pixels, found 2 x 2 and 0");
  refuse(image, {2, 2, 1, 2}, w, b,
         "convolve: expected a padding narrower than the window of 2 x 2, found 2");
  refuse({2, 0, 4}, {2, 2}, w, b,
         "convolve: expected images of at least one pixel and one channel, found 2 channels of 0 x "
         "4 pixels");
  refuse({1, 3, 4}, {2, 2}, w, b,
         "convolve: the input has 24 columns, expected 12 for 1 channel of 3 x 4 pixels");
  refuse(image, {2, 3}, w, b,
         "convolve: the filters have 8 rows, expected 12 for a window of 2 x 3 on 2 channels");
  refuse(image, {2, 2}, w, w, "convolve: the bias is 8 x 3, expected 1 x 3");
  CHECK_THROWS_WITH_AS(
      vg::max_pool(t.parameter(x), {2, 3, 3}, {2, 2}),
      "max_pool: the input has 24 columns, expected 18 for 2 channels of 3 x 3 pixels", vb::error);
  CHECK_THROWS_WITH_AS(
      vg::average_pool(t.parameter(x), image, {5, 2}),
      "average_pool: a window of 5 x 2 does not fit into an image of 3 x 4 with a padding of 0",
      vb::error);
  CHECK_THROWS_WITH_AS(
      vg::convolve_and_pool(t.parameter(x), image, {2, 2}, t.parameter(w), t.parameter(b),
                            {3, 3, 3, 0}),
      "max_pool: a window of 3 x 3 does not fit into an image of 2 x 3 with a padding of 0",
      vb::error);
  CHECK_THROWS_WITH_AS(vg::channel_norm(t.parameter(x), image, t.parameter(b), t.parameter(b)),
                       "channel_norm: the gain is 1 x 3, expected 1 x 2", vb::error);
}
