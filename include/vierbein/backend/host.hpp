// Row-wise operations in host memory, written once: a backend in host memory derives from `host`
// and says how a range of rows is run (in order, or chunk by chunk on several threads), and how
// products and sums are formed.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "vierbein/backend/concept.hpp"
#include "vierbein/backend/image_kernels.hpp"
#include "vierbein/core/arena.hpp"

namespace vierbein::backend {

/// `Derived` provides `run(count, cost, f)`: f(begin, end) for chunks that cover [0, count), where
/// one item costs about `cost` elementary operations; and `add_up(count, cost, f)`: the sum of
/// f(begin, end), a double, over such chunks.
template <class Derived, Scalar T>
class host {
 public:
  using scalar = T;
  using space = host_space;
  using memory = host_memory;
  using view = matrix_view<T>;
  using const_view = matrix_view<const T>;
  using indices = array_view<const std::int32_t>;

  /// out = value
  [[gnu::noinline]] void fill(view out, T value) const {
    elementwise([value](index_t n, T* y) { std::fill_n(y, n, value); }, 1, out);
  }

  /// out (+)= a x
  [[gnu::noinline]] void copy(T a, const_view x, view out, bool accumulate) const {
    elementwise(
        [a, accumulate](index_t n, T* y, const T* v) {
          if (accumulate) {
            for (index_t i = 0; i < n; ++i) {
              y[i] += a * v[i];
            }
          } else {
            for (index_t i = 0; i < n; ++i) {
              y[i] = a * v[i];
            }
          }
        },
        1, out, x);
  }

  /// out = f(x), element by element
  void unary(backend::unary f, T a, const_view x, view out) const {
    elementwise(
        [f, a](index_t n, T* y, const T* v) {
          for (index_t i = 0; i < n; ++i) {
            y[i] = formula::evaluate(f, a, v[i]);
          }
        },
        cost_of(f), out, x);
  }

  /// dx (+)= dy f'(x), where y = f(x)
  void unary_backward(backend::unary f, T a, const_view x, const_view y, const_view dy, view dx,
                      bool accumulate) const {
    elementwise(
        [f, a, accumulate](index_t n, T* out, const T* v, const T* w, const T* g) {
          for (index_t i = 0; i < n; ++i) {
            const T d = g[i] * formula::slope(f, a, v[i], w[i]);
            out[i] = accumulate ? out[i] + d : d;
          }
        },
        cost_of(f), dx, x, y, dy);
  }

  /// out = f(x, y), element by element
  void binary(backend::binary f, const_view x, const_view y, view out) const {
    elementwise(
        [f](index_t n, T* z, const T* a, const T* b) {
          switch (f) {
            case binary::add:
              for (index_t i = 0; i < n; ++i) {
                z[i] = a[i] + b[i];
              }
              break;
            case binary::subtract:
              for (index_t i = 0; i < n; ++i) {
                z[i] = a[i] - b[i];
              }
              break;
            case binary::multiply:
              for (index_t i = 0; i < n; ++i) {
                z[i] = a[i] * b[i];
              }
              break;
            case binary::divide:
              for (index_t i = 0; i < n; ++i) {
                z[i] = a[i] / b[i];
              }
              break;
          }
        },
        2, out, x, y);
  }

  /// out (+)= a x y, element by element: the backward of a product
  void multiply_add(T a, const_view x, const_view y, view out, bool accumulate) const {
    elementwise(
        [a, accumulate](index_t n, T* z, const T* u, const T* v) {
          for (index_t i = 0; i < n; ++i) {
            const T d = a * u[i] * v[i];
            z[i] = accumulate ? z[i] + d : d;
          }
        },
        2, out, x, y);
  }

  /// Backward of q = x / y: dx (+)= dq / y for the numerator, or dy (+)= -dq q / y for the
  /// denominator.
  void divide_backward(const_view dq, const_view q, const_view y, bool numerator, view out,
                       bool accumulate) const {
    elementwise(
        [numerator, accumulate](index_t n, T* z, const T* g, const T* u, const T* v) {
          for (index_t i = 0; i < n; ++i) {
            const T d = numerator ? g[i] / v[i] : -g[i] * u[i] / v[i];
            z[i] = accumulate ? z[i] + d : d;
          }
        },
        4, out, dq, q, y);
  }

  /// out = act(x), element by element
  void activate(activation act, const_view x, view out) const {
    if (act == activation::relu) {  // the common case, in a loop that vectorises
      elementwise(
          [](index_t n, T* y, const T* v) {
            for (index_t i = 0; i < n; ++i) {
              y[i] = v[i] < 0 ? T{0} : v[i];
            }
          },
          1, out, x);
      return;
    }
    elementwise(
        [act](index_t n, T* y, const T* v) {
          for (index_t i = 0; i < n; ++i) {
            y[i] = formula::activate(act, v[i]);
          }
        },
        20, out, x);
  }

  /// dz = dy act'(·); `v` is what the derivative needs (see formula::derivative_needs_argument)
  void activation_backward(activation act, const_view v, const_view dy, view dz) const {
    const auto each = [act](index_t n, T* out, const T* u, const T* g) {
      for (index_t i = 0; i < n; ++i) {
        out[i] = g[i] * formula::activation_slope(act, u[i]);
      }
    };
    if (act == activation::relu) {  // the common case, in a loop that vectorises
      elementwise(
          [](index_t n, T* out, const T* u, const T* g) {
            for (index_t i = 0; i < n; ++i) {
              out[i] = u[i] > 0 ? g[i] : T{0};
            }
          },
          1, dz, v, dy);
    } else {
      elementwise(each, act == activation::identity ? 1 : 20, dz, v, dy);
    }
  }

  /// out[i] (+)= x[index[i]], row by row
  void gather_rows(const_view x, indices index, view out, bool accumulate) const {
    rows(out.rows, out.cols, [&](index_t r) {
      const T* from = x.row(index[r]);
      T* to = out.row(r);
      for (index_t c = 0; c < out.cols; ++c) {
        to[c] = accumulate ? to[c] + from[c] : from[c];
      }
    });
  }

  /// out[i] (+)= Σ_{k in [begin[i], begin[i+1])} x[item[k]]; an empty `item` means x[k]. With
  /// `mean`, the sum is divided by the number of its terms (an empty segment gives 0).
  void segment_sum(const_view x, indices begin, indices item, bool mean, view out,
                   bool accumulate) const {
    const index_t average = out.rows > 0 ? begin[out.rows] / out.rows + 1 : 1;
    rows(out.rows, out.cols * average, [&](index_t r) {
      T* to = out.row(r);
      const index_t first = begin[r];
      const index_t last = begin[r + 1];
      if (!accumulate) {
        std::fill_n(to, out.cols, T{0});
      }
      const T scale = mean && last > first ? T{1} / static_cast<T>(last - first) : T{1};
      for (index_t k = first; k < last; ++k) {
        const T* from = x.row(item.size == 0 ? k : index_t{item[k]});
        for (index_t c = 0; c < out.cols; ++c) {
          to[c] += scale * from[c];
        }
      }
    });
  }

  /// Backward of a segment sum or mean without `item`: out[k] (+)= dy[i] (or its share of the mean)
  /// for every k in segment i; `segment_of[k]` is i.
  void segment_sum_backward(const_view dy, indices begin, indices segment_of, bool mean, view out,
                            bool accumulate) const {
    rows(out.rows, out.cols, [&](index_t r) {
      const index_t s = segment_of[r];
      const T scale = mean ? T{1} / static_cast<T>(begin[s + 1] - begin[s]) : T{1};
      const T* from = dy.row(s);
      T* to = out.row(r);
      for (index_t c = 0; c < out.cols; ++c) {
        to[c] = accumulate ? to[c] + scale * from[c] : scale * from[c];
      }
    });
  }

  /// out[e] = a[i[e]] - b[j[e]]: message passing without the message that came along the same edge
  void gather_difference(const_view a, indices i, const_view b, indices j, view out) const {
    rows(out.rows, out.cols * 2, [&](index_t r) {
      const T* u = a.row(i[r]);
      const T* v = b.row(j[r]);
      T* to = out.row(r);
      for (index_t c = 0; c < out.cols; ++c) {
        to[c] = u[c] - v[c];
      }
    });
  }

  /// out[i] (+)= -x[index[i]], row by row
  void gather_negative(const_view x, indices index, view out, bool accumulate) const {
    rows(out.rows, out.cols, [&](index_t r) {
      const T* from = x.row(index[r]);
      T* to = out.row(r);
      for (index_t c = 0; c < out.cols; ++c) {
        to[c] = accumulate ? to[c] - from[c] : -from[c];
      }
    });
  }

  /// out (rows, 1) = scale Σ_c x(r, c)
  void row_sums(const_view x, T scale, view out) const {
    rows(x.rows, x.cols, [&](index_t r) {
      const T* v = x.row(r);
      out.row(r)[0] = scale * sum_of(x.cols, [v](index_t c) { return v[c]; });
    });
  }

  /// out(r, c) (+)= scale column(r)
  void broadcast_column(const_view column, T scale, view out, bool accumulate) const {
    rows(out.rows, out.cols, [&](index_t r) {
      const T v = scale * column.row(r)[0];
      T* to = out.row(r);
      for (index_t c = 0; c < out.cols; ++c) {
        to[c] = accumulate ? to[c] + v : v;
      }
    });
  }

  /// out(r, c) (+)= scale row(c)
  void broadcast_row(const_view row, T scale, view out, bool accumulate) const {
    rows(out.rows, out.cols, [&](index_t r) {
      const T* from = row.row(0);
      T* to = out.row(r);
      for (index_t c = 0; c < out.cols; ++c) {
        to[c] = accumulate ? to[c] + scale * from[c] : scale * from[c];
      }
    });
  }

  /// out (+)= factor * value, everywhere; both are 1 x 1 scalars in this memory
  void broadcast_scalar(const_view value, T factor, view out, bool accumulate) const {
    const T v = factor * value.data[0];
    elementwise(
        [v, accumulate](index_t n, T* y) {
          for (index_t i = 0; i < n; ++i) {
            y[i] = accumulate ? y[i] + v : v;
          }
        },
        1, out);
  }

  /// out (rows, 1) = sqrt(Σ_c x(r, c)² + epsilon)
  void row_norms(const_view x, T epsilon, view out) const {
    rows(x.rows, x.cols, [&](index_t r) {
      const T* v = x.row(r);
      out.row(r)[0] = std::sqrt(sum_of(x.cols, [v](index_t c) { return v[c] * v[c]; }) + epsilon);
    });
  }

  /// dx(r, c) (+)= dn(r) x(r, c) / n(r)
  void row_norms_backward(const_view x, const_view n, const_view dn, view dx,
                          bool accumulate) const {
    rows(x.rows, x.cols, [&](index_t r) {
      const T factor = dn.row(r)[0] / n.row(r)[0];
      const T* v = x.row(r);
      T* to = dx.row(r);
      for (index_t c = 0; c < x.cols; ++c) {
        to[c] = accumulate ? to[c] + factor * v[c] : factor * v[c];
      }
    });
  }

  /// x holds groups of 1 + copies blocks of n rows. out (groups · copies · n, 1) has the distance
  /// sqrt(‖x_i - y_i‖² + epsilon) of every row y_i of a copy from the row x_i of its group's first
  /// block.
  void copy_distances(const_view x, index_t n, index_t copies, T epsilon, view out) const {
    rows(out.rows, out.cols * x.cols, [&](index_t r) {
      const index_t group = r / n / copies * (1 + copies) * n;
      const T* u = x.row(group + r % n);
      const T* v = x.row(group + (1 + r / n % copies) * n + r % n);
      const auto square = [u, v](index_t c) { return (u[c] - v[c]) * (u[c] - v[c]); };
      out.row(r)[0] = std::sqrt(sum_of(x.cols, square) + epsilon);
    });
  }

  /// Backward of d = copy_distances(x): dx (+)= ± dd / d (x_i - y_i), + for x_i, - for y_i.
  void copy_distances_backward(const_view x, index_t n, index_t copies, const_view d, const_view dd,
                               view dx, bool accumulate) const {
    rows(x.rows, x.cols * 2, [&](index_t r) {
      const index_t group = r / n / (1 + copies);
      const index_t block = r / n % (1 + copies);
      const index_t first = group * (1 + copies) * n + r % n;
      T* to = dx.row(r);
      const auto add = [&](index_t copy, T sign, bool to_old) {
        const index_t i = (group * copies + copy) * n + r % n;
        const T factor = sign * dd.row(i)[0] / d.row(i)[0];
        const T* u = x.row(first);
        const T* v = x.row(first + (1 + copy) * n);
        for (index_t c = 0; c < x.cols; ++c) {
          const T g = factor * (u[c] - v[c]);
          to[c] = to_old ? to[c] + g : g;
        }
      };
      if (block > 0) {
        add(block - 1, T{-1}, accumulate);
      }
      for (index_t k = 0; k < copies && block == 0; ++k) {
        add(k, T{1}, accumulate || k > 0);
      }
    });
  }

  /// out = x + sigma ε with ε standard normal: element k of the stream for element k of x
  void add_normal(const_view x, T sigma, random_stream stream, view out) const {
    rows(x.rows, x.cols * 20, [&](index_t r) {
      const T* v = x.row(r);
      T* to = out.row(r);
      each_of_four(
          r * x.cols, x.cols, [&](std::uint64_t block) { return stream.normals(block); },
          [&](index_t c, double z) { to[c] = v[c] + sigma * static_cast<T>(z); });
    });
  }

  /// out (+)= x with probability 1 - p, scaled by 1 / (1 - p), else 0. The same stream gives the
  /// same choice, so the backward pass is this operation again.
  void dropout(const_view x, T p, random_stream stream, view out, bool accumulate) const {
    const T scale = 1 / (1 - p);
    rows(x.rows, x.cols * 5, [&](index_t r) {
      const T* v = x.row(r);
      T* to = out.row(r);
      each_of_four(
          r * x.cols, x.cols, [&](std::uint64_t block) { return stream.words(block); },
          [&](index_t c, std::uint32_t word) {
            const double u = random_stream::unit(word);
            const T value = u < static_cast<double>(p) ? T{0} : scale * v[c];
            to[c] = accumulate ? to[c] + value : value;
          });
    });
  }

  /// Layer normalisation: normalised = (x - mean) / sqrt(var + epsilon) over each row, y =
  /// normalised gain + bias; `spread` (rows, 1) receives 1 / sqrt(var + epsilon).
  void layer_norm(const_view x, const_view gain, const_view bias, T epsilon, view normalised,
                  view spread, view y) const {
    rows(x.rows, x.cols * 4, [&](index_t r) {
      const T* v = x.row(r);
      const auto n = static_cast<T>(x.cols);
      T mean = 0;
      for (index_t c = 0; c < x.cols; ++c) {
        mean += v[c];
      }
      mean /= n;
      T variance = 0;
      for (index_t c = 0; c < x.cols; ++c) {
        variance += (v[c] - mean) * (v[c] - mean);
      }
      const T s = 1 / std::sqrt(variance / n + epsilon);
      spread.row(r)[0] = s;
      for (index_t c = 0; c < x.cols; ++c) {
        normalised.row(r)[c] = (v[c] - mean) * s;
        y.row(r)[c] = normalised.row(r)[c] * gain.row(0)[c] + bias.row(0)[c];
      }
    });
  }

  /// dx (+)= spread (g - mean g - normalised mean(g normalised)) with g = dy gain, means over the
  /// row
  void layer_norm_backward(const_view dy, const_view normalised, const_view spread, const_view gain,
                           view dx, bool accumulate) const {
    rows(dy.rows, dy.cols * 4, [&](index_t r) {
      const T* g = dy.row(r);
      const T* z = normalised.row(r);
      const T* w = gain.row(0);
      const auto n = static_cast<T>(dy.cols);
      T mean = 0;
      T slope = 0;
      for (index_t c = 0; c < dy.cols; ++c) {
        mean += g[c] * w[c];
        slope += g[c] * w[c] * z[c];
      }
      mean /= n;
      slope /= n;
      const T s = spread.row(r)[0];
      T* to = dx.row(r);
      for (index_t c = 0; c < dy.cols; ++c) {
        const T d = s * (g[c] * w[c] - mean - z[c] * slope);
        to[c] = accumulate ? to[c] + d : d;
      }
    });
  }

  /// Batch normalisation over the rows of a batch: like layer_norm with mean and variance per
  /// column. `spread` is (1, cols). Running statistics (1, cols) move towards the batch's by
  /// `momentum`; the running variance uses the unbiased estimate. An empty batch moves nothing.
  void batch_norm(const_view x, const_view gain, const_view bias, T epsilon, T momentum,
                  view running_mean, view running_variance, view normalised, view spread,
                  view y) const {
    if (x.rows == 0) {
      return;
    }
    self().run(x.cols, x.rows * 4, [&](index_t first, index_t last) {
      const auto n = static_cast<T>(x.rows);
      for (index_t c = first; c < last; ++c) {
        T mean = 0;
        for (index_t r = 0; r < x.rows; ++r) {
          mean += x.row(r)[c];
        }
        mean /= n;
        T variance = 0;
        for (index_t r = 0; r < x.rows; ++r) {
          variance += (x.row(r)[c] - mean) * (x.row(r)[c] - mean);
        }
        const T s = 1 / std::sqrt(variance / n + epsilon);
        spread.row(0)[c] = s;
        const T unbiased = x.rows > 1 ? variance / (n - 1) : variance;
        running_mean.row(0)[c] += momentum * (mean - running_mean.row(0)[c]);
        running_variance.row(0)[c] += momentum * (unbiased - running_variance.row(0)[c]);
        for (index_t r = 0; r < x.rows; ++r) {
          normalised.row(r)[c] = (x.row(r)[c] - mean) * s;
          y.row(r)[c] = normalised.row(r)[c] * gain.row(0)[c] + bias.row(0)[c];
        }
      }
    });
  }

  /// dx (+)= spread gain (dy - mean dy - normalised mean(dy normalised)), means over the batch
  void batch_norm_backward(const_view dy, const_view normalised, const_view spread, const_view gain,
                           view dx, bool accumulate) const {
    self().run(dy.cols, dy.rows * 4, [&](index_t first, index_t last) {
      const auto n = static_cast<T>(dy.rows);
      for (index_t c = first; c < last; ++c) {
        T mean = 0;
        T slope = 0;
        for (index_t r = 0; r < dy.rows; ++r) {
          mean += dy.row(r)[c];
          slope += dy.row(r)[c] * normalised.row(r)[c];
        }
        mean /= n;
        slope /= n;
        const T s = spread.row(0)[c] * gain.row(0)[c];
        for (index_t r = 0; r < dy.rows; ++r) {
          const T d = s * (dy.row(r)[c] - mean - normalised.row(r)[c] * slope);
          dx.row(r)[c] = accumulate ? dx.row(r)[c] + d : d;
        }
      }
    });
  }

  /// y = (x - mean) / sqrt(variance + epsilon) gain + bias, all (1, cols): batch norm when not
  /// training
  void normalise_columns(const_view x, const_view mean, const_view variance, const_view gain,
                         const_view bias, T epsilon, view y) const {
    rows(x.rows, x.cols * 4, [&](index_t r) {
      for (index_t c = 0; c < x.cols; ++c) {
        y.row(r)[c] = (x.row(r)[c] - mean.row(0)[c]) / std::sqrt(variance.row(0)[c] + epsilon) *
                          gain.row(0)[c] +
                      bias.row(0)[c];
      }
    });
  }

  /// out = (x - mean) factor, clipped to ±limit; mean and factor are (1, cols)
  void standardise(const_view x, const_view mean, const_view factor, T limit, view out) const {
    rows(x.rows, x.cols * 2, [&](index_t r) {
      const T* v = x.row(r);
      T* to = out.row(r);
      for (index_t c = 0; c < x.cols; ++c) {
        to[c] = std::clamp((v[c] - mean.data[c]) * factor.data[c], -limit, limit);
      }
    });
  }

  /// out = 1 where x is a number, 0 where it is NaN
  void label_mask(const_view x, view out) const {
    elementwise(
        [](index_t n, T* y, const T* v) {
          for (index_t i = 0; i < n; ++i) {
            y[i] = std::isnan(v[i]) ? T{0} : T{1};
          }
        },
        1, out, x);
  }

  /// out = x, but `value` where x is NaN
  void fill_missing(const_view x, T value, view out) const {
    elementwise(
        [value](index_t n, T* y, const T* v) {
          for (index_t i = 0; i < n; ++i) {
            y[i] = std::isnan(v[i]) ? value : v[i];
          }
        },
        1, out, x);
  }

  /// The mean loss over the labels that are present (not NaN). out (1, 2): the mean (0 without
  /// labels) and the number of labels present. prediction (rows, k), label (rows, k), or (rows, 1)
  /// for softmax.
  void loss(loss_kind kind, T delta, const_view prediction, const_view label, view out) const {
    index_t present = 0;
    for (index_t r = 0; r < label.rows; ++r) {
      for (index_t c = 0; c < label.cols; ++c) {
        present += std::isnan(label.row(r)[c]) ? 0 : 1;
      }
    }
    const double total =
        self().add_up(prediction.rows, prediction.cols * 10, [&](index_t first, index_t last) {
          double partial = 0;
          for (index_t r = first; r < last; ++r) {
            const T* p = prediction.row(r);
            if (kind == loss_kind::softmax) {
              if (!std::isnan(label.row(r)[0])) {
                const auto y = static_cast<index_t>(label.row(r)[0]);
                partial += static_cast<double>(formula::log_sum_exp(p, prediction.cols) - p[y]);
              }
              continue;
            }
            for (index_t c = 0; c < label.cols; ++c) {
              const T y = label.row(r)[c];
              if (!std::isnan(y)) {
                partial += static_cast<double>(formula::loss(kind, delta, p[c], y));
              }
            }
          }
          return partial;
        });
    out.data[0] = present > 0 ? static_cast<T>(total / static_cast<double>(present)) : T{0};
    out.data[1] = static_cast<T>(present);
  }

  /// dp (+)= dl ∂loss/∂prediction; `statistics` is what `loss` wrote, `dl` a 1 x 1 scalar
  void loss_backward(loss_kind kind, T delta, const_view prediction, const_view label,
                     const_view statistics, const_view dl, view dp, bool accumulate) const {
    const T present = statistics.data[1];
    const T factor = present > 0 ? dl.data[0] / present : T{0};
    rows(prediction.rows, prediction.cols * 10, [&](index_t r) {
      const T* p = prediction.row(r);
      T* to = dp.row(r);
      if (kind == loss_kind::softmax) {
        const T y = label.row(r)[0];
        const T total = std::isnan(y) ? T{0} : formula::log_sum_exp(p, prediction.cols);
        for (index_t c = 0; c < prediction.cols; ++c) {
          const T d =
              std::isnan(y)
                  ? T{0}
                  : factor * (std::exp(p[c] - total) - (c == static_cast<index_t>(y) ? 1 : 0));
          to[c] = accumulate ? to[c] + d : d;
        }
        return;
      }
      for (index_t c = 0; c < prediction.cols; ++c) {
        const T y = label.row(r)[c];
        const T d = std::isnan(y) ? T{0} : factor * formula::loss_slope(kind, delta, p[c], y);
        to[c] = accumulate ? to[c] + d : d;
      }
    });
  }

  /// `x` is `groups` matrices (n, d) stacked. out (1, 1) = scale Σ_{s<t} ‖x_s - x_t‖², in
  /// O(groups): it equals scale · groups · Σ_t ‖x_t - mean‖².
  void group_spread(const_view x, index_t groups, T scale, view out) const {
    const index_t n = x.rows / groups;
    const double total = self().add_up(n, x.cols * groups * 2, [&](index_t first, index_t last) {
      double partial = 0;
      group_means(x, groups, first, last, [&](index_t r, index_t c, index_t width, const T* mean) {
        T squares[column_block] = {};
        for (index_t t = 0; t < groups; ++t) {
          const T* v = x.row(t * n + r) + c;
          for (index_t i = 0; i < width; ++i) {
            squares[i] += (v[i] - mean[i]) * (v[i] - mean[i]);
          }
        }
        for (index_t i = 0; i < width; ++i) {
          partial += static_cast<double>(squares[i]);
        }
      });
      return partial;
    });
    out.data[0] = static_cast<T>(static_cast<double>(scale) * static_cast<double>(groups) * total);
  }

  /// dx_t (+)= dl 2 scale groups (x_t - mean)
  void group_spread_backward(const_view x, index_t groups, T scale, const_view dl, view dx,
                             bool accumulate) const {
    const index_t n = x.rows / groups;
    const T factor = 2 * scale * static_cast<T>(groups) * dl.data[0];
    self().run(n, x.cols * groups * 2, [&](index_t first, index_t last) {
      group_means(x, groups, first, last, [&](index_t r, index_t c, index_t width, const T* mean) {
        for (index_t t = 0; t < groups; ++t) {
          const T* v = x.row(t * n + r) + c;
          T* to = dx.row(t * n + r) + c;
          for (index_t i = 0; i < width; ++i) {
            const T d = factor * (v[i] - mean[i]);
            to[i] = accumulate ? to[i] + d : d;
          }
        }
      });
    });
  }

  /// y = the images x pooled under a window; x (n, image.size()), y (n, positions · channels).
  /// `where`, like y, receives the number of the largest pixel within the window, the first of
  /// several; it may be empty for a mean.
  void pool(pooling kind, const image_shape& image, const image_window& window, const_view x,
            view y, view where) const {
    rows(x.rows, y.cols * window.size() * 2, [&](index_t r) {
      if (kind == pooling::maximum) {
        image_kernels::max_pool(image, window, x.row(r), y.row(r), where.row(r));
      } else {
        image_kernels::average_pool(image, window, x.row(r), y.row(r));
      }
    });
  }

  /// dx (+)= dy at the largest pixel, or its share at every pixel
  void pool_backward(pooling kind, const image_shape& image, const image_window& window,
                     const_view where, const_view dy, view dx, bool accumulate) const {
    // Windows side by side: every pixel is written once, and only those that none covers are not.
    const bool apart = kind == pooling::maximum && !accumulate && window.stride >= window.height &&
                       window.stride >= window.width;
    const image_shape out = window.over(image, image.channels);
    const bool covered = window.stride == window.height && window.stride == window.width &&
                         out.height * window.stride >= image.height + window.padding &&
                         out.width * window.stride >= image.width + window.padding;
    rows(dy.rows, dy.cols * window.size() * 2, [&](index_t r) {
      T* to = dx.row(r);
      if (!accumulate && !(apart && covered)) {
        std::fill_n(to, dx.cols, T{0});
      }
      if (kind == pooling::maximum) {
        image_kernels::max_pool_backward(image, window, where.row(r), dy.row(r), apart, to);
      } else {
        image_kernels::average_pool_backward(image, window, dy.row(r), to);
      }
    });
  }

  /// One step of Adam (Kingma and Ba 2015) with decoupled weight decay (Loshchilov and Hutter
  /// 2019), fused: m = β₁m + (1-β₁)g, v = β₂v + (1-β₂)g², θ -= lr (m̂ / (√v̂ + ε) + decay θ), g
  /// scaled first.
  void adam_step(array_view<T> theta, array_view<const T> g, T scale, array_view<T> m,
                 array_view<T> v, const adam_coefficients& k) const {
    const auto rule = k.rule<T>();
    self().run(theta.size, 10, [&](index_t first, index_t last) {
      T* p = theta.data;
      const T* d = g.data;
      T* a = m.data;
      T* b = v.data;
      for (index_t i = first; i < last; ++i) {
        rule(p[i], scale * d[i], a[i], b[i]);
      }
    });
  }

  /// One step of gradient descent: u = momentum u + g + decay θ; θ -= lr u, or with Nesterov's
  /// acceleration θ -= lr (g + decay θ + momentum u). The gradient is scaled first.
  void sgd_step(array_view<T> theta, array_view<const T> g, T scale, array_view<T> u,
                const sgd_coefficients& k) const {
    const auto rule = k.rule<T>();
    self().run(theta.size, 4, [&](index_t first, index_t last) {
      for (index_t i = first; i < last; ++i) {
        rule(theta.data[i], scale * g.data[i], u.data[i]);
      }
    });
  }

  /// Host memory to this backend's memory, and back.
  template <class From>
  void upload(matrix_view<From> from, view to) const {
    for (index_t r = 0; r < from.rows; ++r) {
      std::copy_n(from.row(r), from.cols, to.row(r));
    }
  }
  template <class To>
  void download(const_view from, matrix_view<To> to) const {
    for (index_t r = 0; r < from.rows; ++r) {
      std::copy_n(from.row(r), from.cols, to.row(r));
    }
  }

 protected:
  /// f(row) for every row; one row costs about `cost` operations.
  template <class F>
  void rows(index_t count, index_t cost, F&& f) const {
    self().run(count, cost, [&f](index_t first, index_t last) {
      for (index_t r = first; r < last; ++r) {
        f(r);
      }
    });
  }

  /// f(n, pointers...) on contiguous stretches that cover all elements of views of one shape.
  template <class F, class... Views>
  void elementwise(F&& f, index_t cost, view out, Views... in) const {
    // Contiguous views are one long row, cut between elements; others are cut between rows.
    const bool flat = out.contiguous() && (in.contiguous() && ...);
    const auto part = [&](index_t first, index_t last) {
      const index_t n = flat ? last - first : out.cols;
      const index_t begin = flat ? first : 0;
      for (index_t r = flat ? 0 : first; r < (flat ? 1 : last); ++r) {
        f(n, out.row(r) + begin, (in.row(r) + begin)...);
      }
    };
    self().run(flat ? out.size() : out.rows, flat ? cost : out.cols * cost, part);
  }

 private:
  // Σ_c term(c), in a fixed number of partial sums, which a compiler computes side by side.
  template <class F>
  static T sum_of(index_t count, F&& term) {
    constexpr index_t lanes = 16;
    T partial[lanes] = {};
    index_t c = 0;
    for (; c + lanes <= count; c += lanes) {
      for (index_t k = 0; k < lanes; ++k) {
        partial[k] += term(c + k);
      }
    }
    for (index_t k = 0; c < count; ++c, ++k) {
      partial[k] += term(c);
    }
    for (index_t half = lanes / 2; half > 0; half /= 2) {
      for (index_t k = 0; k < half; ++k) {
        partial[k] += partial[k + half];
      }
    }
    return partial[0];
  }
  [[nodiscard]] const Derived& self() const { return static_cast<const Derived&>(*this); }

  static constexpr index_t column_block = 64;

  // f(c, number) for the columns of a row whose first number is element `first` of a stream that
  // gives four numbers at a time.
  template <class Four, class F>
  static void each_of_four(index_t first, index_t cols, Four&& four, F&& f) {
    for (index_t c = 0; c < cols;) {
      const auto i = static_cast<std::uint64_t>(first + c);
      const auto numbers = four(i / 4);
      for (std::size_t k = i % 4; k < 4 && c < cols; ++k, ++c) {
        f(c, numbers[k]);
      }
    }
  }

  // f(r, c, width, mean) for rows [first, last) of the `groups` matrices stacked in x and blocks of
  // their columns, `mean` being that of the elements (r, c ... c + width - 1) of all matrices. The
  // matrices lie far apart, often by a power of two: they are read by stretches, not by elements.
  template <class F>
  static void group_means(const_view x, index_t groups, index_t first, index_t last, F&& f) {
    const index_t n = x.rows / groups;
    T mean[column_block];
    for (index_t r = first; r < last; ++r) {
      for (index_t c = 0; c < x.cols; c += column_block) {
        const index_t width = std::min(column_block, x.cols - c);
        std::fill_n(mean, width, T{0});
        for (index_t t = 0; t < groups; ++t) {
          const T* v = x.row(t * n + r) + c;
          for (index_t i = 0; i < width; ++i) {
            mean[i] += v[i];
          }
        }
        for (index_t i = 0; i < width; ++i) {
          mean[i] /= static_cast<T>(groups);
        }
        f(r, c, width, static_cast<const T*>(mean));
      }
    }
  }

  static constexpr index_t cost_of(backend::unary f) {
    return f == unary::scale || f == unary::shift || f == unary::square || f == unary::absolute
               ? 1
               : 20;
  }
};

}  // namespace vierbein::backend
