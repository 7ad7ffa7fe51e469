// The number of threads changes no bit of any result, and subnormal numbers are zero in kernels and
// nowhere else.
#include <set>

#include "catalogue.hpp"

#if defined(_OPENMP)
#include <omp.h>
#endif
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

using namespace backend_test;

namespace {

template <class T>
void check_same_bits(workspace<T>& found, workspace<T>& expected) {
  REQUIRE(found.results().size() == expected.results().size());
  for (std::size_t i = 0; i < found.results().size(); ++i) {
    INFO(found.results()[i].name);
    const auto& a = found.results()[i].values->elements;
    const auto& b = expected.results()[i].values->elements;
    CHECK(std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
  }
}

// `run(backend, workspace, shape, accumulate)` on 2, 3 and 7 threads against one thread.
template <class T = float, class Engine = vb::backend::engine::tiled, class F>
void same_on_all_threads(F&& run) {
  // Thousands of rows, thousands of columns, neither, and as many as leave one row over.
  for (const shape s : {shape{60013, 5}, shape{3, 22007}, shape{521, 67}, shape{97, 130}}) {
    for (const bool strided : {false, true}) {
      workspace<T> expected(strided);
      run(vb::backend::basic_cpu<T, Engine>{1}, expected, s, strided);
      for (const int threads : {2, 3, 7}) {
        CAPTURE(s.rows);
        CAPTURE(strided);
        CAPTURE(threads);
        workspace<T> found(strided);
        run(vb::backend::basic_cpu<T, Engine>{threads}, found, s, strided);
        check_same_bits(found, expected);
      }
    }
  }
}

}  // namespace

TEST_CASE("every operation has the same bits on 1, 2, 3 and 7 threads") {
  SUBCASE("element-wise") {
    same_on_all_threads([](auto&&... a) { run_elementwise(a...); });
  }
  SUBCASE("structure") {
    same_on_all_threads([](auto&&... a) { run_structure(a...); });
  }
  SUBCASE("reductions") {
    same_on_all_threads([](auto&&... a) { run_reductions(a...); });
  }
  SUBCASE("noise") {
    same_on_all_threads([](auto&&... a) { run_noise(a...); });
  }
  SUBCASE("normalisation") {
    same_on_all_threads([](auto&&... a) { run_normalisation(a...); });
  }
  SUBCASE("losses") {
    same_on_all_threads([](auto&&... a) { run_losses(a...); });
  }
  SUBCASE("spread") {
    same_on_all_threads([](auto&&... a) { run_spread(a...); });
  }
  SUBCASE("optimisers") {
    same_on_all_threads([](auto&&... a) { run_optimisers(a...); });
  }
  SUBCASE("totals in double, where rounding to float does not hide the order of summation") {
    same_on_all_threads<double>([](auto&&... a) {
      run_reductions(a...);
      run_losses(a...);
      run_spread(a...);
    });
  }
  SUBCASE("products") {
    same_on_all_threads([](const auto& b, auto& w, shape s, bool accumulate) {
      run_products(b, w, s, 9, accumulate);
    });
  }
  SUBCASE("products in bfloat16") {
    same_on_all_threads<float, vb::backend::engine::bf16<2>>(
        [](const auto& b, auto& w, shape s, bool accumulate) {
          run_products(b, w, s, 9, accumulate);
        });
  }
  SUBCASE("affine layers") {
    same_on_all_threads([](const auto& b, auto& w, shape s, bool) { run_affine(b, w, s, 9); });
  }
}

TEST_CASE("convolutions and pooling have the same bits on 1, 2, 3 and 7 threads") {
  for (const image_case& c :
       {image_case{{1, 36, 36}, {5, 5, 1, 0}, 6}, image_case{{6, 16, 16}, {5, 5, 1, 0}, 16},
        image_case{{16, 9, 11}, {3, 3, 2, 1}, 32}, image_case{{3, 21, 30}, {3, 3, 1, 1}, 20}}) {
    for (const bool strided : {false, true}) {
      CAPTURE(c.out);
      CAPTURE(strided);
      workspace<double> expected(strided);
      run_images(vb::backend::cpu_double{1}, expected, c, 21, strided);
      for (const int threads : {2, 3, 7}) {
        CAPTURE(threads);
        workspace<double> found(strided);
        run_images(vb::backend::cpu_double{threads}, found, c, 21, strided);
        check_same_bits(found, expected);
      }
    }
  }
}

namespace {

struct pooled_case {
  image_case c;
  vb::image_window pool;
};

// Lines and columns that no pool meets; several panels; pools in larger steps; padding.
constexpr pooled_case pooled_cases[] = {
    {{{1, 36, 36}, {5, 5, 1, 0}, 6}, {2, 2, 2, 0}},   {{{16, 16, 16}, {5, 5, 1, 0}, 32}, {2, 2, 2}},
    {{{3, 30, 31}, {3, 3, 1, 1}, 20}, {2, 3, 3, 0}},  {{{2, 9, 8}, {3, 3, 2, 1}, 16}, {1, 2, 3, 0}},
    {{{5, 12, 120}, {4, 4, 1, 2}, 8}, {3, 3, 3, 0}},  {{{1, 4, 4}, {3, 3, 1, 0}, 70}, {2, 2, 2, 0}},
    {{{2, 40, 200}, {3, 2, 1, 0}, 17}, {5, 4, 6, 0}},
};

}  // namespace

TEST_CASE(
    "a convolution that is pooled as it is computed is the same as one that is pooled after") {
  const vb::backend::cpu_double backend{1};
  for (const auto& [c, pool] : pooled_cases) {
    for (const index_t n : {index_t{0}, index_t{1}, index_t{5}}) {
      for (const bool strided : {false, true}) {
        CAPTURE(c.out);
        CAPTURE(n);
        CAPTURE(strided);
        workspace<double> together(strided);
        workspace<double> apart(strided);
        run_pooled(backend, together, c, pool, n, true);
        run_pooled(backend, apart, c, pool, n, false);
        REQUIRE(together.results().size() == apart.results().size());
        for (std::size_t i = 0; i < apart.results().size(); ++i) {
          INFO(apart.results()[i].name);
          const auto& a = *together.results()[i].values;
          const auto& b = *apart.results()[i].values;
          CHECK(a.gaps_untouched());
          double worst = 0;
          for (std::size_t k = 0; k < a.elements.size(); ++k) {
            worst = std::max(worst, std::abs(a.elements[k] - b.elements[k]));
          }
          CHECK(worst < 1e-11);
        }
      }
    }
  }
}

TEST_CASE("convolutions that are pooled have the same bits on 1, 2, 3 and 7 threads") {
  for (const auto& [c, pool] : pooled_cases) {
    CAPTURE(c.out);
    workspace<float> expected(false);
    run_pooled(vb::backend::cpu{1}, expected, c, pool, 21, true);
    for (const int threads : {2, 3, 7}) {
      CAPTURE(threads);
      workspace<float> found(false);
      run_pooled(vb::backend::cpu{threads}, found, c, pool, 21, true);
      check_same_bits(found, expected);
    }
  }
}

TEST_CASE("chunks cover the range once, and do not depend on the number of threads") {
  for (const index_t cost : {index_t{0}, index_t{1}, index_t{100}, index_t{1} << 40}) {
    for (const index_t count : {index_t{0}, index_t{1}, index_t{1000}, index_t{100000}}) {
      if (cost * count > index_t{1} << 44) {
        continue;
      }
      std::vector<std::vector<index_t>> ends;
      for (const int threads : {1, 3}) {
        std::vector<index_t> end_of(static_cast<std::size_t>(count), -1);
        std::vector<int> visits(static_cast<std::size_t>(count), 0);
        vb::backend::cpu{threads}.run(count, cost, [&](index_t first, index_t last) {
          for (index_t i = first; i < last; ++i) {
            end_of[static_cast<std::size_t>(i)] = last;
            ++visits[static_cast<std::size_t>(i)];
          }
        });
        CHECK(visits == std::vector<int>(static_cast<std::size_t>(count), 1));
        ends.push_back(std::move(end_of));
      }
      CHECK(ends[0] == ends[1]);
    }
  }
}

#if defined(_OPENMP)

TEST_CASE("an impossible number of threads is refused") {
  CHECK_THROWS_WITH_AS(vb::backend::cpu(-3),
                       "backend::cpu: threads must be from 0 (all) to 1024, but is -3", vb::error);
  CHECK_THROWS_AS(vb::backend::cpu(1025), vb::error);
  CHECK(vb::backend::cpu(0).threads() >= 1);
}

TEST_CASE("large work forks, small work and work within a parallel region do not") {
  const auto threads_used = [](index_t count) {
    std::vector<int> who(static_cast<std::size_t>(count), -1);
    vb::backend::cpu{3}.run(count, 1, [&](index_t first, index_t last) {
      std::fill(who.begin() + first, who.begin() + last, omp_get_thread_num());
    });
    return std::set<int>(who.begin(), who.end()).size();
  };
  CHECK(threads_used(1000000) == 3);
  CHECK(threads_used(1000) == 1);
  std::size_t inside = 0;
#pragma omp parallel num_threads(2)
#pragma omp single
  inside = threads_used(1000000);
  CHECK(inside == 1);
}

#endif

#if defined(__SSE__)

TEST_CASE("subnormal numbers count as zero in kernels") {
  constexpr float subnormal = 1e-39F;
  constexpr float smallest = std::numeric_limits<float>::min();
  for (const int threads : {1, 3}) {
    CAPTURE(threads);
    const vb::backend::cpu backend{threads};
    for (const index_t rows : {index_t{3}, index_t{50000}}) {  // in this thread and in several
      vb::matrix<float> x(rows, 4, subnormal);
      vb::matrix<float> y(rows, 4, 1.0F);
      const vb::matrix<float> zero(rows, 4, 0.0F);
      backend.copy(0.5F, x.view(), y.view(), false);  // a result
      CHECK(y == zero);
      backend.copy(0x1p100F, x.view(), y.view(), false);  // an operand
      CHECK(y == zero);
      x = vb::matrix<float>(rows, 4, smallest);
      backend.unary(unary::scale, 0.5F, x.view(), y.view());
      CHECK(y == zero);
      vb::matrix<float> w(4, 4, 0.125F);
      const vb::backend::product<float, vb::host_space> one{x.view(), w.view(), y.view()};
      backend.multiply(transposition::nn, {&one, 1}, false);
      CHECK(y == zero);
    }
  }
}

TEST_CASE("the mode of the caller and of its threads is restored") {
  const auto half_of_smallest = [] {
    volatile float x = std::numeric_limits<float>::min();
    volatile float y = 0.5F;
    return x * y;
  };
  const unsigned before = _mm_getcsr();
  REQUIRE(half_of_smallest() > 0);
  vb::matrix<float> x(50000, 4, 1.0F);
  for (const int threads : {1, 3}) {
    vb::backend::cpu{threads}.copy(0.5F, x.view(), x.view(), true);
    CHECK((_mm_getcsr() & 0xFFC0U) == (before & 0xFFC0U));  // all but the sticky exception flags
    CHECK(half_of_smallest() > 0);
    int flushing = 0;
#pragma omp parallel num_threads(3) reduction(+ : flushing)
    flushing += half_of_smallest() > 0 ? 0 : 1;
    CHECK(flushing == 0);
  }
  // A caller that flushes keeps flushing.
  _mm_setcsr(before | 0x8040U);
  vb::backend::cpu{1}.copy(0.5F, x.view(), x.view(), true);
  const unsigned after = _mm_getcsr();
  _mm_setcsr(before);
  CHECK((after & 0x8040U) == 0x8040U);
}

#endif
