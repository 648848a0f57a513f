/* Which version of the library these headers belong to, and which one runs. What may change between two versions is
 * said in docs/api-stability.md. CMake reads the project's version from here. */
#ifndef E2ENET_VERSION_H_
#define E2ENET_VERSION_H_

#include "e2enet/export.h"

#define E2ENET_VERSION_MAJOR 0
#define E2ENET_VERSION_MINOR 2
#define E2ENET_VERSION_PATCH 0
#define E2ENET_VERSION "0.2.0"
/* For comparisons: 0.2.0 is 200, 1.12.3 is 1012003. */
#define E2ENET_VERSION_NUMBER (E2ENET_VERSION_MAJOR * 1000000 + E2ENET_VERSION_MINOR * 1000 + E2ENET_VERSION_PATCH)

#ifdef __cplusplus
extern "C" {
#endif

/* Of the library that runs, which may be newer than the headers: "0.2.0". */
E2ENET_API const char* e2enet_version(void);
/* The same as a number, to be compared with E2ENET_VERSION_NUMBER. */
E2ENET_API int e2enet_version_number(void);

#ifdef __cplusplus
}
#endif

#endif /* E2ENET_VERSION_H_ */
