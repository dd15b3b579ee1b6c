// JSON Lines: one document a row, {"id", "title", "text"} and labels.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "msa/base/function_ref.h"
#include "msa/base/status.h"
#include "msa/text/input.h"

namespace msa {

struct JsonRow {
  std::string id;  // a string or a whole number; empty if absent
  std::string title;
  std::string text;
  std::map<std::string, std::string> labels;  // the other fields that are strings
};

// kInvalidArgument says what is wrong: no JSON (and where), no object, no "text", empty text.
// Fields of other types are passed over, however deep. No tree is built.
Result<JsonRow> ParseJsonRow(std::string_view line);

// Rows of `input` in order, blank lines left out; `number` counts lines from 1. A row that is bad
// or longer than `max_row_bytes` comes with its error instead. `on_row` returns false to stop.
// Returns an error only if reading fails.
struct JsonLine {
  int64_t number;
  std::string_view bytes;  // as in the file, without the line end
  Result<JsonRow> row;
};
Status ReadJsonl(Input* input, int64_t max_row_bytes, FunctionRef<bool(JsonLine)> on_row);

}  // namespace msa
