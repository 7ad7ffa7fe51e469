// Small pictures of three classes in IDX files.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace example_test {

inline std::string idx(std::uint8_t type, const std::vector<std::uint32_t>& shape,
                       std::string data) {
  std::string file{'\0', '\0', static_cast<char>(type), static_cast<char>(shape.size())};
  for (const std::uint32_t extent : shape) {
    for (const int shift : {24, 16, 8, 0}) {
      file += static_cast<char>((extent >> shift) & 0xFFU);
    }
  }
  return file + std::move(data);
}

inline constexpr std::uint32_t side = 12;

// Pictures of `side` x `side` pixels of three classes, told apart by which third is bright.
inline std::string small_pictures(std::uint32_t count) {
  std::string data;
  for (std::uint32_t i = 0; i < count; ++i) {
    for (std::uint32_t p = 0; p < side * side; ++p) {
      const bool bright = p / side / 4 == i % 3;
      data += static_cast<char>(bright ? 150 + (7 * i + p) % 100 : (3 * i + p) % 40);
    }
  }
  return idx(8, {count, side, side}, std::move(data));
}

inline std::string small_labels(std::uint32_t count) {
  std::string data;
  for (std::uint32_t i = 0; i < count; ++i) {
    data += static_cast<char>(i % 3);
  }
  return idx(8, {count}, std::move(data));
}

}  // namespace example_test
