// Between vierbein's matrices and xtensor's arrays.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <vector>
#include <xtensor/xadapt.hpp>
#include <xtensor/xexpression.hpp>
#include <xtensor/xstorage.hpp>
#include <xtensor/xtensor_config.hpp>

#include "vierbein/core/matrix.hpp"
#include "vierbein/data/images.hpp"

#if defined(__clang__) && __clang_major__ >= 19 && XTENSOR_VERSION_MAJOR == 0 && \
    XTENSOR_VERSION_MINOR < 26
// From clang 19 on, two of xtensor's specialisations are ambiguous for the shape of an xarray
// (xtensor issue 2804). A third one that is more special than both decides.
namespace xt {
template <class X, class T>
struct rebind_container<X, svector<T, 4, std::allocator<T>, true>> {
  using type = svector<X, 4, std::allocator<X>, true>;
};
}  // namespace xt
#endif

namespace vierbein::io {

/// A matrix with the values of an xtensor expression of rank 2, or of rank 1 as a single column.
/// The layout of the expression does not matter. Throws for any other rank.
template <class E>
matrix<double> to_matrix(const xt::xexpression<E>& expression) {
  const E& values = expression.derived_cast();
  const std::size_t rank = values.dimension();
  require(rank == 1 || rank == 2, "to_matrix", "expected an array of rank 1 or 2, found rank {}",
          rank);
  matrix<double> result(static_cast<index_t>(values.shape()[0]),
                        rank == 2 ? static_cast<index_t>(values.shape()[1]) : 1);
  for (index_t r = 0; r < result.rows(); ++r) {
    for (index_t c = 0; c < result.cols(); ++c) {
      const std::array<std::size_t, 2> at{static_cast<std::size_t>(r), static_cast<std::size_t>(c)};
      result(r, c) = static_cast<double>(
          values.element(at.begin(), at.begin() + static_cast<std::ptrdiff_t>(rank)));
    }
  }
  return result;
}

/// Images from an xtensor expression of rank 4, N x C x H x W, or of rank 3, N x H x W. An
/// expression of std::uint8_t gives bytes, which stand for b / 255; any other, the numbers
/// themselves. Throws for another rank, an extent of 0 and numbers that are NaN or infinite.
template <class E>
data::image_set to_images(const xt::xexpression<E>& expression) {
  const E& values = expression.derived_cast();
  const std::size_t rank = values.dimension();
  require(rank == 3 || rank == 4, "to_images", "expected an array of rank 3 or 4, found rank {}",
          rank);
  using given = std::remove_cvref_t<typename E::value_type>;
  using kept = std::conditional_t<std::is_same_v<given, std::uint8_t>, std::uint8_t, float>;
  const image_shape shape{rank == 4 ? static_cast<index_t>(values.shape()[1]) : 1,
                          static_cast<index_t>(values.shape()[rank - 2]),
                          static_cast<index_t>(values.shape()[rank - 1])};
  std::vector<kept> pixels;
  pixels.reserve(values.size());
  for (auto it = values.template begin<xt::layout_type::row_major>();
       it != values.template end<xt::layout_type::row_major>(); ++it) {
    pixels.push_back(static_cast<kept>(*it));
  }
  return {shape, pixels};
}

/// An xtensor expression of shape (rows, cols) over the elements of `values`, which must outlive
/// it. Nothing is copied: writing to the one is writing to the other.
template <Scalar T>
auto as_xtensor(matrix<T>& values) {
  return xt::adapt(values.data(), static_cast<std::size_t>(values.size()), xt::no_ownership(),
                   std::array<std::size_t, 2>{static_cast<std::size_t>(values.rows()),
                                              static_cast<std::size_t>(values.cols())});
}
template <Scalar T>
auto as_xtensor(const matrix<T>& values) {
  return xt::adapt(values.data(), static_cast<std::size_t>(values.size()), xt::no_ownership(),
                   std::array<std::size_t, 2>{static_cast<std::size_t>(values.rows()),
                                              static_cast<std::size_t>(values.cols())});
}

}  // namespace vierbein::io
