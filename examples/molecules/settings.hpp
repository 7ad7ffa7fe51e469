// What the user asks for on the command line.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace molecules {

struct settings {
  std::filesystem::path data;
  std::string smiles = "smiles";
  std::vector<std::string> sources;
  std::vector<std::string> targets;
  std::vector<long> labels{100, 200};
  std::vector<std::string> methods{"single", "shared", "finetune", "gate", "addition"};
  std::vector<std::string> weighting;  // become methods
  std::string encoder = "dmpnn";
  std::string split = "random";
  std::string hide = "all";
  long seeds = 3;
  long first_seed = 1;
  long epochs = 20;            // of training on the sources
  long addition_epochs = 150;  // of training one target
  std::string device = "cpu";
  int threads = 0;
  std::filesystem::path out = "molecules-out";
  bool resume = false;  // keep what is in `out` and go on
};

struct predict_settings {
  std::filesystem::path model;
  std::filesystem::path data;
  std::string smiles = "smiles";
  std::filesystem::path out;
  int threads = 0;
};

}  // namespace molecules
