// Every backend against the oracle: plain loops in double on the same numbers.
#include "catalogue.hpp"

using namespace backend_test;

namespace {

template <class B, class F>
void agree_on_all_shapes(F&& run) {
  const B backend = make_backend<B>();
  for (const shape s : shapes) {
    for (const bool strided : {false, true}) {
      for (const bool accumulate : {false, true}) {
        CAPTURE(s.rows);
        CAPTURE(s.cols);
        CAPTURE(strided);
        CAPTURE(accumulate);
        agree(backend, strided, [&](const auto& b, auto& w) { run(b, w, s, accumulate); });
      }
    }
  }
}

}  // namespace

static_assert(vb::Backend<vb::backend::cpu>);
static_assert(vb::Backend<vb::backend::cpu_double>);
static_assert(vb::Backend<vb::backend::reference>);
static_assert(vb::Backend<vb::backend::reference_double>);

TEST_CASE_TEMPLATE("element-wise operations", B, TESTED_BACKENDS) {
  agree_on_all_shapes<B>([](auto&&... a) { run_elementwise(a...); });
}

TEST_CASE_TEMPLATE("operations that move rows", B, TESTED_BACKENDS) {
  agree_on_all_shapes<B>([](auto&&... a) { run_structure(a...); });
}

TEST_CASE_TEMPLATE("sums, norms and broadcasts", B, TESTED_BACKENDS) {
  agree_on_all_shapes<B>([](auto&&... a) { run_reductions(a...); });
}

TEST_CASE_TEMPLATE("noise", B, TESTED_BACKENDS) {
  agree_on_all_shapes<B>([](auto&&... a) { run_noise(a...); });
}

TEST_CASE_TEMPLATE("normalisations", B, TESTED_BACKENDS) {
  agree_on_all_shapes<B>([](auto&&... a) { run_normalisation(a...); });
}

TEST_CASE_TEMPLATE("losses with missing labels", B, TESTED_BACKENDS) {
  agree_on_all_shapes<B>([](auto&&... a) { run_losses(a...); });
}

TEST_CASE_TEMPLATE("spread of groups", B, TESTED_BACKENDS) {
  agree_on_all_shapes<B>([](auto&&... a) { run_spread(a...); });
}

TEST_CASE_TEMPLATE("steps of the optimisers", B, TESTED_BACKENDS) {
  agree_on_all_shapes<B>([](auto&&... a) { run_optimisers(a...); });
}

TEST_CASE_TEMPLATE("products in groups", B, TESTED_PRODUCTS) {
  for (const index_t depth : {index_t{0}, index_t{1}, index_t{37}}) {
    CAPTURE(depth);
    agree_on_all_shapes<B>([depth](const auto& b, auto& w, shape s, bool accumulate) {
      run_products(b, w, s, depth, accumulate);
    });
  }
}

TEST_CASE_TEMPLATE("products of a depth that is cut into panels", B, TESTED_PRODUCTS) {
  agree(make_backend<B>(), false,
        [](const auto& b, auto& w) { run_products(b, w, {19, 23}, 3000, false); });
}

TEST_CASE_TEMPLATE("an empty group of products or layers", B, TESTED_PRODUCTS) {
  const B backend = make_backend<B>();
  backend.multiply(transposition::nn, {}, true);
  backend.affine({}, activation::relu);
}

TEST_CASE_TEMPLATE("affine layers in groups", B, TESTED_PRODUCTS) {
  for (const index_t depth : {index_t{0}, index_t{1}, index_t{17}}) {
    CAPTURE(depth);
    agree_on_all_shapes<B>([depth](const auto& b, auto& w, shape s, bool accumulate) {
      if (!accumulate) {
        run_affine(b, w, s, depth);
      }
    });
  }
}

TEST_CASE_TEMPLATE("convolutions and pooling", B, TESTED_PRODUCTS) {
  const B backend = make_backend<B>();
  for (std::size_t i = 0; i < std::size(image_cases); ++i) {
    for (const index_t n : {index_t{0}, index_t{1}, index_t{7}}) {
      for (const bool strided : {false, true}) {
        for (const bool accumulate : {false, true}) {
          CAPTURE(i);
          CAPTURE(n);
          CAPTURE(strided);
          CAPTURE(accumulate);
          agree(backend, strided,
                [&](const auto& b, auto& w) { run_images(b, w, image_cases[i], n, accumulate); });
        }
      }
    }
  }
}

TEST_CASE_TEMPLATE("convolutions of images that fill several panels", B, TESTED_BACKENDS) {
  struct several {
    image_case c;
    index_t n;
  };
  for (const several& one :
       {several{{{1, 36, 36}, {5, 5, 1, 0}, 6}, 2},     // whole registers of neither side
        several{{{6, 16, 16}, {5, 5, 1, 0}, 16}, 5},    // several images a panel
        several{{{3, 41, 40}, {3, 3, 2, 1}, 20}, 1},    // an image in two panels, in steps, padded
        several{{{2, 62, 61}, {2, 2, 3, 0}, 5}, 2},     // pixels between two panels that none meets
        several{{{4, 32, 10}, {2, 2, 1, 1}, 70}, 1},    // more outputs than two registers
        several{{{1, 9, 310}, {5, 5, 1, 2}, 3}, 1},     // a panel is a line, the window is higher
        several{{{2, 7, 300}, {3, 4, 1, 0}, 8}, 1},     // the same without padding
        several{{{3, 2, 3}, {5, 5, 1, 2}, 9}, 35},      // the window is larger than the image
        several{{{7, 3, 3}, {3, 3, 1, 0}, 33}, 35}}) {  // one position an image
    for (const bool strided : {false, true}) {
      CAPTURE(one.c.image.width);
      CAPTURE(one.c.out);
      CAPTURE(strided);
      agree(make_backend<B>(), strided,
            [&](const auto& b, auto& w) { run_images(b, w, one.c, one.n, strided); });
    }
  }
}

TEST_CASE_TEMPLATE("an operation may write where it reads", B, TESTED_BACKENDS) {
  agree(make_backend<B>(), true, [](const auto& b, auto& w) {
    using T = typename std::remove_cvref_t<decltype(b)>::scalar;
    const auto x = w.output("x", 300, 5, 1, 2);
    b.unary(unary::square, T(0), x, x);
    b.copy(T(0.5), x, x, true);
    b.dropout(x, T(0.25), {1, 2}, x, false);
  });
}

TEST_CASE_TEMPLATE("to host memory and back", B, TESTED_BACKENDS) {
  using T = typename B::scalar;
  const B backend = make_backend<B>();
  workspace<double> host(true);
  workspace<T> mine(true);
  const auto there = host.input(4, 3);
  const auto copy = mine.output("copy", 4, 3);
  const auto back = host.output("back", 4, 3);
  backend.upload(vb::matrix_view<const double>(there), copy);
  backend.download(copy, back);
  for (index_t r = 0; r < 4; ++r) {
    for (index_t c = 0; c < 3; ++c) {
      CHECK(static_cast<double>(copy(r, c)) == there(r, c));
      CHECK(back(r, c) == there(r, c));
    }
  }
}
