// The CUDA backend: matrices in the memory of a device, kernels of our own, cuBLAS for products.
//
// Link vierbein::cuda and write `vierbein::backend::cuda backend;` for `vierbein::backend::cpu
// backend;`. All operations go, in the order in which they are called, through one stream; host
// code waits only where it reads: losses, the Gramian, the norm of a gradient,
// parameters. What comes again from step to step is replayed as CUDA graphs (cuda/sequence.hpp).
// Results are the same in every run on the same device: sums are formed in an order that depends on
// shapes alone, without atomic operations, and random numbers are those of the CPU.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>
#include <type_traits>

#include "vierbein/backend/concept.hpp"
#include "vierbein/backend/cuda/kernels.hpp"
#include "vierbein/backend/cuda/product.hpp"
#include "vierbein/backend/cuda/runtime.hpp"

namespace vierbein::backend {

/// A handle to a stream of a device; copies share it. It and all memory that its operations use
/// belong to the thread that made it; a thread uses one device. It must not outlive `main`.
///
/// Throws vierbein::error when there is no driver, it is too old or there is no such device; when
/// memory runs out (saying how much was asked for and how much is free); and when an operation
/// fails on the device, which shows when host code next waits.
template <Scalar T>
class basic_cuda {
 public:
  using scalar = T;
  using space = device_space;
  using memory = device_memory;
  using view = matrix_view<T, device_space>;
  using const_view = matrix_view<const T, device_space>;
  using indices = array_view<const std::int32_t, device_space>;

  explicit basic_cuda(const cuda_options& options = {})
      : shared_(std::make_shared<state>(options)) {}

  /// Threads of the host that compute.
  [[nodiscard]] int threads() const { return 1; }

  // ---- operations on elements, rows and columns: see backend/host.hpp
  // ------------------------------------------------------------------

  void fill(view out, T value) const {
    kernels::fill(stream(), out, value);
    launched("fill");
  }
  void copy(T a, const_view x, view out, bool accumulate) const {
    kernels::copy(stream(), a, x, out, accumulate);
    launched("copy");
  }
  void unary(backend::unary f, T a, const_view x, view out) const {
    kernels::unary(stream(), f, a, x, out);
    launched("unary");
  }
  void unary_backward(backend::unary f, T a, const_view x, const_view y, const_view dy, view dx,
                      bool accumulate) const {
    kernels::unary_backward(stream(), f, a, x, y, dy, dx, accumulate);
    launched("unary_backward");
  }
  void binary(backend::binary f, const_view x, const_view y, view out) const {
    kernels::binary(stream(), f, x, y, out);
    launched("binary");
  }
  void multiply_add(T a, const_view x, const_view y, view out, bool accumulate) const {
    kernels::multiply_add(stream(), a, x, y, out, accumulate);
    launched("multiply_add");
  }
  void divide_backward(const_view dq, const_view q, const_view y, bool numerator, view out,
                       bool accumulate) const {
    kernels::divide_backward(stream(), dq, q, y, numerator, out, accumulate);
    launched("divide_backward");
  }
  void activate(activation act, const_view x, view out) const {
    kernels::activate(stream(), act, x, out);
    launched("activate");
  }
  void activation_backward(activation act, const_view v, const_view dy, view dz) const {
    kernels::activation_backward(stream(), act, v, dy, dz);
    launched("activation_backward");
  }
  void gather_rows(const_view x, indices index, view out, bool accumulate) const {
    kernels::gather_rows(stream(), x, index, out, accumulate);
    launched("gather_rows");
  }
  void gather_negative(const_view x, indices index, view out, bool accumulate) const {
    kernels::gather_negative(stream(), x, index, out, accumulate);
    launched("gather_negative");
  }
  void gather_difference(const_view a, indices i, const_view b, indices j, view out) const {
    kernels::gather_difference(stream(), a, i, b, j, out);
    launched("gather_difference");
  }
  void segment_sum(const_view x, indices begin, indices item, bool mean, view out,
                   bool accumulate) const {
    kernels::segment_sum(stream(), x, begin, item, mean, out, accumulate);
    launched("segment_sum");
  }
  void segment_sum_backward(const_view dy, indices begin, indices segment_of, bool mean, view out,
                            bool accumulate) const {
    kernels::segment_sum_backward(stream(), dy, begin, segment_of, mean, out, accumulate);
    launched("segment_sum_backward");
  }
  void row_sums(const_view x, T scale, view out) const {
    kernels::row_sums(stream(), x, scale, out);
    launched("row_sums");
  }
  void broadcast_column(const_view column, T scale, view out, bool accumulate) const {
    kernels::broadcast_column(stream(), column, scale, out, accumulate);
    launched("broadcast_column");
  }
  void broadcast_row(const_view row, T scale, view out, bool accumulate) const {
    kernels::broadcast_row(stream(), row, scale, out, accumulate);
    launched("broadcast_row");
  }
  void broadcast_scalar(const_view value, T factor, view out, bool accumulate) const {
    kernels::broadcast_scalar(stream(), value, factor, out, accumulate);
    launched("broadcast_scalar");
  }
  void row_norms(const_view x, T epsilon, view out) const {
    kernels::row_norms(stream(), x, epsilon, out);
    launched("row_norms");
  }
  void row_norms_backward(const_view x, const_view n, const_view dn, view dx,
                          bool accumulate) const {
    kernels::row_norms_backward(stream(), x, n, dn, dx, accumulate);
    launched("row_norms_backward");
  }
  void copy_distances(const_view x, index_t n, index_t copies, T epsilon, view out) const {
    kernels::copy_distances(stream(), x, n, copies, epsilon, out);
    launched("copy_distances");
  }
  void copy_distances_backward(const_view x, index_t n, index_t copies, const_view d, const_view dd,
                               view dx, bool accumulate) const {
    kernels::copy_distances_backward(stream(), x, n, copies, d, dd, dx, accumulate);
    launched("copy_distances_backward");
  }
  void add_normal(const_view x, T sigma, random_stream numbers, view out) const {
    kernels::add_normal(stream(), x, sigma, numbers, out);
    launched("add_normal");
  }
  void dropout(const_view x, T p, random_stream numbers, view out, bool accumulate) const {
    kernels::dropout(stream(), x, p, numbers, out, accumulate);
    launched("dropout");
  }
  void layer_norm(const_view x, const_view gain, const_view bias, T epsilon, view normalised,
                  view spread, view y) const {
    kernels::layer_norm(stream(), x, gain, bias, epsilon, normalised, spread, y);
    launched("layer_norm");
  }
  void layer_norm_backward(const_view dy, const_view normalised, const_view spread, const_view gain,
                           view dx, bool accumulate) const {
    kernels::layer_norm_backward(stream(), dy, normalised, spread, gain, dx, accumulate);
    launched("layer_norm_backward");
  }
  void batch_norm(const_view x, const_view gain, const_view bias, T epsilon, T momentum,
                  view running_mean, view running_variance, view normalised, view spread,
                  view y) const {
    kernels::batch_norm(stream(), scratch(x.cols), x, gain, bias, epsilon, momentum, running_mean,
                        running_variance, normalised, spread, y);
    launched("batch_norm");
  }
  void batch_norm_backward(const_view dy, const_view normalised, const_view spread, const_view gain,
                           view dx, bool accumulate) const {
    kernels::batch_norm_backward(stream(), scratch(dy.cols), dy, normalised, spread, gain, dx,
                                 accumulate);
    launched("batch_norm_backward");
  }
  void normalise_columns(const_view x, const_view mean, const_view variance, const_view gain,
                         const_view bias, T epsilon, view y) const {
    kernels::normalise_columns(stream(), x, mean, variance, gain, bias, epsilon, y);
    launched("normalise_columns");
  }
  void standardise(const_view x, const_view mean, const_view factor, T limit, view out) const {
    kernels::standardise(stream(), x, mean, factor, limit, out);
    launched("standardise");
  }
  void label_mask(const_view x, view out) const {
    kernels::label_mask(stream(), x, out);
    launched("label_mask");
  }
  void fill_missing(const_view x, T value, view out) const {
    kernels::fill_missing(stream(), x, value, out);
    launched("fill_missing");
  }
  void loss(loss_kind kind, T delta, const_view prediction, const_view label, view out) const {
    kernels::loss(stream(), scratch(0), kind, delta, prediction, label, out);
    launched("loss");
  }
  void loss_backward(loss_kind kind, T delta, const_view prediction, const_view label,
                     const_view statistics, const_view dl, view dp, bool accumulate) const {
    kernels::loss_backward(stream(), kind, delta, prediction, label, statistics, dl, dp,
                           accumulate);
    launched("loss_backward");
  }
  void group_spread(const_view x, index_t groups, T scale, view out) const {
    kernels::group_spread(stream(), scratch(0), x, groups, scale, out);
    launched("group_spread");
  }
  void group_spread_backward(const_view x, index_t groups, T scale, const_view dl, view dx,
                             bool accumulate) const {
    kernels::group_spread_backward(stream(), x, groups, scale, dl, dx, accumulate);
    launched("group_spread_backward");
  }
  void column_sums(const_view x, view out, bool accumulate) const {
    kernels::column_sums(stream(), scratch(x.cols), x, out, accumulate);
    launched("column_sums");
  }
  void column_dots(const_view x, const_view y, view out, bool accumulate) const {
    kernels::column_dots(stream(), scratch(x.cols), x, y, out, accumulate);
    launched("column_dots");
  }
  void sum(const_view x, T scale, view out, bool accumulate) const {
    kernels::sum(stream(), scratch(0), x, scale, out, accumulate);
    launched("sum");
  }

  /// Σ x² on the host, which waits for it
  [[nodiscard]] double squared_norm(array_view<const T, device_space> x) const {
    const std::size_t bytes = kernels::scratch_bytes(0);
    auto* const partial = context().template scratch<double>(bytes + sizeof(double));
    double* const result = partial + bytes / sizeof(double);
    kernels::squared_norm(stream(), partial, x, result);
    launched("squared_norm");
    return *context().template to_host<double>(result, sizeof(double), 1, sizeof(double));
  }

  void adam_step(array_view<T, device_space> theta, array_view<const T, device_space> g, T scale,
                 array_view<T, device_space> m, array_view<T, device_space> v,
                 const adam_coefficients& k) const {
    kernels::adam_step(stream(), theta, g, scale, m, v, k.rule<T>());
    launched("adam_step");
  }
  void sgd_step(array_view<T, device_space> theta, array_view<const T, device_space> g, T scale,
                array_view<T, device_space> u, const sgd_coefficients& k) const {
    kernels::sgd_step(stream(), theta, g, scale, u, k.rule<T>());
    launched("sgd_step");
  }

  // ---- products, layers, images
  // ------------------------------------------------------------------

  void multiply(transposition kind, std::span<const product<T, device_space>> group,
                bool accumulate) const {
    shared_->multiplier.multiply(kind, group, accumulate);
  }

  void affine(std::span<const affine_layer<T, device_space>> group, activation act) const {
    shared_->multiplier.affine(group, act);
  }

  /// The patches of some images, which fit into memory of limited size, become one matrix.
  void convolve(const convolution_layer<T, device_space>& layer, activation act) const {
    const patches_of at(layer, shared_->patches);
    if (layer.y.size() == 0) {
      return;
    }
    const index_t together = at.images_together();
    T* const first_patch = patches(together * at.positions * (at.depth + at.out));
    for (index_t first = 0; first < layer.x.rows; first += together) {
      const index_t n = std::min(together, layer.x.rows - first);
      const view patch(first_patch, n * at.positions, at.depth);
      const view y = layer.y.row_range(first, n);
      const view z(y.contiguous() ? y.data : first_patch + together * at.positions * at.depth,
                   n * at.positions, at.out);
      kernels::gather_patches(stream(), at.geometry, layer.x.row_range(first, n), patch);
      launched("convolve");
      multiply_one(transposition::nn, patch, layer.w, z, false);
      const view argument =
          layer.argument.data != nullptr ? layer.argument.row_range(first, n) : view{};
      kernels::convolution_epilogue(stream(), act, z, layer.bias, argument, y);
      launched("convolve");
    }
  }

  void convolve_backward(const convolution_layer<T, device_space>& layer, activation act,
                         std::span<const convolution_slab<T, device_space>> slabs) const {
    const patches_of at(layer, shared_->patches);
    const bool any_dw = std::ranges::any_of(slabs, [](auto& s) { return s.dw.data != nullptr; });
    const index_t together = at.images_together();
    const index_t rows = together * at.positions;
    T* const first_patch = patches(rows * (2 * at.depth + at.out));
    for (const auto& slab : slabs) {
      if (slab.dx.data != nullptr && at.positions == 0 && !slab.accumulate) {
        fill(slab.dx, T{0});
      }
    }
    for (index_t first = 0; first < layer.x.rows && at.positions > 0; first += together) {
      const index_t n = std::min(together, layer.x.rows - first);
      const view patch(first_patch, n * at.positions, at.depth);
      const view dpatch(first_patch + rows * at.depth, n * at.positions, at.depth);
      const view dz(first_patch + 2 * rows * at.depth, n * at.positions, at.out);
      if (any_dw) {
        kernels::gather_patches(stream(), at.geometry, layer.x.row_range(first, n), patch);
        launched("convolve_backward");
      }
      const const_view v = layer.argument.data != nullptr ? layer.argument : layer.y;
      for (const auto& slab : slabs) {
        kernels::activation_backward(stream(), act, v.row_range(first, n),
                                     slab.dy.row_range(first, n),
                                     view(dz.data, n, at.positions * at.out));
        launched("convolve_backward");
        if (slab.db.data != nullptr) {
          column_sums(dz, slab.db, true);
        }
        if (slab.dw.data != nullptr) {
          multiply_one(transposition::tn, patch, dz, slab.dw, true);
        }
        if (slab.dx.data != nullptr) {
          multiply_one(transposition::nt, dz, layer.w, dpatch, false);
          kernels::scatter_patches(stream(), at.geometry, dpatch, slab.dx.row_range(first, n),
                                   slab.accumulate);
          launched("convolve_backward");
        }
      }
    }
  }

  void pool(pooling kind, const image_shape& image, const image_window& window, const_view x,
            view y, view where) const {
    const device::window_geometry g = geometry_of(image, window);
    if (kind == pooling::maximum) {
      kernels::max_pool(stream(), g, x, y, where);
    } else {
      kernels::average_pool(stream(), g, x, y);
    }
    launched("pool");
  }

  void pool_backward(pooling kind, const image_shape& image, const image_window& window,
                     const_view where, const_view dy, view dx, bool accumulate) const {
    kernels::pool_backward(stream(), geometry_of(image, window),
                           kind == pooling::maximum ? where : const_view{}, dy, dx, accumulate);
    launched("pool_backward");
  }

  // ---- transfers
  // ------------------------------------------------------------------

  /// Host memory to the device. It is copied before this returns, and may then be overwritten.
  template <class From>
  void upload(matrix_view<From> from, view to) const {
    if (from.contiguous()) {
      if (const void* there = context().prefetched(from.data, bytes_of(from.size()))) {
        context().to_device(there, to.data, bytes_of(to.cols), static_cast<std::size_t>(to.rows),
                            bytes_of(to.stride), cudaMemcpyDeviceToDevice);
        return;
      }
    }
    T* const staged = context().template stage<T>(bytes_of(from.size()));
    for (index_t r = 0; r < from.rows; ++r) {
      const From* const first = from.row(r);
      std::transform(first, first + from.cols, staged + r * from.cols,
                     [](From v) { return static_cast<T>(v); });
    }
    context().to_device(staged, to.data, bytes_of(to.cols), static_cast<std::size_t>(to.rows),
                        bytes_of(to.stride));
  }

  /// Row numbers from the host to the device.
  void upload_indices(std::span<const std::int32_t> from, std::int32_t* to) const {
    if (const void* there = context().prefetched(from.data(), from.size_bytes())) {
      context().to_device(there, to, from.size_bytes(), 1, from.size_bytes(),
                          cudaMemcpyDeviceToDevice);
      return;
    }
    auto* const staged = context().template stage<std::int32_t>(from.size_bytes());
    std::copy(from.begin(), from.end(), staged);
    context().to_device(staged, to, from.size_bytes(), 1, from.size_bytes());
  }

  /// Begins to copy, by a second stream, what a later step uploads: all that `each(announce)`
  /// announces, contiguous matrices and row numbers. What that step then uploads from the same
  /// addresses is there already. Call it once a step, and `forget_prefetched` when the step has
  /// uploaded, before the host's memory is used for something else.
  template <class Each>
  void prefetch(Each&& each) const {
    context().work().launch();
    device::prefetcher& ahead = context().ahead();
    each([&](const auto& what) {
      if constexpr (requires { what.stride; }) {
        using From = std::remove_const_t<std::remove_pointer_t<decltype(what.data)>>;
        if (what.contiguous()) {
          ahead.announce({what.data, static_cast<std::size_t>(what.size()), bytes_of(what.size()),
                          &pack<From, T>});
        }
      } else {
        ahead.announce(
            {what.data(), what.size(), what.size_bytes(), &pack<std::int32_t, std::int32_t>});
      }
    });
    ahead.start();
  }
  void forget_prefetched() const { context().forget_prefetched(); }
  /// How many arrays were prefetched and not forgotten.
  [[nodiscard]] std::size_t prefetched() const { return context().prefetched(); }

  /// The device's memory to the host, which waits for all that was begun before.
  template <class To>
  void download(const_view from, matrix_view<To> to) const {
    const T* const received = context().template to_host<T>(
        from.data, bytes_of(from.cols), static_cast<std::size_t>(from.rows), bytes_of(from.stride));
    unpack(received, to);
  }

  /// The same, and Σ x² of a vector, with one wait for both.
  [[nodiscard]] double download_and_squared_norm(const_view from, matrix_view<double> to,
                                                 array_view<const T, device_space> x) const {
    // Both lie in scratch memory, behind each other: one transfer.
    const std::size_t partial = kernels::scratch_bytes(0);
    const std::size_t bytes = sizeof(double) + bytes_of(from.size());
    auto* const together = context().template scratch<std::byte>(partial + bytes);
    auto* const norm = reinterpret_cast<double*>(together + partial);
    auto* const values = reinterpret_cast<T*>(norm + 1);
    kernels::squared_norm(stream(), reinterpret_cast<double*>(together), x, norm);
    kernels::copy(stream(), T{1}, from, view(values, from.rows, from.cols), false);
    launched("squared_norm");
    const auto* const received = context().template to_host<std::byte>(norm, bytes, 1, bytes);
    unpack(reinterpret_cast<const T*>(received + sizeof(double)), to);
    return *reinterpret_cast<const double*>(received);
  }

  /// Waits until everything that was begun is done; an error on the device is thrown here at the
  /// latest.
  void synchronise() const { context().synchronise(); }

  /// How much was asked of the device so far, and how much of it graphs replayed.
  [[nodiscard]] const device::launches& counts() const { return context().work().counts(); }

 private:
  using kernels = device::kernels<T>;

  struct state {
    explicit state(const cuda_options& options)
        : context(options.device, options.graphs),
          multiplier(context, options),
          patches(options.patches) {}
    device::context context;
    device::products<T> multiplier;
    index_t patches;
  };

  /// The shapes of a convolution layer.
  struct patches_of {
    device::window_geometry geometry;
    index_t positions, depth, out;

    patches_of(const convolution_layer<T, device_space>& layer, index_t bytes)
        : geometry(geometry_of(layer.image, layer.window)),
          positions(index_t{geometry.out_height} * geometry.out_width),
          depth(layer.w.rows),
          out(layer.w.cols),
          images_(layer.x.rows),
          bytes_(bytes) {}

    [[nodiscard]] index_t images_together() const {
      const index_t one = positions * (2 * depth + out) * static_cast<index_t>(sizeof(T));
      return std::clamp<index_t>(bytes_ / std::max<index_t>(one, 1), 1,
                                 std::max<index_t>(images_, 1));
    }

   private:
    index_t images_, bytes_;
  };

  static device::window_geometry geometry_of(const image_shape& image, const image_window& window) {
    const image_shape out = window.over(image, image.channels);
    const auto number = [](index_t n) { return static_cast<int>(n); };
    return {number(image.channels), number(image.height), number(image.width),
            number(window.height),  number(window.width), number(window.stride),
            number(window.padding), number(out.height),   number(out.width)};
  }

  template <class From, class To>
  static void pack(const void* from, std::size_t count, void* to) {
    const auto* const first = static_cast<const From*>(from);
    std::transform(first, first + count, static_cast<To*>(to),
                   [](From v) { return static_cast<To>(v); });
  }
  template <class To>
  static void unpack(const T* received, matrix_view<To> to) {
    for (index_t r = 0; r < to.rows; ++r) {
      std::transform(received + r * to.cols, received + (r + 1) * to.cols, to.row(r),
                     [](T v) { return static_cast<To>(v); });
    }
  }
  static std::size_t bytes_of(index_t elements) {
    return static_cast<std::size_t>(elements) * sizeof(T);
  }

  [[nodiscard]] device::context& context() const { return shared_->context; }
  [[nodiscard]] device::stream stream() const { return context().work(); }
  void launched(const char* operation) const { context().launched(operation); }
  [[nodiscard]] double* scratch(index_t cols) const {
    return context().template scratch<double>(kernels::scratch_bytes(cols));
  }
  [[nodiscard]] T* patches(index_t elements) const {
    return context().template patches<T>(bytes_of(elements));
  }
  void multiply_one(transposition kind, const_view a, const_view b, view c, bool accumulate) const {
    const product<T, device_space> one{a, b, c};
    multiply(kind, {&one, 1}, accumulate);
  }

  std::shared_ptr<state> shared_;
};

using cuda = basic_cuda<float>;
using cuda_double = basic_cuda<double>;

}  // namespace vierbein::backend
