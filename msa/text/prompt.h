// How a question is put to a model that reads: one wording, for answering and for training.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "msa/text/chat_template.h"

namespace msa {

// Original text that joins the prompt.
struct PromptText {
  std::string title;
  std::string text;
};

// The conversation that ends with the question; `texts` best first, empty where latents alone are
// read. `history` holds earlier turns.
std::vector<ChatMessage> ReadingPrompt(std::string_view question, std::span<const PromptText> texts,
                                       std::span<const ChatMessage> history = {});

}  // namespace msa
