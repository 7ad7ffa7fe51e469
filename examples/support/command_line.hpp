// How the example programs read their command line.
#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <optional>

#include "program.hpp"

namespace examples {

/// Reads the options of `app`. A result is the return code with which the program is to end: after
/// --help, or after a refusal.
inline std::optional<int> parse(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) {  // --help
      return app.exit(e);
    }
    return refuse(fmt::format("{0}: {1} (see {0} --help)", app.get_name(), e.what()));
  }
  return {};
}

}  // namespace examples
