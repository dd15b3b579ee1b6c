// Gives an encrypted bank another master key.
#pragma once

#include <string>

#include "msa/base/file.h"
#include "msa/base/status.h"

namespace msa {

struct RekeyReport {
  std::string keyring;     // the file that was written anew
  std::string master_key;  // of the file that opens it from here on
};

// Seals the keyring of the bank at `path` under the master key of the file `master_key`, which is
// made if absent, and overwrites the one before. The bank, its copies and its backups stay as they
// are: they share the keyring. Stopped anywhere, one of the two master keys opens all, and it can
// be run again. Banks that are open go on with keys they have read, and must be opened again for
// others.
//
// kFailedPrecondition: the bank is not encrypted, the master key that is set does not open it, or
// `master_key` lies in the bank. kInvalidArgument: it is the bank's master key already.
// kUnavailable: somebody writes to the bank, or to a copy of it.
Result<RekeyReport> RekeyBank(const std::string& path, const std::string& master_key,
                              FileSystem& fs = PosixFileSystem());

}  // namespace msa
