// The CPU backend's convolution: patches of a few lines of images at a time in a panel that stays
// in the cache, and products with it.
#pragma once

#include <algorithm>
#include <span>

#include "vierbein/backend/concept.hpp"
#include "vierbein/backend/engine/concept.hpp"
#include "vierbein/backend/image_kernels.hpp"
#include "vierbein/core/arena.hpp"

namespace vierbein::backend::detail {

/// One convolution layer as the threads compute it, piece by piece. A piece is a range of images; a
/// panel is the patches P of a few lines of them, in one of two layouts:
///     patches  P (m, K), m positions, K = window.size() · channels:  Y = P W
///     planes   Pᵀ (K, m): where a row of Y is shorter than a register:  Yᵀ = Wᵀ Pᵀ
/// All sizes depend on the shapes alone, so that the bits of a result do not depend on the number
/// of threads. Scratch memory is kept by each thread.
template <Scalar T, ProductEngine Engine>
class convolution {
 public:
  using layer_type = convolution_layer<T, host_space>;
  using slab_type = convolution_slab<T, host_space>;
  using view = matrix_view<T>;
  using const_view = matrix_view<const T>;

  convolution(const layer_type& layer, activation act)
      : layer_(layer),
        act_(act),
        out_(layer.window.over(layer.image, layer.w.cols)),
        depth_(layer.w.rows),
        planes_(layer.w.cols < short_row),
        lines_(std::max(index_t{1}, panel_size / (out_.width * depth_))) {}

  /// Multiply-adds of one pass.
  [[nodiscard]] index_t cost() const { return layer_.x.rows * out_.size() * depth_; }

  /// Images of a piece whose results are apart from those of other pieces: enough for a panel.
  [[nodiscard]] index_t images_together() const { return (lines_ + out_.height - 1) / out_.height; }

  /// Images of a piece that has sums of its own: the sums of all pieces are bounded.
  [[nodiscard]] index_t images_apart() const {
    const index_t pieces = std::clamp(sums_limit / layer_.w.size(), index_t{1}, most_pieces);
    return std::max(images_together(), (layer_.x.rows + pieces - 1) / pieces);
  }

  /// y of the images [first, last)
  void forward(index_t first, index_t last) const {
    each_panel(first, last, joined(), [&](index_t line, index_t lines) {
      const index_t m = lines * out_.width;
      const auto [panel, result] = scratch(depth_ * m, planes_ ? out_.channels * m : 0);
      gather(line, lines, panel);
      const view y = rows_of(layer_.y, line, m);
      if (planes_) {
        for (index_t o = 0; o < out_.channels; ++o) {
          std::fill_n(result + o * m, m, layer_.bias.data != nullptr ? layer_.bias.data[o] : T{0});
        }
        const view planes{result, out_.channels, m};
        Engine::template run<true, false, T>(layer_.w, {panel, depth_, m}, engine::itself(planes),
                                             planes, false);
        if (layer_.argument.data != nullptr) {
          transpose(result, out_.channels, m, rows_of(layer_.argument, line, m).data);
        }
        activate(result, out_.channels * m);
        transpose(result, out_.channels, m, y.data);
        return;
      }
      const bool rectify = act_ == activation::relu && layer_.argument.data == nullptr;
      Engine::template run<false, false, T>({panel, m, depth_}, layer_.w, {layer_.bias.data, 0}, y,
                                            rectify);
      if (layer_.argument.data != nullptr) {
        std::copy_n(y.data, y.size(), rows_of(layer_.argument, line, m).data);
      }
      if (!rectify) {
        activate(y.data, y.size());
      }
    });
  }

  /// Elements that one piece sums: dWᵀ (out, K) and db (out), for every slab that wants them.
  [[nodiscard]] index_t sums_size(std::span<const slab_type> slabs) const {
    index_t size = 0;
    for (const slab_type& slab : slabs) {
      size += wants_sums(slab) ? out_.channels * (depth_ + 1) : 0;
    }
    return size;
  }

  /// Memory for the sums of so many pieces.
  [[nodiscard]] T* sums(index_t pieces, std::span<const slab_type> slabs) const {
    static thread_local aligned_vector<T> buffer;
    const auto size = static_cast<std::size_t>(pieces * sums_size(slabs));
    if (buffer.size() < size) {
      buffer.resize(size);
    }
    return buffer.data();
  }

  /// Gradients of the images [first, last): dx in place, those of w and bias into `sums`.
  void backward(index_t first, index_t last, std::span<const slab_type> slabs, T* sums) const {
    std::fill_n(sums, sums_size(slabs), T{0});
    bool gathers = false;
    bool scatters = false;
    bool together = joined();
    for (const slab_type& slab : slabs) {
      gathers = gathers || slab.dw.data != nullptr;
      scatters = scatters || slab.dx.data != nullptr;
      together = together && slab.dy.contiguous();
      for (index_t i = first; i < last && slab.dx.data != nullptr && !slab.accumulate; ++i) {
        std::fill_n(slab.dx.row(i), slab.dx.cols, T{0});
      }
    }
    each_panel(first, last, together, [&](index_t line, index_t lines) {
      const index_t m = lines * out_.width;
      const index_t size = depth_ * m;
      const auto [panel, rest] =
          scratch(gathers ? size : 0, (scatters ? size : 0) + out_.channels * m);
      if (gathers) {
        gather(line, lines, panel);
      }
      T* to = sums;
      for (const slab_type& slab : slabs) {
        const const_view dz = argument_gradient(slab, line, m, rest + (scatters ? size : 0));
        if (wants_sums(slab)) {
          add_sums(slab, dz, panel, to);
          to += out_.channels * (depth_ + 1);
        }
        if (slab.dx.data != nullptr) {
          if (planes_) {
            Engine::template run<false, true, T>(layer_.w, dz, {}, {rest, depth_, m}, false);
          } else {
            Engine::template run<false, true, T>(dz, layer_.w, {}, {rest, m, depth_}, false);
          }
          scatter(slab.dx, line, lines, rest);
        }
      }
    });
  }

  /// Adds the sums of all pieces to the gradients, for the outputs [first, last).
  void add_up(std::span<const slab_type> slabs, T* sums, index_t pieces, index_t first,
              index_t last) const {
    const index_t apart = sums_size(slabs);
    for (const slab_type& slab : slabs) {
      if (!wants_sums(slab) || pieces == 0) {
        continue;
      }
      for (index_t o = first; o < last; ++o) {
        T* const total = sums + o * (depth_ + 1);
        for (index_t piece = 1; piece < pieces; ++piece) {
          const T* const more = total + piece * apart;
          for (index_t k = 0; k <= depth_; ++k) {
            total[k] += more[k];
          }
        }
        for (index_t k = 0; k < depth_ && slab.dw.data != nullptr; ++k) {
          slab.dw(k, o) += total[k];
        }
        if (slab.db.data != nullptr) {
          slab.db(0, o) += total[depth_];
        }
      }
      sums += out_.channels * (depth_ + 1);
    }
  }

 private:
  static constexpr index_t panel_size = (index_t{1} << 18) / sizeof(T);  // 256 KiB
  static constexpr index_t short_row = 64 / sizeof(T);
  static constexpr index_t most_pieces = 32;
  static constexpr index_t sums_limit = index_t{1} << 22;  // elements

  struct buffers {
    T* panel;
    T* rest;
  };

  [[nodiscard]] static bool wants_sums(const slab_type& slab) {
    return slab.dw.data != nullptr || slab.db.data != nullptr;
  }

  static buffers scratch(index_t panel, index_t rest) {
    static thread_local aligned_vector<T> buffer;
    const index_t begin = (panel + 15) / 16 * 16;
    if (static_cast<index_t>(buffer.size()) < begin + rest) {
      buffer.resize(static_cast<std::size_t>(begin + rest));
    }
    return {buffer.data(), buffer.data() + begin};
  }

  // f(line, lines) for stretches of the lines of y of the images [first, last), counted through all
  // images. A stretch runs over the end of an image only where the images lie one behind the other.
  template <class F>
  void each_panel(index_t first, index_t last, bool joined, F&& f) const {
    const index_t end = last * out_.height;
    for (index_t line = first * out_.height; line < end;) {
      const index_t within = joined ? end - line : out_.height - line % out_.height;
      const index_t lines = std::min(lines_, within);
      f(line, lines);
      line += lines;
    }
  }

  // Whether the images of y (and of the arguments) lie one behind the other.
  [[nodiscard]] bool joined() const {
    return layer_.y.contiguous() && layer_.argument.contiguous();
  }

  // m positions from line `line` on, as a matrix (m, out).
  template <class U>
  matrix_view<U> rows_of(matrix_view<U> images, index_t line, index_t m) const {
    return {images.row(line / out_.height) + line % out_.height * out_.width * out_.channels, m,
            out_.channels};
  }

  // f(image, first line within it, lines, lines of the panel before them)
  template <class F>
  void each_image(index_t line, index_t lines, F&& f) const {
    for (index_t done = 0; done < lines;) {
      const index_t oy = (line + done) % out_.height;
      const index_t count = std::min(lines - done, out_.height - oy);
      f((line + done) / out_.height, oy, count, done);
      done += count;
    }
  }

  void gather(index_t line, index_t lines, T* panel) const {
    each_image(line, lines, [&](index_t i, index_t oy, index_t count, index_t before) {
      const T* const x = layer_.x.row(i);
      if (planes_) {
        image_kernels::gather_planes(layer_.image, layer_.window, oy, count, out_.width, x,
                                     panel + before * out_.width, lines * out_.width);
        return;
      }
      for (index_t l = 0; l < count; ++l) {
        image_kernels::gather_patches(layer_.image, layer_.window, oy + l, out_.width, x,
                                      panel + (before + l) * out_.width * depth_);
      }
    });
  }

  void scatter(view dx, index_t line, index_t lines, const T* panel) const {
    each_image(line, lines, [&](index_t i, index_t oy, index_t count, index_t before) {
      T* const to = dx.row(i);
      if (planes_) {
        image_kernels::scatter_planes(layer_.image, layer_.window, oy, count, out_.width,
                                      panel + before * out_.width, lines * out_.width, to);
        return;
      }
      for (index_t l = 0; l < count; ++l) {
        image_kernels::scatter_patches(layer_.image, layer_.window, oy + l, out_.width,
                                       panel + (before + l) * out_.width * depth_, to);
      }
    });
  }

  // dz = dy act'(·) of m positions, (m, out).
  const_view argument_gradient(const slab_type& slab, index_t line, index_t m, T* buffer) const {
    const const_view dy = rows_of(slab.dy, line, m);
    if (act_ == activation::identity) {
      return dy;
    }
    const T* const v =
        rows_of<const T>(layer_.argument.data != nullptr ? layer_.argument : layer_.y, line, m)
            .data;
    if (act_ == activation::relu) {
      for (index_t i = 0; i < dy.size(); ++i) {
        buffer[i] = v[i] > 0 ? dy.data[i] : T{0};
      }
    } else {
      for (index_t i = 0; i < dy.size(); ++i) {
        buffer[i] = dy.data[i] * formula::activation_slope(act_, v[i]);
      }
    }
    return {buffer, m, out_.channels};
  }

  void add_sums(const slab_type& slab, const_view dz, const T* panel, T* sums) const {
    const index_t apart = depth_ + 1;
    if (slab.dw.data != nullptr) {
      const view dw{sums, out_.channels, depth_, apart};
      if (planes_) {
        Engine::template run<true, true, T>(dz, {panel, depth_, dz.rows}, engine::itself(dw), dw,
                                            false);
      } else {
        Engine::template run<true, false, T>(dz, {panel, dz.rows, depth_}, engine::itself(dw), dw,
                                             false);
      }
    }
    if (slab.db.data == nullptr) {
      return;
    }
    // Several short rows, which lie one behind the other, are added as one long row.
    constexpr index_t lanes = 64;
    const index_t n = std::min(lanes, out_.channels);
    const index_t rows = lanes / n;
    for (index_t o = 0; o < out_.channels; o += n) {
      const index_t width = std::min(n, out_.channels - o);
      const index_t together = out_.channels == n ? rows : 1;
      T partial[lanes] = {};
      for (index_t r = 0; r < dz.rows; r += together) {
        const T* const v = dz.row(r) + o;
        const index_t count = std::min(together, dz.rows - r) * width;
        for (index_t i = 0; i < count; ++i) {
          partial[i] += v[i];
        }
      }
      for (index_t i = 0; i < together * width; ++i) {
        sums[(o + i % width) * apart + depth_] += partial[i];
      }
    }
  }

  // to (cols, rows) = fromᵀ, both contiguous; the shorter side is the inner loop.
  static void transpose(const T* from, index_t rows, index_t cols, T* to) {
    if (rows < cols) {
      for (index_t c = 0; c < cols; ++c) {
        for (index_t r = 0; r < rows; ++r) {
          to[c * rows + r] = from[r * cols + c];
        }
      }
    } else {
      for (index_t r = 0; r < rows; ++r) {
        for (index_t c = 0; c < cols; ++c) {
          to[c * rows + r] = from[r * cols + c];
        }
      }
    }
  }

  void activate(T* values, index_t n) const {
    if (act_ == activation::relu) {
      for (index_t i = 0; i < n; ++i) {
        values[i] = values[i] < 0 ? T{0} : values[i];
      }
    } else if (act_ != activation::identity) {
      for (index_t i = 0; i < n; ++i) {
        values[i] = formula::activate(act_, values[i]);
      }
    }
  }

  const layer_type& layer_;
  activation act_;
  image_shape out_;
  index_t depth_;  // K
  bool planes_;
  index_t lines_;  // of a panel
};

}  // namespace vierbein::backend::detail
