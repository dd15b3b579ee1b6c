#include "msa/bank/pack.h"

#include <zstd.h>

#include <algorithm>
#include <cstring>

#include "msa/bank/bytes.h"
#include "msa/base/check.h"
#include "msa/base/hash.h"

namespace msa {
namespace {

constexpr int kCompressionLevel = 3;
constexpr size_t kFixedBytes = 32;    // four counts
constexpr size_t kPassageBytes = 24;  // begin, end, page, tokens

void PutContent(const NewDocument& document, ByteWriter* out) {
  uint64_t num_tokens = 0;
  for (const NewPassage& passage : document.passages) num_tokens += passage.tokens.size();
  out->Put<uint64_t>(document.text.size());
  out->Put<uint64_t>(document.page_begin.size());
  out->Put<uint64_t>(document.passages.size());
  out->Put<uint64_t>(num_tokens);
  out->PutBytes(std::as_bytes(std::span(document.page_begin)));
  for (const NewPassage& passage : document.passages) {
    out->Put<int64_t>(passage.begin);
    out->Put<int64_t>(passage.end);
    out->Put<int32_t>(passage.page);
    out->Put<int32_t>(static_cast<int32_t>(passage.tokens.size()));
  }
  for (const NewPassage& passage : document.passages) {
    out->PutBytes(std::as_bytes(std::span(passage.tokens)));
  }
  out->PutBytes(AsBytes(document.text));
}

// True if counts a, g, q, k make exactly `size` bytes; each is bounded before it is multiplied.
bool CountsFit(uint64_t text, uint64_t pages, uint64_t passages, uint64_t tokens, uint64_t size) {
  if (text > size || pages > size / 8 || passages > size / kPassageBytes || tokens > size / 4) {
    return false;
  }
  return kFixedBytes + text + pages * 8 + passages * kPassageBytes + tokens * 4 == size;
}

// A frame is blocks of at least 4 bytes, each of which holds at most ZSTD_BLOCKSIZE_MAX: more than
// this it cannot hold, whatever it says.
uint64_t LargestContent(size_t frame_bytes) {
  return static_cast<uint64_t>(frame_bytes) / 4 * ZSTD_BLOCKSIZE_MAX;
}

Status ParsePassages(ByteReader* spans, ByteReader* tokens, int64_t text_bytes, uint64_t count,
                     int64_t first_passage, DocumentContent* content) {
  for (uint64_t i = 0; i < count; ++i) {
    PassageInfo info;
    info.id = PassageId{first_passage + static_cast<int64_t>(i)};
    info.begin = spans->Get<int64_t>();
    info.end = spans->Get<int64_t>();
    info.page = spans->Get<int32_t>();
    info.num_tokens = spans->Get<int32_t>();
    if (info.begin < 0 || info.end < info.begin || info.end > text_bytes || info.num_tokens < 0) {
      return DataLoss("frame: passage " + std::to_string(i) + " lies outside its text");
    }
    const auto bytes = tokens->GetBytes(static_cast<size_t>(info.num_tokens) * sizeof(int32_t));
    if (!tokens->good()) {
      return DataLoss("frame: passage " + std::to_string(i) + " has more tokens than are there");
    }
    std::vector<int32_t>& ids = content->tokens.emplace_back(bytes.size() / sizeof(int32_t));
    if (!bytes.empty()) std::memcpy(ids.data(), bytes.data(), bytes.size());
    content->passages.push_back(info);
  }
  return tokens->remaining() == 0 ? OkStatus() : DataLoss("frame: tokens without a passage");
}

}  // namespace

FrameEncoder::FrameEncoder() : context_(ZSTD_createCCtx()) { MSA_CHECK(context_ != nullptr); }

FrameEncoder::~FrameEncoder() { ZSTD_freeCCtx(context_); }

Result<std::span<const std::byte>> FrameEncoder::Encode(const NewDocument& document) {
  ByteWriter content;
  PutContent(document, &content);
  frame_.resize(ZSTD_compressBound(content.bytes().size()));
  const size_t size =
      ZSTD_compressCCtx(context_, frame_.data(), frame_.size(), content.bytes().data(),
                        content.bytes().size(), kCompressionLevel);
  if (ZSTD_isError(size)) return Internal(std::string("zstd: ") + ZSTD_getErrorName(size));
  return std::span<const std::byte>(frame_.data(), size);
}

Result<DocumentContent> DecodeFrame(std::span<const std::byte> frame, PassageId first_passage,
                                    int64_t max_content_bytes) {
  const unsigned long long size = ZSTD_getFrameContentSize(frame.data(), frame.size());
  if (size == ZSTD_CONTENTSIZE_ERROR || size == ZSTD_CONTENTSIZE_UNKNOWN || size < kFixedBytes ||
      size > static_cast<uint64_t>(max_content_bytes) || size > LargestContent(frame.size())) {
    return DataLoss("frame: no valid content size");
  }
  std::vector<std::byte> bytes(size);
  // A context costs more to make than a short frame to decompress.
  thread_local const std::unique_ptr<ZSTD_DCtx, size_t (*)(ZSTD_DCtx*)> context(ZSTD_createDCtx(),
                                                                                ZSTD_freeDCtx);
  if (context == nullptr) return ResourceExhausted("no memory to decompress a frame");
  const size_t found =
      ZSTD_decompressDCtx(context.get(), bytes.data(), bytes.size(), frame.data(), frame.size());
  if (ZSTD_isError(found) || found != size) {
    return DataLoss(std::string("frame: ") +
                    (ZSTD_isError(found) ? ZSTD_getErrorName(found) : "shorter than it says"));
  }
  ByteReader reader(bytes);
  const auto text_bytes = reader.Get<uint64_t>();
  const auto pages = reader.Get<uint64_t>();
  const auto passages = reader.Get<uint64_t>();
  const auto tokens = reader.Get<uint64_t>();
  if (!CountsFit(text_bytes, pages, passages, tokens, size)) {
    return DataLoss("frame: its counts do not add up to its size, " + std::to_string(size));
  }
  DocumentContent content;
  content.page_begin.resize(pages);
  const auto page_bytes = reader.GetBytes(pages * 8);
  if (pages > 0) std::memcpy(content.page_begin.data(), page_bytes.data(), page_bytes.size());
  ByteReader spans(reader.GetBytes(passages * kPassageBytes));
  ByteReader ids(reader.GetBytes(tokens * 4));
  content.text = AsChars(reader.GetBytes(text_bytes));
  MSA_RETURN_IF_ERROR(ParsePassages(&spans, &ids, static_cast<int64_t>(text_bytes), passages,
                                    first_passage.value, &content));
  return content;
}

Result<std::vector<std::byte>> ReadFrameBytes(const File& file, const FramePlace& place) {
  if (place.position < kFileHeaderBytes) {
    return DataLoss("a frame at byte " + std::to_string(place.position) + ", in the file's header");
  }
  std::vector<std::byte> frame;
  MSA_RETURN_IF_ERROR(ReadRange(file, place.position, place.length, &frame));
  const uint64_t checksum = Checksum64(frame);
  if (checksum != place.checksum) {
    return DataLoss("frame at byte " + std::to_string(place.position) + ", length " +
                    std::to_string(place.length) + ": checksum " + std::to_string(checksum) +
                    ", expected " + std::to_string(place.checksum));
  }
  return frame;
}

Result<DocumentContent> ReadFrame(const File& file, const FramePlace& place,
                                  PassageId first_passage) {
  MSA_ASSIGN_OR_RETURN(std::vector<std::byte> frame, ReadFrameBytes(file, place));
  if (place.sealer) {
    MSA_ASSIGN_OR_RETURN(frame, place.sealer->Open(CipherRole::kFrame, 0, 0, frame));
  }
  return DecodeFrame(frame, first_passage);
}

}  // namespace msa
