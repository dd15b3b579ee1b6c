// Engine::Add: documents become passages and index; encode.cc makes their latents.

#include <memory>

#include "msa/bank/latents_transfer.h"
#include "msa/base/clock.h"
#include "msa/engine/engine.h"
#include "msa/text/passages.h"

namespace msa {
namespace {

// A commit costs a few syncs and one lexical shard, so it is worth some thousand documents; but
// what waits for it is held in memory (the shard) and lost on a crash.
constexpr int64_t kCommitTextBytes = int64_t{16} << 20;
constexpr int64_t kCommitDocuments = 5000;

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

}  // namespace

Result<std::unique_ptr<BankWriter>> Engine::StartWrite() {
  return bank_->StartWrite(
      {.author = options_.author, .readmit = options_.readmit, .progress = options_.progress});
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
  if (missing > 0 && options_.latents != nullptr && !report->cancelled) {
    MSA_ASSIGN_OR_RETURN(const EncodingId encoding, OpenEncoding(writer));
    MSA_ASSIGN_OR_RETURN(const MemoryModel* model, Model());
    MSA_ASSIGN_OR_RETURN(
        report->imported_passages,
        ImportLatents(*options_.latents, *added, writer, encoding, model->memory().chunk_tokens,
                      {options_.progress, options_.cancelled}));
    report->cancelled = cancelled();
  }
  if (encode && missing > report->imported_passages && !report->cancelled) {
    MSA_ASSIGN_OR_RETURN(const EncodingId encoding, OpenEncoding(writer));
    MSA_ASSIGN_OR_RETURN(const EncodeReport encoded, EncodeMissing(writer, encoding));
    report->encoded_passages = encoded.passages;
    report->encode_seconds = encoded.seconds;
    report->model_seconds = encoded.model_seconds;
    report->write_seconds = encoded.write_seconds;
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
  if (options_.latents != nullptr) {
    MSA_ASSIGN_OR_RETURN(const EncodingInfo encoding, DescribeEncoding());
    if (encoding.layout != options_.latents->encoding().layout) {
      return DataLoss(options_.latents->path() +
                      ": shapes or types of latents that their encoding does not have");
    }
  }
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

}  // namespace msa
