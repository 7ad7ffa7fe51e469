#include "pictures.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "vierbein/core/random.hpp"
#include "vierbein/io/idx.hpp"

namespace multi_fashion {

namespace {

// `count` of the pool's source pictures, each as often as any other but for a remainder.
std::vector<vb::index_t> draw(std::span<const vb::index_t> pool, long count,
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

dataset overlay_part(const source_pictures& sources, std::span<const vb::index_t> pool, long count,
                     const vb::random_stream& stream) {
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

}  // namespace

source_pictures read_sources(const std::filesystem::path& images,
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

parts overlay(const source_pictures& sources, const settings& s, long seed) {
  const vb::random_stream stream{static_cast<std::uint64_t>(seed), vb::name_hash("pictures")};
  const auto order = vb::random_permutation(sources.size(), stream.fork(0));
  const auto n = static_cast<double>(sources.size());
  const auto all = static_cast<double>(s.train + s.dev + s.test);
  const auto first_dev = static_cast<std::size_t>(n * static_cast<double>(s.train) / all);
  const auto first_test = static_cast<std::size_t>(n * static_cast<double>(s.train + s.dev) / all);
  const auto pool = std::span(order);
  if (first_dev == 0 || first_test <= first_dev || first_test >= order.size()) {
    throw vb::error(s.images.string(),
                    fmt::format("{} pictures are too few to be dealt out to parts of {}, {} and {}",
                                sources.size(), s.train, s.dev, s.test));
  }
  const auto part = [&](std::size_t first, std::size_t last, long count, std::uint64_t which) {
    return overlay_part(sources, pool.subspan(first, last - first), count, stream.fork(which));
  };
  return {part(0, first_dev, s.train, 1), part(first_dev, first_test, s.dev, 2),
          part(first_test, order.size(), s.test, 3)};
}

}  // namespace multi_fashion
