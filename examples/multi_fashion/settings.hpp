// What the user asks for on the command line.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace multi_fashion {

struct settings {
  std::filesystem::path images =
      "/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz";  // Debian's package
  std::filesystem::path labels = "/usr/share/datasets/fashion-mnist/train-labels-idx1-ubyte.gz";
  std::vector<std::string> targets{"left"};
  std::vector<long> target_labels{0};  // 0: all
  std::vector<std::string> methods{"single", "shared", "finetune", "alpha_vil"};
  long train = 20000;
  long dev = 2000;
  long test = 5000;
  long epochs = 15;
  long batch = 128;
  double learning_rate = 1e-3;
  long seeds = 3;
  long first_seed = 1;
  int threads = 0;
  std::filesystem::path out = "multi-fashion-out";
  bool resume = false;  // keep what is in `out` and go on
};

/// Throws when the settings contradict themselves or name something unknown.
void check_settings(const settings& s);

}  // namespace multi_fashion
