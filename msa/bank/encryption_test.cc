// Banks with a cipher: what is in the folder in plain, what happens without the right keys, and
// that no message can stand in for another.
#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "msa/bank/backup.h"
#include "msa/bank/bank_test_util.h"
#include "msa/bank/core.h"
#include "msa/bank/encrypt.h"
#include "msa/bank/fault_file_system.h"
#include "msa/bank/rekey.h"
#include "msa/bank/repair.h"
#include "msa/bank/sqlite.h"
#include "msa/bank/writer.h"
#include "msa/base/file.h"
#include "msa/base/hash.h"

namespace msa {
namespace {

const LatentLayout kLayout{.key_dim = 32,
                           .layers = 2,
                           .kv_heads = 2,
                           .head_dim = 16,
                           .key_dtype = DType::kI8,
                           .latent_dtype = DType::kI8};
constexpr int64_t kSmallSeal = 1500;

// Words that nothing else in a folder holds.
NewDocument MakeSecret(int i) {
  const std::string n = std::to_string(i);
  NewDocument document = MakeDocument("zkey" + n + "q", "Ztitle" + n + "q", "", 0);
  document.media_type = "text/zmedia" + n + "q";
  document.source_path = "/home/zpath" + n + "q";
  document.source_sha256 = std::string(60, 'b') + std::to_string(1000 + i);
  document.labels = {{"zname" + n + "q", "zvalue" + n + "q"}};
  for (int p = 0; p < 3; ++p) {
    const auto begin = static_cast<int64_t>(document.text.size());
    for (int w = 0; w < 12; ++w) {
      document.text += "zword" + std::to_string(i * 100 + p * 20 + w) + "q ";
    }
    NewPassage passage{begin, static_cast<int64_t>(document.text.size()), p + 1, {}};
    for (int t = 0; t < 9; ++t) passage.tokens.push_back(77000000 + i * 1000 + p * 100 + t);
    document.passages.push_back(passage);
  }
  return document;
}

LatentBlock SecretLatents(int i) { return MakeLatents(kLayout, {2, 1, 3}, 11 * i + 3); }

std::string TextOf(std::span<const std::byte> bytes) { return std::string(AsChars(bytes)); }
template <class T>
std::string RawBytes(const std::vector<T>& values, size_t count) {
  return TextOf(std::as_bytes(std::span(values).first(count)));
}

// A history of all that leaves something in a folder: several encodings' tails and segments, merged
// shards, replaced, removed and erased documents, messages, and what a writer that was stopped had
// written.
void MakeHistory(const std::string& path, bool encrypt) {
  ASSERT_OK(Bank::Create(path, {.encrypt = encrypt}));
  const auto core = OpenCore(path, PosixFileSystem());
  ASSERT_OK(core);
  {
    auto writer = Writer::Start(*core, {.author = "zauthorq"}, kSmallSeal);
    ASSERT_OK(writer);
    const auto encoding = (*writer)->OpenEncoding({{}, "feed0", "{}", kLayout});
    ASSERT_OK(encoding);
    for (int i = 0; i < 12; ++i) {
      ASSERT_OK((*writer)->Add(MakeSecret(i)));
      ASSERT_OK((*writer)->Commit("zmessageq" + std::to_string(i)));
      if (i % 3 == 2) continue;
      ASSERT_OK((*writer)->AddLatents(*encoding, VersionId{i + 1}, 0, SecretLatents(i)));
      ASSERT_OK((*writer)->CommitLatents());
    }
    NewDocument changed = MakeSecret(1);
    changed.title = "Zchangedq";
    ASSERT_OK((*writer)->Add(changed));
    ASSERT_OK((*writer)->Remove(MakeSecret(2).key));
    ASSERT_OK((*writer)->Commit("zlaterq"));
    ASSERT_OK((*writer)->Revert(RevisionId{5}, "zbackq"));
    const auto erased = (*writer)->Erase({.documents = {MakeSecret(3).key}, .where = {}}, "zgoneq");
    ASSERT_OK(erased);
    EXPECT_EQ(erased->waits_for, "");
    ASSERT_OK((*writer)->Add(MakeSecret(20)));
    ASSERT_OK((*writer)->Commit("zlastq"));
    // Never committed: what a writer leaves that is stopped here.
    ASSERT_OK((*writer)->Add(MakeSecret(30)));
  }
}

// What must not be seen, by what it is.
std::vector<std::pair<std::string, std::string>> Secrets() {
  std::vector<std::pair<std::string, std::string>> secrets = {{"author", "zauthorq"},
                                                              {"message", "zmessageq4"},
                                                              {"message", "zbackq"},
                                                              {"message of erasing", "zgoneq"},
                                                              {"title", "Zchangedq"}};
  for (const int i : {0, 1, 4, 20}) {
    const NewDocument d = MakeSecret(i);
    const std::string n = std::to_string(i);
    secrets.insert(secrets.end(), {{"key", d.key},
                                   {"title", d.title},
                                   {"media type", d.media_type},
                                   {"path", d.source_path},
                                   {"hash of the file", d.source_sha256},
                                   {"name of a label", "zname" + n + "q"},
                                   {"label", "zvalue" + n + "q"},
                                   {"hash of the text", TextOf(Blake2b(AsBytes(d.text)))}});
  }
  for (const int i : {0, 1, 4}) {
    const LatentBlock block = SecretLatents(i);
    secrets.emplace_back("routing key", RawBytes(block.keys, 32));
    secrets.emplace_back("latents", RawBytes(block.latents, 128));
  }
  return secrets;
}

std::string AllFiles(const std::string& folder) {
  std::string all;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) all += ReadFile(entry.path().string()).value() + "\n";
  }
  return all;
}

// Terms of shards, decoded text and tokens: what is there only in another form.
std::string Decoded(const std::string& folder) {
  std::string all;
  for (const auto& entry : std::filesystem::directory_iterator(folder + "/lexical")) {
    const auto db = Database::Open(entry.path().string(), SQLITE_OPEN_READONLY);
    if (!db.ok()) continue;
    if (!db->Execute("CREATE VIRTUAL TABLE temp.v USING fts5vocab(main,t,row)").ok()) continue;
    auto terms = db->Prepare("SELECT term FROM temp.v");
    if (!terms.ok()) continue;
    for (auto row = terms->Step(); row.ok() && *row; row = terms->Step()) {
      all += std::string(terms->Text(0)) + "\n";
    }
  }
  for (const auto& entry : std::filesystem::directory_iterator(folder + "/packs")) {
    const std::string pack = ReadFile(entry.path().string()).value();
    // Every place where a zstd frame may begin.
    for (size_t at = pack.find("\x28\xb5\x2f\xfd"); at != pack.npos;
         at = pack.find("\x28\xb5\x2f\xfd", at + 1)) {
      for (size_t end = at + 8; end <= std::min(pack.size(), at + 4096); ++end) {
        const auto content = DecodeFrame(AsBytes(std::string_view(pack).substr(at, end - at)), {});
        if (!content.ok()) continue;
        all += content->text + RawBytes(content->tokens[0], content->tokens[0].size());
        break;
      }
    }
  }
  return all;
}

class EncryptionTest : public ::testing::Test {
 protected:
  TemporaryFolder folder_;
  const KeysIn keys_{folder_};
  const std::string path_ = folder_ / "bank";

  Database RawCatalog() {
    return Database::Open(path_ + "/catalog.sqlite", SQLITE_OPEN_READWRITE).value();
  }
  void Execute(const std::string& sql) { ASSERT_OK(RawCatalog().Execute(sql.c_str())); }
  // Of a bank that was just opened.
  StatusCode AuditCode() {
    const auto bank = Bank::Open(path_);
    return bank.ok() ? (*bank)->Audit().status().code() : bank.status().code();
  }
};

TEST_F(EncryptionTest, NothingIsInPlainInAnyFile) {
  ASSERT_NO_FATAL_FAILURE(MakeHistory(path_, true));
  ASSERT_NO_FATAL_FAILURE(MakeHistory(folder_ / "plain", false));
  const std::string sealed = AllFiles(path_);
  const std::string plain = AllFiles(folder_ / "plain");
  for (const auto& [what, secret] : Secrets()) {
    EXPECT_EQ(sealed.find(secret), std::string::npos) << what << " " << secret;
    EXPECT_NE(plain.find(secret), std::string::npos) << what << " " << secret;
  }
  const std::string decoded_sealed = Decoded(path_);
  const std::string decoded_plain = Decoded(folder_ / "plain");
  EXPECT_EQ(decoded_sealed, "");
  for (const int i : {0, 1, 4, 20}) {
    const NewDocument d = MakeSecret(i);
    const std::string word = d.text.substr(0, d.text.find(' '));
    const std::string tokens = RawBytes(d.passages[0].tokens, 4);
    for (const std::string& secret : {word, tokens, d.text}) {
      EXPECT_EQ(sealed.find(secret), std::string::npos) << secret;
      EXPECT_NE((plain + decoded_plain).find(secret), std::string::npos) << secret;
    }
  }
  // What was given up is in no file in plain either; the same bytes are in the plain bank's pack.
  EXPECT_NE(decoded_plain.find(MakeSecret(30).text), std::string::npos);
}

TEST_F(EncryptionTest, AnswersAsAPlainBank) {
  ASSERT_NO_FATAL_FAILURE(MakeHistory(path_, true));
  ASSERT_NO_FATAL_FAILURE(MakeHistory(folder_ / "plain", false));
  const auto sealed = Bank::Open(path_);
  const auto plain = Bank::Open(folder_ / "plain");
  ASSERT_OK(sealed);
  ASSERT_OK(plain);
  EXPECT_TRUE((*sealed)->options().encrypt);
  EXPECT_FALSE((*plain)->options().encrypt);
  ASSERT_OK((*sealed)->Audit());

  const auto log = [](Bank& bank) {
    std::vector<std::string> lines;
    EXPECT_TRUE(bank.Log([&](const RevisionInfo& r) {
                      lines.push_back(std::to_string(r.id.value) + r.author + r.message);
                      for (const auto& c : r.changes) {
                        if (c.change != ChangeKind::kErased) lines.push_back(c.key);
                      }
                      return true;
                    })
                    .ok());
    return lines;
  };
  EXPECT_EQ(log(**sealed), log(**plain));

  for (int64_t revision = 0; revision <= 16; ++revision) {
    SCOPED_TRACE("revision " + std::to_string(revision));
    const auto describe = [&](Bank& bank) {
      std::string all;
      const auto snapshot = bank.At(RevisionId{revision});
      EXPECT_TRUE(snapshot.ok()) << snapshot.status();
      const Snapshot& s = **snapshot;
      EXPECT_TRUE(s.ForEachDocument({}, [&](const DocumentInfo& d) {
                     all += d.key + d.title + d.source_path + d.source_sha256 + d.media_type;
                     for (const auto& [name, value] : d.labels) {
                       all += name + "=" + value;
                       all += std::to_string((*s.MatchingPassages({{name, value}}))->kept.size());
                     }
                     all +=
                         std::to_string((*s.MatchingPassages({{"title", d.title}}))->kept.size());
                     all += s.FindDocument(d.title.substr(1))->key;
                     const auto content = s.ReadContent(d.version);
                     EXPECT_TRUE(content.ok()) << content.status();
                     all += content->text + RawBytes(content->tokens[2], 9);
                     return true;
                   }).ok());
      for (const char* query : {"zword101q", "zword400q zword2001q", "zword300q"}) {
        const auto hits = s.SearchLexical(query, 5, {});
        EXPECT_TRUE(hits.ok()) << hits.status();
        for (const LexicalHit& hit : *hits) {
          all += std::to_string(hit.passage.value) + ":" + std::to_string(hit.score);
        }
      }
      const auto encodings = s.Encodings();
      EXPECT_TRUE(encodings.ok()) << encodings.status();
      if (encodings->empty()) return all;
      const EncodingId encoding = encodings->front().info.id;
      const auto runs = s.RoutingKeys(encoding);
      EXPECT_TRUE(runs.ok()) << runs.status();
      // By passage: messages are longer than rows, so tails are sealed at other times.
      std::map<PassageId, std::string> by_passage;
      for (const KeyRun& run : *runs) {
        for (size_t i = 0; i < run.passages.size(); ++i) {
          std::string& latents = by_passage[run.passages[i]];
          const auto begin = static_cast<size_t>(run.chunk_begin[i]);
          const auto rows = static_cast<size_t>(run.chunk_begin[i + 1]) - begin;
          latents = TextOf({run.keys + begin * 32, rows * 32});
          latents += TextOf(std::as_bytes(std::span(run.scales + begin, rows)));
          const auto block = s.ReadLatents(encoding, run.passages[i]);
          EXPECT_TRUE(block.ok()) << block.status();
          latents += TextOf(block->keys) + TextOf(block->latents);
          latents += RawBytes(block->key_scales, block->key_scales.size());
          latents += RawBytes(block->latent_scales, block->latent_scales.size());
        }
      }
      EXPECT_EQ(by_passage.empty(), revision == 0);
      for (const auto& [passage, latents] : by_passage) {
        all += std::to_string(passage.value) + latents;
      }
      return all;
    };
    EXPECT_EQ(describe(**sealed), describe(**plain));
  }
}

TEST_F(EncryptionTest, WithoutTheRightKeysNothingOpensAndTheErrorSaysWhatToDo) {
  ASSERT_NO_FATAL_FAILURE(MakeHistory(path_, true));
  const auto refusal = [&] { return Bank::Open(path_).status(); };
  {
    const ScopedVariable other("MSA_MASTER_KEY", std::string(64, '5'));
    EXPECT_EQ(refusal().code(), StatusCode::kFailedPrecondition);
    EXPECT_THAT(refusal().message(), ::testing::HasSubstr("this master key does not open"));
  }
  {
    const ScopedVariable none("MSA_MASTER_KEY_FILE", folder_ / "none");
    EXPECT_EQ(refusal().code(), StatusCode::kFailedPrecondition);
    EXPECT_THAT(refusal().message(), ::testing::HasSubstr("MSA_MASTER_KEY_FILE"));
  }
  {
    const ScopedVariable none("MSA_KEYRINGS", folder_ / "none");
    EXPECT_EQ(refusal().code(), StatusCode::kFailedPrecondition);
    EXPECT_THAT(refusal().message(), ::testing::HasSubstr("MSA_KEYRINGS"));
  }
  ASSERT_OK(Bank::Open(path_));
  {
    const ScopedVariable inside("MSA_KEYRINGS", folder_ / "other/keys");
    EXPECT_EQ(Bank::Create(folder_ / "other", {.encrypt = true}).status().code(),
              StatusCode::kFailedPrecondition);
  }
}

TEST_F(EncryptionTest, MessagesThatChangePlacesAreRefused) {
  ASSERT_NO_FATAL_FAILURE(MakeHistory(path_, true));
  ASSERT_EQ(AuditCode(), StatusCode::kOk);
  Execute("PRAGMA wal_checkpoint(TRUNCATE)");
  const std::string catalog = ReadFile(path_ + "/catalog.sqlite").value();
  const auto restore = [&] {
    ASSERT_OK(WriteFileAtomically(PosixFileSystem(), path_ + "/catalog.sqlite", catalog));
  };
  // A column of another version, of another column, and of another revision.
  Execute("UPDATE versions SET title = (SELECT title FROM versions WHERE id = 5) WHERE id = 6");
  EXPECT_EQ(AuditCode(), StatusCode::kDataLoss);
  restore();
  Execute("UPDATE versions SET title = media_type WHERE id = 6");
  EXPECT_EQ(AuditCode(), StatusCode::kDataLoss);
  restore();
  Execute(
      "UPDATE revisions SET message = (SELECT message FROM revisions WHERE id = 2)"
      " WHERE id = 3");
  EXPECT_EQ(AuditCode(), StatusCode::kDataLoss);
  restore();
  Execute("UPDATE documents SET key = (SELECT key FROM documents WHERE id = 1) WHERE id = 2");
  EXPECT_EQ(AuditCode(), StatusCode::kDataLoss);
  restore();

  // Frames and rows of latents, which keep their checksums.
  const auto exchange = [&](const std::string& table, const std::string& columns,
                            const std::string& a, const std::string& b) {
    Execute("CREATE TABLE kept AS SELECT * FROM " + table + " WHERE " + a + ";UPDATE " + table +
            " SET (" + columns + ") = (SELECT " + columns + " FROM " + table + " WHERE " + b +
            ") WHERE " + a + ";UPDATE " + table + " SET (" + columns + ") = (SELECT " + columns +
            " FROM kept) WHERE " + b + ";DROP TABLE kept;");
  };
  exchange("versions", "file, position, length, checksum", "id = 5", "id = 6");
  {
    const auto bank = Bank::Open(path_);
    ASSERT_OK(bank);
    EXPECT_EQ((*bank)->At(RevisionId{12}).value()->ReadContent(VersionId{5}).status().code(),
              StatusCode::kDataLoss);
  }
  EXPECT_EQ(AuditCode(), StatusCode::kDataLoss);
  restore();
  exchange("places", "file, position, checksum", "version = 1", "version = 2");
  {
    const auto bank = Bank::Open(path_);
    ASSERT_OK(bank);
    EXPECT_EQ((*bank)
                  ->At(RevisionId{12})
                  .value()
                  ->ReadLatents(EncodingId{1}, PassageId{0})
                  .status()
                  .code(),
              StatusCode::kDataLoss);
  }
  EXPECT_EQ(AuditCode(), StatusCode::kDataLoss);
  restore();
  EXPECT_EQ(AuditCode(), StatusCode::kOk);
}

TEST_F(EncryptionTest, PagesOfShardsThatChangePlacesAreRefused) {
  std::vector<std::byte> image(4096 * 3);
  for (size_t i = 0; i < image.size(); ++i) image[i] = static_cast<std::byte>(i * 31 / 7);
  const BankId bank = MakeRandomNumber();
  const BankLayout layout{path_};
  ASSERT_OK(BankCipher::Create(PosixFileSystem(), layout, bank));
  const auto cipher = BankCipher::Open(PosixFileSystem(), bank).value();
  const auto open = [&](std::span<const std::byte> file) {
    const std::string path = folder_ / "shard";
    EXPECT_TRUE(WriteFileAtomically(PosixFileSystem(), path, AsChars(file)).ok());
    return ShardImage::Open(path, static_cast<int64_t>(file.size()), BlockChecksums(file),
                            cipher.get());
  };
  auto file = SealShardImage(image, bank, *cipher).value();
  const auto whole = open(file);
  ASSERT_OK(whole);
  EXPECT_EQ((*whole)->ReadAll().value(), image);
  for (const size_t offset : {0, 1, 100, 4095, 4096, 8000}) {
    std::vector<std::byte> part(200);
    ASSERT_OK((*whole)->Read(offset, part));
    EXPECT_TRUE(std::ranges::equal(part, std::span(image).subspan(offset, 200))) << offset;
  }
  std::swap_ranges(file.begin() + 64, file.begin() + 64 + 4136, file.begin() + 64 + 4136);
  EXPECT_EQ(open(file).value()->ReadAll().status().code(), StatusCode::kDataLoss);
  // A page of another shard.
  const auto other = SealShardImage(image, bank, *cipher).value();
  std::copy(other.begin() + 64, other.end(), file.begin() + 64);
  EXPECT_EQ(open(file).value()->ReadAll().status().code(), StatusCode::kDataLoss);
}

TEST_F(EncryptionTest, DamageIsRepairedAndNamed) {
  ASSERT_NO_FATAL_FAILURE(MakeHistory(path_, true));
  FileId pack;
  int64_t position = 0;
  {
    const Database catalog = RawCatalog();
    auto frame = catalog.Prepare("SELECT file, position FROM versions WHERE id = 5");
    ASSERT_OK(frame);
    ASSERT_TRUE(frame->Step().value());
    pack = FileId{frame->Int(0)};
    position = frame->Int(1);
  }
  const std::string path = BankLayout{path_}.File(FileKind::kPack, pack);
  std::string bytes = ReadFile(path).value();
  bytes[static_cast<size_t>(position) + 50] ^= 1;
  ASSERT_OK(WriteFileAtomically(PosixFileSystem(), path, bytes));
  EXPECT_EQ(AuditCode(), StatusCode::kDataLoss);

  const auto report = RepairBank(path_, {});
  ASSERT_OK(report);
  ASSERT_EQ(report->texts.size(), 1U);
  EXPECT_EQ(report->texts[0].document, MakeSecret(4).key);
  EXPECT_EQ(AuditCode(), StatusCode::kOk);
}

TEST_F(EncryptionTest, ADamagedKeyIsFoundByAnAuditAndNamed) {
  ASSERT_NO_FATAL_FAILURE(MakeHistory(path_, true));
  std::string number;
  {
    const Database catalog = RawCatalog();
    auto row = catalog.Prepare("SELECT number FROM documents WHERE id = 5");
    ASSERT_OK(row);
    ASSERT_TRUE(row->Step().value());
    number = AsChars(row->Blob(0));
  }
  const auto core = OpenCore(path_, PosixFileSystem());
  ASSERT_OK(core);
  const std::string path = (*core)->cipher->keyring().path();
  std::string bytes = ReadFile(path).value();
  const size_t place = bytes.find(number);
  ASSERT_NE(place, bytes.npos);
  bytes[place + 40] ^= 1;
  ASSERT_OK(WriteFileAtomically(PosixFileSystem(), path, bytes));

  EXPECT_EQ(AuditCode(), StatusCode::kDataLoss);
  const Status named = Bank::Open(path_).value()->Audit().status();
  EXPECT_THAT(named.message(), ::testing::HasSubstr(path));
  EXPECT_THAT(named.message(), ::testing::HasSubstr(HexEncode(AsBytes(number))));
}

// All of a snapshot that does not depend on the order of ids: documents, text, tokens, latents.
std::map<std::string, std::string> Contents(const Snapshot& snapshot) {
  std::map<std::string, std::string> all;
  const auto encodings = snapshot.Encodings().value();
  EXPECT_TRUE(snapshot
                  .ForEachDocument(
                      {},
                      [&](const DocumentInfo& d) {
                        std::string& one = all[d.key];
                        one = d.title + d.source_path + d.source_sha256 + d.media_type;
                        one += std::to_string(d.source_bytes);
                        for (const auto& [name, value] : d.labels) one += name + "=" + value;
                        const DocumentContent content = snapshot.ReadContent(d.version).value();
                        one +=
                            content.text + RawBytes(content.page_begin, content.page_begin.size());
                        for (size_t i = 0; i < content.passages.size(); ++i) {
                          const PassageInfo& p = content.passages[i];
                          for (const int64_t n : {p.begin, p.end, int64_t{p.page}})
                            one += std::to_string(n) + ",";
                          one += RawBytes(content.tokens[i], content.tokens[i].size());
                          for (const EncodingStats& encoding : encodings) {
                            one += encoding.info.fingerprint + encoding.info.config_json;
                            const auto block = snapshot.ReadLatents(encoding.info.id, p.id);
                            if (!block.ok()) continue;
                            one += RawBytes(block->chunks, block->chunks.size()) +
                                   std::to_string(block->chunk_tokens);
                            one += RawBytes(block->keys, block->keys.size());
                            one += RawBytes(block->key_scales, block->key_scales.size());
                            one += RawBytes(block->latents, block->latents.size());
                            one += RawBytes(block->latent_scales, block->latent_scales.size());
                          }
                        }
                        return true;
                      })
                  .ok());
  return all;
}

TEST_F(EncryptionTest, ABankInPlainIsEncryptedWithItsLatents) {
  const std::string plain = folder_ / "plain";
  ASSERT_NO_FATAL_FAILURE(MakeHistory(plain, false));
  {
    // Latents that are there in part, and of a second encoding.
    const auto core = OpenCore(plain, PosixFileSystem()).value();
    const auto writer = Writer::Start(core, {}, kSmallSeal).value();
    const DocumentInfo last =
        Bank::Open(plain).value()->Latest().value()->FindDocument(MakeSecret(20).key).value();
    LatentLayout layout = kLayout;
    layout.key_dtype = layout.latent_dtype = DType::kF32;
    const auto second = writer->OpenEncoding({{}, "feed1", "{\"second\":1}", layout}).value();
    ASSERT_OK(writer->AddLatents(second, last.version, 0, MakeLatents(layout, {2}, 5)));
    ASSERT_OK(writer->AddLatents(second, last.version, 2, MakeLatents(layout, {3}, 6)));
    ASSERT_OK(writer->CommitLatents());
    ASSERT_OK(writer->Compact(Retention{.text_days = 7, .latents_days = 5}));
  }
  const auto from = Bank::Open(plain).value();
  const auto report = EncryptBank(plain, path_, {});
  ASSERT_OK(report);
  EXPECT_EQ(report->from, from->Latest().value()->revision());
  EXPECT_THAT(report->unkept, ::testing::IsEmpty());
  EXPECT_FALSE(std::filesystem::exists(path_ + ".encrypting"));

  const auto bank = Bank::Open(path_).value();
  const auto snapshot = bank->Latest().value();
  EXPECT_EQ(snapshot->revision(), report->revision);
  const auto contents = Contents(*snapshot);
  EXPECT_EQ(contents, Contents(*from->Latest().value()));
  EXPECT_EQ(contents.size(), static_cast<size_t>(report->documents));
  EXPECT_EQ(snapshot->GetRetention().value(), (Retention{.text_days = 7, .latents_days = 5}));
  int64_t encoded = 0;
  const auto encodings = snapshot->Encodings().value();
  for (const EncodingStats& encoding : encodings) {
    encoded += encoding.encoded_passages;
  }
  EXPECT_EQ(encoded, report->passages_with_latents);
  EXPECT_GT(encoded, 10);
  EXPECT_EQ(snapshot->SearchLexical("zword400q", 5, {})->size(),
            from->Latest().value()->SearchLexical("zword400q", 5, {})->size());
  ASSERT_OK(bank->Audit());
  const std::string files = AllFiles(path_);
  for (const auto& [what, secret] : Secrets()) {
    EXPECT_EQ(files.find(secret), std::string::npos) << what << " " << secret;
  }

  EXPECT_EQ(EncryptBank(plain, path_).status().code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(EncryptBank(path_, folder_ / "twice").status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(EncryptBank(plain, plain + "/inside").status().code(), StatusCode::kInvalidArgument);
  const std::atomic<bool> cancelled = true;
  EncryptOptions stopped;
  stopped.cancelled = &cancelled;
  EXPECT_EQ(EncryptBank(plain, folder_ / "stopped", stopped).status().code(),
            StatusCode::kCancelled);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "stopped"));
}

TEST_F(EncryptionTest, DocumentsWithoutTextAreLeftOutAndNamed) {
  const std::string plain = folder_ / "plain";
  {
    const auto bank = Bank::Create(plain, {}).value();
    const auto writer = bank->StartWrite().value();
    for (const int i : {1, 2}) ASSERT_OK(writer->Add(MakeSecret(i)));
    ASSERT_OK(writer->Commit("two"));
    ASSERT_OK(writer->Remove(MakeSecret(1).key));
    ASSERT_OK(writer->Commit("one"));
    ASSERT_OK(writer->Compact(Retention{.text_days = 0}));
    ASSERT_OK(writer->Revert(RevisionId{1}, "two again"));
  }
  const auto report = EncryptBank(plain, path_);
  ASSERT_OK(report);
  EXPECT_EQ(report->documents, 1);
  EXPECT_THAT(report->unkept, ::testing::ElementsAre(MakeSecret(1).key));
}

// Whatever write or sync it stops at, there is no encrypted bank or a whole one, and it can be done
// again.
TEST_F(EncryptionTest, PowerLostWhileABankIsEncryptedLeavesAWholeOneOrNone) {
  const std::string plain = folder_ / "plain";
  ASSERT_NO_FATAL_FAILURE(MakeHistory(plain, false));
  const auto expected = Contents(*Bank::Open(plain).value()->Latest().value());
  constexpr int64_t kStride = 3;
  bool was_stopped = true;
  for (int64_t fail_at = 0; was_stopped; fail_at += kStride) {
    SCOPED_TRACE("stopped at operation " + std::to_string(fail_at));
    const std::string path = folder_ / ("encrypted" + std::to_string(fail_at));
    FaultFileSystem fs(fail_at);
    const Status status = EncryptBank(plain, path, {}, fs).status();
    was_stopped = fs.failed();
    EXPECT_EQ(status.ok(), !was_stopped) << status;
    fs.LosePower();
    if (!std::filesystem::exists(path)) ASSERT_OK(EncryptBank(plain, path));
    const auto bank = Bank::Open(path);
    ASSERT_OK(bank);
    EXPECT_EQ(Contents(*(*bank)->Latest().value()), expected);
    ASSERT_OK((*bank)->Audit());
    EXPECT_FALSE(std::filesystem::exists(path + ".encrypting"));
    std::filesystem::remove_all(path);
  }
}

TEST_F(EncryptionTest, ABankWithAnotherMasterKeyIsWhatItWas) {
  ASSERT_NO_FATAL_FAILURE(MakeHistory(path_, true));
  std::filesystem::copy(path_, folder_ / "copy", std::filesystem::copy_options::recursive);
  const std::string next = folder_ / "next.key";
  EXPECT_EQ(RekeyBank(path_, path_ + "/next.key").status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(RekeyBank(path_, folder_ / "master.key").status().code(), StatusCode::kInvalidArgument);
  {
    const auto bank = Bank::Open(path_).value();
    const auto writer = bank->StartWrite();
    ASSERT_OK(writer);
    // The keyring is that of the copy too.
    EXPECT_EQ(RekeyBank(folder_ / "copy", next).status().code(), StatusCode::kUnavailable);
  }
  const auto report = RekeyBank(path_, next);
  ASSERT_OK(report);
  EXPECT_EQ(report->master_key, next);
  EXPECT_EQ(Bank::Open(path_).status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(Bank::Open(folder_ / "copy").status().code(), StatusCode::kFailedPrecondition);

  const ScopedVariable changed("MSA_MASTER_KEY_FILE", next);
  for (const std::string& path : {path_, folder_ / "copy"}) {
    const auto bank = Bank::Open(path);
    ASSERT_OK(bank);
    ASSERT_OK((*bank)->Audit());
    const auto snapshot = (*bank)->Latest().value();
    EXPECT_EQ(snapshot->FindDocument(MakeSecret(20).key)->title, MakeSecret(20).title);
    ASSERT_OK((*bank)->StartWrite());
  }
  ASSERT_OK(Bank::Create(folder_ / "plain", {}));
  EXPECT_EQ(RekeyBank(folder_ / "plain", next).status().code(), StatusCode::kFailedPrecondition);
}

// Destroying a key erases a document from copies of the bank that were made before.
TEST_F(EncryptionTest, ErasingDestroysWhatCopiesHold) {
  ASSERT_OK(Bank::Create(path_, {.encrypt = true}));
  {
    const auto bank = Bank::Open(path_).value();
    const auto writer = bank->StartWrite().value();
    for (const int i : {1, 2}) ASSERT_OK(writer->Add(MakeSecret(i)));
    ASSERT_OK(writer->Commit("two"));
  }
  const auto all = std::filesystem::copy_options::recursive;
  std::filesystem::copy(path_, folder_ / "copy", all);
  std::filesystem::copy(path_, folder_ / "backup", all);
  {
    const auto bank = Bank::Open(path_).value();
    const auto writer = bank->StartWrite().value();
    const auto erased = writer->Erase({.documents = {MakeSecret(1).key}, .where = {}}, "");
    ASSERT_OK(erased);
    ASSERT_EQ(erased->waits_for, "");
    ASSERT_OK(bank->Audit());
    const auto hits = bank->Latest().value()->SearchLexical("zword200q zword100q", 5, {});
    ASSERT_OK(hits);
    EXPECT_EQ(hits->size(), 1U);
  }
  auto copy = Bank::Open(folder_ / "copy").value();
  auto snapshot = copy->Latest().value();
  std::vector<DocumentInfo> documents;
  ASSERT_OK(snapshot->ForEachDocument(
      {}, [&](const DocumentInfo& d) { return documents.push_back(d), true; }));
  ASSERT_EQ(documents.size(), 2U);
  EXPECT_EQ(documents[0].key, "");
  EXPECT_EQ(documents[0].title, "");
  EXPECT_EQ(snapshot->ReadContent(documents[0].version).status().code(), StatusCode::kDataLoss);
  EXPECT_EQ(documents[1].key, MakeSecret(2).key);
  ASSERT_OK(snapshot->ReadContent(documents[1].version));
  EXPECT_FALSE(snapshot->SearchLexical("zword100q", 5, {}).ok());
  ASSERT_OK(copy->Audit());

  // A writer that comes upon the copy erases there too, and makes its index anew.
  snapshot.reset();
  const auto expect_the_other = [](Bank& bank) {
    const auto latest = bank.Latest().value();
    std::vector<std::string> keys;
    ASSERT_OK(latest->ForEachDocument(
        {}, [&](const DocumentInfo& d) { return keys.push_back(d.key), true; }));
    EXPECT_THAT(keys, ::testing::ElementsAre(MakeSecret(2).key));
    const auto hits = latest->SearchLexical("zword200q zword100q", 5, {});
    ASSERT_OK(hits);
    EXPECT_EQ(hits->size(), 1U);
  };
  ASSERT_OK(copy->StartWrite());
  ASSERT_NO_FATAL_FAILURE(expect_the_other(*copy));
  ASSERT_OK(copy->Audit());

  ASSERT_OK(RestoreBank(folder_ / "backup", folder_ / "restored", {}));
  const auto restored = Bank::Open(folder_ / "restored").value();
  ASSERT_NO_FATAL_FAILURE(expect_the_other(*restored));
  ASSERT_OK(restored->Audit());
  // The index of the bank itself, whose keys the other two have destroyed.
  const auto bank = Bank::Open(path_).value();
  ASSERT_OK(bank->StartWrite());
  ASSERT_NO_FATAL_FAILURE(expect_the_other(*bank));
}

// A backup holds no keys, so what was erased since it was made cannot come back from it, though its
// bytes are there.
TEST_F(EncryptionTest, OfTenInABackupNineComeBackOnceOneIsErased) {
  ASSERT_OK(Bank::Create(path_, {.encrypt = true}));
  std::vector<std::string> others;
  {
    const auto writer = Bank::Open(path_).value()->StartWrite().value();
    for (int i = 1; i <= 10; ++i) {
      ASSERT_OK(writer->Add(MakeSecret(i)));
      if (i != 4) others.push_back(MakeSecret(i).key);
    }
    ASSERT_OK(writer->Commit("ten"));
  }
  ASSERT_OK(BackupBank(path_, folder_ / "backup"));
  EXPECT_EQ(Bank::Open(folder_ / "backup").value()->Latest().value()->Stats()->documents, 10);
  std::string certificate;
  {
    const auto bank = Bank::Open(path_).value();
    const auto writer = bank->StartWrite().value();
    const auto erased = writer->Erase({.documents = {MakeSecret(4).key}, .where = {}}, "");
    ASSERT_OK(erased);
    ASSERT_EQ(erased->waits_for, "");
    const auto made = writer->Certify(folder_ / "signing.key", erased->numbers);
    ASSERT_OK(made);
    certificate = *made;
    EXPECT_EQ(bank->VerifyErased(certificate)->documents, 1);
  }
  EXPECT_EQ(Bank::Open(folder_ / "backup").value()->VerifyErased(certificate).status().code(),
            StatusCode::kDataLoss)
      << "its chain ends before";

  const auto report = RestoreBank(folder_ / "backup", folder_ / "restored");
  ASSERT_OK(report);
  EXPECT_EQ(report->documents, 9);
  const auto restored = Bank::Open(folder_ / "restored").value();
  const auto snapshot = restored->Latest().value();
  std::vector<std::string> keys;
  ASSERT_OK(snapshot->ForEachDocument({}, [&](const DocumentInfo& info) {
    keys.push_back(info.key);
    const auto content = snapshot->ReadContent(info.version);
    EXPECT_TRUE(content.ok()) << content.status();
    return true;
  }));
  EXPECT_EQ(keys, others);
  EXPECT_THAT(*snapshot->SearchLexical("zword400q", 5, {}), ::testing::IsEmpty());
  EXPECT_THAT(*snapshot->SearchLexical("zword500q", 5, {}), ::testing::SizeIs(1));
  ASSERT_OK(restored->Audit());
}

}  // namespace
}  // namespace msa
