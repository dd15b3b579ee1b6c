// Brings a damaged bank back to one that opens and passes an audit. docs/bank-format.md,
// "Repairing", has the steps.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "msa/base/file.h"
#include "msa/base/ids.h"
#include "msa/base/progress.h"
#include "msa/base/status.h"

namespace msa {

struct RepairOptions {
  bool dry_run = false;  // says what it would do, and changes nothing
  std::string author;    // of the revision that removes documents; empty: the name of the user
  ProgressMode progress = ProgressMode::kOff;
};

struct RepairReport {
  // A version whose text is damaged, and dropped. Its row stays: the chain commits to it.
  struct Text {
    std::string document;  // key
    RevisionId born;
    bool is_latest = false;  // the latest revision saw it; the new one does not
  };
  std::vector<Text> texts;
  int64_t latent_passages = 0;     // lost their latents, which can be computed again
  std::vector<std::string> files;  // that were damaged, or held bytes that belong to nothing
  int64_t shards = 0;              // lexical ones, made anew from kept text
  bool head = false;               // written anew
  bool index = false;              // of the catalog, made anew
  // Commits that the head knows and the catalog lacks: lost. Documents erased by them may be back.
  int64_t lost_commits = 0;
  bool lost_erasures = false;
  RevisionId revision;

  bool is_sound() const { return files.empty() && !head && !index; }
  // For good: everything else is there, or can be made again.
  bool lost_anything() const { return !texts.empty() || lost_commits > 0; }
};

// Drops what is damaged and makes anew what can be: packs, tails, segments, lexical shards, `head`,
// indexes of the catalog; what is lost is in the report. Documents that the latest revision saw and
// whose text is lost are removed from it by a new revision. The rows must be those that the chain
// commits to: kDataLoss otherwise, and nothing is changed; then a backup helps. Stopped anywhere,
// it can be run again. kUnavailable: somebody writes to the bank. Reads all of it.
Result<RepairReport> RepairBank(const std::string& path, const RepairOptions& options = {},
                                FileSystem& fs = PosixFileSystem());

}  // namespace msa
