// NumPy's file format for arrays (through xtensor).
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>
#include <xtensor/xnpy.hpp>
#include <xtensor/xtensor.hpp>

#include "vierbein/core/matrix.hpp"
#include "vierbein/io/atomic_file.hpp"
#include "vierbein/io/xtensor.hpp"

namespace vierbein::io {

namespace detail {

/// What the header of an npy file says.
struct npy_header {
  std::string type;  ///< such as "<f8"
  bool fortran_order = false;
  std::vector<std::uint64_t> shape;
};

/// The text of `key`'s value in a Python dictionary literal without nested dictionaries, up to the
/// end of the literal.
inline std::string_view npy_value(std::string_view dictionary, std::string_view key) {
  const std::string quoted = fmt::format("'{}'", key);
  const std::size_t found = dictionary.find(quoted);
  if (found == std::string_view::npos) {
    return {};
  }
  std::string_view rest = dictionary.substr(found + quoted.size());
  rest.remove_prefix(std::min(rest.find_first_not_of(" :"), rest.size()));
  return rest;
}

/// Parses the dictionary literal; nothing when it is not one as NumPy writes it.
inline std::optional<npy_header> parse_npy_header(std::string_view text) {
  npy_header header;
  const std::string_view type = npy_value(text, "descr");
  const std::string_view order = npy_value(text, "fortran_order");
  std::string_view shape = npy_value(text, "shape");
  if (!type.starts_with('\'') || !shape.starts_with('(') ||
      !(order.starts_with("True") || order.starts_with("False"))) {
    return std::nullopt;
  }
  header.type = type.substr(1, type.substr(1).find('\''));
  header.fortran_order = order.starts_with("True");
  const std::size_t close = shape.find(')');
  if (close == std::string_view::npos) {
    return std::nullopt;
  }
  shape = shape.substr(1, close - 1);
  while (true) {
    shape.remove_prefix(std::min(shape.find_first_not_of(' '), shape.size()));
    if (shape.empty()) {
      return header;
    }
    std::uint64_t extent = 0;
    const auto [end, code] = std::from_chars(shape.data(), shape.data() + shape.size(), extent);
    if (code != std::errc()) {
      return std::nullopt;
    }
    header.shape.push_back(extent);
    shape.remove_prefix(static_cast<std::size_t>(end - shape.data()));
    shape.remove_prefix(std::min(shape.find_first_not_of(' '), shape.size()));
    if (shape.starts_with(',')) {
      shape.remove_prefix(1);
    } else if (!shape.empty()) {
      return std::nullopt;
    }
  }
}

/// The array in `stream`, whose elements are of type T, as a matrix.
template <class T>
matrix<double> load_npy_as(std::istream& stream) {
  return to_matrix(xt::load_npy<T>(stream));
}

/// A reader for NumPy's name of a type, or null when there is none.
inline matrix<double> (*npy_reader(std::string_view type))(std::istream&) {
  if (type == "<f8")
    return load_npy_as<double>;
  if (type == "<f4")
    return load_npy_as<float>;
  if (type == "<i8")
    return load_npy_as<std::int64_t>;
  if (type == "<i4")
    return load_npy_as<std::int32_t>;
  if (type == "<i2")
    return load_npy_as<std::int16_t>;
  if (type == "|i1")
    return load_npy_as<std::int8_t>;
  if (type == "<u8")
    return load_npy_as<std::uint64_t>;
  if (type == "<u4")
    return load_npy_as<std::uint32_t>;
  if (type == "<u2")
    return load_npy_as<std::uint16_t>;
  if (type == "|u1")
    return load_npy_as<std::uint8_t>;
  return nullptr;
}

template <Scalar T>
void write_npy_of(const std::filesystem::path& path, matrix_view<const T> values) {
  xt::xtensor<T, 2> array(std::array<std::size_t, 2>{static_cast<std::size_t>(values.rows),
                                                     static_cast<std::size_t>(values.cols)});
  for (index_t r = 0; r < values.rows; ++r) {
    std::copy_n(values.row(r), values.cols, array.data() + r * values.cols);
  }
  const std::string bytes = xt::dump_npy(array);
  write_atomically(path, [&](std::ostream& out) {
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  });
}

}  // namespace detail

/// Reads an array of rank 2, or of rank 1 as a single column, in C or Fortran order. Elements are
/// little-endian float64, float32 or integers of any width; integers beyond 2^53 are rounded.
///
/// Throws when the file is missing, truncated or longer than its header says, is not an npy file,
/// or holds another rank or type.
inline matrix<double> read_npy(const std::filesystem::path& path) {
  const std::string file = detail::file_name(path);
  std::error_code failure;
  if (std::filesystem::is_directory(path, failure)) {
    throw error(file, "cannot be read: Is a directory");
  }
  errno = 0;
  std::ifstream stream(path, std::ios::binary);
  if (!stream) {
    throw error(file, fmt::format("cannot be read: {}", detail::reason(errno)));
  }
  const std::uintmax_t file_size = std::filesystem::file_size(path, failure);
  if (failure) {
    throw error(file, fmt::format("cannot be read: {}", failure.message()));
  }

  // magic (6 bytes), version (2), length of the header (2, or 4 from version 2 on), header, data
  unsigned char start[12] = {};
  stream.read(reinterpret_cast<char*>(start), 10);
  constexpr std::string_view magic = "\x93NUMPY";
  if (!stream || std::string_view(reinterpret_cast<const char*>(start), magic.size()) != magic ||
      start[6] < 1 || start[6] > 3) {
    throw error(file, "expected an npy file of version 1, 2 or 3, found another format");
  }
  std::uint64_t header_begin = 10;
  std::uint64_t header_size = start[8] + (std::uint64_t{start[9]} << 8);
  if (start[6] > 1) {
    stream.read(reinterpret_cast<char*>(start + 10), 2);
    header_begin = 12;
    header_size += (std::uint64_t{start[10]} << 16) + (std::uint64_t{start[11]} << 24);
  }
  if (!stream || header_size > file_size - header_begin) {
    throw error(file, "the file ends within its header");
  }
  std::string text(header_size, ' ');
  stream.read(text.data(), static_cast<std::streamsize>(header_size));
  const std::optional<detail::npy_header> header = detail::parse_npy_header(text);
  if (!stream || !header) {
    throw error(file, "the header is not one of an npy file");
  }
  const auto read = detail::npy_reader(header->type);
  if (read == nullptr) {
    throw error(file, fmt::format("expected elements of type float or integer in little-endian "
                                  "order, found '{}'",
                                  header->type.substr(0, 20)));
  }
  if (header->shape.empty() || header->shape.size() > 2) {
    throw error(
        file, fmt::format("expected an array of rank 1 or 2, found rank {}", header->shape.size()));
  }
  const std::uint64_t data_size = file_size - header_begin - header_size;
  const auto width = static_cast<std::uint64_t>(header->type[2] - '0');
  const std::uint64_t rows = header->shape[0];
  const std::uint64_t cols = header->shape.size() == 2 ? header->shape[1] : 1;
  constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<index_t>::max());
  const bool countable = rows <= most && cols <= most && (cols == 0 || rows <= most / width / cols);
  if (!countable || rows * cols * width != data_size) {
    throw error(file, fmt::format("an array of {} x {} elements of {} bytes does not fit the {} "
                                  "bytes of data in the file",
                                  rows, cols, width, data_size));
  }

  // xtensor reads only headers of version 1 with fewer than 128 bytes: hand it one.
  text = fmt::format(
      "{{'descr': '{}', 'fortran_order': {}, 'shape': ({}), }}", header->type,
      header->fortran_order ? "True" : "False",
      header->shape.size() == 2 ? fmt::format("{}, {}", rows, cols) : fmt::format("{},", rows));
  text.resize(117, ' ');
  std::string bytes =
      fmt::format("{}{}{}{}", magic, std::string("\x01\x00\x76\x00", 4), text, '\n');
  const std::size_t data_begin = bytes.size();
  bytes.resize(data_begin + data_size);
  stream.read(bytes.data() + data_begin, static_cast<std::streamsize>(data_size));
  if (!stream) {
    throw error(file, "cannot be read to its end");
  }
  std::istringstream memory(std::move(bytes), std::ios::binary);
  try {
    return read(memory);
  } catch (const std::runtime_error& problem) {
    throw error(file, problem.what());
  }
}

/// Writes a matrix as an array of rank 2 in C order, float64 or float32; see write_atomically.
inline void write_npy(const std::filesystem::path& path, matrix_view<const double> values) {
  detail::write_npy_of(path, values);
}
inline void write_npy(const std::filesystem::path& path, matrix_view<const float> values) {
  detail::write_npy_of(path, values);
}

}  // namespace vierbein::io
