// Adds a document to a bank and finds it again, through the one header. argv[1]: an empty folder.
#include <cstdio>
#include <fstream>
#include <string>

#include "msa/msa.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const std::string folder = argv[1];
  std::ofstream(folder + "/heron.txt")
      << "The grey heron stands in the shallow water and waits for fish.\n";
  auto engine = msa::Engine::OpenOrCreate(folder + "/bank", {});
  if (!engine.ok()) {
    std::fprintf(stderr, "%s\n", engine.status().message().c_str());
    return 1;
  }
  const auto report = (*engine)->Add({folder + "/heron.txt"}, {.encode = false});
  const auto found = report.ok() ? (*engine)->Search("heron", {}) : report.status();
  if (!found.ok() || found->results.size() != 1) {
    std::fprintf(stderr, "heron not found: %s\n", found.status().message().c_str());
    return 1;
  }
  std::printf("%s\n", found->results[0].text.c_str());
  return 0;
}
