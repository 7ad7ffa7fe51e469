#include "vierbein/io/model_file.hpp"

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "../support/message_of.hpp"
#include "temporary_folder.hpp"
#include "vierbein/vierbein.hpp"

namespace vb = vierbein;
namespace io = vierbein::io;
namespace alignment = vierbein::alignment;
namespace encoder = vierbein::encoder;
using vb::error;
using vb::index_t;

namespace {

// An encoder of the user's own, with every sort of option.
enum class fruit : std::int8_t { apple = -3, pear = 7 };
struct inner {
  std::vector<std::pair<std::string, std::string>> names;
  template <class Visitor>
  void options(Visitor&& visit) {
    visit("names", names);
  }
};
struct squares {
  using input_set = vb::data::feature_set;
  static constexpr const char* kind = "squares";

  double scale = 1;
  bool shifted = false;
  std::uint64_t seed = 0;
  std::string note;
  fruit taste = fruit::apple;
  std::vector<double> list;
  std::vector<bool> flags;
  inner more;

  struct module {
    vb::segment_id shift = -1;
    index_t inputs = 0;
    double scale = 1;

    [[nodiscard]] index_t width() const { return inputs; }
    template <vb::Backend B>
    vb::graph::var<B> operator()(vb::graph::tape<B>& t, const input_set::batch_type& batch) const {
      const auto x = t.upload(batch.values.view());
      const auto moved = x + vb::graph::broadcast_row(t.parameter(shift), x.rows());
      return scale * vb::graph::square(moved);
    }
  };
  template <vb::Scalar T>
  module build(vb::parameters<T>& theta, const std::string& name,
               const input_set::shape_type& shape) const {
    return {theta.add(name + "/shift", 1, shape.width, vb::initialiser::zeros), shape.width, scale};
  }
  template <class Visitor>
  void options(Visitor&& visit) {
    visit("scale", scale);
    visit("shifted", shifted);
    visit("seed", seed);
    visit("note", note);
    visit("taste", taste);
    visit("list", list);
    visit("flags", flags);
    visit("more", more);
  }
};

// A head of the user's own: the logarithm of a positive number.
struct logarithm {
  double base = 10;

  static constexpr const char* kind = "logarithm";
  static constexpr bool standardise = false;
  [[nodiscard]] index_t outputs() const { return 1; }
  [[nodiscard]] index_t label_width() const { return 1; }
  template <vb::Backend B>
  vb::graph::var<B> loss(vb::graph::var<B> prediction, vb::graph::var<B> label) const {
    return vb::graph::masked_loss(vb::backend::loss_kind::squared, prediction, label);
  }
  void transform(std::span<double> p) const { p[0] = std::pow(base, p[0]); }
  [[nodiscard]] bool valid(double label) const { return std::isfinite(label); }
  [[nodiscard]] const char* accepts() const { return "a finite number"; }
  template <class Visitor>
  void options(Visitor&& visit) {
    visit("base", base);
  }
};

struct twice {
  int depth = 1;
  template <class Visitor>
  void options(Visitor&& visit) {
    visit("depth", depth);
    visit("depth", depth);
  }
};

vb::data::feature_set features(index_t rows, index_t cols) {
  vb::data::feature_set set{vb::matrix<double>(rows, cols)};
  const vb::random_stream stream{3, 1};
  for (index_t i = 0; i < set.values.size(); ++i) {
    set.values.data()[i] = stream.normal(static_cast<std::uint64_t>(i));
  }
  return set;
}

// Two paths, of two and of three nodes.
vb::data::graph_set graphs() {
  vb::data::graph_set set;
  set.node_features = vb::matrix<float>(5, 3, 0.5F);
  set.edge_features = vb::matrix<float>(6, 2, -1.0F);
  set.features = vb::matrix<double>(2, 2, 0.25);
  for (index_t i = 0; i < 5; ++i) {
    set.node_features(i, i % 3) = static_cast<float>(i);
  }
  set.source = {0, 1, 2, 3, 3, 4};
  set.target = {1, 0, 3, 2, 4, 3};
  set.reverse = {1, 0, 3, 2, 5, 4};
  set.node_offset = {0, 2, 5};
  set.edge_offset = {0, 2, 6};
  return set;
}

vb::data::image_set images(const vb::image_shape& shape) {
  std::vector<float> pixels(static_cast<std::size_t>(5 * shape.size()));
  const vb::random_stream stream{3, 2};
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    pixels[i] = static_cast<float>(stream.normal(i));
  }
  return {shape, pixels};
}

// Builds the model for `inputs`; no two values of a parameter are the same.
template <class Model>
Model built(Model model, const typename Model::input_set& inputs) {
  model.build(inputs.shape(), 5);
  const vb::random_stream stream{9, 2};
  for (vb::segment_id id = 0; id < std::ssize(model.theta().segments()); ++id) {
    const auto values = model.theta().view(id);
    for (index_t i = 0; i < values.size(); ++i) {
      values.data[i] = static_cast<typename Model::scalar>(
          stream.normal(static_cast<std::uint64_t>(1000 * id + i)));
    }
  }
  return model;
}

template <class T>
bool same_bits(const T* a, const T* b, index_t count) {
  return std::memcmp(a, b, static_cast<std::size_t>(count) * sizeof(T)) == 0;
}

// Saves, loads, and compares the parameters and the file of the loaded model.
template <class Model>
Model through_file(const Model& model, const std::map<std::string, std::string>& extra = {}) {
  const test::temporary_folder folder;
  vb::save(model, folder / "m.st", extra);
  Model loaded = vb::load<Model>(folder / "m.st");
  const auto& theta = loaded.theta();
  REQUIRE(theta.size() == model.theta().size());
  REQUIRE(theta.segments().size() == model.theta().segments().size());
  for (vb::segment_id id = 0; id < std::ssize(theta.segments()); ++id) {
    CHECK(theta.at(id).name == model.theta().at(id).name);
    CHECK(theta.at(id).frozen == model.theta().at(id).frozen);
  }
  CHECK(same_bits(theta.values().data, model.theta().values().data, theta.size()));
  CHECK(loaded.shape() == model.shape());
  for (index_t t = 0; t < model.task_list().size(); ++t) {
    CHECK(loaded.module(t).trunk == model.module(t).trunk);
    CHECK(loaded.module(t).origin == model.module(t).origin);
  }
  vb::save(loaded, folder / "again.st", extra);
  CHECK(test::get(folder / "again.st") == test::get(folder / "m.st"));
  return loaded;
}

template <class B, class Model>
void check_predictions(const B& backend, const Model& a, const Model& b,
                       const typename Model::input_set& inputs) {
  const auto expected = a.predict(backend, inputs);
  const auto found = b.predict(backend, inputs);
  REQUIRE(found.size() == expected.size());
  for (std::size_t t = 0; t < found.size(); ++t) {
    REQUIRE(found[t].size() == expected[t].size());
    CHECK(std::isfinite(expected[t](0, 0)));
    CHECK(same_bits(found[t].data(), expected[t].data(), found[t].size()));
  }
}

const vb::module_options small{.encoder = {4},
                               .transfer = {3},
                               .inverse = {},
                               .head = {5},
                               .act = vb::activation::silu,
                               .latent_act = vb::activation::tanh,
                               .dropout = 0.125};

// The model that the refusals are about.
auto small_model() {
  return built(vb::multitask(encoder::mlp{.widths = {4}}, vb::tasks{vb::regression("a")},
                             alignment::coral{}, small),
               features(2, 3));
}
using small_type = decltype(small_model());

template <class Model = small_type>
std::string refusal(const std::filesystem::path& path) {
  const std::string said = test::message_of<error>([&] { (void)vb::load<Model>(path); });
  const auto folder = path.parent_path().string().size() + 1;
  return said.empty() ? said : said.substr(folder);
}

// What `load` says when `change` has been done to the content of a good file.
template <class Model = small_type, class F>
std::string refusal_after(const F& change) {
  const test::temporary_folder folder;
  static const io::tensor_file good = [&] {
    vb::save(small_model(), folder / "m.st");
    return io::read_safetensors(folder / "m.st");
  }();
  io::tensor_file content = good;
  change(content);
  io::write_safetensors(folder / "m.st", content);
  return refusal<Model>(folder / "m.st");
}

// The same when `from` in its architecture has become `to`.
template <class Model = small_type>
std::string refusal_with(const std::string& from, const std::string& to) {
  return refusal_after<Model>([&](io::tensor_file& content) {
    std::string& text = content.metadata.at("vierbein.architecture");
    const auto position = text.find(from);
    REQUIRE(position != std::string::npos);
    text.replace(position, from.size(), to);
  });
}

}  // namespace

TEST_CASE("the metadata of a model file") {
  const test::temporary_folder folder;
  auto model = vb::multitask<double>(
      encoder::mlp{.widths = {4, 2}, .act = vb::activation::gelu, .dropout = 0.1},
      vb::tasks{vb::regression("log P", {.deviation = vb::head::deviation::huber}),
                vb::multiclass("colour", 3)},
      alignment::consistency{.pairs = {.list = {{"log P", "colour"}}},
                             .scaling = alignment::pair_scaling::sum},
      small);
  model.build({3}, 1);
  model.append("µ", vb::head::binary{}, vb::task_origin::added_with_trunk, 2);
  vb::save(model, folder / "m.st", {{"unit of log P", "1"}, {"format", "vb"}});
  const io::tensor_file content = io::read_safetensors(folder / "m.st");
  CHECK(content.metadata.size() == 4);
  CHECK(content.metadata.at("unit of log P") == "1");
  CHECK(content.metadata.at("vierbein.format") == "1");
  CHECK(content.metadata.at("vierbein.architecture") ==
        R"({"encoder":{"kind":"mlp","widths":[4,2],"activation":"gelu","dropout":0.1,)"
        R"("input_dropout":0.0},)"
        R"("alignment":{"kind":"consistency","coefficient":1.0,)"
        R"("pairs":{"target":"","list":[["log P","colour"]]},"scaling":"sum"},)"
        R"("scalar":"F64","input":{"width":3},)"
        R"("modules":{"encoder":[4],"transfer":[3],"inverse":[],"head":[5],"activation":"silu",)"
        R"("latent_activation":"tanh","dropout":0.125},)"
        R"("tasks":[{"name":"log P","head":{"kind":"regression","deviation":"huber",)"
        R"("huber_delta":1.0},"origin":"source"},)"
        R"({"name":"colour","head":{"kind":"multiclass","classes":3},"origin":"source"},)"
        R"({"name":"µ","head":{"kind":"binary"},"origin":"added with trunk"}]})");
  CHECK(content.tensors.size() == model.theta().segments().size());
  const auto* weight = content.find("task/µ/trunk/layer0/weight");
  REQUIRE(weight != nullptr);
  CHECK(weight->type == io::tensor_type::f64);
  CHECK(weight->shape == std::vector<index_t>{3, 4});

  const vb::model_metadata about = vb::read_metadata(folder / "m.st");
  CHECK(about.encoder == "mlp");
  CHECK(about.alignment == "consistency");
  CHECK(about.scalar == "F64");
  CHECK(about.tasks == std::vector<vb::model_metadata::task>{
                           {"log P", "regression"}, {"colour", "multiclass"}, {"µ", "binary"}});
  CHECK(about.extra ==
        std::map<std::string, std::string>{{"unit of log P", "1"}, {"format", "vb"}});
}

// For the Python check, as in safetensors_test.cpp: beside the sample, a model file.
TEST_CASE("safetensors sample for other readers: a model file") {
  if (const char* path = std::getenv("VIERBEIN_SAFETENSORS_SAMPLE")) {
    vb::save(small_model(), std::filesystem::path(path).replace_extension("model.safetensors"),
             {{"unit", "°C"}});
  }
}

TEST_CASE("a loaded model predicts the same: every encoder, mixed heads") {
  const vb::backend::reference backend;
  const vb::tasks tasks{vb::regression("a"), vb::binary("b"), vb::multiclass("c", 3),
                        vb::multilabel("d", 2)};
  SUBCASE("features, no alignment") {
    const auto inputs = features(7, 3);
    const auto model = built(vb::multitask(encoder::features{}, tasks), inputs);
    check_predictions(backend, model, through_file(model, {{"unit", "K"}}), inputs);
  }
  SUBCASE("mlp, GATE") {
    const auto inputs = features(7, 3);
    const auto model =
        built(vb::multitask(encoder::mlp{.widths = {5, 4}, .input_dropout = 0.5}, tasks,
                            alignment::gate{.consistency = {.pairs = {.target = "b"}},
                                            .mapping = {.sources = 2},
                                            .distance = {.perturbations = 3, .scale = 1.0 / 3}},
                            small),
              inputs);
    const auto loaded = through_file(model);
    check_predictions(backend, model, loaded, inputs);
    CHECK(loaded.encoder.widths == std::vector<index_t>{5, 4});
    CHECK(loaded.encoder.input_dropout == 0.5);
    CHECK(loaded.alignment.consistency.pairs.target == "b");
    CHECK(loaded.alignment.mapping.sources == 2);
    CHECK(loaded.alignment.distance.perturbations == 3);
    CHECK(loaded.alignment.distance.scale == 1.0 / 3);
    CHECK(loaded.modules.act == vb::activation::silu);
    CHECK(std::get<vb::head::multilabel>(loaded.task_list()[3].head).labels == 2);
  }
  SUBCASE("dmpnn, several alignment losses") {
    const auto inputs = graphs();
    const auto model =
        built(vb::multitask(encoder::dmpnn{.hidden = 6,
                                           .depth = 2,
                                           .readout = encoder::readout::sum,
                                           .sum_scale = 3,
                                           .widths = {}},
                            tasks,
                            alignment::sum{alignment::coral{.coefficient = 0.3},
                                           alignment::mmd{.bandwidths = {0.1, 0.2}},
                                           alignment::soft_sharing{.coefficient = 0.7}},
                            small),
              inputs);
    const auto loaded = through_file(model);
    check_predictions(backend, model, loaded, inputs);
    CHECK(loaded.encoder.hidden == 6);
    CHECK(loaded.encoder.readout == encoder::readout::sum);
    CHECK(loaded.encoder.widths.empty());
    CHECK(std::get<0>(loaded.alignment.parts).coefficient == 0.3);
    CHECK(std::get<1>(loaded.alignment.parts).bandwidths == std::vector<double>{0.1, 0.2});
    CHECK(std::get<2>(loaded.alignment.parts).coefficient == 0.7);
  }
  SUBCASE("convolutional") {
    const auto inputs = images({2, 9, 8});
    const auto model = built(vb::multitask(encoder::convolutional{.channels = {3, 4},
                                                                  .kernel = 3,
                                                                  .padding = 1,
                                                                  .pool = 2,
                                                                  .hidden = {7},
                                                                  .act = vb::activation::tanh,
                                                                  .dropout = 0.25},
                                           tasks),
                             inputs);
    const auto loaded = through_file(model);
    check_predictions(backend, model, loaded, inputs);
    CHECK(loaded.shape() == vb::image_shape{2, 9, 8});
    CHECK(loaded.encoder.channels == std::vector<index_t>{3, 4});
    CHECK(loaded.encoder.kernel == 3);
    CHECK(loaded.encoder.padding == 1);
    CHECK(loaded.encoder.hidden == std::vector<index_t>{7});
    CHECK(loaded.encoder.act == vb::activation::tanh);
    CHECK(loaded.encoder.dropout == 0.25);
    const std::string said =
        test::message_of<error>([&] { (void)loaded.predict(backend, images({2, 8, 9})); });
    CHECK(said ==
          "inputs: the model was trained on 2 channels of 9 x 8 pixels, the inputs have 2 "
          "channels of 8 x 9 pixels");
  }
  SUBCASE("residual") {
    const auto inputs = images({1, 6, 6});
    const auto model = built(vb::multitask(encoder::residual{.channels = {3, 4},
                                                             .blocks = 2,
                                                             .normalise = false,
                                                             .hidden = {5},
                                                             .act = vb::activation::silu,
                                                             .dropout = 0.25},
                                           tasks),
                             inputs);
    const auto loaded = through_file(model);
    check_predictions(backend, model, loaded, inputs);
    CHECK(loaded.encoder.channels == std::vector<index_t>{3, 4});
    CHECK(loaded.encoder.blocks == 2);
    CHECK(!loaded.encoder.normalise);
    CHECK(loaded.encoder.act == vb::activation::silu);
  }
}

TEST_CASE("a damaged option of an image encoder asks for no memory") {
  const test::temporary_folder folder;
  using model_type =
      decltype(vb::multitask(encoder::convolutional{}, vb::tasks{vb::regression("a")}));
  vb::save(built(vb::multitask(encoder::convolutional{.channels = {2}, .hidden = {}},
                               vb::tasks{vb::regression("a")}),
                 images({1, 8, 8})),
           folder / "m.st");
  const io::tensor_file good = io::read_safetensors(folder / "m.st");
  const auto refusal_of = [&](const std::string& from, const std::string& to) {
    io::tensor_file content = good;
    std::string& text = content.metadata.at("vierbein.architecture");
    const auto position = text.find(from);
    REQUIRE(position != std::string::npos);
    text.replace(position, from.size(), to);
    io::write_safetensors(folder / "m.st", content);
    return refusal<model_type>(folder / "m.st");
  };
  CHECK(refusal_of(R"("channels":[2])", R"("channels":[2000000000000000000])") ==
        "m.st: trunk/convolution0: expected images of at least one pixel and one channel, found "
        "2000000000000000000 channels of 4 x 4 pixels");
  CHECK(refusal_of(R"("kernel":5)", R"("kernel":9000000000000000000)") ==
        "m.st: encoder::convolutional: expected a window and a stride of 1 to 4096 pixels, found "
        "9000000000000000000 x 9000000000000000000 and 1");
  CHECK(
      refusal_of(R"("width":8)", R"("width":4000000000000000000)") ==
      "m.st: encoder::convolutional: expected images of at least one pixel and one channel, found "
      "1 channel of 8 x 4000000000000000000 pixels");
}

TEST_CASE_TEMPLATE("every alignment loss is stored", A, alignment::none, alignment::autoencoding,
                   alignment::consistency, alignment::mapping, alignment::distance, alignment::gate,
                   alignment::coral, alignment::mmd, alignment::soft_sharing) {
  A policy;
  if constexpr (requires { policy.coefficient; }) {
    policy.coefficient = 0.1;
  }
  if constexpr (requires { policy.scaling; }) {
    policy.scaling = alignment::pair_scaling::sum;
  }
  const io::json stored = io::option_to_json({"m.st", "alignment"}, policy);
  CHECK(stored.at("kind") == A::kind);
  A loaded;
  io::option_from_json({"m.st", "alignment"}, io::json::parse(stored.dump()), loaded);
  CHECK(io::option_to_json({"m.st", "alignment"}, loaded) == stored);
  if constexpr (requires { policy.coefficient; }) {
    CHECK(loaded.coefficient == 0.1);
  }
  if constexpr (requires { policy.scaling; }) {
    CHECK(loaded.scaling == alignment::pair_scaling::sum);
  }
}

TEST_CASE("a model with added tasks, of double parameters") {
  const vb::backend::reference_double backend;
  vb::data::dataset data{features(40, 3)};
  for (const char* name : {"a", "b", "tuned", "frozen", "again"}) {
    std::vector<double> y;
    for (index_t r = 0; r < data.size(); ++r) {
      y.push_back(data.inputs.values(r, 0) - name[0] * data.inputs.values(r, 1));
    }
    data.add(name, y);
  }
  auto model = vb::multitask<double>(encoder::mlp{.widths = {4}},
                                     vb::tasks{vb::regression("a"), vb::regression("b")},
                                     alignment::gate{}, small);
  const vb::training brief{.epochs = 2, .batch = 16, .handle_interrupts = false};
  vb::fit(backend, model, data, brief, vb::optimizer::adam{}, vb::weighting::equal{});
  const auto add = [&](const char* name, vb::trunk_policy trunk) {
    model = vb::add_task(backend, model, vb::regression(name), data,
                         vb::addition{.trunk = trunk, .train = brief}, vb::optimizer::adam{});
  };
  add("tuned", vb::trunk_policy::tuned_copy);
  add("frozen", vb::trunk_policy::frozen);
  REQUIRE(model.module(2).trunk == 1);
  REQUIRE(model.module(3).trunk == 0);
  REQUIRE(model.module(3).origin == vb::task_origin::added);

  auto loaded = through_file(model);
  check_predictions(backend, model, loaded, data.inputs);
  CHECK(loaded.label_mean(1) == model.label_mean(1));
  CHECK(loaded.label_deviation(2) == model.label_deviation(2));

  // A loaded model can be trained further and take more tasks, as large as they like.
  for (auto* m : {&model, &loaded}) {
    *m = vb::add_task(backend, *m, vb::regression("again"), data.select(std::vector<index_t>{1, 5}),
                      vb::addition{}, vb::optimizer::adam{});
  }
  CHECK(same_bits(loaded.theta().values().data, model.theta().values().data, model.theta().size()));
  loaded.append("wide", vb::head::multiclass{.classes = 1 << 19}, vb::task_origin::added, 1);
}

TEST_CASE("an encoder and a head of the user's own") {
  const vb::backend::reference backend;
  const auto inputs = features(3, 2);
  squares own{.scale = std::numeric_limits<double>::denorm_min(),
              .shifted = true,
              .seed = std::numeric_limits<std::uint64_t>::max(),
              .note = "\"\\\n\t µ",
              .taste = fruit::pear,
              .list = {0.1, -0.0, std::numeric_limits<double>::infinity(),
                       -std::numeric_limits<double>::infinity(),
                       std::numeric_limits<double>::quiet_NaN(), 1e300},
              .flags = {true, false},
              .more = {{{"a", "b"}, {"", "c"}}}};
  const auto model =
      built(vb::multitask(own, vb::tasks{vb::task<logarithm>{"p", {.base = 2}}, vb::binary("q")}),
            inputs);
  const auto loaded = through_file(model);
  check_predictions(backend, model, loaded, inputs);
  CHECK(loaded.encoder.scale == own.scale);
  CHECK(loaded.encoder.shifted);
  CHECK(loaded.encoder.seed == own.seed);
  CHECK(loaded.encoder.note == own.note);
  CHECK(loaded.encoder.taste == fruit::pear);
  REQUIRE(loaded.encoder.list.size() == own.list.size());
  CHECK(std::isnan(loaded.encoder.list[4]));
  for (const std::size_t i : {0U, 1U, 2U, 3U, 5U}) {
    CHECK(same_bits(&loaded.encoder.list[i], &own.list[i], 1));
  }
  CHECK(loaded.encoder.flags == own.flags);
  CHECK(loaded.encoder.more.names == own.more.names);
  CHECK(std::get<logarithm>(loaded.task_list()[0].head).base == 2);

  // A program without this head cannot read the file.
  using other = vb::multitask_model<squares, alignment::none, vb::tasks<>, float>;
  const test::temporary_folder folder;
  vb::save(model, folder / "m.st");
  CHECK(refusal<other>(folder / "m.st") ==
        "m.st: option \"tasks[0].head\" is of the kind \"logarithm\", which the program does not "
        "know");
}

TEST_CASE("an option that is named twice is refused") {
  CHECK(test::message_of<error>([] { (void)io::option_to_json({"m.st", "encoder"}, twice{}); }) ==
        "m.st: option \"encoder.depth\" is named twice");
}

TEST_CASE("save refuses in one sentence and keeps the old file") {
  const test::temporary_folder folder;
  const auto path = folder / "m.st";
  const std::string place = path.string() + ": ";
  const auto model = small_model();
  vb::save(model, path);
  const std::string old = test::get(path);

  CHECK(test::message_of<error>([&] {
          vb::save(vb::multitask(encoder::mlp{}, vb::tasks{vb::regression("a")}), path);
        }) == place + "cannot be written: the model has not been trained");
  CHECK(test::message_of<error>([&] { vb::save(model, path, {{"vierbein.mine", ""}}); }) ==
        place +
            "the metadata 'vierbein.mine' cannot be given, names that begin with 'vierbein.' are "
            "ours");
  CHECK(test::message_of<error>([&] { vb::save(model, path, {{"unit", "\xff"}}); }) ==
        place + "a name or a piece of metadata is not valid UTF-8");
  auto odd = model;
  odd.encoder.act = static_cast<vb::activation>(17);
  CHECK(test::message_of<error>([&] { vb::save(odd, path); }) ==
        place + "option \"encoder.activation\" has the value 17, which has no name");
  const auto named =
      built(vb::multitask(encoder::features{}, vb::tasks{vb::regression("\xff")}), features(1, 1));
  CHECK(test::message_of<error>([&] { vb::save(named, path); }) ==
        place + "cannot be written: the name of a task or an option is not valid UTF-8");

  // Files of these could not be read back.
  for (const auto& change : std::vector<std::function<void(decltype(odd)&)>>{
           [](auto& m) { m.encoder.widths = {3}; }, [](auto& m) { m.encoder.widths = {5}; },
           [](auto& m) { m.encoder.widths = {4, 4}; }, [](auto& m) { m.encoder.widths.clear(); },
           [](auto& m) { m.modules.head = {}; }, [](auto& m) { m.modules.head = {1 << 30}; }}) {
    odd = model;
    change(odd);
    CHECK(test::message_of<error>([&] { vb::save(odd, path); }) ==
          place + "cannot be written: the options of the model were changed after it was built");
  }
  odd = model;
  odd.encoder.dropout = 0.5;  // of no parameters
  vb::save(odd, folder / "other.st");
  CHECK(vb::load<decltype(odd)>(folder / "other.st").encoder.dropout == 0.5);
  std::filesystem::remove(folder / "other.st");

  CHECK(test::message_of<error>([&] { vb::save(model, ""); }) ==
        "path: expected the name of a file, found an empty one");

  // A full disk.
  auto* const handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const rlimit tight{1000, before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &tight) == 0);
  const std::string said = test::message_of<error>([&] { vb::save(model, path); });
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
  std::signal(SIGXFSZ, handler);
  CHECK(said == place + "cannot be written: File too large");

  CHECK(test::get(path) == old);
  CHECK(folder.count() == 1);
}

TEST_CASE("load refuses a file that is no model file") {
  const test::temporary_folder folder;
  const auto path = folder / "m.st";
  CHECK(refusal(path) == "m.st: cannot be read: No such file or directory");
  CHECK(test::message_of<error>([&] { (void)vb::read_metadata(""); }) ==
        "path: expected the name of a file, found an empty one");
  test::put(path, "SMILES,label\n");
  CHECK(!refusal(path).empty());
  io::write_safetensors(path, {{{"format", "pt"}}, {}});
  CHECK(refusal(path) ==
        "m.st: expected a model file, found a safetensors file without 'vierbein.format'");
  CHECK(test::message_of<error>([&] { (void)vb::read_metadata(path); }) ==
        path.string() +
            ": expected a model file, found a safetensors file without 'vierbein.format'");
  CHECK(refusal_after([](auto& content) { content.metadata.erase("vierbein.architecture"); }) ==
        "m.st: expected a model file, found a safetensors file without 'vierbein.architecture'");
  CHECK(refusal_after([](auto& content) { content.metadata["vierbein.format"] = "2"; }) ==
        "m.st: has the model format \"2\", this program reads the format '1'");
  CHECK(refusal_after([](auto& content) { content.metadata["vierbein.architecture"] = "{"; }) ==
        "m.st: 'vierbein.architecture' is not valid JSON");
  CHECK(refusal_after([](auto& content) { content.metadata["vierbein.architecture"] = "[1]"; }) ==
        "m.st: option \"\" is [1], expected named options");
  CHECK(refusal_after([](auto&) {}).empty());

  vb::save(small_model(), path);
  auto content = io::read_safetensors(path);
  content.metadata["vierbein.architecture"] = R"({"encoder":{"kind":1}})";
  io::write_safetensors(path, content);
  CHECK(test::message_of<error>([&] { (void)vb::read_metadata(path); }) ==
        path.string() + ": 'vierbein.architecture' has no text '/encoder/kind'");
}

TEST_CASE("load refuses a file of another model type") {
  using vb::multitask_model;
  using vb::tasks;
  using graph_model = multitask_model<encoder::dmpnn, alignment::coral, tasks<>, float>;
  using gate_model = multitask_model<encoder::mlp, alignment::gate, tasks<>, float>;
  using double_model = multitask_model<encoder::mlp, alignment::coral, tasks<>, double>;
  using binary_model =
      multitask_model<encoder::mlp, alignment::coral, tasks<vb::head_set<vb::head::binary>>, float>;
  const auto nothing = [](const io::tensor_file&) {};
  CHECK(refusal_after<graph_model>(nothing) ==
        "m.st: option \"encoder\" is of the kind \"mlp\", the program expects \"dmpnn\"");
  CHECK(refusal_after<gate_model>(nothing) ==
        "m.st: option \"alignment\" is of the kind \"coral\", the program expects \"gate\"");
  CHECK(refusal_after<double_model>(nothing) ==
        "m.st: the parameters are \"F32\", the program expects F64");
  CHECK(refusal_after<binary_model>(nothing) ==
        "m.st: option \"tasks[0].head\" is of the kind \"regression\", which the program does not "
        "know");
}

TEST_CASE("load is strict about options") {
  CHECK(refusal_with(R"("dropout":0.0,)", "") == "m.st: option \"encoder.dropout\" is missing");
  CHECK(refusal_with(R"("dropout":0.0,)", R"("dropout":0.0,"droput":1,)") ==
        "m.st: option \"encoder.droput\" is not known");
  CHECK(refusal_with(R"("dropout":0.0,)", R"("dropout":true,)") ==
        "m.st: option \"encoder.dropout\" is true, expected a number");
  CHECK(refusal_with(R"("dropout":0.0,)", R"("dropout":0,)").empty());
  CHECK(refusal_with(R"("widths":[4])", R"("widths":4)") ==
        "m.st: option \"encoder.widths\" is 4, expected a list");
  for (const char* width : {"4.0", "\"4\"", "null", "18446744073709551615", "1e3"}) {
    CAPTURE(width);
    CHECK(refusal_with(R"("widths":[4])", fmt::format(R"("widths":[{}])", width))
              .ends_with("expected a whole number"));
  }
  CHECK(refusal_with(R"("activation":"relu")", R"("activation":"rule")") ==
        "m.st: option \"encoder.activation\" is \"rule\", expected one of identity, relu, gelu, "
        "silu, tanh");
  CHECK(refusal_with(R"("activation":"relu")", R"("activation":1)") ==
        "m.st: option \"encoder.activation\" is 1, expected one of identity, relu, gelu, silu, "
        "tanh");
  CHECK(
      refusal_with(R"("origin":"source")", R"("origin":"adopted")") ==
      "m.st: option \"tasks[0].origin\" is \"adopted\", expected one of source, added, added with "
      "trunk");
  CHECK(refusal_with(R"("name":"a")", R"("name":["a"])") ==
        "m.st: option \"tasks[0].name\" is [\"a\"], expected a text");
  CHECK(refusal_with(R"("kind":"regression",)", "") ==
        "m.st: option \"tasks[0].head\" is {\"deviation\":\"squared\",\"huber_delta\":1.0}, "
        "expected options with a 'kind'");
  CHECK(refusal_with(R"("kind":"mlp",)", "") == "m.st: option \"encoder.kind\" is missing");
}

TEST_CASE("load survives deeply nested options") {
  const auto nested = [](const std::string& open, const std::string& close, std::size_t depth) {
    std::string text;
    for (std::size_t i = 0; i < depth; ++i) {
      text += open;
    }
    text += '1';
    for (std::size_t i = 0; i < depth; ++i) {
      text += close;
    }
    return text;
  };
  for (const auto& [open, close] : {std::pair("[", "]"), std::pair(R"({"a":)", "}")}) {
    const std::string deep = nested(open, close, 200'000);
    for (const auto& [option, value] :
         {std::pair(R"("widths":)", "[4]"), std::pair(R"("kind":)", R"("mlp")"),
          std::pair(R"("tasks":)", "[")}) {
      CHECK(refusal_with(fmt::format("{}{}", option, value), fmt::format("{}{}", option, deep)) ==
            "m.st: 'vierbein.architecture' is nested deeper than 100 levels");
    }
    CHECK(refusal_with(R"("widths":[4])", fmt::format(R"("widths":{})", nested(open, close, 90)))
              .starts_with("m.st: option \"encoder.widths"));
  }
}

TEST_CASE("load refuses options that no model can have, and asks for no memory for them") {
  CHECK(refusal_with(R"("widths":[4])", R"("widths":[])") ==
        "m.st: encoder::mlp: expected at least one layer width");
  CHECK(refusal_with(R"("widths":[4])", R"("widths":[-4])") ==
        "m.st: trunk: the width of layer 0 must be at least 1, but is -4");
  for (const char* width : {"4000000", "4000000000", "9223372036854775807"}) {
    CAPTURE(width);
    CHECK(!refusal_with(R"("widths":[4])", fmt::format(R"("widths":[{}])", width)).empty());
    CHECK(!refusal_with(R"("width":3)", fmt::format(R"("width":{})", width)).empty());
  }
  CHECK(refusal_with(R"("name":"a")", R"("name":"a/b")") ==
        "m.st: tasks: the name 'a/b' contains a '/'");
  CHECK(refusal_with(R"("tasks":[{"name":"a","head":{"kind":"regression","deviation":"squared",)"
                     R"("huber_delta":1.0},"origin":"source"}])",
                     R"("tasks":[])") == "m.st: model: there is no task");
}

TEST_CASE("load wants exactly the tensors of the model") {
  CHECK(refusal_after([](auto& content) {
          std::erase_if(content.tensors,
                        [](const auto& t) { return t.name == "task/a/output/bias"; });
        }) == "m.st: tensor \"task/a/output/bias\" is missing");
  CHECK(refusal_after([](auto& content) {
          const std::vector<float> one{1};
          content.tensors.push_back(io::make_tensor<float>("more", {1, 1}, one));
        }) == "m.st: tensor \"more\" is not part of the model");
  CHECK(refusal_after([](auto& content) {
          for (auto& t : content.tensors) {
            if (t.name == "trunk/layer0/weight") {
              t.shape = {4, 3};
            }
          }
        }) ==
        "m.st: tensor \"trunk/layer0/weight\" is F32 of shape [4, 3], expected F32 of shape "
        "[3, 4]");
  CHECK(refusal_after([](auto& content) {
          for (auto& t : content.tensors) {
            if (t.name == "task/a/scaling") {
              t = io::make_tensor<double>(t.name, t.shape, std::vector<double>{0, 1});
            }
          }
        }) ==
        "m.st: tensor \"task/a/scaling\" is F64 of shape [1, 2], expected F32 of shape "
        "[1, 2]");
  CHECK(!refusal_with(R"("head":[5])", R"("head":[6])").empty());
  CHECK(refusal_with(R"("origin":"source")", R"("origin":"added with trunk")") ==
        "m.st: tensor \"task/a/trunk/scaling/mean\" is missing");
}

TEST_CASE("a truncated or damaged model file is refused or read, never a crash") {
  const test::temporary_folder folder;
  const auto path = folder / "m.st";
  vb::save(small_model(), path);
  const std::string good = test::get(path);
  std::size_t header = 8;
  for (std::size_t i = 0; i < 4; ++i) {
    header += static_cast<std::size_t>(static_cast<unsigned char>(good[i])) << (8 * i);
  }
  REQUIRE(header < good.size());

  std::mt19937 random(11);
  for (int i = 0; i < 100; ++i) {
    const std::size_t length = random() % good.size();
    CAPTURE(length);
    test::put(path, good.substr(0, length));
    CHECK(!refusal(path).empty());
  }
  const auto first = good.find("vierbein.architecture");
  const auto last = good.find("origin");
  REQUIRE(last < header);
  const std::string likely = "0123456789,.-[]{}\":aet";
  int refused = 0;
  for (int i = 0; i < 2000; ++i) {
    std::string damaged = good;
    const std::size_t place = first + random() % (last - first);
    damaged[place] = likely[random() % likely.size()];
    test::put(path, damaged);
    refused += refusal(path).empty() ? 0 : 1;  // any other exception fails the test
    try {
      (void)vb::read_metadata(path);
    } catch (const error&) {
    }
  }
  CHECK(refused > 1500);
}
