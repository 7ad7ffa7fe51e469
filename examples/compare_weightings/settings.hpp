// What the user asks for on the command line.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "vierbein/train/training.hpp"

namespace compare_weightings {

namespace vb = vierbein;

struct settings {
  std::vector<std::string> methods{"equal",  "uncertainty", "dwa",      "pcgrad",
                                   "cagrad", "upgrad",      "nash_mtl", "mgda"};
  std::string data = "multi_fashion";  // or molecules
  std::string target;                  // of policies that serve one; empty: the first task

  // multi_fashion
  std::filesystem::path images =
      "/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz";  // Debian's package
  std::filesystem::path labels = "/usr/share/datasets/fashion-mnist/train-labels-idx1-ubyte.gz";
  long train = 20000;
  long dev = 2000;
  long test = 5000;

  // molecules
  std::filesystem::path table = "examples/data/molecules.csv";
  std::string smiles = "smiles";
  std::vector<std::string> properties{
      "melting_point", "boiling_point", "log_p",         "refractive_index",
      "density",       "flash_point",   "dipole_moment", "heat_of_vaporisation_298"};

  long epochs = 10;
  long batch = 128;
  double learning_rate = 1e-3;
  std::string compare = "parameters";  // or representation
  std::string heads = "weighted";      // or unweighted
  long seeds = 3;
  long first_seed = 1;
  int threads = 0;
  std::string cosines;  // method whose gradients are drawn; empty: none
  std::filesystem::path out = "compare-weightings-out";
  bool resume = false;

  /// The trainer's options of one seed.
  [[nodiscard]] vb::training training(long seed) const {
    vb::training t{.epochs = epochs, .batch = batch, .seed = static_cast<std::uint64_t>(seed)};
    t.compare = compare == "representation" ? vb::compared_gradients::representation
                                            : vb::compared_gradients::shared_parameters;
    t.own = heads == "unweighted" ? vb::own_gradients::unweighted : vb::own_gradients::weighted;
    return t;
  }
};

/// Puts `all` in its place among the methods; throws when the settings contradict themselves or
/// name something unknown.
void check_settings(settings& s);

/// The tasks, in their order.
std::vector<std::string> task_names(const settings& s);

}  // namespace compare_weightings
