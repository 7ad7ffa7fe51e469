// Windows on images in host memory, channels last: pooling, functions of one image.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "vierbein/backend/lanes.hpp"
#include "vierbein/core/image.hpp"

namespace vierbein::backend::image_kernels {

/// What lies of [first, first + count) within [0, extent).
struct overlap {
  index_t begin, end;  ///< relative to `first`; empty when begin == end
  constexpr overlap(index_t first, index_t count, index_t extent)
      : begin(std::clamp<index_t>(-first, 0, count)),
        end(std::max(begin, std::clamp<index_t>(extent - first, 0, count))) {}
};

/// The same as std::copy_n, for stretches that are mostly short: neither a call nor a loop, which
/// compilers would make one. The beginning and the end are copied in blocks, which may overlap.
template <class T>
inline void copy_short(const T* from, index_t n, T* to) {
  constexpr index_t block = 32 / static_cast<index_t>(sizeof(T));
  const auto ends = [&](auto bytes) {
    constexpr std::size_t size = decltype(bytes)::value;
    std::memcpy(to, from, size);
    const index_t last = n - static_cast<index_t>(size / sizeof(T));
    std::memcpy(to + last, from + last, size);
  };
  if (n > 8 * block) {
    std::copy_n(from, n, to);
  } else if (n >= 4 * block) {
    ends(std::integral_constant<std::size_t, 128>());
  } else if (n >= 2 * block) {
    ends(std::integral_constant<std::size_t, 64>());
  } else if (n >= block) {
    ends(std::integral_constant<std::size_t, 32>());
  } else if (n >= block / 2) {
    ends(std::integral_constant<std::size_t, 16>());
  } else {
    for (index_t i = 0; i < n; ++i) {
      to[i] = from[i];
    }
  }
}

/// to += from, for stretches that are mostly short.
template <class T>
inline void add_short(const T* from, index_t n, T* to) {
  const auto block = [&](auto size) {
    constexpr std::size_t lanes = decltype(size)::value;
    T a[lanes];
    T b[lanes];
    std::memcpy(a, from, sizeof(a));
    std::memcpy(b, to, sizeof(b));
    for (std::size_t i = 0; i < lanes; ++i) {
      b[i] += a[i];
    }
    std::memcpy(to, b, sizeof(b));
    from += lanes;
    to += lanes;
    n -= static_cast<index_t>(lanes);
  };
  constexpr auto eight = std::integral_constant<std::size_t, 32 / sizeof(T)>();
  constexpr auto four = std::integral_constant<std::size_t, 16 / sizeof(T)>();
  while (n >= static_cast<index_t>(eight())) {
    block(eight);
  }
  if (n >= static_cast<index_t>(four())) {
    block(four);
  }
  for (index_t i = 0; i < n; ++i) {
    to[i] += from[i];
  }
}

/// Positions [first, last) of a line at which column `kx` of the window lies within the image.
struct line_range {
  index_t first, last;
  line_range(const image_shape& image, const image_window& window, index_t positions, index_t kx)
      : first(0), last(positions) {
    const index_t shift = kx - window.padding;  // position ox meets pixel ox · stride + shift
    const auto up = [&](index_t pixels) {
      return std::clamp<index_t>((pixels + window.stride - 1) / window.stride, 0, positions);
    };
    if (shift < 0) {
      first = up(-shift);
    }
    if ((positions - 1) * window.stride + shift >= image.width) {
      last = std::max(first, up(image.width - shift));
    }
  }
};

/// f(position, window's overlap vertically and horizontally, its top left pixel) for the window
/// over one image.
template <class F>
void each_position(const image_shape& image, const image_window& window, F&& f) {
  const image_shape out = window.over(image, image.channels);
  for (index_t oy = 0; oy < out.height; ++oy) {
    const index_t top = oy * window.stride - window.padding;
    const overlap vertical(top, window.height, image.height);
    for (index_t ox = 0; ox < out.width; ++ox) {
      const index_t left = ox * window.stride - window.padding;
      f(oy * out.width + ox, vertical, overlap(left, window.width, image.width),
        top * image.width + left);
    }
  }
}

/// f(element of the result, its window's pixels) for every register of channels of every position,
/// where these are whole registers. The pixels call g(k, element of the image) for every pixel k of
/// the window that lies within the image.
template <class T, class F>
void each_register(const image_shape& image, const image_window& window, F&& f) {
  each_position(image, window, [&](index_t position, overlap rows, overlap cols, index_t corner) {
    for (index_t c = 0; c < image.channels; c += detail::lanes<T>) {
      f(position * image.channels + c, [&](auto&& g) {
        for (index_t ky = rows.begin; ky < rows.end; ++ky) {
          for (index_t kx = cols.begin; kx < cols.end; ++kx) {
            g(ky * window.width + kx, (corner + ky * image.width + kx) * image.channels + c);
          }
        }
      });
    }
  });
}

/// max_pool, see there, for whole registers of channels.
template <class T>
VIERBEIN_WHOLE_REGISTERS void max_pool_registers(const image_shape& image,
                                                 const image_window& window, const T* x, T* y,
                                                 T* where) {
  each_register<T>(image, window, [&](index_t to, auto&& each_pixel) {
    detail::lanes_of<T> best{};
    detail::lanes_of<T> chosen = best - 1;
    each_pixel([&](index_t k, index_t from) {
      const detail::lanes_of<T> v = detail::at(x + from);
      const auto more = (chosen < 0) | (~(v <= best) & (best == best));
      best = more ? v : best;
      chosen = more ? detail::lanes_of<T>{} + static_cast<T>(k) : chosen;
    });
    detail::at(y + to) = best;
    detail::at(where + to) = chosen;
  });
}

/// max_pool_backward, see there, for whole registers of channels.
template <class T>
VIERBEIN_WHOLE_REGISTERS void max_pool_backward_registers(const image_shape& image,
                                                          const image_window& window,
                                                          const T* where, const T* dy, bool assign,
                                                          T* dx) {
  each_register<T>(image, window, [&](index_t from, auto&& each_pixel) {
    const detail::lanes_of<T> gradient = detail::at(dy + from);
    const detail::lanes_of<T> chosen = detail::at(where + from);
    each_pixel([&](index_t k, index_t to) {
      const detail::lanes_of<T> share =
          chosen == static_cast<T>(k) ? gradient : detail::lanes_of<T>{};
      detail::at(dx + to) = assign ? share : detail::at(dx + to) + share;
    });
  });
}

/// Goes through the window's positions in blocks of neighbours on a line: a block's elements are
/// contiguous in scratch memory, whatever the number of channels, so that comparing them
/// vectorises.
class pooling_blocks {
 public:
  static constexpr index_t size = 384;  ///< elements of a block, at most

  pooling_blocks(const image_shape& image, const image_window& window)
      : image_(image), window_(window), out_(window.over(image, image.channels)) {}

  /// f(block, first element of y) for every block.
  template <class F>
  void each(F&& f) {
    const index_t channels = std::min(size, image_.channels);
    const index_t most = size / channels;
    for (oy_ = 0; oy_ < out_.height; ++oy_) {
      for (channel_ = 0; channel_ < image_.channels; channel_ += channels) {
        width_ = std::min(channels, image_.channels - channel_);
        for (ox_ = 0; ox_ < out_.width; ox_ += most) {
          positions_ = std::min(most, out_.width - ox_);
          f((oy_ * out_.width + ox_) * image_.channels + channel_);
        }
      }
    }
  }

  [[nodiscard]] index_t positions() const { return positions_; }
  [[nodiscard]] index_t width() const { return width_; }  ///< channels of the block

  /// f(k, first position, positions, element of the image) for every pixel k of the window and the
  /// block's positions at which it lies within the image; from position to position it is stride ·
  /// channels elements further.
  template <class F>
  void each_pixel(F&& f) const {
    for (index_t ky = 0; ky < window_.height; ++ky) {
      const index_t iy = oy_ * window_.stride - window_.padding + ky;
      if (iy < 0 || iy >= image_.height) {
        continue;
      }
      for (index_t kx = 0; kx < window_.width; ++kx) {
        const line_range range(image_, window_, out_.width, kx);
        const index_t first = std::max(range.first, ox_);
        const index_t last = std::min(range.last, ox_ + positions_);
        if (first < last) {
          const index_t ix = first * window_.stride - window_.padding + kx;
          f(ky * window_.width + kx, first - ox_, last - first,
            (iy * image_.width + ix) * image_.channels + channel_);
        }
      }
    }
  }

 private:
  image_shape image_;
  image_window window_;
  image_shape out_;
  index_t oy_ = 0, ox_ = 0, channel_ = 0, width_ = 0, positions_ = 0;
};

/// y: the largest pixel under the window; where: its number within the window, the first of
/// several. NaN counts as largest.
template <class T>
void max_pool(const image_shape& image, const image_window& window, const T* x, T* y, T* where) {
  if (image.channels % detail::lanes<T> == 0) {
    max_pool_registers(image, window, x, y, where);
    return;
  }
  T best[pooling_blocks::size] = {};
  T chosen[pooling_blocks::size];
  T candidate[pooling_blocks::size];
  const index_t step = window.stride * image.channels;
  pooling_blocks block(image, window);
  block.each([&](index_t to) {
    const index_t width = block.width();
    std::fill_n(chosen, block.positions() * width, T{-1});
    block.each_pixel([&](index_t k, index_t first, index_t positions, index_t at) {
      const auto number = static_cast<T>(k);
      const auto compare = [number](const T* v, index_t n, T* b, T* w) {
        for (index_t i = 0; i < n; ++i) {
          // Neither "not smaller" nor "not equal": so NaN wins, and then stays.
          const bool more = (w[i] < 0) | (!(v[i] <= b[i]) & (b[i] == b[i]));
          b[i] = more ? v[i] : b[i];
          w[i] = more ? number : w[i];
        }
      };
      T* const b = best + first * width;
      T* const w = chosen + first * width;
      for (index_t p = 0; p < positions; ++p) {
        copy_short(x + at + p * step, width, candidate + p * width);
      }
      compare(candidate, positions * width, b, w);
    });
    for (index_t p = 0; p < block.positions(); ++p) {
      copy_short(best + p * width, width, y + to + p * image.channels);
      copy_short(chosen + p * width, width, where + to + p * image.channels);
    }
  });
}

/// dx += dy at the pixel that `where` names; with `assign`, dx = dy there and 0 at the window's
/// other pixels, for windows that do not overlap.
template <class T>
void max_pool_backward(const image_shape& image, const image_window& window, const T* where,
                       const T* dy, bool assign, T* dx) {
  if (image.channels % detail::lanes<T> == 0) {
    max_pool_backward_registers(image, window, where, dy, assign, dx);
    return;
  }
  T gradient[pooling_blocks::size];
  T chosen[pooling_blocks::size];
  T share[pooling_blocks::size];
  const index_t step = window.stride * image.channels;
  pooling_blocks block(image, window);
  block.each([&](index_t from) {
    const index_t width = block.width();
    for (index_t p = 0; p < block.positions(); ++p) {
      copy_short(dy + from + p * image.channels, width, gradient + p * width);
      copy_short(where + from + p * image.channels, width, chosen + p * width);
    }
    block.each_pixel([&](index_t k, index_t first, index_t positions, index_t at) {
      const T* const g = gradient + first * width;
      const T* const w = chosen + first * width;
      const auto number = static_cast<T>(k);
      for (index_t i = 0; i < positions * width; ++i) {
        share[i] = w[i] == number ? g[i] : T{0};
      }
      for (index_t p = 0; p < positions; ++p) {
        if (assign) {
          copy_short(share + p * width, width, dx + at + p * step);
        } else {
          add_short(share + p * width, width, dx + at + p * step);
        }
      }
    });
  });
}

/// Calls f(y pointer offset, x pointer offset, share) for every pixel under the window at every
/// position; share is 1 / (pixels of the image under the window).
template <class T, class F>
void each_share(const image_shape& image, const image_window& window, F&& f) {
  each_position(image, window, [&](index_t position, overlap rows, overlap cols, index_t corner) {
    const auto share = T{1} / static_cast<T>((rows.end - rows.begin) * (cols.end - cols.begin));
    for (index_t ky = rows.begin; ky < rows.end; ++ky) {
      for (index_t kx = cols.begin; kx < cols.end; ++kx) {
        f(position * image.channels, (corner + ky * image.width + kx) * image.channels, share);
      }
    }
  });
}

template <class T>
void average_pool(const image_shape& image, const image_window& window, const T* x, T* y) {
  std::fill_n(y, window.over(image, image.channels).size(), T{0});
  each_share<T>(image, window, [&](index_t to, index_t from, T share) {
    for (index_t c = 0; c < image.channels; ++c) {
      y[to + c] += share * x[from + c];
    }
  });
}

/// dx += the share that each pixel had
template <class T>
void average_pool_backward(const image_shape& image, const image_window& window, const T* dy,
                           T* dx) {
  each_share<T>(image, window, [&](index_t from, index_t to, T share) {
    for (index_t c = 0; c < image.channels; ++c) {
      dx[to + c] += share * dy[from + c];
    }
  });
}

}  // namespace vierbein::backend::image_kernels
