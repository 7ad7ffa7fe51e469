// Seconds that `add_task` takes, against the rows its sources were trained on and their number.
//
//     add_task [threads [rounds]]
//
// The target has 100 labels and is trained for 20 epochs. The cases of a table take turns.
#include <cstdlib>
#include <string>
#include <vector>

#include "measuring.hpp"
#include "vierbein/vierbein.hpp"

namespace vb = vierbein;
using vb::index_t;

namespace {

constexpr index_t features = 128;
constexpr index_t labels = 100;
constexpr index_t pool_rows = 20000;
constexpr std::uint64_t seed = 11;

using inputs = vb::data::feature_set;
using dataset = vb::data::dataset<inputs>;

/// `tasks` columns of labels named <prefix>0, <prefix>1, ...
dataset make_data(index_t rows, index_t tasks, const std::string& prefix, std::uint64_t which) {
  dataset data{{measuring::normal_matrix(rows, features, which)}};
  const auto w = measuring::normal_matrix(tasks, features, seed);
  for (index_t t = 0; t < tasks; ++t) {
    std::vector<double> y(static_cast<std::size_t>(rows), 0.0);
    for (index_t r = 0; r < rows; ++r) {
      for (index_t c = 0; c < features; ++c) {
        y[static_cast<std::size_t>(r)] += data.inputs.values(r, c) * (w(0, c) + 0.3 * w(t, c));
      }
    }
    data.add(prefix + std::to_string(t), y);
  }
  return data;
}

/// GATE on `sources` tasks that was trained for one epoch on `rows` rows.
auto trained(const vb::backend::cpu& cpu, index_t sources, index_t rows) {
  vb::tasks<> list;
  for (index_t t = 0; t < sources; ++t) {
    list.add(vb::regression("source" + std::to_string(t)));
  }
  auto model = vb::multitask(vb::encoder::mlp{.widths = {256, 128}}, list, vb::alignment::gate{});
  vb::fit(cpu, model, make_data(rows, sources, "source", seed + 1),
          {.epochs = 1, .batch = 128, .validation_fraction = 0, .seed = seed},
          vb::optimizer::adamw{}, vb::weighting::equal{});
  return model;
}
using model_type = decltype(trained(vb::backend::cpu{}, 2, 2));

struct test_case {
  index_t rows;
  index_t sources;
  model_type model;
  std::vector<double> seconds[4] = {};  // frozen, frozen with pool, tuned copy, that with pool
};

void table(const vb::backend::cpu& cpu, std::vector<test_case>& cases, index_t rounds) {
  const dataset target = make_data(labels, 1, "target", seed + 2);
  const inputs pool{measuring::normal_matrix(pool_rows, features, seed + 3)};
  for (index_t round = 0; round < rounds; ++round) {
    for (test_case& c : cases) {
      for (std::size_t variant = 0; variant < 4; ++variant) {
        vb::addition options;
        options.trunk = variant < 2 ? vb::trunk_policy::frozen : vb::trunk_policy::tuned_copy;
        options.train.epochs = 20;
        options.train.seed = seed;
        const double before = measuring::now();
        const auto add = [&](const auto&... more) {
          return vb::add_task(cpu, c.model, vb::regression("target0"), target, more..., options,
                              vb::optimizer::adamw{});
        };
        const auto larger = variant % 2 == 0 ? add() : add(pool);
        c.seconds[variant].push_back(measuring::now() - before);
        vb::require(larger.task_list().size() == c.sources + 1, "add_task", "no task was added");
      }
    }
  }
  fmt::print("\n{:>8} {:>7}  {:>20}  {:>20}  {:>20}  {:>20}\n", "rows", "sources", "frozen",
             "frozen, pool", "tuned copy", "tuned copy, pool");
  for (const test_case& c : cases) {
    fmt::print("{:8} {:7}", c.rows, c.sources);
    for (const auto& s : c.seconds) {
      fmt::print("  {:6.3f} ({:.3f}..{:.3f})", measuring::median(s), measuring::quantile(s, 0),
                 measuring::quantile(s, 1));
    }
    fmt::print("\n");
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  const index_t rounds = argc > 2 ? std::atol(argv[2]) : 5;
  const vb::backend::cpu cpu(threads);
  measuring::print_environment(cpu.threads());
  fmt::print(
      "# {} features, trunk 256-128, modules of the default sizes, GATE with its defaults\n"
      "# {} labels, 20 epochs of batches of 32, AdamW, float; pool: {} of {} rows\n"
      "# seed {}, {} rounds, cases in turn; seconds: median (least..most)\n",
      features, labels, vb::addition{}.pool_limit, pool_rows, seed, rounds);
  std::vector<test_case> cases;
  for (const index_t rows : {1000, 10000, 50000}) {
    cases.push_back({rows, 4, trained(cpu, 4, rows)});
  }
  fmt::print("\nrows that the sources were trained on");
  table(cpu, cases, rounds);
  cases.clear();
  for (const index_t sources : {2, 4, 8, 16, 32}) {
    cases.push_back({1000, sources, trained(cpu, sources, 1000)});
  }
  fmt::print("\nnumber of sources");
  table(cpu, cases, rounds);
}
