// SQLite databases read from the image of a shard, each block verified when SQLite first reads it:
// damage surfaces as an error of the statement, not as a wrong answer.
#pragma once

#include <memory>

#include "msa/bank/shard_image.h"
#include "msa/bank/sqlite.h"

namespace msa {

// What a shard of `bytes` may make SQLite ask for at once: room for a record of all of it, in a
// buffer that doubles, and what is asked for whatever the size. Of that the most is a list of the
// pages that a record says it fills, 9 MB for one that says 4 GiB.
constexpr size_t MostBytesOfImage(size_t bytes) { return 2 * bytes + (size_t{16} << 20); }

// A read-only connection to an image that must not change, with that limit. `image` is kept until
// it is closed.
Result<Database> OpenImage(std::shared_ptr<const ShardImage> image);

}  // namespace msa
