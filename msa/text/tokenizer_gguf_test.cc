#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "msa/base/test_support.h"
#include "msa/text/byte_alphabet.h"
#include "msa/text/tokenizer.h"

namespace msa {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// The metadata of a GGUF file that is a tokenizer and nothing else.
class GgufTokenizer {
 public:
  GgufTokenizer& Text(const std::string& key, std::string_view value) {
    Key(key, 8);
    String(value);
    return *this;
  }
  GgufTokenizer& Texts(const std::string& key, const std::vector<std::string>& values) {
    Array(key, 8, values.size());
    for (const std::string& value : values) String(value);
    return *this;
  }
  GgufTokenizer& Ints(const std::string& key, const std::vector<int32_t>& values) {
    Array(key, 5, values.size());
    for (const int32_t value : values) Put(value);
    return *this;
  }

  Result<std::unique_ptr<Tokenizer>> Load() const {
    const uint32_t version = 3;
    const uint64_t counts[] = {0, keys_};
    std::string content = "GGUF";
    content.append(reinterpret_cast<const char*>(&version), sizeof(version));
    content.append(reinterpret_cast<const char*>(counts), sizeof(counts));
    MSA_ASSIGN_OR_RETURN(const auto file,
                         GgufFile::Open(TestMemoryFile(content + metadata_).path()));
    return Tokenizer::FromGguf(*file);
  }

 private:
  template <class T>
  void Put(T value) {
    metadata_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  void String(std::string_view text) {
    Put<uint64_t>(text.size());
    metadata_ += text;
  }
  void Key(const std::string& key, uint32_t type) {
    String("tokenizer.ggml." + key);
    Put(type);
    ++keys_;
  }
  void Array(const std::string& key, uint32_t type, uint64_t count) {
    Key(key, 9);
    Put(type);
    Put(count);
  }

  std::string metadata_;
  uint64_t keys_ = 0;
};

// "a", "b", "ab", a control token and a user's.
const std::vector<std::string> kTokens = {"a", "b", "ab", "<|end|>", "<think>"};

GgufTokenizer Sound(std::string_view pre) {
  return GgufTokenizer().Text("model", "gpt2").Text("pre", pre).Texts("tokens", kTokens);
}

TEST(TokenizerGguf, ReadsVocabularyMergesAndTypes) {
  const auto t =
      *Sound("smollm").Texts("merges", {"a b"}).Ints("token_type", {1, 1, 1, 3, 4}).Load();
  EXPECT_EQ(t->pre_tokenizer(), PreTokenizer::kSmolLM2);
  EXPECT_THAT(t->Encode("aab<think>"), ElementsAre(0, 2, 4));
  EXPECT_THAT(t->Encode("<|end|>b"), ElementsAre(1));  // its characters have no tokens here
  EXPECT_THAT(t->Encode("<|end|>b", {.parse_special = true}), ElementsAre(3, 1));
  EXPECT_TRUE(t->IsSpecial(3));
  EXPECT_FALSE(t->IsSpecial(4));
}

TEST(TokenizerGguf, OnlyLlamaTakesWholeWordsThatNoMergeReaches) {
  for (const auto& [pre, whole] : {std::pair("llama-bpe", true), std::pair("qwen2", false)}) {
    const auto t = *Sound(pre).Texts("merges", {}).Load();
    const std::vector<TokenId> ids = t->Encode("ab");
    EXPECT_EQ(ids, whole ? std::vector<TokenId>({2}) : std::vector<TokenId>({0, 1})) << pre;
  }
}

TEST(TokenizerGguf, OtherModelsAndPreTokenizersAreNamedWithThoseThatAreSupported) {
  const Status pre = Sound("deepseek-llm").Texts("merges", {}).Load().status();
  EXPECT_EQ(pre.code(), StatusCode::kUnimplemented);
  EXPECT_THAT(pre.message(), HasSubstr("\"deepseek-llm\"; supported are smollm llama-bpe qwen2"));
  const Status model = GgufTokenizer().Text("model", "llama").Load().status();
  EXPECT_EQ(model.code(), StatusCode::kUnimplemented);
  EXPECT_THAT(model.message(), HasSubstr("\"llama\""));
  EXPECT_EQ(GgufTokenizer().Load().status().code(), StatusCode::kNotFound);
}

TEST(TokenizerGguf, ContradictionsAreDamage) {
  EXPECT_EQ(Sound("smollm").Texts("merges", {"a c"}).Load().status().code(), StatusCode::kDataLoss);
  EXPECT_EQ(Sound("smollm").Texts("merges", {"ab"}).Load().status().code(), StatusCode::kDataLoss);
  const auto types = Sound("smollm").Texts("merges", {}).Ints("token_type", {1, 1}).Load();
  EXPECT_EQ(types.status().code(), StatusCode::kDataLoss);
  EXPECT_THAT(types.status().message(), HasSubstr("2 token types for 5 tokens"));
}

TEST(ByteAlphabet, EveryByteRoundTripsAndOnlyTheyDo) {
  std::string all, alphabet;
  for (int b = 0; b < 256; ++b) {
    all.push_back(static_cast<char>(b));
    alphabet += ByteToAlphabet(static_cast<unsigned char>(b));
  }
  EXPECT_EQ(AlphabetToBytes(alphabet), all);
  EXPECT_EQ(ByteToAlphabet(' '), "\u0120");
  EXPECT_EQ(ByteToAlphabet('\n'), "\u010a");
  EXPECT_EQ(ByteToAlphabet('a'), "a");
  for (const char* other : {" ", "\u0144", "\u00ad", "\u4e2d", "a b", "\xff"}) {
    EXPECT_EQ(AlphabetToBytes(other), std::nullopt) << other;
  }
}

}  // namespace
}  // namespace msa
