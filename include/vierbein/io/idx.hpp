// IDX files, the format of MNIST and its relatives, plain or compressed by gzip (through zlib).
#pragma once

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/data/images.hpp"
#include "vierbein/io/atomic_file.hpp"

namespace vierbein::io {

/// Types of an IDX file's elements, by their code in the file.
enum class idx_type : std::uint8_t {
  u8 = 0x08,
  i8 = 0x09,
  i16 = 0x0B,
  i32 = 0x0C,
  f32 = 0x0D,
  f64 = 0x0E
};

/// The content of an IDX file. Elements are in the order of the file, the last extent running
/// fastest.
struct idx_array {
  idx_type type = idx_type::u8;
  std::vector<index_t> shape;
  std::vector<std::uint8_t> bytes;  ///< as in the file: the most significant byte first

  [[nodiscard]] index_t size() const {
    index_t total = 1;
    for (const index_t extent : shape) {
      total *= extent;
    }
    return total;
  }

  /// All elements as numbers of another type.
  template <class T>
  [[nodiscard]] std::vector<T> values() const {
    switch (type) {
      case idx_type::u8: return convert<std::uint8_t, std::uint8_t, T>();
      case idx_type::i8: return convert<std::int8_t, std::uint8_t, T>();
      case idx_type::i16: return convert<std::int16_t, std::uint16_t, T>();
      case idx_type::i32: return convert<std::int32_t, std::uint32_t, T>();
      case idx_type::f32: return convert<float, std::uint32_t, T>();
      case idx_type::f64: return convert<double, std::uint64_t, T>();
    }
    return {};
  }

 private:
  template <class From, class Bits, class T>
  [[nodiscard]] std::vector<T> convert() const {
    std::vector<T> result;
    result.reserve(bytes.size() / sizeof(Bits));
    for (std::size_t i = 0; i + sizeof(Bits) <= bytes.size(); i += sizeof(Bits)) {
      Bits bits = 0;
      for (std::size_t k = 0; k < sizeof(Bits); ++k) {
        bits = static_cast<Bits>((std::uint64_t{bits} << 8) | bytes[i + k]);
      }
      result.push_back(static_cast<T>(std::bit_cast<From>(bits)));
    }
    return result;
  }
};

namespace detail {

/// Bytes of a file, decompressed when it begins as gzip does.
class gzip_reader {
 public:
  explicit gzip_reader(const std::filesystem::path& path) : file_(file_name(path)) {
    std::error_code failure;
    if (std::filesystem::is_directory(path, failure)) {
      throw error(file_, "cannot be read: Is a directory");
    }
    errno = 0;
    stream_.reset(gzopen(file_.c_str(), "rb"));
    if (stream_ == nullptr) {
      throw error(file_, fmt::format("cannot be read: {}", reason(errno)));
    }
  }

  /// Reads up to `count` bytes, fewer only at the end of the file.
  std::size_t read(std::uint8_t* to, std::size_t count) {
    std::size_t done = 0;
    while (done < count) {
      const auto part = static_cast<unsigned>(std::min<std::size_t>(count - done, 1U << 20));
      const int got = gzread(stream_.get(), to + done, part);
      int code = Z_OK;
      const char* const problem = gzerror(stream_.get(), &code);
      if (got < 0 || (code != Z_OK && code != Z_BUF_ERROR)) {
        throw error(file_, fmt::format("expected a gzip file, found a damaged one ({})",
                                       code == Z_ERRNO ? reason(errno) : problem));
      }
      if (code == Z_BUF_ERROR) {
        throw error(file_, "expected a whole gzip file, it ends too early");
      }
      if (got == 0) {
        break;
      }
      done += static_cast<std::size_t>(got);
    }
    return done;
  }

 private:
  struct closer {
    void operator()(gzFile_s* file) const { gzclose_r(file); }
  };
  std::string file_;
  std::unique_ptr<gzFile_s, closer> stream_;
};

/// Bytes of an element, or 0 for a code that is not one of the format's.
inline std::size_t idx_width(std::uint8_t code) {
  switch (static_cast<idx_type>(code)) {
    case idx_type::u8:
    case idx_type::i8: return 1;
    case idx_type::i16: return 2;
    case idx_type::i32:
    case idx_type::f32: return 4;
    case idx_type::f64: return 8;
  }
  return 0;
}

}  // namespace detail

/// Reads an IDX file: two zero bytes, the code of the type, the rank, the extents (32 bits each,
/// most significant byte first), the elements.
///
/// Throws when the file is missing, is no IDX file, or is shorter or longer than its header says,
/// compressed or not.
[[nodiscard]] inline idx_array read_idx(const std::filesystem::path& path) {
  const std::string file = path.string();
  detail::gzip_reader reader(path);
  std::array<std::uint8_t, 4> start{};
  const std::size_t width =
      reader.read(start.data(), 4) == 4 ? detail::idx_width(start[2]) : std::size_t{0};
  if (start[0] != 0 || start[1] != 0 || width == 0 || start[3] == 0) {
    throw error(file, "expected an IDX file, plain or compressed by gzip, found another format");
  }
  idx_array array;
  array.type = static_cast<idx_type>(start[2]);
  std::uint64_t expected = width;
  constexpr std::uint64_t most = std::uint64_t{1} << 48;
  for (std::uint8_t d = 0; d < start[3]; ++d) {
    std::array<std::uint8_t, 4> word{};
    if (reader.read(word.data(), 4) != 4) {
      throw error(file, fmt::format("expected {} extents in the header, the file ends after {}",
                                    start[3], d));
    }
    std::uint64_t extent = 0;
    for (const std::uint8_t byte : word) {
      extent = (extent << 8) | byte;
    }
    array.shape.push_back(static_cast<index_t>(extent));
    if (extent > 0 && expected > most / extent) {
      throw error(file, fmt::format("its header asks for an array of {} elements, expected at most "
                                    "2^48 bytes",
                                    fmt::join(array.shape, " x ")));
    }
    expected *= extent;
  }
  // The header may ask for more than there is: memory grows with what is read.
  constexpr std::uint64_t step = std::uint64_t{1} << 24;
  while (array.bytes.size() < expected) {
    const std::size_t before = array.bytes.size();
    const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(expected - before, step));
    array.bytes.resize(before + wanted);
    const std::size_t got = reader.read(array.bytes.data() + before, wanted);
    if (got < wanted) {
      throw error(file, fmt::format("expected {} bytes for an array of {} elements, found {}",
                                    expected, fmt::join(array.shape, " x "), before + got));
    }
  }
  if (std::uint8_t more = 0; reader.read(&more, 1) != 0) {
    throw error(file, fmt::format("expected {} bytes for an array of {} elements, found more",
                                  expected, fmt::join(array.shape, " x ")));
  }
  return array;
}

/// Reads images, N x H x W or N x C x H x W, at least one. Unsigned bytes are kept as bytes and
/// stand for b / 255 (data/images.hpp); all other elements are taken as they are.
[[nodiscard]] inline data::image_set read_idx_images(const std::filesystem::path& path) {
  const idx_array array = read_idx(path);
  const std::string file = path.string();
  const std::size_t rank = array.shape.size();
  if (rank != 3 && rank != 4) {
    throw error(file, fmt::format("expected images, an array of rank 3 or 4, found rank {}", rank));
  }
  const image_shape shape{rank == 4 ? array.shape[1] : 1, array.shape[rank - 2],
                          array.shape[rank - 1]};
  try {
    if (array.type == idx_type::u8) {
      return {shape, array.bytes};
    }
    return {shape, array.values<float>()};
  } catch (const error& problem) {
    throw error(file, problem.what());
  }
}

/// Reads labels, an array of rank 1, as numbers.
[[nodiscard]] inline std::vector<double> read_idx_labels(const std::filesystem::path& path) {
  const idx_array array = read_idx(path);
  if (array.shape.size() != 1) {
    throw error(path.string(), fmt::format("expected labels, an array of rank 1, found rank {}",
                                           array.shape.size()));
  }
  return array.values<double>();
}

}  // namespace vierbein::io
