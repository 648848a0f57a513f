// Bytes that the parts of a piece of work hold at each of its stages, booked by the parts before the work begins.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace e2enet {

// The stages of segmenting a volume, one after the other: what one holds alone, the next does not.
enum class WorkStage { survey, prepare, network, finish };
constexpr std::size_t kWorkStages = 4;

class MemoryLedger {
 public:
  // `part` holds these bytes from stage `first` to stage `last`. Real numbers, since it is asked of volumes that no
  // memory can hold; a part that books twice holds both.
  void book(const std::string& part, WorkStage first, WorkStage last, double bytes);
  void book(const std::string& part, WorkStage stage, double bytes) { book(part, stage, stage, bytes); }

  // What all parts hold together at the stage where it is most.
  std::int64_t peak() const;
  // What a part holds at the stage where it holds most; 0 for one that has booked nothing.
  std::int64_t of(const std::string& part) const;
  std::int64_t of(const std::string& part, WorkStage stage) const;
  // All of them, in the order in which they first booked.
  std::vector<std::pair<std::string, std::int64_t>> parts() const;

 private:
  struct Account {
    std::string part;
    std::array<std::int64_t, kWorkStages> bytes{};
  };
  const Account* find(const std::string& part) const;

  std::vector<Account> accounts_;
};

}  // namespace e2enet
