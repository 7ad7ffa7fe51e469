// The CPU backend's convolution, without forming patches: products read the images where they are.
#pragma once

#include <algorithm>
#include <numeric>
#include <span>
#include <utility>

#include "vierbein/backend/concept.hpp"
#include "vierbein/backend/engine/tiled.hpp"
#include "vierbein/backend/scattered_rows.hpp"
#include "vierbein/core/arena.hpp"

namespace vierbein::backend::detail {

/// One convolution layer as the threads compute it, piece by piece. With the patches P (m, K), m
/// positions of the window and K = window.size() · channels, a layer is three products:
///     Y = P W,    dW = Pᵀ dZ,    dP = dZ Wᵀ
/// Channels last, a line of the window is a stretch of window.width · channels neighbours in the
/// image, and pixel k of the patch at position p is found at
///     P(p, k) = x[at(p) + pixel(k)].
/// That is all the products need to know (scattered_rows.hpp), so P is never formed; and dP goes
/// from the registers to the same places of dx. Images with padding are copied first, with zeros
/// around them, and their dx is cut out of a like copy.
///
/// With a pool, a panel of outputs is pooled as soon as it is there, and its gradient found from
/// that of the pool's results just before it is used: neither is ever in memory as a whole.
///
/// A piece is a range of images; a panel is as many positions as stay in the cache. All sizes
/// depend on the shapes alone, so that the bits of a result do not depend on the number of threads.
/// Scratch memory is kept by each thread.
template <Scalar T>
class convolution {
 public:
  using layer_type = convolution_layer<T, host_space>;
  using slab_type = convolution_slab<T, host_space>;
  using view = matrix_view<T>;
  using const_view = matrix_view<const T>;

  convolution(const layer_type& layer, activation act)
      : layer_(layer),
        act_(act),
        out_(pooled_positions(layer)),
        result_(layer.pool.over(out_, out_.channels)),
        depth_(layer.w.rows),
        width_(whole_registers<T>(layer.w.cols)),
        stretch_(layer.window.width * layer.image.channels),
        pixel_line_((layer.image.width + 2 * layer.window.padding) * layer.image.channels),
        lines_(std::max(index_t{1}, panel_positions / out_.width / layer.pool.stride) *
               layer.pool.stride) {}

  /// Multiply-adds of one pass.
  [[nodiscard]] index_t cost() const { return layer_.x.rows * out_.size() * depth_; }

  /// Images of a piece whose results are apart from those of other pieces: enough for a panel.
  [[nodiscard]] index_t images_together() const {
    return std::clamp(lines_ / out_.height, index_t{1}, most_together);
  }

  /// Images of a piece that has sums of its own: the sums of all pieces are bounded.
  [[nodiscard]] index_t images_apart() const {
    const index_t pieces = std::clamp(sums_limit / layer_.w.size(), index_t{1}, most_pieces);
    return std::max(images_together(), (layer_.x.rows + pieces - 1) / pieces);
  }

  /// W for forward(): two registers of columns after the other, and then the bias.
  [[nodiscard]] const T* filters() const {
    T* const packed = packed_filters((depth_ + 1) * width_);
    each_columns<T>(out_.channels, [&](index_t o, index_t n) {
      pack<false>(layer_.w.data + o, depth_, n, packed + o * depth_);
    });
    T* const bias = packed + depth_ * width_;
    std::fill_n(bias, width_, T{0});
    if (layer_.bias.data != nullptr) {
      std::copy_n(layer_.bias.data, out_.channels, bias);
    }
    return packed;
  }

  /// Wᵀ for backward(): two registers of columns of a line of the window after the other, and of
  /// these the rows of all lines. None, if no slab wants dx.
  [[nodiscard]] const T* turned_filters(std::span<const slab_type> slabs) const {
    if (std::none_of(slabs.begin(), slabs.end(),
                     [](const slab_type& slab) { return slab.dx.data != nullptr; })) {
      return nullptr;
    }
    const index_t lines = layer_.window.height;
    T* const packed = packed_filters(lines * whole_registers<T>(stretch_) * out_.channels);
    each_columns<T>(stretch_, [&](index_t k, index_t n) {
      T* const to = packed + k * lines * out_.channels;
      for (index_t line = 0; line < lines; ++line) {
        pack<true>(layer_.w.row(line * stretch_ + k), out_.channels, n,
                   to + lines_before(line) * out_.channels * panel_width(n));
      }
    });
    return packed;
  }

  /// y of the images [first, last)
  void forward(index_t first, index_t last, const T* filters) const {
    const workspace memory(*this);
    const bool rectify = act_ == activation::relu && layer_.argument.data == nullptr && !pools();
    each_panel(first, last, [&](const panel& part) {
      const T* const x = find_patches(part, memory);
      T* const y = pools() ? memory.dz : line_of(layer_.y, part.image, part);
      find(part, pools() ? unpooled_image(part) : layer_.y.stride, out_.width * out_.channels,
           out_.channels, memory.output);
      const bool gapless = pools() || part.images == 1 || layer_.y.contiguous();
      const T* const end =
          gapless && out_.channels <= 2 * lanes<T> ? y + positions(part) * out_.channels : nullptr;
      each_columns<T>(out_.channels, [&](index_t o, index_t n) {
        multiply_scattered<T>({.a = x,
                               .a_at = memory.patch,
                               .rows = positions(part),
                               .begins = memory.window_line,
                               .stretches = layer_.window.height,
                               .length = stretch_,
                               .step = 1,
                               .b = filters + o * depth_,
                               .b_stride = panel_width(n),
                               .start = filters + depth_ * width_ + o,
                               .rectify = rectify,
                               .end = end,
                               .c = y + o,
                               .c_at = memory.output,
                               .cols = n});
      });
      for (index_t i = 0; i < part.images; ++i) {
        T* const result = line_of(layer_.y, part.image + i, part);
        if (pools()) {
          image_kernels::max_pool(unpooled(part), layer_.pool, y + i * unpooled_image(part), result,
                                  line_of(layer_.where, part.image + i, part));
        }
        if (!rectify) {
          activate(result, results(part),
                   layer_.argument.data != nullptr ? line_of(layer_.argument, part.image + i, part)
                                                   : nullptr);
        }
      }
    });
  }

  /// Elements that one piece sums: dW and, below it, db, (K + 1, out) in whole registers, for every
  /// slab that wants them.
  [[nodiscard]] index_t sums_size(std::span<const slab_type> slabs) const {
    return std::count_if(slabs.begin(), slabs.end(), wants_sums) * (depth_ + 1) * width_;
  }

  /// Memory for the sums of so many pieces.
  [[nodiscard]] T* sums(index_t pieces, std::span<const slab_type> slabs) const {
    static thread_local aligned_vector<T> buffer;
    return enough(buffer, pieces * sums_size(slabs));
  }

  /// Gradients of the images [first, last): dx in place, those of w and bias into `sums`.
  void backward(index_t first, index_t last, std::span<const slab_type> slabs, const T* turned,
                T* sums) const {
    std::fill_n(sums, sums_size(slabs), T{0});
    const workspace memory(*this);
    each_panel(first, last, [&](const panel& part) {
      T* to = sums;
      const T* x = nullptr;
      for (const slab_type& slab : slabs) {
        const T* const dz = argument_gradient(slab, part, memory);
        if (slab.dw.data != nullptr) {
          x = x != nullptr ? x : find_patches(part, memory);
          add_filter_gradient(part, x, dz, memory, to);
        }
        if (slab.db.data != nullptr) {
          add_rows(dz, positions(part), to + depth_ * width_);
        }
        if (slab.dx.data != nullptr) {
          find_image_gradient(slab, part, dz, turned, memory);
        }
        to += wants_sums(slab) ? (depth_ + 1) * width_ : 0;
      }
    });
  }

  /// Adds the sums of all pieces to the gradients, for the rows [first, last) of dW and db, K + 1
  /// in all.
  void add_up(std::span<const slab_type> slabs, T* sums, index_t pieces, index_t first,
              index_t last) const {
    const index_t apart = sums_size(slabs);
    for (const slab_type& slab : slabs) {
      if (!wants_sums(slab) || pieces == 0) {
        continue;
      }
      for (index_t k = first; k < last; ++k) {
        T* const total = sums + k * width_;
        for (index_t piece = 1; piece < pieces; ++piece) {
          const T* const more = total + piece * apart;
          for (index_t o = 0; o < width_; ++o) {
            total[o] += more[o];
          }
        }
        const view& gradient = k < depth_ ? slab.dw : slab.db;
        for (index_t o = 0; o < out_.channels && gradient.data != nullptr; ++o) {
          gradient(k < depth_ ? k : 0, o) += total[o];
        }
      }
      sums += (depth_ + 1) * width_;
    }
  }

 private:
  // Of a panel: two registers of columns of dZ, and a few channels of as many pixels, are to stay
  // in the fastest cache.
  static constexpr index_t panel_positions = 288;
  static constexpr index_t most_together =
      16;  // images of a panel, so that there are pieces enough
  static constexpr index_t most_pieces = 32;
  static constexpr index_t sums_limit = index_t{1} << 22;  // elements

  // Lines [line, line + lines) of the positions of so many images: whole images, or lines of one.
  struct panel {
    index_t image, images;
    index_t line, lines;
  };

  // What a thread needs for a panel: where things are, and copies. Each place is a number of
  // elements behind a first one.
  struct workspace {
    index_t* patch;         // of each position in x, or in its copy
    index_t* dx_patch;      // the same in dx
    index_t* output;        // of each position in y
    index_t* row;           // of each position in dZ
    index_t* listed_patch;  // some of dx_patch and of row
    index_t* listed_row;
    index_t* line_above;   // of each line of dZ above, up to the window's height
    index_t* line;         // of the first patch of each line of positions
    index_t* pixel;        // of each pixel in its patch
    index_t* sum;          // of each pixel's row in dW
    index_t* window_line;  // of each line of the window in its patch
    T* dz;                 // before pooling, as the outputs that are to be pooled
    T* result;             // dZ behind the pool
    T* x;                  // copies, with zeros around each image
    T* dx;

    explicit workspace(const convolution& c) {
      const index_t lines = c.images_together() * std::min(c.lines_, c.out_.height);
      const index_t m = lines * c.out_.width;
      const index_t copy =
          c.copies_dx() ? c.images_together() * c.copied_image(c.out_.height) + lanes<T> : 0;
      static thread_local aligned_vector<index_t> places;
      static thread_local aligned_vector<T> numbers;
      index_t* place = enough(places, 6 * m + lines + 2 * (c.depth_ + c.layer_.window.height));
      T* number = enough(numbers, 2 * m * c.out_.channels + lanes<T> + 2 * copy);
      const auto take = [](auto*& next, index_t n) { return std::exchange(next, next + n); };
      const auto multiples = [&](index_t count, index_t factor) {
        for (index_t i = 0; i < count; ++i) {
          place[i] = i * factor;
        }
        return take(place, count);
      };
      patch = take(place, m);
      dx_patch = take(place, m);
      output = take(place, m);
      listed_patch = take(place, m);
      listed_row = take(place, m);
      line = take(place, lines);
      line_above = multiples(c.layer_.window.height, -c.out_.width * c.out_.channels);
      row = multiples(m, c.out_.channels);
      sum = multiples(c.depth_, c.width_);
      window_line = multiples(c.layer_.window.height, c.pixel_line_);
      pixel = take(place, c.depth_);
      for (index_t l = 0; l < c.layer_.window.height; ++l) {
        std::iota(pixel + l * c.stretch_, pixel + (l + 1) * c.stretch_, window_line[l]);
      }
      dz = take(number, m * c.out_.channels + lanes<T>);
      result = take(number, m * c.out_.channels);
      x = take(number, copy);
      dx = take(number, copy);
    }
  };

  template <class U>
  static U* enough(aligned_vector<U>& buffer, index_t size) {
    if (static_cast<index_t>(buffer.size()) < size) {
      buffer.resize(static_cast<std::size_t>(size));
    }
    return buffer.data();
  }

  [[nodiscard]] static bool wants_sums(const slab_type& slab) {
    return slab.dw.data != nullptr || slab.db.data != nullptr;
  }

  static T* packed_filters(index_t size) {
    static thread_local aligned_vector<T> buffer;
    return enough(buffer, size);
  }

  // Columns in the registers that hold n of them.
  static constexpr index_t panel_width(index_t n) { return n > lanes<T> ? 2 * lanes<T> : lanes<T>; }

  // n columns of W, or of Wᵀ, from `from` on.
  template <bool Transposed>
  void pack(const T* from, index_t depth, index_t n, T* to) const {
    if (n > lanes<T>) {
      engine::detail::pack<Transposed, 2>(from, layer_.w.stride, depth, n, to);
    } else {
      engine::detail::pack<Transposed, 1>(from, layer_.w.stride, depth, n, to);
    }
  }

  // Images with padding are copied. Where a line of the window is not whole registers, dx is too:
  // what is added to it reaches further.
  [[nodiscard]] bool copies_x() const { return layer_.window.padding > 0; }
  [[nodiscard]] bool copies_dx() const { return copies_x() || stretch_ % lanes<T> != 0; }
  // Lines of pixels that so many lines of positions reach.
  [[nodiscard]] index_t pixel_lines(index_t lines) const {
    return (lines - 1) * layer_.window.stride + layer_.window.height;
  }
  // Elements of a copy for so many lines of positions, at most a panel's.
  [[nodiscard]] index_t copied_image(index_t lines) const {
    return pixel_lines(std::min(lines, lines_)) * pixel_line_;
  }

  // f(panel) for all positions of the images [first, last): several whole images at a time, or one
  // in parts.
  template <class F>
  void each_panel(index_t first, index_t last, F&& f) const {
    for (index_t i = first; i < last; i += images_together()) {
      const index_t images = std::min(images_together(), last - i);
      for (index_t line = 0; line < out_.height; line += lines_) {
        f(panel{i, images, line, std::min(lines_, out_.height - line)});
      }
    }
  }

  [[nodiscard]] index_t positions(const panel& part) const {
    return part.images * part.lines * out_.width;
  }

  // Where the panel's results begin in image i of y and its like; their number for each image.
  template <class U>
  U* line_of(matrix_view<U> images, index_t i, const panel& part) const {
    return images.row(i) + part.line / layer_.pool.stride * result_.width * result_.channels;
  }
  [[nodiscard]] index_t results(const panel& part) const {
    return layer_.pool.over(unpooled(part), out_.channels).size();
  }

  // The panel's part of an image before it is pooled, itself an image. Lines that no window of the
  // pool meets are left out.
  [[nodiscard]] bool pools() const { return layer_.where.data != nullptr; }
  [[nodiscard]] image_shape unpooled(const panel& part) const {
    return {out_.channels, part.lines, out_.width};
  }
  [[nodiscard]] index_t unpooled_image(const panel& part) const { return unpooled(part).size(); }
  static image_shape pooled_positions(const layer_type& layer) {
    image_shape out = layer.window.over(layer.image, layer.w.cols);
    const image_shape result = layer.pool.over(out, out.channels);
    out.height = (result.height - 1) * layer.pool.stride + layer.pool.height;
    return out;
  }

  // The place of every position, images, lines and positions of a line being so far apart.
  void find(const panel& part, index_t image, index_t line, index_t position, index_t* to) const {
    for (index_t i = 0; i < part.images; ++i) {
      for (index_t l = 0; l < part.lines; ++l) {
        for (index_t ox = 0; ox < out_.width; ++ox) {
          *to++ = i * image + l * line + ox * position;
        }
      }
    }
  }

  // The same for patches, in the images, or in `copy` unless it is null: what the places count
  // from.
  template <class U>
  U* find_patches(const panel& part, matrix_view<U> images, U* copy, index_t* to) const {
    const index_t line = layer_.window.stride * pixel_line_;
    find(part, copy != nullptr ? copied_image(part.lines) : images.stride, line,
         layer_.window.stride * layer_.image.channels, to);
    return copy != nullptr ? copy : images.row(part.image) + part.line * line;
  }

  // The panel's patches in x, copied if need be.
  const T* find_patches(const panel& part, const workspace& memory) const {
    const T* const x =
        find_patches<const T>(part, layer_.x, copies_x() ? memory.x : nullptr, memory.patch);
    for (index_t l = 0; l < part.images * part.lines; ++l) {
      memory.line[l] = memory.patch[l * out_.width];
    }
    if (!copies_x()) {
      return x;
    }
    const index_t margin = layer_.window.padding * layer_.image.channels;
    const index_t line = layer_.image.width * layer_.image.channels;
    each_copied_line(part, memory.x, [&](index_t i, index_t, index_t iy, T* to) {
      if (iy < 0 || iy >= layer_.image.height) {
        std::fill_n(to, pixel_line_, T{0});
        return;
      }
      std::fill_n(to, margin, T{0});
      std::copy_n(layer_.x.row(i) + iy * line, line, to + margin);
      std::fill_n(to + margin + line, margin, T{0});
    });
    return x;
  }

  // f(image, l, line of pixels, where its copy begins) for line l of those that the panel's patches
  // reach, those of the padding too.
  template <class F>
  void each_copied_line(const panel& part, T* copy, F&& f) const {
    const index_t first = part.line * layer_.window.stride - layer_.window.padding;
    for (index_t i = 0; i < part.images; ++i) {
      for (index_t l = 0; l < pixel_lines(part.lines); ++l) {
        f(part.image + i, l, first + l, copy + i * copied_image(part.lines) + l * pixel_line_);
      }
    }
  }

  // dz = dy act'(·), before pooling, rows without gaps: dy itself, or memory.dz. Products read dz
  // in whole registers, and so beyond the end of its rows; dy must not be read beyond its own end.
  const T* argument_gradient(const slab_type& slab, const panel& part,
                             const workspace& memory) const {
    const bool same = act_ == activation::identity;
    if (same && !pools() && width_ == out_.channels && (part.images == 1 || slab.dy.contiguous())) {
      return line_of(slab.dy, part.image, part);
    }
    const const_view known = layer_.argument.data != nullptr ? layer_.argument : layer_.y;
    T* to = memory.dz;
    for (index_t i = part.image; i < part.image + part.images; ++i, to += unpooled_image(part)) {
      const T* const dy = line_of(slab.dy, i, part);
      if (!same) {
        argument_gradient(dy, line_of(known, i, part), results(part), pools() ? memory.result : to);
      } else if (!pools()) {
        std::copy_n(dy, results(part), to);
      }
      if (pools()) {
        spread(part, i, same ? dy : memory.result, to);
      }
    }
    return memory.dz;
  }

  // The gradient of the panel's part of image i before it is pooled, from that of the results.
  void spread(const panel& part, index_t i, const T* result, T* to) const {
    const image_window& pool = layer_.pool;
    if (pool.stride > pool.height || result_.width * pool.stride < out_.width ||
        pool.stride > pool.width) {
      std::fill_n(to, unpooled_image(part), T{0});
    }
    image_kernels::max_pool_backward(unpooled(part), pool, line_of(layer_.where, i, part), result,
                                     true, to);
  }

  void argument_gradient(const T* dy, const T* v, index_t n, T* to) const {
    if (act_ == activation::relu) {
      for (index_t i = 0; i < n; ++i) {
        to[i] = v[i] > 0 ? dy[i] : T{0};
      }
    } else {
      for (index_t i = 0; i < n; ++i) {
        to[i] = dy[i] * formula::activation_slope(act_, v[i]);
      }
    }
  }

  // dW += Pᵀ dZ: a row for every pixel of the window, a stretch for every line of positions.
  void add_filter_gradient(const panel& part, const T* x, const T* dz, const workspace& memory,
                           T* sums) const {
    each_columns<T>(out_.channels, [&](index_t o, index_t n) {
      multiply_scattered<T>({.a = x,
                             .a_at = memory.pixel,
                             .rows = depth_,
                             .begins = memory.line,
                             .stretches = part.images * part.lines,
                             .length = out_.width,
                             .step = layer_.window.stride * layer_.image.channels,
                             .b = dz + o,
                             .b_stride = out_.channels,
                             .start = nullptr,
                             .rectify = false,
                             .end = nullptr,
                             .c = sums + o,
                             .c_at = memory.sum,
                             .cols = whole_registers<T>(n)});
    });
  }

  // sums += Σ dz(p, ·); like those of dW, sums beyond the last output mean nothing.
  VIERBEIN_WHOLE_REGISTERS void add_rows(const T* dz, index_t m, T* sums) const {
    constexpr index_t together = 4;
    for (index_t o = 0; o < width_; o += lanes<T>) {
      lanes_of<T> partial[together] = {};
      index_t p = 0;
      for (; p + together <= m; p += together) {
        for (index_t i = 0; i < together; ++i) {
          partial[i] += at(dz + (p + i) * out_.channels + o);
        }
      }
      for (; p < m; ++p) {
        partial[0] += at(dz + p * out_.channels + o);
      }
      at(sums + o) += (partial[0] + partial[1]) + (partial[2] + partial[3]);
    }
  }

  // A line of pixels is met by a line of positions with each of several lines of the window: with
  // one line of the window, with another that is `stride` further down the line of positions above,
  // and so on. f(line of the window, count, first, last) for the lines of positions [first, last)
  // of an image that meet pixels with this line of the window, and with none before it, where
  // `count` lines of the window in all meet them.
  template <class F>
  void each_meeting(const panel& part, F&& f) const {
    const image_window& window = layer_.window;
    for (index_t line = 0; line < window.height; ++line) {
      const index_t most = std::min(part.lines, (window.height - line - 1) / window.stride + 1);
      if (line >= window.stride) {  // with `stride` lines less, all but the last line meet them
        f(line, most, part.lines - 1, part.lines);
        continue;
      }
      for (index_t count = 1; count < most; ++count) {
        f(line, count, count - 1, count);
      }
      f(line, most, most - 1, part.lines);
    }
  }

  // The lines of the window in an order in which those that meet the same pixels are neighbours;
  // how many come before `line`.
  [[nodiscard]] index_t lines_before(index_t line) const {
    const index_t stride = layer_.window.stride;
    index_t before = line / stride;
    for (index_t first = 0; first < line % stride; ++first) {
      before += (layer_.window.height - first - 1) / stride + 1;
    }
    return before;
  }

  // The positions of the lines [first, last) of all images.
  index_t list_rows(const panel& part, index_t first, index_t last, const workspace& memory) const {
    index_t rows = 0;
    for (index_t i = 0; i < part.images; ++i) {
      const index_t n = (last - first) * out_.width;
      const index_t p = (i * part.lines + first) * out_.width;
      std::copy_n(memory.row + p, n, memory.listed_row + rows);
      std::copy_n(memory.dx_patch + p, n, memory.listed_patch + rows);
      rows += n;
    }
    return rows;
  }

  // dx (+)= dP = dZ Wᵀ, added where the patches are. What lies under each other is summed before.
  void find_image_gradient(const slab_type& slab, const panel& part, const T* dz, const T* turned,
                           const workspace& memory) const {
    T* const dx = find_patches(part, slab.dx, copies_dx() ? memory.dx : nullptr, memory.dx_patch);
    if (copies_dx()) {
      std::fill_n(dx, part.images * copied_image(part.lines), T{0});
    }
    const bool assign = !slab.accumulate;
    const bool zero = assign && part.line == 0 && !(copies_dx() && covers_image());
    for (index_t i = part.image; i < part.image + part.images && zero; ++i) {
      std::fill_n(slab.dx.row(i), slab.dx.cols, T{0});
    }
    each_meeting(part, [&](index_t window_line, index_t count, index_t first, index_t last) {
      const index_t rows = list_rows(part, first, last, memory);
      each_columns<T>(stretch_, [&](index_t k, index_t n) {
        const index_t before =
            k * layer_.window.height + lines_before(window_line) * panel_width(n);
        multiply_scattered<T>({.a = dz,
                               .a_at = memory.listed_row,
                               .rows = rows,
                               .begins = memory.line_above,
                               .stretches = count,
                               .length = out_.channels,
                               .step = 1,
                               .b = turned + before * out_.channels,
                               .b_stride = panel_width(n),
                               .start = nullptr,
                               .rectify = false,
                               .end = nullptr,
                               .c = dx + window_line * pixel_line_ + k,
                               .c_at = memory.listed_patch,
                               .cols = n});
      });
    });
    if (!copies_dx()) {
      return;
    }
    const index_t margin = layer_.window.padding * layer_.image.channels;
    const index_t length = layer_.image.width * layer_.image.channels;
    const index_t known = part.line > 0 ? layer_.window.height - layer_.window.stride : 0;
    each_copied_line(part, memory.dx, [&](index_t i, index_t l, index_t iy, const T* from) {
      if (iy < 0 || iy >= layer_.image.height) {
        return;
      }
      T* const to = slab.dx.row(i) + iy * length;
      if (assign && l >= known) {
        std::copy_n(from + margin, length, to);
      } else {
        add_line(from + margin, length, to);
      }
    });
  }

  static void add_line(const T* from, index_t n, T* to) {
    for (index_t k = 0; k < n; ++k) {
      to[k] += from[k];
    }
  }

  // Whether every line of the image is met by a line of the window.
  [[nodiscard]] bool covers_image() const {
    const image_window& window = layer_.window;
    return window.stride <= window.height &&
           pixel_lines(out_.height) >= layer_.image.height + window.padding;
  }

  // act(·) in place; the arguments are kept, if wanted.
  void activate(T* values, index_t n, T* argument) const {
    if (argument != nullptr) {
      std::copy_n(values, n, argument);
    }
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
  image_shape out_;     // before pooling
  image_shape result_;  // of y: pooled
  index_t depth_;       // K
  index_t width_;       // outputs, in whole registers
  index_t stretch_;     // elements of a line of the window
  index_t pixel_line_;  // elements of a line of the image, with its padding
  index_t lines_;       // of positions in a panel
};

}  // namespace vierbein::backend::detail
