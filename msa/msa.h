// The one header a C++ user of msa needs:
//
//   auto engine = msa::Engine::OpenOrCreate("bank", {});
//   (*engine)->Add({"papers/"}, {});
//   auto answer = (*engine)->Ask("Who proposed it?", {}, nullptr);
#pragma once

#include "msa/bank/backup.h"
#include "msa/bank/bank.h"
#include "msa/bank/encrypt.h"
#include "msa/bank/latents_transfer.h"
#include "msa/bank/rekey.h"
#include "msa/bank/repair.h"
#include "msa/engine/engine.h"
#include "msa/engine/json.h"
#include "msa/kernels/gather.h"
#include "msa/kernels/pool.h"
#include "msa/kernels/quant_matmul.h"
#include "msa/kernels/route.h"
#include "msa/model/memory_model.h"
#include "msa/text/loader.h"
#include "msa/text/passages.h"
#include "msa/text/tokenizer.h"
