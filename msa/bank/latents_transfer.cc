#include "msa/bank/latents_transfer.h"

#include <algorithm>
#include <memory>
#include <utility>

namespace msa {
namespace {

// Passages that are read, or added, in one go.
constexpr int64_t kRunPassages = 512;
constexpr int64_t kCommitBytes = int64_t{64} << 20;

bool IsCancelled(const CopyOptions& options) {
  return options.cancelled != nullptr && *options.cancelled;
}

template <class T>
void Append(const std::vector<T>& from, std::vector<T>* to) {
  to->insert(to->end(), from.begin(), from.end());
}

// Adds what the file has of one run of passages.
class RunImport {
 public:
  RunImport(const LatentsFile& file, BankWriter& writer, EncodingId encoding, int64_t chunk_tokens)
      : file_(file), writer_(writer), encoding_(encoding), chunk_tokens_(chunk_tokens) {}

  Status Import(const Snapshot::Unencoded& run, const DocumentContent& content) {
    version_ = run.version;
    for (int64_t i = run.first_passage; i < run.first_passage + run.num_passages; ++i) {
      MSA_RETURN_IF_ERROR(ImportPassage(i, content.tokens[static_cast<size_t>(i)]));
    }
    return Flush();
  }

  Status Commit() {
    uncommitted_bytes_ = 0;
    return writer_.CommitLatents();
  }

  int64_t passages() const { return passages_; }

 private:
  Status ImportPassage(int64_t index, std::span<const int32_t> tokens) {
    const auto found = file_.Find(HashTokens(tokens));
    if (!found || !Fits(file_.passage(*found), std::ssize(tokens))) return Flush();
    MSA_ASSIGN_OR_RETURN(const LatentBlock next, file_.Read(*found));
    if (block_.chunks.empty()) first_ = index;
    block_.chunk_tokens = next.chunk_tokens;
    Append(next.chunks, &block_.chunks);
    Append(next.keys, &block_.keys);
    Append(next.key_scales, &block_.key_scales);
    Append(next.latents, &block_.latents);
    Append(next.latent_scales, &block_.latent_scales);
    return std::ssize(block_.chunks) < kRunPassages ? OkStatus() : Flush();
  }

  bool Fits(const ExportedPassage& passage, int64_t num_tokens) const {
    return passage.chunk_tokens == chunk_tokens_ &&
           passage.chunks == (num_tokens + chunk_tokens_ - 1) / chunk_tokens_;
  }

  Status Flush() {
    if (block_.chunks.empty()) return OkStatus();
    MSA_RETURN_IF_ERROR(writer_.AddLatents(encoding_, version_, first_, block_));
    passages_ += std::ssize(block_.chunks);
    uncommitted_bytes_ += std::ssize(block_.keys) + std::ssize(block_.latents);
    block_ = {};
    return uncommitted_bytes_ < kCommitBytes ? OkStatus() : Commit();
  }

  const LatentsFile& file_;
  BankWriter& writer_;
  const EncodingId encoding_;
  const int64_t chunk_tokens_;
  VersionId version_;
  LatentBlock block_;  // of neighbours, from first_ on
  int64_t first_ = 0;
  int64_t passages_ = 0;
  int64_t uncommitted_bytes_ = 0;
};

}  // namespace

Status LatentsExport::Add(VersionId version) {
  MSA_ASSIGN_OR_RETURN(const auto counts, snapshot_.CountLatents(encoding_.id, version));
  for (const int64_t count : counts) {
    if (count < 0) {
      ++missing_passages_;
      continue;
    }
    ++sizes_.passages;
    sizes_.rows += count;
  }
  versions_.push_back(version);
  return OkStatus();
}

Status LatentsExport::Write(FileSystem& fs, const std::string& path, const CopyOptions& options) {
  MSA_ASSIGN_OR_RETURN(const auto writer, LatentsFileWriter::Create(fs, path, encoding_, sizes_));
  Progress progress("exporting latents", "passages", sizes_.passages, options.progress);
  for (int64_t line = 0; line < std::ssize(versions_); ++line) {
    if (IsCancelled(options)) return Cancelled("stopped; no latents were exported");
    MSA_RETURN_IF_ERROR(WriteDocument(line, *writer, progress));
  }
  MSA_RETURN_IF_ERROR(snapshot_.CheckErasures());
  return writer->Finish();
}

Status LatentsExport::WriteDocument(int64_t line, LatentsFileWriter& writer, Progress& progress) {
  const VersionId version = versions_[static_cast<size_t>(line)];
  MSA_ASSIGN_OR_RETURN(const auto counts, snapshot_.CountLatents(encoding_.id, version));
  if (std::ranges::all_of(counts, [](int64_t count) { return count < 0; })) return OkStatus();
  MSA_ASSIGN_OR_RETURN(const DocumentContent content, snapshot_.ReadContent(version));
  const LatentRowSizes sizes(Unsealed(encoding_.layout));
  const auto num_passages = static_cast<int64_t>(content.passages.size());
  for (int64_t i = 0; i < num_passages;) {
    if (counts[static_cast<size_t>(i)] < 0) {
      ++i;
      continue;
    }
    const auto first = static_cast<size_t>(i);
    const auto block = snapshot_.ReadLatentRun(encoding_.id, content.passages[first].id,
                                               std::min(kRunPassages, num_passages - i));
    if (!block.ok()) return Explain(block.status(), version, content, first);
    int64_t row = 0;
    for (const int64_t chunks : block->chunks) {
      const ExportedPassage passage{line, i, chunks, block->chunk_tokens,
                                    HashTokens(content.tokens[static_cast<size_t>(i)])};
      MSA_RETURN_IF_ERROR(writer.Append(passage, SliceRows(RowsOf(*block), sizes, row, chunks)));
      row += chunks;
      ++i;
    }
    progress.Add(std::ssize(block->chunks));
  }
  return OkStatus();
}

Status LatentsExport::Explain(const Status& error, VersionId version,
                              const DocumentContent& content, size_t first) const {
  if (error.code() != StatusCode::kDataLoss) return error;
  const auto is_damaged = [&](const PassageInfo& passage) {
    const auto alone = snapshot_.ReadLatents(encoding_.id, passage.id);
    return alone.status().code() == StatusCode::kDataLoss;
  };
  const auto at = std::find_if(content.passages.begin() + static_cast<ptrdiff_t>(first),
                               content.passages.end(), is_damaged);
  if (at == content.passages.end()) return error;
  MSA_ASSIGN_OR_RETURN(const DocumentInfo document, snapshot_.GetDocument(version));
  return DataLoss("latents of passage " + std::to_string(at - content.passages.begin() + 1) +
                  " of " + std::to_string(content.passages.size()) + " of " + document.key +
                  " are damaged, so none were exported; msa repair drops them, msa encode makes "
                  "them anew: " +
                  error.message());
}

Result<int64_t> ImportLatents(const LatentsFile& file, const Snapshot& latest, BankWriter& writer,
                              EncodingId encoding, int64_t chunk_tokens,
                              const CopyOptions& options) {
  MSA_ASSIGN_OR_RETURN(const auto missing, latest.FindUnencoded(encoding));
  int64_t total = 0;
  for (const auto& run : missing) total += run.num_passages;
  Progress progress("importing latents", "passages", total, options.progress);
  RunImport import(file, writer, encoding, chunk_tokens);
  for (const auto& run : missing) {
    if (IsCancelled(options)) break;
    MSA_ASSIGN_OR_RETURN(const DocumentContent content, latest.ReadContent(run.version));
    MSA_RETURN_IF_ERROR(import.Import(run, content));
    progress.Add(run.num_passages);
  }
  MSA_RETURN_IF_ERROR(import.Commit());
  return import.passages();
}

}  // namespace msa
