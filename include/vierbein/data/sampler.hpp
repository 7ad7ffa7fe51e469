// Which rows form the batches of an epoch.
//
// A sampler is a plain aggregate of options; its `state` is made when the rows are known:
//     state(const sampler& options, std::span<const index_t> rows,
//           std::span<const std::vector<index_t>> rows_of_task, std::uint64_t seed);
//     void begin_epoch(index_t epoch);                       // the batches of that epoch
//     index_t batches() const;                               // number of them
//     std::span<const index_t> batch(index_t i) const;       // rows of one, until begin_epoch
// `rows` are the rows to train on, each once, `rows_of_task[t]` those of them that task t has a
// label for (see labelled_rows in data/dataset.hpp). An epoch's batches depend on the seed and the
// number of the epoch alone. `begin_epoch` allocates nothing. A batch larger than the data is one
// of all rows.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/core/random.hpp"

namespace vierbein::data {

/// See the head of this file.
template <class S>
concept Sampler =
    requires(const S& options, std::span<const index_t> rows,
             std::span<const std::vector<index_t>> rows_of_task, typename S::state& state) {
      requires std::constructible_from<typename S::state, const S&, decltype(rows),
                                       decltype(rows_of_task), std::uint64_t>;
      state.begin_epoch(index_t{});
      { std::as_const(state).batches() } -> std::same_as<index_t>;
      { std::as_const(state).batch(index_t{}) } -> std::same_as<std::span<const index_t>>;
    };

namespace sampler {

/// Puts `rows` into a uniformly random order, in place (see random_permutation).
inline void shuffle(std::span<index_t> rows, const random_stream& stream) {
  for (std::size_t i = rows.size(); i-- > 1;) {
    const double u = stream.uniform(i);
    std::swap(rows[i], rows[static_cast<std::size_t>(u * static_cast<double>(i + 1))]);
  }
}

/// Every row once an epoch, in random order.
struct shuffled {
  index_t batch = 64;
  bool keep_last = true;  ///< whether a last or only batch with fewer rows is used or left out
  class state;
};

class shuffled::state {
 public:
  /// Throws when the batch is not positive, there are no rows, or too few for one batch while
  /// `keep_last` is false.
  state(const shuffled& options, std::span<const index_t> rows,
        std::span<const std::vector<index_t>> /*rows_of_task*/, std::uint64_t seed)
      : options_(options),
        rows_(rows.begin(), rows.end()),
        order_(rows_),
        stream_{seed, name_hash("sampler::shuffled")} {
    require(options_.batch > 0, "sampler::shuffled", "batch must be positive, but is {}",
            options_.batch);
    require(!rows.empty(), "sampler::shuffled", "no rows to sample");
    const auto n = static_cast<index_t>(rows.size());
    require(options_.keep_last || options_.batch <= n, "sampler::shuffled",
            "{} rows are too few for a batch of {} when the last, short one is left out", n,
            options_.batch);
    options_.batch = std::min(options_.batch, n);
  }

  void begin_epoch(index_t epoch) {
    order_ = rows_;
    shuffle(order_, stream_.fork(static_cast<std::uint64_t>(epoch)));
  }

  [[nodiscard]] index_t batches() const {
    const auto n = static_cast<index_t>(rows_.size());
    return options_.keep_last ? (n + options_.batch - 1) / options_.batch : n / options_.batch;
  }

  [[nodiscard]] std::span<const index_t> batch(index_t i) const {
    const index_t first = i * options_.batch;
    const index_t count = std::min(options_.batch, static_cast<index_t>(order_.size()) - first);
    return std::span(order_).subspan(static_cast<std::size_t>(first),
                                     static_cast<std::size_t>(count));
  }

 private:
  shuffled options_;
  std::vector<index_t> rows_;
  std::vector<index_t> order_;
  random_stream stream_;
};

/// Scarce tasks in every batch: after `unlabelled` of the batch from rows without any label, the
/// rest is drawn in equal shares from the rows of each task; shares that do not come out even are
/// dealt in turn. An epoch has as many batches as `shuffled` would have, each full: the rows of a
/// scarce task return once all of them were drawn, those of an abundant task may stay away for an
/// epoch. No row is twice in a batch; where a task has too few rows for its share, rows at random
/// (labelled ones first) take the place, and a batch is short only when it holds all rows.
struct balanced {
  index_t batch = 64;
  double unlabelled = 0;  ///< share of a batch for rows without any label, in [0, 1)
  class state;
};

class balanced::state {
 public:
  /// Throws when an option is out of range, there are no rows, or a task has none.
  state(const balanced& options, std::span<const index_t> rows,
        std::span<const std::vector<index_t>> rows_of_task, std::uint64_t seed)
      : options_(options), seed_{seed, name_hash("sampler::balanced")} {
    require(options_.batch > 0, "sampler::balanced", "batch must be positive, but is {}",
            options_.batch);
    require(options_.unlabelled >= 0 && options_.unlabelled < 1, "sampler::balanced",
            "unlabelled must be at least 0 and less than 1, but is {}", options_.unlabelled);
    require(!rows.empty(), "sampler::balanced", "no rows to sample");
    require(!rows_of_task.empty(), "sampler::balanced", "no tasks");
    index_t lowest = rows[0];
    index_t highest = rows[0];
    for (const index_t r : rows) {
      lowest = std::min(lowest, r);
      highest = std::max(highest, r);
    }
    require(lowest >= 0, "sampler::balanced", "row {} is negative", lowest);
    enum : char { absent, without_label, with_label };
    std::vector<char> kind(static_cast<std::size_t>(highest) + 1, absent);
    for (const index_t r : rows) {
      kind[static_cast<std::size_t>(r)] = without_label;
    }
    for (std::size_t t = 0; t < rows_of_task.size(); ++t) {
      require(!rows_of_task[t].empty(), "sampler::balanced", "task {} has no labelled row", t);
      for (const index_t r : rows_of_task[t]) {
        require(r >= 0 && r <= highest && kind[static_cast<std::size_t>(r)] != absent,
                "sampler::balanced", "row {} of task {} is not among the rows", r, t);
        kind[static_cast<std::size_t>(r)] = with_label;
      }
      tasks_.emplace_back(rows_of_task[t]);
    }
    std::vector<index_t> with;
    std::vector<index_t> without;
    for (const index_t r : rows) {
      (kind[static_cast<std::size_t>(r)] == with_label ? with : without).push_back(r);
    }
    labelled_ = pool(std::move(with));
    unlabelled_ = pool(std::move(without));
    last_batch_.resize(kind.size());
    const auto n = static_cast<index_t>(rows.size());
    options_.batch = std::min(options_.batch, n);
    batches_ = (n + options_.batch - 1) / options_.batch;
    drawn_.resize(static_cast<std::size_t>(batches_ * options_.batch));
    begin_epoch(0);
  }

  void begin_epoch(index_t epoch) {
    const random_stream stream = seed_.fork(static_cast<std::uint64_t>(epoch));
    labelled_.begin(stream.fork(0));
    unlabelled_.begin(stream.fork(1));
    for (std::size_t t = 0; t < tasks_.size(); ++t) {
      tasks_[t].begin(stream.fork(t + 2));
    }
    std::fill(last_batch_.begin(), last_batch_.end(), -1);
    for (index_t b = 0; b < batches_; ++b) {
      fill(b);
    }
  }

  [[nodiscard]] index_t batches() const { return batches_; }

  [[nodiscard]] std::span<const index_t> batch(index_t i) const {
    return std::span(drawn_).subspan(static_cast<std::size_t>(i * options_.batch),
                                     static_cast<std::size_t>(options_.batch));
  }

 private:
  // Rows in random order, again and again, each time in another order.
  struct pool {
    std::vector<index_t> rows, order;
    std::size_t next = 0;
    std::uint64_t round = 0;
    random_stream stream{};

    pool() = default;
    explicit pool(std::vector<index_t> all) : rows(std::move(all)), order(rows) {}
    void begin(const random_stream& s) {
      order = rows;
      stream = s;
      round = 0;
      next = order.size();
    }
    index_t draw() {
      if (next == order.size()) {
        shuffle(order, stream.fork(round++));
        next = 0;
      }
      return order[next++];
    }
  };

  // Takes up to `wanted` rows that are not in batch b yet; returns where the batch ends then.
  index_t take(pool& from, index_t wanted, index_t b, index_t end) {
    // Two rounds suffice to meet every row of the pool once.
    for (std::size_t tries = 2 * from.rows.size(); wanted > 0 && tries > 0; --tries) {
      const index_t row = from.draw();
      index_t& last = last_batch_[static_cast<std::size_t>(row)];
      if (last != b) {
        last = b;
        drawn_[static_cast<std::size_t>(end++)] = row;
        --wanted;
      }
    }
    return end;
  }

  void fill(index_t b) {
    const index_t first = b * options_.batch;
    const index_t full = first + options_.batch;
    const auto without =
        static_cast<index_t>(options_.unlabelled * static_cast<double>(options_.batch) + 0.5);
    index_t end = take(unlabelled_, without, b, first);
    const index_t left = full - end;
    const auto tasks = static_cast<index_t>(tasks_.size());
    for (index_t k = 0; k < tasks; ++k) {
      // Task k of the turn gets the k-th share; who begins changes from batch to batch.
      const index_t share = left / tasks + (k < left % tasks ? 1 : 0);
      const index_t begins = b * (left % tasks);
      end = take(tasks_[static_cast<std::size_t>((begins + k) % tasks)], share, b, end);
    }
    end = take(labelled_, full - end, b, end);
    end = take(unlabelled_, full - end, b, end);
  }

  balanced options_;
  random_stream seed_;
  pool labelled_, unlabelled_;
  std::vector<pool> tasks_;
  std::vector<index_t> last_batch_;  // by row: the batch it was drawn for
  std::vector<index_t> drawn_;       // batch after batch
  index_t batches_ = 0;
};

}  // namespace sampler
}  // namespace vierbein::data
