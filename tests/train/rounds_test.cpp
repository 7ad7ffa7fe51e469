// Training in rounds: what policies are told between rounds and within steps.
#include "vierbein/train/rounds.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "../support/message_of.hpp"
#include "../support/problems.hpp"
#include "vierbein/vierbein.hpp"

namespace vb = vierbein;
using doctest::Approx;
using problems::missing;
using problems::related_tasks;
using vb::index_t;

namespace {

using dataset = vb::data::dataset<vb::data::feature_set>;
using numbers = std::vector<double>;

/// A policy whose plan and combination a test writes down.
struct scripted {
  using weighting_kind = vb::update_based;
  std::string target;
  std::function<void(vb::round_plan&, int round)> plans;
  std::function<void(vb::update_oracle&, vb::weights, int round)> combines;
  int round = 0;
  void plan(vb::round_plan& p) { plans(p, round++); }
  void combine(vb::update_oracle& oracle, vb::weights alpha) { combines(oracle, alpha, round - 1); }
  void worth(vb::weights w) const { std::fill(w.begin(), w.end(), 1.0); }
};

/// One branch a task, each alone.
void each_alone(vb::round_plan& p) {
  p.branches = {{.name = "a", .weights = {1, 0}}, {.name = "b", .weights = {0, 1}}};
  p.epochs = 0.5;
}
void average(vb::update_oracle&, vb::weights alpha, int) {
  std::fill(alpha.begin(), alpha.end(), 1.0 / static_cast<double>(alpha.size()));
}

struct within_steps {
  using weighting_kind = vb::target_based;
  std::string target;
  std::function<void(vb::losses, vb::gram_matrix, vb::step_oracle&)> looks;
  void weigh(vb::losses l, vb::gram_matrix g, vb::step_oracle& oracle, vb::weights w) const {
    looks(l, g, oracle);
    std::fill(w.begin(), w.end(), 1.0);
  }
};

/// Notes what callbacks are told of the tasks before the first round.
struct naming {
  std::vector<std::string>& tasks;
  void on_begin(const vb::progress_info& info) const {
    tasks.assign(info.tasks.begin(), info.tasks.end());
  }
};

struct serving {
  using weighting_kind = vb::loss_based;
  std::string target;
  void weigh(vb::losses, vb::weights w) const { std::fill(w.begin(), w.end(), 1.0); }
};

template <class T = double>
auto small_model() {
  return vb::multitask<T>(vb::encoder::mlp{.widths = {16}, .act = vb::activation::tanh},
                          vb::tasks{vb::regression("a"), vb::regression("b")},
                          vb::alignment::none{}, {.head = {8}});
}

const vb::backend::cpu_double device(1);

template <class Policy>
vb::history fit(const Policy& policy, vb::training options = {.epochs = 2, .batch = 16}) {
  auto model = small_model();
  return vb::fit(device, model, related_tasks(120, 5, {"a", "b"}, 1), options,
                 vb::optimizer::adam{.learning_rate = 1e-2}, policy);
}

/// The message of the error that f throws.
}  // namespace

TEST_CASE("the oracle's slopes are the derivatives of the target's development loss") {
  const auto look = [](vb::update_oracle& oracle, vb::weights alpha, int) {
    CHECK(oracle.branches() == 2);
    CHECK(oracle.batches() == 1);
    alpha[0] = 0.7;
    alpha[1] = 0.4;
    numbers slope(2);
    const double here = oracle.loss(alpha, 0, slope);
    CHECK(oracle.loss(alpha) == Approx(here).epsilon(1e-12));
    CHECK(oracle.score(alpha) == -oracle.loss(alpha));  // regression knows no hits
    for (std::size_t i = 0; i < 2; ++i) {
      constexpr double h = 1e-5;
      const double kept = alpha[i];
      alpha[i] = kept + h;
      const double above = oracle.loss(alpha, 0, {});
      alpha[i] = kept - h;
      const double below = oracle.loss(alpha, 0, {});
      alpha[i] = kept;
      CHECK(slope[i] == Approx((above - below) / (2 * h)).epsilon(1e-6));
    }
    CHECK(slope[0] < 0);  // the target's own update helps it
  };
  fit(scripted{"a", [](auto& p, int) { each_alone(p); }, look});
}

TEST_CASE("rounds end when the tasks have had their epochs, and the best one is kept") {
  std::vector<double> seen;
  auto model = small_model();
  const auto data = related_tasks(160, 5, {"a", "b"}, 1);
  const auto combine = [](vb::update_oracle&, vb::weights alpha, int round) {
    alpha[0] = round < 4 ? 1 : -20;  // from the fifth round on, away from the optimum
    alpha[1] = 0;
  };
  vb::training options{.epochs = 3, .batch = 16, .largest_update = 1e6};
  for (index_t r = 0; r < 40; ++r) {
    options.validation_rows.push_back(r);
  }
  std::vector<std::string> told;
  const auto h = vb::fit(device, model, data, options, vb::optimizer::adam{.learning_rate = 1e-2},
                         scripted{"a", [](auto& p, int) { each_alone(p); }, combine}, naming{told});
  CHECK(told == std::vector<std::string>{"a", "b"});
  REQUIRE(h.epochs.size() == 6);  // half an epoch each
  CHECK(h.best_epoch == 4);
  REQUIRE(h.epochs[3].branches.size() == 2);
  CHECK(h.epochs[3].branches[1].name == "b");
  CHECK(h.epochs[4].branches[0].alpha == -20);
  // The model that is kept has the loss of the fourth round.
  const auto p = model.predict(device, data.inputs, 0);
  double total = 0;
  for (index_t r = 0; r < 40; ++r) {
    const double d = (p(r, 0) - data.at("a").values(r, 0)) / model.label_deviation(0);
    total += d * d / 40;
  }
  CHECK(total == Approx(h.epochs[3].validation_loss).epsilon(1e-9));
}

TEST_CASE("a rehearsal does not count as training and α = 0 leaves everything as it was") {
  int rounds = 0;
  std::vector<double> before;
  const auto h = fit(scripted{"a",
                              [&](auto& p, int round) {
                                each_alone(p);
                                p.rehearsal = round < 3;
                                ++rounds;
                              },
                              [](vb::update_oracle&, vb::weights alpha, int round) {
                                std::fill(alpha.begin(), alpha.end(), round < 3 ? 0.0 : 0.5);
                              }});
  CHECK(rounds == 3 + 4);
  CHECK(h.epochs[0].validation_loss == Approx(h.epochs[2].validation_loss).epsilon(1e-12));
  CHECK(h.epochs[3].validation_loss < h.epochs[2].validation_loss);
}

TEST_CASE("what a task owns may move as far as its branch has moved it") {
  for (const bool scaled : {true, false}) {
    auto model = small_model();
    const auto data = related_tasks(120, 5, {"a", "b"}, 1);
    vb::training options{.epochs = 1, .batch = 16};
    model.build(data.inputs.shape(), options.seed);
    const auto before = model.theta();
    vb::fit(device, model, data, options, vb::optimizer::adam{},
            scripted{"a",
                     [&](auto& p, int) {
                       each_alone(p);
                       p.epochs = 1;
                       p.scale_own_modules = scaled;
                     },
                     [](vb::update_oracle&, vb::weights alpha, int) { alpha[0] = alpha[1] = 0; }});
    double trunk = 0;
    double own = 0;
    for (const auto& s : model.theta().segments()) {
      if (s.frozen) {
        continue;  // scaling of labels and inputs
      }
      for (index_t i = s.offset; i < s.offset + s.rows * s.cols; ++i) {
        const double d = std::abs(model.theta().values().data[i] - before.values().data[i]);
        (s.name.starts_with("trunk/") ? trunk : own) += d;
      }
    }
    CHECK(trunk == 0);
    CHECK((own > 0) == !scaled);
  }
}

TEST_CASE("the best parameters within a round, or ever") {
  for (const auto which : {vb::branch_result::best_of_round, vb::branch_result::best_ever}) {
    double earlier = -1e300;
    fit(scripted{"a",
                 [&](auto& p, int) {
                   each_alone(p);
                   p.result = which;
                   p.scorings = 3;
                 },
                 [&](vb::update_oracle& oracle, vb::weights alpha, int) {
                   alpha[0] = 1;
                   alpha[1] = 0;
                   const double score = oracle.score(alpha);
                   if (which == vb::branch_result::best_ever) {
                     CHECK(score >= earlier - 1e-12);
                   }
                   earlier = score;
                   alpha[0] = 0;  // every round begins at the first parameters
                 }},
        {.epochs = 4, .batch = 16});
  }
}

TEST_CASE("batches of one task at a time, drawn by chance") {
  const auto h = fit(scripted{"a",
                              [](auto& p, int) {
                                p.branches = {{"both", {1, 1}, {0.75, 0.25}}};
                                p.epochs = 8;
                              },
                              [](vb::update_oracle&, vb::weights alpha, int) { alpha[0] = 1; }},
                     {.epochs = 8, .batch = 4});
  CHECK(std::isfinite(h.epochs[0].task_losses[0]));
  CHECK(std::isfinite(h.epochs[0].task_losses[1]));
  CHECK(test::message_of([] {
          fit(scripted{"a", [](auto& p, int) { p.branches = {{"both", {1, missing}, {}}}; },
                       average});
        }) == "weighting: branch 'both' gives task 'b' the weight nan");
}

TEST_CASE("the branches of a round have different names, and draw tasks by probabilities") {
  const auto with = [](auto branches) {
    return test::message_of(
        [&] { fit(scripted{"a", [&](auto& p, int) { p.branches = branches; }, average}); });
  };
  using branches = std::vector<vb::branch>;
  CHECK(with(branches{{"", {1, 0}, {}}, {"", {0, 1}, {}}}) ==
        "weighting: the branches of a round need different names, but 2 are called ''");
  CHECK(with(branches{{"x", {1, 0}, {}}, {"y", {1, 1}, {}}, {"x", {0, 1}, {}}}) ==
        "weighting: the branches of a round need different names, but 2 are called 'x'");
  CHECK(with(branches{{"x", {1, 1}, {1}}}) ==
        "weighting: branch 'x' draws with 1 probabilities for 2 tasks");
  CHECK(with(branches{{"x", {1, 1}, {0.5, -0.5}}}) ==
        "weighting: branch 'x' draws a task with probability -0.5");
}

TEST_CASE("branches train as many epochs as the training has, whatever a plan asks for") {
  const auto rounds = [](double epochs, vb::training options) {
    const auto planned = [&](auto& p, int) {
      each_alone(p);
      p.epochs = epochs;
    };
    return fit(scripted{"a", planned, average}, options).epochs.size();
  };
  // 108 rows are for training: an epoch has about 7 steps of 16 rows.
  CHECK(rounds(0.5, {.epochs = 2, .batch = 16}) == 4);
  CHECK(rounds(1.5, {.epochs = 2, .batch = 16}) == 2);
  CHECK(rounds(50, {.epochs = 2, .batch = 16}) == 1);
  CHECK(rounds(1e-9, {.epochs = 2, .batch = 16}) == 14);  // a round has a step at least
  CHECK(rounds(1e-9, {.epochs = 2, .batch = 1000}) == 2);
  // The last round is cut short: the same as what it is cut to.
  const auto result = [](double share) {
    auto model = small_model();
    vb::fit(device, model, related_tasks(120, 5, {"a", "b"}, 1), {.epochs = 2, .batch = 16},
            vb::optimizer::sgd{}, vb::weighting::alpha_vil{.target = "a", .share = share});
    return model.theta().snapshot();
  };
  CHECK(result(1e30) == result(2));
  CHECK(result(2) != result(1));
}

TEST_CASE("a branch that fails costs its round, not the training") {
  const auto poisoned = [](auto& p, int round) {
    each_alone(p);
    if (round == 1) {
      p.branches[1].weights[1] = 1e300;
      p.keep_optimizer_state = false;
    }
  };
  vb::training options{.epochs = 2, .batch = 16, .clip_norm = 0};
  auto model = small_model();
  const auto data = related_tasks(120, 5, {"a", "b"}, 1);
  const vb::optimizer::sgd sgd{.learning_rate = 1e-2};
  auto h = vb::fit(device, model, data, options, sgd, scripted{"a", poisoned, average});
  REQUIRE(h.epochs.size() == 4);
  CHECK(h.epochs[0].note.empty());
  CHECK(h.epochs[1].note ==
        "branch 'b': the loss of task 'b' is not finite in round 2, step 2; the round is "
        "discarded");
  CHECK(h.epochs[1].validation_loss == h.epochs[0].validation_loss);
  CHECK(h.epochs[3].validation_loss < h.epochs[0].validation_loss);
  CHECK(h.epochs[1].branches[0].alpha == 0);

  options.on_failed_round = vb::failed_round::stop;
  auto again = small_model();
  h = vb::fit(device, again, data, options, sgd, scripted{"a", poisoned, average});
  CHECK(h.epochs.size() == 2);
  CHECK(h.best_epoch == 1);
  CHECK(h.epochs[1].note.ends_with("; the training ends"));

  // An update that is finite but far too long.
  options.largest_update = 1e-6;
  CHECK(test::message_of([&] {
          auto third = small_model();
          vb::fit(device, third, data, options, sgd,
                  scripted{"a", [](auto& p, int) { each_alone(p); }, average});
        })
            .starts_with("training: no round could be used: branch 'a': its update in round 1 has "
                         "the norm "));
}

TEST_CASE("a target that cannot be served") {
  const auto plan = [](auto& p, int) { each_alone(p); };
  CHECK(test::message_of([&] { fit(scripted{"c", plan, average}); }) ==
        "weighting: there is no task 'c' to be the target among a, b");
  CHECK(test::message_of([&] {
          fit(scripted{"a", plan, average}, {.epochs = 1, .validation_fraction = 0});
        }) == "weighting: the target 'a' has no label among the 0 rows set aside for validation");
  CHECK(test::message_of([&] {
          fit(scripted{"a", [](auto&, int) {}, average});
        }).starts_with("weighting: the plan of round 1 has 0 branches"));
  CHECK(test::message_of([&] {
          fit(scripted{"a", plan,
                       [](vb::update_oracle&, vb::weights alpha, int) { alpha[0] = missing; }});
        }) == "weighting: the coefficient of branch 1 is nan");
}

TEST_CASE("rounds: the same bits for 1, 2 and 7 threads") {
  const auto run = [](int threads) {
    auto model = small_model<float>();
    vb::fit(vb::backend::cpu(threads), model, related_tasks(200, 5, {"a", "b"}, 1),
            {.epochs = 2, .batch = 16}, vb::optimizer::adamw{},
            vb::weighting::alpha_vil{.target = "b"});
    return model.theta().snapshot();
  };
  const auto one = run(1);
  CHECK(run(2) == one);
  CHECK(run(7) == one);
}

TEST_CASE("looking ahead: products are derivatives, and all of a step is about one batch") {
  int steps = 0;
  const auto look = [&](vb::losses l, vb::gram_matrix g, vb::step_oracle& oracle) {
    if (steps++ > 2) {
      return;
    }
    CHECK(oracle.tasks() == l.size());
    numbers c{0.02, -0.03};
    numbers products(2);
    numbers scratch(2);
    const auto here = oracle.look_ahead(c, products);
    for (std::size_t t = 0; t < 2; ++t) {
      constexpr double h = 1e-6;
      const double kept = c[t];
      c[t] = kept + h;
      const double above = oracle.look_ahead(c, scratch).loss;
      c[t] = kept - h;
      const double below = oracle.look_ahead(c, scratch).loss;
      c[t] = kept;
      CHECK(-products[t] == Approx((above - below) / (2 * h)).epsilon(1e-5));
    }
    CHECK(oracle.look_ahead(c, scratch).loss == here.loss);
    // |<∇L, g>| ≤ ‖∇L‖ ‖g‖, with ‖g‖ at least what the shared parameters have of it.
    CHECK(here.gradient_norm > 0);
    CHECK(g(0, 0) > 0);
    // A head fitted to the development batch has a smaller loss there, and stays out of the model.
    const double own = oracle.look_ahead(numbers{0, 0}, scratch).loss;
    CHECK(oracle.look_ahead(numbers{0, 0}, scratch, vb::development_head::fitted).loss < own);
    CHECK(oracle.look_ahead(numbers{0, 0}, scratch).loss == own);
  };
  fit(within_steps{"a", look}, {.epochs = 1, .batch = 32});
  CHECK(steps > 2);
}

// One standardised feature x and a linear head: on the whole training set the Hessian of the mean
// squared error with respect to weight and bias is 2 I, so p = Σ_{j≤J} (1 - 2η)^j ∇L.
TEST_CASE("the Neumann series of a quadratic is a geometric one") {
  dataset data;
  data.inputs.values = problems::normal_matrix(64, 1, 5);
  numbers y(64);
  for (index_t r = 0; r < 64; ++r) {
    y[static_cast<std::size_t>(r)] = 3 * data.inputs.values(r, 0) + std::sin(r);
  }
  data.add("a", y);
  auto model = vb::multitask<double>(vb::encoder::features{}, vb::tasks{vb::regression("a")},
                                     vb::alignment::none{}, {.head = {}});
  vb::training options{.epochs = 1, .batch = 64};
  for (index_t r = 0; r < 20; ++r) {
    options.validation_rows.push_back(44 + r);
  }
  int steps = 0;
  const auto look = [&](vb::losses, vb::gram_matrix, vb::step_oracle& oracle) {
    ++steps;
    const auto once = [](vb::losses, vb::weights a) { a[0] = 1; };
    numbers zeroth(1);
    numbers ahead(1);
    oracle.look_ahead(numbers{0}, ahead);
    oracle.implicit(once, 0, 0.1, 1e-3, zeroth);
    CHECK(zeroth[0] == Approx(ahead[0]).epsilon(1e-12));
    for (const std::size_t terms : {std::size_t{1}, std::size_t{2}, std::size_t{5}}) {
      numbers products(1);
      oracle.implicit(once, terms, 0.1, 1e-3, products);
      double series = 0;
      for (std::size_t j = 0; j <= terms; ++j) {
        series += std::pow(1 - 2 * 0.1, static_cast<double>(j));
      }
      CHECK(products[0] == Approx(series * zeroth[0]).epsilon(1e-6));
      // An objective twice as steep has twice the Hessian.
      oracle.implicit([](vb::losses, vb::weights a) { a[0] = 2; }, terms, 0.05, 1e-3, products);
      CHECK(products[0] == Approx(series * zeroth[0]).epsilon(1e-6));
    }
  };
  vb::fit(device, model, data, options, vb::optimizer::sgd{.learning_rate = 1e-3},
          within_steps{"a", look});
  CHECK(steps == 1);
}

TEST_CASE("a policy with a target chooses the epoch by the target's loss") {
  auto data = related_tasks(120, 5, {"a", "b"}, 1);
  vb::training options{.epochs = 1, .batch = 16};
  auto one = small_model();
  auto two = small_model();
  const vb::optimizer::adam adam{};
  const auto a = vb::fit(device, one, data, options, adam, serving{"a"});
  const auto b = vb::fit(device, two, data, options, adam, serving{"b"});
  const auto both = [&] {
    auto three = small_model();
    return vb::fit(device, three, data, options, adam, vb::weighting::equal{});
  }();
  CHECK(a.epochs[0].validation_loss != b.epochs[0].validation_loss);
  CHECK((a.epochs[0].validation_loss + b.epochs[0].validation_loss) / 2 ==
        Approx(both.epochs[0].validation_loss).epsilon(1e-12));
}
