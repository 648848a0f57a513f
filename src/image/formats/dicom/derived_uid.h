// UIDs made from what they stand for: the same content has the same UID on every run.
#pragma once

#include <cstddef>
#include <string>

#include "base/sha256.h"

namespace e2enet::imaging::dicom {

class Digest {
 public:
  void add(const void* bytes, std::size_t count) { sum_.add(bytes, count); }
  // With its length, so that two texts are not one.
  void add(const std::string& text);
  // Ends it: nothing may be added afterwards.
  Sha256::Digest finish() { return sum_.finish(); }

 private:
  Sha256 sum_;
};

// "2.25." and the number of a UUID (PS3.5, B.2), of the custom version of RFC 9562: 122 bits of the digest.
std::string derived_uid(Digest digest);

}  // namespace e2enet::imaging::dicom
