// Training steps on a device and on the CPU, from networks that are too small for a device to ones
// that are large; and how much of the device's own rates they reach.
//
//     cuda_benchmark [quick]     `quick` leaves out what takes the CPU minutes
#include <cstring>
#include <functional>
#include <optional>

#include "../measuring.hpp"
#include "vierbein/backend/cuda.hpp"
#include "vierbein/vierbein.hpp"

namespace vb = vierbein;
using vb::index_t;

namespace {

constexpr std::uint64_t seed = 2310;
constexpr index_t warm_up = 6;
constexpr index_t steps = 40;

/// Seconds between the ends of two steps; the first ones, which reserve memory, are dropped.
struct stop_watch {
  std::vector<double>* times;
  double last = 0;

  void on_step(const vb::progress_info& info) {
    const double time = measuring::now();
    if (info.step > warm_up) {
      times->push_back(time - last);
    }
    last = time;
  }
};

/// Keeps the norm of every gradient equal: a weighting that needs all gradients.
struct balanced_norms {
  using weighting_kind = vb::gram_based;
  void weigh(vb::losses l, vb::gram_matrix g, vb::weights w) const {
    for (std::size_t t = 0; t < l.size(); ++t) {
      const auto i = static_cast<index_t>(t);
      w[t] = 1 / std::sqrt(g(i, i) + 1e-12);
    }
  }
};

vb::tasks<> some_tasks(index_t count) {
  vb::tasks<> list;
  for (index_t t = 0; t < count; ++t) {
    list.add(vb::regression("task" + std::to_string(t)));
  }
  return list;
}

template <class Dataset>
void add_labels(Dataset& data, index_t count) {
  const auto y = measuring::normal_matrix(data.inputs.size(), count, seed + 1);
  for (index_t t = 0; t < count; ++t) {
    std::vector<double> column(static_cast<std::size_t>(y.rows()));
    for (index_t r = 0; r < y.rows(); ++r) {
      column[static_cast<std::size_t>(r)] = y(r, t);
    }
    data.add("task" + std::to_string(t), column);
  }
}

vb::data::dataset<vb::data::feature_set> features(index_t rows, index_t width, index_t count) {
  vb::data::dataset<vb::data::feature_set> data{{measuring::normal_matrix(rows, width, seed)}};
  add_labels(data, count);
  return data;
}

/// Rings of 20 nodes with random features: the size of molecules.
vb::data::dataset<vb::data::graph_set> rings(index_t count, index_t tasks) {
  constexpr std::int32_t nodes = 20;
  vb::data::dataset<vb::data::graph_set> data;
  auto& g = data.inputs;
  for (index_t k = 0; k < count; ++k) {
    const auto first = static_cast<std::int32_t>(k) * nodes;
    for (std::int32_t v = 0; v < nodes; ++v) {
      const auto e = static_cast<std::int32_t>(g.source.size());
      const std::int32_t a = first + v;
      const std::int32_t b = first + (v + 1) % nodes;
      g.source.insert(g.source.end(), {a, b});
      g.target.insert(g.target.end(), {b, a});
      g.reverse.insert(g.reverse.end(), {e + 1, e});
    }
    g.node_offset.push_back(g.node_offset.back() + nodes);
    g.edge_offset.push_back(static_cast<index_t>(g.source.size()));
  }
  const auto random = [](index_t rows, index_t cols, std::uint64_t which) {
    const auto from = measuring::normal_matrix(rows, cols, which);
    vb::matrix<float> to(rows, cols);
    std::copy(from.data(), from.data() + from.size(), to.data());
    return to;
  };
  g.node_features = random(g.node_offset.back(), 32, seed);
  g.edge_features = random(g.edge_offset.back(), 8, seed + 2);
  add_labels(data, tasks);
  return data;
}

/// The median time of a training step in milliseconds.
template <class B, class Model, class Dataset, class Weighting>
double step_time(const B& backend, Model model, const Dataset& data, index_t batch,
                 const Weighting& weighting) {
  std::vector<double> times;
  const index_t per_epoch = data.inputs.size() / batch;
  const index_t epochs = (steps + per_epoch - warm_up - 1) / (per_epoch - warm_up);
  vb::fit(
      backend, model, data,
      {.epochs = epochs, .batch = batch, .validation_fraction = 0, .clip_norm = 0, .seed = seed},
      vb::optimizer::adam{}, weighting, stop_watch{&times});
  return 1e3 * measuring::median(times);
}

/// One line of the table. Operations are the multiplications and additions of the products.
template <class Model, class Dataset, class Weighting>
void line(const char* name, const std::optional<vb::backend::cpu>& cpu,
          const std::function<vb::backend::cuda(vb::backend::precision)>& device,
          const Model& model, const Dataset& data, index_t batch, const Weighting& weighting) {
  fmt::print("{:44}", name);
  const double on_cpu = cpu ? step_time(*cpu, model, data, batch, weighting) : 0;
  cpu ? fmt::print(" {:10.3f}", on_cpu) : fmt::print(" {:>10}", "-");
  for (const auto p :
       {vb::backend::precision::full, vb::backend::precision::tf32, vb::backend::precision::bf16}) {
    const double time = step_time(device(p), model, data, batch, weighting);
    fmt::print(" {:10.3f}", time);
    if (p == vb::backend::precision::full) {
      cpu ? fmt::print(" {:8.1f}", on_cpu / time) : fmt::print(" {:>8}", "-");
    }
  }
  fmt::print("\n");
}

/// What the device does at best: products of large matrices, and copying.
void rates(vb::backend::precision p, const char* name, index_t n) {
  const vb::backend::cuda device(vb::backend::cuda_options{.products = p});
  vb::backend::buffer<vb::backend::cuda> memory(device, 3 * n * n);
  using view = vb::matrix_view<float, vb::device_space>;
  const auto part = [&](index_t i) { return view(memory.view().data + i * n * n, n, n); };
  const auto time = [&](auto&& run) {
    std::vector<double> times;
    for (int i = 0; i < 15; ++i) {
      device.synchronise();
      const double begin = measuring::now();
      run();
      device.synchronise();
      times.push_back(measuring::now() - begin);
    }
    return measuring::median(times);
  };
  const vb::backend::product<float, vb::device_space> one{part(0), part(1), part(2)};
  const double seconds =
      time([&] { device.multiply(vb::backend::transposition::nn, {&one, 1}, false); });
  const auto side = static_cast<double>(n);
  fmt::print("product of {0} x {0} matrices, {1}: {2:.2f} TFLOP/s\n", n, name,
             2e-12 * side * side * side / seconds);
  if (p == vb::backend::precision::full) {
    const double copy = time([&] { device.copy(1, part(0), part(1), false); });
    fmt::print("copy: {:.0f} GB/s read and written\n", 8e-9 * side * side / copy);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bool quick = argc > 1 && std::strcmp(argv[1], "quick") == 0;
  try {
    vb::backend::device::select(0);
  } catch (const vb::error& e) {
    fmt::print("skipped: {}\n", e.what());
    return 77;
  }
  const std::optional<vb::backend::cpu> cpu(std::in_place);
  const std::optional<vb::backend::cpu> slow = quick ? std::nullopt : cpu;
  measuring::print_environment(cpu->threads());
  fmt::print(
      "# seed {}, medians of {} steps or more, the first {} of an epoch dropped; Adam, no "
      "clipping; data travel to the device in every step\n\n",
      seed, steps, warm_up);
  const index_t n = quick ? 1024 : 8192;
  rates(vb::backend::precision::full, "float", n);
  rates(vb::backend::precision::tf32, "tf32", n);
  rates(vb::backend::precision::bf16, "bf16", n);

  const auto device = [](vb::backend::precision p) {
    return vb::backend::cuda(vb::backend::cuda_options{.products = p});
  };
  fmt::print("\n{:44} {:>10} {:>10} {:>8} {:>10} {:>10}\n", "milliseconds a step", "cpu", "device",
             "ratio", "tf32", "bf16");
  const auto dense = [&](const char* name, const auto& on, index_t in, std::vector<index_t> trunk,
                         index_t head, index_t tasks, index_t batch, const auto& weighting) {
    const vb::module_options modules{.encoder = {head}, .head = {}};
    line(name, on, device,
         vb::multitask(vb::encoder::mlp{.widths = std::move(trunk)}, some_tasks(tasks),
                       vb::alignment::none{}, modules),
         features(20 * batch, in, tasks), batch, weighting);
  };
  const vb::weighting::equal equal;
  dense("32-64-64, 4 tasks, batch 32", cpu, 32, {64, 64}, 32, 4, 32, equal);
  dense("128-256-256, 4 tasks, batch 128", cpu, 128, {256, 256}, 64, 4, 128, equal);
  dense("128-256-256, 4 tasks, batch 512", cpu, 128, {256, 256}, 64, 4, 512, equal);
  dense("128-256-256, 16 tasks, batch 512", cpu, 128, {256, 256}, 64, 16, 512, equal);
  dense("the same, all gradients and the Gramian", cpu, 128, {256, 256}, 64, 16, 512,
        balanced_norms{});
  for (const index_t tasks : {4, 64}) {
    if (quick && tasks > 4) {
      continue;
    }
    const vb::module_options modules{
        .encoder = {128, 64}, .transfer = {64, 64}, .inverse = {64}, .head = {64}};
    line(tasks == 4 ? "GATE, 4 tasks, batch 128" : "GATE, 64 tasks, batch 128", cpu, device,
         vb::multitask(vb::encoder::mlp{.widths = {128}}, some_tasks(tasks), vb::alignment::gate{},
                       modules),
         features(20 * 128, 64, tasks), 128, equal);
  }
  for (const index_t batch : {64, 4096}) {
    if (quick && batch > 64) {
      continue;
    }
    line(batch == 64 ? "message passing, 64 graphs" : "message passing, 4096 graphs",
         batch == 64 ? cpu : slow, device,
         vb::multitask(vb::encoder::dmpnn{.hidden = 128, .depth = 3}, some_tasks(4),
                       vb::alignment::none{}),
         rings((warm_up + 6) * batch, 4), batch, equal);
  }
  if (!quick) {
    dense("1024-4096-4096-4096-4096, 4 tasks, batch 8192", std::optional<vb::backend::cpu>(), 1024,
          {4096, 4096, 4096, 4096}, 256, 4, 8192, equal);
  }

  fmt::print("\nwhere a device begins to pay: two hidden layers of one width, 4 tasks\n");
  fmt::print("{:44} {:>10} {:>10} {:>8} {:>10} {:>10}\n", "milliseconds a step", "cpu", "device",
             "ratio", "tf32", "bf16");
  for (const index_t width : {32, 128, 512, 2048}) {
    for (const index_t batch : {32, 256, 2048}) {
      if (quick && width * width * batch > 1 << 22) {
        continue;
      }
      dense(fmt::format("width {}, batch {}", width, batch).c_str(), cpu, width, {width, width}, 64,
            4, batch, equal);
    }
  }
}
