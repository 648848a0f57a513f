// Endings in any case of letters, and the halves of a pair.
#include "e2enet/files.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace {

using namespace e2enet;

TEST_CASE("an image's name is known by its ending in any case") {
  struct Example {
    const char* path;
    NameKind kind;
    bool zipped;
    const char* stem;
  };
  for (const Example& example :
       {Example{"a/b.nii", NameKind::single, false, "a/b"}, Example{"b.NII.GZ", NameKind::single, true, "b"},
        Example{"b.Nii.gz", NameKind::single, true, "b"}, Example{"b.c.HDR", NameKind::header, false, "b.c"},
        Example{"b.img.GZ", NameKind::data, true, "b"}, Example{"b.nii.bz2", NameKind::none, false, ""},
        Example{"nii.gz", NameKind::none, false, ""}, Example{"nii", NameKind::none, false, ""},
        Example{"", NameKind::none, false, ""}, Example{".gz", NameKind::none, false, ""}}) {
    CAPTURE(std::string(example.path));
    const ImageName name = parse_image_name(example.path);
    CHECK(name.kind == example.kind);
    CHECK(name.zipped == example.zipped);
    CHECK(name.stem == example.stem);
    if (name.kind != NameKind::none) CHECK(name.stem + name.ending == example.path);
  }
}

TEST_CASE("a pair is written with one spelling, and looked for in all") {
  using Names = std::vector<std::string>;
  CHECK(written_files("a.nii.gz") == Names{"a.nii.gz"});
  CHECK(written_files("a.hdr") == Names{"a.img", "a.hdr"});
  CHECK(written_files("a.IMG") == Names{"a.IMG", "a.HDR"});
  CHECK(written_files("a.Hdr.GZ") == Names{"a.Img.GZ", "a.Hdr.GZ"});
  CHECK(partner_candidates("a.nii").empty());
  CHECK(partner_candidates("a.hdr")[0] == "a.img");
  CHECK(partner_candidates("a.hdr")[1] == "a.img.gz");
  CHECK(partner_candidates("a.img.gz")[0] == "a.hdr.gz");
  CHECK(partner_candidates("a.img.gz")[1] == "a.hdr");
  for (const std::string path : {"a.hdr", "a.HDR", "a.Hdr.gz", "a.HDR.GZ"}) {
    const Names candidates = partner_candidates(path);
    for (const std::string name : {"a.img", "a.IMG", "a.img.gz", "a.IMG.gz", "a.IMG.GZ"}) {
      CAPTURE(path);
      CAPTURE(name);
      CHECK(std::count(candidates.begin(), candidates.end(), name) == 1);
    }
  }
}

}  // namespace
