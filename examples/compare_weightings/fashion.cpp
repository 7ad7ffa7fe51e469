#include <algorithm>

#include "../support/fashion_pictures.hpp"
#include "problem.hpp"
#include "training.hpp"
#include "vierbein/encoder/convolutional.hpp"
#include "vierbein/io/idx.hpp"
#include "vierbein/model/multitask.hpp"
#include "vierbein/train/metrics.hpp"

namespace compare_weightings {

namespace {

/// Both of two overlaid pictures of clothes are to be recognised.
class fashion_problem final : public problem {
 public:
  explicit fashion_problem(const settings& s)
      : s_(s), sources_(multi_fashion::read_sources(s.images, s.labels)), backend_(s.threads) {}

  [[nodiscard]] const char* metric() const override { return "accuracy"; }

  std::optional<outcome> train(const std::string& label, examples::any_policy policy, long seed,
                               vb::training_course* course) override {
    if (!pictures_ || seed != seed_) {
      pictures_ = multi_fashion::overlay(sources_, {s_.train, s_.dev, s_.test}, s_.images, seed);
      seed_ = seed;
      dev_rows_.clear();
      for (vb::index_t r = 0; r < pictures_->dev.size(); ++r) {
        dev_rows_.push_back(pictures_->train.size() + r);
      }
      pictures_->train.append(pictures_->dev);
    }
    auto options = s_.training(seed);
    options.validation_rows = dev_rows_;
    vb::tasks<> tasks;
    for (const auto& name : task_names(s_)) {
      tasks.add(vb::multiclass(name, sources_.class_count));
    }
    // The network of Sener and Koltun (2018) for two digits in one picture.
    auto model = vb::multitask(vb::encoder::convolutional{.channels = {10, 20}, .hidden = {50}},
                               tasks, vb::alignment::none{}, {.encoder = {}, .head = {50}});
    const timing t = train_by(std::move(policy), backend_, model, pictures_->train, options,
                              s_.learning_rate, label, course);
    if (vb::interrupted()) {
      return {};
    }
    outcome o{{}, t.ms_per_step, t.seconds};
    for (const auto& name : task_names(s_)) {
      o.by_task.push_back(accuracy(model, name));
    }
    return o;
  }

 private:
  template <class Model>
  double accuracy(const Model& model, const std::string& name) const {
    const auto& test = pictures_->test;
    const auto probabilities = model.predict(backend_, test.inputs, model.task_list().find(name));
    std::vector<double> predicted;
    for (vb::index_t i = 0; i < probabilities.rows(); ++i) {
      const auto row = probabilities.row(i);
      predicted.push_back(
          static_cast<double>(std::max_element(row.begin(), row.end()) - row.begin()));
    }
    const auto& labels = test.at(name).values;
    return vb::metrics::accuracy(predicted, {labels.data(), predicted.size()});
  }

  const settings& s_;
  multi_fashion::source_pictures sources_;
  vb::backend::cpu backend_;
  std::optional<multi_fashion::parts> pictures_;  // development pictures behind those of training
  std::vector<vb::index_t> dev_rows_;
  long seed_ = -1;
};

}  // namespace

std::unique_ptr<problem> make_fashion_problem(const settings& s) {
  return std::make_unique<fashion_problem>(s);
}

}  // namespace compare_weightings
