// The kernels of the CUDA backend. This is the only file that a device compiler sees; it includes
// no other library. A host compiler compiles it as well, with loops in place of launches
// (launch.hpp): so its arithmetic is tested without a device.
#include "vierbein/backend/cuda/kernels.hpp"
#include "vierbein/backend/cuda/launch.hpp"

namespace vierbein::backend::device {

template <Scalar T>
std::size_t kernels<T>::scratch_bytes(index_t cols) {
  constexpr index_t sums = 2;  // no operation forms more at once
  // batch norm keeps the columns' means, or two sums, behind the partial sums
  const index_t columns = (most_row_chunks * sums + sums) * cols;
  return static_cast<std::size_t>(std::max(columns, most_chunks * sums)) * sizeof(double);
}

// ---- element by element -------------------------------------------------------------------------

template <Scalar T>
void kernels<T>::fill(stream s, view out, T value) {
  const cells<T> y(out);
  elementwise(s, [=] VIERBEIN_KERNEL(index_t r, index_t c) { y(r, c) = value; }, out);
}

template <Scalar T>
void kernels<T>::copy(stream s, T a, const_view in, view out, bool accumulate) {
  const cells<const T> x(in);
  const cells<T> y(out);
  elementwise(
      s, [=] VIERBEIN_KERNEL(index_t r, index_t c) { put(y(r, c), a * x(r, c), accumulate); }, out,
      in);
}

template <Scalar T>
void kernels<T>::unary(stream s, backend::unary f, T a, const_view in, view out) {
  const cells<const T> x(in);
  const cells<T> y(out);
  elementwise(
      s, [=] VIERBEIN_KERNEL(index_t r, index_t c) { y(r, c) = formula::evaluate(f, a, x(r, c)); },
      out, in);
}

template <Scalar T>
void kernels<T>::unary_backward(stream s, backend::unary f, T a, const_view in, const_view value,
                                const_view dy, view dx, bool accumulate) {
  const cells<const T> x(in), y(value), g(dy);
  const cells<T> to(dx);
  elementwise(
      s,
      [=] VIERBEIN_KERNEL(index_t r, index_t c) {
        put(to(r, c), g(r, c) * formula::slope(f, a, x(r, c), y(r, c)), accumulate);
      },
      dx, in, value, dy);
}

template <Scalar T>
void kernels<T>::binary(stream s, backend::binary f, const_view a, const_view b, view out) {
  const cells<const T> x(a), y(b);
  const cells<T> to(out);
  elementwise(
      s,
      [=] VIERBEIN_KERNEL(index_t r, index_t c) {
        to(r, c) = formula::combine(f, x(r, c), y(r, c));
      },
      out, a, b);
}

template <Scalar T>
void kernels<T>::multiply_add(stream s, T a, const_view in, const_view other, view out,
                              bool accumulate) {
  const cells<const T> x(in), y(other);
  const cells<T> to(out);
  elementwise(
      s,
      [=] VIERBEIN_KERNEL(index_t r, index_t c) {
        put(to(r, c), a * x(r, c) * y(r, c), accumulate);
      },
      out, in, other);
}

template <Scalar T>
void kernels<T>::divide_backward(stream s, const_view dq, const_view quotient,
                                 const_view denominator, bool numerator, view out,
                                 bool accumulate) {
  const cells<const T> g(dq), q(quotient), y(denominator);
  const cells<T> to(out);
  elementwise(
      s,
      [=] VIERBEIN_KERNEL(index_t r, index_t c) {
        const T d = numerator ? g(r, c) / y(r, c) : -g(r, c) * q(r, c) / y(r, c);
        put(to(r, c), d, accumulate);
      },
      out, dq, quotient, denominator);
}

template <Scalar T>
void kernels<T>::activate(stream s, activation act, const_view in, view out) {
  const cells<const T> x(in);
  const cells<T> y(out);
  elementwise(
      s, [=] VIERBEIN_KERNEL(index_t r, index_t c) { y(r, c) = formula::activate(act, x(r, c)); },
      out, in);
}

template <Scalar T>
void kernels<T>::activation_backward(stream s, activation act, const_view argument, const_view dy,
                                     view dz) {
  const cells<const T> v(argument), g(dy);
  const cells<T> to(dz);
  elementwise(
      s,
      [=] VIERBEIN_KERNEL(index_t r, index_t c) {
        to(r, c) = g(r, c) * formula::activation_slope(act, v(r, c));
      },
      dz, argument, dy);
}

template <Scalar T>
void kernels<T>::label_mask(stream s, const_view in, view out) {
  const cells<const T> x(in);
  const cells<T> y(out);
  elementwise(
      s, [=] VIERBEIN_KERNEL(index_t r, index_t c) { y(r, c) = std::isnan(x(r, c)) ? T{0} : T{1}; },
      out, in);
}

template <Scalar T>
void kernels<T>::fill_missing(stream s, const_view in, T value, view out) {
  const cells<const T> x(in);
  const cells<T> y(out);
  elementwise(
      s,
      [=] VIERBEIN_KERNEL(index_t r, index_t c) {
        y(r, c) = std::isnan(x(r, c)) ? value : x(r, c);
      },
      out, in);
}

template <Scalar T>
void kernels<T>::add_normal(stream s, const_view in, T sigma, random_stream numbers, view out) {
  const cells<const T> x(in);
  const cells<T> y(out);
  const index_t cols = in.cols;
  elements(s, in.rows, cols, [=] VIERBEIN_KERNEL(index_t r, index_t c) {
    y(r, c) =
        x(r, c) + sigma * static_cast<T>(numbers.normal(static_cast<std::uint64_t>(r * cols + c)));
  });
}

template <Scalar T>
void kernels<T>::dropout(stream s, const_view in, T p, random_stream numbers, view out,
                         bool accumulate) {
  const cells<const T> x(in);
  const cells<T> y(out);
  const T scale = 1 / (1 - p);
  const index_t cols = in.cols;
  elements(s, in.rows, cols, [=] VIERBEIN_KERNEL(index_t r, index_t c) {
    const double u = numbers.uniform(static_cast<std::uint64_t>(r * cols + c));
    put(y(r, c), u < static_cast<double>(p) ? T{0} : scale * x(r, c), accumulate);
  });
}

template <Scalar T>
void kernels<T>::adam_step(stream s, array theta, const_array g, T scale, array m, array v,
                           formula::adam_rule<T> rule) {
  elements(s, 1, theta.size, [=] VIERBEIN_KERNEL(index_t, index_t i) {
    rule(theta.data[i], scale * g.data[i], m.data[i], v.data[i]);
  });
}

template <Scalar T>
void kernels<T>::sgd_step(stream s, array theta, const_array g, T scale, array u,
                          formula::sgd_rule<T> rule) {
  elements(s, 1, theta.size, [=] VIERBEIN_KERNEL(index_t, index_t i) {
    rule(theta.data[i], scale * g.data[i], u.data[i]);
  });
}

// ---- rows that are moved ------------------------------------------------------------------------

template <Scalar T>
void kernels<T>::gather_rows(stream s, const_view in, indices index, view out, bool accumulate) {
  const cells<const T> x(in);
  const cells<T> y(out);
  elements(s, out.rows, out.cols, [=] VIERBEIN_KERNEL(index_t r, index_t c) {
    put(y(r, c), x(index.data[r], c), accumulate);
  });
}

template <Scalar T>
void kernels<T>::gather_negative(stream s, const_view in, indices index, view out,
                                 bool accumulate) {
  const cells<const T> x(in);
  const cells<T> y(out);
  elements(s, out.rows, out.cols, [=] VIERBEIN_KERNEL(index_t r, index_t c) {
    put(y(r, c), -x(index.data[r], c), accumulate);
  });
}

template <Scalar T>
void kernels<T>::gather_difference(stream s, const_view a, indices i, const_view b, indices j,
                                   view out) {
  const cells<const T> x(a), y(b);
  const cells<T> to(out);
  elements(s, out.rows, out.cols, [=] VIERBEIN_KERNEL(index_t r, index_t c) {
    to(r, c) = x(i.data[r], c) - y(j.data[r], c);
  });
}

template <Scalar T>
void kernels<T>::segment_sum(stream s, const_view in, indices begin, indices item, bool mean,
                             view out, bool accumulate) {
  const cells<const T> x(in);
  const cells<T> y(out);
  const std::int32_t* items = item.size == 0 ? nullptr : item.data;
  elements(s, out.rows, out.cols, [=] VIERBEIN_KERNEL(index_t r, index_t c) {
    const index_t first = begin.data[r];
    const index_t last = begin.data[r + 1];
    const T scale = mean && last > first ? T{1} / static_cast<T>(last - first) : T{1};
    T total = accumulate ? y(r, c) : T{0};
    for (index_t k = first; k < last; ++k) {
      total += scale * x(items == nullptr ? k : index_t{items[k]}, c);
    }
    y(r, c) = total;
  });
}

template <Scalar T>
void kernels<T>::segment_sum_backward(stream s, const_view dy, indices begin, indices segment_of,
                                      bool mean, view out, bool accumulate) {
  const cells<const T> g(dy);
  const cells<T> y(out);
  elements(s, out.rows, out.cols, [=] VIERBEIN_KERNEL(index_t r, index_t c) {
    const index_t i = segment_of.data[r];
    const T scale = mean ? T{1} / static_cast<T>(begin.data[i + 1] - begin.data[i]) : T{1};
    put(y(r, c), scale * g(i, c), accumulate);
  });
}

// ---- broadcasts, sums and norms -----------------------------------------------------------------

template <Scalar T>
void kernels<T>::broadcast_column(stream s, const_view column, T scale, view out, bool accumulate) {
  const cells<const T> x(column);
  const cells<T> y(out);
  elements(s, out.rows, out.cols, [=] VIERBEIN_KERNEL(index_t r, index_t c) {
    put(y(r, c), scale * x(r, 0), accumulate);
  });
}

template <Scalar T>
void kernels<T>::broadcast_row(stream s, const_view row, T scale, view out, bool accumulate) {
  const cells<const T> x(row);
  const cells<T> y(out);
  elements(s, out.rows, out.cols, [=] VIERBEIN_KERNEL(index_t r, index_t c) {
    put(y(r, c), scale * x(0, c), accumulate);
  });
}

template <Scalar T>
void kernels<T>::broadcast_scalar(stream s, const_view value, T factor, view out, bool accumulate) {
  const T* const x = value.data;
  const cells<T> y(out);
  elementwise(
      s, [=] VIERBEIN_KERNEL(index_t r, index_t c) { put(y(r, c), factor * *x, accumulate); }, out);
}

template <Scalar T>
void kernels<T>::row_sums(stream s, const_view in, T scale, view out) {
  const cells<const T> x(in);
  const cells<T> y(out);
  reduce_rows<T, 1>(
      s, in.rows, in.cols,
      [=] VIERBEIN_KERNEL(index_t r, index_t c, sums_of<T, 1> & sums) { sums[0] += x(r, c); },
      nothing{},
      [=] VIERBEIN_KERNEL(index_t r, const sums_of<T, 1>& sums) { y(r, 0) = scale * sums[0]; });
}

template <Scalar T>
void kernels<T>::row_norms(stream s, const_view in, T epsilon, view out) {
  const cells<const T> x(in);
  const cells<T> y(out);
  reduce_rows<T, 1>(
      s, in.rows, in.cols,
      [=] VIERBEIN_KERNEL(index_t r, index_t c, sums_of<T, 1> & sums) {
        sums[0] += x(r, c) * x(r, c);
      },
      nothing{},
      [=] VIERBEIN_KERNEL(index_t r, const sums_of<T, 1>& sums) {
        y(r, 0) = std::sqrt(sums[0] + epsilon);
      });
}

template <Scalar T>
void kernels<T>::row_norms_backward(stream s, const_view in, const_view norms, const_view dnorms,
                                    view dx, bool accumulate) {
  const cells<const T> x(in), n(norms), g(dnorms);
  const cells<T> to(dx);
  elements(s, in.rows, in.cols, [=] VIERBEIN_KERNEL(index_t r, index_t c) {
    const T factor = g(r, 0) / n(r, 0);
    put(to(r, c), factor * x(r, c), accumulate);
  });
}

template <Scalar T>
void kernels<T>::copy_distances(stream s, const_view in, index_t n, index_t copies, T epsilon,
                                view out) {
  const cells<const T> x(in);
  const cells<T> y(out);
  reduce_rows<T, 1>(
      s, out.rows, in.cols,
      [=] VIERBEIN_KERNEL(index_t r, index_t c, sums_of<T, 1> & sums) {
        const index_t first = r / n / copies * (1 + copies) * n + r % n;
        const T difference = x(first, c) - x(first + (1 + r / n % copies) * n, c);
        sums[0] += difference * difference;
      },
      nothing{},
      [=] VIERBEIN_KERNEL(index_t r, const sums_of<T, 1>& sums) {
        y(r, 0) = std::sqrt(sums[0] + epsilon);
      });
}

template <Scalar T>
void kernels<T>::copy_distances_backward(stream s, const_view in, index_t n, index_t copies,
                                         const_view distances, const_view ddistances, view dx,
                                         bool accumulate) {
  const cells<const T> x(in), d(distances), g(ddistances);
  const cells<T> to(dx);
  elements(s, in.rows, in.cols, [=] VIERBEIN_KERNEL(index_t r, index_t c) {
    const index_t group = r / n / (1 + copies);
    const index_t block = r / n % (1 + copies);
    const index_t first = group * (1 + copies) * n + r % n;
    T total = 0;
    for (index_t k = block == 0 ? 0 : block - 1; k < (block == 0 ? copies : block); ++k) {
      const index_t i = (group * copies + k) * n + r % n;
      total += g(i, 0) / d(i, 0) * (x(first, c) - x(first + (1 + k) * n, c));
    }
    put(to(r, c), block == 0 ? total : -total, accumulate);
  });
}

template <Scalar T>
void kernels<T>::column_sums(stream s, double* scratch, const_view in, view out, bool accumulate) {
  const cells<const T> x(in);
  T* const y = out.data;
  reduce_columns<T, 1>(
      s, scratch, in.rows, in.cols,
      [=] VIERBEIN_KERNEL(index_t r, index_t c, sums_of<T, 1> & sums) { sums[0] += x(r, c); },
      [=] VIERBEIN_KERNEL(index_t c, const sums_of<double, 1>& sums) {
        put(y[c], static_cast<T>(sums[0]), accumulate);
      });
}

template <Scalar T>
void kernels<T>::column_dots(stream s, double* scratch, const_view a, const_view b, view out,
                             bool accumulate) {
  const cells<const T> x(a), y(b);
  T* const to = out.data;
  reduce_columns<T, 1>(
      s, scratch, a.rows, a.cols,
      [=] VIERBEIN_KERNEL(index_t r, index_t c, sums_of<T, 1> & sums) {
        sums[0] += x(r, c) * y(r, c);
      },
      [=] VIERBEIN_KERNEL(index_t c, const sums_of<double, 1>& sums) {
        put(to[c], static_cast<T>(sums[0]), accumulate);
      });
}

template <Scalar T>
void kernels<T>::sum(stream s, double* scratch, const_view in, T scale, view out, bool accumulate) {
  const cells<const T> x(in);
  T* const y = out.data;
  const index_t cols = std::max<index_t>(in.cols, 1);
  reduce_all<1>(
      s, scratch, in.rows * in.cols,
      [=] VIERBEIN_KERNEL(index_t i, sums_of<double, 1> & sums) {
        sums[0] += static_cast<double>(x(i / cols, i % cols));
      },
      [=] VIERBEIN_KERNEL(const sums_of<double, 1>& sums) {
        *y = static_cast<T>((accumulate ? static_cast<double>(*y) : 0.0) +
                            static_cast<double>(scale) * sums[0]);
      });
}

template <Scalar T>
void kernels<T>::squared_norm(stream s, double* scratch, const_array x, double* out) {
  reduce_all<1>(
      s, scratch, x.size,
      [=] VIERBEIN_KERNEL(index_t i, sums_of<double, 1> & sums) {
        sums[0] += static_cast<double>(x.data[i]) * static_cast<double>(x.data[i]);
      },
      [=] VIERBEIN_KERNEL(const sums_of<double, 1>& sums) { *out = sums[0]; });
}

// ---- normalisations -----------------------------------------------------------------------------

template <Scalar T>
void kernels<T>::layer_norm(stream s, const_view in, const_view gain, const_view bias, T epsilon,
                            view normalised, view spread, view y) {
  const cells<const T> x(in), w(gain), b(bias);
  const cells<T> z(normalised), d(spread), to(y);
  const auto n = static_cast<T>(in.cols);
  reduce_rows<T, 1>(  // the means lie in `spread` for a while
      s, in.rows, in.cols,
      [=] VIERBEIN_KERNEL(index_t r, index_t c, sums_of<T, 1> & sums) { sums[0] += x(r, c); },
      nothing{},
      [=] VIERBEIN_KERNEL(index_t r, const sums_of<T, 1>& sums) { d(r, 0) = sums[0] / n; });
  reduce_rows<T, 1>(
      s, in.rows, in.cols,
      [=] VIERBEIN_KERNEL(index_t r, index_t c, sums_of<T, 1> & sums) {
        const T distance = x(r, c) - d(r, 0);
        sums[0] += distance * distance;
      },
      [=] VIERBEIN_KERNEL(index_t r, index_t c, const sums_of<T, 1>& sums) {
        z(r, c) = (x(r, c) - d(r, 0)) * (1 / std::sqrt(sums[0] / n + epsilon));
        to(r, c) = z(r, c) * w(0, c) + b(0, c);
      },
      [=] VIERBEIN_KERNEL(index_t r, const sums_of<T, 1>& sums) {
        d(r, 0) = 1 / std::sqrt(sums[0] / n + epsilon);
      });
}

template <Scalar T>
void kernels<T>::layer_norm_backward(stream s, const_view dy, const_view normalised,
                                     const_view spread, const_view gain, view dx, bool accumulate) {
  const cells<const T> g(dy), z(normalised), d(spread), w(gain);
  const cells<T> to(dx);
  const auto n = static_cast<T>(dy.cols);
  reduce_rows<T, 2>(
      s, dy.rows, dy.cols,
      [=] VIERBEIN_KERNEL(index_t r, index_t c, sums_of<T, 2> & sums) {
        const T v = g(r, c) * w(0, c);
        sums[0] += v;
        sums[1] += v * z(r, c);
      },
      [=] VIERBEIN_KERNEL(index_t r, index_t c, const sums_of<T, 2>& sums) {
        const T v = g(r, c) * w(0, c) - sums[0] / n - z(r, c) * (sums[1] / n);
        put(to(r, c), d(r, 0) * v, accumulate);
      },
      nothing{});
}

template <Scalar T>
void kernels<T>::batch_norm(stream s, double* scratch, const_view in, const_view gain,
                            const_view bias, T epsilon, T momentum, view running_mean,
                            view running_variance, view normalised, view spread, view y) {
  if (in.rows == 0) {
    return;
  }
  const cells<const T> x(in), w(gain), b(bias);
  const cells<T> z(normalised), to(y);
  T* const d = spread.data;
  T* const old_mean = running_mean.data;
  T* const old_variance = running_variance.data;
  double* const mean = scratch + most_row_chunks * 2 * in.cols;
  const auto n = static_cast<T>(in.rows);
  const bool several = in.rows > 1;
  reduce_columns<T, 1>(
      s, scratch, in.rows, in.cols,
      [=] VIERBEIN_KERNEL(index_t r, index_t c, sums_of<T, 1> & sums) { sums[0] += x(r, c); },
      [=] VIERBEIN_KERNEL(index_t c, const sums_of<double, 1>& sums) {
        mean[c] = sums[0] / static_cast<double>(n);
      });
  reduce_columns<T, 1>(
      s, scratch, in.rows, in.cols,
      [=] VIERBEIN_KERNEL(index_t r, index_t c, sums_of<T, 1> & sums) {
        const T distance = x(r, c) - static_cast<T>(mean[c]);
        sums[0] += distance * distance;
      },
      [=] VIERBEIN_KERNEL(index_t c, const sums_of<double, 1>& sums) {
        const auto variance = static_cast<T>(sums[0]);
        d[c] = 1 / std::sqrt(variance / n + epsilon);
        const T unbiased = several ? variance / (n - 1) : variance;
        old_mean[c] += momentum * (static_cast<T>(mean[c]) - old_mean[c]);
        old_variance[c] += momentum * (unbiased - old_variance[c]);
      });
  elements(s, in.rows, in.cols, [=] VIERBEIN_KERNEL(index_t r, index_t c) {
    z(r, c) = (x(r, c) - static_cast<T>(mean[c])) * d[c];
    to(r, c) = z(r, c) * w(0, c) + b(0, c);
  });
}

template <Scalar T>
void kernels<T>::batch_norm_backward(stream s, double* scratch, const_view dy,
                                     const_view normalised, const_view spread, const_view gain,
                                     view dx, bool accumulate) {
  const cells<const T> g(dy), z(normalised), d(spread), w(gain);
  const cells<T> to(dx);
  const auto n = static_cast<double>(dy.rows);
  double* const means = scratch + most_row_chunks * 2 * dy.cols;  // of dy and of dy normalised
  const index_t cols = dy.cols;
  reduce_columns<T, 2>(
      s, scratch, dy.rows, dy.cols,
      [=] VIERBEIN_KERNEL(index_t r, index_t c, sums_of<T, 2> & sums) {
        sums[0] += g(r, c);
        sums[1] += g(r, c) * z(r, c);
      },
      [=] VIERBEIN_KERNEL(index_t c, const sums_of<double, 2>& sums) {
        means[c] = sums[0] / n;
        means[cols + c] = sums[1] / n;
      });
  elements(s, dy.rows, dy.cols, [=] VIERBEIN_KERNEL(index_t r, index_t c) {
    const T v = g(r, c) - static_cast<T>(means[c]) - z(r, c) * static_cast<T>(means[cols + c]);
    put(to(r, c), d(0, c) * w(0, c) * v, accumulate);
  });
}

template <Scalar T>
void kernels<T>::normalise_columns(stream s, const_view in, const_view mean, const_view variance,
                                   const_view gain, const_view bias, T epsilon, view y) {
  const cells<const T> x(in), m(mean), v(variance), w(gain), b(bias);
  const cells<T> to(y);
  elements(s, in.rows, in.cols, [=] VIERBEIN_KERNEL(index_t r, index_t c) {
    to(r, c) = (x(r, c) - m(0, c)) / std::sqrt(v(0, c) + epsilon) * w(0, c) + b(0, c);
  });
}

template <Scalar T>
void kernels<T>::standardise(stream s, const_view in, const_view mean, const_view factor, T limit,
                             view out) {
  const cells<const T> x(in), m(mean), f(factor);
  const cells<T> y(out);
  elements(s, in.rows, in.cols, [=] VIERBEIN_KERNEL(index_t r, index_t c) {
    const T z = (x(r, c) - m(0, c)) * f(0, c);
    y(r, c) = z < -limit ? -limit : (limit < z ? limit : z);  // NaN stays NaN
  });
}

// ---- losses -------------------------------------------------------------------------------------

template <Scalar T>
void kernels<T>::loss(stream s, double* scratch, loss_kind kind, T delta, const_view prediction,
                      const_view labels, view out) {
  const cells<const T> p(prediction), label(labels);
  const cells<T> to(out);
  const bool softmax = kind == loss_kind::softmax;
  const index_t cols = std::max<index_t>(labels.cols, 1);
  const index_t classes = prediction.cols;
  reduce_all<2>(
      s, scratch, labels.rows * labels.cols,
      [=] VIERBEIN_KERNEL(index_t i, sums_of<double, 2> & sums) {
        const index_t r = i / cols;
        const index_t c = i % cols;
        const T y = label(r, c);
        if (std::isnan(y)) {
          return;
        }
        const T value =
            softmax ? formula::log_sum_exp<T>(p.row(r), classes) - p(r, static_cast<index_t>(y))
                    : formula::loss(kind, delta, p(r, c), y);
        sums[0] += static_cast<double>(value);
        sums[1] += 1;
      },
      [=] VIERBEIN_KERNEL(const sums_of<double, 2>& sums) {
        to(0, 0) = sums[1] > 0 ? static_cast<T>(sums[0] / sums[1]) : T{0};
        to(0, 1) = static_cast<T>(sums[1]);
      });
}

template <Scalar T>
void kernels<T>::loss_backward(stream s, loss_kind kind, T delta, const_view prediction,
                               const_view labels, const_view statistics, const_view dl, view dp,
                               bool accumulate) {
  const cells<const T> p(prediction), label(labels);
  const cells<T> to(dp);
  const T* const found = statistics.data;
  const T* const cotangent = dl.data;
  if (kind == loss_kind::softmax) {
    const index_t classes = prediction.cols;
    elements(s, prediction.rows, 1, [=] VIERBEIN_KERNEL(index_t r, index_t) {
      const T factor = found[1] > 0 ? *cotangent / found[1] : T{0};
      const T y = label(r, 0);
      const bool present = !std::isnan(y);
      const T total = present ? formula::log_sum_exp<T>(p.row(r), classes) : T{0};
      for (index_t k = 0; k < classes; ++k) {
        const T one = present && k == static_cast<index_t>(y) ? T{1} : T{0};
        put(to(r, k), present ? factor * (std::exp(p(r, k) - total) - one) : T{0}, accumulate);
      }
    });
    return;
  }
  elements(s, prediction.rows, prediction.cols, [=] VIERBEIN_KERNEL(index_t r, index_t c) {
    const T factor = found[1] > 0 ? *cotangent / found[1] : T{0};
    const T y = label(r, c);
    const T d = std::isnan(y) ? T{0} : factor * formula::loss_slope(kind, delta, p(r, c), y);
    put(to(r, c), d, accumulate);
  });
}

// ---- stacked matrices ---------------------------------------------------------------------------

/// The mean of the elements (r, c) of `groups` matrices of n rows, stacked.
template <class T>
VIERBEIN_KERNEL T group_mean(const cells<const T>& x, index_t groups, index_t n, index_t r,
                             index_t c) {
  T mean = 0;
  for (index_t t = 0; t < groups; ++t) {
    mean += x(t * n + r, c);
  }
  return mean / static_cast<T>(groups);
}

template <Scalar T>
void kernels<T>::group_spread(stream s, double* scratch, const_view in, index_t groups, T scale,
                              view out) {
  const cells<const T> x(in);
  T* const y = out.data;
  const index_t n = in.rows / groups;
  const index_t cols = std::max<index_t>(in.cols, 1);
  reduce_all<1>(
      s, scratch, n * in.cols,
      [=] VIERBEIN_KERNEL(index_t i, sums_of<double, 1> & sums) {
        const index_t r = i / cols;
        const index_t c = i % cols;
        const T mean = group_mean(x, groups, n, r, c);
        T squares = 0;
        for (index_t t = 0; t < groups; ++t) {
          const T d = x(t * n + r, c) - mean;
          squares += d * d;
        }
        sums[0] += static_cast<double>(squares);
      },
      [=] VIERBEIN_KERNEL(const sums_of<double, 1>& sums) {
        *y = static_cast<T>(static_cast<double>(scale) * static_cast<double>(groups) * sums[0]);
      });
}

template <Scalar T>
void kernels<T>::group_spread_backward(stream s, const_view in, index_t groups, T scale,
                                       const_view dl, view dx, bool accumulate) {
  const cells<const T> x(in);
  const cells<T> to(dx);
  const T* const cotangent = dl.data;
  const index_t n = in.rows / groups;
  elements(s, n, in.cols, [=] VIERBEIN_KERNEL(index_t r, index_t c) {
    const T factor = 2 * scale * static_cast<T>(groups) * *cotangent;
    const T mean = group_mean(x, groups, n, r, c);
    for (index_t t = 0; t < groups; ++t) {
      put(to(t * n + r, c), factor * (x(t * n + r, c) - mean), accumulate);
    }
  });
}

// ---- images -------------------------------------------------------------------------------------

/// f(k, element of the image) for every pixel k of the window at position p that lies within the
/// image; the element is that of channel c.
template <class F>
VIERBEIN_KERNEL void each_pixel(const window_geometry& g, int p, int c, F&& f) {
  const int top = p / g.out_width * g.step - g.padding;
  const int left = p % g.out_width * g.step - g.padding;
  for (int ky = 0; ky < g.window_height; ++ky) {
    for (int kx = 0; kx < g.window_width; ++kx) {
      const int y = top + ky;
      const int x = left + kx;
      if (y >= 0 && y < g.height && x >= 0 && x < g.width) {
        f(ky * g.window_width + kx, (y * g.width + x) * g.channels + c);
      }
    }
  }
}

/// f(k, p) for every position p of the window whose pixel k is pixel (y, x) of the image.
template <class F>
VIERBEIN_KERNEL void each_position(const window_geometry& g, int y, int x, F&& f) {
  for (int ky = 0; ky < g.window_height; ++ky) {
    const int down = y + g.padding - ky;
    if (down < 0 || down % g.step != 0 || down / g.step >= g.out_height) {
      continue;
    }
    for (int kx = 0; kx < g.window_width; ++kx) {
      const int across = x + g.padding - kx;
      if (across >= 0 && across % g.step == 0 && across / g.step < g.out_width) {
        f(ky * g.window_width + kx, down / g.step * g.out_width + across / g.step);
      }
    }
  }
}

template <Scalar T>
void kernels<T>::max_pool(stream s, window_geometry g, const_view in, view out, view which) {
  const cells<const T> x(in);
  const cells<T> y(out), where(which);
  elements(s, out.rows, out.cols, [=] VIERBEIN_KERNEL(index_t r, index_t i) {
    const T* const from = x.row(r);
    T best = 0;
    int chosen = -1;
    each_pixel(g, static_cast<int>(i) / g.channels, static_cast<int>(i) % g.channels,
               [&](int k, int at) {
                 const T v = from[at];
                 // Neither "not smaller" nor "not equal": so NaN wins, and then stays.
                 if (chosen < 0 || (!(v <= best) && best == best)) {
                   best = v;
                   chosen = k;
                 }
               });
    y(r, i) = best;
    where(r, i) = static_cast<T>(chosen);
  });
}

template <Scalar T>
void kernels<T>::average_pool(stream s, window_geometry g, const_view in, view out) {
  const cells<const T> x(in);
  const cells<T> y(out);
  elements(s, out.rows, out.cols, [=] VIERBEIN_KERNEL(index_t r, index_t i) {
    const T* const from = x.row(r);
    T total = 0;
    int pixels = 0;
    each_pixel(g, static_cast<int>(i) / g.channels, static_cast<int>(i) % g.channels,
               [&](int, int at) {
                 total += from[at];
                 ++pixels;
               });
    y(r, i) = total / static_cast<T>(pixels);
  });
}

template <Scalar T>
void kernels<T>::pool_backward(stream s, window_geometry g, const_view which, const_view dy,
                               view dx, bool accumulate) {
  const cells<const T> where(which), gradient(dy);
  const cells<T> to(dx);
  elements(s, dx.rows, dx.cols, [=] VIERBEIN_KERNEL(index_t r, index_t i) {
    const int c = static_cast<int>(i) % g.channels;
    const int pixel = static_cast<int>(i) / g.channels;
    T total = 0;
    each_position(g, pixel / g.width, pixel % g.width, [&](int k, int p) {
      const index_t at = index_t{p} * g.channels + c;
      if (where.data != nullptr) {
        total += where(r, at) == static_cast<T>(k) ? gradient(r, at) : T{0};
        return;
      }
      int pixels = 0;
      each_pixel(g, p, 0, [&](int, int) { ++pixels; });
      total += gradient(r, at) / static_cast<T>(pixels);
    });
    put(to(r, i), total, accumulate);
  });
}

template <Scalar T>
void kernels<T>::gather_patches(stream s, window_geometry g, const_view in, view patches) {
  const cells<const T> x(in);
  const cells<T> to(patches);
  const int positions = g.out_height * g.out_width;
  elements(s, patches.rows, patches.cols, [=] VIERBEIN_KERNEL(index_t row, index_t k) {
    const auto p = static_cast<int>(row % positions);
    const int c = static_cast<int>(k) % g.channels;
    const int at = static_cast<int>(k) / g.channels;
    const int v = p / g.out_width * g.step - g.padding + at / g.window_width;
    const int u = p % g.out_width * g.step - g.padding + at % g.window_width;
    const bool inside = v >= 0 && v < g.height && u >= 0 && u < g.width;
    to(row, k) = inside ? x(row / positions, (index_t{v} * g.width + u) * g.channels + c) : T{0};
  });
}

template <Scalar T>
void kernels<T>::scatter_patches(stream s, window_geometry g, const_view patches, view dx,
                                 bool accumulate) {
  const cells<const T> from(patches);
  const cells<T> to(dx);
  const index_t positions = index_t{g.out_height} * g.out_width;
  elements(s, dx.rows, dx.cols, [=] VIERBEIN_KERNEL(index_t r, index_t i) {
    const int c = static_cast<int>(i) % g.channels;
    const int pixel = static_cast<int>(i) / g.channels;
    T total = 0;
    each_position(g, pixel / g.width, pixel % g.width, [&](int k, int p) {
      total += from(r * positions + p, index_t{k} * g.channels + c);
    });
    put(to(r, i), total, accumulate);
  });
}

template <Scalar T>
void kernels<T>::convolution_epilogue(stream s, activation act, const_view sums, const_view bias,
                                      view argument, view y) {
  const T* const z = sums.data;
  const T* const b = bias.data;
  const cells<T> kept(argument), to(y);
  const index_t cols = y.cols;
  const index_t out = sums.cols;
  elements(s, y.rows, y.cols, [=] VIERBEIN_KERNEL(index_t r, index_t i) {
    const T v = z[r * cols + i] + (b != nullptr ? b[i % out] : T{0});
    if (kept.data != nullptr) {
      kept(r, i) = v;
    }
    to(r, i) = formula::activate(act, v);
  });
}

// ---- products -----------------------------------------------------------------------------------

template <Scalar T>
void kernels<T>::affine_epilogue(stream s, activation act, const_view bias, view argument, view y) {
  const T* const b = bias.data;
  const cells<T> kept(argument), to(y);
  elements(s, y.rows, y.cols, [=] VIERBEIN_KERNEL(index_t r, index_t c) {
    const T v = to(r, c) + (b != nullptr ? b[c] : T{0});
    if (kept.data != nullptr) {
      kept(r, c) = v;
    }
    to(r, c) = formula::activate(act, v);
  });
}

inline constexpr int product_tile = 32;

/// A block computes a tile of 32 x 32 elements of one sum, a thread four of them. With several
/// chunks it is a part of the depth, and the result goes to `partial`.
template <class T>
struct product_tiles {
  product_group<T> group;
  bool epilogue;
  activation act;
  int chunks;
  T* partial;

  VIERBEIN_KERNEL void operator()(const block& b) const {
    constexpr int side = product_tile;
    constexpr int half = side / 2;
    VIERBEIN_SHARED T left[side][side + 1];   // (row, k)
    VIERBEIN_SHARED T right[side][side + 1];  // (k, column)
    const auto tile = static_cast<int>(b.index / chunks);
    const auto chunk = static_cast<int>(b.index % chunks);
    int which = 0;
    while (which + 1 < group.sum_count && group.sums[which + 1].tile <= tile) {
      ++which;
    }
    const product_sum<T>& sum = group.sums[which];
    const int across = (sum.cols + side - 1) / side;
    const int top = (tile - sum.tile) / across * side;
    const int start = (tile - sum.tile) % across * side;
    per_thread<sums_of<T, 4>> total;
    b.each([&](int t) { total[t] = sums_of<T, 4>{}; });
    for (int i = sum.first; i < sum.last; ++i) {
      const product_term<T>& term = group.terms[i];
      const std::int64_t length = (term.depth + chunks - 1) / chunks;
      const std::int64_t first = chunk * length;
      const std::int64_t last = first + length < term.depth ? first + length : term.depth;
      for (std::int64_t k0 = first; k0 < last; k0 += side) {
        b.each([&](int t) {
          for (int j = t; j < side * side; j += block_threads) {
            const int fast = j % side;
            const int slow = j / side;
            {  // neighbouring threads read neighbouring elements
              const int r = term.a_step == 1 ? slow : fast;
              const int k = term.a_step == 1 ? fast : slow;
              const bool inside = top + r < sum.rows && k0 + k < last;
              left[r][k] = inside ? term.a[(top + r) * term.a_row + (k0 + k) * term.a_step] : T{0};
            }
            const int c = term.b_col == 1 ? fast : slow;
            const int k = term.b_col == 1 ? slow : fast;
            const bool inside = start + c < sum.cols && k0 + k < last;
            right[k][c] = inside ? term.b[(k0 + k) * term.b_step + (start + c) * term.b_col] : T{0};
          }
        });
        b.each([&](int t) {
          const int r = t / half;
          const int c = t % half;
          sums_of<T, 4>& v = total[t];
          for (int k = 0; k < side; ++k) {
            const T a0 = left[r][k];
            const T a1 = left[r + half][k];
            const T b0 = right[k][c];
            const T b1 = right[k][c + half];
            v[0] += a0 * b0;
            v[1] += a0 * b1;
            v[2] += a1 * b0;
            v[3] += a1 * b1;
          }
        });
      }
    }
    b.each([&](int t) {
      for (int j = 0; j < 4; ++j) {
        const int r = top + t / half + (j / 2) * half;
        const int c = start + t % half + (j % 2) * half;
        if (r < sum.rows && c < sum.cols) {
          store(sum, chunk, r, c, total[t][j]);
        }
      }
    });
  }

  VIERBEIN_KERNEL void store(const product_sum<T>& sum, int chunk, int r, int c, T value) const {
    if (partial != nullptr) {
      partial[(std::int64_t{chunk} * sum.rows + r) * sum.cols + c] = value;
      return;
    }
    T& to = sum.c[r * sum.c_stride + c];
    if (!epilogue) {
      put(to, value, sum.accumulate);
      return;
    }
    value += sum.bias != nullptr ? sum.bias[c] : T{0};
    value += sum.addend != nullptr ? sum.addend[r * sum.addend_stride + c] : T{0};
    if (sum.argument != nullptr) {
      sum.argument[r * sum.argument_stride + c] = value;
    }
    to = formula::activate(act, value);
  }
};

template <class T>
index_t tiles_of(const product_sum<T>& sum) {
  const index_t down = (sum.rows + product_tile - 1) / product_tile;
  return down * ((sum.cols + product_tile - 1) / product_tile);
}

template <Scalar T>
void kernels<T>::multiply(stream s, product_group<T>& group, bool epilogue, activation act) {
  index_t tiles = 0;
  for (int i = 0; i < group.sum_count; ++i) {
    group.sums[i].tile = static_cast<int>(tiles);
    tiles += tiles_of(group.sums[i]);
  }
  blocks(s, tiles, product_tiles<T>{group, epilogue, act, 1, nullptr});
}

template <Scalar T>
void kernels<T>::multiply_long(stream s, const product_group<T>& group, int chunks, T* partial) {
  const product_sum<T> sum = group.sums[0];
  blocks(s, tiles_of(sum) * chunks,
         product_tiles<T>{group, false, activation::identity, chunks, partial});
  elements(s, sum.rows, sum.cols, [=] VIERBEIN_KERNEL(index_t r, index_t c) {
    double total = sum.accumulate ? static_cast<double>(sum.c[r * sum.c_stride + c]) : 0.0;
    for (index_t i = 0; i < chunks; ++i) {
      total += static_cast<double>(partial[(i * sum.rows + r) * sum.cols + c]);
    }
    sum.c[r * sum.c_stride + c] = static_cast<T>(total);
  });
}

template struct kernels<float>;
template struct kernels<double>;

}  // namespace vierbein::backend::device
