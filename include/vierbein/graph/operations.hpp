// Every operation that can be recorded on a tape.
#pragma once

#include "vierbein/graph/affine.hpp"
#include "vierbein/graph/convolution.hpp"
#include "vierbein/graph/elementwise.hpp"
#include "vierbein/graph/image_layers.hpp"
#include "vierbein/graph/layers.hpp"
#include "vierbein/graph/loss.hpp"
#include "vierbein/graph/noise.hpp"
#include "vierbein/graph/normalisation.hpp"
#include "vierbein/graph/pooling.hpp"
#include "vierbein/graph/product.hpp"
#include "vierbein/graph/reduction.hpp"
#include "vierbein/graph/spread.hpp"
#include "vierbein/graph/structure.hpp"
