// What the example programs have in common: checks of options, the folder of their results,
// refusals.
#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <initializer_list>
#include <new>
#include <string>
#include <system_error>
#include <utility>

#include "vierbein/core/error.hpp"

namespace examples {

/// Throws unless the number of an option is one that a program can count to.
inline void check_positive(const char* option, long value) {
  constexpr long most = 10'000'000;
  vierbein::require(value > 0 && value <= most, option, "expected a number from 1 to {}, found {}",
                    most, value);
}

/// Throws unless `first` and the numbers that follow, `count` in all, can be seeds.
inline void check_seeds(long first, long count) {
  constexpr long most = 1'000'000'000'000'000;
  check_positive("--seeds", count);
  vierbein::require(first >= 0 && first <= most, "--first-seed",
                    "expected a number from 0 to {}, found {}", most, first);
}

/// Throws when a file that would be written is the one that `option` names to be read.
inline void require_other_file(const std::filesystem::path& written, const char* option,
                               const std::filesystem::path& read) {
  std::error_code ignored;  // where one of them is missing they differ
  vierbein::require(!std::filesystem::equivalent(written, read, ignored), "--out",
                    "'{}' is the file of {}", written.string(), option);
}

/// The same for files in a folder.
inline void require_other_files(const std::filesystem::path& folder,
                                std::initializer_list<const char*> written, const char* option,
                                const std::filesystem::path& read) {
  for (const char* name : written) {
    require_other_file(folder / name, option, read);
  }
}

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

inline int refuse(const std::exception& problem) {
  const bool memory = dynamic_cast<const std::bad_alloc*>(&problem) != nullptr;
  return refuse(std::string(memory ? "memory: the system does not give what these settings ask for"
                                   : problem.what()));
}

}  // namespace examples
