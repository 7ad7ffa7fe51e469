// A multi-task model: a trunk shared by all tasks, a module for each task, and how they are
// aligned.
#pragma once

#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "vierbein/alignment/none.hpp"
#include "vierbein/backend/buffer.hpp"
#include "vierbein/core/matrix.hpp"
#include "vierbein/encoder/concept.hpp"
#include "vierbein/model/task_module.hpp"
#include "vierbein/model/task_views.hpp"
#include "vierbein/model/tasks.hpp"

namespace vierbein {

/// Where a task sees an input: at z_t = E_t(b), at u_t = F_t(z_t) in the common frame, or in the
/// last hidden layer of its head.
enum class points_of { latent, flat, head };

/// The model. It knows its architecture from the beginning and its shapes from the first data on,
/// when `build` names all parameters:
///     trunk/...                              the shared encoder
///     task/<name>/{encoder,transfer,inverse,head,output}/...   the task's own module
///     task/<name>/scaling                    (1, 2): mean and deviation of its labels, frozen
///     task/<name>/trunk/...                  a trunk of its own, when it was added with one
/// Without alignment this is hard sharing (Caruana 1997); with alignment::gate it is GATE.
template <class EncoderPolicy, class Alignment, class Tasks, Scalar T = float>
class multitask_model {
  // As values: no list of what the concepts tried.
  static constexpr bool encoder_fits = Encoder<EncoderPolicy>;
  static constexpr bool alignment_fits = AlignmentLoss<Alignment>;
  static_assert(
      encoder_fits,
      "the encoder must offer input_set and build(parameters&, name, shape) -> module with "
      "width() and operator()(tape&, const batch&): see encoder/concept.hpp");
  static_assert(alignment_fits,
                "the alignment loss must offer `static constexpr alignment::latent_space needs`, "
                "copies() and operator()(views&): see alignment/concept.hpp");

 public:
  using scalar = T;
  using encoder_type = EncoderPolicy;
  using alignment_type = Alignment;
  using tasks_type = Tasks;
  using input_set = typename encoder::types_of<EncoderPolicy>::input_set;
  using input_shape = typename input_set::shape_type;
  using input_batch = typename input_set::batch_type;
  using trunk_module = typename encoder::types_of<EncoderPolicy>::module;

  EncoderPolicy encoder{};
  Alignment alignment{};
  module_options modules{};

  multitask_model() = default;
  multitask_model(EncoderPolicy encoder_policy, Tasks task_list, Alignment alignment_policy,
                  module_options options)
      : encoder(std::move(encoder_policy)),
        alignment(std::move(alignment_policy)),
        modules(std::move(options)),
        tasks_(std::move(task_list)) {}

  // ---- shapes and parameters
  // ----------------------------------------------------------------------

  [[nodiscard]] bool built() const {
    return !trunks_.empty() && std::ssize(modules_) == tasks_.size();
  }

  /// Names all parameters and gives them their first values.
  void build(const input_shape& shape, std::uint64_t seed) {
    rebuild(shape, std::vector(static_cast<std::size_t>(tasks_.size()), task_origin::source));
    theta_.initialise(seed);
    for (index_t t = 0; t < tasks_.size(); ++t) {
      set_scaling(t, 0, 1);
    }
  }

  /// Throws for an unusable option of the alignment, which may have changed since `build`.
  void check_alignment() const {
    if constexpr (requires { alignment.validate(); }) {
      alignment.validate();
    }
  }

  /// Names all parameters of tasks that came as `origins` says, as `build` and `append` would have
  /// done one after the other. All values are 0: the caller has better ones, from a file. Throws
  /// when there would be more than `most_parameters` of them, or for an unusable option of the
  /// alignment.
  void rebuild(const input_shape& shape, const std::vector<task_origin>& origins,
               index_t most_parameters = parameters<T>::unlimited) {
    require(tasks_.size() > 0, "model", "there is no task");
    require(std::ssize(origins) == tasks_.size(), "model", "{} origins for {} tasks",
            origins.size(), tasks_.size());
    check_alignment();
    theta_ = {};
    theta_.limit(most_parameters);
    trunks_.clear();
    modules_.clear();
    shape_ = shape;
    trunks_.push_back(encoder.build(theta_, "trunk", shape));
    for (index_t t = 0; t < tasks_.size(); ++t) {
      append_parts(t, origins[static_cast<std::size_t>(t)]);
    }
    theta_.limit(parameters<T>::unlimited);
  }

  /// Appends a task of that origin. Its parameters get first values; all others keep theirs.
  /// Returns its number.
  template <class Head>
  index_t append(const std::string& name, const Head& head, task_origin origin,
                 std::uint64_t seed) {
    require(built(), "model", "a task can be added only to a trained model");
    const auto before = static_cast<segment_id>(theta_.segments().size());
    tasks_.add(name, typename Tasks::head_type(head));
    const index_t t = tasks_.size() - 1;
    append_parts(t, origin);
    for (auto id = before; id < static_cast<segment_id>(theta_.segments().size()); ++id) {
      theta_.initialise(id, seed);
    }
    set_scaling(t, 0, 1);
    return t;
  }

  [[nodiscard]] const Tasks& task_list() const { return tasks_; }
  [[nodiscard]] const input_shape& shape() const { return shape_; }
  [[nodiscard]] parameters<T>& theta() { return theta_; }
  [[nodiscard]] const parameters<T>& theta() const { return theta_; }
  [[nodiscard]] const task_module& module(index_t t) const {
    return modules_[static_cast<std::size_t>(t)];
  }
  [[nodiscard]] const trunk_module& trunk(index_t i = 0) const {
    return trunks_[static_cast<std::size_t>(i)];
  }
  [[nodiscard]] std::string prefix(index_t t) const { return "task/" + tasks_[t].name + "/"; }

  /// Mean and deviation that task t's labels were standardised with.
  [[nodiscard]] double label_mean(index_t t) const { return scaling(t)(0, 0); }
  [[nodiscard]] double label_deviation(index_t t) const { return scaling(t)(0, 1); }
  void set_scaling(index_t t, double mean, double deviation) {
    const auto s = theta_.view(scaling_[static_cast<std::size_t>(t)]);
    s(0, 0) = static_cast<T>(mean);
    s(0, 1) = static_cast<T>(deviation);
  }

  /// Refuses inputs of another shape than the model was built for, and unusable ones.
  void check_inputs(const input_set& inputs) const {
    require(built(), "model", "it has not been trained");
    if constexpr (requires { shape_.describe(); }) {
      require(inputs.shape() == shape_, "inputs", "the model was trained on {}, the inputs have {}",
              shape_.describe(), inputs.shape().describe());
    } else {
      require(inputs.shape() == shape_, "inputs",
              "they have another shape than those the model was trained on");
    }
    inputs.check();
  }

  // ---- computing
  // ----------------------------------------------------------------------------------

  /// b of a batch, followed by `copies` perturbed ones: (n (1 + copies), d_b). The perturbation is
  /// normal with `scale` times the root mean square of b.
  template <Backend B>
  graph::var<B> represent(graph::tape<B>& tape, const trunk_module& trunk, const input_batch& batch,
                          index_t copies, double scale) const {
    using namespace graph;
    const auto b = trunk(tape, batch);
    if (copies == 0) {
      return b;
    }
    const auto rms = sqrt(mean(square(stop_gradient(b))));
    const auto zero = tape.make(b.rows() * copies, b.cols());
    tape.backend().fill(zero, 0);
    const auto noise = add_normal(tape.constant(zero), scale) *
                       broadcast_column(broadcast_row(rms, zero.rows), zero.cols);
    auto same = tape.template host_array<index_t>(copies);
    const var<B> parts[] = {b, select_blocks<B>(b, b.rows(), same) + noise};
    return concatenate_rows<B>(parts);
  }

  /// Predictions of every task for all rows of `inputs`, as the user sees them: one matrix (rows,
  /// outputs) a task, regression in the labels' units, classification as probabilities. Who
  /// predicts again and again keeps a `predictor`.
  template <Backend B>
  std::vector<matrix<double>> predict(const B& backend, const input_set& inputs) const;

  /// The same for task t alone.
  template <Backend B>
  matrix<double> predict(const B& backend, const input_set& inputs, index_t t) const;

  /// `predict` for many calls, a row at a time perhaps: memory and the parameters on the device are
  /// kept from call to call, so that a call with as many rows as the one before allocates nothing.
  ///     auto predict = model.predictor(backend);
  ///     const auto& y = predict(inputs);
  /// y holds one matrix (rows, outputs) a task, as `predict` of the model does, and stays until the
  /// next call. It keeps a copy of the model as it is now: what becomes of the model later
  /// makes no difference.
  template <Backend B>
  [[nodiscard]] auto predictor(const B& backend) const {
    require(built(), "model", "it has not been trained");
    return kept_predictor<B>(*this, backend);
  }

  /// Points of every task, (rows, ·): see points_of.
  template <Backend B>
  std::vector<matrix<double>> coordinates(const B& backend, const input_set& inputs,
                                          points_of kind) const;

 private:
  // The parameters of task t, which is the next one.
  void append_parts(index_t t, task_origin origin) {
    index_t trunk = 0;
    if (origin == task_origin::added_with_trunk) {
      trunk = static_cast<index_t>(trunks_.size());
      trunks_.push_back(encoder.build(theta_, prefix(t) + "trunk", shape_));
    }
    const index_t outputs = tasks_.visit(t, [](const auto& head) { return head.outputs(); });
    auto module = task_module::make(theta_, prefix(t).substr(0, prefix(t).size() - 1),
                                    trunks_[static_cast<std::size_t>(trunk)].width(),
                                    Alignment::needs, modules, outputs);
    module.trunk = trunk;
    module.origin = origin;
    modules_.push_back(std::move(module));
    scaling_.resize(static_cast<std::size_t>(t) + 1);
    scaling_.back() = theta_.add(prefix(t) + "scaling", 1, 2, initialiser::zeros);
    theta_.freeze(prefix(t) + "scaling");
  }

  [[nodiscard]] matrix_view<const T> scaling(index_t t) const {
    return theta_.view(scaling_[static_cast<std::size_t>(t)]);
  }

  // What predicting needs beside the model.
  template <Backend B>
  struct workspace {
    workspace(const B& device, const parameters<T>& from)
        : tape(device), theta(device, from.size()) {
      static_assert(std::is_same_v<typename B::scalar, T>,
                    "the backend computes with another scalar than the model has parameters");
      theta.assign(device, from.values());
      tape.bind(from.segments(), theta.view());
    }
    graph::tape<B> tape;
    backend::buffer<B> theta;
    input_batch batch{};
    std::vector<index_t> rows{}, numbers{};
    std::vector<const task_module*> chosen{};
  };

  template <Backend B>
  class kept_predictor {
   public:
    kept_predictor(const multitask_model& model, const B& backend)
        : kept_(std::make_unique<kept>(model, backend)) {}

    const std::vector<matrix<double>>& operator()(const input_set& inputs) {
      const multitask_model& model = kept_->model;
      model.check_inputs(inputs);
      model.resize_predictions(inputs.size(), out_);
      model.predict_into(kept_->work, inputs, -1,
                         [&](index_t t) -> auto& { return out_[static_cast<std::size_t>(t)]; });
      return out_;
    }

   private:
    struct kept {  // stays where it is when the predictor is moved
      kept(const multitask_model& from, const B& backend)
          : model(from), work(backend, model.theta_) {}
      const multitask_model model;
      workspace<B> work;
    };
    std::unique_ptr<kept> kept_;
    std::vector<matrix<double>> out_;
  };

  void resize_predictions(index_t rows, std::vector<matrix<double>>& out) const {
    out.resize(static_cast<std::size_t>(tasks_.size()));
    for (index_t t = 0; t < tasks_.size(); ++t) {
      auto& one = out[static_cast<std::size_t>(t)];
      const index_t outputs = tasks_.visit(t, [](const auto& head) { return head.outputs(); });
      if (one.rows() != rows || one.cols() != outputs) {
        one = matrix<double>(rows, outputs);
      }
    }
  }

  // Predictions of every task, or of task `only`, into the matrix out_of(task).
  template <Backend B, class F>
  void predict_into(workspace<B>& work, const input_set& inputs, index_t only, F&& out_of) const {
    each_chunk(work, inputs, only,
               [&](auto& tape, const auto& numbers, auto& views, index_t first) {
                 const auto predictions = views.predictions();
                 for (std::size_t k = 0; k < numbers.size(); ++k) {
                   tape.backend().download(
                       predictions[k].value(),
                       out_of(numbers[k]).view().row_range(first, predictions[k].rows()));
                 }
               });
    for (index_t t = 0; t < tasks_.size(); ++t) {
      if (only >= 0 && t != only) {
        continue;
      }
      matrix<double>& rows = out_of(t);
      tasks_.visit(t, [&](const auto& head) {
        for (index_t r = 0; r < rows.rows(); ++r) {
          if (head.standardise) {
            for (double& v : rows.row(r)) {
              v = label_mean(t) + label_deviation(t) * v;
            }
          }
          head.transform(rows.row(r));
        }
      });
    }
  }

  // f(tape, task numbers, views, first row) for every chunk of rows and every trunk, in evaluation
  // mode.
  template <Backend B, class F>
  void each_chunk(workspace<B>& work, const input_set& inputs, index_t only, F&& f) const {
    constexpr index_t chunk = 256;
    auto& [tape, theta, batch, rows, numbers, chosen] = work;
    for (index_t first = 0; first < inputs.size(); first += chunk) {
      rows.resize(static_cast<std::size_t>(std::min(chunk, inputs.size() - first)));
      std::iota(rows.begin(), rows.end(), first);
      inputs.gather(rows, batch);
      tape.begin(graph::mode::evaluation);
      for (index_t i = 0; i < static_cast<index_t>(trunks_.size()); ++i) {
        numbers.clear();
        chosen.clear();
        for (index_t t = 0; t < tasks_.size(); ++t) {
          if (module(t).trunk == i && (only < 0 || t == only)) {
            numbers.push_back(t);
            chosen.push_back(&module(t));
          }
        }
        if (numbers.empty()) {
          continue;
        }
        const auto b = trunk(i)(tape, batch);
        task_views<B, Tasks> views(tape, tasks_, numbers, chosen, {}, b,
                                   static_cast<index_t>(rows.size()));
        f(tape, numbers, views, first);
      }
    }
  }

  Tasks tasks_{};
  input_shape shape_{};
  parameters<T> theta_{};
  std::vector<trunk_module> trunks_;
  std::vector<task_module> modules_;
  std::vector<segment_id> scaling_;
};

// Outside of the class these are no inline functions, so that vierbein::compiled (compiled/) can
// keep them for common models.

template <class EncoderPolicy, class Alignment, class Tasks, Scalar T>
template <Backend B>
std::vector<matrix<double>> multitask_model<EncoderPolicy, Alignment, Tasks, T>::predict(
    const B& backend, const input_set& inputs) const {
  check_inputs(inputs);
  workspace<B> work(backend, theta_);
  std::vector<matrix<double>> out;
  resize_predictions(inputs.size(), out);
  predict_into(work, inputs, -1,
               [&](index_t t) -> auto& { return out[static_cast<std::size_t>(t)]; });
  return out;
}

template <class EncoderPolicy, class Alignment, class Tasks, Scalar T>
template <Backend B>
matrix<double> multitask_model<EncoderPolicy, Alignment, Tasks, T>::predict(const B& backend,
                                                                            const input_set& inputs,
                                                                            index_t t) const {
  check_inputs(inputs);
  require(t >= 0 && t < tasks_.size(), "model", "there is no task number {}", t);
  workspace<B> work(backend, theta_);
  matrix<double> out(inputs.size(),
                     tasks_.visit(t, [](const auto& head) { return head.outputs(); }));
  predict_into(work, inputs, t, [&](index_t) -> auto& { return out; });
  return out;
}

template <class EncoderPolicy, class Alignment, class Tasks, Scalar T>
template <Backend B>
std::vector<matrix<double>> multitask_model<EncoderPolicy, Alignment, Tasks, T>::coordinates(
    const B& backend, const input_set& inputs, points_of kind) const {
  check_inputs(inputs);
  require(kind != points_of::flat || Alignment::needs == alignment::latent_space::flat, "model",
          "it has no common frame, which GATE would give it");
  std::vector<matrix<double>> out(static_cast<std::size_t>(tasks_.size()));
  workspace<B> work(backend, theta_);
  each_chunk(work, inputs, -1, [&](auto& tape, const auto& numbers, auto& views, index_t first) {
    const auto points = kind == points_of::flat     ? views.flat()
                        : kind == points_of::latent ? views.latent()
                                                    : views.hidden();
    const index_t n = views.rows();
    for (std::size_t k = 0; k < numbers.size(); ++k) {
      auto& rows = out[static_cast<std::size_t>(numbers[k])];
      if (rows.empty()) {
        rows = matrix<double>(inputs.size(), points.cols());
      }
      // Without a latent encoder all tasks share the representation.
      const index_t block = points.rows() == n ? 0 : static_cast<index_t>(k);
      tape.backend().download(points.value().row_range(block * n, n),
                              rows.view().row_range(first, n));
    }
  });
  return out;
}

/// A model from its parts: `multitask(encoder::mlp{}, tasks{regression("a"), binary("b")},
/// alignment::gate{})`. The scalar of its parameters is float, or `multitask<double>(...)`.
template <Scalar T = float, class EncoderPolicy, class Tasks, class Alignment = alignment::none>
multitask_model<EncoderPolicy, Alignment, Tasks, T> multitask(EncoderPolicy encoder, Tasks tasks,
                                                              Alignment alignment = {},
                                                              module_options modules = {}) {
  return {std::move(encoder), std::move(tasks), std::move(alignment), std::move(modules)};
}

}  // namespace vierbein
