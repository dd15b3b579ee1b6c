// A folder of every kind of file, from bytes on disk to the passages a bank would keep.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "msa/text/loader.h"
#include "msa/text/passages.h"
#include "msa/text/process.h"
#include "msa/text/test_support.h"

namespace msa {
namespace {

using ::testing::StartsWith;

struct Expected {
  std::string media_type;
  std::string title;
  std::string phrase;  // found in the passages
  int32_t page;        // of the passage with the phrase
};

class LoadFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    tokenizer_ = testing::DefaultModelTokenizer();
    if (tokenizer_ == nullptr) GTEST_SKIP() << "the default model is not installed in .venv";
    if (!RunLimited({"pdftotext", "-v"}, {}).ok()) GTEST_SKIP() << "pdftotext is not installed";
    WriteGoodFiles();
    WriteBadFiles();
  }

  void Expect(const std::string& key, Expected expected) { expected_[key] = std::move(expected); }

  void WriteGoodFiles() {
    Expect(folder_.Write("a.txt",
                         "The \xfc"
                         "bung begins at noon."),
           {"text/plain", "a", "The übung begins", 0});
    std::string utf16 = "\xff\xfe";
    for (const char c : std::string("Wide characters travel.")) utf16 += {c, '\0'};
    Expect(folder_.Write("b.log", utf16), {"text/plain", "b", "Wide characters", 0});
    Expect(folder_.Write("c.md", "# Harbour rules\n\n- Boats stop at *ten*.\n"),
           {"text/markdown", "Harbour rules", "Boats stop", 0});
    Expect(folder_.Write("d/e.html",
                         "<title>Tides</title><table><tr><th>Day<th>Height"
                         "<tr><td>Monday<td>3 m</table><script>x</script>"),
           {"text/html", "Tides", "Monday | 3 m", 0});
    // Too much for one passage, so that the second begins with the second page.
    std::string lines;
    for (int i = 0; i < 14; ++i) lines += "Ships wait outside the harbour for the tide.\n";
    Expect(folder_.Write("d/f.pdf",
                         testing::MakePdf({lines, "Pilots come aboard.\n" + lines}, "Pilots")),
           {"application/pdf", "Pilots", "Pilots come aboard", 2});
    folder_.Write("d/g.jsonl",
                  "{\"id\":\"row-1\",\"title\":\"Cranes\",\"text\":\"Cranes lift.\"}\n{]\n"
                  "{\"text\":\"Winches pull.\"}\n");
    Expect("row-1", {"application/x-ndjson", "Cranes", "Cranes lift", 0});
    Expect(folder_.path() + "/d/g.jsonl#3", {"application/x-ndjson", "g", "Winches pull", 0});
    Expect(folder_.Write("h.py", "def dock(ship):\n    return ship.moor()\n"),
           {"text/plain", "h", "ship.moor()", 0});
  }

  void WriteBadFiles() {
    failures_ = {{folder_.path() + "/d/g.jsonl:2", "not JSON"},
                 {folder_.Write("bad/empty.txt", ""), "empty: "},
                 {folder_.Write("bad/broken.pdf", "%PDF-1.5\n"), "broken: "},
                 {folder_.Write("bad/locked.pdf", testing::MakeEncryptedPdf()), "encrypted: "},
                 {folder_.Write("bad/scan.pdf", testing::MakePdf({""}, "")), "empty: "},
                 {folder_.Write("bad/photo.jpg", "\xff\xd8\xff\xe0"), "not text: a JPEG image"}};
  }

  testing::TempFolder folder_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::map<std::string, Expected> expected_;     // by key
  std::map<std::string, std::string> failures_;  // how the reason begins, by path
};

TEST_F(LoadFolder, EveryKindBecomesPassagesOrAReason) {
  const PassageOptions options;
  LoadDocuments(
      {folder_.path()}, {},
      [&](Document document) {
        SCOPED_TRACE(document.key);
        const auto expected = expected_.extract(document.key);
        EXPECT_TRUE(expected) << "unexpected, or loaded twice";
        if (!expected) return true;
        EXPECT_EQ(document.media_type, expected.mapped().media_type);
        EXPECT_EQ(document.title, expected.mapped().title);
        bool found = false;
        for (const Passage& passage : SplitPassages(document, *tokenizer_, options)) {
          EXPECT_LE(static_cast<int64_t>(passage.tokens.size()), options.max_tokens);
          const std::string decoded = tokenizer_->Decode(passage.tokens);
          EXPECT_THAT(decoded, StartsWith(document.title + "\n"));
          if (decoded.find(expected.mapped().phrase) == std::string::npos) continue;
          found = true;
          EXPECT_EQ(passage.page, expected.mapped().page);
        }
        EXPECT_TRUE(found) << expected.mapped().phrase;
        return true;
      },
      [&](const LoadFailure& failure) {
        const auto expected = failures_.extract(failure.path);
        ASSERT_TRUE(expected) << failure.path << ": " << failure.reason;
        EXPECT_THAT(failure.reason.message(), StartsWith(expected.mapped())) << failure.path;
      });
  EXPECT_TRUE(expected_.empty()) << expected_.begin()->first << " was not loaded";
  EXPECT_TRUE(failures_.empty()) << failures_.begin()->first << " did not fail";
}

}  // namespace
}  // namespace msa
