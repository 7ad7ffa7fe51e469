// The kernels of the CUDA backend, as functions of addresses and numbers: kernels.cu defines them,
// the only file that a device compiler sees. Their meaning stands in backend/host.hpp.
//
// A function asks for its work and returns. It does not check anything: whoever launches does.
// `scratch` is device memory of at least scratch_bytes(...).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "vierbein/backend/formulas.hpp"
#include "vierbein/core/random.hpp"
#include "vierbein/core/view.hpp"

namespace vierbein::backend::device {

/// Threads of a block, in every launch.
inline constexpr int block_threads = 256;

/// An argument of a kernel: so many bytes to be copied.
struct kernel_argument {
  const void* data;
  std::size_t bytes;
};

/// Takes what is to run on a device: cuda/sequence.hpp.
class launcher {
 public:
  virtual ~launcher() = default;
  /// `function` on so many blocks. It is what the device compiler's runtime knows a kernel by, or,
  /// where a host compiler has compiled the kernels, a host_kernel.
  virtual void kernel(const void* function, unsigned blocks,
                      std::span<const kernel_argument> arguments) = 0;
};
using stream = launcher&;

/// A kernel that runs on the host: for emulated devices.
struct host_kernel {
  void (*run)(unsigned blocks, void* const* arguments);
  std::span<const std::size_t> sizes;  ///< of the arguments
};

/// An image and a window that moves over it, as in core/image.hpp.
struct window_geometry {
  int channels, height, width;
  int window_height, window_width, step, padding;
  int out_height, out_width;  ///< positions of the window
};

/// One product of a group: C (rows, cols) = A B, in which A(r, k) is a[r a_row + k a_step] and
/// B(k, c) is b[k b_step + c b_col].
template <class T>
struct product_term {
  const T* a;
  const T* b;
  std::int64_t a_row, a_step, b_step, b_col;
  std::int64_t depth;
};

/// Where terms [first, last) of a group are summed: c (+)= Σ A B; with an affine layer's epilogue,
/// argument = Σ A B + bias + addend and c = act(argument). Absent parts are null.
template <class T>
struct product_sum {
  T* c;
  const T* bias;
  const T* addend;
  T* argument;
  std::int64_t c_stride, addend_stride, argument_stride;
  int rows, cols;
  int first, last;
  int tile;  ///< number of its first tile; set by `multiply`
  bool accumulate;
};

/// A group of products small enough to travel as an argument of a kernel.
template <class T>
struct product_group {
  static constexpr int most = 24;
  product_term<T> terms[most];
  product_sum<T> sums[most];
  int term_count = 0;
  int sum_count = 0;
};

template <Scalar T>
struct kernels {
  using view = matrix_view<T, device_space>;
  using const_view = matrix_view<const T, device_space>;
  using indices = array_view<const std::int32_t, device_space>;
  using array = array_view<T, device_space>;
  using const_array = array_view<const T, device_space>;

  /// Scratch memory for sums over all elements and over the rows of matrices of so many columns.
  static std::size_t scratch_bytes(index_t cols);

  static void fill(stream, view out, T value);
  static void copy(stream, T a, const_view x, view out, bool accumulate);
  static void unary(stream, backend::unary, T a, const_view x, view out);
  static void unary_backward(stream, backend::unary, T a, const_view x, const_view y, const_view dy,
                             view dx, bool accumulate);
  static void binary(stream, backend::binary, const_view x, const_view y, view out);
  static void multiply_add(stream, T a, const_view x, const_view y, view out, bool accumulate);
  static void divide_backward(stream, const_view dq, const_view q, const_view y, bool numerator,
                              view out, bool accumulate);
  static void activate(stream, activation, const_view x, view out);
  static void activation_backward(stream, activation, const_view v, const_view dy, view dz);
  static void gather_rows(stream, const_view x, indices index, view out, bool accumulate);
  static void gather_negative(stream, const_view x, indices index, view out, bool accumulate);
  static void gather_difference(stream, const_view a, indices i, const_view b, indices j, view out);
  static void segment_sum(stream, const_view x, indices begin, indices item, bool mean, view out,
                          bool accumulate);
  static void segment_sum_backward(stream, const_view dy, indices begin, indices segment_of,
                                   bool mean, view out, bool accumulate);
  static void row_sums(stream, const_view x, T scale, view out);
  static void broadcast_column(stream, const_view column, T scale, view out, bool accumulate);
  static void broadcast_row(stream, const_view row, T scale, view out, bool accumulate);
  static void broadcast_scalar(stream, const_view value, T factor, view out, bool accumulate);
  static void row_norms(stream, const_view x, T epsilon, view out);
  static void row_norms_backward(stream, const_view x, const_view n, const_view dn, view dx,
                                 bool accumulate);
  static void copy_distances(stream, const_view x, index_t n, index_t copies, T epsilon, view out);
  static void copy_distances_backward(stream, const_view x, index_t n, index_t copies, const_view d,
                                      const_view dd, view dx, bool accumulate);
  static void add_normal(stream, const_view x, T sigma, random_stream numbers, view out);
  static void dropout(stream, const_view x, T p, random_stream numbers, view out, bool accumulate);
  static void layer_norm(stream, const_view x, const_view gain, const_view bias, T epsilon,
                         view normalised, view spread, view y);
  static void layer_norm_backward(stream, const_view dy, const_view normalised, const_view spread,
                                  const_view gain, view dx, bool accumulate);
  static void batch_norm(stream, double* scratch, const_view x, const_view gain, const_view bias,
                         T epsilon, T momentum, view running_mean, view running_variance,
                         view normalised, view spread, view y);
  static void batch_norm_backward(stream, double* scratch, const_view dy, const_view normalised,
                                  const_view spread, const_view gain, view dx, bool accumulate);
  static void normalise_columns(stream, const_view x, const_view mean, const_view variance,
                                const_view gain, const_view bias, T epsilon, view y);
  static void standardise(stream, const_view x, const_view mean, const_view factor, T limit,
                          view out);
  static void label_mask(stream, const_view x, view out);
  static void fill_missing(stream, const_view x, T value, view out);
  static void loss(stream, double* scratch, loss_kind, T delta, const_view prediction,
                   const_view label, view out);
  static void loss_backward(stream, loss_kind, T delta, const_view prediction, const_view label,
                            const_view statistics, const_view dl, view dp, bool accumulate);
  static void group_spread(stream, double* scratch, const_view x, index_t groups, T scale,
                           view out);
  static void group_spread_backward(stream, const_view x, index_t groups, T scale, const_view dl,
                                    view dx, bool accumulate);
  static void column_sums(stream, double* scratch, const_view x, view out, bool accumulate);
  static void column_dots(stream, double* scratch, const_view x, const_view y, view out,
                          bool accumulate);
  static void sum(stream, double* scratch, const_view x, T scale, view out, bool accumulate);
  /// out[0] = Σ x²
  static void squared_norm(stream, double* scratch, const_array x, double* out);
  static void adam_step(stream, array theta, const_array g, T scale, array m, array v,
                        formula::adam_rule<T> rule);
  static void sgd_step(stream, array theta, const_array g, T scale, array u,
                       formula::sgd_rule<T> rule);

  /// Images: x (n, image), y and where (n, positions · channels).
  static void max_pool(stream, window_geometry, const_view x, view y, view where);
  static void average_pool(stream, window_geometry, const_view x, view y);
  /// dx (+)= dy at the pixel that `where` names; with an empty `where`, its share at every pixel.
  static void pool_backward(stream, window_geometry, const_view where, const_view dy, view dx,
                            bool accumulate);
  /// patches (n · positions, window · channels): a row a position of the window, 0 outside the
  /// image.
  static void gather_patches(stream, window_geometry, const_view x, view patches);
  /// dx (n, image) (+)= the patches at the places where gather_patches found them
  static void scatter_patches(stream, window_geometry, const_view patches, view dx,
                              bool accumulate);
  /// argument = z + bias, y = act(argument); z (n · positions, out) contiguous, argument (or empty)
  /// and y (n, positions · out). y may be z.
  static void convolution_epilogue(stream, activation, const_view z, const_view bias, view argument,
                                   view y);
  /// y = act(y [+ bias] ), argument = what act is applied to (or empty); addend is added before.
  static void affine_epilogue(stream, activation, const_view bias, view argument, view y);

  /// All sums of the group, in one launch; `epilogue` applies bias, addend, argument and act.
  static void multiply(stream, product_group<T>& group, bool epilogue, activation act);
  /// One sum of one term whose depth is cut into chunks that are added in order; partial results
  /// (chunks, rows · cols) lie in `partial`.
  static void multiply_long(stream, const product_group<T>& group, int chunks, T* partial);
};

extern template struct kernels<float>;
extern template struct kernels<double>;

}  // namespace vierbein::backend::device
