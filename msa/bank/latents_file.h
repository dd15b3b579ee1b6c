// Latents outside of a bank: one safetensors file that a bank exports and others import.
// docs/latents-format.md is the byte format.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "msa/bank/bank.h"
#include "msa/bank/latents.h"
#include "msa/base/file.h"
#include "msa/base/hash.h"
#include "msa/base/progress.h"
#include "msa/base/safetensors.h"
#include "msa/base/status.h"

namespace msa {

// What ties rows to a passage: passages with the same tokens have the same latents.
struct ExportedPassage {
  int64_t document = 0;      // line of the text that was exported with it, from 0
  int64_t passage = 0;       // index in the document
  int64_t chunks = 0;        // rows
  int64_t chunk_tokens = 0;  // P
  Digest tokens{};           // HashTokens
};

Digest HashTokens(std::span<const int32_t> tokens);

// Writes such a file, passage by passage, through small buffers. It appears under its name when it
// is whole; dropping the object before removes what there is.
class LatentsFileWriter {
 public:
  // The sizes stand in the header, so they are known before.
  struct Sizes {
    int64_t passages = 0;
    int64_t rows = 0;
  };
  static Result<std::unique_ptr<LatentsFileWriter>> Create(FileSystem& fs, const std::string& path,
                                                           const EncodingInfo& encoding,
                                                           const Sizes& sizes);
  ~LatentsFileWriter();

  // kUnavailable: there are more than was said. kDataLoss: a value that no bank stores. REQUIRES:
  // as many rows as `passage` has chunks.
  Status Append(const ExportedPassage& passage, const LatentRows& rows);
  // Durable when it returns. kUnavailable: there were fewer than was said.
  Status Finish();

 private:
  class Stream;

  LatentsFileWriter(FileSystem& fs, std::string path, const LatentLayout& layout,
                    const Sizes& sizes);
  Status Open(const EncodingInfo& encoding);

  FileSystem& fs_;
  const std::string path_;
  const std::string part_path_;
  const LatentLayout layout_;
  const Sizes sizes_;
  Sizes written_;
  std::unique_ptr<File> file_;   // null once it is finished
  std::vector<Stream> streams_;  // one a tensor
};

class LatentsFile {
 public:
  // Maps the file and verifies all of it. kInvalidArgument: another kind of file. kUnimplemented: a
  // newer version. kDataLoss names what is wrong. kCancelled. Memory: 16 bytes a passage.
  static Result<std::shared_ptr<const LatentsFile>> Open(
      const std::string& path, ProgressMode progress = ProgressMode::kOff,
      const std::atomic<bool>* cancelled = nullptr);

  const std::string& path() const { return file_->path(); }
  // Of the bank that exported it, but for the id.
  const EncodingInfo& encoding() const { return encoding_; }
  int64_t num_passages() const { return static_cast<int64_t>(by_tokens_.size()); }
  ExportedPassage passage(int64_t index) const;
  // The first passage with these tokens.
  std::optional<int64_t> Find(const Digest& tokens) const;
  // The latents of one passage, verified. kDataLoss: they are not what was exported.
  Result<LatentBlock> Read(int64_t index) const;

 private:
  LatentsFile() = default;
  Status ReadMetadata();
  Status ReadLayout();
  Status ReadTensors();
  Status IndexPassages();

  std::shared_ptr<const SafetensorsFile> file_;
  EncodingInfo encoding_;
  int64_t num_rows_ = 0;
  std::vector<std::span<const std::byte>> parts_;  // the tensors, in file order
  LatentRows rows_;
  std::vector<int64_t> first_row_;  // [passages]
  std::vector<int64_t> by_tokens_;  // passages, ascending by hash of tokens
};

}  // namespace msa
