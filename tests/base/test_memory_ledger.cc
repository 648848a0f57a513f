// What parts book is what is counted: the stage that is largest decides.
#include "base/memory_ledger.h"

#include <doctest/doctest.h>

namespace {

using e2enet::MemoryLedger;
using e2enet::WorkStage;

TEST_CASE("stages follow each other: their memory does not add up, that of parts within one does") {
  MemoryLedger ledger;
  CHECK(ledger.peak() == 0);
  ledger.book("process", WorkStage::survey, WorkStage::finish, 100);
  ledger.book("image", WorkStage::survey, WorkStage::prepare, 50);
  ledger.book("prepared", WorkStage::prepare, WorkStage::network, 30);
  CHECK(ledger.peak() == 180);
  ledger.book("network", WorkStage::network, 60);
  CHECK(ledger.peak() == 190);
  ledger.book("network", WorkStage::finish, 95.75);  // whole bytes
  CHECK(ledger.peak() == 195);
  ledger.book("image", WorkStage::survey, 40);
  CHECK(ledger.of("image") == 90);
  CHECK(ledger.of("network") == 95);
  CHECK(ledger.of("nothing") == 0);
  CHECK(ledger.of("image", WorkStage::survey) == 90);
  CHECK(ledger.of("image", WorkStage::prepare) == 50);
  CHECK(ledger.of("image", WorkStage::finish) == 0);
  CHECK(ledger.of("nothing", WorkStage::survey) == 0);
  REQUIRE(ledger.parts().size() == 4);
  CHECK(ledger.parts()[0].first == "process");
  CHECK(ledger.parts()[3].second == 95);
}

TEST_CASE("sizes beyond any memory stay numbers") {
  MemoryLedger ledger;
  for (const char* part : {"a", "b", "c", "d"}) ledger.book(part, WorkStage::survey, WorkStage::finish, 1e300);
  CHECK(ledger.peak() > 0);
  CHECK(ledger.peak() >= ledger.of("a"));
}

}  // namespace
