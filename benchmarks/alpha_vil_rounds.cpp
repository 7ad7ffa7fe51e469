// What αVIL costs against plain multi-task training on the same number of samples, and what a
// second thread is worth.
//
//     alpha_vil_rounds [rounds [tasks...]]
//
// In αVIL every task trains alone, so one epoch of T tasks that all rows have labels for are T n
// samples: as many as T epochs of hard sharing. Both judge the same development rows.
#include <cstdlib>
#include <string>
#include <vector>

#include "measuring.hpp"
#include "vierbein/vierbein.hpp"

namespace vb = vierbein;
using vb::index_t;

namespace {

constexpr index_t rows = 16384;
constexpr index_t held_back = 1024;
constexpr index_t side = 28;
constexpr std::uint64_t seed = 3;

using dataset = vb::data::dataset<vb::data::image_set>;

dataset make_data(index_t tasks) {
  const auto pixels = measuring::normal_matrix(rows + held_back, side * side, seed);
  const std::vector<float> values(pixels.data(), pixels.data() + pixels.size());
  dataset data{vb::data::image_set({.channels = 1, .height = side, .width = side}, values)};
  for (index_t t = 0; t < tasks; ++t) {
    std::vector<double> labels;
    for (index_t r = 0; r < rows + held_back; ++r) {
      labels.push_back(static_cast<double>((r * 7 + t) % 10));
    }
    data.add("task" + std::to_string(t), labels);
  }
  return data;
}

template <class Policy>
double seconds_of(const dataset& data, index_t tasks, index_t epochs, int threads,
                  const Policy& policy) {
  vb::tasks<> list;
  for (index_t t = 0; t < tasks; ++t) {
    list.add(vb::multiclass("task" + std::to_string(t), 10));
  }
  auto model = vb::multitask(vb::encoder::convolutional{.channels = {8, 16}, .hidden = {64}}, list,
                             vb::alignment::none{}, {.head = {32}});
  vb::training options{.epochs = epochs, .batch = 64, .seed = seed};
  for (index_t r = 0; r < held_back; ++r) {
    options.validation_rows.push_back(rows + r);
  }
  const double before = measuring::now();
  vb::fit(vb::backend::cpu(threads), model, data, options, vb::optimizer::adamw{}, policy);
  return measuring::now() - before;
}

}  // namespace

int main(int argc, char** argv) {
  const index_t rounds = argc > 1 ? std::atol(argv[1]) : 5;
  std::vector<index_t> counts;
  for (int i = 2; i < argc; ++i) {
    counts.push_back(std::atol(argv[i]));
  }
  if (counts.empty()) {
    counts = {2, 4, 8};
  }
  measuring::print_environment(2);
  fmt::print(
      "# LeNet-like (8, 16 channels), {} x {} pixels, {} rows, {} development rows, batch 64, "
      "float\n"
      "# seed {}, {} rounds, cases in turn; seconds: median (least..most)\n\n"
      "{:>5}  {:>20}  {:>20}  {:>6}  {:>20}  {:>9}\n",
      side, side, rows, held_back, seed, rounds, "tasks", "hard sharing", "αVIL", "ratio",
      "αVIL, 2 threads", "speed-up");
  for (const index_t tasks : counts) {
    const auto data = make_data(tasks);
    std::vector<double> plain;
    std::vector<double> one;
    std::vector<double> two;
    const vb::weighting::alpha_vil policy{.target = "task0"};
    for (index_t round = 0; round < rounds; ++round) {
      plain.push_back(seconds_of(data, tasks, tasks, 1, vb::weighting::equal{}));
      one.push_back(seconds_of(data, tasks, 1, 1, policy));
      two.push_back(seconds_of(data, tasks, 1, 2, policy));
    }
    const auto show = [](const std::vector<double>& s) {
      return fmt::format("{:6.2f} ({:.2f}..{:.2f})", measuring::median(s),
                         measuring::quantile(s, 0), measuring::quantile(s, 1));
    };
    fmt::print("{:5}  {:>20}  {:>20}  {:6.2f}  {:>20}  {:9.2f}\n", tasks, show(plain), show(one),
               measuring::median(one) / measuring::median(plain), show(two),
               measuring::median(one) / measuring::median(two));
  }
}
