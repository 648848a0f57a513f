#include "cli/image_remarks.h"

namespace e2enet::cli {

void show_remarks(ProgressDisplay& display, const std::string& command, const std::vector<Remark>& remarks) {
  for (const Remark& one : remarks) {
    const std::string text = one.source + ": " + one.text;
    if (one.warning) {
      display.warning("e2enet " + command + ": warning: " + text);
    } else {
      display.remark("e2enet " + command + ": remark: " + text);
    }
  }
}

}  // namespace e2enet::cli
