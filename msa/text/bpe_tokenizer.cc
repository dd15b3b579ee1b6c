#include "msa/text/bpe_tokenizer.h"

#include <optional>

#include "msa/base/utf8.h"
#include "msa/text/bpe.h"
#include "msa/text/byte_alphabet.h"
#include "msa/text/edited_text.h"
#include "msa/text/nfc.h"
#include "msa/text/pre_tokenizer.h"
#include "msa/text/string_table.h"

namespace msa {
namespace {

// ReplaceInvalidUtf8 with the way back; nullopt: `text` is valid.
std::optional<EditedText> ReplaceInvalid(std::string_view text) {
  if (IsValidUtf8(text)) return std::nullopt;
  EditedText result;
  size_t copied = 0;
  for (size_t i = 0; i < text.size();) {
    const Utf8Char c = DecodeUtf8(text.substr(i));
    const size_t end = i + static_cast<size_t>(c.length_bytes);
    if (!c.valid) {
      result.text += text.substr(copied, i - copied);
      const auto at = static_cast<int64_t>(result.text.size());
      AppendUtf8(c.code_point, &result.text);
      result.edits.push_back({at, static_cast<int64_t>(result.text.size()), static_cast<int64_t>(i),
                              static_cast<int64_t>(end)});
      copied = end;
    }
    i = end;
  }
  result.text += text.substr(copied);
  return result;
}

class BpeTokenizer final : public Tokenizer {
 public:
  BpeTokenizer(const TokenizerSpec& spec, StringTable texts, Bpe bpe)
      : pre_tokenizer_(spec.pre_tokenizer),
        compose_nfc_(spec.compose_nfc),
        texts_(std::move(texts)),
        bpe_(std::move(bpe)),
        added_(spec.added),
        added_normalized_(spec.added_normalized),
        is_special_(spec.tokens.size()),
        is_added_(spec.tokens.size()) {
    for (const auto* tokens : {&spec.added, &spec.added_normalized}) {
      for (const AddedToken& token : *tokens) {
        is_special_[static_cast<size_t>(token.id)] = token.special;
        is_added_[static_cast<size_t>(token.id)] = true;
      }
    }
  }

  std::vector<TokenId> Encode(std::string_view text, const EncodeOptions& options) const override {
    std::vector<TokenId> ids;
    Run(text, options, &ids, nullptr);
    return ids;
  }

  TokenizedText EncodeWithOffsets(std::string_view text,
                                  const EncodeOptions& options) const override {
    TokenizedText result;
    Run(text, options, &result.ids, &result.begin);
    result.begin.push_back(static_cast<int64_t>(text.size()));
    return result;
  }

  std::string Decode(std::span<const TokenId> ids, bool keep_special) const override {
    std::string out;
    for (const TokenId id : ids) {
      if (id < 0 || id >= texts_.size()) continue;  // a padded output layer has more rows
      const auto at = static_cast<size_t>(id);
      if (is_special_[at] && !keep_special) continue;
      const auto bytes = is_added_[at] ? std::nullopt : AlphabetToBytes(texts_[id]);
      out += bytes ? *bytes : texts_[id];
    }
    return out;
  }

  int64_t vocab_size() const override { return texts_.size(); }

  std::optional<TokenId> FindToken(std::string_view text) const override {
    const TokenId id = texts_.Find(text);
    return id >= 0 ? std::optional(id) : std::nullopt;
  }

  bool IsSpecial(TokenId id) const override {
    return id >= 0 && id < texts_.size() && is_special_[static_cast<size_t>(id)];
  }

  PreTokenizer pre_tokenizer() const override { return pre_tokenizer_; }

 private:
  // One encoding under way. `begin` may be null; its entries count from the start of the text that
  // the current step works on, and each step moves those added within it to its own source.
  struct Output {
    std::vector<TokenId>* ids;
    std::vector<int64_t>* begin;
    bool special;
    Bpe::Workspace work;

    template <class Map>
    void MoveBegins(size_t from, Map map) {
      if (begin == nullptr) return;
      for (size_t i = from; i < begin->size(); ++i) (*begin)[i] = map((*begin)[i]);
    }
    size_t mark() const { return ids->size(); }
  };

  void Run(std::string_view text, const EncodeOptions& options, std::vector<TokenId>* ids,
           std::vector<int64_t>* begin) const {
    Output out{ids, begin, options.parse_special, {}};
    const auto replaced = ReplaceInvalid(text);
    SplitAdded(added_, replaced ? replaced->text : text, &out,
               [&](std::string_view piece) { Normalize(piece, &out); });
    if (replaced) out.MoveBegins(0, [&](int64_t b) { return replaced->ToSource(b); });
  }

  void Normalize(std::string_view text, Output* out) const {
    const auto composed = compose_nfc_ ? ComposeNfc(text) : std::nullopt;
    const size_t mark = out->mark();
    SplitAdded(added_normalized_, composed ? composed->text : text, out,
               [&](std::string_view piece) { EncodeWords(piece, out); });
    if (composed) out->MoveBegins(mark, [&](int64_t b) { return composed->ToSource(b); });
  }

  // Gives what lies between added tokens to `encode`, which appends tokens as it does.
  template <class EncodePiece>
  void SplitAdded(const AddedTokens& added, std::string_view text, Output* out,
                  EncodePiece encode) const {
    for (size_t i = 0; i < text.size();) {
      const auto match = added.Find(text, i, out->special);
      const size_t end = match ? match->begin : text.size();
      const size_t mark = out->mark();
      if (end > i) encode(text.substr(i, end - i));
      out->MoveBegins(mark, [&](int64_t b) { return b + static_cast<int64_t>(i); });
      if (!match) return;
      out->ids->push_back(match->id);
      if (out->begin != nullptr) out->begin->push_back(static_cast<int64_t>(match->begin));
      i = match->end;
    }
  }

  void EncodeWords(std::string_view text, Output* out) const {
    for (size_t i = 0; i < text.size();) {
      const size_t length = NextPreToken(pre_tokenizer_, text.substr(i));
      bpe_.Encode(text.substr(i, length), static_cast<int64_t>(i), &out->work, out->ids,
                  out->begin);
      i += length;
    }
  }

  PreTokenizer pre_tokenizer_;
  bool compose_nfc_;
  StringTable texts_;
  Bpe bpe_;
  AddedTokens added_;
  AddedTokens added_normalized_;
  std::vector<bool> is_special_;
  std::vector<bool> is_added_;
};

Result<std::vector<Bpe::Merge>> ResolveMerges(const TokenizerSpec& spec, const StringTable& texts) {
  std::vector<Bpe::Merge> merges;
  merges.reserve(spec.merges.size());
  std::string joined;
  for (const auto& [left, right] : spec.merges) {
    joined.assign(left).append(right);
    const Bpe::Merge merge{texts.Find(left), texts.Find(right), texts.Find(joined)};
    if (merge.left < 0 || merge.right < 0 || merge.merged < 0) {
      return DataLoss("merge " + std::to_string(merges.size()) + " (\"" + left + "\" and \"" +
                      right + "\") has a part or a result that the vocabulary lacks");
    }
    merges.push_back(merge);
  }
  return merges;
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> MakeBpeTokenizer(TokenizerSpec spec) {
  spec.outside_merges.resize(spec.tokens.size());
  StringTable texts(spec.tokens);
  MSA_ASSIGN_OR_RETURN(const std::vector<Bpe::Merge> merges, ResolveMerges(spec, texts));
  std::vector<std::string> bytes(spec.tokens.size());
  for (size_t id = 0; id < bytes.size(); ++id) {
    if (!spec.outside_merges[id]) bytes[id] = AlphabetToBytes(spec.tokens[id]).value_or("");
  }
  Bpe bpe(bytes, merges, spec.whole_words, spec.unknown);
  return std::unique_ptr<Tokenizer>(
      std::make_unique<BpeTokenizer>(spec, std::move(texts), std::move(bpe)));
}

}  // namespace msa
