// The bank that tests/data holds for each format version: written once by the program of its time,
// opened by every later one.
#pragma once

#include <string>
#include <vector>

#include "msa/bank/bank.h"

namespace msa {

inline LatentLayout GoldenLayout(DType dtype) {
  return {.key_dim = 16,
          .layers = 2,
          .kv_heads = 1,
          .head_dim = 4,
          .key_dtype = dtype,
          .latent_dtype = dtype};
}

// Fingerprints of the two encodings: the first is sealed, the second in a tail.
inline constexpr const char* kGoldenSealed = "5ea1ed";
inline constexpr const char* kGoldenTail = "7a11";

// Three documents; the second is replaced in revision 2, by the fourth of these.
inline std::vector<NewDocument> GoldenDocuments() {
  std::vector<NewDocument> documents(4);
  documents[0].key = "fox.txt";
  documents[0].title = "The fox";
  documents[0].text = "The quick brown fox.\n\nIt jumps over the lazy dog.";
  documents[0].source_path = "/golden/fox.txt";
  documents[0].source_sha256 = std::string(64, '0');
  documents[0].source_bytes = 49;
  documents[0].media_type = "text/plain";
  documents[0].labels = {{"tenant", "acme"}, {"year", "2024"}};
  documents[0].passages = {{0, 20, 0, {1, 2, 3, 4}}, {22, 49, 0, {5, 6, 7}}};
  documents[1].key = "letter.pdf";
  documents[1].title = "Letter";
  documents[1].text = "An old letter about wine.";
  documents[1].media_type = "application/pdf";
  documents[1].page_begin = {0};
  documents[1].passages = {{0, 25, 1, {8, 9}}};
  documents[2].key = "東京.md";
  documents[2].title = "東京";
  documents[2].text = "東京は日本の首都です。";
  documents[2].passages = {{0, 33, 0, {10}}};
  documents[3] = documents[1];
  documents[3].text = "A new letter about tea.";
  documents[3].passages = {{0, 23, 1, {11, 12}}};
  return documents;
}

// Added to the encrypted bank in revision 3, and erased from it in revision 4.
inline NewDocument GoldenErased() {
  NewDocument document;
  document.key = "coffee.txt";
  document.title = "Coffee";
  document.text = "A note about coffee.";
  document.passages = {{0, 20, 0, {13, 14}}};
  return document;
}

// Latents of one passage with `chunks` rows; every byte follows from `seed`.
inline LatentBlock GoldenLatents(const LatentLayout& layout, int64_t chunks, int64_t seed) {
  LatentBlock block;
  block.chunks = {chunks};
  block.chunk_tokens = 64;
  block.keys.resize(static_cast<size_t>(chunks * layout.key_row_bytes()));
  block.latents.resize(static_cast<size_t>(chunks * layout.latent_row_bytes()));
  for (size_t i = 0; i < block.keys.size(); ++i) {
    block.keys[i] = static_cast<std::byte>(i * 5 + static_cast<size_t>(seed));
  }
  for (size_t i = 0; i < block.latents.size(); ++i) {
    block.latents[i] = static_cast<std::byte>(i * 3 + static_cast<size_t>(seed));
  }
  if (layout.key_dtype == DType::kI8) {
    block.key_scales.assign(static_cast<size_t>(chunks), 0.25f);
    block.latent_scales.assign(static_cast<size_t>(chunks * layout.latent_row_scales()), 0.5f);
  }
  return block;
}

}  // namespace msa
