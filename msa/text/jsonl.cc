#include "msa/text/jsonl.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "msa/text/decode.h"
#include "msa/text/whitespace.h"

namespace msa {
namespace {

using Json = nlohmann::json;

// Collects the top-level strings of one object and counts depth through the rest.
class RowHandler final : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return Scalar(std::nullopt); }
  bool boolean(bool) override { return Scalar(std::nullopt); }
  bool number_integer(number_integer_t value) override { return Number(std::to_string(value)); }
  bool number_unsigned(number_unsigned_t value) override { return Number(std::to_string(value)); }
  bool number_float(number_float_t, const string_t&) override { return Scalar(std::nullopt); }
  bool string(string_t& value) override { return Scalar(std::move(value)); }
  bool binary(binary_t&) override { return Scalar(std::nullopt); }
  bool start_object(size_t) override { return Open(); }
  bool start_array(size_t) override { return depth_ > 0 ? Open() : NoObject(); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }
  bool key(string_t& name) override {
    if (depth_ == 1) key_ = std::move(name);
    return true;
  }
  bool parse_error(size_t position, const std::string& token,
                   const nlohmann::detail::exception&) override {
    error_ = "not JSON from byte " + std::to_string(position) + " on";
    // nlohmann's token is all it read of the value: a whole text, where that holds a bad byte.
    constexpr size_t kNearBytes = 24;
    const std::string near = CleanTitle(
        std::string_view(token).substr(token.size() - std::min(token.size(), kNearBytes)));
    if (!near.empty()) error_ += ", near \"" + near + "\"";
    return false;
  }

  const std::string& error() const { return error_; }
  bool has_text() const { return has_text_; }
  JsonRow Take() { return std::move(row_); }

 private:
  bool NoObject() {
    error_ = "no JSON object";
    return false;
  }
  bool Open() { return ++depth_ > 0; }
  bool Close() { return --depth_ >= 0; }

  bool Number(std::string digits) {
    if (depth_ == 1 && key_ == "id") row_.id = std::move(digits);
    return Scalar(std::nullopt);
  }

  bool Scalar(std::optional<std::string> value) {
    if (depth_ == 0) return NoObject();
    if (depth_ > 1 || !value) return true;
    // A zero byte is no text, and ends strings elsewhere.
    std::erase(*value, '\0');
    if (key_ == "text") {
      has_text_ = true;
      row_.text = std::move(*value);
    } else if (key_ == "id") {
      row_.id = std::move(*value);
    } else if (key_ == "title") {
      row_.title = std::move(*value);
    } else {
      row_.labels[key_] = std::move(*value);
    }
    return true;
  }

  JsonRow row_;
  std::string key_;
  std::string error_;
  bool has_text_ = false;
  int64_t depth_ = 0;
};

}  // namespace

Result<JsonRow> ParseJsonRow(std::string_view line) {
  RowHandler handler;
  if (!Json::sax_parse(line.begin(), line.end(), &handler)) {
    return InvalidArgument(handler.error());
  }
  if (!handler.has_text()) return InvalidArgument("no string \"text\"");
  JsonRow row = handler.Take();
  if (Trim(row.text).empty()) return InvalidArgument("empty: no text");
  return row;
}

Status ReadJsonl(Input* input, int64_t max_row_bytes, FunctionRef<bool(JsonLine)> on_row) {
  for (int64_t number = 1;; ++number) {
    MSA_ASSIGN_OR_RETURN(const auto line, input->NextLine(static_cast<size_t>(max_row_bytes)));
    if (!line) return OkStatus();
    std::string_view bytes = line->text;
    if (number == 1 && bytes.starts_with("\xef\xbb\xbf")) bytes.remove_prefix(3);
    if (bytes.ends_with('\r')) bytes.remove_suffix(1);
    if (Trim(bytes).empty()) continue;
    Result<JsonRow> row = line->too_long
                              ? Result<JsonRow>(ResourceExhausted(
                                    "longer than " + std::to_string(max_row_bytes) + " bytes"))
                              : ParseJsonRow(bytes);
    if (!on_row({number, bytes, std::move(row)})) return OkStatus();
  }
}

}  // namespace msa
