#include "msa/text/row_reader.h"

#include <fcntl.h>
#include <sodium.h>
#include <unistd.h>
#include <zstd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <vector>

#include "msa/base/check.h"
#include "msa/base/hash.h"
#include "msa/text/whitespace.h"

namespace msa {
namespace {

constexpr size_t kChunkBytes = 1 << 20;
constexpr size_t kMaxLineBytes = 256 << 20;
constexpr std::string_view kZstdMagic = "\x28\xb5\x2f\xfd";
constexpr int kMaxWindowLog = 27;

struct FreeContext {
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

}  // namespace

class RowReader::Impl {
 public:
  Impl(std::string path, int fd) : path_(std::move(path)), fd_(fd), in_(kChunkBytes) {
    crypto_hash_sha256_init(&hash_);
  }
  ~Impl() { ::close(fd_); }

  Status Start() {
    MSA_RETURN_IF_ERROR(ReadChunk());
    if (!std::string_view(in_.data(), size_).starts_with(kZstdMagic)) return OkStatus();
    zstd_.reset(ZSTD_createDCtx());
    MSA_CHECK(zstd_ != nullptr);
    ZSTD_DCtx_setParameter(zstd_.get(), ZSTD_d_windowLogMax, kMaxWindowLog);
    return OkStatus();
  }

  Result<bool> Next(std::string* line) {
    do {
      MSA_ASSIGN_OR_RETURN(const bool more, NextLine(line));
      if (!more) return false;
    } while (Trim(*line).empty());
    return true;
  }

  int64_t number() const { return number_; }
  std::string place() const { return path_ + ", line " + std::to_string(number_); }
  int64_t bytes_read() const { return bytes_read_; }

  std::string Sha256Hex() const {
    crypto_hash_sha256_state state = hash_;
    Digest digest;
    crypto_hash_sha256_final(&state, reinterpret_cast<unsigned char*>(digest.data()));
    return HexEncode(digest);
  }

 private:
  Result<bool> NextLine(std::string* line) {
    line->clear();
    for (;;) {
      const std::string_view rest = std::string_view(text_).substr(next_);
      const size_t end = rest.find('\n');
      line->append(rest.substr(0, end));
      if (end != rest.npos) {
        next_ += end + 1;
        break;
      }
      if (line->size() > kMaxLineBytes) {
        return ResourceExhausted(path_ + ", line " + std::to_string(number_ + 1) +
                                 ": longer than 256 MB");
      }
      MSA_ASSIGN_OR_RETURN(const bool more, Fill());
      if (more) continue;
      if (line->empty()) return false;
      break;
    }
    ++number_;
    if (line->ends_with('\r')) line->pop_back();
    return true;
  }

  // Replaces text_ by what follows it in the file; false at the end.
  Result<bool> Fill() {
    next_ = 0;
    text_.clear();
    if (zstd_ == nullptr) {
      if (used_ == size_) MSA_RETURN_IF_ERROR(ReadChunk());
      text_.assign(in_.data() + used_, size_ - used_);
      used_ = size_;
      return !text_.empty();
    }
    while (text_.empty()) {
      if (used_ == size_) MSA_RETURN_IF_ERROR(ReadChunk());
      const bool at_end = size_ == 0;
      if (at_end && frame_done_) return false;
      text_.resize(kChunkBytes);
      ZSTD_inBuffer in{in_.data(), size_, used_};
      ZSTD_outBuffer out{text_.data(), text_.size(), 0};
      const size_t left = ZSTD_decompressStream(zstd_.get(), &out, &in);
      if (ZSTD_isError(left)) return DataLoss(path_ + ": zstd: " + ZSTD_getErrorName(left));
      used_ = in.pos;
      text_.resize(out.pos);
      frame_done_ = left == 0;
      if (at_end && out.pos == 0) return DataLoss(path_ + ": zstd: the file ends in a frame");
    }
    return true;
  }

  Status ReadChunk() {
    used_ = size_ = 0;
    const ssize_t got = ::read(fd_, in_.data(), in_.size());
    if (got < 0) return ErrnoStatus("read " + path_, errno);
    size_ = static_cast<size_t>(got);
    bytes_read_ += got;
    crypto_hash_sha256_update(&hash_, reinterpret_cast<const unsigned char*>(in_.data()), size_);
    return OkStatus();
  }

  const std::string path_;
  const int fd_;
  crypto_hash_sha256_state hash_;
  std::unique_ptr<ZSTD_DCtx, FreeContext> zstd_;  // null: the file is plain
  bool frame_done_ = false;
  std::vector<char> in_;  // bytes [used_, size_) of it are not taken yet
  size_t used_ = 0;
  size_t size_ = 0;
  std::string text_;  // from next_ on not handed out yet
  size_t next_ = 0;
  int64_t number_ = 0;
  int64_t bytes_read_ = 0;
};

RowReader::RowReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RowReader::RowReader(RowReader&&) noexcept = default;
RowReader& RowReader::operator=(RowReader&&) noexcept = default;
RowReader::~RowReader() = default;

Result<RowReader> RowReader::Open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus("open " + path, errno);
  auto impl = std::make_unique<Impl>(path, fd);
  MSA_RETURN_IF_ERROR(impl->Start());
  return RowReader(std::move(impl));
}

Result<bool> RowReader::Next(std::string* line) { return impl_->Next(line); }
int64_t RowReader::number() const { return impl_->number(); }
std::string RowReader::place() const { return impl_->place(); }
int64_t RowReader::bytes_read() const { return impl_->bytes_read(); }
std::string RowReader::Sha256Hex() const { return impl_->Sha256Hex(); }

}  // namespace msa
