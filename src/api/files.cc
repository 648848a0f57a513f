#include "e2enet/files.h"

#include "base/atomic_file.h"

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

}  // namespace e2enet
