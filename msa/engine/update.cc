// What changes a bank beside adding: Engine::Sync, Remove, Compact, Revert and Erase.

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <set>

#include "msa/base/clock.h"
#include "msa/base/utf8.h"
#include "msa/engine/engine.h"

namespace msa {
namespace {

// As the loader names sources: absolute, without links, UTF-8.
std::string Canonical(const std::string& path) {
  std::error_code error;
  const auto absolute = std::filesystem::weakly_canonical(path, error);
  return ReplaceInvalidUtf8(error ? path : absolute.string());
}

// True if `path` is `folder` or lies in it.
bool IsIn(std::string_view path, std::string_view folder) {
  if (!path.starts_with(folder)) return false;
  return path.size() == folder.size() || folder.ends_with('/') || path[folder.size()] == '/';
}

// The file of a failed row, "notes.jsonl:17"; other paths as they are.
std::string FileOfFailure(const std::string& path) {
  const size_t colon = path.rfind(':');
  if (colon == path.npos || std::filesystem::exists(path)) return path;
  int64_t row = 0;
  const char* end = path.data() + path.size();
  const auto [parsed, error] = std::from_chars(path.data() + colon + 1, end, row);
  return error == std::errc() && parsed == end ? path.substr(0, colon) : path;
}

// Keys of documents whose files lay in `folder` and were not met, in the order of addition. What
// lies under a path that failed may still be there, so it stays.
Result<std::vector<std::string>> FindGone(const Snapshot& snapshot, const std::string& folder,
                                          const std::set<std::string>& met,
                                          const std::vector<LoadFailure>& failures) {
  std::vector<std::string> unknown;
  for (const LoadFailure& failure : failures) {
    unknown.push_back(Canonical(FileOfFailure(failure.path)));
  }
  std::vector<std::string> gone;
  MSA_RETURN_IF_ERROR(snapshot.ForEachDocument({}, [&](const DocumentInfo& document) {
    const auto holds = [&](const std::string& path) { return IsIn(document.source_path, path); };
    if (holds(folder) && !met.contains(document.key) && std::ranges::none_of(unknown, holds)) {
      gone.push_back(document.key);
    }
    return true;
  }));
  return gone;
}

}  // namespace

Result<SyncReport> Engine::Sync(const std::string& folder, const SyncOptions& options) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(folder, ignored)) {
    return NotFound(folder + ": no such folder; a bank follows a folder that is there");
  }
  MSA_ASSIGN_OR_RETURN(const auto before, bank_->Latest());
  MSA_ASSIGN_OR_RETURN(auto writer, StartWrite());
  SyncReport report;
  AddReport& add = report.add;
  const auto start = Clock::now();
  std::set<std::string> met;
  const auto note = [&](const std::string& key, AddOutcome outcome) {
    met.insert(key);
    if (outcome == AddOutcome::kAdded) report.changes.push_back({key, ChangeKind::kAdded});
    if (outcome == AddOutcome::kReplaced) report.changes.push_back({key, ChangeKind::kReplaced});
    return OkStatus();
  };
  MSA_RETURN_IF_ERROR(AddDocuments(*writer, {folder}, options.load, options.dry_run, note, &add));
  if (cancelled()) return Cancelled("stopped while reading " + folder + "; nothing was changed");
  MSA_ASSIGN_OR_RETURN(const auto gone, FindGone(*before, Canonical(folder), met, add.failures));
  for (const std::string& key : gone) {
    report.changes.push_back({key, ChangeKind::kRemoved});
    if (!options.dry_run) MSA_RETURN_IF_ERROR(writer->Remove(key).status());
  }
  add.revision = before->revision();
  if (options.dry_run) return report;
  MSA_RETURN_IF_ERROR(writer->Commit(Message("sync")).status());
  add.add_seconds = SecondsSince(start);
  MSA_RETURN_IF_ERROR(FinishAdd(*writer, options.encode, &add));
  return report;
}

Result<RemoveReport> Engine::Remove(const std::vector<std::string>& documents,
                                    const LabelFilter& where) {
  MSA_ASSIGN_OR_RETURN(auto writer, StartWrite());
  MSA_ASSIGN_OR_RETURN(const auto snapshot, bank_->Latest());
  RemoveReport report;
  for (const std::string& name : documents) {
    MSA_ASSIGN_OR_RETURN(const DocumentInfo document, snapshot->FindDocument(name));
    report.removed.push_back(document.key);
  }
  if (!where.empty()) {
    MSA_RETURN_IF_ERROR(snapshot->ForEachDocument(where, [&](const DocumentInfo& document) {
      report.removed.push_back(document.key);
      return true;
    }));
  }
  // A document may be named twice, and match as well.
  std::set<std::string> removed;
  std::erase_if(report.removed, [&](const auto& key) { return !removed.insert(key).second; });
  for (const std::string& key : report.removed) {
    MSA_RETURN_IF_ERROR(writer->Remove(key).status());
  }
  MSA_ASSIGN_OR_RETURN(report.revision, writer->Commit(Message("remove")));
  return report;
}

Result<CompactReport> Engine::Compact(const CompactOptions& options) {
  MSA_ASSIGN_OR_RETURN(const auto writer, StartWrite());
  MSA_ASSIGN_OR_RETURN(const auto snapshot, bank_->Latest());
  MSA_ASSIGN_OR_RETURN(Retention retention, snapshot->GetRetention());
  retention.text_days = options.text_days.value_or(retention.text_days);
  retention.latents_days = options.latents_days.value_or(retention.latents_days);
  return writer->Compact(retention);
}

Result<RevisionId> Engine::Revert(RevisionId revision) {
  MSA_ASSIGN_OR_RETURN(const auto writer, StartWrite());
  return writer->Revert(revision, Message("revert to " + std::to_string(revision.value)));
}

Result<EraseReport> Engine::Erase(const EraseRequest& request, const std::string& certificate,
                                  const std::string& key_path) {
  MSA_ASSIGN_OR_RETURN(const auto writer, StartWrite());
  MSA_ASSIGN_OR_RETURN(const EraseReport report, writer->Erase(request, Message("erase")));
  if (certificate.empty() || !report.waits_for.empty() || report.numbers.empty()) return report;
  MSA_ASSIGN_OR_RETURN(const std::string text, writer->Certify(key_path, report.numbers));
  MSA_RETURN_IF_ERROR(WriteFileAtomically(PosixFileSystem(), certificate, text));
  return report;
}

}  // namespace msa
