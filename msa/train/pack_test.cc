#include "msa/train/pack.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

#include "msa/base/file.h"
#include "msa/base/utf8.h"
#include "msa/text/passages.h"
#include "msa/text/test_support.h"
#include "msa/text/whitespace.h"
#include "msa/train/build_pack.h"
#include "msa/train/pack_writer.h"
#include "msa/train/questions.h"
#include "msa/train/vocabulary.h"
#include "msa/train/words.h"

namespace msa {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::json;

const Tokenizer& Tokens() {
  static const auto tokenizer = msa::testing::DefaultModelTokenizer();
  MSA_CHECK(tokenizer != nullptr);  // scripts/setup installs the default model
  return *tokenizer;
}

std::string Text(const TokenView& tokens) { return Tokens().Decode(tokens.ToVector(), true); }

// `count` sentences of words that no other seed shares, with a name and a number in each.
std::string Story(uint32_t seed, int count) {
  std::mt19937 random(seed);
  const auto word = [&] {
    std::string letters;
    for (int i = 0; i < 4; ++i) letters += static_cast<char>('a' + random() % 26);
    return letters;
  };
  std::string story;
  for (int i = 0; i < count; ++i) {
    story += "The ";
    for (int w = 0; w < 9; ++w) story += word() + " ";
    story += "of Zor" + word() + " in " + std::to_string(1000 + random() % 9000) + " café. ";
  }
  return story;
}

class PackTest : public ::testing::Test {
 protected:
  std::string File(const std::string& name, const std::vector<Json>& rows) {
    std::string lines;
    for (const Json& row : rows) lines += row.dump() + "\n";
    return folder_.Write(name, lines);
  }

  PackOptions Options(const std::vector<std::string>& corpora,
                      const std::vector<std::string>& pairs = {}) {
    PackOptions options;
    options.out = folder_.path() + "/out.pack";
    options.corpora = corpora;
    options.pairs = pairs;
    options.passage_tokens = 128;
    options.progress = ProgressMode::kOff;
    options.num_threads = 2;
    return options;
  }

  std::shared_ptr<const Pack> Build(const PackOptions& options) {
    auto report = BuildPack(Tokens(), options);
    MSA_CHECK(report.ok());
    report_ = *report;
    auto pack = Pack::Open(options.out);
    if (!pack.ok()) ADD_FAILURE() << pack.status();
    return pack.ok() ? *pack : nullptr;
  }

  msa::testing::TempFolder folder_;
  PackReport report_;
};

TEST_F(PackTest, PassagesAreCutAsTheProductCutsThem) {
  const Document document{.title = "Zebra", .text = Story(1, 40)};
  const auto pack = Build(Options({File("a.jsonl", {{{"title", "Zebra"}, {"text", document.text}},
                                                    {{"text", "Short, without a title."}}})}));
  const auto expected = SplitPassages(document, Tokens(), {.max_tokens = 128});
  ASSERT_EQ(pack->num_passages(), static_cast<int64_t>(expected.size()) + 1);
  ASSERT_GT(expected.size(), 3u);
  for (size_t p = 0; p < expected.size(); ++p) {
    const auto i = static_cast<int64_t>(p);
    EXPECT_EQ(pack->Passage(i).ToVector(), expected[p].tokens);
    EXPECT_EQ(pack->Continues(i), p > 0);
    // The tokens marked are those that begin with " The" or, first of all, "The".
    const auto starts = pack->SentenceStarts(i);
    for (int64_t t = 0; t < pack->Passage(i).size(); ++t) {
      const std::string token = Text(pack->Passage(i).Slice(t, 1));
      EXPECT_EQ(starts[static_cast<size_t>(t)] == 1, token == " The" || token == "The") << token;
    }
  }
  EXPECT_EQ(Text(pack->Passage(pack->num_passages() - 1)), "Short, without a title.");
  EXPECT_FALSE(pack->Continues(pack->num_passages() - 1));
  EXPECT_EQ(pack->num_documents(), 2);
  EXPECT_EQ(pack->vocab_size(), Tokens().vocab_size());
  EXPECT_EQ(pack->tokenizer(), VocabularyFingerprint(Tokens()));
  ASSERT_EQ(pack->sources().size(), 1u);
  EXPECT_EQ(pack->sources()[0].name, "a");
  EXPECT_EQ(pack->sources()[0].tokens, pack->num_tokens());
}

TEST_F(PackTest, PairsPointAtThePassageThatHoldsTheAnswer) {
  const std::string story = Story(2, 40);
  const std::string positive =
      story + "The keeper hid the lantern under Gamla bridge. " + Story(3, 40);
  const std::string corpus_text = Story(4, 12);
  const auto pack =
      Build(Options({File("docs.jsonl", {{{"text", corpus_text}}})},
                    {File("pairs.jsonl", {{{"query", "Where did the keeper hide it?"},
                                           {"positive", positive},
                                           {"answer", "Gamla bridge"},
                                           {"standalone", true}},
                                          {{"query", "What is told?"},
                                           {"positive", corpus_text + "!"},
                                           {"title", "Tales"},
                                           {"standalone", false},
                                           {"negatives", {"Nothing of the kind.", corpus_text}}},
                                          {{"query", "Who needs both?"},
                                           {"positive", corpus_text},
                                           {"positives", {corpus_text, "A second text."}},
                                           {"answer", "they"}}})}));
  ASSERT_EQ(report_.sources[1].questions, 3);
  const int64_t first = pack->num_questions() - 3;
  EXPECT_EQ(pack->Kind(first), QuestionKind::kStandalone);
  EXPECT_EQ(Text(pack->Question(first)), "Where did the keeper hide it?");
  EXPECT_EQ(Text(pack->Answer(first)), "Gamla bridge");
  EXPECT_THAT(Text(pack->Passage(pack->Positives(first)[0])), HasSubstr("under Gamla bridge"));
  // The corpus has the text already (but for punctuation): its passages are asked about.
  EXPECT_EQ(pack->Kind(first + 1), QuestionKind::kInContext);
  EXPECT_EQ(pack->Document(pack->Positives(first + 1)[0]), 0);
  EXPECT_TRUE(pack->Answer(first + 1).empty());
  ASSERT_EQ(pack->Negatives(first + 1).size(), 1u);
  EXPECT_EQ(Text(pack->Passage(pack->Negatives(first + 1)[0])), "Nothing of the kind.");
  ASSERT_EQ(pack->Positives(first + 2).size(), 2u);
  EXPECT_EQ(Text(pack->Passage(pack->Positives(first + 2)[1])), "A second text.");
}

TEST_F(PackTest, TitlesStandBeforeTextsOfPairsUnlessRepeated) {
  const auto pack = Build(Options(
      {},
      {File("p.jsonl", {{{"query", "a?"}, {"positive", "Rain."}, {"title", "Weather"}},
                        {{"query", "b?"}, {"positive", "weather: sun."}, {"title", "Weather"}}})}));
  EXPECT_EQ(Text(pack->Passage(0)), "Weather\nRain.");
  EXPECT_EQ(Text(pack->Passage(1)), "weather: sun.");
}

TEST_F(PackTest, DuplicatesAreDropped) {
  const std::string story = Story(5, 30);
  const std::string most_of_it = story.substr(story.size() / 4) + Story(6, 3);
  const std::string little_of_it = story.substr(story.size() * 3 / 4) + Story(7, 30);
  std::string shouted = story;
  for (char& c : shouted) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
  const auto pack =
      Build(Options({File("a.jsonl", {{{"text", story}}, {{"text", shouted + "!!"}}}),
                     File("b.jsonl", {{{"text", most_of_it}}, {{"text", little_of_it}}})}));
  EXPECT_EQ(report_.sources[0].dropped_duplicates, 1);
  EXPECT_EQ(report_.sources[1].dropped_duplicates, 1);
  EXPECT_EQ(pack->num_documents(), 2);
}

TEST_F(PackTest, PairsAskedTwiceAreDropped) {
  const auto pack =
      Build(Options({}, {File("p.jsonl", {{{"query", "Why?"}, {"positive", "So."}},
                                          {{"query", "why"}, {"positive", "So!"}},
                                          {{"query", "Why?"}, {"positive", "Then."}}})}));
  EXPECT_EQ(report_.sources[0].dropped_duplicates, 1);
  EXPECT_EQ(pack->num_questions(), 2);
  EXPECT_EQ(pack->num_passages(), 2);
}

TEST_F(PackTest, WhatEvaluationSetsHoldIsDropped) {
  const std::string secret =
      "one two three four five six seven eight nine ten eleven twelve thirteen";
  folder_.Write("eval/set/docs.jsonl", Json{{"id", "d"}, {"title", "T"}, {"text", secret}}.dump());
  folder_.Write("eval/set/queries.jsonl", Json{{"id", "q"}, {"query", "Who is asked?"}}.dump());
  const std::string before = Story(8, 40);
  const std::string after = Story(9, 40);
  PackOptions options = Options(
      {File("a.jsonl", {{{"text", before +
                                      "One, two: THREE four five six seven eight nine ten "
                                      "eleven twelve thirteen. " +
                                      after}},
                        {{"text", secret.substr(4)}},  // twelve words: not a gram
                        {{"title", "One two three four"},
                         {"text", "five six seven eight nine ten eleven twelve thirteen!"}}})},
      {File("p.jsonl", {{{"query", "who is ASKED"}, {"positive", "Somebody."}},
                        {{"query", "What?"}, {"positive", "Now " + secret + " go."}},
                        {{"query", secret + "?"}, {"positive", "Numbers."}},
                        {{"query", "Good?"}, {"positive", "Yes."}, {"negatives", {secret}}}})});
  options.evaluation = {folder_.path() + "/eval"};
  const auto pack = Build(options);
  // Of the first document one passage (or two, had the run been cut), and all of the third.
  EXPECT_GE(report_.sources[0].dropped_overlap, 2);
  EXPECT_LE(report_.sources[0].dropped_overlap, 3);
  EXPECT_EQ(report_.sources[1].dropped_overlap, 3);
  EXPECT_EQ(report_.sources[1].questions, 1);
  EXPECT_TRUE(pack->Negatives(pack->num_questions() - 1).empty());
  // The two halves around the gap do not follow each other.
  EXPECT_EQ(pack->num_documents(), 4);
  const auto secret_grams = GramHashes(FindWords(secret).hashes);
  ASSERT_EQ(secret_grams.size(), 1u);
  for (int64_t p = 0; p < pack->num_passages(); ++p) {
    const auto grams = GramHashes(FindWords(Text(pack->Passage(p))).hashes);
    EXPECT_EQ(std::ranges::count(grams, secret_grams[0]), 0) << Text(pack->Passage(p));
  }
  options.evaluation = {folder_.path()};
  EXPECT_EQ(BuildPack(Tokens(), options).status().code(), StatusCode::kNotFound);
}

TEST_F(PackTest, MadeQuestionsComeFromTheirPassages) {
  std::vector<Json> rows;
  for (uint32_t i = 0; i < 60; ++i)
    rows.push_back({{"title", "Tale"}, {"text", Story(100 + i, 20)}});
  PackOptions options = Options({File("a.jsonl", rows)});
  options.made = {.cut = 1, .quote = 0.5, .blank = 1, .mention = 1};
  options.passage_tokens = 256;
  const auto pack = Build(options);
  std::array<int64_t, kNumQuestionKinds> counts = {};
  double clauses = 0;
  for (int64_t q = 0; q < pack->num_questions(); ++q) {
    ++counts[static_cast<size_t>(pack->Kind(q))];
    ASSERT_EQ(pack->Positives(q).size(), 1u);
    const TokenView passage = pack->Passage(pack->Positives(q)[0]);
    const std::string text = Text(passage);
    const std::string question = Text(pack->Question(q));
    const std::string answer = Text(pack->Answer(q));
    EXPECT_TRUE(IsValidUtf8(question) && IsValidUtf8(answer));
    const Pack::Range span = pack->Span(q);
    if (pack->Kind(q) == QuestionKind::kCut) {
      const std::string removed = Text(passage.Slice(span.begin, span.end - span.begin));
      EXPECT_EQ(Trim(removed), question);
      EXPECT_EQ(answer, "");
      EXPECT_GE(pack->Question(q).size(), 8);
      EXPECT_LE(pack->Question(q).size(), 60);
      EXPECT_GE(span.begin, 2);  // behind the title
    } else if (pack->Kind(q) == QuestionKind::kQuotation) {
      constexpr std::string_view kPrefix = "Continue the quotation: \"";
      ASSERT_TRUE(question.starts_with(kPrefix) && question.ends_with("\"")) << question;
      const std::string quote =
          question.substr(kPrefix.size(), question.size() - kPrefix.size() - 1);
      EXPECT_THAT(text, HasSubstr(quote + " " + answer));
      EXPECT_GE(std::ranges::count(quote, ' '), 7);
      EXPECT_LE(std::ranges::count(quote, ' '), 15);
    } else if (pack->Kind(q) == QuestionKind::kMention) {
      // One sentence or more, which hold the words asked for and are the only ones that do.
      EXPECT_THAT(text, HasSubstr(answer));
      EXPECT_TRUE(answer.ends_with(".")) << answer;
      EXPECT_GE(pack->Answer(q).size(), 8);
      EXPECT_LE(pack->Answer(q).size(), 90);
      const size_t last = question.rfind(' ') + 1;
      const std::string topic = question.substr(last, question.size() - 1 - last);
      EXPECT_THAT(answer, HasSubstr(topic));
      EXPECT_EQ(text.find(topic), text.rfind(topic)) << topic;
    } else {
      EXPECT_TRUE(answer.starts_with("Zor") || (answer[0] >= '0' && answer[0] <= '9')) << answer;
      constexpr std::string_view kFill = "Fill in the blank: ";
      constexpr std::string_view kTitle = "Tale: ";
      constexpr std::string_view kBlank = "____";
      std::string filled = question;
      if (question.ends_with("?")) {
        ++clauses;
        filled.pop_back();
        if (filled.starts_with(kTitle)) filled.erase(0, kTitle.size());
        const size_t what = filled.find("what ");
        ASSERT_NE(what, filled.npos) << question;
        const bool name = answer.starts_with("Zor");
        const bool year = !name && (answer[0] == '1' || answer.starts_with("20"));
        const std::string word = name ? "what" : year ? "what year" : "what number";
        ASSERT_TRUE(filled.substr(what).starts_with(word + " ")) << question;
        filled.replace(what, word.size(), answer);
      } else {
        ASSERT_TRUE(question.starts_with(kFill)) << question;
        filled.erase(0, kFill.size());
        const size_t blank = filled.find(kBlank);
        ASSERT_NE(blank, filled.npos);
        filled.replace(blank, kBlank.size(), answer);
      }
      EXPECT_THAT(text, HasSubstr(filled));
    }
  }
  const auto passages = static_cast<double>(pack->num_passages());
  // A story's last passage may have fewer than three sentences.
  EXPECT_GT(counts[2], 0.7 * passages);
  EXPECT_NEAR(counts[3], 0.5 * passages, 0.12 * passages);
  EXPECT_GT(counts[4], 0.8 * passages);
  EXPECT_GT(counts[5], 0.5 * passages);
  EXPECT_NEAR(clauses, 0.5 * static_cast<double>(counts[4]), 0.15 * static_cast<double>(counts[4]));
  EXPECT_EQ(counts, report_.questions_by_kind);
}

TEST_F(PackTest, ThreadsChangeNothingAndSeedsDo) {
  std::vector<Json> rows;
  for (uint32_t i = 0; i < 80; ++i) rows.push_back({{"text", Story(300 + i % 70, 12)}});
  std::vector<Json> pairs;
  for (uint32_t i = 0; i < 40; ++i) {
    pairs.push_back(
        {{"query", "Question " + std::to_string(i)}, {"positive", Story(350 + i % 30, 12)}});
  }
  PackOptions options = Options({File("a.jsonl", rows)}, {File("p.jsonl", pairs)});
  options.limit_tokens = {{"a", 8000}};
  std::set<std::string> results;
  for (const int threads : {1, 2, 7}) {
    options.num_threads = threads;
    ASSERT_NE(Build(options), nullptr);
    results.insert(*ReadFile(options.out));
  }
  EXPECT_EQ(results.size(), 1u);
  EXPECT_GE(report_.sources[0].tokens, 8000);
  EXPECT_LE(report_.sources[0].tokens, 9000);
  options.seed = 1;
  ASSERT_NE(Build(options), nullptr);
  EXPECT_FALSE(results.contains(*ReadFile(options.out)));
}

TEST_F(PackTest, WrongInputIsNamed) {
  PackOptions options = Options({File("a.jsonl", {{{"text", "Good."}}, {{"txt", "bad"}}})});
  const Status status = BuildPack(Tokens(), options).status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("a.jsonl, line 2: no string \"text\""));
  EXPECT_FALSE(PosixFileSystem().Exists(options.out));
  options.corpora = {folder_.path() + "/absent.jsonl"};
  EXPECT_EQ(BuildPack(Tokens(), options).status().code(), StatusCode::kNotFound);
  const std::string frame("\x28\xb5\x2f\xfd\x04\x00", 6);
  options.corpora = {folder_.Write("cut.jsonl.zst", frame)};
  EXPECT_EQ(BuildPack(Tokens(), options).status().code(), StatusCode::kDataLoss);
  options.corpora = {File("b.jsonl", {{{"text", "Good."}}})};
  options.limit_tokens = {{"c", 1}};
  EXPECT_EQ(BuildPack(Tokens(), options).status().code(), StatusCode::kInvalidArgument);
}

// --- the reader against damage ---

class CorruptPackTest : public PackTest {
 protected:
  // Writes a small pack, changes entry `index` of `tensor` to `value`, and opens it.
  template <class T>
  Status OpenWith(const std::string& tensor, size_t index, T value) {
    const std::string path = folder_.path() + "/small.pack";
    PackWriter writer(100, "fingerprint", 16);
    writer.AddPassage({{1, 2, 3}, {1, 0, 0}, false, 0});
    writer.AddPassage({{4, 5}, {1, 0}, true, 0});
    writer.AddQuestion({.question = {7}, .answer = {8}, .positives = {1}, .negatives = {0}});
    writer.AddQuestion(
        {.kind = QuestionKind::kCut, .question = {9, 9}, .span = {0, 2}, .positives = {0}});
    const PackSource source{.name = "s", .kind = "pairs"};
    MSA_CHECK(writer.Write(path, {&source, 1}, "{}").ok());
    std::string bytes = *ReadFile(path);
    const auto file = *SafetensorsFile::Open(path);
    const SafeTensor* found = file->Find(tensor);
    MSA_CHECK(found != nullptr && found->bytes.size() >= (index + 1) * sizeof(T));
    const auto data =
        static_cast<size_t>(found->bytes.data() - file->tensors().front().bytes.data());
    uint64_t header = 0;
    std::memcpy(&header, bytes.data(), sizeof(header));
    std::memcpy(bytes.data() + 8 + header + data + index * sizeof(T), &value, sizeof(T));
    const auto pack = Pack::Open(folder_.Write("damaged.pack", bytes));
    return pack.status();
  }

  template <class T>
  void ExpectLoss(const std::string& tensor, size_t index, T value) {
    const Status status = OpenWith(tensor, index, value);
    EXPECT_EQ(status.code(), StatusCode::kDataLoss) << tensor << "[" << index << "]";
    EXPECT_THAT(status.message(), HasSubstr(tensor));
  }
};

TEST_F(CorruptPackTest, EveryTensorIsChecked) {
  EXPECT_TRUE(OpenWith<uint16_t>("tokens", 0, 99).ok());
  ExpectLoss<uint16_t>("tokens", 4, 100);
  ExpectLoss<uint16_t>("question_tokens", 0, 100);
  ExpectLoss<uint16_t>("answer_tokens", 0, 60000);
  ExpectLoss<uint8_t>("sentence_start", 1, 2);
  ExpectLoss<int64_t>("passage_begin", 0, 1);
  ExpectLoss<int64_t>("passage_begin", 1, 0);
  ExpectLoss<int64_t>("passage_begin", 1, -1);
  ExpectLoss<int64_t>("passage_begin", 1, INT64_MAX);
  ExpectLoss<int64_t>("passage_begin", 2, 6);
  ExpectLoss<int32_t>("passage_document", 0, 1);
  ExpectLoss<int32_t>("passage_document", 1, 2);
  ExpectLoss<int32_t>("passage_source", 1, 1);
  ExpectLoss<int64_t>("question_begin", 1, 0);
  ExpectLoss<int64_t>("answer_begin", 1, 2);
  ExpectLoss<int32_t>("question_source", 0, -1);
  ExpectLoss<uint8_t>("question_kind", 0, kNumQuestionKinds);
  ExpectLoss<int32_t>("question_span", 0, 1);
  ExpectLoss<int32_t>("question_span", 3, 4);
  ExpectLoss<int32_t>("question_span", 2, 2);
  ExpectLoss<int64_t>("positive_begin", 1, 0);
  ExpectLoss<int32_t>("positive", 0, 2);
  ExpectLoss<int64_t>("negative_begin", 1, 2);
  ExpectLoss<int32_t>("negative", 0, -1);
}

TEST_F(CorruptPackTest, OtherFilesAreRefused) {
  EXPECT_EQ(Pack::Open(folder_.path() + "/absent").status().code(), StatusCode::kNotFound);
  EXPECT_EQ(Pack::Open(folder_.Write("x", "no pack at all")).status().code(),
            StatusCode::kDataLoss);
  const auto open = [&](const std::map<std::string, std::string, std::less<>>& metadata) {
    return Pack::Open(folder_.Write("y", SafetensorsHeader({}, metadata))).status().code();
  };
  EXPECT_EQ(open({{"format", "msa-adapter"}}), StatusCode::kDataLoss);
  EXPECT_EQ(open({{"format", "msa-pack"}, {"format_version", "2"}}), StatusCode::kUnimplemented);
  EXPECT_EQ(open({{"format", "msa-pack"}, {"format_version", "1"}, {"config", "{}"}}),
            StatusCode::kDataLoss);
}

TEST_F(PackTest, WideVocabulariesTakeFourBytes) {
  const std::string path = folder_.path() + "/wide.pack";
  PackWriter writer(70000, "fingerprint", 16);
  writer.AddPassage({{1, 69999}, {1, 0}, false, 0});
  const PackSource source{.name = "s", .kind = "corpus"};
  ASSERT_TRUE(writer.Write(path, {&source, 1}, "{}").ok());
  const auto pack = Pack::Open(path);
  ASSERT_TRUE(pack.ok()) << pack.status();
  EXPECT_THAT((*pack)->Passage(0).ToVector(), ElementsAre(1, 69999));
  EXPECT_EQ((*pack)->num_questions(), 0);
}

}  // namespace
}  // namespace msa
