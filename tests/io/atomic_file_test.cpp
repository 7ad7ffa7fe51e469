#include "vierbein/io/atomic_file.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <ostream>
#include <stdexcept>
#include <string>

#include "../support/message_of.hpp"
#include "temporary_folder.hpp"

namespace io = vierbein::io;
namespace fs = std::filesystem;
using vierbein::error;

TEST_CASE("write_atomically creates and replaces a file and leaves nothing else") {
  const test::temporary_folder folder;
  const fs::path path = folder / "result.txt";
  io::write_atomically(path, [](std::ostream& out) { out << "first"; });
  CHECK(test::get(path) == "first");
  const std::string large(300'000, 'x');  // several buffers
  io::write_atomically(path, [&](std::ostream& out) {
    out << large;
    out.put('!');
  });
  CHECK(test::get(path) == large + "!");
  io::write_atomically(path, [](std::ostream&) {});
  CHECK(test::get(path).empty());
  CHECK(folder.count() == 1);
}

TEST_CASE("write_atomically keeps the old content until the new one is complete") {
  const test::temporary_folder folder;
  const fs::path path = folder / "result.txt";
  test::put(path, "old");
  io::write_atomically(path, [&](std::ostream& out) {
    out << "new" << std::flush;
    CHECK(test::get(path) == "old");
  });
  CHECK(test::get(path) == "new");
}

TEST_CASE("write_atomically: what the writer throws passes through, the old content survives") {
  const test::temporary_folder folder;
  const fs::path path = folder / "result.txt";
  test::put(path, "old");
  CHECK_THROWS_AS(io::write_atomically(path,
                                       [](std::ostream& out) {
                                         out << "half" << std::flush;
                                         throw std::logic_error("stop");
                                       }),
                  std::logic_error);
  CHECK(test::get(path) == "old");
  CHECK(folder.count() == 1);
}

TEST_CASE("write_atomically: a stream in a failed state is an error, the old content survives") {
  const test::temporary_folder folder;
  const fs::path path = folder / "result.txt";
  test::put(path, "old");
  const std::string said = test::message_of<error>([&] {
    io::write_atomically(path, [](std::ostream& out) {
      out << "half";
      out.setstate(std::ios::failbit);
    });
  });
  CHECK(said ==
        path.string() + ": cannot be written: the writer left its stream in a failed state");
  CHECK(test::get(path) == "old");
  CHECK(folder.count() == 1);
}

TEST_CASE("write_atomically names the reason for a missing folder, a folder and a device") {
  const test::temporary_folder folder;
  const auto nothing = [](std::ostream&) {};
  const fs::path missing = folder / "missing/result.txt";
  CHECK(test::message_of<error>([&] { io::write_atomically(missing, nothing); }) ==
        missing.string() + ": cannot be written: No such file or directory");
  CHECK(test::message_of<error>([&] { io::write_atomically(folder.path(), nothing); }) ==
        folder.path().string() + ": cannot be written: it is not a regular file");
  CHECK(test::message_of<error>([&] { io::write_atomically("/dev/null", nothing); }) ==
        "/dev/null: cannot be written: it is not a regular file");
  CHECK(test::message_of<error>([&] { io::write_atomically("", nothing); }) ==
        "path: expected the name of a file, found an empty one");
  CHECK(fs::is_character_file("/dev/null"));
  CHECK(folder.count() == 0);
}

TEST_CASE("write_atomically follows a symbolic link and keeps permissions") {
  const test::temporary_folder folder;
  test::put(folder / "real", "old");
  fs::permissions(folder / "real", fs::perms::owner_read | fs::perms::owner_write);
  fs::create_symlink("real", folder / "link");
  io::write_atomically(folder / "link", [](std::ostream& out) { out << "new"; });
  CHECK(fs::is_symlink(folder / "link"));
  CHECK(test::get(folder / "real") == "new");
  CHECK(fs::status(folder / "real").permissions() ==
        (fs::perms::owner_read | fs::perms::owner_write));
}

TEST_CASE("a write beyond the allowed size fails as on a full disk, the old content survives") {
  const test::temporary_folder folder;
  const fs::path path = folder / "result.txt";
  test::put(path, "old");
  int channel[2];
  REQUIRE(::pipe(channel) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{100'000, 100'000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const std::string said = test::message_of<error>([&] {
      io::write_atomically(path, [](std::ostream& out) { out << std::string(300'000, 'x'); });
    });
    const bool sent = ::write(channel[1], said.data(), said.size()) == std::ssize(said);
    ::_exit(sent ? 0 : 1);
  }
  ::close(channel[1]);
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  std::string said(1000, ' ');
  said.resize(
      static_cast<std::size_t>(std::max<ssize_t>(0, ::read(channel[0], said.data(), 1000))));
  ::close(channel[0]);
  CHECK(said == path.string() + ": cannot be written: File too large");
  CHECK(test::get(path) == "old");
  CHECK(folder.count() == 1);
}

TEST_CASE("descriptor_buffer reports a full device") {
  const int full = ::open("/dev/full", O_WRONLY);
  if (full < 0) {
    MESSAGE("skipped: this system has no /dev/full");
    return;
  }
  io::detail::descriptor_buffer buffer(full);
  std::ostream stream(&buffer);
  stream << "a few bytes";
  CHECK(stream.good());
  stream.flush();
  CHECK(!stream.good());
  CHECK(io::detail::reason(buffer.error_number()) == "No space left on device");
  ::close(full);
}
