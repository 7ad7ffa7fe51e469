// Images a second that the image encoders learn from, and how much of it is products.
//
//     image_encoders [threads [repetitions]]
//
// A step records a batch of 128 images of 1 x 36 x 36, with a softmax loss, and sweeps backwards.
// The encoders take turns. `products` is the time that the products of the convolutions would take
// alone, with the CPU backend's engine on patches that lie in the cache, one thread, as Y = P W, dW
// = Pᵀ dZ and dP = dZ Wᵀ: what is left of a step are pooling, dense layers, memory and everything
// else.
#include <cstdlib>
#include <string>
#include <vector>

#include "measuring.hpp"
#include "vierbein/encoder/convolutional.hpp"
#include "vierbein/encoder/residual.hpp"
#include "vierbein/graph/operations.hpp"

namespace vb = vierbein;
namespace vg = vierbein::graph;
using vb::index_t;

namespace {

using B = vb::backend::cpu;
constexpr index_t batch = 128;
constexpr vb::image_shape shape{1, 36, 36};

vb::matrix<float> numbers(index_t rows, index_t cols) {
  vb::matrix<float> m(rows, cols);
  for (index_t i = 0; i < m.size(); ++i) {
    m.data()[i] = static_cast<float>(i % 17) / 17 - 0.5F;
  }
  return m;
}

/// Seconds of the products of one convolution for a batch; the first layer needs no dP.
double product_seconds(const vg::convolution& layer, bool first) {
  const index_t depth = layer.window.size() * layer.in.channels;
  const index_t m = std::max(index_t{48}, 65536 / depth);  // rows of a panel
  const auto p = numbers(m, depth);
  const auto w = numbers(depth, layer.out.channels);
  auto y = numbers(m, layer.out.channels);
  auto dw = numbers(depth, layer.out.channels);
  auto dp = numbers(m, depth);
  const auto y_in = std::as_const(y).view();
  using engine = vb::backend::engine::tiled;
  double best = 1e9;
  for (int r = 0; r < 20; ++r) {
    const double start = measuring::now();
    engine::run<false, false, float>(p.view(), w.view(), {}, y.view(), false);
    engine::run<true, false, float>(p.view(), y_in, {}, dw.view(), false);
    if (!first) {
      engine::run<false, true, float>(y_in, w.view(), {}, dp.view(), false);
    }
    best = std::min(best, measuring::now() - start);
  }
  return best * static_cast<double>(batch * layer.out.pixels()) / static_cast<double>(m);
}

std::vector<vg::convolution> layers_of(const vb::encoder::convolutional::module& m) {
  return m.layers;
}
std::vector<vg::convolution> layers_of(const vb::encoder::residual::module& m) {
  std::vector<vg::convolution> layers{m.stem.filter};
  for (const auto& b : m.blocks) {
    layers.push_back(b.first.filter);
    layers.push_back(b.second.filter);
    if (b.projection.weight >= 0) {
      layers.push_back(b.projection);
    }
  }
  return layers;
}

template <class Encoder>
class candidate {
 public:
  candidate(const Encoder& encoder, int threads) : tape_(B{threads}) {
    module_ = encoder.build(theta_, "trunk", shape);
    head_ = vg::linear::make(theta_, "head", module_.width(), 10);
    theta_.initialise(1);
    tape_.bind(theta_.segments(), theta_.values());
    gradient_.resize(static_cast<std::size_t>(theta_.size()));
    images_.values = numbers(batch, shape.size());
    for (index_t i = 0; i < batch; ++i) {
      labels_(i, 0) = static_cast<double>(i % 10);
    }
  }

  void step() {
    const double wall = measuring::now();
    const double processor = measuring::processor_time();
    tape_.begin(vg::mode::training, {1, 1});
    const auto y = head_(tape_, module_(tape_, images_));
    const auto loss = vg::masked_loss(vb::backend::loss_kind::softmax, y,
                                      tape_.upload(std::as_const(labels_).view()));
    tape_.backward(loss, {gradient_.data(), theta_.size()});
    wall_.push_back(measuring::now() - wall);
    processor_.push_back(measuring::processor_time() - processor);
  }

  void print(const std::string& name) const {
    double products = 0;
    bool first = true;
    for (const auto& layer : layers_of(module_)) {
      products += product_seconds(layer, first);
      first = false;
    }
    const double per_image = 1e6 / static_cast<double>(batch);
    fmt::print("{:<28} {:>10.0f} {:>12.1f} {:>12.1f} {:>12.1f}\n", name,
               static_cast<double>(batch) / measuring::median(wall_),
               per_image * measuring::median(processor_),
               per_image * measuring::quantile(processor_, 0.1), per_image * products);
  }

 private:
  vb::parameters<float> theta_;
  typename Encoder::module module_;
  vg::linear head_;
  vg::tape<B> tape_;
  vb::aligned_vector<float> gradient_;
  vb::data::image_set::batch_type images_;
  vb::matrix<double> labels_{batch, 1};
  std::vector<double> wall_, processor_;
};

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  const int repetitions = argc > 2 ? std::atoi(argv[2]) : 40;
  measuring::print_environment(threads);
  fmt::print("# {} steps each, batch {}, images of {}\n", repetitions, batch, shape.describe());
  candidate lenet(vb::encoder::convolutional{}, threads);
  candidate wide(vb::encoder::convolutional{.channels = {16, 32}}, threads);
  candidate residual(vb::encoder::residual{}, threads);
  lenet.step();
  wide.step();
  residual.step();
  for (int r = 0; r < repetitions; ++r) {
    lenet.step();
    wide.step();
    residual.step();
  }
  fmt::print("{:<28} {:>10} {:>12} {:>12} {:>12}\n", "", "images/s", "us/image", "fastest 10%",
             "products");
  lenet.print("convolutional 6, 16");
  wide.print("convolutional 16, 32");
  residual.print("residual 16, 32, 64");
}
