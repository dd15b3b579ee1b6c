// For fuzzers: a catalog that is sound SQLite with values in it that no writer would put there.
#pragma once

#include <fuzzer/FuzzedDataProvider.h>

#include <string>
#include <string_view>

#include "msa/bank/sqlite.h"

namespace msa::fuzz {

class EditedCatalog {
 public:
  explicit EditedCatalog(std::string_view content);

  // Makes it say that 2^59 numbers of each kind were given, so that no row's is too large.
  void CountFar();
  // Changes a cell: which one, and to what, `input` says. One that a constraint guards stays.
  void Edit(FuzzedDataProvider* input);
  std::string Content() const;

 private:
  Database db_;
};

}  // namespace msa::fuzz
