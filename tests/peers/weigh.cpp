// Weighs the gradients that compare_torchjd.py sends and sends the weights back. Standard input:
// for each case two 64-bit integers T and P and J (T, P) as doubles, row by row. Standard output:
// the methods' names in one line, then for each case and method T weights, the certificate's
// residual and its iterations (NaN where a method has none) as doubles.
#include <cstdint>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/testing/gradient_matrices.hpp"
#include "vierbein/weighting/aligned_mtl.hpp"
#include "vierbein/weighting/cagrad.hpp"
#include "vierbein/weighting/config.hpp"
#include "vierbein/weighting/dual_proj.hpp"
#include "vierbein/weighting/fairgrad.hpp"
#include "vierbein/weighting/gradvac.hpp"
#include "vierbein/weighting/imtl_g.hpp"
#include "vierbein/weighting/krum.hpp"
#include "vierbein/weighting/mgda.hpp"
#include "vierbein/weighting/nash_mtl.hpp"
#include "vierbein/weighting/pcgrad.hpp"
#include "vierbein/weighting/upgrad.hpp"

namespace {

using vierbein::index_t;
namespace weighting = vierbein::weighting;

// Calls use(name, policy) for every method that TorchJD has as well.
template <class Use>
void each_method(Use&& use) {
  using component = weighting::aligned_mtl::component;
  use("upgrad", weighting::upgrad::torchjd());
  use("dual_proj", weighting::dual_proj::torchjd());
  use("mgda", weighting::mgda{});
  use("cagrad_0.4", weighting::cagrad::torchjd(0.4));
  use("cagrad_1", weighting::cagrad::torchjd(1));
  use("nash_mtl", weighting::nash_mtl::torchjd());
  use("fairgrad_0.5", weighting::fairgrad::torchjd(0.5));
  use("fairgrad_1", weighting::fairgrad::torchjd(1));
  use("fairgrad_2", weighting::fairgrad::torchjd(2));
  use("imtl_g", weighting::imtl_g{});
  use("aligned_min", weighting::aligned_mtl::torchjd(component::min));
  use("aligned_median", weighting::aligned_mtl::torchjd(component::median));
  use("aligned_rmse", weighting::aligned_mtl::torchjd(component::mean));
  use("config", weighting::config{});
  use("krum", weighting::krum::torchjd(0, 1));
  use("pcgrad", weighting::pcgrad{});
  use("gradvac", weighting::gradvac::torchjd());
}

void send(const std::vector<double>& numbers) {
  std::fwrite(numbers.data(), sizeof(double), numbers.size(), stdout);
}

}  // namespace

int main() {
  each_method([](const char* name, auto&&) { std::printf("%s ", name); });
  std::printf("\n");
  std::fflush(stdout);
  std::int64_t shape[2];
  while (std::fread(shape, sizeof(std::int64_t), 2, stdin) == 2) {
    vierbein::matrix<double> j(static_cast<index_t>(shape[0]), static_cast<index_t>(shape[1]));
    const auto size = static_cast<std::size_t>(j.size());
    if (std::fread(j.data(), sizeof(double), size, stdin) != size) {
      std::fprintf(stderr, "weigh: the last case is incomplete\n");
      return 1;
    }
    const auto g = vierbein::testing::gram_of(j);
    const std::vector<double> losses(static_cast<std::size_t>(shape[0]), 1.0);
    each_method([&](const char*, auto policy) {
      constexpr double none = std::numeric_limits<double>::quiet_NaN();
      std::vector<double> w(losses.size(), none);
      double residual = none;
      double iterations = none;
      try {
        policy.weigh({losses}, g.view(), w);
        if constexpr (requires { policy.last(); }) {
          residual = policy.last().residual;
          iterations = static_cast<double>(policy.last().iterations);
        }
      } catch (const vierbein::error&) {
        // Too few tasks for this method: the weights stay NaN.
      }
      w.push_back(residual);
      w.push_back(iterations);
      send(w);
    });
    std::fflush(stdout);
  }
  return 0;
}
