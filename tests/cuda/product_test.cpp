// Products and layers of the sizes and arrangements that the device's backend treats apart.
#include "../backend/catalogue.hpp"

using namespace backend_test;

namespace {

#if defined(VIERBEIN_EMULATED_CUDA)
int library_products() {
  return emulated::library_products;
}
#endif

/// A product of the group with the oracle's product type.
template <class T>
using one_product = vb::backend::product<T, vb::host_space>;

}  // namespace

TEST_CASE_TEMPLATE("the Gramian of long gradients: the depth is cut into chunks", B,
                   TESTED_BACKENDS) {
  const B backend;
  for (const index_t tasks : {1, 5, 40}) {
    for (const index_t depth : {8192, 30011}) {
      for (const bool accumulate : {false, true}) {
        CAPTURE(tasks);
        CAPTURE(depth);
#if defined(VIERBEIN_EMULATED_CUDA)
        const int before = library_products();
#endif
        agree(backend, true, [&](const auto& b, auto& w) {
          using S = typename std::remove_cvref_t<decltype(b)>::scalar;
          const auto j = w.input(tasks, depth);
          const auto n = static_cast<double>(depth);
          const one_product<S> gram{j, j, w.output("gram", tasks, tasks, n * std::sqrt(n))};
          b.multiply(transposition::nt, {&gram, 1}, accumulate);
        });
#if defined(VIERBEIN_EMULATED_CUDA)
        CHECK(library_products() == before);
#endif
      }
    }
  }
}

TEST_CASE_TEMPLATE("equal products of stacked matrices, with one of another shape among them", B,
                   TESTED_PRODUCTS) {
  const B backend;
  for (const transposition kind : {transposition::nn, transposition::nt, transposition::tn}) {
    for (const bool accumulate : {false, true}) {
      agree(backend, false, [&](const auto& b, auto& w) {
        using S = typename std::remove_cvref_t<decltype(b)>::scalar;
        constexpr index_t n = 6;
        const index_t rows = 20;
        const index_t cols = 12;
        const index_t depth = 15;
        const auto shaped = [&](bool transposed, index_t r, index_t c) {
          return transposed ? shape{c, r} : shape{r, c};
        };
        const shape a = shaped(kind == transposition::tn, rows, depth);
        const shape e = shaped(kind == transposition::nt, depth, cols);
        const auto left = w.input(n * a.rows, a.cols);
        const auto right = w.input(n * e.rows, e.cols);
        const auto out = w.output("stacked", n * rows, cols, static_cast<double>(2 * depth));
        std::vector<one_product<S>> group;
        for (index_t i = 0; i < n; ++i) {
          const index_t used = i < 4 ? i : 5 - (i - 4);  // 0 1 2 3 5 4: not equally far apart
          group.push_back({left.row_range(i * a.rows, a.rows),
                           right.row_range((i % 2) * e.rows, e.rows),
                           out.row_range(used * rows, rows)});
        }
        // Shared input, equal distances; the last of them begins a sum of two.
        const auto more = w.output("shared", n * rows, cols, static_cast<double>(2 * depth));
        for (index_t i = 0; i < n; ++i) {
          group.push_back({left.row_range(0, a.rows), right.row_range(i * e.rows, e.rows),
                           more.row_range(i * rows, rows)});
        }
        group.push_back({left.row_range(a.rows, a.rows), right.row_range(0, e.rows),
                         more.row_range((n - 1) * rows, rows)});
        // Another shape.
        const auto narrow = w.output("narrow", rows, 1, static_cast<double>(depth));
        group.push_back({left.row_range(0, a.rows),
                         kind == transposition::nt ? right.row_range(0, 1)
                                                   : right.row_range(0, e.rows).col_range(0, 1),
                         narrow});
        b.multiply(kind, group, accumulate);
      });
    }
  }
}

TEST_CASE_TEMPLATE("groups of more products than a kernel takes; sums that are longer", B,
                   TESTED_PRODUCTS) {
  const B backend;
  for (const bool accumulate : {false, true}) {
    agree(backend, true, [&](const auto& b, auto& w) {
      using S = typename std::remove_cvref_t<decltype(b)>::scalar;
      std::vector<one_product<S>> group;
      for (const index_t terms : {3, 70, 1, 24, 2, 0, 25}) {
        const auto c = w.output("sum", 9, 5, 70 * 4);
        for (index_t i = 0; i < terms; ++i) {
          group.push_back({w.input(9, 4), w.input(4, 5), c});
        }
      }
      for (int i = 0; i < 60; ++i) {
        group.push_back({w.input(33, 4), w.input(4, 34), w.output("lone", 33, 34, 4)});
      }
      b.multiply(transposition::nn, group, accumulate);
    });
  }
}

TEST_CASE_TEMPLATE("layers at addresses that are multiples of a number's size only", B,
                   TESTED_PRODUCTS) {
  const B backend;
  for (const activation act : activations) {
    agree(backend, true, [&](const auto& b, auto& w) {
      using S = typename std::remove_cvref_t<decltype(b)>::scalar;
      std::vector<vb::backend::affine_layer<S, vb::host_space>> layers;
      for (const bool addend : {false, true}) {
        for (const bool bias : {false, true}) {
          vb::backend::affine_layer<S, vb::host_space> layer;
          layer.x = w.input(30, 21).col_range(1, 20);
          layer.w = w.input(21, 18).row_range(1, 20).col_range(3, 15);
          if (bias) {
            layer.bias = w.input(1, 17).col_range(1, 15);
          }
          if (addend) {
            layer.addend = w.input(30, 16).col_range(1, 15);
          }
          layer.y = w.output("y", 30, 20, 20).col_range(5, 15);
          layers.push_back(layer);
        }
      }
      b.affine(layers, act);
    });
  }
}

TEST_CASE_TEMPLATE("NaN passes through a layer with ReLU", B, TESTED_PRODUCTS) {
  using T = typename B::scalar;
  const B backend;
  for (const bool argument : {false, true}) {
    workspace<T> w(false);
    const auto x = w.input(8, 8);
    x(3, 2) = std::numeric_limits<T>::quiet_NaN();
    vb::backend::affine_layer<T, vb::host_space> layer;
    layer.x = x;
    layer.w = w.input(8, 8, 0.5, 1);
    layer.bias = w.input(1, 8);
    layer.y = w.output("y", 8, 8);
    if (argument) {
      layer.argument = w.output("argument", 8, 8);
    }
    backend.affine({&layer, 1}, activation::relu);
    for (index_t r = 0; r < 8; ++r) {
      for (index_t c = 0; c < 8; ++c) {
        CHECK(std::isnan(layer.y(r, c)) == (r == 3));
      }
    }
  }
}

#if defined(VIERBEIN_EMULATED_CUDA)

TEST_CASE("an epilogue that loses NaN is not used; a layer that was planned is not planned again") {
  for (const bool keeps : {true, false}) {
    emulated::relu_keeps_nan = keeps;
    const cuda_by_library backend;
    workspace<float> w(false);
    const auto x = w.input(8, 8);
    x(0, 0) = std::numeric_limits<float>::quiet_NaN();
    vb::backend::affine_layer<float, vb::host_space> layer;
    layer.x = x;
    layer.w = w.input(8, 8);
    layer.y = w.output("y", 8, 8);
    backend.affine({&layer, 1}, activation::relu);
    CHECK(std::isnan(layer.y(0, 0)));
    const int planned = emulated::algorithms;
    backend.affine({&layer, 1}, activation::relu);
    CHECK(emulated::algorithms == planned);
    emulated::relu_keeps_nan = true;
  }
}

TEST_CASE("small groups are one launch of our kernel, large products cuBLAS's") {
  const cuda backend;
  workspace<float> w(false);
  const auto count = [&](index_t rows, index_t cols, index_t depth, int copies) {
    std::vector<one_product<float>> group;
    for (int i = 0; i < copies; ++i) {
      group.push_back({w.input(rows, depth), w.input(depth, cols), w.output("c", rows, cols)});
    }
    const int before = library_products();
    backend.multiply(transposition::nn, group, false);
    return library_products() - before;
  };
  CHECK(count(64, 64, 64, 10) == 0);
  CHECK(count(32, 32, 64, 1) == 0);
  CHECK(count(128, 128, 64, 1) == 1);
  CHECK(count(160, 160, 160, 3) == 3);
  CHECK(count(8, 8, 600, 2) == 2);
}

#endif
