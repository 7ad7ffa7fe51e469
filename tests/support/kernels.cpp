// The CPU's kernels, compiled by themselves: see VIERBEIN_OPTIMISED_TEST_KERNELS.
#include "vierbein/backend/cpu.hpp"
#include "vierbein/backend/engine/bf16.hpp"

namespace vierbein::backend {

template class basic_cpu<float>;
template class basic_cpu<double>;
template class host<basic_cpu<float>, float>;
template class host<basic_cpu<double>, double>;

// Of this one only some members can be instantiated.
using rounded = basic_cpu<float, engine::bf16<>>;
template void rounded::multiply(transposition, std::span<const product<float, host_space>>,
                                bool) const;
template void rounded::affine(std::span<const affine_layer<float, host_space>>, activation) const;

}  // namespace vierbein::backend
