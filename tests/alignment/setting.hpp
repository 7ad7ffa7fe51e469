// A small model with task modules for the tests of alignment losses, and the same computed in plain
// loops.
#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "../support/problems.hpp"
#include "vierbein/vierbein.hpp"

namespace setting {

namespace vb = vierbein;
namespace vg = vierbein::graph;
using reference = vb::backend::reference_double;
using vb::index_t;
using matrix = vb::matrix<double>;

using model_type = vb::multitask_model<vb::encoder::mlp, vb::alignment::gate, vb::tasks<>, double>;

inline const std::vector<std::string>& names() {
  static const std::vector<std::string> all{"melting", "toxic", "class", "boiling", "density"};
  return all;
}

inline vb::tasks<> some_tasks(index_t count) {
  vb::tasks<> list;
  const std::vector<vb::tasks<>::head_type> heads{
      vb::head::regression{}, vb::head::binary{}, vb::head::multiclass{3}, vb::head::regression{},
      vb::head::regression{.deviation = vb::head::deviation::huber, .huber_delta = 0.7}};
  for (std::size_t t = 0; t < static_cast<std::size_t>(count); ++t) {
    list.add(names()[t], heads[t]);
  }
  return list;
}

/// A model of `count` tasks with random parameters, and one batch with labels, gaps, unlabelled
/// rows and perturbed copies.
struct batch_of_tasks {
  index_t count;
  index_t rows;
  index_t copies;
  model_type model;
  vb::data::feature_set::batch_type inputs;
  matrix noise;                ///< (copies rows, d_b)
  std::vector<matrix> labels;  ///< (rows, 1) a task
  std::vector<index_t> numbers;

  /// The last `unlabelled` rows have no label of any task.
  explicit batch_of_tasks(index_t tasks, index_t n = 7, index_t k = 2, index_t unlabelled = 2)
      : count(tasks), rows(n), copies(k) {
    model = vb::multitask<double>(vb::encoder::mlp{.widths = {5}, .act = vb::activation::tanh},
                                  some_tasks(tasks), vb::alignment::gate{},
                                  {.encoder = {6, 4},
                                   .transfer = {5, 3},
                                   .inverse = {6},
                                   .head = {5},
                                   .act = vb::activation::tanh,
                                   .latent_act = vb::activation::identity});
    model.build({4}, 21);
    auto& theta = model.theta();
    for (vb::segment_id id = 0; id < static_cast<vb::segment_id>(theta.segments().size()); ++id) {
      const vb::segment& s = theta.at(id);
      if (s.init == vb::initialiser::zeros && !s.frozen) {  // biases, too, shall matter
        const auto values = problems::normal_matrix(s.rows, s.cols, vb::name_hash(s.name));
        std::copy_n(values.data(), values.size(), theta.view(id).data);
      }
    }
    inputs.values = problems::normal_matrix(n, 4, 1);
    noise = problems::normal_matrix(k * n, 5, 2);
    for (index_t i = 0; i < noise.size(); ++i) {
      noise.data()[i] *= 0.2;
    }
    for (index_t t = 0; t < tasks; ++t) {
      numbers.push_back(t);
      auto y = problems::normal_matrix(n, 1, 10 + static_cast<unsigned>(t));
      for (index_t r = 0; r < n; ++r) {
        if (t == 1) {
          y(r, 0) = y(r, 0) > 0 ? 1 : 0;
        } else if (t == 2) {
          y(r, 0) = static_cast<double>((r + t) % 3);
        }
        if ((r + t) % 3 == 2 || r >= n - unlabelled) {
          y(r, 0) = problems::missing;
        }
      }
      labels.push_back(std::move(y));
    }
  }

  /// f(views) on the given tape.
  template <vb::Backend B, class F>
  auto with_views(vg::tape<B>& tape, F&& f) const {
    using var = vg::var<B>;
    auto b = model.trunk()(tape, inputs);
    if (copies > 0) {
      const std::vector<index_t> same(static_cast<std::size_t>(copies), 0);
      const var parts[] = {b, vg::select_blocks<B>(b, rows, same) + tape.upload(noise.view())};
      b = vg::concatenate_rows<B>(parts);
    }
    std::vector<const vb::task_module*> modules;
    std::vector<var> label_vars;
    for (index_t t = 0; t < count; ++t) {
      modules.push_back(&model.module(t));
      label_vars.push_back(tape.upload(labels[static_cast<std::size_t>(t)].view()));
    }
    vb::task_views<B, vb::tasks<>> views(tape, model.task_list(), numbers, modules, label_vars, b,
                                         rows);
    return f(views);
  }

  /// The value of a loss; `stream` chooses the random numbers of the step.
  template <class Loss>
  double value(const Loss& loss, vb::random_stream stream = {3, 3}) const {
    vg::tape<reference> tape{reference{}};
    auto theta = model.theta();
    tape.bind(theta.segments(), theta.values());
    tape.begin(vg::mode::training, stream);
    const auto l = with_views(tape, [&](auto& views) { return loss(views); });
    REQUIRE(l);
    CHECK(l.rows() == 1);
    CHECK(l.cols() == 1);
    return tape.read(l);
  }
  template <class Loss>
  bool absent(const Loss& loss) const {
    vg::tape<reference> tape{reference{}};
    auto theta = model.theta();
    tape.bind(theta.segments(), theta.values());
    tape.begin(vg::mode::training);
    return !with_views(tape, [&](auto& views) { return loss(views); });
  }

  // ---- plain loops

  [[nodiscard]] vb::matrix_view<const double> parameter(const std::string& name) const {
    const auto id = model.theta().find(name);
    REQUIRE(id >= 0);
    return model.theta().view(id);
  }

  /// Layers `name/layer0`, ... with tanh behind each but the last, if that is not `tanh_last`.
  [[nodiscard]] matrix stack(const std::string& name, const matrix& x, bool tanh_last) const {
    matrix h = x;
    for (int layer = 0;; ++layer) {
      const std::string here = name + "/layer" + std::to_string(layer);
      if (model.theta().find(here + "/weight") < 0) {
        return h;
      }
      const bool last =
          model.theta().find(name + "/layer" + std::to_string(layer + 1) + "/weight") < 0;
      h = affine(here, h, !last || tanh_last);
    }
  }
  [[nodiscard]] matrix affine(const std::string& name, const matrix& x, bool bend) const {
    const auto w = parameter(name + "/weight");
    const auto bias = parameter(name + "/bias");
    matrix y(x.rows(), w.cols);
    for (index_t r = 0; r < x.rows(); ++r) {
      for (index_t c = 0; c < w.cols; ++c) {
        double sum = bias(0, c);
        for (index_t i = 0; i < w.rows; ++i) {
          sum += x(r, i) * w(i, c);
        }
        y(r, c) = bend ? std::tanh(sum) : sum;
      }
    }
    return y;
  }

  [[nodiscard]] std::string prefix(index_t t) const {
    return "task/" + names()[static_cast<std::size_t>(t)];
  }
  /// b, or its copy k from 1.
  [[nodiscard]] matrix representation(index_t k = 0) const {
    matrix b = stack("trunk", inputs.values, true);
    for (index_t r = 0; r < rows && k > 0; ++r) {
      for (index_t c = 0; c < b.cols(); ++c) {
        b(r, c) += noise((k - 1) * rows + r, c);
      }
    }
    return b;
  }
  [[nodiscard]] matrix latent(index_t t, index_t k = 0) const {
    return stack(prefix(t) + "/encoder", representation(k), false);
  }
  [[nodiscard]] matrix flat(index_t t, index_t k = 0) const {
    return stack(prefix(t) + "/transfer", latent(t, k), false);
  }
  [[nodiscard]] matrix decode(index_t t, const matrix& u) const {
    return stack(prefix(t) + "/inverse", u, false);
  }
  /// The loss of head t on z.
  [[nodiscard]] double head_loss(index_t t, const matrix& z) const {
    const matrix p = affine(prefix(t) + "/output", stack(prefix(t) + "/head", z, true), false);
    const matrix& y = labels[static_cast<std::size_t>(t)];
    double total = 0;
    double present = 0;
    for (index_t r = 0; r < rows; ++r) {
      if (std::isnan(y(r, 0))) {
        continue;
      }
      ++present;
      const double d = p(r, 0) - y(r, 0);
      if (t == 1) {
        total += std::log(1 + std::exp(p(r, 0))) - y(r, 0) * p(r, 0);
      } else if (t == 2) {
        const double sum = std::exp(p(r, 0)) + std::exp(p(r, 1)) + std::exp(p(r, 2));
        total += std::log(sum) - p(r, static_cast<index_t>(y(r, 0)));
      } else if (t == 4) {
        total += std::abs(d) <= 0.7 ? d * d / 2 : 0.7 * (std::abs(d) - 0.35);
      } else {
        total += d * d;
      }
    }
    return total / present;
  }
};

inline double mean_squared(const matrix& a, const matrix& b) {
  REQUIRE(a.size() == b.size());
  double total = 0;
  for (index_t i = 0; i < a.size(); ++i) {
    total += (a.data()[i] - b.data()[i]) * (a.data()[i] - b.data()[i]);
  }
  return total / static_cast<double>(a.size());
}

/// ‖a_r - b_r‖ of every row, as √(‖·‖² + epsilon).
inline matrix row_distances(const matrix& a, const matrix& b, double epsilon) {
  matrix d(a.rows(), 1);
  for (index_t r = 0; r < a.rows(); ++r) {
    double squares = epsilon;
    for (index_t c = 0; c < a.cols(); ++c) {
      squares += (a(r, c) - b(r, c)) * (a(r, c) - b(r, c));
    }
    d(r, 0) = std::sqrt(squares);
  }
  return d;
}

}  // namespace setting
