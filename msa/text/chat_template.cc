#include "msa/text/chat_template.h"

#include <algorithm>
#include <array>
#include <utility>

#include "msa/base/check.h"
#include "msa/base/utf8.h"

namespace msa {
namespace {

constexpr std::string_view kThinkBegin = "<think>";
constexpr std::string_view kThinkEnd = "</think>";

// Collects a conversation. Text is encoded in stretches as long as the template's own, because
// merges cross from a role's newline into the content behind it; only Special() gives special
// tokens.
class Builder {
 public:
  explicit Builder(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  void Text(std::string_view text) { text_ += text; }

  // A token of the template, or its characters where the vocabulary lacks it.
  void Special(std::string_view name) {
    const auto id = tokenizer_.FindToken(name);
    if (!id) return Text(name);
    Flush();
    ids_.push_back(*id);
  }

  std::vector<TokenId> Finish() && {
    Flush();
    return std::move(ids_);
  }

 private:
  void Flush() {
    if (text_.empty()) return;
    const std::vector<TokenId> ids = tokenizer_.Encode(text_);
    ids_.insert(ids_.end(), ids.begin(), ids.end());
    text_.clear();
  }

  const Tokenizer& tokenizer_;
  std::string text_;
  std::vector<TokenId> ids_;
};

std::string_view StripNewlines(std::string_view text) {
  while (text.starts_with('\n')) text.remove_prefix(1);
  while (text.ends_with('\n')) text.remove_suffix(1);
  return text;
}

std::string_view StripLeadingNewlines(std::string_view text) {
  while (text.starts_with('\n')) text.remove_prefix(1);
  return text;
}

// White space to Python's str.strip(), which Jinja's `trim` is.
bool IsPythonSpace(char32_t c) {
  return (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

std::string_view PythonStrip(std::string_view text) {
  size_t begin = text.size(), end = 0;  // of what is no white space
  for (size_t i = 0; i < text.size();) {
    const Utf8Char c = DecodeUtf8(text.substr(i));
    const size_t next = i + static_cast<size_t>(c.length_bytes);
    if (!IsPythonSpace(c.code_point)) {
      begin = std::min(begin, i);
      end = next;
    }
    i = next;
  }
  return begin < end ? text.substr(begin, end - begin) : std::string_view();
}

// The turn of the ChatML families, open at the end.
void OpenTurn(std::string_view role, Builder* out) {
  out->Special("<|im_start|>");
  out->Text(role);
  out->Text("\n");
}

void CloseTurn(Builder* out) {
  out->Special("<|im_end|>");
  out->Text("\n");
}

void RenderSmolLM2(std::span<const ChatMessage> messages, Builder* out) {
  if (!messages.empty() && messages[0].role != "system") {
    OpenTurn("system", out);
    out->Text("You are a helpful AI assistant named SmolLM, trained by Hugging Face");
    CloseTurn(out);
  }
  for (const ChatMessage& message : messages) {
    OpenTurn(message.role, out);
    out->Text(message.content);
    CloseTurn(out);
  }
  OpenTurn("assistant", out);
}

void RenderLlama3(std::span<const ChatMessage> messages, Builder* out) {
  const auto open = [out](std::string_view role) {
    out->Special("<|start_header_id|>");
    out->Text(role);
    out->Special("<|end_header_id|>");
    out->Text("\n\n");
  };
  if (!messages.empty()) out->Special("<|begin_of_text|>");
  for (const ChatMessage& message : messages) {
    open(message.role);
    out->Text(PythonStrip(message.content));
    out->Special("<|eot_id|>");
  }
  open("assistant");
}

// The last message of a user that is no answer of a tool.
size_t LastQueryIndex(std::span<const ChatMessage> messages) {
  for (size_t i = messages.size(); i-- > 0;) {
    const ChatMessage& m = messages[i];
    const bool tool_response =
        m.content.starts_with("<tool_response>") && m.content.ends_with("</tool_response>");
    if (m.role == "user" && !tool_response) return i;
  }
  return messages.empty() ? 0 : messages.size() - 1;
}

// Thoughts are dropped from earlier turns and kept in those behind the last question.
void RenderQwen3Assistant(std::string_view content, bool with_thoughts, bool last, Builder* out) {
  std::string_view thoughts, answer = content;
  if (const size_t end = content.find(kThinkEnd); end != content.npos) {
    thoughts = content.substr(0, end);
    const size_t begin = thoughts.rfind(kThinkBegin);
    if (begin != thoughts.npos) thoughts.remove_prefix(begin + kThinkBegin.size());
    thoughts = StripNewlines(thoughts);
    answer = content.substr(content.rfind(kThinkEnd) + kThinkEnd.size());
    answer = StripLeadingNewlines(answer);
  }
  if (with_thoughts && (last || !thoughts.empty())) {
    out->Special(kThinkBegin);
    out->Text("\n");
    out->Text(thoughts);
    out->Text("\n");
    out->Special(kThinkEnd);
    out->Text("\n\n");
    answer = StripLeadingNewlines(answer);
  }
  out->Text(answer);
}

void RenderQwen3(std::span<const ChatMessage> messages, Builder* out) {
  const size_t last_query = LastQueryIndex(messages);
  for (size_t i = 0; i < messages.size(); ++i) {
    OpenTurn(messages[i].role, out);
    if (messages[i].role == "assistant") {
      RenderQwen3Assistant(messages[i].content, i > last_query, i + 1 == messages.size(), out);
    } else {
      out->Text(messages[i].content);
    }
    CloseTurn(out);
  }
  OpenTurn("assistant", out);
  out->Special(kThinkBegin);  // empty thoughts: thinking is off
  out->Text("\n\n");
  out->Special(kThinkEnd);
  out->Text("\n\n");
}

// A family by what only its template has; all marks must be there.
struct Family {
  ChatFamily family;
  std::string_view name;
  std::array<std::string_view, 3> marks;
  std::array<std::string_view, 2> stop_tokens;
};

// Relatives that must not match: Llama 3.1 (dates in its system message, no "loop_messages"),
// Qwen 2.5 and 3.5 (other system messages), SmolLM3.
constexpr std::array<Family, 3> kFamilies = {
    {{ChatFamily::kSmolLM2,
      "smollm2",
      {"<|im_start|>", "loop.first and messages[0]['role'] != 'system'",
       "You are a helpful AI assistant named SmolLM, trained by Hugging Face"},
      {"<|im_end|>", "<|endoftext|>"}},
     {ChatFamily::kLlama3,
      "llama3",
      {"set loop_messages = messages", "set content = bos_token + content",
       "'<|start_header_id|>' + message['role'] + '<|end_header_id|>"},
      {"<|eot_id|>", "<|end_of_text|>"}},
     {ChatFamily::kQwen3,
      "qwen3",
      {"ns.last_query_index", "enable_thinking is false",
       R"('<|im_start|>system\n' + messages[0].content + '<|im_end|>)"},
      {"<|im_end|>", "<|endoftext|>"}}}};

const Family& Of(ChatFamily family) {
  for (const Family& f : kFamilies) {
    if (f.family == family) return f;
  }
  MSA_CHECK(false);
}

}  // namespace

std::string_view ChatFamilyName(ChatFamily family) { return Of(family).name; }

std::optional<ChatFamily> ParseChatFamily(std::string_view name) {
  for (const Family& f : kFamilies) {
    if (f.name == name) return f.family;
  }
  return std::nullopt;
}

Result<ChatFamily> RecogniseChatTemplate(std::string_view jinja) {
  std::string names;
  for (const Family& f : kFamilies) {
    const bool all = std::ranges::all_of(
        f.marks, [&](std::string_view mark) { return jinja.find(mark) != jinja.npos; });
    if (all) return f.family;
    names.append(names.empty() ? "" : ", ").append(f.name);
  }
  return Unimplemented(
      "the model's chat template is none that is known; give --chat-template FAMILY, one of " +
      names);
}

Result<ChatFamily> ChooseChatFamily(std::string_view name, std::string_view jinja) {
  if (name.empty()) return RecogniseChatTemplate(jinja);
  if (const auto family = ParseChatFamily(name)) return *family;
  return InvalidArgument("unknown chat template family \"" + std::string(name) +
                         "\"; there are smollm2, llama3 and qwen3");
}

std::vector<TokenId> RenderChat(ChatFamily family, const Tokenizer& tokenizer,
                                std::span<const ChatMessage> messages) {
  Builder out(tokenizer);
  switch (family) {
    case ChatFamily::kSmolLM2: RenderSmolLM2(messages, &out); break;
    case ChatFamily::kLlama3: RenderLlama3(messages, &out); break;
    case ChatFamily::kQwen3: RenderQwen3(messages, &out); break;
  }
  return std::move(out).Finish();
}

std::vector<TokenId> StopTokens(ChatFamily family, const Tokenizer& tokenizer) {
  std::vector<TokenId> ids;
  for (const std::string_view name : Of(family).stop_tokens) {
    if (const auto id = tokenizer.FindToken(name)) ids.push_back(*id);
  }
  return ids;
}

}  // namespace msa
