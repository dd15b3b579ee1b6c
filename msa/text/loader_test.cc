#include "msa/text/loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <random>

#include "msa/base/hash.h"
#include "msa/base/utf8.h"
#include "msa/text/test_support.h"

namespace msa {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::MakePdf;
using ::testing::Pair;
using ::testing::StartsWith;
using testing::TempFolder;
using ::testing::UnorderedElementsAre;

struct Loaded {
  std::vector<Document> documents;
  std::map<std::string, std::string> failures;  // message by path

  std::vector<std::string> Texts() const {
    std::vector<std::string> texts;
    for (const Document& document : documents) texts.push_back(document.text);
    return texts;
  }
};

Loaded Load(const std::vector<std::string>& paths, const LoadOptions& options = {}) {
  Loaded loaded;
  LoadDocuments(
      paths, options,
      [&](Document document) {
        loaded.documents.push_back(std::move(document));
        return true;
      },
      [&](const LoadFailure& failure) {
        loaded.failures.emplace(failure.path, failure.reason.message());
      });
  return loaded;
}

class LoadDocumentsTest : public ::testing::Test {
 protected:
  TempFolder folder_;
};

TEST_F(LoadDocumentsTest, FillsInWhatIsKnownOfAFile) {
  const std::string path = folder_.Write("notes.txt", "caf\xe9\r\n");
  const Loaded loaded = Load({path});
  ASSERT_EQ(loaded.documents.size(), 1u);
  const Document& document = loaded.documents[0];
  EXPECT_EQ(document.key, path);
  EXPECT_EQ(document.source_path, path);
  EXPECT_EQ(document.title, "notes");
  EXPECT_EQ(document.text, "café\n");
  EXPECT_EQ(document.source_bytes, 6);
  EXPECT_EQ(document.source_sha256, HexEncode(Sha256(AsBytes("caf\xe9\r\n"))));
  EXPECT_EQ(document.media_type, "text/plain");
  EXPECT_THAT(document.page_begin, IsEmpty());
}

TEST_F(LoadDocumentsTest, KeysDoNotDependOnHowAPathIsWritten) {
  const std::string path = folder_.Write("a/notes.txt", "text");
  EXPECT_EQ(Load({folder_.path() + "/a/../a//notes.txt"}).documents.at(0).key, path);
}

TEST_F(LoadDocumentsTest, TitlesComeFromTheContentElseTheName) {
  folder_.Write("a.md", "intro\n\n# On Memory\n");
  folder_.Write("b.md", "no heading");
  folder_.Write("c.html", "<title>Page</title><p>x");
  folder_.Write("d.htm", "<p>x");
  std::vector<std::string> titles;
  for (const Document& document : Load({folder_.path()}).documents)
    titles.push_back(document.title);
  EXPECT_THAT(titles, ElementsAre("On Memory", "b", "Page", "d"));
}

TEST_F(LoadDocumentsTest, ContentWinsOverTheExtension) {
  folder_.Write("a.txt", "\n<!DOCTYPE HTML><title>T</title><p>page");
  folder_.Write("b.pdf", "<html><p>Please log in");
  folder_.Write("c.md", "<?xml version=\"1.0\"?>\n<!DOCTYPE html>\n<html><p>x</html>");
  folder_.Write("d.txt", "about <html> pages");
  std::vector<std::string> types;
  for (const Document& document : Load({folder_.path()}).documents) {
    types.push_back(document.media_type);
  }
  EXPECT_THAT(types, ElementsAre("text/html", "text/html", "text/html", "text/plain"));
}

TEST_F(LoadDocumentsTest, PdfUnderAnyNameHasPagesAndItsTitle) {
  const std::string path = folder_.Write("paper.txt", MakePdf({"One.", "Two."}, "On Memory"));
  const Loaded loaded = Load({path});
  if (loaded.failures.contains(path) &&
      loaded.failures.at(path).find("not installed") != std::string::npos) {
    GTEST_SKIP() << "pdftotext is not installed";
  }
  ASSERT_EQ(loaded.documents.size(), 1u);
  EXPECT_EQ(loaded.documents[0].media_type, "application/pdf");
  EXPECT_EQ(loaded.documents[0].title, "On Memory");
  EXPECT_EQ(loaded.documents[0].page_begin.size(), 2u);
}

TEST_F(LoadDocumentsTest, RowsOfJsonLinesAreDocuments) {
  const std::string path =
      folder_.Write("rows.jsonl",
                    "{\"id\":\"r1\",\"title\":\"T\",\"text\":\"a\",\"x\":\"y\"}\n"
                    "oops\n"
                    "{\"text\":\"b\"}\n");
  const Loaded loaded = Load({path});
  ASSERT_EQ(loaded.documents.size(), 2u);
  EXPECT_EQ(loaded.documents[0].key, "r1");
  EXPECT_EQ(loaded.documents[0].title, "T");
  EXPECT_THAT(loaded.documents[0].labels, ElementsAre(Pair("x", "y")));
  EXPECT_EQ(loaded.documents[0].source_path, path);
  EXPECT_EQ(loaded.documents[1].key, path + "#3");
  EXPECT_EQ(loaded.documents[1].title, "rows");
  EXPECT_EQ(loaded.documents[1].source_sha256, HexEncode(Sha256(AsBytes("{\"text\":\"b\"}"))));
  EXPECT_THAT(loaded.failures, ElementsAre(Pair(path + ":2", StartsWith("not JSON"))));
}

TEST_F(LoadDocumentsTest, NamesEachReasonAndGoesOn) {
  folder_.Write("a-empty.txt", "");
  folder_.Write("b-blank.txt", " \n\n");
  folder_.Write("c-image.png", std::string("\x89PNG\r\n\x1a\n\0\0", 10));
  folder_.Write("d-broken.pdf", "%PDF-1.7 and no more");
  folder_.Write("e-locked.pdf", testing::MakeEncryptedPdf());
  folder_.Write("f-bare.html", "<script>x</script>");
  folder_.Write("g-big.txt", std::string(5000, 'x'));
  folder_.Write("z-good.txt", "good");
  const std::string pipe = folder_.path() + "/h-pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  std::filesystem::create_symlink("nowhere", folder_.path() + "/i-link");
  LoadOptions options;
  options.max_file_bytes = 4999;
  Loaded loaded = Load({folder_.path(), "/no/such/file"}, options);
  EXPECT_THAT(loaded.Texts(), ElementsAre("good"));
  // Encrypted and broken have their own test, with pdftotext.
  loaded.failures.erase(folder_.path() + "/d-broken.pdf");
  loaded.failures.erase(folder_.path() + "/e-locked.pdf");
  const std::string base = folder_.path() + "/";
  EXPECT_THAT(loaded.failures,
              UnorderedElementsAre(Pair(base + "a-empty.txt", "empty: no bytes"),
                                   Pair(base + "b-blank.txt", "empty: no text"),
                                   Pair(base + "c-image.png", HasSubstr("PNG image")),
                                   Pair(base + "f-bare.html", "empty: no text"),
                                   Pair(base + "g-big.txt", HasSubstr("limit of 4999 bytes")),
                                   Pair(base + "h-pipe", "not a regular file"),
                                   Pair(base + "i-link", HasSubstr("No such file")),
                                   Pair("/no/such/file", HasSubstr("No such file"))));
}

TEST_F(LoadDocumentsTest, WalksByNameAndSkipsHiddenFilesInFolders) {
  folder_.Write("b.txt", "b");
  folder_.Write("a/z.txt", "az");
  folder_.Write("c/.git/x.txt", "hidden");
  const std::string hidden = folder_.Write(".hidden.txt", "dot");
  EXPECT_THAT(Load({folder_.path()}).Texts(), ElementsAre("az", "b"));
  EXPECT_THAT(Load({hidden, folder_.path() + "/c/.git"}).Texts(), ElementsAre("dot", "hidden"));
}

TEST_F(LoadDocumentsTest, LinksAreFollowedOnce) {
  folder_.Write("a/x.txt", "x");
  const std::string other = folder_.Write("a/y.txt", "y");
  std::filesystem::create_symlink(folder_.path(), folder_.path() + "/a/loop");
  std::filesystem::create_symlink(folder_.path() + "/a", folder_.path() + "/again");
  std::filesystem::create_symlink(other, folder_.path() + "/b.txt");
  EXPECT_THAT(Load({folder_.path(), folder_.path() + "/a/x.txt"}).Texts(), ElementsAre("x", "y"));
}

TEST_F(LoadDocumentsTest, StopsWhenToldOrCancelled) {
  for (const char* name : {"a.txt", "b.txt", "c.txt"}) folder_.Write(name, "text");
  folder_.Write("d.jsonl", "{\"text\":\"1\"}\n{\"text\":\"2\"}\n");
  int seen = 0;
  LoadDocuments(
      {folder_.path()}, {}, [&](Document) { return ++seen < 4; }, [](const LoadFailure&) {});
  EXPECT_EQ(seen, 4);
  std::atomic<bool> cancelled = false;
  LoadOptions options;
  options.cancelled = &cancelled;
  seen = 0;
  LoadDocuments(
      {folder_.path()}, options,
      [&](Document) {
        cancelled = ++seen == 2;
        return true;
      },
      [](const LoadFailure& failure) { FAIL() << failure.path; });
  EXPECT_EQ(seen, 2);
}

TEST_F(LoadDocumentsTest, EstimateCountsWhatWouldBeOpened) {
  folder_.Write("a.txt", "12345");
  folder_.Write("b/c.md", "123");
  folder_.Write(".hidden", "12");
  const LoadEstimate estimate = EstimateLoad({folder_.path(), "-", "/no/such/file"});
  EXPECT_EQ(estimate.files, 2);
  EXPECT_EQ(estimate.bytes, 8);
}

// Standard input replaced by a file while this lives.
class StandardInputFrom {
 public:
  explicit StandardInputFrom(const std::string& path) : saved_(::dup(STDIN_FILENO)) {
    MSA_CHECK(std::freopen(path.c_str(), "r", stdin) != nullptr);
  }
  ~StandardInputFrom() {
    ::dup2(saved_, STDIN_FILENO);
    ::close(saved_);
  }

 private:
  int saved_;
};

TEST_F(LoadDocumentsTest, StandardInputIsJudgedByItsContent) {
  std::vector<std::string> seen;
  for (const std::string& content :
       {std::string("plain text"), std::string("<html><p>page"),
        std::string("{\"id\":\"r\",\"text\":\"row\"}\n{\"text\":\"row\"}\n"),
        std::string("{not json}")}) {
    const StandardInputFrom input(folder_.Write("input", content));
    for (const Document& document : Load({"-"}).documents) {
      seen.push_back(document.media_type + " " + document.key.substr(0, 6) + " " + document.text);
    }
  }
  EXPECT_THAT(seen, ElementsAre("text/plain stdin: plain text", "text/html stdin: page\n",
                                "application/x-ndjson r row", "application/x-ndjson stdin: row",
                                "text/plain stdin: {not json}"));
}

TEST_F(LoadDocumentsTest, StandardInputMayBePdf) {
  const StandardInputFrom input(folder_.Write("input", MakePdf({"Piped."}, "")));
  const Loaded loaded = Load({"-"});
  if (loaded.documents.empty() && loaded.failures.contains("-") &&
      loaded.failures.at("-").find("not installed") != std::string::npos) {
    GTEST_SKIP() << "pdftotext is not installed";
  }
  ASSERT_EQ(loaded.documents.size(), 1u);
  EXPECT_THAT(loaded.documents[0].text, StartsWith("Piped."));
  EXPECT_EQ(loaded.documents[0].title, "standard input");
}

TEST_F(LoadDocumentsTest, AnyBytesUnderAnyNameGiveUtf8OrAReason) {
  const std::vector<std::string> starts = {"",   "<html>",   "{\"text\":\"",
                                           "# ", "\xff\xfe", "\xef\xbb\xbf"};
  int expected = 0;
  for (uint32_t seed = 0; seed < 400; ++seed) {
    std::mt19937 random(seed);
    std::string bytes = starts[random() % starts.size()];
    const bool text = random() % 2 == 0;
    for (int i = 0; i < 100; ++i) bytes += static_cast<char>(text ? 32 + random() % 95 : random());
    static constexpr const char* kExtensions[] = {".txt", ".md", ".html", ".jsonl", ".c", ""};
    folder_.Write(std::to_string(seed) + kExtensions[random() % 6], bytes);
    ++expected;
  }
  const Loaded loaded = Load({folder_.path()});
  for (const Document& document : loaded.documents) {
    EXPECT_TRUE(IsValidUtf8(document.text)) << document.key;
    EXPECT_TRUE(IsValidUtf8(document.title)) << document.key;
    EXPECT_FALSE(document.title.empty()) << document.key;
  }
  EXPECT_GE(static_cast<int>(loaded.documents.size() + loaded.failures.size()), expected);
  EXPECT_FALSE(loaded.documents.empty());
  EXPECT_FALSE(loaded.failures.empty());
}

}  // namespace
}  // namespace msa
