#include "msa/bank/pack.h"

#include "msa/bank/bank_test_util.h"

namespace msa {
namespace {

std::vector<std::byte> Frame(const NewDocument& document) {
  FrameEncoder encoder;
  const auto frame = encoder.Encode(document).value();
  return {frame.begin(), frame.end()};
}

TEST(Frame, KeepsTextTokensAndPages) {
  NewDocument document = MakeDocument("k", "t", "some text in three parts here", 3);
  document.page_begin = {0, 5, 9};
  const auto content = DecodeFrame(Frame(document), PassageId{40});
  ASSERT_OK(content);
  EXPECT_EQ(content->text, document.text);
  EXPECT_EQ(content->page_begin, document.page_begin);
  ASSERT_EQ(content->passages.size(), 3u);
  EXPECT_EQ(content->passages[2].id.value, 42);
  EXPECT_EQ(content->tokens[1], document.passages[1].tokens);
}

TEST(Frame, EmptyDocument) {
  const auto content = DecodeFrame(Frame(NewDocument{}), PassageId{0});
  ASSERT_OK(content);
  EXPECT_TRUE(content->text.empty());
  EXPECT_TRUE(content->passages.empty());
}

// DecodeFrame is the last line of defence: it must survive bytes that passed the checksum.
TEST(Frame, DamagedBytesNeverCrash) {
  const auto frame = Frame(MakeDocument("k", "t", "abc def ghi jkl mno pqr stu vwx", 4));
  for (size_t i = 0; i < frame.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      auto damaged = frame;
      damaged[i] ^= static_cast<std::byte>(1 << bit);
      const auto content = DecodeFrame(damaged, PassageId{0}, 1 << 20);
      if (content.ok()) {
        for (const PassageInfo& passage : content->passages) {
          ASSERT_LE(passage.end, static_cast<int64_t>(content->text.size()));
        }
      } else {
        EXPECT_EQ(content.status().code(), StatusCode::kDataLoss);
      }
    }
  }
  for (size_t size = 0; size < frame.size(); ++size) {
    EXPECT_FALSE(DecodeFrame(std::span(frame).first(size), PassageId{0}).ok());
  }
}

// A header alone takes no memory for what it says will follow.
TEST(Frame, ClaimOfMoreThanItCanHoldIsRefused) {
  // zstd's magic number, a content size of 8 bytes, 2^35, and an empty last block.
  const std::string claim("\x28\xb5\x2f\xfd\xe0\x00\x00\x00\x00\x08\x00\x00\x00\x01\x00\x00", 16);
  const auto content = DecodeFrame(AsBytes(claim), PassageId{0});
  EXPECT_EQ(content.status().code(), StatusCode::kDataLoss);
  EXPECT_EQ(content.status().message(), "frame: no valid content size");
  // Text that is as easy to compress as can be is still read.
  NewDocument document = MakeDocument("k", "t", std::string(10 << 20, 'a'), 1);
  EXPECT_EQ(DecodeFrame(Frame(document), PassageId{0})->text, document.text);
}

}  // namespace
}  // namespace msa
