// expect: engine::bf16 computes with float
// Products in bfloat16 of a model in double.
#include "vierbein/backend/engine/bf16.hpp"
#include "vierbein/vierbein.hpp"

namespace vb = vierbein;
using in_double = vb::backend::basic_cpu<double, vb::backend::engine::bf16<>>;

void check(const in_double& backend,
           std::span<const vb::backend::product<double, vb::host_space>> group) {
  backend.multiply(vb::backend::transposition::nn, group, false);
}
