// A fixed set of threads for short data-parallel steps. Workers spin for a few tens of microseconds
// before they sleep, because a decode step is hundreds of parallel regions of 10 to 50 us each.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "msa/base/function_ref.h"

namespace msa {

class ThreadPool {
 public:
  // `num_threads` counts the caller; 0 means one per core this process may use.
  explicit ThreadPool(int num_threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls f(thread) once on each thread, thread in [0, num_threads()), 0 being the caller; returns
  // when all are done. One caller at a time; not from inside a task. `f` must not throw.
  void RunOnAll(FunctionRef<void(int thread)> f);

  // Calls f(begin, end, thread) over pieces of [0, count) of at most `grain`, in any order, on all
  // threads.
  void ParallelFor(int64_t count, int64_t grain,
                   FunctionRef<void(int64_t begin, int64_t end, int thread)> f);

 private:
  void WorkerLoop(int thread);

  std::vector<std::thread> workers_;
  const FunctionRef<void(int)>* task_ = nullptr;  // published by epoch_
  std::atomic<uint32_t> epoch_ = 0;
  std::atomic<int> running_ = 0;
  std::atomic<bool> stopping_ = false;
};

// Cores this process may run on (its affinity mask), at least 1.
int AvailableCores();

}  // namespace msa
