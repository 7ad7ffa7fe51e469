// Ctrl-C as a request to stop at the next opportunity.
#pragma once

#include <signal.h>

#include <array>
#include <atomic>
#include <csignal>

namespace vierbein {

namespace detail {

inline std::atomic<bool> interrupt_requested{false};
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler may not wait for a lock");

inline int interrupt_guards = 0;

// The first signal is a request. The second one does what it would have done without us.
extern "C" inline void vierbein_request_interrupt(int signal_number) {
  if (interrupt_requested.exchange(true)) {
    ::signal(signal_number, SIG_DFL);
    ::raise(signal_number);
  }
}

}  // namespace detail

/// Whether Ctrl-C (SIGINT) or a request to terminate (SIGTERM) came since the outermost
/// `interrupt_guard` began.
inline bool interrupted() noexcept {
  return detail::interrupt_requested.load();
}

/// While it lives, SIGINT and SIGTERM do not end the program but make `interrupted()` true; a
/// second one ends it. Afterwards the handlers from before are back. Guards may be nested: a
/// program that trains several models holds one around all of them, and one Ctrl-C stops them all.
/// Signals that the program was started to ignore stay ignored. To be made and destroyed by one
/// thread.
class [[nodiscard]] interrupt_guard {
 public:
  interrupt_guard() {
    if (detail::interrupt_guards++ > 0) {
      return;
    }
    detail::interrupt_requested = false;
    struct sigaction action = {};
    action.sa_handler = detail::vierbein_request_interrupt;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    for (std::size_t i = 0; i < signals.size(); ++i) {
      sigaction(signals[i], nullptr, &before_[i]);
      if (before_[i].sa_handler != SIG_IGN) {
        sigaction(signals[i], &action, nullptr);
      }
    }
    outermost_ = true;
  }
  ~interrupt_guard() {
    --detail::interrupt_guards;
    if (outermost_) {
      for (std::size_t i = 0; i < signals.size(); ++i) {
        sigaction(signals[i], &before_[i], nullptr);
      }
    }
  }
  interrupt_guard(const interrupt_guard&) = delete;
  interrupt_guard& operator=(const interrupt_guard&) = delete;

 private:
  static constexpr std::array<int, 2> signals{SIGINT, SIGTERM};
  std::array<struct sigaction, 2> before_{};
  bool outermost_ = false;
};

}  // namespace vierbein
