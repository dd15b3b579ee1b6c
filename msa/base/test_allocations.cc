#include "msa/base/test_allocations.h"

#include <algorithm>
#include <cstdlib>
#include <new>

namespace msa {
namespace {

thread_local size_t largest = 0;

}  // namespace

size_t LargestAllocation() { return largest; }
void ResetLargestAllocation() { largest = 0; }

namespace {

void* Allocate(size_t size) {
  largest = std::max(largest, size);
  if (void* p = std::malloc(std::max<size_t>(size, 1))) return p;
  throw std::bad_alloc();
}

}  // namespace
}  // namespace msa

void* operator new(size_t size) { return msa::Allocate(size); }
void* operator new[](size_t size) { return msa::Allocate(size); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }
void operator delete[](void* p, size_t) noexcept { std::free(p); }
