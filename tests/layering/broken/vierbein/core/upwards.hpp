// Not part of the library: three includes that the layering check must notice.
#pragma once

#include <Eigen/Core>
#include "vierbein/data/graphs.hpp"

inline void run() {
#pragma omp parallel
  {
  }
}
