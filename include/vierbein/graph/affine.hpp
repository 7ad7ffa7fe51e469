// Affine layers, one or many at once, fused with their activation.
#pragma once

#include <algorithm>
#include <functional>
#include <numeric>

#include "vierbein/graph/tape.hpp"

namespace vierbein::graph {

namespace detail {

// A group of chains of affine layers whose outputs are stacked. One layer of chain t is
// y_t = act(x_t w_t + 1 b_t [+ addend_t]); its output is the input of the next one.
//
// Layer by layer, the products of all chains are one group. A backend that works apart may take the
// chains one after the other instead, so that what a layer leaves is still in the cache when the
// next one wants it; every sum is formed in the same order.
template <Backend B>
struct affine_op {
  using tape_type = tape<B>;
  using view = typename tape_type::view;
  using const_view = typename tape_type::const_view;
  using product = backend::product<typename B::scalar, typename B::space>;
  using layer = backend::affine_layer<typename B::scalar, typename B::space>;

  var<B> x;                       // blocks of (n, in)
  std::span<const index_t> from;  // the block that a chain begins with
  std::span<const var<B>> w;      // each (in, out): the first layers of all chains, the second...
  std::span<const var<B>> b;      // each (1, out), like w; empty for none
  std::span<const activation> acts;  // one a layer
  var<B> addend{};                   // (groups n, out) or none; of chains of one layer
  bool by_task = false;
  std::span<view> outputs{};    // of a layer, and act's argument where its derivative
  std::span<view> arguments{};  // needs that
  // Known from the first sweep on:
  std::span<const index_t> by_block{};   // the chains in the order of their blocks
  std::span<const index_t> by_module{};  // the chains, those of one module side by side; no two
                                         // modules have a parameter in common, else it is empty
  std::span<const index_t> begins{};     // where in by_module each module begins, and its end

  [[nodiscard]] index_t groups() const { return std::ssize(from); }
  [[nodiscard]] index_t fan_out() const { return by_task ? groups() : 0; }
  [[nodiscard]] index_t depth() const { return std::ssize(acts); }
  [[nodiscard]] const var<B>& weight(index_t l, index_t t) const {
    return w[static_cast<std::size_t>(l * groups() + t)];
  }
  [[nodiscard]] var<B> bias(index_t l, index_t t) const {
    return b.empty() ? var<B>{} : b[static_cast<std::size_t>(l * groups() + t)];
  }
  [[nodiscard]] activation act(index_t l) const { return acts[static_cast<std::size_t>(l)]; }

  // What chain t's layer l is given, and what the derivative of its activation needs: n rows each.
  [[nodiscard]] const_view input(index_t l, index_t t, index_t n) const {
    if (l > 0) {
      return outputs[static_cast<std::size_t>(l - 1)].row_range(t * n, n);
    }
    return x.value().row_range(block_of(t) * n, n);
  }
  [[nodiscard]] index_t block_of(index_t t) const { return from[static_cast<std::size_t>(t)]; }
  [[nodiscard]] const_view seen(index_t l) const {
    const view argument = arguments[static_cast<std::size_t>(l)];
    return argument.data != nullptr ? argument : outputs[static_cast<std::size_t>(l)];
  }

  void forward(tape_type& tape, view y) {
    const index_t n = y.rows / groups();
    outputs = tape.template host_array<view>(depth());
    arguments = tape.template host_array<view>(depth());
    index_t work = 0;
    for (index_t l = 0; l < depth(); ++l) {
      const auto k = static_cast<std::size_t>(l);
      const index_t cols = weight(l, 0).cols();
      outputs[k] = l + 1 < depth() ? tape.make(y.rows, cols) : y;
      if (backend::formula::derivative_needs_argument(act(l))) {
        arguments[k] = tape.make(y.rows, cols);
      }
      work += y.rows * weight(l, 0).rows() * cols;
    }
    if constexpr (backend::works_apart<B>) {
      const index_t height = B::rows_apart;
      const index_t blocks = (n + height - 1) / height;
      if (depth() > 1 && tape.backend().apart_pays(groups() * blocks, work)) {
        tape.backend().apart(groups() * blocks, work, [&](index_t piece, index_t) {
          const index_t first = piece % blocks * height;
          for (index_t l = 0; l < depth(); ++l) {
            const layer one = part(l, piece / blocks, n, first, std::min(height, n - first));
            tape.backend().affine({&one, 1}, act(l));
          }
        });
        return;
      }
    }
    auto layers = tape.template host_array<layer>(groups());
    for (index_t l = 0; l < depth(); ++l) {
      for (index_t t = 0; t < groups(); ++t) {
        layers[static_cast<std::size_t>(t)] = part(l, t, n, 0, n);
      }
      tape.backend().affine(layers, act(l));
    }
  }

  void backward_all(tape_type& tape, const_view y, const_view dy, index_t first, index_t last) {
    if (by_block.empty()) {
      by_block = sorted_by(tape, groups(), [&](index_t t) { return block_of(t); });
      if (groups() > 1) {
        find_modules(tape);
      }
    }
    if constexpr (backend::works_apart<B>) {
      if (chain_by_chain(tape, y.rows / groups(), dy, first, last)) {
        return;
      }
    }
    for (index_t l = depth(); l-- > 0;) {
      dy = layer_backward(tape, l, y.rows, dy, first, last);
    }
  }

 private:
  // The numbers 0 to `count` - 1 in the order of key(i).
  template <class Key>
  static std::span<index_t> sorted_by(tape_type& tape, index_t count, Key&& key) {
    const auto order = tape.template host_array<index_t>(count);
    std::iota(order.begin(), order.end(), index_t{0});
    std::sort(order.begin(), order.end(),
              [&](index_t p, index_t q) { return key(p) != key(q) ? key(p) < key(q) : p < q; });
    return order;
  }

  // Chains with one first weight are one module.
  void find_modules(tape_type& tape) {
    const auto module_of = [&](index_t t) { return weight(0, t).id; };
    const auto order = sorted_by(tape, groups(), module_of);
    const auto at = [&](index_t i) { return module_of(order[static_cast<std::size_t>(i)]); };
    const auto starts = tape.template host_array<index_t>(groups() + 1);
    std::size_t count = 0;
    for (index_t i = 0; i < groups(); ++i) {
      if (i == 0 || at(i) != at(i - 1)) {
        starts[count++] = i;
      }
    }
    starts[count] = groups();
    // A parameter that occurs in two modules forbids to take them side by side.
    const auto id_of = [&](index_t k) {
      const auto i = static_cast<std::size_t>(k);
      return i < w.size() ? w[i].id : b[i - w.size()].id;
    };
    const auto by_id = sorted_by(tape, static_cast<index_t>(w.size() + b.size()), id_of);
    for (std::size_t i = 1; i < by_id.size(); ++i) {
      if (id_of(by_id[i]) == id_of(by_id[i - 1]) &&
          module_of(by_id[i] % groups()) != module_of(by_id[i - 1] % groups())) {
        return;
      }
    }
    by_module = order;
    begins = starts.first(count + 1);
  }

  // `rows` rows of layer l in chain t, which has n.
  [[nodiscard]] layer part(index_t l, index_t t, index_t n, index_t first, index_t rows) const {
    const auto k = static_cast<std::size_t>(l);
    const auto of = [&](const auto& stacked) { return stacked.row_range(t * n + first, rows); };
    return {input(l, t, n).row_range(first, rows),
            weight(l, t).value(),
            b.empty() ? const_view{} : bias(l, t).value(),
            addend ? const_view(of(addend.value())) : const_view{},
            arguments[k].data != nullptr ? of(arguments[k]) : view{},
            of(outputs[k])};
  }

  // The gradients of layer l of all chains; the cotangents of its input where that is a layer.
  const_view layer_backward(tape_type& tape, index_t l, index_t rows, const_view dy, index_t first,
                            index_t last) {
    const B& backend = tape.backend();
    const index_t slabs = last - first;
    const index_t n = rows / groups();
    const_view dz = dy;
    if (act(l) != activation::identity) {
      const view fresh = tape.make(dy.rows, dy.cols);
      for (index_t s = 0; s < slabs; ++s) {
        backend.activation_backward(act(l), seen(l), dy.row_range(s * rows, rows),
                                    fresh.row_range(s * rows, rows));
      }
      dz = fresh;
    }
    const auto block = [&](index_t s, index_t t) { return dz.row_range(s * rows + t * n, n); };

    if (tape.wants_gradient(addend) && tape.is_parameter(addend)) {
      for (index_t s = 0; s < slabs; ++s) {
        const auto d = tape.gradient(addend, first + s);
        backend.copy(1, dz.row_range(s * rows, rows), d.view, d.accumulate);
      }
    } else if (tape.wants_gradient(addend)) {
      const auto d = tape.stacked_gradient(addend, first, last);
      backend.copy(1, dz, d.view, d.accumulate);
    }
    const_view dx{};
    if (l > 0) {
      const view fresh = tape.make(slabs * rows, weight(l, 0).rows());
      to_input(tape, l, dz, slabs, n, {fresh, false});
      dx = fresh;
    } else if (tape.wants_gradient(x) && tape.is_parameter(x)) {
      for (index_t s = 0; s < slabs; ++s) {
        const auto d = tape.gradient_to_add(x, first + s);
        for (index_t t = 0; t < groups(); ++t) {
          const product one{block(s, t), weight(0, t).value(),
                            d.view.row_range(block_of(t) * n, n)};
          backend.multiply(backend::transposition::nt, {&one, 1}, true);
        }
      }
    } else if (tape.wants_gradient(x) && !tape.parting().empty()) {
      part_tasks(tape, dz, n);
    } else if (tape.wants_gradient(x)) {
      to_input(tape, 0, dz, slabs, n, to_x(tape, n, first, last));
    }
    auto products = tape.template host_array<product>(slabs * groups());
    std::size_t count = 0;
    for (index_t t = 0; t < groups(); ++t) {
      if (tape.takes_factors(weight(l, t))) {
        tape.add_factor(weight(l, t), input(l, t, n), block(0, t), rows * dz.cols, first, last);
      }
    }
    for (index_t s = 0; s < slabs; ++s) {
      for (index_t t = 0; t < groups(); ++t) {
        if (tape.wants_gradient(weight(l, t)) && !tape.takes_factors(weight(l, t))) {
          const auto d = tape.gradient_to_add(weight(l, t), first + s);
          products[count++] = {input(l, t, n), block(s, t), d.view};
        }
        if (!b.empty()) {
          if (const auto d = tape.gradient_to_add(bias(l, t), first + s)) {
            backend.column_sums(block(s, t), d.view, true);
          }
        }
      }
    }
    // A layer may occur several times in the group: products with one destination must be adjacent.
    std::sort(products.begin(), products.begin() + static_cast<std::ptrdiff_t>(count),
              [](const product& p, const product& q) {
                return p.c.data != q.c.data ? std::less<>{}(p.c.data, q.c.data)
                                            : std::less<>{}(p.b.data, q.b.data);
              });
    backend.multiply(backend::transposition::tn, products.first(count), true);
    return dx;
  }

  // dx = dz wᵀ of layer l for all slabs and chains; d is that of a layer's input, or of x.
  void to_input(tape_type& tape, index_t l, const_view dz, index_t slabs, index_t n,
                gradient_destination<B> d) const {
    if (groups() == 1 && d.view.rows == slabs * n) {  // all slabs in one product
      const product all{dz, weight(l, 0).value(), d.view};
      tape.backend().multiply(backend::transposition::nt, {&all, 1}, d.accumulate);
      return;
    }
    const index_t rows = d.view.rows / slabs;
    auto products = tape.template host_array<product>(slabs * groups());
    for (index_t i = 0; i < slabs * groups(); ++i) {
      const index_t s = i / groups();
      const index_t t = l > 0 ? i % groups() : by_block[static_cast<std::size_t>(i % groups())];
      products[static_cast<std::size_t>(i)] = {
          dz.row_range((s * groups() + t) * n, n), weight(l, t).value(),
          d.view.row_range(s * rows + (l > 0 ? t : block_of(t)) * n, n)};
    }
    tape.backend().multiply(backend::transposition::nt, products, d.accumulate);
  }

  // The cotangents of x, cleared where no chain begins with a block of it.
  gradient_destination<B> to_x(tape_type& tape, index_t n, index_t first, index_t last) const {
    auto d = tape.stacked_gradient(x, first, last);
    if (d && !d.accumulate && blocks_used() * n < x.rows()) {
      tape.backend().fill(d.view, 0);
      d.accumulate = true;
    }
    return d;
  }
  [[nodiscard]] index_t blocks_used() const {
    index_t count = groups() > 0 ? 1 : 0;
    for (std::size_t i = 1; i < by_block.size(); ++i) {
      count += block_of(by_block[i]) != block_of(by_block[i - 1]) ? 1 : 0;
    }
    return count;
  }

  // One slab holds the cotangents of all tasks, a block each: into their own slabs of x.
  void part_tasks(tape_type& tape, const_view dz, index_t n) const {
    const auto slab_of = tape.parting();
    const auto slabs =
        std::count_if(slab_of.begin(), slab_of.end(), [](index_t s) { return s >= 0; });
    const auto d = tape.stacked_gradient(x, 0, slabs);
    auto products = tape.template host_array<product>(slabs);
    std::size_t i = 0;
    for (std::size_t t = 0; t < slab_of.size(); ++t) {
      if (slab_of[t] >= 0) {
        const auto task = static_cast<index_t>(t);
        products[i++] = {dz.row_range(task * n, n), weight(0, task).value(),
                         d.view.row_range(slab_of[t] * n, n)};
      }
    }
    tape.backend().multiply(backend::transposition::nt, products, d.accumulate);
  }

  // The same module by module: all of its layers, for every chain that it occurs in. False, and
  // nothing done, where that does not pay or the cotangents of whole layers are wanted.
  bool chain_by_chain(tape_type& tape, index_t n, const_view dy, index_t first, index_t last) {
    const B& backend = tape.backend();
    if (groups() == 1 || by_module.empty() || !tape.parting().empty() || tape.is_parameter(x)) {
      return false;
    }
    const index_t modules = std::ssize(begins) - 1;
    index_t work = 0;
    index_t widest = dy.cols;
    for (index_t l = 0; l < depth(); ++l) {
      for (index_t t = 0; t < groups(); ++t) {
        if (tape.takes_factors(weight(l, t))) {
          return false;
        }
      }
      work += 2 * dy.rows * weight(l, 0).value().size();
      widest = std::max(widest, weight(l, 0).rows());
    }
    const index_t slabs = last - first;
    if (!backend.apart_pays(slabs * modules, work)) {
      return false;
    }
    // What the tape hands out is asked for here: the pieces run side by side.
    gradient_destination<B> dx{};
    view first_cotangents{};  // of first layers, where several chains add to one cotangent of x
    const bool shared = blocks_used() < groups();
    if (tape.wants_gradient(x)) {
      dx = to_x(tape, n, first, last);
      if (shared && (depth() > 1 || act(0) != activation::identity)) {
        first_cotangents = tape.make(dy.rows, weight(0, 0).cols());
      }
    }
    struct destination {
      gradient_destination<B> w, b;
    };
    auto gradients = tape.template host_array<destination>(slabs * groups() * depth());
    std::size_t k = 0;
    for (index_t s = first; s < last; ++s) {
      for (index_t t = 0; t < groups(); ++t) {
        for (index_t l = 0; l < depth(); ++l) {
          gradients[k++] = {
              tape.gradient_to_add(weight(l, t), s),
              b.empty() ? gradient_destination<B>{} : tape.gradient_to_add(bias(l, t), s)};
        }
      }
    }
    const index_t workers = std::min<index_t>(backend.threads(), slabs * modules);
    const view rooms = tape.make(2 * workers, n * widest);
    backend.apart(slabs * modules, work, [&](index_t piece, index_t worker) {
      const index_t s = piece / modules;
      const auto m = static_cast<std::size_t>(piece % modules);
      for (index_t i = begins[m]; i < begins[m + 1]; ++i) {
        const index_t t = by_module[static_cast<std::size_t>(i)];
        const index_t block = s * groups() + t;
        // Where the cotangent of layer l's output, then that of its activation's argument, lies.
        const auto cotangent = [&](index_t l) {
          return l == 0 && first_cotangents.data != nullptr
                     ? first_cotangents.row_range(block * n, n)
                     : view{rooms.row(2 * worker + l % 2), n, weight(l, t).cols()};
        };
        const_view d = dy.row_range(block * n, n);
        for (index_t l = depth(); l-- > 0;) {
          if (act(l) != activation::identity) {
            backend.activation_backward(act(l), seen(l).row_range(t * n, n), d, cotangent(l));
            d = cotangent(l);
          }
          const destination& g = gradients[static_cast<std::size_t>(block * depth() + l)];
          if (g.b) {
            backend.column_sums(d, g.b.view, true);
          }
          if (g.w) {
            const product one{input(l, t, n), d, g.w.view};
            backend.multiply(backend::transposition::tn, {&one, 1}, true);
          }
          if (l > 0 || (dx && !shared)) {
            const view below =
                l > 0 ? cotangent(l - 1) : dx.view.row_range(s * x.rows() + block_of(t) * n, n);
            const product one{d, weight(l, t).value(), below};
            backend.multiply(backend::transposition::nt, {&one, 1}, l == 0 && dx.accumulate);
            d = below;
          }
        }
      }
    });
    if (dx && shared) {
      to_input(tape, 0, first_cotangents.data != nullptr ? const_view(first_cotangents) : dy, slabs,
               n, dx);
    }
    return true;
  }
};

// Checks the shapes of chains of affine layers and records them. Chain t begins with block from[t]
// of x, of n rows.
template <Backend B>
var<B> record_affine(var<B> x, index_t n, std::span<const index_t> from, std::span<const var<B>> w,
                     std::span<const var<B>> b, std::span<const activation> acts,
                     var<B> addend = {}, bool by_task = false) {
  tape<B>& tape = *x.owner;
  const index_t groups = std::ssize(from);
  const index_t rows = groups * n;
  require(b.empty() || b.size() == w.size(), "affine", "{} biases for {} weights", b.size(),
          w.size());
  index_t in = x.cols();
  index_t out = in;
  for (std::size_t i = 0; i < w.size(); ++i) {
    if (static_cast<index_t>(i) % groups == 0) {
      in = out;
      out = w[i].cols();
    }
    require(in == w[i].rows(), "affine", "the input has {} columns, the weight {} rows", in,
            w[i].rows());
    require(w[i].cols() == out, "affine", "weights with {} and {} columns in one group", out,
            w[i].cols());
    if (!b.empty()) {
      require(b[i].rows() == 1 && b[i].cols() == out, "affine",
              "the bias is {} x {}, expected 1 x {}", b[i].rows(), b[i].cols(), out);
    }
  }
  require(!addend || (addend.rows() == rows && addend.cols() == out), "affine",
          "the addend is {} x {}, expected {} x {}", addend ? addend.rows() : 0,
          addend ? addend.cols() : 0, rows, out);
  const affine_op<B> op{x,
                        tape.template host_array<index_t>(from),
                        tape.template host_array<var<B>>(w),
                        tape.template host_array<var<B>>(b),
                        tape.template host_array<activation>(acts),
                        addend,
                        by_task};
  auto inputs = tape.template host_array<var<B>>(static_cast<index_t>(2 + w.size() + b.size()));
  auto end = std::copy(w.begin(), w.end(), inputs.begin());
  end = std::copy(b.begin(), b.end(), end);
  *end++ = x;
  if (addend) {
    *end++ = addend;
  }
  return tape.record(rows, out, std::span<const var<B>>(inputs.begin(), end), op);
}

}  // namespace detail

/// One affine layer: y = act(x w + 1 b [+ addend]). x (n, in), w (in, out), b (1, out) or none,
/// addend (n, out) or none.
template <Backend B>
var<B> affine(var<B> x, var<B> w, var<B> b, activation act = activation::identity,
              var<B> addend = {}) {
  const index_t all = 0;
  return detail::record_affine<B>(x, x.rows(), {&all, 1}, {&w, 1}, {&b, b ? 1U : 0U}, {&act, 1},
                                  addend);
}

/// Many affine layers of one shape on the same input: y_t = act(x w_t + 1 b_t), the y_t stacked to
/// (groups · n, out). `b` may be empty. `by_task` promises that y_t serves task t alone.
template <Backend B>
var<B> affine_shared(var<B> x, std::span<const var<B>> w, std::span<const var<B>> b,
                     activation act = activation::identity, bool by_task = false) {
  require(!w.empty(), "affine_shared", "no layers");
  const std::span<const index_t> all = x.owner->template host_array<index_t>(std::ssize(w));
  return detail::record_affine<B>(x, x.rows(), all, w, b, {&act, 1}, {}, by_task);
}

/// Many affine layers of one shape, each on its own rows: x (groups · n, in) and y (groups · n,
/// out) are stacked. `b` may be empty.
template <Backend B>
var<B> affine_stacked(var<B> x, std::span<const var<B>> w, std::span<const var<B>> b,
                      activation act = activation::identity) {
  require(!w.empty(), "affine_stacked", "no layers");
  require(x.rows() % static_cast<index_t>(w.size()) == 0, "affine_stacked",
          "{} rows are not divisible among {} layers", x.rows(), w.size());
  const auto own = x.owner->template host_array<index_t>(std::ssize(w));
  std::iota(own.begin(), own.end(), index_t{0});
  return detail::record_affine<B>(x, x.rows() / std::ssize(w), own, w, b, {&act, 1});
}

/// Chains of affine layers: `w` and `b` hold the first layers of all chains, then the second ones,
/// and so on, `acts` an activation for each layer. Chain t begins with block from[t] of x, of n
/// rows; a block may serve several chains, or none, and chains may have layers in common. The
/// results (chains · n, out) are stacked. `by_task` promises that the result of chain t serves task
/// t alone; x is then one block.
template <Backend B>
var<B> affine_chains(var<B> x, index_t n, std::span<const index_t> from, std::span<const var<B>> w,
                     std::span<const var<B>> b, std::span<const activation> acts,
                     bool by_task = false) {
  require(!from.empty() && !acts.empty() && w.size() == from.size() * acts.size(), "affine_chains",
          "{} weights for {} chains of {} layers", w.size(), from.size(), acts.size());
  require(n >= 0, "affine_chains", "blocks of {} rows", n);
  require(!by_task || x.rows() == n, "affine_chains",
          "chains that serve a task each begin with all {} rows, not with {}", x.rows(), n);
  for (const index_t block : from) {
    require(block >= 0 && (block + 1) * n <= x.rows(), "affine_chains",
            "block {} of {} rows in an input of {}", block, n, x.rows());
  }
  return detail::record_affine<B>(x, n, from, w, b, acts, {}, by_task);
}

}  // namespace vierbein::graph
