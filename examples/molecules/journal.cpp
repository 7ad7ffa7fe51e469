#include "journal.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "../support/settings_file.hpp"
#include "vierbein/io/csv.hpp"
#include "vierbein/io/csv_writer.hpp"

namespace molecules {

namespace {

const std::vector<std::string> history_columns{
    "run", "epoch", "seconds", "train_loss", "validation_loss", "alignment_loss", "learning_rate"};

// What all results of a folder have in common, one setting a line.
std::string shared_settings(const settings& s) {
  examples::settings_text text;
  text.add_file("data", s.data);
  text.add("smiles", s.smiles);
  text.add("sources", fmt::format("{}", fmt::join(s.sources, ", ")));
  text.add("targets", fmt::format("{}", fmt::join(s.targets, ", ")));
  text.add("split", s.split);
  text.add("hide", s.hide);
  if (s.device != "cpu") {  // else as it always was
    text.add("device", s.device);
  }
  text.add("epochs", fmt::format("{}", s.epochs));
  text.add("addition-epochs", fmt::format("{}", s.addition_epochs));
  return text.text();
}

// What a progress bar left on the present line goes away.
void clear_line() {
  if (::isatty(STDERR_FILENO) == 1) {
    fmt::print(stderr, "\r\x1b[K");
  }
}

}  // namespace

journal::journal(const settings& s, const molecule_table& table)
    : s_(s), shared_(shared_settings(s)) {
  for (vb::index_t i = 0; i < table.set.size(); ++i) {
    for (std::size_t p = 0; p < s.sources.size(); ++p) {
      if (!std::isnan(table.values(i, static_cast<vb::index_t>(p)))) {
        source_rows_ += 1;
        break;
      }
    }
  }
  if (s.resume) {
    load();
  }
  plan();
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
    const auto csv = vb::io::read_csv(file);
    for (vb::index_t r = 0; r < csv.rows(); ++r) {
      std::vector<std::string> row;
      for (const auto& name : history_columns) {
        row.push_back(csv.cell(r, csv.column(name)));
      }
      history_.push_back(std::move(row));
    }
  }
}

bool journal::has(const std::string& method, long labels, long seed) const {
  return std::all_of(s_.targets.begin(), s_.targets.end(), [&](const std::string& target) {
    return std::any_of(results_.begin(), results_.end(), [&](const result& r) {
      return r.target == target && r.method == method && r.encoder == s_.encoder &&
             r.labels == labels && r.seed == seed;
    });
  });
}

// Units are molecules that pass through a network; costs are relative to the plain one.

journal::work journal::pretraining_work(pretraining_kind kind) const {
  const bool gate = kind == pretraining_kind::gate;
  return {gate ? "gate" : "plain", static_cast<double>(s_.epochs) * source_rows_, gate ? 2.0 : 1.0};
}

journal::work journal::method_work(const method& m, long labels) const {
  if (m.weighted) {  // every label of a source is a row of its own there
    work w = pretraining_work(pretraining_kind::plain);
    w.kind = m.name;
    w.units *= static_cast<double>(s_.targets.size());
    w.cost = 2;
    return w;
  }
  if (m.joint) {
    work w = pretraining_work(m.pretraining);
    w.kind = m.name;
    return w;
  }
  const bool aligned = m.pretraining == pretraining_kind::gate && m.addition.alignment > 0;
  return {m.name,
          static_cast<double>(s_.addition_epochs) * static_cast<double>(s_.targets.size()) *
              static_cast<double>(labels),
          (aligned ? 1.5 : 1.0) * (m.pool ? 3.0 : 1.0)};
}

void journal::plan() {
  for (long seed = s_.first_seed; seed < s_.first_seed + s_.seeds; ++seed) {
    std::set<pretraining_kind> pretrained;
    for (const long labels : s_.labels) {
      for (const auto& name : s_.methods) {
        if (has(name, labels, seed)) {
          continue;
        }
        const method& m = find_method(name);
        std::vector<work> pieces{method_work(m, labels)};
        if (!m.joint && !m.weighted && m.pretraining != pretraining_kind::none &&
            pretrained.insert(m.pretraining).second) {
          pieces.push_back(pretraining_work(m.pretraining));
        }
        for (const work& w : pieces) {
          clock_.plan(w.kind, w.units, w.cost);
          ++pieces_;
        }
      }
    }
  }
  if (s_.resume) {
    fmt::print(stderr, "{} results are there already, {} trainings are left\n", results_.size(),
               pieces_);
  }
}

double journal::now() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

journal::piece journal::begin(const work& w, const std::string& what) {
  ++begun_;
  const double left = clock_.left(now());
  fmt::print(stderr, "[{} of {}{}] {}\n", begun_, pieces_,
             std::isnan(left) ? "" : ", " + vb::callback::duration(left) + " left in all", what);
  told_ = told_ || !std::isnan(left);
  clock_.start(w.kind, w.units, now());
  return piece(*this);
}

void journal::end_piece() {
  clock_.finish(now());
  clear_line();
}

journal::piece journal::begin_pretraining(pretraining_kind kind, long seed) {
  const work w = pretraining_work(kind);
  return begin(w, fmt::format("seed {}: {} training on the sources", seed, w.kind));
}

journal::piece journal::begin_method(const method& m, long labels, long seed) {
  return begin(method_work(m, labels), fmt::format("seed {}, {} labels: {}", seed, labels, m.name));
}

void journal::advance(std::size_t done) {
  clock_.advance(static_cast<double>(done) / static_cast<double>(s_.targets.size()));
  if (::isatty(STDERR_FILENO) == 1) {
    fmt::print(stderr, "\r{} of {} targets are done, {} left in all\x1b[K\r", done,
               s_.targets.size(), vb::callback::duration(clock_.left(now())));
    std::fflush(stderr);
  }
}

void journal::watch_step(double fraction) {
  clock_.advance(fraction);
  if (!told_ && fraction >= 0.1) {
    told_ = true;
    clear_line();
    fmt::print(stderr, "about {} left in all\n", vb::callback::duration(clock_.left(now())));
  }
}

void journal::add(result exact) {
  const result r = rounded(std::move(exact));
  const auto same = std::find_if(results_.begin(), results_.end(), [&](const result& old) {
    return old.target == r.target && old.method == r.method && old.encoder == r.encoder &&
           old.labels == r.labels && old.seed == r.seed;
  });
  if (same != results_.end()) {
    *same = r;
  } else {
    results_.push_back(r);
  }
}

void journal::add(const std::string& run, const vb::history& h) {
  const auto name = s_.encoder + ", " + run;
  std::erase_if(history_, [&](const auto& row) { return row[0] == name; });
  for (const vb::epoch_record& e : h.epochs) {
    history_.push_back(
        {name, fmt::format("{}", e.epoch), fmt::format("{:.4f}", e.seconds),
         vb::io::format_number(e.train_loss), vb::io::format_number(e.validation_loss),
         vb::io::format_number(e.alignment_loss), vb::io::format_number(e.learning_rate)});
  }
}

void journal::save() {
  write_results(s_.out / "results.csv", results_);
  vb::io::write_csv(s_.out / "history.csv", history_columns, history_);
  if (!settings_written_) {
    // After the results: should we be stopped in between, nothing is resumed by mistake.
    vb::io::write_atomically(s_.out / "settings.txt", [&](std::ostream& out) { out << shared_; });
    settings_written_ = true;
  }
}

bool journal::keeps_model(const method& m, long labels, long seed) const {
  std::string chosen;
  for (const auto& name : s_.methods) {
    const method& candidate = find_method(name);
    if (chosen != "addition" && !candidate.weighted &&
        candidate.pretraining != pretraining_kind::none) {
      chosen = name;
    }
  }
  return m.name == chosen && seed == s_.first_seed + s_.seeds - 1 &&
         labels == *std::max_element(s_.labels.begin(), s_.labels.end());
}

}  // namespace molecules
