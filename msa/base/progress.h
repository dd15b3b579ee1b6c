// A one-line progress bar on stderr: what, how much, rate, time left. Silent where stderr is no
// terminal (then one line every ten seconds) or when disabled.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace msa {

enum class ProgressMode { kAuto, kOff };

class Progress {
 public:
  // `unit` is what is counted: "documents", "tokens". `total` 0: unknown.
  Progress(std::string label, std::string unit, int64_t total, ProgressMode mode);
  ~Progress();  // Finish()
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void Add(int64_t count);
  void SetTotal(int64_t total) { total_ = total; }
  // Prints the last state and ends the line; later calls do nothing.
  void Finish();

 private:
  void Draw(bool last);

  const std::string label_;
  const std::string unit_;
  int64_t total_;
  int64_t done_ = 0;
  const bool enabled_;
  const bool terminal_;
  bool finished_ = false;
  const std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point last_draw_;
};

// "1.2M", "34.5K", "812".
std::string HumanCount(double count);
// "1.3 GB", "12.0 MB", "812 B" (powers of 1000).
std::string HumanBytes(double bytes);

}  // namespace msa
