// Which bytes of packs and tails the catalog names. All others of these files are zero, or do not
// exist.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "msa/bank/catalog.h"
#include "msa/base/file.h"
#include "msa/base/ids.h"

namespace msa {

// The frame of a version, or a block of latents.
struct FileRun {
  int64_t position = 0;
  int64_t bytes = 0;
  uint64_t checksum = 0;
  bool is_doomed = false;  // of a document that is being erased: it may be overwritten already

  int64_t end() const { return position + bytes; }
  bool SameAs(const FileRun& other) const {
    return position == other.position && bytes == other.bytes && checksum == other.checksum;
  }
};
// By file, ascending by position.
using FileRuns = std::map<FileId, std::vector<FileRun>>;

// kDataLoss names a run that leaves its file, or overlaps another. Cost: one pass over versions and
// places.
Result<FileRuns> ReadRuns(Catalog& catalog);
// Those of one file, while `runs` lives.
std::span<const FileRun> RunsOf(const FileRuns& runs, FileId file);

// Bytes that lie in no run and are not zero, as ranges of at most 4 MiB that begin or end there.
struct FileRange {
  int64_t position = 0;
  int64_t bytes = 0;
};
Result<std::vector<FileRange>> FindStrayBytes(const File& file, int64_t length,
                                              std::span<const FileRun> runs);
// Makes them zero, and syncs if there were any.
Status ClearStrayBytes(File& file, int64_t length, std::span<const FileRun> runs);

}  // namespace msa
