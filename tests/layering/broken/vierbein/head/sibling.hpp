// Not part of the library: an include that the layering check must notice.
#pragma once

#include "vierbein/encoder/mlp.hpp"
#include "vierbein/graph/tape.hpp"
