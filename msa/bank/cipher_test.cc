#include "msa/bank/cipher.h"

#include <gmock/gmock.h>

#include "msa/bank/bank_test_util.h"

namespace msa {
namespace {

constexpr std::string_view kContent = "The ferry to Utoya leaves at nine.";

class SealerTest : public ::testing::Test {
 protected:
  const SecretKey key_ = SecretKey::Random();
  const BankId bank_ = MakeRandomNumber();
  const RandomNumber document_ = MakeRandomNumber();
  const Sealer sealer_{key_, bank_, document_, 7};
  const std::vector<std::byte> message_ = sealer_.Seal(CipherRole::kFrame, 1, 2, AsBytes(kContent));

  StatusCode Refusal(const Sealer& sealer, CipherRole role, int64_t part, int64_t block) {
    return sealer.Open(role, part, block, message_).status().code();
  }
};

TEST_F(SealerTest, OpensWhatItSealed) {
  const auto content = sealer_.Open(CipherRole::kFrame, 1, 2, message_);
  ASSERT_OK(content);
  EXPECT_EQ(AsChars(*content), kContent);
  EXPECT_EQ(message_.size(), kContent.size() + Sealer::kExtraBytes);
  EXPECT_EQ(AsChars(message_).find("ferry"), std::string_view::npos);

  const auto empty = sealer_.Seal(CipherRole::kColumn, 0, 0, {});
  const auto opened = sealer_.Open(CipherRole::kColumn, 0, 0, empty);
  ASSERT_OK(opened);
  EXPECT_TRUE(opened->empty());
}

TEST_F(SealerTest, SealsTheSameContentDifferentlyEachTime) {
  EXPECT_NE(message_, sealer_.Seal(CipherRole::kFrame, 1, 2, AsBytes(kContent)));
}

TEST_F(SealerTest, RefusesAMessageOfAnotherPlace) {
  EXPECT_EQ(Refusal(sealer_, CipherRole::kLatent, 1, 2), StatusCode::kDataLoss);
  EXPECT_EQ(Refusal(sealer_, CipherRole::kFrame, 2, 2), StatusCode::kDataLoss);
  EXPECT_EQ(Refusal(sealer_, CipherRole::kFrame, 1, 3), StatusCode::kDataLoss);
  const auto elsewhere = [&](const Sealer& sealer) {
    return Refusal(sealer, CipherRole::kFrame, 1, 2);
  };
  EXPECT_EQ(elsewhere({key_, bank_, document_, 8}), StatusCode::kDataLoss);
  EXPECT_EQ(elsewhere({key_, bank_, MakeRandomNumber(), 7}), StatusCode::kDataLoss);
  EXPECT_EQ(elsewhere({key_, MakeRandomNumber(), document_, 7}), StatusCode::kDataLoss);
  EXPECT_EQ(elsewhere({SecretKey::Random(), bank_, document_, 7}), StatusCode::kDataLoss);
}

TEST_F(SealerTest, RefusesEveryChangedByteAndEveryLength) {
  for (size_t i = 0; i < message_.size(); ++i) {
    auto changed = message_;
    changed[i] ^= std::byte{1};
    EXPECT_EQ(sealer_.Open(CipherRole::kFrame, 1, 2, changed).status().code(),
              StatusCode::kDataLoss)
        << "byte " << i;
    EXPECT_EQ(sealer_.Open(CipherRole::kFrame, 1, 2, std::span(message_).first(i)).status().code(),
              StatusCode::kDataLoss)
        << "length " << i;
  }
}

TEST(SecretKeyTest, DerivedKeysDifferByPurposeAndByKey) {
  const SecretKey key = SecretKey::Random();
  const auto bytes = [](const SecretKey& k) { return HexEncode(k.bytes()); };
  EXPECT_EQ(bytes(key.Derive(1)), bytes(key.Derive(1)));
  EXPECT_NE(bytes(key.Derive(1)), bytes(key.Derive(2)));
  EXPECT_NE(bytes(key.Derive(1)), bytes(key));
  EXPECT_NE(bytes(key.Derive(1)), bytes(SecretKey::Random().Derive(1)));
}

}  // namespace
}  // namespace msa
