// What all results in a folder have in common, in a file beside them.
#pragma once

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/core/random.hpp"

namespace examples {

inline std::string content(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

/// Settings as text, one a line.
class settings_text {
 public:
  template <class Value>
  void add(const char* name, const Value& value) {
    text_ += fmt::format("{}: {}\n", name, value);
  }
  /// A file by its size and a hash of its content.
  void add_file(const char* name, const std::filesystem::path& file) {
    const std::string data = content(file);
    add(name, fmt::format("{} bytes, FNV-1a {:016x}", data.size(), vierbein::name_hash(data)));
  }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_;
};

/// Throws unless `settings_file` holds the settings `present`, so that the results in
/// `results_file`, which were made with it, can be gone on with.
inline void require_same_settings(const std::filesystem::path& settings_file,
                                  const std::filesystem::path& results_file,
                                  const std::string& present) {
  const auto lines_of = [](const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) {
      lines.push_back(line);
    }
    return lines;
  };
  const auto before = lines_of(content(settings_file));
  const auto now = lines_of(present);
  vierbein::require(!before.empty(), settings_file.string().c_str(),
                    "is missing or empty, so {} cannot be resumed", results_file.string());
  for (std::size_t i = 0; i < now.size(); ++i) {
    const std::string old = i < before.size() ? before[i] : "nothing";
    vierbein::require(old == now[i], settings_file.string().c_str(),
                      "the results there cannot be resumed with '{}': they were made with '{}'",
                      now[i], old);
  }
}

}  // namespace examples
