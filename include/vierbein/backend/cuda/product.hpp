// Products of the CUDA backend: many small ones in one launch of our own kernel, large ones by
// cuBLAS, affine layers by cuBLASLt with bias and activation in its epilogue.
//
// Our matrices are row-major, cuBLAS's column-major: C = A B is to cuBLAS Cᵀ = Bᵀ Aᵀ.
#pragma once

#include <cublasLt.h>
#include <cublas_v2.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <type_traits>

#include "vierbein/backend/concept.hpp"
#include "vierbein/backend/cuda/kernels.hpp"
#include "vierbein/backend/cuda/runtime.hpp"

namespace vierbein::backend {

/// How products of float matrices are formed on a device. `tf32` rounds their elements to 10 bits
/// of mantissa, `bf16` to 7; both add up in float. They apply to products that cuBLAS computes.
enum class precision { full, tf32, bf16 };

/// What a CUDA backend is made with.
struct cuda_options {
  int device = 0;
  precision products = precision::full;
  /// Products of at most so many multiplications, at most so deep, are computed by our own kernel,
  /// a whole group in one launch; others by cuBLAS. Not tuned on any device yet.
  index_t own_volume = index_t{1} << 21;
  index_t own_depth = 512;
  /// Bytes for the patches of images that a convolution forms at a time.
  index_t patches = index_t{1} << 27;
  /// Whether operations that come again are replayed as CUDA graphs (cuda/sequence.hpp). Without,
  /// each is launched when it is called, and an error in its launch shows there.
  bool graphs = true;
};

namespace device {

inline void check(cublasStatus_t code, const char* call, const char* doing) {
  if (code != CUBLAS_STATUS_SUCCESS) {
    throw device_error(fmt::format("cuda, {}", doing),
                       fmt::format("{}: {}", call, cublasGetStatusString(code)));
  }
}

/// cuBLAS's handles, with memory of their own: cuBLAS then allocates none, and its results do not
/// depend on what ran before.
class library {
 public:
  explicit library(context& on) : context_(on) {
    constexpr const char* doing = "opening cuBLAS";
    check(cublasCreate(&blas_), "cublasCreate", doing);
    check(cublasLtCreate(&lt_), "cublasLtCreate", doing);
    check(cublasSetStream(blas_, on.stream()), "cublasSetStream", doing);
    check(cublasSetAtomicsMode(blas_, CUBLAS_ATOMICS_NOT_ALLOWED), "cublasSetAtomicsMode", doing);
    workspace_ = memory_.at_least<void>(workspace_bytes);
    check(cublasSetWorkspace(blas_, workspace_, workspace_bytes), "cublasSetWorkspace", doing);
  }
  library(const library&) = delete;
  library& operator=(const library&) = delete;
  ~library() {
    context_.work().launch_quietly();
    static_cast<void>(cudaStreamSynchronize(context_.stream()));
    for (const auto& [key, p] : plans_) {
      release(p);
    }
    static_cast<void>(cublasLtDestroy(lt_));
    static_cast<void>(cublasDestroy(blas_));
  }

  template <class T>
  static cublasComputeType_t compute_type(precision p) {
    if constexpr (std::is_same_v<T, double>) {
      return CUBLAS_COMPUTE_64F;
    } else {
      switch (p) {
        case precision::full: break;
        case precision::tf32: return CUBLAS_COMPUTE_32F_FAST_TF32;
        case precision::bf16: return CUBLAS_COMPUTE_32F_FAST_16BF;
      }
      return CUBLAS_COMPUTE_32F;
    }
  }

  /// `count` products C (+)= A B, A Bᵀ or Aᵀ B of one shape, whose matrices are so many elements
  /// apart.
  template <class T>
  void multiply(transposition kind, precision p, const product<T, device_space>& one,
                bool accumulate, index_t count, std::array<index_t, 3> apart) {
    const index_t depth = kind == transposition::tn ? one.a.rows : one.a.cols;
    context_.work().call(product_call<T>{.by = this,
                                         .a = one.a.data,
                                         .b = one.b.data,
                                         .c = one.c.data,
                                         .rows = narrow(one.c.rows),
                                         .cols = narrow(one.c.cols),
                                         .depth = narrow(depth),
                                         .count = narrow(count),
                                         .a_leading = leading(one.a),
                                         .b_leading = leading(one.b),
                                         .c_leading = leading(one.c),
                                         .accumulate = accumulate ? 1 : 0,
                                         .apart = apart,
                                         .kind = static_cast<int>(kind),
                                         .compute = static_cast<int>(compute_type<T>(p))});
    context_.launched("multiply");
  }

  /// y = act(x w + bias + addend) with act the identity or ReLU; false when cuBLASLt knows no way.
  bool affine(precision p, const affine_layer<float, device_space>& layer, bool relu) {
    const bool bias = layer.bias.data != nullptr;
    const bool addend = layer.addend.data != nullptr;
    const auto c = addend ? layer.addend : matrix_view<const float, device_space>(layer.y);
    const plan_key key{layer.y.cols,     layer.y.rows,        layer.x.cols,
                       layer.w.stride,   layer.x.stride,      c.stride,
                       layer.y.stride,   relu ? 1 : 0,        bias ? 1 : 0,
                       alignment(layer), static_cast<int>(p), alignment(layer.bias.data)};
    auto found = plans_.find(key);
    if (found == plans_.end()) {
      found = plans_.emplace(key, make_plan(p, layer, c, relu)).first;
    }
    const plan& how = found->second;
    if (!how.usable) {
      return false;
    }
    context_.work().call(layer_call{.by = this,
                                    .how = &how,
                                    .x = layer.x.data,
                                    .w = layer.w.data,
                                    .bias = layer.bias.data,
                                    .c = c.data,
                                    .y = layer.y.data,
                                    .add = addend ? 1 : 0});
    context_.launched("affine");
    return true;
  }

 private:
  static constexpr std::size_t workspace_bytes = std::size_t{1} << 25;  // what Hopper asks for

  using plan_key = std::array<index_t, 12>;
  struct plan {
    cublasLtMatmulDesc_t operation = nullptr;
    cublasLtMatrixLayout_t w = nullptr, x = nullptr, c = nullptr, y = nullptr;
    cublasLtMatmulAlgo_t algorithm{};
    bool usable = false;
  };

  // What travels through the sequence: no padding.
  template <class T>
  struct product_call {
    const library* by;
    const T* a;
    const T* b;
    T* c;
    int rows, cols, depth, count;
    int a_leading, b_leading, c_leading;
    int accumulate;
    std::array<index_t, 3> apart;
    int kind;
    int compute;

    void operator()(cudaStream_t) const {
      constexpr auto type = std::is_same_v<T, double> ? CUDA_R_64F : CUDA_R_32F;
      const auto left = kind == static_cast<int>(transposition::nt) ? CUBLAS_OP_T : CUBLAS_OP_N;
      const auto right = kind == static_cast<int>(transposition::tn) ? CUBLAS_OP_T : CUBLAS_OP_N;
      const auto how = static_cast<cublasComputeType_t>(compute);
      const T alpha = 1;
      const T beta = accumulate != 0 ? T{1} : T{0};
      if (count == 1) {
        check(cublasGemmEx(by->blas_, left, right, cols, rows, depth, &alpha, b, type, b_leading, a,
                           type, a_leading, &beta, c, type, c_leading, how, CUBLAS_GEMM_DEFAULT),
              "cublasGemmEx", "multiply");
      } else {
        check(
            cublasGemmStridedBatchedEx(by->blas_, left, right, cols, rows, depth, &alpha, b, type,
                                       b_leading, apart[1], a, type, a_leading, apart[0], &beta, c,
                                       type, c_leading, apart[2], count, how, CUBLAS_GEMM_DEFAULT),
            "cublasGemmStridedBatchedEx", "multiply");
      }
    }
  };
  struct layer_call {
    const library* by;
    const plan* how;
    const float* x;
    const float* w;
    const float* bias;
    const float* c;
    float* y;
    index_t add;

    void operator()(cudaStream_t on) const {
      if (bias != nullptr) {
        set(how->operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
      }
      const float alpha = 1;
      const float beta = add != 0 ? 1.0F : 0.0F;
      check(cublasLtMatmul(by->lt_, how->operation, &alpha, w, how->w, x, how->x, &beta, c, how->c,
                           y, how->y, &how->algorithm, by->workspace_, workspace_bytes, on),
            "cublasLtMatmul", "affine");
    }
  };

  static int narrow(index_t n) {
    require(n >= 0 && n <= std::numeric_limits<int>::max(), "cuda, multiply",
            "a matrix has {} rows or columns, cuBLAS takes fewer than 2^31", n);
    return static_cast<int>(n);
  }
  template <class View>
  static int leading(const View& v) {
    return narrow(std::max<index_t>({v.stride, v.cols, 1}));
  }

  // What an address is a multiple of, at most 256 bytes. That of the bias counts by itself, too:
  // cuBLASLt reads it when it chooses an algorithm.
  static index_t alignment(const void* p) {
    const std::uintptr_t address = reinterpret_cast<std::uintptr_t>(p) | 256U;
    return static_cast<index_t>(address & (~address + 1));
  }

  // The same for the addresses of all of a layer's matrices.
  static index_t alignment(const affine_layer<float, device_space>& layer) {
    const auto address = [](const void* p) { return reinterpret_cast<std::uintptr_t>(p); };
    std::uintptr_t all = address(layer.x.data) | address(layer.w.data) | address(layer.y.data) |
                         address(layer.bias.data) | address(layer.addend.data) | 256U;
    return static_cast<index_t>(all & (~all + 1));
  }

  template <class V>
  static void set(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t what,
                  const V& value) {
    check(cublasLtMatmulDescSetAttribute(operation, what, &value, sizeof(value)),
          "cublasLtMatmulDescSetAttribute", "affine");
  }

  plan make_plan(precision p, const affine_layer<float, device_space>& layer,
                 matrix_view<const float, device_space> c, bool relu) {
    constexpr const char* doing = "affine";
    plan made;
    check(cublasLtMatmulDescCreate(&made.operation, compute_type<float>(p), CUDA_R_32F),
          "cublasLtMatmulDescCreate", doing);
    const bool bias = layer.bias.data != nullptr;
    const cublasLtEpilogue_t epilogue =
        bias ? (relu ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_BIAS)
             : (relu ? CUBLASLT_EPILOGUE_RELU : CUBLASLT_EPILOGUE_DEFAULT);
    set(made.operation, CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
    if (bias) {
      set(made.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, layer.bias.data);
    }
    const auto layout = [&](cublasLtMatrixLayout_t& to, const auto& v) {
      check(cublasLtMatrixLayoutCreate(&to, CUDA_R_32F, static_cast<std::uint64_t>(v.cols),
                                       static_cast<std::uint64_t>(v.rows), leading(v)),
            "cublasLtMatrixLayoutCreate", doing);
    };
    layout(made.w, layer.w);
    layout(made.x, layer.x);
    layout(made.c, c);
    layout(made.y, layer.y);
    cublasLtMatmulPreference_t preference = nullptr;
    check(cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate", doing);
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t what, auto value) {
      check(cublasLtMatmulPreferenceSetAttribute(preference, what, &value, sizeof(value)),
            "cublasLtMatmulPreferenceSetAttribute", doing);
    };
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{workspace_bytes});
    for (const auto which :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
      prefer(which, static_cast<std::uint32_t>(alignment(layer)));
    }
    cublasLtMatmulHeuristicResult_t result{};
    int count = 0;
    const cublasStatus_t code = cublasLtMatmulAlgoGetHeuristic(
        lt_, made.operation, made.w, made.x, made.c, made.y, preference, 1, &result, &count);
    static_cast<void>(cublasLtMatmulPreferenceDestroy(preference));
    if (code != CUBLAS_STATUS_NOT_SUPPORTED) {
      check(code, "cublasLtMatmulAlgoGetHeuristic", doing);
    }
    made.usable = code == CUBLAS_STATUS_SUCCESS && count > 0;
    made.algorithm = result.algo;
    return made;
  }

  static void release(const plan& p) noexcept {
    for (const cublasLtMatrixLayout_t layout : {p.w, p.x, p.c, p.y}) {
      static_cast<void>(cublasLtMatrixLayoutDestroy(layout));
    }
    static_cast<void>(cublasLtMatmulDescDestroy(p.operation));
  }

  context& context_;
  cublasHandle_t blas_ = nullptr;
  cublasLtHandle_t lt_ = nullptr;
  block_of<device_memory> memory_;
  void* workspace_ = nullptr;
  std::map<plan_key, plan> plans_;
};

/// Chooses for every product and layer of a group between our kernel and cuBLAS.
template <Scalar T>
class products {
 public:
  using one_product = product<T, device_space>;
  using layer_type = affine_layer<T, device_space>;

  products(context& on, const cuda_options& options)
      : context_(on), library_(on), options_(options) {}

  void multiply(transposition kind, std::span<const one_product> group, bool accumulate) {
    own_ = {};
    for (std::size_t i = 0; i < group.size();) {
      std::size_t end = i + 1;
      while (end < group.size() && group[end].c.data == group[i].c.data) {
        ++end;
      }
      i += sum(kind, group.subspan(i), end - i, accumulate, group.size() > 1);
    }
    flush(false, activation::identity, "multiply");
  }

  void affine(std::span<const layer_type> group, activation act) {
    own_ = {};
    for (const layer_type& layer : group) {
      if (layer.y.size() == 0) {
        continue;
      }
      if (is_own(layer.y, layer.x.cols, group.size() > 1)) {
        append(transposition::nn, {layer.x, layer.w, layer.y});
        close(layer.y, 1, false);
        product_sum<T>& s = own_.sums[own_.sum_count - 1];
        s.bias = layer.bias.data;
        s.addend = layer.addend.data;
        s.addend_stride = layer.addend.stride;
        s.argument = layer.argument.data;
        s.argument_stride = layer.argument.stride;
        if (own_.term_count == product_group<T>::most) {
          flush(true, act, "affine");
        }
      } else {
        large_layer(layer, act);
      }
    }
    flush(true, act, "affine");
  }

 private:
  // Depths from which, and destinations up to which the depth is cut among many blocks.
  static constexpr index_t long_depth = 8192;
  static constexpr index_t long_side = 64;
  static constexpr int most_long_chunks = 256;

  static index_t depth_of(transposition kind, const one_product& p) {
    return kind == transposition::tn ? p.a.rows : p.a.cols;
  }

  [[nodiscard]] bool is_own(const matrix_view<T, device_space>& c, index_t depth,
                            bool grouped) const {
    // A lone product leaves most of the device idle unless it is cut up, which cuBLAS does.
    const index_t most = grouped ? options_.own_volume : options_.own_volume / 16;
    return depth <= options_.own_depth && c.rows * c.cols <= most &&
           c.rows * c.cols * std::max<index_t>(depth, 1) <= most;
  }

  // The first `terms` products of `rest` have one destination. Returns how many were dealt with,
  // which are more when several destinations become one batch.
  std::size_t sum(transposition kind, std::span<const one_product> rest, std::size_t terms,
                  bool accumulate, bool grouped) {
    const matrix_view<T, device_space> c = rest[0].c;
    if (c.size() == 0) {
      return terms;
    }
    index_t deepest = 0;
    for (const one_product& p : rest.first(terms)) {
      deepest = std::max(deepest, depth_of(kind, p));
    }
    if (deepest == 0) {
      if (!accumulate) {
        kernels<T>::fill(context_.work(), c, T{0});
        context_.launched("multiply");
      }
      return terms;
    }
    if (is_own(c, deepest, grouped)) {
      bool add = accumulate;
      std::size_t open = 0;
      for (std::size_t i = 0; i < terms; ++i) {
        append(kind, rest[i]);
        ++open;
        if (own_.term_count == product_group<T>::most) {
          close(c, open, add);
          flush(false, activation::identity, "multiply");
          add = true;
          open = 0;
        }
      }
      if (open > 0) {
        close(c, open, add);
      }
      return terms;
    }
    if (terms == 1 && deepest >= long_depth && c.rows <= long_side && c.cols <= long_side) {
      flush(false, activation::identity, "multiply");
      multiply_long(kind, rest[0], accumulate);
      return 1;
    }
    if (terms == 1) {
      std::array<index_t, 3> apart{};
      const std::size_t count = batch(kind, rest, apart);
      library_.template multiply<T>(kind, options_.products, rest[0], accumulate,
                                    static_cast<index_t>(count), apart);
      return count;
    }
    bool add = accumulate;
    for (const one_product& p : rest.first(terms)) {
      if (depth_of(kind, p) > 0) {
        library_.template multiply<T>(kind, options_.products, p, add, 1, {});
        add = true;
      }
    }
    return terms;
  }

  // How many products from the first on have its shape and lie equally far apart.
  static std::size_t batch(transposition kind, std::span<const one_product> rest,
                           std::array<index_t, 3>& apart) {
    const auto same = [](const auto& x, const auto& y) {
      return x.rows == y.rows && x.cols == y.cols && x.stride == y.stride;
    };
    const auto distance = [](const auto& x, const auto& y) {
      const auto bytes = static_cast<index_t>(reinterpret_cast<std::uintptr_t>(y.data) -
                                              reinterpret_cast<std::uintptr_t>(x.data));
      return bytes / static_cast<index_t>(sizeof(T));
    };
    std::size_t count = 1;
    while (count < rest.size() && depth_of(kind, rest[count]) > 0) {
      const one_product& p = rest[count - 1];
      const one_product& q = rest[count];
      const std::array<index_t, 3> step{distance(p.a, q.a), distance(p.b, q.b), distance(p.c, q.c)};
      const bool fits = same(p.a, q.a) && same(p.b, q.b) && same(p.c, q.c) && step[2] != 0 &&
                        step[0] >= 0 && step[1] >= 0 && step[2] > 0;
      if (!fits || (count > 1 && step != apart)) {
        break;
      }
      apart = step;
      ++count;
    }
    // The last one may be the first of a sum of several.
    if (count > 1 && count < rest.size() && rest[count].c.data == rest[count - 1].c.data) {
      --count;
    }
    return count;
  }

  void append(transposition kind, const one_product& p) {
    product_term<T>& t = own_.terms[own_.term_count++];
    t.a = p.a.data;
    t.b = p.b.data;
    t.depth = depth_of(kind, p);
    t.a_row = kind == transposition::tn ? 1 : p.a.stride;
    t.a_step = kind == transposition::tn ? p.a.stride : 1;
    t.b_step = kind == transposition::nt ? 1 : p.b.stride;
    t.b_col = kind == transposition::nt ? p.b.stride : 1;
  }

  // The last `terms` products make one sum.
  void close(const matrix_view<T, device_space>& c, std::size_t terms, bool accumulate) {
    product_sum<T>& s = own_.sums[own_.sum_count++];
    s = {};
    s.c = c.data;
    s.c_stride = c.stride;
    s.rows = static_cast<int>(c.rows);
    s.cols = static_cast<int>(c.cols);
    s.last = own_.term_count;
    s.first = own_.term_count - static_cast<int>(terms);
    s.accumulate = accumulate;
  }

  void flush(bool epilogue, activation act, const char* doing) {
    if (own_.sum_count > 0) {
      kernels<T>::multiply(context_.work(), own_, epilogue, act);
      context_.launched(doing);
    }
    own_.term_count = 0;
    own_.sum_count = 0;
  }

  void multiply_long(transposition kind, const one_product& p, bool accumulate) {
    append(kind, p);
    close(p.c, 1, accumulate);
    const auto chunks =
        static_cast<int>(std::min<index_t>(most_long_chunks, depth_of(kind, p) / 1024));
    T* const partial = context_.scratch<T>(static_cast<std::size_t>(chunks) *
                                           static_cast<std::size_t>(p.c.size()) * sizeof(T));
    kernels<T>::multiply_long(context_.work(), own_, chunks, partial);
    context_.launched("multiply");
    own_.term_count = 0;
    own_.sum_count = 0;
  }

  void large_layer(const layer_type& layer, activation act) {
    if constexpr (std::is_same_v<T, float>) {
      const bool relu = act == activation::relu && relu_keeps_nan();
      if (layer.x.cols > 0 && layer.argument.data == nullptr &&
          (relu || act == activation::identity) &&
          library_.affine(options_.products, layer, relu)) {
        return;
      }
    }
    const stream s = context_.work();
    const bool addend = layer.addend.data != nullptr;
    if (addend) {
      kernels<T>::copy(s, T{1}, layer.addend, layer.y, false);
    } else if (layer.x.cols == 0) {
      kernels<T>::fill(s, layer.y, T{0});
    }
    if (layer.x.cols > 0) {
      const one_product p{layer.x, layer.w, layer.y};
      library_.template multiply<T>(transposition::nn, options_.products, p, addend, 1, {});
    }
    kernels<T>::affine_epilogue(s, act, layer.bias, layer.argument, layer.y);
    context_.launched("affine");
  }

  // Whether the ReLU of cuBLASLt's epilogue leaves NaN as it is, so that a training that diverges
  // does not seem to go on: tried once, on one small layer.
  bool relu_keeps_nan()
    requires std::is_same_v<T, float>
  {
    if (relu_ == unknown) {
      constexpr index_t n = 16;
      float* const memory = context_.scratch<float>(3 * n * n * sizeof(float));
      const auto part = [&](index_t i) {
        return matrix_view<float, device_space>(memory + i * n * n, n, n);
      };
      const stream s = context_.work();
      kernels<float>::fill(s, part(0), 1.0F);
      kernels<float>::fill(s, part(1), std::numeric_limits<float>::quiet_NaN());
      kernels<float>::fill(s, part(2), 0.0F);
      context_.launched("trying the ReLU of cuBLASLt");
      layer_type layer;
      layer.x = part(0);
      layer.w = part(1);
      layer.bias = part(0).row_range(0, 1);
      layer.y = part(2);
      const bool ran = library_.affine(precision::full, layer, true);
      const float* y =
          context_.to_host<float>(part(2).data, n * n * sizeof(float), 1, n * n * sizeof(float));
      relu_ = ran && std::isnan(y[0]) ? keeps : loses;
    }
    return relu_ == keeps;
  }

  enum found { unknown, keeps, loses };

  context& context_;
  library library_;
  cuda_options options_;
  product_group<T> own_{};
  found relu_ = unknown;
};

}  // namespace device
}  // namespace vierbein::backend
