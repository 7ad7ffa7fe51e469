// Image inputs: N x C x H x W on the user's side.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "vierbein/core/image.hpp"
#include "vierbein/data/rows.hpp"

namespace vierbein::data {

/// Images of one shape. Pixels that were given as bytes are kept as bytes, a quarter of the memory;
/// a byte b stands for the number b / 255. Inside, channels come last (core/image.hpp).
class image_set {
 public:
  using shape_type = image_shape;

  /// The images of one batch, (images, shape.size()).
  struct batch_type {
    matrix<float> values;
    [[nodiscard]] index_t size() const { return values.rows(); }
    /// See encoder/concept.hpp.
    template <class F>
    void each_array(F&& f) const {
      f(values.view());
    }
  };

  image_set() = default;

  /// Images in the order N x C x H x W, one behind the other. Throws when the shape is empty, there
  /// is no image, the last one is incomplete, or a number is NaN or infinite.
  image_set(const image_shape& shape, std::span<const float> pixels) : shape_(shape) {
    values_ = arranged(pixels);
    check();
  }
  image_set(const image_shape& shape, std::span<const std::uint8_t> pixels) : shape_(shape) {
    bytes_ = arranged(pixels);
  }

  [[nodiscard]] index_t size() const { return bytes_.rows() + values_.rows(); }
  [[nodiscard]] shape_type shape() const { return shape_; }
  /// Whether pixels are kept as bytes.
  [[nodiscard]] bool compact() const { return values_.rows() == 0; }

  /// Pixel (y, x) of channel c of an image.
  [[nodiscard]] float value(index_t image, index_t c, index_t y, index_t x) const {
    const index_t at = (y * shape_.width + x) * shape_.channels + c;
    return compact() ? number(bytes_(image, at)) : values_(image, at);
  }

  /// Copies the images `rows` into `batch`, which keeps its memory from call to call.
  void gather(std::span<const index_t> rows, batch_type& batch) const {
    batch.values.resize(static_cast<index_t>(rows.size()), shape_.size());
    for (std::size_t i = 0; i < rows.size(); ++i) {
      copy_image(rows[i], batch.values.row(static_cast<index_t>(i)));
    }
  }

  /// The images `rows` as a set of their own. Throws for a row that is not there.
  [[nodiscard]] image_set select(std::span<const index_t> rows) const {
    require_rows(rows, size(), "images");
    image_set chosen;
    chosen.shape_ = shape_;
    const auto copy = [&](const auto& from, auto& to) {
      to.resize(static_cast<index_t>(rows.size()), shape_.size());
      for (std::size_t i = 0; i < rows.size(); ++i) {
        std::copy_n(from.row(rows[i]).data(), to.cols(), to.row(static_cast<index_t>(i)).data());
      }
    };
    if (compact()) {
      copy(bytes_, chosen.bytes_);
    } else {
      copy(values_, chosen.values_);
    }
    return chosen;
  }

  /// Adds the images of `other` behind these. A set without images takes any shape. Where one side
  /// is not compact the result is not.
  void append(const image_set& other) {
    if (size() == 0) {
      *this = image_set(other);
      return;
    }
    if (other.size() == 0) {
      return;
    }
    require(shape_ == other.shape_, "images", "expected {} as before, found {}", shape_.describe(),
            other.shape_.describe());
    if (compact() && other.compact()) {
      append_rows(bytes_, other.bytes_, "images");
      return;
    }
    expand();
    image_set more = other;
    more.expand();
    append_rows(values_, more.values_, "images");
  }

  /// Throws at the first pixel that is NaN or infinite.
  void check() const {
    for (index_t i = 0; i < values_.rows(); ++i) {
      for (index_t k = 0; k < values_.cols(); ++k) {
        if (!std::isfinite(values_(i, k))) {
          const index_t pixel = k / shape_.channels;
          throw error(formatted("images, image {}, channel {}, row {}, column {} (counted from 0)",
                                i, k % shape_.channels, pixel / shape_.width, pixel % shape_.width),
                      formatted("expected a finite number, found {}", values_(i, k)));
        }
      }
    }
  }

  /// Mean and deviation of a channel's pixels over the images `rows`.
  struct moments {
    double mean = 0;
    double deviation = 0;
  };
  [[nodiscard]] std::vector<moments> channel_moments(std::span<const index_t> rows) const {
    const auto channels = static_cast<std::size_t>(shape_.channels);
    std::vector<moments> result(channels);
    std::vector<float> image(static_cast<std::size_t>(shape_.size()));
    const double count = static_cast<double>(rows.size()) * static_cast<double>(shape_.pixels());
    for (const bool second : {false, true}) {  // squares about the mean: nothing is lost
      std::vector<double> sums(channels, 0.0);
      for (const index_t r : rows) {
        copy_image(r, image);
        for (std::size_t k = 0; k < image.size();) {
          for (std::size_t c = 0; c < channels; ++c, ++k) {
            const double d = static_cast<double>(image[k]) - result[c].mean;
            sums[c] += second ? d * d : d;
          }
        }
      }
      for (std::size_t c = 0; c < channels && count > 0; ++c) {
        (second ? result[c].deviation : result[c].mean) =
            second ? std::sqrt(sums[c] / count) : sums[c] / count;
      }
    }
    return result;
  }

 private:
  static float number(std::uint8_t byte) { return static_cast<float>(byte) / 255.0F; }
  static void numbers(std::span<const std::uint8_t> bytes, float* to) {
    for (const std::uint8_t byte : bytes) {
      *to++ = number(byte);
    }
  }

  void copy_image(index_t row, std::span<float> to) const {
    if (compact()) {
      numbers(bytes_.row(row), to.data());
    } else {
      std::copy_n(values_.row(row).data(), values_.cols(), to.data());
    }
  }

  template <class V>
  matrix<V> arranged(std::span<const V> pixels) const {
    require_image("images", shape_);
    const auto given = static_cast<index_t>(pixels.size());
    require(given > 0, "images", "expected at least one image of {}, found none",
            shape_.describe());
    require(given % shape_.size() == 0, "images",
            "{} numbers are no whole number of images of {} ({} numbers each)", given,
            shape_.describe(), shape_.size());
    matrix<V> result(given / shape_.size(), shape_.size());
    const V* from = pixels.data();
    for (index_t i = 0; i < result.rows(); ++i) {
      for (index_t c = 0; c < shape_.channels; ++c) {
        for (index_t p = 0; p < shape_.pixels(); ++p) {
          result(i, p * shape_.channels + c) = *from++;
        }
      }
    }
    return result;
  }

  void expand() {
    if (values_.rows() == 0) {
      values_.resize(bytes_.rows(), shape_.size());
      for (index_t i = 0; i < bytes_.rows(); ++i) {
        numbers(bytes_.row(i), values_.row(i).data());
      }
      bytes_ = {};
    }
  }

  image_shape shape_{1, 0, 0};
  matrix<std::uint8_t> bytes_;  // (images, size), or none
  matrix<float> values_;        // the same as numbers, or none
};

}  // namespace vierbein::data
