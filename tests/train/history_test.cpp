#include "vierbein/train/history.hpp"

#include <doctest/doctest.h>

#include <limits>
#include <sstream>
#include <string>

using vierbein::epoch_record;
using vierbein::history;

namespace {

history two_epochs() {
  history h{.task_names = {"log P", "say \"hi\", \\"}};
  h.epochs.push_back({.epoch = 1,
                      .seconds = 0.5,
                      .train_loss = 0.1,
                      .task_losses = {1, 2},
                      .weights = {0.25, 1e-300},
                      .learning_rate = 1e-3,
                      .conflict_share = 0.25,
                      .solver_iterations = 7.5,
                      .branches = {{"left", 0.5}, {"right", -1}}});
  h.epochs.push_back({.epoch = 2,
                      .seconds = 0.25,
                      .train_loss = std::numeric_limits<double>::infinity(),
                      .validation_loss = 1.0 / 3,
                      .task_losses = {1},
                      .alignment_loss = 2,
                      .note = "branch 'b', twice"});
  return h;
}

}  // namespace

TEST_CASE("a history becomes CSV with names quoted where needed") {
  std::ostringstream out;
  two_epochs().write_csv(out);
  CHECK(out.str() ==
        "epoch,seconds,train_loss,validation_loss,alignment_loss,learning_rate,validation_score,"
        "note,loss log P,\"loss say \"\"hi\"\", \\\",weight log P,\"weight say \"\"hi\"\", \\\"\n"
        "1,0.5,0.1,,,0.001,,,1,2,0.25,1e-300\n"
        "2,0.25,inf,0.3333333333333333,2,,,\"branch 'b', twice\",1,,,\n");
}

TEST_CASE("a history becomes JSON lines, null where there is no number") {
  std::ostringstream out;
  two_epochs().write_json_lines(out);
  CHECK(out.str() ==
        "{\"epoch\":1,\"seconds\":0.5,\"train_loss\":0.1,\"validation_loss\":null,"
        "\"alignment_loss\":null,\"learning_rate\":0.001,\"validation_score\":null,"
        "\"conflict_share\":0.25,\"solver_iterations\":7.5,\"note\":\"\","
        "\"losses\":{\"log P\":1,\"say \\\"hi\\\", \\\\\":2},"
        "\"weights\":{\"log P\":0.25,\"say \\\"hi\\\", \\\\\":1e-300},"
        "\"branches\":{\"left\":0.5,\"right\":-1}}\n"
        "{\"epoch\":2,\"seconds\":0.25,\"train_loss\":null,"
        "\"validation_loss\":0.3333333333333333,\"alignment_loss\":2,\"learning_rate\":null,"
        "\"validation_score\":null,\"conflict_share\":null,\"solver_iterations\":0,"
        "\"note\":\"branch 'b', twice\","
        "\"losses\":{\"log P\":1,\"say \\\"hi\\\", \\\\\":null},"
        "\"weights\":{\"log P\":null,\"say \\\"hi\\\", \\\\\":null},\"branches\":{}}\n");
}

TEST_CASE("control characters in a name are escaped, other languages kept") {
  history h{.task_names = {std::string("a\n\x01") + "ü"}};
  h.epochs.push_back({.epoch = 1, .task_losses = {3}});
  std::ostringstream out;
  h.write_json_lines(out);
  CHECK(out.str().find("\"losses\":{\"a\\n\\u0001ü\":3}") != std::string::npos);
}
