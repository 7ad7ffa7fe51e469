// The kernels, compiled for the host.
#include "vierbein/backend/cuda/kernels.cu"
