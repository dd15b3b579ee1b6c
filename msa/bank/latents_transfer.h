// Latents that go from one bank into others by way of a file (latents_file.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "msa/bank/backup.h"
#include "msa/bank/bank.h"
#include "msa/bank/latents_file.h"
#include "msa/base/file.h"
#include "msa/base/progress.h"
#include "msa/base/status.h"

namespace msa {

// Exports the latents of documents whose texts are exported line by line. The snapshot outlives it.
class LatentsExport {
 public:
  LatentsExport(const Snapshot& snapshot, EncodingInfo encoding)
      : snapshot_(snapshot), encoding_(std::move(encoding)) {}

  // The document of the next line. Nothing is read but how many latents there are.
  Status Add(VersionId version);
  int64_t passages() const { return sizes_.passages; }
  int64_t missing_passages() const { return missing_passages_; }  // that are not encoded

  // Writes the latents of all of them. Memory: 8 bytes a document, and some passages at a time.
  // kUnavailable: latents came or went since Add. kDataLoss names the passage whose latents are
  // damaged. On failure the file is as it was, or absent.
  Status Write(FileSystem& fs, const std::string& path, const CopyOptions& options);

 private:
  Status WriteDocument(int64_t line, LatentsFileWriter& writer, Progress& progress);
  // An error of reading latents from passage `first` on, with the passage at fault and the way on.
  Status Explain(const Status& error, VersionId version, const DocumentContent& content,
                 size_t first) const;

  const Snapshot& snapshot_;
  const EncodingInfo encoding_;
  std::vector<VersionId> versions_;  // by line
  LatentsFileWriter::Sizes sizes_;
  int64_t missing_passages_ = 0;
};

// Gives passages of the latest revision that have no latents of `encoding` those that `file` has of
// the same tokens, as long as they hold `chunk_tokens` tokens each. Returns how many passages got
// some. `encoding` must be the file's. Cancelled: what was taken by then stays.
Result<int64_t> ImportLatents(const LatentsFile& file, const Snapshot& latest, BankWriter& writer,
                              EncodingId encoding, int64_t chunk_tokens,
                              const CopyOptions& options);

}  // namespace msa
