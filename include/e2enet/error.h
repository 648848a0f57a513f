// The one type of error that crosses the public boundary.
#pragma once

#include <stdexcept>
#include <string>

#include "e2enet/export.h"

namespace e2enet {

enum class ErrorCode {
  invalid_argument,  // a value given by the caller makes no sense
  cannot_read,       // a file is missing, unreadable or cut short
  cannot_write,      // a file or folder cannot be written
  invalid_model,     // a model file breaks the format or contradicts itself
  invalid_image,     // an image file or volume breaks the format or cannot be segmented
  out_of_memory,     // the system gave no memory
  memory_limit,      // the work cannot be done within the limit that the caller set
  cancelled,         // the progress callback asked to stop
  internal,          // a defect of the library
};

// what() is one line: what failed, where (file and field, or the name of the option or argument), what was expected,
// what was found.
class E2ENET_API Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace e2enet
