// Comma-separated values, written (RFC 4180).
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/core/view.hpp"
#include "vierbein/io/atomic_file.hpp"

namespace vierbein::io {

/// The shortest text that reads back as the same number, whatever the locale; a NaN, which stands
/// for a missing value, becomes an empty cell.
inline std::string format_number(double value) {
  return std::isnan(value) ? std::string() : fmt::format("{}", value);
}

/// Collects rows and writes them as a CSV file with a header line. Cells are quoted where they must
/// be.
class csv_writer {
 public:
  /// Throws when there is no column or two columns have the same name.
  explicit csv_writer(std::span<const std::string> column_names) : columns_(column_names.size()) {
    require(columns_ > 0, "csv_writer", "expected at least one column");
    std::set<std::string_view> seen;
    for (const std::string& name : column_names) {
      require(seen.insert(name).second, "csv_writer", "two columns are named '{}'", name);
    }
    append(column_names);
  }

  /// Appends a row of texts. Throws when the number of cells is not the number of columns.
  void add_row(std::span<const std::string> cells) {
    require(cells.size() == columns_, "csv_writer", "a row has {} cells but there are {} columns",
            cells.size(), columns_);
    append(cells);
  }

  /// Writes the file; see write_atomically.
  void save(const std::filesystem::path& path) const {
    write_atomically(path, [&](std::ostream& out) {
      out.write(text_.data(), static_cast<std::streamsize>(text_.size()));
    });
  }

 private:
  void append(std::span<const std::string> cells) {
    for (std::size_t i = 0; i < cells.size(); ++i) {
      if (i > 0) {
        text_ += ',';
      }
      append_cell(cells[i]);
    }
    text_ += '\n';
  }

  void append_cell(const std::string& cell) {
    const auto blank = [](char c) { return c == ' ' || c == '\t'; };
    // Without quotes, a table of one column would lose its empty cells: they are blank lines.
    const bool quote = cell.empty() ? columns_ == 1
                                    : cell.find_first_of(",\"\r\n") != std::string::npos ||
                                          blank(cell.front()) || blank(cell.back());
    if (!quote) {
      text_ += cell;
      return;
    }
    text_ += '"';
    for (const char c : cell) {
      if (c == '"') {
        text_ += '"';
      }
      text_ += c;
    }
    text_ += '"';
  }

  std::size_t columns_;
  std::string text_;
};

/// Writes a table of texts.
inline void write_csv(const std::filesystem::path& path, std::span<const std::string> column_names,
                      std::span<const std::vector<std::string>> rows) {
  csv_writer writer(column_names);
  for (const auto& row : rows) {
    writer.add_row(row);
  }
  writer.save(path);
}

/// Writes a table of numbers (rows, columns), a NaN as an empty cell.
inline void write_csv(const std::filesystem::path& path, std::span<const std::string> column_names,
                      matrix_view<const double> values) {
  csv_writer writer(column_names);
  std::vector<std::string> cells(static_cast<std::size_t>(values.cols));
  for (index_t r = 0; r < values.rows; ++r) {
    for (index_t c = 0; c < values.cols; ++c) {
      cells[static_cast<std::size_t>(c)] = format_number(values(r, c));
    }
    writer.add_row(cells);
  }
  writer.save(path);
}

}  // namespace vierbein::io
