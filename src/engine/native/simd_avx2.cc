// For x86-64 processors with AVX2 and FMA.
#define GROUND_SIMD_LANES 8
#define GROUND_SIMD_NAME "avx2"
#define GROUND_SIMD_TABLE kSimdAvx2
#include "simd_loops.h"
