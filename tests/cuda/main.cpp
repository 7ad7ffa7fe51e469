// The tests on a device: skipped (return code 77) where there is none.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>
#include <fmt/format.h>

#include "vierbein/backend/cuda.hpp"

int main(int argc, char** argv) {
  try {
    vierbein::backend::device::select(0);
  } catch (const vierbein::error& e) {
    fmt::print("skipped: {}\n", e.what());
    return 77;
  }
  doctest::Context context(argc, argv);
  return context.run();
}
