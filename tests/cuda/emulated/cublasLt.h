// The part of cuBLASLt that the backend uses (see cuda_runtime_api.h beside this file).
#pragma once

#include <cublas_v2.h>

// NOLINTBEGIN(readability-identifier-naming)
enum cublasLtEpilogue_t {
  CUBLASLT_EPILOGUE_DEFAULT = 1,
  CUBLASLT_EPILOGUE_RELU = 2,
  CUBLASLT_EPILOGUE_BIAS = 4,
  CUBLASLT_EPILOGUE_RELU_BIAS = 6
};
enum cublasLtMatmulDescAttributes_t {
  CUBLASLT_MATMUL_DESC_EPILOGUE = 7,
  CUBLASLT_MATMUL_DESC_BIAS_POINTER = 8
};
enum cublasLtMatmulPreferenceAttributes_t {
  CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES = 1,
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES = 5,
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES = 6,
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES = 7,
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES = 8
};
struct cublasLtContext {};
using cublasLtHandle_t = cublasLtContext*;
struct emulated_operation {
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const float* bias = nullptr;
};
using cublasLtMatmulDesc_t = emulated_operation*;
struct emulated_layout {
  std::uint64_t rows, cols;
  std::int64_t leading;
};
using cublasLtMatrixLayout_t = emulated_layout*;
struct emulated_preference {
  std::uint32_t alignment = 256;
};
using cublasLtMatmulPreference_t = emulated_preference*;
struct cublasLtMatmulAlgo_t {
  std::uint32_t alignment = 256;  ///< of the addresses that it can take
};
struct cublasLtMatmulHeuristicResult_t {
  cublasLtMatmulAlgo_t algo;
};

namespace emulated {
inline bool relu_keeps_nan = true;  ///< what the ReLU of an epilogue does with NaN
inline int algorithms = 0;          ///< how often one was asked for
}  // namespace emulated

inline cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = new cublasLtContext;
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* operation, cublasComputeType_t,
                                               cudaDataType_t) {
  *operation = new emulated_operation;
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t operation) {
  delete operation;
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t operation,
                                                     cublasLtMatmulDescAttributes_t what,
                                                     const void* value, std::size_t bytes) {
  if (what == CUBLASLT_MATMUL_DESC_EPILOGUE) {
    std::memcpy(&operation->epilogue, value, bytes);
  } else {
    std::memcpy(&operation->bias, value, bytes);
  }
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType_t,
                                                 std::uint64_t rows, std::uint64_t cols,
                                                 std::int64_t leading) {
  *layout = new emulated_layout{rows, cols, leading};
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete layout;
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = new emulated_preference;
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete preference;
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtMatmulPreferenceSetAttribute(
    cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t what,
    const void* value, std::size_t bytes) {
  if (what != CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES) {
    std::memcpy(&preference->alignment, value, bytes);
  }
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t,
                                                     cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                                     cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                                     cublasLtMatmulPreference_t preference, int,
                                                     cublasLtMatmulHeuristicResult_t* result,
                                                     int* count) {
  result->algo.alignment = preference->alignment;
  *count = 1;
  ++emulated::algorithms;
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t operation,
                                     const void* alpha, const void* a, cublasLtMatrixLayout_t la,
                                     const void* b, cublasLtMatrixLayout_t lb, const void* beta,
                                     const void* c, cublasLtMatrixLayout_t lc, void* d,
                                     cublasLtMatrixLayout_t ld,
                                     const cublasLtMatmulAlgo_t* algorithm, void*, std::size_t,
                                     cudaStream_t stream) {
  const auto m = static_cast<int>(la->rows);
  const auto n = static_cast<int>(lb->cols);
  const bool biased = (operation->epilogue & CUBLASLT_EPILOGUE_BIAS) != 0;
  for (const void* address : {a, b, c, static_cast<const void*>(d)}) {
    if (reinterpret_cast<std::uintptr_t>(address) % algorithm->alignment != 0) {
      return CUBLAS_STATUS_NOT_SUPPORTED;
    }
  }
  if (la->cols != lb->rows || ld->rows != la->rows || ld->cols != lb->cols ||
      lc->rows != ld->rows || lc->cols != ld->cols || (biased && operation->bias == nullptr)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  const cublasStatus_t code = emulated::gemm<float>(
      stream, CUBLAS_OP_N, CUBLAS_OP_N, m, n, static_cast<int>(la->cols), alpha, a, la->leading, b,
      lb->leading, beta, c, lc->leading, d, ld->leading);
  if (code == CUBLAS_STATUS_SUCCESS) {
    const float* const bias = biased ? operation->bias : nullptr;
    const bool relu = (operation->epilogue & CUBLASLT_EPILOGUE_RELU) != 0;
    const std::int64_t leading = ld->leading;
    emulated::run_or_capture(stream, [=] {
      for (std::int64_t j = 0; j < n; ++j) {
        for (std::int64_t i = 0; i < m; ++i) {
          float& v = static_cast<float*>(d)[i + j * leading];
          v += bias != nullptr ? bias[i] : 0.0F;
          if (relu) {
            v = v > 0 || (v != v && emulated::relu_keeps_nan) ? v : 0.0F;
          }
        }
      }
    });
  }
  return code;
}
// NOLINTEND(readability-identifier-naming)
