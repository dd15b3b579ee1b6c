#include "msa/bank/sqlite.h"

#include <gtest/gtest.h>

namespace msa {
namespace {

TEST(SqliteTest, WhatAsksForMoreMemoryThanAllowedIsDamage) {
  Database db = Database::Open(":memory:", SQLITE_OPEN_READWRITE).value();
  Statement before = db.Prepare("SELECT length(randomblob(?1))").value();
  db.LimitAllocations(size_t{1} << 20);
  Statement after = db.Prepare("SELECT length(randomblob(?1))").value();

  EXPECT_TRUE(after.Bind(int64_t{1000}).Step().value());
  const Status refused = after.Bind(int64_t{2} << 20).Step().status();
  EXPECT_EQ(refused.code(), StatusCode::kDataLoss) << refused;
  EXPECT_EQ(db.Execute("SELECT randomblob(2000000)").code(), StatusCode::kDataLoss);

  // Neither the connection nor other statements suffer.
  EXPECT_TRUE(after.Bind(int64_t{1000}).Step().value());
  EXPECT_TRUE(before.Bind(int64_t{2} << 20).Step().value());
  EXPECT_EQ(before.Int(0), int64_t{2} << 20);
}

}  // namespace
}  // namespace msa
