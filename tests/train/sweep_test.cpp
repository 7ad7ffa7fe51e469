// From losses to the direction that the parameters follow: every kind of policy and every option.
#include "vierbein/train/sweep.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "../support/problems.hpp"
#include "vierbein/vierbein.hpp"

namespace vb = vierbein;
using vb::index_t;
using vb::matrix;

namespace {

const std::vector<std::string> names{"a", "b", "c"};
const vb::tasks<> list{vb::regression(names[0]), vb::regression(names[1]),
                       vb::regression(names[2])};
const vb::module_options modules{
    .encoder = {7}, .transfer = {6}, .inverse = {5}, .head = {6}, .dropout = 0.1};

template <class Alignment = vb::alignment::none>
auto model_with(Alignment alignment = {}) {
  return vb::multitask<double>(vb::encoder::mlp{.widths = {12, 8}, .dropout = 0.2}, list, alignment,
                               modules);
}

auto model_without_hidden_layers() {
  return vb::multitask<double>(vb::encoder::mlp{.widths = {12, 8}}, list, vb::alignment::none{},
                               {.head = {}});
}

auto with_gaps() {
  auto data = problems::related_tasks(60, 5, names, 1);
  for (index_t r = 0; r < 30; ++r) {
    data.at(names[1]).values(r, 0) = problems::missing;
  }
  return data;
}

/// A few steps of descent, with batches in which a task may be absent.
vb::training few_steps() {
  return {.epochs = 3, .batch = 7, .validation_fraction = 0, .clip_norm = 0};
}

template <class Model, class Weighting, class... Callbacks>
std::vector<double> trained(Model model, const vb::training& options, Weighting weighting,
                            Callbacks... callbacks) {
  vb::fit(vb::backend::cpu_double(2), model, with_gaps(), options,
          vb::optimizer::sgd{.learning_rate = 0.05}, weighting, callbacks...);
  const auto values = model.theta().values();
  return {values.begin(), values.end()};
}

double distance(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    largest = std::max(largest, std::abs(a[i] - b[i]));
  }
  return largest;
}

const std::vector<double> weights{0.5, 2, 1.25};

struct fixed_by_losses {
  using weighting_kind = vb::loss_based;
  void weigh(vb::losses, vb::weights w) const { std::copy_n(weights.begin(), w.size(), w.begin()); }
};

struct fixed_by_gram {
  using weighting_kind = vb::gram_based;
  void weigh(vb::losses, vb::gram_matrix, vb::weights w) const {
    std::copy_n(weights.begin(), w.size(), w.begin());
  }
};

template <std::size_t Batches>
struct fixed_by_batches : fixed_by_gram {
  static constexpr std::size_t gram_batches = Batches;
};

/// Weights that depend on all of G.
struct by_lengths {
  using weighting_kind = vb::gram_based;
  void weigh(vb::losses l, vb::gram_matrix g, vb::weights w) const {
    for (index_t t = 0; t < g.rows; ++t) {
      double row = 0;
      for (index_t s = 0; s < g.rows; ++s) {
        row += std::abs(g(t, s));
        if (!l.has(static_cast<std::size_t>(t)) || !l.has(static_cast<std::size_t>(s))) {
          CHECK(g(t, s) == 0);
        } else {
          CHECK(g(t, s) == doctest::Approx(g(s, t)).epsilon(1e-12));
        }
      }
      w[static_cast<std::size_t>(t)] = 1 / (0.1 + std::sqrt(row));
    }
  }
};

struct fixed_by_rows {
  using weighting_kind = vb::gradient_based;
  template <vb::Scalar T>
  void combine(vb::losses l, vb::matrix_view<const T> j, std::span<T> d) {
    for (index_t k = 0; k < j.cols; ++k) {
      double total = 0;
      for (index_t t = 0; t < j.rows; ++t) {
        CHECK((l.has(static_cast<std::size_t>(t)) || j(t, k) == 0));
        total += weights[static_cast<std::size_t>(t)] * static_cast<double>(j(t, k));
      }
      d[static_cast<std::size_t>(k)] = static_cast<T>(total);
    }
  }
  void worth(vb::weights w) const { std::copy_n(weights.begin(), w.size(), w.begin()); }
};

struct observer {
  using weighting_kind = vb::loss_based;
  std::vector<double>* before;
  std::vector<double>* after;
  void weigh(vb::losses l, vb::weights w) const {
    std::ranges::fill(w, 1.0);
    before->insert(before->end(), l.values.begin(), l.values.end());
  }
  void observe(vb::losses l) const {
    CHECK(l.size() == 3);
    after->insert(after->end(), l.values.begin(), l.values.end());
  }
};

/// Drops all samples but the first: the trunk follows that one alone.
struct first_sample {
  using weighting_kind = vb::gradient_based;
  template <vb::Scalar T>
  void combine(vb::losses, vb::matrix_view<const T> j, std::span<T> d) {
    std::ranges::fill(d, T{0});
    for (index_t k = 0; k < 8; ++k) {  // the width of b
      for (index_t t = 0; t < j.rows; ++t) {
        d[static_cast<std::size_t>(k)] += j(t, k);
      }
    }
    CHECK(j.cols == 7 * 8);
  }
};

bool asymmetric = false;
struct examine_batches : fixed_by_gram {
  static constexpr std::size_t gram_batches = 2;
  bool same;
  void weigh(vb::losses l, vb::gram_matrix g, vb::weights w) const {
    fixed_by_gram::weigh(l, g, w);
    const bool symmetric = std::abs(g(0, 2) - g(2, 0)) <= 1e-12 * std::abs(g(0, 0));
    asymmetric = asymmetric || !symmetric;
    CHECK((!same || (symmetric && g(0, 0) > 0)));
  }
};

/// Looks at less and less: gradients, the Gramian, the losses, and again.
struct fading {
  using weighting_kind = vb::target_based;
  std::string target = names[0];
  bool lies = false;
  int step = 0;
  [[nodiscard]] vb::sight looks_at(vb::losses) const {
    return lies            ? vb::sight::gramian
           : step % 3 == 0 ? vb::sight::gradients
           : step % 3 == 1 ? vb::sight::gramian
                           : vb::sight::losses;
  }
  void weigh(vb::losses l, vb::gram_matrix g, vb::step_oracle& oracle, vb::weights w) {
    const vb::sight seen = looks_at(l);
    CHECK(g.rows == (seen == vb::sight::losses ? 0 : 3));
    for (index_t t = 0; t < g.rows; ++t) {
      CHECK((l.has(static_cast<std::size_t>(t)) || g(t, t) == 0));
    }
    CHECK((g.rows == 0 || g(0, 0) + g(2, 2) > 0));
    std::vector<double> steps(3, 0.01);
    std::vector<double> products(3);
    if (seen == vb::sight::gradients || lies) {
      oracle.look_ahead(steps, products);
      CHECK(products[0] != 0);
    } else {
      CHECK_THROWS_WITH_AS(oracle.look_ahead(steps, products), doctest::Contains("(looks_at)"),
                           vb::error);
    }
    std::copy_n(weights.begin(), w.size(), w.begin());
    ++step;
  }
};

struct spy {
  static constexpr bool wants_gram = true;
  std::vector<double>* seen;
  void on_weights(const vb::step_record& r) const {
    CHECK(r.names.size() == 3);
    REQUIRE(r.gram.rows == 3);
    for (index_t s = 0; s < 3; ++s) {
      for (index_t t = 0; t < 3; ++t) {
        seen->push_back(r.gram(s, t));
      }
    }
    CHECK(std::ranges::equal(r.weights, weights));
    seen->push_back(static_cast<double>(100 * r.epoch + r.step));
  }
};

}  // namespace

TEST_CASE("every way to the same weighted sum gives the same training") {
  const auto check = [](const auto& model) {
    const auto expected = trained(model, few_steps(), fixed_by_losses{});
    for (const auto way :
         {vb::gramian_way::automatic, vb::gramian_way::jacobian, vb::gramian_way::layers}) {
      for (const auto compare :
           {vb::compared_gradients::shared_parameters, vb::compared_gradients::representation}) {
        auto options = few_steps();
        options.gramian = way;
        options.compare = compare;
        CHECK(distance(trained(model, options, fixed_by_gram{}), expected) < 1e-12);
        CHECK(distance(trained(model, options, fixed_by_rows{}), expected) < 1e-12);
      }
    }
  };
  check(model_with());
  check(model_with(vb::alignment::gate{}));
  check(model_with(vb::alignment::soft_sharing{}));
  check(model_without_hidden_layers());
}

TEST_CASE("a policy that says what it looks at is shown that, and trains the same") {
  const auto check = [](const auto& model) {
    auto options = few_steps();
    options.validation_fraction = 0.3;
    options.best = vb::best_by::last;
    const auto expected = trained(model, options, fixed_by_losses{});
    for (const auto way :
         {vb::gramian_way::automatic, vb::gramian_way::jacobian, vb::gramian_way::layers}) {
      options.gramian = way;
      CHECK(distance(trained(model, options, fading{}), expected) < 1e-12);
      std::vector<double> seen;  // a callback sees G all the same
      CHECK(distance(trained(model, options, fading{}, spy{&seen}), expected) < 1e-12);
      CHECK(!seen.empty());
    }
    CHECK_THROWS_WITH_AS(trained(model, options, fading{.lies = true}),
                         doctest::Contains("(looks_at)"), vb::error);
  };
  check(model_with());
  check(model_with(vb::alignment::gate{}));
}

TEST_CASE("the Gramian that a policy sees does not depend on how it is found") {
  const auto check = [](const auto& model) {
    auto options = few_steps();
    options.gramian = vb::gramian_way::jacobian;
    const auto expected = trained(model, options, by_lengths{});
    options.gramian = vb::gramian_way::layers;
    CHECK(distance(trained(model, options, by_lengths{}), expected) < 1e-11);
    options.compare = vb::compared_gradients::representation;  // this one is another
    CHECK(distance(trained(model, options, by_lengths{}), expected) > 1e-6);
  };
  check(model_with());
  check(model_with(vb::alignment::gate{}));
  check(model_without_hidden_layers());
}

TEST_CASE("own parameters can follow unweighted gradients") {
  // One step: the trunk moves as with weights, the tasks' modules as without.
  auto once = few_steps();
  once.epochs = 1;
  once.batch = 60;
  const auto check = [&](const auto& model) {
    auto options = once;
    const auto weighted = trained(model, options, fixed_by_losses{});
    const auto equal = trained(model, options, vb::weighting::equal{});
    auto built = model;
    built.build(with_gaps().inputs.shape(), options.seed);
    options.own = vb::own_gradients::unweighted;
    const auto examine = [&](const std::vector<double>& found) {
      double moved_apart = 0;
      for (const vb::segment& s : built.theta().segments()) {
        const bool shared = s.name.starts_with("trunk/");
        for (index_t k = s.offset; k < s.offset + s.size(); ++k) {
          const auto i = static_cast<std::size_t>(k);
          CHECK(found[i] == doctest::Approx(shared ? weighted[i] : equal[i]).epsilon(1e-12));
          moved_apart += std::abs(weighted[i] - equal[i]);
        }
      }
      CHECK(moved_apart > 1e-3);
    };
    examine(trained(model, options, fixed_by_losses{}));
    for (const auto way : {vb::gramian_way::jacobian, vb::gramian_way::layers}) {
      options.gramian = way;
      examine(trained(model, options, fixed_by_gram{}));
    }
    examine(trained(model, options, fixed_by_rows{}));
    examine(trained(model, options, fixed_by_batches<3>{}));
    options.compare = vb::compared_gradients::representation;
    examine(trained(model, options, fixed_by_gram{}));
    examine(trained(model, options, fixed_by_rows{}));
  };
  check(model_with());
  check(model_with(vb::alignment::gate{}));
}

TEST_CASE("gradients of the representation, sample by sample, give those of the trunk") {
  auto options = few_steps();
  options.epochs = 1;
  options.batch = 7;
  options.validation_rows.clear();
  auto model = vb::multitask<double>(vb::encoder::mlp{.widths = {8}}, list);
  auto data = problems::related_tasks(7, 5, names, 1);
  auto whole = model;
  vb::fit(vb::backend::reference_double{}, whole, data, options, vb::optimizer::sgd{},
          vb::weighting::equal{});
  options.compare = vb::compared_gradients::representation;
  vb::fit(vb::backend::reference_double{}, model, data, options, vb::optimizer::sgd{},
          first_sample{});
  const auto a = model.theta().view(model.theta().find("trunk/layer0/weight"));
  const auto b = whole.theta().view(whole.theta().find("trunk/layer0/weight"));
  double apart = 0;
  for (index_t k = 0; k < a.size(); ++k) {
    apart += std::abs(a.data[k] - b.data[k]);
  }
  CHECK(apart > 1e-6);
}

TEST_CASE("every group of parameters is weighed by its own Gramian") {
  const auto model = model_with(vb::alignment::gate{});
  const auto whole = trained(model, few_steps(), by_lengths{});
  namespace vw = vb::weighting;
  // One group is the whole.
  CHECK(distance(trained(model, few_steps(), vw::group_wise{by_lengths{}, {"trunk/"}}), whole) <
        1e-11);
  CHECK(distance(trained(model, few_steps(), vw::group_wise{by_lengths{}, {"trunk/", "trunk/"}}),
                 whole) < 1e-11);
  // Layers are two groups.
  const auto by_layer = trained(model, few_steps(), vw::group_wise{by_lengths{}});
  CHECK(distance(by_layer, whole) > 1e-4);
  CHECK(distance(trained(model, few_steps(),
                         vw::group_wise{by_lengths{}, {"trunk/layer0/", "trunk/layer1/"}}),
                 by_layer) < 1e-12);
  CHECK(distance(trained(model, few_steps(), vw::group_wise{by_lengths{}, {"trunk/layer1/"}}),
                 by_layer) < 1e-12);
  CHECK_THROWS_WITH(
      trained(model, few_steps(), vw::group_wise{by_lengths{}, {"trunk/layer7"}}),
      "weighting::group_wise: no shared parameter has a name that begins with 'trunk/layer7'");

  vw::group_wise<vw::gcs> policy{.inner = {.target = "a"}};
  policy.reset(std::vector<std::string>{"a", "b"});
  policy.layout(std::vector<vb::gradient_columns>{
      {"trunk/x/weight", 0, 2}, {"trunk/x/bias", 4, 1}, {"trunk/y/weight", 6, 1}});
  // In x the gradients agree (1 · 1 + 2 · -1 + 3 · 1 = 2), in y they do not; columns 2, 3 and 5
  // are padding.
  const matrix<double> j = [] {
    matrix<double> m(2, 7);
    const double values[2][7] = {{1, 2, 0, 0, 3, 0, 1}, {1, -1, 0, 0, 1, 0, -2}};
    for (index_t t = 0; t < 2; ++t) {
      std::copy_n(values[t], 7, m.row(t).begin());
    }
    return m;
  }();
  std::vector<double> d(7, -1);
  const std::vector<double> l(2, 1.0);
  policy.combine(vb::losses{l}, j.view(), std::span<double>(d));
  CHECK(d == std::vector<double>{2, 1, 0, 0, 4, 0, 1});
  std::vector<double> w(2);
  policy.worth(w);
  CHECK(w == std::vector<double>{1, 0.75});
}

// ---- needs

TEST_CASE("a policy observes the same batch with the same random numbers, after the step") {
  std::vector<double> before;
  std::vector<double> after;
  // A step that moves nothing.
  auto model = model_with(vb::alignment::gate{});
  vb::fit(vb::backend::cpu_double(1), model, with_gaps(), few_steps(),
          vb::optimizer::sgd{.learning_rate = 1e-300}, vb::weighting::equal{});
  auto still = model;
  vb::fit(vb::backend::cpu_double(1), still, with_gaps(), few_steps(),
          vb::optimizer::sgd{.learning_rate = 1e-300}, observer{&before, &after});
  CHECK(before.size() == 3 * 3 * 9);
  CHECK(before == after);
  // Steps that do: on average all losses fall, on the very batch most of all.
  before.clear();
  after.clear();
  auto options = few_steps();
  options.epochs = 10;
  vb::fit(vb::backend::cpu_double(1), model, with_gaps(), options,
          vb::optimizer::sgd{.learning_rate = 0.02}, observer{&before, &after});
  double fall = 0;
  for (std::size_t i = 0; i < before.size(); ++i) {
    fall += before[i] - after[i];
  }
  CHECK(fall > 0);
  CHECK(before != after);
}

TEST_CASE("observing does not change the training") {
  struct silent : fixed_by_losses {
    void observe(vb::losses) const {}
  };
  struct deaf : fixed_by_losses {
    void observe(vb::losses) const { FAIL("nobody asked"); }
    bool observes() const { return false; }
  };
  const auto model = model_with(vb::alignment::gate{});
  const auto expected = trained(model, few_steps(), fixed_by_losses{});
  CHECK(trained(model, few_steps(), silent{}) == expected);
  CHECK(trained(model, few_steps(), deaf{}) == expected);
}

TEST_CASE("products of independent batches") {
  // Whole batches without dropout: all batches are the same, and so is the training.
  auto options = few_steps();
  options.batch = 60;
  const auto model = vb::multitask<double>(vb::encoder::mlp{.widths = {12, 8}}, list);
  const auto expected = trained(model, options, fixed_by_losses{});
  CHECK(distance(trained(model, options, examine_batches{{}, true}), expected) < 1e-12);
  CHECK(distance(trained(model, options, fixed_by_batches<3>{}), expected) < 1e-12);
  // Parts of the rows: two batches have other products one way than the other.
  CHECK(!asymmetric);
  options.batch = 10;
  const auto parts = trained(model, options, fixed_by_losses{});
  CHECK(distance(trained(model, options, fixed_by_batches<3>{}), parts) < 1e-12);
  CHECK(distance(trained(model, options, examine_batches{{}, false}), parts) > 1e-4);
  CHECK(asymmetric);
  for (const double w : trained(model, options, vb::weighting::modo<>{})) {
    CHECK(std::isfinite(w));
  }
  const auto gate = model_with(vb::alignment::gate{});
  CHECK(distance(trained(gate, few_steps(), vb::weighting::sdmgrad{}),
                 trained(gate, few_steps(), vb::weighting::equal{})) > 1e-4);
}

TEST_CASE("what cannot be compared is refused in one sentence") {
  auto options = few_steps();
  options.compare = vb::compared_gradients::representation;
  CHECK_THROWS_WITH(
      trained(model_with(), options, vb::weighting::excess_mtl{}),
      "training: the weighting policy needs gradients whose elements mean the same in every "
      "step; those of the representation belong to the samples of a batch");
  CHECK_THROWS_WITH(trained(model_with(), options, vb::weighting::modo<>{}),
                    "training: the weighting policy compares gradients of parameters, not of the "
                    "representation");
  const auto flat = vb::multitask<double>(vb::encoder::features{}, list);
  CHECK_THROWS_WITH(trained(flat, options, fixed_by_gram{}),
                    "training: the trunk has no parameters that are trained, so gradients of the "
                    "representation cannot be compared, nor do own parameters differ from shared "
                    "ones");
  options.compare = vb::compared_gradients::shared_parameters;
  options.clip_norm = 1;
  CHECK(distance(trained(flat, options, fixed_by_gram{}),
                 trained(flat, options, fixed_by_losses{})) < 1e-12);
  CHECK(distance(trained(flat, options, fixed_by_rows{}),
                 trained(flat, options, fixed_by_losses{})) < 1e-12);
}

TEST_CASE("a policy whose type is hidden trains the same") {
  namespace vw = vb::weighting;
  const auto model = model_with();
  const auto same = [&](auto policy, auto hidden) {
    CHECK(distance(trained(model, few_steps(), policy), trained(model, few_steps(), hidden)) == 0);
  };
  same(fixed_by_losses{}, vw::any<vb::loss_based>(fixed_by_losses{}));
  same(by_lengths{}, vw::any<vb::gram_based>(by_lengths{}));
  same(fixed_by_losses{}, vw::any<vb::gram_based>(fixed_by_losses{}));
  auto options = few_steps();
  options.validation_fraction = 0.3;
  const vw::gcs gcs{.target = names[0]};
  CHECK(distance(trained(model, options, gcs),
                 trained(model, options, vw::any<vb::target_based>(gcs))) == 0);
  same(vw::excess_mtl{}, vw::any<vb::gradient_based>(vw::excess_mtl{}));
  same(vw::group_wise{by_lengths{}}, vw::any<vb::gradient_based>(vw::group_wise{by_lengths{}}));
  same(vw::modo<>{}, vw::any<vb::gram_based, 2>(vw::modo<>{}));
  same(vw::sdmgrad{}, vw::any<vb::gram_based, 3>(vw::sdmgrad{}));
  // The second forward pass is made for those who look.
  std::vector<double> before;
  std::vector<double> after;
  trained(model, few_steps(), vw::any<vb::gram_based>(observer{&before, &after}));
  CHECK(after.size() == before.size());
  CHECK(!vw::any<vb::gram_based>(fixed_by_losses{}).observes());
  static_assert(!std::is_constructible_v<vw::any<vb::gram_based>, vw::modo<>>);
  static_assert(!std::is_constructible_v<vw::any<vb::loss_based>, by_lengths>);
}

// ---- what is not finite

namespace {

/// Trains |x - y_t| for two tasks from x = y_1 = 0: the second has a loss of 0 and no gradient.
template <class Weighting>
void train_roots(Weighting weighting) {
  using backend = vb::backend::reference_double;
  vb::parameters<double> theta;
  const auto x = theta.add("trunk/x", 1, 1, vb::initialiser::zeros);
  const std::vector<index_t> rows{0, 1};
  vb::data::sampler::shuffled::state batches({.batch = 1}, rows, {}, 1);
  const std::array<bool, 2> present{true, true};
  std::array<vb::graph::var<backend>, 2> recorded;
  const auto step = [&](vb::graph::tape<backend>& tape, std::span<const index_t>) {
    const auto v = tape.parameter(x);
    recorded = {vb::graph::square(v), vb::graph::sqrt(vb::graph::square(v))};
    return vb::detail::step_losses<backend>{recorded, {}, present, {}, {}};
  };
  const auto validate = [](vb::graph::tape<backend>&) {
    return std::vector<vb::detail::verdict>{};
  };
  vb::detail::run_training(backend{}, theta, vb::training{.epochs = 1}, {"square", "root"}, batches,
                           vb::optimizer::sgd{}, weighting, step, validate, vb::detail::no_probe);
}

template <class W>
struct with_weight : W {
  double value = problems::missing;
  void weigh(vb::losses, vb::weights w) const { std::ranges::fill(w, value); }
  void weigh(vb::losses, vb::gram_matrix, vb::weights w) const { std::ranges::fill(w, value); }
};

}  // namespace

TEST_CASE("a gradient or weight that is not finite names the task and the step") {
  const char* sentence =
      "training: the gradient of task 'root' is not finite in epoch 1, step 1: a smaller learning "
      "rate may help";
  CHECK_THROWS_WITH(train_roots(fixed_by_losses{}), sentence);
  CHECK_THROWS_WITH(train_roots(fixed_by_gram{}), sentence);
  CHECK_THROWS_WITH(train_roots(fixed_by_rows{}), sentence);
  CHECK_THROWS_WITH(train_roots(vb::weighting::gcs{.target = "square"}), sentence);
  CHECK_THROWS_WITH(
      trained(model_with(), few_steps(), with_weight<fixed_by_losses>{}),
      "training: the weighting policy gives task 'a' the weight nan in epoch 1, step 1");
  CHECK_THROWS_WITH(
      trained(model_with(), few_steps(), with_weight<fixed_by_gram>{}),
      "training: the weighting policy gives task 'a' the weight nan in epoch 1, step 1");
  CHECK_THROWS_WITH(trained(model_with(), few_steps(), with_weight<fixed_by_losses>{{}, 1e308}),
                    "training: the gradient is not finite in epoch 1, step 1: a smaller learning "
                    "rate may help");
}

namespace {

/// w = 1 / ‖g‖, which is infinite where a task is absent.
struct unit_lengths {
  using weighting_kind = vb::gram_based;
  void weigh(vb::losses, vb::gram_matrix g, vb::weights w) const {
    for (index_t t = 0; t < g.rows; ++t) {
      w[static_cast<std::size_t>(t)] = 1 / std::sqrt(g(t, t));
    }
  }
};

/// The same with 0 for an absent task.
struct unit_lengths_of_present : unit_lengths {
  int* absent;
  void weigh(vb::losses l, vb::gram_matrix g, vb::weights w) const {
    unit_lengths::weigh(l, g, w);
    for (std::size_t t = 0; t < l.size(); ++t) {
      *absent += l.has(t) ? 0 : 1;
      w[t] = l.has(t) ? w[t] : 0;
    }
  }
};

/// Assigns the last weight in the first step alone.
template <class W>
struct forgetful : W {
  int steps = 0;
  void weigh(vb::losses l, vb::weights w) {
    assign(w, [&](vb::weights all) { W::weigh(l, all); });
  }
  void weigh(vb::losses l, vb::gram_matrix g, vb::weights w) {
    assign(w, [&](vb::weights all) { W::weigh(l, g, all); });
  }

 private:
  void assign(vb::weights w, auto&& weigh_all) {
    std::vector<double> all(w.size());
    weigh_all(vb::weights(all));
    std::copy_n(all.begin(), all.size() - (steps++ > 0 ? 1 : 0), w.begin());
  }
};

struct forgetful_worth : fixed_by_rows {
  void worth(vb::weights w) const { std::copy_n(weights.begin(), 2, w.begin()); }
};

}  // namespace

TEST_CASE("the weight of a task that is absent has no effect, finite or not") {
  // Batches of one row: the second task is absent from half of them.
  auto options = few_steps();
  options.batch = 1;
  options.epochs = 1;
  for (const auto way : {vb::gramian_way::jacobian, vb::gramian_way::layers}) {
    options.gramian = way;
    int absent = 0;
    const auto expected = trained(model_with(), options, unit_lengths_of_present{{}, &absent});
    CHECK(absent == 30);
    CHECK(trained(model_with(), options, unit_lengths{}) == expected);
  }
}

TEST_CASE("a weight that a policy does not assign is not that of the step before") {
  const char* sentence =
      "training: the weighting policy gives task 'c' the weight nan in epoch 1, step 2";
  CHECK_THROWS_WITH(trained(model_with(), few_steps(), forgetful<fixed_by_losses>{}), sentence);
  CHECK_THROWS_WITH(trained(model_with(), few_steps(), forgetful<fixed_by_batches<2>>{}), sentence);
  for (const auto way : {vb::gramian_way::jacobian, vb::gramian_way::layers}) {
    auto options = few_steps();
    options.gramian = way;
    CHECK_THROWS_WITH(trained(model_with(), options, forgetful<fixed_by_gram>{}), sentence);
  }
  CHECK_THROWS_WITH(
      trained(model_with(), few_steps(), forgetful_worth{}),
      "training: the weighting policy gives task 'c' the weight nan in epoch 1, step 1");
}

// ---- what a callback is told

TEST_CASE("a callback sees weights and, if it wants to, the Gramian of any policy") {
  struct glance {
    index_t* rows;
    void on_weights(const vb::step_record& r) const { *rows += r.gram.rows; }
  };
  const auto model = model_with(vb::alignment::gate{});
  std::vector<double> by_losses;
  std::vector<double> by_gram;
  std::vector<double> by_rows;
  const auto plain = trained(model, few_steps(), fixed_by_losses{});
  CHECK(trained(model, few_steps(), fixed_by_losses{}, spy{&by_losses}) == plain);
  trained(model, few_steps(), fixed_by_gram{}, spy{&by_gram});
  trained(model, few_steps(), fixed_by_rows{}, spy{&by_rows});
  CHECK(by_losses.size() == 10 * 3 * 9);
  CHECK(by_losses.back() == 309);
  CHECK(distance(by_losses, by_gram) < 1e-9);
  CHECK(distance(by_losses, by_rows) < 1e-9);
  index_t rows = 0;
  trained(model, few_steps(), fixed_by_losses{}, glance{&rows});
  CHECK(rows == 0);
  trained(model, few_steps(), fixed_by_gram{}, glance{&rows});
  CHECK(rows == 3 * 27);
}
