// The part of cuBLAS that the backend uses, with plain loops (see cuda_runtime_api.h beside this
// file). Matrices are column-major. What cuBLAS would refuse is refused here.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

// NOLINTBEGIN(readability-identifier-naming)
enum cublasStatus_t {
  CUBLAS_STATUS_SUCCESS = 0,
  CUBLAS_STATUS_INVALID_VALUE = 7,
  CUBLAS_STATUS_NOT_SUPPORTED = 15
};
enum cublasOperation_t { CUBLAS_OP_N = 0, CUBLAS_OP_T = 1 };
enum cublasAtomicsMode_t { CUBLAS_ATOMICS_NOT_ALLOWED = 0, CUBLAS_ATOMICS_ALLOWED = 1 };
enum cublasComputeType_t {
  CUBLAS_COMPUTE_32F = 68,
  CUBLAS_COMPUTE_64F = 70,
  CUBLAS_COMPUTE_32F_FAST_16BF = 75,
  CUBLAS_COMPUTE_32F_FAST_TF32 = 77
};
enum cublasGemmAlgo_t { CUBLAS_GEMM_DEFAULT = -1 };
enum cudaDataType_t { CUDA_R_32F = 0, CUDA_R_64F = 1 };
struct cublasContext {
  cudaStream_t stream = nullptr;
};
using cublasHandle_t = cublasContext*;

namespace emulated {

inline int library_products = 0;  ///< products that cuBLAS and cuBLASLt computed so far

/// c = alpha op(a) op(b) + beta c0, where op(a) is (m, k).
template <class T>
cublasStatus_t gemm(cudaStream_t stream, cublasOperation_t op_a, cublasOperation_t op_b, int m,
                    int n, int k, const void* alpha, const void* a, std::int64_t lda, const void* b,
                    std::int64_t ldb, const void* beta, const void* c0, std::int64_t ldc0, void* c,
                    std::int64_t ldc) {
  if (m < 1 || n < 1 || k < 1 || lda < (op_a == CUBLAS_OP_N ? m : k) ||
      ldb < (op_b == CUBLAS_OP_N ? k : n) || ldc < m || ldc0 < m) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  const T scale = *static_cast<const T*>(alpha);
  const T add = *static_cast<const T*>(beta);
  ++library_products;
  run_or_capture(stream, [=] {
    run_copies(stream);
    for (std::int64_t j = 0; j < n; ++j) {
      for (std::int64_t i = 0; i < m; ++i) {
        double total = 0;
        for (std::int64_t l = 0; l < k; ++l) {
          const T x = static_cast<const T*>(a)[op_a == CUBLAS_OP_N ? i + l * lda : l + i * lda];
          const T y = static_cast<const T*>(b)[op_b == CUBLAS_OP_N ? l + j * ldb : j + l * ldb];
          total += static_cast<double>(x) * static_cast<double>(y);
        }
        const T old = add == T{0} ? T{0} : add * static_cast<const T*>(c0)[i + j * ldc0];
        static_cast<T*>(c)[i + j * ldc] =
            static_cast<T>(static_cast<double>(scale) * total + static_cast<double>(old));
      }
    }
  });
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace emulated

inline const char* cublasGetStatusString(cublasStatus_t) {
  return "a status of the emulated cuBLAS";
}
inline cublasStatus_t cublasCreate(cublasHandle_t* handle) {
  *handle = new cublasContext;
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasDestroy(cublasHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream) {
  handle->stream = stream;
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasSetAtomicsMode(cublasHandle_t, cublasAtomicsMode_t) {
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasSetWorkspace(cublasHandle_t, void*, std::size_t) {
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t op_a,
                                   cublasOperation_t op_b, int m, int n, int k, const void* alpha,
                                   const void* a, cudaDataType_t type, int lda, const void* b,
                                   cudaDataType_t, int ldb, const void* beta, void* c,
                                   cudaDataType_t, int ldc, cublasComputeType_t, cublasGemmAlgo_t) {
  return type == CUDA_R_64F ? emulated::gemm<double>(handle->stream, op_a, op_b, m, n, k, alpha, a,
                                                     lda, b, ldb, beta, c, ldc, c, ldc)
                            : emulated::gemm<float>(handle->stream, op_a, op_b, m, n, k, alpha, a,
                                                    lda, b, ldb, beta, c, ldc, c, ldc);
}
inline cublasStatus_t cublasGemmStridedBatchedEx(
    cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m, int n, int k,
    const void* alpha, const void* a, cudaDataType_t type, int lda, long long stride_a,
    const void* b, cudaDataType_t, int ldb, long long stride_b, const void* beta, void* c,
    cudaDataType_t, int ldc, long long stride_c, int count, cublasComputeType_t compute,
    cublasGemmAlgo_t algorithm) {
  const std::int64_t size = type == CUDA_R_64F ? 8 : 4;
  cublasStatus_t code = CUBLAS_STATUS_SUCCESS;
  for (int i = 0; i < count && code == CUBLAS_STATUS_SUCCESS; ++i) {
    code = cublasGemmEx(handle, op_a, op_b, m, n, k, alpha,
                        static_cast<const char*>(a) + i * stride_a * size, type, lda,
                        static_cast<const char*>(b) + i * stride_b * size, type, ldb, beta,
                        static_cast<char*>(c) + i * stride_c * size, type, ldc, compute, algorithm);
  }
  return code;
}
// NOLINTEND(readability-identifier-naming)
