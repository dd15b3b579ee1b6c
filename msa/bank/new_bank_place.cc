#include "msa/bank/new_bank_place.h"

#include <filesystem>

#include "msa/bank/copy.h"
#include "msa/bank/layout.h"
#include "msa/bank/lock.h"

namespace msa {

NewBankPlace::NewBankPlace(FileSystem& fs, std::string_view bank, std::string_view suffix)
    : fs_(fs), bank_(WithoutSlashesAtEnd(bank)), folder_(bank_ + std::string(suffix)) {}

Status NewBankPlace::CheckFree() const {
  if (!fs_.Exists(bank_)) return OkStatus();
  return AlreadyExists(bank_ + " is there; this makes a new bank and overwrites nothing");
}

Status NewBankPlace::RemoveInterrupted() const {
  if (!fs_.Exists(folder_)) return OkStatus();
  MSA_ASSIGN_OR_RETURN(const auto names, fs_.List(folder_));
  for (const std::string& name : names) {
    if (name == "bank.json" || BankCopy::MayLeave(name)) continue;
    return AlreadyExists(folder_ + " is needed to make " + bank_ + ", but holds " + name);
  }
  // Unless another process makes it there now.
  MSA_RETURN_IF_ERROR(LockRecord::AcquireWriter(BankLayout{folder_}.lock()).status());
  std::error_code error;
  std::filesystem::remove_all(folder_, error);
  return error ? ErrnoStatus("remove " + folder_, error.value()) : OkStatus();
}

Status NewBankPlace::Publish() const {
  MSA_RETURN_IF_ERROR(fs_.Rename(folder_, bank_));
  return SyncNameOf(fs_, bank_);
}

}  // namespace msa
