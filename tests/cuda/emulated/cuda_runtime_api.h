// A device emulated in host memory: the part of the CUDA runtime that the backend uses, so that its
// host code and kernels are tested on machines without a device. Kernels run
// at once; copies to the device only when something needs them, so that memory which is used again
// too early shows. Graphs are chains, whose nodes keep what they were given. Found before the real
// header of this name by the emulated tests alone.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "vierbein/backend/cuda/kernels.hpp"

#define VIERBEIN_EMULATED_CUDA 1

namespace emulated {
struct copy {
  void* to;
  const void* from;
  std::size_t to_pitch, from_pitch, width, rows;
};
}  // namespace emulated

struct CUgraph_st;
struct CUstream_st {
  CUgraph_st* captures = nullptr;      ///< what is called goes there
  std::vector<emulated::copy> copies;  ///< that wait
};
using cudaStream_t = CUstream_st*;

// NOLINTBEGIN(readability-identifier-naming)
enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInsufficientDriver = 35,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidDevice = 101,
  cudaErrorNoKernelImageForDevice = 209,
  cudaErrorIllegalAddress = 700,
  cudaErrorLaunchOutOfResources = 701,
  cudaErrorStreamCaptureUnsupported = 900
};
enum cudaMemcpyKind {
  cudaMemcpyHostToDevice = 1,
  cudaMemcpyDeviceToHost = 2,
  cudaMemcpyDeviceToDevice = 3
};
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal = 1 };
inline constexpr unsigned cudaStreamNonBlocking = 1;
inline constexpr unsigned cudaEventDisableTiming = 2;
struct dim3 {
  dim3(unsigned n = 1) : x(n) {}  // NOLINT(google-explicit-constructor)
  unsigned x, y = 1, z = 1;
};

namespace emulated {

/// What the next calls find, and what the calls so far did.
struct machine {
  int driver = 13000, runtime = 13000, devices = 1;
  cudaError_t device_count = cudaSuccess;
  std::size_t total_memory = std::size_t{1} << 30;
  cudaError_t at_launch = cudaSuccess;       ///< the next cudaGetLastError gives this
  cudaError_t at_synchronise = cudaSuccess;  ///< the next synchronisation gives this
  cudaError_t at_instantiate = cudaSuccess;  ///< every cudaGraphInstantiate gives this
  cudaError_t at_update = cudaSuccess;       ///< setting a node's arguments gives this

  std::size_t used_memory = 0;
  int allocations = 0, synchronisations = 0;
  int kernels = 0, graphs = 0;  ///< launched
  int event_waits = 0;
  std::map<void*, std::size_t> blocks;
};
inline machine device;
inline std::vector<cudaStream_t> streams;

inline void run_copies(cudaStream_t stream) {
  for (const copy& c : stream->copies) {
    for (std::size_t r = 0; r < c.rows; ++r) {
      std::memcpy(static_cast<char*>(c.to) + r * c.to_pitch,
                  static_cast<const char*>(c.from) + r * c.from_pitch, c.width);
    }
  }
  stream->copies.clear();
}

inline constexpr std::size_t guard = 256;  ///< bytes behind a block

}  // namespace emulated

inline const char* cudaGetErrorName(cudaError_t code) {
  switch (code) {
    case cudaSuccess: return "cudaSuccess";
    case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration: return "cudaErrorInvalidConfiguration";
    case cudaErrorLaunchOutOfResources: return "cudaErrorLaunchOutOfResources";
    case cudaErrorInsufficientDriver: return "cudaErrorInsufficientDriver";
    case cudaErrorNoDevice: return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice: return "cudaErrorInvalidDevice";
    case cudaErrorNoKernelImageForDevice: return "cudaErrorNoKernelImageForDevice";
    case cudaErrorIllegalAddress: return "cudaErrorIllegalAddress";
    case cudaErrorStreamCaptureUnsupported: return "cudaErrorStreamCaptureUnsupported";
  }
  return "unknown";
}
inline const char* cudaGetErrorString(cudaError_t code) {
  return code == cudaErrorIllegalAddress ? "an illegal memory access was encountered"
                                         : "as the name says";
}
inline cudaError_t cudaGetLastError() {
  return cudaSuccess;
}
inline cudaError_t cudaDriverGetVersion(int* version) {
  *version = emulated::device.driver;
  return cudaSuccess;
}
inline cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = emulated::device.runtime;
  return cudaSuccess;
}
inline cudaError_t cudaGetDeviceCount(int* count) {
  *count = emulated::device.devices;
  return emulated::device.device_count;
}
inline cudaError_t cudaSetDevice(int) {
  return cudaSuccess;
}
inline cudaError_t cudaDeviceSynchronize() {
  for (const cudaStream_t s : emulated::streams) {
    emulated::run_copies(s);
  }
  return cudaSuccess;
}
inline cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  *total = emulated::device.total_memory;
  *free = *total - emulated::device.used_memory;
  return cudaSuccess;
}
// Fresh memory holds NaN, so that what is read before it is written shows; so does what lies behind
// it, and a block that was written beyond its end ends the program when it is freed.
inline cudaError_t cudaMalloc(void** block, std::size_t bytes) {
  auto& m = emulated::device;
  if (m.used_memory + bytes > m.total_memory) {
    return cudaErrorMemoryAllocation;
  }
  *block = std::aligned_alloc(256, (bytes + emulated::guard + 255) / 256 * 256);
  std::memset(*block, 0xff, bytes + emulated::guard);
  m.blocks[*block] = bytes;
  m.used_memory += bytes;
  ++m.allocations;
  return cudaSuccess;
}
inline cudaError_t cudaFree(void* block) {
  auto& m = emulated::device;
  if (const auto found = m.blocks.find(block); found != m.blocks.end()) {
    m.used_memory -= found->second;
    const auto* const behind = static_cast<const unsigned char*>(block) + found->second;
    if (!std::all_of(behind, behind + emulated::guard, [](unsigned char c) { return c == 0xff; })) {
      std::fputs("emulated device: memory was written beyond its end\n", stderr);
      std::abort();
    }
    m.blocks.erase(found);
  }
  std::free(block);
  return cudaSuccess;
}
inline cudaError_t cudaMallocHost(void** block, std::size_t bytes) {
  *block = std::malloc(bytes);
  ++emulated::device.allocations;
  return cudaSuccess;
}
inline cudaError_t cudaFreeHost(void* block) {
  std::free(block);
  return cudaSuccess;
}
inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new CUstream_st;
  emulated::streams.push_back(*stream);
  return cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  std::erase(emulated::streams, stream);
  delete stream;
  return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (stream->captures != nullptr) {
    return cudaErrorStreamCaptureUnsupported;
  }
  emulated::run_copies(stream);
  ++emulated::device.synchronisations;
  const cudaError_t code = emulated::device.at_synchronise;
  emulated::device.at_synchronise = cudaSuccess;
  return code;
}
inline cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from,
                                     std::size_t from_pitch, std::size_t width, std::size_t rows,
                                     cudaMemcpyKind kind, cudaStream_t stream) {
  if (stream->captures != nullptr) {
    return cudaErrorStreamCaptureUnsupported;  // nothing here captures copies
  }
  stream->copies.push_back({to, from, to_pitch, from_pitch, width, rows});
  if (kind == cudaMemcpyDeviceToHost) {
    emulated::run_copies(stream);
  }
  return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind k,
                                   cudaStream_t s) {
  return cudaMemcpy2DAsync(to, bytes, from, bytes, bytes, 1, k, s);
}
inline cudaError_t cudaLaunchKernel(const void* function, dim3 grid, dim3 block,
                                    void* const* arguments, std::size_t shared,
                                    cudaStream_t stream) {
  if (stream->captures != nullptr) {
    return cudaErrorStreamCaptureUnsupported;
  }
  if (grid.x == 0 || block.x != vierbein::backend::device::block_threads || shared != 0) {
    return cudaErrorInvalidValue;
  }
  const cudaError_t code = emulated::device.at_launch;
  emulated::device.at_launch = cudaSuccess;
  if (code == cudaSuccess) {
    emulated::run_copies(stream);
    ++emulated::device.kernels;
    static_cast<const vierbein::backend::device::host_kernel*>(function)->run(grid.x, arguments);
  }
  return code;
}

// ---- events: what was put on a stream before one is done when another stream waits for it

struct CUevent_st {
  cudaStream_t of = nullptr;
};
using cudaEvent_t = CUevent_st*;
inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return cudaSuccess;
}
inline cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
inline cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (event->of != nullptr) {
    emulated::run_copies(event->of);
  }
  return cudaSuccess;
}
inline cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  event->of = stream;
  return cudaSuccess;
}
inline cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  emulated::run_copies(stream);
  emulated::run_copies(event->of);
  ++emulated::device.event_waits;
  return cudaSuccess;
}

// ---- graphs: chains of nodes, each after the one before it

struct cudaPitchedPtr {
  void* ptr;
  std::size_t pitch, xsize, ysize;
};
struct cudaExtent {
  std::size_t width, height, depth;
};
struct cudaMemcpy3DParms {
  cudaPitchedPtr srcPtr, dstPtr;
  cudaExtent extent;
  cudaMemcpyKind kind;
};
struct cudaKernelNodeParams {
  void* func;
  dim3 gridDim, blockDim;
  unsigned sharedMemBytes;
  void** kernelParams;
  void** extra;
};

namespace emulated {

/// What a node does when a graph is launched; it has copies of its arguments.
struct node {
  enum { kernel, one_row, rows, child } kind;
  const void* function = nullptr;
  unsigned blocks = 0;
  std::vector<std::vector<std::max_align_t>> arguments{};
  copy what{};
  cudaMemcpyKind direction{};
  std::vector<std::function<void()>> calls{};

  cudaError_t set(const cudaKernelNodeParams& p) {
    if (p.func != function || p.gridDim.x == 0 ||
        p.blockDim.x != vierbein::backend::device::block_threads || p.sharedMemBytes != 0) {
      return cudaErrorInvalidValue;
    }
    blocks = p.gridDim.x;
    const auto& sizes = static_cast<const vierbein::backend::device::host_kernel*>(function)->sizes;
    arguments.resize(sizes.size());
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      arguments[i].resize(sizes[i] / sizeof(std::max_align_t) + 1);
      std::memcpy(arguments[i].data(), p.kernelParams[i], sizes[i]);
    }
    return cudaSuccess;
  }
  void run(cudaStream_t stream) {
    switch (kind) {
      case kernel: {
        run_copies(stream);
        std::vector<void*> addresses;
        for (auto& a : arguments) {
          addresses.push_back(a.data());
        }
        static_cast<const vierbein::backend::device::host_kernel*>(function)->run(blocks,
                                                                                  addresses.data());
        break;
      }
      case one_row:
      case rows:
        stream->copies.push_back(what);
        if (direction == cudaMemcpyDeviceToHost) {
          run_copies(stream);
        }
        break;
      case child:
        for (const auto& call : calls) {
          call();
        }
    }
  }
};

}  // namespace emulated

using cudaGraphNode_t = emulated::node*;
struct CUgraph_st {
  std::vector<std::unique_ptr<emulated::node>> nodes;
  std::vector<std::function<void()>> calls;  ///< that were captured
};
using cudaGraph_t = CUgraph_st*;
struct CUgraphExec_st {
  const CUgraph_st* of;
  std::vector<emulated::node> nodes;
};
using cudaGraphExec_t = CUgraphExec_st*;

namespace emulated {

inline int graphs_alive = 0;

inline cudaError_t add(cudaGraphNode_t* to, cudaGraph_t graph, const cudaGraphNode_t* after,
                       std::size_t count, const node& n) {
  const bool chained =
      graph->nodes.empty() ? count == 0 : count == 1 && *after == graph->nodes.back().get();
  if (!chained) {
    return cudaErrorInvalidValue;
  }
  *to = graph->nodes.emplace_back(std::make_unique<node>(n)).get();
  return cudaSuccess;
}

/// The executable copy of a node.
inline node* in(cudaGraphExec_t exec, cudaGraphNode_t of) {
  for (std::size_t i = 0; i < exec->nodes.size(); ++i) {
    if (exec->of->nodes[i].get() == of) {
      return &exec->nodes[i];
    }
  }
  return nullptr;
}

/// For calls of libraries: runs `call`, or captures it.
inline void run_or_capture(cudaStream_t stream, std::function<void()> call) {
  if (stream->captures != nullptr) {
    stream->captures->calls.push_back(std::move(call));
  } else {
    call();
  }
}

}  // namespace emulated

inline cudaError_t cudaGraphCreate(cudaGraph_t* graph, unsigned) {
  *graph = new CUgraph_st;
  ++emulated::graphs_alive;
  return cudaSuccess;
}
inline cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  --emulated::graphs_alive;
  return cudaSuccess;
}
inline cudaError_t cudaGraphAddKernelNode(cudaGraphNode_t* node, cudaGraph_t graph,
                                          const cudaGraphNode_t* after, std::size_t count,
                                          const cudaKernelNodeParams* params) {
  emulated::node n{.kind = emulated::node::kernel, .function = params->func};
  const cudaError_t code = n.set(*params);
  return code == cudaSuccess ? emulated::add(node, graph, after, count, n) : code;
}
inline cudaError_t cudaGraphAddMemcpyNode1D(cudaGraphNode_t* node, cudaGraph_t graph,
                                            const cudaGraphNode_t* after, std::size_t count,
                                            void* to, const void* from, std::size_t bytes,
                                            cudaMemcpyKind kind) {
  return emulated::add(node, graph, after, count,
                       {.kind = emulated::node::one_row,
                        .what = {to, from, bytes, bytes, bytes, 1},
                        .direction = kind});
}
inline cudaError_t cudaGraphAddMemcpyNode(cudaGraphNode_t* node, cudaGraph_t graph,
                                          const cudaGraphNode_t* after, std::size_t count,
                                          const cudaMemcpy3DParms* p) {
  return emulated::add(node, graph, after, count,
                       {.kind = emulated::node::rows,
                        .what = {p->dstPtr.ptr, p->srcPtr.ptr, p->dstPtr.pitch, p->srcPtr.pitch,
                                 p->extent.width, p->extent.height},
                        .direction = p->kind});
}
inline cudaError_t cudaGraphAddChildGraphNode(cudaGraphNode_t* node, cudaGraph_t graph,
                                              const cudaGraphNode_t* after, std::size_t count,
                                              cudaGraph_t child) {
  return emulated::add(node, graph, after, count,
                       {.kind = emulated::node::child, .calls = child->calls});
}
inline cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph,
                                        unsigned long long) {
  if (emulated::device.at_instantiate != cudaSuccess) {
    return emulated::device.at_instantiate;
  }
  *exec = new CUgraphExec_st{graph, {}};
  for (const auto& n : graph->nodes) {
    (*exec)->nodes.push_back(*n);
  }
  ++emulated::graphs_alive;
  return cudaSuccess;
}
inline cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  --emulated::graphs_alive;
  return cudaSuccess;
}
inline cudaError_t cudaGraphExecKernelNodeSetParams(cudaGraphExec_t exec, cudaGraphNode_t node,
                                                    const cudaKernelNodeParams* params) {
  if (emulated::device.at_update != cudaSuccess) {
    return emulated::device.at_update;
  }
  emulated::node* const n = emulated::in(exec, node);
  return n == nullptr || n->kind != emulated::node::kernel ? cudaErrorInvalidValue
                                                           : n->set(*params);
}
inline cudaError_t cudaGraphExecMemcpyNodeSetParams1D(cudaGraphExec_t exec, cudaGraphNode_t node,
                                                      void* to, const void* from, std::size_t bytes,
                                                      cudaMemcpyKind kind) {
  if (emulated::device.at_update != cudaSuccess) {
    return emulated::device.at_update;
  }
  emulated::node* const n = emulated::in(exec, node);
  if (n == nullptr || n->kind != emulated::node::one_row || n->direction != kind) {
    return cudaErrorInvalidValue;
  }
  n->what = {to, from, bytes, bytes, bytes, 1};
  return cudaSuccess;
}
inline cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  if (stream->captures != nullptr) {
    return cudaErrorStreamCaptureUnsupported;
  }
  ++emulated::device.graphs;
  for (emulated::node& n : exec->nodes) {
    n.run(stream);
  }
  return cudaSuccess;
}
inline cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  return stream->captures == nullptr ? cudaGraphCreate(&stream->captures, 0)
                                     : cudaErrorStreamCaptureUnsupported;
}
inline cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = stream->captures;
  stream->captures = nullptr;
  return *graph == nullptr ? cudaErrorStreamCaptureUnsupported : cudaSuccess;
}
// NOLINTEND(readability-identifier-naming)
