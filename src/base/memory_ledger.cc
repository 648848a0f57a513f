#include "base/memory_ledger.h"

#include <algorithm>

namespace e2enet {
namespace {

// The most that one entry says, so that the sum of a stage's still fits 64 bits.
constexpr double kMost = 1e17;

}  // namespace

void MemoryLedger::book(const std::string& part, WorkStage first, WorkStage last, double bytes) {
  auto account = std::find_if(accounts_.begin(), accounts_.end(), [&](const Account& one) { return one.part == part; });
  if (account == accounts_.end()) account = accounts_.insert(accounts_.end(), Account{part, {}});
  for (auto stage = static_cast<std::size_t>(first); stage <= static_cast<std::size_t>(last); ++stage) {
    account->bytes[stage] += static_cast<std::int64_t>(std::min(bytes, kMost));
  }
}

std::int64_t MemoryLedger::peak() const {
  std::int64_t most = 0;
  for (std::size_t stage = 0; stage < kWorkStages; ++stage) {
    std::int64_t sum = 0;
    for (const Account& account : accounts_) sum += account.bytes[stage];
    most = std::max(most, sum);
  }
  return most;
}

std::int64_t MemoryLedger::of(const std::string& part) const {
  const Account* account = find(part);
  return account ? *std::max_element(account->bytes.begin(), account->bytes.end()) : 0;
}

std::int64_t MemoryLedger::of(const std::string& part, WorkStage stage) const {
  const Account* account = find(part);
  return account ? account->bytes[static_cast<std::size_t>(stage)] : 0;
}

const MemoryLedger::Account* MemoryLedger::find(const std::string& part) const {
  const auto found =
      std::find_if(accounts_.begin(), accounts_.end(), [&](const Account& one) { return one.part == part; });
  return found == accounts_.end() ? nullptr : &*found;
}

std::vector<std::pair<std::string, std::int64_t>> MemoryLedger::parts() const {
  std::vector<std::pair<std::string, std::int64_t>> result;
  for (const Account& account : accounts_) result.emplace_back(account.part, of(account.part));
  return result;
}

}  // namespace e2enet
