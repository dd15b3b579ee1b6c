// What the bank's benchmarks share: documents drawn from a Zipf law, clocks, and options.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "msa/bank/bank.h"
#include "msa/base/clock.h"

namespace msa::bench {

// Of this process: on a shared machine steadier than the clock.
double CpuSeconds();
double PeakMegabytes();

template <class F>
double Milliseconds(F f) {
  const auto start = Clock::now();
  f();
  return SecondsSince(start) * 1e3;
}

inline void Require(const Status& status) {
  if (!status.ok()) throw std::runtime_error(status.ToString());
}
template <class T>
T Require(Result<T> result) {
  Require(result.status());
  return std::move(result).value();
}

// Of sorted samples.
inline double Quantile(const std::vector<double>& sorted, double share) {
  const auto size = static_cast<double>(sorted.size());
  return sorted.at(std::min(sorted.size() - 1, static_cast<size_t>(size * share)));
}

// Words w0 … with the frequencies of natural language.
class ZipfText {
 public:
  ZipfText();
  std::string Words(int64_t count);

 private:
  std::mt19937_64 random_{1};
  std::vector<double> cumulative_;
};

// Without text yet.
NewDocument MakeDocument(int64_t number, std::string title);
void AddPassage(NewDocument* document, const std::string& text);

// "--name value", by name.
using Options = std::map<std::string, std::string>;
// Those from argument `first` on.
Options ParseOptions(int argc, char** argv, int first);
int64_t Number(const Options& options, const std::string& name, int64_t fallback);
// --folder, or one of that name for temporary files.
std::string Folder(const Options& options, const std::string& name);

// The exit status of `run`; 1, once it is printed, if it throws.
int Main(int argc, char** argv, int (*run)(int, char**));

}  // namespace msa::bench
