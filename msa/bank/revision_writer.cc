#include "msa/bank/revision_writer.h"

#include <pwd.h>
#include <unistd.h>

#include <array>
#include <optional>
#include <utility>

#include "msa/bank/compaction_due.h"
#include "msa/base/check.h"

namespace msa {
namespace {

std::string UserName() {
  std::array<char, 4096> buffer;
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwuid_r(::geteuid(), &entry, buffer.data(), buffer.size(), &found) == 0 &&
      found != nullptr) {
    return found->pw_name;
  }
  return std::to_string(::geteuid());
}

}  // namespace

RevisionWriter::RevisionWriter(WriteTransaction& transaction, std::string author)
    : transaction_(transaction), author_(author.empty() ? UserName() : std::move(author)) {}

Status RevisionWriter::Begin() {
  MSA_RETURN_IF_ERROR(transaction_.Begin());
  if (begun()) return OkStatus();
  Catalog& catalog = transaction_.catalog();
  const int64_t parent = transaction_.state().head.revision;
  MSA_ASSIGN_OR_RETURN(const RevisionPath path, catalog.ReadPath(parent));
  MSA_ASSIGN_OR_RETURN(totals_, catalog.ReadTotals(parent));
  path_ = path.Extended();
  catalog.SetPath(&path_);
  changed_bytes_ = 0;
  id_ = parent + 1;
  unix_ms_ = UnixMilliseconds();
  return OkStatus();
}

Status RevisionWriter::Insert(int64_t parent, int64_t run_begin, RevisionKind kind,
                              std::string_view message) {
  const BankCipher* cipher = transaction_.core().cipher.get();
  std::optional<Sealer> sealer;
  if (cipher != nullptr) sealer = cipher->OfRevision(id_);
  MSA_ASSIGN_OR_RETURN(Statement insert,
                       transaction_.catalog().db().Prepare(
                           "INSERT INTO main.revisions VALUES(?1, nullif(?2, 0), ?3, ?4,"
                           " ?5, ?6, ?7, ?8, ?9, ?10, ?11)"));
  MSA_RETURN_IF_ERROR(insert
                          .Bind(id_, parent, run_begin, unix_ms_,
                                SealedValue(sealer, SealedColumn::kAuthor, author_),
                                SealedValue(sealer, SealedColumn::kMessage, message),
                                static_cast<int64_t>(kind), totals_.documents, totals_.passages,
                                totals_.tokens, totals_.text_bytes)
                          .Run());
  Catalog& catalog = transaction_.catalog();
  MSA_RETURN_IF_ERROR(kind == RevisionKind::kWrite ? NoteChange(catalog, changed_bytes_)
                                                   : NoteLargeChange(catalog));
  transaction_.state().head.revision = id_;
  const RandomNumber salt = cipher == nullptr ? RandomNumber{} : cipher->RevisionSalt(id_);
  const Digest commitment = kind == RevisionKind::kRevert
                                ? CommitToRevert(salt, author_, message, parent)
                                : CommitToRevision(salt, author_, message);
  MSA_RETURN_IF_ERROR(transaction_.AppendChain(ChainOperation::kRevision, id_, unix_ms_,
                                               RandomNumber{}, commitment));
  id_ = 0;
  return OkStatus();
}

Status RevisionWriter::Finish(RevisionKind kind, std::string_view message) {
  MSA_CHECK(begun());
  return Insert(id_ - 1, path_.run_begin(), kind, message);
}

Status RevisionWriter::Revert(int64_t target, std::string_view message) {
  const int64_t current = transaction_.state().head.revision;
  if (target < 1 || target > current) {
    return NotFound("there is no revision " + std::to_string(target) + "; the bank has 1 to " +
                    std::to_string(current));
  }
  MSA_RETURN_IF_ERROR(transaction_.Begin());
  MSA_ASSIGN_OR_RETURN(totals_, transaction_.catalog().ReadTotals(target));
  id_ = current + 1;
  unix_ms_ = UnixMilliseconds();
  return Insert(target, id_, RevisionKind::kRevert, message);
}

}  // namespace msa
