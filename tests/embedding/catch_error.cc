// An error of the library arrives in the embedder's code as the type that the header promises.
#include <e2enet/e2enet.h>

#include <iostream>
#include <string>

int main() {
  try {
    e2enet::Model::load("no such file");
  } catch (const e2enet::Error& error) {
    const bool right =
        error.code() == e2enet::ErrorCode::cannot_read && std::string(error.what()).find("no such file") == 0;
    std::cout << error.what() << "\n";
    return right ? 0 : 1;
  }
  return 1;
}
