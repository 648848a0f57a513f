// Pairs of doubles by the compiler's own vectors, for a target that has them where Highway has not (WebAssembly, with
// Highway 1.0.3): the few operations that are needed, under Highway's names for them.
#pragma once

#include <cstddef>

namespace e2enet::platform::double_pair {

struct Doubles {};
struct Floats {};
using DoubleVector = double __attribute__((vector_size(16)));
using DoubleMask = decltype(DoubleVector() < DoubleVector());
using FloatVector = float __attribute__((vector_size(8)));

inline std::size_t Lanes(Doubles) { return 2; }
inline DoubleVector Set(Doubles, double value) { return DoubleVector{value, value}; }
inline DoubleVector Zero(Doubles d) { return Set(d, 0); }
inline DoubleVector Add(DoubleVector a, DoubleVector b) { return a + b; }
inline DoubleVector Mul(DoubleVector a, DoubleVector b) { return a * b; }
inline DoubleMask Lt(DoubleVector a, DoubleVector b) { return a < b; }
inline DoubleMask Gt(DoubleVector a, DoubleVector b) { return a > b; }
inline DoubleVector IfThenElse(DoubleMask mask, DoubleVector yes, DoubleVector no) {
  return reinterpret_cast<DoubleVector>((mask & reinterpret_cast<DoubleMask>(yes)) |
                                        (~mask & reinterpret_cast<DoubleMask>(no)));
}
inline DoubleVector LoadU(Doubles, const double* from) { return DoubleVector{from[0], from[1]}; }
inline void StoreU(DoubleVector value, Doubles, double* to) {
  to[0] = value[0];
  to[1] = value[1];
}
inline FloatVector LoadU(Floats, const float* from) { return FloatVector{from[0], from[1]}; }
inline void StoreU(FloatVector value, Floats, float* to) {
  to[0] = value[0];
  to[1] = value[1];
}
inline DoubleVector PromoteTo(Doubles, FloatVector value) { return DoubleVector{value[0], value[1]}; }
inline FloatVector DemoteTo(Floats, DoubleVector value) {
  return FloatVector{static_cast<float>(value[0]), static_cast<float>(value[1])};
}

}  // namespace e2enet::platform::double_pair
