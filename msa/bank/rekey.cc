#include "msa/bank/rekey.h"

#include "msa/bank/core.h"
#include "msa/bank/write_transaction.h"

namespace msa {

Result<RekeyReport> RekeyBank(const std::string& path, const std::string& master_key,
                              FileSystem& fs) {
  MSA_ASSIGN_OR_RETURN(const auto core, OpenCore(path, fs));
  if (core->cipher == nullptr) return FailedPrecondition(path + " is not encrypted");
  if (core->read_only) return FailedPrecondition(path + " cannot be written");
  if (LiesIn(master_key, path)) {
    return FailedPrecondition(master_key +
                              " lies in the bank; who copies the bank would copy its key with it");
  }
  // For its locks: of the bank and of the keyring, which copies of the bank share.
  MSA_ASSIGN_OR_RETURN(const auto transaction, WriteTransaction::Start(core));
  MSA_ASSIGN_OR_RETURN(const SecretKey master, ReadOrMakeMasterKey(master_key));
  Keyring& keyring = core->cipher->keyring();
  MSA_RETURN_IF_ERROR(keyring.ChangeMasterKey(master));
  return RekeyReport{keyring.path(), master_key};
}

}  // namespace msa
