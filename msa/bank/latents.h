// Latents on disk: blocks of a tail, rows of a sealed segment. docs/bank-format.md, "segments".
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "msa/bank/bank.h"
#include "msa/bank/blocks.h"
#include "msa/bank/cipher.h"
#include "msa/bank/layout.h"
#include "msa/base/file.h"
#include "msa/base/safetensors.h"
#include "msa/base/status.h"

namespace msa {

// A row of the catalog's `places`: where the latents of consecutive passages of a version lie.
struct LatentPlace {
  int64_t version = 0;
  int64_t first_passage = 0;     // index in the version
  std::vector<uint16_t> chunks;  // latents of each passage
  int64_t num_chunks = 0;        // their sum
  int64_t chunk_tokens = 0;      // P
  FileId file;
  int64_t position = 0;   // tail: offset of the block in bytes; segment: first row
  uint64_t checksum = 0;  // of a tail block
  FileKind kind = FileKind::kTail;

  EncodingId encoding;
  std::optional<Sealer> sealer;  // where rows are messages

  int64_t num_passages() const { return static_cast<int64_t>(chunks.size()); }
};

// The four parts of latent rows, as they lie in memory or in a file.
struct LatentRows {
  std::span<const std::byte> keys;
  std::span<const std::byte> key_scales;
  std::span<const std::byte> latents;
  std::span<const std::byte> latent_scales;
};

// One part of `n` rows as a tensor of a file.
struct LatentTensor {
  const char* name;
  DType dtype;
  std::vector<int64_t> shape;
  std::span<const std::byte> LatentRows::* rows;
  int64_t row_bytes;
};
// `r`, `r_scale`, `kv`, `kv_scale`, in this order; scales only where there are some.
std::vector<LatentTensor> LatentTensors(const LatentLayout& layout, int64_t n);

// Of sizes from disk: every product of them stays below 2^63.
bool IsInBounds(const LatentLayout& layout);

// Bytes of each part of one row, as it is stored: a row of a sealed layout has its scales in its
// two messages, and no parts for them.
struct LatentRowSizes {
  explicit LatentRowSizes(const LatentLayout& layout);
  int64_t key;
  int64_t key_scale;
  int64_t latent;
  int64_t latent_scales;
  int64_t total() const { return key + key_scale + latent + latent_scales; }
};

// The layout that callers see of one that is stored in messages.
LatentLayout Unsealed(LatentLayout layout);

// Rows [first, first + count) of `rows`.
LatentRows SliceRows(const LatentRows& rows, const LatentRowSizes& sizes, int64_t first,
                     int64_t count);

// A copy of rows that are not sealed, those of passages with so many chunks.
LatentBlock CopyRows(std::vector<int64_t> chunks, int64_t chunk_tokens, const LatentRows& rows);
// Borrows from `block`.
LatentRows RowsOf(const LatentBlock& block);

// kInvalidArgument unless the vectors of `block` have the sizes that its chunks and `layout` ask
// for.
Status CheckLatentBlock(const LatentBlock& block, const LatentLayout& layout);

// Of a bank with a cipher: each row's keys with their scale, and its latents with theirs, become a
// message bound to encoding, passage and row, so that rows can be read one by one and moved as they
// are. `first_passage`: index of the block's first one in its version. REQUIRES: CheckLatentBlock.
LatentBlock SealBlock(const LatentBlock& block, const LatentLayout& layout, const Sealer& sealer,
                      EncodingId encoding, int64_t first_passage);
// Passages [first, first + count) of `place`, whose stored rows these are, as they were before
// SealBlock. Without latents: they stay empty. kDataLoss: a row is not the one of its place.
Result<LatentBlock> OpenRows(const LatentPlace& place, const LatentLayout& layout, int64_t first,
                             int64_t count, const LatentRows& rows, bool with_latents);

// The bytes of a tail block; a multiple of 64.
std::vector<std::byte> EncodeTailBlock(const LatentBlock& block);
int64_t TailBlockBytes(const LatentRowSizes& sizes, int64_t rows);

// A tail block read into memory and verified, or rows that lie somewhere else.
class TailBlock {
 public:
  static Result<TailBlock> Read(const File& file, const LatentRowSizes& sizes,
                                const LatentPlace& place);
  static TailBlock Borrow(const LatentRows& rows) {
    TailBlock block;
    block.rows_ = rows;
    return block;
  }
  const LatentRows& rows() const { return rows_; }

 private:
  std::vector<std::byte> bytes_;
  LatentRows rows_;
};

// A sealed segment, mapped. Thread-safe.
class Segment {
 public:
  // Checks length, header, shapes and types. `header_checksum` and `length` are the catalog's.
  static Result<std::shared_ptr<const Segment>> Open(const std::string& path,
                                                     const LatentLayout& layout, int64_t length,
                                                     uint64_t header_checksum);

  int64_t num_rows() const { return num_rows_; }
  // Rows in the mapping, after their blocks were verified (each block once). kDataLoss names the
  // block. `with_latents` false: only the keys' blocks.
  Result<LatentRows> ReadRows(int64_t first, int64_t count, bool with_latents) const;

 private:
  Segment(const LatentLayout& layout) : sizes_(layout) {}
  Status ReadHeader(const LatentLayout& layout, int64_t length, uint64_t header_checksum);
  Status Verify(std::span<const std::byte> bytes) const;

  LatentRowSizes sizes_;
  std::shared_ptr<const SafetensorsFile> file_;
  VerifiedBytes data_;  // all tensors
  int64_t num_rows_ = 0;
  LatentRows rows_;
};

// Writes a sealed segment and syncs it. `read_block` yields the latents of each place in turn; rows
// are numbered in that order. Returns length and header checksum for the catalog.
struct SealedSegment {
  int64_t length = 0;
  uint64_t header_checksum = 0;
};
struct SegmentIdentity {
  BankId bank;
  std::string encoding_fingerprint;
};
Result<SealedSegment> WriteSegment(FileSystem& fs, const std::string& path,
                                   const LatentLayout& layout, const SegmentIdentity& identity,
                                   std::span<const LatentPlace> places,
                                   FunctionRef<Result<TailBlock>(const LatentPlace&)> read_block);

}  // namespace msa
