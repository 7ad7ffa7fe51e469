// Hard sharing: tasks share the trunk and nothing else ties them together.
#pragma once

#include "vierbein/alignment/concept.hpp"

namespace vierbein::alignment {

/// No alignment: each task is a head on the shared representation (Caruana 1997).
struct none {
  static constexpr const char* kind = "none";
  static constexpr latent_space needs = latent_space::none;
  [[nodiscard]] index_t copies() const { return 0; }

  template <class Views>
  typename Views::var operator()(Views&) const {
    return {};
  }
  template <class Visitor>
  void options(Visitor&&) {}
};

}  // namespace vierbein::alignment
