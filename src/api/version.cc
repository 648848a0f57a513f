#include "e2enet/version.h"

const char* e2enet_version(void) { return E2ENET_VERSION; }
int e2enet_version_number(void) { return E2ENET_VERSION_NUMBER; }
