#include "msa/text/added_tokens.h"

#include <algorithm>
#include <functional>
#include <utility>

namespace msa {

AddedTokens::AddedTokens(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  std::vector<std::string> contents;
  for (const AddedToken& token : tokens_) {
    contents.push_back(token.content);
    if (token.content.empty()) continue;
    lengths_.push_back(token.content.size());
    first_byte_.set(static_cast<unsigned char>(token.content[0]));
  }
  contents_ = StringTable(contents);
  std::ranges::sort(lengths_, std::greater());
  lengths_.erase(std::ranges::unique(lengths_).begin(), lengths_.end());
}

const AddedToken* AddedTokens::LongestAt(std::string_view text) const {
  for (const size_t length : lengths_) {
    if (length > text.size()) continue;
    const int32_t index = contents_.Find(text.substr(0, length));
    if (index >= 0) return &tokens_[static_cast<size_t>(index)];
  }
  return nullptr;
}

std::optional<AddedTokens::Match> AddedTokens::Find(std::string_view text, size_t from,
                                                    bool special) const {
  if (lengths_.empty()) return std::nullopt;
  for (size_t i = from; i < text.size(); ++i) {
    if (!first_byte_[static_cast<unsigned char>(text[i])]) continue;
    const AddedToken* token = LongestAt(text.substr(i));
    if (token == nullptr) continue;
    const size_t end = i + token->content.size();
    if (special || !token->special) return Match{i, end, token->id};
    i = end - 1;
  }
  return std::nullopt;
}

}  // namespace msa
