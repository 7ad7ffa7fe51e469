// expect: a head must offer kind, standardise, outputs(), label_width(), loss(prediction, label)
// expect: see head/concept.hpp
// A head that does not say which labels are valid.
#include <span>

#include "vierbein/vierbein.hpp"

struct without_valid {
  static constexpr const char* kind = "without_valid";
  static constexpr bool standardise = false;
  vierbein::index_t outputs() const { return 1; }
  vierbein::index_t label_width() const { return 1; }
  template <vierbein::Backend B>
  vierbein::graph::var<B> loss(vierbein::graph::var<B> p, vierbein::graph::var<B> label) const {
    return vierbein::graph::sum(vierbein::graph::square(p - label));
  }
  void transform(std::span<double>) const {}
};

void check() {
  (void)vierbein::tasks{vierbein::task{"a", without_valid{}}, vierbein::regression("b")};
}
