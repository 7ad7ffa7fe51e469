// Comma-separated values, read (RFC 4180, through libcsv). Needs libcsv: link -lcsv.
#pragma once

#include <csv.h>
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <exception>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/core/types.hpp"
#include "vierbein/io/csv_writer.hpp"

namespace vierbein::io {

namespace detail {

/// A cell as an error message shows it: one line, not too long.
inline std::string shown(std::string_view cell) {
  constexpr std::size_t longest = 40;
  std::string text(cell.substr(0, longest));
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return std::iscntrl(c) != 0; }, ' ');
  return cell.size() > longest ? text + "..." : text;
}

/// The finite number that `cell` is, NaN when it is missing (empty, `nan` or `na`), else nothing.
inline std::optional<double> parse_number(std::string_view cell) {
  constexpr std::string_view blanks = " \t\r\n";
  const std::size_t first = std::min(cell.find_first_not_of(blanks), cell.size());
  cell.remove_prefix(first);
  cell = cell.substr(0, cell.find_last_not_of(blanks) + 1);
  const auto is = [&](std::string_view word) {
    return std::equal(cell.begin(), cell.end(), word.begin(), word.end(), [](char a, char b) {
      return std::tolower(static_cast<unsigned char>(a)) == b;
    });
  };
  if (cell.empty() || is("nan") || is("na")) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  if (cell.front() == '+' && cell.size() > 1 && cell[1] != '-') {
    cell.remove_prefix(1);
  }
  double value = 0;
  const auto [end, code] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  if (code != std::errc() || end != cell.data() + cell.size() || !std::isfinite(value)) {
    return std::nullopt;
  }
  return value;
}

}  // namespace detail

/// The content of a CSV file: a header and rows of as many cells.
class csv_table {
 public:
  /// `cells`: row by row, without the header. `file` stands in error messages.
  csv_table(std::string file, std::vector<std::string> column_names, std::vector<std::string> cells)
      : file_(std::move(file)), names_(std::move(column_names)), cells_(std::move(cells)) {}

  [[nodiscard]] const std::string& file() const { return file_; }
  [[nodiscard]] const std::vector<std::string>& column_names() const { return names_; }
  [[nodiscard]] index_t columns() const { return static_cast<index_t>(names_.size()); }
  /// Number of rows below the header.
  [[nodiscard]] index_t rows() const {
    return names_.empty() ? 0 : static_cast<index_t>(cells_.size() / names_.size());
  }

  /// The text of a cell; both indices count from 0.
  [[nodiscard]] const std::string& cell(index_t row, index_t column) const {
    require(row >= 0 && row < rows() && column >= 0 && column < columns(), file_.c_str(),
            "no cell ({}, {}) in a table of {} rows and {} columns", row, column, rows(),
            columns());
    return cells_[static_cast<std::size_t>(row * columns() + column)];
  }

  [[nodiscard]] bool has_column(std::string_view name) const {
    return std::find(names_.begin(), names_.end(), name) != names_.end();
  }

  /// The position of a column. Throws when there is none of that name, and lists those there are.
  [[nodiscard]] index_t column(std::string_view name) const {
    const auto it = std::find(names_.begin(), names_.end(), name);
    if (it == names_.end()) {
      throw error(file_, fmt::format("no column '{}'; there are '{}'", name,
                                     fmt::join(names_.begin(), names_.end(), "', '")));
    }
    return it - names_.begin();
  }

  /// The cells of a column, top to bottom.
  [[nodiscard]] std::vector<std::string> text_column(std::string_view name) const {
    const index_t c = column(name);
    std::vector<std::string> texts;
    texts.reserve(static_cast<std::size_t>(rows()));
    for (index_t r = 0; r < rows(); ++r) {
      texts.push_back(cell(r, c));
    }
    return texts;
  }

  /// The numbers of a column, top to bottom; NaN where a cell is empty, `nan` or `NA`. Throws at
  /// the first cell that is anything else than a finite number, with its row (the first below the
  /// header is row 1).
  [[nodiscard]] std::vector<double> number_column(std::string_view name) const {
    const index_t c = column(name);
    std::vector<double> numbers;
    numbers.reserve(static_cast<std::size_t>(rows()));
    for (index_t r = 0; r < rows(); ++r) {
      const std::optional<double> number = detail::parse_number(cell(r, c));
      if (!number) {
        throw error(fmt::format("{}, row {}, column {}", file_, r + 1, name),
                    fmt::format("expected a number, found '{}'", detail::shown(cell(r, c))));
      }
      numbers.push_back(*number);
    }
    return numbers;
  }

 private:
  std::string file_;
  std::vector<std::string> names_;
  std::vector<std::string> cells_;
};

namespace detail {

/// Collects what libcsv reports. Exceptions wait in `failure` until libcsv's C code has returned.
class csv_collector {
 public:
  explicit csv_collector(std::string file) : file_(std::move(file)) {
    // strict: a quote within an unquoted cell and an unclosed quote are errors
    if (csv_init(&parser_, CSV_STRICT | CSV_STRICT_FINI) != 0) {
      throw error(file_, "libcsv could not be initialised");
    }
  }
  csv_collector(const csv_collector&) = delete;
  csv_collector& operator=(const csv_collector&) = delete;
  ~csv_collector() { csv_free(&parser_); }

  void parse(std::string_view bytes) {
    if (bytes.find('\0') != std::string_view::npos) {
      throw error(file_, "expected text, found a zero byte; is it a CSV file in UTF-8?");
    }
    const std::size_t done = csv_parse(&parser_, bytes.data(), bytes.size(), on_cell, on_row, this);
    rethrow();
    if (done != bytes.size()) {
      throw error(here(), csv_error(&parser_) == CSV_EPARSE
                              ? "a quote stands in the middle of a cell"
                              : csv_strerror(csv_error(&parser_)));
    }
  }

  csv_table finish() {
    const int status = csv_fini(&parser_, on_cell, on_row, this);
    rethrow();
    if (status != 0) {
      throw error(here(), csv_error(&parser_) == CSV_EPARSE ? "a quoted cell is never closed"
                                                            : csv_strerror(csv_error(&parser_)));
    }
    if (names_.empty()) {
      throw error(file_, "expected a header line, found an empty file");
    }
    return {std::move(file_), std::move(names_), std::move(cells_)};
  }

 private:
  // Where the parser is: the header or a row, counted from 1 below the header.
  [[nodiscard]] std::string here() const {
    return names_.empty() ? file_ + ", header" : fmt::format("{}, row {}", file_, rows_ + 1);
  }

  void rethrow() const {
    if (failure_) {
      std::rethrow_exception(failure_);
    }
  }

  void end_row() {
    if (names_.empty()) {
      std::set<std::string_view> seen;
      for (const std::string& name : cells_) {
        if (!seen.insert(name).second) {
          throw error(here(), fmt::format("two columns are named '{}'", shown(name)));
        }
      }
      names_.swap(cells_);
      return;
    }
    const std::size_t found = cells_.size() - static_cast<std::size_t>(rows_) * names_.size();
    if (found != names_.size()) {
      throw error(here(), fmt::format("expected {} cells as in the header, found {}", names_.size(),
                                      found));
    }
    ++rows_;
  }

  static void on_cell(void* text, std::size_t length, void* self) noexcept {
    auto& collector = *static_cast<csv_collector*>(self);
    collector.guarded([&] {
      collector.cells_.emplace_back(length == 0 ? "" : static_cast<const char*>(text), length);
    });
  }

  static void on_row(int, void* self) noexcept {
    auto& collector = *static_cast<csv_collector*>(self);
    collector.guarded([&] { collector.end_row(); });
  }

  template <class F>
  void guarded(const F& f) noexcept {
    if (failure_) {
      return;
    }
    try {
      f();
    } catch (...) {
      failure_ = std::current_exception();
    }
  }

  std::string file_;
  csv_parser parser_{};
  std::vector<std::string> names_;
  std::vector<std::string> cells_;
  index_t rows_ = 0;
  std::exception_ptr failure_;
};

}  // namespace detail

/// Reads a CSV file: cells separated by commas, quoted as in RFC 4180, lines ended by LF or CRLF,
/// in UTF-8 with or without a byte order mark. The first line names the columns. Blank lines are
/// skipped, and so are blanks around an unquoted cell.
///
/// Throws when the file cannot be read or is empty, two columns have the same name, a row has more
/// or fewer cells than the header, a quote stands in the middle of a cell or is never closed.
inline csv_table read_csv(const std::filesystem::path& path) {
  const std::string file = detail::file_name(path);
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    throw error(file, "cannot be read: Is a directory");
  }
  errno = 0;
  std::ifstream stream(path, std::ios::binary);
  if (!stream) {
    throw error(file, fmt::format("cannot be read: {}", detail::reason(errno)));
  }
  detail::csv_collector collector(file);
  std::vector<char> block(std::size_t{1} << 16);
  bool first = true;
  do {
    stream.read(block.data(), static_cast<std::streamsize>(block.size()));
    std::string_view bytes(block.data(), static_cast<std::size_t>(stream.gcount()));
    if (std::exchange(first, false) && bytes.starts_with("\xEF\xBB\xBF")) {
      bytes.remove_prefix(3);
    }
    collector.parse(bytes);
  } while (stream);
  if (stream.bad()) {
    throw error(file, "cannot be read to its end");
  }
  return collector.finish();
}

}  // namespace vierbein::io
