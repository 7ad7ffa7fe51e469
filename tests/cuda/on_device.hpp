// A backend in host memory whose operations run on a device: matrices are copied there, together
// with what lies between their rows, and back. So the tests of backends run for a device as they
// are.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "vierbein/backend/cuda.hpp"
#include "vierbein/backend/reference.hpp"

namespace backend_test {

namespace vb = vierbein;

/// Which products cuBLAS computes: the large ones, or all.
enum class products_by { size, library };

/// The device's copies of the host memory that one operation touches.
template <class B>
class device_copies {
 public:
  using T = typename B::scalar;
  using device_space = vb::device_space;

  explicit device_copies(const B& device) : device_(device) {}
  device_copies(const device_copies&) = delete;
  device_copies& operator=(const device_copies&) = delete;
  ~device_copies() {
    for (const stretch& s : stretches_) {
      B::memory::deallocate(s.block);
    }
  }

  // ---- which memory an argument refers to

  template <class A>
  void note(const A&) {}
  template <class U>
  void note(const vb::matrix_view<U>& v) {
    note(v.data, v.rows > 0 ? (v.rows - 1) * v.stride + v.cols : 0);
  }
  template <class U>
  void note(const vb::array_view<U>& v) {
    note(v.data, v.size);
  }
  void note(const vb::backend::product<T, vb::host_space>& p) { note_all(p.a, p.b, p.c); }
  void note(const vb::backend::affine_layer<T, vb::host_space>& l) {
    note_all(l.x, l.w, l.bias, l.addend, l.argument, l.y);
  }
  void note(const vb::backend::convolution_layer<T, vb::host_space>& l) {
    note_all(l.x, l.w, l.bias, l.argument, l.y);
  }
  void note(const vb::backend::convolution_slab<T, vb::host_space>& s) {
    note_all(s.dy, s.dx, s.dw, s.db);
  }
  template <class U>
  void note(const std::span<const U>& all) {
    for (const U& one : all) {
      note(one);
    }
  }
  template <class... A>
  void note_all(const A&... a) {
    (note(a), ...);
  }

  /// Copies all memory that was noted.
  void send() {
    std::sort(stretches_.begin(), stretches_.end(),
              [](const stretch& a, const stretch& b) { return a.first < b.first; });
    std::vector<stretch> merged;
    for (const stretch& s : stretches_) {
      const bool touches =
          !merged.empty() && s.first <= merged.back().last && s.numbers == merged.back().numbers;
      if (touches) {
        merged.back().last = std::max(merged.back().last, s.last);
        merged.back().written = merged.back().written || s.written;
      } else {
        merged.push_back(s);
      }
    }
    stretches_ = merged;
    for (stretch& s : stretches_) {
      // The same address within a block of 256 bytes: an operation may ask for its alignment.
      const auto offset = reinterpret_cast<std::uintptr_t>(s.first) % 256;
      s.block = static_cast<std::byte*>(B::memory::allocate(offset + s.size()));
      s.there = s.block + offset;
      if (s.numbers) {
        device_.upload(row<const T, vb::host_space>(s.first, s), row<T, device_space>(s.there, s));
      } else {
        device_.upload_indices({reinterpret_cast<const std::int32_t*>(s.first), s.size() / 4},
                               reinterpret_cast<std::int32_t*>(s.there));
      }
    }
  }

  /// Copies everything back that may have been written.
  void receive() {
    for (const stretch& s : stretches_) {
      if (s.written && s.size() > 0) {
        device_.download(row<const T, device_space>(s.there, s),
                         row<T, vb::host_space>(s.first, s));
      }
    }
  }

  // ---- the same argument on the device

  template <class A>
  const A& there(const A& a) {
    return a;
  }
  template <class U>
  vb::matrix_view<U, device_space> there(const vb::matrix_view<U>& v) {
    return {find(v.data), v.rows, v.cols, v.stride};
  }
  template <class U>
  vb::array_view<U, device_space> there(const vb::array_view<U>& v) {
    return {find(v.data), v.size};
  }
  auto there(const vb::backend::product<T, vb::host_space>& p) {
    return vb::backend::product<T, device_space>{there(p.a), there(p.b), there(p.c)};
  }
  auto there(const vb::backend::affine_layer<T, vb::host_space>& l) {
    return vb::backend::affine_layer<T, device_space>{
        there(l.x), there(l.w), there(l.bias), there(l.addend), there(l.argument), there(l.y)};
  }
  auto there(const vb::backend::convolution_layer<T, vb::host_space>& l) {
    return vb::backend::convolution_layer<T, device_space>{
        l.image, l.window, there(l.x), there(l.w), there(l.bias), there(l.argument), there(l.y)};
  }
  auto there(const vb::backend::convolution_slab<T, vb::host_space>& s) {
    return vb::backend::convolution_slab<T, device_space>{there(s.dy), there(s.dx), s.accumulate,
                                                          there(s.dw), there(s.db)};
  }
  template <class U>
  auto there(const std::span<const U>& all) {
    std::vector<decltype(there(all[0]))> result;
    for (const U& one : all) {
      result.push_back(there(one));
    }
    return result;
  }

 private:
  struct stretch {
    std::byte* first;
    std::byte* last;
    bool numbers, written;
    std::byte* block = nullptr;
    std::byte* there = nullptr;
    [[nodiscard]] std::size_t size() const { return static_cast<std::size_t>(last - first); }
  };

  template <class U>
  void note(U* data, vb::index_t count) {
    if (data != nullptr) {
      auto* const first = reinterpret_cast<std::byte*>(const_cast<std::remove_const_t<U>*>(data));
      stretches_.push_back({first, first + static_cast<std::size_t>(count) * sizeof(U),
                            std::is_same_v<std::remove_const_t<U>, T>, !std::is_const_v<U>});
    }
  }

  template <class U>
  U* find(U* data) {
    if (data == nullptr) {
      return nullptr;
    }
    const auto* const at = reinterpret_cast<const std::byte*>(data);
    const auto found = std::find_if(stretches_.begin(), stretches_.end(), [&](const stretch& s) {
      return s.first <= at && (at < s.last || s.first == at);
    });
    REQUIRE(found != stretches_.end());
    return reinterpret_cast<U*>(found->there + (at - found->first));
  }

  template <class U, class Space>
  static vb::matrix_view<U, Space> row(std::byte* first, const stretch& s) {
    return {reinterpret_cast<U*>(first), 1, static_cast<vb::index_t>(s.size() / sizeof(T))};
  }

  const B& device_;
  std::vector<stretch> stretches_;
};

/// An operation with the signature of a member function of the oracle.
template <class B, class Call, class Signature>
class device_operation;
template <class B, class Call, class Owner, class R, class... A>
class device_operation<B, Call, R (Owner::*)(A...) const> {
 public:
  explicit device_operation(const B& device) : device_(device) {}
  R operator()(A... a) const {
    device_copies<B> copies(device_);
    copies.note_all(a...);
    copies.send();
    if constexpr (std::is_void_v<R>) {
      Call{}(device_, copies.there(a)...);
      copies.receive();
    } else {
      return Call{}(device_, copies.there(a)...);
    }
  }

 private:
  B device_;
};

/// See the head of this file.
template <class B, products_by By = products_by::size>
class on_device {
 public:
  using scalar = typename B::scalar;
  using space = vb::host_space;
  using memory = vb::host_memory;

  on_device() : device_(options()) {}

  [[nodiscard]] const B& device() const { return device_; }

  template <class From>
  void upload(vb::matrix_view<From> from, vb::matrix_view<scalar> to) const {
    device_copies<B> copies(device_);
    copies.note(to);
    copies.send();
    device_.upload(from, copies.there(to));
    copies.receive();
  }
  template <class To>
  void download(vb::matrix_view<const scalar> from, vb::matrix_view<To> to) const {
    device_copies<B> copies(device_);
    copies.note(from);
    copies.send();
    device_.download(copies.there(from), to);
  }
  template <class To>
  void download(vb::matrix_view<scalar> from, vb::matrix_view<To> to) const {
    download(vb::matrix_view<const scalar>(from), to);
  }

 private:
  using oracle = vb::backend::basic_reference<scalar>;

  static vb::backend::cuda_options options() {
    vb::backend::cuda_options o;
    if (By == products_by::library) {
      o.own_volume = 0;
      o.patches = 4096;  // images one by one
    }
    return o;
  }

  B device_;

 public:
#define ON_DEVICE(name)                                     \
  struct call_##name {                                      \
    template <class... A>                                   \
    decltype(auto) operator()(const B& b, A&&... a) const { \
      return b.name(a...);                                  \
    }                                                       \
  };                                                        \
  device_operation<B, call_##name, decltype(&oracle::name)> name { device_ }
  ON_DEVICE(fill);
  ON_DEVICE(copy);
  ON_DEVICE(unary);
  ON_DEVICE(unary_backward);
  ON_DEVICE(binary);
  ON_DEVICE(multiply_add);
  ON_DEVICE(divide_backward);
  ON_DEVICE(activate);
  ON_DEVICE(activation_backward);
  ON_DEVICE(gather_rows);
  ON_DEVICE(gather_negative);
  ON_DEVICE(gather_difference);
  ON_DEVICE(segment_sum);
  ON_DEVICE(segment_sum_backward);
  ON_DEVICE(row_sums);
  ON_DEVICE(broadcast_column);
  ON_DEVICE(broadcast_row);
  ON_DEVICE(broadcast_scalar);
  ON_DEVICE(row_norms);
  ON_DEVICE(row_norms_backward);
  ON_DEVICE(copy_distances);
  ON_DEVICE(copy_distances_backward);
  ON_DEVICE(add_normal);
  ON_DEVICE(dropout);
  ON_DEVICE(layer_norm);
  ON_DEVICE(layer_norm_backward);
  ON_DEVICE(batch_norm);
  ON_DEVICE(batch_norm_backward);
  ON_DEVICE(normalise_columns);
  ON_DEVICE(standardise);
  ON_DEVICE(label_mask);
  ON_DEVICE(fill_missing);
  ON_DEVICE(loss);
  ON_DEVICE(loss_backward);
  ON_DEVICE(group_spread);
  ON_DEVICE(group_spread_backward);
  ON_DEVICE(column_sums);
  ON_DEVICE(column_dots);
  ON_DEVICE(sum);
  ON_DEVICE(squared_norm);
  ON_DEVICE(adam_step);
  ON_DEVICE(sgd_step);
  ON_DEVICE(multiply);
  ON_DEVICE(affine);
  ON_DEVICE(convolve);
  ON_DEVICE(convolve_backward);
  ON_DEVICE(pool);
  ON_DEVICE(pool_backward);
#undef ON_DEVICE
};

using cuda = on_device<vb::backend::cuda>;
using cuda_double = on_device<vb::backend::cuda_double>;
using cuda_by_library = on_device<vb::backend::cuda, products_by::library>;

}  // namespace backend_test

TYPE_TO_STRING(backend_test::cuda);
TYPE_TO_STRING(backend_test::cuda_double);
TYPE_TO_STRING(backend_test::cuda_by_library);
