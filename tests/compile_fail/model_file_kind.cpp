// expect: must declare `static constexpr const char* kind
// A policy without a name cannot be stored in a model file.
#include "vierbein/core/options.hpp"

struct nameless {
  int depth = 1;
  template <class Visitor>
  void options(Visitor&& visit) {
    visit("depth", depth);
  }
};

void check() {
  vierbein::require_storable<nameless>();
}
