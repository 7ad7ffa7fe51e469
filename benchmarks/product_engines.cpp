// How fast and how exact the engines of the CPU backend multiply, and what that means to a
// training.
//
//     product_engines [rounds [seeds]]
//
// One thread. The first table has products as the layers of a network make them (m rows, depth k, n
// columns): C = A B (nn), A Bᵀ (nt), Aᵀ B (tn), in GFLOP/s, the best of all rounds, in which
// engines take turns. The error is the largest one of an element of C, relative to Σ |a| |b| of
// that element. The second table trains hard sharing on the outputs of a random network with noise,
// from the same first values in the same order with every engine, and gives the squared error on
// rows held back, the difference to `tiled` by seed, and the time of a step.
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "measuring.hpp"
#include "vierbein/alignment/none.hpp"
#include "vierbein/backend/engine/bf16.hpp"
#include "vierbein/backend/engine/eigen.hpp"
#include "vierbein/encoder/mlp.hpp"
#include "vierbein/optimizer/adam.hpp"
#include "vierbein/train/fit.hpp"
#include "vierbein/weighting/equal.hpp"

namespace vb = vierbein;
namespace engine = vb::backend::engine;
using vb::index_t;

namespace {

// ---- products

enum class kind { nn, nt, tn };
struct product_shape {
  kind which;
  index_t m, k, n;
};

struct outcome {
  double best = 1e9;  ///< seconds
  double error = 0;
};

vb::matrix<float> numbers(index_t rows, index_t cols, std::uint64_t seed) {
  const auto from = measuring::normal_matrix(rows, cols, seed);
  vb::matrix<float> m(rows, cols);
  for (index_t i = 0; i < m.size(); ++i) {
    m.data()[i] = static_cast<float>(from.data()[i]);
  }
  return m;
}

class product {
 public:
  explicit product(const product_shape& s)
      : shape_(s),
        a_(s.which == kind::tn ? numbers(s.k, s.m, 1) : numbers(s.m, s.k, 1)),
        b_(s.which == kind::nt ? numbers(s.n, s.k, 2) : numbers(s.k, s.n, 2)),
        c_(s.m, s.n) {}

  [[nodiscard]] double flops() const {
    return 2 * static_cast<double>(shape_.m * shape_.k * shape_.n);
  }

  template <class Engine>
  void round(outcome& result) {
    const int times = static_cast<int>(std::max(1.0, 5e7 / flops()));
    const double before = measuring::now();
    for (int i = 0; i < times; ++i) {
      const auto a = std::as_const(a_).view();
      const auto b = std::as_const(b_).view();
      switch (shape_.which) {
        case kind::nn: Engine::template run<false, false, float>(a, b, {}, c_.view(), false); break;
        case kind::nt: Engine::template run<false, true, float>(a, b, {}, c_.view(), false); break;
        case kind::tn: Engine::template run<true, false, float>(a, b, {}, c_.view(), false); break;
      }
    }
    result.best = std::min(result.best, (measuring::now() - before) / times);
    result.error = std::max(result.error, error());
  }

 private:
  // Of every 97th element.
  [[nodiscard]] double error() const {
    double most = 0;
    for (index_t i = 0; i < c_.size(); i += 97) {
      const index_t r = i / shape_.n;
      const index_t j = i % shape_.n;
      double total = 0;
      double size = 0;
      for (index_t k = 0; k < shape_.k; ++k) {
        const double term = static_cast<double>(shape_.which == kind::tn ? a_(k, r) : a_(r, k)) *
                            static_cast<double>(shape_.which == kind::nt ? b_(j, k) : b_(k, j));
        total += term;
        size += std::abs(term);
      }
      most = std::max(most, std::abs(total - static_cast<double>(c_(r, j))) / size);
    }
    return most;
  }

  product_shape shape_;
  vb::matrix<float> a_, b_, c_;
};

constexpr product_shape shapes[] = {{kind::nn, 32, 64, 64},     {kind::nn, 128, 256, 256},
                                    {kind::nt, 128, 256, 256},  {kind::tn, 256, 128, 256},
                                    {kind::nn, 512, 256, 256},  {kind::tn, 256, 512, 256},
                                    {kind::nn, 512, 1024, 1024}};

const std::vector<std::string> names{"tiled", "eigen", "bf16<1>", "bf16<2>", "bf16<3>"};

// f<Engine>(number) for all engines.
template <class F>
void each_engine(F&& f) {
  f.template operator()<engine::tiled>(0);
  f.template operator()<engine::eigen>(1);
  f.template operator()<engine::bf16<1>>(2);
  f.template operator()<engine::bf16<2>>(3);
  f.template operator()<engine::bf16<3>>(4);
}

void print_products(int rounds) {
  fmt::print("| product | m | k | n |");
  for (const auto& name : names) {
    fmt::print(" {}: GFLOP/s, error |", name);
  }
  fmt::print("\n|---|---:|---:|---:|---:|---:|---:|---:|---:|\n");
  for (const product_shape& s : shapes) {
    product p(s);
    std::vector<outcome> results(names.size());
    for (int r = 0; r < rounds; ++r) {
      each_engine([&]<class Engine>(std::size_t i) { p.round<Engine>(results[i]); });
    }
    fmt::print("| {} | {} | {} | {} |",
               s.which == kind::nn   ? "nn"
               : s.which == kind::nt ? "nt"
                                     : "tn",
               s.m, s.k, s.n);
    for (const outcome& o : results) {
      fmt::print(" {:.0f}, {:.0e} |", p.flops() / o.best / 1e9, o.error);
    }
    fmt::print("\n");
  }
}

// ---- training

constexpr index_t tasks = 4;

/// Outputs of a random network of one hidden layer, with noise of a tenth of their deviation.
vb::data::dataset<vb::data::feature_set> taught(index_t rows, std::uint64_t seed) {
  constexpr index_t inputs = 32;
  constexpr index_t hidden = 48;
  vb::data::dataset<vb::data::feature_set> data{{measuring::normal_matrix(rows, inputs, seed)}};
  const auto& x = data.inputs.values;
  const auto w = measuring::normal_matrix(inputs, hidden, seed + 1000);
  const auto v = measuring::normal_matrix(hidden, tasks, seed + 2000);
  const auto noise = measuring::normal_matrix(rows, tasks, seed + 3000);
  std::vector<std::vector<double>> labels(tasks,
                                          std::vector<double>(static_cast<std::size_t>(rows)));
  for (index_t r = 0; r < rows; ++r) {
    double y[tasks] = {};
    for (index_t h = 0; h < hidden; ++h) {
      double z = 0;
      for (index_t i = 0; i < inputs; ++i) {
        z += x(r, i) * w(i, h);
      }
      for (index_t t = 0; t < tasks; ++t) {
        y[t] += std::max(0.0, z) * v(h, t);
      }
    }
    const double size = std::sqrt(0.5 * inputs * hidden);
    for (index_t t = 0; t < tasks; ++t) {
      labels[static_cast<std::size_t>(t)][static_cast<std::size_t>(r)] =
          y[t] / size + 0.1 * noise(r, t);
    }
  }
  for (index_t t = 0; t < tasks; ++t) {
    data.add(fmt::format("task {}", t + 1), labels[static_cast<std::size_t>(t)]);
  }
  return data;
}

struct trained {
  double error, seconds;
};

template <class Engine>
trained train(std::uint64_t seed) {
  const auto data = taught(4000, seed);
  vb::tasks<> list;
  for (const auto& column : data.labels) {
    list.add(vb::regression(column.name));
  }
  auto model = vb::multitask(vb::encoder::mlp{.widths = {256, 256}}, list, vb::alignment::none{},
                             {.head = {64}});
  constexpr index_t epochs = 20;
  constexpr index_t batch = 128;
  const double before = measuring::now();
  const auto course = vb::fit(vb::backend::basic_cpu<float, Engine>(1), model, data,
                              {.epochs = epochs,
                               .batch = batch,
                               .validation_fraction = 0.25,
                               .seed = seed,
                               .handle_interrupts = false},
                              vb::optimizer::adam{}, vb::weighting::equal{});
  const double took = measuring::now() - before;
  const auto& best = course.epochs[static_cast<std::size_t>(course.best_epoch - 1)];
  return {best.validation_loss, took / static_cast<double>(epochs * (3000 / batch + 1))};
}

std::string mean_and_deviation(const std::vector<double>& values, const char* sign) {
  double mean = 0;
  double square = 0;
  for (const double v : values) {
    mean += v / static_cast<double>(values.size());
  }
  for (const double v : values) {
    square += (v - mean) * (v - mean) / std::max(1.0, static_cast<double>(values.size()) - 1);
  }
  return fmt::format(fmt::runtime(fmt::format("{{:{}.5f}} ± {{:.5f}}", sign)), mean,
                     std::sqrt(square));
}

void print_training(int seeds) {
  std::vector<std::vector<double>> error(names.size());
  std::vector<std::vector<double>> seconds(names.size());
  for (int seed = 1; seed <= seeds; ++seed) {
    each_engine([&]<class Engine>(std::size_t i) {
      const trained t = train<Engine>(static_cast<std::uint64_t>(seed));
      error[i].push_back(t.error);
      seconds[i].push_back(t.seconds);
    });
  }
  fmt::print("\n| engine | error | − tiled | step, ms |\n|---|---:|---:|---:|\n");
  for (std::size_t i = 0; i < names.size(); ++i) {
    std::vector<double> difference;
    for (std::size_t s = 0; s < error[i].size(); ++s) {
      difference.push_back(error[i][s] - error[0][s]);
    }
    fmt::print("| {} | {} | {} | {:.3f} |\n", names[i], mean_and_deviation(error[i], ""),
               i == 0 ? std::string() : mean_and_deviation(difference, "+"),
               1e3 * measuring::median(seconds[i]));
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 20;
  const int seeds = argc > 2 ? std::atoi(argv[2]) : 5;
  measuring::print_environment(1);
  fmt::print("# bfloat16 by {}\n\n",
             engine::best_bf16_unit == engine::bf16_unit::tiles       ? "tiles (AMX)"
             : engine::best_bf16_unit == engine::bf16_unit::registers ? "registers (AVX512-BF16)"
                                                                      : "plain arithmetic");
  print_products(rounds);
  print_training(seeds);
  return 0;
}
