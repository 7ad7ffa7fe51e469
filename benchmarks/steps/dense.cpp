// Hard sharing with dense layers, the methods that look at each task's gradient, and predictions.
//
//     hard/T<tasks>/B<batch>        input 128, trunk 256-256, heads 64-1, equal weights
//     small/T<tasks>/B<batch>       input 32, trunk 64-64, heads 32-1, equal weights
//     bf16/hard/...                 hard with products in bfloat16
//     pcgrad/T<tasks>, mgda/...     hard/.../B128 by these policies
//     inference/B<rows>             a predictor of hard/T4: all tasks, for 1 and for 1,000 rows
#include "dense.hpp"

#include "vierbein/weighting/mgda.hpp"
#include "vierbein/weighting/pcgrad.hpp"

namespace steps {

namespace {

constexpr dense_shape hard{128, {256, 256}, 64};
constexpr dense_shape small{32, {64, 64}, 32};

template <class Backend = vb::backend::cpu>
void add_shared(const std::string& name, const dense_shape& shape, std::vector<index_t> batches) {
  for (const index_t tasks : {4, 16}) {
    for (const index_t batch : batches) {
      add(fmt::format("{}/T{}/B{}", name, tasks, batch), [=](benchmark::State& state) {
        train<Backend>(state, shape.model(tasks), shape.data(rows_of(batch), tasks), endless(batch),
                       vb::weighting::equal{}, shape.flops(batch, tasks));
      });
    }
  }
}

// From any policy, so that the trainer is compiled once for both.
void add_gradients(const std::string& name, const vb::weighting::any<vb::gram_based>& policy) {
  constexpr index_t batch = 128;
  for (const index_t tasks : {4, 16}) {
    add(fmt::format("{}/T{}", name, tasks), [=](benchmark::State& state) {
      train(state, hard.model(tasks), hard.data(rows_of(batch), tasks), endless(batch), policy,
            hard.gradient_flops(batch, tasks));
    });
  }
}

void predict(benchmark::State& state, index_t rows) {
  constexpr index_t tasks = 4;
  const vb::backend::cpu cpu;
  auto model = hard.model(tasks);
  const auto data = hard.data(rows, tasks);
  model.build(data.inputs.shape(), 1);
  auto predict_rows = model.predictor(cpu);
  time_calls(state, {hard.forward_flops(rows, tasks), 0},
             [&] { benchmark::DoNotOptimize(predict_rows(data.inputs)); });
}

}  // namespace

void add_dense() {
  add_shared("hard", hard, {128, 512});
  add_shared("small", small, {32, 128});
  add_shared<bf16_backend>("bf16/hard", hard, {128, 512});
  add_gradients("pcgrad", vb::weighting::any<vb::gram_based>(vb::weighting::pcgrad{}));
  add_gradients("mgda", vb::weighting::any<vb::gram_based>(vb::weighting::mgda{}));
  for (const index_t rows : {1, 1000}) {
    add(fmt::format("inference/B{}", rows), [=](benchmark::State& s) { predict(s, rows); });
  }
}

}  // namespace steps
