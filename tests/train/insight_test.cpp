// What is noted about every step.
#include "vierbein/train/insight.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "../support/message_of.hpp"
#include "../support/problems.hpp"
#include "vierbein/vierbein.hpp"

namespace vb = vierbein;
using vb::index_t;

namespace {

const std::vector<std::string> names{"a", "b,c", "d"};

vb::matrix<double> gram_of(const std::vector<double>& values) {
  vb::matrix<double> g(3, 3);
  std::copy(values.begin(), values.end(), g.data());
  return g;
}

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

TEST_CASE("a step by hand: lengths, cosines, conflicts") {
  const std::vector<double> l{1, 2, 3};
  const std::vector<double> w{0.5, 0.25, 0.125};
  const auto g = gram_of({4, -1, 2, -1, 1, 0, 2, 0, 9});
  vb::step_record r{.epoch = 2,
                    .step = 5,
                    .names = names,
                    .values = {l},
                    .weights = w,
                    .gram = g.view(),
                    .iterations = 6};
  const auto s = vb::callback::insight::examine(r);
  CHECK(s.epoch == 2);
  CHECK(s.step == 5);
  CHECK(s.iterations == 6);
  CHECK(s.losses == l);
  CHECK(s.weights == w);
  CHECK(s.lengths == std::vector<double>{2, 1, 3});
  CHECK(s.cosines == std::vector<double>{-0.5, 1.0 / 3, 0});
  CHECK(s.conflict_share == doctest::Approx(1.0 / 3));

  const bool present[] = {true, false, true};
  r.values.present = present;
  const auto partly = vb::callback::insight::examine(r);
  CHECK(partly.conflict_share == 0);
  CHECK(std::isnan(partly.losses[1]));
  CHECK(std::isnan(partly.cosines[0]));
  CHECK(partly.cosines[1] == 1.0 / 3);
  CHECK(std::isnan(partly.cosines[2]));
  r.gram = {};
  CHECK(std::isnan(vb::callback::insight::examine(r).conflict_share));
  CHECK(std::isnan(vb::callback::insight::examine(r).lengths[0]));
}

TEST_CASE("a training run is noted in memory and in a file") {
  const auto path = std::filesystem::temp_directory_path() / "vierbein_insight_test.csv";
  auto data = problems::related_tasks(40, 4, names, 1);
  for (index_t r = 0; r < 40; ++r) {  // b,c in every second batch at most
    data.at(names[1]).values(r, 0) = r % 20 == 0 ? static_cast<double>(r) : problems::missing;
  }
  vb::tasks<> list;
  for (const auto& name : names) {
    list.add(vb::regression(name));
  }
  auto model = vb::multitask<double>(vb::encoder::mlp{.widths = {6}}, list);
  vb::training_course course;
  const vb::training options{.epochs = 2, .batch = 8, .validation_fraction = 0};
  const auto h = vb::fit(vb::backend::cpu_double(1), model, data, options, vb::optimizer::adam{},
                         vb::weighting::equal{},
                         vb::callback::insight{.path = path.string(), .into = &course});
  CHECK(course.task_names == names);
  REQUIRE(course.steps.size() == 10);
  CHECK(course.steps.back().epoch == 2);
  CHECK(course.steps.back().step == 5);
  double share = 0;
  for (std::size_t i = 5; i < 10; ++i) {
    share += course.steps[i].conflict_share / 5;
  }
  CHECK(h.epochs[1].conflict_share == doctest::Approx(share));
  CHECK(h.epochs[1].solver_iterations == 0);

  const std::string text = text_of(path);
  CHECK(
      text.starts_with("epoch,step,conflicts,iterations,loss a,\"loss b,c\",loss d,weight a,"
                       "\"weight b,c\",weight d,length a,\"length b,c\",length d,"
                       "\"cosine b,c|a\",cosine d|a,\"cosine d|b,c\"\n1,1,"));
  CHECK(std::count(text.begin(), text.end(), '\n') == 11);
  std::filesystem::remove(path);

  // Every third step, in memory alone; without anybody who listens there is no Gramian.
  vb::fit(vb::backend::cpu_double(1), model, data, options, vb::optimizer::adam{},
          vb::weighting::equal{}, vb::callback::insight{.into = &course, .every = 3});
  CHECK(course.steps.size() == 4);
  CHECK(course.steps[1].step == 4);
  const auto quiet = vb::fit(vb::backend::cpu_double(1), model, data, options,
                             vb::optimizer::adam{}, vb::weighting::equal{});
  CHECK(std::isnan(quiet.epochs[0].conflict_share));
  CHECK_THROWS_WITH(
      vb::fit(vb::backend::cpu_double(1), model, data, options, vb::optimizer::adam{},
              vb::weighting::equal{}, vb::callback::insight{.path = "/no/such/folder/steps.csv"}),
      "/no/such/folder/steps.csv: cannot be written: No such file or directory");

  // A log of other tasks is found before the first step.
  std::ofstream(path) << "epoch,loss a\n";
  CHECK(test::message_of([&] {
          vb::fit(vb::backend::cpu_double(1), model, data, options, vb::optimizer::adam{},
                  vb::weighting::equal{}, vb::callback::insight{.into = &course},
                  vb::callback::log_to{.path = path.string(), .append = true});
        }).ends_with(",weight a,\"weight b,c\",weight d', found 'epoch,loss a'"));
  std::filesystem::remove(path);
  CHECK(course.steps.empty());
}
