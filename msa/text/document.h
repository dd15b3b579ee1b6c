// A document as the rest of msa sees it: UTF-8 text with a name, whatever file it came from.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace msa {

// All strings are valid UTF-8.
struct Document {
  std::string key;    // what identifies it in a bank: the absolute path, or the "id" of a JSONL row
                      // (path#line without); "stdin:" and a part of the hash for standard input
  std::string title;  // from the file's own title, first heading, or name; never empty
  std::string text;   // UTF-8, as extracted; spans are byte offsets into this
  std::string source_path;
  std::string source_sha256;  // hex, of the original file's bytes (of the row, for JSONL)
  int64_t source_bytes = 0;
  std::string media_type;  // "text/plain", "text/markdown", "text/html", "application/pdf",
                           // "application/x-ndjson"
  // Byte offset in `text` at which page i + 1 begins; empty where there are no pages.
  std::vector<int64_t> page_begin;
  // Other string-valued fields of a JSONL row; kept as labels for --where.
  std::map<std::string, std::string> labels;
};

}  // namespace msa
