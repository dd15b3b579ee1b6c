// Engine::Migrate: a bank moves to another model, adapter or shape of latents.

#include <algorithm>

#include "msa/engine/engine.h"

namespace msa {

Status Engine::CheckVocabulary(const Snapshot& snapshot) {
  std::optional<DocumentInfo> first;
  MSA_RETURN_IF_ERROR(snapshot.ForEachDocument({}, [&](const DocumentInfo& document) {
    if (document.num_passages > 0) first = document;
    return !first;
  }));
  if (!first) return OkStatus();
  MSA_ASSIGN_OR_RETURN(const MemoryModel* model, Model());
  MSA_ASSIGN_OR_RETURN(const DocumentContent content, snapshot.ReadContent(first->version));
  const Tokenizer& tokenizer = model->tokenizer();
  const std::vector<TokenId>& tokens = content.tokens.front();
  const bool is_known = std::ranges::all_of(
      tokens, [&](TokenId token) { return token >= 0 && token < tokenizer.vocab_size(); });
  if (is_known && tokenizer.Encode(tokenizer.Decode(tokens)) == tokens) return OkStatus();
  return FailedPrecondition(bank_->path() + " was cut into tokens of another vocabulary than " +
                            options_.model_path + " has; add its documents to a new bank");
}

Result<MigrateReport> Engine::Migrate() {
  MSA_ASSIGN_OR_RETURN(const auto before, bank_->Latest());
  MSA_ASSIGN_OR_RETURN(const auto encodings, before->Encodings());
  MigrateReport report;
  if (!encodings.empty()) report.from = encodings.back().info.fingerprint;
  MSA_ASSIGN_OR_RETURN(const MemoryModel* model, LoadByOptions(options_.memory.chunk_tokens));
  report.to = model->fingerprint();
  MSA_RETURN_IF_ERROR(CheckVocabulary(*before));
  MSA_ASSIGN_OR_RETURN(const EncodingInfo target, DescribeEncoding());
  MSA_ASSIGN_OR_RETURN(auto writer, StartWrite());
  MSA_ASSIGN_OR_RETURN(const EncodingId encoding, writer->BeginMigration(target));
  MSA_ASSIGN_OR_RETURN(report.encode, EncodeMissing(*writer, encoding));
  if (report.encode.left_passages > 0) return report;
  MSA_RETURN_IF_ERROR(writer->FinishMigration());
  report.moved = report.from != report.to;
  return report;
}

}  // namespace msa
