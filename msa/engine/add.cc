// Engine::Add and Engine::Encode: documents become passages, index and latents.

#include <chrono>
#include <memory>

#include "msa/engine/engine.h"
#include "msa/kernels/pool.h"
#include "msa/kernels/rotate.h"
#include "msa/text/passages.h"

namespace msa {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// A commit costs a few syncs and one lexical shard, so it is worth some thousand documents; but
// what waits for it is held in memory (the shard) and lost on a crash.
constexpr int64_t kCommitTextBytes = int64_t{16} << 20;
constexpr int64_t kCommitDocuments = 5000;

// One encoder call: enough passages for every thread to pack full, few enough that Ctrl-C is
// answered in seconds on a slow machine and that the f32 latents stay below 100 MB for the default
// model.
constexpr int64_t kEncodeTokens = 8192;
constexpr double kCommitLatentSeconds = 5;

NewDocument ToNewDocument(Document document, std::vector<Passage> passages) {
  NewDocument out;
  out.key = std::move(document.key);
  out.title = std::move(document.title);
  out.text = std::move(document.text);
  out.source_path = std::move(document.source_path);
  out.source_sha256 = std::move(document.source_sha256);
  out.source_bytes = document.source_bytes;
  out.media_type = std::move(document.media_type);
  out.page_begin = std::move(document.page_begin);
  out.labels = std::move(document.labels);
  out.passages.reserve(passages.size());
  for (Passage& p : passages) out.passages.push_back({p.begin, p.end, p.page, std::move(p.tokens)});
  return out;
}

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

// Passages of one version that go through the encoder together.
struct Piece {
  std::shared_ptr<const DocumentContent> content;
  VersionId version;
  int64_t first_passage;
  int64_t num_passages;
};

}  // namespace

Result<std::unique_ptr<BankWriter>> Engine::StartWrite() {
  return bank_->StartWrite({.author = options_.author, .readmit = options_.readmit});
}

std::string Engine::Message(std::string_view what) const {
  return options_.message.empty() ? std::string(what) : options_.message;
}

Result<EncodingId> Engine::OpenEncoding(BankWriter& writer) {
  MSA_ASSIGN_OR_RETURN(const EncodingInfo encoding, DescribeEncoding());
  MSA_ASSIGN_OR_RETURN(const auto snapshot, bank_->Latest());
  MSA_ASSIGN_OR_RETURN(const auto encodings, snapshot->Encodings());
  if (!encodings.empty()) MSA_RETURN_IF_ERROR(FindEncoding(*snapshot).status());
  return writer.OpenEncoding(encoding);
}

Status Engine::AddDocuments(BankWriter& writer, const std::vector<std::string>& paths,
                            const LoadOptions& load, bool dry_run,
                            FunctionRef<Status(const std::string& key, AddOutcome)> on_document,
                            AddReport* report) {
  const PassageOptions passage_options{.max_tokens = bank_->options().passage_tokens};
  LoadOptions load_options = load;
  load_options.cancelled = options_.cancelled;
  Progress progress(dry_run ? "comparing" : "adding", "bytes", EstimateLoad(paths).bytes,
                    options_.progress);
  Status failed;
  bool is_model_checked = false;
  const auto add = [&](Document document) -> Status {
    const std::string key = document.key;
    const int64_t bytes = document.source_bytes;
    // Cutting and tokenising cost far more than this, and most documents of a second round are
    // unchanged.
    MSA_ASSIGN_OR_RETURN(AddOutcome outcome,
                         writer.Compare(key, document.title, document.text, document.labels));
    const bool differs = outcome == AddOutcome::kAdded || outcome == AddOutcome::kReplaced;
    if (differs && !dry_run) {
      MSA_ASSIGN_OR_RETURN(const MemoryModel* model, Model());
      // Before anything is written: a bank of another model is refused.
      if (!is_model_checked) MSA_RETURN_IF_ERROR(OpenEncoding(writer).status());
      is_model_checked = true;
      std::vector<Passage> passages = SplitPassages(document, model->tokenizer(), passage_options);
      report->passages += static_cast<int64_t>(passages.size());
      for (const Passage& p : passages) report->tokens += static_cast<int64_t>(p.tokens.size());
      MSA_ASSIGN_OR_RETURN(outcome,
                           writer.Add(ToNewDocument(std::move(document), std::move(passages))));
    }
    report->added += outcome == AddOutcome::kAdded;
    report->replaced += outcome == AddOutcome::kReplaced;
    report->unchanged += outcome == AddOutcome::kUnchanged;
    if (outcome == AddOutcome::kErased) report->erased.push_back(key);
    progress.Add(bytes);
    return on_document(key, outcome);
  };
  LoadDocuments(
      paths, load_options,
      [&](Document document) {
        failed = add(std::move(document));
        return failed.ok() && !cancelled();
      },
      [&](const LoadFailure& failure) { report->failures.push_back(failure); });
  return failed;
}

Status Engine::FinishAdd(BankWriter& writer, bool encode, AddReport* report) {
  report->reused_passages = writer.reused_passages();
  report->cancelled = cancelled();
  MSA_ASSIGN_OR_RETURN(const auto added, bank_->Latest());
  MSA_ASSIGN_OR_RETURN(const int64_t missing, CountUnencoded(*added));
  if (encode && missing > 0 && !report->cancelled) {
    MSA_ASSIGN_OR_RETURN(const EncodingId encoding, OpenEncoding(writer));
    MSA_ASSIGN_OR_RETURN(const EncodeReport encoded, EncodeMissing(writer, encoding));
    report->encoded_passages = encoded.passages;
    report->encode_seconds = encoded.seconds;
    report->cancelled = encoded.cancelled;
  }
  MSA_ASSIGN_OR_RETURN(const auto after, bank_->Latest());
  report->revision = after->revision();
  MSA_ASSIGN_OR_RETURN(report->unencoded_passages, CountUnencoded(*after));
  return OkStatus();
}

Result<AddReport> Engine::Add(const std::vector<std::string>& paths, const AddOptions& options) {
  MSA_RETURN_IF_ERROR(Model().status());
  MSA_ASSIGN_OR_RETURN(auto writer, StartWrite());
  // First of all: a bank of another model is refused, whatever there is to add.
  MSA_RETURN_IF_ERROR(OpenEncoding(*writer).status());
  AddReport report;
  const auto start = Clock::now();
  const std::string message = Message("add");
  const auto commit_portions = [&](const std::string&, AddOutcome) -> Status {
    if (writer->pending_documents() < kCommitDocuments &&
        writer->pending_text_bytes() < kCommitTextBytes) {
      return OkStatus();
    }
    return writer->Commit(message).status();
  };
  MSA_RETURN_IF_ERROR(
      AddDocuments(*writer, paths, options.load, /*dry_run=*/false, commit_portions, &report));
  MSA_RETURN_IF_ERROR(writer->Commit(message).status());
  report.add_seconds = SecondsSince(start);
  MSA_RETURN_IF_ERROR(FinishAdd(*writer, options.encode, &report));
  return report;
}

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
  MSA_ASSIGN_OR_RETURN(const auto missing, snapshot->FindUnencoded(encoding));
  int64_t total_tokens = 0;
  int64_t total_passages = 0;
  for (const auto& m : missing) {
    total_tokens += m.num_tokens;
    total_passages += m.num_passages;
  }
  EncodeReport report;
  const auto start = Clock::now();
  auto last_commit = start;
  Progress progress("encoding", "tokens", total_tokens, options_.progress);

  std::vector<Piece> pieces;
  std::vector<std::span<const TokenId>> batch;
  int64_t batch_tokens = 0;
  const auto flush = [&]() -> Status {
    if (batch.empty()) return OkStatus();
    MSA_ASSIGN_OR_RETURN(const EncodedBatch encoded, model->Encode(batch));
    size_t passage = 0;
    int64_t latent = 0;
    for (const Piece& piece : pieces) {
      const auto count = static_cast<size_t>(piece.num_passages);
      const LatentBlock block =
          StoreLatents(encoded, passage, count, latent, model->memory().chunk_tokens, info.layout);
      MSA_RETURN_IF_ERROR(writer.AddLatents(encoding, piece.version, piece.first_passage, block));
      passage += count;
      for (const int64_t chunks : block.chunks) latent += chunks;
    }
    report.passages += static_cast<int64_t>(batch.size());
    report.tokens += batch_tokens;
    report.latents += latent;
    progress.Add(batch_tokens);
    pieces.clear();
    batch.clear();
    batch_tokens = 0;
    if (SecondsSince(last_commit) < kCommitLatentSeconds) return OkStatus();
    last_commit = Clock::now();
    return writer.CommitLatents();
  };

  for (const auto& m : missing) {
    if (cancelled()) break;
    MSA_ASSIGN_OR_RETURN(DocumentContent read, snapshot->ReadContent(m.version));
    const auto content = std::make_shared<const DocumentContent>(std::move(read));
    const int64_t end = m.first_passage + m.num_passages;
    for (int64_t p = m.first_passage; p < end && !cancelled(); ++p) {
      if (pieces.empty() || pieces.back().version != m.version)
        pieces.push_back({content, m.version, p, 0});
      ++pieces.back().num_passages;
      const std::vector<int32_t>& tokens = content->tokens[static_cast<size_t>(p)];
      batch.emplace_back(tokens);
      batch_tokens += static_cast<int64_t>(tokens.size());
      if (batch_tokens >= kEncodeTokens) MSA_RETURN_IF_ERROR(flush());
    }
  }
  if (!cancelled()) MSA_RETURN_IF_ERROR(flush());
  MSA_RETURN_IF_ERROR(writer.CommitLatents());
  report.left_passages = total_passages - report.passages;
  report.cancelled = cancelled();
  report.seconds = SecondsSince(start);
  return report;
}

}  // namespace msa
