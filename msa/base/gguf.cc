#include "msa/base/gguf.h"

#include <algorithm>
#include <bit>
#include <concepts>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

namespace msa {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF files are read in place");

constexpr uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr int64_t kMinTensorInfoBytes = 8 + 4 + 4 + 8;
constexpr int64_t kMinMetadataBytes = 8 + 4 + 1;
constexpr uint32_t kMaxDims = 4;  // GGML_MAX_DIMS

enum class ValueType : uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64
};

// Bytes of a fixed-size value; for a string the least there can be; 0 for what has no such size.
int64_t MinValueBytes(ValueType type) {
  switch (type) {
    case ValueType::kU8:
    case ValueType::kI8:
    case ValueType::kBool: return 1;
    case ValueType::kU16:
    case ValueType::kI16: return 2;
    case ValueType::kU32:
    case ValueType::kI32:
    case ValueType::kF32: return 4;
    case ValueType::kU64:
    case ValueType::kI64:
    case ValueType::kF64:
    case ValueType::kString: return 8;
    case ValueType::kArray: return 0;
  }
  return 0;
}

// Reads forward through the mapped file; every length is compared with what is left of it first.
class Cursor {
 public:
  explicit Cursor(std::span<const std::byte> bytes) : bytes_(bytes) {}

  int64_t offset() const { return static_cast<int64_t>(offset_); }
  int64_t left() const { return static_cast<int64_t>(bytes_.size() - offset_); }

  Status Corrupt(const std::string& what) const {
    return DataLoss("byte " + std::to_string(offset_) + ": " + what);
  }

  template <class T>
  Result<T> Read(const char* what) {
    if (bytes_.size() - offset_ < sizeof(T)) return Truncated(what, sizeof(T));
    T value;
    std::memcpy(&value, bytes_.data() + offset_, sizeof(T));
    offset_ += sizeof(T);
    return value;
  }

  Result<std::string> ReadString(const char* what) {
    MSA_ASSIGN_OR_RETURN(const auto length, Read<uint64_t>(what));
    if (length > bytes_.size() - offset_) return Truncated(what, length);
    std::string text(AsChars(bytes_.subspan(offset_, static_cast<size_t>(length))));
    offset_ += static_cast<size_t>(length);
    return text;
  }

  // A number of things of at least `min_bytes` each that the rest of the file can hold.
  Result<int64_t> ReadCount(const char* what, int64_t min_bytes) {
    MSA_ASSIGN_OR_RETURN(const auto count, Read<uint64_t>(what));
    if (count > static_cast<uint64_t>(left() / min_bytes)) {
      return Corrupt(std::string(what) + " of " + std::to_string(count) + " in the " +
                     std::to_string(left()) + " bytes left");
    }
    return static_cast<int64_t>(count);
  }

 private:
  Status Truncated(const char* what, uint64_t bytes) const {
    return Corrupt(std::string(what) + " of " + std::to_string(bytes) + " bytes, the file has " +
                   std::to_string(left()) + " left");
  }

  std::span<const std::byte> bytes_;
  size_t offset_ = 0;
};

template <std::integral T>
Result<int64_t> ReadInt(Cursor& in) {
  MSA_ASSIGN_OR_RETURN(const T value, in.Read<T>("metadata integer"));
  if (!std::in_range<int64_t>(value)) {
    return Unimplemented("unsigned integer " + std::to_string(value) + " above 2^63 - 1");
  }
  return static_cast<int64_t>(value);
}

Result<int64_t> ReadInt(Cursor& in, ValueType type) {
  switch (type) {
    case ValueType::kBool:
    case ValueType::kU8: return ReadInt<uint8_t>(in);
    case ValueType::kI8: return ReadInt<int8_t>(in);
    case ValueType::kU16: return ReadInt<uint16_t>(in);
    case ValueType::kI16: return ReadInt<int16_t>(in);
    case ValueType::kU32: return ReadInt<uint32_t>(in);
    case ValueType::kI32: return ReadInt<int32_t>(in);
    case ValueType::kU64: return ReadInt<uint64_t>(in);
    default: return ReadInt<int64_t>(in);
  }
}

Result<double> ReadFloat(Cursor& in, ValueType type) {
  if (type == ValueType::kF64) return in.Read<double>("metadata number");
  MSA_ASSIGN_OR_RETURN(const float value, in.Read<float>("metadata number"));
  return static_cast<double>(value);
}

bool IsFloat(ValueType type) { return type == ValueType::kF32 || type == ValueType::kF64; }

Result<ValueType> ReadValueType(Cursor& in) {
  MSA_ASSIGN_OR_RETURN(const auto type, in.Read<uint32_t>("value type"));
  if (type > static_cast<uint32_t>(ValueType::kF64)) {
    return in.Corrupt("value type " + std::to_string(type) + ", expected 0 to 12");
  }
  return static_cast<ValueType>(type);
}

Result<GgufValue> ReadArray(Cursor& in) {
  MSA_ASSIGN_OR_RETURN(const ValueType type, ReadValueType(in));
  if (type == ValueType::kArray) return Unimplemented("array of arrays");
  MSA_ASSIGN_OR_RETURN(const int64_t count, in.ReadCount("array", MinValueBytes(type)));
  const auto fill = [&](auto values, auto read) -> Result<GgufValue> {
    values.reserve(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) {
      MSA_ASSIGN_OR_RETURN(auto value, read());
      values.push_back(std::move(value));
    }
    return GgufValue(std::move(values));
  };
  if (type == ValueType::kString)
    return fill(GgufStrings(), [&] { return in.ReadString("array string"); });
  if (IsFloat(type)) return fill(GgufFloats(), [&] { return ReadFloat(in, type); });
  return fill(GgufInts(), [&] { return ReadInt(in, type); });
}

Result<GgufValue> ReadValue(Cursor& in) {
  MSA_ASSIGN_OR_RETURN(const ValueType type, ReadValueType(in));
  if (type == ValueType::kArray) return ReadArray(in);
  if (type == ValueType::kString) {
    MSA_ASSIGN_OR_RETURN(std::string text, in.ReadString("metadata string"));
    return GgufValue(std::move(text));
  }
  if (IsFloat(type)) {
    MSA_ASSIGN_OR_RETURN(const double value, ReadFloat(in, type));
    return GgufValue(value);
  }
  MSA_ASSIGN_OR_RETURN(const int64_t value, ReadInt(in, type));
  if (type == ValueType::kBool) return GgufValue(value != 0);
  return GgufValue(value);
}

// A tensor as the directory states it; `bytes` comes when the data's place is known.
struct TensorInfo {
  GgufTensor tensor;
  uint64_t offset_bytes;  // from the start of the data
};

Result<TensorInfo> ReadTensorInfo(Cursor& in) {
  TensorInfo info;
  MSA_ASSIGN_OR_RETURN(info.tensor.name, in.ReadString("tensor name"));
  MSA_ASSIGN_OR_RETURN(const auto dims, in.Read<uint32_t>("number of dimensions"));
  if (dims > kMaxDims) {
    return in.Corrupt("tensor " + info.tensor.name + " of " + std::to_string(dims) +
                      " dimensions, expected at most 4");
  }
  info.tensor.shape.resize(dims);
  int64_t elements = 1;
  for (uint32_t i = 0; i < dims; ++i) {
    MSA_ASSIGN_OR_RETURN(const auto size, in.Read<uint64_t>("dimension"));
    if (!std::in_range<int64_t>(size) ||
        __builtin_mul_overflow(elements, static_cast<int64_t>(size), &elements)) {
      return in.Corrupt("tensor " + info.tensor.name + " of 2^63 elements or more");
    }
    info.tensor.shape[dims - 1 - i] = static_cast<int64_t>(size);
  }
  MSA_ASSIGN_OR_RETURN(const auto type, in.Read<uint32_t>("tensor type"));
  info.tensor.type = static_cast<GgmlType>(type);
  MSA_ASSIGN_OR_RETURN(info.offset_bytes, in.Read<uint64_t>("tensor offset"));
  return info;
}

// Sets `bytes` of a tensor in `data`, the part of the file behind the directory.
Status PlaceTensor(std::span<const std::byte> data, const TensorInfo& info, GgufTensor* tensor) {
  if (info.offset_bytes > data.size()) {
    return DataLoss("tensor " + tensor->name + " begins at byte " +
                    std::to_string(info.offset_bytes) + " of the data, which has " +
                    std::to_string(data.size()));
  }
  if (!IsReadableGgmlType(tensor->type)) return OkStatus();  // its size is not known to us
  const int64_t block = GgmlBlockElements(tensor->type);
  const int64_t row = tensor->shape.empty() ? 1 : tensor->shape.back();
  if (row % block != 0) {
    return DataLoss("tensor " + tensor->name + " has rows of " + std::to_string(row) +
                    " elements, " + GgmlTypeName(tensor->type) + " needs a multiple of " +
                    std::to_string(block));
  }
  const std::span<const std::byte> rest = data.subspan(static_cast<size_t>(info.offset_bytes));
  const int64_t blocks = tensor->num_elements() / block;
  const auto room = static_cast<int64_t>(rest.size()) / GgmlBlockBytes(tensor->type);
  if (blocks > room) {
    return DataLoss("tensor " + tensor->name + " of " + std::to_string(blocks) +
                    " blocks, the file holds " + std::to_string(room) + " behind its offset");
  }
  tensor->bytes = rest.first(static_cast<size_t>(blocks * GgmlBlockBytes(tensor->type)));
  return OkStatus();
}

struct Header {
  int64_t tensors;
  int64_t metadata;
};

Result<Header> ReadHeader(Cursor& in) {
  if (in.left() < 4 || *in.Read<uint32_t>("magic") != kMagic) {
    return InvalidArgument("not a GGUF file (it does not begin with \"GGUF\")");
  }
  MSA_ASSIGN_OR_RETURN(const auto version, in.Read<uint32_t>("version"));
  if (version != 2 && version != 3) {
    const bool swapped = version != 0 && (version & 0xFFFF) == 0;
    return Unimplemented(swapped ? "big-endian GGUF; little-endian is read"
                                 : "GGUF version " + std::to_string(version) +
                                       "; versions 2 and 3 are read");
  }
  Header header;
  MSA_ASSIGN_OR_RETURN(header.tensors, in.ReadCount("tensor directory", kMinTensorInfoBytes));
  MSA_ASSIGN_OR_RETURN(header.metadata, in.ReadCount("metadata", kMinMetadataBytes));
  return header;
}

Result<int64_t> Alignment(const std::map<std::string, GgufValue, std::less<>>& metadata) {
  const auto found = metadata.find("general.alignment");
  if (found == metadata.end()) return int64_t{32};
  const auto* value = std::get_if<int64_t>(&found->second);
  if (value == nullptr || *value <= 0 || *value > (1 << 20) ||
      !std::has_single_bit(static_cast<uint64_t>(*value))) {
    return DataLoss("general.alignment is not a power of two up to 2^20");
  }
  return *value;
}

// The value of a key as a T, or what is wrong with it.
template <class T>
Result<const T*> Get(const GgufFile& file, std::string_view key, const char* expected) {
  const auto found = file.metadata().find(key);
  if (found == file.metadata().end()) {
    return NotFound(file.path() + ": no metadata key " + std::string(key));
  }
  const T* value = std::get_if<T>(&found->second);
  if (value == nullptr) {
    return InvalidArgument(file.path() + ": metadata key " + std::string(key) + " is not " +
                           expected);
  }
  return value;
}

}  // namespace

int64_t GgufTensor::num_elements() const {
  // First: beside it the others may multiply beyond 2^63.
  if (std::ranges::find(shape, 0) != shape.end()) return 0;
  int64_t elements = 1;
  for (const int64_t size : shape) elements *= size;
  return elements;
}

Result<std::shared_ptr<const GgufFile>> GgufFile::Open(const std::string& path) {
  std::shared_ptr<GgufFile> file(new GgufFile());
  file->path_ = path;
  MSA_ASSIGN_OR_RETURN(file->mapping_, MappedFile::Open(path));
  const Status status = file->Parse();
  if (!status.ok()) return status.WithContext(path);
  return std::shared_ptr<const GgufFile>(std::move(file));
}

Status GgufFile::Parse() {
  Cursor in(mapping_.bytes());
  MSA_ASSIGN_OR_RETURN(const Header header, ReadHeader(in));
  for (int64_t i = 0; i < header.metadata; ++i) {
    MSA_ASSIGN_OR_RETURN(std::string key, in.ReadString("metadata key"));
    auto value = ReadValue(in);
    if (!value.ok()) return value.status().WithContext("metadata key " + key);
    if (!metadata_.emplace(key, *std::move(value)).second) {
      return in.Corrupt("metadata key " + key + " for the second time");
    }
  }
  std::vector<TensorInfo> infos;
  infos.reserve(static_cast<size_t>(header.tensors));
  for (int64_t i = 0; i < header.tensors; ++i) {
    MSA_ASSIGN_OR_RETURN(TensorInfo info, ReadTensorInfo(in));
    infos.push_back(std::move(info));
  }
  MSA_ASSIGN_OR_RETURN(const int64_t alignment, Alignment(metadata_));
  const int64_t data_begin = (in.offset() + alignment - 1) / alignment * alignment;
  const auto data =
      mapping_.bytes().subspan(static_cast<size_t>(std::min(data_begin, size_bytes())));
  for (TensorInfo& info : infos) {
    MSA_RETURN_IF_ERROR(PlaceTensor(data, info, &info.tensor));
    if (!index_.emplace(info.tensor.name, tensors_.size()).second) {
      return DataLoss("tensor " + info.tensor.name + " is there twice");
    }
    tensors_.push_back(std::move(info.tensor));
  }
  return OkStatus();
}

Result<int64_t> GgufFile::GetInt(std::string_view key) const {
  MSA_ASSIGN_OR_RETURN(const int64_t* value, Get<int64_t>(*this, key, "an integer"));
  return *value;
}

Result<double> GgufFile::GetFloat(std::string_view key) const {
  const auto found = metadata_.find(key);
  if (found != metadata_.end()) {
    if (const auto* value = std::get_if<int64_t>(&found->second)) {
      return static_cast<double>(*value);
    }
  }
  MSA_ASSIGN_OR_RETURN(const double* value, Get<double>(*this, key, "a number"));
  return *value;
}

Result<std::string> GgufFile::GetString(std::string_view key) const {
  MSA_ASSIGN_OR_RETURN(const std::string* value, Get<std::string>(*this, key, "a string"));
  return *value;
}

Result<const GgufStrings*> GgufFile::GetStrings(std::string_view key) const {
  return Get<GgufStrings>(*this, key, "an array of strings");
}

Result<const GgufInts*> GgufFile::GetInts(std::string_view key) const {
  return Get<GgufInts>(*this, key, "an array of integers");
}

const GgufTensor* GgufFile::Find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

}  // namespace msa
