#include "bank_data.h"

#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>

namespace msa::bench {
namespace {

rusage Usage() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage;
}

NewPassage WholePassage(int64_t begin, int64_t end) {
  // About 1.4 tokens a word of 6 bytes; which ones does not matter here.
  std::vector<int32_t> tokens(static_cast<size_t>((end - begin) / 4));
  for (size_t i = 0; i < tokens.size(); ++i) {
    tokens[i] = static_cast<int32_t>(i * 2654435761u % 49152);
  }
  return {begin, end, 0, std::move(tokens)};
}

}  // namespace

double CpuSeconds() {
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  const rusage usage = Usage();
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double PeakMegabytes() { return static_cast<double>(Usage().ru_maxrss) / 1024; }

ZipfText::ZipfText() {
  double sum = 0;
  for (int rank = 1; rank <= 200000; ++rank) {
    sum += 1.0 / (rank + 2.7);
    cumulative_.push_back(sum);
  }
}

std::string ZipfText::Words(int64_t count) {
  std::string text;
  for (int64_t i = 0; i < count; ++i) {
    const double x = std::uniform_real_distribution(0.0, cumulative_.back())(random_);
    const auto word = std::lower_bound(cumulative_.begin(), cumulative_.end(), x);
    text += (i == 0 ? "w" : " w") + std::to_string(word - cumulative_.begin());
  }
  return text;
}

NewDocument MakeDocument(int64_t number, std::string title) {
  NewDocument document;
  document.key = "document-" + std::to_string(number);
  document.title = std::move(title);
  document.source_path = "/bench/" + document.key;
  document.media_type = "text/plain";
  return document;
}

void AddPassage(NewDocument* document, const std::string& text) {
  if (!document->text.empty()) document->text += '\n';
  const auto begin = static_cast<int64_t>(document->text.size());
  document->text += text;
  document->passages.push_back(WholePassage(begin, static_cast<int64_t>(document->text.size())));
}

int64_t Number(const Options& options, const std::string& name, int64_t fallback) {
  const auto found = options.find(name);
  return found == options.end() ? fallback : std::stoll(found->second);
}

Options ParseOptions(int argc, char** argv, int first) {
  Options options;
  for (int i = first; i + 1 < argc; i += 2) options[argv[i]] = argv[i + 1];
  return options;
}

std::string Folder(const Options& options, const std::string& name) {
  const auto given = options.find("--folder");
  return given != options.end() ? given->second
                                : (std::filesystem::temp_directory_path() / name).string();
}

int Main(int argc, char** argv, int (*run)(int, char**)) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

}  // namespace msa::bench
