#include "vierbein/train/interrupt.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

using vierbein::interrupt_guard;
using vierbein::interrupted;

namespace {

// How a child process ends that runs f: the signal that killed it, or 0.
template <class F>
int fatal_signal(F f) {
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGINT, SIG_DFL);  // doctest has handlers of its own
    signal(SIGTERM, SIG_DFL);
    f();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

int handled = 0;
void count_signal(int) {
  ++handled;
}

}  // namespace

TEST_CASE("under a guard the first signal is a request and the second one kills") {
  CHECK(fatal_signal([] { raise(SIGINT); }) == SIGINT);
  CHECK(fatal_signal([] {
          const interrupt_guard guard;
          raise(SIGINT);
        }) == 0);
  CHECK(fatal_signal([] {
          const interrupt_guard guard;
          raise(SIGINT);
          raise(SIGINT);
        }) == SIGINT);
  CHECK(fatal_signal([] {
          const interrupt_guard guard;
          raise(SIGINT);
          raise(SIGTERM);
        }) == SIGTERM);
  CHECK(fatal_signal([] {
          {
            const interrupt_guard guard;
          }
          raise(SIGTERM);
        }) == SIGTERM);
}

TEST_CASE("a guard tells of the signal and gives the old handler back") {
  const auto before = signal(SIGINT, count_signal);
  {
    const interrupt_guard outer;
    CHECK_FALSE(interrupted());
    {
      const interrupt_guard inner;
      raise(SIGINT);
      CHECK(interrupted());
    }
    CHECK(interrupted());
    const interrupt_guard again;
    CHECK(interrupted());
  }
  CHECK(handled == 0);
  raise(SIGINT);
  CHECK(handled == 1);
  {
    const interrupt_guard fresh;
    CHECK_FALSE(interrupted());
  }
  signal(SIGINT, before);
}

TEST_CASE("an ignored signal stays ignored") {
  const auto before = signal(SIGINT, SIG_IGN);
  {
    const interrupt_guard guard;
    raise(SIGINT);
    CHECK_FALSE(interrupted());
  }
  const bool ignored = signal(SIGINT, before) == SIG_IGN;
  CHECK(ignored);
}
