// A user of component cuda: it links the installed kernels. There need not be a device.
#include <vierbein/backend/buffer.hpp>
#include <vierbein/backend/cuda.hpp>

int main() {
  try {
    const vierbein::backend::cuda backend;
    const vierbein::backend::buffer<vierbein::backend::cuda> memory(backend, 10);
    return backend.squared_norm(memory.view()) == 0 ? 0 : 1;
  } catch (const vierbein::error& e) {
    fmt::print("{}\n", e.what());
    return 0;
  }
}
