// Checks for bugs: always on, abort with the values. Never for anything a user, a file or the
// system can cause.
#pragma once

namespace msa {

// Prints "file:line: check failed: expression" to stderr and aborts.
[[noreturn]] void CheckFailed(const char* file, int line, const char* expression);

}  // namespace msa

#define MSA_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::msa::CheckFailed(__FILE__, __LINE__, #condition))

// In hot loops: as MSA_CHECK in debug builds, nothing in release builds.
#ifdef NDEBUG
#define MSA_DCHECK(condition) static_cast<void>(sizeof(condition))
#else
#define MSA_DCHECK(condition) MSA_CHECK(condition)
#endif
