// What the kernels must know of an instruction set, told by its properties: Highway adds targets with almost every
// version (Zen 4, Sapphire Rapids, NEON with bfloat16), and code that compares their names goes slow or wrong on the
// next. For each instruction set that Highway compiles this for.
#if defined(E2ENET_KERNELS_ISA_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef E2ENET_KERNELS_ISA_INL_H
#undef E2ENET_KERNELS_ISA_INL_H
#else
#define E2ENET_KERNELS_ISA_INL_H
#endif

#include <hwy/highway.h>

// HWY_MAX_BYTES is the size of a vector; on x86 it tells what came with it. Vectors of 64 bytes: AVX-512, of 32: AVX2,
// of 16: SSE. Highway's scalar code has a single lane, and no operations that move lanes.
#undef E2ENET_ONE_LANE
#define E2ENET_ONE_LANE (HWY_MAX_BYTES < 16)

// Whether masked loads and stores of every element are fast and touch only the lanes that their mask names.
#undef E2ENET_MASKS
#define E2ENET_MASKS (HWY_ARCH_X86 && HWY_MAX_BYTES >= 64)

// The same for loads of floats.
#undef E2ENET_FLOAT_MASKS
#define E2ENET_FLOAT_MASKS (HWY_ARCH_X86 && HWY_MAX_BYTES >= 32)

// Whether a store past the caches is more than a store.
#undef E2ENET_STREAMS
#define E2ENET_STREAMS (HWY_ARCH_X86 && !E2ENET_ONE_LANE)

HWY_BEFORE_NAMESPACE();
namespace e2enet::kernels {
namespace HWY_NAMESPACE {

// Vector registers: AVX-512 and 64-bit ARM have 32, all else is taken to have 16.
#if !E2ENET_ONE_LANE && ((HWY_ARCH_X86 && HWY_MAX_BYTES >= 64) || HWY_ARCH_ARM_A64)
constexpr int kRegisters = 32;
#else
constexpr int kRegisters = 16;
#endif

}  // namespace HWY_NAMESPACE
}  // namespace e2enet::kernels
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
