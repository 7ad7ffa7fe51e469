// The tape: an arena-backed record of operations on matrices, swept backwards for gradients.
//
// An operation is a small struct with
//     void forward(tape&, view out)                                    computes the value,
//     void backward(tape&, const_view y, const_view dy, index_t slab)  passes the cotangent dy on,
// that asks the tape for each input's destination: `if (auto d = tape.gradient(x, slab)) { ... }`.
//
// Convention, once for all operations: a value is assigned; a gradient is assigned by the first
// that writes to it and added to by all others (the destination says which).
//
// Several cotangents can be swept together: slab i belongs to row i of the gradient's destination.
// Each node holds only the slabs that reach it. An operation that gains from seeing all its slabs
// at once defines `void backward_all(tape&, const_view y, const_view dy, index_t first, index_t
// last)` instead, where dy holds the slabs [first, last) stacked.
//
// The losses of several tasks that share a trunk can be swept as one slab through what belongs to
// the tasks: an operation with `index_t fan_out() const` > 0 gives that many blocks of rows from
// one input, block t for task t alone, and it is there that their cotangents part into slabs.
#pragma once

#include <algorithm>
#include <array>
#include <cassert>
#include <initializer_list>
#include <span>
#include <utility>
#include <vector>

#include "vierbein/backend/concept.hpp"
#include "vierbein/core/arena.hpp"
#include "vierbein/core/error.hpp"
#include "vierbein/core/parameters.hpp"
#include "vierbein/graph/gramian.hpp"

namespace vierbein::graph {

/// Whether dropout drops, and batch norm uses the batch's own statistics.
enum class mode { training, evaluation };

template <Backend B>
class tape;

/// A matrix on a tape: a handle to a node. Valid until the tape begins its next step.
template <Backend B>
struct var {
  tape<B>* owner = nullptr;
  std::int32_t id = -1;

  [[nodiscard]] backend::const_matrix_of<B> value() const { return owner->value(*this); }
  [[nodiscard]] index_t rows() const { return value().rows; }
  [[nodiscard]] index_t cols() const { return value().cols; }
  /// False for a handle that was never given a node.
  explicit operator bool() const { return owner != nullptr; }
};

/// Where a gradient goes, and whether it is added to what is there.
template <Backend B>
struct gradient_destination {
  backend::matrix_of<B> view;
  bool accumulate = false;
  /// False when nobody wants this gradient.
  explicit operator bool() const { return view.data != nullptr; }
};

/// A scalar to differentiate: its cotangent `weight` is swept in slab `row`.
template <Backend B>
struct seed {
  var<B> loss;
  double weight = 1;
  index_t row = 0;
};

template <Backend B>
class tape {
 public:
  using backend_type = B;
  using scalar = typename B::scalar;
  using space = typename B::space;
  using view = matrix_view<scalar, space>;
  using const_view = matrix_view<const scalar, space>;
  using var = graph::var<B>;

  explicit tape(B backend) : backend_(std::move(backend)) {}
  tape(const tape&) = delete;
  tape& operator=(const tape&) = delete;

  [[nodiscard]] const B& backend() const { return backend_; }

  /// Forgets all nodes and begins a step. Memory is kept.
  void begin(mode m, random_stream stream = {}) {
    mode_ = m;
    stream_ = stream;
    draws_ = 0;
    sink_ = nullptr;
    no_parameters_ = false;
    nodes_.clear();
    std::fill(parameter_node_.begin(), parameter_node_.end(), -1);
    values_.reset();
    objects_.reset();
    uploaded_.clear();
  }

  /// The parameters that `parameter(id)` refers to: segments, and the flat vector in the backend's
  /// memory. Both must outlive their use.
  void bind(const std::vector<segment>& segments, array_view<scalar, space> theta) {
    segments_ = &segments;
    theta_ = theta;
    parameter_node_.assign(segments.size(), -1);
  }

  [[nodiscard]] bool training() const { return mode_ == mode::training; }

  /// Random numbers for one operation: another stream at each call, the same ones in a repeated
  /// step.
  [[nodiscard]] random_stream next_stream() { return stream_.fork(draws_++); }

  // ---- leaves
  // ------------------------------------------------------------------------------------

  /// A segment of the parameters. The same node whenever it is asked for within a step.
  var parameter(segment_id id) {
    require(id >= 0 && id < static_cast<index_t>(parameter_node_.size()), "tape",
            "there is no segment {} among {}", id, parameter_node_.size());
    auto& cached = parameter_node_[static_cast<std::size_t>(id)];
    if (cached < 0) {
      const segment& s = (*segments_)[static_cast<std::size_t>(id)];
      node n;
      n.value = view{theta_.data + s.offset, s.rows, s.cols};
      n.needs_gradient = !s.frozen;
      n.parameter_offset = s.offset;
      n.segment = id;
      cached = push(n).id;
    }
    return {this, cached};
  }

  /// A constant in the backend's memory, not copied: it must live until the step ends.
  var constant(const_view x) {
    node n;
    n.value = view{const_cast<scalar*>(x.data), x.rows, x.cols, x.stride};
    return push(n);
  }

  /// A constant copied from host memory, converted to the backend's scalar.
  template <class U>
  var upload(matrix_view<const U, host_space> x) {
    node n;
    n.value = make(x.rows, x.cols);
    backend_.upload(x, n.value);
    return push(n);
  }

  /// Row numbers for gathers and segment sums, from host memory; they must live, and stay, until
  /// the step ends. Those of one address travel to a device once a step.
  array_view<const std::int32_t, space> indices(std::span<const std::int32_t> host) {
    const auto n = static_cast<index_t>(host.size());
    if constexpr (std::is_same_v<space, host_space>) {
      return {host.data(), n};
    } else {
      for (const auto& [from, there] : uploaded_) {
        if (from.data() == host.data() && from.size() == host.size()) {
          return {there, n};
        }
      }
      auto* device = values_.template allocate<std::int32_t>(n);
      backend_.upload_indices(host, device);
      uploaded_.push_back({host, device});
      return {device, n};
    }
  }

  // ---- recording
  // ---------------------------------------------------------------------------------

  /// Records an operation with a value of its own.
  template <class Op>
  var record(index_t rows, index_t cols, std::span<const var> inputs, Op op) {
    const view out = make(rows, cols);
    op.forward(*this, out);
    return record_view(out, inputs, op);
  }
  template <class Op>
  var record(index_t rows, index_t cols, std::initializer_list<var> inputs, Op op) {
    return record(rows, cols, std::span<const var>(inputs.begin(), inputs.size()), op);
  }

  /// Records an operation whose value is there already: a part of an input, or a buffer it filled.
  template <class Op>
  var record_view(const_view value, std::span<const var> inputs, Op op) {
    const var y = push_result(value, inputs);
    if (node& n = at(y); n.needs_gradient) {
      n.op = new (objects_.allocate<Op>(1)) Op(op);
      n.backward = &backward_of<Op>;
      if constexpr (requires { op.fan_out(); }) {
        n.fan_out = op.fan_out();
      }
    }
    return y;
  }
  template <class Op>
  var record_view(const_view value, std::initializer_list<var> inputs, Op op) {
    return record_view(value, std::span<const var>(inputs.begin(), inputs.size()), op);
  }

  /// Memory of the backend until the step ends, uninitialised.
  view make(index_t rows, index_t cols) {
    return {values_.template allocate<scalar>(rows * cols), rows, cols};
  }

  /// A small host array until the step ends.
  template <class T>
  std::span<T> host_array(index_t count) {
    return objects_.template make_span<T>(count);
  }
  /// The same, filled from a list.
  template <class T>
  std::span<T> host_array(std::span<const T> from) {
    auto copy = objects_.template make_span<T>(static_cast<index_t>(from.size()));
    std::copy(from.begin(), from.end(), copy.begin());
    return copy;
  }

  // ---- reading
  // -----------------------------------------------------------------------------------

  [[nodiscard]] const_view value(var x) const { return at(x).value; }
  /// The value of a parameter that an operation updates as it runs: running statistics.
  [[nodiscard]] view writable(var x) { return at(x).value; }
  [[nodiscard]] bool wants_gradient(var x) const {
    return x && at(x).needs_gradient && (at(x).segment < 0 || wants_parameter(at(x).segment));
  }

  /// Copies scalars (1 x 1 values) to the host, in one transfer.
  void read(std::span<const var> scalars, std::span<double> out) {
    const view together = gathered(scalars);
    backend_.download(together, matrix_view<double>{out.data(), 1, together.cols});
  }
  /// The same, and returns Σ x² of a vector; a device is waited for once.
  [[nodiscard]] double read(std::span<const var> scalars, std::span<double> out,
                            array_view<const scalar, space> x) {
    const view together = gathered(scalars);
    const matrix_view<double> to{out.data(), 1, together.cols};
    if constexpr (requires { backend_.download_and_squared_norm(together, to, x); }) {
      return backend_.download_and_squared_norm(together, to, x);
    } else {
      backend_.download(together, to);
      return backend_.squared_norm(x);
    }
  }
  [[nodiscard]] double read(var x) {
    double result = 0;
    read({&x, 1}, {&result, 1});
    return result;
  }

  // ---- the sweep
  // ---------------------------------------------------------------------------------

  /// Sweeps all seeds backwards together. Row i of `out` (slabs, length of θ) is assigned
  /// Σ weight ∂loss/∂θ over the seeds of that row; rows may be further apart than θ is long. With
  /// `stop`, the sweep ends there: only parameters that are used behind it get a gradient.
  void backward(std::span<const seed<B>> seeds, view out, var stop = {}) {
    require(out.cols == theta_.size, "tape", "a gradient of {} elements for {} parameters",
            out.cols, theta_.size);
    for (const seed<B>& s : seeds) {
      require(s.row >= 0 && s.row < out.rows, "tape", "seed row {} of {}", s.row, out.rows);
      require_scalar(s.loss);
    }
    destination_ = out;
    backend_.fill(out, scalar{0});
    mark(seeds, {}, 0, stop);
    sweep(seeds, stop);
  }

  /// The gradients of several tasks' losses: row seeds[i].row of `out` (tasks, length of θ) is
  /// assigned that of seed i, with weight 1, and other rows 0. `owners` names the task that each
  /// segment serves alone, or says -1: what lies between the losses and the operations that part
  /// the tasks is then swept for all of them at once.
  void backward(std::span<const seed<B>> seeds, index_t tasks, std::span<const index_t> owners,
                view out) {
    require(out.cols == theta_.size && out.rows == tasks, "tape",
            "gradients of {} x {} for {} tasks and {} parameters", out.rows, out.cols, tasks,
            theta_.size);
    destination_ = out;
    backend_.fill(out, scalar{0});
    const auto rows = objects_.template make_span<index_t>(std::ssize(seeds));
    for (std::size_t i = 0; i < seeds.size(); ++i) {
      rows[i] = seeds[i].row;
    }
    row_of_slab_ = rows;
    owners_ = owners;
    mark_tasks(seeds, tasks, {});
    sweep(seeds, {});
    row_of_slab_ = owners_ = {};
  }

  /// The gradients of several tasks' losses over the parameters that `sink` compares: see
  /// graph/gramian.hpp. Seed i is of slab i and task seeds[i].row among `tasks`; weights are 1.
  void backward(std::span<const seed<B>> seeds, index_t tasks, gramian<B>& sink) {
    sink.begin(seeds);
    sink_ = &sink;
    mark_tasks(seeds, tasks, {});
    sweep(seeds, {});
    sink_ = nullptr;
    sink.end();
  }

  /// The same tasks' gradients with respect to x, stacked (slabs · rows of x, cols); the tape's
  /// memory until the step ends. No parameter gets a gradient.
  const_view backward(std::span<const seed<B>> seeds, index_t tasks, var x) {
    require(x && at(x).needs_gradient && at(x).segment < 0, "tape",
            "nothing before this point depends on parameters");
    no_parameters_ = true;
    mark_tasks(seeds, tasks, x);
    sweep(seeds, x);
    no_parameters_ = false;
    const auto all = stacked_gradient(x, 0, std::ssize(seeds));
    if (!all.accumulate) {
      backend_.fill(all.view, scalar{0});
    }
    return all.view;
  }

  /// The gradient of one loss into a vector.
  void backward(var loss, array_view<scalar, space> out) {
    const seed<B> one{loss, 1.0, 0};
    backward({&one, 1}, view{out.data, 1, out.size});
  }

  /// For operations: where the gradient of x goes in this slab; false when it is not wanted.
  [[gnu::noinline]] gradient_destination<B> gradient(var x, index_t slab) {
    if (!wants_gradient(x)) {
      return {};
    }
    node& n = at(x);
    if (n.parameter_offset >= 0) {
      return {sink_ != nullptr ? sink_->slab(n.segment, slab) : parameter_gradient(n, slab), true};
    }
    prepare(n);
    bool& written = n.written[slab - n.first_slab];
    const bool accumulate = written;
    written = true;
    return {slab_of(n, slab), accumulate};
  }

  /// The same, cleared when nothing was written yet, so that it can be added to in parts.
  [[gnu::noinline]] gradient_destination<B> gradient_to_add(var x, index_t slab) {
    auto d = gradient(x, slab);
    if (d && !d.accumulate) {
      backend_.fill(d.view, scalar{0});
      d.accumulate = true;
    }
    return d;
  }

  /// Slabs [first, last) stacked to one matrix ((last - first) rows, cols); not for parameters.
  gradient_destination<B> stacked_gradient(var x, index_t first, index_t last) {
    if (!wants_gradient(x)) {
      return {};
    }
    node& n = at(x);
    assert(n.parameter_offset < 0);
    prepare(n);
    bool any = false;
    bool all = true;
    for (index_t s = first; s < last; ++s) {
      any = any || n.written[s - n.first_slab];
      all = all && n.written[s - n.first_slab];
    }
    for (index_t s = first; s < last; ++s) {
      if (any && !all && !n.written[s - n.first_slab]) {
        backend_.fill(slab_of(n, s), scalar{0});
      }
      n.written[s - n.first_slab] = true;
    }
    const view one = slab_of(n, first);
    return {view{one.data, one.rows * (last - first), one.cols}, any};
  }

  [[nodiscard]] bool is_parameter(var x) const { return at(x).parameter_offset >= 0; }

  /// For operations with a gradient that is a product inputᵀ dy: whether parameter w takes it as
  /// factors, and the factors of slabs [first, last), `dy` being that of the first and the others
  /// `apart` elements behind one another. They must live until the step ends.
  [[nodiscard]] bool takes_factors(var w) const {
    return sink_ != nullptr && wants_gradient(w) && is_parameter(w) &&
           sink_->takes_factors(at(w).segment);
  }
  void add_factor(var w, const_view input, const_view dy, index_t apart, index_t first,
                  index_t last) {
    sink_->add_factor(at(w).segment, input, dy, apart, first, last);
  }

  /// Whether the last sweep of several tasks was merged in what belongs to the tasks.
  [[nodiscard]] bool was_merged() const { return !slab_of_.empty(); }

  /// For operations with fan_out: whether the cotangents of their blocks part now, that of block t
  /// going to slab parting()[t], or nowhere where that is -1.
  [[nodiscard]] std::span<const index_t> parting() const { return parting_; }

  /// Bytes that the tape has reserved.
  [[nodiscard]] std::size_t capacity() const { return values_.capacity() + objects_.capacity(); }

  /// The most bytes of values and cotangents that a step has taken, in the backend's memory. More
  /// than the limit is refused.
  [[nodiscard]] std::size_t most_taken() const { return values_.most_taken(); }
  void limit(std::size_t bytes) { values_.limit(bytes); }

 private:
  struct node {
    view value;
    scalar* gradient = nullptr;  // slabs [first_slab, last_slab), each (rows, cols), stacked
    bool* written = nullptr;     // per slab
    index_t first_slab = 0;
    index_t last_slab = 0;
    index_t parameter_offset = -1;
    segment_id segment = -1;
    index_t fan_out = 0;          // blocks of rows, one a task
    std::int32_t first_user = 0;  // of a parameter, within a sweep
    bool merged = false;          // its one slab holds the blocks of all tasks
    bool needs_gradient = false;
    std::int32_t* inputs = nullptr;  // those that want a gradient
    index_t input_count = 0;
    void* op = nullptr;
    void (*backward)(tape&, std::int32_t) = nullptr;
  };

  template <class Op>
  static void backward_of(tape& t, std::int32_t id) {
    // Operations do not record while the sweep runs, so references to nodes stay valid.
    if constexpr (requires(Op& op, const_view y) { op.backward_all(t, y, y, 0, 0); }) {
      node& n = t.nodes_[static_cast<std::size_t>(id)];
      for (index_t s = n.first_slab; s < n.last_slab; ++s) {
        if (!n.written[s - n.first_slab]) {
          t.backend_.fill(t.slab_of(n, s), scalar{0});
        }
      }
      const index_t slabs = n.last_slab - n.first_slab;
      static_cast<Op*>(n.op)->backward_all(
          t, n.value, const_view{n.gradient, slabs * n.value.rows, n.value.cols}, n.first_slab,
          n.last_slab);
    } else {
      t.each_written_slab(
          id, [](tape& sweeping, void* what, const_view y, const_view dy, index_t slab) {
            static_cast<Op*>(what)->backward(sweeping, y, dy, slab);
          });
    }
  }

  // Not part of the templates above, so that it is compiled once and not for every operation.
  [[gnu::noinline]] void each_written_slab(std::int32_t id, void (*call)(tape&, void*, const_view,
                                                                         const_view, index_t)) {
    node& n = nodes_[static_cast<std::size_t>(id)];
    for (index_t s = n.first_slab; s < n.last_slab; ++s) {
      if (n.written[s - n.first_slab]) {
        call(*this, n.op, n.value, slab_of(n, s), s);
      }
    }
  }
  [[gnu::noinline]] var push_result(const_view value, std::span<const var> inputs) {
    node n;
    n.value = view{const_cast<scalar*>(value.data), value.rows, value.cols, value.stride};
    for (const var& x : inputs) {
      n.needs_gradient = n.needs_gradient || wants_gradient(x);
    }
    if (n.needs_gradient) {
      n.inputs = objects_.allocate<std::int32_t>(static_cast<index_t>(inputs.size()));
      for (const var& x : inputs) {
        if (wants_gradient(x)) {
          n.inputs[n.input_count++] = x.id;
        }
      }
    }
    return push(n);
  }

  [[nodiscard]] bool wants_parameter(segment_id id) const {
    return sink_ != nullptr ? sink_->compares(id) : !no_parameters_;
  }

  // Says which slabs reach which node behind `stop`. With `slab_of` (task → slab or -1) the seeds
  // are swept merged in slab 0 up to the operations that part them into `slabs`; false when the
  // graph does not allow that.
  [[gnu::noinline]] bool mark(std::span<const seed<B>> seeds, std::span<const index_t> slab_of,
                              index_t slabs, var stop) {
    const bool merge = !slab_of.empty();
    for (node& n : nodes_) {
      n.first_slab = n.last_slab = 0;
      n.gradient = nullptr;
      n.merged = false;
    }
    for (const seed<B>& s : seeds) {
      node& n = at(s.loss);
      widen(n, merge ? 0 : s.row, merge ? 1 : s.row + 1);
      n.merged = merge;
    }
    const std::size_t end = stop ? static_cast<std::size_t>(stop.id) + 1 : 0;
    for (std::size_t i = nodes_.size(); i-- > end;) {
      const node& n = nodes_[i];
      if (n.last_slab <= n.first_slab) {
        continue;
      }
      const bool parts = n.merged && n.fan_out == std::ssize(slab_of);
      for (index_t k = 0; k < n.input_count; ++k) {
        node& x = nodes_[static_cast<std::size_t>(n.inputs[k])];
        if (x.segment >= 0) {
          x.first_user = static_cast<std::int32_t>(i);
          const bool own = n.merged && wants_parameter(x.segment);
          if (own && owner_of(x) < 0) {
            return false;
          }
          if (x.last_slab > x.first_slab && x.merged != own) {
            return false;
          }
          x.merged = own;
          widen(x, n.first_slab, n.last_slab);
          continue;
        }
        require(!stop || n.inputs[k] >= stop.id, "tape",
                "the losses depend on more than the point where the sweep is to end");
        const bool merged = n.merged && !parts;
        if (x.last_slab > x.first_slab && x.merged != merged) {
          return false;
        }
        x.merged = merged;
        widen(x, parts ? 0 : n.first_slab, parts ? slabs : n.last_slab);
      }
    }
    return !stop || !at(stop).merged;
  }

  // The same for one loss of each of several tasks, merged if possible, else each in its slab.
  void mark_tasks(std::span<const seed<B>> seeds, index_t tasks, var stop) {
    const auto slab_of = objects_.template make_span<index_t>(tasks);
    std::fill(slab_of.begin(), slab_of.end(), index_t{-1});
    const auto own = objects_.template make_span<seed<B>>(std::ssize(seeds));
    for (std::size_t i = 0; i < seeds.size(); ++i) {
      require_scalar(seeds[i].loss);
      require(seeds[i].row >= 0 && seeds[i].row < tasks, "tape", "task {} of {}", seeds[i].row,
              tasks);
      slab_of[static_cast<std::size_t>(seeds[i].row)] = static_cast<index_t>(i);
      own[i] = {seeds[i].loss, 1.0, static_cast<index_t>(i)};
    }
    slab_of_ = tasks > 1 ? slab_of : std::span<index_t>{};
    if (slab_of_.empty() || !mark(own, slab_of_, std::ssize(seeds), stop)) {
      slab_of_ = {};
      mark(own, {}, 0, stop);
    }
    if (stop) {
      widen(at(stop), 0, std::ssize(seeds));  // some may not reach it
    }
  }

  // Sweeps what was marked.
  void sweep(std::span<const seed<B>> seeds, var stop) {
    for (std::size_t i = 0; i < seeds.size(); ++i) {
      const seed<B>& s = seeds[i];
      const bool of_task = sink_ != nullptr || no_parameters_ || !row_of_slab_.empty();
      const index_t slab = at(s.loss).merged ? 0 : (of_task ? static_cast<index_t>(i) : s.row);
      if (const auto d = gradient(s.loss, slab)) {
        if (!d.accumulate) {
          backend_.fill(d.view, scalar{0});
        }
        backend_.copy(scalar{1}, scalar_constant(of_task ? 1.0 : s.weight), d.view, true);
      }
    }
    const std::size_t end = stop ? static_cast<std::size_t>(stop.id) + 1 : 0;
    for (std::size_t i = nodes_.size(); i-- > end;) {
      const node& n = nodes_[i];
      if (n.backward != nullptr && n.gradient != nullptr) {
        const bool parts = n.merged && n.fan_out > 0 && n.fan_out == std::ssize(slab_of_);
        parting_ = parts ? slab_of_ : std::span<const index_t>{};
        n.backward(*this, static_cast<std::int32_t>(i));
      }
      for (index_t k = 0; sink_ != nullptr && n.last_slab > n.first_slab && k < n.input_count;
           ++k) {
        const node& x = nodes_[static_cast<std::size_t>(n.inputs[k])];
        if (x.segment >= 0 && x.first_user == static_cast<std::int32_t>(i)) {
          sink_->close(x.segment);
        }
      }
    }
    parting_ = {};
  }

  view gathered(std::span<const var> scalars) {
    const view together = make(1, static_cast<index_t>(scalars.size()));
    for (std::size_t i = 0; i < scalars.size(); ++i) {
      require_scalar(scalars[i]);
      backend_.copy(scalar{1}, value(scalars[i]), together.col_range(static_cast<index_t>(i), 1),
                    false);
    }
    return together;
  }

  void require_scalar(var x) const {
    require(value(x).rows == 1 && value(x).cols == 1, "tape",
            "expected a 1 x 1 value, found {} x {}", value(x).rows, value(x).cols);
  }

  [[gnu::noinline]] var push(const node& n) {
    nodes_.push_back(n);
    return {this, static_cast<std::int32_t>(nodes_.size()) - 1};
  }
  node& at(var x) { return nodes_[static_cast<std::size_t>(x.id)]; }
  const node& at(var x) const { return nodes_[static_cast<std::size_t>(x.id)]; }

  static void widen(node& n, index_t first, index_t last) {
    if (n.last_slab <= n.first_slab) {
      n.first_slab = first;
      n.last_slab = last;
    } else {
      n.first_slab = std::min(n.first_slab, first);
      n.last_slab = std::max(n.last_slab, last);
    }
  }

  void prepare(node& n) {
    if (n.gradient == nullptr) {
      const index_t slabs = n.last_slab - n.first_slab;
      n.gradient = values_.template allocate<scalar>(slabs * n.value.size());
      n.written = objects_.template make_span<bool>(slabs).data();
    }
  }

  view slab_of(const node& n, index_t slab) const {
    return {n.gradient + (slab - n.first_slab) * n.value.size(), n.value.rows, n.value.cols};
  }

  view parameter_gradient(const node& n, index_t slab) const {
    const index_t row = n.merged               ? owner_of(n)
                        : row_of_slab_.empty() ? slab
                                               : row_of_slab_[static_cast<std::size_t>(slab)];
    return {destination_.data + row * destination_.stride + n.parameter_offset, n.value.rows,
            n.value.cols};
  }

  // The task that a parameter serves alone, or -1.
  [[nodiscard]] index_t owner_of(const node& parameter) const {
    return owners_.empty() ? -1 : owners_[static_cast<std::size_t>(parameter.segment)];
  }

  const_view scalar_constant(double v) {
    const view one = make(1, 1);
    backend_.fill(one, static_cast<scalar>(v));
    return one;
  }

  B backend_;
  mode mode_ = mode::training;
  random_stream stream_{};
  std::uint64_t draws_ = 0;
  const std::vector<segment>* segments_ = nullptr;
  array_view<scalar, space> theta_{};
  std::vector<std::int32_t> parameter_node_;
  std::vector<node> nodes_;
  arena<typename B::memory> values_;
  arena<host_memory> objects_;
  std::vector<std::pair<std::span<const std::int32_t>, std::int32_t*>> uploaded_;
  view destination_{};
  gramian<B>* sink_ = nullptr;            // while it receives the parameters' gradients
  bool no_parameters_ = false;            // while they are not wanted
  std::span<const index_t> owners_;       // of segments, and
  std::span<const index_t> row_of_slab_;  // rows of destination_, while tasks have one each
  std::span<const index_t> slab_of_;      // of a task, while slabs are merged
  std::span<const index_t> parting_;
};

}  // namespace vierbein::graph
