// Reads what passages are for one response.
#pragma once

#include <string>
#include <unordered_map>

#include "msa/base/utf8.h"
#include "msa/engine/engine.h"

namespace msa {

// Document rows and kept texts of one response, each read once.
class ResultReader {
 public:
  ResultReader(const Snapshot& snapshot, Counters* counters)
      : snapshot_(snapshot), counters_(counters) {}

  Result<Retrieved> Read(PassageId passage) {
    MSA_ASSIGN_OR_RETURN(const auto address, snapshot_.FindPassage(passage));
    auto it = versions_.find(address.version);
    if (it == versions_.end()) {
      Version version;
      MSA_ASSIGN_OR_RETURN(version.info, snapshot_.GetDocument(address.version));
      MSA_ASSIGN_OR_RETURN(version.content, snapshot_.ReadContent(address.version));
      counters_->bytes_read += static_cast<int64_t>(version.content.text.size());
      it = versions_.emplace(address.version, std::move(version)).first;
    }
    const Version& version = it->second;
    const PassageInfo& info = version.content.passages[static_cast<size_t>(address.index)];
    return Retrieved{.passage = passage,
                     .version = address.version,
                     .document = version.info.key,
                     .title = version.info.title,
                     .begin = info.begin,
                     .end = info.end,
                     .page = info.page,
                     .text = std::string(TextBetween(version.content.text, info.begin, info.end))};
  }

 private:
  struct Version {
    DocumentInfo info;
    DocumentContent content;
  };

  const Snapshot& snapshot_;
  Counters* counters_;
  std::unordered_map<VersionId, Version> versions_;
};

}  // namespace msa
