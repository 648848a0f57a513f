#include "e2enet/files.h"

#include "base/atomic_file.h"
#include "base/input_file.h"
#include "base/sha256.h"
#include "e2enet/error.h"

namespace e2enet {

struct OutputFile::Implementation {
  AtomicFile file;
};

OutputFile::OutputFile(const std::string& path) : implementation_(new Implementation{AtomicFile(path)}) {}
OutputFile::~OutputFile() = default;
OutputFile::OutputFile(OutputFile&&) noexcept = default;
OutputFile& OutputFile::operator=(OutputFile&&) noexcept = default;
void OutputFile::write(const void* bytes, std::size_t count) { implementation_->file.write(bytes, count); }
void OutputFile::commit() { implementation_->file.commit(); }

void write_whole_file(const std::string& path, const void* bytes, std::size_t count) {
  AtomicFile file(path);
  file.write(bytes, count);
  file.commit();
}

std::string sha256_of(const std::string& bytes) {
  Sha256 digest;
  digest.add(bytes.data(), bytes.size());
  return hexadecimal(digest.finish());
}

FileDigest digest_of_file(const std::string& path, const std::function<bool()>& stop) {
  Sha256 digest;
  FileDigest result;
  read_regular_file(path, [&](const char* bytes, std::size_t count) {
    if (stop && stop()) throw Error(ErrorCode::cancelled, "interrupted");
    digest.add(bytes, count);
    result.bytes += static_cast<std::int64_t>(count);
  });
  result.sha256 = hexadecimal(digest.finish());
  return result;
}

}  // namespace e2enet
