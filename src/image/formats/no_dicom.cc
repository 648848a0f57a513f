#include "image/formats/no_dicom.h"

#include <cctype>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "e2enet/error.h"

namespace e2enet::imaging {
namespace {

namespace fs = std::filesystem;

bool begins(const fs::path& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return false;
  char head[132];
  std::ifstream file(path, std::ios::binary);
  return file.read(head, sizeof head) && std::memcmp(head + 128, "DICM", 4) == 0;
}

[[noreturn]] void refuse(const std::string& path) {
  throw Error(ErrorCode::invalid_argument,
              path + ": expected a build with DICOM (E2ENET_WITH_DICOM, docs/dicom.md), found one without");
}

bool ends_in_dcm(const std::string& path) {
  std::string ending = fs::path(path).extension().string();
  for (char& c : ending) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return ending == ".dcm";
}

}  // namespace

bool looks_like_dicom(const std::string& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return begins(path);
  int looks = 0;
  fs::recursive_directory_iterator entry(path, error), end;
  for (; !error && entry != end && looks < 256; entry.increment(error), ++looks) {
    if (begins(entry->path())) return true;
  }
  return false;
}

Format no_dicom_format() {
  Format format;
  format.name = "DICOM";
  format.recognises = [](const std::string& path) { return looks_like_dicom(path); };
  format.open = [](const ChannelRequest& request) -> std::unique_ptr<ChannelFile> { refuse(request.paths[0]); };
  format.writes = [](const std::string& path) { return ends_in_dcm(path); };
  format.endings = "";
  format.has_series = true;
  format.create_labels = [](const std::string& path, const LabelFileContents&) -> std::unique_ptr<LabelFile> {
    refuse(path);
  };
  return format;
}

}  // namespace e2enet::imaging
