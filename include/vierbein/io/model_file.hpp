// Model files: a whole model in one safetensors file, to be read back by a program of the same
// model type, and by anything else that reads safetensors.
//
// Tensors: one for every segment of the parameters (model/multitask.hpp), of its name and its shape
// [rows, columns], F32 or F64. The scaling of inputs and labels is among them.
// Metadata:
//     vierbein.format         "1"
//     vierbein.architecture   what the model is made of, as JSON (io/options_json.hpp):
//                             {"encoder": {"kind": "mlp", ...}, "alignment": {"kind": "gate", ...},
//                              "scalar": "F32", "input": {"width": 200}, "modules": {...},
//                              "tasks": [{"name": "log P", "head": {"kind": "regression", ...},
//                                         "origin": "source"}, ...]}
//                             (an origin: "source", "added" or "added with trunk")
//     any other               the user's own texts
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/core/options.hpp"
#include "vierbein/io/options_json.hpp"
#include "vierbein/io/safetensors.hpp"
#include "vierbein/model/multitask.hpp"

namespace vierbein {

/// What a model file says about itself to a program that does not know the model's type.
struct model_metadata {
  struct task {
    std::string name;
    std::string head;  ///< its kind
    bool operator==(const task&) const = default;
  };

  std::string encoder;    ///< its kind, such as "dmpnn"
  std::string alignment;  ///< its kind, such as "gate"
  std::string scalar;     ///< "F32" (float) or "F64" (double)
  std::vector<task> tasks;
  std::map<std::string, std::string> extra;  ///< the texts that were given to `save`
};

namespace io::detail {

inline constexpr std::string_view reserved_prefix = "vierbein.";
inline constexpr const char* format_key = "vierbein.format";
inline constexpr const char* architecture_key = "vierbein.architecture";
inline constexpr const char* model_format = "1";

template <class Head>
struct stored_task {
  std::string name;
  Head head;
  task_origin origin = task_origin::source;

  template <class Visitor>
  void options(Visitor&& visit) {
    visit("name", name);
    visit("head", head);
    visit("origin", origin);
  }
};

/// A model without its parameters. What says which program the file belongs to comes first, so that
/// a file of another model is refused for that reason.
template <class Model>
struct architecture {
  typename Model::encoder_type encoder{};
  typename Model::alignment_type alignment{};
  std::string scalar;
  typename Model::input_shape input{};
  module_options modules{};
  std::vector<stored_task<typename Model::tasks_type::head_type>> tasks;

  template <class Visitor>
  void options(Visitor&& visit) {
    visit("encoder", encoder);
    visit("alignment", alignment);
    visit("scalar", scalar);
    visit("input", input);
    visit("modules", modules);
    visit("tasks", tasks);
  }
};

template <class Head>
inline constexpr bool storable_heads = false;
template <class... Heads>
inline constexpr bool storable_heads<std::variant<Heads...>> =
    (require_storable<Heads>(), ..., true);

template <class Model>
consteval void require_storable_model() {
  require_storable<typename Model::encoder_type>();
  require_storable<typename Model::alignment_type>();
  static_assert(storable_heads<typename Model::tasks_type::head_type>);
  static_assert(HasOptions<typename Model::input_shape>,
                "the shape_type of an input set must have the member "
                "`template <class Visitor> void options(Visitor&&)` to be stored in a model file: "
                "see core/options.hpp");
}

/// The architecture in a file, once it is known to be a model file.
inline json stored_architecture(const std::string& file, const tensor_file& content) {
  const auto format = content.metadata.find(format_key);
  const auto text = content.metadata.find(architecture_key);
  if (format == content.metadata.end() || text == content.metadata.end()) {
    throw error(file,
                fmt::format("expected a model file, found a safetensors file without '{}'",
                            format == content.metadata.end() ? format_key : architecture_key));
  }
  if (format->second != model_format) {
    throw error(file, fmt::format("has the model format {}, this program reads the format '{}'",
                                  quoted(format->second), model_format));
  }
  // Deeper texts are not kept: copying JSON, which its parser does, and showing it are recursive.
  constexpr int deepest = 100;
  const auto check_depth = [&](int depth, json::parse_event_t, const json&) {
    if (depth > deepest) {
      throw error(file,
                  fmt::format("'{}' is nested deeper than {} levels", architecture_key, deepest));
    }
    return true;
  };
  json stored = json::parse(text->second, check_depth, false);
  if (stored.is_discarded()) {
    throw error(file, fmt::format("'{}' is not valid JSON", architecture_key));
  }
  return stored;
}

/// Sets every segment of `theta` to the tensor of its name.
template <Scalar T>
void copy_tensors(const std::string& file, const tensor_file& content, parameters<T>& theta) {
  for (segment_id id = 0; id < std::ssize(theta.segments()); ++id) {
    const segment& s = theta.at(id);
    const tensor_record* tensor = content.find(s.name);
    if (tensor == nullptr) {
      throw error(file, fmt::format("tensor {} is missing", quoted(s.name)));
    }
    if (tensor->type != type_of<T> || tensor->shape != std::vector<index_t>{s.rows, s.cols}) {
      throw error(file,
                  fmt::format("tensor {} is {} of shape [{}], expected {} of shape [{}, {}]",
                              quoted(s.name), name_of(tensor->type), fmt::join(tensor->shape, ", "),
                              name_of(type_of<T>), s.rows, s.cols));
    }
    const std::vector<T> values = tensor->template values<T>();
    std::copy(values.begin(), values.end(), theta.view(id).data);
  }
  for (const tensor_record& tensor : content.tensors) {
    if (theta.find(tensor.name) < 0) {
      throw error(file, fmt::format("tensor {} is not part of the model", quoted(tensor.name)));
    }
  }
}

/// Whether a model of the same options would have the same parameters, as `load` will expect.
template <class Model>
bool stands_for_its_parameters(const Model& model) {
  std::vector<task_origin> origins;
  for (index_t t = 0; t < model.task_list().size(); ++t) {
    origins.push_back(model.module(t).origin);
  }
  Model again(model.encoder, model.task_list(), model.alignment, model.modules);
  try {
    again.rebuild(model.shape(), origins, model.theta().size());
  } catch (const error&) {
    return false;
  }
  return std::ranges::equal(again.theta().segments(), model.theta().segments(),
                            [](const segment& a, const segment& b) {
                              return a.name == b.name && a.rows == b.rows && a.cols == b.cols;
                            });
}

}  // namespace io::detail

/// Writes `model` and the texts `extra`, such as the units of the labels, to the file `path`, whole
/// or not at all: see io::write_atomically. Which parameters are frozen is not stored.
///
/// Throws when the model has no parameters yet, its options were changed after it was built so that
/// they stand for other parameters than it has, a key of `extra` begins with "vierbein.", a text is
/// not UTF-8, or the file cannot be written.
template <class E, class A, class Tasks, Scalar T>
void save(const multitask_model<E, A, Tasks, T>& model, const std::filesystem::path& path,
          const std::map<std::string, std::string>& extra = {}) {
  using model_type = multitask_model<E, A, Tasks, T>;
  io::detail::require_storable_model<model_type>();
  const std::string file = io::detail::file_name(path);
  if (!model.built()) {
    throw error(file, "cannot be written: the model has not been trained");
  }
  io::tensor_file content;
  for (const auto& [key, text] : extra) {
    if (key.starts_with(io::detail::reserved_prefix)) {
      throw error(file, fmt::format("the metadata '{}' cannot be given, names that begin with '{}' "
                                    "are ours",
                                    key, io::detail::reserved_prefix));
    }
    content.metadata.emplace(key, text);
  }
  io::detail::architecture<model_type> parts{.encoder = model.encoder,
                                             .alignment = model.alignment,
                                             .scalar = std::string(io::name_of(io::type_of<T>)),
                                             .input = model.shape(),
                                             .modules = model.modules,
                                             .tasks = {}};
  for (index_t t = 0; t < model.task_list().size(); ++t) {
    const auto& entry = model.task_list()[t];
    parts.tasks.push_back({entry.name, entry.head, model.module(t).origin});
  }
  content.metadata[io::detail::format_key] = io::detail::model_format;
  try {
    content.metadata[io::detail::architecture_key] = io::option_to_json({file}, parts).dump();
  } catch (const io::json::exception&) {
    throw error(file, "cannot be written: the name of a task or an option is not valid UTF-8");
  }
  if (!io::detail::stands_for_its_parameters(model)) {
    throw error(file,
                "cannot be written: the options of the model were changed after it was built");
  }
  const parameters<T>& theta = model.theta();
  for (segment_id id = 0; id < std::ssize(theta.segments()); ++id) {
    const segment& s = theta.at(id);
    content.tensors.push_back(
        io::make_tensor<T>(s.name, {s.rows, s.cols},
                           std::span(theta.view(id).data, static_cast<std::size_t>(s.size()))));
  }
  io::write_safetensors(path, content);
}

/// The model that `save` wrote to the file `path`: it predicts the same, bit for bit, and what it
/// would save is the same. Only the scaling of inputs and labels is frozen. `read_metadata` helps
/// to choose the type.
///
/// Throws when the file cannot be read or is damaged, is no model file or one of another model
/// type, an option is missing, unknown or of another type, or the tensors are not exactly the
/// parameters of the model.
template <class Model>
[[nodiscard]] Model load(const std::filesystem::path& path) {
  using T = typename Model::scalar;
  io::detail::require_storable_model<Model>();
  const std::string file = path.string();
  const io::tensor_file content = io::read_safetensors(path);
  io::detail::architecture<Model> parts;
  io::option_from_json({file}, io::detail::stored_architecture(file, content), parts);
  if (parts.scalar != io::name_of(io::type_of<T>)) {
    throw error(file, fmt::format("the parameters are {}, the program expects {}",
                                  io::detail::quoted(parts.scalar), io::name_of(io::type_of<T>)));
  }

  // A damaged option must not ask for more memory than a file of this size explains.
  index_t most = index_t{1} << 20;
  for (const io::tensor_record& tensor : content.tensors) {
    most += static_cast<index_t>(tensor.data.size()) / 2;
  }
  Model model;
  try {
    typename Model::tasks_type tasks;
    std::vector<task_origin> origins;
    for (auto& task : parts.tasks) {
      tasks.add(std::move(task.name), std::move(task.head));
      origins.push_back(task.origin);
    }
    model = Model(std::move(parts.encoder), std::move(tasks), std::move(parts.alignment),
                  std::move(parts.modules));
    model.rebuild(parts.input, origins, most);
  } catch (const error& problem) {
    throw error(file, problem.what());
  }
  io::detail::copy_tensors(file, content, model.theta());
  return model;
}

/// What the model file `path` says about itself. Throws when it cannot be read or is no model file.
[[nodiscard]] inline model_metadata read_metadata(const std::filesystem::path& path) {
  const std::string file = path.string();
  io::tensor_file content = io::read_safetensors(path);
  const io::json stored = io::detail::stored_architecture(file, content);
  const auto text = [&](const io::json& from, const char* pointer) {
    const io::json::json_pointer at(pointer);
    if (!from.contains(at) || !from.at(at).is_string()) {
      throw error(file,
                  fmt::format("'{}' has no text '{}'", io::detail::architecture_key, pointer));
    }
    return from.at(at).get<std::string>();
  };
  model_metadata result{text(stored, "/encoder/kind"),
                        text(stored, "/alignment/kind"),
                        text(stored, "/scalar"),
                        {},
                        std::move(content.metadata)};
  if (const auto tasks = stored.find("tasks"); tasks != stored.end()) {
    for (const io::json& task : *tasks) {
      result.tasks.push_back({text(task, "/name"), text(task, "/head/kind")});
    }
  }
  result.extra.erase(io::detail::format_key);
  result.extra.erase(io::detail::architecture_key);
  return result;
}

}  // namespace vierbein
