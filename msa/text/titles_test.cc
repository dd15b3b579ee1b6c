#include "msa/text/titles.h"

#include <gtest/gtest.h>

#include "msa/text/lines.h"

namespace msa {
namespace {

TEST(MarkdownTitle, IsTheFirstHeading) {
  EXPECT_EQ(MarkdownTitle("text\n\n## A *b* ##\n# Later"), "A *b*");
  EXPECT_EQ(MarkdownTitle("Underlined\n=====\n"), "Underlined");
  EXPECT_EQ(MarkdownTitle("\nAlso this\n---\n"), "Also this");
  EXPECT_EQ(MarkdownTitle("```\n# no heading\n```\n# Heading"), "Heading");
  EXPECT_EQ(MarkdownTitle("- item\n---\ntext\n#tag\n"), "");
  EXPECT_EQ(MarkdownTitle(""), "");
}

TEST(MarkdownTitle, FrontMatterComesFirst) {
  EXPECT_EQ(MarkdownTitle("---\nauthor: x\ntitle: \"On Memory\"\n---\n# Heading"), "On Memory");
  EXPECT_EQ(MarkdownTitle("---\n# comment\n---\n# Heading"), "Heading");
  EXPECT_EQ(MarkdownTitle("---\n# Heading after a rule\n"), "Heading after a rule");
}

TEST(FileTitle, IsTheNameWithoutFolderAndExtension) {
  EXPECT_EQ(FileTitle("/a/b.c/report 2024.tar.gz"), "report 2024.tar");
  EXPECT_EQ(FileTitle("README"), "README");
  EXPECT_EQ(FileTitle("/a/.profile"), ".profile");
  EXPECT_EQ(FileTitle("/a/\x01"), "untitled");
}

TEST(Lines, ListMarks) {
  for (const char* line : {"- x", "* x", "+ x", "• x", "  - x", "1. x", "12) x", "(3) x", "a) x",
                           "(iv) x", "\t2. x"}) {
    const std::string_view text = line;
    EXPECT_EQ(ListMarkLength(text), text.size() - 1) << text;
  }
  for (const char* line : {"", "-", "- ", "-x", "--- x", "1.5 x", "1999. x", "A. x", "i. x", "x"}) {
    EXPECT_EQ(ListMarkLength(line), 0u) << line;
  }
}

TEST(Lines, HeadingsFencesAndRules) {
  EXPECT_TRUE(IsHeadingLine("###### x"));
  EXPECT_FALSE(IsHeadingLine("####### x"));
  EXPECT_FALSE(IsHeadingLine("#x"));
  EXPECT_TRUE(IsFenceLine("  ~~~ sh"));
  EXPECT_FALSE(IsFenceLine("    ```"));
  EXPECT_TRUE(IsStandaloneLine("| a |"));
  EXPECT_TRUE(IsStandaloneLine("====="));
  EXPECT_FALSE(IsStandaloneLine("--x--"));
}

}  // namespace
}  // namespace msa
