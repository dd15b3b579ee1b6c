#include "msa/base/hash.h"

#include <gtest/gtest.h>

#include "msa/base/file.h"

namespace msa {
namespace {

std::string Hex(const Digest& digest) { return HexEncode(digest); }

// Answers of `sha256sum` and `b2sum -l 256`.
TEST(Hash, Sha256KnownAnswers) {
  EXPECT_EQ(Hex(Sha256({})), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Hex(Sha256(AsBytes("abc"))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Hash, Blake2bKnownAnswers) {
  EXPECT_EQ(Hex(Blake2b({})), "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8");
  EXPECT_EQ(Hex(Blake2b(AsBytes("abc"))),
            "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
}

TEST(Hash, Checksum64IsTheFirstBytesOfBlake2b) {
  EXPECT_EQ(Checksum64(AsBytes("abc")), 0x723942633c81ddbdu);
}

TEST(Hash, HexIsLowerCaseAndFull) {
  EXPECT_EQ(HexEncode(AsBytes(std::string_view("\x00\x0f\xf0\xff", 4))), "000ff0ff");
  EXPECT_EQ(HexEncode({}), "");
}

TEST(Hash, RandomHexHasItsLengthAndDiffers) {
  EXPECT_EQ(RandomHex(16).size(), 32u);
  EXPECT_NE(RandomHex(16), RandomHex(16));
  EXPECT_EQ(RandomHex(0), "");
}

}  // namespace
}  // namespace msa
