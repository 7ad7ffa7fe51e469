#include "journal.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "../support/program.hpp"
#include "../support/settings_file.hpp"
#include "vierbein/io/atomic_file.hpp"
#include "vierbein/train/callbacks.hpp"

namespace multi_fashion {

namespace {

// What all results of a folder have in common, one setting a line.
std::string shared_settings(const settings& s) {
  examples::settings_text text;
  text.add_file("images", s.images);
  text.add_file("labels", s.labels);
  text.add("train", s.train);
  text.add("dev", s.dev);
  text.add("test", s.test);
  text.add("epochs", s.epochs);
  text.add("batch", s.batch);
  text.add("learning-rate", s.learning_rate);
  return text.text();
}

}  // namespace

journal::journal(const settings& s) : s_(s), shared_(shared_settings(s)) {
  if (s.resume) {
    load();
  }
  for (long seed = s.first_seed; seed < s.first_seed + s.seeds; ++seed) {
    for (const auto& target : s.targets) {
      for (const long labels : s.target_labels) {
        for (const auto& name : s.methods) {
          if (!has({target, labels, name, seed})) {
            clock_.plan(name, 1, find_method(name).cost);
            ++trainings_;
          }
        }
      }
    }
  }
  if (s.resume) {
    examples::tell("{} results are there already, {} trainings are left\n", results_.size(),
                   trainings_);
  }
}

void journal::load() {
  const auto results_file = s_.out / "results.csv";
  const auto settings_file = s_.out / "settings.txt";
  if (!std::filesystem::exists(results_file)) {
    return;  // nothing was finished: this is a beginning
  }
  examples::require_same_settings(settings_file, results_file, shared_);
  results_ = read_results(results_file);
  if (const auto file = s_.out / "history.csv"; std::filesystem::exists(file)) {
    moments_ = read_history(file);
  }
}

bool journal::has(const cell& c) const {
  return std::any_of(results_.begin(), results_.end(), [&](const result& r) { return r.of == c; });
}

bool journal::complete(const std::string& target, long labels, long seed) const {
  return std::all_of(s_.methods.begin(), s_.methods.end(), [&](const std::string& method) {
    return has({target, labels, method, seed});
  });
}

double journal::now() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

void journal::begin(const cell& c) {
  ++begun_;
  const double left = clock_.left(now());
  examples::tell("[{} of {}{}] seed {}, target {}, {}: {}\n", begun_, trainings_,
                 std::isnan(left) ? "" : ", " + vb::callback::duration(left) + " left in all",
                 c.seed, c.target, labels_text(c.labels), c.method);
  clock_.start(c.method, 1, now());
}

void journal::add(const result& exact, const vb::history& h) {
  clock_.finish(now());
  const cell& c = exact.of;
  std::erase_if(results_, [&](const result& r) { return r.of == c; });
  std::erase_if(moments_, [&](const moment& m) { return m.of == c; });
  results_.push_back(rounded(exact));
  const auto more = moments_of(c, h);
  moments_.insert(moments_.end(), more.begin(), more.end());
  write_results(s_.out / "results.csv", results_);
  write_history(s_.out / "history.csv", moments_);
  if (!settings_written_) {
    // After the results: should we be stopped in between, nothing is resumed by mistake.
    vb::io::write_atomically(s_.out / "settings.txt", [&](std::ostream& out) { out << shared_; });
    settings_written_ = true;
  }
}

}  // namespace multi_fashion
