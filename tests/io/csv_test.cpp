#include "vierbein/io/csv.hpp"

#include <doctest/doctest.h>

#include <clocale>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "../support/message_of.hpp"
#include "temporary_folder.hpp"
#include "vierbein/core/matrix.hpp"

namespace io = vierbein::io;
using vierbein::error;
using strings = std::vector<std::string>;

namespace {

// The table that a file with this content holds.
io::csv_table parsed(std::string_view content) {
  const test::temporary_folder folder;
  test::put(folder / "t.csv", content);
  return io::read_csv(folder / "t.csv");
}

// What read_csv says about a file with this content, without the folder.
std::string refusal(std::string_view content) {
  const test::temporary_folder folder;
  test::put(folder / "t.csv", content);
  const std::string said = test::message_of<error>([&] { io::read_csv(folder / "t.csv"); });
  return said.empty() ? said : said.substr(folder.path().string().size() + 1);
}

// What number_column("x") says about a column of one cell.
std::string number_refusal(const std::string& cell) {
  const io::csv_table table("t.csv", {"x"}, {cell});
  return test::message_of<error>([&] { (void)table.number_column("x"); });
}

}  // namespace

TEST_CASE("read_csv reads names, texts and numbers") {
  const auto table = parsed("name,log_p\nethanol,-0.31\nbenzene,2.13\n");
  CHECK(table.column_names() == strings{"name", "log_p"});
  CHECK(table.rows() == 2);
  CHECK(table.columns() == 2);
  CHECK(table.cell(1, 0) == "benzene");
  CHECK(table.column("log_p") == 1);
  CHECK(table.has_column("name"));
  CHECK(!table.has_column("Name"));
  CHECK(table.text_column("name") == strings{"ethanol", "benzene"});
  CHECK(table.number_column("log_p") == std::vector<double>{-0.31, 2.13});
  CHECK_THROWS_AS((void)table.cell(2, 0), error);
  CHECK_THROWS_AS((void)table.cell(0, -1), error);
}

TEST_CASE("read_csv follows RFC 4180") {
  SUBCASE("quotes protect commas, quotes and line ends") {
    const auto table = parsed("a,b\n\"x,y\",\"say \"\"hi\"\"\"\n\"two\r\nlines\",\" blank \"\n");
    CHECK(table.rows() == 2);
    CHECK(table.cell(0, 0) == "x,y");
    CHECK(table.cell(0, 1) == "say \"hi\"");
    CHECK(table.cell(1, 0) == "two\r\nlines");
    CHECK(table.cell(1, 1) == " blank ");
  }
  SUBCASE("CRLF, byte order mark, no line end at the end, blank lines, blanks around cells") {
    const auto table = parsed(
        "\xEF\xBB\xBF"
        "a, b\r\n\r\n1, 2 \r\n3,4");
    CHECK(table.column_names() == strings{"a", "b"});
    CHECK(table.rows() == 2);
    CHECK(table.number_column("b") == std::vector<double>{2, 4});
  }
  SUBCASE("a header alone is a table without rows") {
    CHECK(parsed("a,b\n").rows() == 0);
    CHECK(parsed("a,b").rows() == 0);
    CHECK(parsed("a,b\n").number_column("a").empty());
  }
  SUBCASE("empty cells at all places") {
    const auto table = parsed("a,b,c\n,,\n1,,\n\"\",,3\n");
    CHECK(table.rows() == 3);
    CHECK(table.cell(0, 2).empty());
    CHECK(table.cell(2, 0).empty());
    CHECK(table.cell(2, 2) == "3");
  }
  SUBCASE("a file longer than one block") {
    std::string text = "i,text\n";
    for (int i = 0; i < 20'000; ++i) {
      text += std::to_string(i) + ",\"x,\n" + std::to_string(i) + "\"\n";
    }
    const auto table = parsed(text);
    CHECK(table.rows() == 20'000);
    CHECK(table.number_column("i")[19'999] == 19'999);
    CHECK(table.cell(12'345, 1) == "x,\n12345");
  }
}

TEST_CASE("read_csv refuses malformed files in one sentence") {
  CHECK(refusal("") == "t.csv: expected a header line, found an empty file");
  CHECK(refusal("\n\r\n") == "t.csv: expected a header line, found an empty file");
  CHECK(refusal("\xEF\xBB\xBF") == "t.csv: expected a header line, found an empty file");
  CHECK(refusal("a,b\n1,2\n3\n") == "t.csv, row 2: expected 2 cells as in the header, found 1");
  CHECK(refusal("a,b\n1,2,3\n") == "t.csv, row 1: expected 2 cells as in the header, found 3");
  CHECK(refusal("a,b\n1,2,3") == "t.csv, row 1: expected 2 cells as in the header, found 3");
  CHECK(refusal("a,b,a\n1,2,3\n") == "t.csv, header: two columns are named 'a'");
  CHECK(refusal("a,b\n1,2\n3,\"4\n5,6\n") == "t.csv, row 2: a quoted cell is never closed");
  CHECK(refusal("a,b\n1,x\"y\n") == "t.csv, row 1: a quote stands in the middle of a cell");
  CHECK(refusal("\"a\"b,c\n") == "t.csv, header: a quote stands in the middle of a cell");
  CHECK(refusal(std::string_view("a,b\n1,\0\n", 8)) ==
        "t.csv: expected text, found a zero byte; is it a CSV file in UTF-8?");
}

TEST_CASE("read_csv names a file that is missing or a folder") {
  const test::temporary_folder folder;
  const auto missing = folder / "none.csv";
  CHECK(test::message_of<error>([&] { io::read_csv(missing); }) ==
        missing.string() + ": cannot be read: No such file or directory");
  CHECK(test::message_of<error>([] { (void)io::read_csv(""); }) ==
        "path: expected the name of a file, found an empty one");
  CHECK(test::message_of<error>([&] { io::read_csv(folder.path()); }) ==
        folder.path().string() + ": cannot be read: Is a directory");
}

TEST_CASE("a column that is not there: the error lists those that are") {
  const io::csv_table table("t.csv", {"smiles", "log_p"}, {});
  CHECK(test::message_of<error>([&] { (void)table.number_column("logP"); }) ==
        "t.csv: no column 'logP'; there are 'smiles', 'log_p'");
}

TEST_CASE("number_column reads every form of a number and of a missing value") {
  const io::csv_table table(
      "t.csv", {"x"},
      {"1", "-2.5", "+3", "1e3", ".5", "5.", " 7 ", "", "  ", "nan", "NaN", "NA", "na", "-0"});
  const auto x = table.number_column("x");
  const std::vector<double> numbers{1, -2.5, 3, 1000, 0.5, 5, 7};
  CHECK(std::vector<double>(x.begin(), x.begin() + 7) == numbers);
  for (std::size_t i = 7; i < 13; ++i) {
    CHECK(std::isnan(x[i]));
  }
  CHECK(std::signbit(x[13]));
}

TEST_CASE("number_column refuses what is not a complete finite number") {
  const io::csv_table table("t.csv", {"name", "log_p"}, {"a", "1", "b", "abc"});
  CHECK(test::message_of<error>([&] { (void)table.number_column("log_p"); }) ==
        "t.csv, row 2, column log_p: expected a number, found 'abc'");
  for (const char* cell : {"inf", "-inf", "Infinity", "1.5x", "1,5", "0x10", "1e999", "--1", "+-1",
                           "++1", "+", "-nan", "+inf", "n/a", "1 2", "1e",
                           "\xC2\xA0"
                           "1"}) {
    CAPTURE(cell);
    CHECK(number_refusal(cell) ==
          std::string("t.csv, row 1, column x: expected a number, found '") + cell + "'");
  }
  CHECK(number_refusal(std::string(100, 'z')) ==
        "t.csv, row 1, column x: expected a number, found '" + std::string(40, 'z') + "...'");
  CHECK(number_refusal("a\nb") == "t.csv, row 1, column x: expected a number, found 'a b'");
}

TEST_CASE("numbers do not depend on the locale") {
  const std::string before = std::setlocale(LC_ALL, nullptr);
  bool found = false;
  for (const char* name : {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8"}) {
    found = found || std::setlocale(LC_ALL, name) != nullptr;
  }
  if (!found) {
    MESSAGE("no locale with a decimal comma is installed: checked in the current one only");
  }
  const io::csv_table table("t.csv", {"x"}, {"1.5"});
  CHECK(table.number_column("x")[0] == 1.5);
  CHECK(io::format_number(1.5) == "1.5");
  std::setlocale(LC_ALL, before.c_str());
}

TEST_CASE("write_csv: what is written reads back the same") {
  const test::temporary_folder folder;
  const strings names{"plain", "with, comma", "with \"quote\""};
  const std::vector<strings> rows{
      {"a", "b", "c"}, {"", " blank ", "two\nlines"}, {"\"", ",", "\r"}, {"\t", "äöü", "''"}};
  io::write_csv(folder / "t.csv", names, rows);
  const auto table = io::read_csv(folder / "t.csv");
  CHECK(table.column_names() == names);
  REQUIRE(table.rows() == 4);
  for (int r = 0; r < 4; ++r) {
    for (int c = 0; c < 3; ++c) {
      CAPTURE(r);
      CAPTURE(c);
      CHECK(table.cell(r, c) == rows[static_cast<std::size_t>(r)][static_cast<std::size_t>(c)]);
    }
  }
}

TEST_CASE("write_csv quotes only where it must") {
  const test::temporary_folder folder;
  io::write_csv(folder / "t.csv", strings{"a", "b"}, std::vector<strings>{{"1 2", "x,y"}});
  CHECK(test::get(folder / "t.csv") == "a,b\n1 2,\"x,y\"\n");
}

TEST_CASE("write_csv of numbers reads back bit for bit, a single column with missing values too") {
  const test::temporary_folder folder;
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<double> values{0.1,
                                   -1.0 / 3.0,
                                   1e300,
                                   std::numeric_limits<double>::min(),
                                   std::numeric_limits<double>::denorm_min(),
                                   std::nextafter(1.0, 2.0),
                                   nan,
                                   -0.0};
  vierbein::matrix<double> column(static_cast<vierbein::index_t>(values.size()), 1);
  std::copy(values.begin(), values.end(), column.data());
  io::write_csv(folder / "t.csv", strings{"x"}, column.view());
  const auto read = io::read_csv(folder / "t.csv").number_column("x");
  REQUIRE(read.size() == values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    CHECK((std::isnan(values[i]) ? std::isnan(read[i]) : read[i] == values[i]));
  }
  CHECK(std::signbit(read[7]));
}

TEST_CASE("csv_writer refuses what could not be read back") {
  CHECK_THROWS_AS(io::csv_writer(strings{}), error);
  CHECK_THROWS_AS(io::csv_writer(strings{"a", "a"}), error);
  io::csv_writer writer(strings{"a", "b"});
  CHECK(test::message_of<error>([&] { writer.add_row(strings{"1"}); }) ==
        "csv_writer: a row has 1 cells but there are 2 columns");
}
