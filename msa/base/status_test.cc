#include "msa/base/status.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>

namespace msa {
namespace {

Result<int> Half(int x) {
  if (x % 2 != 0) return InvalidArgument("odd: " + std::to_string(x));
  return x / 2;
}

Result<int> Quarter(int x) {
  MSA_ASSIGN_OR_RETURN(const int half, Half(x));
  MSA_ASSIGN_OR_RETURN(const int quarter, Half(half));
  return quarter;
}

Status Check(int x) {
  MSA_RETURN_IF_ERROR(Half(x).status());
  return OkStatus();
}

TEST(Status, IsOkByDefault) {
  EXPECT_TRUE(Status().ok());
  EXPECT_EQ(Status().ToString(), "ok");
}

TEST(Status, NamesItsCode) {
  EXPECT_EQ(DataLoss("segment 3").ToString(), "data loss: segment 3");
  EXPECT_EQ(InvalidArgument("k").code(), StatusCode::kInvalidArgument);
}

TEST(Status, ContextStandsBeforeTheMessageAndKeepsTheCode) {
  const Status status = NotFound("no such file").WithContext("/bank");
  EXPECT_EQ(status.ToString(), "not found: /bank: no such file");
  EXPECT_TRUE(OkStatus().WithContext("/bank").ok());
}

TEST(Status, ErrnoBecomesTheCodeACallerActsOn) {
  EXPECT_EQ(ErrnoStatus("open /a", ENOENT).code(), StatusCode::kNotFound);
  EXPECT_EQ(ErrnoStatus("write /a", ENOSPC).code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(ErrnoStatus("make /a", EEXIST).code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(ErrnoStatus("read /a", EIO).code(), StatusCode::kIoError);
  EXPECT_EQ(ErrnoStatus("open /a", ENOENT).message(), "open /a: No such file or directory");
}

TEST(Result, CarriesAValueOrAReason) {
  EXPECT_EQ(*Half(8), 4);
  EXPECT_TRUE(Half(8).status().ok());
  EXPECT_FALSE(Half(7).ok());
  EXPECT_EQ(Half(7).status().message(), "odd: 7");
}

TEST(Result, MacrosReturnTheFirstError) {
  EXPECT_EQ(*Quarter(8), 2);
  EXPECT_EQ(Quarter(6).status().message(), "odd: 3");
  EXPECT_EQ(Check(3).message(), "odd: 3");
  EXPECT_TRUE(Check(4).ok());
}

TEST(Result, MovesWhatCannotBeCopied) {
  Result<std::unique_ptr<int>> result(std::make_unique<int>(5));
  const std::unique_ptr<int> value = *std::move(result);
  EXPECT_EQ(*value, 5);
}

TEST(ResultDeathTest, ValueOfAnErrorIsABug) {
  EXPECT_DEATH((void)*Half(7), "check failed: ok\\(\\)");
}

}  // namespace
}  // namespace msa
