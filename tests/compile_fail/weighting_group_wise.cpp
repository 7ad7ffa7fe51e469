// expect: group_wise needs a gram_based weighting policy of one batch
// A policy that looks at losses alone has nothing to compare in parts of the parameters.
#include "vierbein/weighting/equal.hpp"
#include "vierbein/weighting/group_wise.hpp"

vierbein::weighting::group_wise<vierbein::weighting::equal> parts;
