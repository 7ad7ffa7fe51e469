// What a step costs by every weighting policy of the library.
//
//     weighting/<policy>/T<tasks>/<size>   tasks 4, 16, 64; size 0.1M (trunk 256-256, 98,816 shared
//                                          parameters) or 1M (896-1024, 1,034,112); input 128,
//                                          heads 64-1, batch 128
//     alpha_vil/T4                         a round of αVIL: four branches of one epoch of 2,048
//                                          rows, and its search on 1,024 development rows
//
// The list is that of examples/compare_weightings. Policies of whole rounds have no step and are
// not in it; those that serve a target have the first task for it.
#include "../../examples/support/weightings.hpp"

#include "dense.hpp"

namespace steps {

namespace {

constexpr index_t batch = 128;

struct size {
  const char* name;
  dense_shape shape;
};
constexpr std::array sizes{size{"0.1M", {128, {256, 256}, 64}}, size{"1M", {128, {896, 1024}, 64}}};

template <class Policy>
constexpr bool looks_at_gradients = !std::is_same_v<Policy, examples::loss_policy>;

void step_of(benchmark::State& state, const std::string& name, index_t tasks,
             const dense_shape& shape) {
  auto policy = *examples::find_policy(name, task_name(0));
  std::visit(
      [&]<class P>(P& one) {
        auto options = endless(batch);
        const index_t rows = rows_of(batch);
        if constexpr (std::is_same_v<P, examples::step_policy>) {
          for (index_t r = 0; r < rows / 4; ++r) {  // what the target is judged by
            options.validation_rows.push_back(r);
          }
        }
        if constexpr (!std::is_same_v<P, examples::round_policy>) {
          train(state, shape.model(tasks), shape.data(rows, tasks), options, one,
                looks_at_gradients<P> ? shape.gradient_flops(batch, tasks)
                                      : shape.flops(batch, tasks),
                1);
        }
      },
      policy);
}

void alpha_vil_round(benchmark::State& state) {
  constexpr index_t rows = 2048;
  constexpr index_t held_back = 1024;
  constexpr index_t tasks = 4;
  auto options = endless(batch);
  for (index_t r = 0; r < held_back; ++r) {
    options.validation_rows.push_back(rows + r);
  }
  const auto& shape = sizes[0].shape;
  // Only the branches' steps are counted, without the search on the development rows.
  const double flops = static_cast<double>(rows / batch * tasks) * shape.flops(batch, 1);
  train(state, shape.model(tasks), shape.data(rows + held_back, tasks), options,
        examples::round_policy(vb::weighting::alpha_vil{.target = task_name(0), .share = 1}), flops,
        1);
}

}  // namespace

void add_weightings() {
  for (const std::string& name : examples::names_of_all_policies()) {
    if (examples::find_round_policy(name, task_name(0))) {
      continue;
    }
    for (const index_t tasks : {4, 16, 64}) {
      for (const size& s : sizes) {
        add(fmt::format("weighting/{}/T{}/{}", name, tasks, s.name),
            [=](benchmark::State& state) { step_of(state, name, tasks, s.shape); });
      }
    }
  }
  add("alpha_vil/T4", alpha_vil_round);
}

}  // namespace steps
