#include "msa/base/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <tuple>
#include <utility>

namespace msa {
namespace {

using Json = nlohmann::json;

static_assert(std::endian::native == std::endian::little, "safetensors are read in place");

constexpr size_t kLengthBytes = 8;
constexpr size_t kMaxHeaderBytes = 100'000'000;  // as the reference implementation
constexpr size_t kAlignment = 64;

constexpr std::array<std::pair<DType, std::string_view>, 8> kNames = {{{DType::kF32, "F32"},
                                                                       {DType::kF16, "F16"},
                                                                       {DType::kBF16, "BF16"},
                                                                       {DType::kI8, "I8"},
                                                                       {DType::kI32, "I32"},
                                                                       {DType::kI64, "I64"},
                                                                       {DType::kU8, "U8"},
                                                                       {DType::kU16, "U16"}}};

std::string_view SafetensorsName(DType dtype) {
  for (const auto& [type, name] : kNames) {
    if (type == dtype) return name;
  }
  MSA_CHECK(false);
}

Result<DType> ParseSafetensorsName(const std::string& name) {
  std::string known;
  for (const auto& [type, type_name] : kNames) {
    if (type_name == name) return type;
    known += ' ';
    known += type_name;
  }
  return Unimplemented("dtype " + name + " is not read; those that are:" + known);
}

// A JSON array of non-negative integers below 2^63.
std::optional<std::vector<int64_t>> AsSizes(const Json& json) {
  if (!json.is_array()) return std::nullopt;
  std::vector<int64_t> sizes;
  for (const Json& item : json) {
    if (!item.is_number_unsigned() || !std::in_range<int64_t>(item.get<uint64_t>())) {
      return std::nullopt;
    }
    sizes.push_back(item.get<int64_t>());
  }
  return sizes;
}

// Bytes of a tensor; nullopt if they pass 2^63.
std::optional<int64_t> CheckedBytes(DType dtype, std::span<const int64_t> shape) {
  int64_t bytes = DTypeSize(dtype);
  for (const int64_t size : shape) {
    if (__builtin_mul_overflow(bytes, size, &bytes)) return std::nullopt;
  }
  return bytes;
}

// One entry of the header; `data` is all that follows it.
Result<SafeTensor> ParseTensor(const std::string& name, const Json& entry,
                               std::span<const std::byte> data) {
  const auto corrupt = [&](const std::string& what) {
    return DataLoss("tensor " + name + ": " + what);
  };
  if (!entry.is_object() || !entry.contains("dtype") || !entry["dtype"].is_string() ||
      !entry.contains("shape") || !entry.contains("data_offsets")) {
    return corrupt("expected dtype, shape and data_offsets");
  }
  const auto shape = AsSizes(entry["shape"]);
  const auto offsets = AsSizes(entry["data_offsets"]);
  if (!shape || !offsets || offsets->size() != 2) return corrupt("shape or data_offsets are wrong");
  auto dtype = ParseSafetensorsName(entry["dtype"].get<std::string>());
  if (!dtype.ok()) return dtype.status().WithContext("tensor " + name);
  const auto [begin, end] = std::pair((*offsets)[0], (*offsets)[1]);
  if (begin > end || end > static_cast<int64_t>(data.size())) {
    return corrupt("bytes " + std::to_string(begin) + " to " + std::to_string(end) +
                   " of the data, which has " + std::to_string(data.size()));
  }
  const auto bytes = CheckedBytes(*dtype, *shape);
  if (!bytes || *bytes != end - begin) {
    return corrupt(std::to_string(end - begin) + " bytes, its shape needs " +
                   (bytes ? std::to_string(*bytes) : "2^63 or more"));
  }
  return SafeTensor{name, *dtype, *shape,
                    data.subspan(static_cast<size_t>(begin), static_cast<size_t>(*bytes))};
}

Status ParseMetadata(const Json& json, std::map<std::string, std::string, std::less<>>* metadata) {
  if (!json.is_object()) return DataLoss("__metadata__ is not an object");
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string()) return DataLoss("__metadata__ " + key + " is not a string");
    metadata->emplace(key, value.get<std::string>());
  }
  return OkStatus();
}

}  // namespace

int64_t SafeTensor::num_elements() const {
  int64_t elements = 1;
  for (const int64_t size : shape) elements *= size;
  return elements;
}

Result<std::shared_ptr<const SafetensorsFile>> SafetensorsFile::Open(const std::string& path) {
  std::shared_ptr<SafetensorsFile> file(new SafetensorsFile());
  file->path_ = path;
  MSA_ASSIGN_OR_RETURN(file->mapping_, MappedFile::Open(path));
  const Status status = file->Parse();
  if (!status.ok()) return status.WithContext(path);
  return std::shared_ptr<const SafetensorsFile>(std::move(file));
}

Status SafetensorsFile::Parse() {
  const std::span<const std::byte> bytes = mapping_.bytes();
  if (bytes.size() < kLengthBytes) {
    return DataLoss("not safetensors: " + std::to_string(bytes.size()) +
                    " bytes, the header's length alone takes 8");
  }
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof(length));
  if (length > kMaxHeaderBytes || length > bytes.size() - kLengthBytes) {
    return DataLoss("not safetensors: header of " + std::to_string(length) +
                    " bytes in a file of " + std::to_string(bytes.size()));
  }
  const auto header_bytes = static_cast<size_t>(length);
  const Json header = Json::parse(AsChars(bytes.subspan(kLengthBytes, header_bytes)), nullptr,
                                  /*allow_exceptions=*/false);
  if (!header.is_object()) return DataLoss("the header is not a JSON object");
  const std::span<const std::byte> data = bytes.subspan(kLengthBytes + header_bytes);
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      MSA_RETURN_IF_ERROR(ParseMetadata(entry, &metadata_));
      continue;
    }
    MSA_ASSIGN_OR_RETURN(SafeTensor tensor, ParseTensor(name, entry, data));
    tensors_.push_back(std::move(tensor));
  }
  std::ranges::sort(tensors_, {}, [](const SafeTensor& t) {
    return std::tuple(t.bytes.data(), t.bytes.size(), std::string_view(t.name));
  });
  const std::byte* previous_end = data.data();
  for (const SafeTensor& tensor : tensors_) {
    if (tensor.bytes.data() < previous_end) {
      return DataLoss("tensor " + tensor.name + " overlaps another");
    }
    previous_end = tensor.bytes.data() + tensor.bytes.size();
    index_.emplace(tensor.name, index_.size());
  }
  return OkStatus();
}

const SafeTensor* SafetensorsFile::Find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

std::string SafetensorsHeader(std::span<const SafeTensor> tensors,
                              const std::map<std::string, std::string, std::less<>>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  int64_t offset = 0;
  for (const SafeTensor& tensor : tensors) {
    const auto bytes = CheckedBytes(tensor.dtype, tensor.shape);
    MSA_CHECK(bytes.has_value() && !header.contains(tensor.name));
    header[tensor.name] = {{"dtype", SafetensorsName(tensor.dtype)},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, offset + *bytes}}};
    offset += *bytes;
  }
  std::string json = header.dump(-1, ' ', false, Json::error_handler_t::replace);
  const size_t unpadded = kLengthBytes + json.size();
  json.append((kAlignment - unpadded % kAlignment) % kAlignment, ' ');
  const uint64_t length = json.size();
  std::string out(kLengthBytes, '\0');
  std::memcpy(out.data(), &length, sizeof(length));
  return out + json;
}

}  // namespace msa
