// Files that appear whole or not at all.
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <ios>
#include <ostream>
#include <streambuf>
#include <string>
#include <system_error>
#include <vector>

#include "vierbein/core/error.hpp"

namespace vierbein::io {

namespace detail {

/// What the operating system calls an error number, such as "No space left on device".
inline std::string reason(int error_number) {
  return std::generic_category().message(error_number);
}

/// The name of a file that is to be read or written. Throws when it is empty.
inline std::string file_name(const std::filesystem::path& path) {
  require(!path.empty(), "path", "expected the name of a file, found an empty one");
  return path.string();
}

/// A stream buffer over a POSIX file descriptor, which it does not own. It remembers the error
/// number of the first write that failed and writes nothing after it.
class descriptor_buffer final : public std::streambuf {
 public:
  explicit descriptor_buffer(int descriptor) : descriptor_(descriptor), buffer_(capacity) {
    setp(buffer_.data(), buffer_.data() + buffer_.size());
  }

  /// 0 while every write succeeded.
  [[nodiscard]] int error_number() const { return error_number_; }

 protected:
  int_type overflow(int_type c) override {
    if (!drain()) {
      return traits_type::eof();
    }
    if (!traits_type::eq_int_type(c, traits_type::eof())) {
      *pptr() = traits_type::to_char_type(c);
      pbump(1);
    }
    return traits_type::not_eof(c);
  }

  int sync() override { return drain() ? 0 : -1; }

 private:
  static constexpr std::size_t capacity = std::size_t{1} << 16;

  bool drain() {
    const char* next = pbase();
    while (error_number_ == 0 && next < pptr()) {
      const ssize_t written = ::write(descriptor_, next, static_cast<std::size_t>(pptr() - next));
      if (written > 0) {
        next += written;
      } else if (written == 0) {
        error_number_ = EIO;
      } else if (errno != EINTR) {
        error_number_ = errno;
      }
    }
    setp(buffer_.data(), buffer_.data() + buffer_.size());
    return error_number_ == 0;
  }

  int descriptor_;
  int error_number_ = 0;
  std::vector<char> buffer_;
};

/// A new file beside `target`, removed again unless `keep` was called.
class temporary_file {
 public:
  explicit temporary_file(const std::filesystem::path& target) {
    static std::atomic<unsigned> counter{0};
    do {
      path_ = target.parent_path() / fmt::format(".vierbein-{}-{}.tmp", ::getpid(), counter++);
      descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    } while (descriptor_ < 0 && errno == EEXIST);
    error_number_ = descriptor_ < 0 ? errno : 0;
  }
  temporary_file(const temporary_file&) = delete;
  temporary_file& operator=(const temporary_file&) = delete;
  ~temporary_file() {
    if (descriptor_ >= 0) {
      ::close(descriptor_);
    }
    if (!kept_ && error_number_ == 0) {
      ::unlink(path_.c_str());
    }
  }

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] int descriptor() const { return descriptor_; }
  /// Why it could not be created; 0 if it was.
  [[nodiscard]] int error_number() const { return error_number_; }
  void keep() { kept_ = true; }

  /// Brings the content to the disk and closes the file. Returns an error number or 0.
  [[nodiscard]] int finish() {
    const int synchronised = ::fsync(descriptor_) == 0 ? 0 : errno;
    const int closed = ::close(descriptor_) == 0 ? 0 : errno;
    descriptor_ = -1;
    return synchronised != 0 ? synchronised : closed;
  }

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  int error_number_ = 0;
  bool kept_ = false;
};

}  // namespace detail

/// Writes the file `path`: `writer` fills a temporary file in the same folder, which is brought to
/// the disk and then takes the name `path`. Whoever opens `path` sees the old content or the new
/// one. A symbolic link keeps pointing to its file, and a file that is replaced keeps its
/// permissions.
///
/// Throws vierbein::error with the reason when anything fails (no such folder, no permission, disk
/// full, the stream in a failed state, or `path` is empty or names a folder or a device); what
/// `writer` throws passes through. In either case the temporary file is removed and the old content
/// is untouched.
inline void write_atomically(const std::filesystem::path& path,
                             const std::function<void(std::ostream&)>& writer) {
  namespace fs = std::filesystem;
  const std::string file = detail::file_name(path);
  const auto check = [&](int error_number) {
    if (error_number != 0) {
      throw error(file, fmt::format("cannot be written: {}", detail::reason(error_number)));
    }
  };
  std::error_code ignored;
  const bool linked = fs::is_symlink(fs::symlink_status(path, ignored));
  const fs::path target = linked ? fs::weakly_canonical(path, ignored) : path;
  const fs::file_status status = fs::status(target, ignored);
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    throw error(file, "cannot be written: it is not a regular file");
  }

  detail::temporary_file temporary(target);
  check(temporary.error_number());
  if (fs::exists(status)) {
    check(::fchmod(temporary.descriptor(), static_cast<mode_t>(status.permissions()) & 0777U) == 0
              ? 0
              : errno);
  }
  detail::descriptor_buffer buffer(temporary.descriptor());
  std::ostream stream(&buffer);
  try {
    writer(stream);
    stream.flush();
  } catch (const std::ios_base::failure&) {
    check(buffer.error_number());
    throw;
  }
  check(buffer.error_number());
  if (!stream) {
    throw error(file, "cannot be written: the writer left its stream in a failed state");
  }
  check(temporary.finish());
  check(::rename(temporary.path().c_str(), target.c_str()) == 0 ? 0 : errno);
  temporary.keep();

  // The new name itself reaches the disk with the folder; not every file system can do this.
  const fs::path folder = target.has_parent_path() ? target.parent_path() : fs::path(".");
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor >= 0) {
    (void)::fsync(descriptor);
    ::close(descriptor);
  }
}

}  // namespace vierbein::io
