// The tokenizer for Python tests (tests/tokenizer_parity_test.py), over pipes.
//
//   msa_tokenize_tool encode MODEL [special]          texts in, ids out
//   msa_tokenize_tool offsets MODEL [special]         texts in, ids and byte offsets by turns out
//   msa_tokenize_tool decode MODEL [special]          ids in, texts out
//   msa_tokenize_tool chat MODEL FAMILY               conversations in, ids out
//   msa_tokenize_tool split MODEL                     texts (valid UTF-8) in, lengths of the
//                                                     pre-tokens in bytes out, as int64
//   msa_tokenize_tool recognise                       Jinja templates in, families out
//
// MODEL is a .gguf or a tokenizer.json; "special": recognise special tokens, or keep them. All that
// goes in and out is records: a length in bytes as uint32, then that many bytes. Ids are int32,
// offsets int64, little-endian. A conversation is role, content, role, content, … each ended by a
// NUL. A template that is not recognised gives an empty record.
#include <cstdint>
#include <cstring>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "msa/base/gguf.h"
#include "msa/text/chat_template.h"
#include "msa/text/pre_tokenizer.h"
#include "msa/text/tokenizer.h"

namespace msa {
namespace {

Result<std::unique_ptr<Tokenizer>> Load(const std::string& path) {
  if (!path.ends_with(".gguf")) return Tokenizer::FromJsonFile(path);
  MSA_ASSIGN_OR_RETURN(const auto file, GgufFile::Open(path));
  return Tokenizer::FromGguf(*file);
}

std::optional<std::string> ReadRecord() {
  uint32_t length = 0;
  if (!std::cin.read(reinterpret_cast<char*>(&length), sizeof(length))) return std::nullopt;
  std::string record(length, '\0');
  if (!std::cin.read(record.data(), length)) return std::nullopt;
  return record;
}

template <class T>
void WriteRecord(const T& values) {
  const auto length = static_cast<uint32_t>(values.size() * sizeof(*values.data()));
  std::cout.write(reinterpret_cast<const char*>(&length), sizeof(length));
  std::cout.write(reinterpret_cast<const char*>(values.data()), length);
}

std::vector<TokenId> AsIds(const std::string& record) {
  std::vector<TokenId> ids(record.size() / sizeof(TokenId));
  std::memcpy(ids.data(), record.data(), ids.size() * sizeof(TokenId));
  return ids;
}

std::vector<ChatMessage> AsConversation(std::string_view record) {
  const auto next = [&] {
    const size_t end = record.find('\0');
    std::string part(record.substr(0, end));
    record.remove_prefix(end + 1);
    return part;
  };
  std::vector<ChatMessage> messages;
  while (!record.empty()) {
    std::string role = next();
    messages.push_back({std::move(role), next()});
  }
  return messages;
}

std::vector<int64_t> PreTokenLengths(PreTokenizer kind, std::string_view text) {
  std::vector<int64_t> lengths;
  while (!text.empty()) {
    const size_t length = NextPreToken(kind, text);
    lengths.push_back(static_cast<int64_t>(length));
    text.remove_prefix(length);
  }
  return lengths;
}

int Recognise() {
  while (const auto record = ReadRecord()) {
    const auto family = RecogniseChatTemplate(*record);
    WriteRecord(family.ok() ? ChatFamilyName(*family) : std::string_view());
  }
  return 0;
}

int Main(const std::vector<std::string>& args) {
  if (args.size() == 2 && args[1] == "recognise") return Recognise();
  if (args.size() < 3) {
    std::cerr << "usage: see tests/tools/tokenize_tool.cc\n";
    return 2;
  }
  const auto tokenizer = Load(args[2]);
  if (!tokenizer.ok()) {
    std::cerr << tokenizer.status() << "\n";
    return 1;
  }
  const Tokenizer& t = **tokenizer;
  const std::string option = args.size() > 3 ? args[3] : "";
  const EncodeOptions options{.parse_special = option == "special"};
  const auto family = ParseChatFamily(option);
  while (const auto record = ReadRecord()) {
    if (args[1] == "chat") WriteRecord(RenderChat(family.value(), t, AsConversation(*record)));
    if (args[1] == "split") WriteRecord(PreTokenLengths(t.pre_tokenizer(), *record));
    if (args[1] == "encode") WriteRecord(t.Encode(*record, options));
    if (args[1] == "decode") WriteRecord(t.Decode(AsIds(*record), options.parse_special));
    if (args[1] == "offsets") {
      const TokenizedText result = t.EncodeWithOffsets(*record, options);
      WriteRecord(result.ids);
      WriteRecord(result.begin);
    }
  }
  return 0;
}

}  // namespace
}  // namespace msa

int main(int argc, char** argv) { return msa::Main({argv, argv + argc}); }
