// Renders conversations for the three families, and recognises a model's family from its own Jinja
// template. Templates are not executed: each family's rendering is code, tested against the
// originals.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "msa/base/status.h"
#include "msa/text/tokenizer.h"

namespace msa {

enum class ChatFamily { kSmolLM2, kLlama3, kQwen3 };

std::string_view ChatFamilyName(ChatFamily family);  // "smollm2", "llama3", "qwen3"
std::optional<ChatFamily> ParseChatFamily(std::string_view name);

// By marks that only that family's template has. kUnimplemented: unknown; the message says to give
// --chat-template FAMILY and lists the families.
Result<ChatFamily> RecogniseChatTemplate(std::string_view jinja);

// The family named, or where `name` is empty the one recognised. kInvalidArgument: no such family.
Result<ChatFamily> ChooseChatFamily(std::string_view name, std::string_view jinja);

struct ChatMessage {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

// The conversation as tokens, ready for the assistant's turn. Contents are encoded without special
// tokens, so no content can forge a turn. Equal to the model's own template with
// add_generation_prompt (Qwen3: thinking off).
std::vector<TokenId> RenderChat(ChatFamily family, const Tokenizer& tokenizer,
                                std::span<const ChatMessage> messages);

// Tokens that end an assistant's turn.
std::vector<TokenId> StopTokens(ChatFamily family, const Tokenizer& tokenizer);

}  // namespace msa
