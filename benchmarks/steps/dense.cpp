// Hard sharing with dense layers, the methods that look at each task's gradient, and predictions.
//
//     hard/T<tasks>/B<batch>        input 128, trunk 256-256, heads 64-1, equal weights
//     small/T<tasks>/B<batch>       input 32, trunk 64-64, heads 32-1, equal weights
//     bf16/hard/...                 hard with products in bfloat16
//     cuda/...                      hard, small, pcgrad and mgda on a device; cuda-plain/hard/...
//     cuda/large                    input 1024, trunk 4096-4096, heads 256-1, 4 tasks, batch 8192;
//                                   cuda-tf32/large and cuda-bf16/large, too
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
template <class Backend = vb::backend::cpu>
void add_gradients(const std::string& name, const vb::weighting::any<vb::gram_based>& policy) {
  constexpr index_t batch = 128;
  for (const index_t tasks : {4, 16}) {
    add(fmt::format("{}/T{}", name, tasks), [=](benchmark::State& state) {
      train<Backend>(state, hard.model(tasks), hard.data(rows_of(batch), tasks), endless(batch),
                     policy, hard.gradient_flops(batch, tasks));
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

#ifdef VIERBEIN_BENCHMARK_CUDA
template <class Backend>
void add_large(const std::string& name) {
  constexpr dense_shape large{1024, {4096, 4096}, 256};
  constexpr index_t tasks = 4;
  constexpr index_t batch = 8192;
  add(name, [=](benchmark::State& state) {
    train<Backend>(state, large.model(tasks), large.data(rows_of(batch), tasks), endless(batch),
                   vb::weighting::equal{}, large.flops(batch, tasks));
  });
}
#endif

}  // namespace

#ifdef VIERBEIN_BENCHMARK_CUDA
void add_cuda_dense() {
  add_shared<cuda_backend>("cuda/hard", hard, {128, 512});
  add_shared<cuda_backend>("cuda/small", small, {32, 128});
  add_shared<cuda_plain>("cuda-plain/hard", hard, {128, 512});
  add_gradients<cuda_backend>("cuda/pcgrad",
                              vb::weighting::any<vb::gram_based>(vb::weighting::pcgrad{}));
  add_gradients<cuda_backend>("cuda/mgda",
                              vb::weighting::any<vb::gram_based>(vb::weighting::mgda{}));
  add_large<cuda_backend>("cuda/large");
  add_large<cuda_tf32>("cuda-tf32/large");
  add_large<cuda_bf16>("cuda-bf16/large");
}
#endif

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
