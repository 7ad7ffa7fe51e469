// expect: device_space
// expect: constraints not satisfied
// An element of a matrix in device memory cannot be read by host code.
#include "vierbein/core/view.hpp"

float first(vierbein::matrix_view<float, vierbein::device_space> x) {
  return x(0, 0);
}
