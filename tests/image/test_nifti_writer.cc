#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "e2enet/error.h"
#include "image/formats/formats.h"
#include "image/formats/gzip_writer.h"
#include "image/formats/nifti/nifti_layout.h"
#include "image/formats/nifti/nifti_reader.h"
#include "image/formats/nifti/nifti_writer.h"
#include "image/nifti_bytes.h"
#include "support/nifti_images.h"

using namespace e2enet;
using namespace e2enet::imaging;
using test::read_bytes;
using test::TemporaryFolder;
using test::write_bytes;

namespace {

NiftiHeader header_with_everything(int version) {
  NiftiHeader header;
  header.version = version;
  header.shape = {4, 3, 5};
  header.pixdim = {-1, 0.7f, 0.8f, 2.5f, 0, 0, 0, 0};
  header.qform_code = 1;
  header.sform_code = 4;
  header.quaternion = {0.1f, -0.2f, 0.3f};
  header.q_offset = {-12.5f, 7.25f, 1e3f};
  header.s_rows = {-0.7f, 0.01f, 0, 4, 0, 0.8f, 0.02f, 5, 0, 0, 2.5f, 6};
  header.units = 2 | 8;
  return header;
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("labels come back as written, with all that says where the image lies") {
  TemporaryFolder folder;
  std::vector<std::uint16_t> labels(60);
  for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::uint16_t>(i * 4);
  for (const int version : {1, 2}) {
    for (const std::string name : {"x.nii", "x.nii.gz", "x.hdr", "x.img", "y.hdr.gz", "z.img.gz"}) {
      for (const int largest : {236, 300}) {
        CAPTURE(version);
        CAPTURE(name);
        CAPTURE(largest);
        const NiftiHeader like = header_with_everything(version);
        write_labels(folder / name, like, labels.data(), largest);
        const LabelImage image = read_labels(folder / name);
        CHECK(image.labels == labels);
        CHECK(image.header.type == (largest > 255 ? StoredType::int16 : StoredType::uint8));
        CHECK(image.header.version == version);
        CHECK(image.header.shape == like.shape);
        CHECK(image.header.pixdim == like.pixdim);
        CHECK(image.header.qform_code == like.qform_code);
        CHECK(image.header.sform_code == like.sform_code);
        CHECK(image.header.quaternion == like.quaternion);
        CHECK(image.header.q_offset == like.q_offset);
        CHECK(image.header.s_rows == like.s_rows);
        CHECK(image.header.units == like.units);
        CHECK(!image.header.scaled);
        CHECK(image.header.separate_data == (name[2] != 'n'));
      }
    }
  }
}

TEST_CASE("label files say by their intent that they are labels, and other files do not") {
  TemporaryFolder folder;
  const std::vector<std::uint16_t> labels(60, 1);
  for (const int version : {1, 2}) {
    CAPTURE(version);
    const NiftiHeader like = header_with_everything(version);
    LabelFileContents contents;
    contents.like = &like;
    contents.largest_label = 2;
    const auto file = create_label_file(folder / "labels.nii", contents);
    file->append(labels.data(), 60);
    file->commit();
    ImageWriter plain(folder / "plain.nii", like, StoredType::uint8, 1, 1);
    plain.append(labels.data(), 60);
    plain.commit();
    const std::size_t at = version == 1 ? offsetof(nifti_1_header, intent_code) : offsetof(nifti_2_header, intent_code);
    std::int16_t of_labels = 0, of_others = 1;  // the first half of NIfTI-2's number, which is below 65536
    std::memcpy(&of_labels, read_bytes(folder / "labels.nii").data() + at, sizeof of_labels);
    std::memcpy(&of_others, read_bytes(folder / "plain.nii").data() + at, sizeof of_others);
    CHECK(of_labels == NIFTI_INTENT_LABEL);
    CHECK(of_others == 0);
  }
}

TEST_CASE("probabilities are a 4D image, class after class") {
  TemporaryFolder folder;
  const NiftiHeader like = header_with_everything(1);
  std::vector<float> values(180);
  std::iota(values.begin(), values.end(), 0.25f);
  write_volumes(folder / "p.nii.gz", like, values.data(), 3);
  // The reader takes single volumes only, so look at the bytes.
  gzFile file = gzopen((folder / "p.nii.gz").c_str(), "rb");
  std::vector<char> bytes(352 + 180 * 4 + 10);
  CHECK(gzread(file, bytes.data(), static_cast<unsigned>(bytes.size())) == 352 + 180 * 4);
  gzclose(file);
  nifti_1_header header;
  std::memcpy(&header, bytes.data(), sizeof header);
  CHECK(header.dim[0] == 4);
  CHECK(header.dim[1] == 5);
  CHECK(header.dim[4] == 3);
  CHECK(header.datatype == 16);
  CHECK(std::memcmp(bytes.data() + 352, values.data(), 180 * 4) == 0);
}

TEST_CASE("an axis too long for NIfTI-1 makes the file NIfTI-2") {
  TemporaryFolder folder;
  NiftiHeader like;
  like.shape = {1, 1, 40000};
  std::vector<std::uint16_t> labels(40000, 3);
  write_labels(folder / "x.nii.gz", like, labels.data(), 3);
  const LabelImage image = read_labels(folder / "x.nii.gz");
  CHECK(image.header.version == 2);
  CHECK(image.labels == labels);
}

TEST_CASE("voxels may come in any pieces, from threads that vary, and give the same file") {
  TemporaryFolder folder;
  NiftiHeader like;
  like.shape = {30, 200, 300};
  std::vector<std::uint8_t> labels(30 * 200 * 300);
  for (std::size_t i = 0; i < labels.size(); ++i)
    labels[i] = static_cast<std::uint8_t>((i / 77) * (i % 1013 < 500) % 5);
  std::vector<std::string> files;
  for (const int threads : {1, 2, 5}) {
    const std::string path = folder / (std::to_string(threads) + ".nii.gz");
    ImageWriter writer(path, like, StoredType::uint8, 1, threads);
    for (std::size_t at = 0; at < labels.size();) {
      const std::size_t count =
          std::min(labels.size() - at, std::size_t{10007} * static_cast<std::size_t>(threads * threads));
      writer.append(labels.data() + at, static_cast<std::int64_t>(count));
      at += count;
    }
    writer.commit();
    files.push_back(read_bytes(path));
    const LabelImage image = read_labels(path);
    CHECK(std::equal(image.labels.begin(), image.labels.end(), labels.begin()));
  }
  CHECK(files[0] == files[1]);
  CHECK(files[0] == files[2]);
}

TEST_CASE("blocks of every size around the compressor's own round-trip") {
  TemporaryFolder folder;
  const std::size_t block = GzipWriter::kBlockBytes;
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, block - 1, block, block + 1, 16 * block - 1,
                                 16 * block, 16 * block + 1, 33 * block}) {
    CAPTURE(size);
    std::string data(size, '\0');
    for (std::size_t i = 0; i < size; ++i) data[i] = static_cast<char>(i * i / 1000 % 251);
    {
      AtomicFile file(folder / "x.gz");
      GzipWriter writer(file, 2);
      writer.write(data.data(), data.size());
      writer.finish();
      file.commit();
    }
    gzFile file = gzopen((folder / "x.gz").c_str(), "rb");
    std::string back(size + 10, 'x');
    CHECK(gzread(file, &back[0], static_cast<unsigned>(back.size())) == static_cast<int>(size));
    CHECK(gzclose(file) == Z_OK);
    back.resize(size);
    CHECK(back == data);
  }
}

TEST_CASE("without commit nothing is left, and what was there stays") {
  TemporaryFolder folder;
  NiftiHeader like;
  like.shape = {1, 2, 3};
  const std::uint8_t labels[6] = {};
  write_bytes(folder / "old.nii", "old content");
  for (const std::string name : {"old.nii", "new.nii.gz", "pair.hdr"}) {
    ImageWriter writer(folder / name, like, StoredType::uint8);
    writer.append(labels, 6);
  }
  CHECK(read_bytes(folder / "old.nii") == "old content");
  CHECK(folder.files() == 1);
}

TEST_CASE("an image with voxels missing or too many is not written") {
  TemporaryFolder folder;
  NiftiHeader like;
  like.shape = {1, 2, 3};
  const std::uint8_t labels[7] = {};
  {
    ImageWriter writer(folder / "x.nii", like, StoredType::uint8);
    writer.append(labels, 5);
    CHECK_THROWS_AS(writer.commit(), Error);
    CHECK_THROWS_AS(writer.append(labels, 2), Error);
    const std::uint16_t large[1] = {256};
    CHECK_THROWS_AS(writer.append(large, 1), Error);
    const float real[1] = {1};
    CHECK_THROWS_AS(writer.append(real, 1), Error);
  }
  CHECK(folder.files() == 0);
}

TEST_CASE("places that cannot be written to are refused by name") {
  TemporaryFolder folder;
  NiftiHeader like;
  like.shape = {1, 2, 3};
  const auto failure = [&](const std::string& path) -> std::string {
    try {
      ImageWriter writer(path, like, StoredType::uint8);
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::cannot_write);
      return error.what();
    }
    return "";
  };
  CHECK(contains(failure(folder / "missing/x.nii"), "missing/x.nii"));
  std::filesystem::create_directory(folder / "folder.nii");
  CHECK(contains(failure(folder / "folder.nii"), "folder"));
  CHECK(contains(failure(folder / "x.png"), "file name"));
  if (geteuid() != 0) {  // root may write anywhere
    std::filesystem::permissions(folder.path(),
                                 std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec);
    CHECK(contains(failure(folder / "x.nii"), "denied"));
  }
}

TEST_CASE("a disk that fills up leaves nothing behind") {
  TemporaryFolder folder;
  NiftiHeader like;
  like.shape = {1, 1000, 1000};
  std::vector<std::uint16_t> labels(1000 * 1000);
  std::mt19937 generator(1);  // so that it does not compress
  for (std::uint16_t& label : labels) label = static_cast<std::uint16_t>(generator() % 251);
  rlimit before;
  getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{100000, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  std::string message;
  for (const std::string name : {"x.nii", "x.nii.gz"}) {
    try {
      write_labels(folder / name, like, labels.data(), 250);
    } catch (const Error& error) {
      message = error.what();
    }
    CHECK(contains(message, name));
    message.clear();
  }
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  CHECK(folder.files() == 0);
}

TEST_CASE("a link to a file stays a link") {
  TemporaryFolder folder;
  write_bytes(folder / "real.nii", "old");
  REQUIRE(symlink((folder / "real.nii").c_str(), (folder / "link.nii").c_str()) == 0);
  {
    AtomicFile file(folder / "link.nii");
    file.write("new", 3);
    file.commit();
  }
  CHECK(std::filesystem::is_symlink(folder / "link.nii"));
  CHECK(read_bytes(folder / "real.nii") == "new");
  CHECK(folder.files() == 2);
}
