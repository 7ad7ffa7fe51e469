// The program `molecules`, run as its user would run it, on a small table made here.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "../../examples/support/work_clock.hpp"
#include "folder.hpp"
#include "vierbein/alignment/none.hpp"
#include "vierbein/encoder/features.hpp"
#include "vierbein/encoder/mlp.hpp"
#include "vierbein/io/csv.hpp"
#include "vierbein/io/csv_writer.hpp"
#include "vierbein/io/model_file.hpp"
#include "vierbein/model/multitask.hpp"

// Where the program is; without it, for want of its libraries, there is nothing to run.
#ifndef VIERBEIN_MOLECULES
#define VIERBEIN_MOLECULES ""
#endif

namespace vb = vierbein;
namespace fs = std::filesystem;
using example_test::check_refused;
using example_test::content;
using example_test::disk_full;
using example_test::outcome;
using example_test::put;
using example_test::rows_of;
using example_test::table;

namespace {

constexpr std::string_view program = VIERBEIN_MOLECULES;

/// Alkanes and their derivatives with made-up properties: two sources, a target, a column `part`
/// that splits them and one without any label.
std::string small_table() {
  std::string text = "smiles,a,b,t,part,nothing\n";
  const std::vector<std::string> ends{"",       "O",        "N",        "Cl",
                                      "C(=O)O", "c1ccccc1", "C1CCCCC1", "c1ccncc1"};
  for (int length = 1; length <= 11; ++length) {
    for (std::size_t e = 0; e < ends.size(); ++e) {
      const double x = length;
      const auto g = static_cast<double>(e);
      text +=
          fmt::format("{}{},{},{},{:.3f},{},\n", std::string(static_cast<std::size_t>(length), 'C'),
                      ends[e], 3 * x + g, e == 2 ? "" : fmt::format("{}", x - 2 * g),
                      x * g + 0.1 * x * x, length % 4 == 0 ? "test" : "train");
    }
  }
  return text;
}

/// A folder with a table, and the program.
class bench : public example_test::folder {
 public:
  bench() : folder(program, "molecules") { put(data(), small_table()); }

  [[nodiscard]] fs::path data() const { return at("data.csv"); }

  /// A comparison that takes no time; later options win over these.
  [[nodiscard]] static std::string small(const std::string& arguments) {
    const auto unless = [&](const char* option, const char* value) {
      return arguments.find(option) == std::string::npos ? fmt::format("{} {} ", option, value)
                                                         : "";
    };
    return unless("--data", "data.csv") + unless("--sources", "a,b") + unless("--targets", "t") +
           unless("--labels", "10") + unless("--seeds", "1") + unless("--epochs", "1") +
           unless("--addition-epochs", "1") + unless("--threads", "2") +
           unless("--encoder", "dense") + unless("--methods", "single") + unless("--out", "out") +
           arguments;
  }
  [[nodiscard]] outcome compare(const std::string& arguments) const {
    return run(small(arguments));
  }
};

std::vector<std::string> method_names(const bench& b) {
  return example_test::names_told(b.compare("--methods none-of-them"));
}

}  // namespace

TEST_SUITE_BEGIN("molecules" * doctest::skip(program.empty()));

TEST_CASE("molecules: every method leaves its results, whatever the number of threads") {
  const bench b;
  const auto all = method_names(b);
  CHECK(all.size() >= 5);
  for (const std::string encoder : {"dense", "dmpnn"}) {
    CAPTURE(encoder);
    const auto methods =
        encoder == "dense" ? all : std::vector<std::string>{"single", "gate", "addition"};
    const auto settings =
        fmt::format("--encoder {} --methods {} --labels 8,16 ", encoder, fmt::join(methods, ","));
    for (const int threads : {1, 2, 7}) {
      const auto o =
          b.compare(settings + fmt::format("--threads {} --out out{}", threads, threads));
      INFO(o.err);
      REQUIRE(o.status == 0);
    }
    const auto results = rows_of(b.at("out1/results.csv"));
    CHECK(results.size() == methods.size() * 2);
    for (const char* file : {"results.csv", "history.csv"}) {
      const auto one = rows_of(b.at("out1") / file);
      CHECK(one.size() > 0);
      CHECK(rows_of(b.at("out2") / file) == one);
      CHECK(rows_of(b.at("out7") / file) == one);
    }
    const auto csv = vb::io::read_csv(b.at("out1/history.csv"));
    CHECK(csv.column_names() == std::vector<std::string>{"run", "epoch", "seconds", "train_loss",
                                                         "validation_loss", "alignment_loss",
                                                         "learning_rate"});
    for (const char* file : {"chart.svg", "frame.svg"}) {
      const auto picture = content(b.at("out1") / file);
      CHECK(picture.starts_with("<svg "));
      CHECK(picture.ends_with("</svg>\n"));
      CHECK(picture.find("nan") == std::string::npos);
      CHECK(picture.find("inf\"") == std::string::npos);
      CHECK(picture == content(b.at("out7") / file));
    }
    CHECK(content(b.at("out1/model.safetensors")) == content(b.at("out7/model.safetensors")));
    CHECK_FALSE(fs::exists(b.at("out1/rejects.csv")));
    const auto metadata = vb::read_metadata(b.at("out1/model.safetensors"));
    CHECK(metadata.extra.at("inputs") == encoder);
    CHECK(metadata.alignment == "gate");
    REQUIRE(metadata.tasks.size() == 3);
    CHECK(metadata.tasks[2].name == "t");
  }
}

TEST_CASE("molecules: the table") {
  const bench b;
  const auto o = b.compare("--methods single,finetune --seeds 2");
  REQUIRE(o.status == 0);
  CHECK(o.out.find("10 labels, encoder dense, random split") != std::string::npos);
  CHECK(o.out.find("R² - single") != std::string::npos);
  CHECK(o.out.find("RMSE / finetune") != std::string::npos);
  CHECK(o.out.find(" ± ") != std::string::npos);
  // Without those methods nothing is compared with them.
  const auto gate = b.compare("--methods gate");
  REQUIRE(gate.status == 0);
  CHECK(gate.out.find("- single") == std::string::npos);
  CHECK(gate.out.find("/ finetune") == std::string::npos);
  CHECK(gate.out.find("±") == std::string::npos);
  CHECK(o.err.find("[1 of 6] seed 1, 10 labels: single") != std::string::npos);
}

TEST_CASE("molecules: splits and whom test molecules are hidden from") {
  const bench b;
  for (const char* split : {"scaffold", "column:part"}) {
    for (const char* hide : {"all", "target"}) {
      const auto o = b.compare(fmt::format("--methods finetune --split {} --hide {}", split, hide));
      INFO(o.err);
      CHECK(o.status == 0);
    }
  }
  CHECK(b.run("--help").status == 0);
  CHECK(b.run("predict --help").out.find("--model") != std::string::npos);
}

TEST_CASE("molecules: --resume runs what is missing and nothing else") {
  const bench b;
  REQUIRE(b.compare("--methods single,finetune,addition --seeds 2 --out whole").status == 0);
  REQUIRE(b.compare("--methods single,finetune").status == 0);
  const auto before = rows_of(b.at("out/results.csv"));
  const auto o = b.compare("--methods single,finetune,addition --seeds 2 --resume");
  REQUIRE(o.status == 0);
  CHECK(o.err.find("seed 1, 10 labels: addition") != std::string::npos);
  CHECK(o.err.find("seed 1, 10 labels: finetune") == std::string::npos);
  auto resumed = rows_of(b.at("out/results.csv"));
  auto whole = rows_of(b.at("whole/results.csv"));
  CHECK(table(resumed.begin(), resumed.begin() + std::ssize(before)) == before);
  std::sort(resumed.begin(), resumed.end());
  std::sort(whole.begin(), whole.end());
  CHECK(resumed == whole);
  CHECK(content(b.at("out/model.safetensors")) == content(b.at("whole/model.safetensors")));
  auto history = rows_of(b.at("out/history.csv"));
  auto whole_history = rows_of(b.at("whole/history.csv"));
  std::sort(history.begin(), history.end());
  std::sort(whole_history.begin(), whole_history.end());
  CHECK(history == whole_history);

  // Again: nothing is left, and the table is the same.
  const auto again = b.compare("--methods single,finetune,addition --seeds 2 --resume");
  CHECK(again.status == 0);
  CHECK(again.err.find("0 trainings are left") != std::string::npos);
  CHECK(again.out == o.out);

  // Another encoder joins; other settings do not.
  REQUIRE(b.compare("--methods single --encoder dmpnn --resume").status == 0);
  CHECK(rows_of(b.at("out/results.csv")).size() == resumed.size() + 1);
  const auto kept = content(b.at("out/results.csv"));
  check_refused(b.compare("--epochs 2 --resume"), "settings.txt");
  check_refused(b.compare("--hide target --resume"), "hide: target");
  put(b.data(), small_table() + "CCCCBr,1,2,3,train,\n");
  check_refused(b.compare("--resume"), "settings.txt: the results there cannot be resumed");
  put(b.data(), small_table());
  fs::remove(b.at("out/settings.txt"));
  check_refused(b.compare("--resume"), "settings.txt");
  CHECK(content(b.at("out/results.csv")) == kept);
}

TEST_CASE("molecules predict: new molecules") {
  const bench b;
  for (const std::string method : {"addition", "finetune"}) {
    CAPTURE(method);
    REQUIRE(b.compare(fmt::format("--methods {}", method)).status == 0);
    put(b.at("new.csv"), "name,smiles\none,CCO\ntwo,C(\nthree,c1ccccc1\n");
    const auto o = b.run("predict --model out/model.safetensors --data new.csv --out p.csv");
    INFO(o.err);
    REQUIRE(o.status == 0);
    const auto csv = vb::io::read_csv(b.at("p.csv"));
    CHECK(csv.column_names() == std::vector<std::string>{"smiles", "a", "b", "t"});
    REQUIRE(csv.rows() == 3);
    const auto t = csv.number_column("t");
    CHECK(std::isfinite(t[0]));
    CHECK(csv.cell(1, 0) == "C(");
    CHECK(csv.cell(1, 3).empty());
    CHECK(std::isfinite(t[2]));
    const auto rejects = vb::io::read_csv(b.at("p.rejects.csv"));
    REQUIRE(rejects.rows() == 1);
    CHECK(rejects.cell(0, 0) == "2");
    // One thread says the same.
    REQUIRE(b.run("predict --model out/model.safetensors --data new.csv --out q.csv --threads 1")
                .status == 0);
    CHECK(content(b.at("q.csv")) == content(b.at("p.csv")));
  }
  const auto predict = [&](const std::string& arguments) {
    const auto or_default = [&](const char* option, const char* value) {
      return arguments.find(option) == std::string::npos ? fmt::format("{} {} ", option, value)
                                                         : "";
    };
    return b.run("predict " + or_default("--model", "out/model.safetensors") +
                 or_default("--data", "new.csv") + or_default("--out", "p.csv") + arguments);
  };
  const auto earlier = content(b.at("p.csv"));
  check_refused(predict("--smiles nope"), "new.csv: no column 'nope'");
  check_refused(predict("--data none.csv"), "none.csv");
  check_refused(predict("--model none.safetensors"), "none.safetensors");
  check_refused(predict("--out none/p.csv"), "none/p.csv");
  check_refused(predict("--threads 0"), "--threads");
  for (const char* option : {"--model", "--data", "--out"}) {
    check_refused(predict(fmt::format("{} ''", option)), fmt::format("{}: expected", option));
  }

  // Nothing that is read is written, by whatever name.
  const auto input = content(b.at("new.csv"));
  put(b.at("r.rejects.csv"), input);
  put(b.at("s.rejects.csv"), "smiles\nC\n");  // nothing to reject: this one would be deleted
  check_refused(predict("--out new.csv"), "--out: 'new.csv' is the file of --data");
  check_refused(predict("--out out/../new.csv"), "--out: 'out/../new.csv' is the file of --data");
  check_refused(predict("--out out/model.safetensors"),
                "--out: 'out/model.safetensors' is the file of --model");
  for (const char* name : {"r", "s"}) {
    check_refused(predict(fmt::format("--data {0}.rejects.csv --out {0}.csv", name)),
                  fmt::format("--out: '{}.rejects.csv' is the file of --data", name));
    CHECK_FALSE(fs::exists(b.at(fmt::format("{}.csv", name))));
  }
  CHECK(content(b.at("new.csv")) == input);
  CHECK(content(b.at("r.rejects.csv")) == input);
  CHECK(content(b.at("s.rejects.csv")) == "smiles\nC\n");
  put(b.at("empty.csv"), "");
  check_refused(predict("--data empty.csv"), "empty.csv");
  put(b.at("header.csv"), "smiles\n");
  check_refused(predict("--data header.csv"), "header.csv, column smiles");
  put(b.at("bad.csv"), "smiles\nC(\nC1\n");
  check_refused(predict("--data bad.csv"), "bad.csv, row 1, column smiles");

  // Model files: cut short, no model, of another program, of another width.
  const auto model = content(b.at("out/model.safetensors"));
  for (const std::size_t length :
       {std::size_t{0}, std::size_t{5}, std::size_t{100}, model.size() / 2, model.size() - 1}) {
    put(b.at("cut.safetensors"), model.substr(0, length));
    check_refused(predict("--model cut.safetensors"), "cut.safetensors");
  }
  check_refused(predict("--model new.csv"), "new.csv");
  auto foreign = vb::multitask(vb::encoder::features{}, vb::tasks{vb::regression("x")});
  foreign.build({3}, 1);
  vb::save(foreign, b.at("foreign.safetensors"));
  check_refused(predict("--model foreign.safetensors"), "foreign.safetensors");
  vb::tasks<> tasks;
  tasks.add(vb::regression("x"));
  auto plain = vb::multitask(vb::encoder::mlp{.widths = {4}}, tasks);
  plain.build({7}, 1);
  vb::save(plain, b.at("width.safetensors"), {{"inputs", "dense"}});
  check_refused(predict("--model width.safetensors"),
                "width.safetensors: the model was trained on");
  CHECK(content(b.at("p.csv")) == earlier);

  // The disk is full.
  std::string many = "smiles\n";
  for (int i = 0; i < 200; ++i) {
    many += "CCCCCCCCO\n";
  }
  put(b.at("many.csv"), many);
  check_refused(b.shell(disk_full + " &&",
                        "predict --model out/model.safetensors --data many.csv --out p.csv"),
                "p.csv: cannot be written");
  CHECK(content(b.at("p.csv")) == earlier);
}

TEST_CASE("molecules: SMILES that cannot be parsed are listed and left out") {
  const bench b;
  put(b.data(), small_table() + "C(,1,2,3,train,\n");
  REQUIRE(b.compare("").status == 0);
  const auto rejects = vb::io::read_csv(b.at("out/rejects.csv"));
  REQUIRE(rejects.rows() == 1);
  CHECK(rejects.cell(0, 0) == "89");
  put(b.data(), small_table());
  REQUIRE(b.compare("").status == 0);
  CHECK_FALSE(fs::exists(b.at("out/rejects.csv")));
}

TEST_CASE("molecules: bad input is refused in one sentence and earlier results stay") {
  const bench b;
  REQUIRE(b.compare("").status == 0);
  const auto earlier = content(b.at("out/results.csv"));
  const auto refused = [&](const std::string& arguments, const std::string& place) {
    CAPTURE(arguments);
    check_refused(b.compare(arguments), place);
  };

  refused("--data none.csv", "none.csv: cannot be read");
  refused("--data .", ".: cannot be read");
  put(b.at("empty.csv"), "");
  refused("--data empty.csv", "empty.csv");
  put(b.at("header.csv"), "smiles,a,b,t\n");
  refused("--data header.csv", "header.csv");
  put(b.at("text.csv"), "smiles,a,b,t\nC,1,2,3\nCC,1,warm,3\n");
  refused("--data text.csv", "text.csv, row 2, column b: expected a number, found 'warm'");
  put(b.at("inf.csv"), "smiles,a,b,t\nC,1,2,inf\n");
  refused("--data inf.csv", "inf.csv, row 1, column t");
  put(b.at("ragged.csv"), "smiles,a,b,t\nC,1,2\n");
  refused("--data ragged.csv", "ragged.csv, row 1");

  refused("--smiles nope", "data.csv: no column 'nope'");
  refused("--sources a,nope", "data.csv: no column 'nope'");
  refused("--split column:nope", "data.csv: no column 'nope'");
  refused("--targets nothing", "data.csv, column nothing: the task has no label");
  refused("--sources a,nothing --methods finetune", "data.csv, column nothing");
  refused("--targets t,t", "--targets: 't' is given twice");
  refused("--sources a,a", "--sources: 'a' is given twice");
  refused("--targets a", "--targets: 'a' is among the sources");
  refused("--labels 1000", "data.csv, column t: asked for 1000 labels");
  refused("--labels 0", "--labels");
  refused("--labels=-5", "--labels");
  refused("--labels 10,10", "--labels");
  refused("--labels 10,2 --weighting alpha_vil",
          "--labels: methods of --weighting hold back 2 labels and need at least 3, found 2");
  refused("--labels ten", "--labels");
  refused("--methods magic", "--methods");
  refused("--methods single,single", "--methods");
  refused("--encoder transformer", "--encoder");
  refused("--split alphabetical", "--split");
  refused("--device gpu", "--device");
  refused("--split column:", "--split");
  refused("--hide nobody", "--hide");
  refused("--seeds 0", "--seeds");
  refused("--seeds=-1", "--seeds");
  refused("--epochs 0", "--epochs");
  refused("--addition-epochs 0", "--addition-epochs");
  refused("--threads 0", "--threads");
  refused("--threads=-2", "--threads");
  refused("--first-seed=-1", "--first-seed");
  refused("--first-seed 9223372036854775807", "--first-seed: expected a number from 0 to");
  for (const char* option : {"--seeds", "--epochs", "--addition-epochs"}) {
    refused(fmt::format("{} 10000000000", option), option);
  }
  refused("--colour red", "--colour");
  refused("--out data.csv/out", "data.csv/out");
  refused("--out data.csv", "data.csv");
  for (const char* name : {"results.csv", "rejects.csv"}) {
    put(b.at(name), small_table());
    refused(fmt::format("--data {} --out .", name),
            fmt::format("--out: './{}' is the file of --data", name));
    CHECK(content(b.at(name)) == small_table());
  }
  check_refused(b.run(""), "--data");
  check_refused(b.run("--data data.csv --sources a"), "--targets");
  check_refused(b.run("--data data.csv --targets t"), "--sources");
  check_refused(b.run("predict"), "--model");

  // All rows are test rows; too few of them have the target.
  put(b.at("test.csv"), "smiles,a,b,t,part\nC,1,2,3,test\nCC,1,2,3,test\n");
  refused("--data test.csv --split column:part --labels 2", "test.csv, --split column:part");

  // A folder that was made for a refused run does not stay.
  refused("--data none.csv --out fresh", "none.csv");
  CHECK_FALSE(fs::exists(b.at("fresh")));

  // No molecule is left; where the rejects went was told before.
  put(b.at("bad.csv"), "smiles,a,b,t\nC(,1,2,3\n");
  const auto o = b.compare("--data bad.csv --out bad");
  CHECK(o.status == 2);
  CHECK(o.errors().back() == "bad.csv: no molecule is left");

  CHECK(content(b.at("out/results.csv")) == earlier);

  // The disk is full: what was written before that stays.
  const auto full = b.shell(disk_full + " &&", bench::small("--labels 8,9,10,11,12 --seeds 9 "));
  CHECK(full.status == 2);
  CHECK(full.errors().back().starts_with("out/"));
  CHECK(full.errors().back().find(".csv: cannot be written") != std::string::npos);
  CHECK(vb::io::read_csv(b.at("out/results.csv")).rows() >= 1);
}

TEST_CASE("molecules: Ctrl-C keeps and shows what is finished") {
  const bench b;
  const auto results = b.at("out/results.csv");
  const pid_t child = ::fork();
  if (child == 0) {
    const auto command =
        fmt::format("cd '{}' && exec '{}' {} > out.txt 2> err.txt", b.at("").string(), program,
                    bench::small("--methods single,shared --epochs 1000000"));
    ::execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
    ::_exit(127);
  }
  REQUIRE(child > 0);
  for (int i = 0; i < 300 && content(b.at("err.txt")).find(": shared") == std::string::npos; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  CHECK(fs::exists(results));
  ::kill(child, SIGINT);
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 130);
  const auto rows = rows_of(results);
  REQUIRE(rows.size() == 1);
  CHECK(rows[0][1] == "single");
  const auto out = content(b.at("out.txt"));
  CHECK(out.find("single") != std::string::npos);
  CHECK(out.find("shared") == std::string::npos);
}

TEST_SUITE_END();

TEST_CASE("work_clock: learns how long a unit takes") {
  examples::work_clock clock;
  clock.plan("slow", 10, 2);
  clock.plan("slow", 10, 2);
  clock.plan("quick", 20, 1);
  CHECK(std::isnan(clock.left(0)));
  clock.start("slow", 10, 0);
  clock.advance(0.5);
  CHECK(clock.left(10) == doctest::Approx(10 + 20 + 20));  // 2 s a unit, so 1 s a quick one
  clock.finish(30);
  CHECK(clock.left(30) == doctest::Approx(30 + 30));
  clock.start("quick", 20, 30);
  clock.finish(35);
  CHECK(clock.left(35) == doctest::Approx(30));
  clock.start("slow", 10, 35);
  clock.finish(45);
  CHECK(clock.left(45) == doctest::Approx(0));
}
