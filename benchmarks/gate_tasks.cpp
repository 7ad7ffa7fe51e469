// Time of one training step of GATE with 2 to 64 tasks.
//
//     gate_tasks [threads [rounds [largest number of tasks]]]
//
// A step is what `fit` does for a batch: cut the batch, record the losses, read them, weigh, sweep
// backwards, clip, update. The cases take turns, so that a processor that slows down or is busy
// with something else slows all of them.
#include <cstdlib>
#include <string>
#include <vector>

#include "measuring.hpp"
#include "vierbein/vierbein.hpp"

namespace vb = vierbein;
using vb::index_t;

namespace {

constexpr index_t batch = 128;
constexpr index_t rows = 32 * batch;
constexpr index_t features = 128;
constexpr std::uint64_t seed = 7;
constexpr index_t warm_up = 4;  // steps of every round that do not count

auto make_model(index_t tasks, index_t sources) {
  vb::tasks<> list;
  for (index_t t = 0; t < tasks; ++t) {
    list.add(vb::regression("task" + std::to_string(t)));
  }
  return vb::multitask(
      vb::encoder::mlp{.widths = {128}}, list,
      vb::alignment::gate{.mapping = {.sources = sources}, .distance = {.perturbations = 1}},
      {.encoder = {128, 64}, .transfer = {64, 64}, .inverse = {64}, .head = {64}});
}
using model_type = decltype(make_model(2, 1));
using dataset = vb::data::dataset<vb::data::feature_set>;

/// What one step took, in seconds.
struct timing {
  std::vector<double> wall = {};
  std::vector<double> processor = {};
};

/// Notes how long each step takes.
struct stop_watch {
  timing* times;
  double wall = 0;
  double processor = 0;
  void on_begin(const vb::progress_info& /*info*/) { start(); }
  void on_step(const vb::progress_info& info) {
    if (info.step > warm_up) {
      times->wall.push_back(measuring::now() - wall);
      times->processor.push_back(measuring::processor_time() - processor);
    }
    start();
  }
  void start() {
    wall = measuring::now();
    processor = measuring::processor_time();
  }
};

struct test_case {
  index_t tasks;
  model_type model;
  dataset data;
  timing times = {};
};

void table(const vb::backend::cpu& cpu, index_t sources, index_t rounds, index_t most) {
  std::vector<test_case> cases;
  const auto x = measuring::normal_matrix(rows, features, seed);
  for (index_t n = 2; n <= most; n *= 2) {
    test_case one{n, make_model(n, sources), {{x}}};
    const auto w = measuring::normal_matrix(n, features, seed + 1);
    for (index_t t = 0; t < n; ++t) {
      std::vector<double> y(static_cast<std::size_t>(rows), 0.0);
      for (index_t r = 0; r < rows; ++r) {
        for (index_t c = 0; c < features; ++c) {
          y[static_cast<std::size_t>(r)] += x(r, c) * (w(0, c) + 0.3 * w(t, c));
        }
      }
      one.data.add("task" + std::to_string(t), y);
    }
    cases.push_back(std::move(one));
  }
  for (index_t round = 0; round < rounds; ++round) {
    for (test_case& c : cases) {
      vb::fit(cpu, c.model, c.data,
              {.epochs = 1, .batch = batch, .validation_fraction = 0, .seed = seed},
              vb::optimizer::adamw{}, vb::weighting::equal{}, stop_watch{&c.times});
    }
  }
  const auto per_task = [](const test_case& c, const std::vector<double>& seconds) {
    return 1e3 * measuring::median(seconds) / static_cast<double>(c.tasks);
  };
  fmt::print("\n{:>5} {:>10} {:>19} {:>9} {:>9} {:>13} {:>9} {:>9}\n", "tasks", "ms a step",
             "10 % ... 90 %", "per task", "against 2", "processor ms", "per task", "against 2");
  for (const test_case& c : cases) {
    const auto& [wall, processor] = c.times;
    fmt::print("{:5} {:10.3f} {:8.3f} ..{:8.3f} {:9.4f} {:9.2f} {:13.3f} {:9.4f} {:9.2f}\n",
               c.tasks, 1e3 * measuring::median(wall), 1e3 * measuring::quantile(wall, 0.1),
               1e3 * measuring::quantile(wall, 0.9), per_task(c, wall),
               per_task(c, wall) / per_task(cases[0], cases[0].times.wall),
               1e3 * measuring::median(processor), per_task(c, processor),
               per_task(c, processor) / per_task(cases[0], cases[0].times.processor));
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  const index_t rounds = argc > 2 ? std::atol(argv[2]) : 5;
  const index_t most = argc > 3 ? std::atol(argv[3]) : 64;
  const vb::backend::cpu cpu(threads);
  measuring::print_environment(cpu.threads());
  fmt::print(
      "# batch {}, {} features, trunk 128, encoder 128-64, transfer 64-64, inverse 64, "
      "head 64-1, one perturbed copy, AdamW, float\n"
      "# seed {}, {} rounds of {} steps, cases in turn, the first {} of a round dropped\n",
      batch, features, seed, rounds, rows / batch, warm_up);
  fmt::print("\nmapping from one drawn source to every target (the default)");
  table(cpu, 1, rounds, most);
  fmt::print("\nmapping from all sources to every target");
  table(cpu, 0, std::min<index_t>(rounds, 5), std::min<index_t>(most, 16));
}
