#include "dicom/made_series.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcpixseq.h>
#include <dcmtk/dcmdata/dcpxitem.h>
#include <dcmtk/dcmdata/dcrledrg.h>
#include <dcmtk/dcmdata/dcrleerg.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmjpeg/djencode.h>
#include <dcmtk/dcmjpeg/djrplol.h>
#include <dcmtk/dcmjpeg/djrploss.h>
#include <dcmtk/dcmjpls/djencode.h>
#include <dcmtk/dcmjpls/djrparam.h>
#include <openjpeg.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>
#include <stdexcept>

namespace e2enet::test {
namespace {

void require(const OFCondition& result, const std::string& what) {
  if (result.bad()) throw std::runtime_error(what + ": " + result.text());
}

void put(DcmItem& item, const DcmTagKey& tag, const std::string& value) {
  require(item.putAndInsertString(tag, value.c_str()), "put");
}
void put(DcmItem& item, const DcmTagKey& tag, int value) {
  require(item.putAndInsertUint16(tag, static_cast<Uint16>(value)), "put");
}

// At most 16 letters, as decimal strings have.
std::string decimal(double value) {
  char buffer[64];
  for (int digits = 14; digits > 0; --digits) {
    std::snprintf(buffer, sizeof buffer, "%.*g", digits, value);
    if (std::strlen(buffer) <= 16) break;
  }
  return buffer;
}

std::string joined(const std::vector<double>& values) {
  std::string all;
  for (const double value : values) all += (all.empty() ? "" : "\\") + decimal(value);
  return all;
}

void register_encoders() {
  static const bool once = []() {
    OFLog::configure(OFLogger::OFF_LOG_LEVEL);
    DJEncoderRegistration::registerCodecs();
    DJLSEncoderRegistration::registerCodecs(0, 0, 0, 0, OFFalse);  // the numbers as they are
    DcmRLEEncoderRegistration::registerCodecs();
    return true;
  }();
  (void)once;
}

OPJ_SIZE_T write_bytes(void* data, OPJ_SIZE_T count, void* user) {
  auto& out = *static_cast<std::vector<unsigned char>*>(user);
  out.insert(out.end(), static_cast<unsigned char*>(data), static_cast<unsigned char*>(data) + count);
  return count;
}

std::vector<unsigned char> jpeg2000(const unsigned char* stored, int columns, int rows, int allocated, int bits,
                                    bool is_signed, bool lossless) {
  opj_image_cmptparm_t component{};
  component.dx = component.dy = 1;
  component.w = static_cast<OPJ_UINT32>(columns);
  component.h = static_cast<OPJ_UINT32>(rows);
  component.prec = static_cast<OPJ_UINT32>(bits);
  component.sgnd = is_signed;
  opj_image_t* image = opj_image_create(1, &component, OPJ_CLRSPC_GRAY);
  image->x1 = component.w;
  image->y1 = component.h;
  for (int i = 0; i < columns * rows; ++i) {
    std::uint16_t word = stored[static_cast<std::size_t>(i)];
    if (allocated == 16) std::memcpy(&word, stored + 2 * i, 2);
    const bool negative = is_signed && word >> (bits - 1) & 1;
    image->comps[0].data[i] = negative ? int{word} - (1 << bits) : int{word};
  }
  opj_cparameters_t parameters;
  opj_set_default_encoder_parameters(&parameters);
  parameters.numresolution = 2;
  parameters.irreversible = !lossless;
  parameters.tcp_numlayers = 1;
  parameters.tcp_rates[0] = lossless ? 0 : 2;
  parameters.cp_disto_alloc = 1;
  opj_codec_t* codec = opj_create_compress(OPJ_CODEC_J2K);
  opj_stream_t* stream = opj_stream_default_create(OPJ_FALSE);
  std::vector<unsigned char> out;
  opj_stream_set_user_data(stream, &out, nullptr);
  opj_stream_set_write_function(stream, write_bytes);
  const bool good = opj_setup_encoder(codec, &parameters, image) && opj_start_compress(codec, image, stream) &&
                    opj_encode(codec, stream) && opj_end_compress(codec, stream);
  opj_stream_destroy(stream);
  opj_destroy_codec(codec);
  opj_image_destroy(image);
  if (!good) throw std::runtime_error("OpenJPEG cannot encode");
  return out;
}

E_TransferSyntax syntax_of(Coding coding) {
  switch (coding) {
    case Coding::implicit:
      return EXS_LittleEndianImplicit;
    case Coding::explicit_little:
      return EXS_LittleEndianExplicit;
    case Coding::big_endian:
      return EXS_BigEndianExplicit;
    case Coding::deflated:
      return EXS_DeflatedLittleEndianExplicit;
    case Coding::rle:
      return EXS_RLELossless;
    case Coding::jpeg_baseline:
      return EXS_JPEGProcess1;
    case Coding::jpeg_extended:
      return EXS_JPEGProcess2_4;
    case Coding::jpeg_lossless:
      return EXS_JPEGProcess14;
    case Coding::jpeg_lossless_first_order:
      return EXS_JPEGProcess14SV1;
    case Coding::jpeg_ls:
      return EXS_JPEGLSLossless;
    case Coding::jpeg_ls_near:
      return EXS_JPEGLSLossy;
    case Coding::jpeg2000_lossless:
      return EXS_JPEG2000LosslessOnly;
    case Coding::jpeg2000:
      return EXS_JPEG2000;
  }
  throw std::logic_error("coding");
}

// The stored bits of slice k, in the machine's byte order.
std::vector<unsigned char> pixels(const MadeSeries& s, int k) {
  const std::size_t bytes = static_cast<std::size_t>(s.bits_allocated / 8);
  std::vector<unsigned char> out;
  for (int j = 0; j < s.rows; ++j) {
    for (int i = 0; i < s.columns; ++i) {
      const std::uint64_t all = static_cast<std::uint64_t>(s.stored(i, j, k));
      const std::uint64_t mask = (std::uint64_t{1} << s.bits_stored) - 1;
      const std::uint64_t word = (all & mask) << (s.high_bit + 1 - s.bits_stored);
      for (std::size_t b = 0; b < bytes; ++b) out.push_back(static_cast<unsigned char>(word >> (8 * b)));
    }
  }
  return out;
}

void put_pixels(DcmDataset& data_set, const MadeSeries& s, std::vector<unsigned char> bytes, int frames) {
  if (s.coding == Coding::jpeg2000 || s.coding == Coding::jpeg2000_lossless) {
    auto* sequence = new DcmPixelSequence(DcmTag(DCM_PixelData, EVR_OB));
    sequence->insert(new DcmPixelItem(DcmTag(DCM_Item, EVR_OB)));
    const std::size_t frame = bytes.size() / static_cast<std::size_t>(frames);
    for (int f = 0; f < frames; ++f) {
      std::vector<unsigned char> code =
          jpeg2000(bytes.data() + static_cast<std::size_t>(f) * frame, s.columns, s.rows, s.bits_allocated,
                   s.bits_stored, s.is_signed, s.coding == Coding::jpeg2000_lossless);
      if (code.size() % 2) code.push_back(0);
      auto* item = new DcmPixelItem(DcmTag(DCM_Item, EVR_OB));
      sequence->insert(item);
      require(item->putUint8Array(code.data(), static_cast<unsigned long>(code.size())), "fragment");
    }
    auto* element = new DcmPixelData(DCM_PixelData);
    element->putOriginalRepresentation(syntax_of(s.coding), nullptr, sequence);
    require(data_set.insert(element), "pixels");
    return;
  }
  if (s.bits_allocated == 8) {
    if (bytes.size() % 2) bytes.push_back(0);
    require(data_set.putAndInsertUint8Array(DCM_PixelData, bytes.data(), static_cast<unsigned long>(bytes.size())),
            "pixels");
  } else {
    std::vector<Uint16> words(bytes.size() / 2);
    std::memcpy(words.data(), bytes.data(), bytes.size());
    require(data_set.putAndInsertUint16Array(DCM_PixelData, words.data(), static_cast<unsigned long>(words.size())),
            "pixels");
  }
}

void put_place(DcmItem& position_item, DcmItem& orientation_item, DcmItem& measures_item, const MadeSeries& s, int k) {
  const Vector p = s.place_of(k);
  const Directions& d = s.directions;
  put(position_item, DCM_ImagePositionPatient, joined({p[0], p[1], p[2]}));
  put(orientation_item, DCM_ImageOrientationPatient, joined({d[0][0], d[0][1], d[0][2], d[1][0], d[1][1], d[1][2]}));
  put(measures_item, DCM_PixelSpacing, joined({s.spacing[1], s.spacing[0]}));
  put(measures_item, DCM_SliceThickness, decimal(s.spacing[2]));
}

DcmItem& new_item(DcmItem& in, const DcmTagKey& sequence) {
  DcmItem* item = nullptr;
  require(in.findOrCreateSequenceItem(sequence, item, -2), "item");
  return *item;
}

}  // namespace

const char* name(Coding coding) { return DcmXfer(syntax_of(coding)).getXferName(); }

Vector MadeSeries::place_of(int k) const {
  if (place) return place(k);
  Vector p = origin;
  for (std::size_t axis = 0; axis < 3; ++axis) p[axis] += k * spacing[2] * directions[2][axis];
  return p;
}

Vector MadeSeries::millimetres(int i, int j, int k) const {
  Vector p = place_of(k);
  for (std::size_t axis = 0; axis < 3; ++axis) {
    p[axis] += i * spacing[0] * directions[0][axis] + j * spacing[1] * directions[1][axis];
  }
  return {-p[0], -p[1], p[2]};
}

void fill_attributes(DcmDataset& d, const MadeSeries& s, int instance) {
  if (!s.character_set.empty()) put(d, DCM_SpecificCharacterSet, s.character_set);
  put(d, DCM_ImageType, s.image_type);
  put(d, DCM_SOPClassUID,
      s.enhanced           ? UID_EnhancedMRImageStorage
      : s.modality == "CT" ? UID_CTImageStorage
                           : UID_MRImageStorage);
  put(d, DCM_SOPInstanceUID, s.uid + ".1." + std::to_string(instance));
  put(d, DCM_StudyDate, "20200102");
  put(d, DCM_SeriesDate, "20200102");
  put(d, DCM_AcquisitionDate, "20200102");
  put(d, DCM_ContentDate, "20200102");
  put(d, DCM_StudyTime, "101112");
  put(d, DCM_SeriesTime, "101113");
  put(d, DCM_AcquisitionTime, "101114");
  put(d, DCM_ContentTime, "101115");
  put(d, DCM_AccessionNumber, "A1");
  put(d, DCM_Modality, s.modality);
  put(d, DCM_Manufacturer, "e2enet tests");
  put(d, DCM_ReferringPhysicianName, "");
  put(d, DCM_SeriesDescription, s.description);
  put(d, DCM_PatientName, s.patient);
  put(d, DCM_PatientID, "P-17");
  put(d, DCM_PatientBirthDate, "19700101");
  put(d, DCM_PatientSex, "O");
  put(d, DCM_StudyInstanceUID, "1.2.3.1");
  put(d, DCM_SeriesInstanceUID, s.uid);
  put(d, DCM_StudyID, "S1");
  put(d, DCM_SeriesNumber, s.number);
  put(d, DCM_InstanceNumber, std::to_string(instance));
  if (!s.frame_of_reference.empty()) put(d, DCM_FrameOfReferenceUID, s.frame_of_reference);
  put(d, DCM_PositionReferenceIndicator, "");
  put(d, DCM_SamplesPerPixel, 1);
  put(d, DCM_PhotometricInterpretation, s.monochrome1 ? "MONOCHROME1" : "MONOCHROME2");
  put(d, DCM_Rows, s.rows);
  put(d, DCM_Columns, s.columns);
  put(d, DCM_BitsAllocated, s.bits_allocated);
  put(d, DCM_BitsStored, s.bits_stored);
  put(d, DCM_HighBit, s.high_bit);
  put(d, DCM_PixelRepresentation, s.is_signed ? 1 : 0);
}

void write_data_set(DcmDataset& data_set, Coding coding, const std::string& path) {
  register_encoders();
  const E_TransferSyntax syntax = syntax_of(coding);
  DcmFileFormat file(&data_set);
  if (coding != Coding::jpeg2000 && coding != Coding::jpeg2000_lossless) {
    const DJ_RPLossless lossless(1, 0);
    const DJ_RPLossy lossy(100);
    const DJLSRepresentationParameter exact(0, OFTrue), near(2, OFFalse);
    const DcmRepresentationParameter* parameter = nullptr;
    if (coding == Coding::jpeg_lossless || coding == Coding::jpeg_lossless_first_order) parameter = &lossless;
    if (coding == Coding::jpeg_baseline || coding == Coding::jpeg_extended) parameter = &lossy;
    if (coding == Coding::jpeg_ls) parameter = &exact;
    if (coding == Coding::jpeg_ls_near) parameter = &near;
    require(file.getDataset()->chooseRepresentation(syntax, parameter), std::string("encode ") + name(coding));
  }
  require(file.saveFile(path.c_str(), syntax, EET_UndefinedLength), "save " + path);
}

std::vector<std::string> MadeSeries::write(const std::string& folder, const std::string& prefix) const {
  std::vector<int> sequence = order;
  if (sequence.empty()) {
    sequence.resize(static_cast<std::size_t>(slices));
    std::iota(sequence.begin(), sequence.end(), 0);
  }
  std::vector<std::string> paths(static_cast<std::size_t>(slices));
  if (enhanced) {
    DcmDataset data_set;
    fill_attributes(data_set, *this, 1);
    put(data_set, DCM_NumberOfFrames, std::to_string(slices));
    std::vector<unsigned char> all;
    DcmItem& shared = new_item(data_set, DCM_SharedFunctionalGroupsSequence);
    DcmItem& orientation = new_item(shared, DCM_PlaneOrientationSequence);
    DcmItem& measures = new_item(shared, DCM_PixelMeasuresSequence);
    for (const int k : sequence) {
      DcmItem& frame = new_item(data_set, DCM_PerFrameFunctionalGroupsSequence);
      put_place(new_item(frame, DCM_PlanePositionSequence), orientation, measures, *this, k);
      const std::vector<unsigned char> one = pixels(*this, k);
      all.insert(all.end(), one.begin(), one.end());
    }
    put_pixels(data_set, *this, all, slices);
    if (change) change(data_set, -1);
    paths.assign(1, folder + "/" + prefix + "all");
    write_data_set(data_set, coding, paths[0]);
    return paths;
  }
  for (std::size_t n = 0; n < sequence.size(); ++n) {
    const int k = sequence[n];
    DcmDataset data_set;
    fill_attributes(data_set, *this, static_cast<int>(n) + 1);
    put_place(data_set, data_set, data_set, *this, k);
    put_pixels(data_set, *this, pixels(*this, k), 1);
    if (change) change(data_set, k);
    // 7 has no factor with a number of slices below 7: names in an order of their own.
    const std::string path = folder + "/" + prefix + std::to_string((n * 7 + 3) % 997);
    write_data_set(data_set, coding, path);
    paths[static_cast<std::size_t>(k)] = path;
  }
  return paths;
}

std::vector<Directions> axis_orders() {
  std::vector<Directions> all;
  std::array<int, 3> axes{0, 1, 2};
  do {
    for (int flips = 0; flips < 8; ++flips) {
      Directions d{};
      for (std::size_t a = 0; a < 3; ++a) {
        d[a][static_cast<std::size_t>(axes[a])] = flips & (1 << a) ? -1 : 1;
      }
      all.push_back(d);
    }
  } while (std::next_permutation(axes.begin(), axes.end()));
  return all;
}

Directions turned(const Directions& directions, double degrees) {
  // Rodrigues, about (1, 2, 3).
  const double angle = degrees / 57.29577951308232, c = std::cos(angle), s = std::sin(angle);
  const double n = std::sqrt(14.0);
  const Vector u{1 / n, 2 / n, 3 / n};
  Directions out{};
  for (std::size_t a = 0; a < 3; ++a) {
    const Vector& v = directions[a];
    const double dot = u[0] * v[0] + u[1] * v[1] + u[2] * v[2];
    const Vector cross{u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]};
    for (std::size_t x = 0; x < 3; ++x) out[a][x] = v[x] * c + cross[x] * s + u[x] * dot * (1 - c);
  }
  return out;
}

}  // namespace e2enet::test
