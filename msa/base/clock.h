// Wall time of parts of the work.
#pragma once

#include <chrono>

namespace msa {

using Clock = std::chrono::steady_clock;

inline double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace msa
