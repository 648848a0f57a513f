#include "e2enet/dicom.h"

#include "api/errors.h"
#include "e2enet/error.h"
#ifdef E2ENET_HAS_DICOM
#include "image/formats/dicom/dicom_series.h"
#include "image/formats/dicom/dicom_stack.h"
#else
#include "image/formats/no_dicom.h"
#endif

namespace e2enet {

#ifdef E2ENET_HAS_DICOM

namespace {

const Error kNoMemory(ErrorCode::out_of_memory, "no memory to look through DICOM files");

DicomSeries public_series(const imaging::dicom::Series& series) {
  DicomSeries result;
  result.uid = series.uid;
  result.study_uid = series.study_uid;
  result.number = series.number;
  result.description = series.description;
  result.modality = series.modality;
  result.slices = static_cast<std::int64_t>(series.frames.size());
  result.volume = series.not_a_volume.empty();
  result.not_a_volume = series.not_a_volume;
  try {
    imaging::dicom::make_stack(series);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::invalid_image) throw;
    result.problem = error.what();
  }
  return result;
}

}  // namespace

bool dicom_is_available() { return true; }

bool is_dicom(const std::string& path) {
  return with_errors(kNoMemory, [&] { return imaging::dicom::is_dicom(path); });
}

DicomFolder list_dicom(const std::vector<std::string>& paths) {
  return with_errors(kNoMemory, [&] {
    const imaging::dicom::Scan scan = imaging::dicom::scan(paths);
    DicomFolder folder;
    for (const imaging::dicom::Series& series : scan.series) folder.series.push_back(public_series(series));
    folder.other_files = scan.other_files;
    folder.other_objects = scan.objects;
    return folder;
  });
}

#else

bool dicom_is_available() { return false; }
bool is_dicom(const std::string& path) {
  return with_errors(Error(ErrorCode::out_of_memory, "no memory to look at a file"),
                     [&] { return imaging::looks_like_dicom(path); });
}
DicomFolder list_dicom(const std::vector<std::string>&) {
  throw Error(ErrorCode::invalid_argument,
              "DICOM: expected a build with it (E2ENET_WITH_DICOM, docs/dicom.md), found one without");
}

#endif

}  // namespace e2enet
