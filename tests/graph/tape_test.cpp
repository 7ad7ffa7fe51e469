#include "vierbein/graph/tape.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "vierbein/backend/cpu.hpp"
#include "vierbein/backend/reference.hpp"
#include "vierbein/core/matrix.hpp"
#include "vierbein/graph/operations.hpp"

TYPE_TO_STRING(vierbein::backend::reference_double);
TYPE_TO_STRING(vierbein::backend::cpu_double);
#define DOUBLE_BACKENDS vierbein::backend::reference_double, vierbein::backend::cpu_double

namespace vb = vierbein;
namespace vg = vierbein::graph;
using vb::activation;
using vb::index_t;
using vb::backend::loss_kind;

namespace {

using oracle = vb::backend::reference_double;

template <class T = double>
vb::matrix<T> random_matrix(index_t rows, index_t cols, std::uint64_t which) {
  vb::matrix<T> m(rows, cols);
  const vb::random_stream stream{31, which};
  for (index_t i = 0; i < m.size(); ++i) {
    m.data()[i] = static_cast<T>(stream.normal(static_cast<std::uint64_t>(i)));
  }
  return m;
}

// Three tasks on a shared trunk of two layers, each with a head, one with a private layer, too.
template <class T>
struct three_tasks {
  static constexpr index_t rows = 30;
  static constexpr std::size_t count = 3;
  vb::parameters<T> theta;
  vb::segment_id w0 = theta.add("trunk/w0", 5, 8, vb::initialiser::he);
  vb::segment_id b0 = theta.add("trunk/b0", 1, 8, vb::initialiser::he);
  vb::segment_id w1 = theta.add("trunk/w1", 8, 6, vb::initialiser::he);
  std::array<vb::segment_id, count> head{}, bias{};
  vb::segment_id own = theta.add("task1/own", 6, 6, vb::initialiser::he);
  vb::matrix<T> x = random_matrix<T>(rows, 5, 0);
  vb::matrix<T> label = random_matrix<T>(rows, count, 1);

  three_tasks() {
    for (std::size_t t = 0; t < count; ++t) {
      const std::string name = "task" + std::to_string(t);
      head[t] = theta.add(name + "/head", 6, 1, vb::initialiser::he);
      bias[t] = theta.add(name + "/bias", 1, 1, vb::initialiser::he);
    }
    theta.initialise(7);
    for (index_t r = 0; r < rows; r += 3) {
      label(r, r % 3) = std::numeric_limits<T>::quiet_NaN();
    }
  }

  template <class B>
  std::array<vg::var<B>, count> operator()(vg::tape<B>& tape) const {
    std::array<vg::var<B>, count> losses;
    const auto z0 = vg::affine(tape.constant(x.view()), tape.parameter(w0), tape.parameter(b0),
                               activation::silu);
    const auto z = vg::dropout(vg::affine(z0, tape.parameter(w1), {}, activation::tanh), 0.2);
    const auto labels = tape.constant(label.view());
    for (std::size_t t = 0; t < count; ++t) {
      const auto latent =
          t == 1 ? vg::affine(z, tape.parameter(own), {}, activation::identity, z) : z;
      const auto p = vg::affine(latent, tape.parameter(head[t]), tape.parameter(bias[t]));
      losses[t] = vg::masked_loss(loss_kind::squared, p,
                                  vg::slice_cols(labels, static_cast<index_t>(t), 1));
    }
    return losses;
  }
};

// Matrix (slabs, parameters) for `backward`; its elements are not zero at first.
template <class T>
vb::matrix<T> gradients(index_t slabs, const vb::parameters<T>& theta) {
  return vb::matrix<T>(slabs, theta.size(), std::numeric_limits<T>::quiet_NaN());
}

// Begins a step in memory that is full of NaN: what is not written must not be read.
template <class B>
void begin(vg::tape<B>& tape, vb::parameters<typename B::scalar>& theta) {
  tape.bind(theta.segments(), theta.values());
  for (int i = 0; i < 2; ++i) {
    tape.begin(vg::mode::training);
    tape.backend().fill(tape.make(1, 1 << 17),
                        std::numeric_limits<typename B::scalar>::quiet_NaN());
  }
  tape.begin(vg::mode::training, {1, 2});
}

}  // namespace

TEST_CASE_TEMPLATE("cotangents swept together equal separate sweeps", B, DOUBLE_BACKENDS) {
  three_tasks<double> model;
  vg::tape<B> tape(B{});
  begin(tape, model.theta);
  const auto losses = model(tape);

  auto together = gradients(4, model.theta);
  // Row 2 has no seed; task 2 stands in row 3.
  const std::array<vg::seed<B>, 3> seeds{{{losses[2], 1, 3}, {losses[0], 1, 0}, {losses[1], 1, 1}}};
  tape.backward(seeds, together.view());

  double largest = 0;
  for (std::size_t t = 0; t < 3; ++t) {
    auto alone = gradients(1, model.theta);
    tape.backward(losses[t], {alone.data(), alone.cols()});
    for (index_t i = 0; i < alone.cols(); ++i) {
      const double found = together(t == 2 ? 3 : static_cast<index_t>(t), i);
      if (std::is_same_v<B, oracle>) {
        CHECK(found == alone(0, i));
      } else {
        CHECK(std::abs(found - alone(0, i)) <= 1e-14);
      }
      largest = std::max(largest, std::abs(alone(0, i)));
    }
  }
  CHECK(largest > 0.1);
  for (index_t i = 0; i < together.cols(); ++i) {
    CHECK(together(2, i) == 0);
  }
  // A task's own parameters have no gradient in the other tasks' rows.
  const auto& head = model.theta.at(model.head[1]);
  for (index_t i = head.offset; i < head.offset + head.size(); ++i) {
    CHECK(together(0, i) == 0);
    CHECK(together(3, i) == 0);
    CHECK(together(1, i) != 0);
  }
}

TEST_CASE_TEMPLATE("some rows reach a value by more ways than others", B, DOUBLE_BACKENDS) {
  vb::parameters<double> theta;
  const auto p = theta.add("p", 4, 3, vb::initialiser::he);
  const auto w = theta.add("w", 3, 3, vb::initialiser::he);
  const auto b = theta.add("b", 4, 3, vb::initialiser::he);
  theta.initialise(9);
  vg::tape<B> tape(B{});
  begin(tape, theta);
  const auto z = vg::square(tape.parameter(p));
  const auto addend = vg::square(tape.parameter(b));
  const auto y = vg::affine(z, tape.parameter(w), {}, activation::tanh, addend);
  // Swept from the last to the first: when y passes its rows on, some of z's have been written.
  const std::array losses{vg::sum(vg::square(y)), vg::sum(y), vg::sum(vg::square(y) * z),
                          vg::mean(y * z) + vg::sum(addend)};
  std::array<vg::seed<B>, 4> seeds;
  for (std::size_t i = 0; i < 4; ++i) {
    seeds[i] = {losses[i], 1, static_cast<index_t>(i) * 2};  // nothing in the odd rows
  }
  auto together = gradients(7, theta);
  tape.backward(seeds, together.view());
  for (index_t row = 0; row < 7; ++row) {
    auto alone = gradients(1, theta);
    if (row % 2 == 0) {
      tape.backward(losses[static_cast<std::size_t>(row / 2)], {alone.data(), alone.cols()});
    } else {
      alone = vb::matrix<double>(1, theta.size(), 0.0);
    }
    for (index_t i = 0; i < theta.size(); ++i) {
      CHECK(std::abs(together(row, i) - alone(0, i)) <= 1e-13);
    }
  }
}

TEST_CASE_TEMPLATE("seeds of one row are summed with their weights", B, DOUBLE_BACKENDS) {
  three_tasks<double> model;
  vg::tape<B> tape(B{});
  begin(tape, model.theta);
  const auto losses = model(tape);
  auto rows = gradients(3, model.theta);
  const std::array<vg::seed<B>, 3> separate{
      {{losses[0], 1, 0}, {losses[1], 1, 1}, {losses[2], 1, 2}}};
  tape.backward(separate, rows.view());
  auto mixed = gradients(2, model.theta);
  const std::array<vg::seed<B>, 5> seeds{{{losses[0], 0.5, 0},
                                          {losses[1], -2, 0},
                                          {losses[0], 0.25, 0},
                                          {losses[1], 3, 1},
                                          {losses[2], 0, 1}}};
  tape.backward(seeds, mixed.view());
  for (index_t i = 0; i < rows.cols(); ++i) {
    CHECK(std::abs(mixed(0, i) - (0.75 * rows(0, i) - 2 * rows(1, i))) <= 1e-13);
    CHECK(std::abs(mixed(1, i) - 3 * rows(1, i)) <= 1e-13);
  }
}

TEST_CASE("rows of the destination may be further apart than the parameters are long") {
  three_tasks<double> model;
  vg::tape<oracle> tape(oracle{});
  begin(tape, model.theta);
  const auto losses = model(tape);
  const index_t n = model.theta.size();
  vb::matrix<double> wide(2, n + 5, 123);
  auto plain = gradients(2, model.theta);
  const std::array<vg::seed<oracle>, 2> seeds{{{losses[0], 1, 0}, {losses[2], 1, 1}}};
  tape.backward(seeds, wide.view().col_range(0, n));
  tape.backward(seeds, plain.view());
  for (index_t r = 0; r < 2; ++r) {
    for (index_t c = 0; c < n + 5; ++c) {
      CHECK(wide(r, c) == (c < n ? plain(r, c) : 123));
    }
  }
}

TEST_CASE("without seeds the gradient is 0, and a loss may be a parameter or a constant") {
  vb::parameters<double> theta;
  const auto id = theta.add("x", 1, 1, vb::initialiser::ones);
  vg::tape<oracle> tape(oracle{});
  begin(tape, theta);
  auto g = gradients(1, theta);
  const auto zero = vb::matrix<double>(1, theta.size(), 0.0);
  tape.backward(std::span<const vg::seed<oracle>>{}, g.view());
  CHECK(g == zero);
  g = gradients(1, theta);
  tape.backward(tape.constant(zero.view().col_range(0, 1)), {g.data(), g.cols()});
  CHECK(g == zero);
  const std::array<vg::seed<oracle>, 2> seeds{
      {{tape.parameter(id), 3, 0}, {tape.parameter(id), 4, 0}}};
  tape.backward(seeds, g.view());
  CHECK(g(0, 0) == 7);
}

namespace {

// The identity; counts how often its backward runs.
template <class B>
struct counted {
  vg::var<B> x;
  int* calls;
  void forward(vg::tape<B>& t, vb::backend::matrix_of<B> out) const {
    t.backend().copy(1, x.value(), out, false);
  }
  void backward(vg::tape<B>& t, vb::backend::const_matrix_of<B>, vb::backend::const_matrix_of<B> dy,
                index_t slab) const {
    ++*calls;
    if (const auto d = t.gradient(x, slab)) {
      t.backend().copy(1, dy, d.view, d.accumulate);
    }
  }
};

template <class B>
vg::var<B> count_backward(vg::var<B> x, int& calls) {
  return x.owner->record(x.rows(), x.cols(), {x}, counted<B>{x, &calls});
}

}  // namespace

TEST_CASE("frozen parameters receive exactly 0 and cost no backward work") {
  vb::parameters<double> theta;
  const auto w = theta.add("trunk/w", 3, 3, vb::initialiser::he);
  const auto v = theta.add("head/v", 3, 1, vb::initialiser::he);
  theta.initialise(2);
  const auto x = random_matrix(4, 3, 0);
  for (const bool frozen : {false, true}) {
    theta.freeze("trunk", frozen);
    vg::tape<oracle> tape(oracle{});
    begin(tape, theta);
    int trunk_calls = 0;
    int head_calls = 0;
    const auto z = vg::affine(tape.constant(x.view()), tape.parameter(w), {}, activation::silu);
    const auto h = count_backward(z, trunk_calls);
    const auto p = count_backward(vg::affine(h, tape.parameter(v), {}), head_calls);
    CHECK(tape.wants_gradient(h) == !frozen);
    auto g = gradients(1, theta);
    tape.backward(vg::sum(vg::square(p)), {g.data(), g.cols()});
    CHECK(trunk_calls == (frozen ? 0 : 1));
    CHECK(head_calls == 1);
    for (index_t i = 0; i < 9; ++i) {
      CHECK((g(0, theta.at(w).offset + i) == 0) == frozen);
    }
    for (index_t i = 0; i < 3; ++i) {
      CHECK(g(0, theta.at(v).offset + i) != 0);
    }
  }
}

TEST_CASE("a frozen head passes the gradient on to its trunk") {
  vb::parameters<double> theta;
  const auto w = theta.add("trunk/w", 3, 3, vb::initialiser::he);
  const auto v = theta.add("head/v", 3, 1, vb::initialiser::he);
  theta.initialise(2);
  const auto x = random_matrix(4, 3, 0);
  const auto gradient = [&](bool frozen) {
    theta.freeze("head", frozen);
    vg::tape<oracle> tape(oracle{});
    begin(tape, theta);
    const auto z = vg::affine(tape.constant(x.view()), tape.parameter(w), {}, activation::silu);
    auto g = gradients(1, theta);
    tape.backward(vg::sum(vg::square(vg::affine(z, tape.parameter(v), {}))), {g.data(), g.cols()});
    return g;
  };
  const auto free = gradient(false);
  const auto frozen = gradient(true);
  for (index_t i = 0; i < theta.size(); ++i) {
    CHECK(frozen(0, i) == (i < theta.at(v).offset ? free(0, i) : 0));
  }
}

TEST_CASE("an operation runs backward once for each slab that reaches it") {
  vb::parameters<double> theta;
  const auto w = theta.add("w", 2, 2, vb::initialiser::he);
  theta.initialise(2);
  vg::tape<oracle> tape(oracle{});
  begin(tape, theta);
  int trunk = 0;
  int branch = 0;
  const auto z = count_backward(vg::square(tape.parameter(w)), trunk);
  const auto a = vg::sum(z);
  const auto b = vg::sum(count_backward(z, branch));
  const auto c = vg::mean(z);
  auto g = gradients(4, theta);
  const std::array<vg::seed<oracle>, 3> seeds{{{a, 1, 0}, {b, 1, 1}, {c, 1, 3}}};
  tape.backward(seeds, g.view());
  CHECK(trunk == 3);
  CHECK(branch == 1);
  trunk = branch = 0;
  tape.backward(a, {g.data(), theta.size()});
  CHECK(trunk == 1);
  CHECK(branch == 0);
}

TEST_CASE("a step repeated has the same bits") {
  using B = vb::backend::cpu;
  three_tasks<float> model;
  vg::tape<B> tape(B{2});
  tape.bind(model.theta.segments(), model.theta.values());
  const auto step = [&] {
    tape.begin(vg::mode::training, {5, 6});
    const auto losses = model(tape);
    auto g = gradients(3, model.theta);
    const std::array<vg::seed<B>, 3> seeds{
        {{losses[0], 1, 0}, {losses[1], 1, 1}, {losses[2], 1, 2}}};
    tape.backward(seeds, g.view());
    std::array<double, 3> values{};
    tape.read(losses, values);
    return std::pair{g, values};
  };
  const auto first = step();
  for (int i = 0; i < 3; ++i) {
    const auto again = step();
    CHECK(std::memcmp(again.first.data(), first.first.data(),
                      sizeof(float) * static_cast<std::size_t>(first.first.size())) == 0);
    CHECK(again.second == first.second);
  }
  // A sweep repeated within a step, too.
  tape.begin(vg::mode::training, {5, 6});
  const auto losses = model(tape);
  for (int i = 0; i < 2; ++i) {
    auto g = gradients(1, model.theta);
    tape.backward(losses[1], {g.data(), g.cols()});
    CHECK(std::memcmp(g.data(), first.first.row(1).data(), first.first.row(1).size_bytes()) == 0);
  }
  // Another stream drops other elements.
  tape.begin(vg::mode::training, {5, 7});
  CHECK(tape.read(model(tape)[0]) != first.second[0]);
}

TEST_CASE("the number of threads changes no bit of a step, with a layer that occurs repeatedly") {
  using B = vb::backend::cpu;
  vb::parameters<float> theta;
  std::vector<vb::segment_id> w;
  for (int i = 0; i < 3; ++i) {
    w.push_back(theta.add("w" + std::to_string(i), 70, 70, vb::initialiser::he));
  }
  theta.initialise(3);
  const auto x = random_matrix<float>(6 * 300, 70, 3);
  const auto gradient = [&](int threads) {
    vg::tape<B> tape(B{threads});
    begin(tape, theta);
    std::vector<vg::var<B>> layers;
    for (const std::size_t i : {0U, 1U, 0U, 2U, 1U, 0U}) {
      layers.push_back(tape.parameter(w[i]));
    }
    auto y = vg::affine_stacked<B>(tape.constant(x.view()), layers, {}, activation::relu);
    y = vg::affine_stacked<B>(y, layers, {}, activation::relu);
    auto g = gradients(1, theta);
    tape.backward(vg::mean(vg::square(y)), {g.data(), g.cols()});
    return g;
  };
  const auto one = gradient(1);
  for (int run = 0; run < 3; ++run) {
    for (const int threads : {2, 3, 7}) {
      const auto many = gradient(threads);
      CHECK(std::memcmp(one.data(), many.data(),
                        sizeof(float) * static_cast<std::size_t>(one.size())) == 0);
    }
  }
}

TEST_CASE("a value used by several operations collects all their gradients") {
  vb::parameters<double> theta;
  const auto id = theta.add("x", 1, 2, vb::initialiser::zeros);
  theta.view(id)(0, 0) = 3;
  theta.view(id)(0, 1) = -2;
  vg::tape<oracle> tape(oracle{});
  begin(tape, theta);
  // y = 2 x, loss = Σ y² + Σ y y + 5 y_0 + Σ (y + y); ∂/∂x = 2 (4 y + 5 e_0 + 2)
  const auto y = 2.0 * tape.parameter(id);
  const auto loss =
      vg::sum(vg::square(y)) + vg::sum(y * y) + 5.0 * vg::slice_cols(y, 0, 1) + vg::sum(y + y);
  CHECK(tape.read(loss) == 2 * (36 + 16) + 5 * 6 + 2 * (6 - 4));
  auto g = gradients(1, theta);
  tape.backward(loss, {g.data(), g.cols()});
  CHECK(g(0, 0) == 2 * (4 * 6 + 5 + 2));
  CHECK(g(0, 1) == 2 * (4 * -4 + 2));
  CHECK(tape.parameter(id).id == tape.parameter(id).id);
}

TEST_CASE("values worked out by hand") {
  vg::tape<oracle> tape(oracle{});
  tape.begin(vg::mode::evaluation);
  const auto matrix = [&](index_t rows, index_t cols, std::vector<double> values) {
    const auto copy = tape.make(rows, cols);
    std::copy(values.begin(), values.end(), copy.data);
    return tape.constant(copy);
  };
  const auto values = [](vg::var<oracle> x) {
    std::vector<double> all;
    for (index_t r = 0; r < x.rows(); ++r) {
      all.insert(all.end(), x.value().row(r), x.value().row(r) + x.cols());
    }
    return all;
  };
  using numbers = std::vector<double>;
  const auto a = matrix(2, 2, {1, 2, 3, 4});
  const auto b = matrix(2, 2, {5, -6, 7, -8});
  const auto row = matrix(1, 2, {10, 20});

  CHECK(values(vg::affine(a, b, row)) == numbers{29, -2, 53, -30});
  CHECK(values(vg::affine(a, b, row, activation::relu, a)) == numbers{30, 0, 56, 0});
  CHECK(values(vg::affine(a, b, {})) == numbers{19, -22, 43, -50});
  CHECK(values(vg::affine_shared<oracle>(a, std::array{a, b}, std::array{row, row})) ==
        numbers{17, 30, 25, 42, 29, -2, 53, -30});
  CHECK(values(vg::affine_stacked<oracle>(a, std::array{a, b}, {})) == numbers{7, 10, 43, -50});
  using enum vb::backend::transposition;
  CHECK(values(vg::product(a, b)) == numbers{19, -22, 43, -50});
  CHECK(values(vg::product(a, b, nt)) == numbers{-7, -9, -9, -11});
  CHECK(values(vg::product(a, b, tn)) == numbers{26, -30, 38, -44});

  CHECK(values(a + b) == numbers{6, -4, 10, -4});
  CHECK(values(a - b) == numbers{-4, 8, -4, 12});
  CHECK(values(a * b) == numbers{5, -12, 21, -32});
  CHECK(values(b / a) == numbers{5, -3, 7.0 / 3, -2});
  CHECK(values(vg::abs(b)) == numbers{5, 6, 7, 8});
  CHECK(values(vg::sqrt(a, 5)) == numbers{std::sqrt(6), std::sqrt(7), std::sqrt(8), 3});
  CHECK(values(vg::broadcast_row(row, 2)) == numbers{10, 20, 10, 20});
  CHECK(values(vg::broadcast_column(vg::slice_cols(b, 1, 1), 3)) ==
        numbers{-6, -6, -6, -8, -8, -8});

  CHECK(values(vg::sum(a)) == numbers{10});
  CHECK(values(vg::mean(a)) == numbers{2.5});
  CHECK(values(vg::row_sums(a)) == numbers{3, 7});
  CHECK(values(vg::column_sums(a)) == numbers{4, 6});
  CHECK(values(vg::row_norms(matrix(1, 2, {3, 4}), 0)) == numbers{5});
  CHECK(values(vg::mean_squared_error(a, b)) == numbers{(16 + 64 + 16 + 144) / 4.0});
  CHECK(values(vg::weighted_sum<oracle>(std::array{a, b}, std::array{2.0, -1.0})) ==
        numbers{-3, 10, -1, 16});

  CHECK(values(vg::slice_rows(a, 1, 1)) == numbers{3, 4});
  CHECK(values(vg::slice_cols(a, 1, 1)) == numbers{2, 4});
  CHECK(values(vg::concatenate_rows<oracle>(std::array{row, a})) == numbers{10, 20, 1, 2, 3, 4});
  CHECK(values(vg::concatenate_cols<oracle>(std::array{a, vg::slice_cols(b, 0, 1)})) ==
        numbers{1, 2, 5, 3, 4, 7});
  CHECK(values(vg::select_blocks<oracle>(a, 1, std::array<index_t, 3>{1, 1, 0})) ==
        numbers{3, 4, 3, 4, 1, 2});
  CHECK(values(vg::select_blocks<oracle>(a, 2, std::array<index_t, 2>{0, 0})) ==
        numbers{1, 2, 3, 4, 1, 2, 3, 4});
  using indices = std::array<std::int32_t, 3>;
  CHECK(values(vg::gather_rows<oracle>(a, indices{1, 0, 1}, indices{0, 1, 3}, indices{1, 0, 2})) ==
        numbers{3, 4, 1, 2, 3, 4});
  const auto c = matrix(3, 1, {1, 2, 4});
  const std::array<std::int32_t, 4> begin{0, 0, 1, 3};
  CHECK(values(vg::segment_sum<oracle>(c, begin, indices{1, 2, 2})) == numbers{0, 1, 6});
  CHECK(values(vg::segment_mean<oracle>(c, begin, indices{1, 2, 2})) == numbers{0, 1, 3});
  CHECK(values(vg::segment_sum<oracle>(c, begin, indices{2, 0, 1}, indices{2, 2, 1})) ==
        numbers{0, 4, 3});
  // A path of three nodes; edges 0 → 1, 1 → 0, 1 → 2, 2 → 1.
  using edges = std::array<std::int32_t, 4>;
  CHECK(values(vg::edge_messages<oracle>(matrix(3, 1, {100, 200, 300}), matrix(4, 1, {1, 2, 3, 4}),
                                         edges{0, 1, 1, 2}, edges{1, 0, 3, 2}, edges{0, 1, 3, 4},
                                         edges{0, 1, 2, 3})) == numbers{98, 199, 196, 297});

  CHECK(values(vg::layer_norm(matrix(1, 2, {1, 3}), row, row, 3)) == numbers{5, 30});
  CHECK(values(vg::batch_norm(a, row, row, row, matrix(1, 2, {0, 15}), 0.1, 1)) ==
        numbers{-80, -70, -60, -60});
  CHECK(vg::dropout(a, 0.5).id == a.id);
  CHECK(values(vg::group_spread(matrix(3, 1, {1, 2, 6}), 3, 0.5)) == numbers{0.5 * (1 + 25 + 16)});
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(values(vg::masked_loss(loss_kind::squared, a, matrix(2, 2, {0, nan, nan, 2}))) ==
        numbers{2.5});
  CHECK(values(vg::masked_loss(loss_kind::huber, a, matrix(2, 2, {0.5, nan, nan, 0}), 2)) ==
        numbers{(0.125 + 2 * 3) / 2});
  CHECK(tape.read(vg::masked_loss(loss_kind::logistic, matrix(1, 1, {0}), matrix(1, 1, {1}))) ==
        doctest::Approx(std::log(2)));
  CHECK(tape.read(vg::masked_loss(loss_kind::softmax, matrix(2, 4, {1, 1, 1, 1, 9, 9, 9, 9}),
                                  matrix(2, 1, {3, nan}))) == doctest::Approx(std::log(4)));
}

TEST_CASE("batch norm in training moves the running statistics, and uses them in evaluation") {
  vb::parameters<double> theta;
  const auto mean = theta.add("mean", 1, 2, vb::initialiser::zeros);
  const auto variance = theta.add("variance", 1, 2, vb::initialiser::ones);
  theta.freeze("");
  theta.initialise(0);
  const vb::matrix<double> ones(1, 2, 1.0);
  vb::matrix<double> x(2, 2, 3.0);
  x(0, 0) = 1;  // column means 2 and 3, unbiased variances 2 and 0
  vg::tape<oracle> tape(oracle{});
  tape.bind(theta.segments(), theta.values());
  const auto run = [&](vg::mode mode) {
    tape.begin(mode);
    const auto one = tape.constant(ones.view());
    return vg::batch_norm(tape.constant(x.view()), one, one, tape.parameter(mean),
                          tape.parameter(variance), 0.25, 0.0)
        .value()(0, 0);
  };
  CHECK(run(vg::mode::training) == 0);
  CHECK(theta.view(mean)(0, 0) == 0.5);
  CHECK(theta.view(mean)(0, 1) == 0.75);
  CHECK(theta.view(variance)(0, 0) == 1.25);
  CHECK(theta.view(variance)(0, 1) == 0.75);
  CHECK(run(vg::mode::evaluation) == doctest::Approx(1 + 0.5 / std::sqrt(1.25)));
  CHECK(theta.view(mean)(0, 0) == 0.5);
}

TEST_CASE("shapes that do not match are refused in a sentence") {
  vb::parameters<double> theta;
  theta.add("x", 2, 3, vb::initialiser::zeros);
  vg::tape<oracle> tape(oracle{});
  begin(tape, theta);
  const auto m = [&](index_t rows, index_t cols) {
    const auto made = tape.make(rows, cols);
    tape.backend().fill(made, 1);
    return tape.constant(made);
  };
  using list = std::vector<vg::var<oracle>>;
  using indices = std::vector<std::int32_t>;
#define REFUSED(expression, sentence) CHECK_THROWS_WITH_AS((expression), sentence, vb::error)
  REFUSED(m(2, 3) + m(3, 2), "addition: 2 x 3 does not match 3 x 2");
  REFUSED(m(2, 3) - m(2, 2), "subtraction: 2 x 3 does not match 2 x 2");
  REFUSED(m(2, 3) * m(1, 3), "multiplication: 2 x 3 does not match 1 x 3");
  REFUSED(m(2, 3) / m(2, 1), "division: 2 x 3 does not match 2 x 1");
  REFUSED(vg::copy_distances(m(5, 3), 2, 1),
          "copy_distances: 5 rows are not groups of 2 blocks of 2");
  REFUSED(vg::copy_distances(m(4, 3), 0, 1),
          "copy_distances: 4 rows are not groups of 2 blocks of 0");
  REFUSED(vg::affine(m(2, 3), m(4, 5), {}), "affine: the input has 3 columns, the weight 4 rows");
  REFUSED(vg::affine(m(2, 3), m(3, 5), m(1, 4)), "affine: the bias is 1 x 4, expected 1 x 5");
  REFUSED(vg::affine(m(2, 3), m(3, 5), m(2, 5)), "affine: the bias is 2 x 5, expected 1 x 5");
  REFUSED(vg::affine(m(2, 3), m(3, 5), {}, activation::relu, m(1, 5)),
          "affine: the addend is 1 x 5, expected 2 x 5");
  REFUSED(vg::affine_shared<oracle>(m(2, 3), list{m(3, 5), m(3, 4)}, {}),
          "affine: weights with 5 and 4 columns in one group");
  REFUSED(vg::affine_shared<oracle>(m(2, 3), list{m(3, 5), m(3, 5)}, list{m(1, 5)}),
          "affine: 1 biases for 2 weights");
  REFUSED(vg::affine_shared<oracle>(m(2, 3), {}, {}), "affine_shared: no layers");
  REFUSED(vg::affine_stacked<oracle>(m(3, 3), list{m(3, 5), m(3, 5)}, {}),
          "affine_stacked: 3 rows are not divisible among 2 layers");
  REFUSED(vg::affine_stacked<oracle>(m(3, 3), {}, {}), "affine_stacked: no layers");
  REFUSED(vg::product(m(2, 3), m(2, 3)), "product: inner sizes 3 and 2 differ");
  REFUSED(vg::broadcast_row(m(2, 3), 4), "broadcast_row: expected one row, found 2");
  REFUSED(vg::broadcast_column(m(2, 3), 4), "broadcast_column: expected one column, found 3");
  REFUSED(vg::weighted_sum<oracle>(list{m(2, 3), m(2, 2)}, std::array{1.0, 2.0}),
          "weighted_sum: 2 x 2 does not match 2 x 3");
  REFUSED(vg::weighted_sum<oracle>(list{m(2, 3)}, std::array{1.0, 2.0}),
          "weighted_sum: 2 weights for 1 terms");
  REFUSED(vg::slice_rows(m(2, 3), 1, 2), "slice_rows: rows 1 to 3 of a matrix of 2");
  REFUSED(vg::slice_cols(m(2, 3), -1, 2), "slice_cols: columns -1 to 1 of a matrix of 3");
  REFUSED(vg::concatenate_rows<oracle>(list{m(2, 3), m(2, 2)}),
          "concatenate_rows: widths 2 and 3 differ");
  REFUSED(vg::concatenate_cols<oracle>(list{m(2, 3), m(1, 3)}),
          "concatenate_cols: heights 1 and 2 differ");
  REFUSED(vg::concatenate_cols<oracle>(list{}), "concatenate_cols: no matrices");
  REFUSED(vg::concatenate_rows<oracle>(list{}), "concatenate_rows: no matrices");
  REFUSED(vg::select_blocks<oracle>(m(4, 3), 2, std::array<index_t, 1>{2}),
          "select_blocks: block 2 of 2 rows in an input of 4");
  REFUSED(vg::gather_rows<oracle>(m(2, 3), indices{0}, indices{0, 1}, indices{0}),
          "gather_rows: expected 2 segments of 1 rows together, found 1 of 1");
  REFUSED(vg::gather_rows<oracle>(m(2, 3), indices{0}, indices{0, 1, 1}, indices{0, 0}),
          "gather_rows: the inverse of 1 indices has 2");
  REFUSED(vg::segment_sum<oracle>(m(3, 2), indices{0, 2}, indices{0, 0, 0}),
          "segment_sum: expected 1 segments of 3 rows together, found 1 of 2");
  REFUSED(vg::segment_mean<oracle>(m(3, 2), indices{}, indices{0, 0, 0}),
          "segment_mean: no boundaries of segments");
  REFUSED(vg::segment_mean<oracle>(m(3, 2), indices{0, 3}, indices{0, 0}),
          "segment_mean: 3 rows, but 3 items and 2 segment numbers");
  REFUSED(vg::segment_sum<oracle>(m(3, 2), indices{0, 3}, indices{0, 1}, indices{0, 0, 0}),
          "segment_sum: 3 rows, but 2 items and 3 segment numbers");
  REFUSED(vg::edge_messages<oracle>(m(2, 3), m(2, 2), indices{0, 1}, indices{1, 0},
                                    indices{0, 1, 2}, indices{0, 1}),
          "edge_messages: sums of 3 columns, edges of 2");
  REFUSED(vg::edge_messages<oracle>(m(2, 3), m(2, 3), indices{0, 1}, indices{1}, indices{0, 1, 2},
                                    indices{0, 1}),
          "edge_messages: 2 edges, but 2 sources, 1 reverses and 2 edges that leave");
  REFUSED(vg::edge_messages<oracle>(m(3, 3), m(2, 3), indices{0, 1}, indices{1, 0},
                                    indices{0, 1, 2}, indices{0, 1}),
          "edge_messages: expected 3 segments of 2 rows together, found 2 of 2");
  REFUSED(vg::layer_norm(m(2, 3), m(1, 2), m(1, 3)),
          "layer_norm: the gain is 1 x 2, expected 1 x 3");
  REFUSED(vg::layer_norm(m(2, 3), m(1, 3), m(2, 3)),
          "layer_norm: the bias is 2 x 3, expected 1 x 3");
  REFUSED(vg::batch_norm(m(2, 3), m(1, 3), m(1, 3), m(1, 1), m(1, 3)),
          "batch_norm: the running mean is 1 x 1, expected 1 x 3");
  REFUSED(vg::batch_norm(m(2, 3), m(1, 3), m(1, 3), m(1, 3), m(3, 1)),
          "batch_norm: the running variance is 3 x 1, expected 1 x 3");
  REFUSED(vg::dropout(m(2, 3), 1), "dropout: expected a probability in [0, 1), found 1");
  REFUSED(vg::dropout(m(2, 3), -0.5), "dropout: expected a probability in [0, 1), found -0.5");
  REFUSED(vg::dropout(m(2, 3), std::nan("")),
          "dropout: expected a probability in [0, 1), found nan");
  REFUSED(vg::group_spread(m(5, 3), 2, 1), "group_spread: 5 rows in 2 groups");
  REFUSED(vg::group_spread(m(5, 3), 0, 1), "group_spread: 5 rows in 0 groups");
  REFUSED(vg::masked_loss(loss_kind::squared, m(2, 3), m(2, 1)),
          "masked_loss: labels are 2 x 1, expected 2 x 3");
  REFUSED(vg::masked_loss(loss_kind::softmax, m(2, 3), m(2, 3)),
          "masked_loss: labels are 2 x 3, expected 2 x 1");
  REFUSED(tape.parameter(1), "tape: there is no segment 1 among 1");
  REFUSED(tape.parameter(-1), "tape: there is no segment -1 among 1");
  REFUSED(tape.read(m(2, 3)), "tape: expected a 1 x 1 value, found 2 x 3");
  auto g = gradients(2, theta);
  REFUSED(tape.backward(m(2, 3), {g.data(), g.cols()}),
          "tape: expected a 1 x 1 value, found 2 x 3");
  REFUSED(tape.backward(m(1, 1), {g.data(), 3}),
          "tape: a gradient of 3 elements for 16 parameters");
  const vg::seed<oracle> outside{m(1, 1), 1, 2};
  REFUSED(tape.backward({&outside, 1}, g.view()), "tape: seed row 2 of 2");
#undef REFUSED
}
