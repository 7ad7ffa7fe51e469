#include "vierbein/data/images.hpp"

#include <doctest/doctest.h>

#include <limits>
#include <string>
#include <vector>

#include "../support/message_of.hpp"
#include "vierbein/data/dataset.hpp"

namespace vb = vierbein;
using vb::image_shape;
using vb::index_t;
using vb::data::image_set;

namespace {

// Images whose pixel (y, x) of channel c is 100 image + 10 c + 3 y + x.
std::vector<float> numbers(index_t n, const image_shape& shape) {
  std::vector<float> pixels;
  for (index_t i = 0; i < n; ++i) {
    for (index_t c = 0; c < shape.channels; ++c) {
      for (index_t y = 0; y < shape.height; ++y) {
        for (index_t x = 0; x < shape.width; ++x) {
          pixels.push_back(static_cast<float>(100 * i + 10 * c + 3 * y + x));
        }
      }
    }
  }
  return pixels;
}

constexpr image_shape shape{2, 2, 3};

image_set floats(index_t n) {
  return {shape, numbers(n, shape)};
}

image_set bytes(index_t n) {
  std::vector<std::uint8_t> pixels;
  for (const float v : numbers(n, shape)) {
    pixels.push_back(static_cast<std::uint8_t>(v));
  }
  return {shape, pixels};
}

}  // namespace

TEST_CASE("images come as N x C x H x W and lie with channels last") {
  const image_set set = floats(3);
  CHECK(set.size() == 3);
  CHECK(set.shape() == shape);
  CHECK(!set.compact());
  CHECK(set.shape().describe() == "2 channels of 2 x 3 pixels");
  image_set::batch_type batch;
  set.gather(std::vector<index_t>{2, 0}, batch);
  CHECK(batch.size() == 2);
  REQUIRE(batch.values.cols() == 12);
  for (index_t c = 0; c < 2; ++c) {
    for (index_t y = 0; y < 2; ++y) {
      for (index_t x = 0; x < 3; ++x) {
        const auto v = static_cast<float>(10 * c + 3 * y + x);
        CHECK(set.value(1, c, y, x) == 100 + v);
        CHECK(batch.values(0, (y * 3 + x) * 2 + c) == 200 + v);
        CHECK(batch.values(1, (y * 3 + x) * 2 + c) == v);
      }
    }
  }
}

TEST_CASE("bytes are kept as bytes and stand for b / 255") {
  const image_set set = bytes(2);
  CHECK(set.compact());
  CHECK(set.value(1, 1, 1, 2) == 115.0F / 255.0F);
  image_set::batch_type batch;
  set.gather(std::vector<index_t>{1}, batch);
  CHECK(batch.values(0, 11) == 115.0F / 255.0F);
  const image_set white({1, 1, 1}, std::vector<std::uint8_t>{255});
  CHECK(white.value(0, 0, 0, 0) == 1);
}

TEST_CASE("select and append") {
  image_set set = bytes(2).select(std::vector<index_t>{1, 1, 0});
  CHECK(set.size() == 3);
  CHECK(set.compact());
  CHECK(set.value(0, 0, 0, 1) == 101.0F / 255.0F);
  CHECK(set.value(2, 0, 0, 1) == 1.0F / 255.0F);
  set.append(bytes(1));
  CHECK(set.size() == 4);
  CHECK(set.compact());
  set.append(floats(2));
  CHECK(set.size() == 6);
  CHECK(!set.compact());
  CHECK(set.value(0, 0, 0, 1) == 101.0F / 255.0F);
  CHECK(set.value(5, 0, 0, 1) == 101.0F);
  set.append(bytes(1));
  CHECK(set.value(6, 1, 0, 0) == 10.0F / 255.0F);
  set.append(set);
  CHECK(set.size() == 14);
  CHECK(set.value(12, 0, 0, 1) == 101.0F);
  image_set none;
  none.append(floats(1));
  CHECK(none.shape() == shape);
  CHECK(none.size() == 1);
  none.append(image_set{});
  CHECK(none.size() == 1);
  const image_set nothing = none.select({});
  CHECK(nothing.size() == 0);
  CHECK(nothing.shape() == shape);
  for (const index_t row : {-1, 14}) {
    CHECK(test::message_of([&] { (void)set.select(std::vector<index_t>{row}); }) ==
          "images: no row " + std::to_string(row) + " among 14 samples");
  }
  CHECK(test::message_of([&] { none.append({{1, 2, 3}, numbers(1, {1, 2, 3})}); }) ==
        "images: expected 2 channels of 2 x 3 pixels as before, found 1 channel of 2 x 3 pixels");
}

TEST_CASE("a data set of images") {
  vb::data::dataset data{floats(4)};
  data.add("a", std::vector<double>{1, 2, 3, 4});
  data.check();
  auto more = data.select(std::vector<index_t>{3});
  more.append(data);
  CHECK(more.size() == 5);
  CHECK(more.inputs.value(0, 0, 0, 0) == 300);
}

TEST_CASE("mean and deviation of every channel") {
  const image_set set({2, 1, 2}, std::vector<float>{1, 3, 10, 10, 5, 7, 10, 10, 99, 99, 0, 0});
  const auto m = set.channel_moments(std::vector<index_t>{0, 1});
  REQUIRE(m.size() == 2);
  CHECK(m[0].mean == 4);
  CHECK(m[0].deviation == doctest::Approx(std::sqrt(5.0)));
  CHECK(m[1].mean == 10);
  CHECK(m[1].deviation == 0);
}

TEST_CASE("what is no set of images is refused") {
  const auto make = [](const image_shape& s, std::vector<float> pixels) {
    return test::message_of([&] { image_set(s, pixels); });
  };
  CHECK(make({1, 2, 0}, {}) ==
        "images: expected images of at least one pixel and one channel, found 1 channel of 2 x 0 "
        "pixels");
  CHECK(make({0, 2, 2}, {1}) ==
        "images: expected images of at least one pixel and one channel, found 0 channels of 2 x 2 "
        "pixels");
  CHECK(make({1, 2, 2}, {}) ==
        "images: expected at least one image of 1 channel of 2 x 2 pixels, "
        "found none");
  CHECK(make({1, 2, 2}, {1, 2, 3, 4, 5}) ==
        "images: 5 numbers are no whole number of images of 1 channel of 2 x 2 pixels (4 numbers "
        "each)");
  auto pixels = numbers(4, shape);
  pixels[12 * 3 + 6 + 3 + 2] = std::numeric_limits<float>::quiet_NaN();
  CHECK(make(shape, pixels) ==
        "images, image 3, channel 1, row 1, column 2 (counted from 0): expected a finite number, "
        "found nan");
  pixels[0] = -std::numeric_limits<float>::infinity();
  CHECK(make(shape, pixels) ==
        "images, image 0, channel 0, row 0, column 0 (counted from 0): expected a finite number, "
        "found -inf");
}
