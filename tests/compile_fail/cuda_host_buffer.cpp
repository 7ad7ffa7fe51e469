// expect: device_space
// A backend's memory is not given to a step of another backend's optimiser.
#include "vierbein/backend/buffer.hpp"
#include "vierbein/backend/cpu.hpp"
#include "vierbein/backend/cuda.hpp"
#include "vierbein/optimizer/sgd.hpp"

void step(vierbein::optimizer::sgd::state<vierbein::backend::cuda>& update,
          const vierbein::backend::buffer<vierbein::backend::cpu>& theta) {
  update.step(theta.view(), {}, 1.0, 1.0, {});
}
