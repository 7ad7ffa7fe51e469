// The Gramian without Jacobian equals J Jᵀ, whatever the model and the way.
#include "vierbein/graph/gramian.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "../support/problems.hpp"
#include "vierbein/train/recorder.hpp"
#include "vierbein/vierbein.hpp"

namespace vb = vierbein;
namespace vg = vierbein::graph;
using vb::index_t;
using vb::matrix;
using vb::matrix_view;

namespace {

const std::vector<std::string> names{"a", "b", "c"};

/// The losses of one batch, task 1 without labels if it is to be `absent`.
template <class B, class Model, class Dataset>
struct setting {
  B backend;
  Model model;
  Dataset data;
  std::vector<index_t> rows;
  vb::detail::task_selection tasks{};
  vb::backend::buffer<B> theta{};
  vg::tape<B> tape{backend};

  template <class F>
  void record(F&& f) {
    model.build(data.inputs.shape(), 3);
    for (index_t t = 0; t < model.task_list().size(); ++t) {
      tasks.numbers.push_back(t);
      tasks.names.push_back(model.task_list()[t].name);
      tasks.columns.push_back(t);
    }
    std::vector<index_t> all(static_cast<std::size_t>(data.size()));
    std::iota(all.begin(), all.end(), index_t{0});
    const vb::detail::label_table labels(model, tasks.numbers, data, all);
    theta = vb::backend::buffer<B>(backend, model.theta().size());
    theta.assign(backend, model.theta().values());
    tape.bind(model.theta().segments(), theta.view());
    vb::detail::batch_recorder<B, Model> recorder(model, data.inputs, labels, tasks);
    tape.begin(vg::mode::training, {5, 6});
    const auto recorded = recorder(tape, rows, true);
    std::vector<vg::seed<B>> seeds;
    for (std::size_t t = 0; t < recorded.tasks.size(); ++t) {
      if (recorded.present[t]) {
        seeds.push_back({recorded.tasks[t], 1.0, static_cast<index_t>(t)});
      }
    }
    f(seeds);
  }
};

template <class B, class Model, class Dataset>
void check(B backend, const Model& model, const Dataset& data, std::vector<index_t> rows,
           bool merged = true) {
  using T = typename B::scalar;
  using way = typename vg::gramian<B>::way;
  const double tolerance = std::is_same_v<T, double> ? 1e-13 : 3e-5;
  setting<B, Model, Dataset> s{backend, model, data, std::move(rows)};
  s.record([&](const std::vector<vg::seed<B>>& seeds) {
    const auto count = std::ssize(s.tasks.names);
    const auto slabs = std::ssize(seeds);
    const index_t size = s.model.theta().size();
    matrix<T> j(count, size);
    s.tape.backward(seeds, j.view());
    // The same by tasks: with owners of what the tasks own it is merged, also without a trunk.
    const auto owners = vb::detail::owners_of(s.model.theta().segments(), s.tasks.names);
    for (const bool owned : {true, false}) {
      const std::vector<index_t> nobody(owners.size(), -1);
      matrix<T> rows_of_tasks(count, size, T(7));
      s.tape.backward(seeds, count, owned ? owners : nobody, rows_of_tasks.view());
      CHECK(s.tape.was_merged() == (owned && count > 1));
      double worst = 0;
      for (index_t t = 0; t < count; ++t) {
        double length = 0;
        double apart = 0;
        for (index_t k = 0; k < size; ++k) {
          length = std::hypot(length, double{j(t, k)});
          apart = std::hypot(apart, double{rows_of_tasks(t, k)} - double{j(t, k)});
        }
        worst = std::max(worst, length > 0 ? apart / length : apart);
      }
      CHECK(worst <= tolerance);
    }
    const auto compared = vb::detail::compared_ranges(s.model.theta());
    const auto g_of = [&](std::size_t a, std::size_t b) {
      double total = 0;
      for (const vb::range& r : compared) {
        for (index_t k = r.offset; k < r.offset + r.size; ++k) {
          total += double{j(seeds[a].row, k)} * double{j(seeds[b].row, k)};
        }
      }
      return total;
    };
    for (const bool keep : {false, true}) {
      for (const way how : {way::cheaper, way::panels, way::products}) {
        for (const index_t panel : {index_t{1}, index_t{1} << 18}) {
          vg::gramian<B> sink(s.backend, s.model.theta().segments(), size, compared, count, keep,
                              how, panel);
          for (int again = 0; again < 2; ++again) {
            s.tape.backward(seeds, count, sink);
            CHECK(s.tape.was_merged() == merged);
            matrix<double> g(count, count, -1.0);
            sink.read(g.view());
            for (index_t a = 0; a < slabs; ++a) {
              for (index_t b = 0; b < slabs; ++b) {
                const auto p = static_cast<std::size_t>(a);
                const auto q = static_cast<std::size_t>(b);
                const double length = std::sqrt(g_of(p, p) * g_of(q, q));
                CHECK(length > 0);
                const double found = g(seeds[p].row, seeds[q].row);
                CHECK(std::abs(found - g_of(p, q)) <= tolerance * length);
              }
            }
          }
          if (slabs < count) {
            matrix<double> g(count, count, -1.0);
            sink.read(g.view());
            CHECK(g(0, 1) == 0);
            CHECK(g(1, 1) == 0);
          }
          if (keep) {
            index_t column = 0;
            for (const vb::range& r : compared) {
              for (index_t k = 0; k < r.size; ++k, ++column) {
                for (index_t a = 0; a < slabs; ++a) {
                  const double whole = j(seeds[static_cast<std::size_t>(a)].row, r.offset + k);
                  const index_t task = seeds[static_cast<std::size_t>(a)].row;
                  REQUIRE(double{sink.rows()(task, column)} ==
                          doctest::Approx(whole).epsilon(1e3 * tolerance));
                }
              }
            }
            CHECK(column == sink.columns());
          }
        }
      }
    }
  });
}

template <class Dataset>
Dataset with_gaps(Dataset data, index_t absent_until) {
  for (index_t r = 0; r < absent_until; ++r) {
    data.at(names[1]).values(r, 0) = problems::missing;
  }
  return data;
}

const vb::tasks<> list{vb::regression(names[0]), vb::regression(names[1]),
                       vb::regression(names[2])};
const vb::module_options modules{
    .encoder = {7}, .transfer = {6}, .inverse = {5}, .head = {6}, .dropout = 0.2};

std::vector<index_t> first_rows(index_t n) {
  std::vector<index_t> rows(static_cast<std::size_t>(n));
  std::iota(rows.begin(), rows.end(), index_t{0});
  return rows;
}

}  // namespace

TEST_CASE_TEMPLATE("fully connected trunks, with dropout, GATE and absent tasks", B,
                   vb::backend::reference_double, vb::backend::cpu_double, vb::backend::cpu) {
  using T = typename B::scalar;
  const vb::encoder::mlp encoder{.widths = {24, 9}, .dropout = 0.3};
  for (const index_t absent : {0, 20}) {
    CAPTURE(absent);
    const auto data = with_gaps(problems::related_tasks(60, 5, names, 1), absent);
    check(B{}, vb::multitask<T>(encoder, list, vb::alignment::none{}, modules), data,
          first_rows(18));
    check(B{}, vb::multitask<T>(encoder, list, vb::alignment::gate{}, modules), data,
          first_rows(18));
    check(B{}, vb::multitask<T>(encoder, list, vb::alignment::soft_sharing{}, modules), data,
          first_rows(4));
    const vb::module_options deep{
        .encoder = {7, 6}, .transfer = {6, 5}, .inverse = {5}, .head = {6, 4}};
    check(B{}, vb::multitask<T>(encoder, list, vb::alignment::none{}, deep), data, first_rows(18));
    check(B{}, vb::multitask<T>(encoder, list, vb::alignment::gate{}, deep), data, first_rows(18));
  }
}

TEST_CASE("one task, and no trunk at all") {
  const auto data = problems::related_tasks(60, 5, names, 1);
  const vb::backend::cpu_double backend(1);
  check(backend,
        vb::multitask<double>(vb::encoder::mlp{.widths = {8}}, vb::tasks<>{vb::regression("b")}),
        data, first_rows(9), false);
  check(backend, vb::multitask<double>(vb::encoder::features{}, list), data, first_rows(9), false);
}

TEST_CASE_TEMPLATE("message passing uses one weight several times", B,
                   vb::backend::reference_double, vb::backend::cpu_double) {
  const auto data = with_gaps(problems::graph_tasks(60, names, 2, 3), 12);
  const vb::encoder::dmpnn encoder{.hidden = 11, .depth = 4, .widths = {8}, .dropout = 0.1};
  for (const index_t rows : {3, 25}) {
    check(B{}, vb::multitask<double>(encoder, list, vb::alignment::none{}, modules), data,
          first_rows(rows));
    check(B{}, vb::multitask<double>(encoder, list, vb::alignment::gate{}, modules), data,
          first_rows(rows));
  }
}

TEST_CASE_TEMPLATE("convolutions and normalised channels", B, vb::backend::reference_double,
                   vb::backend::cpu_double) {
  vb::data::dataset<vb::data::image_set> data;
  const vb::image_shape shape{2, 12, 12};
  const auto pixels = problems::normal_matrix<float>(20, shape.size(), 9);
  data.inputs = vb::data::image_set(
      shape, std::span<const float>(pixels.data(), static_cast<std::size_t>(pixels.size())));
  const auto targets = problems::normal_matrix(20, 3, 10);
  for (index_t t = 0; t < 3; ++t) {
    std::vector<double> y;
    for (index_t r = 0; r < 20; ++r) {
      y.push_back(targets(r, t));
    }
    data.add(names[static_cast<std::size_t>(t)], y);
  }
  check(B{},
        vb::multitask<double>(
            vb::encoder::convolutional{.channels = {3, 4}, .kernel = 3, .hidden = {9}}, list),
        data, first_rows(6));
  check(B{}, vb::multitask<double>(vb::encoder::residual{.channels = {3, 4}}, list), data,
        first_rows(6));
}
