// The largest piece of memory asked of `operator new`, for tests that a damaged length in a file
// allocates nothing. Linking this replaces the program's operator new.
#pragma once

#include <cstddef>

namespace msa {

// Since the last reset, in bytes, on this thread.
size_t LargestAllocation();
void ResetLargestAllocation();

}  // namespace msa
