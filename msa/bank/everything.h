// For tests that look for what must not be there.
#pragma once

#include <filesystem>
#include <string>

#include "msa/bank/catalog.h"
#include "msa/bank/pack.h"
#include "msa/base/check.h"
#include "msa/base/file.h"

namespace msa {

// Everything that is in the bank's folder, and the decoded content of its packs and shards.
inline std::string Everything(const std::string& path) {
  std::string all;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
    if (entry.is_regular_file()) all += ReadFile(entry.path().string()).value();
  }
  auto catalog = Catalog::Open(path + "/catalog.sqlite", Catalog::Access::kRead);
  MSA_CHECK(catalog.ok());
  MSA_CHECK(
      catalog
          ->ForEachVersion([&](const VersionRow& version) -> Status {
            const std::string pack = BankLayout{path}.File(FileKind::kPack, version.frame.file);
            MSA_ASSIGN_OR_RETURN(const auto file, PosixFileSystem().Open(pack, OpenMode::kRead));
            const auto content = ReadFrame(*file, version.frame, PassageId{0});
            if (content.ok()) all += content->text;
            return OkStatus();
          })
          .ok());
  for (const auto& entry : std::filesystem::directory_iterator(path + "/lexical")) {
    auto db = Database::Open(entry.path().string(), SQLITE_OPEN_READONLY);
    MSA_CHECK(db.ok() &&
              db->Execute("CREATE VIRTUAL TABLE temp.v USING fts5vocab(main,t,row)").ok());
    auto terms = db->Prepare("SELECT term FROM temp.v");
    MSA_CHECK(terms.ok());
    while (*terms->Step()) all += std::string(terms->Text(0)) + "\n";
  }
  return all;
}

}  // namespace msa
