/* What the shared library exports is marked with this, on every system, instead of a list of symbols for each. */
#ifndef E2ENET_EXPORT_H_
#define E2ENET_EXPORT_H_

#if defined(_WIN32) && defined(E2ENET_BUILDING_LIBRARY)
#define E2ENET_API __declspec(dllexport)
#elif defined(_WIN32) && !defined(E2ENET_STATIC)
#define E2ENET_API __declspec(dllimport)
#elif defined(__GNUC__)
#define E2ENET_API __attribute__((visibility("default")))
#else
#define E2ENET_API
#endif

#endif /* E2ENET_EXPORT_H_ */
