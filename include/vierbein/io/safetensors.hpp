// The safetensors file format: named tensors behind a JSON header.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/core/types.hpp"
#include "vierbein/io/atomic_file.hpp"

namespace vierbein::io {

static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian");

/// The types of elements that are read and written.
enum class tensor_type { f32, f64, i64 };

/// A type's name in the file, such as "F32".
[[nodiscard]] constexpr std::string_view name_of(tensor_type type) {
  switch (type) {
    case tensor_type::f32: return "F32";
    case tensor_type::f64: return "F64";
    case tensor_type::i64: return "I64";
  }
  return "?";
}

/// The size of an element in bytes.
[[nodiscard]] constexpr index_t size_of(tensor_type type) {
  return type == tensor_type::f32 ? 4 : 8;
}

/// What an element of a tensor can be.
template <class T>
concept TensorElement =
    std::same_as<T, float> || std::same_as<T, double> || std::same_as<T, std::int64_t>;

/// The type of T's elements.
template <TensorElement T>
inline constexpr tensor_type type_of = std::same_as<T, float>    ? tensor_type::f32
                                       : std::same_as<T, double> ? tensor_type::f64
                                                                 : tensor_type::i64;

/// One named tensor, its elements in C order. A shape of rank 0 is a single element.
struct tensor_record {
  std::string name;
  tensor_type type = tensor_type::f32;
  std::vector<index_t> shape;
  std::vector<std::byte> data;

  /// A copy of the elements. F32 and F64 convert into one another; any other difference between T
  /// and `type` is an error.
  template <TensorElement T>
  [[nodiscard]] std::vector<T> values() const {
    constexpr bool integral = std::same_as<T, std::int64_t>;
    require(integral == (type == tensor_type::i64), "safetensors",
            "tensor '{}' holds {}, expected {}", name, name_of(type), name_of(type_of<T>));
    if (type == type_of<T>) {
      return copy_as<T, T>();
    }
    if constexpr (integral) {
      return {};
    } else {
      return type == tensor_type::f32 ? copy_as<float, T>() : copy_as<double, T>();
    }
  }

  bool operator==(const tensor_record&) const = default;

 private:
  template <class Stored, class T>
  [[nodiscard]] std::vector<T> copy_as() const {
    std::vector<Stored> stored(data.size() / sizeof(Stored));
    if (!stored.empty()) {
      std::memcpy(stored.data(), data.data(), stored.size() * sizeof(Stored));
    }
    if constexpr (std::same_as<Stored, T>) {
      return stored;
    } else {
      std::vector<T> values(stored.size());
      std::transform(stored.begin(), stored.end(), values.begin(),
                     [](Stored x) { return static_cast<T>(x); });
      return values;
    }
  }
};

/// A tensor with a copy of `values`.
template <TensorElement T>
tensor_record make_tensor(std::string name, std::vector<index_t> shape, std::span<const T> values) {
  const auto bytes = std::as_bytes(values);
  return {std::move(name), type_of<T>, std::move(shape), {bytes.begin(), bytes.end()}};
}

/// The content of a safetensors file.
struct tensor_file {
  std::map<std::string, std::string> metadata;
  std::vector<tensor_record> tensors;

  /// The tensor of that name, or null.
  [[nodiscard]] const tensor_record* find(std::string_view name) const {
    const auto it = std::find_if(tensors.begin(), tensors.end(),
                                 [&](const tensor_record& t) { return t.name == name; });
    return it == tensors.end() ? nullptr : &*it;
  }

  bool operator==(const tensor_file&) const = default;
};

namespace detail {

/// The largest header that the format allows.
inline constexpr std::uint64_t largest_safetensors_header = 100'000'000;

inline constexpr std::string_view metadata_key = "__metadata__";

/// Number of bytes of a tensor, or nothing when it does not fit an index_t or an extent is
/// negative.
inline std::optional<index_t> byte_size(tensor_type type, std::span<const index_t> shape) {
  constexpr index_t most = std::numeric_limits<index_t>::max();
  if (std::any_of(shape.begin(), shape.end(), [](index_t extent) { return extent < 0; })) {
    return std::nullopt;
  }
  if (std::find(shape.begin(), shape.end(), index_t{0}) != shape.end()) {
    return 0;
  }
  index_t bytes = size_of(type);
  for (const index_t extent : shape) {
    if (bytes > most / extent) {
      return std::nullopt;
    }
    bytes *= extent;
  }
  return bytes;
}

/// A text of the header as an error message shows it: quoted, on one line, not too long.
inline std::string quoted(const std::string& text) {
  constexpr std::size_t longest = 80;
  return nlohmann::json(text.substr(0, longest))
      .dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

/// Parses the header's JSON. A key that stands twice in one object is an error.
inline nlohmann::json parse_header(const std::string& file, std::string_view text) {
  using nlohmann::json;
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  const auto check_keys = [&](int, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::object_start) {
      keys.emplace_back();
    } else if (event == json::parse_event_t::object_end) {
      keys.pop_back();
    } else if (event == json::parse_event_t::key &&
               !keys.back().insert(parsed.get<std::string>()).second) {
      throw error(file, fmt::format("the header has the key {} twice",
                                    quoted(parsed.get_ref<const std::string&>())));
    }
    return true;
  };
  try {
    return json::parse(text, check_keys);
  } catch (const json::exception&) {
    throw error(file, "the header is not valid JSON");
  }
}

/// The integers of a JSON array; nothing when `list` is anything else.
inline std::optional<std::vector<index_t>> index_list(const nlohmann::json& list) {
  if (!list.is_array()) {
    return std::nullopt;
  }
  std::vector<index_t> indices;
  for (const auto& entry : list) {
    if (!entry.is_number_unsigned() ||
        entry.get<std::uint64_t>() > std::uint64_t{std::numeric_limits<index_t>::max()}) {
      return std::nullopt;
    }
    indices.push_back(static_cast<index_t>(entry.get<std::uint64_t>()));
  }
  return indices;
}

/// A tensor without its data, and where the data lies behind the header.
struct tensor_entry {
  tensor_record record;
  index_t begin = 0;
  index_t end = 0;
};

inline tensor_entry parse_entry(const std::string& file, const std::string& name,
                                const nlohmann::json& entry) {
  const auto refuse = [&](const std::string& problem) -> error {
    return {file, fmt::format("tensor {} {}", quoted(name), problem)};
  };
  const auto member = [&](const char* key) -> const nlohmann::json& {
    if (!entry.is_object() || !entry.contains(key)) {
      throw refuse(fmt::format("has no '{}'", key));
    }
    return entry.at(key);
  };
  tensor_entry result;
  result.record.name = name;
  const auto& type = member("dtype");
  bool known = false;
  for (const tensor_type candidate : {tensor_type::f32, tensor_type::f64, tensor_type::i64}) {
    if (type.is_string() && type.get_ref<const std::string&>() == name_of(candidate)) {
      result.record.type = candidate;
      known = true;
    }
  }
  if (!known) {
    throw refuse(fmt::format("has elements of type {}, expected F32, F64 or I64",
                             type.is_string() ? quoted(type.get_ref<const std::string&>())
                                              : std::string("(not a text)")));
  }
  auto shape = index_list(member("shape"));
  const auto offsets = index_list(member("data_offsets"));
  if (!shape || !offsets || offsets->size() != 2) {
    throw refuse("has a 'shape' or 'data_offsets' that is not a list of sizes");
  }
  result.begin = (*offsets)[0];
  result.end = (*offsets)[1];
  const std::optional<index_t> bytes = byte_size(result.record.type, *shape);
  if (result.begin > result.end || !bytes || *bytes != result.end - result.begin) {
    throw refuse(fmt::format("of shape [{}] and type {} does not fit the bytes {} to {}",
                             fmt::join(*shape, ", "), name_of(result.record.type), result.begin,
                             result.end));
  }
  result.record.shape = std::move(*shape);
  return result;
}

}  // namespace detail

/// Writes a safetensors file; see write_atomically. Tensors of 8-byte elements come first in the
/// file, in the order given otherwise, so that every tensor is aligned.
///
/// Throws when two tensors have the same name, one is called `__metadata__`, a shape does not fit
/// the data, or a text is not UTF-8.
inline void write_safetensors(const std::filesystem::path& path, const tensor_file& file) {
  std::vector<const tensor_record*> order;
  for (const index_t size : {8, 4}) {
    for (const tensor_record& tensor : file.tensors) {
      if (size_of(tensor.type) == size) {
        order.push_back(&tensor);
      }
    }
  }

  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!file.metadata.empty()) {
    header[std::string(detail::metadata_key)] = file.metadata;
  }
  std::set<std::string_view> names;
  index_t offset = 0;
  for (const tensor_record* tensor : order) {
    if (tensor->name == detail::metadata_key || !names.insert(tensor->name).second) {
      throw error(path.string(),
                  fmt::format("the name '{}' of a tensor is taken already", tensor->name));
    }
    const auto size = static_cast<index_t>(tensor->data.size());
    if (detail::byte_size(tensor->type, tensor->shape) != size) {
      throw error(
          path.string(),
          fmt::format("tensor '{}' of shape [{}] and type {} does not fit its {} bytes",
                      tensor->name, fmt::join(tensor->shape, ", "), name_of(tensor->type), size));
    }
    header[tensor->name] = {{"dtype", name_of(tensor->type)},
                            {"shape", tensor->shape},
                            {"data_offsets", {offset, offset + size}}};
    offset += size;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception&) {
    throw error(path.string(), "a name or a piece of metadata is not valid UTF-8");
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  if (text.size() > detail::largest_safetensors_header) {
    throw error(path.string(), fmt::format("the header would have {} bytes, the format allows {}",
                                           text.size(), detail::largest_safetensors_header));
  }
  const auto header_size = static_cast<std::uint64_t>(text.size());
  write_atomically(path, [&](std::ostream& out) {
    out.write(reinterpret_cast<const char*>(&header_size), sizeof(header_size));
    out.write(text.data(), static_cast<std::streamsize>(text.size()));
    for (const tensor_record* tensor : order) {
      out.write(reinterpret_cast<const char*>(tensor->data.data()),
                static_cast<std::streamsize>(tensor->data.size()));
    }
  });
}

/// Reads a safetensors file; its tensors are in the order of their data in the file.
///
/// Throws when the file is missing or truncated, the header is longer than the file or 100 MB or is
/// not the JSON that the format asks for, a type is not F32, F64 or I64, a tensor's bytes do not
/// fit its shape, or the tensors do not fill the data from its beginning to its end without gap and
/// overlap. Memory is asked for only after these checks.
inline tensor_file read_safetensors(const std::filesystem::path& path) {
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

  std::uint64_t header_size = 0;
  stream.read(reinterpret_cast<char*>(&header_size), sizeof(header_size));
  if (!stream || file_size < sizeof(header_size)) {
    throw error(file, "expected a safetensors file, found fewer than 8 bytes");
  }
  if (header_size > detail::largest_safetensors_header ||
      header_size > file_size - sizeof(header_size)) {
    throw error(file, fmt::format("a header of {} bytes does not fit a file of {} bytes; it is "
                                  "truncated or not a safetensors file",
                                  header_size, file_size));
  }
  std::string text(header_size, ' ');
  stream.read(text.data(), static_cast<std::streamsize>(header_size));
  if (!stream) {
    throw error(file, "cannot be read to its end");
  }
  if (!text.starts_with('{')) {
    throw error(file, "the header is not a JSON object");
  }
  const nlohmann::json header = detail::parse_header(file, text);

  tensor_file content;
  std::vector<detail::tensor_entry> entries;
  for (const auto& [name, value] : header.items()) {
    if (name != detail::metadata_key) {
      entries.push_back(detail::parse_entry(file, name, value));
      continue;
    }
    if (!value.is_object()) {
      throw error(file, "'__metadata__' in the header is not a JSON object");
    }
    for (const auto& [key, entry] : value.items()) {
      if (!entry.is_string()) {
        throw error(file, "'__metadata__' in the header holds something else than texts");
      }
      content.metadata.emplace(key, entry.get<std::string>());
    }
  }
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
    return std::tie(a.begin, a.end, a.record.name) < std::tie(b.begin, b.end, b.record.name);
  });
  index_t offset = 0;
  for (const detail::tensor_entry& entry : entries) {
    if (entry.begin != offset) {
      throw error(file, fmt::format("the data of a tensor begins at byte {}, expected {}",
                                    entry.begin, offset));
    }
    offset = entry.end;
  }
  const std::uintmax_t data_size = file_size - sizeof(header_size) - header_size;
  if (static_cast<std::uintmax_t>(offset) != data_size) {
    throw error(file, fmt::format("the tensors take {} bytes but the file holds {} bytes of data",
                                  offset, data_size));
  }

  for (detail::tensor_entry& entry : entries) {
    entry.record.data.resize(static_cast<std::size_t>(entry.end - entry.begin));
    stream.read(reinterpret_cast<char*>(entry.record.data.data()),
                static_cast<std::streamsize>(entry.record.data.size()));
    if (!stream) {
      throw error(file, "cannot be read to its end");
    }
    content.tensors.push_back(std::move(entry.record));
  }
  return content;
}

}  // namespace vierbein::io
