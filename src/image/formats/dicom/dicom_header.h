// The attributes of a DICOM file up to its pixel data, as DCMTK reads them. Only files of this folder include this.
#pragma once

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "image/formats/dicom/dicom_bytes.h"

namespace e2enet::imaging::dicom {

// Makes DCMTK ready: its codecs, its dictionary; what it would print to the terminal is switched off, since every
// failure is an Error of ours. Throws Error (internal) where DCMTK has no dictionary.
void prepare_dcmtk();

// Parses the header of a file whose structure was checked. Throws Error (invalid_image).
std::unique_ptr<DcmDataset> read_header(DicomBytes& bytes, const Structure& structure);

// "(0020,0032) Image Position (Patient)": the tag and its name as the standard writes it.
std::string name_of(const DcmTagKey& tag);

// An attribute's value as text, several joined by backslashes, without surrounding blanks; empty where it has none.
std::string text_of(DcmItem& item, const DcmTagKey& tag);
// The same for people: in UTF-8 by the data set's character set, control characters replaced.
std::string readable_text_of(DcmItem& item, const DcmTagKey& tag);
// Finite numbers; empty where the attribute is absent, has fewer than `count` values or one that is no number.
std::vector<double> numbers_of(DcmItem& item, const DcmTagKey& tag, unsigned long count);
std::optional<double> number_of(DcmItem& item, const DcmTagKey& tag);
// A whole number, of whatever representation.
std::optional<long> whole_number_of(DcmItem& item, const DcmTagKey& tag);

// The first (or `index`th) item of a sequence, null where there is none.
DcmItem* item_of(DcmItem& item, const DcmTagKey& sequence, long index = 0);
unsigned long items_in(DcmItem& item, const DcmTagKey& sequence);

}  // namespace e2enet::imaging::dicom
