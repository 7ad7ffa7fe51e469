#include "vierbein/testing/gradient_check.hpp"

#include <doctest/doctest.h>

#include <limits>

#include "vierbein/backend/cpu.hpp"
#include "vierbein/graph/operations.hpp"

namespace vb = vierbein;
using vb::testing::check_gradient;
using vb::testing::gradient_report;

namespace {

// f(x), element by element, whose backward passes on the cotangent times `slope`.
template <vb::Backend B>
struct pretended_square {
  vb::graph::var<B> x;
  double factor;
  void forward(vb::graph::tape<B>& t, vb::backend::matrix_of<B> out) const {
    t.backend().unary(vb::backend::unary::square, 0, x.value(), out);
  }
  void backward(vb::graph::tape<B>& t, vb::backend::const_matrix_of<B>,
                vb::backend::const_matrix_of<B> dy, vb::index_t slab) const {
    if (const auto d = t.gradient(x, slab)) {
      t.backend().multiply_add(static_cast<typename B::scalar>(factor), dy, x.value(), d.view,
                               d.accumulate);
    }
  }
};

struct two_segments {
  vb::parameters<double> theta;
  vb::segment_id a = theta.add("a", 2, 3, vb::initialiser::he);
  vb::segment_id b = theta.add("b", 1, 4, vb::initialiser::he);
  two_segments() { theta.initialise(3); }

  // sum of a² + b², whose derivative is taken to be factor a + 2 b.
  auto loss(double factor) const {
    return [this, factor](auto& tape) {
      using B = typename std::remove_cvref_t<decltype(tape)>::backend_type;
      const auto x = tape.parameter(a);
      return vb::graph::sum(tape.record(2, 3, {x}, pretended_square<B>{x, factor})) +
             vb::graph::sum(vb::graph::square(tape.parameter(b)));
    };
  }
};

}  // namespace

TEST_CASE_FIXTURE(two_segments, "a correct gradient passes on either backend") {
  const gradient_report report = check_gradient(theta, loss(2));
  CHECK(report);
  CHECK(report.worst < 1e-8);
  CHECK(check_gradient(theta, loss(2), vb::backend::cpu_double{}));
}

TEST_CASE_FIXTURE(two_segments, "a wrong gradient fails and is named") {
  for (const double factor : {-2.0, 0.0, 1.0, 2.001}) {
    CAPTURE(factor);
    const gradient_report report = check_gradient(theta, loss(factor));
    CHECK(!report);
    CHECK(report.where.starts_with("a["));
    CHECK(report.swept == doctest::Approx(report.numeric * factor / 2).epsilon(1e-6));
  }
}

TEST_CASE_FIXTURE(two_segments, "a gradient that is not a number fails, wherever it stands") {
  for (const vb::segment_id id : {a, b}) {
    vb::parameters<double> spoilt = theta;
    spoilt.view(id)(0, 1) = std::numeric_limits<double>::quiet_NaN();
    CHECK(!check_gradient(spoilt, loss(2)));
  }
  CHECK(!check_gradient(theta, loss(std::numeric_limits<double>::quiet_NaN())));
}

TEST_CASE_FIXTURE(two_segments, "frozen segments are left out, and parameters left as they were") {
  const auto before = theta.snapshot();
  theta.freeze("a");
  CHECK(check_gradient(theta, loss(7)));
  theta.freeze("a", false);
  CHECK(!check_gradient(theta, loss(7)));
  CHECK(theta.snapshot() == before);
}
