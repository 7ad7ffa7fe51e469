// expect: the alignment loss must offer `static constexpr alignment::latent_space needs`
// An alignment loss that does not say which task modules it needs.
#include "vierbein/encoder/mlp.hpp"
#include "vierbein/model/multitask.hpp"

struct without_needs {
  vierbein::index_t copies() const { return 0; }
  template <class Views>
  typename Views::var operator()(Views&) const {
    return {};
  }
};

void check() {
  (void)vierbein::multitask(vierbein::encoder::mlp{}, vierbein::tasks{vierbein::regression("a")},
                            without_needs{});
}
