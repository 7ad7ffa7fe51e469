// GATE with all its losses over all pairs of tasks.
//
//     gate/T<tasks>   no trunk, encoder 128-128-64, transfer and inverse 64-64-64, heads 64-64-1,
//                     K = 4 perturbed copies, batch 128
//     bf16/gate/...   the same with products in bfloat16
//     cuda/gate/...   the same on a device, and with 64 tasks; cuda-plain/gate/...
//
// `gate_tasks` asks how a step of the defaults (one drawn source) grows up to 64 tasks.
#include "vierbein/alignment/gate.hpp"
#include "harness.hpp"
#include "vierbein/encoder/features.hpp"

namespace steps {

namespace {

constexpr index_t batch = 128;
constexpr index_t inputs = 128;
constexpr index_t copies = 4;

auto make_model(index_t tasks) {
  return vb::multitask(
      vb::encoder::features{}, regressions(tasks),
      vb::alignment::gate{.mapping = {.sources = 0}, .distance = {.perturbations = copies}},
      {.encoder = {128, 64}, .transfer = {64, 64}, .inverse = {64}, .head = {64}});
}

double flops(index_t tasks) {
  const auto n = static_cast<double>(tasks);
  const double rows = static_cast<double>(batch);
  const double all = (1 + static_cast<double>(copies)) * rows;
  // Every pair of tasks, a task with itself included, goes through an inverse and a head.
  return n * training_flops(all, {inputs, 128, 64}, true) +
         n * training_flops(all, {64, 64, 64}, false) +
         n * n * training_flops(rows, {64, 64, 64}, false) +
         n * n * training_flops(rows, {64, 64, 1}, false);
}

template <class Backend = vb::backend::cpu>
void add_gate(const std::string& name, index_t tasks) {
  add(fmt::format("{}/T{}", name, tasks), [=](benchmark::State& state) {
    vb::data::dataset<vb::data::feature_set> data{{numbers(rows_of(batch), inputs, 1)}};
    add_regressions(data, tasks);
    train<Backend>(state, make_model(tasks), data, endless(batch), vb::weighting::equal{},
                   flops(tasks));
  });
}

}  // namespace

#ifdef VIERBEIN_BENCHMARK_CUDA
void add_cuda_gate() {
  for (const index_t tasks : {2, 4, 8, 64}) {
    add_gate<cuda_backend>("cuda/gate", tasks);
    add_gate<cuda_plain>("cuda-plain/gate", tasks);
  }
}
#endif

void add_gate() {
  for (const index_t tasks : {2, 4, 8}) {
    add_gate("gate", tasks);
  }
  for (const index_t tasks : {4, 8}) {
    add_gate<bf16_backend>("bf16/gate", tasks);
  }
}

}  // namespace steps
