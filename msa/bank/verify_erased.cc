#include "msa/bank/verify_erased.h"

#include <algorithm>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

#include "msa/bank/audit.h"
#include "msa/bank/image_vfs.h"
#include "msa/bank/pack.h"
#include "msa/bank/passage_set.h"
#include "msa/bank/pending_erasure.h"

namespace msa {
namespace {

// Texts that have this many words in a row in common share text.
constexpr size_t kSharedWords = 8;

std::vector<std::string_view> Words(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n\f\v";
  std::vector<std::string_view> words;
  for (size_t begin = text.find_first_not_of(kSpace); begin != text.npos;
       begin = text.find_first_not_of(kSpace, begin)) {
    const size_t end = std::min(text.find_first_of(kSpace, begin), text.size());
    words.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  return words;
}

// Calls f with every run of `length` words, a space between them; returns early when f is true.
template <class F>
bool AnyRun(const std::vector<std::string_view>& words, size_t length, F f) {
  std::string run;
  for (size_t begin = 0; begin + length <= words.size(); ++begin) {
    run.clear();
    for (size_t i = begin; i < begin + length; ++i) run.append(words[i]).push_back(' ');
    if (f(run)) return true;
  }
  return false;
}

// The chain says that each was erased before the certificate, and that the erasure came to its end.
Status CheckChain(const VerifiedChain& chain, const Certificate& certificate) {
  if (certificate.erased.empty()) {
    return InvalidArgument(
        "the certificate names no erased document; `msa audit --anchor` takes it");
  }
  for (const RandomNumber& number : certificate.erased) {
    const std::string name = "document " + HexEncode(number);
    const auto erased = std::ranges::find_if(chain.entries, [&](const ChainEntry& entry) {
      return entry.operation == ChainOperation::kErase && entry.number == number;
    });
    const auto done = std::find_if(erased, chain.entries.end(), [](const ChainEntry& entry) {
      return entry.operation == ChainOperation::kErased;
    });
    if (done == chain.entries.end() || done->seq > certificate.chain_length) {
      return DataLoss(name + ": the chain does not say that it was erased by entry " +
                      std::to_string(certificate.chain_length));
    }
    const auto returned = std::find_if(erased, chain.entries.end(), [&](const ChainEntry& entry) {
      return entry.operation != ChainOperation::kErase && entry.number == number;
    });
    if (returned != chain.entries.end()) {
      return DataLoss(name + ": chain entry " + std::to_string(returned->seq) +
                      " is about it, after it was erased");
    }
  }
  return OkStatus();
}

Status CheckRows(Catalog& catalog, const Certificate& certificate) {
  MSA_ASSIGN_OR_RETURN(const auto pending, ReadPendingErasure(catalog));
  if (pending) {
    return FailedPrecondition("an erasure is under way; finish it first: msa erase BANK");
  }
  MSA_ASSIGN_OR_RETURN(Statement find,
                       catalog.db().Prepare("SELECT 1 FROM documents WHERE number = ?1"));
  for (const RandomNumber& number : certificate.erased) {
    MSA_ASSIGN_OR_RETURN(const bool row, find.Bind(std::span<const std::byte>(number)).Step());
    if (row) return DataLoss("document " + HexEncode(number) + " has a row");
    find.Reset();
  }
  return OkStatus();
}

// Files that the bank does not name, and bytes beyond their committed ends.
Status CheckFolder(BankCore& core, Catalog& catalog) {
  const std::set<std::string, std::less<>> known = {"bank.json",
                                                    "catalog.sqlite",
                                                    "catalog.sqlite-shm",
                                                    "catalog.sqlite-wal",
                                                    "head",
                                                    "lexical",
                                                    "lock",
                                                    "packs",
                                                    "segments"};
  MSA_ASSIGN_OR_RETURN(const auto names, core.fs.List(core.layout.root));
  for (const std::string& name : names) {
    if (!known.contains(name)) {
      return DataLoss(core.layout.root + "/" + name + " is no part of a bank; remove it");
    }
  }
  MSA_ASSIGN_OR_RETURN(const auto files, catalog.Files());
  for (const FileKind kind : kFileKinds) {
    MSA_ASSIGN_OR_RETURN(const auto in_folder, core.fs.List(core.layout.Folder(kind)));
    for (const std::string& name : in_folder) {
      const std::string path = core.layout.Folder(kind) + "/" + name;
      const auto row = std::ranges::find_if(
          files, [&](const auto& file) { return core.layout.File(file.kind, file.id) == path; });
      if (row == files.end()) {
        return DataLoss(path +
                        " is named by nothing; the next writer removes what one that was "
                        "stopped has left");
      }
      MSA_ASSIGN_OR_RETURN(const auto file, core.fs.Open(path, OpenMode::kRead));
      MSA_ASSIGN_OR_RETURN(const int64_t size, file->Size());
      if (size != row->length) {
        return DataLoss(path + " has " + std::to_string(size) + " bytes, " +
                        std::to_string(row->length) + " are committed");
      }
    }
  }
  return OkStatus();
}

// Every posting is of a passage that is there.
Status CheckPostings(BankCore& core, Catalog& catalog, ProgressMode mode) {
  PassageSet passages;
  MSA_RETURN_IF_ERROR(catalog.ForEachVersion([&](const VersionRow& version) {
    passages.AddRange(version.first_passage, version.info.num_passages);
    return OkStatus();
  }));
  MSA_ASSIGN_OR_RETURN(const auto shards, catalog.Shards());
  Progress progress("checking postings", "files", std::ssize(shards), mode);
  for (const Catalog::ShardRow& shard : shards) {
    const std::string path = core.layout.File(FileKind::kLexical, shard.file);
    MSA_ASSIGN_OR_RETURN(
        auto image, ShardImage::Open(path, shard.length_bytes, shard.blocks, core.cipher.get()));
    MSA_ASSIGN_OR_RETURN(const Database db, OpenImage(std::move(image)));
    MSA_RETURN_IF_ERROR(
        db.Execute("PRAGMA temp_store=MEMORY;"
                   "CREATE VIRTUAL TABLE temp.postings USING fts5vocab(main, t, instance)"));
    MSA_ASSIGN_OR_RETURN(Statement postings, db.Prepare("SELECT doc FROM temp.postings"));
    while (true) {
      MSA_ASSIGN_OR_RETURN(const bool row, postings.Step());
      if (!row) break;
      const int64_t passage = shard.first_passage + postings.Int(0) - 1;
      if (!passages.Contains(passage)) {
        return DataLoss(path + ": a posting of passage " + std::to_string(passage) +
                        ", which is not there");
      }
    }
    progress.Add(1);
  }
  return OkStatus();
}

// Keys of documents, of any revision, whose text shares words with `content`.
Result<std::vector<std::string>> FindSharing(BankCore& core, Catalog& catalog,
                                             std::string_view content, ProgressMode mode) {
  const std::vector<std::string_view> words = Words(content);
  if (words.empty()) return InvalidArgument("the content to look for holds no words");
  const size_t length = std::min(kSharedWords, words.size());
  std::unordered_set<std::string> runs;
  AnyRun(words, length, [&](const std::string& run) { return runs.insert(run), false; });
  std::set<std::string> keys;
  MSA_ASSIGN_OR_RETURN(const int64_t versions, catalog.CountVersions());
  Progress progress("comparing texts", "versions", versions, mode);
  MSA_RETURN_IF_ERROR(catalog.ForEachVersion([&](const VersionRow& version) -> Status {
    progress.Add(1);
    if (!version.info.text_kept) return OkStatus();
    MSA_ASSIGN_OR_RETURN(
        const auto file,
        core.fs.Open(core.layout.File(FileKind::kPack, version.frame.file), OpenMode::kRead));
    MSA_ASSIGN_OR_RETURN(const auto read,
                         ReadFrame(*file, version.frame, PassageId{version.first_passage}));
    if (AnyRun(Words(read.text), length, [&](const auto& run) { return runs.contains(run); })) {
      keys.insert(version.info.key);
    }
    return OkStatus();
  }));
  return std::vector<std::string>(keys.begin(), keys.end());
}

}  // namespace

Result<ErasureProof> VerifyErasure(BankCore& core, const Certificate& certificate,
                                   std::optional<std::string_view> content, ProgressMode progress) {
  // The audit accounts for all rows and for every byte between runs, and shows that the chain
  // continues from the head that was signed.
  MSA_ASSIGN_OR_RETURN(const AuditReport audit, AuditBank(core, &certificate, progress));
  MSA_ASSIGN_OR_RETURN(Catalog catalog, core.OpenAnotherCatalog());
  MSA_RETURN_IF_ERROR(catalog.db().Execute("BEGIN"));
  MSA_ASSIGN_OR_RETURN(const CatalogState state, catalog.ReadState());
  MSA_ASSIGN_OR_RETURN(const VerifiedChain chain, VerifyChain(catalog, state.head));
  MSA_RETURN_IF_ERROR(CheckChain(chain, certificate));
  MSA_RETURN_IF_ERROR(CheckRows(catalog, certificate));
  MSA_RETURN_IF_ERROR(CheckFolder(core, catalog));
  MSA_RETURN_IF_ERROR(CheckPostings(core, catalog, progress));
  ErasureProof proof;
  proof.documents = static_cast<int64_t>(certificate.erased.size());
  proof.chain_entries = audit.chain_entries;
  if (content) {
    MSA_ASSIGN_OR_RETURN(proof.sharing, FindSharing(core, catalog, *content, progress));
  }
  return proof;
}

}  // namespace msa
