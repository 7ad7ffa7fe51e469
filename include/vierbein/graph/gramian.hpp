// What a sweep of several tasks does with the gradients of the parameters that they share: it adds
// up their products segment by segment, or keeps them as rows.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "vierbein/backend/buffer.hpp"
#include "vierbein/core/error.hpp"
#include "vierbein/core/parameters.hpp"

namespace vierbein::graph {

/// Receives the gradients g_t of T tasks over the segments within `compared`, and gives
/// G = J Jᵀ (T, T), row t of J being g_t.
///
/// Without `keep_rows` J never exists as a whole. A weight W (in, out) of affine layers arrives as
/// factors: over all its uses u in the graph, ∇_W ℓ_t = Σ_u A_uᵀ D_ut with the inputs A_u (n, in)
/// and the cotangents D_ut (n, out), which the tape holds anyway. With n the rows of all uses, the
/// cheaper of two exact ways adds to G:
///     panels   a few rows of all tasks' ∇_W at a time: T n in out + T² in out multiply-adds,
///     products G_st += ⟨D_s, (A Aᵀ) D_t⟩: n² in + T n² out + T² n out.
/// Gradients that operations write directly (biases, gains, filters) are held from the first to the
/// last use of their segment, T times its size. All of it happens on the backend, in its scalar,
/// in an order that does not depend on the number of threads.
///
/// With `keep_rows` J (T, columns) is assembled; its columns are the compared segments one behind
/// the other, padding included.
template <Backend B>
class gramian {
 public:
  using scalar = typename B::scalar;
  using space = typename B::space;
  using view = matrix_view<scalar, space>;
  using const_view = matrix_view<const scalar, space>;

  enum class way { cheaper, panels, products };

  /// `panel` is about how many elements of all tasks' gradients a panel holds.
  gramian(const B& backend, const std::vector<segment>& segments, index_t parameters,
          std::span<const range> compared, index_t tasks, bool keep_rows = false,
          way how = way::cheaper, index_t panel = index_t{1} << 18)
      : backend_(backend),
        tasks_(tasks),
        keep_rows_(keep_rows),
        how_(how),
        panel_size_(panel),
        states_(segments.size()),
        task_of_(static_cast<std::size_t>(tasks)),
        host_(static_cast<std::size_t>(tasks * tasks)),
        gram_(backend, tasks * tasks) {
    for (const range& r : compared) {
      for (std::size_t i = 0; i < segments.size(); ++i) {
        const segment& s = segments[i];
        if (!s.frozen && s.offset >= r.offset && s.offset < r.offset + r.size) {
          states_[i].column = columns_ + s.offset - r.offset;
          states_[i].rows = s.rows;
          states_[i].cols = s.cols;
        }
      }
      columns_ += r.size;
      require(r.offset + r.size <= parameters, "gramian", "parameters {} to {} of {}", r.offset,
              r.offset + r.size, parameters);
    }
    if (keep_rows_) {
      rows_ = backend::buffer<B>(backend, tasks * columns_);
    }
  }

  /// The length of a row of J.
  [[nodiscard]] index_t columns() const { return columns_; }
  [[nodiscard]] bool keeps_rows() const { return keep_rows_; }

  /// J (T, columns) of the last sweep, zero where a task took no part; only with `keep_rows`.
  [[nodiscard]] view rows() const { return {rows_.view().data, tasks_, columns_}; }

  /// G (T, T) of the last sweep, zero where a task took no part.
  void read(matrix_view<double> out) {
    backend_.download(const_view(gram_view()),
                      matrix_view<double>(host_.data(), gram_view().rows, gram_view().cols));
    for (index_t r = 0; r < tasks_; ++r) {
      std::fill_n(out.row(r), tasks_, 0.0);
    }
    for (index_t a = 0; a < slabs_; ++a) {
      for (index_t b = 0; b < slabs_; ++b) {
        const index_t r = task_of_[static_cast<std::size_t>(a)];
        const index_t c = task_of_[static_cast<std::size_t>(b)];
        out(r, c) = host_[static_cast<std::size_t>(keep_rows_ ? r * tasks_ + c : a * slabs_ + b)];
      }
    }
  }

  /// Elements that are held beyond G: panels, products and rows.
  [[nodiscard]] index_t held() const {
    index_t total = rows_.view().size + scratch_.view().size;
    for (const piece& p : pool_) {
      total += p.memory.view().size;
    }
    return total;
  }

  // ---- for the tape

  /// Begins a sweep of as many tasks as there are seeds; seed i is that of slab i and of the task
  /// seeds[i].row.
  template <class Seed>
  void begin(std::span<const Seed> seeds) {
    slabs_ = std::ssize(seeds);
    require(slabs_ > 0 && slabs_ <= tasks_, "gramian", "{} tasks of {}", slabs_, tasks_);
    for (std::size_t i = 0; i < seeds.size(); ++i) {
      task_of_[i] = seeds[i].row;
    }
    factors_.clear();
    if (keep_rows_) {
      backend_.fill(rows(), scalar{0});
    } else {
      backend_.fill(gram_view(), scalar{0});
    }
  }

  [[nodiscard]] bool compares(segment_id id) const { return at(id).column >= 0; }
  /// Where a segment that is compared begins in a row of J.
  [[nodiscard]] index_t column(segment_id id) const { return at(id).column; }

  /// Where task `slab`'s gradient of a segment is added to.
  view slab(segment_id id, index_t slab) {
    state& s = at(id);
    if (keep_rows_) {
      return {rows().row_range(task_of_[static_cast<std::size_t>(slab)], 1).data + s.column, s.rows,
              s.cols};
    }
    if (s.held < 0) {
      s.held = take(tasks_ * s.size());
      backend_.fill(held_rows(s), scalar{0});
    }
    return {held_rows(s).data + slab * s.size(), s.rows, s.cols};
  }

  /// Whether a segment's gradient may arrive as factors.
  [[nodiscard]] bool takes_factors(segment_id id) const { return !keep_rows_ && compares(id); }

  /// ∇ℓ_s += inputᵀ D_s for s in [first, last). D_first is `cotangents` (n, out), without gaps; the
  /// next one begins `apart` elements later. Both must live until the segment is closed.
  void add_factor(segment_id id, const_view input, const_view cotangents, index_t apart,
                  index_t first, index_t last) {
    state& s = at(id);
    factors_.push_back({input, cotangents, apart, first, last, s.factors});
    s.factors = static_cast<index_t>(factors_.size()) - 1;
  }

  /// A segment has got all it will get: its products are added to G.
  void close(segment_id id) {
    state& s = at(id);
    if (keep_rows_ || s.column < 0) {
      return;
    }
    if (s.factors >= 0 && s.held < 0) {
      if (products_are_cheaper(s)) {
        add_products(s);
      } else {
        add_panels(s);
      }
    } else if (s.factors >= 0) {
      multiply_factors(s, 0, s.rows, held_rows(s));
    }
    if (s.held >= 0) {
      add_gram(held_rows(s), held_rows(s), 0);
      pool_[static_cast<std::size_t>(s.held)].taken = false;
    }
    s.held = s.factors = -1;
  }

  /// After the sweep.
  void end() {
    if (keep_rows_) {
      const backend::product<scalar, space> p{rows(), rows(), gram_view()};
      backend_.multiply(backend::transposition::nt, {&p, 1}, false);
    }
  }

 private:
  using product = backend::product<scalar, space>;
  using transposition = backend::transposition;

  struct state {          // of a segment
    index_t column = -1;  // in a row of J; -1: not compared
    index_t rows = 0;
    index_t cols = 0;
    index_t held = -1;     // in pool_
    index_t factors = -1;  // the last one in factors_

    [[nodiscard]] index_t size() const { return rows * cols; }
  };
  struct factor {
    const_view input;       // (n, in)
    const_view cotangents;  // (n, out) of the first slab
    index_t apart;
    index_t first, last;
    index_t next;  // of the same segment, or -1

    [[nodiscard]] const_view of_slab(index_t s) const {
      return {cotangents.data + (s - first) * apart, cotangents.rows, cotangents.cols};
    }
    /// The slabs as rows (last - first, n out).
    [[nodiscard]] const_view flat() const {
      return {cotangents.data, last - first, cotangents.size(), apart};
    }
  };
  struct piece {
    backend::buffer<B> memory;
    bool taken;
  };

  state& at(segment_id id) { return states_[static_cast<std::size_t>(id)]; }
  const state& at(segment_id id) const { return states_[static_cast<std::size_t>(id)]; }

  template <class F>
  void each_factor(const state& s, F&& f) const {
    for (index_t i = s.factors; i >= 0; i = factors_[static_cast<std::size_t>(i)].next) {
      f(factors_[static_cast<std::size_t>(i)]);
    }
  }

  [[nodiscard]] view gram_view() const {
    const index_t n = keep_rows_ ? tasks_ : slabs_;
    return {gram_.view().data, n, n};
  }
  [[nodiscard]] view held_rows(const state& s) const {
    return {pool_[static_cast<std::size_t>(s.held)].memory.view().data, slabs_, s.size()};
  }

  // Memory for `size` elements: the smallest that is free and large enough, or a new one.
  index_t take(index_t size) {
    std::size_t best = pool_.size();
    for (std::size_t i = 0; i < pool_.size(); ++i) {
      const index_t have = pool_[i].memory.view().size;
      if (!pool_[i].taken && have >= size &&
          (best == pool_.size() || have < pool_[best].memory.view().size)) {
        best = i;
      }
    }
    if (best == pool_.size()) {
      for (std::size_t i = 0; i < pool_.size() && best == pool_.size(); ++i) {
        best = pool_[i].taken ? best : i;  // too small: a larger one takes its place
      }
      if (best == pool_.size()) {
        pool_.push_back({});
      }
      pool_[best].memory = backend::buffer<B>(backend_, size);
    }
    pool_[best].taken = true;
    return static_cast<index_t>(best);
  }

  [[nodiscard]] view scratch(index_t size) {
    if (scratch_.view().size < size) {
      scratch_ = backend::buffer<B>(backend_, size);
    }
    return {scratch_.view().data, 1, size};
  }

  [[nodiscard]] bool products_are_cheaper(const state& s) const {
    if (how_ != way::cheaper) {
      return how_ == way::products;
    }
    double n = 0;
    each_factor(s, [&](const factor& f) { n += static_cast<double>(f.input.rows); });
    const auto t = static_cast<double>(slabs_);
    const auto in = static_cast<double>(s.rows);
    const auto out = static_cast<double>(s.cols);
    return n * n * (in + t * out) + t * t * n * out < t * n * in * out + t * t * in * out;
  }

  // G[first row ..., :] += a bᵀ; a (·, m), b (slabs, m).
  void add_gram(const_view a, const_view b, index_t first_row) {
    const product p{a, b, gram_view().row_range(first_row, a.rows)};
    backend_.multiply(transposition::nt, {&p, 1}, true);
  }

  // Adds rows [first, first + count) of Σ_u A_uᵀ D_us to row s of `to`.
  void multiply_factors(const state& s, index_t first, index_t count, view to) {
    products_.clear();
    for (index_t slab = 0; slab < slabs_; ++slab) {
      each_factor(s, [&](const factor& f) {
        if (slab >= f.first && slab < f.last) {
          products_.push_back({f.input.col_range(first, count), f.of_slab(slab),
                               view(to.data + slab * to.stride, count, s.cols)});
        }
      });
    }
    backend_.multiply(transposition::tn, products_, true);
  }

  void add_panels(const state& s) {
    const index_t wanted = panel_size_ / (tasks_ * std::max<index_t>(1, s.cols));
    const index_t height = std::clamp<index_t>(wanted, 1, std::max<index_t>(1, s.rows));
    const view room = scratch(tasks_ * height * s.cols);
    for (index_t first = 0; first < s.rows; first += height) {
      const index_t count = std::min(height, s.rows - first);
      const view panel(room.data, slabs_, count * s.cols);
      backend_.fill(panel, scalar{0});
      multiply_factors(s, first, count, panel);
      add_gram(panel, panel, 0);
    }
  }

  // With K_uv = A_u A_vᵀ: G_st += Σ_u ⟨D_us, Σ_v K_uv D_vt⟩.
  void add_products(const state& s) {
    index_t n = 0;
    index_t tallest = 0;
    each_factor(s, [&](const factor& f) {
      n += f.input.rows;
      tallest = std::max(tallest, f.input.rows);
    });
    const view room = scratch(tallest * n + tasks_ * tallest * s.cols);
    each_factor(s, [&](const factor& u) {
      const index_t m = u.input.rows;
      const view moved(room.data + tallest * n, slabs_, m * s.cols);  // row t: Σ_v K_uv D_vt
      products_.clear();
      index_t at = 0;
      each_factor(s, [&](const factor& v) {
        products_.push_back({u.input, v.input, view(room.data + m * at, m, v.input.rows)});
        at += v.input.rows;
      });
      backend_.multiply(transposition::nt, products_, false);
      backend_.fill(moved, scalar{0});
      products_.clear();
      for (index_t slab = 0; slab < slabs_; ++slab) {
        at = 0;
        each_factor(s, [&](const factor& v) {
          if (slab >= v.first && slab < v.last) {
            products_.push_back({const_view(room.data + m * at, m, v.input.rows), v.of_slab(slab),
                                 view(moved.row_range(slab, 1).data, m, s.cols)});
          }
          at += v.input.rows;
        });
      }
      backend_.multiply(transposition::nn, products_, true);
      add_gram(u.flat(), moved, u.first);
    });
  }

  const B& backend_;
  index_t tasks_;
  bool keep_rows_;
  way how_;
  index_t panel_size_;
  index_t columns_ = 0;
  index_t slabs_ = 0;
  std::vector<state> states_;
  std::vector<factor> factors_;
  std::vector<product> products_;
  std::vector<piece> pool_;
  std::vector<index_t> task_of_;  // of a slab
  std::vector<double> host_;
  backend::buffer<B> gram_, rows_, scratch_;
};

}  // namespace vierbein::graph
