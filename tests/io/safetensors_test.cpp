#include "vierbein/io/safetensors.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "../support/message_of.hpp"
#include "temporary_folder.hpp"

namespace io = vierbein::io;
using vierbein::error;

namespace {

// The file that safetensors_python_test.py expects.
io::tensor_file sample() {
  const std::vector<double> wide{0.1, -1e300, 5e-324};
  const std::vector<float> narrow{1, 2, 3, 4, 5, 0.1F};
  const std::vector<std::int64_t> whole{-1, 0, std::int64_t{1} << 62};
  io::tensor_file file;
  file.metadata = {{"format", "vierbein"}, {"tasks", "[\"boiling point\", \"log P\", \"µ\"]"}};
  file.tensors = {io::make_tensor<double>("head/0/bias", {3}, wide),
                  io::make_tensor<std::int64_t>("steps", {3, 1}, whole),
                  io::make_tensor<float>("trunk/layer0/weight", {2, 3}, narrow),
                  io::make_tensor<float>("scalar", {}, std::span(narrow).first(1)),
                  io::make_tensor<float>("empty", {0, 4}, {})};
  return file;
}

// A file with this header, padded, and this many bytes of data.
std::string raw(std::string header, std::size_t data) {
  header.resize((header.size() + 7) / 8 * 8, ' ');
  std::string file(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) {
    file[i] = static_cast<char>((header.size() >> (8 * i)) & 0xFFU);
  }
  return file + header + std::string(data, 'd');
}

std::string refusal(const std::string& content) {
  static const test::temporary_folder folder;
  test::put(folder / "m.st", content);
  const std::string said = test::message_of<error>([&] { io::read_safetensors(folder / "m.st"); });
  return said.empty() ? said : said.substr(folder.path().string().size() + 1);
}

}  // namespace

TEST_CASE("what write_safetensors writes reads back the same") {
  const test::temporary_folder folder;
  const auto file = sample();
  io::write_safetensors(folder / "m.st", file);
  CHECK(io::read_safetensors(folder / "m.st") == file);
  CHECK(folder.count() == 1);
  io::write_safetensors(folder / "m.st", {});
  CHECK(io::read_safetensors(folder / "m.st") == io::tensor_file{});
}

// For the Python check: run this case with VIERBEIN_SAFETENSORS_SAMPLE set to a path, then
// safetensors_python_test.py with the same path.
TEST_CASE("safetensors sample for other readers") {
  if (const char* path = std::getenv("VIERBEIN_SAFETENSORS_SAMPLE")) {
    io::write_safetensors(path, sample());
    CHECK(io::read_safetensors(path) == sample());
  }
}

TEST_CASE("the bytes of a safetensors file") {
  const test::temporary_folder folder;
  io::tensor_file file;
  file.metadata["a"] = "b";
  const std::vector<float> one{1.0F};
  const std::vector<double> two{2.0};
  file.tensors = {io::make_tensor<float>("x", {1}, one), io::make_tensor<double>("y", {1}, two)};
  io::write_safetensors(folder / "m.st", file);
  const std::string bytes = test::get(folder / "m.st");
  const std::string header =
      R"({"__metadata__":{"a":"b"},"y":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},)"
      R"("x":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}})";
  const std::size_t padded = (header.size() + 7) / 8 * 8;
  REQUIRE(bytes.size() == 8 + padded + 12);
  CHECK(bytes.substr(0, 8) == std::string(1, static_cast<char>(padded)) + std::string(7, '\0'));
  CHECK(bytes.substr(8, header.size()) == header);
  CHECK(bytes.substr(8 + header.size(), padded - header.size()) ==
        std::string(padded - header.size(), ' '));
  CHECK(bytes.substr(8 + padded) == std::string("\0\0\0\0\0\0\0\x40\0\0\x80\x3f", 12));
}

TEST_CASE("values of a tensor convert between float widths only") {
  const auto file = sample();
  REQUIRE(file.find("trunk/layer0/weight") != nullptr);
  CHECK(file.find("trunk") == nullptr);
  const auto& weight = *file.find("trunk/layer0/weight");
  CHECK(weight.values<float>()[5] == 0.1F);
  CHECK(weight.values<double>()[5] == static_cast<double>(0.1F));
  CHECK(file.find("head/0/bias")->values<float>()[0] == 0.1F);
  CHECK(file.find("steps")->values<std::int64_t>()[2] == std::int64_t{1} << 62);
  CHECK(file.find("empty")->values<float>().empty());
  CHECK(test::message_of<error>([&] { (void)weight.values<std::int64_t>(); }) ==
        "safetensors: tensor 'trunk/layer0/weight' holds F32, expected I64");
  CHECK_THROWS_AS((void)file.find("steps")->values<double>(), error);
}

TEST_CASE("write_safetensors refuses what it could not read") {
  const test::temporary_folder folder;
  const auto path = folder / "m.st";
  const auto said = [&](const io::tensor_file& file) {
    const std::string text = test::message_of<error>([&] { io::write_safetensors(path, file); });
    return text.empty() ? text : text.substr(folder.path().string().size() + 1);
  };
  const std::vector<float> two{1, 2};
  const auto tensor = [&](const char* name, std::vector<vierbein::index_t> shape) {
    return io::make_tensor<float>(name, std::move(shape), two);
  };
  CHECK(said({{}, {tensor("a", {2}), tensor("a", {2})}}) ==
        "m.st: the name 'a' of a tensor is taken already");
  CHECK(said({{}, {tensor("__metadata__", {2})}}) ==
        "m.st: the name '__metadata__' of a tensor is taken already");
  CHECK(said({{}, {tensor("a", {3})}}) ==
        "m.st: tensor 'a' of shape [3] and type F32 does not fit its 8 bytes");
  CHECK(!said({{}, {tensor("a", {-1, -2})}}).empty());
  CHECK(said({{}, {tensor("\xff", {2})}}) ==
        "m.st: a name or a piece of metadata is not valid UTF-8");
  CHECK(said({{{"key", "\xc3"}}, {}}) == "m.st: a name or a piece of metadata is not valid UTF-8");
  CHECK(folder.count() == 0);
  CHECK(test::message_of<error>([&] { io::write_safetensors(folder / "no/m.st", {}); }) ==
        (folder / "no/m.st").string() + ": cannot be written: No such file or directory");
}

TEST_CASE("read_safetensors refuses malformed files in one sentence") {
  const auto entry = [](std::string_view type, std::string_view shape, std::string_view offsets) {
    return fmt::format(R"({{"dtype":"{}","shape":{},"data_offsets":{}}})", type, shape, offsets);
  };
  const auto one = [&](std::string_view type, std::string_view shape, std::string_view offsets) {
    return raw(R"({"a":)" + entry(type, shape, offsets) + "}", 8);
  };
  REQUIRE(refusal(one("F32", "[2]", "[0,8]")).empty());

  CHECK(refusal("") == "m.st: expected a safetensors file, found fewer than 8 bytes");
  CHECK(refusal(std::string(8, '\xff') + "{}") ==
        "m.st: a header of 18446744073709551615 bytes does not fit a file of 10 bytes; it is "
        "truncated or not a safetensors file");
  CHECK(refusal(raw("[1, 2]", 0)) == "m.st: the header is not a JSON object");
  CHECK(refusal(raw("{\"a\": ", 0)) == "m.st: the header is not valid JSON");
  CHECK(refusal(raw("{\"\xff\": 1}", 0)) == "m.st: the header is not valid JSON");
  CHECK(refusal(raw("{\"a\": 1}", 0)) == "m.st: tensor \"a\" has no 'dtype'");
  CHECK(refusal(raw(R"({"a\n": {"dtype": "F32", "shape": []}})", 0)) ==
        R"(m.st: tensor "a\n" has no 'data_offsets')");
  CHECK(refusal(one("F16", "[4]", "[0,8]")) ==
        "m.st: tensor \"a\" has elements of type \"F16\", expected F32, F64 or I64");
  CHECK(refusal(one("F32", "[3]", "[0,8]")) ==
        "m.st: tensor \"a\" of shape [3] and type F32 does not fit the bytes 0 to 8");
  CHECK(refusal(one("F32", "[2]", "[8,0]")) ==
        "m.st: tensor \"a\" of shape [2] and type F32 does not fit the bytes 8 to 0");
  for (const char* shape :
       {"[-2]", "[2.0]", "2", "[[2]]", "\"2\"", "null", "[9223372036854775808]"}) {
    CAPTURE(shape);
    CHECK(refusal(one("F32", shape, "[0,8]")) ==
          "m.st: tensor \"a\" has a 'shape' or 'data_offsets' that is not a list of sizes");
  }
  CHECK(!refusal(one("F32", "[2]", "[0]")).empty());
  CHECK(!refusal(one("F32", "[4611686018427387904,4]", "[0,0]")).empty());  // 2^64 elements
  CHECK(!refusal(one("F32", "[4294967296,4294967296]", "[0,0]")).empty());
  CHECK(refusal(one("F32", "[4]", "[0,16]")) ==
        "m.st: the tensors take 16 bytes but the file holds 8 bytes of data");
  CHECK(refusal(one("F32", "[1]", "[0,4]")) ==
        "m.st: the tensors take 4 bytes but the file holds 8 bytes of data");
  CHECK(refusal(one("F32", "[1]", "[4,8]")) ==
        "m.st: the data of a tensor begins at byte 4, expected 0");
  CHECK(refusal(raw(R"({"a":)" + entry("F32", "[2]", "[0,8]") + R"(,"b":)" +
                        entry("F32", "[1]", "[4,8]") + "}",
                    8)) == "m.st: the data of a tensor begins at byte 4, expected 8");
  CHECK(refusal(raw(R"({"a":)" + entry("F32", "[1]", "[0,4]") + R"(,"a":)" +
                        entry("F32", "[2]", "[0,8]") + "}",
                    8)) == "m.st: the header has the key \"a\" twice");
  CHECK(refusal(raw(R"({"__metadata__":{"a":1}})", 0)) ==
        "m.st: '__metadata__' in the header holds something else than texts");
  CHECK(refusal(raw(R"({"__metadata__":[]})", 0)) ==
        "m.st: '__metadata__' in the header is not a JSON object");
  const test::temporary_folder folder;
  CHECK(test::message_of<error>([&] { io::read_safetensors(folder / "none"); }) ==
        (folder / "none").string() + ": cannot be read: No such file or directory");
  CHECK(test::message_of<error>([] { (void)io::read_safetensors(""); }) ==
        "path: expected the name of a file, found an empty one");
  CHECK_THROWS_AS(io::read_safetensors(folder.path()), error);
}

TEST_CASE("read_safetensors survives deeply nested JSON") {
  const std::size_t depth = 200'000;
  const std::string nested = std::string(depth, '[') + std::string(depth, ']');
  CHECK(!refusal(raw("{\"a\":" + nested + "}", 0)).empty());
  CHECK(!refusal(raw("{\"a\":{\"dtype\":" + nested + "}}", 0)).empty());
  CHECK(!refusal(raw("{\"a\":" + std::string(depth, '['), 0)).empty());
}

TEST_CASE("a truncated or damaged safetensors file is refused or read, never a crash") {
  const test::temporary_folder folder;
  io::tensor_file file = sample();
  const std::vector<double> many(500, 1.25);
  file.tensors.push_back(io::make_tensor<double>("large", {500}, many));
  io::write_safetensors(folder / "m.st", file);
  const std::string good = test::get(folder / "m.st");
  REQUIRE(good.size() > 4000);
  REQUIRE(refusal(good).empty());

  std::mt19937 random(7);
  std::vector<std::size_t> lengths;
  for (std::size_t length = 0; length < 300; ++length) {
    lengths.push_back(length);
  }
  for (int i = 0; i < 100; ++i) {
    lengths.push_back(random() % good.size());
  }
  lengths.push_back(good.size() - 1);
  for (const std::size_t length : lengths) {
    CAPTURE(length);
    CHECK(!refusal(good.substr(0, length)).empty());
  }
  CHECK(!refusal(good + "x").empty());

  const std::size_t header = 8 + static_cast<unsigned char>(good[0]) +
                             256 * static_cast<std::size_t>(static_cast<unsigned char>(good[1]));
  int refused = 0;
  for (int i = 0; i < 2000; ++i) {
    std::string damaged = good;
    for (auto flips = 1 + random() % 3; flips > 0; --flips) {
      damaged[random() % header] = static_cast<char>(random() % 256);
    }
    refused += refusal(damaged).empty() ? 0 : 1;  // any other exception fails the test
  }
  CHECK(refused > 500);
}
