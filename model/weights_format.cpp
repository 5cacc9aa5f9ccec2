#include "model/weights_format.hpp"

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <string_view>
#include <vector>

namespace ziyu::model {
namespace {

constexpr auto export_again = "; export the model again from PyTorch with tools/export_model.py";

uint64_t little_endian(std::string_view bytes, size_t at, size_t count) {
  uint64_t result = 0;
  for (size_t i = count; i-- > 0;)
    result = result << 8 | (at + i < bytes.size() ? static_cast<uint8_t>(bytes[at + i]) : 0u);
  return result;
}

/// `count` bytes from `offset` on; fewer where the file ends.
std::string read_part(std::ifstream& in, uint64_t offset, uint64_t count) {
  in.clear();
  in.seekg(static_cast<std::streamoff>(offset));
  std::string result(count, '\0');
  in.read(result.data(), static_cast<std::streamsize>(count));
  result.resize(static_cast<size_t>(std::max<std::streamsize>(0, in.gcount())));
  return result;
}

/// The names in a ZIP archive, without their first folder, which PyTorch names after the file.
/// Empty without a directory: the file ends early.
std::vector<std::string> names_in_zip(std::ifstream& in, uint64_t size) {
  // The last record, behind which a comment of up to 64 KiB may stand.
  const auto tail_size = std::min<uint64_t>(size, 22 + 65535 + 20);
  const auto tail = read_part(in, size - tail_size, tail_size);
  const auto end = tail.rfind("PK\x05\x06");
  if (end == std::string::npos)
    return {};
  auto length = little_endian(tail, end + 12, 4), offset = little_endian(tail, end + 16, 4);
  if (end >= 20 && tail.compare(end - 20, 4, "PK\x06\x07") == 0) { // ZIP64
    const auto record = read_part(in, little_endian(tail, end - 20 + 8, 8), 56);
    if (record.starts_with("PK\x06\x06")) {
      length = little_endian(record, 40, 8);
      offset = little_endian(record, 48, 8);
    }
  }
  constexpr uint64_t most = 64 << 20;
  const auto directory = offset < size ? read_part(in, offset, std::min(length, most))
                                       : std::string{};
  std::vector<std::string> result;
  for (size_t at = 0; directory.compare(at, 4, "PK\x01\x02") == 0;) {
    const auto name_size = little_endian(directory, at + 28, 2);
    const auto name = directory.substr(at + 46, name_size);
    const auto slash = name.find('/');
    result.push_back(slash == std::string::npos ? name : name.substr(slash + 1));
    at += 46 + name_size + little_endian(directory, at + 30, 2)
          + little_endian(directory, at + 32, 2);
    if (at >= directory.size())
      break;
  }
  return result;
}

std::optional<std::string> foreign_archive(const std::vector<std::string>& names) {
  const auto any = [&names](auto&& test) { return std::any_of(names.begin(), names.end(), test); };
  const auto ends = [&any](std::string_view end) {
    return any([end](const std::string& x) { return x.ends_with(end); });
  };
  const auto begins = [&any](std::string_view begin) {
    return any([begin](const std::string& x) { return x.starts_with(begin); });
  };
  if (names.empty())
    return {}; // cut off: its SHA-256 will differ
  if (ends("constants.pkl") || begins("code/"))
    return {};
  if (any([](const std::string& x) { return x.find("aotinductor/") != std::string::npos; }))
    return std::string{"is a compiled package of AOTInductor (.pt2), which Ziyu does not load yet"}
           + export_again;
  if (ends("archive_format") || ends("serialized_exported_program.json")
      || ends("models/model.json"))
    return std::string{"is a program of torch.export (.pt2), not TorchScript"} + export_again;
  if (ends("data.pkl"))
    return "is a state dict or a pickled model, as torch.save writes them, not TorchScript; give "
           "it to tools/export_model.py ARCHITECTURE --checkpoint FILE";
  if (ends("model.weights.h5"))
    return std::string{"is a Keras model, not TorchScript; convert it to PyTorch first"};
  if (ends(".npy"))
    return std::string{"is an archive of NumPy arrays, not TorchScript; load them into a PyTorch "
                       "model, then use tools/export_model.py"};
  return std::string{"is a ZIP archive without TorchScript"} + export_again;
}

bool is_onnx(std::string_view head, const std::filesystem::path& file) {
  // A protobuf message that begins with field 1, ir_version, a small number; then comes the
  // producer (2), the domain (4), the graph (7) or the operator sets (8).
  if (head.size() < 4 || head[0] != '\x08' || head[1] < 1 || head[1] > 64)
    return false;
  return file.extension() == ".onnx"
         || std::string_view{"\x12\x1a\x22\x3a\x42"}.find(head[2]) != std::string_view::npos;
}

} // namespace

std::optional<std::string> foreign_weights(const std::filesystem::path& file) {
  std::ifstream in{file, std::ios::binary};
  std::error_code problem;
  const auto size = std::filesystem::file_size(file, problem);
  if (!in || problem)
    return {};
  const auto head = read_part(in, 0, std::min<uint64_t>(size, 512));
  if (head.starts_with("PK\x03\x04"))
    return foreign_archive(names_in_zip(in, size));
  if (const auto length = little_endian(head, 0, 8);
      head.size() > 10 && head[8] == '{' && length > 1 && length < size)
    return "is safetensors, a state dict without the model's code, not TorchScript; give it to "
           "tools/export_model.py ARCHITECTURE --checkpoint FILE";
  if (head.starts_with(std::string_view{"\x80\x02\x8a\x0a", 4}) || head.starts_with("\x80\x02")
      || head.starts_with("\x80\x03") || head.starts_with("\x80\x04")
      || head.starts_with("\x80\x05"))
    return "is a Python pickle, such as a state dict of an old torch.save, not TorchScript; give "
           "it to tools/export_model.py ARCHITECTURE --checkpoint FILE";
  if (head.starts_with("version https://git-lfs"))
    return "is only a pointer of Git LFS, not the weights; run git lfs pull where it came from";
  if (head.starts_with("\x89HDF"))
    return "is HDF5, such as a Keras model, not TorchScript; convert it to PyTorch first";
  if (head.size() > 8 && head.compare(4, 4, "TFL3") == 0)
    return "is TensorFlow Lite, not TorchScript; convert it to PyTorch first";
  if (head.starts_with("GGUF"))
    return "is GGUF, not TorchScript; Ziyu runs image classifiers of PyTorch";
  const auto text = head.find_first_not_of(" \t\r\n");
  if (text != std::string::npos && head[text] == '<')
    return "is a web page, not weights; download the file itself";
  if (is_onnx(head, file))
    return std::string{"is ONNX, not TorchScript"} + export_again;
  return {};
}

} // namespace ziyu::model
