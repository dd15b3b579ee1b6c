// What writers, copies and repairs do with a golden bank whose catalog holds values that no writer
// would put there (catalog_rows_fuzz.cc): the input says which, and in which order they come.
#include <vector>

#include "edited_catalog.h"
#include "msa/bank/backup.h"
#include "msa/bank/encrypt.h"
#include "msa/bank/golden_bank.h"
#include "msa/bank/latents_transfer.h"
#include "msa/bank/repair.h"
#include "support.h"

namespace {

using namespace msa;

// Gives latents to what lacks them, in an encoding that is there and in a new one.
Status Encode(Bank& bank, BankWriter& writer) {
  MSA_ASSIGN_OR_RETURN(const auto snapshot, bank.Latest());
  for (const DType dtype : {DType::kI8, DType::kF32}) {
    const LatentLayout layout = GoldenLayout(dtype);
    const auto latents = GoldenLatents(layout, 1, 0);
    const EncodingInfo info{{}, dtype == DType::kI8 ? kGoldenSealed : "new", "{}", layout};
    MSA_ASSIGN_OR_RETURN(const EncodingId encoding, writer.OpenEncoding(info));
    MSA_ASSIGN_OR_RETURN(const auto missing, snapshot->FindUnencoded(encoding));
    for (const auto& m : missing) {
      for (int64_t p = 0; p < std::min<int64_t>(m.num_passages, 4); ++p) {
        MSA_RETURN_IF_ERROR(writer.AddLatents(encoding, m.version, m.first_passage + p, latents));
      }
    }
  }
  return writer.CommitLatents();
}

Status Migrate(BankWriter& writer) {
  const EncodingInfo info{{}, "next", "{}", GoldenLayout(DType::kI8)};
  MSA_RETURN_IF_ERROR(writer.BeginMigration(info).status());
  return writer.FinishMigration();
}

Status Export(Bank& bank, const std::string& path) {
  MSA_ASSIGN_OR_RETURN(const auto snapshot, bank.Latest());
  MSA_ASSIGN_OR_RETURN(const auto encodings, snapshot->Encodings());
  for (const EncodingStats& encoding : encodings) {
    LatentsExport latents(*snapshot, encoding.info);
    MSA_RETURN_IF_ERROR(snapshot->ForEachDocument(
        {}, [&](const DocumentInfo& info) { return latents.Add(info.version).ok(); }));
    MSA_RETURN_IF_ERROR(latents.Write(PosixFileSystem(), path, {}));
  }
  return OkStatus();
}

enum class Action {
  kAdd,
  kRemove,
  kRevert,
  kErase,
  kCompact,
  kEncode,
  kMigrate,
  kCertify,
  kExport,
  kBackup,
  kRestore,
  kEncrypt,
  kRepair,
  kMaxValue = kRepair
};

Status Write(Action action, BankWriter& writer, Bank& bank, const TestFolder& folder) {
  switch (action) {
    case Action::kAdd:
      for (const NewDocument& document : GoldenDocuments()) {
        MSA_RETURN_IF_ERROR(writer.Add(document).status());
      }
      return writer.Commit("add").status();
    case Action::kRemove:
      MSA_RETURN_IF_ERROR(writer.Remove("fox.txt").status());
      return writer.Commit("remove").status();
    case Action::kRevert: return writer.Revert(RevisionId{1}, "revert").status();
    case Action::kErase:
      return writer.Erase({.documents = {"letter.pdf"}, .where = {}}, "erase").status();
    case Action::kCompact:
      return writer.Compact(Retention{.text_days = 0, .latents_days = 0}).status();
    case Action::kEncode: return Encode(bank, writer);
    case Action::kMigrate: return Migrate(writer);
    case Action::kCertify: {
      MSA_ASSIGN_OR_RETURN(const std::string certificate, writer.Certify(folder.File("key")));
      return bank.VerifyErased(certificate, "the quick brown fox jumps over the lazy dog").status();
    }
    default: return OkStatus();
  }
}

Status Do(Action action, const std::string& path, const TestFolder& folder) {
  switch (action) {
    case Action::kBackup: return BackupBank(path, folder.File("backup")).status();
    case Action::kRestore: return RestoreBank(path, folder.File("restored")).status();
    case Action::kEncrypt: return EncryptBank(path, folder.File("encrypted")).status();
    case Action::kRepair: return RepairBank(path).status();
    default: break;
  }
  MSA_ASSIGN_OR_RETURN(const auto bank, Bank::Open(path));
  if (action == Action::kExport) return Export(*bank, folder.File("latents"));
  MSA_ASSIGN_OR_RETURN(const auto writer, bank->StartWrite());
  return Write(action, *writer, *bank, folder);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const fuzz::GoldenBank plain;
  static const fuzz::GoldenBank encrypted(fuzz::GoldenBank::Kind::kEncrypted);
  FuzzedDataProvider input(data, size);
  const fuzz::GoldenBank& bank = input.ConsumeBool() ? plain : encrypted;
  bank.Renew();
  const TestFolder folder;
  fuzz::EditedCatalog catalog(ReadFile(bank.file("catalog.sqlite")).value());
  std::vector<Action> actions;
  for (int i = input.ConsumeIntegralInRange(1, 4); i > 0; --i) {
    actions.push_back(input.ConsumeEnum<Action>());
  }
  if (input.ConsumeBool()) catalog.CountFar();
  while (input.remaining_bytes() > 0) catalog.Edit(&input);
  const std::string content = catalog.Content();
  bank.Replace("catalog.sqlite", content);
  const fuzz::AllocationLimit limit(content.size(), fuzz::AllocationLimit::kDatabaseBytes);
  for (const Action action : actions) fuzz::Ignore(Do(action, bank.path(), folder));
  bank.ReadEverything();
  return 0;
}
