#include "vierbein/io/npy.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <vector>
#include <xtensor/xarray.hpp>
#include <xtensor/xmath.hpp>
#include <xtensor/xview.hpp>

#include "../support/message_of.hpp"
#include "temporary_folder.hpp"

namespace io = vierbein::io;
using vierbein::error;
using vierbein::index_t;
using vierbein::matrix;

namespace {

// An npy file as NumPy writes it: the header is padded so that the data begins at a multiple of 64.
std::string npy(std::string_view dictionary, std::string_view data, char version = 1) {
  const std::size_t start = version == 1 ? 10 : 12;
  std::string text(dictionary);
  text.resize((start + text.size() + 1 + 63) / 64 * 64 - start - 1, ' ');
  text += '\n';
  std::string file = "\x93NUMPY";
  file += version;
  file += '\0';
  file += static_cast<char>(text.size() & 0xFFU);
  file += static_cast<char>(text.size() >> 8);
  if (version > 1) {
    file += std::string(2, '\0');
  }
  return file + text + std::string(data);
}

template <class T>
std::string bytes(const std::vector<T>& values) {
  std::string result(values.size() * sizeof(T), '\0');
  std::memcpy(result.data(), values.data(), result.size());
  return result;
}

matrix<double> parsed(const std::string& content) {
  const test::temporary_folder folder;
  test::put(folder / "a.npy", content);
  return io::read_npy(folder / "a.npy");
}

std::string refusal(const std::string& content) {
  const test::temporary_folder folder;
  test::put(folder / "a.npy", content);
  const std::string said = test::message_of<error>([&] { io::read_npy(folder / "a.npy"); });
  return said.empty() ? said : said.substr(folder.path().string().size() + 1);
}

matrix<double> two_by_three() {
  matrix<double> m(2, 3);
  for (index_t i = 0; i < 6; ++i) {
    m.data()[i] = static_cast<double>(i + 1);
  }
  return m;
}

template <class T>
void check_type(const std::string& name) {
  CAPTURE(name);
  const std::string dictionary =
      "{'descr': '" + name + "', 'fortran_order': False, 'shape': (2, 3), }";
  CHECK(parsed(npy(dictionary, bytes(std::vector<T>{1, 2, 3, 4, 5, 6}))) == two_by_three());
}

}  // namespace

TEST_CASE("to_matrix takes arrays and lazy expressions of rank 1 and 2 in any layout") {
  const xt::xarray<double> a{{1, 2, 3}, {4, 5, 6}};
  CHECK(io::to_matrix(a) == two_by_three());
  const xt::xarray<float, xt::layout_type::column_major> b{{1, 2, 3}, {4, 5, 6}};
  CHECK(io::to_matrix(b) == two_by_three());
  CHECK(io::to_matrix(2.0 * a - a) == two_by_three());
  const auto column = io::to_matrix(xt::view(a, xt::all(), 1));
  CHECK(column.rows() == 2);
  CHECK(column.cols() == 1);
  CHECK(column(1, 0) == 5);
  CHECK(test::message_of<error>([] { io::to_matrix(xt::xarray<double>::from_shape({2, 2, 2})); }) ==
        "to_matrix: expected an array of rank 1 or 2, found rank 3");
  CHECK_THROWS_AS(io::to_matrix(xt::xarray<double>(1.0)), error);
}

TEST_CASE("as_xtensor shares the elements") {
  auto m = two_by_three();
  auto a = io::as_xtensor(m);
  CHECK(a.shape()[0] == 2);
  CHECK(a.shape()[1] == 3);
  CHECK(&a(1, 2) == &m(1, 2));
  a(0, 1) = 20;
  CHECK(m(0, 1) == 20);
  const auto& constant = m;
  CHECK(xt::sum(io::as_xtensor(constant))() == 39);
  matrix<double> none;
  CHECK(io::as_xtensor(none).size() == 0);
}

TEST_CASE("write_npy: what is written reads back the same") {
  const test::temporary_folder folder;
  auto m = two_by_three();
  m(0, 0) = std::numeric_limits<double>::denorm_min();
  m(1, 1) = std::numeric_limits<double>::infinity();
  io::write_npy(folder / "a.npy", m.view());
  CHECK(io::read_npy(folder / "a.npy") == m);
  CHECK(folder.count() == 1);
  io::write_npy(folder / "a.npy", m.view().col_range(1, 2));
  const auto part = io::read_npy(folder / "a.npy");
  REQUIRE(part.cols() == 2);
  CHECK(part(1, 0) == m(1, 1));
  CHECK(part(0, 1) == m(0, 2));
  matrix<float> single(1, 2, 0.1F);
  io::write_npy(folder / "b.npy", single.view());
  CHECK(io::read_npy(folder / "b.npy") == matrix<double>(1, 2, 0.1F));
  CHECK(test::get(folder / "b.npy").find("'<f4'") != std::string::npos);
  io::write_npy(folder / "c.npy", matrix<double>(0, 3).view());
  CHECK(io::read_npy(folder / "c.npy") == matrix<double>(0, 3));
}

TEST_CASE("read_npy converts every numeric type") {
  check_type<double>("<f8");
  check_type<float>("<f4");
  check_type<std::int64_t>("<i8");
  check_type<std::int32_t>("<i4");
  check_type<std::int16_t>("<i2");
  check_type<std::int8_t>("|i1");
  check_type<std::uint64_t>("<u8");
  check_type<std::uint32_t>("<u4");
  check_type<std::uint16_t>("<u2");
  check_type<std::uint8_t>("|u1");
}

TEST_CASE("read_npy: Fortran order, rank 1, versions 2 and 3, long headers, any order of keys") {
  const std::string data = bytes(std::vector<double>{1, 4, 2, 5, 3, 6});
  CHECK(parsed(npy("{'descr': '<f8', 'fortran_order': True, 'shape': (2, 3), }", data)) ==
        two_by_three());
  CHECK(parsed(npy("{'shape': (2, 3), 'fortran_order': True, 'descr': '<f8'}", data)) ==
        two_by_three());
  CHECK(parsed(npy("{'descr': '<f8', 'fortran_order': True, 'shape': (2, 3), }", data, 2)) ==
        two_by_three());
  const std::string padding(100, ' ');
  CHECK(parsed(npy("{'descr': '<f8', 'fortran_order': True, 'shape': (2, 3), }" + padding, data,
                   3)) == two_by_three());
  const auto column = parsed(npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }",
                                 bytes(std::vector<double>{7, 8})));
  CHECK(column.rows() == 2);
  CHECK(column.cols() == 1);
  CHECK(column(1, 0) == 8);
}

TEST_CASE("read_npy refuses other files in one sentence") {
  const std::string data = bytes(std::vector<double>{1, 2, 3, 4, 5, 6});
  const std::string good = npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }", data);
  REQUIRE(refusal(good).empty());
  CHECK(refusal("") == "a.npy: expected an npy file of version 1, 2 or 3, found another format");
  CHECK(refusal("a,b\n1,2\n3,4\n") ==
        "a.npy: expected an npy file of version 1, 2 or 3, found another format");
  CHECK(refusal(npy("{'descr': '<f8', 'shape': (2, 3), }", data)) ==
        "a.npy: the header is not one of an npy file");
  CHECK(refusal(npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2, -3), }", data)) ==
        "a.npy: the header is not one of an npy file");
  CHECK(refusal(npy("{'descr': '>f8', 'fortran_order': False, 'shape': (2, 3), }", data)) ==
        "a.npy: expected elements of type float or integer in little-endian order, found '>f8'");
  CHECK(refusal(npy("{'descr': [('x', '<f8')], 'fortran_order': False, 'shape': (6,), }", data)) ==
        "a.npy: the header is not one of an npy file");
  CHECK(refusal(npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1, 2, 3), }", data)) ==
        "a.npy: expected an array of rank 1 or 2, found rank 3");
  CHECK(refusal(npy("{'descr': '<f8', 'fortran_order': False, 'shape': (), }",
                    data.substr(0, 8))) == "a.npy: expected an array of rank 1 or 2, found rank 0");
  CHECK(
      refusal(good.substr(0, good.size() - 1)) ==
      "a.npy: an array of 2 x 3 elements of 8 bytes does not fit the 47 bytes of data in the file");
  CHECK(
      refusal(good + "x") ==
      "a.npy: an array of 2 x 3 elements of 8 bytes does not fit the 49 bytes of data in the file");
  CHECK(
      refusal(npy("{'descr': '<f8', 'fortran_order': False, 'shape': (4611686018427387904, 4), }",
                  "")) ==
      "a.npy: an array of 4611686018427387904 x 4 elements of 8 bytes does not fit the 0 bytes of "
      "data in the file");
  const test::temporary_folder folder;
  const auto missing = folder / "none.npy";
  CHECK(test::message_of<error>([&] { io::read_npy(missing); }) ==
        missing.string() + ": cannot be read: No such file or directory");
  CHECK(test::message_of<error>([] { (void)io::read_npy(""); }) ==
        "path: expected the name of a file, found an empty one");
  CHECK_THROWS_AS(io::read_npy(folder.path()), error);
}

TEST_CASE("read_npy: a truncated or damaged file is refused or read, never a crash") {
  const std::string good =
      npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }", std::string(48, 'x'));
  for (std::size_t length = 0; length < good.size(); ++length) {
    CAPTURE(length);
    CHECK(!refusal(good.substr(0, length)).empty());
  }
  int read = 0;
  for (std::size_t place = 0; place < 128; ++place) {
    for (const int flip : {0x01, 0x10, 0x80, 0xFF}) {
      std::string damaged = good;
      damaged[place] = static_cast<char>(damaged[place] ^ flip);
      read += refusal(damaged).empty() ? 1 : 0;  // any other exception fails the test
    }
  }
  CHECK(read < 4 * 128);
}
