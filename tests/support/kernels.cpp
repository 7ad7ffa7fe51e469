// The CPU's kernels, compiled by themselves: see VIERBEIN_OPTIMISED_TEST_KERNELS.
#include <span>

#include "vierbein/backend/cpu.hpp"
#include "vierbein/backend/engine/bf16.hpp"

namespace vierbein::backend {

template class basic_cpu<float>;
template class basic_cpu<double>;
template class host<basic_cpu<float>, float>;
template class host<basic_cpu<double>, double>;

// Of this one only some members can be instantiated.
template void basic_cpu<float, engine::bf16<>>::multiply(
    transposition, std::span<const backend::product<float, host_space>>, bool) const;
template void basic_cpu<float, engine::bf16<>>::affine(
    std::span<const affine_layer<float, host_space>>, activation) const;

}  // namespace vierbein::backend
