#include "edited_catalog.h"

#include <sqlite3.h>

#include <array>
#include <cstring>

#include "support.h"

namespace msa::fuzz {
namespace {

// Bytes 18 and 19 of a database say whether it needs a WAL, which one in memory cannot have.
constexpr size_t kVersionsAt = 18;

constexpr std::array kTables = {"state",  "settings", "revisions", "documents", "versions",
                                "deaths", "labels",   "encodings", "files",     "places",
                                "shards", "chain",    "erased"};

void Set(FuzzedDataProvider* input, Statement* update, int64_t row) {
  switch (input->ConsumeIntegralInRange(0, 3)) {
    case 0: Ignore(update->Bind(input->ConsumeIntegral<int64_t>(), row).Run()); return;
    case 1:
      Ignore(update->Bind(input->ConsumeIntegralInRange<int64_t>(-3, 100), row).Run());
      return;
    case 2: {
      const std::string text = input->ConsumeRandomLengthString(64);
      Ignore(update->Bind(std::string_view(text), row).Run());
      return;
    }
    default: {
      const std::string blob = input->ConsumeRandomLengthString(64);
      Ignore(update->Bind(AsBytes(blob), row).Run());
    }
  }
}

}  // namespace

EditedCatalog::EditedCatalog(std::string_view content) {
  auto db = Database::Open(":memory:", SQLITE_OPEN_READWRITE);
  MSA_CHECK(db.ok());
  db_ = *std::move(db);
  auto* copy = static_cast<unsigned char*>(sqlite3_malloc64(content.size()));
  std::memcpy(copy, content.data(), content.size());
  copy[kVersionsAt] = copy[kVersionsAt + 1] = 1;
  const auto size = static_cast<sqlite3_int64>(content.size());
  MSA_CHECK(sqlite3_deserialize(db_.handle(), "main", copy, size, size,
                                SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_RESIZEABLE) ==
            SQLITE_OK);
  MSA_CHECK(db_.Execute("PRAGMA ignore_check_constraints=ON").ok());
}

void EditedCatalog::CountFar() {
  MSA_CHECK(db_.Execute("UPDATE state SET next_document = 1 << 59, next_version = 1 << 59,"
                        " next_passage = 1 << 59, next_file = 1 << 59")
                .ok());
}

void EditedCatalog::Edit(FuzzedDataProvider* input) {
  const std::string table = input->PickValueInArray(kTables);
  const int64_t column = input->ConsumeIntegralInRange<int64_t>(0, 20);
  const int64_t row = input->ConsumeIntegralInRange<int64_t>(0, 7);
  auto name = db_.Prepare("SELECT name FROM pragma_table_info(?1) LIMIT 1 OFFSET ?2");
  MSA_CHECK(name.ok());
  const auto found = name->Bind(std::string_view(table), column).Step();
  if (!found.ok() || !*found) return;
  const std::string cell(name->Text(0));
  // The rows of a table are told apart by all their columns alike, whether it has rowids or not.
  auto update = db_.Prepare("UPDATE " + table + " SET " + cell + " = ?1 WHERE " + cell +
                            " = (SELECT " + cell + " FROM " + table + " LIMIT 1 OFFSET ?2)");
  MSA_CHECK(update.ok());
  Set(input, &*update, row);
}

std::string EditedCatalog::Content() const {
  sqlite3_int64 size = 0;
  unsigned char* image = sqlite3_serialize(db_.handle(), "main", &size, 0);
  std::string content(reinterpret_cast<const char*>(image), static_cast<size_t>(size));
  sqlite3_free(image);
  content[kVersionsAt] = content[kVersionsAt + 1] = 2;
  return content;
}

}  // namespace msa::fuzz
