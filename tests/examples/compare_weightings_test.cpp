// The program `compare_weightings`, run as its user would run it, on small data made here.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "folder.hpp"
#include "small_pictures.hpp"
#include "vierbein/io/csv.hpp"

// Where the program is; without it, for want of its libraries, there is nothing to run.
#ifndef VIERBEIN_COMPARE_WEIGHTINGS
#define VIERBEIN_COMPARE_WEIGHTINGS ""
#endif

namespace vb = vierbein;
using example_test::check_refused;
using example_test::content;
using example_test::outcome;
using example_test::put;
using example_test::rows_of;

namespace {

constexpr std::string_view program = VIERBEIN_COMPARE_WEIGHTINGS;

// Chains of carbon, some with oxygen, and properties that depend on both.
std::string small_table() {
  std::string text = "smiles,weight,polarity,other\n";
  for (int n = 0; n < 60; ++n) {
    const int carbons = 1 + n % 15;
    const bool acid = n % 2 == 1;
    text += fmt::format("{}{},{},{},{}\n", std::string(static_cast<std::size_t>(carbons), 'C'),
                        acid ? "(=O)O" : "", carbons, acid ? 1.5 * carbons : -1.0 * carbons,
                        n % 3 == 0 ? std::string() : fmt::format("{}", 2 * carbons));
  }
  return text;
}

class bench : public example_test::folder {
 public:
  bench() : folder(program, "compare-weightings") {
    put(at("images"), example_test::small_pictures(90));
    put(at("labels"), example_test::small_labels(90));
    put(at("table.csv"), small_table());
  }

  /// A comparison that takes no time; later options win over these.
  [[nodiscard]] outcome compare(const std::string& arguments) const {
    std::string all = arguments;
    const auto unless = [&](const char* option, const char* value) {
      if (arguments.find(std::string(option) + " ") == std::string::npos) {
        all += fmt::format(" {} {}", option, value);
      }
    };
    unless("--images", "images");
    unless("--labels", "labels");
    unless("--table", "table.csv");
    unless("--properties", "weight,polarity,other");
    unless("--train", "60");
    unless("--dev", "20");
    unless("--test", "30");
    unless("--epochs", "2");
    unless("--batch", "16");
    unless("--seeds", "1");
    unless("--threads", "2");
    unless("--methods", "equal");
    unless("--out", "out");
    return run(all);
  }
};

}  // namespace

TEST_SUITE_BEGIN("compare_weightings" * doctest::skip(program.empty()));

TEST_CASE("compare_weightings: every method, on both data, whatever the number of threads") {
  const bench b;
  auto methods = example_test::names_told(b.compare("--methods none-of-them"));
  CHECK(methods.size() > 40);
  for (const std::string data : {"molecules", "multi_fashion"}) {
    if (data == "multi_fashion") {  // two tasks
      std::erase(methods, "krum");
      std::erase(methods, "trimmed_mean");
    }
    for (const int threads : {1, 2}) {
      const auto o = b.compare(fmt::format("--data {} --methods {} --threads {} --out {}{}", data,
                                           fmt::join(methods, ","), threads, data, threads));
      INFO(o.err);
      REQUIRE(o.status == 0);
      for (const std::string& name : methods) {
        CHECK(o.out.find("\n  " + name + " ") != std::string::npos);
      }
    }
    const auto one = rows_of(b.at(data + "1/results.csv"));
    CHECK(one.size() == methods.size());
    CHECK(rows_of(b.at(data + "2/results.csv")) == one);
    for (const double v : vb::io::read_csv(b.at(data + "1/results.csv")).number_column("metric")) {
      CHECK(std::isfinite(v));
      CHECK(v <= 1);
    }
  }
}

TEST_CASE("compare_weightings: `all`, seeds, differences to equal and what a step costs") {
  const bench b;
  const auto o = b.compare("--methods all,gcs --seeds 2 --target right --epochs 1");
  INFO(o.err);
  REQUIRE(o.status == 0);
  CHECK(o.out.find("krum") == std::string::npos);  // there are two tasks
  const auto csv = vb::io::read_csv(b.at("out/results.csv"));
  CHECK(csv.column_names() == std::vector<std::string>{"method", "seed", "metric", "ms_per_step",
                                                       "seconds", "task left", "task right"});
  CHECK(csv.rows() > 2 * 30);
  const auto metric = csv.number_column("metric");
  const auto left = csv.number_column("task left");
  const auto right = csv.number_column("task right");
  const auto ms = csv.number_column("ms_per_step");
  for (std::size_t i = 0; i < metric.size(); ++i) {
    CHECK(metric[i] == doctest::Approx((left[i] + right[i]) / 2).epsilon(1e-5));
    CHECK(ms[i] > 0);
  }
  CHECK(o.out.find("against equal") != std::string::npos);
  CHECK(o.out.find("±") != std::string::npos);
}

TEST_CASE("compare_weightings: options of the trainer change the results, equal weights aside") {
  const bench b;
  const auto results = [&](const std::string& options, const std::string& folder) {
    const auto o = b.compare("--methods equal,upgrad --out " + folder + " " + options);
    INFO(o.err);
    REQUIRE(o.status == 0);
    return vb::io::read_csv(b.at(folder + "/results.csv")).number_column("metric");
  };
  const auto plain = results("--data molecules", "a");
  const auto heads = results("--data molecules --heads unweighted", "b");
  const auto representation = results("--data molecules --compare representation", "c");
  CHECK(plain[0] == heads[0]);
  CHECK(plain[0] == representation[0]);
  CHECK(plain[1] != heads[1]);
  CHECK(plain[1] != representation[1]);
}

TEST_CASE("compare_weightings: the cosines as a picture") {
  const bench b;
  const auto o = b.compare("--data molecules --cosines equal");
  INFO(o.err);
  REQUIRE(o.status == 0);
  const auto picture = content(b.at("out/cosines.svg"));
  CHECK(picture.starts_with("<svg "));
  CHECK(picture.ends_with("</svg>\n"));
  CHECK(picture.find("polarity, other") != std::string::npos);
  CHECK(picture.find("nan") == std::string::npos);
}

TEST_CASE("compare_weightings: --resume runs what is missing and nothing else") {
  const bench b;
  REQUIRE(b.compare("--methods equal,mgda").status == 0);
  const auto before = rows_of(b.at("out/results.csv"));
  const auto o = b.compare("--resume --methods equal,mgda,pcgrad --seeds 2");
  REQUIRE(o.status == 0);
  CHECK(o.err.find("2 results are there already") != std::string::npos);
  const auto after = rows_of(b.at("out/results.csv"));
  CHECK(after.size() == 6);
  CHECK(std::vector(after.begin(), after.begin() + 2) == before);
  REQUIRE(b.compare("--methods equal,mgda,pcgrad --seeds 2 --out fresh").status == 0);
  auto fresh = rows_of(b.at("fresh/results.csv"));
  auto sorted = after;
  std::sort(fresh.begin(), fresh.end());
  std::sort(sorted.begin(), sorted.end());
  CHECK(fresh == sorted);
  check_refused(b.compare("--resume --epochs 3"), "out/settings.txt");
  CHECK(rows_of(b.at("out/results.csv")) == after);
}

TEST_CASE("compare_weightings: bad input is refused in one sentence") {
  const bench b;
  put(b.at("short.csv"), "smiles,weight,polarity,other\nCC,1,2,3\n");
  put(b.at("results.csv"), small_table());
  for (const auto& [arguments, place] : std::vector<std::array<std::string, 2>>{
           {"--methods equal,equal", "--methods"},
           {"--methods krum", "'krum' needs at least 3 tasks"},
           {"--cosines dwa", "'dwa' does not look at gradients"},
           {"--cosines alpha_vil", "--cosines"},
           {"--cosines nothing", "--cosines"},
           {"--data words", "--data"},
           {"--target third", "--target"},
           {"--compare heads", "--compare"},
           {"--heads both", "--heads"},
           {"--epochs 0", "--epochs"},
           {"--learning-rate 0", "--learning-rate"},
           {"--seeds 10000000000", "--seeds"},
           {"--first-seed=-1", "--first-seed"},
           {"--first-seed 9223372036854775807", "--first-seed: expected a number from 0 to"},
           {"--data molecules --table results.csv --out .",
            "--out: './results.csv' is the file of --table"},
           {"--images absent", "absent"},
           {"--data molecules --table absent.csv", "absent.csv"},
           {"--data molecules --table short.csv", "weight"},
           {"--data molecules --properties weight,colour", "colour"},
           {"--methods moco --compare representation", "training"},
           {"--no-such-option", "--no-such-option"}}) {
    check_refused(b.compare(arguments), place);
  }
}

TEST_SUITE_END();
