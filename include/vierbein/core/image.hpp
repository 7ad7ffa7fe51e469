// Shapes of images, and of windows that move over them.
#pragma once

#include <string>

#include "vierbein/core/error.hpp"
#include "vierbein/core/types.hpp"

namespace vierbein {

/// Shape of an image. One image is one row of a matrix, channels last: pixel (y, x) of channel c is
/// element (y · width + x) · channels + c.
struct image_shape {
  index_t channels = 1;
  index_t height = 0;
  index_t width = 0;

  bool operator==(const image_shape&) const = default;
  [[nodiscard]] constexpr index_t pixels() const { return height * width; }
  [[nodiscard]] constexpr index_t size() const { return pixels() * channels; }
  [[nodiscard]] std::string describe() const {
    return formatted("{} channel{} of {} x {} pixels", channels, channels == 1 ? "" : "s", height,
                     width);
  }

  template <class Visitor>
  void options(Visitor&& visit) {
    visit("channels", channels);
    visit("height", height);
    visit("width", width);
  }
};

/// A window (height, width) that moves over an image in steps of `stride` pixels, over `padding`
/// pixels more on every side.
struct image_window {
  index_t height = 1;
  index_t width = 1;
  index_t stride = 1;
  index_t padding = 0;

  bool operator==(const image_window&) const = default;
  [[nodiscard]] constexpr index_t size() const { return height * width; }
  /// Shape of an image with one pixel a position of the window, and so many channels.
  [[nodiscard]] constexpr image_shape over(const image_shape& image, index_t channels) const {
    return {channels, (image.height + 2 * padding - height) / stride + 1,
            (image.width + 2 * padding - width) / stride + 1};
  }
};

/// Throws unless the image has pixels and a channel, and at most 2³¹ elements. Like the next two,
/// it composes its message only when it throws: these run in every training step.
inline void require_image(const char* place, const image_shape& image) {
  constexpr index_t most = index_t{1} << 31;
  const auto fits = [](index_t extent) { return extent > 0 && extent <= most; };
  if (!fits(image.channels) || !fits(image.height) || !fits(image.width) ||
      image.height > most / image.width || image.channels > most / (image.height * image.width)) {
    throw error(place, formatted("expected images of at least one pixel and one channel, found {}",
                                 image.describe()));
  }
}

/// Throws unless the rows of a matrix with so many columns can be such images.
inline void require_columns(const char* place, index_t cols, const image_shape& image) {
  if (cols != image.size()) {
    throw error(place, formatted("the input has {} columns, expected {} for {}", cols, image.size(),
                                 image.describe()));
  }
}

/// Throws unless the window fits into the padded image and always covers a pixel of it.
inline void require_window(const char* place, const image_shape& image,
                           const image_window& window) {
  constexpr index_t most = index_t{1} << 12;
  require_image(place, image);
  require(window.height > 0 && window.width > 0 && window.height <= most && window.width <= most &&
              window.stride > 0 && window.stride <= most,
          place, "expected a window and a stride of 1 to {} pixels, found {} x {} and {}", most,
          window.height, window.width, window.stride);
  require(window.padding >= 0 && window.padding < window.height && window.padding < window.width,
          place, "expected a padding narrower than the window of {} x {}, found {}", window.height,
          window.width, window.padding);
  require(window.height <= image.height + 2 * window.padding &&
              window.width <= image.width + 2 * window.padding,
          place, "a window of {} x {} does not fit into an image of {} x {} with a padding of {}",
          window.height, window.width, image.height, image.width, window.padding);
}

}  // namespace vierbein
