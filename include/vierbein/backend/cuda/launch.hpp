// How the bodies of kernels are run: by a device, or, where no device compiler compiles them, by
// loops that do the same in the same order, so that the kernels can be tested on any machine.
//
// A body is an object with a call operator that is copied to the device. It sees its data through
// `cells`. There are no atomic operations: every element is written by one thread, sums are formed
// in an order that depends on shapes alone.
#pragma once

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include "vierbein/backend/cuda/kernels.hpp"

#if defined(__CUDACC__)
#define VIERBEIN_KERNEL __device__
#define VIERBEIN_SHARED __shared__
#else
#define VIERBEIN_KERNEL
#define VIERBEIN_SHARED
#endif

namespace vierbein::backend::device {

/// A matrix as a kernel sees it.
template <class T>
struct cells {
  T* data;
  index_t rows, cols, stride;

  template <class U>
  cells(const matrix_view<U, device_space>& v)  // NOLINT(google-explicit-constructor)
      : data(v.data), rows(v.rows), cols(v.cols), stride(v.stride) {}

  VIERBEIN_KERNEL T& operator()(index_t r, index_t c) const { return data[r * stride + c]; }
  VIERBEIN_KERNEL T* row(index_t r) const { return data + r * stride; }
};

/// to = value, or to += value
template <class T>
VIERBEIN_KERNEL void put(T& to, T value, bool accumulate) {
  to = accumulate ? to + value : value;
}

/// The threads of a block. A kernel is a sequence of phases: within one, the threads do not wait
/// for each other, and what one wrote, the others see only in the next.
struct block {
  index_t index;

  /// f(t) for every thread t.
  template <class F>
  VIERBEIN_KERNEL void each(F&& f) const {
#if defined(__CUDACC__)
    f(static_cast<int>(threadIdx.x));
    __syncthreads();
#else
    for (int t = 0; t < block_threads; ++t) {
      f(t);
    }
#endif
  }

  /// Adds up every `lanes` neighbours of `part` in place; the first of them receives the sum.
  /// `lanes` is a power of two.
  template <class T>
  VIERBEIN_KERNEL void add_neighbours(T* part, int lanes) const {
    for (int step = lanes / 2; step > 0; step /= 2) {
      each([=](int t) {
        if (t % lanes < step) {
          part[t] += part[t + step];
        }
      });
    }
  }
};

/// A value that every thread of a block keeps from phase to phase.
template <class V>
struct per_thread {
#if defined(__CUDACC__)
  V value;
  VIERBEIN_KERNEL V& operator[](int) { return value; }
#else
  V values[block_threads];
  V& operator[](int t) { return values[t]; }
#endif
};

#if defined(__CUDACC__)
template <class Body>
__global__ void __launch_bounds__(block_threads)
    run_elements(index_t rows, index_t cols, const Body body) {
  const index_t count = rows * cols;
  const index_t step = static_cast<index_t>(gridDim.x) * block_threads;
  for (index_t i = static_cast<index_t>(blockIdx.x) * block_threads + threadIdx.x; i < count;
       i += step) {
    if (rows == 1) {
      body(index_t{0}, i);
    } else if (count <= 0xffffffff) {  // a division of 32 bits is several times faster
      const auto r = static_cast<std::uint32_t>(i) / static_cast<std::uint32_t>(cols);
      body(static_cast<index_t>(r), i - static_cast<index_t>(r) * cols);
    } else {
      body(i / cols, i % cols);
    }
  }
}
template <class Body>
__global__ void __launch_bounds__(block_threads) run_blocks(const Body body) {
  body(block{static_cast<index_t>(blockIdx.x)});
}

/// Asks for a kernel.
template <class... Parameters>
void launch(stream s, void (*kernel)(Parameters...), index_t blocks,
            const std::type_identity_t<Parameters>&... arguments) {
  const kernel_argument list[] = {{&arguments, sizeof(arguments)}...};
  s.kernel(reinterpret_cast<const void*>(kernel), static_cast<unsigned>(blocks), list);
}
#else
template <class Body>
struct run_elements {
  static void run(unsigned, void* const* arguments) {
    const index_t rows = *static_cast<const index_t*>(arguments[0]);
    const index_t cols = *static_cast<const index_t*>(arguments[1]);
    const Body& body = *static_cast<const Body*>(arguments[2]);
    for (index_t r = 0; r < rows; ++r) {
      for (index_t c = 0; c < cols; ++c) {
        body(r, c);
      }
    }
  }
  static constexpr std::size_t sizes[] = {sizeof(index_t), sizeof(index_t), sizeof(Body)};
  static constexpr host_kernel kernel{run, sizes};
};
template <class Body>
struct run_blocks {
  static void run(unsigned count, void* const* arguments) {
    const Body& body = *static_cast<const Body*>(arguments[0]);
    for (unsigned i = 0; i < count; ++i) {
      body(block{static_cast<index_t>(i)});
    }
  }
  static constexpr std::size_t sizes[] = {sizeof(Body)};
  static constexpr host_kernel kernel{run, sizes};
};

template <class... Arguments>
void launch(stream s, const host_kernel& kernel, index_t blocks, const Arguments&... arguments) {
  const kernel_argument list[] = {{&arguments, sizeof(arguments)}...};
  s.kernel(&kernel, static_cast<unsigned>(blocks), list);
}
#endif

/// body(r, c) for every element of a matrix of this shape.
template <class Body>
void elements(stream s, index_t rows, index_t cols, const Body& body) {
  if (rows <= 0 || cols <= 0) {
    return;
  }
  const index_t count = (rows * cols + block_threads - 1) / block_threads;
#if defined(__CUDACC__)
  launch(s, &run_elements<Body>, std::min<index_t>(count, 1 << 20), rows, cols, body);
#else
  launch(s, run_elements<Body>::kernel, count, rows, cols, body);
#endif
}

/// The same for matrices of one shape; contiguous ones are one long row.
template <class Body, class Out, class... In>
void elementwise(stream s, const Body& body, const Out& out, const In&... in) {
  const bool flat = out.contiguous() && (in.contiguous() && ...);
  elements(s, flat ? 1 : out.rows, flat ? out.rows * out.cols : out.cols, body);
}

/// body(block) for so many blocks.
template <class Body>
void blocks(stream s, index_t count, const Body& body) {
  if (count <= 0) {
    return;
  }
#if defined(__CUDACC__)
  launch(s, &run_blocks<Body>, count, body);
#else
  launch(s, run_blocks<Body>::kernel, count, body);
#endif
}

/// N sums.
template <class T, int N>
struct sums_of {
  T v[N];
  VIERBEIN_KERNEL T& operator[](int k) { return v[k]; }
  VIERBEIN_KERNEL const T& operator[](int k) const { return v[k]; }
};

// ---- sums over each row -------------------------------------------------------------------------

/// For every row r: sums = Σ_c term(r, c); then each(r, c, sums) for every column; then, after all
/// of these, once(r, sums). `lanes` threads share a row.
template <class T, int N, class Term, class Each, class Once>
struct row_reduction {
  index_t rows, cols;
  int lanes;
  Term term;
  Each each;
  Once once;

  VIERBEIN_KERNEL void operator()(const block& b) const {
    VIERBEIN_SHARED T part[N][block_threads];
    const int team = lanes;
    const index_t first = b.index * (block_threads / team);
    b.each([&](int t) {
      const index_t r = first + t / team;
      sums_of<T, N> sums{};
      if (r < rows) {
        for (index_t c = t % team; c < cols; c += team) {
          term(r, c, sums);
        }
      }
      for (int k = 0; k < N; ++k) {
        part[k][t] = sums[k];
      }
    });
    for (int k = 0; k < N; ++k) {
      b.add_neighbours(part[k], team);
    }
    const auto sums_for = [&](int t) {
      sums_of<T, N> sums;
      for (int k = 0; k < N; ++k) {
        sums[k] = part[k][t / team * team];
      }
      return sums;
    };
    b.each([&](int t) {
      const index_t r = first + t / team;
      if (r < rows) {
        const auto sums = sums_for(t);
        for (index_t c = t % team; c < cols; c += team) {
          each(r, c, sums);
        }
      }
    });
    b.each([&](int t) {
      const index_t r = first + t / team;
      if (r < rows && t % team == 0) {
        once(r, sums_for(t));
      }
    });
  }
};

template <class T, int N, class Term, class Each, class Once>
void reduce_rows(stream s, index_t rows, index_t cols, const Term& term, const Each& each,
                 const Once& once) {
  int lanes = 1;
  while (lanes < cols && lanes < block_threads) {
    lanes *= 2;
  }
  const index_t together = block_threads / lanes;
  blocks(s, (rows + together - 1) / together,
         row_reduction<T, N, Term, Each, Once>{rows, cols, lanes, term, each, once});
}

/// For `each` or `once` where nothing is to be done.
struct nothing {
  template <class... A>
  VIERBEIN_KERNEL void operator()(const A&...) const {}
};

// ---- sums over all elements ---------------------------------------------------------------------

inline constexpr index_t most_chunks = 512;

/// A block adds up `chunk` terms and either finishes or writes its partial sums.
template <int N, class Term, class Finish>
struct total_reduction {
  index_t count, chunk;
  double* partial;  // null: there is one block
  Term term;
  Finish finish;

  VIERBEIN_KERNEL void operator()(const block& b) const {
    VIERBEIN_SHARED double part[N][block_threads];
    const index_t first = b.index * chunk;
    const index_t last = first + chunk < count ? first + chunk : count;
    b.each([&](int t) {
      sums_of<double, N> sums{};
      for (index_t i = first + t; i < last; i += block_threads) {
        term(i, sums);
      }
      for (int k = 0; k < N; ++k) {
        part[k][t] = sums[k];
      }
    });
    for (int k = 0; k < N; ++k) {
      b.add_neighbours(part[k], block_threads);
    }
    b.each([&](int t) {
      if (t != 0) {
        return;
      }
      sums_of<double, N> sums;
      for (int k = 0; k < N; ++k) {
        sums[k] = part[k][0];
        if (partial != nullptr) {
          partial[b.index * N + k] = sums[k];
        }
      }
      if (partial == nullptr) {
        finish(sums);
      }
    });
  }
};

template <int N>
struct partial_sums {
  const double* partial;
  VIERBEIN_KERNEL void operator()(index_t i, sums_of<double, N>& sums) const {
    for (int k = 0; k < N; ++k) {
      sums[k] += partial[i * N + k];
    }
  }
};

/// finish(Σ_{i < count} term(i)), in double, once.
template <int N, class Term, class Finish>
void reduce_all(stream s, double* scratch, index_t count, const Term& term, const Finish& finish) {
  constexpr index_t smallest = 8 * block_threads;
  const index_t chunk = std::max(smallest, (count + most_chunks - 1) / most_chunks);
  const index_t chunks = std::max<index_t>(1, (count + chunk - 1) / chunk);
  blocks(
      s, chunks,
      total_reduction<N, Term, Finish>{count, chunk, chunks > 1 ? scratch : nullptr, term, finish});
  if (chunks > 1) {
    blocks(s, 1,
           total_reduction<N, partial_sums<N>, Finish>{chunks, chunks, nullptr,
                                                       partial_sums<N>{scratch}, finish});
  }
}

// ---- sums over each column ----------------------------------------------------------------------

inline constexpr index_t most_row_chunks = 64;
inline constexpr int column_tile = 32;

/// A block adds up `chunk` rows of 32 columns and either finishes or writes its partial sums.
template <class T, int N, class Term, class Finish>
struct column_reduction {
  index_t rows, cols, chunk;
  double* partial;  // (chunks, N, cols); null: there is one chunk
  Term term;
  Finish finish;

  VIERBEIN_KERNEL void operator()(const block& b) const {
    VIERBEIN_SHARED T part[N][block_threads];
    const index_t tiles = (cols + column_tile - 1) / column_tile;
    const index_t left = b.index % tiles * column_tile;
    const index_t which = b.index / tiles;
    const index_t first = which * chunk;
    const index_t last = first + chunk < rows ? first + chunk : rows;
    b.each([&](int t) {
      sums_of<T, N> sums{};
      const index_t c = left + t % column_tile;
      if (c < cols) {
        for (index_t r = first + t / column_tile; r < last; r += block_threads / column_tile) {
          term(r, c, sums);
        }
      }
      for (int k = 0; k < N; ++k) {
        part[k][t] = sums[k];
      }
    });
    b.each([&](int t) {
      const index_t c = left + t;
      if (t >= column_tile || c >= cols) {
        return;
      }
      sums_of<double, N> sums{};
      for (int k = 0; k < N; ++k) {
        for (int i = t; i < block_threads; i += column_tile) {
          sums[k] += static_cast<double>(part[k][i]);
        }
        if (partial != nullptr) {
          partial[(which * N + k) * cols + c] = sums[k];
        }
      }
      if (partial == nullptr) {
        finish(c, sums);
      }
    });
  }
};

template <int N, class Finish>
struct add_chunks {
  index_t chunks, cols;
  const double* partial;
  Finish finish;
  VIERBEIN_KERNEL void operator()(index_t, index_t c) const {
    sums_of<double, N> sums{};
    for (index_t i = 0; i < chunks; ++i) {
      for (int k = 0; k < N; ++k) {
        sums[k] += partial[(i * N + k) * cols + c];
      }
    }
    finish(c, sums);
  }
};

/// finish(c, Σ_r term(r, c)) for every column c.
template <class T, int N, class Term, class Finish>
void reduce_columns(stream s, double* scratch, index_t rows, index_t cols, const Term& term,
                    const Finish& finish) {
  constexpr index_t smallest = 256;
  const index_t chunk = std::max(smallest, (rows + most_row_chunks - 1) / most_row_chunks);
  const index_t chunks = std::max<index_t>(1, (rows + chunk - 1) / chunk);
  const index_t tiles = (cols + column_tile - 1) / column_tile;
  blocks(s, tiles * chunks,
         column_reduction<T, N, Term, Finish>{rows, cols, chunk, chunks > 1 ? scratch : nullptr,
                                              term, finish});
  if (chunks > 1) {
    elements(s, 1, cols, add_chunks<N, Finish>{chunks, cols, scratch, finish});
  }
}

}  // namespace vierbein::backend::device
