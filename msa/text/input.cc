#include "msa/text/input.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace msa {
namespace {

constexpr size_t kReadBytes = size_t{256} << 10;

}  // namespace

Result<Input> Input::Open(const std::string& path) {
  // Without O_NONBLOCK, opening a pipe nobody writes to would wait.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return ErrnoStatus("open", errno);
  Input input(fd, path, true);
  struct stat st{};
  if (::fstat(fd, &st) != 0) return ErrnoStatus("stat", errno);
  if (!S_ISREG(st.st_mode)) return InvalidArgument("not a regular file");
  return input;
}

Input Input::StandardInput() { return Input(STDIN_FILENO, "standard input", false); }

Input::Input(Input&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      name_(std::move(other.name_)),
      owned_(other.owned_),
      buffer_(std::move(other.buffer_)),
      next_(other.next_) {}

Input::~Input() {
  if (owned_ && fd_ >= 0) ::close(fd_);
}

Result<bool> Input::Fill() {
  if (next_ > 0) {
    buffer_.erase(0, next_);
    next_ = 0;
  }
  const size_t before = buffer_.size();
  buffer_.resize(before + kReadBytes);
  ssize_t n;
  do {
    n = ::read(fd_, buffer_.data() + before, kReadBytes);
  } while (n < 0 && errno == EINTR);
  buffer_.resize(before + static_cast<size_t>(std::max<ssize_t>(n, 0)));
  if (n < 0) return ErrnoStatus("read", errno);
  return n > 0;
}

Result<std::string_view> Input::Peek(size_t bytes) {
  while (buffer_.size() - next_ < bytes) {
    MSA_ASSIGN_OR_RETURN(const bool more, Fill());
    if (!more) break;
  }
  return std::string_view(buffer_).substr(next_, bytes);
}

Result<std::string> Input::ReadAll(int64_t limit_bytes) {
  for (;;) {
    if (buffer_.size() - next_ > static_cast<size_t>(limit_bytes)) {
      return ResourceExhausted("larger than the limit of " + std::to_string(limit_bytes) +
                               " bytes");
    }
    MSA_ASSIGN_OR_RETURN(const bool more, Fill());
    if (!more) return std::exchange(buffer_, std::string());
  }
}

Result<std::optional<Input::Line>> Input::NextLine(size_t max_bytes) {
  size_t searched = 0;
  bool too_long = false;
  for (;;) {
    const size_t newline = buffer_.find('\n', next_ + searched);
    if (newline != buffer_.npos) {
      const std::string_view text =
          std::string_view(buffer_).substr(next_, newline - next_).substr(0, max_bytes);
      too_long |= newline - next_ > max_bytes;
      next_ = newline + 1;
      return Line{text, too_long};
    }
    searched = buffer_.size() - next_;
    if (searched > max_bytes) {
      too_long = true;
      buffer_.resize(next_ + max_bytes);  // forget the rest as it comes
      searched = max_bytes;
    }
    MSA_ASSIGN_OR_RETURN(const bool more, Fill());
    if (more) continue;
    if (next_ == buffer_.size()) return std::optional<Line>();
    const std::string_view text = std::string_view(buffer_).substr(next_, max_bytes);
    next_ = buffer_.size();
    return Line{text, too_long};
  }
}

}  // namespace msa
