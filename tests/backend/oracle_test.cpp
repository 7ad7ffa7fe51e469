// The oracle against the formulas as they stand in the documentation, written out here once more.
#include "catalogue.hpp"

using namespace backend_test;

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr index_t rows = 13;
constexpr index_t cols = 6;

// found(r, c) is f(r, c), or `before`(r, c) + f(r, c).
template <class F>
void expect(const char* name, vb::matrix_view<double> found, F&& f, double terms = 8,
            double size = 8) {
  INFO(name);
  double worst = 0;
  for (index_t r = 0; r < found.rows; ++r) {
    for (index_t c = 0; c < found.cols; ++c) {
      const double y = f(r, c);
      const double ratio = std::abs(found(r, c) - y) / tolerance<double>(terms, size, y);
      worst = ratio <= worst ? worst : ratio;
    }
  }
  CHECK(worst <= 1);
}

struct oracle {
  vb::backend::reference_double b;
  workspace<double> w{true};
  vb::matrix_view<double> x = w.input(rows, cols, -3, 3);
  vb::matrix_view<double> y = w.input(rows, cols, -2, 2);
  vb::matrix_view<double> positive = w.input(rows, cols, 0.25, 4);
  vb::matrix_view<double> dy = w.input(rows, cols);
  vb::matrix_view<double> row = w.input(1, cols);
  vb::matrix_view<double> column = w.input(rows, 1);
  vb::matrix_view<double> out = w.output("out", rows, cols);
  vb::matrix_view<double> before = w.output("before", rows, cols);

  // Calls op(out, accumulate) both ways; it must add or assign f(r, c).
  template <class Op, class F>
  void both(const char* name, vb::matrix_view<double> to, Op&& op, F&& f) {
    REQUIRE(to.rows <= before.rows);
    REQUIRE(to.cols <= before.cols);
    for (const bool accumulate : {false, true}) {
      const auto old = before.row_range(0, to.rows).col_range(0, to.cols);
      b.copy(1, old, to, false);
      op(to, accumulate);
      expect(name, to,
             [&](index_t r, index_t c) { return (accumulate ? old(r, c) : 0.0) + f(r, c); });
    }
  }
};

double derivative(unary f, double x) {
  switch (f) {
    case unary::scale: return 0.75;
    case unary::shift: return 1;
    case unary::square: return 2 * x;
    case unary::root: return 0.5 * std::pow(x + 0.75, -0.5);
    case unary::absolute: return std::copysign(1, x);
    case unary::exponential: return std::exp(x);
    case unary::logarithm: return 1 / x;
    case unary::softplus: return 1 / (1 + std::exp(-x));
    case unary::sigmoid: return 0.25 / std::pow(std::cosh(x / 2), 2);
  }
  return nan;
}

double function(unary f, double x) {
  switch (f) {
    case unary::scale: return 0.75 * x;
    case unary::shift: return x + 0.75;
    case unary::square: return std::pow(x, 2);
    case unary::root: return std::pow(x + 0.75, 0.5);
    case unary::absolute: return x < 0 ? -x : x;
    case unary::exponential: return std::pow(2.718281828459045, x);
    case unary::logarithm: return std::log2(x) / std::log2(2.718281828459045);
    case unary::softplus: return std::log(1 + std::exp(x));
    case unary::sigmoid: return 0.5 + 0.5 * std::tanh(x / 2);
  }
  return nan;
}

double normal_distribution(double x) {
  return 0.5 * (1 + std::erf(x / std::sqrt(2.0)));
}
double normal_density(double x) {
  return std::exp(-x * x / 2) / std::sqrt(8 * std::atan(1.0));
}

double function(activation act, double x) {
  switch (act) {
    case activation::identity: return x;
    case activation::relu: return x > 0 ? x : 0;
    case activation::gelu: return x * normal_distribution(x);
    case activation::silu: return x / (1 + std::exp(-x));
    case activation::tanh: return (std::exp(2 * x) - 1) / (std::exp(2 * x) + 1);
  }
  return nan;
}

double derivative(activation act, double x) {
  const double s = 1 / (1 + std::exp(-x));
  switch (act) {
    case activation::identity: return 1;
    case activation::relu: return x > 0 ? 1 : 0;
    case activation::gelu: return normal_distribution(x) + x * normal_density(x);
    case activation::silu: return s + x * s * (1 - s);
    case activation::tanh: return std::pow(std::cosh(x), -2);
  }
  return nan;
}

double function(loss_kind kind, double delta, double p, double y) {
  const double distance = std::abs(p - y);
  switch (kind) {
    case loss_kind::squared: return distance * distance;
    case loss_kind::absolute: return distance;
    case loss_kind::huber:
      return distance < delta ? 0.5 * distance * distance : delta * (distance - 0.5 * delta);
    case loss_kind::logistic: return std::log(1 + std::exp(p)) - y * p;
    case loss_kind::softmax: break;
  }
  return nan;
}

double derivative(loss_kind kind, double delta, double p, double y) {
  switch (kind) {
    case loss_kind::squared: return 2 * (p - y);
    case loss_kind::absolute: return p > y ? 1 : -1;
    case loss_kind::huber: return std::clamp(p - y, -delta, delta);
    case loss_kind::logistic: return 1 / (1 + std::exp(-p)) - y;
    case loss_kind::softmax: break;
  }
  return nan;
}

}  // namespace

TEST_CASE_FIXTURE(oracle, "functions of one argument and their derivatives") {
  for (const unary f : unaries) {
    CAPTURE(static_cast<int>(f));
    const auto v = f == unary::root || f == unary::logarithm ? positive : x;
    const auto value = w.output("value", rows, cols);
    b.unary(f, 0.75, v, value);
    expect("value", value, [&](index_t r, index_t c) { return function(f, v(r, c)); });
    both(
        "slope", out, [&](auto to, bool add) { b.unary_backward(f, 0.75, v, value, dy, to, add); },
        [&](index_t r, index_t c) { return dy(r, c) * derivative(f, v(r, c)); });
  }
}

TEST_CASE("functions far out neither overflow nor lose what is small") {
  namespace formula = vb::backend::formula;
  CHECK(formula::evaluate(unary::softplus, 0.0F, 200.0F) == 200.0F);
  CHECK(formula::evaluate(unary::softplus, 0.0, -50.0) == doctest::Approx(std::exp(-50.0)));
  CHECK(formula::evaluate(unary::softplus, 0.0, -50.0) > 0);
  CHECK(formula::sigmoid(200.0F) == 1.0F);
  CHECK(formula::sigmoid(-200.0F) == 0.0F);
  CHECK(formula::activate(activation::silu, -200.0F) == 0.0F);
  CHECK(formula::activate(activation::gelu, 30.0F) == 30.0F);
  // Φ(-6) ≈ 9.8659e-10: 1 + erf(x) would have lost all digits but three in float.
  CHECK(formula::activate(activation::gelu, -6.0F) ==
        doctest::Approx(-6 * 9.865876450377018e-10).epsilon(1e-5).scale(1e-12));
  CHECK(formula::activation_slope(activation::silu, -200.0F) == 0.0F);
  CHECK(formula::loss(loss_kind::logistic, 1.0F, 200.0F, 1.0F) == 0.0F);
  CHECK(formula::loss(loss_kind::logistic, 1.0F, -200.0F, 0.0F) == 0.0F);
  CHECK(formula::slope(unary::absolute, 0.0, 0.0, 0.0) == 0.0);
  CHECK(formula::loss_slope(loss_kind::absolute, 1.0, 2.0, 2.0) == 0.0);
  CHECK(formula::activation_slope(activation::relu, 0.0) == 0.0);
}

TEST_CASE_FIXTURE(oracle, "activations and their derivatives") {
  for (const activation act : activations) {
    CAPTURE(static_cast<int>(act));
    const auto value = w.output("value", rows, cols);
    b.activate(act, x, value);
    expect("value", value, [&](index_t r, index_t c) { return function(act, x(r, c)); });
    const bool argument = act == activation::gelu || act == activation::silu;
    CHECK(vb::backend::formula::derivative_needs_argument(act) == argument);
    b.activation_backward(act, argument ? x : value, dy, out);
    expect("slope", out, [&](index_t r, index_t c) { return dy(r, c) * derivative(act, x(r, c)); });
  }
}

TEST_CASE_FIXTURE(oracle, "assignments and functions of two arguments") {
  b.fill(out, 0.75);
  expect("fill", out, [](index_t, index_t) { return 0.75; });
  both(
      "copy", out, [&](auto to, bool add) { b.copy(0.75, x, to, add); },
      [&](index_t r, index_t c) { return 0.75 * x(r, c); });
  b.binary(binary::add, x, positive, out);
  expect("add", out, [&](index_t r, index_t c) { return x(r, c) + positive(r, c); });
  b.binary(binary::subtract, x, positive, out);
  expect("subtract", out, [&](index_t r, index_t c) { return x(r, c) - positive(r, c); });
  b.binary(binary::multiply, x, positive, out);
  expect("multiply", out, [&](index_t r, index_t c) { return x(r, c) * positive(r, c); });
  const auto q = w.output("quotient", rows, cols);
  b.binary(binary::divide, x, positive, q);
  expect("divide", q, [&](index_t r, index_t c) { return x(r, c) / positive(r, c); });
  both(
      "multiply add", out, [&](auto to, bool add) { b.multiply_add(0.75, x, dy, to, add); },
      [&](index_t r, index_t c) { return 0.75 * x(r, c) * dy(r, c); });
  both(
      "numerator", out,
      [&](auto to, bool add) { b.divide_backward(dy, q, positive, true, to, add); },
      [&](index_t r, index_t c) { return dy(r, c) / positive(r, c); });
  both(
      "denominator", out,
      [&](auto to, bool add) { b.divide_backward(dy, q, positive, false, to, add); },
      [&](index_t r, index_t c) {
        return -dy(r, c) * x(r, c) / (positive(r, c) * positive(r, c));
      });
}

TEST_CASE_FIXTURE(oracle, "gathers") {
  const auto i = w.indices({5, 0, 0, 12, 7, 3, 3, 3, 1, 2, 11, 12, 6});
  const auto j = w.indices({1, 1, 2, 12, 0, 9, 8, 7, 1, 5, 11, 10, 4});
  both(
      "gather", out, [&](auto to, bool add) { b.gather_rows(x, i, to, add); },
      [&](index_t r, index_t c) { return x(i[r], c); });
  both(
      "negative", out, [&](auto to, bool add) { b.gather_negative(x, i, to, add); },
      [&](index_t r, index_t c) { return -x(i[r], c); });
  b.gather_difference(x, i, y, j, out);
  expect("difference", out, [&](index_t r, index_t c) { return x(i[r], c) - y(j[r], c); });
}

TEST_CASE_FIXTURE(oracle, "segment sums; an empty segment has the sum and the mean 0") {
  const auto begin = w.indices({0, 0, 4, 5, 5, 13, 13});
  const auto segment_of = w.indices({1, 1, 1, 1, 2, 4, 4, 4, 4, 4, 4, 4, 4});
  const auto item = w.indices({5, 0, 12, 7, 3, 1, 2, 11, 6, 4, 8, 9, 10});
  const auto sums = out.row_range(0, 6);
  for (const bool mean : {false, true}) {
    const auto segment = [&](index_t s, index_t c, bool items) {
      double total = 0;
      int terms = 0;
      for (index_t k = 0; k < rows; ++k) {
        if (segment_of[k] == s) {
          total += x(items ? item[k] : k, c);
          ++terms;
        }
      }
      return mean && terms > 0 ? total / terms : total;
    };
    both(
        "sum of rows", sums, [&](auto to, bool add) { b.segment_sum(x, begin, {}, mean, to, add); },
        [&](index_t r, index_t c) { return segment(r, c, false); });
    both(
        "sum of items", sums,
        [&](auto to, bool add) { b.segment_sum(x, begin, item, mean, to, add); },
        [&](index_t r, index_t c) { return segment(r, c, true); });
    const double length[] = {0, 4, 1, 0, 8, 0};
    both(
        "backward", out,
        [&](auto to, bool add) {
          b.segment_sum_backward(dy.row_range(0, 6), begin, segment_of, mean, to, add);
        },
        [&](index_t r, index_t c) {
          const index_t s = segment_of[r];
          return dy(s, c) / (mean ? length[s] : 1);
        });
  }
}

TEST_CASE_FIXTURE(oracle, "sums, broadcasts and norms") {
  const auto one_row = out.row_range(0, 1);
  const auto one_column = out.col_range(0, 1);
  const auto scalar = out.row_range(0, 1).col_range(0, 1);
  const auto over_rows = [&](auto&& f) {
    double total = 0;
    for (index_t r = 0; r < rows; ++r) {
      total += f(r);
    }
    return total;
  };
  const auto over_cols = [&](auto&& f) {
    double total = 0;
    for (index_t c = 0; c < cols; ++c) {
      total += f(c);
    }
    return total;
  };
  b.row_sums(x, 0.75, one_column);
  expect("row sums", one_column,
         [&](index_t r, index_t) { return 0.75 * over_cols([&](index_t c) { return x(r, c); }); });
  both(
      "column sums", one_row, [&](auto to, bool add) { b.column_sums(x, to, add); },
      [&](index_t, index_t c) { return over_rows([&](index_t r) { return x(r, c); }); });
  both(
      "column dots", one_row, [&](auto to, bool add) { b.column_dots(x, y, to, add); },
      [&](index_t, index_t c) { return over_rows([&](index_t r) { return x(r, c) * y(r, c); }); });
  both(
      "sum", scalar, [&](auto to, bool add) { b.sum(x, 0.75, to, add); },
      [&](index_t, index_t) {
        return 0.75 *
               over_rows([&](index_t r) { return over_cols([&](index_t c) { return x(r, c); }); });
      });
  CHECK(b.squared_norm(vb::array_view<const double>(x.data, cols)) ==
        doctest::Approx(over_cols([&](index_t c) { return x(0, c) * x(0, c); })).epsilon(1e-14));
  both(
      "broadcast column", out,
      [&](auto to, bool add) { b.broadcast_column(column, 0.75, to, add); },
      [&](index_t r, index_t) { return 0.75 * column(r, 0); });
  both(
      "broadcast row", out, [&](auto to, bool add) { b.broadcast_row(row, 0.75, to, add); },
      [&](index_t, index_t c) { return 0.75 * row(0, c); });
  both(
      "broadcast scalar", out,
      [&](auto to, bool add) { b.broadcast_scalar(row.col_range(0, 1), 0.75, to, add); },
      [&](index_t, index_t) { return 0.75 * row(0, 0); });

  const auto norms = w.output("norms", rows, 1);
  const auto norm = [&](index_t r) {
    return std::sqrt(over_cols([&](index_t c) { return x(r, c) * x(r, c); }) + 0.25);
  };
  b.row_norms(x, 0.25, norms);
  expect("row norms", norms, [&](index_t r, index_t) { return norm(r); });
  both(
      "row norms backward", out,
      [&](auto to, bool add) { b.row_norms_backward(x, norms, column, to, add); },
      [&](index_t r, index_t c) { return column(r, 0) * x(r, c) / norm(r); });
}

TEST_CASE_FIXTURE(oracle, "distances of copies") {
  // Two groups of a block of two rows and its two copies.
  const auto blocks = w.input(12, cols);
  const auto gradient = w.input(8, 1);
  const auto distances = w.output("distances", 8, 1);
  const auto place = [](index_t group, index_t block, index_t i) {
    return 6 * group + 2 * block + i;
  };
  const auto distance = [&](index_t group, index_t copy, index_t i) {
    double total = 0.25;
    for (index_t c = 0; c < cols; ++c) {
      total += std::pow(blocks(place(group, 0, i), c) - blocks(place(group, 1 + copy, i), c), 2);
    }
    return std::sqrt(total);
  };
  b.copy_distances(blocks, 2, 2, 0.25, distances);
  expect("copy distances", distances,
         [&](index_t r, index_t) { return distance(r / 4, r / 2 % 2, r % 2); });
  const auto to_blocks = w.output("out", 12, cols);
  both(
      "copy distances backward", to_blocks,
      [&](auto to, bool add) {
        b.copy_distances_backward(blocks, 2, 2, distances, gradient, to, add);
      },
      [&](index_t r, index_t c) {
        const index_t group = r / 6;
        const index_t block = r / 2 % 3;
        const index_t i = r % 2;
        double total = 0;
        for (index_t k = 0; k < 2; ++k) {
          const double one = gradient(4 * group + 2 * k + i, 0) / distance(group, k, i) *
                             (blocks(place(group, 0, i), c) - blocks(place(group, 1 + k, i), c));
          total += block == 0 ? one : block == 1 + k ? -one : 0;
        }
        return total;
      });
}

TEST_CASE_FIXTURE(oracle, "products") {
  for (const transposition kind : {transposition::nn, transposition::nt, transposition::tn}) {
    CAPTURE(static_cast<int>(kind));
    const index_t depth = 4;
    const bool left = kind == transposition::tn;
    const bool right = kind == transposition::nt;
    const auto a = left ? w.input(depth, rows) : w.input(rows, depth);
    const auto e = right ? w.input(cols, depth) : w.input(depth, cols);
    const auto dot = [&](index_t r, index_t c) {
      double total = 0;
      for (index_t k = 0; k < depth; ++k) {
        total += (left ? a(k, r) : a(r, k)) * (right ? e(c, k) : e(k, c));
      }
      return total;
    };
    using one = vb::backend::product<double, vb::host_space>;
    both(
        "product", out,
        [&](auto to, bool add) {
          const one group[] = {{a, e, to}};
          b.multiply(kind, group, add);
        },
        dot);
    const auto other = w.output("other", rows, cols);
    both(
        "sum of products", out,
        [&](auto to, bool add) {
          const one group[] = {{a, e, to}, {a, e, to}, {a, e, other}};
          b.multiply(kind, group, add);
        },
        [&](index_t r, index_t c) { return 2 * dot(r, c); });
  }
}

TEST_CASE_FIXTURE(oracle, "an affine layer") {
  const auto weight = w.input(cols, 3);
  const auto bias = w.input(1, 3);
  const auto addend = w.input(rows, 3);
  for (const activation act : activations) {
    for (const bool with_bias : {false, true}) {
      for (const bool with_addend : {false, true}) {
        vb::backend::affine_layer<double, vb::host_space> layer;
        layer.x = x;
        layer.w = weight;
        if (with_bias) {
          layer.bias = bias;
        }
        if (with_addend) {
          layer.addend = addend;
        }
        layer.argument = w.output("argument", rows, 3);
        layer.y = w.output("y", rows, 3);
        b.affine({&layer, 1}, act);
        const auto argument = [&](index_t r, index_t c) {
          double z = (with_bias ? bias(0, c) : 0) + (with_addend ? addend(r, c) : 0);
          for (index_t k = 0; k < cols; ++k) {
            z += x(r, k) * weight(k, c);
          }
          return z;
        };
        expect("argument", layer.argument, argument);
        expect("y", layer.y, [&](index_t r, index_t c) { return function(act, argument(r, c)); });
      }
    }
  }
}

TEST_CASE_FIXTURE(oracle, "layer norm: rows of mean 0 and variance 1, then gain and bias") {
  const auto gain = w.input(1, cols);
  const auto normalised = w.output("normalised", rows, cols);
  const auto spread = w.output("spread", rows, 1);
  b.layer_norm(x, gain, row, 0.125, normalised, spread, out);
  std::vector<double> mean(rows), deviation(rows);
  for (index_t r = 0; r < rows; ++r) {
    const auto i = static_cast<std::size_t>(r);
    double square = 0;
    for (index_t c = 0; c < cols; ++c) {
      mean[i] += x(r, c) / static_cast<double>(cols);
      square += x(r, c) * x(r, c) / static_cast<double>(cols);
    }
    deviation[i] = std::sqrt(square - mean[i] * mean[i] + 0.125);
  }
  const auto z = [&](index_t r, index_t c) {
    const auto i = static_cast<std::size_t>(r);
    return (x(r, c) - mean[i]) / deviation[i];
  };
  expect("normalised", normalised, z);
  expect("spread", spread,
         [&](index_t r, index_t) { return 1 / deviation[static_cast<std::size_t>(r)]; });
  expect("y", out, [&](index_t r, index_t c) { return z(r, c) * gain(0, c) + row(0, c); });
}

TEST_CASE_FIXTURE(oracle, "batch norm: columns of mean 0 and variance 1, running statistics") {
  const auto gain = w.input(1, cols);
  const auto normalised = w.output("normalised", rows, cols);
  const auto spread = w.output("spread", 1, cols);
  const auto running_mean = w.output("mean", 1, cols);
  const auto running_variance = w.output("variance", 1, cols);
  b.fill(running_mean, 2);
  b.fill(running_variance, 3);
  b.batch_norm(x, gain, row, 0.125, 0.25, running_mean, running_variance, normalised, spread, out);
  std::vector<double> mean(cols), variance(cols);
  constexpr auto n = static_cast<double>(rows);
  for (index_t c = 0; c < cols; ++c) {
    const auto i = static_cast<std::size_t>(c);
    for (index_t r = 0; r < rows; ++r) {
      mean[i] += x(r, c) / n;
      variance[i] += x(r, c) * x(r, c) / n;
    }
    variance[i] -= mean[i] * mean[i];
  }
  const auto z = [&](index_t r, index_t c) {
    const auto i = static_cast<std::size_t>(c);
    return (x(r, c) - mean[i]) / std::sqrt(variance[i] + 0.125);
  };
  expect("normalised", normalised, z);
  expect("y", out, [&](index_t r, index_t c) { return z(r, c) * gain(0, c) + row(0, c); });
  expect("spread", spread, [&](index_t, index_t c) {
    return 1 / std::sqrt(variance[static_cast<std::size_t>(c)] + 0.125);
  });
  expect("running mean", running_mean,
         [&](index_t, index_t c) { return 0.75 * 2 + 0.25 * mean[static_cast<std::size_t>(c)]; });
  expect("running variance", running_variance, [&](index_t, index_t c) {
    return 0.75 * 3 + 0.25 * variance[static_cast<std::size_t>(c)] * n / (n - 1);
  });
  b.normalise_columns(x, running_mean, running_variance, gain, row, 0.125, out);
  expect("evaluation", out, [&](index_t r, index_t c) {
    return (x(r, c) - running_mean(0, c)) / std::sqrt(running_variance(0, c) + 0.125) * gain(0, c) +
           row(0, c);
  });
}

TEST_CASE_FIXTURE(oracle, "standardised columns are clipped") {
  const auto factor = w.input(1, cols);
  factor(0, 2) = 0;  // a column that was constant
  b.standardise(x, row, factor, 0.75, out);
  int clipped = 0;
  expect("standardise", out, [&](index_t r, index_t c) {
    const double z = (x(r, c) - row(0, c)) * factor(0, c);
    clipped += std::abs(z) > 0.75 ? 1 : 0;
    return z > 0.75 ? 0.75 : (z < -0.75 ? -0.75 : z);
  });
  CHECK(clipped > 0);
  CHECK(clipped < rows * cols);
}

TEST_CASE_TEMPLATE("an empty batch and a batch of one leave finite running statistics", B,
                   TESTED_BACKENDS) {
  using T = typename B::scalar;
  for (const index_t n : {index_t{0}, index_t{1}}) {
    workspace<T> w(false);
    const auto x = w.input(n, 3);
    const auto mean = w.output("mean", 1, 3);
    const auto variance = w.output("variance", 1, 3);
    const auto y = w.output("y", n, 3);
    const B backend = make_backend<B>();
    backend.fill(mean, T(2));
    backend.fill(variance, T(3));
    backend.batch_norm(x, w.input(1, 3), w.input(1, 3), T(0.125), T(0.25), mean, variance,
                       w.output("z", n, 3), w.output("spread", 1, 3), y);
    for (index_t c = 0; c < 3; ++c) {
      CHECK(mean(0, c) == (n == 0 ? T(2) : T(2) + T(0.25) * (x(0, c) - T(2))));
      CHECK(variance(0, c) == (n == 0 ? T(3) : T(2.25)));
    }
  }
}

TEST_CASE_FIXTURE(oracle, "losses of one number average over the labels that are present") {
  for (const loss_kind kind :
       {loss_kind::squared, loss_kind::absolute, loss_kind::huber, loss_kind::logistic}) {
    CAPTURE(static_cast<int>(kind));
    const auto label = w.input(rows, cols, -2, 2);
    label(0, 0) = label(3, 2) = label(rows - 1, cols - 1) = nan;
    for (index_t c = 0; c < cols; ++c) {
      label(7, c) = nan;
    }
    const auto present = static_cast<double>(rows * cols - 3 - cols);
    double total = 0;
    for (index_t r = 0; r < rows; ++r) {
      for (index_t c = 0; c < cols; ++c) {
        total += std::isnan(label(r, c)) ? 0 : function(kind, 0.75, x(r, c), label(r, c));
      }
    }
    const auto statistics = w.output("statistics", 1, 2);
    b.loss(kind, 0.75, x, label, statistics);
    expect("mean", statistics,
           [&](index_t, index_t c) { return c == 0 ? total / present : present; });
    const auto dl = w.input(1, 1);
    both(
        "slope", out,
        [&](auto to, bool add) { b.loss_backward(kind, 0.75, x, label, statistics, dl, to, add); },
        [&](index_t r, index_t c) {
          return std::isnan(label(r, c))
                     ? 0
                     : dl(0, 0) / present * derivative(kind, 0.75, x(r, c), label(r, c));
        });
  }
}

TEST_CASE_FIXTURE(oracle, "cross entropy of classes") {
  const auto label = w.input(rows, 1);
  int present = 0;
  double total = 0;
  const auto share = [&](index_t r, index_t c) {
    double sum = 0;
    for (index_t k = 0; k < cols; ++k) {
      sum += std::exp(x(r, k));
    }
    return std::exp(x(r, c)) / sum;
  };
  for (index_t r = 0; r < rows; ++r) {
    label(r, 0) = r % 4 == 3 ? nan : static_cast<double>(r % cols);
    if (r % 4 != 3) {
      ++present;
      total -= std::log(share(r, r % cols));
    }
  }
  const auto statistics = w.output("statistics", 1, 2);
  b.loss(loss_kind::softmax, 0, x, label, statistics);
  expect("mean", statistics,
         [&](index_t, index_t c) { return c == 0 ? total / present : present; });
  const auto dl = w.input(1, 1);
  both(
      "slope", out,
      [&](auto to, bool add) {
        b.loss_backward(loss_kind::softmax, 0, x, label, statistics, dl, to, add);
      },
      [&](index_t r, index_t c) {
        return r % 4 == 3 ? 0 : dl(0, 0) / present * (share(r, c) - (c == r % cols ? 1.0 : 0.0));
      });
  // Logits of a thousand overflow e^x but not the loss.
  const auto large = w.output("large", 1, 2);
  large(0, 0) = 1000;
  large(0, 1) = 0;
  label(0, 0) = 1;
  b.loss(loss_kind::softmax, 0, large, label.row_range(0, 1), statistics);
  CHECK(statistics(0, 0) == 1000);
}

TEST_CASE_FIXTURE(oracle, "without labels the loss and its gradient are 0") {
  for (const loss_kind kind : losses) {
    const auto label = w.output("label", rows, kind == loss_kind::softmax ? 1 : cols);
    b.fill(label, nan);
    const auto statistics = w.output("statistics", 1, 2);
    b.loss(kind, 1, x, label, statistics);
    CHECK(statistics(0, 0) == 0);
    CHECK(statistics(0, 1) == 0);
    b.loss_backward(kind, 1, x, label, statistics, w.input(1, 1), out, false);
    CHECK(std::all_of(out.data, out.data + cols, [](double d) { return d == 0; }));
  }
}

TEST_CASE_FIXTURE(oracle, "which labels are present, and a number for those that are not") {
  for (index_t r = 0; r < rows; ++r) {
    for (index_t c = 0; c < cols; ++c) {
      if ((r * cols + c) % 3 == 1) {
        x(r, c) = c % 2 == 0 ? nan : -nan;
      }
    }
  }
  x(0, 0) = std::numeric_limits<double>::infinity();  // no number to train on, but a label
  b.label_mask(x, out);
  for (index_t r = 0; r < rows; ++r) {
    for (index_t c = 0; c < cols; ++c) {
      CHECK(out(r, c) == ((r * cols + c) % 3 == 1 ? 0 : 1));
    }
  }
  b.fill_missing(x, -0.75, out);
  for (index_t r = 0; r < rows; ++r) {
    for (index_t c = 0; c < cols; ++c) {
      CHECK(out(r, c) == ((r * cols + c) % 3 == 1 ? -0.75 : x(r, c)));
    }
  }
}

TEST_CASE_FIXTURE(oracle, "group spread is the sum over all pairs") {
  for (const index_t groups : {1, 2, 3, 7}) {
    CAPTURE(groups);
    const index_t n = 5;
    const auto v = w.input(groups * n, cols);
    double total = 0;
    for (index_t s = 0; s < groups; ++s) {
      for (index_t t = s + 1; t < groups; ++t) {
        for (index_t r = 0; r < n; ++r) {
          for (index_t c = 0; c < cols; ++c) {
            total += std::pow(v(s * n + r, c) - v(t * n + r, c), 2);
          }
        }
      }
    }
    const auto value = w.output("value", 1, 1);
    b.group_spread(v, groups, 0.75, value);
    expect("pairs", value, [&](index_t, index_t) { return 0.75 * total; }, 21 * 30, 4);
    const auto dl = w.input(1, 1);
    const auto d = w.output("gradient", groups * n, cols);
    b.group_spread_backward(v, groups, 0.75, dl, d, false);
    expect("gradient of pairs", d, [&](index_t i, index_t c) {
      double slope = 0;
      for (index_t t = 0; t < groups; ++t) {
        slope += 2 * (v(i, c) - v(t * n + i % n, c));
      }
      return 0.75 * dl(0, 0) * slope;
    });
  }
}

namespace {

// A number for every element (k, o) of a window's filters, of image i at pixel (y, x, c), or 0
// outside: what a convolution is, with four loops over the image padded by hand.
struct padded {
  vb::image_shape image;
  vb::image_window window;
  vb::matrix_view<double> values;

  double operator()(index_t i, index_t y, index_t x, index_t c) const {
    const bool inside = y >= 0 && y < image.height && x >= 0 && x < image.width;
    return inside ? values(i, (y * image.width + x) * image.channels + c) : 0;
  }
};

}  // namespace

TEST_CASE("a convolution, written out") {
  const vb::backend::reference_double b;
  for (const image_case& c : image_cases) {
    const auto& [image, window, out] = c;
    const vb::image_shape result = window.over(image, out);
    // The window that lies furthest down and right still begins within the padded image.
    CHECK((result.height - 1) * window.stride + window.height <= image.height + 2 * window.padding);
    CHECK(result.height * window.stride + window.height > image.height + 2 * window.padding);
    workspace<double> w(true);
    const index_t n = 2;
    const padded x{image, window, w.input(n, image.size())};
    const auto filters = w.input(window.size() * image.channels, out);
    const auto bias = w.input(1, out);
    const auto y = w.output("y", n, result.size());
    const vb::backend::convolution_layer<double, vb::host_space> layer{
        image, window, x.values, filters, bias, {}, y};
    b.convolve(layer, activation::tanh);
    const auto dy = w.input(n, result.size());
    const auto dx = w.output("dx", n, image.size());
    const auto dw = w.output("dw", window.size() * image.channels, out);
    const auto db = w.output("db", 1, out);
    vb::matrix<double> dw_before(dw.rows, out), db_before(1, out), expected(n, image.size());
    b.copy(1, dw, dw_before.view(), false);
    b.copy(1, db, db_before.view(), false);
    const vb::backend::convolution_slab<double, vb::host_space> slab{dy, dx, false, dw, db};
    b.convolve_backward(layer, activation::tanh, {&slab, 1});
    double worst = 0;
    const auto compare = [&](double found, double wanted) {
      worst = std::max(worst, std::abs(found - wanted));
    };
    for (index_t i = 0; i < n; ++i) {
      for (index_t oy = 0; oy < result.height; ++oy) {
        for (index_t ox = 0; ox < result.width; ++ox) {
          for (index_t o = 0; o < out; ++o) {
            const index_t at = (oy * result.width + ox) * out + o;
            double total = bias(0, o);
            const double dz = dy(i, at) * (1 - y(i, at) * y(i, at));
            db_before(0, o) += dz;
            for (index_t ky = 0; ky < window.height; ++ky) {
              for (index_t kx = 0; kx < window.width; ++kx) {
                for (index_t ch = 0; ch < image.channels; ++ch) {
                  const index_t k = (ky * window.width + kx) * image.channels + ch;
                  const index_t py = oy * window.stride + ky - window.padding;
                  const index_t px = ox * window.stride + kx - window.padding;
                  total += x(i, py, px, ch) * filters(k, o);
                  dw_before(k, o) += x(i, py, px, ch) * dz;
                  if (py >= 0 && py < image.height && px >= 0 && px < image.width) {
                    expected(i, (py * image.width + px) * image.channels + ch) +=
                        filters(k, o) * dz;
                  }
                }
              }
            }
            compare(y(i, at), std::tanh(total));
          }
        }
      }
    }
    for (index_t i = 0; i < n; ++i) {
      for (index_t k = 0; k < image.size(); ++k) {
        compare(dx(i, k), expected(i, k));
      }
    }
    for (index_t o = 0; o < out; ++o) {
      compare(db(0, o), db_before(0, o));
      for (index_t k = 0; k < dw.rows; ++k) {
        compare(dw(k, o), dw_before(k, o));
      }
    }
    CHECK(worst < 1e-12);
  }
}

TEST_CASE_TEMPLATE("pooling, written out; equal pixels and NaN", B, TESTED_BACKENDS) {
  using T = typename B::scalar;
  const B b = make_backend<B>();
  using vb::backend::pooling;
  // 2 channels of 3 x 3; a window of 2 x 2 in steps of 2 over one pixel of padding: it covers the
  // corner (0, 0), the pair (0, 1) (0, 2), the pair (1, 0) (2, 0) and the other four.
  const vb::image_shape image{2, 3, 3};
  const vb::image_window window{2, 2, 2, 1};
  vb::matrix<T> x(1, 18), y(1, 8), where(1, 8), dy(1, 8), dx(1, 18, T(100));
  const T first[] = {-5, -2, -7, -3, 4, 4, 9, 6, 9};  // the other channel is minus this
  for (index_t p = 0; p < 9; ++p) {
    x(0, 2 * p) = first[p];
    x(0, 2 * p + 1) = -first[p];
  }
  for (index_t i = 0; i < 8; ++i) {
    dy(0, i) = static_cast<T>(i + 1);
  }
  b.pool(pooling::maximum, image, window, x.view(), y.view(), where.view());
  const T largest[] = {-5, 5, -2, 7, 9, 3, 9, -4};
  CHECK(std::equal(largest, largest + 8, y.data()));
  b.pool_backward(pooling::maximum, image, window, where.view(), dy.view(), dx.view(), true);
  const T to_first[] = {1, 3, 0, 0, 0, 0, 5, 0, 7};
  const T to_second[] = {2, 0, 4, 6, 8, 0, 0, 0, 0};  // -4 stands twice: the first gets it
  for (index_t p = 0; p < 9; ++p) {
    CHECK(dx(0, 2 * p) == 100 + to_first[p]);
    CHECK(dx(0, 2 * p + 1) == 100 + to_second[p]);
  }
  // The number within the window, of which the first one's pixel is the only one in the image.
  const T number[] = {3, 3, 2, 3, 3, 1, 3, 0};
  CHECK(std::equal(number, number + 8, where.data()));
  b.pool_backward(pooling::maximum, image, window, where.view(), dy.view(), dx.view(), false);
  for (index_t p = 0; p < 9; ++p) {
    CHECK(dx(0, 2 * p) == to_first[p]);
    CHECK(dx(0, 2 * p + 1) == to_second[p]);
  }
  b.pool(pooling::mean, image, window, x.view(), y.view(), {});
  const T mean[] = {-5, 5, T(-4.5), T(4.5), 3, -3, T(5.75), T(-5.75)};
  CHECK(std::equal(mean, mean + 8, y.data()));
  b.pool_backward(pooling::mean, image, window, {}, dy.view(), dx.view(), false);
  const T shares[] = {1, T(1.5), T(1.5), T(2.5), T(1.75), T(1.75), T(2.5), T(1.75), T(1.75)};
  for (index_t p = 0; p < 9; ++p) {
    CHECK(dx(0, 2 * p) == shares[p]);
  }
  x(0, 8) = std::numeric_limits<T>::quiet_NaN();  // the middle of the first channel
  b.pool(pooling::maximum, image, window, x.view(), y.view(), where.view());
  CHECK(std::isnan(y(0, 6)));
  CHECK(y(0, 7) == -4);
}

TEST_CASE_TEMPLATE("added noise is standard normal, the same for the same stream", B,
                   TESTED_BACKENDS) {
  using T = typename B::scalar;
  const B backend = make_backend<B>();
  constexpr index_t side = 300;
  constexpr double n = side * side;
  vb::matrix<T> x(side, side, T(5));
  vb::matrix<T> y(side, side);
  vb::matrix<T> again(side, side);
  backend.add_normal(x.view(), T(2), {1, 2}, y.view());
  backend.add_normal(x.view(), T(2), {1, 2}, again.view());
  CHECK(y == again);
  backend.add_normal(x.view(), T(2), {1, 3}, again.view());
  CHECK(!(y == again));
  double mean = 0;
  double variance = 0;
  for (index_t i = 0; i < y.size(); ++i) {
    const double e = (static_cast<double>(y.data()[i]) - 5) / 2;
    mean += e / n;
    variance += e * e / n;
  }
  CHECK(std::abs(mean) < 5 * std::sqrt(1 / n));  // five standard errors
  CHECK(std::abs(variance - 1) < 5 * std::sqrt(2 / n));
}

TEST_CASE_TEMPLATE("dropout keeps a share 1 - p, scaled by its inverse; backward the same", B,
                   TESTED_BACKENDS) {
  using T = typename B::scalar;
  const B backend = make_backend<B>();
  constexpr index_t side = 300;
  constexpr double n = side * side;
  const vb::matrix<T> x(side, side, T(3));
  vb::matrix<T> y(side, side);
  vb::matrix<T> dx(side, side, T(10));
  for (const double p : {0.125, 0.5, 0.75}) {
    CAPTURE(p);
    backend.dropout(x.view(), T(p), {4, 2}, y.view(), false);
    backend.dropout(x.view(), T(p), {4, 2}, dx.view(), true);
    double dropped = 0;
    for (index_t i = 0; i < y.size(); ++i) {
      const T value = y.data()[i];
      REQUIRE((value == 0 || value == T(3) * (1 / (1 - T(p)))));
      REQUIRE(dx.data()[i] == T(10) + value);
      dropped += value == 0 ? 1 / n : 0;
      dx.data()[i] = 10;
    }
    CHECK(std::abs(dropped - p) < 5 * std::sqrt(p * (1 - p) / n));
  }
  backend.dropout(x.view(), T(0), {4, 2}, y.view(), false);
  CHECK(y == x);
}

TEST_CASE_TEMPLATE("steps of Adam", B, TESTED_BACKENDS) {
  using T = typename B::scalar;
  const B backend = make_backend<B>();
  workspace<T> w(false);
  constexpr index_t n = 50;
  const auto g = w.flat_input(n);
  const auto theta = w.flat_output("theta", n);
  vb::aligned_vector<T> m(n), v(n);
  std::vector<double> p(theta.begin(), theta.end()), mean(n), square(n);
  const double rate = 0.01;
  const double beta1 = 0.9;
  const double beta2 = 0.999;
  const double epsilon = 1e-3;
  const double decay = 0.1;
  for (int t = 1; t <= 3; ++t) {
    backend.adam_step(
        theta, g, T(0.5), {m.data(), n}, {v.data(), n},
        {rate, beta1, beta2, epsilon, decay, 1 - std::pow(beta1, t), 1 - std::pow(beta2, t)});
    for (std::size_t i = 0; i < n; ++i) {
      const double gi = 0.5 * static_cast<double>(g[static_cast<index_t>(i)]);
      mean[i] = beta1 * mean[i] + (1 - beta1) * gi;
      square[i] = beta2 * square[i] + (1 - beta2) * gi * gi;
      const double mean_hat = mean[i] / (1 - std::pow(beta1, t));
      const double square_hat = square[i] / (1 - std::pow(beta2, t));
      p[i] -= rate * (mean_hat / (std::sqrt(square_hat) + epsilon) + decay * p[i]);
    }
  }
  // 1 - β₂ formed in float errs by eps / 0.001, its root by half of that; three steps of 0.01.
  const double eps = static_cast<double>(std::numeric_limits<T>::epsilon());
  for (std::size_t i = 0; i < n; ++i) {
    const double found = static_cast<double>(theta[static_cast<index_t>(i)]);
    CHECK(std::abs(found - p[i]) < tolerance<T>(3, 1, p[i]) + 3 * rate * eps / 0.001);
  }
}

TEST_CASE_TEMPLATE("steps of gradient descent with momentum", B, TESTED_BACKENDS) {
  using T = typename B::scalar;
  const B backend = make_backend<B>();
  for (const bool nesterov : {false, true}) {
    CAPTURE(nesterov);
    workspace<T> w(false);
    constexpr index_t n = 50;
    const auto g = w.flat_input(n);
    const auto theta = w.flat_output("theta", n);
    vb::aligned_vector<T> u(n);
    std::vector<double> p(theta.begin(), theta.end()), velocity(n);
    for (int t = 0; t < 3; ++t) {
      backend.sgd_step(theta, g, T(0.5), {u.data(), n}, {0.125, 0.75, 0.25, nesterov});
      for (std::size_t i = 0; i < n; ++i) {
        const double d = 0.5 * static_cast<double>(g[static_cast<index_t>(i)]) + 0.25 * p[i];
        velocity[i] = 0.75 * velocity[i] + d;
        p[i] -= 0.125 * (nesterov ? d + 0.75 * velocity[i] : velocity[i]);
      }
    }
    for (std::size_t i = 0; i < n; ++i) {
      const double found = static_cast<double>(theta[static_cast<index_t>(i)]);
      CHECK(std::abs(found - p[i]) < tolerance<T>(3, 2, p[i]));
    }
  }
}
