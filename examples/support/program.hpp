// What the example programs have in common: the folder of their results, refusals.
#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include "vierbein/core/error.hpp"

namespace examples {

/// The folder of the results; one that is made here goes again when nothing was put into it.
class output_folder {
 public:
  explicit output_folder(std::filesystem::path path) : path_(std::move(path)) {
    std::error_code problem;
    made_ = std::filesystem::create_directories(path_, problem);
    if (problem) {
      throw vierbein::error(path_.string(), "the folder cannot be made: " + problem.message());
    }
    vierbein::require(::access(path_.c_str(), W_OK | X_OK) == 0, path_.string().c_str(),
                      "the folder cannot be written to: {}",
                      std::generic_category().message(errno));
  }
  output_folder(const output_folder&) = delete;
  output_folder& operator=(const output_folder&) = delete;
  ~output_folder() {
    std::error_code ignored;
    if (made_) {
      std::filesystem::remove(path_, ignored);  // fails when it holds something
    }
  }

 private:
  std::filesystem::path path_;
  bool made_ = false;
};

/// Tells something on standard error. That it cannot be written is no failure: the work goes on.
template <class... Args>
void tell(fmt::format_string<Args...> format, Args&&... args) {
  std::fputs(fmt::format(format, std::forward<Args>(args)...).c_str(), stderr);
}

/// Tells what went wrong on one line.
inline int refuse(std::string problem) {
  problem.erase(problem.find_last_not_of(" \n") + 1);
  std::replace(problem.begin(), problem.end(), '\n', ' ');
  tell("{}\n", problem);
  return 2;
}

}  // namespace examples
