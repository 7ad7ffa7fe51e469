// What the benchmarks share: they say where they ran, and give medians with their spread.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <ctime>
#include <string>
#include <vector>

#include "vierbein/backend/cpu.hpp"
#include "vierbein/core/matrix.hpp"
#include "vierbein/core/random.hpp"

#ifndef VIERBEIN_BENCHMARK_FLAGS
#define VIERBEIN_BENCHMARK_FLAGS "unknown"
#endif

namespace measuring {

/// Seconds since an arbitrary moment.
inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Seconds that the processor spent on this program, all threads together: without what it spent on
/// others.
inline double processor_time() {
  timespec t{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

/// The value below which the share `q` of the values lies (linear between neighbours).
inline double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  const double at = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (at - std::floor(at)) * (values[above] - values[below]);
}
inline double median(const std::vector<double>& values) {
  return quantile(values, 0.5);
}

inline std::string compiler() {
#if defined(__clang__)
  return "clang++ " __clang_version__;
#else
  return "g++ " __VERSION__;
#endif
}

/// Number and size of the vector registers that products use.
inline std::string registers() {
  return fmt::format("{} of {} bytes", vierbein::backend::detail::registers,
                     vierbein::backend::detail::register_bytes);
}

/// Compiler, options, registers and threads, in the form of comments.
inline void print_environment(int threads) {
  fmt::print("# compiler: {}\n# options: {}\n", compiler(), VIERBEIN_BENCHMARK_FLAGS);
  fmt::print("# registers: {}\n# threads: {}\n", registers(), threads);
}

/// Independent standard normal numbers, (rows, cols).
inline vierbein::matrix<double> normal_matrix(vierbein::index_t rows, vierbein::index_t cols,
                                              std::uint64_t seed) {
  vierbein::matrix<double> m(rows, cols);
  const vierbein::random_stream stream{seed, vierbein::name_hash("benchmark")};
  for (vierbein::index_t i = 0; i < m.size(); ++i) {
    m.data()[i] = stream.normal(static_cast<std::uint64_t>(i));
  }
  return m;
}

}  // namespace measuring
