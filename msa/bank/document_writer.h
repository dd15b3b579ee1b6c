// Adds documents to the revision in the making, and takes them out of it: text and tokens to a
// pack, passages to the lexical index, rows and chain entries to the catalog.
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
#include "msa/bank/revision_writer.h"
#include "msa/bank/sqlite.h"
#include "msa/bank/write_transaction.h"

namespace msa {

class DocumentWriter {
 public:
  // `readmit`: erased documents may come back.
  static Result<std::unique_ptr<DocumentWriter>> Create(WriteTransaction& transaction,
                                                        RevisionWriter& revision, bool readmit);

  struct Added {
    AddOutcome outcome = AddOutcome::kUnchanged;
    VersionId version;                   // the new one; unless unchanged
    std::optional<VersionRow> previous;  // the version before it, visible until now or not
  };
  // As BankWriter::Add.
  Result<Added> Add(const NewDocument& document);
  // What makes a version differ from another of its document.
  struct Content {
    std::string_view title;
    std::string labels_json;
    Digest text_hash;

    // Of a version whose text is not kept: false, so that adding it brings the text back.
    bool SameAs(const VersionRow& version) const {
      return version.info.text_kept && version.text_hash == text_hash &&
             version.info.title == title && version.labels_json == labels_json;
    }
  };
  // As BankWriter::Compare.
  Result<AddOutcome> Compare(std::string_view key, const Content& content);
  // As BankWriter::Remove.
  Result<bool> Remove(std::string_view key);
  // Syncs what was appended, records it, and finishes the index. The revision's row and the
  // transaction's commit come after it.
  Status Finish();

  // The pack is opened anew when it is needed. REQUIRES: nothing is pending.
  void ClosePack() { pack_.reset(); }

  int64_t pending_documents() const { return pending_documents_; }
  int64_t pending_text_bytes() const { return pending_text_bytes_; }

 private:
  DocumentWriter(WriteTransaction& transaction, RevisionWriter& revision, bool readmit)
      : transaction_(transaction), revision_(revision), readmit_(readmit), lexical_(transaction) {}

  // A document of the bank.
  struct Known {
    DocId id;
    RandomNumber number;
  };
  // A document, its version's fields and what identifies them.
  struct Prepared {
    explicit Prepared(const NewDocument& new_document);
    CommittedFields committed_fields() const;

    const NewDocument& document;
    Content content;
    RandomNumber salt{};
    RevisionTotals totals;
  };

  Status PrepareStatements();
  Status OpenPack();
  Result<std::optional<Known>> FindDocument(std::string_view key);
  // True if the key was erased, and is not readmitted.
  Result<bool> IsRefused(std::string_view key);
  Result<Known> InsertDocument(const NewDocument& document);
  // What seals a version; nullopt in a bank without a cipher.
  Result<std::optional<Sealer>> FindSealer(const Known& known, VersionId version);
  Result<FramePlace> AppendFrame(const NewDocument& document, const std::optional<Sealer>& sealer);
  Result<VersionId> InsertVersion(const Known& known, const Prepared& prepared);
  Status IndexPassages(int64_t first_passage, const NewDocument& document);
  Status InsertDeath(const VersionRow& version);
  Status AppendChain(ChainOperation operation, const RandomNumber& number,
                     const Digest& commitment);

  WriteTransaction& transaction_;
  RevisionWriter& revision_;
  const bool readmit_;
  LexicalWriter lexical_;
  FrameEncoder encoder_;
  std::optional<AppendFile> pack_;
  int64_t pending_documents_ = 0;
  int64_t pending_text_bytes_ = 0;

  Statement find_document_;
  Statement find_erased_;
  Statement forget_erased_;
  Statement insert_document_;
  Statement insert_version_;
  Statement insert_label_;
  Statement insert_death_;
};

}  // namespace msa
