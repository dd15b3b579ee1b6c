// Whether a bank still is what a certificate of erasure says: nothing of the documents it names is
// left, and every byte of the folder belongs to something else.
#pragma once

#include <optional>
#include <string_view>

#include "msa/bank/bank.h"
#include "msa/bank/certificate.h"
#include "msa/bank/core.h"

namespace msa {

// What Bank::VerifyErased does.
Result<ErasureProof> VerifyErasure(BankCore& core, const Certificate& certificate,
                                   std::optional<std::string_view> content, ProgressMode progress);

}  // namespace msa
