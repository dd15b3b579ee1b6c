#include "msa/text/titles.h"

#include "msa/text/decode.h"
#include "msa/text/lines.h"
#include "msa/text/whitespace.h"

namespace msa {
namespace {

// Removes the first line from `rest` and returns it.
std::string_view NextLine(std::string_view* rest) {
  const std::string_view line = LineAt(*rest, 0);
  rest->remove_prefix(std::min(rest->size(), line.size() + 1));
  return line;
}

std::string_view StripAround(std::string_view text, std::string_view marks) {
  const size_t begin = text.find_first_not_of(marks);
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(marks) - begin + 1);
}

// Takes the block between two lines "---" off the beginning; returns its "title:".
std::string TakeFrontMatter(std::string_view* text) {
  if (!text->starts_with("---\n")) return "";
  std::string_view rest = *text;
  NextLine(&rest);
  std::string title;
  while (!rest.empty()) {
    const std::string_view line = NextLine(&rest);
    if (line == "---" || line == "...") {
      *text = rest;
      return title;
    }
    constexpr std::string_view kField = "title:";
    if (line.starts_with(kField)) {
      title = CleanTitle(StripAround(Trim(line.substr(kField.size())), "\"'"));
    }
  }
  return "";  // no end: a rule, not front matter
}

bool IsUnderline(std::string_view line) {
  const std::string_view content = Trim(line);
  return content.size() >= 2 && (content[0] == '=' || content[0] == '-') &&
         content.find_first_not_of(content[0]) == content.npos;
}

}  // namespace

std::string MarkdownTitle(std::string_view text) {
  if (std::string title = TakeFrontMatter(&text); !title.empty()) return title;
  bool in_code = false;
  std::string_view previous;
  while (!text.empty()) {
    const std::string_view line = NextLine(&text);
    if (IsFenceLine(line)) in_code = !in_code;
    if (in_code) continue;
    std::string_view heading;
    if (IsHeadingLine(line)) heading = StripAround(line, "# \t");
    if (IsUnderline(line) && ListMarkLength(previous) == 0) heading = Trim(previous);
    if (std::string title = CleanTitle(heading); !title.empty()) return title;
    previous = line;
  }
  return "";
}

std::string FileTitle(std::string_view path) {
  std::string_view name = path.substr(path.find_last_of('/') + 1);
  if (const size_t dot = name.rfind('.'); dot != name.npos && dot > 0) name = name.substr(0, dot);
  std::string title = CleanTitle(name);
  return title.empty() ? std::string("untitled") : title;
}

}  // namespace msa
