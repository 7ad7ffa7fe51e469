// The kernels, compiled for the host.
#include <cuda_runtime_api.h>

#define VIERBEIN_BEFORE_LAUNCH() emulated::run_copies()
#include "vierbein/backend/cuda/kernels.cu"
