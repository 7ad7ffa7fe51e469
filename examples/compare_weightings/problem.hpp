// The tasks that the methods learn.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "../support/weightings.hpp"
#include "settings.hpp"
#include "vierbein/train/insight.hpp"

namespace compare_weightings {

/// What a training achieved and took.
struct outcome {
  std::vector<double> by_task;  // the more the better: R² or accuracy on the test rows
  double ms_per_step = 0;       // median
  double seconds = 0;           // of the whole training
};

class problem {
 public:
  problem() = default;
  problem(const problem&) = delete;
  problem& operator=(const problem&) = delete;
  virtual ~problem() = default;

  /// "R²" or "accuracy".
  [[nodiscard]] virtual const char* metric() const = 0;
  /// Trains and tests with the rows and first parameters of a seed. Collects steps in `course`,
  /// unless that is null, where the policy looks at gradients. Nothing when an interrupt ended it.
  virtual std::optional<outcome> train(const std::string& label, examples::any_policy policy,
                                       long seed, vb::training_course* course) = 0;
};

/// Each reads its data and throws when they are not as expected.
std::unique_ptr<problem> make_fashion_problem(const settings& s);
std::unique_ptr<problem> make_molecule_problem(const settings& s);

}  // namespace compare_weightings
