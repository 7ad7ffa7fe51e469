// Time and memory of a training step that looks at the Gramian of all tasks' gradients.
//
//     gramian [threads [steps [largest number of tasks]]]
//
// The same step, by a policy that is told G and answers fixed weights: from all gradients at once
// (jacobian), layer by layer (layers), with gradients of the representation instead; and without G
// at all (losses), what weighting by losses alone takes. The cases take turns, step by step. Memory
// is the largest resident size of a process that makes three steps, less that of one that does
// so without G.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "measuring.hpp"
#include "vierbein/vierbein.hpp"

namespace vb = vierbein;
using vb::index_t;

namespace {

constexpr index_t batch = 128;
constexpr index_t features = 128;
constexpr std::uint64_t seed = 7;

struct without_gram {
  using weighting_kind = vb::loss_based;
  void weigh(vb::losses, vb::weights w) const { std::ranges::fill(w, 1.0); }
};
struct with_gram {
  using weighting_kind = vb::gram_based;
  void weigh(vb::losses, vb::gram_matrix g, vb::weights w) const {
    std::ranges::fill(w, g(0, 0) >= 0 ? 1.0 : 0.0);
  }
};

enum class way { losses, jacobian, layers, representation };
constexpr std::array all_ways{way::losses, way::jacobian, way::layers, way::representation};

struct problem {
  index_t tasks;
  std::vector<index_t> widths;
};

/// Notes how long each step takes.
struct stop_watch {
  std::vector<double>* times;
  double at = 0;
  void on_begin(const vb::progress_info& /*info*/) { at = measuring::now(); }
  void on_step(const vb::progress_info& info) {
    const double now = measuring::now();
    if (info.step > 2) {
      times->push_back(now - at);
    }
    at = measuring::now();
  }
};

index_t shared_parameters(const problem& p) {
  index_t in = features;
  index_t total = 0;
  for (const index_t out : p.widths) {
    total += (in + 1) * out;
    in = out;
  }
  return total;
}

void steps_of(const problem& p, way how, int threads, index_t steps, std::vector<double>& times) {
  vb::tasks<> list;
  vb::data::dataset<vb::data::feature_set> data{
      {measuring::normal_matrix((steps + 2) * batch, features, seed)}};
  const auto y = measuring::normal_matrix((steps + 2) * batch, p.tasks, seed + 1);
  for (index_t t = 0; t < p.tasks; ++t) {
    const std::string name = "task" + std::to_string(t);
    list.add(vb::regression(name));
    std::vector<double> labels;
    for (index_t r = 0; r < y.rows(); ++r) {
      labels.push_back(y(r, t));
    }
    data.add(name, labels);
  }
  auto model = vb::multitask(vb::encoder::mlp{.widths = p.widths}, list, vb::alignment::none{}, {});
  vb::training options{
      .epochs = 1, .batch = batch, .validation_fraction = 0, .handle_interrupts = false};
  options.gramian = how == way::jacobian ? vb::gramian_way::jacobian : vb::gramian_way::layers;
  options.compare = how == way::representation ? vb::compared_gradients::representation
                                               : vb::compared_gradients::shared_parameters;
  const vb::backend::cpu backend(threads);
  if (how == way::losses) {
    vb::fit(backend, model, data, options, vb::optimizer::adam{}, without_gram{},
            stop_watch{&times});
  } else {
    vb::fit(backend, model, data, options, vb::optimizer::adam{}, with_gram{}, stop_watch{&times});
  }
}

/// The largest resident size of a process that makes three steps, in MB.
double memory_of(const problem& p, way how) {
  int ends[2];
  if (::pipe(ends) != 0) {
    return std::nan("");
  }
  const pid_t child = ::fork();
  if (child == 0) {
    std::vector<double> times;
    steps_of(p, how, 1, 1, times);
    rusage use{};
    ::getrusage(RUSAGE_SELF, &use);
    const double megabytes = static_cast<double>(use.ru_maxrss) / 1000;
    ::_exit(::write(ends[1], &megabytes, sizeof megabytes) == sizeof megabytes ? 0 : 1);
  }
  ::close(ends[1]);
  double megabytes = std::nan("");
  if (::read(ends[0], &megabytes, sizeof megabytes) != sizeof megabytes) {
    megabytes = std::nan("");
  }
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  return megabytes;
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  const index_t steps = argc > 2 ? std::atol(argv[2]) : 20;
  const index_t most = argc > 3 ? std::atol(argv[3]) : 64;
  measuring::print_environment(threads);
  fmt::print("# batch {}, {} features, heads of one hidden layer of 64, adam, seed {}, {} steps\n",
             batch, features, seed, steps);
  fmt::print(
      "| shared | tasks | ms by losses | jacobian | layers | representation | layers against "
      "jacobian | MB more: jacobian | layers | representation |\n");
  fmt::print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n");
  for (const auto& widths : {std::vector<index_t>{256, 256}, std::vector<index_t>{896, 1024}}) {
    for (index_t tasks = 4; tasks <= most; tasks *= 4) {
      const problem p{tasks, widths};
      std::array<double, 4> memory{};
      std::array<std::vector<double>, 4> times;
      for (const way how : all_ways) {
        memory[static_cast<std::size_t>(how)] = memory_of(p, how);
      }
      for (index_t done = 0; done < steps; done += 5) {
        for (const way how : all_ways) {
          steps_of(p, how, threads, 5, times[static_cast<std::size_t>(how)]);
        }
      }
      const auto ms = [&](way how) {
        return 1e3 * measuring::median(times[static_cast<std::size_t>(how)]);
      };
      const auto more = [&](way how) { return memory[static_cast<std::size_t>(how)] - memory[0]; };
      fmt::print(
          "| {} | {} | {:.2f} | {:.2f} | {:.2f} | {:.2f} | {:.2f} | {:.0f} | {:.0f} | {:.0f} "
          "|\n",
          shared_parameters(p), tasks, ms(way::losses), ms(way::jacobian), ms(way::layers),
          ms(way::representation), ms(way::jacobian) / ms(way::layers), more(way::jacobian),
          more(way::layers), more(way::representation));
      std::fflush(stdout);
    }
  }
}
