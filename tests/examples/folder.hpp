// Runs an example program as its user would run it, in a folder of its own.
#pragma once

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "vierbein/io/csv.hpp"

namespace example_test {

namespace fs = std::filesystem;

using table = std::vector<std::vector<std::string>>;

inline std::string content(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

inline void put(const fs::path& file, const std::string& text) {
  std::ofstream(file, std::ios::binary) << text;
}

/// For the shell: from now on no file grows beyond 1 or 2 KiB, as on a full disk (shells count in
/// blocks of 512 or 1024 bytes). Not less: LLVM's OpenMP runtime keeps 1 KiB in shared memory under
/// the number of its process, and a later process of that number crashes on a shorter one.
inline const std::string disk_full = "ulimit -f 2";

struct outcome {
  int status = -1;
  std::string out, err;

  [[nodiscard]] std::vector<std::string> errors() const {
    std::vector<std::string> lines;
    std::istringstream stream(err);
    for (std::string line; std::getline(stream, line);) {
      lines.push_back(line);
    }
    return lines;
  }
};

/// A folder for files, and a program that runs in it.
class folder {
 public:
  folder(std::string_view program, std::string_view name)
      : program_(program),
        path_(fs::temp_directory_path() / fmt::format("vierbein-{}-{}", name, ::getpid())) {
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  folder(const folder&) = delete;
  folder& operator=(const folder&) = delete;
  ~folder() { fs::remove_all(path_); }

  [[nodiscard]] fs::path at(const std::string& name) const { return path_ / name; }

  /// What comes before and after the program on the shell's command line.
  [[nodiscard]] outcome shell(const std::string& before, const std::string& arguments) const {
    const auto command = fmt::format("cd '{}' && {} '{}' {} > out.txt 2> err.txt", path_.string(),
                                     before, program_, arguments);
    const int status = std::system(command.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + status, content(at("out.txt")),
            content(at("err.txt"))};
  }
  [[nodiscard]] outcome run(const std::string& arguments) const { return shell("", arguments); }

 private:
  std::string program_;
  fs::path path_;
};

/// The rows of a CSV file without the columns that hold times.
inline table rows_of(const fs::path& file) {
  const auto csv = vierbein::io::read_csv(file);
  table rows;
  for (vierbein::index_t r = 0; r < csv.rows(); ++r) {
    rows.emplace_back();
    for (const auto& name : csv.column_names()) {
      if (name != "seconds" && name != "ms_per_step") {
        rows.back().push_back(csv.cell(r, csv.column(name)));
      }
    }
  }
  return rows;
}

/// One sentence that names the place, status 2.
inline void check_refused(const outcome& o, const std::string& place) {
  CAPTURE(o.out);
  CAPTURE(o.err);
  CAPTURE(place);
  CHECK(o.status == 2);
  REQUIRE(o.errors().size() == 1);
  CHECK(o.errors()[0].find(place) != std::string::npos);
}

/// The names of all methods, which a program tells when it does not know one.
inline std::vector<std::string> names_told(const outcome& o) {
  const std::string begin = "expected some of ";
  REQUIRE(o.err.find(begin) != std::string::npos);
  std::string list = o.err.substr(o.err.find(begin) + begin.size());
  list = list.substr(0, list.find(';'));
  std::erase(list, ' ');
  std::vector<std::string> names;
  std::istringstream stream(list);
  for (std::string name; std::getline(stream, name, ',');) {
    names.push_back(name);
  }
  return names;
}

}  // namespace example_test
