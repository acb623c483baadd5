// For every processor: four floats at once, which x86-64 and 64-bit Arm have. Also chooses among the tables.
#define GROUND_SIMD_LANES 4
#define GROUND_SIMD_NAME "base"
#define GROUND_SIMD_TABLE kSimdBase
#include "simd_loops.h"

namespace ground {

#if defined(__x86_64__)
extern const Simd kSimdAvx2;
extern const Simd kSimdAvx512;

const Simd& simd() {
  static const Simd& best = []() -> const Simd& {
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) return kSimdAvx512;
    return avx2 ? kSimdAvx2 : kSimdBase;
  }();
  return best;
}
#else
const Simd& simd() { return kSimdBase; }
#endif

}  // namespace ground
