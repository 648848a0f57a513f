#include "e2enet/files.h"

#include <algorithm>
#include <cctype>

namespace e2enet {
namespace {

char lower(char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); }
char upper(char c) { return static_cast<char>(std::toupper(static_cast<unsigned char>(c))); }
bool is_upper(char c) { return c != lower(c); }

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && std::equal(end.begin(), end.end(), text.end() - static_cast<long>(end.size()),
                                                 [](char a, char b) { return a == lower(b); });
}

// ".IMG" or ".Img" to ".HDR" or ".Hdr".
std::string other_half(const std::string& ending) {
  const std::string other = lower(ending[1]) == 'i' ? "hdr" : "img";
  std::string result = ending;
  for (std::size_t i = 0; i < other.size(); ++i) result[i + 1] = is_upper(ending[i + 1]) ? upper(other[i]) : other[i];
  return result;
}

std::string mapped(std::string text, char (*map)(char)) {
  std::transform(text.begin(), text.end(), text.begin(), map);
  return text;
}

}  // namespace

ImageName parse_image_name(const std::string& path) {
  ImageName name;
  const std::size_t zip = ends_with(path, ".gz") ? 3 : 0;
  const std::string plain = path.substr(0, path.size() - zip);
  name.kind = ends_with(plain, ".nii")   ? NameKind::single
              : ends_with(plain, ".hdr") ? NameKind::header
              : ends_with(plain, ".img") ? NameKind::data
                                         : NameKind::none;
  if (name.kind == NameKind::none) return name;
  name.zipped = zip > 0;
  name.stem = plain.substr(0, plain.size() - 4);
  name.ending = path.substr(name.stem.size());
  return name;
}

std::vector<std::string> written_files(const std::string& path) {
  const ImageName name = parse_image_name(path);
  if (!name.pair()) return {path};
  const std::string other = name.stem + other_half(name.ending);
  return name.kind == NameKind::data ? std::vector<std::string>{path, other} : std::vector<std::string>{other, path};
}

std::vector<std::string> partner_candidates(const std::string& path) {
  const ImageName name = parse_image_name(path);
  if (!name.pair()) return {};
  const std::string same = other_half(name.ending);
  const std::string plain = same.substr(0, 4);
  const std::string zip = is_upper(name.ending[1]) ? ".GZ" : ".gz";
  std::vector<std::string> endings = {same, name.zipped ? plain : plain + zip};
  for (const auto map : {lower, upper}) {
    for (const char* end : {"", ".gz"}) endings.push_back(mapped(plain + end, map));
  }
  endings.push_back(mapped(plain, upper) + ".gz");
  std::vector<std::string> paths;
  for (const std::string& ending : endings) {
    const std::string candidate = name.stem + ending;
    if (std::find(paths.begin(), paths.end(), candidate) == paths.end()) paths.push_back(candidate);
  }
  return paths;
}

}  // namespace e2enet
