// The part of an audit that recomputes rows from the chain.
#include <algorithm>
#include <map>
#include <set>

#include "msa/bank/audit.h"
#include "msa/bank/bytes.h"
#include "msa/bank/latent_catalog.h"
#include "msa/bank/migration.h"
#include "msa/bank/revision_totals.h"

namespace msa {
namespace {

// Banks of the first programs read the clock once for a row and once for its entry.
constexpr uint64_t kClockMilliseconds = 60000;

bool SameTime(int64_t a, int64_t b) {
  // Unsigned: a damaged row may hold any number.
  const auto [first, last] = std::minmax(a, b);
  return static_cast<uint64_t>(last) - static_cast<uint64_t>(first) <= kClockMilliseconds;
}

std::string Describe(const ChainEntry& entry) { return "chain entry " + std::to_string(entry.seq); }

// Entries about documents, by document and revision.
class DocumentEntries {
 public:
  explicit DocumentEntries(const VerifiedChain& chain) {
    for (const ChainEntry& entry : chain.entries) {
      switch (entry.operation) {
        case ChainOperation::kAdd:
        case ChainOperation::kReplace:
          births_.emplace(Key{entry.number, entry.revision, entry.commitment}, &entry);
          break;
        case ChainOperation::kRemove: break;
        case ChainOperation::kErase: erased_.insert(entry.number); break;
        default: break;
      }
      if (entry.operation == ChainOperation::kReplace ||
          entry.operation == ChainOperation::kRemove) {
        deaths_[{entry.number, entry.revision}].push_back(&entry);
      }
    }
  }

  bool IsErased(const RandomNumber& number) const { return erased_.contains(number); }

  // Takes the entry that brought a version. Of one that cannot be read, any of that document and
  // revision.
  Status TakeBirth(const VersionRow& version) {
    const auto found = FindBirth(version);
    if (found == births_.end()) {
      return DataLoss(Describe(version) +
                      ": its row is not the one that the chain commits to in revision " +
                      std::to_string(version.info.born.value));
    }
    if (!SameTime(found->second->unix_ms, version.info.added_unix_ms)) {
      return DataLoss(Describe(version) + ": its time of addition is not that of " +
                      Describe(*found->second));
    }
    births_.erase(found);
    return OkStatus();
  }

  // Takes the entry that ended a version: a removal that commits to it, else a replacement. Of one
  // that cannot be read, any of that document and revision.
  Status TakeDeath(const VersionRow& version, int64_t revision) {
    const auto found = deaths_.find({version.number, revision});
    if (found != deaths_.end()) {
      const Digest commitment =
          CommitToDocument(version.salt, version.committed_fields(), version.text_hash);
      auto& entries = found->second;
      auto entry = std::ranges::find_if(entries, [&](const ChainEntry* e) {
        return !version.is_readable ||
               (e->operation == ChainOperation::kRemove && e->commitment == commitment);
      });
      if (entry == entries.end()) {
        entry = std::ranges::find(entries, ChainOperation::kReplace, &ChainEntry::operation);
      }
      if (entry != entries.end()) {
        entries.erase(entry);
        return OkStatus();
      }
    }
    return DataLoss(Describe(version) + " dies in revision " + std::to_string(revision) +
                    ", which the chain does not say");
  }

  // Every entry found its row, or its document was erased since.
  Status CheckAllTaken() const {
    const ChainEntry* first = nullptr;
    const auto consider = [&](const ChainEntry* entry) {
      if (IsErased(entry->number)) return;
      if (first == nullptr || entry->seq < first->seq) first = entry;
    };
    for (const auto& [key, entry] : births_) consider(entry);
    for (const auto& [key, entries] : deaths_) {
      for (const ChainEntry* entry : entries) consider(entry);
    }
    if (first == nullptr) return OkStatus();
    return DataLoss(Describe(*first) + " (revision " + std::to_string(first->revision) +
                    ") is about a document whose row is missing, and which was not erased");
  }

 private:
  struct Key {
    RandomNumber number;
    int64_t revision;
    Digest commitment;
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  using Births = std::multimap<Key, const ChainEntry*>;

  Births::iterator FindBirth(const VersionRow& version) {
    const int64_t born = version.info.born.value;
    if (version.is_readable) {
      return births_.find(
          Key{version.number, born,
              CommitToDocument(version.salt, version.committed_fields(), version.text_hash)});
    }
    const auto first = births_.lower_bound(Key{version.number, born, Digest{}});
    const bool is_of_it = first != births_.end() && first->first.number == version.number &&
                          first->first.revision == born;
    return is_of_it ? first : births_.end();
  }

  Births births_;
  std::map<std::pair<RandomNumber, int64_t>, std::vector<const ChainEntry*>> deaths_;
  std::set<RandomNumber> erased_;
};

Status VerifyVersions(Catalog& catalog, const CatalogState& state, const BankId& secret,
                      const VerifiedChain& chain, ProgressMode mode) {
  MSA_ASSIGN_OR_RETURN(const int64_t versions, catalog.CountVersions());
  Progress progress("checking rows", "versions", versions, mode);
  DocumentEntries entries(chain);
  MSA_ASSIGN_OR_RETURN(
      Statement deaths,
      catalog.db().Prepare("SELECT revision FROM deaths WHERE version = ?1 ORDER BY revision"));
  MSA_ASSIGN_OR_RETURN(Statement lookup,
                       catalog.db().Prepare("SELECT lookup FROM documents WHERE id = ?1"));
  MSA_ASSIGN_OR_RETURN(
      Statement label,
      catalog.db().Prepare("SELECT 1 FROM labels WHERE lookup = ?1 AND version = ?2"));
  MSA_ASSIGN_OR_RETURN(Statement labels_of,
                       catalog.db().Prepare("SELECT count(*) FROM labels WHERE version = ?1"));
  int64_t labels = 0;
  int64_t next_passage = 0;
  MSA_RETURN_IF_ERROR(catalog.ForEachVersion([&](const VersionRow& version) -> Status {
    progress.Add(1);
    const DocumentInfo& info = version.info;
    const std::string name = Describe(version);
    if (version.is_readable) {
      labels += static_cast<int64_t>(info.labels.size());
    } else {
      MSA_RETURN_IF_ERROR(labels_of.Bind(info.version.value).Step().status());
      labels += labels_of.Int(0);
      labels_of.Reset();
    }
    for (const auto& [key, value] : info.labels) {
      const std::string wanted = LabelLookup(secret, key, value);
      MSA_ASSIGN_OR_RETURN(const bool row, label.Bind(BlobOf(wanted), info.version.value).Step());
      label.Reset();
      if (!row) return DataLoss(name + ": its label " + key + " is not indexed");
    }
    if (version.is_readable) {
      const std::string key_lookup = KeyLookup(secret, info.key);
      MSA_ASSIGN_OR_RETURN(const bool row, lookup.Bind(info.id.value).Step());
      const bool is_found = row && AsChars(lookup.Blob(0)) == key_lookup;
      lookup.Reset();
      if (!is_found) return DataLoss(name + ": the index of keys does not lead to it");
    }
    if (info.num_passages < 0 || version.first_passage < next_passage ||
        info.num_passages > state.next_passage - version.first_passage) {
      return DataLoss(name + ": its passages overlap those of another version");
    }
    next_passage = version.first_passage + info.num_passages;
    // Of one that is being erased the rows go next; its deaths are in no entry.
    if (entries.IsErased(version.number)) return OkStatus();
    MSA_RETURN_IF_ERROR(entries.TakeBirth(version));
    deaths.Bind(info.version.value);
    while (true) {
      MSA_ASSIGN_OR_RETURN(const bool dies, deaths.Step());
      if (!dies) return OkStatus();
      MSA_RETURN_IF_ERROR(entries.TakeDeath(version, deaths.Int(0)));
    }
  }));
  MSA_RETURN_IF_ERROR(entries.CheckAllTaken());
  MSA_ASSIGN_OR_RETURN(
      Statement strays,
      catalog.db().Prepare("SELECT (SELECT count(*) FROM labels), (SELECT count(*) FROM deaths"
                           " WHERE version NOT IN (SELECT id FROM versions)),"
                           " (SELECT count(*) FROM documents"
                           " WHERE id NOT IN (SELECT document FROM versions))"));
  MSA_RETURN_IF_ERROR(strays.Step().status());
  if (strays.Int(0) != labels) return DataLoss("catalog: labels without a document");
  if (strays.Int(1) != 0) return DataLoss("catalog: deaths of versions that are not there");
  if (strays.Int(2) != 0) return DataLoss("catalog: documents without a version");
  return OkStatus();
}

// Whether an entry commits to a revision that says this; true without the keys to tell.
bool IsCommittedTo(const ChainEntry& entry, const BankCipher* cipher, std::string_view author,
                   std::string_view message, bool is_revert, int64_t parent) {
  if (cipher != nullptr && !cipher->has_keys()) return true;
  const RandomNumber salt =
      cipher == nullptr ? RandomNumber{} : cipher->RevisionSalt(entry.revision);
  return entry.commitment == (is_revert ? CommitToRevert(salt, author, message, parent)
                                        : CommitToRevision(salt, author, message));
}

Status VerifyRevisions(Catalog& catalog, const CatalogState& state, const VerifiedChain& chain) {
  std::vector<const ChainEntry*> entries;  // of revision 1 on
  std::set<int64_t> with_erasure;
  for (const ChainEntry& entry : chain.entries) {
    if (entry.operation == ChainOperation::kErase) with_erasure.insert(entry.revision);
    if (entry.operation != ChainOperation::kRevision) continue;
    entries.push_back(&entry);
    if (entry.revision != static_cast<int64_t>(entries.size())) {
      return DataLoss(Describe(entry) + " closes revision " + std::to_string(entry.revision) +
                      ", expected " + std::to_string(entries.size()));
    }
  }
  if (static_cast<int64_t>(entries.size()) != state.head.revision) {
    return DataLoss("catalog: the chain has " + std::to_string(entries.size()) +
                    " revisions, the state " + std::to_string(state.head.revision));
  }
  MSA_ASSIGN_OR_RETURN(const std::vector<RevisionTotals> totals, ComputeTotals(catalog));
  MSA_ASSIGN_OR_RETURN(
      Statement rows,
      catalog.db().Prepare("SELECT r.id, ifnull(r.parent, 0), r.run_begin, r.time, r.author,"
                           " r.message, r.kind, r.documents, r.passages, r.tokens, r.text_bytes,"
                           " ifnull(p.run_begin, 1) FROM revisions r LEFT JOIN revisions p"
                           " ON p.id = r.parent ORDER BY r.id"));
  for (size_t i = 0;; ++i) {
    MSA_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) {
      if (i == entries.size()) return OkStatus();
      return DataLoss("catalog: revision " + std::to_string(i + 1) + " has no row");
    }
    const std::string name = "revision " + std::to_string(rows.Int(0));
    if (i == entries.size() || rows.Int(0) != static_cast<int64_t>(i) + 1) {
      return DataLoss("catalog: " + name + " is not in the chain");
    }
    const int64_t id = rows.Int(0);
    const int64_t parent = rows.Int(1);
    const auto kind = static_cast<RevisionKind>(rows.Int(6));
    const bool is_revert = kind == RevisionKind::kRevert;
    const ChainEntry& entry = *entries[i];
    if (!IsCommittedTo(entry, catalog.cipher(), rows.Text(4), rows.Text(5), is_revert, parent) ||
        !SameTime(entry.unix_ms, rows.Int(3)) ||
        (kind == RevisionKind::kErase) != with_erasure.contains(id)) {
      return DataLoss(name + ": its row is not the one that " + Describe(entry) + " commits to");
    }
    const int64_t run_begin = is_revert ? id : rows.Int(11);
    if ((!is_revert && parent != id - 1) || parent >= id || rows.Int(2) != run_begin) {
      return DataLoss(name + ": its parent " + std::to_string(parent) +
                      " is not what the chain says");
    }
    if (totals[i] != RevisionTotals{rows.Int(7), rows.Int(8), rows.Int(9), rows.Int(10)}) {
      return DataLoss(name + ": its totals are not those of the documents it sees");
    }
  }
}

// A bank that has moved to another encoding has the one that its chain named last.
Status VerifyMigrations(Catalog& catalog, const VerifiedChain& chain) {
  const ChainEntry* last = nullptr;
  for (const ChainEntry& entry : chain.entries) {
    if (entry.operation == ChainOperation::kMigrate) last = &entry;
  }
  if (last == nullptr) return OkStatus();
  MSA_ASSIGN_OR_RETURN(const EncodingId pending, ReadPendingMigration(catalog));
  MSA_ASSIGN_OR_RETURN(const auto encodings, ReadEncodings(catalog));
  const bool is_there = std::ranges::any_of(encodings, [&](const EncodingInfo& encoding) {
    return encoding.id != pending && CommitToEncoding(encoding.fingerprint) == last->commitment;
  });
  if (is_there) return OkStatus();
  return DataLoss("catalog: the encoding that " + Describe(*last) + " moved to is missing");
}

}  // namespace

Result<VerifiedChain> VerifyChain(Catalog& catalog, const Head& head) {
  MSA_ASSIGN_OR_RETURN(
      Statement rows,
      catalog.db().Prepare("SELECT seq, time, operation, revision, number, commitment, hash"
                           " FROM chain ORDER BY seq"));
  VerifiedChain chain;
  Digest previous{};
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) break;
    ChainEntry entry;
    entry.seq = rows.Int(0);
    entry.unix_ms = rows.Int(1);
    entry.operation = static_cast<ChainOperation>(rows.Int(2));
    entry.revision = rows.Int(3);
    Digest stored;
    const bool sound = CopyBlob(rows.Blob(4), &entry.number) &&
                       CopyBlob(rows.Blob(5), &entry.commitment) && CopyBlob(rows.Blob(6), &stored);
    if (!sound || entry.seq != static_cast<int64_t>(chain.entries.size()) + 1 ||
        HashEntry(previous, entry) != stored) {
      return DataLoss(Describe(entry) + " does not follow from the one before it");
    }
    previous = stored;
    chain.entries.push_back(entry);
    chain.hashes.push_back(stored);
  }
  if (static_cast<int64_t>(chain.entries.size()) != head.chain_length ||
      previous != head.chain_head) {
    return DataLoss("catalog: the chain ends with entry " + std::to_string(chain.entries.size()) +
                    ", the state says entry " + std::to_string(head.chain_length) + " " +
                    HexEncode(head.chain_head));
  }
  return chain;
}

Status VerifyRows(Catalog& catalog, const CatalogState& state, const BankId& secret,
                  const VerifiedChain& chain, ProgressMode progress) {
  MSA_RETURN_IF_ERROR(VerifyVersions(catalog, state, secret, chain, progress));
  MSA_RETURN_IF_ERROR(VerifyRevisions(catalog, state, chain));
  return VerifyMigrations(catalog, chain);
}

}  // namespace msa
