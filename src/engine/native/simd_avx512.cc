// For x86-64 processors with AVX-512 (F and DQ).
#define GROUND_SIMD_LANES 16
#define GROUND_SIMD_NAME "avx512"
#define GROUND_SIMD_TABLE kSimdAvx512
#include "simd_loops.h"
