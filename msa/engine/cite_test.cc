#include "msa/engine/cite.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace msa {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::string_view kHistory =
    "Debian was founded by Ian Murdock in August 1993. Its name joins Debra and Ian. "
    "The first stable release, 1.1, came out on 17 June 1996.";
constexpr std::string_view kTools =
    "The command apt installs packages. Run apt update before apt upgrade.";

std::vector<SourcePassage> Sources() {
  return {{"Packaging tools", kTools}, {"History of Debian", kHistory}};
}

// The best support in a passage that is about the question by its words.
std::optional<Support> Find(const SupportFinder& finder, std::string_view sentence) {
  const std::vector<Support> supports = finder.Find(sentence);
  return supports.empty() || !supports[0].is_about ? std::nullopt : std::optional(supports[0]);
}

std::string Cited(std::string_view question, std::string_view sentence) {
  const std::vector<SourcePassage> sources = Sources();
  const auto support = Find(SupportFinder(question, sources), sentence);
  if (!support) return "";
  return std::string(sources[static_cast<size_t>(support->passage)].text.substr(
      static_cast<size_t>(support->begin), static_cast<size_t>(support->end - support->begin)));
}

TEST(ContentTerms, LeavesOutFunctionWordsAndEndings) {
  EXPECT_THAT(ContentTerms("The packages were installed by installing it."),
              ElementsAre("packag", "install", "install"));
}

TEST(ContentTerms, KeepsNumbersWhole) {
  EXPECT_THAT(ContentTerms("In 1,996 it was 1.1, at 12:30."), ElementsAre("1996", "1.1", "12:30"));
}

TEST(ContentTerms, IrregularVerbsEqualTheirPlainForm) {
  EXPECT_EQ(ContentTerms("It took place, he wrote and she found it."),
            ContentTerms("take place, write, find"));
  EXPECT_NE(ContentTerms("founded"), ContentTerms("found"));
}

TEST(ContentTerms, KeepsIdentifiersWhole) {
  EXPECT_THAT(ContentTerms("`$APT_HOOK_SOCKET` and _emphasis_"),
              ElementsAre("apt_hook_socket", "emphasi"));
}

TEST(ContentTerms, PairsCharactersOfUnspacedScripts) {
  EXPECT_THAT(ContentTerms("\u6771\u4eac\u90fd"), ElementsAre("\u6771\u4eac", "\u4eac\u90fd"));
}

TEST(ContentTerms, SurvivesInvalidBytes) {
  EXPECT_THAT(ContentTerms("\xff\xfe\xf0"), testing::SizeIs(testing::Le(1)));
}

TEST(SupportFinder, FindsTheSentenceThatSaysIt) {
  EXPECT_EQ(Cited("Who founded Debian?", "Debian was founded by Ian Murdock."),
            "Debian was founded by Ian Murdock in August 1993.");
}

TEST(SupportFinder, RefusesANumberThatStandsNowhere) {
  EXPECT_EQ(Cited("When was Debian founded?", "Debian was founded in August 1994."), "");
}

TEST(SupportFinder, RefusesAnInvention) {
  EXPECT_EQ(Cited("Who founded Debian?",
                  "Debian was founded by Linus Torvalds at the University of Helsinki."),
            "");
}

TEST(SupportFinder, RefusesPassagesThatAreNotAboutTheQuestion) {
  EXPECT_EQ(Cited("What is the population of Lima in Peru?", "The command apt installs packages."),
            "");
}

TEST(SupportFinder, WhereWordsDoNotTellThePassageIsDoubtful) {
  const std::vector<SourcePassage> sources = Sources();
  const SupportFinder finder("Whose idea was the system that runs on my laptop?", sources);
  constexpr std::string_view kSentence = "Ian Murdock";
  const std::vector<Support> supports = finder.Find(kSentence);
  ASSERT_EQ(supports.size(), 1u);
  EXPECT_EQ(supports[0].passage, 1);
  EXPECT_FALSE(supports[0].is_about);
  EXPECT_TRUE(finder.Find("Linus Torvalds").empty());
  EXPECT_TRUE(Find(SupportFinder("Who founded Debian?", sources), kSentence).has_value());
}

TEST(SupportFinder, WhichPointInTimeIsAskedForNeedNotStandInTheText) {
  const std::vector<SourcePassage> sources = {{"Licence", "Version 2.0, January 2004."}};
  const SupportFinder finder("In which month and year did version 2.0 come?", sources);
  EXPECT_TRUE(Find(finder, "January 2004").has_value());
}

TEST(SupportFinder, RefusesASentenceThatOnlyRepeatsTheQuestion) {
  EXPECT_EQ(Cited("Who founded Debian?", "Who founded Debian?"), "");
}

TEST(SupportFinder, AnAnswerThatSaysTheQuestionAgainIsJudgedByWhatItAdds) {
  constexpr std::string_view kText =
      "APT talks JSON. It uses hooks. `$APT_HOOK_SOCKET` is their socket. The file descriptor is a "
      "variable that holds a number.";
  const std::vector<SourcePassage> sources = {{"", kText}};
  const SupportFinder finder(
      "Which variable holds the file descriptor of the socket that APT uses to talk to JSON hooks?",
      sources);
  const auto cited = [&](std::string_view variable) {
    return Find(finder, "The variable " + std::string(variable) +
                            " holds the file descriptor of the socket that APT uses to talk to "
                            "JSON hooks.")
        .has_value();
  };
  EXPECT_TRUE(cited("`$APT_HOOK_SOCKET`"));
  EXPECT_FALSE(cited("`$APT_JSON_PORT`"));
}

TEST(SupportFinder, RefusesAnEmptySentence) {
  EXPECT_EQ(Cited("Who founded Debian?", "It was."), "");
}

TEST(SupportFinder, SpansLieInsideThePassage) {
  const std::vector<SourcePassage> sources = Sources();
  const SupportFinder finder("Which command installs packages?", sources);
  const auto support = Find(finder, "The command apt installs packages, after apt update.");
  ASSERT_TRUE(support.has_value());
  EXPECT_EQ(support->passage, 0);
  EXPECT_GE(support->begin, 0);
  EXPECT_LE(support->end, static_cast<int64_t>(kTools.size()));
  EXPECT_GT(support->coverage, 0.6);
}

TEST(SupportFinder, ExcerptsHoldTheQuestionAndDoNotOverlap) {
  const std::vector<SourcePassage> sources = Sources();
  const SupportFinder finder("When did the first stable release come out?", sources);
  const std::vector<Support> excerpts = finder.Excerpts(3, 1, 0);
  ASSERT_EQ(excerpts.size(), 3u);
  const auto text = [&](const Support& e) {
    return sources[static_cast<size_t>(e.passage)].text.substr(
        static_cast<size_t>(e.begin), static_cast<size_t>(e.end - e.begin));
  };
  EXPECT_THAT(std::string(text(excerpts[0])), testing::HasSubstr("17 June 1996"));
  for (size_t i = 0; i < excerpts.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      EXPECT_TRUE(excerpts[i].passage != excerpts[j].passage ||
                  excerpts[i].end <= excerpts[j].begin || excerpts[j].end <= excerpts[i].begin);
    }
  }
}

std::string BestExcerpt(std::string_view question, std::string_view text, int64_t sentences) {
  const std::vector<SourcePassage> sources = {{"Manual", text}};
  const auto excerpts = SupportFinder(question, sources).Excerpts(1, sentences, 0);
  if (excerpts.empty()) return "";
  return std::string(text.substr(static_cast<size_t>(excerpts[0].begin),
                                 static_cast<size_t>(excerpts[0].end - excerpts[0].begin)));
}

TEST(SupportFinder, ExcerptsLeaveOutTablesOfContents) {
  EXPECT_EQ(BestExcerpt("Who is the author?",
                        "2.9. AUTHOR . . . . . . . . . . . . . . 7\n\nThe work is Jane Doe's.", 1),
            "The work is Jane Doe's.");
  EXPECT_EQ(BestExcerpt("Who is the author?", "AUTHOR . . . . . . . . . . . . . . 7", 1), "");
}

TEST(SupportFinder, ExcerptsPreferTheKindOfWordsAskedFor) {
  constexpr std::string_view kText =
      "The release was announced early. The release was announced on the 5th. "
      "The release was announced by Jane Doe.";
  EXPECT_THAT(BestExcerpt("When was the release announced?", kText, 1), testing::HasSubstr("5th"));
  EXPECT_THAT(BestExcerpt("Who announced the release?", kText, 1), testing::HasSubstr("Jane Doe"));
}

TEST(SupportFinder, ExcerptsPreferOneSentenceToScatteredWords) {
  constexpr std::string_view kText =
      "A meeting is held each year. It took place in Rome, not the first time. "
      "Many came from afar by train. Tables were set. The first meeting took place in Oslo. "
      "It lasted long.";
  EXPECT_THAT(BestExcerpt("Where did the first meeting take place?", kText, 2),
              testing::HasSubstr("Oslo"));
}

TEST(SupportFinder, ASentenceThatHoldsTheWholeQuestionIsReadAlone) {
  constexpr std::string_view kText =
      "The access code of Belkor is 11683. The access code of Fekai is 98729. Some text follows.";
  EXPECT_EQ(BestExcerpt("What is the access code of Fekai?", kText, 3),
            "The access code of Fekai is 98729.");
  EXPECT_THAT(BestExcerpt("What is the access code of the tall Fekai?", kText, 3),
              testing::HasSubstr("Some text follows."));
}

TEST(SupportFinder, ANameWithANumberHoldsTheName) {
  EXPECT_EQ(
      BestExcerpt("Where was the first DebConf?",
                  "The first conference was in Rome. The first, Debconf0, was in Bordeaux.", 1),
      "The first, Debconf0, was in Bordeaux.");
  // But not the other way round: BZIP is no word of this question.
  const std::vector<SourcePassage> sources = {{"Manual", "bzip2 reads the variable BZIP."}};
  EXPECT_TRUE(Find(SupportFinder("Which variable does bzip2 read?", sources),
                   "bzip2 reads the variable BZIP.")
                  .has_value());
}

TEST(SupportFinder, TheRankOfAPassageCountsAsFarAsWordsLeaveTheQuestionOpen) {
  const std::vector<SourcePassage> sources = {
      {"", "It was begun by Ian."}, {"", "Tea."}, {"", "Debian was begun by Ian."}};
  const auto best = [&](std::string_view question, double rank_cost) {
    return SupportFinder(question, sources).Excerpts(1, 1, rank_cost)[0].passage;
  };
  constexpr std::string_view kOpen = "Which developer of the nineties began Debian?";
  EXPECT_EQ(best(kOpen, 0), 2);
  EXPECT_EQ(best(kOpen, 5), 0);
  EXPECT_EQ(best("Who began Debian?", 5), 2);
}

TEST(SupportFinder, ExcerptsStopAtThePassagesEnd) {
  const std::vector<SourcePassage> sources = Sources();
  const auto excerpts = SupportFinder("Which person founded Debian?", sources).Excerpts(1, 100, 0);
  ASSERT_EQ(excerpts.size(), 1u);
  EXPECT_EQ(excerpts[0].end, static_cast<int64_t>(kHistory.size()));
}

TEST(SupportFinder, NoSourcesSupportNothing) {
  EXPECT_TRUE(SupportFinder("Who?", {}).Find("Debian was founded by Ian Murdock.").empty());
}

}  // namespace
}  // namespace msa
