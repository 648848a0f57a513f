#include "image/formats/dicom/dicom_header.h"

#include <dcmtk/dcmdata/dcistrmb.h>
#include <dcmtk/dcmdata/dcspchrs.h>
#include <dcmtk/dcmjpeg/djdecode.h>
#include <dcmtk/dcmjpeg/djutils.h>
#include <dcmtk/dcmjpls/djdecode.h>
#include <dcmtk/dcmjpls/djlsutil.h>

#include <cctype>
#include <charconv>
#include <cmath>
#include <mutex>
#include <system_error>

#include "e2enet/error.h"

namespace e2enet::imaging::dicom {
namespace {

// Values of attributes that name or count something; what is longer is no such value.
constexpr Uint32 kLongestValue = 1 << 16;

DcmElement* element_of(DcmItem& item, const DcmTagKey& tag) {
  DcmElement* element = nullptr;
  if (item.findAndGetElement(tag, element).bad() || !element) return nullptr;
  return element->getLengthField() <= kLongestValue ? element : nullptr;
}

std::string trimmed(const std::string& text) {
  const auto blank = [](char c) { return c == ' ' || c == '\0' || c == '\t' || c == '\r' || c == '\n'; };
  std::size_t begin = 0, end = text.size();
  while (begin < end && blank(text[begin])) ++begin;
  while (end > begin && blank(text[end - 1])) --end;
  return text.substr(begin, end - begin);
}

}  // namespace

void prepare_dcmtk() {
  static std::once_flag once;
  std::call_once(once, []() {
    DCM_dcmdataLogger.setLogLevel(OFLogger::OFF_LOG_LEVEL);
    DCM_dcmjpegLogger.setLogLevel(OFLogger::OFF_LOG_LEVEL);
    DCM_dcmjplsLogger.setLogLevel(OFLogger::OFF_LOG_LEVEL);
    DJDecoderRegistration::registerCodecs();
    DJLSDecoderRegistration::registerCodecs();
  });
  if (!dcmDataDict.isDictionaryLoaded()) {
    throw Error(ErrorCode::internal,
                "DCMTK's dictionary of attributes: expected it where DCMTK was installed or where DCMDICTPATH says, "
                "found none: DICOM files cannot be read");
  }
}

std::unique_ptr<DcmDataset> read_header(DicomBytes& bytes, const Structure& structure) {
  prepare_dcmtk();
  std::vector<unsigned char> header(static_cast<std::size_t>(structure.header_end - structure.data_set));
  bytes.read(structure.data_set, header.size(), header.data());
  DcmInputBufferStream stream;
  stream.setBuffer(header.data(), static_cast<offile_off_t>(header.size()));
  stream.setEos();
  const E_TransferSyntax syntax = structure.big_endian    ? EXS_BigEndianExplicit
                                  : structure.explicit_vr ? EXS_LittleEndianExplicit
                                                          : EXS_LittleEndianImplicit;
  auto data_set = std::make_unique<DcmDataset>();
  data_set->transferInit();
  // All of it is in memory already, so that nothing may be left for later.
  const OFCondition result = data_set->read(stream, syntax, EGL_noChange, static_cast<Uint32>(header.size()) + 1);
  data_set->transferEnd();
  if (result.bad() && result != EC_EndOfStream) {
    throw Error(
        ErrorCode::invalid_image,
        bytes.path() + ": attributes: expected those of a DICOM data set, found what DCMTK refuses: " + result.text());
  }
  return data_set;
}

std::string name_of(const DcmTagKey& tag) {
  std::string name;
  char before = 0;
  const std::string together = DcmTag(tag).getTagName();  // "ImagePositionPatient", "SOPInstanceUID"
  for (std::size_t i = 0; i < together.size(); ++i) {
    const char c = together[i], after = i + 1 < together.size() ? together[i + 1] : '\0';
    const bool begins =
        std::isupper(static_cast<unsigned char>(c)) &&
        (std::islower(static_cast<unsigned char>(before)) ||
         (std::isupper(static_cast<unsigned char>(before)) && std::islower(static_cast<unsigned char>(after))));
    if (begins) name += ' ';
    name += c;
    before = c;
  }
  return text(Tag{tag.getGroup(), tag.getElement()}) + " " + name;
}

std::string text_of(DcmItem& item, const DcmTagKey& tag) {
  DcmElement* element = element_of(item, tag);
  OFString value;
  if (!element || element->getOFStringArray(value).bad()) return "";
  return trimmed(std::string(value.c_str(), value.length()));
}

std::string readable_text_of(DcmItem& item, const DcmTagKey& tag) {
  const std::string stored = text_of(item, tag);
  std::string result = stored;
  OFString character_set;
  if (item.findAndGetOFStringArray(DCM_SpecificCharacterSet, character_set).good() && !character_set.empty()) {
    DcmSpecificCharacterSet converter;
    OFString converted;
    if (converter.selectCharacterSet(character_set).good() &&
        converter.convertString(OFString(stored.data(), stored.size()), converted).good()) {
      result.assign(converted.data(), converted.size());
    }
  }
  for (char& c : result) {
    if (std::iscntrl(static_cast<unsigned char>(c))) c = '?';
  }
  return result;
}

std::vector<double> numbers_of(DcmItem& item, const DcmTagKey& tag, unsigned long count) {
  DcmElement* element = element_of(item, tag);
  std::vector<double> numbers;
  if (!element || element->getVM() < count) return numbers;
  const bool binary = element->ident() == EVR_FD || element->ident() == EVR_FL;
  for (unsigned long i = 0; i < count; ++i) {
    Float64 value = 0;
    if (!binary || element->getFloat64(value, i).bad()) {
      // Whole numbers and texts give their digits. All of a text must be a number: of "1,5" DCMTK makes 1.
      OFString digits;
      if (element->getOFString(digits, i).bad()) return {};
      const std::string text = trimmed(std::string(digits.c_str(), digits.length()));
      const char* begin = text.data();
      const char* end = begin + text.size();
      if (begin < end && *begin == '+') ++begin;
      const std::from_chars_result read = std::from_chars(begin, end, value);
      if (read.ec != std::errc() || read.ptr != end) return {};
    }
    if (!std::isfinite(value)) return {};
    numbers.push_back(value);
  }
  return numbers;
}

std::optional<double> number_of(DcmItem& item, const DcmTagKey& tag) {
  const std::vector<double> numbers = numbers_of(item, tag, 1);
  return numbers.empty() ? std::nullopt : std::optional<double>(numbers[0]);
}

std::optional<long> whole_number_of(DcmItem& item, const DcmTagKey& tag) {
  const std::optional<double> number = number_of(item, tag);
  if (!number || *number != std::floor(*number) || std::abs(*number) > 4294967295.0) return std::nullopt;
  return static_cast<long>(*number);
}

DcmItem* item_of(DcmItem& item, const DcmTagKey& sequence, long index) {
  DcmItem* found = nullptr;
  return item.findAndGetSequenceItem(sequence, found, index).good() ? found : nullptr;
}

unsigned long items_in(DcmItem& item, const DcmTagKey& sequence) {
  DcmSequenceOfItems* found = nullptr;
  return item.findAndGetSequence(sequence, found).good() && found ? found->card() : 0;
}

}  // namespace e2enet::imaging::dicom
