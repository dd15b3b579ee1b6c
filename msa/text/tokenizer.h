// Byte-level BPE tokenizers of the SmolLM2, Llama 3 and Qwen3 families, token for token equal to
// Hugging Face `tokenizers`. Immutable after construction; any number of threads may call.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "msa/base/gguf.h"
#include "msa/base/status.h"

namespace msa {

using TokenId = int32_t;

// How text is split before merging: GPT-2's pattern with single digits (SmolLM2), Llama 3's, Qwen
// 2/3's.
enum class PreTokenizer { kSmolLM2, kLlama3, kQwen3 };

struct EncodeOptions {
  // Recognise special tokens (<|im_start|> …) written in the text. Off for documents and questions:
  // a document must not be able to end its own turn.
  bool parse_special = false;
};

// Token i of an encoding covers bytes [begin[i], begin[i + 1]) of the input; begin has one entry
// more than ids. Where the input was invalid UTF-8 the offsets are those of the input as given.
struct TokenizedText {
  std::vector<TokenId> ids;
  std::vector<int64_t> begin;
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // From `tokenizer.ggml.*`: model "gpt2" and pre "smollm", "llama-bpe" or "qwen2"; kUnimplemented
  // names others.
  static Result<std::unique_ptr<Tokenizer>> FromGguf(const GgufFile& file);
  // From a Hugging Face tokenizer.json with the same three pre-tokenizers.
  static Result<std::unique_ptr<Tokenizer>> FromJsonFile(const std::string& path);

  // Invalid UTF-8 is read as U+FFFD, as Python's errors="replace" does. No BOS, no EOS is added.
  virtual std::vector<TokenId> Encode(std::string_view text,
                                      const EncodeOptions& options = {}) const = 0;
  virtual TokenizedText EncodeWithOffsets(std::string_view text,
                                          const EncodeOptions& options = {}) const = 0;
  // Bytes of the tokens, joined; may end inside a character. Special tokens are skipped unless
  // asked for.
  virtual std::string Decode(std::span<const TokenId> ids, bool keep_special = false) const = 0;

  virtual int64_t vocab_size() const = 0;
  virtual std::optional<TokenId> FindToken(
      std::string_view text) const = 0;  // as the vocabulary writes it
  virtual bool IsSpecial(TokenId id) const = 0;
  virtual PreTokenizer pre_tokenizer() const = 0;
};

}  // namespace msa
