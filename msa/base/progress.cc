#include "msa/base/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace msa {
namespace {

std::string Scaled(double value, const char* const* suffixes, int count, const char* format) {
  int i = 0;
  while (value >= 999.95 && i + 1 < count) value /= 1000, ++i;
  char text[48];
  std::snprintf(text, sizeof(text), i == 0 ? "%.0f%s" : format, value, suffixes[i]);
  return text;
}

std::string Duration(double seconds) {
  char text[48];
  const auto s = static_cast<int64_t>(seconds + 0.5);
  if (s >= 3600) {
    std::snprintf(text, sizeof(text), "%ldh%02ldm", static_cast<long>(s / 3600),
                  static_cast<long>(s / 60 % 60));
  } else if (s >= 60) {
    std::snprintf(text, sizeof(text), "%ldm%02lds", static_cast<long>(s / 60),
                  static_cast<long>(s % 60));
  } else {
    std::snprintf(text, sizeof(text), "%lds", static_cast<long>(s));
  }
  return text;
}

}  // namespace

std::string HumanCount(double count) {
  static const char* const kSuffixes[] = {"", "K", "M", "G", "T"};
  return Scaled(count, kSuffixes, 5, "%.1f%s");
}

std::string HumanBytes(double bytes) {
  static const char* const kSuffixes[] = {" B", " kB", " MB", " GB", " TB"};
  return Scaled(bytes, kSuffixes, 5, "%.1f%s");
}

Progress::Progress(std::string label, std::string unit, int64_t total, ProgressMode mode)
    : label_(std::move(label)),
      unit_(std::move(unit)),
      total_(total),
      enabled_(mode == ProgressMode::kAuto),
      terminal_(isatty(STDERR_FILENO) == 1),
      start_(std::chrono::steady_clock::now()),
      last_draw_(start_) {}

Progress::~Progress() { Finish(); }

void Progress::Add(int64_t count) {
  done_ += count;
  if (!enabled_ || finished_) return;
  const auto now = std::chrono::steady_clock::now();
  const auto interval =
      terminal_ ? std::chrono::milliseconds(100) : std::chrono::milliseconds(10000);
  if (now - last_draw_ < interval) return;
  last_draw_ = now;
  Draw(false);
}

void Progress::Finish() {
  if (finished_) return;
  finished_ = true;
  if (enabled_ && done_ > 0) Draw(true);
}

void Progress::Draw(bool last) {
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  const double rate = seconds > 0 ? static_cast<double>(done_) / seconds : 0;
  std::string line = label_ + ": " + HumanCount(static_cast<double>(done_));
  if (total_ > 0) line += " of " + HumanCount(static_cast<double>(std::max(total_, done_)));
  line += " " + unit_;
  if (total_ > 0 && terminal_ && !last) {
    constexpr int kWidth = 24;
    const int filled = static_cast<int>(std::min<int64_t>(kWidth, kWidth * done_ / total_));
    line += " [" + std::string(static_cast<size_t>(filled), '#') +
            std::string(static_cast<size_t>(kWidth - filled), '.') + "]";
  }
  line += ", " + HumanCount(rate) + "/s";
  if (last) {
    line += ", " + Duration(seconds);
  } else if (total_ > done_ && rate > 0) {
    line += ", " + Duration(static_cast<double>(total_ - done_) / rate) + " left";
  }
  std::fprintf(stderr, terminal_ ? (last ? "\r\033[K%s\n" : "\r\033[K%s") : "%s\n", line.c_str());
  std::fflush(stderr);
}

}  // namespace msa
