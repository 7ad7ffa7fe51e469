// What is to be put on a stream, in order, and its replay as CUDA graphs.
//
// A training step of the same shapes asks for the same operations again: the same kernels at the
// same addresses, since an arena gives a step the same memory every time, with a few other numbers,
// such as the streams of random numbers and Adam's bias corrections. So operations are collected to
// pieces, after a wait of 8 operations, so that the device soon has something to do, then of 16, 32
// and 64, the last before the next wait of what is left; and a piece is compared with those before
// it:
//
// - when it is new, its operations are launched one by one, and it is remembered; one of fewer than
//   four operations always;
// - when it comes again, it becomes a CUDA graph: a chain of kernels, copies and, captured from the
//   stream, calls of libraries;
// - from then on the graph is launched as a whole, after the arguments that differ have been set.
//
// Thus host code records every step anew, and need not know; what a replay saves is the time to
// launch kernel after kernel. Pieces with the same kernels but other arguments, as when a batch is
// smaller, share a graph when few arguments differ or several graphs exist already. Calls of
// libraries cannot be given other arguments: pieces with such calls are replayed only where these
// are the same, which batches of ever other sizes do not have.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "vierbein/backend/cuda/check.hpp"
#include "vierbein/backend/cuda/kernels.hpp"

namespace vierbein::backend::device {

/// A copy between the memories of host and device: rows of `width` bytes, `pitch` bytes apart.
/// Host memory is pinned.
struct transfer {
  void* to;
  const void* from;
  std::size_t to_pitch, from_pitch, width, rows;
  cudaMemcpyKind kind;
  std::uint32_t unused = 0;  // no padding, so that transfers can be compared byte by byte

  [[nodiscard]] bool in_one_row() const {
    return rows == 1 || (to_pitch == width && from_pitch == width);
  }
};

/// How much went through a sequence.
struct launches {
  std::size_t operations = 0;  ///< kernels, copies, calls of libraries
  std::size_t singly = 0;      ///< those of them that were launched one by one
  std::size_t graphs = 0;      ///< graphs that were launched for the others
  std::size_t updated = 0;     ///< operations of a graph that had got other arguments
  std::size_t refused = 0;     ///< pieces that the runtime did not make a graph of
};

/// The operations of one stream. It belongs to the thread that made it, which alone may use it; any
/// may destroy it. All sequences of a thread are of one device.
class sequence final : public launcher {
 public:
  /// Without `replay` every operation is launched at once.
  sequence(int device, cudaStream_t on, bool replay)
      : device_(device), stream_(on), replay_(replay) {
    each_of_this_thread([device](const sequence& s) {
      require(s.device_ == device, "cuda",
              "a thread uses one device: it has a backend on device {}, and wants one on device {}",
              s.device_, device);
    });
    const std::lock_guard<std::mutex> lock(registry());
    next_ = first_;
    first_ = this;
  }
  sequence(const sequence&) = delete;
  sequence& operator=(const sequence&) = delete;
  ~sequence() override {
    const std::lock_guard<std::mutex> lock(registry());
    sequence** link = &first_;
    while (*link != this) {
      link = &(*link)->next_;
    }
    *link = next_;
  }

  [[nodiscard]] const launches& counts() const { return counts_; }
  /// The name of the last operation.
  [[nodiscard]] const char* last() const { return last_; }

  // ---- asking for operations
  // --------------------------------------------------------------------------------------------

  void kernel(const void* function, unsigned blocks,
              std::span<const kernel_argument> arguments) override {
    add(kind::kernel, function, blocks, arguments);
  }

  void copy(const transfer& t) {
    const kernel_argument one{&t, sizeof(t)};
    add(kind::transfer, nullptr, 1, {&one, 1});
  }

  /// Puts `c(stream)` on the stream: a call of a library. Calls of the same bytes do the same; they
  /// may be captured into a graph.
  template <class Call>
    requires std::has_unique_object_representations_v<Call> && std::is_trivially_copyable_v<Call>
  void call(const Call& c) {
    constexpr library_call run = [](const void* what, cudaStream_t on) {
      (*static_cast<const Call*>(what))(on);
    };
    const kernel_argument one{&c, sizeof(c)};
    add(kind::call, reinterpret_cast<const void*>(run), 1, {&one, 1});
  }

  /// Says which operation asked for what came since the last name. Throws when it could not be
  /// launched.
  void named(const char* name) {
    last_ = name;
    for (; unnamed_ < now_.operations.size(); ++unnamed_) {
      now_.operations[unnamed_].name = name;
    }
    if (!replay_ || now_.operations.size() >= length_) {
      launch();
      length_ = std::min(2 * length_, piece_length);
    }
  }

  /// Puts everything that was asked for on the stream. Throws when that cannot be done, and when it
  /// could not be done before.
  void launch() {
    if (failure_) {
      clear();
      std::rethrow_exception(std::exchange(failure_, nullptr));
    }
    if (now_.operations.empty()) {
      return;
    }
    use_device();
    try {
      replay_ ? launch_piece() : launch_singly();
    } catch (...) {
      clear();
      throw;
    }
    clear();
  }

  /// The same where nothing may be thrown: a failure is kept for the next `launch`.
  void launch_quietly() noexcept {
    try {
      launch();
    } catch (...) {
      failure_ = std::current_exception();
    }
  }

  /// Puts everything on the stream and waits until it is done.
  [[nodiscard]] cudaError_t finish() {
    launch();
    use_device();
    length_ = shortest_piece;  // so that the device soon has something to do again
    return cudaStreamSynchronize(stream_);
  }

  /// Finishes all sequences of this thread, before memory that they may use is given back.
  static void finish_all() noexcept {
    each_of_this_thread([](sequence& s) {
      s.launch_quietly();
      static_cast<void>(cudaStreamSynchronize(s.stream_));
    });
  }

  /// Makes the device of this thread's sequences current, which other libraries may have changed.
  static void use_device_of_thread() noexcept {
    each_of_this_thread([](const sequence& s) { s.use_device(); });
  }

  static constexpr std::size_t shortest_piece = 8;  ///< the first after a wait; then twice as long
  static constexpr std::size_t piece_length = 64;
  /// A graph of fewer operations takes as long to launch as they do.
  static constexpr std::size_t smallest_graph = 4;

 private:
  enum class kind : std::uint32_t { kernel, transfer, call };
  using library_call = void (*)(const void*, cudaStream_t);

  static constexpr std::size_t most_pieces = 128;
  static constexpr std::size_t most_alike = 4;  // graphs of the same kernels
  static constexpr int most_rebuilt = 3;

  struct alignas(16) chunk {
    std::byte bytes[16];
  };
  struct operation {
    kind what;
    unsigned blocks;
    const void* function;
    const char* name;
    std::uint32_t first_argument, last_argument;  // in `offsets`
    std::uint32_t begin, end;                     // in `arguments`
  };

  struct piece {
    std::vector<operation> operations;
    std::vector<std::uint32_t> offsets;
    std::vector<chunk> arguments;

    [[nodiscard]] const void* argument(const operation& o, std::uint32_t i = 0) const {
      return arguments.data() + offsets[o.first_argument + i];
    }
    [[nodiscard]] const transfer& transfer_of(const operation& o) const {
      return *static_cast<const transfer*>(argument(o));
    }
    [[nodiscard]] std::span<const chunk> arguments_of(const operation& o) const {
      return std::span(arguments).subspan(o.begin, o.end - o.begin);
    }
  };

  struct owned_graph {
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    std::vector<cudaGraphNode_t> nodes;

    owned_graph() = default;
    owned_graph(const owned_graph&) = delete;
    owned_graph& operator=(const owned_graph&) = delete;
    ~owned_graph() {
      if (executable != nullptr) {
        static_cast<void>(cudaGraphExecDestroy(executable));
      }
      if (graph != nullptr) {
        static_cast<void>(cudaGraphDestroy(graph));
      }
    }
  };

  struct remembered {
    piece what;
    std::uint64_t functions = 0;  // a hash of what must be the same
    std::uint64_t used = 0;       // when
    std::unique_ptr<owned_graph> graph;
    int rebuilt = 0;       // how often arguments could not be set in it
    bool refused = false;  // it cannot become a graph
  };

  // All of the process, since a thread may destroy what another has made.
  static std::mutex& registry() {
    static std::mutex mutex;
    return mutex;
  }
  template <class F>
  static void each_of_this_thread(F&& f) {
    std::vector<sequence*> mine;
    {
      const std::lock_guard<std::mutex> lock(registry());
      for (sequence* s = first_; s != nullptr; s = s->next_) {
        if (s->owner_ == std::this_thread::get_id()) {
          mine.push_back(s);
        }
      }
    }
    for (sequence* s : mine) {
      f(*s);
    }
  }
  void use_device() const noexcept { static_cast<void>(cudaSetDevice(device_)); }

  // ---- collecting
  // -------------------------------------------------------------------------------------------

  // Nothing is added when there is no memory for it.
  void add(kind what, const void* function, unsigned blocks,
           std::span<const kernel_argument> arguments) {
    const std::size_t offset = now_.offsets.size();
    const std::size_t begin = now_.arguments.size();
    try {
      for (const kernel_argument& a : arguments) {
        const std::size_t at = now_.arguments.size();
        now_.offsets.push_back(static_cast<std::uint32_t>(at));
        now_.arguments.resize(at + (a.bytes + sizeof(chunk) - 1) / sizeof(chunk));
        std::memcpy(now_.arguments.data() + at, a.data, a.bytes);
      }
      const auto number = [](std::size_t n) { return static_cast<std::uint32_t>(n); };
      now_.operations.push_back({what, blocks, function, last_, number(offset),
                                 number(now_.offsets.size()), number(begin),
                                 number(now_.arguments.size())});
    } catch (...) {
      now_.offsets.resize(offset);
      now_.arguments.resize(begin);
      throw;
    }
    ++counts_.operations;
  }
  void clear() {
    now_.operations.clear();
    now_.offsets.clear();
    now_.arguments.clear();
    unnamed_ = 0;
  }

  // ---- launching
  // --------------------------------------------------------------------------------------------

  // The addresses of a kernel's arguments.
  void** addresses(const piece& p, const operation& o) {
    addresses_.clear();
    for (std::uint32_t i = 0; i < o.last_argument - o.first_argument; ++i) {
      addresses_.push_back(const_cast<void*>(p.argument(o, i)));
    }
    return addresses_.data();
  }

  void launch_singly() {
    for (const operation& o : now_.operations) {
      launch_one(o);
    }
    counts_.singly += now_.operations.size();
  }

  void launch_one(const operation& o) {
    switch (o.what) {
      case kind::kernel:
        check_launch(cudaLaunchKernel(o.function, dim3(o.blocks), dim3(block_threads),
                                      addresses(now_, o), 0, stream_),
                     "kernel launch", o.name);
        break;
      case kind::transfer: {
        const transfer& t = now_.transfer_of(o);
        if (t.in_one_row()) {
          check_launch(cudaMemcpyAsync(t.to, t.from, t.width * t.rows, t.kind, stream_),
                       "cudaMemcpyAsync", o.name);
        } else {
          check_launch(cudaMemcpy2DAsync(t.to, t.to_pitch, t.from, t.from_pitch, t.width, t.rows,
                                         t.kind, stream_),
                       "cudaMemcpy2DAsync", o.name);
        }
        break;
      }
      case kind::call:
        reinterpret_cast<library_call>(const_cast<void*>(o.function))(now_.argument(o), stream_);
        break;
    }
  }

  // A launch also reports what went wrong on the device before.
  static void check_launch(cudaError_t code, const char* call, const char* name) {
    const bool own = code == cudaSuccess || code == cudaErrorInvalidValue ||
                     code == cudaErrorInvalidConfiguration ||
                     code == cudaErrorNoKernelImageForDevice ||
                     code == cudaErrorLaunchOutOfResources;
    check(code, call, own ? name : fmt::format("{} or an operation before it", name).c_str());
  }

  void launch_piece() {
    ++time_;
    if (now_.operations.size() < smallest_graph) {
      launch_singly();
      return;
    }
    const std::uint64_t functions = hash(now_);
    remembered* const before = most_similar(functions);
    if (before == nullptr) {
      remember(functions);
      launch_singly();
      return;
    }
    before->used = time_;
    if (before->refused) {
      launch_singly();
      return;
    }
    const bool had_one = before->graph != nullptr;
    const bool current = had_one && update(*before);
    if (had_one && !current && ++before->rebuilt > most_rebuilt) {
      refuse(*before);
      launch_singly();
      return;
    }
    std::swap(before->what, now_);  // the graph keeps copies of arguments; so do we, to compare
    if (!current && !build(*before)) {
      std::swap(before->what, now_);
      launch_singly();
      return;
    }
    check_launch(cudaGraphLaunch(before->graph->executable, stream_), "cudaGraphLaunch",
                 before->what.operations.back().name);
    ++counts_.graphs;
  }

  // ---- comparing
  // --------------------------------------------------------------------------------------------

  // Whether other arguments need another graph: of calls of libraries, which hold unknown kernels,
  // and of transfers of several rows.
  static bool is_fixed(const piece& p, const operation& o) {
    return o.what == kind::call || (o.what == kind::transfer && !p.transfer_of(o).in_one_row());
  }

  static std::uint64_t hash(const piece& p) {
    std::uint64_t h = 0xcbf29ce484222325U;
    const auto add = [&](std::uint64_t v) { h = (h ^ v) * 0x100000001b3U; };
    for (const operation& o : p.operations) {
      add(static_cast<std::uint64_t>(o.what));
      add(reinterpret_cast<std::uintptr_t>(o.function));
      if (is_fixed(p, o)) {
        for (const chunk& c : p.arguments_of(o)) {
          std::uint64_t words[2];
          std::memcpy(words, &c, sizeof(c));
          add(words[0]);
          add(words[1]);
        }
      }
    }
    return h;
  }

  static bool same_arguments(const piece& a, const operation& x, const piece& b,
                             const operation& y) {
    const auto left = a.arguments_of(x);
    const auto right = b.arguments_of(y);
    return x.blocks == y.blocks && left.size() == right.size() &&
           std::memcmp(left.data(), right.data(), left.size_bytes()) == 0;
  }

  // Whether a graph of `p` can become one of what is asked for now; `differences` counts the
  // arguments that must be set.
  [[nodiscard]] bool fits(const piece& p, std::size_t& differences) const {
    if (p.operations.size() != now_.operations.size()) {
      return false;
    }
    differences = 0;
    for (std::size_t i = 0; i < p.operations.size(); ++i) {
      const operation& x = p.operations[i];
      const operation& y = now_.operations[i];
      const bool same = same_arguments(p, x, now_, y);
      if (x.what != y.what || x.function != y.function) {
        return false;
      }
      if (!same) {
        if (is_fixed(p, x) || is_fixed(now_, y) ||
            (x.what == kind::transfer && p.transfer_of(x).kind != now_.transfer_of(y).kind)) {
          return false;
        }
        ++differences;
      }
    }
    return true;
  }

  // The piece of the same functions with the fewest other arguments. None where that would change
  // more than half of them and there is room for another graph.
  remembered* most_similar(std::uint64_t functions) {
    remembered* best = nullptr;
    std::size_t fewest = 0;
    std::size_t alike = 0;
    for (const auto& candidate : pieces_) {
      std::size_t differences = 0;
      if (candidate->functions != functions || !fits(candidate->what, differences)) {
        continue;
      }
      ++alike;
      if (best == nullptr || differences < fewest) {
        best = candidate.get();
        fewest = differences;
      }
    }
    const bool close = 2 * fewest <= now_.operations.size();
    return best != nullptr && (close || alike >= most_alike) ? best : nullptr;
  }

  // In place of the one that was not used for longest, when there are many.
  void remember(std::uint64_t functions) {
    remembered* place = nullptr;
    if (pieces_.size() < most_pieces) {
      place = pieces_.emplace_back(std::make_unique<remembered>()).get();
    } else {
      place = std::min_element(pieces_.begin(), pieces_.end(), [](const auto& a, const auto& b) {
                return a->used < b->used;
              })->get();
    }
    place->what = now_;
    place->functions = functions;
    place->used = time_;
    place->graph.reset();
    place->rebuilt = 0;
    place->refused = false;
  }

  // ---- graphs
  // -----------------------------------------------------------------------------------------------

  cudaKernelNodeParams kernel_node(const piece& p, const operation& o) {
    cudaKernelNodeParams node{};
    node.func = const_cast<void*>(o.function);
    node.gridDim = dim3(o.blocks);
    node.blockDim = dim3(block_threads);
    node.kernelParams = addresses(p, o);
    return node;
  }

  // Sets the arguments that differ now; false when that cannot be done.
  bool update(remembered& r) {
    for (std::size_t i = 0; i < r.what.operations.size(); ++i) {
      const operation& o = now_.operations[i];
      if (same_arguments(r.what, r.what.operations[i], now_, o)) {
        continue;
      }
      cudaError_t code = cudaSuccess;
      if (o.what == kind::kernel) {
        const cudaKernelNodeParams node = kernel_node(now_, o);
        code = cudaGraphExecKernelNodeSetParams(r.graph->executable, r.graph->nodes[i], &node);
      } else {
        const transfer& t = now_.transfer_of(o);
        code = cudaGraphExecMemcpyNodeSetParams1D(r.graph->executable, r.graph->nodes[i], t.to,
                                                  t.from, t.width * t.rows, t.kind);
      }
      if (code != cudaSuccess) {
        static_cast<void>(cudaGetLastError());
        return false;
      }
      ++counts_.updated;
    }
    return true;
  }

  // Makes the graph of a piece. Where the runtime cannot, the piece is launched singly for ever:
  // what is wrong with an operation itself shows then.
  bool build(remembered& r) {
    r.graph = std::make_unique<owned_graph>();
    if (add_nodes(r.what, *r.graph) &&
        cudaGraphInstantiate(&r.graph->executable, r.graph->graph, 0) == cudaSuccess) {
      return true;
    }
    static_cast<void>(cudaGetLastError());
    refuse(r);
    return false;
  }

  void refuse(remembered& r) {
    r.graph.reset();
    r.refused = true;
    ++counts_.refused;
  }

  bool add_nodes(const piece& p, owned_graph& g) {
    if (cudaGraphCreate(&g.graph, 0) != cudaSuccess) {
      return false;
    }
    for (const operation& o : p.operations) {
      const cudaGraphNode_t* const before = g.nodes.empty() ? nullptr : &g.nodes.back();
      const std::size_t count = g.nodes.empty() ? 0 : 1;
      cudaGraphNode_t node = nullptr;
      cudaError_t code = cudaSuccess;
      switch (o.what) {
        case kind::kernel: {
          const cudaKernelNodeParams params = kernel_node(p, o);
          code = cudaGraphAddKernelNode(&node, g.graph, before, count, &params);
          break;
        }
        case kind::transfer:
          code = add_transfer(&node, g.graph, before, count, p.transfer_of(o));
          break;
        case kind::call: code = add_call(&node, g.graph, before, count, p, o); break;
      }
      if (code != cudaSuccess) {
        return false;
      }
      g.nodes.push_back(node);
    }
    return true;
  }

  static cudaError_t add_transfer(cudaGraphNode_t* node, cudaGraph_t graph,
                                  const cudaGraphNode_t* before, std::size_t count,
                                  const transfer& t) {
    if (t.in_one_row()) {
      return cudaGraphAddMemcpyNode1D(node, graph, before, count, t.to, t.from, t.width * t.rows,
                                      t.kind);
    }
    cudaMemcpy3DParms rows{};
    rows.srcPtr = cudaPitchedPtr{const_cast<void*>(t.from), t.from_pitch, t.width, t.rows};
    rows.dstPtr = cudaPitchedPtr{t.to, t.to_pitch, t.width, t.rows};
    rows.extent = cudaExtent{t.width, t.rows, 1};
    rows.kind = t.kind;
    return cudaGraphAddMemcpyNode(node, graph, before, count, &rows);
  }

  // Captures what a library puts on the stream.
  cudaError_t add_call(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* before,
                       std::size_t count, const piece& p, const operation& o) {
    cudaError_t code = cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal);
    if (code != cudaSuccess) {
      return code;
    }
    bool called = true;
    try {
      reinterpret_cast<library_call>(const_cast<void*>(o.function))(p.argument(o), stream_);
    } catch (...) {  // what is wrong with it shows when it is called by itself
      called = false;
    }
    cudaGraph_t captured = nullptr;
    code = cudaStreamEndCapture(stream_, &captured);
    if (code == cudaSuccess && called) {
      code = cudaGraphAddChildGraphNode(node, graph, before, count, captured);
    }
    if (captured != nullptr) {
      static_cast<void>(cudaGraphDestroy(captured));
    }
    return called ? code : cudaErrorStreamCaptureUnsupported;
  }

  inline static sequence* first_ = nullptr;

  int device_;
  cudaStream_t stream_;
  bool replay_;
  std::thread::id owner_ = std::this_thread::get_id();
  sequence* next_ = nullptr;
  std::size_t length_ = shortest_piece;  // of the present piece
  const char* last_ = "the first";
  piece now_;  // what is asked for
  std::size_t unnamed_ = 0;
  std::vector<std::unique_ptr<remembered>> pieces_;
  std::vector<void*> addresses_;
  std::uint64_t time_ = 0;
  launches counts_;
  std::exception_ptr failure_;
};

}  // namespace vierbein::backend::device
