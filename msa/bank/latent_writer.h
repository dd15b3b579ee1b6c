// Appends latents to the tail of their encoding, and seals a tail that has grown large.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "msa/bank/append_file.h"
#include "msa/bank/bank.h"
#include "msa/bank/latents.h"
#include "msa/bank/write_transaction.h"

namespace msa {

class LatentWriter {
 public:
  // A tail at or beyond `seal_bytes` is sealed when it is committed.
  LatentWriter(WriteTransaction& transaction, int64_t seal_bytes)
      : transaction_(transaction), seal_bytes_(seal_bytes) {}

  struct OpenedEncoding {
    EncodingId id;
    bool is_new = false;  // a row of the open transaction
  };
  // As BankWriter::OpenEncoding.
  Result<OpenedEncoding> OpenEncoding(const EncodingInfo& encoding);
  // As BankWriter::AddLatents.
  Status Add(EncodingId encoding, VersionId version, int64_t first_passage,
             const LatentBlock& block);
  bool has_pending() const { return has_pending_; }
  // Tails are opened anew when they are needed. REQUIRES: nothing is pending.
  void CloseTails() { tails_.clear(); }
  // Syncs tails and seals large ones. The transaction's commit makes it visible.
  Status Finish();

 private:
  struct Tail {
    EncodingInfo encoding;
    AppendFile file;
  };

  Result<Tail*> OpenTail(EncodingId encoding);
  Status CheckPassages(EncodingId encoding, VersionId version, int64_t first_passage,
                       int64_t count);
  Status Seal(const Tail& tail);

  WriteTransaction& transaction_;
  const int64_t seal_bytes_;
  std::map<EncodingId, Tail> tails_;
  bool has_pending_ = false;
};

// Writes the latents of `places`, read by `read_block`, into a new sealed segment in that order,
// and has the places name it. REQUIRES: the transaction is open.
Status SealPlaces(WriteTransaction& transaction, const EncodingInfo& encoding,
                  std::span<const LatentPlace> places,
                  FunctionRef<Result<TailBlock>(const LatentPlace&)> read_block);
// Likewise of places that lie in sealed segments; their blocks are verified. The old files stay.
Status ResealPlaces(WriteTransaction& transaction, const EncodingInfo& encoding,
                    std::vector<LatentPlace> places);
// Writes a sealed segment anew with these of its places only, which may be none; the file goes
// after the commit. REQUIRES: the transaction is open.
Status ReplaceSegment(WriteTransaction& transaction, const Catalog::FileRow& segment,
                      std::vector<LatentPlace> places);
// Writes the blocks of `places`, which lie in tails, as they are into a new tail, and has the
// places name it. The old files stay. REQUIRES: the transaction is open, no tail is.
Status CopyToNewTail(WriteTransaction& transaction, const EncodingInfo& encoding,
                     std::span<const LatentPlace> places);

}  // namespace msa
