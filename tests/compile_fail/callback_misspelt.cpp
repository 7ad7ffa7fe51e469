// expect: a callback must have one of the members
// A callback none of whose members would ever be called.
#include "vierbein/train/callbacks.hpp"

struct misspelt {
  void on_epoc(const vierbein::history&) {}
};

void check() {
  vierbein::callback::require_callback<misspelt>();
}
