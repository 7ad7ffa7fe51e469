// What is done of a comparison, and what is still to do.
#pragma once

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "../support/molecule_table.hpp"
#include "../support/work_clock.hpp"
#include "methods.hpp"
#include "results.hpp"
#include "settings.hpp"
#include "vierbein/train/callbacks.hpp"
#include "vierbein/train/history.hpp"

namespace molecules {

/// The results and histories of a comparison, in <out>/results.csv and <out>/history.csv, and the
/// time that the rest takes, told on stderr. With `--resume` it begins with what is in the folder.
///
/// <out>/settings.txt holds the settings that all results in a folder share. Methods, labels, seeds
/// and the encoder are not among them: they say which results there are.
class journal {
 public:
  /// Throws when results are to be resumed that other settings made.
  journal(const settings& s, const molecule_table& table);

  /// Whether all targets have a result of this method.
  [[nodiscard]] bool has(const std::string& method, long labels, long seed) const;

  /// A piece of the work, from its beginning until it goes out of scope.
  class piece {
   public:
    explicit piece(journal& j) : journal_(j) {}
    piece(const piece&) = delete;
    piece& operator=(const piece&) = delete;
    ~piece() { journal_.end_piece(); }

   private:
    journal& journal_;
  };
  [[nodiscard]] piece begin_pretraining(pretraining_kind kind, long seed);
  [[nodiscard]] piece begin_method(const method& m, long labels, long seed);
  /// `done` targets of the present piece are done.
  void advance(std::size_t done);

  /// Tells the time that is left once the first piece is long enough under way to know it.
  struct watch {
    journal* to;
    void on_step(const vb::progress_info& info) const { to->watch_step(info.fraction()); }
  };

  /// Adds a result, rounded as in its file; it takes the place of an older one of the same cell.
  void add(result exact);
  /// Adds the epochs of a training, or takes the place of those of the same name.
  void add(const std::string& run, const vb::history& h);
  /// Writes both files.
  void save();

  /// Whether <out>/model.safetensors is to hold the model of this run: the last seed, the largest
  /// number of labels and the method `addition`, or else the last that makes one model of all
  /// targets.
  [[nodiscard]] bool keeps_model(const method& m, long labels, long seed) const;

  [[nodiscard]] const std::vector<result>& results() const { return results_; }

 private:
  struct work {
    std::string kind;
    double units = 0;
    double cost = 0;
  };
  [[nodiscard]] work pretraining_work(pretraining_kind kind) const;
  [[nodiscard]] work method_work(const method& m, long labels) const;
  void plan();
  void load();
  piece begin(const work& w, const std::string& what);
  void end_piece();
  void watch_step(double fraction);
  [[nodiscard]] double now() const;

  const settings& s_;
  std::string shared_;      // the text of settings.txt
  double source_rows_ = 0;  // molecules with a label of a source
  std::vector<result> results_;
  std::vector<std::vector<std::string>> history_;  // rows of history.csv
  bool settings_written_ = false;
  examples::work_clock clock_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::size_t pieces_ = 0;
  std::size_t begun_ = 0;
  bool told_ = false;  // whether the time left was told
};

}  // namespace molecules
