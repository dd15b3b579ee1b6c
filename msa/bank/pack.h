// Packs keep text and tokens: one zstd frame a document version, appended, each readable alone.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "msa/bank/bank.h"
#include "msa/bank/cipher.h"
#include "msa/bank/layout.h"
#include "msa/base/file.h"
#include "msa/base/status.h"

struct ZSTD_CCtx_s;

namespace msa {

// Beyond it a new pack begins.
inline constexpr int64_t kPackBytes = int64_t{256} << 20;

// Where a version's frame lies.
struct FramePlace {
  FileId file;
  int64_t position = 0;
  int64_t length = 0;
  uint64_t checksum = 0;
  std::optional<Sealer> sealer;  // where the frame is a message
};

// What a frame holds: DocumentContent without passage ids, which follow from the version.
class FrameEncoder {
 public:
  FrameEncoder();
  ~FrameEncoder();
  FrameEncoder(const FrameEncoder&) = delete;
  FrameEncoder& operator=(const FrameEncoder&) = delete;

  // The frame of a document; valid until the next call.
  Result<std::span<const std::byte>> Encode(const NewDocument& document);

 private:
  ZSTD_CCtx_s* context_;
  std::vector<std::byte> frame_;
};

// Checks every count and offset; passage ids ascend from `first_passage`. kDataLoss otherwise.
// Never allocates more than the frame's own content size, which must be at most
// `max_content_bytes` and what zstd can put into that many bytes.
Result<DocumentContent> DecodeFrame(std::span<const std::byte> frame, PassageId first_passage,
                                    int64_t max_content_bytes = int64_t{1} << 36);

// The bytes of one frame as they lie in the pack, their checksum verified; a message where the bank
// has a cipher.
Result<std::vector<std::byte>> ReadFrameBytes(const File& file, const FramePlace& place);
// Reads and verifies one frame.
Result<DocumentContent> ReadFrame(const File& file, const FramePlace& place,
                                  PassageId first_passage);

}  // namespace msa
