// Whatever is thrown inside, an Error is what leaves the library.
#pragma once

#include <exception>
#include <new>
#include <stdexcept>
#include <string>

#include "e2enet/error.h"

namespace e2enet {

// Runs function(). `no_memory` says what there was no memory for: it was made while there was some, since a message
// takes memory too; a copy of it takes none.
template <typename Function>
auto with_errors(const Error& no_memory, const Function& function) -> decltype(function()) {
  const auto defect = [&](const char* what) {
    try {
      throw Error(ErrorCode::internal, std::string("a defect of the library: ") + what);
    } catch (const std::bad_alloc&) {
      throw Error(no_memory);
    }
  };
  try {
    return function();
  } catch (const Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw Error(no_memory);
  } catch (const std::length_error&) {  // more elements than a container can count
    throw Error(no_memory);
  } catch (const std::exception& problem) {
    defect(problem.what());
    throw;
  } catch (...) {
    defect("an unknown exception");
    throw;
  }
}

}  // namespace e2enet
