// A file or standard input, read once from front to back: a look at its beginning, then all of it
// or line by line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "msa/base/status.h"

namespace msa {

class Input {
 public:
  // kInvalidArgument if `path` is no regular file: opening a pipe or a device could wait for ever.
  static Result<Input> Open(const std::string& path);
  static Input StandardInput();
  Input(Input&& other) noexcept;
  Input& operator=(Input&&) = delete;
  ~Input();

  // The first `bytes` bytes not yet read, or fewer at the end. Valid until the next call.
  Result<std::string_view> Peek(size_t bytes);
  // All that is left; kResourceExhausted if that is more than `limit_bytes`.
  Result<std::string> ReadAll(int64_t limit_bytes);

  struct Line {
    std::string_view text;  // without its line end; valid until the next call
    bool too_long = false;  // longer than asked for: `text` is its beginning, the rest was skipped
  };
  // The next line, none at the end. Memory: about `max_bytes` at most.
  Result<std::optional<Line>> NextLine(size_t max_bytes);

 private:
  Input(int fd, std::string name, bool owned) : fd_(fd), name_(std::move(name)), owned_(owned) {}
  // Reads more into the buffer; false at the end.
  Result<bool> Fill();

  int fd_;
  std::string name_;
  bool owned_;
  std::string buffer_;
  size_t next_ = 0;  // first byte of buffer_ that was not handed out
};

}  // namespace msa
