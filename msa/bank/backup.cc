#include "msa/bank/backup.h"

#include "msa/bank/copy.h"

namespace msa {

Result<BackupReport> BackupBank(const std::string& bank, const std::string& folder,
                                const CopyOptions& options, FileSystem& fs) {
  MSA_ASSIGN_OR_RETURN(const auto core, OpenCore(bank, fs));
  return BankCopy(*core, folder, fs, options).Run();
}

}  // namespace msa
