// Whether the bytes of a file are what its row in the catalog says: what an audit, a copy and a
// repair ask. Each check reads the disk anew; caches would answer for bytes read earlier.
#pragma once

#include <memory>
#include <string>

#include "msa/bank/catalog.h"
#include "msa/bank/latents.h"
#include "msa/base/file.h"

namespace msa {

// The frame decodes to the text that the version's row names, with its passages and tokens.
Status CheckFrame(const File& pack, const VersionRow& version);
// Every block of a lexical shard.
Status CheckShardFile(const std::string& path, const Catalog::FileRow& row);
// Header and every block of a sealed segment.
Result<std::shared_ptr<const Segment>> CheckSegmentFile(const std::string& path,
                                                        const LatentLayout& layout,
                                                        const Catalog::FileRow& row);

}  // namespace msa
