#include "msa/bank/encrypt.h"

#include <string>
#include <unordered_map>
#include <utility>

#include "msa/bank/bank.h"
#include "msa/bank/layout.h"
#include "msa/bank/new_bank_place.h"

namespace msa {
namespace {

constexpr char kMessage[] = "encrypt: from a bank in plain";
// Of text, or of latents, that wait for a commit, whose index is in memory until then.
constexpr int64_t kCommitBytes = int64_t{16} << 20;

NewDocument ToNewDocument(const DocumentInfo& info, DocumentContent content) {
  NewDocument document;
  document.key = info.key;
  document.title = info.title;
  document.text = std::move(content.text);
  document.source_path = info.source_path;
  document.source_sha256 = info.source_sha256;
  document.source_bytes = info.source_bytes;
  document.media_type = info.media_type;
  document.page_begin = std::move(content.page_begin);
  document.labels = info.labels;
  for (size_t i = 0; i < content.passages.size(); ++i) {
    const PassageInfo& passage = content.passages[i];
    document.passages.push_back(
        {passage.begin, passage.end, passage.page, std::move(content.tokens[i])});
  }
  return document;
}

class Encryption {
 public:
  Encryption(Bank& plain, const EncryptOptions& options) : plain_(plain), options_(options) {}

  Result<EncryptReport> Run(Bank& encrypted) {
    MSA_ASSIGN_OR_RETURN(from_, plain_.Latest());
    report_.from = from_->revision();
    MSA_ASSIGN_OR_RETURN(writer_, encrypted.StartWrite({.author = options_.author}));
    MSA_RETURN_IF_ERROR(AddDocuments());
    MSA_ASSIGN_OR_RETURN(to_, encrypted.Latest());
    report_.revision = to_->revision();
    MSA_ASSIGN_OR_RETURN(const auto encodings, from_->Encodings());
    for (const EncodingStats& encoding : encodings) {
      if (!encoding.is_pending) MSA_RETURN_IF_ERROR(AddLatents(encoding));
    }
    MSA_ASSIGN_OR_RETURN(const Retention retention, from_->GetRetention());
    if (retention != Retention{}) MSA_RETURN_IF_ERROR(writer_->Compact(retention).status());
    writer_.reset();
    MSA_RETURN_IF_ERROR(from_->CheckErasures());
    return report_;
  }

 private:
  Status CheckCancelled() const {
    const bool is_cancelled = options_.cancelled != nullptr && *options_.cancelled;
    return is_cancelled ? Cancelled("stopped; no encrypted bank was made") : OkStatus();
  }

  Status AddDocuments() {
    MSA_ASSIGN_OR_RETURN(const BankStats stats, from_->Stats());
    Progress progress("encrypting", "documents", stats.documents, options_.progress);
    Status status;
    MSA_RETURN_IF_ERROR(from_->ForEachDocument({}, [&](const DocumentInfo& info) {
      status = AddDocument(info);
      progress.Add(1);
      return status.ok();
    }));
    MSA_RETURN_IF_ERROR(status);
    return writer_->Commit(kMessage).status();
  }

  Status AddDocument(const DocumentInfo& info) {
    MSA_RETURN_IF_ERROR(CheckCancelled());
    if (!info.text_kept) {
      report_.unkept.push_back(info.key);
      return OkStatus();
    }
    MSA_ASSIGN_OR_RETURN(DocumentContent content, from_->ReadContent(info.version));
    MSA_RETURN_IF_ERROR(writer_->Add(ToNewDocument(info, std::move(content))).status());
    sources_.emplace(info.key, info.version);
    ++report_.documents;
    if (writer_->pending_text_bytes() < kCommitBytes) return OkStatus();
    return writer_->Commit(kMessage).status();
  }

  Status AddLatents(const EncodingStats& encoding) {
    MSA_ASSIGN_OR_RETURN(const EncodingId to, writer_->OpenEncoding(encoding.info));
    Progress progress("encrypting", "passages", encoding.encoded_passages, options_.progress);
    Status status;
    MSA_RETURN_IF_ERROR(to_->ForEachDocument({}, [&](const DocumentInfo& info) {
      status = AddLatentsOf(info, encoding.info.id, to, &progress);
      return status.ok();
    }));
    MSA_RETURN_IF_ERROR(status);
    return writer_->CommitLatents();
  }

  // Of a document of the encrypted bank.
  Status AddLatentsOf(const DocumentInfo& info, EncodingId from, EncodingId to,
                      Progress* progress) {
    MSA_RETURN_IF_ERROR(CheckCancelled());
    MSA_ASSIGN_OR_RETURN(const DocumentContent content, from_->ReadContent(sources_.at(info.key)));
    const auto num_passages = static_cast<int64_t>(content.passages.size());
    for (int64_t i = 0; i < num_passages;) {
      const PassageId passage = content.passages[static_cast<size_t>(i)].id;
      const auto block = from_->ReadLatentRun(from, passage, num_passages - i);
      if (block.status().code() == StatusCode::kNotFound) {
        ++i;
        continue;
      }
      MSA_RETURN_IF_ERROR(block.status());
      MSA_RETURN_IF_ERROR(writer_->AddLatents(to, info.version, i, *block));
      const auto count = static_cast<int64_t>(block->chunks.size());
      pending_bytes_ += static_cast<int64_t>(block->keys.size() + block->latents.size());
      report_.passages_with_latents += count;
      progress->Add(count);
      i += count;
    }
    if (pending_bytes_ < kCommitBytes) return OkStatus();
    pending_bytes_ = 0;
    return writer_->CommitLatents();
  }

  Bank& plain_;
  const EncryptOptions& options_;
  std::shared_ptr<const Snapshot> from_;
  std::shared_ptr<const Snapshot> to_;
  std::unique_ptr<BankWriter> writer_;
  std::unordered_map<std::string, VersionId> sources_;  // what was added: versions of plain_
  int64_t pending_bytes_ = 0;                           // of latents
  EncryptReport report_;
};

}  // namespace

Result<EncryptReport> EncryptBank(const std::string& plain, const std::string& encrypted,
                                  const EncryptOptions& options, FileSystem& fs) {
  const NewBankPlace place(fs, encrypted, ".encrypting");
  MSA_RETURN_IF_ERROR(place.CheckFree());
  if (LiesIn(encrypted, plain)) return InvalidArgument(encrypted + " lies in the bank " + plain);
  MSA_ASSIGN_OR_RETURN(const auto bank, Bank::Open(plain, fs));
  if (bank->options().encrypt) {
    return FailedPrecondition(plain + " is encrypted already; msa rekey changes its master key");
  }
  MSA_RETURN_IF_ERROR(place.RemoveInterrupted());
  BankOptions made = bank->options();
  made.encrypt = true;
  EncryptReport report;
  {
    MSA_ASSIGN_OR_RETURN(const auto sealed, Bank::Create(place.folder(), made, fs));
    MSA_ASSIGN_OR_RETURN(report, Encryption(*bank, options).Run(*sealed));
    MSA_RETURN_IF_ERROR(sealed->Audit({}, options.progress).status());
  }
  MSA_RETURN_IF_ERROR(place.Publish());
  return report;
}

}  // namespace msa
