// The source of vierbein::compiled: compiles what instances.hpp lists.
#define VIERBEIN_INSTANCE template
#include "vierbein/compiled/instances.hpp"

namespace vierbein::compiled {

template <int RegisterBytes, int Registers, bool MultiplyAdd, bool OpenMp>
void for_these_flags() {}
template void for_these_flags<backend::detail::register_bytes, backend::detail::registers,
                              multiply_add, openmp>();

}  // namespace vierbein::compiled
