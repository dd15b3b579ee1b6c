// Engine::Encode: passages become latents. Three steps overlap, each on its own batch: while the
// model encodes one, the next is read and the one before is written. So at most three batches are
// in memory, and the bank's writer is used by one thread at a time.

#include <future>
#include <memory>

#include "msa/base/clock.h"
#include "msa/engine/engine.h"
#include "msa/kernels/pool.h"
#include "msa/kernels/rotate.h"

namespace msa {
namespace {

// What a crash loses at most. By bytes too: a GPU fills gigabytes in the time, and a tail is sealed
// from memory.
constexpr double kCommitLatentSeconds = 5;
constexpr int64_t kCommitLatentBytes = int64_t{64} << 20;

// Turns f32 latents of consecutive passages into the layout's types.
LatentBlock StoreLatents(const EncodedBatch& batch, size_t first_passage, size_t num_passages,
                         int64_t first_latent, int64_t chunk_tokens, const LatentLayout& layout) {
  LatentBlock block;
  block.chunk_tokens = chunk_tokens;
  block.chunks.assign(
      batch.chunks.begin() + static_cast<std::ptrdiff_t>(first_passage),
      batch.chunks.begin() + static_cast<std::ptrdiff_t>(first_passage + num_passages));
  int64_t n = 0;
  for (const int64_t chunks : block.chunks) n += chunks;
  const int64_t width = layout.latent_row_elements();
  block.keys.resize(static_cast<size_t>(n * layout.key_row_bytes()));
  block.key_scales.resize(layout.key_dtype == DType::kI8 ? static_cast<size_t>(n) : 0);
  block.latents.resize(static_cast<size_t>(n * layout.latent_row_bytes()));
  block.latent_scales.resize(static_cast<size_t>(n * layout.latent_row_scales()));
  const auto first_key = batch.keys.begin() + first_latent * layout.key_dim;
  std::vector<float> keys(first_key, first_key + n * layout.key_dim);
  const MatrixView<float> key_rows(keys.data(), n, layout.key_dim);
  if (StoresKeysRotated(layout.key_dtype)) RotateRows(key_rows);
  StoreRows(key_rows, layout.key_dtype, layout.key_dim, block.keys.data(), block.key_scales.data());
  StoreRows({batch.latents.data() + first_latent * width, n, width}, layout.latent_dtype,
            layout.head_dim, block.latents.data(), block.latent_scales.data());
  return block;
}

int64_t BytesOf(const LatentBlock& block) {
  return std::ssize(block.keys) + std::ssize(block.latents) +
         std::ssize(block.key_scales) * int64_t{sizeof(float)} +
         std::ssize(block.latent_scales) * int64_t{sizeof(float)};
}

// Passages of one version that go through the encoder together.
struct Piece {
  std::shared_ptr<const DocumentContent> content;
  VersionId version;
  int64_t first_passage;
  int64_t num_passages;
};

// What one call of the encoder gets.
struct Batch {
  std::vector<Piece> pieces;
  std::vector<std::span<const TokenId>> passages;  // of the pieces' contents
  int64_t tokens = 0;
};

// Reads passages in order, batch by batch.
class BatchReader {
 public:
  // `cancelled`: true ends it; it may be called from any thread.
  BatchReader(const Snapshot& snapshot, std::vector<Snapshot::Unencoded> missing,
              int64_t batch_tokens, std::function<bool()> cancelled)
      : snapshot_(snapshot),
        missing_(std::move(missing)),
        batch_tokens_(batch_tokens),
        cancelled_(std::move(cancelled)) {}

  // Empty: there are no more.
  Result<Batch> Next() {
    Batch batch;
    while (next_ < missing_.size() && batch.tokens < batch_tokens_ && !cancelled_()) {
      const Snapshot::Unencoded& run = missing_[next_];
      if (content_ == nullptr) {
        MSA_ASSIGN_OR_RETURN(DocumentContent read, snapshot_.ReadContent(run.version));
        content_ = std::make_shared<const DocumentContent>(std::move(read));
      }
      if (done_ < run.num_passages) Take(run, &batch);
      if (done_ < run.num_passages) break;  // the batch is full
      content_ = nullptr;
      done_ = 0;
      ++next_;
    }
    return batch;
  }

 private:
  // As much of the run as the batch takes.
  void Take(const Snapshot::Unencoded& run, Batch* batch) {
    Piece piece{content_, run.version, run.first_passage + done_, 0};
    while (done_ < run.num_passages && batch->tokens < batch_tokens_) {
      const auto& tokens = content_->tokens[static_cast<size_t>(run.first_passage + done_++)];
      batch->passages.emplace_back(tokens);
      batch->tokens += std::ssize(tokens);
      ++piece.num_passages;
    }
    batch->pieces.push_back(std::move(piece));
  }

  const Snapshot& snapshot_;
  const std::vector<Snapshot::Unencoded> missing_;
  const int64_t batch_tokens_;
  const std::function<bool()> cancelled_;
  size_t next_ = 0;                                 // run
  int64_t done_ = 0;                                // passages of it
  std::shared_ptr<const DocumentContent> content_;  // its document's
};

// Stores encoded batches and commits them now and then.
class BatchWriter {
 public:
  BatchWriter(BankWriter& writer, EncodingId encoding, const LatentLayout& layout,
              int64_t chunk_tokens, Progress& progress, EncodeReport* report)
      : writer_(writer),
        encoding_(encoding),
        layout_(layout),
        chunk_tokens_(chunk_tokens),
        progress_(progress),
        report_(report) {}

  Status Write(const Batch& batch, const EncodedBatch& encoded) {
    const auto start = Clock::now();
    size_t passage = 0;
    int64_t latent = 0;
    for (const Piece& piece : batch.pieces) {
      const auto count = static_cast<size_t>(piece.num_passages);
      const LatentBlock block =
          StoreLatents(encoded, passage, count, latent, chunk_tokens_, layout_);
      MSA_RETURN_IF_ERROR(writer_.AddLatents(encoding_, piece.version, piece.first_passage, block));
      passage += count;
      for (const int64_t chunks : block.chunks) latent += chunks;
      uncommitted_bytes_ += BytesOf(block);
    }
    report_->passages += std::ssize(batch.passages);
    report_->tokens += batch.tokens;
    report_->latents += latent;
    progress_.Add(batch.tokens);
    if (SecondsSince(last_commit_) >= kCommitLatentSeconds ||
        uncommitted_bytes_ >= kCommitLatentBytes) {
      MSA_RETURN_IF_ERROR(Commit());
    }
    report_->write_seconds += SecondsSince(start);
    return OkStatus();
  }

  Status Commit() {
    last_commit_ = Clock::now();
    uncommitted_bytes_ = 0;
    return writer_.CommitLatents();
  }

 private:
  BankWriter& writer_;
  const EncodingId encoding_;
  const LatentLayout& layout_;
  const int64_t chunk_tokens_;
  Progress& progress_;
  EncodeReport* report_;
  Clock::time_point last_commit_ = Clock::now();
  int64_t uncommitted_bytes_ = 0;
};

}  // namespace

Result<EncodeReport> Engine::Encode() {
  MSA_RETURN_IF_ERROR(Model().status());
  MSA_ASSIGN_OR_RETURN(auto writer, StartWrite());
  MSA_ASSIGN_OR_RETURN(const EncodingId encoding, OpenEncoding(*writer));
  return EncodeMissing(*writer, encoding);
}

Result<EncodeReport> Engine::EncodeMissing(BankWriter& writer, EncodingId encoding) {
  MSA_ASSIGN_OR_RETURN(MemoryModel * model, Model());
  MSA_ASSIGN_OR_RETURN(const EncodingInfo info, DescribeEncoding());
  MSA_ASSIGN_OR_RETURN(const auto snapshot, bank_->Latest());
  MSA_ASSIGN_OR_RETURN(auto missing, snapshot->FindUnencoded(encoding));
  int64_t total_tokens = 0;
  int64_t total_passages = 0;
  for (const auto& m : missing) {
    total_tokens += m.num_tokens;
    total_passages += m.num_passages;
  }
  EncodeReport report;
  const auto start = Clock::now();
  Progress progress("encoding", "tokens", total_tokens, options_.progress);
  BatchReader batches(*snapshot, std::move(missing), model->batch_tokens(),
                      [this] { return cancelled(); });
  BatchWriter store(writer, encoding, info.layout, model->memory().chunk_tokens, progress, &report);

  // Whatever returns early waits for both, in their destructors.
  const auto read_next = [&] {
    return std::async(std::launch::async, [&] { return batches.Next(); });
  };
  std::future<Result<Batch>> reading = read_next();
  std::future<Status> writing;
  const auto finish_writing = [&] { return writing.valid() ? writing.get() : OkStatus(); };
  while (!cancelled()) {
    MSA_ASSIGN_OR_RETURN(Batch batch, reading.get());
    if (batch.passages.empty() || cancelled()) break;
    reading = read_next();
    const auto model_start = Clock::now();
    MSA_ASSIGN_OR_RETURN(EncodedBatch encoded, model->Encode(batch.passages));
    report.model_seconds += SecondsSince(model_start);
    MSA_RETURN_IF_ERROR(finish_writing());
    writing = std::async(std::launch::async,
                         [&store, batch = std::move(batch), encoded = std::move(encoded)] {
                           return store.Write(batch, encoded);
                         });
  }
  MSA_RETURN_IF_ERROR(finish_writing());
  MSA_RETURN_IF_ERROR(store.Commit());
  report.left_passages = total_passages - report.passages;
  report.cancelled = cancelled();
  report.seconds = SecondsSince(start);
  return report;
}

}  // namespace msa
