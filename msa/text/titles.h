// What to call a document that does not say it.
#pragma once

#include <string>
#include <string_view>

namespace msa {

// The title of a Markdown text: "title:" of its front matter, else its first heading ("# x", or a
// line underlined with === or ---) outside code; empty if it has none.
std::string MarkdownTitle(std::string_view text);

// The file's name without folder and extension.
std::string FileTitle(std::string_view path);

}  // namespace msa
