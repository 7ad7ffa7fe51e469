// Where a device begins to pay: training steps on it and on the CPU, from networks that are too
// small for a device to ones that are large. What a device does at best, and its steps against
// PyTorch's, are matters of ../compare.py.
//
//     cuda_benchmark [quick]     `quick` leaves out what takes the CPU minutes
#include <cstring>
#include <string>
#include <vector>

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

/// One line of the table: hard sharing, two hidden layers of one width and 4 tasks.
void line(const vb::backend::cpu& cpu, index_t width, index_t batch) {
  constexpr index_t tasks = 4;
  const auto model = vb::multitask(vb::encoder::mlp{.widths = {width, width}}, some_tasks(tasks),
                                   vb::alignment::none{}, {.encoder = {64}, .head = {}});
  const auto data = features(20 * batch, width, tasks);
  const vb::weighting::equal equal;
  fmt::print("{:44}", fmt::format("width {}, batch {}", width, batch));
  const double on_cpu = step_time(cpu, model, data, batch, equal);
  fmt::print(" {:10.3f}", on_cpu);
  for (const auto p :
       {vb::backend::precision::full, vb::backend::precision::tf32, vb::backend::precision::bf16}) {
    const vb::backend::cuda device(vb::backend::cuda_options{.products = p});
    const double time = step_time(device, model, data, batch, equal);
    fmt::print(" {:10.3f}", time);
    if (p == vb::backend::precision::full) {
      fmt::print(" {:8.1f}", on_cpu / time);
    }
  }
  fmt::print("\n");
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
  const vb::backend::cpu cpu;
  measuring::print_environment(cpu.threads());
  fmt::print(
      "# seed {}, medians of {} steps or more, the first {} of an epoch dropped; Adam, no "
      "clipping; data travel to the device in every step\n\n",
      seed, steps, warm_up);
  fmt::print("two hidden layers of one width, 4 tasks\n");
  fmt::print("{:44} {:>10} {:>10} {:>8} {:>10} {:>10}\n", "milliseconds a step", "cpu", "device",
             "ratio", "tf32", "bf16");
  for (const index_t width : {32, 128, 512, 2048}) {
    for (const index_t batch : {32, 256, 2048}) {
      if (!quick || width * width * batch <= 1 << 22) {
        line(cpu, width, batch);
      }
    }
  }
}
