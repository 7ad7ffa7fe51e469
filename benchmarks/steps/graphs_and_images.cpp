// Encoders that are not dense.
//
//     dmpnn          directed message passing, hidden 128, depth 3, 4 heads 64-1, 64 made-up
//                    molecules of 19 to 22 atoms
//     convolutional  LeNet with 16 and 32 channels, dense layers 120-84, images 1 x 36 x 36, two
//                    tasks of ten classes with heads 64-10, batch 128
//     bf16/...       the same with products in bfloat16; convolutions stay in float
//     cuda/...       the same on a device; cuda/dmpnn/B4096 with 4,096 molecules; cuda-plain/dmpnn
#include "harness.hpp"
#include "vierbein/encoder/convolutional.hpp"
#include "vierbein/encoder/dmpnn.hpp"

namespace steps {

namespace {

// ---- molecules

constexpr index_t molecules = 64;  // in a batch
constexpr index_t atom_width = 133;
constexpr index_t bond_width = 14;
constexpr index_t hidden = 128;
constexpr index_t molecule_tasks = 4;

index_t atoms_of(index_t molecule) {
  return 19 + molecule % 4;
}

/// A branched chain with one ring: atom i is bound to the one before, every third to the one before
/// that, and atom 5 to atom 0.
vb::data::graph_set made_up_molecules(index_t count) {
  vb::data::graph_set set;
  index_t atoms = 0;
  const auto bind = [&](index_t a, index_t b) {
    const auto first = static_cast<std::int32_t>(set.source.size());
    for (const auto& [from, to, back] : {std::array{a, b, index_t{1}}, {b, a, index_t{-1}}}) {
      set.source.push_back(static_cast<std::int32_t>(atoms + from));
      set.target.push_back(static_cast<std::int32_t>(atoms + to));
      set.reverse.push_back(first + (back > 0 ? 1 : 0));
    }
  };
  for (index_t m = 0; m < count; ++m) {
    for (index_t i = 1; i < atoms_of(m); ++i) {
      bind(i % 3 == 0 ? i - 2 : i - 1, i);
    }
    bind(0, 5);
    atoms += atoms_of(m);
    set.node_offset.push_back(atoms);
    set.edge_offset.push_back(std::ssize(set.source));
  }
  const auto fill = [](auto& to, index_t rows, index_t cols, index_t salt) {
    to.resize(rows, cols);
    for (index_t i = 0; i < to.size(); ++i) {
      to.data()[i] = static_cast<float>(number(i, salt));
    }
  };
  fill(set.node_features, atoms, atom_width, 1);
  fill(set.edge_features, std::ssize(set.source), bond_width, 2);
  set.features.resize(count, 0);
  return set;
}

/// The arithmetic of the encoder as written: x W once an atom, not once a bond.
double molecule_flops(index_t batch) {
  double atoms = 0;
  for (index_t m = 0; m < batch; ++m) {
    atoms += static_cast<double>(atoms_of(m));
  }
  const double edges = 2 * atoms;  // a tree has one bond less than atoms, the ring is one more
  const auto rows = static_cast<double>(batch);
  return 2 * training_flops(atoms, {atom_width, hidden}, true) +
         training_flops(edges, {bond_width, hidden}, true) +
         2 * training_flops(edges, {hidden, hidden}, false) +
         training_flops(atoms, {hidden, hidden}, false) +
         training_flops(rows, {hidden, 128}, false) +
         static_cast<double>(molecule_tasks) * training_flops(rows, {128, 64, 1}, false);
}

template <class Backend = vb::backend::cpu>
void message_passing(benchmark::State& state, index_t batch = molecules) {
  vb::data::dataset<vb::data::graph_set> data{made_up_molecules(rows_of(batch))};
  add_regressions(data, molecule_tasks);
  train<Backend>(state,
                 vb::multitask(vb::encoder::dmpnn{.hidden = hidden, .depth = 3},
                               regressions(molecule_tasks), vb::alignment::none{}, {.head = {64}}),
                 data, endless(batch), vb::weighting::equal{}, molecule_flops(batch));
}

// ---- images

constexpr index_t images = 128;
constexpr index_t side = 36;
constexpr index_t image_tasks = 2;
constexpr index_t classes = 10;

/// Filters of 5 x 5 and pools of 2 x 2: 36 -> 32 -> 16 -> 12 -> 6 pixels.
double image_flops() {
  const auto rows = static_cast<double>(images);
  return training_flops(rows * 32 * 32, {25, 16}, true) +
         training_flops(rows * 12 * 12, {25 * 16, 32}, false) +
         training_flops(rows, {6 * 6 * 32, 120, 84}, false) +
         static_cast<double>(image_tasks) * training_flops(rows, {84, 64, classes}, false);
}

template <class Backend = vb::backend::cpu>
void convolutions(benchmark::State& state) {
  const index_t rows = rows_of(images);
  std::vector<float> pixels;
  for (index_t i = 0; i < rows * side * side; ++i) {
    pixels.push_back(static_cast<float>(number(i, 1)));
  }
  vb::data::dataset<vb::data::image_set> data{
      vb::data::image_set({.channels = 1, .height = side, .width = side}, pixels)};
  vb::tasks<> tasks;
  for (index_t t = 0; t < image_tasks; ++t) {
    std::vector<double> labels;
    for (index_t r = 0; r < rows; ++r) {
      labels.push_back(static_cast<double>((r * 7 + t) % classes));
    }
    data.add(task_name(t), labels);
    tasks.add(vb::multiclass(task_name(t), classes));
  }
  train<Backend>(
      state,
      vb::multitask(vb::encoder::convolutional{.channels = {16, 32}, .hidden = {120, 84}}, tasks,
                    vb::alignment::none{}, {.head = {64}}),
      data, endless(images), vb::weighting::equal{}, image_flops());
}

}  // namespace

#ifdef VIERBEIN_BENCHMARK_CUDA
void add_cuda_graphs_and_images() {
  add("cuda/dmpnn", [](benchmark::State& s) { message_passing<cuda_backend>(s); });
  add("cuda-plain/dmpnn", [](benchmark::State& s) { message_passing<cuda_plain>(s); });
  add("cuda/dmpnn/B4096", [](benchmark::State& s) { message_passing<cuda_backend>(s, 4096); });
  add("cuda/convolutional", convolutions<cuda_backend>);
}
#endif

void add_graphs_and_images() {
  add("dmpnn", [](benchmark::State& s) { message_passing(s); });
  add("convolutional", convolutions<>);
  add("bf16/dmpnn", [](benchmark::State& s) { message_passing<bf16_backend>(s); });
  add("bf16/convolutional", convolutions<bf16_backend>);
}

}  // namespace steps
