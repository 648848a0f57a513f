#include "image/formats/nifti/nifti_format.h"

#include "e2enet/error.h"
#include "e2enet/files.h"
#include "image/formats/nifti/nifti_reader.h"
#include "image/formats/nifti/nifti_writer.h"

namespace e2enet::imaging {
namespace {

NiftiHeader labels_like(const NiftiHeader& image) {
  NiftiHeader header = image;
  header.labels = true;
  return header;
}

class NiftiLabels : public LabelFile {
 public:
  NiftiLabels(const std::string& path, const LabelFileContents& contents)
      : writer_(path, labels_like(*contents.like), label_type(contents.largest_label), 1, contents.threads) {}
  void append(const std::uint16_t* labels, std::int64_t count) override { writer_.append(labels, count); }
  void commit() override { writer_.commit(); }

 private:
  ImageWriter writer_;
};

}  // namespace

bool names_nifti_file(const std::string& path) {
  const ImageName name = parse_image_name(path);
  return name.kind != NameKind::none && !name.stem.empty() && name.stem.back() != '/';
}

Format nifti_format() {
  Format format;
  format.name = "NIfTI";
  // The last of the list: what is none of the others is read as this, and its reader says what is wrong with it.
  format.recognises = [](const std::string&) { return true; };
  format.open = [](const ChannelRequest& request) -> std::unique_ptr<ChannelFile> {
    if (!request.series.empty() || request.regrid) {
      throw Error(ErrorCode::invalid_argument, std::string(request.regrid ? "regrid" : "series") +
                                                   ": expected a DICOM series as image, found " + request.paths[0]);
    }
    return std::make_unique<ImageReader>(request.paths[0]);
  };
  format.writes = names_nifti_file;
  format.endings = ".nii.gz, .nii, .hdr or .img";
  format.create_labels = [](const std::string& path, const LabelFileContents& contents) -> std::unique_ptr<LabelFile> {
    return std::make_unique<NiftiLabels>(path, contents);
  };
  return format;
}

}  // namespace e2enet::imaging
