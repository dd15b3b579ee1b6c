#include "msa/base/threads.h"

#include <sched.h>

#include <algorithm>
#include <chrono>

#include "msa/base/check.h"

namespace msa {
namespace {

// Long enough to bridge the serial code between two products of a decode step (about 20 us seen on
// a 3 GHz Zen 4), short enough that an idle pool costs nothing.
constexpr auto kSpin = std::chrono::microseconds(100);

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Spins, then sleeps, until `value` differs from `old`; returns the new value.
template <class T>
T WaitForChange(const std::atomic<T>& value, T old) {
  const auto deadline = std::chrono::steady_clock::now() + kSpin;
  for (int i = 0;; ++i) {
    const T now = value.load(std::memory_order_acquire);
    if (now != old) return now;
    if (i % 64 == 63 && std::chrono::steady_clock::now() > deadline) break;
    Pause();
  }
  value.wait(old, std::memory_order_acquire);
  return value.load(std::memory_order_acquire);
}

}  // namespace

int AvailableCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) != 0)
    return std::max(1u, std::thread::hardware_concurrency());
  return std::max(1, CPU_COUNT(&set));
}

ThreadPool::ThreadPool(int num_threads) {
  MSA_CHECK(num_threads >= 0);
  if (num_threads == 0) num_threads = AvailableCores();
  for (int i = 1; i < num_threads; ++i) workers_.emplace_back([this, i] { WorkerLoop(i); });
}

ThreadPool::~ThreadPool() {
  stopping_.store(true, std::memory_order_relaxed);
  epoch_.fetch_add(1, std::memory_order_release);
  epoch_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::WorkerLoop(int thread) {
  for (uint32_t seen = 0;;) {
    seen = WaitForChange(epoch_, seen);
    if (stopping_.load(std::memory_order_relaxed)) return;
    (*task_)(thread);
    if (running_.fetch_sub(1, std::memory_order_acq_rel) == 1) running_.notify_one();
  }
}

void ThreadPool::RunOnAll(FunctionRef<void(int)> f) {
  if (!workers_.empty()) {
    task_ = &f;
    running_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
    epoch_.fetch_add(1, std::memory_order_release);
    epoch_.notify_all();
  }
  f(0);
  for (int left = running_.load(std::memory_order_acquire); left != 0;)
    left = WaitForChange(running_, left);
}

void ThreadPool::ParallelFor(int64_t count, int64_t grain,
                             FunctionRef<void(int64_t, int64_t, int)> f) {
  MSA_CHECK(grain > 0);
  if (count <= 0) return;
  if (count <= grain || workers_.empty()) return f(0, count, 0);
  std::atomic<int64_t> next = 0;
  auto task = [&](int thread) {
    for (;;) {
      const int64_t begin = next.fetch_add(grain, std::memory_order_relaxed);
      if (begin >= count) return;
      f(begin, std::min(begin + grain, count), thread);
    }
  };
  RunOnAll(task);
}

}  // namespace msa
