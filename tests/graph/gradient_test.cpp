// The gradient of every operation, each alone, against central differences in double.
#include <doctest/doctest.h>

#include <array>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "vierbein/backend/cpu.hpp"
#include "vierbein/backend/reference.hpp"
#include "vierbein/data/graphs.hpp"
#include "vierbein/graph/operations.hpp"
#include "vierbein/testing/gradient_check.hpp"

#define DOUBLE_BACKENDS vierbein::backend::reference_double, vierbein::backend::cpu_double
TYPE_TO_STRING(vierbein::backend::reference_double);
TYPE_TO_STRING(vierbein::backend::cpu_double);

namespace vb = vierbein;
namespace vg = vierbein::graph;
using vb::activation;
using vb::index_t;
using vb::backend::loss_kind;

namespace {

constexpr double missing = std::numeric_limits<double>::quiet_NaN();

struct shape {
  index_t rows, cols;
};

vb::matrix<double> random_matrix(index_t rows, index_t cols, std::uint64_t which) {
  vb::matrix<double> m(rows, cols);
  const vb::random_stream stream{23, which};
  for (index_t i = 0; i < m.size(); ++i) {
    m.data()[i] = stream.normal(static_cast<std::uint64_t>(i));
  }
  return m;
}

template <vb::Backend B>
vg::var<B> constant(vg::tape<B>& tape, const vb::matrix<double>& m) {
  return tape.upload(m.view());
}

/// A scalar that depends on every element of y, and not linearly: Σ R ∘ (y + y² / 2) with fixed
/// random R.
template <vb::Backend B>
vg::var<B> project(vg::var<B> y, std::uint64_t which = 0) {
  const auto r = constant(*y.owner, random_matrix(y.rows(), y.cols(), 100 + which));
  return vg::sum(r * (y + 0.5 * vg::square(y)));
}

template <vb::Backend B>
using operation = std::function<vg::var<B>(vg::tape<B>&, const std::vector<vg::var<B>>&)>;

/// Checks f's gradient with respect to inputs of the given shapes. The inputs are in turn
/// parameters, computed values (whose gradient f is the first to write) and computed values that
/// also go elsewhere (so f must add to a gradient). `f(tape, inputs)` returns a matrix.
template <vb::Backend B>
void check_operation(const std::vector<shape>& shapes, const operation<B>& f, double shift = 0) {
  vb::parameters<double> theta;
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    theta.add("x" + std::to_string(i), shapes[i].rows, shapes[i].cols, vb::initialiser::zeros);
    const auto values = random_matrix(shapes[i].rows, shapes[i].cols, i);
    for (index_t k = 0; k < values.size(); ++k) {
      const double x = values.data()[k];
      // `shift` moves the numbers away from 0: to above it, for a logarithm.
      theta.view(static_cast<vb::segment_id>(i)).data[k] = shift > 0 ? shift + std::abs(x) : x;
    }
  }
  for (const std::string use : {"parameter", "computed", "computed and shared"}) {
    CAPTURE(use);
    const bool computed = use.starts_with("computed");
    const bool shared = use.ends_with("shared");
    const auto loss = [&](vg::tape<B>& tape) {
      std::vector<vg::var<B>> x;
      for (std::size_t i = 0; i < shapes.size(); ++i) {
        const auto p = tape.parameter(static_cast<vb::segment_id>(i));
        x.push_back(computed ? 1.25 * p : p);
      }
      auto total = project(f(tape, x));
      for (std::size_t i = 0; i < shapes.size() && shared; ++i) {
        total = total + project(x[i], i + 1);  // swept before f
      }
      return total;
    };
    const auto report = vb::testing::check_gradient(theta, loss, B{});
    CAPTURE(report.where);
    CAPTURE(report.numeric);
    CAPTURE(report.swept);
    CHECK(report.worst < 1e-6);
  }
}

template <class B>
using vars = std::vector<vg::var<B>>;

constexpr activation activations[] = {activation::identity, activation::relu, activation::gelu,
                                      activation::silu, activation::tanh};

// Two graphs: a path of three nodes beside a single node without edges, and a triangle with a tail.
vb::data::graph_set small_graphs() {
  vb::data::graph_set set;
  const auto add = [&set](index_t nodes, std::vector<std::array<std::int32_t, 2>> bonds) {
    const auto first = static_cast<std::int32_t>(set.node_offset.back());
    for (const auto& [u, v] : bonds) {
      const auto e = static_cast<std::int32_t>(set.source.size());
      set.source.insert(set.source.end(), {first + u, first + v});
      set.target.insert(set.target.end(), {first + v, first + u});
      set.reverse.insert(set.reverse.end(), {e + 1, e});
    }
    set.node_offset.push_back(set.node_offset.back() + nodes);
    set.edge_offset.push_back(static_cast<index_t>(set.source.size()));
  };
  add(4, {{0, 1}, {1, 2}});
  add(4, {{0, 1}, {1, 2}, {2, 0}, {2, 3}});
  add(2, {{0, 1}});
  set.node_features = vb::matrix<float>(set.node_offset.back(), 1);
  set.edge_features = vb::matrix<float>(set.edge_offset.back(), 1);
  set.features = vb::matrix<double>(set.size(), 0);
  return set;
}

}  // namespace

TEST_CASE_TEMPLATE("gradient of affine", B, DOUBLE_BACKENDS) {
  for (const activation act : activations) {
    CAPTURE(static_cast<int>(act));
    check_operation<B>({{4, 3}, {3, 2}},
                       [act](auto&, const vars<B>& x) { return vg::affine(x[0], x[1], {}, act); });
    check_operation<B>({{4, 3}, {3, 2}, {1, 2}}, [act](auto&, const vars<B>& x) {
      return vg::affine(x[0], x[1], x[2], act);
    });
    check_operation<B>({{4, 3}, {3, 2}, {1, 2}, {4, 2}}, [act](auto&, const vars<B>& x) {
      return vg::affine(x[0], x[1], x[2], act, x[3]);
    });
    check_operation<B>({{4, 3}, {3, 2}, {4, 2}}, [act](auto&, const vars<B>& x) {
      return vg::affine(x[0], x[1], {}, act, x[2]);
    });
  }
}

TEST_CASE_TEMPLATE("gradient of affine with a constant input, weight or bias", B, DOUBLE_BACKENDS) {
  check_operation<B>({{3, 2}, {1, 2}}, [](auto& tape, const vars<B>& x) {
    return vg::affine(constant(tape, random_matrix(4, 3, 9)), x[0], x[1], activation::gelu);
  });
  check_operation<B>({{4, 3}}, [](auto& tape, const vars<B>& x) {
    return vg::affine(x[0], constant(tape, random_matrix(3, 2, 9)),
                      constant(tape, random_matrix(1, 2, 8)), activation::silu);
  });
}

TEST_CASE_TEMPLATE("gradient of affine on slices and where an input is used twice", B,
                   DOUBLE_BACKENDS) {
  check_operation<B>({{5, 6}, {6, 7}, {1, 4}}, [](auto&, const vars<B>& x) {
    return vg::affine(vg::slice_cols(vg::slice_rows(x[0], 1, 3), 2, 3),
                      vg::slice_cols(vg::slice_rows(x[1], 3, 3), 1, 2), vg::slice_cols(x[2], 1, 2),
                      activation::tanh);
  });
  check_operation<B>({{3, 3}}, [](auto&, const vars<B>& x) {
    return vg::affine(x[0], x[0], vg::slice_rows(x[0], 1, 1), activation::tanh, x[0]);
  });
}

TEST_CASE_TEMPLATE("gradient of affine_shared", B, DOUBLE_BACKENDS) {
  for (const activation act : activations) {
    CAPTURE(static_cast<int>(act));
    check_operation<B>({{4, 3}, {3, 2}, {3, 2}, {3, 2}, {1, 2}, {1, 2}, {1, 2}},
                       [act](auto&, const vars<B>& x) {
                         return vg::affine_shared<B>(x[0], std::span(x).subspan(1, 3),
                                                     std::span(x).subspan(4), act);
                       });
  }
  check_operation<B>({{4, 3}, {3, 2}, {3, 2}}, [](auto&, const vars<B>& x) {
    return vg::affine_shared<B>(x[0], std::span(x).subspan(1), {}, activation::relu);
  });
}

TEST_CASE_TEMPLATE("gradient of affine_stacked", B, DOUBLE_BACKENDS) {
  for (const activation act : activations) {
    CAPTURE(static_cast<int>(act));
    check_operation<B>({{6, 3}, {3, 2}, {3, 2}, {3, 2}, {1, 2}, {1, 2}, {1, 2}},
                       [act](auto&, const vars<B>& x) {
                         return vg::affine_stacked<B>(x[0], std::span(x).subspan(1, 3),
                                                      std::span(x).subspan(4), act);
                       });
  }
  check_operation<B>({{6, 3}, {3, 2}, {3, 2}}, [](auto&, const vars<B>& x) {
    return vg::affine_stacked<B>(x[0], std::span(x).subspan(1), {}, activation::relu);
  });
}

TEST_CASE_TEMPLATE("gradient of affine groups in which a layer occurs several times", B,
                   DOUBLE_BACKENDS) {
  check_operation<B>({{8, 3}, {3, 2}, {3, 2}, {1, 2}, {1, 2}}, [](auto&, const vars<B>& x) {
    const std::array w{x[1], x[2], x[1], x[1]};
    const std::array b{x[3], x[4], x[3], x[4]};
    return vg::affine_stacked<B>(x[0], w, b, activation::tanh);
  });
  check_operation<B>({{2, 3}, {3, 2}, {3, 2}, {1, 2}, {1, 2}}, [](auto&, const vars<B>& x) {
    const std::array w{x[1], x[2], x[1]};
    const std::array b{x[3], x[4], x[3]};
    return vg::affine_shared<B>(x[0], w, b, activation::tanh);
  });
}

TEST_CASE_TEMPLATE("gradient of products of two matrices", B, DOUBLE_BACKENDS) {
  using enum vb::backend::transposition;
  check_operation<B>({{4, 3}, {3, 2}},
                     [](auto&, const vars<B>& x) { return vg::product(x[0], x[1], nn); });
  check_operation<B>({{4, 3}, {2, 3}},
                     [](auto&, const vars<B>& x) { return vg::product(x[0], x[1], nt); });
  check_operation<B>({{3, 4}, {3, 2}},
                     [](auto&, const vars<B>& x) { return vg::product(x[0], x[1], tn); });
  for (const auto kind : {nn, nt, tn}) {
    check_operation<B>({{3, 3}},
                       [kind](auto&, const vars<B>& x) { return vg::product(x[0], x[0], kind); });
  }
}

TEST_CASE_TEMPLATE("gradient of slices", B, DOUBLE_BACKENDS) {
  check_operation<B>({{5, 4}}, [](auto&, const vars<B>& x) { return vg::slice_rows(x[0], 1, 3); });
  check_operation<B>({{5, 4}}, [](auto&, const vars<B>& x) { return vg::slice_cols(x[0], 1, 2); });
  // Overlapping slices.
  check_operation<B>({{5, 4}}, [](auto&, const vars<B>& x) {
    return vg::slice_rows(x[0], 1, 3) + vg::slice_rows(x[0], 2, 3) * vg::slice_rows(x[0], 0, 3);
  });
}

TEST_CASE_TEMPLATE("gradient of concatenations", B, DOUBLE_BACKENDS) {
  check_operation<B>({{2, 3}, {1, 3}, {3, 3}},
                     [](auto&, const vars<B>& x) { return vg::concatenate_rows<B>(x); });
  check_operation<B>({{2, 3}, {2, 1}, {2, 2}},
                     [](auto&, const vars<B>& x) { return vg::concatenate_cols<B>(x); });
  check_operation<B>({{2, 3}, {2, 3}}, [](auto& tape, const vars<B>& x) {
    const std::array parts{x[0], x[1], x[0], constant(tape, random_matrix(2, 3, 9))};
    return vg::concatenate_rows<B>(parts) *
           vg::concatenate_rows<B>(std::array{x[1], x[1], x[0], x[1]});
  });
}

TEST_CASE_TEMPLATE("gradient of select_blocks with repeated and unused blocks", B,
                   DOUBLE_BACKENDS) {
  check_operation<B>({{8, 3}}, [](auto&, const vars<B>& x) {
    const std::array<index_t, 5> source{2, 0, 2, 3, 2};
    return vg::select_blocks<B>(x[0], 2, source);
  });
}

TEST_CASE_TEMPLATE("gradient of gather_rows", B, DOUBLE_BACKENDS) {
  const std::array<std::int32_t, 6> index{3, 0, 3, 1, 3, 0};
  const std::array<std::int32_t, 5> inverse_begin{0, 2, 3, 3, 6};
  const std::array<std::int32_t, 6> inverse_items{1, 5, 3, 0, 2, 4};
  check_operation<B>({{4, 3}}, [&](auto&, const vars<B>& x) {
    return vg::gather_rows<B>(x[0], index, inverse_begin, inverse_items);
  });
}

TEST_CASE_TEMPLATE("gradient of segment sums and means, with empty segments", B, DOUBLE_BACKENDS) {
  const std::array<std::int32_t, 6> begin{0, 0, 3, 4, 4, 6};
  const std::array<std::int32_t, 6> segment_of{1, 1, 1, 2, 4, 4};
  const std::array<std::int32_t, 6> items{4, 0, 2, 5, 1, 3};
  const std::array<std::int32_t, 6> segment_of_item{1, 4, 1, 4, 1, 2};
  check_operation<B>({{6, 3}}, [&](auto&, const vars<B>& x) {
    return vg::segment_sum<B>(x[0], begin, segment_of);
  });
  check_operation<B>({{6, 3}}, [&](auto&, const vars<B>& x) {
    return vg::segment_mean<B>(x[0], begin, segment_of);
  });
  check_operation<B>({{6, 3}}, [&](auto&, const vars<B>& x) {
    return vg::segment_sum<B>(x[0], begin, items, segment_of_item);
  });
}

TEST_CASE_TEMPLATE("gradient of message passing on graphs", B, DOUBLE_BACKENDS) {
  const vb::data::graph_set set = small_graphs();
  vb::data::graph_set::batch_type batch;
  const std::array<index_t, 3> rows{1, 0, 1};
  set.gather(rows, batch);
  const auto nodes = static_cast<index_t>(batch.graph_of.size());
  const auto edges = static_cast<index_t>(batch.source.size());
  REQUIRE(nodes == 12);
  REQUIRE(edges == 20);
  check_operation<B>({{nodes, 2}, {edges, 2}}, [&](auto&, const vars<B>& x) {
    return vg::edge_messages<B>(x[0], x[1], batch.source, batch.reverse, batch.out_begin,
                                batch.out_edges);
  });
  // A whole step: edges into their target, messages, nodes into their graph.
  check_operation<B>({{edges, 2}, {2, 2}}, [&](auto&, const vars<B>& x) {
    auto h = x[0];
    for (int step = 0; step < 2; ++step) {
      const auto sums = vg::segment_sum<B>(h, batch.in_begin, batch.in_edges, batch.target);
      const auto m = vg::edge_messages<B>(sums, h, batch.source, batch.reverse, batch.out_begin,
                                          batch.out_edges);
      h = vg::affine(m, x[1], {}, activation::tanh, x[0]);
    }
    const auto nodes_of = vg::segment_sum<B>(h, batch.in_begin, batch.in_edges, batch.target);
    return vg::segment_mean<B>(nodes_of, batch.graph_begin, batch.graph_of);
  });
}

TEST_CASE_TEMPLATE("gradient of element-wise functions", B, DOUBLE_BACKENDS) {
  const auto check = [](auto&& f) {
    check_operation<B>({{3, 4}}, [f](auto&, const vars<B>& x) { return f(x[0]); });
  };
  check([](auto x) { return 0.7 * x; });
  check([](auto x) { return x + 0.7; });
  check([](auto x) { return vg::square(x); });
  check([](auto x) { return vg::abs(x); });
  check([](auto x) { return vg::exp(x); });
  check([](auto x) { return vg::softplus(x); });
  check([](auto x) { return vg::sigmoid(x); });
  for (const activation act : activations) {
    check([act](auto x) { return vg::activate(x, act); });
  }
  const auto check_positive = [](auto&& f) {
    check_operation<B>({{3, 4}}, [f](auto&, const vars<B>& x) { return f(x[0]); }, 0.5);
  };
  check_positive([](auto x) { return vg::log(x); });
  check_positive([](auto x) { return vg::sqrt(x); });
  check_positive([](auto x) { return vg::sqrt(x, 0.3); });
}

TEST_CASE_TEMPLATE("gradient of sum, difference, product and quotient", B, DOUBLE_BACKENDS) {
  const auto check = [](auto&& f) {
    check_operation<B>(
        {{3, 4}, {3, 4}}, [f](auto&, const vars<B>& x) { return f(x[0], x[1]); }, 0.5);
    // Both operands the same.
    check_operation<B>({{3, 4}}, [f](auto&, const vars<B>& x) { return f(x[0], x[0]); }, 0.5);
  };
  check([](auto x, auto y) { return x + y; });
  check([](auto x, auto y) { return x - y; });
  check([](auto x, auto y) { return x * y; });
  check([](auto x, auto y) { return x / y; });
}

TEST_CASE_TEMPLATE("gradient of broadcasts", B, DOUBLE_BACKENDS) {
  check_operation<B>({{1, 4}}, [](auto&, const vars<B>& x) { return vg::broadcast_row(x[0], 3); });
  check_operation<B>({{4, 1}},
                     [](auto&, const vars<B>& x) { return vg::broadcast_column(x[0], 3); });
}

TEST_CASE_TEMPLATE("gradient of reductions", B, DOUBLE_BACKENDS) {
  check_operation<B>({{3, 4}}, [](auto&, const vars<B>& x) { return vg::sum(x[0]); });
  check_operation<B>({{3, 4}}, [](auto&, const vars<B>& x) { return vg::mean(x[0]); });
  check_operation<B>({{3, 4}}, [](auto&, const vars<B>& x) { return vg::column_sums(x[0]); });
  check_operation<B>({{3, 4}}, [](auto&, const vars<B>& x) { return vg::row_sums(x[0]); });
  check_operation<B>({{3, 4}}, [](auto&, const vars<B>& x) { return vg::row_norms(x[0]); });
  check_operation<B>({{3, 4}, {3, 4}},
                     [](auto&, const vars<B>& x) { return vg::mean_squared_error(x[0], x[1]); });
  check_operation<B>({{12, 3}}, [](auto&, const vars<B>& x) {
    return vg::copy_distances<B>(vg::slice_cols(x[0], 1, 2), 2, 2);
  });
  // A slice is not contiguous.
  check_operation<B>({{3, 4}}, [](auto&, const vars<B>& x) {
    return vg::row_norms(vg::slice_cols(x[0], 1, 2)) * vg::row_sums(vg::slice_cols(x[0], 2, 2));
  });
}

TEST_CASE_TEMPLATE("gradient of row norms at 0", B, DOUBLE_BACKENDS) {
  check_operation<B>({{3, 4}}, [](auto&, const vars<B>& x) {
    return vg::row_norms(x[0] - vg::stop_gradient(x[0]), 1.0);
  });
  vb::parameters<double> theta;
  const auto id = theta.add("zero", 2, 3, vb::initialiser::zeros);
  vg::tape<B> tape(B{});
  tape.bind(theta.segments(), theta.values());
  tape.begin(vg::mode::training);
  vb::aligned_vector<double> gradient(static_cast<std::size_t>(theta.size()), missing);
  tape.backward(vg::sum(vg::row_norms(tape.parameter(id))),
                vb::array_view<double>{gradient.data(), theta.size()});
  CHECK(gradient == vb::aligned_vector<double>(gradient.size(), 0));
}

TEST_CASE_TEMPLATE("gradient of weighted_sum", B, DOUBLE_BACKENDS) {
  check_operation<B>({{3, 2}, {3, 2}, {3, 2}}, [](auto&, const vars<B>& x) {
    return vg::weighted_sum<B>(std::array{x[0], x[1], x[2], x[0]},
                               std::array{0.5, -2.0, 0.0, 0.25});
  });
}

TEST_CASE_TEMPLATE("gradient of layer norm", B, DOUBLE_BACKENDS) {
  for (const double epsilon : {1e-5, 0.5}) {
    check_operation<B>({{4, 3}, {1, 3}, {1, 3}}, [epsilon](auto&, const vars<B>& x) {
      return vg::layer_norm(x[0], x[1], x[2], epsilon);
    });
  }
}

TEST_CASE_TEMPLATE("gradient of batch norm in training", B, DOUBLE_BACKENDS) {
  for (const double epsilon : {1e-5, 0.5}) {
    check_operation<B>({{4, 3}, {1, 3}, {1, 3}}, [epsilon](auto& tape, const vars<B>& x) {
      const auto mean = constant(tape, vb::matrix<double>(1, 3, 0.0));
      const auto variance = constant(tape, vb::matrix<double>(1, 3, 1.0));
      return vg::batch_norm(x[0], x[1], x[2], mean, variance, 0.1, epsilon);
    });
  }
}

TEST_CASE_TEMPLATE("gradient of random operations, whose numbers are fixed by the step", B,
                   DOUBLE_BACKENDS) {
  check_operation<B>({{5, 4}}, [](auto&, const vars<B>& x) { return vg::dropout(x[0], 0.4); });
  check_operation<B>({{5, 4}}, [](auto&, const vars<B>& x) { return vg::add_normal(x[0], 0.4); });
  check_operation<B>({{5, 4}}, [](auto&, const vars<B>& x) {
    return vg::dropout(x[0], 0.3) * vg::dropout(x[0], 0.5);
  });
}

TEST_CASE_TEMPLATE("gradient of losses with missing labels", B, DOUBLE_BACKENDS) {
  for (const loss_kind kind :
       {loss_kind::squared, loss_kind::absolute, loss_kind::huber, loss_kind::logistic}) {
    CAPTURE(static_cast<int>(kind));
    auto label = random_matrix(5, 3, 7);
    for (index_t i = 0; i < label.size() && kind == loss_kind::logistic; ++i) {
      label.data()[i] = label.data()[i] > 0 ? 1 : 0;
    }
    label(0, 0) = label(2, 1) = label(4, 2) = missing;
    label(3, 0) = label(3, 1) = label(3, 2) = missing;
    check_operation<B>({{5, 3}}, [&](auto& tape, const vars<B>& x) {
      return vg::masked_loss(kind, x[0], constant(tape, label), 0.8);
    });
  }
  vb::matrix<double> classes(5, 1);
  classes(0, 0) = 2;
  classes(1, 0) = classes(4, 0) = missing;
  classes(3, 0) = 1;
  check_operation<B>({{5, 3}}, [&](auto& tape, const vars<B>& x) {
    return vg::masked_loss(loss_kind::softmax, x[0], constant(tape, classes));
  });
}

TEST_CASE_TEMPLATE("gradient of a loss from a mask of the labels, which has none itself", B,
                   DOUBLE_BACKENDS) {
  auto label = random_matrix(5, 3, 7);
  label(0, 0) = label(2, 1) = label(4, 2) = missing;
  check_operation<B>({{5, 3}}, [&](auto& tape, const vars<B>& x) {
    const auto y = constant(tape, label);
    const auto mask = vg::label_mask(y);
    const auto filled = vg::fill_missing(y, 0.5);
    CHECK_FALSE(tape.wants_gradient(mask));
    CHECK_FALSE(tape.wants_gradient(filled));
    CHECK(mask.value()(2, 1) == 0);
    CHECK(mask.value()(2, 0) == 1);
    CHECK(filled.value()(2, 1) == 0.5);
    CHECK(filled.value()(2, 0) == label(2, 0));
    return mask * (vg::exp(x[0]) - filled * x[0]);
  });
  // Of values with a gradient, too, they are constants.
  check_operation<B>({{5, 3}}, [&](auto&, const vars<B>& x) {
    CHECK_FALSE(x[0].owner->wants_gradient(vg::fill_missing(x[0], 1)));
    return vg::label_mask(x[0]) * x[0];
  });
}

TEST_CASE_TEMPLATE("gradient of group_spread", B, DOUBLE_BACKENDS) {
  for (const index_t groups : {1, 2, 3}) {
    check_operation<B>({{6, 2}}, [groups](auto&, const vars<B>& x) {
      return vg::group_spread(x[0], groups, 0.3);
    });
  }
}

TEST_CASE_TEMPLATE("no gradient passes stop_gradient", B, DOUBLE_BACKENDS) {
  vb::parameters<double> theta;
  const auto id = theta.add("x", 2, 3, vb::initialiser::he);
  theta.initialise(1);
  vg::tape<B> tape(B{});
  tape.bind(theta.segments(), theta.values());
  tape.begin(vg::mode::training);
  const auto x = tape.parameter(id);
  vb::aligned_vector<double> gradient(static_cast<std::size_t>(theta.size()), missing);
  tape.backward(vg::sum(x * vg::stop_gradient(x)),
                vb::array_view<double>{gradient.data(), theta.size()});
  for (index_t i = 0; i < 6; ++i) {
    CHECK(gradient[static_cast<std::size_t>(i)] == theta.values()[i]);
  }
}

namespace {

// y = x², but its backward forgets that it must add where a gradient stands already.
template <vb::Backend B>
struct forgetful_square {
  vg::var<B> x;
  void forward(vg::tape<B>& t, vb::backend::matrix_of<B> out) const {
    t.backend().unary(vb::backend::unary::square, 0, x.value(), out);
  }
  void backward(vg::tape<B>& t, vb::backend::const_matrix_of<B>, vb::backend::const_matrix_of<B> dy,
                index_t slab) const {
    if (const auto d = t.gradient(x, slab)) {
      t.backend().multiply_add(2, dy, x.value(), d.view, false);
    }
  }
};

}  // namespace

TEST_CASE_TEMPLATE("these checks find an operation that assigns where it should add", B,
                   DOUBLE_BACKENDS) {
  vb::parameters<double> theta;
  const auto id = theta.add("x", 2, 3, vb::initialiser::he);
  theta.initialise(1);
  const auto report = [&](bool shared) {
    return vb::testing::check_gradient(
        theta,
        [&](vg::tape<B>& tape) {
          const auto x = 1.25 * tape.parameter(id);
          const auto y = project(tape.record(2, 3, {x}, forgetful_square<B>{x}));
          return shared ? y + project(x, 1) : y;
        },
        B{});
  };
  CHECK(report(false));
  CHECK(!report(true));
}
