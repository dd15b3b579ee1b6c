#include "msa/text/pdf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "msa/base/utf8.h"
#include "msa/text/process.h"
#include "msa/text/test_support.h"

namespace msa {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::MakeEncryptedPdf;
using testing::MakePdf;
using ::testing::StartsWith;
using testing::TempFolder;

class ExtractPdfTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!RunLimited({"pdftotext", "-v"}, {}).ok()) GTEST_SKIP() << "pdftotext is not installed";
  }

  Result<PdfText> Extract(std::string_view pdf) {
    return ExtractPdf(folder_.Write("file.pdf", pdf), options_);
  }

  // What ExtractPdf says where pdftotext is this shell script.
  Status StatusWithProgram(const std::string& script) {
    options_.pdftotext = folder_.WriteProgram("fake", "#!/bin/sh\n" + script + "\n");
    return Extract("%PDF-1.4\n").status();
  }

  TempFolder folder_;
  LoadOptions options_;
};

TEST_F(ExtractPdfTest, GivesTextPagesAndTitle) {
  const auto pdf = Extract(MakePdf({"First page.", "", "Third page."}, "On Memory"));
  ASSERT_TRUE(pdf.ok()) << pdf.status();
  EXPECT_EQ(pdf->title, "On Memory");
  ASSERT_EQ(pdf->page_begin.size(), 3u);
  EXPECT_EQ(pdf->page_begin[0], 0);
  EXPECT_EQ(pdf->text.substr(0, 11), "First page.");
  EXPECT_EQ(pdf->text.substr(static_cast<size_t>(pdf->page_begin[2]), 11), "Third page.");
}

TEST_F(ExtractPdfTest, WithoutPdfinfoThereIsNoTitle) {
  options_.pdfinfo = "/no/such/program";
  const auto pdf = Extract(MakePdf({"Text."}, "Title"));
  ASSERT_TRUE(pdf.ok()) << pdf.status();
  EXPECT_EQ(pdf->title, "");
}

TEST_F(ExtractPdfTest, NamesEachReason) {
  EXPECT_THAT(Extract(MakeEncryptedPdf()).status().message(), StartsWith("encrypted: "));
  EXPECT_THAT(Extract("%PDF-1.4\nnothing else").status().message(), StartsWith("broken: "));
  EXPECT_THAT(Extract("no PDF at all").status().message(), StartsWith("broken: "));
  EXPECT_THAT(Extract(MakePdf({"", ""}, "Scan")).status().message(),
              StartsWith("empty: no text on its 2 page(s)"));
  options_.pdftotext = "/no/such/pdftotext";
  const Status missing = Extract(MakePdf({"Text."}, "")).status();
  EXPECT_EQ(missing.code(), StatusCode::kNotFound);
  EXPECT_THAT(missing.message(), HasSubstr("apt install poppler-utils"));
}

TEST_F(ExtractPdfTest, StopsAConverterThatHangs) {
  options_.pdf_seconds = 1;
  const Status status = StatusWithProgram("sleep 60");
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(status.message(), HasSubstr("longer than 1 s"));
}

TEST_F(ExtractPdfTest, StopsAConverterThatEatsMemory) {
  options_.pdf_memory_bytes = 256 << 20;
  EXPECT_FALSE(StatusWithProgram("x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done").ok());
}

TEST_F(ExtractPdfTest, StopsAConverterThatWritesWithoutEnd) {
  options_.pdf_text_bytes = 1 << 20;
  EXPECT_THAT(
      StatusWithProgram("while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy; done").message(),
      HasSubstr("more than 1048576 bytes"));
}

TEST_F(ExtractPdfTest, ReportsAConverterThatCrashes) {
  EXPECT_EQ(StatusWithProgram("kill -SEGV $$").code(), StatusCode::kResourceExhausted);
}

TEST_F(ExtractPdfTest, DamagedFilesGiveTextOrAReason) {
  const std::string good = MakePdf({"First page.", "Second page."}, "On Memory");
  for (uint32_t seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    std::string bad = good;
    for (int i = 0; i < 10; ++i) bad[random() % bad.size()] = static_cast<char>(random());
    const auto pdf = Extract(bad);
    if (pdf.ok()) {
      EXPECT_TRUE(IsValidUtf8(pdf->text));
    } else {
      EXPECT_FALSE(pdf.status().message().empty());
    }
  }
}

TEST(SplitPdfPages, PagesBeginAfterFormFeeds) {
  const PdfText pdf = SplitPdfPages("a\n\f\fc\n\f");
  EXPECT_EQ(pdf.text, "a\n\n\nc\n");
  EXPECT_THAT(pdf.page_begin, ElementsAre(0, 3, 4));
  EXPECT_THAT(SplitPdfPages("").page_begin, ElementsAre());
  EXPECT_EQ(SplitPdfPages("a\x01\x02 b\tc").text, "a b\tc");
}

TEST(SensiblePdfTitle, DropsNamesOfSourceFiles) {
  EXPECT_EQ(SensiblePdfTitle("  On\nMemory "), "On Memory");
  EXPECT_EQ(SensiblePdfTitle("記憶について"), "記憶について");
  EXPECT_EQ(SensiblePdfTitle("Microsoft Word - Report 2024"), "Report 2024");
  for (const char* useless : {"", "thesis.dvi", "Microsoft Word - draft2.doc", "Untitled",
                              "untitled document", "12345", "A", "main.TEX"}) {
    EXPECT_EQ(SensiblePdfTitle(useless), "") << useless;
  }
}

}  // namespace
}  // namespace msa
