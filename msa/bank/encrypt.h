// Makes an encrypted bank of one in plain.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "msa/bank/backup.h"
#include "msa/base/file.h"
#include "msa/base/ids.h"
#include "msa/base/status.h"

namespace msa {

struct EncryptOptions : CopyOptions {
  std::string author;  // of the revisions that add the documents; empty: the name of the user
};

struct EncryptReport {
  RevisionId from;      // the revision of the plain bank whose documents these are
  RevisionId revision;  // of the encrypted bank
  int64_t documents = 0;
  int64_t passages_with_latents = 0;  // of all encodings
  std::vector<std::string> unkept;    // keys of documents whose text is not kept: left out
};

// Makes a new encrypted bank at `encrypted`, where nothing may be, with the documents that the
// latest revision of the bank at `plain` sees, their latents of every encoding, and its retention;
// then audits it. Its id is a new one, and its revisions and chain begin anew: what the plain bank
// knows of older revisions, and of what was erased, stays there. Appears as a whole or not at all;
// is made in "ENCRYPTED.encrypting" beside it. One that was stopped begins anew when it is called
// again, and leaves a keyring that opens nothing. The plain bank stays as it is, and may be written
// meanwhile.
//
// kAlreadyExists: something is there. kInvalidArgument: `encrypted` lies in the plain bank.
// kFailedPrecondition: the bank is encrypted already, or as Bank::Create. kCancelled: as asked for.
// kUnavailable: documents were erased from the plain bank meanwhile. kDataLoss: it is damaged.
Result<EncryptReport> EncryptBank(const std::string& plain, const std::string& encrypted,
                                  const EncryptOptions& options = {},
                                  FileSystem& fs = PosixFileSystem());

}  // namespace msa
