// What the machine can do, measured in the same run as everything else.
//
//     probe/fma/<bits>         float multiply-adds on registers; flops of all threads
//     probe/triad/<size>       a = b + s c in the L2 cache, the L3 cache and memory; bytes without
//                              the read that a store may cause
//     probe/barrier, fork      of OpenMP, each iteration one of a thousand
//
//     probe/device/<products>  a product of matrices of 8,192 rows and columns on a device, in
//                              float, tf32 or bf16
//     probe/device/copy        bytes read and written in the device's memory
//
// All threads that OpenMP has (OMP_NUM_THREADS) take part.
#if defined(_OPENMP)
#include <omp.h>
#endif

#include "harness.hpp"

namespace steps {

namespace {

int thread_count() {
#if defined(_OPENMP)
  return omp_get_max_threads();
#else
  return 1;
#endif
}

/// f(thread) on all threads.
template <class F>
void on_all_threads(F&& f) {
#if defined(_OPENMP)
#pragma omp parallel
  f(omp_get_thread_num());
#else
  f(0);
#endif
}

template <std::size_t Bytes>
struct wide {
  using type [[gnu::vector_size(Bytes)]] = float;
};

/// Twelve independent chains hide the latency of two units of four cycles. The compiler must not
/// know the numbers: it would drop a chain that does not move.
template <std::size_t Bytes>
[[gnu::noinline]] float multiply_add(int rounds) {
  using vector = typename wide<Bytes>::type;
  constexpr int chains = 12;
  volatile float start = 0.5F;
  volatile float slope = 0.999F;
  volatile float offset = 1e-3F;
  vector sum[chains];
  for (vector& s : sum) {
    s = vector{} + start;
  }
  const vector factor = vector{} + slope;
  const vector addend = vector{} + offset;
  for (int r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (vector& s : sum) {
      s = s * factor + addend;
    }
  }
  for (int c = 1; c < chains; ++c) {
    sum[0] += sum[c];
  }
  return sum[0][0];
}

template <std::size_t Bytes>
void add_multiply_add() {
  add(fmt::format("probe/fma/{}", 8 * Bytes), [](benchmark::State& state) {
    constexpr int rounds = 100'000;
    const double flops = 2.0 * 12 * rounds * Bytes / sizeof(float);
    time_calls(state, {flops * thread_count(), 0}, [] {
      on_all_threads([](int) { benchmark::DoNotOptimize(multiply_add<Bytes>(rounds)); });
    });
  });
}

void triad(benchmark::State& state, std::size_t bytes, int repetitions) {
  const std::size_t n = bytes / 3 / sizeof(float) / 16 * 16;
  std::vector<std::array<vb::aligned_vector<float>, 3>> memory(
      static_cast<std::size_t>(thread_count()));
  on_all_threads([&](int thread) {  // whose thread first touches a page has it near
    for (auto& array : memory[static_cast<std::size_t>(thread)]) {
      array.assign(n, 1.0F);
    }
  });
  time_calls(state, {}, [&] {
    on_all_threads([&](int thread) {
      auto& [a, b, c] = memory[static_cast<std::size_t>(thread)];
      for (int r = 0; r < repetitions; ++r) {
        float* const __restrict to = a.data();
        const float* const __restrict x = b.data();
        const float* const __restrict y = c.data();
        for (std::size_t i = 0; i < n; ++i) {
          to[i] = x[i] + 0.5F * y[i];
        }
        benchmark::ClobberMemory();
      }
    });
  });
  state.counters["bytes"] = 3.0 * sizeof(float) * static_cast<double>(n) * repetitions *
                            static_cast<double>(thread_count());
}

constexpr int thousand = 1000;

void barrier(benchmark::State& state) {
  time_calls(state, {}, [] {
    on_all_threads([](int) {
      for (int i = 0; i < thousand; ++i) {
#if defined(_OPENMP)
#pragma omp barrier
#endif
      }
    });
  });
}

void fork(benchmark::State& state) {
  time_calls(state, {}, [] {
    for (int i = 0; i < thousand; ++i) {
      on_all_threads([](int) { benchmark::ClobberMemory(); });
    }
  });
}

#ifdef VIERBEIN_BENCHMARK_CUDA
// f(device, part) with three parts of the device's memory that are (side, side).
template <class F>
void on_device(vb::backend::precision products, index_t side, F&& f) {
  const cuda_backend device({.products = products});
  vb::backend::buffer<cuda_backend> memory(device, 3 * side * side);
  f(device, [&](index_t i) {
    return vb::matrix_view<float, vb::device_space>(memory.view().data + i * side * side, side,
                                                    side);
  });
}

void device_product(benchmark::State& state, vb::backend::precision products) {
  constexpr index_t side = 8192;
  on_device(products, side, [&](const cuda_backend& device, auto&& part) {
    const vb::backend::product<float, vb::device_space> one{part(0), part(1), part(2)};
    const auto n = static_cast<double>(side);
    time_calls(state, {2 * n * n * n, 0}, [&] {
      device.multiply(vb::backend::transposition::nn, {&one, 1}, false);
      device.synchronise();
    });
  });
}

void device_copy(benchmark::State& state) {
  constexpr index_t side = 8192;
  on_device(vb::backend::precision::full, side, [&](const cuda_backend& device, auto&& part) {
    time_calls(state, {}, [&] {
      device.copy(1, part(0), part(1), false);
      device.synchronise();
    });
  });
  state.counters["bytes"] = 2.0 * sizeof(float) * static_cast<double>(side * side);
}
#endif

}  // namespace

#ifdef VIERBEIN_BENCHMARK_CUDA
void add_device_probes() {
  using vb::backend::precision;
  for (const auto& [name, products] : {std::pair{"float", precision::full},
                                       {"tf32", precision::tf32},
                                       {"bf16", precision::bf16}}) {
    add(fmt::format("probe/device/{}", name),
        [products](benchmark::State& state) { device_product(state, products); });
  }
  add("probe/device/copy", device_copy);
}
#endif

void add_probes() {
  add_multiply_add<16>();
#if defined(__AVX__)
  add_multiply_add<32>();
#endif
#if defined(__AVX512F__)
  add_multiply_add<64>();
#endif
  constexpr std::size_t KiB = 1024;
  add("probe/triad/384KiB", [](benchmark::State& s) { triad(s, 384 * KiB, 100); });
  add("probe/triad/12MiB", [](benchmark::State& s) { triad(s, 12 * KiB * KiB, 4); });
  add("probe/triad/1GiB", [](benchmark::State& s) { triad(s, KiB * KiB * KiB, 1); });
  add("probe/barrier", barrier);
  add("probe/fork", fork);
}

}  // namespace steps
