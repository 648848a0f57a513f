#include "base/sha256.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <string>

namespace e2enet {
namespace {

std::string sha256(const std::string& text) {
  Sha256 digest;
  digest.add(text.data(), text.size());
  return hexadecimal(digest.finish());
}

TEST_CASE("SHA-256 is that of FIPS 180-4, however the bytes are cut") {
  CHECK(sha256("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  const std::string million(1000000, 'a');
  CHECK(sha256(million) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  for (const std::size_t piece : {1, 7, 63, 64, 65, 1000}) {
    Sha256 digest;
    for (std::size_t at = 0; at < million.size(); at += piece) {
      digest.add(million.data() + at, std::min(piece, million.size() - at));
    }
    CAPTURE(piece);
    CHECK(hexadecimal(digest.finish()) == sha256(million));
  }
  // Around the end of a block, where the length goes; by Python's hashlib.
  CHECK(sha256(std::string(55, 'x')) == "d5e285683cd4efc02d021a5c62014694958901005d6f71e89e0989fac77e4072");
  CHECK(sha256(std::string(56, 'x')) == "04c26261370ee7541549d16dee320c723e3fd14671e66a099afe0a377c16888e");
  CHECK(sha256(std::string(64, 'x')) == "7ce100971f64e7001e8fe5a51973ecdfe1ced42befe7ee8d5fd6219506b5393c");
}

}  // namespace
}  // namespace e2enet
