// Two pictures of clothes in one, made from an IDX pair.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "vierbein/core/random.hpp"
#include "vierbein/data/dataset.hpp"
#include "vierbein/data/images.hpp"
#include "vierbein/io/idx.hpp"

namespace multi_fashion {

namespace vb = vierbein;

/// How far the second picture is to the right and down.
inline constexpr vb::index_t offset = 8;

/// Single pictures with their classes.
struct source_pictures {
  vb::image_shape shape;            // one channel
  std::vector<std::uint8_t> bytes;  // picture after picture
  std::vector<double> classes;
  vb::index_t class_count = 0;

  [[nodiscard]] vb::index_t size() const { return static_cast<vb::index_t>(classes.size()); }
};

using dataset = vb::data::dataset<vb::data::image_set>;

/// Overlaid pictures with the classes `left` and `right`, for training, for choosing parameters by,
/// and to be predicted.
struct parts {
  dataset train, dev, test;
};

/// How many overlaid pictures are made.
struct picture_counts {
  long train = 0;
  long dev = 0;
  long test = 0;
};

namespace detail {

// `count` of the pool's source pictures, each as often as any other but for a remainder.
inline std::vector<vb::index_t> draw(std::span<const vb::index_t> pool, long count,
                                     const vb::random_stream& stream) {
  std::vector<vb::index_t> drawn;
  for (std::uint64_t round = 0; std::ssize(drawn) < count; ++round) {
    const auto order = vb::random_permutation(std::ssize(pool), stream.fork(round));
    for (std::size_t i = 0; i < order.size() && std::ssize(drawn) < count; ++i) {
      drawn.push_back(pool[static_cast<std::size_t>(order[i])]);
    }
  }
  return drawn;
}

inline dataset overlay_part(const source_pictures& sources, std::span<const vb::index_t> pool,
                            long count, const vb::random_stream& stream) {
  const auto left = draw(pool, count, stream.fork(1));
  const auto right = draw(pool, count, stream.fork(2));
  const vb::image_shape whole{1, sources.shape.height + offset, sources.shape.width + offset};
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(count * whole.pixels()), 0);
  std::vector<double> left_class;
  std::vector<double> right_class;
  for (std::size_t i = 0; i < left.size(); ++i) {
    std::uint8_t* const to = bytes.data() + static_cast<vb::index_t>(i) * whole.pixels();
    const auto put = [&](vb::index_t source, vb::index_t shift) {
      const std::uint8_t* from = sources.bytes.data() + source * sources.shape.pixels();
      for (vb::index_t y = 0; y < sources.shape.height; ++y) {
        for (vb::index_t x = 0; x < sources.shape.width; ++x, ++from) {
          std::uint8_t& pixel = to[(y + shift) * whole.width + x + shift];
          pixel = std::max(pixel, *from);
        }
      }
    };
    put(left[i], 0);
    put(right[i], offset);
    left_class.push_back(sources.classes[static_cast<std::size_t>(left[i])]);
    right_class.push_back(sources.classes[static_cast<std::size_t>(right[i])]);
  }
  dataset data{vb::data::image_set(whole, bytes)};
  data.add("left", left_class);
  data.add("right", right_class);
  return data;
}

}  // namespace detail

/// Reads the pair. Throws unless the images are bytes, N x H x W, and each has a class number.
inline source_pictures read_sources(const std::filesystem::path& images,
                                    const std::filesystem::path& labels) {
  auto array = vb::io::read_idx(images);
  if (array.type != vb::io::idx_type::u8 || array.shape.size() != 3 || array.size() == 0) {
    throw vb::error(images.string(),
                    fmt::format("expected pictures of bytes, N x H x W, found an array of {}{}",
                                fmt::join(array.shape, " x "),
                                array.type == vb::io::idx_type::u8 ? "" : " of another type"));
  }
  source_pictures sources;
  sources.shape = {1, array.shape[1], array.shape[2]};
  vb::require_image(images.string().c_str(), sources.shape);
  sources.bytes = std::move(array.bytes);
  sources.classes = vb::io::read_idx_labels(labels);
  const vb::index_t count = array.shape[0];
  if (sources.size() != count) {
    throw vb::error(labels.string(), fmt::format("expected {} labels, one for each picture of {}, "
                                                 "found {}",
                                                 count, images.string(), sources.size()));
  }
  constexpr double most = 1000;
  for (std::size_t i = 0; i < sources.classes.size(); ++i) {
    const double c = sources.classes[i];
    if (!(c >= 0 && c < most && c == std::floor(c))) {
      throw vb::error(fmt::format("{}, label {} (counted from 0)", labels.string(), i),
                      fmt::format("expected a class number from 0 to {}, found {}", most - 1, c));
    }
    sources.class_count = std::max(sources.class_count, static_cast<vb::index_t>(c) + 1);
  }
  if (sources.class_count < 2) {
    throw vb::error(labels.string(), "expected at least two classes, all labels are 0");
  }
  return sources;
}

/// A picture at the upper left and one 8 pixels further right and down, the brighter pixel of both
/// where they overlap. Which two is drawn by the seed. The source pictures are dealt out to the
/// three parts first, in proportion to their sizes, so no part has a source picture of another;
/// within a part a source picture is at the left as often as any other (but for a remainder), and
/// so at the right. Throws when there are too few source pictures,
/// which are those of `file`, for three parts.
inline parts overlay(const source_pictures& sources, const picture_counts& s,
                     const std::filesystem::path& file, long seed) {
  const vb::random_stream stream{static_cast<std::uint64_t>(seed), vb::name_hash("pictures")};
  const auto order = vb::random_permutation(sources.size(), stream.fork(0));
  const auto n = static_cast<double>(sources.size());
  const auto all = static_cast<double>(s.train + s.dev + s.test);
  const auto first_dev = static_cast<std::size_t>(n * static_cast<double>(s.train) / all);
  const auto first_test = static_cast<std::size_t>(n * static_cast<double>(s.train + s.dev) / all);
  const auto pool = std::span(order);
  if (first_dev == 0 || first_test <= first_dev || first_test >= order.size()) {
    throw vb::error(file.string(),
                    fmt::format("{} pictures are too few to be dealt out to parts of {}, {} and {}",
                                sources.size(), s.train, s.dev, s.test));
  }
  const auto part = [&](std::size_t first, std::size_t last, long count, std::uint64_t which) {
    return detail::overlay_part(sources, pool.subspan(first, last - first), count,
                                stream.fork(which));
  };
  return {part(0, first_dev, s.train, 1), part(first_dev, first_test, s.dev, 2),
          part(first_test, order.size(), s.test, 3)};
}

}  // namespace multi_fashion
