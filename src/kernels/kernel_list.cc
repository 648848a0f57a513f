#include "kernels/kernel_list.h"

// A build may leave oneDNN out (E2ENET_WITH_ONEDNN).
#ifdef E2ENET_HAS_ONEDNN
#define E2ENET_ONEDNN(ENTRY) ENTRY(onednn)
#else
#define E2ENET_ONEDNN(ENTRY)
#endif

// One line a kernel: the folder that defines it, which is the namespace of its entry too.
#define E2ENET_CONVOLUTIONS(ENTRY) \
  ENTRY(winograd)                  \
  ENTRY(direct)                    \
  E2ENET_ONEDNN(ENTRY)             \
  ENTRY(reference)

#define E2ENET_TRANSPOSED_CONVOLUTIONS(ENTRY) \
  ENTRY(transposed)                           \
  ENTRY(reference)

namespace e2enet::kernels {

#define E2ENET_DECLARE(folder)                \
  namespace folder {                          \
  extern const ConvolutionEntry kConvolution; \
  }
E2ENET_CONVOLUTIONS(E2ENET_DECLARE)
#undef E2ENET_DECLARE

#define E2ENET_DECLARE(folder)                                    \
  namespace folder {                                              \
  extern const TransposedConvolutionEntry kTransposedConvolution; \
  }
E2ENET_TRANSPOSED_CONVOLUTIONS(E2ENET_DECLARE)
#undef E2ENET_DECLARE

const std::vector<const ConvolutionEntry*>& convolution_kernels() {
#define E2ENET_LIST(folder) &folder::kConvolution,
  static const std::vector<const ConvolutionEntry*> all{E2ENET_CONVOLUTIONS(E2ENET_LIST)};
#undef E2ENET_LIST
  return all;
}

const std::vector<const TransposedConvolutionEntry*>& transposed_convolution_kernels() {
#define E2ENET_LIST(folder) &folder::kTransposedConvolution,
  static const std::vector<const TransposedConvolutionEntry*> all{E2ENET_TRANSPOSED_CONVOLUTIONS(E2ENET_LIST)};
#undef E2ENET_LIST
  return all;
}

std::vector<std::string> convolution_kernel_names() {
  std::vector<std::string> names;
  for (const ConvolutionEntry* entry : convolution_kernels()) names.emplace_back(entry->name);
  return names;
}

}  // namespace e2enet::kernels
