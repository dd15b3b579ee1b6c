// The SQLite image of a lexical shard, as its file holds it: as it is, or page by page in messages
// where the bank has a cipher. docs/bank-format.md, "lexical".
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "msa/bank/bank_cipher.h"
#include "msa/bank/blocks.h"
#include "msa/base/file.h"
#include "msa/base/status.h"

namespace msa {

// An image that can be read, each block of its file verified when it is first needed. Thread-safe.
class ShardImage {
 public:
  // Maps `path`, which must not change while the object lives; unlinking it is harmless. `length`
  // and `blocks` (BlockChecksums) are the catalog's; `cipher` null: the bank has none. kDataLoss if
  // they do not fit the file; kNotFound: no file, or no key.
  static Result<std::shared_ptr<const ShardImage>> Open(const std::string& path, int64_t length,
                                                        std::vector<uint64_t> blocks,
                                                        BankCipher* cipher);

  size_t size() const { return size_; }
  // REQUIRES: the range lies in the image. kDataLoss names the block or page that is damaged.
  Status Read(size_t offset, std::span<std::byte> out) const;
  Result<std::vector<std::byte>> ReadAll() const;

 private:
  ShardImage() = default;

  MappedFile mapping_;
  VerifiedBytes file_;
  size_t size_ = 0;
  std::optional<Sealer> sealer_;
};

// What the file of a sealed image holds; its key is a new one of the keyring.
Result<std::vector<std::byte>> SealShardImage(std::span<const std::byte> image, const BankId& bank,
                                              BankCipher& cipher);
// The number of a sealed shard in the keyring. kDataLoss if the file is none.
Result<RandomNumber> ReadShardNumber(FileSystem& fs, const std::string& path);

}  // namespace msa
