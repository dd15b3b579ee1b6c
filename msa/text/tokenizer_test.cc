#include "msa/text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "msa/base/test_support.h"
#include "msa/text/byte_alphabet.h"
#include "msa/text/chat_template.h"

namespace msa {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::json;

constexpr char kQwenPattern[] = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)"
                                R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

Json ByteLevel(bool use_regex) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", use_regex}};
}

Json QwenPreTokenizer() {
  return {{"type", "Sequence"},
          {"pretokenizers",
           {{{"type", "Split"},
             {"pattern", {{"Regex", kQwenPattern}}},
             {"behavior", "Isolated"},
             {"invert", false}},
            ByteLevel(false)}}};
}

Json Added(int id, const char* content, bool special, bool normalized = false) {
  return {{"id", id},        {"content", content},       {"special", special},  {"lstrip", false},
          {"rstrip", false}, {"normalized", normalized}, {"single_word", false}};
}

// Qwen3's pipeline with 256 bytes (their value is their id), "he" 256, "llo" 258 and added tokens.
Json SmallTokenizer() {
  Json vocabulary = Json::object();
  for (int b = 0; b < 256; ++b) vocabulary[ByteToAlphabet(static_cast<unsigned char>(b))] = b;
  vocabulary["he"] = 256;
  vocabulary["ll"] = 257;
  vocabulary["llo"] = 258;
  return {{"normalizer", {{"type", "NFC"}}},
          {"pre_tokenizer", QwenPreTokenizer()},
          {"model",
           {{"type", "BPE"},
            {"vocab", vocabulary},
            {"merges", {"h e", Json::array({"l", "l"}), "ll o"}}}},
          {"added_tokens",
           {Added(259, "<|end|>", true), Added(260, "<think>", false),
            Added(261, "<|end|>more", true), Added(262, "<norm>", false, true)}}};
}

Result<std::unique_ptr<Tokenizer>> FromJson(const Json& json) {
  return Tokenizer::FromJsonFile(TestMemoryFile(json.dump()).path());
}

constexpr EncodeOptions kSpecial{.parse_special = true};

TEST(Tokenizer, EncodesAndDecodes) {
  const auto t = *FromJson(SmallTokenizer());
  EXPECT_EQ(t->vocab_size(), 263);
  EXPECT_EQ(t->pre_tokenizer(), PreTokenizer::kQwen3);
  EXPECT_THAT(t->Encode("hello"), ElementsAre(256, 258));
  EXPECT_THAT(t->Encode(""), ElementsAre());
  const std::vector<TokenId> ids = {256, 258, 259, 260};
  EXPECT_EQ(t->Decode(ids), "hello<think>");
  EXPECT_EQ(t->Decode(ids, true), "hello<|end|><think>");
  EXPECT_EQ(t->Decode(std::vector<TokenId>{-1, 263, 1000, 'a'}), "a");
  EXPECT_EQ(t->Decode(std::vector<TokenId>{0xE2, 0x82}), "\xE2\x82");  // may end inside
}

TEST(Tokenizer, FindsTokensAsTheVocabularyWritesThem) {
  const auto t = *FromJson(SmallTokenizer());
  EXPECT_EQ(t->FindToken("llo"), 258);
  EXPECT_EQ(t->FindToken("\u0120"), ' ');  // the alphabet's space
  EXPECT_EQ(t->FindToken(" "), std::nullopt);
  EXPECT_EQ(t->FindToken("<|end|>"), 259);
  EXPECT_TRUE(t->IsSpecial(259));
  EXPECT_FALSE(t->IsSpecial(260));
  EXPECT_FALSE(t->IsSpecial(-1));
  EXPECT_FALSE(t->IsSpecial(263));
}

TEST(Tokenizer, SpecialTokensAreOnlyReadWhereAskedFor) {
  const auto t = *FromJson(SmallTokenizer());
  EXPECT_THAT(t->Encode("he<|end|>he", kSpecial), ElementsAre(256, 259, 256));
  const std::vector<TokenId> plain = t->Encode("he<|end|>he");
  EXPECT_THAT(plain, ElementsAre(256, '<', '|', 'e', 'n', 'd', '|', '>', 256));
}

TEST(Tokenizer, OtherAddedTokensAreAlwaysReadAndTheLongestWins) {
  const auto t = *FromJson(SmallTokenizer());
  EXPECT_THAT(t->Encode("<think>he"), ElementsAre(260, 256));
  EXPECT_THAT(t->Encode("<|end|>more<|end|>mor", kSpecial), ElementsAre(261, 259, 'm', 'o', 'r'));
}

TEST(Tokenizer, NormalizedTokensAreFoundBehindTheNormaliser) {
  const auto t = *FromJson(SmallTokenizer());
  EXPECT_THAT(t->Encode("<norm>"), ElementsAre(262));
  // A stroke through the last character composes with it: U+226F. <think> is taken before that.
  EXPECT_THAT(t->Encode("<think>\u0338"), ElementsAre(260, 0xCC, 0xB8));
  EXPECT_THAT(t->Encode("<norm>\u0338"), ElementsAre('<', 'n', 'o', 'r', 'm', 0xE2, 0x89, 0xAF));
}

TEST(Tokenizer, OffsetsAreThoseOfTheInputAsGiven) {
  const auto t = *FromJson(SmallTokenizer());
  // An invalid byte becomes 3, an e with its accent (3 bytes) 2.
  const std::string text = "he\xFFhe\u0301<|end|>llo";
  const TokenizedText out = t->EncodeWithOffsets(text, kSpecial);
  EXPECT_THAT(out.ids, ElementsAre(256, 0xEF, 0xBF, 0xBD, 'h', 0xC3, 0xA9, 259, 258));
  EXPECT_THAT(out.begin, ElementsAre(0, 2, 2, 2, 3, 4, 4, 7, 14, 17));
  EXPECT_EQ(out.ids, t->Encode(text, kSpecial));
  EXPECT_THAT(t->EncodeWithOffsets("").begin, ElementsAre(0));
}

TEST(TokenizerJson, WhatWouldChangeTokensIsRefusedByName) {
  const auto refusal = [](const char* pointer, const Json& value) {
    Json json = SmallTokenizer();
    json[Json::json_pointer(pointer)] = value;
    const auto result = FromJson(json);
    EXPECT_EQ(result.status().code(), StatusCode::kUnimplemented) << pointer;
    return result.status().message();
  };
  EXPECT_THAT(refusal("/normalizer", {{"type", "Lowercase"}}), HasSubstr("Lowercase"));
  EXPECT_THAT(refusal("/pre_tokenizer", {{"type", "Whitespace"}}), HasSubstr("Whitespace"));
  EXPECT_THAT(refusal("/pre_tokenizer/pretokenizers/0/pattern/Regex", "\\w+"), HasSubstr("w+"));
  EXPECT_THAT(refusal("/pre_tokenizer/pretokenizers/1/add_prefix_space", true),
              HasSubstr("add_prefix_space"));
  EXPECT_THAT(refusal("/model/type", "Unigram"), HasSubstr("Unigram"));
  EXPECT_THAT(refusal("/model/byte_fallback", true), HasSubstr("byte_fallback"));
  EXPECT_THAT(refusal("/model/dropout", 0.1), HasSubstr("dropout"));
  EXPECT_THAT(refusal("/added_tokens/0/lstrip", true), HasSubstr("lstrip"));
}

TEST(TokenizerJson, DamageIsSaid) {
  const auto code = [](const char* pointer, const Json& value) {
    Json json = SmallTokenizer();
    json[Json::json_pointer(pointer)] = value;
    return FromJson(json).status().code();
  };
  EXPECT_EQ(code("/model/merges/0", "h z"), StatusCode::kDataLoss);
  EXPECT_EQ(code("/model/merges/0", "hz"), StatusCode::kDataLoss);
  EXPECT_EQ(code("/model/merges", 5), StatusCode::kDataLoss);
  EXPECT_EQ(code("/model/vocab", nullptr), StatusCode::kDataLoss);
  EXPECT_EQ(code("/model/vocab/he", -1), StatusCode::kDataLoss);
  EXPECT_EQ(code("/model/vocab/he", int64_t{1} << 40), StatusCode::kDataLoss);
  EXPECT_EQ(code("/model/vocab/he", "x"), StatusCode::kDataLoss);
  EXPECT_EQ(code("/model/vocab/he", 5), StatusCode::kDataLoss);  // taken
  EXPECT_EQ(code("/added_tokens/0/content", ""), StatusCode::kDataLoss);
  EXPECT_EQ(Tokenizer::FromJsonFile("/nonexistent.json").status().code(), StatusCode::kNotFound);
  EXPECT_EQ(Tokenizer::FromJsonFile(TestMemoryFile("{").path()).status().code(),
            StatusCode::kInvalidArgument);
}

TEST(ChatTemplate, AnUnknownOneSaysWhatToGive) {
  const Status status = RecogniseChatTemplate("{{ messages }}").status();
  EXPECT_EQ(status.code(), StatusCode::kUnimplemented);
  EXPECT_THAT(status.message(), HasSubstr("--chat-template FAMILY"));
  EXPECT_THAT(status.message(), HasSubstr("smollm2, llama3, qwen3"));
}

TEST(ChatTemplate, FamiliesRoundTripTheirNames) {
  for (const ChatFamily f : {ChatFamily::kSmolLM2, ChatFamily::kLlama3, ChatFamily::kQwen3}) {
    EXPECT_EQ(ParseChatFamily(ChatFamilyName(f)), f);
  }
  EXPECT_EQ(ParseChatFamily("chatml"), std::nullopt);
}

TEST(ChatTemplate, StopTokensAreThoseTheVocabularyHas) {
  Json json = SmallTokenizer();
  json["added_tokens"].push_back(Added(263, "<|im_end|>", true));
  const auto t = *FromJson(json);
  EXPECT_THAT(StopTokens(ChatFamily::kQwen3, *t), ElementsAre(263));
  EXPECT_THAT(StopTokens(ChatFamily::kLlama3, *t), ElementsAre());
}

}  // namespace
}  // namespace msa
