#include "vierbein/train/callbacks.hpp"

#include <doctest/doctest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

using vierbein::Callback;
using vierbein::error;
using vierbein::history;
using vierbein::index_t;
using vierbein::progress_info;
namespace callback = vierbein::callback;

namespace {

constexpr double missing = std::numeric_limits<double>::quiet_NaN();

// A file that is gone afterwards, and what was written to it.
class scratch_file {
 public:
  scratch_file() : file_(std::tmpfile()) { REQUIRE(file_ != nullptr); }
  scratch_file(const scratch_file&) = delete;
  scratch_file& operator=(const scratch_file&) = delete;
  ~scratch_file() { std::fclose(file_); }
  std::FILE* get() const { return file_; }
  std::string text() const {
    std::rewind(file_);
    std::string all;
    for (int c = std::fgetc(file_); c != EOF; c = std::fgetc(file_)) {
      all += static_cast<char>(c);
    }
    return all;
  }

 private:
  std::FILE* file_;
};

class scratch_folder {
 public:
  scratch_folder() {
    std::string name = (std::filesystem::temp_directory_path() / "vierbein-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  scratch_folder(const scratch_folder&) = delete;
  scratch_folder& operator=(const scratch_folder&) = delete;
  ~scratch_folder() { std::filesystem::remove_all(path_); }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

std::string content(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream all;
  all << file.rdbuf();
  return all.str();
}

history losses(const std::vector<double>& train, const std::vector<double>& validation) {
  history h;
  for (std::size_t i = 0; i < train.size(); ++i) {
    h.epochs.push_back({.epoch = static_cast<index_t>(i) + 1,
                        .seconds = 1,
                        .train_loss = train[i],
                        .validation_loss = validation[i]});
  }
  return h;
}

// Calls a progress callback as a run of `epochs` epochs of `steps` steps would, each taking
// `seconds`.
void run(callback::progress& shown, index_t epochs, index_t steps, double seconds) {
  history h;
  progress_info info{.epochs = epochs, .steps = steps, .name = "run"};
  callback::begin(info, shown);
  for (index_t e = 0; e < epochs; ++e) {
    info.epoch = e;
    for (index_t s = 1; s <= steps; ++s) {
      info.step = s;
      info.elapsed += seconds;
      info.left = info.elapsed * (1 / info.fraction() - 1);
      info.loss = 0.5;
      callback::step(info, shown);
    }
    info.epoch = e + 1;
    info.step = 0;
    h.epochs.push_back({.epoch = e + 1, .seconds = seconds * static_cast<double>(steps)});
    CHECK(callback::epoch(h, info, shown));
  }
  h.best_epoch = 2;
  callback::end(h, shown);
}

struct everything {
  std::string calls = "";
  bool go_on = true;
  void on_begin(const progress_info&) { calls += "b"; }
  void on_step(const progress_info&) { calls += "s"; }
  bool on_epoch(const history&, const progress_info&) {
    calls += "e";
    return go_on;
  }
  void on_end(const history&) { calls += "x"; }
};
struct epochs_only {
  int count = 0;
  void on_epoch(const history&, const progress_info&) { ++count; }
};
struct misspelt {
  void on_epoc(const history&) {}
};
struct other_arguments {
  void on_begin(const progress_info&) {}
  void on_epoch(int) {}
};

}  // namespace

static_assert(Callback<everything> && Callback<epochs_only> && Callback<callback::progress> &&
              Callback<callback::early_stopping> && Callback<callback::log_to>);
static_assert(!Callback<misspelt> && !Callback<other_arguments> && !Callback<int>);

TEST_CASE("the members that a callback has are called, all of them in any case") {
  everything first{.go_on = false};
  everything second;
  epochs_only third;
  const progress_info info;
  const history h;
  callback::begin(info, first, second, third);
  callback::step(info, first, second, third);
  CHECK_FALSE(callback::epoch(h, info, first, second, third));
  CHECK(callback::epoch(h, info, second, third));
  callback::end(h, first, second, third);
  CHECK(first.calls == "bsex");
  CHECK(second.calls == "bseex");
  CHECK(third.count == 2);
  CHECK(callback::epoch(h, info));
}

TEST_CASE("the fraction counts finished epochs and steps") {
  CHECK(progress_info{.epoch = 1, .epochs = 4, .step = 5, .steps = 10}.fraction() == 0.375);
  CHECK(progress_info{.epoch = 4, .epochs = 4, .steps = 10}.fraction() == 1);
  CHECK(progress_info{.epoch = 0, .epochs = 4}.fraction() == 0);
}

TEST_CASE("durations read as people say them") {
  CHECK(callback::duration(0.4) == "0 s");
  CHECK(callback::duration(59.4) == "59 s");
  CHECK(callback::duration(59.6) == "1 min 00 s");
  CHECK(callback::duration(185) == "3 min 05 s");
  CHECK(callback::duration(7640) == "2 h 07 min");
}

TEST_CASE("elsewhere than on a terminal, progress is one plain line for each tenth") {
  const scratch_file file;
  callback::progress shown{.label = "pre-training", .out = file.get()};
  run(shown, 5, 20, 0.05);
  const std::string text = file.text();
  CHECK(std::count(text.begin(), text.end(), '\n') == 11);
  CHECK(text.find('\r') == std::string::npos);
  CHECK(text.find('\x1b') == std::string::npos);
  CHECK(text.starts_with("pre-training:  10 %, epoch 1/5, loss 0.5, 4 s left\n"));
  CHECK(text.find("pre-training: 100 %, epoch 5/5, loss 0.5, 0 s left\n") != std::string::npos);
  CHECK(text.ends_with("pre-training: finished after 5 epochs in 5 s, best epoch 2\n"));
}

TEST_CASE("a slow run says something in between") {
  const scratch_file file;
  callback::progress shown{.out = file.get(), .interval = 10};
  run(shown, 1, 20, 30);
  const std::string text = file.text();
  CHECK(std::count(text.begin(), text.end(), '\n') == 21);
  CHECK(text.starts_with("run:   5 %, epoch 1/1, loss 0.5, 9 min 30 s left\n"));
}

TEST_CASE("on a terminal, progress is one line that is drawn anew") {
  const scratch_file file;
  callback::progress shown{.out = file.get(), .how = callback::progress::style::terminal};
  run(shown, 2, 10, 1);
  const std::string text = file.text();
  CHECK(std::count(text.begin(), text.end(), '\n') == 1);
  CHECK(std::count(text.begin(), text.end(), '\r') > 40);
  CHECK(text.find("run: [###############...............]  50 %, epoch 1/2, loss 0.5, 10 s left") !=
        std::string::npos);
  CHECK(text.find("[##############################] 100 %") != std::string::npos);
  CHECK(text.ends_with("\r\x1b[Krun: finished after 2 epochs in 20 s, best epoch 2\n"));
  // A fast run is not drawn at every step.
  const scratch_file second;
  callback::progress fast{.out = second.get(), .how = callback::progress::style::terminal};
  run(fast, 1, 1000, 0.001);
  const std::string fewer = second.text();
  CHECK(std::count(fewer.begin(), fewer.end(), '\r') < 30);
}

TEST_CASE("early stopping waits for its patience since the last improvement") {
  const callback::early_stopping stop{.patience = 2};
  const progress_info info;
  CHECK(stop.on_epoch(losses({1, 1}, {3, 2}), info));
  CHECK(stop.on_epoch(losses({1, 1, 1}, {3, 2, 2}), info));
  CHECK_FALSE(stop.on_epoch(losses({1, 1, 1, 1}, {3, 2, 2, 2.5}), info));
  CHECK(stop.on_epoch(losses({1, 1, 1, 1}, {3, 2, 2, 1.9}), info));
  CHECK_FALSE(callback::early_stopping{.patience = 2, .minimum_improvement = 0.2}.on_epoch(
      losses({1, 1, 1, 1}, {3, 2, 2, 1.9}), info));
  // Without validation the training loss counts; a loss that became NaN is no improvement.
  CHECK(stop.on_epoch(losses({3, 2, 1}, {missing, missing, missing}), info));
  CHECK_FALSE(stop.on_epoch(losses({3, 3, 3}, {missing, missing, missing}), info));
  CHECK_FALSE(stop.on_epoch(losses({3, 2, 1}, {1, missing, missing}), info));
  CHECK_THROWS_AS(callback::early_stopping{.patience = 0}.on_begin(info), error);
}

TEST_CASE("a log grows with every epoch, and a new run replaces it") {
  const scratch_folder folder;
  for (const char* name : {"log.csv", "log.jsonl"}) {
    callback::log_to log{.path = folder / name};
    const progress_info info;
    std::string expected;
    for (int repeat = 0; repeat < 2; ++repeat) {
      log.on_begin(info);
      log.on_epoch(losses({1}, {2}), info);
      log.on_epoch(losses({1, 3}, {2, 4}), info);
      std::ostringstream whole;
      if (log.path.ends_with(".csv")) {
        losses({1, 3}, {2, 4}).write_csv(whole);
      } else {
        losses({1, 3}, {2, 4}).write_json_lines(whole);
      }
      expected = whole.str();
      CHECK(content(log.path) == expected);
    }
    callback::log_to more{.path = log.path, .append = true};
    more.on_begin(info);
    more.on_epoch(losses({1}, {2}), info);
    std::ostringstream one;
    if (log.path.ends_with(".csv")) {
      losses({1}, {2}).write_csv_row(one, losses({1}, {2}).epochs[0]);
    } else {
      losses({1}, {2}).write_json_lines(one);
    }
    CHECK(content(log.path) == expected + one.str());
  }
}

TEST_CASE("a log that cannot be written is an error") {
  const progress_info info;
  callback::log_to nowhere{.path = "/nonexistent/log.csv"};
  const char* const reason = "/nonexistent/log.csv: cannot be written: No such file or directory";
  CHECK_THROWS_WITH_AS(nowhere.on_begin(info), reason, error);
  CHECK_THROWS_WITH_AS(nowhere.on_epoch(losses({1}, {2}), info), reason, error);
  const scratch_folder folder;
  callback::log_to directory{.path = folder / ""};
  CHECK_THROWS_WITH_AS(directory.on_begin(info),
                       (directory.path + ": cannot be written: Is a directory").c_str(), error);
  if (std::filesystem::exists("/dev/full")) {
    callback::log_to full{.path = "/dev/full"};
    CHECK_NOTHROW(full.on_begin(info));
    CHECK_THROWS_WITH_AS(full.on_epoch(losses({1}, {2}), info),
                         "/dev/full: cannot be written: No space left on device", error);
  }
}

TEST_CASE("a log from an earlier run stays until the first epoch is over") {
  const scratch_folder folder;
  callback::log_to log{.path = folder / "log.csv"};
  std::ofstream(log.path) << "earlier";
  log.on_begin({});
  CHECK(content(log.path) == "earlier");
  log.on_epoch(losses({1}, {2}), {});
  CHECK(content(log.path).starts_with("epoch,"));
}

TEST_CASE("a CSV log is appended to only where its columns are the same") {
  const scratch_folder folder;
  const std::vector<std::string> first{"a", "b,c"};
  const std::vector<std::string> other{"a"};
  callback::log_to log{.path = folder / "log.csv", .append = true};
  const auto grow = [&](const std::vector<std::string>& tasks) {
    history h = losses({1}, {2});
    h.task_names = tasks;
    log.on_begin({.tasks = tasks});
    log.on_epoch(h, {.tasks = tasks});
  };
  grow(first);
  grow(first);
  const std::string written = content(log.path);
  CHECK(std::count(written.begin(), written.end(), '\n') == 3);
  const std::string columns =
      "epoch,seconds,train_loss,validation_loss,alignment_loss,learning_rate,validation_score,note,"
      "loss a,";
  const std::string problem = log.path + ": cannot be appended to: expected the header '" +
                              columns + "weight a', found '" + columns +
                              "\"loss b,c\",weight a,\"weight b,c\"'";
  CHECK_THROWS_WITH_AS(grow(other), problem.c_str(), error);
  CHECK(content(log.path) == written);
  log.append = false;
  CHECK_NOTHROW(grow(other));
}
