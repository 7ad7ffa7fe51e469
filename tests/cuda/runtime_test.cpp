// What the CUDA backend says when something is wrong, what it allocates and how often it waits.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../support/message_of.hpp"
#include "vierbein/backend/buffer.hpp"
#include "vierbein/backend/cuda.hpp"
#include "vierbein/core/matrix.hpp"
#include "vierbein/graph/operations.hpp"

namespace vb = vierbein;
namespace vg = vierbein::graph;
using vb::index_t;
using vb::backend::cuda;

static_assert(vb::Backend<cuda>);
static_assert(vb::Backend<vb::backend::cuda_double>);
static_assert(std::is_same_v<cuda::space, vb::device_space>);

TEST_CASE("more memory than there is") {
  const cuda backend;
  const std::string said =
      test::message_of([] { static_cast<void>(cuda::memory::allocate(std::size_t{1} << 50)); });
  CHECK(said.starts_with("cuda: out of device memory: 1073741824.0 MiB were asked for, "));
  CHECK(said.ends_with(" MiB are free"));
  vb::backend::buffer<cuda> buffer(backend, 10);  // and it goes on
  vb::matrix<float> zeros(1, 10, 1.0F);
  buffer.copy_to(backend, {zeros.data(), 10});
  CHECK(zeros == vb::matrix<float>(1, 10, 0.0F));
}

TEST_CASE("a device that is not there") {
  const std::string said =
      test::message_of([] { cuda(vb::backend::cuda_options{.device = 1000}); });
  CHECK(said.starts_with("cuda: expected the number of a device from 0 to "));
  CHECK(said.ends_with(", found 1000"));
}

TEST_CASE("many uploads between two readings, of which each may overwrite its source") {
  const cuda backend;
  constexpr index_t n = 30000;
  constexpr index_t count = 40;
  vb::backend::buffer<cuda> there(backend, n * count);
  vb::matrix<double> source(1, n);
  for (index_t k = 0; k < count; ++k) {
    for (index_t i = 0; i < n; ++i) {
      source(0, i) = static_cast<double>(k * 7 + i % 5);
    }
    backend.upload(vb::matrix_view<const double>(source.view()), there.row().col_range(k * n, n));
  }
  vb::matrix<float> back(1, n * count);
  there.copy_to(backend, {back.data(), n * count});
  bool same = true;
  for (index_t i = 0; i < n * count; ++i) {
    same = same && back(0, i) == static_cast<float>(i / n * 7 + i % n % 5);
  }
  CHECK(same);
}

TEST_CASE("a part of a matrix and row numbers travel; other parts stay") {
  const cuda backend;
  vb::backend::buffer<cuda> there(backend, 12);
  const vb::matrix_view<float, vb::device_space> whole(there.view().data, 3, 4);
  vb::matrix<double> part(2, 2);
  for (index_t i = 0; i < 4; ++i) {
    part.data()[i] = static_cast<double>(i + 1);
  }
  backend.upload(vb::matrix_view<const double>(part.view()), whole.row_range(1, 2).col_range(1, 2));
  vb::matrix<double> back(3, 4);
  backend.download(whole, back.view());
  const double expected[] = {0, 0, 0, 0, 0, 1, 2, 0, 0, 3, 4, 0};
  CHECK(std::equal(expected, expected + 12, back.data()));
  vb::matrix<double> corner(2, 1);
  backend.download(whole.row_range(1, 2).col_range(2, 1), corner.view());
  CHECK(corner(0, 0) == 2);
  CHECK(corner(1, 0) == 4);
}

TEST_CASE("what was prefetched is there when it is uploaded") {
  const cuda backend;
  vb::backend::buffer<cuda> there(backend, 12);
  const vb::matrix_view<float, vb::device_space> whole(there.view().data, 3, 4);
  const auto matrix_there = [&] {
    vb::matrix<double> back(3, 4);
    backend.download(whole, back.view());
    return back;
  };
  vb::matrix<double> a(3, 4, 1.0);
  vb::matrix<double> b(2, 2, 2.0);
  std::vector<std::int32_t> rows{7, 8, 9};
  vb::backend::buffer<cuda> numbers(backend, 3);
  for (int round = 0; round < 5; ++round) {
    const double first = round + 0.25;
    std::fill(a.data(), a.data() + a.size(), first);
    std::fill(b.data(), b.data() + b.size(), -first);
    rows.assign({round, 8, 9});
    backend.prefetch([&](auto&& announce) {
      announce(std::as_const(a).view());
      announce(std::span<const std::int32_t>(rows));
      announce(std::as_const(b).view());
    });
    // The device has taken the values of that moment.
    a(0, 0) = 99;
    b(0, 0) = 99;
    rows[0] = 99;
    backend.upload(std::as_const(a).view(), whole);
    CHECK(matrix_there() == vb::matrix<double>(3, 4, first));
    backend.upload(std::as_const(b).view(), whole.row_range(1, 2).col_range(1, 2));
    vb::matrix<double> expected(3, 4, first);
    for (const index_t r : {1, 2}) {
      expected(r, 1) = expected(r, 2) = -first;
    }
    CHECK(matrix_there() == expected);
    backend.upload_indices(rows, reinterpret_cast<std::int32_t*>(numbers.view().data));
    std::int32_t found[3];
    backend.download(numbers.row(), vb::matrix_view<float>(reinterpret_cast<float*>(found), 1, 3));
    CHECK(found[0] == round);
    CHECK(found[2] == 9);
    // A part of it is not it, and what is forgotten is uploaded anew.
    backend.upload(std::as_const(a).view().row_range(0, 1), whole.row_range(2, 1));
    CHECK(matrix_there()(2, 0) == 99);
    backend.forget_prefetched();
    backend.upload(std::as_const(a).view(), whole);
    CHECK(matrix_there()(0, 0) == 99);
  }
}

TEST_CASE("uploads may be empty") {
  const cuda backend;
  const vb::matrix<double> nothing(0, 3);
  backend.upload(vb::matrix_view<const double>(nothing.view()), {});
  backend.upload_indices({}, nullptr);
  vb::matrix<double> none(0, 3);
  backend.download({}, none.view().row_range(0, 0));
  CHECK(backend.squared_norm({}) == 0);
}

#if defined(VIERBEIN_EMULATED_CUDA)

namespace {

/// Puts the emulated machine back in order.
struct restored_machine {
  restored_machine() = default;
  restored_machine(const restored_machine&) = delete;
  restored_machine& operator=(const restored_machine&) = delete;
  ~restored_machine() {
    emulated::device.driver = 13000;
    emulated::device.devices = 1;
    emulated::device.device_count = cudaSuccess;
    emulated::device.total_memory = std::size_t{1} << 30;
  }
};

}  // namespace

TEST_CASE("machines that cannot compute") {
  const restored_machine restored;
  const auto said = [] { return test::message_of([] { cuda{}; }); };
  emulated::device.driver = 0;
  CHECK(said() == "cuda: no NVIDIA driver is installed; a program built with CUDA 13.0 needs one");
  emulated::device.driver = 12080;
  emulated::device.device_count = cudaErrorInsufficientDriver;
  CHECK(said() ==
        "cuda: the driver supports CUDA 12.8, but the program was built with CUDA 13.0: a newer "
        "driver is needed");
  emulated::device.driver = 13000;
  emulated::device.device_count = cudaErrorNoDevice;
  CHECK(said() == "cuda: this machine has no CUDA device");
  emulated::device.device_count = cudaSuccess;
  emulated::device.devices = 0;
  CHECK(said() == "cuda: this machine has no CUDA device");
}

TEST_CASE("memory that runs out says what was asked for and what is free") {
  const restored_machine restored;
  const cuda backend;
  emulated::device.total_memory = emulated::device.used_memory + (std::size_t{3} << 20);
  const double total = static_cast<double>(emulated::device.total_memory) / 1048576.0;
  CHECK(
      test::message_of([&] { vb::backend::buffer<cuda>(backend, index_t{1} << 20); }) ==
      fmt::format("cuda: out of device memory: 4.0 MiB were asked for, 3.0 of {:.1f} MiB are free",
                  total));
}

TEST_CASE("without graphs errors name the operation, or the last one before the wait") {
  const cuda backend(vb::backend::cuda_options{.graphs = false});
  vb::backend::buffer<cuda> memory(backend, 10);
  const auto x = memory.row();
  emulated::device.at_launch = cudaErrorNoKernelImageForDevice;
  CHECK(test::message_of([&] { backend.unary(vb::backend::unary::square, 0, x, x); }) ==
        "cuda, unary: kernel launch: this program holds no kernels for the device: its compute "
        "capability belongs in VIERBEIN_CUDA_ARCHITECTURES");
  backend.activate(vb::activation::relu, x, x);
  emulated::device.at_synchronise = cudaErrorIllegalAddress;
  CHECK(test::message_of([&] { static_cast<void>(backend.squared_norm(memory.view())); }) ==
        "cuda, waiting for the operations up to squared_norm: cudaStreamSynchronize: an illegal "
        "memory access was encountered (cudaErrorIllegalAddress)");
}

TEST_CASE("a step allocates nothing once memory is warm, and waits where it reads") {
  const cuda backend;
  vb::parameters<float> theta;
  const auto w1 = theta.add("w1", 20, 30, vb::initialiser::glorot);
  const auto b1 = theta.add("b1", 1, 30, vb::initialiser::zeros);
  const auto w2 = theta.add("w2", 30, 1, vb::initialiser::glorot);
  theta.initialise(1);
  vb::backend::buffer<cuda> parameters(backend, theta.size());
  vb::backend::buffer<cuda> gradient(backend, theta.size());
  parameters.assign(backend, theta.values());
  vg::tape<cuda> tape(backend);
  tape.bind(theta.segments(), parameters.view());
  const vb::matrix<double> x(300, 20, 0.5);
  const vb::matrix<double> y(300, 1, 1.0);
  for (int step = 0; step < 6; ++step) {
    const int allocations = emulated::device.allocations;
    const int waits = emulated::device.synchronisations;
    tape.begin(vg::mode::training, {1, static_cast<std::uint64_t>(step)});
    auto z = vg::affine(tape.upload(x.view()), tape.parameter(w1), tape.parameter(b1),
                        vb::activation::relu);
    z = vg::affine(vg::dropout(z, 0.1), tape.parameter(w2), {});
    const auto loss = vg::masked_loss(vb::backend::loss_kind::squared, z, tape.upload(y.view()), 1);
    CHECK(tape.read(loss) > 0);
    tape.backward(loss, gradient.view());
    if (step > 1) {
      CHECK(emulated::device.allocations == allocations);
      CHECK(emulated::device.synchronisations == waits + 1);
    }
  }
}

TEST_CASE("row numbers travel once a step") {
  const cuda backend;
  vg::tape<cuda> tape(backend);
  const std::vector<std::int32_t> begin{0, 2, 3};
  std::vector<std::int32_t> item{0, 2, 1};
  const vb::matrix<double> x(3, 2, 1.5);
  for (int step = 0; step < 3; ++step) {
    tape.begin(vg::mode::training);
    const auto before = backend.counts().operations;
    const auto first = tape.indices(item);
    CHECK(tape.indices(item).data == first.data);
    CHECK(tape.indices(std::span(item).first(2)).data != first.data);
    static_cast<void>(tape.indices(begin));
    CHECK(backend.counts().operations == before + 3);
    item[0] = step;  // another step may have others at the same address
  }
}

TEST_CASE("memory is given back") {
  const std::size_t before = emulated::device.used_memory;
  {
    const cuda backend;
    const vb::backend::buffer<cuda> buffer(backend, 1000);
    static_cast<void>(backend.squared_norm(buffer.view()));
    CHECK(emulated::device.used_memory > before);
  }
  CHECK(emulated::device.used_memory == before);
}

#endif
