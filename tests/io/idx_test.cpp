#include "vierbein/io/idx.hpp"

#include <doctest/doctest.h>
#include <zlib.h>

#include <bit>
#include <cstdint>
#include <string>
#include <vector>
#include <xtensor/xarray.hpp>
#include <xtensor/xview.hpp>

#include "../support/message_of.hpp"
#include "temporary_folder.hpp"
#include "vierbein/io/xtensor.hpp"

namespace io = vierbein::io;
using vierbein::error;
using vierbein::image_shape;
using vierbein::index_t;

namespace {

std::string big_endian(std::uint64_t value, int bytes) {
  std::string result;
  for (int k = bytes - 1; k >= 0; --k) {
    result += static_cast<char>((value >> (8 * k)) & 0xFFU);
  }
  return result;
}

std::string idx(std::uint8_t type, const std::vector<std::uint64_t>& shape,
                const std::string& data) {
  std::string file{'\0', '\0', static_cast<char>(type), static_cast<char>(shape.size())};
  for (const std::uint64_t extent : shape) {
    file += big_endian(extent, 4);
  }
  return file + data;
}

std::string compressed(const std::string& bytes) {
  z_stream stream{};
  REQUIRE(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string in = bytes;
  std::string out(bytes.size() + 100, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(in.data());
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

io::idx_array parsed(const std::string& content) {
  const test::temporary_folder folder;
  test::put(folder / "a", content);
  return io::read_idx(folder / "a");
}

template <class F>
std::string refusal(const std::string& content, const F& read) {
  const test::temporary_folder folder;
  test::put(folder / "a.idx", content);
  const std::string said = test::message_of<error>([&] { (void)read(folder / "a.idx"); });
  return said.empty() ? said : said.substr(folder.path().string().size() + 1);
}

std::string refusal(const std::string& content) {
  return refusal(content, [](const auto& path) { return io::read_idx(path); });
}

}  // namespace

TEST_CASE("every type of elements, plain and compressed") {
  const auto check = [](std::uint8_t code, const std::string& data, std::uint64_t count,
                        const std::vector<double>& expected) {
    CAPTURE(static_cast<int>(code));
    const std::string file = idx(code, {count}, data);
    for (const std::string& content : {file, compressed(file)}) {
      const io::idx_array array = parsed(content);
      CHECK(static_cast<std::uint8_t>(array.type) == code);
      CHECK(array.shape == std::vector<index_t>{static_cast<index_t>(count)});
      CHECK(array.size() == static_cast<index_t>(count));
      CHECK(array.values<double>() == expected);
    }
  };
  check(0x08, {'\x00', '\x7F', '\xFF'}, 3, {0, 127, 255});
  check(0x09, {'\x00', '\x7F', '\xFF'}, 3, {0, 127, -1});
  check(0x0B, big_endian(0x0102, 2) + big_endian(0xFFFE, 2), 2, {258, -2});
  check(0x0C, big_endian(0x01020304, 4) + big_endian(0xFFFFFFFD, 4), 2, {16909060, -3});
  check(0x0D, big_endian(std::bit_cast<std::uint32_t>(-0.375F), 4), 1, {-0.375});
  check(0x0E, big_endian(std::bit_cast<std::uint64_t>(1.0 / 3), 8), 1, {1.0 / 3});
}

TEST_CASE("shapes: several extents, and an extent of 0") {
  const io::idx_array array = parsed(idx(8, {2, 3, 1}, "abcdef"));
  CHECK(array.shape == std::vector<index_t>{2, 3, 1});
  CHECK(array.values<int>() == std::vector<int>{'a', 'b', 'c', 'd', 'e', 'f'});
  CHECK(parsed(idx(8, {0, 3}, "")).values<int>().empty());
}

TEST_CASE("more than one step of reading") {
  std::string data(std::size_t{1} << 24, '\1');
  data += "xyz";
  const io::idx_array array = parsed(compressed(idx(8, {data.size()}, data)));
  CHECK(array.size() == (index_t{1} << 24) + 3);
  CHECK(array.bytes.back() == 'z');
}

TEST_CASE("images and labels") {
  const test::temporary_folder folder;
  test::put(folder / "three", compressed(idx(8, {2, 2, 3}, "abcdefghijkl")));
  const auto gray = io::read_idx_images(folder / "three");
  CHECK(gray.size() == 2);
  CHECK(gray.shape() == image_shape{1, 2, 3});
  CHECK(gray.compact());
  CHECK(gray.value(1, 0, 1, 0) == static_cast<float>('j') / 255.0F);
  test::put(folder / "four", idx(9, {1, 2, 1, 2}, {'\1', '\2', '\3', '\xFC'}));
  const auto colour = io::read_idx_images(folder / "four");
  CHECK(colour.shape() == image_shape{2, 1, 2});
  CHECK(colour.value(0, 1, 0, 1) == -4);
  test::put(folder / "labels", idx(8, {3}, {'\0', '\x9', '\x3'}));
  CHECK(io::read_idx_labels(folder / "labels") == std::vector<double>{0, 9, 3});
}

TEST_CASE("what is no IDX file, or not a whole one, is refused") {
  const std::string good = idx(8, {2, 3}, "abcdef");
  CHECK(refusal(good).empty());
  const std::string foreign =
      "a.idx: expected an IDX file, plain or compressed by gzip, found another format";
  CHECK(refusal("") == foreign);
  CHECK(refusal(good.substr(0, 3)) == foreign);
  CHECK(refusal("label,pixel\n") == foreign);
  CHECK(refusal(idx(7, {2}, "ab")) == foreign);
  CHECK(refusal(idx(8, {}, "a")) == foreign);
  CHECK(refusal('\1' + good.substr(1)) == foreign);
  CHECK(refusal(compressed("hello")) == foreign);
  CHECK(refusal(good.substr(0, 10)) ==
        "a.idx: expected 2 extents in the header, the file ends after 1");
  CHECK(refusal(good.substr(0, 17)) ==
        "a.idx: expected 6 bytes for an array of 2 x 3 elements, found 5");
  CHECK(refusal(good + "g") ==
        "a.idx: expected 6 bytes for an array of 2 x 3 elements, found more");
  CHECK(refusal(idx(14, {2}, "abc")) ==
        "a.idx: expected 16 bytes for an array of 2 elements, found 3");
  // A header that asks for 2^40 bytes costs no such memory.
  CHECK(refusal(idx(8, {1U << 20, 1U << 20}, "abc")) ==
        "a.idx: expected 1099511627776 bytes for an array of 1048576 x 1048576 elements, found 3");
  CHECK(refusal(idx(8, {0xFFFFFFFF, 0xFFFFFFFF, 5}, "abc")) ==
        "a.idx: its header asks for an array of 4294967295 x 4294967295 elements, expected at most "
        "2^48 bytes");
}

TEST_CASE("damaged and incomplete gzip files are refused") {
  std::string data;
  for (int i = 0; i < 3000; ++i) {
    data += static_cast<char>(i * i % 251);
  }
  const std::string whole = compressed(idx(8, {3000}, data));
  CHECK(refusal(whole).empty());
  for (const std::size_t size : {whole.size() - 1, whole.size() - 9, whole.size() / 2}) {
    CHECK(refusal(whole.substr(0, size)) == "a.idx: expected a whole gzip file, it ends too early");
  }
  std::string wrong = whole;
  wrong[whole.size() - 6] = static_cast<char>(wrong[whole.size() - 6] ^ 1);  // its check sum
  CHECK(refusal(wrong).starts_with("a.idx: expected a gzip file, found a damaged one ("));
}

TEST_CASE("missing files, folders, and arrays that are no images or labels are refused") {
  const test::temporary_folder folder;
  CHECK(test::message_of<error>([&] {
          (void)io::read_idx(folder / "none");
        }).ends_with("none: cannot be read: No such file or directory"));
  CHECK(test::message_of([] { (void)io::read_idx(""); }) ==
        "path: expected the name of a file, found an empty one");
  CHECK(test::message_of<error>([&] {
          (void)io::read_idx(folder.path());
        }).ends_with("cannot be read: Is a directory"));
  const auto images = [](const auto& path) { return io::read_idx_images(path); };
  const auto labels = [](const auto& path) { return io::read_idx_labels(path); };
  CHECK(refusal(idx(8, {2}, "ab"), images) ==
        "a.idx: expected images, an array of rank 3 or 4, found rank 1");
  CHECK(refusal(idx(8, {2, 1}, "ab"), labels) ==
        "a.idx: expected labels, an array of rank 1, found rank 2");
  CHECK(refusal(idx(8, {0, 2, 2}, ""), images) ==
        "a.idx: images: expected at least one image of 1 channel of 2 x 2 pixels, found none");
  CHECK(refusal(idx(8, {2, 0, 2}, ""), images) ==
        "a.idx: images: expected images of at least one pixel and one channel, found 1 channel of "
        "0 x 2 pixels");
  CHECK(refusal(idx(13, {1, 1, 1}, "\x7F\xC0\1\1"), images) ==
        "a.idx: images, image 0, channel 0, row 0, column 0 (counted from 0): expected a finite "
        "number, found nan");
}

TEST_CASE("images from xtensor arrays of any layout") {
  xt::xarray<double> a = xt::zeros<double>({2, 3, 2, 4});  // N x C x H x W
  for (std::size_t i = 0; i < a.size(); ++i) {
    a.flat(i) = static_cast<double>(i);
  }
  const auto set = io::to_images(a);
  CHECK(set.size() == 2);
  CHECK(set.shape() == image_shape{3, 2, 4});
  CHECK(!set.compact());
  CHECK(set.value(1, 2, 1, 3) == 47);
  CHECK(set.value(1, 0, 1, 2) == 30);
  const xt::xarray<double, xt::layout_type::column_major> turned = a;
  CHECK(io::to_images(turned).value(1, 0, 1, 2) == 30);
  const auto part = io::to_images(xt::view(a, xt::all(), 1, xt::all(), xt::range(1, 3)));
  CHECK(part.shape() == image_shape{1, 2, 2});
  CHECK(part.value(1, 0, 1, 1) == 38);
  CHECK(io::to_images(2 * a).value(0, 0, 0, 1) == 2);
  const xt::xarray<std::uint8_t> bytes = xt::ones<std::uint8_t>({5, 2, 2});
  CHECK(io::to_images(bytes).compact());
  CHECK(io::to_images(bytes).value(4, 0, 1, 1) == 1.0F / 255.0F);
}

TEST_CASE("xtensor arrays that are no images are refused") {
  const auto said = [](const xt::xarray<float>& a) {
    return test::message_of<error>([&] { (void)io::to_images(a); });
  };
  CHECK(said(xt::zeros<float>({2, 3})) ==
        "to_images: expected an array of rank 3 or 4, found rank 2");
  CHECK(said(xt::zeros<float>({2, 3, 1, 1, 1})) ==
        "to_images: expected an array of rank 3 or 4, found rank 5");
  CHECK(said(xt::zeros<float>({2, 0, 1, 1})) ==
        "images: expected images of at least one pixel and one channel, found 0 channels of 1 x 1 "
        "pixels");
  xt::xarray<float> bad = xt::zeros<float>({2, 3, 3});
  bad(1, 2, 0) = std::numeric_limits<float>::quiet_NaN();
  CHECK(said(bad) ==
        "images, image 1, channel 0, row 2, column 0 (counted from 0): expected a finite number, "
        "found nan");
}
