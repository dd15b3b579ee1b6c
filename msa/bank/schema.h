// The catalog's tables, as docs/bank-format.md describes them.
#pragma once

namespace msa {

inline constexpr int kCatalogApplicationId = 0x4d534142;  // "MSAB"
inline constexpr int kCatalogVersion = 1;

inline constexpr char kCatalogSchema[] = R"sql(
CREATE TABLE state(
  one INTEGER PRIMARY KEY CHECK(one = 1),
  commit_number INTEGER NOT NULL, revision INTEGER NOT NULL,
  chain_length INTEGER NOT NULL, chain_head BLOB NOT NULL, erase_epoch INTEGER NOT NULL,
  next_document INTEGER NOT NULL, next_version INTEGER NOT NULL,
  next_passage INTEGER NOT NULL, next_file INTEGER NOT NULL);
CREATE TABLE settings(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE revisions(
  id INTEGER PRIMARY KEY, parent INTEGER, run_begin INTEGER NOT NULL, time INTEGER NOT NULL,
  author, message, kind INTEGER NOT NULL,
  documents INTEGER NOT NULL, passages INTEGER NOT NULL,
  tokens INTEGER NOT NULL, text_bytes INTEGER NOT NULL);
CREATE TABLE documents(
  id INTEGER PRIMARY KEY, number BLOB NOT NULL, lookup BLOB NOT NULL UNIQUE, key NOT NULL);
CREATE TABLE versions(
  id INTEGER PRIMARY KEY, document INTEGER NOT NULL, birth INTEGER NOT NULL,
  first_passage INTEGER NOT NULL, num_passages INTEGER NOT NULL,
  num_tokens INTEGER NOT NULL, text_bytes INTEGER NOT NULL,
  title, source_path, source_sha256, source_bytes INTEGER NOT NULL, media_type, labels,
  added INTEGER NOT NULL, text_hash NOT NULL, salt BLOB NOT NULL, flags INTEGER NOT NULL,
  file INTEGER NOT NULL, position INTEGER NOT NULL, length INTEGER NOT NULL,
  checksum INTEGER NOT NULL);
CREATE INDEX versions_by_document ON versions(document);
CREATE INDEX versions_by_passage ON versions(first_passage) WHERE num_passages > 0;
CREATE TABLE deaths(
  version INTEGER NOT NULL, revision INTEGER NOT NULL,
  PRIMARY KEY(version, revision)) WITHOUT ROWID;
CREATE TABLE labels(
  lookup BLOB NOT NULL, version INTEGER NOT NULL,
  PRIMARY KEY(lookup, version)) WITHOUT ROWID;
CREATE TABLE encodings(
  id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL UNIQUE, config TEXT NOT NULL,
  key_dim INTEGER NOT NULL, layers INTEGER NOT NULL, kv_heads INTEGER NOT NULL,
  head_dim INTEGER NOT NULL, key_dtype TEXT NOT NULL, latent_dtype TEXT NOT NULL,
  created INTEGER NOT NULL);
CREATE TABLE files(
  id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, encoding INTEGER, length INTEGER NOT NULL,
  checksum INTEGER NOT NULL, blocks BLOB NOT NULL);
CREATE TABLE places(
  encoding INTEGER NOT NULL, version INTEGER NOT NULL, first_passage INTEGER NOT NULL,
  num_passages INTEGER NOT NULL, num_chunks INTEGER NOT NULL, chunk_tokens INTEGER NOT NULL,
  chunks BLOB NOT NULL, file INTEGER NOT NULL, position INTEGER NOT NULL,
  checksum INTEGER NOT NULL,
  PRIMARY KEY(encoding, version, first_passage)) WITHOUT ROWID;
CREATE INDEX places_by_file ON places(file, position);
CREATE TABLE shards(
  file INTEGER PRIMARY KEY, first_passage INTEGER NOT NULL, end_passage INTEGER NOT NULL,
  passages INTEGER NOT NULL);
CREATE TABLE chain(
  seq INTEGER PRIMARY KEY, time INTEGER NOT NULL, operation INTEGER NOT NULL,
  revision INTEGER NOT NULL, number BLOB NOT NULL, commitment BLOB NOT NULL, hash BLOB NOT NULL);
CREATE TABLE erased(lookup BLOB PRIMARY KEY, time INTEGER NOT NULL) WITHOUT ROWID;
)sql";

}  // namespace msa
