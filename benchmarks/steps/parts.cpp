// Parts of a step by themselves.
//
//     gramian/T<tasks>/<size>   G = J Jᵀ of given gradients J (tasks, 98,816 or 1,034,112)
//     adam/<size>               one pass over 164,868 or 1,034,112 parameters
#include "harness.hpp"

namespace steps {

namespace {

using cpu = vb::backend::cpu;

void gramian(benchmark::State& state, index_t tasks, index_t columns) {
  const cpu device;
  vb::matrix<float> j(tasks, columns);
  vb::matrix<float> g(tasks, tasks);
  for (index_t i = 0; i < j.size(); ++i) {
    j.data()[i] = static_cast<float>(number(i, 1));
  }
  const auto rows = std::as_const(j).view();
  const vb::backend::product<float, cpu::space> group[] = {{rows, rows, g.view()}};
  const auto n = static_cast<double>(tasks);
  const double bytes = n * static_cast<double>(columns) * sizeof(float);
  time_calls(state, {n * (n + 1) * static_cast<double>(columns), 0, bytes, bytes, true},
             [&] { device.multiply(vb::backend::transposition::nt, group, false); });
}

void adam(benchmark::State& state, index_t size) {
  const cpu device;
  vb::aligned_vector<float> theta(static_cast<std::size_t>(size), 0.1F);
  vb::aligned_vector<float> gradient(theta.size());
  for (std::size_t i = 0; i < gradient.size(); ++i) {
    gradient[i] = static_cast<float>(number(static_cast<index_t>(i), 1));
  }
  const vb::optimizer::adam options;
  vb::optimizer::adam::state<cpu> update(options, device, size);
  const vb::range all[] = {{0, size}};
  const vb::array_view<const float> g{gradient.data(), size};
  time_calls(state, with_adam(0, static_cast<double>(size)),
             [&] { update.step({theta.data(), size}, g, 1.0, 1.0, all); });
}

}  // namespace

void add_parts() {
  for (const auto& [name, columns] : {std::pair{"0.1M", index_t{98'816}}, {"1M", 1'034'112}}) {
    for (const index_t tasks : {4, 16, 64}) {
      add(fmt::format("gramian/T{}/{}", tasks, name),
          [=, c = columns](benchmark::State& s) { gramian(s, tasks, c); });
    }
  }
  for (const auto& [name, size] : {std::pair{"0.16M", index_t{164'868}}, {"1M", 1'034'112}}) {
    add(fmt::format("adam/{}", name), [=, n = size](benchmark::State& s) { adam(s, n); });
  }
}

}  // namespace steps
