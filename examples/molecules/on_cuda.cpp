// The comparison on a CUDA device, where the library is built with VIERBEIN_WITH_CUDA.
#include "experiment.hpp"

#ifdef VIERBEIN_EXAMPLES_CUDA

#include "experiment_body.hpp"
#include "vierbein/backend/cuda.hpp"

namespace molecules {

template <class Inputs>
bool run_on_cuda(const settings& s, const molecule_table& table) {
  return run_experiment<Inputs>(s, table, vb::backend::cuda());
}

template bool run_on_cuda<dense_inputs>(const settings&, const molecule_table&);
template bool run_on_cuda<dmpnn_inputs>(const settings&, const molecule_table&);

}  // namespace molecules

#endif
