// The program `multi_fashion`, run as its user would run it, on small pictures made here; and how
// it makes its pictures.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "folder.hpp"
#include "small_pictures.hpp"
#include "vierbein/io/csv.hpp"
#include "vierbein/io/idx.hpp"

// Where the program is; without it, for want of its libraries, there is nothing to run.
#ifndef VIERBEIN_MULTI_FASHION
#define VIERBEIN_MULTI_FASHION ""
#endif

namespace vb = vierbein;
namespace fs = std::filesystem;
using example_test::check_refused;
using example_test::content;
using example_test::disk_full;
using example_test::idx;
using example_test::outcome;
using example_test::put;
using example_test::rows_of;
using example_test::side;
using example_test::small_labels;
using example_test::small_pictures;

namespace {

constexpr std::string_view program = VIERBEIN_MULTI_FASHION;

class bench : public example_test::folder {
 public:
  bench() : folder(program, "multi-fashion") {
    put(at("images"), small_pictures(90));
    put(at("labels"), small_labels(90));
  }

  /// A comparison that takes no time; later options win over these.
  [[nodiscard]] static std::string small(const std::string& arguments) {
    const auto unless = [&](const char* option, const char* value) {
      return arguments.find(std::string(option) + " ") == std::string::npos
                 ? fmt::format("{} {} ", option, value)
                 : "";
    };
    return unless("--images", "images") + unless("--labels", "labels") + unless("--train", "60") +
           unless("--dev", "20") + unless("--test", "30") + unless("--epochs", "2") +
           unless("--batch", "16") + unless("--seeds", "1") + unless("--threads", "2") +
           unless("--methods", "single") + unless("--out", "out") + arguments;
  }
  [[nodiscard]] outcome compare(const std::string& arguments) const {
    return run(small(arguments));
  }
};

}  // namespace

TEST_SUITE_BEGIN("multi_fashion" * doctest::skip(program.empty()));

TEST_CASE("multi_fashion: every method leaves its results, whatever the number of threads") {
  const bench b;
  const auto methods = example_test::names_told(b.compare("--methods none-of-them"));
  CHECK(methods.size() >= 3);
  const auto settings = fmt::format("--methods {} --target left,right --target-labels 0,20 ",
                                    fmt::join(methods, ","));
  for (const int threads : {1, 2, 7}) {
    const auto o = b.compare(settings + fmt::format("--threads {} --out out{}", threads, threads));
    INFO(o.err);
    REQUIRE(o.status == 0);
  }
  for (const char* file : {"results.csv", "history.csv"}) {
    const auto one = rows_of(b.at("out1") / file);
    CHECK(one.size() >= methods.size() * 4);
    CHECK(rows_of(b.at("out2") / file) == one);
    CHECK(rows_of(b.at("out7") / file) == one);
  }
  const auto results = vb::io::read_csv(b.at("out1/results.csv"));
  CHECK(results.rows() == std::ssize(methods) * 4);
  CHECK(results.column_names() ==
        std::vector<std::string>{"target", "labels", "method", "seed", "accuracy", "seconds"});
  for (const double accuracy : results.number_column("accuracy")) {
    CHECK(accuracy >= 0);
    CHECK(accuracy <= 1);
  }
  const auto picture = content(b.at("out1/chart.svg"));
  CHECK(picture.starts_with("<svg "));
  CHECK(picture.ends_with("</svg>\n"));
  CHECK(picture.find("nan") == std::string::npos);
  CHECK(picture.find("inf\"") == std::string::npos);
  CHECK(picture == content(b.at("out7/chart.svg")));
}

TEST_CASE("multi_fashion: what can be learnt is learnt, by itself and together") {
  const bench b;
  const auto o = b.compare(
      "--train 300 --dev 60 --test 90 --epochs 12 --methods single,shared,finetune "
      "--target left,right --learning-rate 0.003");
  INFO(o.err);
  REQUIRE(o.status == 0);
  const auto csv = vb::io::read_csv(b.at("out/results.csv"));
  for (const double accuracy : csv.number_column("accuracy")) {
    CHECK(accuracy > 0.8);  // chance is 1/3
  }
  // The course of finetune is that of shared and half as many epochs more, on the target alone.
  const auto history = vb::io::read_csv(b.at("out/history.csv"));
  const auto method = history.text_column("method");
  const auto target = history.text_column("target");
  const auto left = history.number_column("weight_left");
  const auto right = history.number_column("weight_right");
  int of_left = 0;
  for (std::size_t i = 0; i < method.size(); ++i) {
    if (method[i] == "finetune" && target[i] == "left") {
      ++of_left;
      CHECK(left[i] == 1);
      CHECK(right[i] == (of_left > 12 ? 0 : 1));
    }
  }
  CHECK(of_left == 18);
}

TEST_CASE("multi_fashion: the table") {
  const bench b;
  const auto o = b.compare("--methods single,shared --seeds 2 --target-labels 20");
  REQUIRE(o.status == 0);
  CHECK(o.out.find("target left, 20 labels, 30 test pictures, 2 seeds") != std::string::npos);
  CHECK(o.out.find("- single") != std::string::npos);
  CHECK(o.out.find("- shared") != std::string::npos);
  CHECK(o.out.find(" ± ") != std::string::npos);
  CHECK(o.err.find("[1 of 4] seed 1, target left, 20 labels: single") != std::string::npos);
  const auto alone = b.compare("--methods single");
  REQUIRE(alone.status == 0);
  CHECK(alone.out.find("all labels") != std::string::npos);
  CHECK(alone.out.find("- single") == std::string::npos);
  CHECK(alone.out.find("±") == std::string::npos);
  CHECK(b.run("--help").status == 0);
}

TEST_CASE("multi_fashion: --resume runs what is missing and nothing else") {
  const bench b;
  REQUIRE(b.compare("--methods single,finetune,shared --seeds 2 --out whole").status == 0);
  REQUIRE(b.compare("--methods single").status == 0);
  const auto before = rows_of(b.at("out/results.csv"));
  const auto o = b.compare("--methods single,finetune,shared --seeds 2 --resume");
  REQUIRE(o.status == 0);
  CHECK(o.err.find("1 results are there already, 5 trainings are left") != std::string::npos);
  CHECK(o.err.find("seed 1, target left, all labels: single") == std::string::npos);
  for (const char* file : {"results.csv", "history.csv"}) {
    auto resumed = rows_of(b.at("out") / file);
    auto whole = rows_of(b.at("whole") / file);
    std::sort(resumed.begin(), resumed.end());
    std::sort(whole.begin(), whole.end());
    CHECK(resumed == whole);
  }
  CHECK(rows_of(b.at("out/results.csv"))[0] == before[0]);
  CHECK(content(b.at("out/chart.svg")) == content(b.at("whole/chart.svg")));

  const auto again = b.compare("--methods single,finetune,shared --seeds 2 --resume");
  CHECK(again.status == 0);
  CHECK(again.err.find("0 trainings are left") != std::string::npos);
  CHECK(again.out == o.out);

  const auto kept = content(b.at("out/results.csv"));
  check_refused(b.compare("--epochs 3 --resume"), "epochs: 3");
  put(b.at("labels"), small_labels(89) + "x");
  check_refused(b.compare("--resume"), "expected 89 bytes");
  put(b.at("images"), small_pictures(89));
  put(b.at("labels"), small_labels(89));
  check_refused(b.compare("--resume"), "settings.txt: the results there cannot be resumed");
  put(b.at("images"), small_pictures(90));
  put(b.at("labels"), small_labels(90));
  fs::remove(b.at("out/settings.txt"));
  check_refused(b.compare("--resume"), "settings.txt");
  CHECK(content(b.at("out/results.csv")) == kept);
}

TEST_CASE("multi_fashion: bad input is refused in one sentence and earlier results stay") {
  const bench b;
  REQUIRE(b.compare("").status == 0);
  const auto earlier = content(b.at("out/results.csv"));
  const auto refused = [&](const std::string& arguments, const std::string& place) {
    CAPTURE(arguments);
    check_refused(b.compare(arguments), place);
  };
  refused("--images none", "none: cannot be read");
  refused("--labels none", "none: cannot be read");
  refused("--images .", ".: cannot be read: Is a directory");
  put(b.at("text"), "label,pixel\n");
  refused("--images text", "text: expected an IDX file");
  refused("--labels text", "text: expected an IDX file");
  put(b.at("cut"), small_pictures(90).substr(0, 1000));
  refused("--images cut", "cut: expected 12960 bytes for an array of 90 x 12 x 12 elements");
  refused("--images labels", "labels: expected pictures of bytes, N x H x W, found an array of 90");
  refused("--labels images", "images: expected labels, an array of rank 1, found rank 3");
  put(b.at("floats"), idx(13, {1, 1, 1}, std::string(4, '\0')));
  refused("--images floats", "floats: expected pictures of bytes");
  put(b.at("empty"), idx(8, {0, 12, 12}, ""));
  refused("--images empty", "empty: expected pictures of bytes");
  put(b.at("few"), small_labels(89));
  refused("--labels few", "few: expected 90 labels, one for each picture of images, found 89");
  put(b.at("half"), idx(9, {90}, std::string(89, '\1') + '\xFF'));
  refused("--labels half", "half, label 89 (counted from 0): expected a class number");
  put(b.at("same"), idx(8, {90}, std::string(90, '\0')));
  refused("--labels same", "same: expected at least two classes");
  put(b.at("tiny"), idx(8, {90, 2, 2}, std::string(360, 'a')));
  refused("--images tiny", "tiny: encoder::convolutional: a window of 5 x 5 does not fit");
  put(b.at("two"), small_pictures(2));
  put(b.at("two-labels"), small_labels(2));
  refused("--images two --labels two-labels", "two: 2 pictures are too few to be dealt out");

  refused("--target middle", "--target: expected left or right, found 'middle'");
  refused("--target left,left", "--target: 'left' is given twice");
  refused("--target-labels 61", "--target-labels: expected numbers from 0 (all) to the 60");
  refused("--target-labels=-1", "--target-labels");
  refused("--target-labels 5,5", "--target-labels: '5' is given twice");
  refused("--target-labels many", "--target-labels");
  refused("--methods magic", "--methods: expected some of single");
  refused("--methods single,single", "--methods");
  for (const char* option : {"--train", "--dev", "--test", "--epochs", "--batch", "--seeds"}) {
    refused(fmt::format("{} 0", option), option);
    refused(fmt::format("{} 100000000000", option), option);
  }
  refused("--learning-rate 0", "--learning-rate");
  refused("--learning-rate nan", "--learning-rate");
  refused("--threads 0", "--threads");
  refused("--first-seed=-1", "--first-seed");
  refused("--first-seed 9223372036854775807", "--first-seed: expected a number from 0 to");
  refused("--colour red", "--colour");
  refused("--out images/out", "images/out");
  refused("--out images", "images");
  for (const char* option : {"--images", "--labels"}) {
    put(b.at("history.csv"), "");
    refused(fmt::format("{} history.csv --out .", option),
            fmt::format("--out: './history.csv' is the file of {}", option));
  }
  refused("--images none --out fresh", "none");
  CHECK_FALSE(fs::exists(b.at("fresh")));
  CHECK(content(b.at("out/results.csv")) == earlier);

  // Pictures of 4 GB; the shell allows 1 GB, in KiB.
  check_refused(b.shell("ulimit -v 1000000 &&",
                        bench::small("--train 10000000 --dev 10000000 --test 10000000 ")),
                "memory: the system does not give what these settings ask for");

  // The disk is full: what was written before that stays. The last words go through a pipe, which
  // has no such limit.
  const auto full = b.shell(disk_full + " && (",
                            bench::small("--seeds 30 ") + "; echo status $?) 2>&1 | tail -n 2");
  CHECK(full.out.starts_with("out/"));
  CHECK(full.out.find(".csv: cannot be written") != std::string::npos);
  CHECK(full.out.ends_with("\nstatus 2\n"));
  CHECK(vb::io::read_csv(b.at("out/results.csv")).rows() >= 1);
}

TEST_CASE("multi_fashion: Ctrl-C keeps and shows what is finished") {
  const bench b;
  const pid_t child = ::fork();
  if (child == 0) {
    const auto command =
        fmt::format("cd '{}' && exec '{}' {} > out.txt 2> err.txt", b.at("").string(), program,
                    bench::small("--methods single,alpha_vil --epochs 200000 --train 1 --dev 1 "
                                 "--test 1 --batch 1"));
    ::execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
    ::_exit(127);
  }
  REQUIRE(child > 0);
  for (int i = 0; i < 600 && !fs::exists(b.at("err.txt")); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  for (int i = 0; i < 600 && content(b.at("err.txt")).find(": single") == std::string::npos; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  ::kill(child, SIGINT);
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 130);
  CHECK_FALSE(fs::exists(b.at("out/results.csv")));
}

TEST_SUITE_END();
