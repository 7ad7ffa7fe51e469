// The few types that every other header uses.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>

namespace vierbein {

/// Counts rows, columns and elements. Signed, so that differences are ordinary numbers.
using index_t = std::ptrdiff_t;

/// Marks what kernels call as well as ordinary code: a device compiler compiles it for both.
#if defined(__CUDACC__)
#define VIERBEIN_HOST_DEVICE __host__ __device__
#else
#define VIERBEIN_HOST_DEVICE
#endif

/// What a matrix can be made of.
template <class T>
concept Scalar = std::same_as<T, float> || std::same_as<T, double>;

/// Memory that ordinary C++ code may read and write.
struct host_space {};

/// Memory of an accelerator: a view of it carries an address, but element access does not compile.
struct device_space {};

}  // namespace vierbein
