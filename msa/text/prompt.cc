#include "msa/text/prompt.h"

namespace msa {
namespace {

// Runs of white space as one space: line ends of the original layout only distract.
std::string OneLine(std::string_view text) {
  std::string line;
  for (const char c : text) {
    const bool space = c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f';
    if (!space) {
      line += c;
    } else if (!line.empty() && line.back() != ' ') {
      line += ' ';
    }
  }
  return line;
}

}  // namespace

// The wording that a 135M model follows best among those tried: it copies a phrase instead of
// reciting what it half remembers.
std::vector<ChatMessage> ReadingPrompt(std::string_view question, std::span<const PromptText> texts,
                                       std::span<const ChatMessage> history) {
  std::vector<ChatMessage> messages = {{"system", "You are a helpful assistant."}};
  messages.insert(messages.end(), history.begin(), history.end());
  std::string user;
  if (!texts.empty()) user += "Context:\n";
  // The best last: nearest the question.
  for (auto text = texts.rbegin(); text != texts.rend(); ++text) {
    user += text->title + ": " + OneLine(text->text) + "\n\n";
  }
  user += texts.empty() ? std::string(question)
                        : "Question: " + std::string(question) +
                              "\nAnswer with a short phrase from the context.";
  messages.push_back({"user", std::move(user)});
  return messages;
}

}  // namespace msa
