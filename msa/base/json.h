// JSON that somebody else may have written.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

namespace msa {

// The value, or a discarded one if `text` is no JSON. Values nested deeper than 64 are left out:
// nlohmann copies and writes by recursion, and a file of brackets would use up the stack.
inline nlohmann::json ParseJson(std::string_view text) {
  constexpr int kMaxDepth = 64;
  const auto is_shallow = [](int depth, nlohmann::json::parse_event_t, const nlohmann::json&) {
    return depth < kMaxDepth;
  };
  return nlohmann::json::parse(text, is_shallow, /*allow_exceptions=*/false);
}

}  // namespace msa
