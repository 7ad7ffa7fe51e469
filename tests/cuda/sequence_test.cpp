// Operations that come again are replayed as graphs: with the same bits as when each is launched by
// itself, whatever changes from step to step.
#include <doctest/doctest.h>

#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "../support/message_of.hpp"
#include "vierbein/backend/buffer.hpp"
#include "vierbein/backend/cuda.hpp"
#include "vierbein/core/matrix.hpp"
#include "vierbein/graph/operations.hpp"
#include "vierbein/optimizer/adam.hpp"

namespace vb = vierbein;
namespace vg = vierbein::graph;
using vb::index_t;
using vb::backend::cuda;
using vb::backend::cuda_options;
using vb::backend::device::launches;

namespace {

// Two layers with dropout and Adam, step by step on batches of any size.
class small_training {
 public:
  explicit small_training(const cuda_options& options) : backend_(options), tape_(backend_) {
    w1_ = theta_.add("w1", width, 30, vb::initialiser::glorot);
    b1_ = theta_.add("b1", 1, 30, vb::initialiser::zeros);
    w2_ = theta_.add("w2", 30, 1, vb::initialiser::glorot);
    theta_.initialise(1);
    parameters_ = vb::backend::buffer<cuda>(backend_, theta_.size());
    gradient_ = vb::backend::buffer<cuda>(backend_, theta_.size());
    parameters_.assign(backend_, theta_.values());
    tape_.bind(theta_.segments(), parameters_.view());
    adam_.emplace(vb::optimizer::adam{}, backend_, theta_.size());
    ranges_ = {{0, theta_.size()}};
  }

  /// One step on so many rows, which depend on the step.
  double step(index_t rows) {
    vb::matrix<double> x(rows, width);
    vb::matrix<double> y(rows, 1);
    for (index_t i = 0; i < x.size(); ++i) {
      x.data()[i] = static_cast<double>((i * 37 + steps_ * 11) % 101) / 50 - 1;
    }
    for (index_t r = 0; r < rows; ++r) {
      y(r, 0) = x(r, 3) - x(r, 5);
    }
    tape_.begin(vg::mode::training, {1, static_cast<std::uint64_t>(steps_++)});
    auto z = vg::affine(tape_.upload(std::as_const(x).view()), tape_.parameter(w1_),
                        tape_.parameter(b1_), vb::activation::relu);
    z = vg::affine(vg::dropout(z, 0.1), tape_.parameter(w2_), {});
    const auto loss = vg::masked_loss(vb::backend::loss_kind::squared, z,
                                      tape_.upload(std::as_const(y).view()), 1);
    const double value = tape_.read(loss);
    tape_.backward(loss, gradient_.view());
    adam_->step(parameters_.view(), gradient_.view(), 1, 1, ranges_);
    return value;
  }

  [[nodiscard]] std::vector<float> result() const {
    std::vector<float> values(static_cast<std::size_t>(theta_.size()));
    parameters_.copy_to(backend_, {values.data(), theta_.size()});
    return values;
  }
  [[nodiscard]] launches counts() const { return backend_.counts(); }

  static constexpr index_t width = 20;

 private:
  cuda backend_;
  vb::parameters<float> theta_;
  vb::segment_id w1_, b1_, w2_;
  vb::backend::buffer<cuda> parameters_, gradient_;
  vg::tape<cuda> tape_;
  std::optional<vb::optimizer::adam::state<cuda>> adam_;
  std::vector<vb::range> ranges_;
  int steps_ = 0;
};

// Of the operations between two counts: a tenth, and what comes last.
std::size_t most_singly(const launches& before, const launches& after) {
  return (after.operations - before.operations) / 10 + 24;
}

// Trains with and without graphs, on as many rows as `rows` says; both must agree in every bit.
// Returns what the one with graphs counted after `warm` steps and at the end.
template <class Rows>
std::pair<launches, launches> train_both_ways(cuda_options options, int steps, int warm,
                                              Rows&& rows) {
  small_training replayed(options);
  options.graphs = false;
  small_training plain(options);
  launches before;
  for (int i = 0; i < steps; ++i) {
    if (i == warm) {
      before = replayed.counts();
    }
    const double loss = replayed.step(rows(i));
    CHECK(loss == plain.step(rows(i)));
  }
  CHECK(replayed.result() == plain.result());
  CHECK(plain.counts().graphs == 0);
  CHECK(plain.counts().singly == plain.counts().operations);
  CHECK(replayed.counts().operations == plain.counts().operations);
  return {before, replayed.counts()};
}

}  // namespace

TEST_CASE("a step that comes again is replayed") {
  constexpr int steps = 30;
  constexpr int warm = 4;
  const auto [before, after] = train_both_ways({}, steps, warm, [](int) { return index_t{50}; });
  // From wait to wait: one step's sweep and the next one's forward pass. The last sweep comes with
  // the reading of the parameters, once.
  CHECK(after.singly - before.singly <= most_singly(before, after));
  // Pieces of 8, 16 and a few operations, the last too short for a graph.
  CHECK(after.graphs - before.graphs == 2 * (steps - warm));
  // The stream of dropout in both directions, and Adam's corrections.
  CHECK(after.updated - before.updated >= 3 * (steps - warm - 1));
  CHECK(after.updated - before.updated <
        (after.operations - before.operations - (after.singly - before.singly)) / 2);
}

TEST_CASE("batches of several sizes have graphs of their own, or share them") {
  const auto [before, after] = train_both_ways({}, 60, 24, [](int i) {
    return index_t{i % 6 == 5 ? 13 : 50};  // the last batch of an epoch
  });
  CHECK(after.singly - before.singly <= most_singly(before, after));
  // Any number of rows: no shape comes twice.
  train_both_ways({}, 60, 24, [](int i) { return index_t{3 + i}; });
}

TEST_CASE("products of cuBLAS are captured") {
  const auto [before, after] =
      train_both_ways({.own_volume = 0}, 30, 4, [](int) { return index_t{64}; });
  CHECK(after.singly - before.singly <= most_singly(before, after));
  CHECK(after.graphs > before.graphs);
  train_both_ways({.own_volume = 0}, 200, 4, [](int i) { return index_t{1 + i}; });
}

TEST_CASE("long pieces are cut") {
  const cuda backend;
  vb::backend::buffer<cuda> memory(backend, 4);
  for (int round = 0; round < 5; ++round) {
    const auto before = backend.counts();
    for (int i = 0; i < 200; ++i) {
      backend.unary(vb::backend::unary::scale, 1.0F, memory.row(), memory.row());
    }
    backend.synchronise();
    if (round > 1) {
      CHECK(backend.counts().graphs == before.graphs + 6);  // 8, 16, 32, 64, 64 and 16
      CHECK(backend.counts().singly == before.singly);
    }
  }
}

TEST_CASE("copies of a part of a matrix are replayed") {
  const cuda backend;
  vb::backend::buffer<cuda> memory(backend, 12);
  const vb::matrix_view<float, vb::device_space> whole(memory.view().data, 3, 4);
  for (int round = 0; round < 4; ++round) {
    const vb::matrix<double> part(2, 2, round + 0.5);
    backend.upload(vb::matrix_view<const double>(part.view()),
                   whole.row_range(1, 2).col_range(round % 2, 2));
    vb::matrix<double> back(2, 2);
    backend.download(whole.row_range(1, 2).col_range(round % 2, 2), back.view());
    CHECK(back == part);
  }
}

TEST_CASE("memory may be given back while operations wait that use it") {
  const cuda backend;
  for (int round = 0; round < 4; ++round) {
    vb::backend::buffer<cuda> kept(backend, 100);
    {
      const vb::backend::buffer<cuda> given_back(backend, 100);
      backend.fill(given_back.row(), 3);
      backend.copy(2, given_back.row(), kept.row(), false);
    }
    CHECK(backend.squared_norm(kept.view()) == 3600);
  }
}

TEST_CASE("two backends of one thread") {
  small_training a({});
  small_training b({});
  for (int i = 0; i < 10; ++i) {
    CHECK(a.step(40) == b.step(40));
  }
  CHECK(a.result() == b.result());
}

#if defined(VIERBEIN_EMULATED_CUDA)

TEST_CASE("without graphs in the runtime everything is launched singly") {
  emulated::device.at_instantiate = cudaErrorInvalidValue;
  const auto [before, after] = train_both_ways({}, 10, 4, [](int) { return index_t{50}; });
  emulated::device.at_instantiate = cudaSuccess;
  CHECK(after.graphs == 0);
  CHECK(after.singly == after.operations);
  CHECK(after.refused > 0);
}

TEST_CASE("graphs whose arguments cannot be set are given up") {
  emulated::device.at_update = cudaErrorInvalidValue;
  const auto [before, after] = train_both_ways({}, 30, 10, [](int) { return index_t{50}; });
  emulated::device.at_update = cudaSuccess;
  CHECK(after.refused == before.refused);
  CHECK(before.refused > 0);
  CHECK(after.updated == 0);
}

TEST_CASE("a backend may be destroyed by another thread") {
  auto backend = std::make_unique<cuda>();
  std::thread([&] { backend.reset(); }).join();
  const cuda another;
  vb::backend::buffer<cuda> memory(another, 10);
  another.fill(memory.row(), 2);
  CHECK(another.squared_norm(memory.view()) == 40);
}

TEST_CASE("a thread uses one device") {
  emulated::device.devices = 2;
  {
    const cuda first;
    CHECK(test::message_of([] { cuda(cuda_options{.device = 1}); }) ==
          "cuda: a thread uses one device: it has a backend on device 0, and wants one on device "
          "1");
    std::thread([] {
      CHECK(test::message_of([] { cuda(cuda_options{.device = 1}); }).empty());
    }).join();
  }
  CHECK(test::message_of([] { cuda(cuda_options{.device = 1}); }).empty());
  emulated::device.devices = 1;
}

TEST_CASE("graphs are given back") {
  const int before = emulated::graphs_alive;
  {
    small_training one({.own_volume = 0});
    for (int i = 0; i < 400; ++i) {
      one.step(1 + i / 4);
    }
    CHECK(emulated::graphs_alive > before + 100);
    CHECK(emulated::graphs_alive <= before + 2 * 128);  // each with its executable
  }
  CHECK(emulated::graphs_alive == before);
}

TEST_CASE("an error names the operation at the next wait, and what comes after goes on") {
  const cuda backend;
  vb::backend::buffer<cuda> memory(backend, 10);
  const auto x = memory.row();
  backend.synchronise();
  emulated::device.at_launch = cudaErrorNoKernelImageForDevice;
  backend.unary(vb::backend::unary::square, 0, x, x);
  backend.activate(vb::activation::relu, x, x);
  CHECK(test::message_of([&] { backend.synchronise(); }) ==
        "cuda, unary: kernel launch: this program holds no kernels for the device: its compute "
        "capability belongs in VIERBEIN_CUDA_ARCHITECTURES");
  backend.fill(x, 2);
  CHECK(backend.squared_norm(memory.view()) == 40);
  // An error that shows while memory is given back is kept.
  emulated::device.at_launch = cudaErrorIllegalAddress;
  {
    const vb::backend::buffer<cuda> given_back(backend, 10);
  }
  CHECK(test::message_of([&] { backend.synchronise(); })
            .starts_with(
                "cuda, fill or an operation before it: kernel launch: an illegal memory access"));
}

#endif
