// What killed processes leave: the hidden files that outputs are written into before they get their names.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace e2enet::cli {

// Removes the unfinished files of these outputs whose writer has ended: every writer holds a lock on its file, which
// the system lets go when the process ends, however it does. What cannot be locked (a writer that goes on, a file
// system without locks, a name above 180 bytes) stays. Returns how many are gone.
std::size_t remove_unfinished(const std::vector<std::string>& outputs);

}  // namespace e2enet::cli
