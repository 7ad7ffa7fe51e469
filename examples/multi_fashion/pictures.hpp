// Two pictures of clothes in one, made from an IDX pair.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "settings.hpp"
#include "vierbein/data/dataset.hpp"
#include "vierbein/data/images.hpp"

namespace multi_fashion {

namespace vb = vierbein;

/// Single pictures with their classes.
struct source_pictures {
  vb::image_shape shape;            // one channel
  std::vector<std::uint8_t> bytes;  // picture after picture
  std::vector<double> classes;
  vb::index_t class_count = 0;

  [[nodiscard]] vb::index_t size() const { return static_cast<vb::index_t>(classes.size()); }
};

/// Reads the pair. Throws unless the images are bytes, N x H x W, and each has a class number.
source_pictures read_sources(const std::filesystem::path& images,
                             const std::filesystem::path& labels);

using dataset = vb::data::dataset<vb::data::image_set>;

/// Overlaid pictures with the classes `left` and `right`, for training, for choosing parameters by,
/// and to be predicted.
struct parts {
  dataset train, dev, test;
};

/// A picture at the upper left and one 8 pixels further right and down, the brighter pixel of both
/// where they overlap. Which two is drawn by the seed. The source pictures are dealt out to the
/// three parts first, in proportion to their sizes, so no part has a source picture of another;
/// within a part a source picture is at the left as often as any other (but for a remainder), and
/// so at the right. Throws when there are too few source pictures for three parts.
parts overlay(const source_pictures& sources, const settings& s, long seed);

inline constexpr vb::index_t offset = 8;

}  // namespace multi_fashion
