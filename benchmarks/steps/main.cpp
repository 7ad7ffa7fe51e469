// How long the library takes for a training step, scenario by scenario (Google Benchmark).
//
//     steps --benchmark_list_tests
//     steps --benchmark_filter='^hard/T4' [--benchmark_format=json] [--benchmark_min_time=0.5]
//     steps --losses --benchmark_filter='^hard/T4/B128'
//
// The first names the scenarios, which the files here explain; the last trains five steps from
// weights and data by formula and prints the losses.
//
// Every iteration is one step as `fit` does it: cut the batch, record, weigh, sweep, update. Beside
// its own mean the program reports the iterations' median, p10 and p90 in seconds, the flops of the
// products of a step where they are well defined, and the number of parameters. Threads are those
// of OMP_NUM_THREADS. `compare.py` runs this against PyTorch.
#include "harness.hpp"

namespace {

/// Prints nothing: with --losses the scenarios print themselves.
struct silence : benchmark::BenchmarkReporter {
  bool ReportContext(const Context& /*context*/) override { return true; }
  void ReportRuns(const std::vector<Run>& /*runs*/) override {}
};

#ifdef VIERBEIN_BENCHMARK_CUDA
bool has_device() {
  try {
    vierbein::backend::device::select(0);
    return true;
  } catch (const vierbein::error&) {
    return false;
  }
}
#endif

}  // namespace

int main(int argc, char** argv) {
  const auto end = std::remove_if(argv + 1, argv + argc, [](const char* argument) {
    const bool mine = std::string_view(argument) == "--losses";
    steps::print_losses = steps::print_losses || mine;
    return mine;
  });
  argc = static_cast<int>(end - argv);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) {
    return 1;
  }
  benchmark::AddCustomContext("options", VIERBEIN_BENCHMARK_FLAGS);
  benchmark::AddCustomContext("compiler", measuring::compiler());
  benchmark::AddCustomContext("registers", measuring::registers());
  benchmark::AddCustomContext("threads", std::to_string(vierbein::backend::cpu().threads()));
  steps::add_dense();
  steps::add_gate();
  steps::add_graphs_and_images();
  steps::add_parts();
  steps::add_weightings();
  steps::add_probes();
#ifdef VIERBEIN_BENCHMARK_CUDA
  if (has_device()) {
    steps::add_cuda_dense();
    steps::add_cuda_gate();
    steps::add_cuda_graphs_and_images();
    steps::add_device_probes();
  }
#endif
  try {
    if (steps::print_losses) {
      silence nothing;
      benchmark::RunSpecifiedBenchmarks(&nothing);
    } else {
      benchmark::RunSpecifiedBenchmarks();
    }
  } catch (const std::exception& e) {
    fmt::print(stderr, "{}\n", e.what());
    return 1;
  }
  return 0;
}
