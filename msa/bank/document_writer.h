// Adds documents to the open transaction: text and tokens to a pack, passages to the lexical index,
// rows and chain entries to the catalog.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "msa/bank/append_file.h"
#include "msa/bank/bank.h"
#include "msa/bank/chain.h"
#include "msa/bank/lexical_writer.h"
#include "msa/bank/pack.h"
#include "msa/bank/sqlite.h"
#include "msa/bank/write_transaction.h"

namespace msa {

class DocumentWriter {
 public:
  static Result<std::unique_ptr<DocumentWriter>> Create(WriteTransaction& transaction);

  // As BankWriter::Add.
  Result<AddOutcome> Add(const NewDocument& document);
  // Writes the revision's row and commits. REQUIRES: something was added.
  Status Commit(std::string_view message);

  int64_t pending_documents() const { return pending_documents_; }
  int64_t pending_text_bytes() const { return pending_text_bytes_; }

 private:
  explicit DocumentWriter(WriteTransaction& transaction)
      : transaction_(transaction), lexical_(transaction) {}

  // What a key's visible version is now.
  struct Current {
    int64_t version;
    bool same;  // text, title and labels equal those of the document in hand
    int64_t num_passages;
    int64_t num_tokens;
    int64_t text_bytes;
  };
  // What a revision sees, as the revisions table says.
  struct Totals {
    int64_t documents = 0;
    int64_t passages = 0;
    int64_t tokens = 0;
    int64_t text_bytes = 0;
  };
  // A document, its version's fields and what identifies them.
  struct Prepared {
    const NewDocument& document;
    std::string labels_json;
    Digest text_hash;
    RandomNumber salt;
    int64_t num_tokens;
  };

  Status PrepareStatements();
  Status OpenPack();
  Status BeginRevision();
  Result<std::optional<Current>> FindCurrent(DocId document, const Prepared& prepared);
  Result<std::optional<DocId>> FindDocument(std::string_view lookup);
  Result<DocId> InsertDocument(const NewDocument& document, std::string_view lookup,
                               const RandomNumber& number);
  Result<FramePlace> AppendFrame(const NewDocument& document);
  Status InsertVersion(DocId id, const Prepared& prepared);
  Status IndexPassages(int64_t first_passage, const NewDocument& document);
  Status InsertDeath(const Current& current);
  Status AppendChain(ChainOperation operation, const RandomNumber& number,
                     const Digest& commitment);
  Status InsertRevision(std::string_view message);

  WriteTransaction& transaction_;
  LexicalWriter lexical_;
  FrameEncoder encoder_;
  std::optional<AppendFile> pack_;

  // Of the revision in the making.
  int64_t revision_ = 0;
  RevisionPath path_;
  Totals totals_;
  int64_t pending_documents_ = 0;
  int64_t pending_text_bytes_ = 0;

  Statement find_document_;
  Statement find_current_;
  Statement document_number_;
  Statement insert_document_;
  Statement insert_version_;
  Statement insert_label_;
  Statement insert_death_;
  Statement insert_chain_;
};

}  // namespace msa
