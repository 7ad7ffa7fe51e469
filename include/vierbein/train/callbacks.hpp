// What is told while a model trains: progress, early stopping, a log.
//
// A callback is any object with at least one of these members:
//     void on_begin(const progress_info&)                  before the first step
//     void on_step(const progress_info&)                   after each step; not in rounds of an
//                                                          update_based policy
//     bool on_epoch(const history&, const progress_info&)  after each epoch; false stops (void does
//                                                          not)
//     void on_weights(const step_record&)                  after each step, with what was weighed;
//                                                          not in such rounds either
//     void on_end(const history&)                          after the last epoch
// Members need not be const. A callback with `static constexpr bool wants_gram = true` makes the
// trainer form the Gramian of gradients even where the weighting policy does not: about one more
// sweep of all tasks in each step.
#pragma once

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstdio>
#include <fstream>
#include <limits>
#include <memory>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/train/history.hpp"
#include "vierbein/weighting/kinds.hpp"

namespace vierbein {

/// How far a training run is.
struct progress_info {
  index_t epoch = 0;   ///< epochs that are finished
  index_t epochs = 0;  ///< at most
  index_t step = 0;    ///< done in the present epoch; 0 in on_begin
  index_t steps = 0;   ///< in each epoch; in rounds, thousandths of an epoch
  double elapsed = 0;  ///< seconds since the run began
  double left = std::numeric_limits<double>::quiet_NaN();  ///< seconds; NaN while unknown
  double loss = std::numeric_limits<double>::quiet_NaN();  ///< of the last step or epoch
  std::string_view name = {};                              ///< of the run; may be empty
  std::span<const std::string> tasks = {};                 ///< names of those that train

  /// The share of the run that is done, in [0, 1].
  [[nodiscard]] double fraction() const {
    const double part = steps > 0 ? static_cast<double>(step) / static_cast<double>(steps) : 0;
    const double done = static_cast<double>(epoch) + part;
    return epochs > 0 ? std::clamp(done / static_cast<double>(epochs), 0.0, 1.0) : 1;
  }
};

/// What was weighed in one step. Valid during the call alone.
struct step_record {
  index_t epoch = 0;  ///< from 1
  index_t step = 0;   ///< in the epoch, from 1
  std::span<const std::string> names;
  losses values;                    ///< before the step
  std::span<const double> weights;  ///< (T) those of absent tasks had no effect
  /// (T, T) Inner products of the tasks' gradients, zero where a task was absent; without rows when
  /// neither the policy nor a callback wants them. For a policy of several batches it is the matrix
  /// that the policy saw.
  gram_matrix gram;
  std::size_t iterations = 0;  ///< of the policy's solver; 0 where it has none
};

namespace callback {

template <class C>
concept HasOnWeights = requires(C& c, const step_record& r) { c.on_weights(r); };
template <class C>
concept HasOnBegin = requires(C& c, const progress_info& info) { c.on_begin(info); };
template <class C>
concept HasOnStep = requires(C& c, const progress_info& info) { c.on_step(info); };
template <class C>
concept HasOnEpoch =
    requires(C& c, const history& h, const progress_info& info) { c.on_epoch(h, info); };
template <class C>
concept HasOnEnd = requires(C& c, const history& h) { c.on_end(h); };

// A member that is there but cannot be called as it will be is a mistake, not another member.
template <class C>
concept HooksFit =
    (HasOnBegin<C> || !requires { &C::on_begin; }) &&
    (HasOnWeights<C> || !requires { &C::on_weights; }) &&
    (HasOnStep<C> || !requires { &C::on_step; }) &&
    (HasOnEpoch<C> || !requires { &C::on_epoch; }) && (HasOnEnd<C> || !requires { &C::on_end; });

}  // namespace callback

/// See the head of this file.
template <class C>
concept Callback = (callback::HasOnBegin<C> || callback::HasOnStep<C> || callback::HasOnEpoch<C> ||
                    callback::HasOnWeights<C> || callback::HasOnEnd<C>) &&
                   callback::HooksFit<C>;

namespace callback {

/// Refuses to compile, with one sentence, when C is no callback. To be called by whatever takes
/// callbacks.
template <class C>
consteval void require_callback() {
  constexpr bool fits = Callback<C>;  // as a value: no list of what the concept tried
  static_assert(fits,
                "a callback must have one of the members "
                "`void on_begin(const vierbein::progress_info&)`, "
                "`void on_step(const vierbein::progress_info&)`, "
                "`bool on_epoch(const vierbein::history&, const vierbein::progress_info&)`, "
                "`void on_weights(const vierbein::step_record&)`, "
                "`void on_end(const vierbein::history&)`, and none of those names with other "
                "arguments");
}

template <class... Cs>
void begin(const progress_info& info, Cs&... callbacks) {
  [[maybe_unused]] [[maybe_unused]] const auto one = [&](auto& c) {
    if constexpr (HasOnBegin<std::remove_reference_t<decltype(c)>>) {
      c.on_begin(info);
    }
  };
  (one(callbacks), ...);
}

template <class... Cs>
void step(const progress_info& info, Cs&... callbacks) {
  [[maybe_unused]] [[maybe_unused]] const auto one = [&](auto& c) {
    if constexpr (HasOnStep<std::remove_reference_t<decltype(c)>>) {
      c.on_step(info);
    }
  };
  (one(callbacks), ...);
}

/// Whether a callback wants the Gramian of every step.
template <class C>
inline constexpr bool wants_gram = false;
template <class C>
  requires requires { C::wants_gram; }
inline constexpr bool wants_gram<C> = C::wants_gram;

template <class... Cs>
void weighed([[maybe_unused]] const step_record& record, Cs&... callbacks) {
  [[maybe_unused]] const auto one = [&](auto& c) {
    if constexpr (HasOnWeights<std::remove_reference_t<decltype(c)>>) {
      c.on_weights(record);
    }
  };
  (one(callbacks), ...);
}

/// Tells every callback, and returns whether all want to go on.
template <class... Cs>
[[nodiscard]] bool epoch(const history& h, const progress_info& info, Cs&... callbacks) {
  bool go_on = true;
  [[maybe_unused]] [[maybe_unused]] const auto one = [&](auto& c) {
    if constexpr (HasOnEpoch<std::remove_reference_t<decltype(c)>>) {
      if constexpr (std::is_void_v<decltype(c.on_epoch(h, info))>) {
        c.on_epoch(h, info);
      } else {
        go_on = static_cast<bool>(c.on_epoch(h, info)) && go_on;
      }
    }
  };
  (one(callbacks), ...);
  return go_on;
}

template <class... Cs>
void end(const history& h, Cs&... callbacks) {
  [[maybe_unused]] [[maybe_unused]] const auto one = [&](auto& c) {
    if constexpr (HasOnEnd<std::remove_reference_t<decltype(c)>>) {
      c.on_end(h);
    }
  };
  (one(callbacks), ...);
}

/// A callback of any type, behind virtual functions.
class listener {
 public:
  virtual ~listener() = default;
  virtual void begin(const progress_info& info) = 0;
  virtual void step(const progress_info& info) = 0;
  virtual void weighed(const step_record& record) = 0;
  [[nodiscard]] virtual bool epoch(const history& h, const progress_info& info) = 0;
  virtual void end(const history& h) = 0;
};

template <class C>
class listener_of final : public listener {
 public:
  explicit listener_of(C& callback) : callback_(callback) {}
  void begin(const progress_info& info) override { callback::begin(info, callback_); }
  void step(const progress_info& info) override { callback::step(info, callback_); }
  void weighed(const step_record& record) override { callback::weighed(record, callback_); }
  [[nodiscard]] bool epoch(const history& h, const progress_info& info) override {
    return callback::epoch(h, info, callback_);
  }
  void end(const history& h) override { callback::end(h, callback_); }

 private:
  C& callback_;
};

/// Refers to `callback`, which must outlive it.
template <class C>
std::unique_ptr<listener> listen(C& callback) {
  return std::make_unique<listener_of<C>>(callback);
}

/// Several callbacks of any types, in order, as one callback: what tells it is compiled once.
class group {
 public:
  template <class... Cs>
  explicit group(Cs&... callbacks) {
    (require_callback<Cs>(), ...);
    (all_.push_back(listen(callbacks)), ...);
  }

  void on_begin(const progress_info& info) {
    for (const auto& l : all_) {
      l->begin(info);
    }
  }
  void on_step(const progress_info& info) {
    for (const auto& l : all_) {
      l->step(info);
    }
  }
  void on_weights(const step_record& record) {
    for (const auto& l : all_) {
      l->weighed(record);
    }
  }
  [[nodiscard]] bool on_epoch(const history& h, const progress_info& info) {
    bool go_on = true;
    for (const auto& l : all_) {
      go_on = l->epoch(h, info) && go_on;
    }
    return go_on;
  }
  void on_end(const history& h) {
    for (const auto& l : all_) {
      l->end(h);
    }
  }

 private:
  std::vector<std::unique_ptr<listener>> all_;
};

/// A duration for people: "8 s", "3 min 05 s", "2 h 07 min".
[[nodiscard]] inline std::string duration(double seconds) {
  const auto whole = static_cast<long long>(std::llround(std::clamp(seconds, 0.0, 1e12)));
  if (whole < 60) {
    return formatted("{} s", whole);
  }
  if (whole < 3600) {
    return formatted("{} min {:02} s", whole / 60, whole % 60);
  }
  return formatted("{} h {:02} min", whole / 3600, whole / 60 % 60);
}

/// Shows how far the training is, with the loss and the time left. On a terminal it is one line
/// that is drawn anew; elsewhere plain lines, one for each tenth of the run, and in between one
/// when nothing was said for `interval` seconds. What went wrong in a round is a line of its own.
struct progress {
  enum class style { automatic, terminal, plain };

  std::string label = {};  ///< before everything else; by default the name of the run
  std::FILE* out = stderr;
  style how = style::automatic;  ///< automatic: terminal if `out` is one
  double interval = 10;          ///< seconds

  /// What was shown last.
  struct shown {
    bool terminal = false;
    double at = 0;  ///< seconds since the beginning
    double fraction = 0;
    std::string name = {};  ///< of the run
  };
  shown last = {};

  void on_begin(const progress_info& info) {
    last = {.terminal =
                how == style::terminal || (how == style::automatic && ::isatty(::fileno(out)) == 1),
            .name = std::string(info.name)};
    if (last.terminal) {
      draw(info);
    }
  }

  void on_step(const progress_info& info) {
    if (last.terminal ? info.elapsed >= last.at + 0.1 : due(info)) {
      show(info);
    }
  }

  void on_epoch(const history& h, const progress_info& info) {
    if (!h.epochs.empty() && !h.epochs.back().note.empty()) {
      print(formatted("{}{}{}\n", last.terminal ? "\r\x1b[K" : "", prefix(info.name),
                      h.epochs.back().note));
    }
    if (last.terminal || due(info)) {
      show(info);
    }
  }

  void on_end(const history& h) {
    const auto seconds = [&] {
      double total = 0;
      for (const epoch_record& e : h.epochs) {
        total += e.seconds;
      }
      return total;
    };
    if (last.terminal) {
      std::fputs("\r\x1b[K", out);
    }
    print(formatted("{}{} after {} epochs in {}, best epoch {}\n", prefix(last.name),
                    h.interrupted ? "interrupted" : "finished", h.epochs.size(),
                    duration(seconds()), h.best_epoch));
  }

 private:
  [[nodiscard]] bool due(const progress_info& info) const {
    // Rounding must not turn a tenth into a hair less.
    return info.fraction() >= last.fraction + 0.1 - 1e-9 || info.elapsed >= last.at + interval;
  }

  void show(const progress_info& info) {
    if (last.terminal) {
      draw(info);
      return;
    }
    print(formatted("{}{}\n", prefix(info.name), status(info)));
    last.at = info.elapsed;
    // The tenth that was reached, so that lines do not drift away from whole tenths.
    last.fraction = std::floor(info.fraction() * 10 + 1e-9) / 10;
  }

  void draw(const progress_info& info) {
    const std::string before = prefix(info.name);
    const std::string after = status(info);
    const auto room = static_cast<index_t>(columns()) - 1 -
                      static_cast<index_t>(before.size() + after.size() + 3);  // "[] "
    const auto width = std::min<index_t>(room, 30);
    std::string bar;
    if (width >= 5) {
      const auto full = static_cast<std::size_t>(info.fraction() * static_cast<double>(width));
      bar = formatted("[{}{}] ", std::string(full, '#'),
                      std::string(static_cast<std::size_t>(width) - full, '.'));
    }
    // The cursor returns to the beginning: whatever is written next, writes over this line.
    print(formatted("\r{}{}{}\x1b[K\r", before, bar, after));
    last.at = info.elapsed;
    last.fraction = info.fraction();
  }

  // Width of the terminal, in characters.
  [[nodiscard]] int columns() const {
    winsize size{};
    const bool known = ::ioctl(::fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    return known ? size.ws_col : 80;
  }

  [[nodiscard]] static std::string status(const progress_info& info) {
    std::string text = formatted("{:3.0f} %", std::floor(100 * info.fraction() + 1e-9));
    text += formatted(", epoch {}/{}", std::min(info.epoch + (info.step > 0 ? 1 : 0), info.epochs),
                      info.epochs);
    if (!std::isnan(info.loss)) {
      text += formatted(", loss {:.4g}", info.loss);
    }
    if (!std::isnan(info.left)) {
      text += formatted(", {} left", duration(info.left));
    }
    return text;
  }

  [[nodiscard]] std::string prefix(std::string_view name) const {
    const std::string_view text = label.empty() ? name : std::string_view(label);
    return text.empty() ? std::string() : formatted("{}: ", text);
  }

  void print(const std::string& text) const {
    std::fputs(text.c_str(), out);
    std::fflush(out);
  }
};

/// Stops when the validation loss has not become better by more than `minimum_improvement` for
/// `patience` epochs; without validation the training loss counts.
struct early_stopping {
  index_t patience = 20;
  double minimum_improvement = 0;  ///< in units of the loss

  void on_begin(const progress_info& /*info*/) const {
    require(patience > 0, "callback::early_stopping", "patience must be positive, but is {}",
            patience);
    require(minimum_improvement >= 0, "callback::early_stopping",
            "minimum_improvement must not be negative, but is {}", minimum_improvement);
  }

  [[nodiscard]] bool on_epoch(const history& h, const progress_info& /*info*/) const {
    const bool validated = std::ranges::any_of(
        h.epochs, [](const epoch_record& e) { return !std::isnan(e.validation_loss); });
    double best = std::numeric_limits<double>::infinity();
    index_t since = 0;
    for (const epoch_record& e : h.epochs) {
      const double loss = validated ? e.validation_loss : e.train_loss;
      if (loss < best - minimum_improvement) {
        best = loss;
        since = 0;
      } else {
        ++since;
      }
    }
    return since < patience;
  }
};

/// Writes each epoch to a file as soon as it is over: as CSV when the path ends in `.csv`,
/// otherwise as JSON lines (see history). With the first epoch a file from an earlier run is
/// replaced unless `append` is set. Throws when the file cannot be written, before the first step
/// where it can be known then, and when rows are to be appended to a CSV file of other columns.
struct log_to {
  std::string path;
  bool append = false;

  bool begun = false;  ///< whether this run has written to the file

  void on_begin(const progress_info& info) {
    begun = false;
    detail::require_writable(path);
    if (append && csv()) {
      require_header(info.tasks);
    }
  }

  void on_epoch(const history& h, const progress_info& /*info*/) {
    std::ofstream file(path, begun || append ? std::ios::app | std::ios::ate : std::ios::trunc);
    if (csv() && file.tellp() == std::ofstream::pos_type(0)) {
      h.write_csv_header(file);
    }
    if (csv()) {
      h.write_csv_row(file, h.epochs.back());
    } else {
      h.write_json_line(file, h.epochs.back());
    }
    file.close();
    detail::require_written(file, path);
    begun = true;
  }

 private:
  [[nodiscard]] bool csv() const { return path.ends_with(".csv"); }

  // Throws when the file begins with another header than that of these tasks.
  void require_header(std::span<const std::string> tasks) const {
    std::stringstream header;
    history{.task_names = {tasks.begin(), tasks.end()}}.write_csv_header(header);
    std::string expected;
    std::string found;
    std::getline(header, expected);
    std::ifstream file(path);
    if (std::getline(file, found) && found != expected) {
      throw error(path, formatted("cannot be appended to: expected the header '{}', found '{}'",
                                  expected, found));
    }
  }
};

}  // namespace callback
}  // namespace vierbein
