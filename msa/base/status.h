// Errors that a correct program can meet (a missing file, a bad checksum, a full disk, user input)
// travel as Status or Result<T>. Bugs abort through MSA_CHECK (check.h). Nothing in msa throws for
// an expected error.
#pragma once

#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>

#include "msa/base/check.h"

namespace msa {

// A code exists only where a caller acts differently on it.
enum class StatusCode {
  kOk,
  kInvalidArgument,     // the request can never succeed: fix the input
  kNotFound,            // no such file, document, revision or tensor
  kAlreadyExists,       // would overwrite
  kFailedPrecondition,  // the state forbids it: read-only, another model, empty bank
  kDataLoss,            // checksum, length or structure is wrong: damage
  kResourceExhausted,   // full disk, memory, a limit
  kUnimplemented,       // valid, but not supported; the message lists what is
  kUnavailable,         // someone else holds it: try again
  kCancelled,           // the user stopped it
  kIoError,             // the operating system refused
  kInternal,            // a library failed in a way we did not foresee
};

// "invalid argument", "data loss", …
std::string_view StatusCodeName(StatusCode code);

class [[nodiscard]] Status {
 public:
  Status() = default;
  // REQUIRES: code != kOk. The message names the thing: file, offset, found, expected.
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {
    MSA_CHECK(code != StatusCode::kOk);
  }

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }
  std::string ToString() const;

  // The same error with "context: " before its message; no change when ok.
  Status WithContext(std::string_view context) const;

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

inline Status OkStatus() { return Status(); }
inline Status InvalidArgument(std::string m) {
  return {StatusCode::kInvalidArgument, std::move(m)};
}
inline Status NotFound(std::string m) { return {StatusCode::kNotFound, std::move(m)}; }
inline Status AlreadyExists(std::string m) { return {StatusCode::kAlreadyExists, std::move(m)}; }
inline Status FailedPrecondition(std::string m) {
  return {StatusCode::kFailedPrecondition, std::move(m)};
}
inline Status DataLoss(std::string m) { return {StatusCode::kDataLoss, std::move(m)}; }
inline Status ResourceExhausted(std::string m) {
  return {StatusCode::kResourceExhausted, std::move(m)};
}
inline Status Unimplemented(std::string m) { return {StatusCode::kUnimplemented, std::move(m)}; }
inline Status Unavailable(std::string m) { return {StatusCode::kUnavailable, std::move(m)}; }
inline Status Cancelled(std::string m) { return {StatusCode::kCancelled, std::move(m)}; }
inline Status IoError(std::string m) { return {StatusCode::kIoError, std::move(m)}; }
inline Status Internal(std::string m) { return {StatusCode::kInternal, std::move(m)}; }

// An IoError (or kNotFound, kResourceExhausted) from errno: "open /a/b: No such file or directory".
Status ErrnoStatus(std::string_view what, int error_number);

std::ostream& operator<<(std::ostream& out, const Status& status);

// A value or the reason there is none.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(Status status) : status_(std::move(status)) {
    MSA_CHECK(!status_.ok());
  }  // NOLINT: implicit
  Result(T value) : value_(std::move(value)) {}  // NOLINT: implicit
  template <class U>
    requires std::is_convertible_v<U&&, T>
  Result(U&& value) : value_(std::forward<U>(value)) {}  // NOLINT: implicit

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }

  // REQUIRES: ok().
  T& value() & { return MSA_CHECK(ok()), *value_; }
  const T& value() const& { return MSA_CHECK(ok()), *value_; }
  T&& value() && { return MSA_CHECK(ok()), std::move(*value_); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  Status status_;
  std::optional<T> value_;
};

#define MSA_CONCAT_INNER_(a, b) a##b
#define MSA_CONCAT_(a, b) MSA_CONCAT_INNER_(a, b)

#define MSA_RETURN_IF_ERROR(expression)        \
  do {                                         \
    ::msa::Status msa_status_ = (expression);  \
    if (!msa_status_.ok()) return msa_status_; \
  } while (false)

// MSA_ASSIGN_OR_RETURN(auto file, File::Open(path));
#define MSA_ASSIGN_OR_RETURN(declaration, expression) \
  MSA_ASSIGN_OR_RETURN_(MSA_CONCAT_(msa_result_, __LINE__), declaration, expression)
#define MSA_ASSIGN_OR_RETURN_(result, declaration, expression) \
  auto result = (expression);                                  \
  if (!result.ok()) return result.status();                    \
  declaration = std::move(result).value()

}  // namespace msa
