// SQLite databases read from the image of a shard, each block verified when SQLite first reads it:
// damage surfaces as an error of the statement, not as a wrong answer.
#pragma once

#include <memory>

#include "msa/bank/shard_image.h"
#include "msa/bank/sqlite.h"

namespace msa {

// A read-only connection to an image that must not change. `image` is kept until it is closed.
Result<Database> OpenImage(std::shared_ptr<const ShardImage> image);

}  // namespace msa
