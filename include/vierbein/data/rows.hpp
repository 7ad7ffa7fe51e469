// Small helpers on the rows of matrices that the kinds of inputs share.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>

#include "vierbein/core/error.hpp"
#include "vierbein/core/matrix.hpp"

namespace vierbein::data {

/// Puts the rows of `more` below those of `target`. Throws when the widths differ; `place` stands
/// in the message.
template <class T>
void append_rows(matrix<T>& target, const matrix<T>& more, const char* place) {
  require(target.cols() == more.cols(), place, "expected {} columns as before, found {}",
          target.cols(), more.cols());
  matrix<T> joined(target.rows() + more.rows(), target.cols());
  std::copy_n(target.data(), target.size(), joined.data());
  std::copy_n(more.data(), more.size(), joined.data() + target.size());
  target = std::move(joined);
}

/// Throws at the first number in `rows` that is none of the `size` samples'; `place` stands in the
/// message.
inline void require_rows(std::span<const index_t> rows, index_t size, const char* place) {
  for (const index_t r : rows) {
    require(r >= 0 && r < size, place, "no row {} among {} samples", r, size);
  }
}

/// Throws at the first element that is NaN or infinite.
template <class T>
void require_finite(const matrix<T>& values, const char* place) {
  for (index_t r = 0; r < values.rows(); ++r) {
    for (index_t c = 0; c < values.cols(); ++c) {
      if (!std::isfinite(values(r, c))) {
        throw error(formatted("{}, row {}, column {} (counted from 0)", place, r, c),
                    formatted("expected a finite number, found {}", values(r, c)));
      }
    }
  }
}

}  // namespace vierbein::data
