#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "msa/base/utf8.h"
#include "msa/text/html_tree.h"
#include "msa/text/loader.h"

namespace msa {
namespace {

using ::testing::HasSubstr;

std::string TextOf(std::string_view html) {
  auto page = ExtractHtml(html);
  return page.ok() ? page->text : "error: " + page.status().message();
}

std::string TitleOf(std::string_view html) { return ExtractHtml(html).value().title; }

std::string Repeat(std::string_view text, int count) {
  std::string result;
  for (int i = 0; i < count; ++i) result += text;
  return result;
}

TEST(ExtractHtml, TitleIsTheTitleElementElseTheFirstHeading) {
  EXPECT_EQ(TitleOf("<title> A &amp;\n B </title><h1>C</h1>"), "A & B");
  EXPECT_EQ(TitleOf("<p>x</p><h1>First <em>of all</em></h1><h1>Second</h1>"), "First of all");
  EXPECT_EQ(TitleOf("<svg><title>icon</title></svg><h1>H</h1>"), "H");
  EXPECT_EQ(TitleOf("<p>none"), "");
}

TEST(ExtractHtml, BlocksEndLinesAndInlineElementsDoNot) {
  EXPECT_EQ(TextOf("<h1>Head</h1><p>One <b>bold</b>\n  word.</p><p>Two<br>lines</p><div>a</div>b"),
            "Head\n\nOne bold word.\n\nTwo\nlines\n\na\nb\n");
  EXPECT_EQ(TextOf("un<i>brok</i>en"), "unbroken\n");
}

TEST(ExtractHtml, LeavesOutWhatThePageDoesNotSay) {
  EXPECT_EQ(TextOf("<head><style>p{}</style><script>var a='<p>no</p>';</script></head>"
                   "<nav>menu</nav><div role=navigation>menu</div><p hidden>no</p><!-- no -->"
                   "<template>no</template><noscript>no</noscript><p>yes</p>"),
            "yes\n");
}

TEST(ExtractHtml, ListsKeepMarksAndNumbers) {
  EXPECT_EQ(TextOf("<ul><li>a<li><p>b</p></ul><ol start=3><li>c<ul><li>d</ul><li>e</ol>"),
            "- a\n\n- b\n\n3. c\n\n- d\n\n4. e\n");
}

TEST(ExtractHtml, DataTablesReadRowByRow) {
  EXPECT_EQ(TextOf("<table><caption>T</caption><tr><th>Name<th>Value</tr>"
                   "<tr><td>a</td><td><p>1</p></td></tr><tr><td></td><td>2<br>3</td></tr></table>"),
            "T\n\nName | Value\na | 1\n| 2 3\n");
  EXPECT_EQ(TextOf("<table><tr><td>a<td><td>c</table>"), "a |  | c\n");
}

TEST(ExtractHtml, LayoutTablesReadAsBlocks) {
  EXPECT_EQ(TextOf("<table><tr><td><p>a</p><p>b</p></td><td><h2>h</h2></td></tr></table>"),
            "a\n\nb\n\nh\n");
  EXPECT_EQ(TextOf("<table><tr><td>x<td><table><tr><td>1<td>2</table></table>"), "x\n\n1 | 2\n");
}

TEST(ExtractHtml, PreformattedTextKeepsItsLines) {
  EXPECT_EQ(TextOf("<p>Do:<pre>\nif (a)\n    b();\n\nend</pre>done"),
            "Do:\n\nif (a)\n    b();\n\nend\n\ndone\n");
}

TEST(ExtractHtml, ResolvesEntitiesAndDropsInvisibleCharacters) {
  EXPECT_EQ(TextOf("a&nbsp;b &lt;c&gt; &#x8a18; hy&shy;phen ze\u200bro"),
            "a b <c> 記 hyphen zero\n");
}

TEST(ExtractHtml, SurvivesDeepNesting) {
  // Deep enough to overflow any stack that recursed, and far past what gumbo does in time.
  const std::string deep = Repeat("<div>", 2000) + "core" + Repeat("</div>", 2000);
  EXPECT_EQ(TextOf(deep), "core\n");
  HtmlLimits limits;
  limits.seconds = 0.2;
  const std::string hostile = Repeat("<div><b>", 300000);
  const auto tree = HtmlTree::Parse(hostile, limits);
  ASSERT_FALSE(tree.ok());
  EXPECT_EQ(tree.status().code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(tree.status().message(), HasSubstr("nested too deeply"));
}

TEST(ExtractHtml, BoundsTheTreesMemory) {
  HtmlLimits limits;
  limits.tree_bytes = 4 << 20;
  const auto tree = HtmlTree::Parse(Repeat("<i>x</i>", 100000), limits);
  ASSERT_FALSE(tree.ok());
  EXPECT_THAT(tree.status().message(), HasSubstr("memory"));
}

TEST(ExtractHtml, AnyMarkupGivesValidUtf8) {
  const std::vector<std::string> pieces = {
      "<table>", "</table>", "<tr>",      "<td>",   "</td>",  "<p>",      "</p>",
      "<ul>",    "<li>",     "</ul>",     "<ol>",   "<pre>",  "</pre>",   "<h1>",
      "</h1>",   "<title>",  "<svg>",     "</svg>", "<math>", "<select>", "text",
      "\n  ",    "&amp;",    "&#x1F642;", "<!--",   "-->",    "<br>",     "\xff",
      "記",      "<",        ">",         "<a b=",  "\"",     "</title>", "<caption>"};
  for (uint32_t seed = 0; seed < 2000; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    std::string html;
    for (int i = 0; i < 60; ++i) html += pieces[random() % pieces.size()];
    const auto page = ExtractHtml(html);
    ASSERT_TRUE(page.ok());
    ASSERT_TRUE(IsValidUtf8(page->text)) << html;
    ASSERT_TRUE(IsValidUtf8(page->title)) << html;
    ASSERT_TRUE(page->text.empty() || page->text.back() == '\n');
  }
}

}  // namespace
}  // namespace msa
