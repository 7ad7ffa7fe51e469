// Tables of text.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace examples {

/// A table of texts in UTF-8 whose columns are as wide as they need to be.
class text_table {
 public:
  /// The first `left` columns are aligned to the left, the others to the right.
  explicit text_table(std::size_t left) : left_(left) {}

  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  void add_blank() { rows_.emplace_back(); }

  void print() {
    std::vector<std::size_t> deviations;  // width of what stands behind a ±
    std::vector<std::size_t> widths;
    for (auto& row : rows_) {
      deviations.resize(std::max(deviations.size(), row.size()));
      for (std::size_t c = 0; c < row.size(); ++c) {
        deviations[c] = std::max(deviations[c], row[c].size() - begin_of_deviation(row[c]));
      }
    }
    widths.resize(deviations.size());
    for (auto& row : rows_) {
      for (std::size_t c = 0; c < row.size(); ++c) {
        const std::size_t at = begin_of_deviation(row[c]);
        if (at < row[c].size()) {
          row[c].insert(at, deviations[c] - (row[c].size() - at), ' ');
        }
        widths[c] = std::max(widths[c], length(row[c]));
      }
    }
    for (const auto& row : rows_) {
      std::string line;
      for (std::size_t c = 0; c < row.size(); ++c) {
        const std::string gap(widths[c] - length(row[c]), ' ');
        line += (c == 0 ? "  " : "   ") + (c < left_ ? row[c] + gap : gap + row[c]);
      }
      line.erase(line.find_last_not_of(' ') + 1);
      fmt::print("{}\n", line);
    }
  }

 private:
  // Characters, not bytes: continuation bytes do not count.
  static std::size_t length(const std::string& text) {
    return static_cast<std::size_t>(
        std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
  }

  static std::size_t begin_of_deviation(const std::string& cell) {
    constexpr std::string_view sign = "± ";
    const std::size_t at = cell.find(sign);
    return at == std::string::npos ? cell.size() : at + sign.size();
  }

  std::size_t left_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace examples
