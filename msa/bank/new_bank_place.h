// A new bank that appears as a whole or not at all: made in a folder beside its place, and renamed.
#pragma once

#include <string>
#include <string_view>

#include "msa/base/file.h"
#include "msa/base/status.h"

namespace msa {

class NewBankPlace {
 public:
  // `suffix` makes the folder's name of the bank's: ".restoring".
  NewBankPlace(FileSystem& fs, std::string_view bank, std::string_view suffix);

  // Where the bank is made.
  const std::string& folder() const { return folder_; }
  // kAlreadyExists: something is where the bank is to be.
  Status CheckFree() const;
  // Removes what one that was interrupted left: it may be of another moment, which nothing goes on
  // from. kAlreadyExists: the folder holds something else. kUnavailable: it is made there now.
  Status RemoveInterrupted() const;
  // Durable when it returns.
  Status Publish() const;

 private:
  FileSystem& fs_;
  const std::string bank_;
  const std::string folder_;
};

}  // namespace msa
