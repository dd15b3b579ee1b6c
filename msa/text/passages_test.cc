#include "msa/text/passages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "msa/text/boundaries.h"
#include "msa/text/test_support.h"
#include "msa/text/whitespace.h"

namespace msa {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::RandomText;
using testing::WordTokenizer;

Document TextDocument(std::string text, std::string title = "Title") {
  Document document;
  document.title = std::move(title);
  document.text = std::move(text);
  return document;
}

std::string TextOf(const Document& document, const Passage& passage) {
  return document.text.substr(static_cast<size_t>(passage.begin),
                              static_cast<size_t>(passage.end - passage.begin));
}

std::vector<std::string> Texts(const Document& document, int64_t max_tokens) {
  std::vector<std::string> texts;
  PassageOptions options;
  options.max_tokens = max_tokens;
  for (const Passage& passage : SplitPassages(document, WordTokenizer(), options)) {
    texts.push_back(TextOf(document, passage));
  }
  return texts;
}

std::string Words(const std::string& word, int count) {
  std::string words;
  for (int i = 0; i < count; ++i) words += (i == 0 ? "" : " ") + word;
  return words;
}

// All that the header promises of any document.
void CheckPassages(const Document& document, const Tokenizer& tokenizer,
                   const PassageOptions& options, bool valid_utf8) {
  const std::string_view text = document.text;
  const auto passages = SplitPassages(document, tokenizer, options);
  size_t end = 0;
  for (const Passage& passage : passages) {
    const auto begin = static_cast<size_t>(passage.begin);
    ASSERT_EQ(SkipSpace(text, end), begin) << "more than white space lies between";
    end = static_cast<size_t>(passage.end);
    ASSERT_GT(end, begin);
    ASSERT_LE(end, text.size());
    ASSERT_EQ(TrimEnd(text, begin, end), end);
    if (valid_utf8) {
      ASSERT_EQ(AlignToCharacter(text, begin), begin);
      ASSERT_EQ(AlignToCharacter(text, end), end);
    }
    ASSERT_LE(static_cast<int64_t>(passage.tokens.size()), options.max_tokens);
    ASSERT_GT(passage.tokens.size(), 0u);
    const auto alone = tokenizer.Encode(TextOf(document, passage));
    ASSERT_GE(passage.tokens.size(), alone.size());
    ASSERT_TRUE(std::equal(alone.rbegin(), alone.rend(), passage.tokens.rbegin()));
  }
  ASSERT_EQ(SkipSpace(text, end), text.size());
}

TEST(SplitPassages, AShortDocumentIsOnePassageWithItsTitle) {
  const Document document = TextDocument("\n  Some text.\n\nMore of it. \n", "A title");
  const auto passages = SplitPassages(document, WordTokenizer(), {});
  ASSERT_EQ(passages.size(), 1u);
  EXPECT_EQ(TextOf(document, passages[0]), "Some text.\n\nMore of it.");
  EXPECT_EQ(passages[0].tokens,
            WordTokenizer().Encode("A title\nSome text.\n\nMore of it.", EncodeOptions()));
  EXPECT_EQ(passages[0].page, 0);
}

TEST(SplitPassages, WithoutTextThereIsNoPassage) {
  EXPECT_THAT(Texts(TextDocument(""), 64), IsEmpty());
  EXPECT_THAT(Texts(TextDocument(" \n\u3000\n"), 64), IsEmpty());
}

TEST(SplitPassages, PrefersParagraphsThenLinesThenSentencesThenWords) {
  // 32 tokens, 2 of them the title: 30 words fit, and the second half begins after 15.
  const std::string words = Words("one", 20);
  // Each kind of boundary comes before a lesser one that would give a longer passage.
  EXPECT_THAT(Texts(TextDocument(words + ".\n\n" + Words("Two", 3) + ".\n" + Words("Six", 20)), 32),
              ElementsAre(words + ".", Words("Two", 3) + ".\n" + Words("Six", 20)));
  EXPECT_THAT(Texts(TextDocument(words + "\n# Two\n" + Words("six", 20)), 32),
              ElementsAre(words, "# Two\n" + Words("six", 20)));
  EXPECT_THAT(Texts(TextDocument(words + ".\n" + Words("Two", 3) + ". " + Words("Six", 20)), 32),
              ElementsAre(words + ".", Words("Two", 3) + ". " + Words("Six", 20)));
  EXPECT_THAT(Texts(TextDocument(words + ". " + Words("Two", 25)), 32),
              ElementsAre(words + ".", Words("Two", 25)));
  const std::string lines = Words("one", 15) + "\n" + Words("one", 4);
  EXPECT_THAT(Texts(TextDocument(lines + "\n" + Words("three", 15)), 32),
              ElementsAre(lines, Words("three", 15)));
  EXPECT_THAT(Texts(TextDocument(Words("one", 40)), 32),
              ElementsAre(Words("one", 30), Words("one", 10)));
}

TEST(SplitPassages, DoesNotCutInTheFirstHalf) {
  EXPECT_THAT(Texts(TextDocument("One.\n\n" + Words("two", 40)), 32),
              ElementsAre("One.\n\n" + Words("two", 26), Words("two", 14)));
}

TEST(SplitPassages, AHeadingGoesWithWhatItHeads) {
  const std::string text =
      Words("one", 18) + ".\n\n# Heading here\n\n" + Words("two", 5) + ". " + Words("two", 20);
  EXPECT_THAT(
      Texts(TextDocument(text), 32),
      ElementsAre(Words("one", 18) + ".",
                  "# Heading here\n\n" + Words("two", 5) + ". " + Words("two", 18), "two two"));
}

TEST(SplitPassages, AWordOfAnyLengthIsCutAtCharacters) {
  const Document document = TextDocument(std::string(1000, 'x'));
  const auto passages = SplitPassages(document, WordTokenizer(), {});
  EXPECT_EQ(passages.size(), 1u);  // 167 tokens
  std::string faces;
  for (int i = 0; i < 1000; ++i) faces += "🙂";
  CheckPassages(TextDocument(faces), WordTokenizer(), {}, true);
}

TEST(SplitPassages, ALongTitleIsCut) {
  const Document document = TextDocument(Words("text", 100), Words("title", 100));
  PassageOptions options;
  options.max_tokens = 64;
  const auto passages = SplitPassages(document, WordTokenizer(), options);
  const auto title = WordTokenizer().Encode(Words("title", 16) + "\n", EncodeOptions());
  ASSERT_GT(passages[0].tokens.size(), title.size());
  EXPECT_TRUE(std::equal(title.begin(), title.end(), passages[0].tokens.begin()));
  options.max_title_tokens = 0;
  EXPECT_EQ(SplitPassages(document, WordTokenizer(), options)[0].tokens.size(), 64u);
}

TEST(SplitPassages, PagesAreThoseOfTheBeginning) {
  Document document = TextDocument(Words("one", 30) + "\n" + Words("two", 30) + "\n");
  document.page_begin = {0, 120, 120, 121};
  PassageOptions options;
  options.max_tokens = 32;
  const auto passages = SplitPassages(document, WordTokenizer(), options);
  ASSERT_EQ(passages.size(), 2u);
  EXPECT_EQ(passages[0].page, 1);
  EXPECT_EQ(passages[1].begin, 120);
  EXPECT_EQ(passages[1].page, 3);  // page 2 is empty
}

TEST(SplitPassages, KeepsItsPromisesOnRandomText) {
  for (uint32_t seed = 0; seed < 600; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const bool broken = seed % 3 == 0;
    const Document document = TextDocument(RandomText(&random, random() % 400, broken),
                                           RandomText(&random, random() % 10, false));
    PassageOptions options;
    options.max_tokens = 16 + static_cast<int64_t>(random() % 80);
    CheckPassages(document, WordTokenizer(), options, !broken);
    if (HasFatalFailure()) return;
  }
}

TEST(SplitPassages, KeepsItsPromisesWhereSlicesMeet) {
  // Longer than the slices that text is measured in, with gaps and words longer than one.
  std::mt19937 random(7);
  std::string text = RandomText(&random, 20000, false) + std::string(100000, '\n') + "word " +
                     std::string(100000, 'x') + " " + RandomText(&random, 20000, false) +
                     std::string(70000, ' ');
  CheckPassages(TextDocument(std::move(text)), WordTokenizer(), {}, true);
}

class WithDefaultModel : public ::testing::Test {
 protected:
  void SetUp() override {
    tokenizer_ = testing::DefaultModelTokenizer();
    if (tokenizer_ == nullptr) GTEST_SKIP() << "the default model is not installed in .venv";
  }
  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_F(WithDefaultModel, TokensAreThoseOfTitleAndText) {
  std::string text;
  for (int i = 0; i < 300; ++i) {
    text += "Sentence number " + std::to_string(i) + " of the text, which isn't long. ";
    if (i % 7 == 0) text += "\n\n";
    if (i % 11 == 0) text += "記憶は大切です。";
  }
  for (const char* title : {"Notes", "What is it?", "Ends with spaces and a stop. "}) {
    const Document document = TextDocument(text, title);
    const auto passages = SplitPassages(document, *tokenizer_, {});
    EXPECT_GT(passages.size(), 10u);
    const std::string line(Trim(title));
    for (const Passage& passage : passages) {
      EXPECT_EQ(passage.tokens, tokenizer_->Encode(line + "\n" + TextOf(document, passage)));
    }
    CheckPassages(document, *tokenizer_, {}, true);
  }
}

TEST_F(WithDefaultModel, KeepsItsPromisesOnRandomText) {
  for (uint32_t seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const bool broken = seed % 3 == 0;
    const Document document = TextDocument(RandomText(&random, random() % 600, broken),
                                           RandomText(&random, random() % 30, false));
    PassageOptions options;
    options.max_tokens = 16 + static_cast<int64_t>(random() % 300);
    CheckPassages(document, *tokenizer_, options, !broken);
    if (HasFatalFailure()) return;
  }
}

TEST_F(WithDefaultModel, PassagesOfProseAreLong) {
  std::string text;
  for (int i = 0; i < 2000; ++i) {
    text += "The harbour lay quiet under a grey sky, and nobody came. ";
    if (i % 6 == 5) text += "\n\n";
  }
  const Document document = TextDocument(text);
  const auto passages = SplitPassages(document, *tokenizer_, {});
  double total = 0;
  for (const Passage& passage : passages) total += static_cast<double>(passage.tokens.size());
  EXPECT_GT(total / static_cast<double>(passages.size()), 170);
}

TEST(ChooseBoundary, NeverPassesItsLimit) {
  for (uint32_t seed = 0; seed < 500; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const std::string text = RandomText(&random, 200, false);
    const size_t begin = SkipSpace(text, 0);
    const size_t limit = std::min(text.size(), begin + 4 + random() % text.size());
    const size_t end = ChooseBoundary(text, begin, limit);
    ASSERT_GT(end, begin);
    ASSERT_LE(end, limit);
    ASSERT_EQ(AlignToCharacter(text, end), end);
    ASSERT_EQ(TrimEnd(text, begin, end), end);
  }
}

}  // namespace
}  // namespace msa
