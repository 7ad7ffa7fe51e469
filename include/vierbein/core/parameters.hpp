// All parameters of a model in one flat, aligned vector with named segments.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vierbein/core/arena.hpp"
#include "vierbein/core/error.hpp"
#include "vierbein/core/random.hpp"
#include "vierbein/core/view.hpp"

namespace vierbein {

/// How a segment gets its first values. For a matrix (in, out):
///   glorot  uniform on ±sqrt(6 / (in + out))   (Glorot and Bengio 2010)
///   he      normal with variance 2 / in        (He et al. 2015)
enum class initialiser { zeros, ones, glorot, he };

/// Names a segment: its position in the layout.
using segment_id = index_t;

/// One named matrix within the flat vector.
struct segment {
  std::string name;  ///< such as "trunk/layer0/weight"
  index_t rows = 0;
  index_t cols = 0;
  index_t offset = 0;  ///< of its first element in the flat vector; a multiple of 16
  initialiser init = initialiser::zeros;
  bool frozen = false;  ///< a frozen segment receives no gradient and costs no backward work

  [[nodiscard]] index_t size() const { return rows * cols; }
};

/// Elements [offset, offset + size) of a flat vector.
struct range {
  index_t offset = 0;
  index_t size = 0;
  bool operator==(const range&) const = default;
};

/// The flat vector θ and its segments. Padding between segments is zero and stays zero.
template <Scalar T>
class parameters {
 public:
  static constexpr index_t unlimited = std::numeric_limits<index_t>::max() / 32;

  /// From now on `add` throws rather than let the flat vector outgrow `most` elements: for shapes
  /// that come from a file.
  void limit(index_t most) { most_ = most; }

  /// Appends a segment. Throws when the name is taken, an extent is negative or there would be more
  /// elements than `limit` allows.
  segment_id add(std::string name, index_t rows, index_t cols, initialiser init) {
    require(find(name) < 0, "parameters", "segment '{}' exists already", name);
    require(rows >= 0 && cols >= 0 && (cols == 0 || rows <= (most_ - size()) / cols), "parameters",
            "segment '{}' cannot be {} x {}", name, rows, cols);
    segments_.push_back({std::move(name), rows, cols, size(), init, false});
    values_.resize(static_cast<std::size_t>(padded(segments_.back().offset + rows * cols)), T{0});
    return static_cast<segment_id>(segments_.size()) - 1;
  }

  /// The segment of that name, or -1.
  [[nodiscard]] segment_id find(std::string_view name) const {
    const auto it = std::find_if(segments_.begin(), segments_.end(),
                                 [&](const segment& s) { return s.name == name; });
    return it == segments_.end() ? -1 : it - segments_.begin();
  }

  [[nodiscard]] const std::vector<segment>& segments() const { return segments_; }
  [[nodiscard]] const segment& at(segment_id id) const {
    return segments_[static_cast<std::size_t>(id)];
  }

  /// Length of the flat vector, padding included.
  [[nodiscard]] index_t size() const { return static_cast<index_t>(values_.size()); }
  /// Number of true parameters, without padding.
  [[nodiscard]] index_t count() const {
    index_t total = 0;
    for (const segment& s : segments_) {
      total += s.size();
    }
    return total;
  }

  [[nodiscard]] array_view<T> values() { return {values_.data(), size()}; }
  [[nodiscard]] array_view<const T> values() const { return {values_.data(), size()}; }
  [[nodiscard]] matrix_view<T> view(segment_id id) {
    return {values_.data() + at(id).offset, at(id).rows, at(id).cols};
  }
  [[nodiscard]] matrix_view<const T> view(segment_id id) const {
    return {values_.data() + at(id).offset, at(id).rows, at(id).cols};
  }

  /// Freezes (or thaws) every segment whose name begins with `prefix`; "" means all. Throws when
  /// there is none, as in a model that is not built yet.
  void freeze(std::string_view prefix, bool frozen = true) {
    bool found = false;
    for (segment& s : segments_) {
      if (s.name.starts_with(prefix)) {
        s.frozen = frozen;
        found = true;
      }
    }
    require(found, "parameters", "none of the {} segments has a name that begins with '{}'",
            segments_.size(), prefix);
  }

  /// Freezes (or thaws) one segment.
  void freeze(segment_id id, bool frozen) {
    segments_[static_cast<std::size_t>(id)].frozen = frozen;
  }

  /// Gives segment `id` its first values. They depend on the seed and the segment's name, not on
  /// what other segments there are.
  void initialise(segment_id id, std::uint64_t seed) {
    const segment& s = at(id);
    const random_stream stream{seed, name_hash(s.name)};
    const double in = static_cast<double>(s.rows);
    const double out = static_cast<double>(s.cols);
    T* first = values_.data() + s.offset;
    for (index_t i = 0; i < s.size(); ++i) {
      const auto k = static_cast<std::uint64_t>(i);
      double value = 0;
      switch (s.init) {
        case initialiser::zeros: break;
        case initialiser::ones: value = 1; break;
        case initialiser::glorot:
          value = std::sqrt(6 / (in + out)) * (2 * stream.uniform(k) - 1);
          break;
        case initialiser::he: value = std::sqrt(2 / in) * stream.normal(k); break;
      }
      first[i] = static_cast<T>(value);
    }
  }

  /// Gives all segments their first values.
  void initialise(std::uint64_t seed) {
    for (segment_id id = 0; id < static_cast<segment_id>(segments_.size()); ++id) {
      initialise(id, seed);
    }
  }

  /// A copy of the flat vector; `restore` brings it back.
  [[nodiscard]] aligned_vector<T> snapshot() const { return values_; }
  void restore(const aligned_vector<T>& snapshot) {
    require(snapshot.size() == values_.size(), "parameters",
            "a snapshot of {} values does not fit a vector of {}", snapshot.size(), values_.size());
    std::copy(snapshot.begin(), snapshot.end(), values_.begin());
  }

  /// Copies the values of every segment `from_prefix…` of `source` into the segment `to_prefix…` of
  /// the same remaining name and shape. Returns how many segments were copied; throws when a shape
  /// differs.
  index_t copy(const parameters& source, std::string_view from_prefix, std::string_view to_prefix) {
    index_t copied = 0;
    for (const segment& s : source.segments_) {
      if (!s.name.starts_with(from_prefix)) {
        continue;
      }
      const std::string target = std::string(to_prefix) + s.name.substr(from_prefix.size());
      const segment_id id = find(target);
      if (id < 0) {
        continue;
      }
      require(at(id).rows == s.rows && at(id).cols == s.cols, "parameters",
              "segment '{}' is {} x {} but '{}' is {} x {}", target, at(id).rows, at(id).cols,
              s.name, s.rows, s.cols);
      std::copy_n(source.values_.data() + s.offset, s.size(), values_.data() + at(id).offset);
      ++copied;
    }
    return copied;
  }

 private:
  static constexpr index_t granule = 16;  // elements: a cache line of floats
  static constexpr index_t padded(index_t n) { return (n + granule - 1) / granule * granule; }

  index_t most_ = unlimited;
  std::vector<segment> segments_;
  aligned_vector<T> values_;
};

}  // namespace vierbein
