// The methods that are compared.
#pragma once

#include <string>

namespace multi_fashion {

/// How a method trains.
///   single    the target alone
///   shared    both tasks in one model, equal weights
///   finetune  like shared, then the target alone
///   policy    both tasks in one model, by the weighting policy of the method's name
///             (support/policies.hpp)
enum class training_kind { single, shared, finetune, policy };

struct method {
  std::string name;
  training_kind kind = training_kind::policy;
  double cost = 2;  // seconds of a training relative to `shared`, as a first guess
};

/// The method of that name; throws when there is none.
const method& find_method(const std::string& name);

/// The names of all methods.
std::string method_names();

}  // namespace multi_fashion
