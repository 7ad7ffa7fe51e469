// The CPU backend: an engine for products, OpenMP threads, fixed chunks.
#pragma once

#if defined(_OPENMP)
#include <omp.h>
#endif

#include <algorithm>
#include <type_traits>

#include "vierbein/backend/cpu_convolution.hpp"
#include "vierbein/backend/cpu_normals.hpp"
#include "vierbein/backend/engine/tiled.hpp"
#include "vierbein/backend/host.hpp"
#include "vierbein/backend/lanes.hpp"

namespace vierbein::backend {

namespace detail {

/// While it lives, subnormal numbers count as zero on this thread (FTZ and DAZ): Adam's moments
/// decay into them, and arithmetic with them is several times slower.
class flush_subnormals {
 public:
#if defined(__SSE__)
  flush_subnormals() : saved_(__builtin_ia32_stmxcsr()) {  // <xmmintrin.h> takes long to read
    __builtin_ia32_ldmxcsr(saved_ | 0x8040U);
  }
  ~flush_subnormals() { __builtin_ia32_ldmxcsr(saved_); }
#else
  flush_subnormals() = default;
  ~flush_subnormals() {}
#endif
  flush_subnormals(const flush_subnormals&) = delete;
  flush_subnormals& operator=(const flush_subnormals&) = delete;

 private:
#if defined(__SSE__)
  unsigned saved_;
#endif
};

/// Whether this thread is one of several that share pieces out.
inline bool within_pieces() {
#if defined(_OPENMP)
  return omp_in_parallel() != 0;
#else
  return false;
#endif
}

/// call(what, k, thread) for k in [0, count), on several threads; inside another parallel region
/// (tasks added side by side), in this one. All operations share this function, so that it is
/// compiled once.
[[gnu::noinline]] inline void run_pieces(index_t count, [[maybe_unused]] int threads,
                                         const void* what,
                                         void (*call)(const void*, index_t, index_t)) {
#if defined(_OPENMP)
  if (threads > 1 && count > 1 && !within_pieces()) {
#pragma omp parallel num_threads(threads)
    {
      const flush_subnormals flush;
      // Cut by hand: LLVM's runtime allocates in every `omp for`.
      const index_t together = omp_get_num_threads();
      const index_t me = omp_get_thread_num();
      for (index_t k = count * me / together; k < count * (me + 1) / together; ++k) {
        call(what, k, me);
      }
    }
    return;
  }
#endif
  const flush_subnormals flush;
  for (index_t k = 0; k < count; ++k) {
    call(what, k, 0);
  }
}

}  // namespace detail

/// OpenMP threads, and for products an engine (backend/engine); convolutions have a kernel of their
/// own, in the backend's scalar. Work is cut into chunks whose size depends on the work alone, so
/// results are the same bit for bit whatever the number of threads.
template <Scalar T, ProductEngine Engine = engine::tiled>
class basic_cpu : public host<basic_cpu<T, Engine>, T> {
 public:
  using view = matrix_view<T>;
  using const_view = matrix_view<const T>;
  static constexpr bool pools_convolutions = true;
  static constexpr index_t rows_apart = 256;

  static constexpr int most_threads = 1024;

  /// `threads` = 0 takes as many as OpenMP offers (OMP_NUM_THREADS, else the number of cores).
  /// Without OpenMP there is one. Throws for a negative number, and above `most_threads`.
  explicit basic_cpu(int threads = 0) : threads_(usable(threads)) {}

  [[nodiscard]] int threads() const { return threads_; }

  /// See backend::works_apart.
  [[nodiscard]] bool apart_pays(index_t count, index_t work) const {
    return count >= threads_ || work <= product_threshold;
  }
  template <class F>
  void apart(index_t count, index_t work, F&& f) const {
    pieces(count, work > product_threshold, f);
  }

  template <class F>
  void run(index_t count, index_t cost, F&& f) const {
    const index_t chunk = chunk_size(cost);
    const index_t chunks = (count + chunk - 1) / chunk;
    each(chunks, count * cost > fork_work,
         [&](index_t k) { f(k * chunk, std::min(count, (k + 1) * chunk)); });
  }

  template <class F>
  double add_up(index_t count, index_t cost, F&& f) const {
    constexpr index_t most = 64;
    const index_t chunk = std::max(chunk_size(cost), (count + most - 1) / most);
    const index_t chunks = (count + chunk - 1) / chunk;
    double partial[most];
    each(chunks, count * cost > fork_sum,
         [&](index_t k) { partial[k] = f(k * chunk, std::min(count, (k + 1) * chunk)); });
    double total = 0;
    for (index_t k = 0; k < chunks; ++k) {
      total += partial[k];
    }
    return total;
  }

  void multiply(transposition kind, std::span<const product<T, host_space>> group,
                bool accumulate) const {
    if constexpr (requires { Engine::template gram<T>(const_view{}, nullptr); }) {
      if (kind == transposition::nt && group.size() == 1 && is_gramian(group[0])) {
        gramian(group[0].a, group[0].c, accumulate);
        return;
      }
    }
    // Products that share a destination are neighbours, and one piece of work.
    const auto continues = [&](std::size_t i) {
      return i > 0 && i < group.size() && group[i - 1].c.data == group[i].c.data;
    };
    index_t work = 0;
    index_t tallest = 0;
    index_t destinations = 0;
    for (std::size_t i = 0; i < group.size(); ++i) {
      const auto& p = group[i];
      tallest = std::max(tallest, p.c.rows);
      work += p.c.size() * (kind == transposition::tn ? p.a.rows : p.a.cols);
      destinations += continues(i) ? 0 : 1;
    }
    each_block(destinations, tallest, work, [&](index_t d, index_t first, index_t height) {
      std::size_t i = 0;  // the first product of destination d
      while (continues(i) || d-- > 0) {
        ++i;
      }
      if (first >= group[i].c.rows) {
        return;
      }
      const view c = group[i].c.row_range(first, std::min(height, group[i].c.rows - first));
      engine::start<T> from = accumulate ? engine::itself(c) : engine::start<T>{};
      do {
        const const_view a = kind == transposition::tn ? group[i].a.col_range(first, c.rows)
                                                       : group[i].a.row_range(first, c.rows);
        product(kind, a, group[i].b, from, c);
        from = engine::itself(c);
      } while (continues(++i));
    });
  }

  void affine(std::span<const affine_layer<T, host_space>> group, activation act) const {
    index_t work = 0;
    index_t tallest = 0;
    for (const auto& layer : group) {
      tallest = std::max(tallest, layer.y.rows);
      work += layer.y.size() * layer.x.cols;
    }
    each_block(std::ssize(group), tallest, work, [&](index_t i, index_t first, index_t height) {
      const auto& layer = group[static_cast<std::size_t>(i)];
      if (first < layer.y.rows) {
        affine_rows(layer, act, first, std::min(height, layer.y.rows - first));
      }
    });
  }

  void convolve(const convolution_layer<T, host_space>& layer, activation act) const {
    const detail::convolution<T> work(layer, act);
    const index_t images = work.images_together();
    const T* const filters = work.filters();
    each((layer.x.rows + images - 1) / images, work.cost() > product_threshold, [&](index_t piece) {
      work.forward(piece * images, std::min(layer.x.rows, (piece + 1) * images), filters);
    });
  }

  void convolve_backward(const convolution_layer<T, host_space>& layer, activation act,
                         std::span<const convolution_slab<T, host_space>> slabs) const {
    const detail::convolution<T> work(layer, act);
    const T* const filters = work.turned_filters(slabs);
    // Every piece sums the gradients of its images apart; these sums are added in order.
    const index_t images = work.images_apart();
    const index_t pieces = (layer.x.rows + images - 1) / images;
    T* const sums = work.sums(pieces, slabs);
    each(pieces, work.cost() > product_threshold, [&](index_t piece) {
      work.backward(piece * images, std::min(layer.x.rows, (piece + 1) * images), slabs, filters,
                    sums + piece * work.sums_size(slabs));
    });
    run(layer.w.rows + 1, pieces * layer.w.cols,
        [&](index_t first, index_t last) { work.add_up(slabs, sums, pieces, first, last); });
  }

  void column_sums(const_view x, view out, bool accumulate) const {
    columns(x.cols, x.rows, [&](index_t first, index_t n) {
      T* to = out.data + first;
      if (!accumulate) {
        std::fill_n(to, n, T{0});
      }
      for (index_t r = 0; r < x.rows; ++r) {
        const T* v = x.row(r) + first;
        for (index_t c = 0; c < n; ++c) {
          to[c] += v[c];
        }
      }
    });
  }

  void column_dots(const_view x, const_view y, view out, bool accumulate) const {
    columns(x.cols, x.rows * 2, [&](index_t first, index_t n) {
      T* to = out.data + first;
      if (!accumulate) {
        std::fill_n(to, n, T{0});
      }
      for (index_t r = 0; r < x.rows; ++r) {
        const T* u = x.row(r) + first;
        const T* v = y.row(r) + first;
        for (index_t c = 0; c < n; ++c) {
          to[c] += u[c] * v[c];
        }
      }
    });
  }

  void sum(const_view x, T scale, view out, bool accumulate) const {
    const double total = add_up(x.rows, x.cols, [&](index_t first, index_t last) {
      double partial = 0;
      for (index_t r = first; r < last; ++r) {
        const T* v = x.row(r);
        T row_total = 0;
        for (index_t c = 0; c < x.cols; ++c) {
          row_total += v[c];
        }
        partial += static_cast<double>(row_total);
      }
      return partial;
    });
    out.data[0] = static_cast<T>((accumulate ? static_cast<double>(out.data[0]) : 0.0) +
                                 static_cast<double>(scale) * total);
  }

  void add_normal(const_view x, T sigma, random_stream stream, view out) const {
    if (!x.contiguous() || !out.contiguous()) {
      host<basic_cpu, T>::add_normal(x, sigma, stream, out);
      return;
    }
    constexpr index_t together = 4 * detail::normal_blocks;
    run((x.size() + together - 1) / together, together * 10, [&](index_t first, index_t last) {
      double numbers[together];
      for (index_t k = first; k < last; ++k) {
        detail::normals_of_blocks(stream, static_cast<std::uint64_t>(k * detail::normal_blocks),
                                  numbers);
        const index_t begin = k * together;
        for (index_t i = 0; i < std::min(together, x.size() - begin); ++i) {
          out.data[begin + i] = x.data[begin + i] + sigma * static_cast<T>(numbers[i]);
        }
      }
    });
  }

  void adam_step(array_view<T> theta, array_view<const T> g, T scale, array_view<T> m,
                 array_view<T> v, const adam_coefficients& k) const {
    const auto rule = k.rule<T>();
    run(theta.size, 4, [&](index_t first, index_t last) {
      constexpr index_t n = detail::lanes<T>;
      index_t i = first;
      for (; i + n <= last; i += n) {
        adam_lanes(rule, theta.data + i, g.data + i, scale, m.data + i, v.data + i);
      }
      if (i < last) {  // the rest in a register too, so that its numbers are rounded alike
        T rest[4][n] = {};
        const T* const from[] = {theta.data + i, g.data + i, m.data + i, v.data + i};
        for (int j = 0; j < 4; ++j) {
          std::copy_n(from[j], last - i, rest[j]);
        }
        adam_lanes(rule, rest[0], rest[1], scale, rest[2], rest[3]);
        std::copy_n(rest[0], last - i, theta.data + i);
        std::copy_n(rest[2], last - i, m.data + i);
        std::copy_n(rest[3], last - i, v.data + i);
      }
    });
  }

  [[nodiscard]] double squared_norm(array_view<const T> x) const {
    return add_up(x.size, 2, [&](index_t first, index_t last) {
      constexpr index_t lanes = 16;
      double partial[lanes] = {};
      index_t i = first;
      for (; i + lanes <= last; i += lanes) {
        for (index_t k = 0; k < lanes; ++k) {
          partial[k] += static_cast<double>(x.data[i + k]) * static_cast<double>(x.data[i + k]);
        }
      }
      double total = 0;
      for (; i < last; ++i) {
        total += static_cast<double>(x.data[i]) * static_cast<double>(x.data[i]);
      }
      for (const double p : partial) {
        total += p;
      }
      return total;
    });
  }

 private:
  // A Aᵀ of long rows.
  static bool is_gramian(const product<T, host_space>& p) {
    constexpr index_t long_rows = 1024;
    return p.a.data == p.b.data && p.a.rows == p.b.rows && p.a.stride == p.b.stride &&
           p.a.rows > 1 && p.a.cols >= long_rows;
  }

  // The sums over stretches of the columns, each a piece of work, are added up in order.
  void gramian(const_view a, view c, bool accumulate) const {
    constexpr index_t shortest = 8192;
    constexpr index_t most = 64;
    const index_t length = std::max(shortest, (a.cols + most - 1) / most);
    const index_t stretches = (a.cols + length - 1) / length;
    static thread_local aligned_vector<T> sums;
    const auto room = static_cast<std::size_t>(stretches * c.size());
    if (sums.size() < room) {
      sums.resize(room);
    }
    T* const all = sums.data();
    each(stretches, a.rows * a.size() / 2 > product_threshold, [&](index_t k) {
      const index_t first = k * length;
      Engine::gram(a.col_range(first, std::min(length, a.cols - first)), all + k * c.size());
    });
    for (index_t i = 0; i < c.rows; ++i) {
      for (index_t j = 0; j <= i; ++j) {
        double total = 0;
        for (index_t k = 0; k < stretches; ++k) {
          total += static_cast<double>(all[k * c.size() + i * c.rows + j]);
        }
        c(i, j) = (accumulate ? c(i, j) : T{0}) + static_cast<T>(total);
        if (j < i) {
          c(j, i) = (accumulate ? c(j, i) : T{0}) + static_cast<T>(total);
        }
      }
    }
  }

  static constexpr index_t chunk_work = index_t{1} << 15;  // elementary operations in a chunk
  static constexpr index_t fork_work = index_t{1} << 16;   // elementary operations worth a fork
  static constexpr index_t fork_sum = 4 * fork_work;       // the same where nothing is written
  static constexpr index_t tallest_piece = rows_apart;     // rows of a product's destination
  static constexpr index_t product_threshold = index_t{1} << 20;  // multiply-adds worth a fork

  static int usable(int threads) {
    require(threads >= 0 && threads <= most_threads, "backend::cpu",
            "threads must be from 0 (all) to {}, but is {}", most_threads, threads);
#if defined(_OPENMP)
    return threads > 0 ? threads : omp_get_max_threads();
#else
    return 1;
#endif
  }

  // Rows of a product's destination that one of so many threads computes at a time. Where rows do
  // not depend on each other, a few destinations are shared out among the threads.
  static index_t piece_height(index_t rows, index_t destinations, index_t threads) {
    if (!Engine::independent_rows || threads <= destinations) {
      return tallest_piece;
    }
    const index_t share = (rows * destinations + threads - 1) / threads;
    const index_t whole = Engine::row_step;
    return std::clamp((share + whole - 1) / whole * whole, 2 * whole, tallest_piece);
  }

  // f(d, first, height) for each block of rows [first, first + height) of each of `count` matrices,
  // of which the tallest has so many rows.
  template <class F>
  void each_block(index_t count, index_t tallest, index_t work, F&& f) const {
    const bool worth_it = work > product_threshold && !detail::within_pieces();
    const index_t height = piece_height(tallest, count, worth_it ? threads_ : 1);
    const index_t blocks = (tallest + height - 1) / height;
    each(count * blocks, worth_it, [&](index_t k) { f(k / blocks, k % blocks * height, height); });
  }

  static index_t chunk_size(index_t cost) {
    return std::max(index_t{1}, chunk_work / std::max(index_t{1}, cost));
  }

  // f(k) for k in [0, count), on several threads when it is worth it.
  template <class F>
  void each(index_t count, bool worth_it, F&& f) const {
    pieces(count, worth_it, [&f](index_t k, index_t) { f(k); });
  }

  // f(k, thread) likewise.
  template <class F>
  void pieces(index_t count, bool worth_it, F&& f) const {
    using function = std::remove_reference_t<F>;
    detail::run_pieces(count, worth_it ? threads_ : 1, &f,
                       [](const void* what, index_t k, index_t thread) {
                         (*static_cast<const function*>(what))(k, thread);
                       });
  }

  // f(first, n) for blocks of columns: sums over rows then need no partial results.
  template <class F>
  void columns(index_t cols, index_t rows, F&& f) const {
    constexpr index_t width = 64;
    const index_t blocks = (cols + width - 1) / width;
    each(blocks, cols * rows > fork_work,
         [&](index_t k) { f(k * width, std::min(width, cols - k * width)); });
  }

  VIERBEIN_WHOLE_REGISTERS static void adam_lanes(const formula::adam_rule<T>& rule, T* p,
                                                  const T* g, T scale, T* m, T* v) {
    using detail::at;
    const detail::lanes_of<T> gradient = scale * at(g);
    detail::lanes_of<T> first = at(m);
    detail::lanes_of<T> root = at(v);
    detail::lanes_of<T> position = at(p);
    rule.moments(gradient, first, root);
    at(m) = first;
    at(v) = root;
    detail::take_root<T>(root);
    rule.move(position, first, root);
    at(p) = position;
  }

  static void product(transposition kind, const_view a, const_view b, engine::start<T> s, view c) {
    switch (kind) {
      case transposition::nn: Engine::template run<false, false, T>(a, b, s, c, false); break;
      case transposition::nt: Engine::template run<false, true, T>(a, b, s, c, false); break;
      case transposition::tn: Engine::template run<true, false, T>(a, b, s, c, false); break;
    }
  }

  static void affine_rows(const affine_layer<T, host_space>& layer, activation act, index_t first,
                          index_t n) {
    const view y = layer.y.row_range(first, n);
    const T* const bias = layer.bias.data;
    engine::start<T> from{bias, 0};
    if (layer.addend.data != nullptr) {
      from = {layer.addend.row(first), layer.addend.stride};
      if (bias != nullptr) {
        for (index_t r = 0; r < n; ++r) {
          for (index_t c = 0; c < y.cols; ++c) {
            y(r, c) = from.row(r)[c] + bias[c];
          }
        }
        from = engine::itself(y);
      }
    }
    const bool rectify = act == activation::relu && layer.argument.data == nullptr;
    Engine::template run<false, false, T>(layer.x.row_range(first, n), layer.w, from, y, rectify);
    for (index_t r = 0; r < n && layer.argument.data != nullptr; ++r) {
      std::copy_n(y.row(r), y.cols, layer.argument.row(first + r));
    }
    for (index_t r = 0; r < n && !rectify && act != activation::identity; ++r) {
      T* const to = y.row(r);
      for (index_t c = 0; c < y.cols; ++c) {
        to[c] = formula::activate(act, to[c]);
      }
    }
  }

  int threads_;
};

using cpu = basic_cpu<float>;
using cpu_double = basic_cpu<double>;

}  // namespace vierbein::backend
