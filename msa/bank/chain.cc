#include "msa/bank/chain.h"

#include <sys/random.h>

#include "msa/bank/bytes.h"
#include "msa/base/check.h"

namespace msa {

RandomNumber MakeRandomNumber() {
  RandomNumber number;
  // Up to 256 bytes come whole, whatever interrupts.
  MSA_CHECK(::getrandom(number.data(), number.size(), 0) == static_cast<ssize_t>(number.size()));
  return number;
}

Digest HashEntry(const Digest& previous, const ChainEntry& entry) {
  ByteWriter writer;
  writer.PutBytes(previous);
  writer.Put<int64_t>(entry.seq);
  writer.Put<int64_t>(entry.unix_ms);
  writer.Put<int64_t>(static_cast<int64_t>(entry.operation));
  writer.Put<int64_t>(entry.revision);
  writer.PutBytes(entry.number);
  writer.PutBytes(entry.commitment);
  return Blake2b(writer.bytes());
}

Digest CommitToDocument(const RandomNumber& salt, const CommittedFields& fields,
                        const Digest& text_hash) {
  ByteWriter writer;
  writer.PutBytes(salt);
  for (const std::string_view field :
       {fields.key, fields.title, fields.source_path, fields.source_sha256, fields.media_type,
        fields.labels_json}) {
    writer.PutField(field);
  }
  writer.PutField(text_hash);
  return Blake2b(writer.bytes());
}

Digest CommitToRevision(const RandomNumber& salt, std::string_view author,
                        std::string_view message) {
  ByteWriter writer;
  writer.PutBytes(salt);
  writer.PutField(author);
  writer.PutField(message);
  return Blake2b(writer.bytes());
}

Digest CommitToRevert(const RandomNumber& salt, std::string_view author, std::string_view message,
                      int64_t parent) {
  ByteWriter writer;
  writer.PutBytes(salt);
  writer.PutField(author);
  writer.PutField(message);
  writer.PutField(std::as_bytes(std::span(&parent, 1)));
  return Blake2b(writer.bytes());
}

}  // namespace msa
