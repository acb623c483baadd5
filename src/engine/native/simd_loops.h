// The loops themselves, included by one source file for each instruction set after it has defined GROUND_SIMD_LANES
// (floats in a vector), GROUND_SIMD_NAME and GROUND_SIMD_TABLE. Everything is in an unnamed namespace: two copies
// compiled with different flags must never be merged by the linker.
#include <cmath>
#include <cstring>
#include <type_traits>

#if GROUND_SIMD_LANES > 4
#include <immintrin.h>
#endif

#include "simd.h"

namespace ground {
namespace {

constexpr int kLanes = GROUND_SIMD_LANES;
typedef float V __attribute__((vector_size(kLanes * 4)));
typedef int32_t I __attribute__((vector_size(kLanes * 4)));

inline V Load(const float* p) {
  V v;
  std::memcpy(&v, p, sizeof(V));
  return v;
}
inline void Store(float* p, V v) { std::memcpy(p, &v, sizeof(V)); }
inline V Splat(float x) { return V{} + x; }

#if GROUND_SIMD_LANES == 16
inline float Sum(V v) { return _mm512_reduce_add_ps(v); }
inline float Largest(V v) { return _mm512_reduce_max_ps(v); }
inline V Sqrt(V v) { return _mm512_sqrt_ps(v); }
inline __mmask16 First(int64_t n) { return static_cast<__mmask16>((1u << n) - 1); }

// The first n < kLanes floats at p, the other lanes `rest`.
inline V LoadPart(const float* p, int64_t n, float rest) { return _mm512_mask_loadu_ps(Splat(rest), First(n), p); }
inline void StorePart(float* p, V v, int64_t n) { _mm512_mask_storeu_ps(p, First(n), v); }
#else
inline float Sum(V v) {
  float total = 0;
  for (int i = 0; i < kLanes; ++i) total += v[i];
  return total;
}
inline float Largest(V v) {
  float result = v[0];
  for (int i = 1; i < kLanes; ++i) result = v[i] > result ? v[i] : result;
  return result;
}
#if GROUND_SIMD_LANES == 8
inline V Sqrt(V v) { return _mm256_sqrt_ps(v); }
inline __m256i First(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline V LoadPart(const float* p, int64_t n, float rest) {
  const __m256i first = First(n);
  return _mm256_blendv_ps(Splat(rest), _mm256_maskload_ps(p, first), _mm256_castsi256_ps(first));
}
inline void StorePart(float* p, V v, int64_t n) { _mm256_maskstore_ps(p, First(n), v); }
#else
inline V Sqrt(V v) {
  for (int i = 0; i < kLanes; ++i) v[i] = std::sqrt(v[i]);
  return v;
}
inline V LoadPart(const float* p, int64_t n, float rest) {
  V v = Splat(rest);
  std::memcpy(&v, p, static_cast<size_t>(n) * 4);
  return v;
}
inline void StorePart(float* p, V v, int64_t n) { std::memcpy(p, &v, static_cast<size_t>(n) * 4); }
#endif
#endif

// Calls f(vector index, loader, storer) so that the tail of a row is one more vector, padded.
template <typename F>
inline void ForVectors(int64_t n, F&& f) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    f([i](const float* p, float = 0) { return Load(p + i); }, [i](float* p, V v) { Store(p + i, v); });
  }
  if (i < n) {
    const int64_t rest = n - i;
    f([i, rest](const float* p, float fill = 0) { return LoadPart(p + i, rest, fill); },
      [i, rest](float* p, V v) { StorePart(p + i, v, rest); });
  }
}

inline V Min(V a, V b) { return a < b ? a : b; }
inline V Max(V a, V b) { return a > b ? a : b; }

// exp to about 1e-7 of its value (Cephes' polynomial after reduction by powers of two); 0 below -87, infinite above 88.
// What is no number stays none: a loss that has gone wrong must show.
inline V Exp(V x) {
  const V clamped = Max(Min(x, Splat(88.0f)), Splat(-87.0f));
  const V rounder = Splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to whole numbers
  const V n = (clamped * 1.44269504088896341f + rounder) - rounder;
  V r = clamped - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  V p = Splat(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const I exponent = (__builtin_convertvector(n, I) + 127) << 23;
  V power;
  std::memcpy(&power, &exponent, sizeof(V));
  const V y = p * power;
  const V bounded = x > Splat(88.0f) ? Splat(INFINITY) : y;
  const V result = x < Splat(-87.0f) ? V{} : bounded;
  return x == x ? result : x;
}

inline V Sigmoid(V x) { return 1.0f / (1.0f + Exp(-x)); }

// erf to 1.5e-7 (Abramowitz and Stegun 7.1.26); `gaussian` is exp(-x^2).
inline V Erf(V x, V gaussian) {
  const V size = x < V{} ? -x : x;
  const V t = 1.0f / (1.0f + size * 0.3275911f);
  V p = Splat(1.061405429f);
  p = p * t + -1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t + -0.284496736f;
  p = p * t + 0.254829592f;
  const V y = 1.0f - p * t * gaussian;
  return x < V{} ? -y : y;
}

// ---- matrices

// One tile of C: kRows x (kVectors * kLanes), all of it in registers; of its last vector only the first `rest` columns
// where kPart.
template <int kRows, int kVectors, bool kTransposed, bool kPart>
inline void Tile(int k, const float* a, int lda, const float* b, int ldb, float* c, int ldc, const float* start, int lds,
                 int rest) {
  const auto load = [rest](const float* p, int j) {
    return kPart && j == kVectors - 1 ? LoadPart(p + j * kLanes, rest, 0) : Load(p + j * kLanes);
  };
  V sum[kRows][kVectors];
  for (int i = 0; i < kRows; ++i) {
    for (int j = 0; j < kVectors; ++j) sum[i][j] = start ? load(start + i * static_cast<int64_t>(lds), j) : V{};
  }
  for (int p = 0; p < k; ++p) {
    V row[kVectors];
    for (int j = 0; j < kVectors; ++j) row[j] = load(b + p * static_cast<int64_t>(ldb), j);
    for (int i = 0; i < kRows; ++i) {
      const int64_t at = kTransposed ? p * static_cast<int64_t>(lda) + i : i * static_cast<int64_t>(lda) + p;
      const V x = Splat(a[at]);
      for (int j = 0; j < kVectors; ++j) sum[i][j] += x * row[j];
    }
  }
  for (int i = 0; i < kRows; ++i) {
    float* to = c + i * static_cast<int64_t>(ldc);
    for (int j = 0; j < kVectors; ++j) {
      if (kPart && j == kVectors - 1) {
        StorePart(to + j * kLanes, sum[i][j], rest);
      } else {
        Store(to + j * kLanes, sum[i][j]);
      }
    }
  }
}

template <int kVectors, bool kTransposed, bool kPart>
inline void Columns(int m, int k, const float* a, int lda, const float* b, int ldb, float* c, int ldc,
                    const float* start, int lds, int rest) {
  int i = 0;
  const auto tile = [&](auto rows) {
    const float* from = kTransposed ? a + i : a + i * static_cast<int64_t>(lda);
    Tile<rows.value, kVectors, kTransposed, kPart>(k, from, lda, b, ldb, c + i * static_cast<int64_t>(ldc), ldc,
                                                   start ? start + i * static_cast<int64_t>(lds) : nullptr, lds, rest);
  };
  // A narrow tile needs more rows to keep both multipliers busy.
  if (kVectors == 1) {
    for (; i + 12 <= m; i += 12) tile(std::integral_constant<int, 12>());
  }
  for (; i + 6 <= m; i += 6) tile(std::integral_constant<int, 6>());
  switch (m - i) {
    case 5: tile(std::integral_constant<int, 5>()); break;
    case 4: tile(std::integral_constant<int, 4>()); break;
    case 3: tile(std::integral_constant<int, 3>()); break;
    case 2: tile(std::integral_constant<int, 2>()); break;
    case 1: tile(std::integral_constant<int, 1>()); break;
    default: break;
  }
}

template <bool kTransposed>
inline void Product(int m, int n, int k, const float* a, int lda, const float* b, int ldb, float* c, int ldc,
                    const float* start, int lds) {
  // As many accumulators as the registers hold beside a row of B: 32 registers with AVX-512, 16 without.
  constexpr int kWide = kLanes == 16 ? 4 : 2;
  const auto from = [start](int j) { return start ? start + j : nullptr; };
  int j = 0;
  for (; j + kWide * kLanes <= n; j += kWide * kLanes) {
    Columns<kWide, kTransposed, false>(m, k, a, lda, b + j, ldb, c + j, ldc, from(j), lds, 0);
  }
  if (kWide == 4 && j + 2 * kLanes <= n) {
    Columns<2, kTransposed, false>(m, k, a, lda, b + j, ldb, c + j, ldc, from(j), lds, 0);
    j += 2 * kLanes;
  }
  for (; j + kLanes <= n; j += kLanes) {
    Columns<1, kTransposed, false>(m, k, a, lda, b + j, ldb, c + j, ldc, from(j), lds, 0);
  }
  if (j < n) Columns<1, kTransposed, true>(m, k, a, lda, b + j, ldb, c + j, ldc, from(j), lds, n - j);
}

void Gemm(int m, int n, int k, const float* a, int lda, bool a_transposed, const float* b, int ldb, float* c, int ldc,
          const float* start, int lds) {
  if (a_transposed) {
    Product<true>(m, n, k, a, lda, b, ldb, c, ldc, start, lds);
  } else {
    Product<false>(m, n, k, a, lda, b, ldb, c, ldc, start, lds);
  }
}

// Rows of B that are read at once: enough streams to keep memory busy.
template <int kRows>
inline void DotRows(int64_t n, const float* x, const float* b, int64_t ldb, const float* start, float* y) {
  V sum[kRows] = {};
  ForVectors(n, [&](auto load, auto) {
    const V in = load(x);
    for (int i = 0; i < kRows; ++i) sum[i] += in * load(b + i * ldb);
  });
  for (int i = 0; i < kRows; ++i) y[i] = Sum(sum[i]) + (start ? start[i] : 0.0f);
}

void Dots(int64_t rows, int64_t n, const float* x, const float* b, int64_t ldb, const float* start, float* y) {
  int64_t r = 0;
  const auto from = [&] { return start ? start + r : nullptr; };
  for (; r + 4 <= rows; r += 4) DotRows<4>(n, x, b + r * ldb, ldb, from(), y + r);
  for (; r < rows; ++r) DotRows<1>(n, x, b + r * ldb, ldb, from(), y + r);
}

void Transpose(int m, int n, const float* in, int ldi, float* out, int ldo) {
  constexpr int kBlock = 16;
  for (int i0 = 0; i0 < m; i0 += kBlock) {
    const int i1 = i0 + kBlock < m ? i0 + kBlock : m;
    for (int j = 0; j < n; ++j) {
      for (int i = i0; i < i1; ++i) out[j * static_cast<int64_t>(ldo) + i] = in[i * static_cast<int64_t>(ldi) + j];
    }
  }
}

// ---- rows

float MaxOf(int64_t n, const float* x) {
  V best = Splat(-INFINITY);
  ForVectors(n, [&](auto load, auto) { best = Max(best, load(x, -INFINITY)); });
  return Largest(best);
}

float Dot(int64_t n, const float* x, const float* y) {
  V sum{};
  ForVectors(n, [&](auto load, auto) { sum += load(x) * load(y); });
  return Sum(sum);
}

double SquareSum(int64_t n, const float* x) {
  // In pieces, so that a long vector loses nothing to float32.
  constexpr int64_t kPiece = 1024;
  double total = 0;
  for (int64_t i = 0; i < n; i += kPiece) {
    const int64_t length = n - i < kPiece ? n - i : kPiece;
    total += Dot(length, x + i, x + i);
  }
  return total;
}

float ExpRow(int64_t n, float scale, float shift, float* x) {
  V sum{};
  ForVectors(n, [&](auto load, auto store) {
    const V y = Exp(load(x, -INFINITY) * scale - shift);
    sum += y;
    store(x, y);
  });
  return Sum(sum);
}

void Scale(int64_t n, float factor, float* y) {
  ForVectors(n, [&](auto load, auto store) { store(y, load(y) * factor); });
}

void Add(int64_t n, const float* x, float* y) {
  ForVectors(n, [&](auto load, auto store) { store(y, load(y) + load(x)); });
}

void ScoreGradient(int64_t n, const float* dp, float delta, float scale, float* p) {
  ForVectors(n, [&](auto load, auto store) { store(p, load(p) * (load(dp) - delta) * scale); });
}

float RmsNorm(int64_t n, float eps, const float* x, const float* gain, float* y) {
  const float rstd = 1.0f / std::sqrt(Dot(n, x, x) / static_cast<float>(n) + eps);
  ForVectors(n, [&](auto load, auto store) { store(y, load(x) * rstd * load(gain)); });
  return rstd;
}

void RmsNormGradient(int64_t n, float rstd, const float* dy, const float* x, const float* gain, float* dx,
                     float* dgain) {
  V along{};
  ForVectors(n, [&](auto load, auto) { along += load(dy) * load(gain) * load(x); });
  const float mean = Sum(along) * rstd * rstd / static_cast<float>(n);
  ForVectors(n, [&](auto load, auto store) {
    const V d = load(dy);
    const V in = load(x);
    store(dgain, load(dgain) + d * in * rstd);
    store(dx, (d * load(gain) - in * mean) * rstd);
  });
}

void LayerNorm(int64_t n, float eps, const float* x, const float* gain, const float* bias, float* y, float* mean,
               float* rstd) {
  V sum{};
  ForVectors(n, [&](auto load, auto) { sum += load(x); });
  const float centre = Sum(sum) / static_cast<float>(n);
  V squares{};
  ForVectors(n, [&](auto load, auto) {
    const V d = load(x, centre) - centre;
    squares += d * d;
  });
  const float scale = 1.0f / std::sqrt(Sum(squares) / static_cast<float>(n) + eps);
  ForVectors(n, [&](auto load, auto store) { store(y, (load(x) - centre) * scale * load(gain) + load(bias)); });
  *mean = centre;
  *rstd = scale;
}

void LayerNormGradient(int64_t n, float mean, float rstd, const float* dy, const float* x, const float* gain, float* dx,
                       float* dgain, float* dbias) {
  V total{};
  V along{};
  ForVectors(n, [&](auto load, auto) {
    const V d = load(dy) * load(gain);
    total += d;
    along += d * (load(x, mean) - mean) * rstd;
  });
  const float mean_d = Sum(total) / static_cast<float>(n);
  const float mean_along = Sum(along) / static_cast<float>(n);
  ForVectors(n, [&](auto load, auto store) {
    const V d = load(dy);
    const V normal = (load(x, mean) - mean) * rstd;
    store(dgain, load(dgain) + d * normal);
    store(dbias, load(dbias) + d);
    store(dx, (d * load(gain) - mean_d - normal * mean_along) * rstd);
  });
}

void Rotate(int64_t width, float direction, const float* x, const float* cos, const float* sin, float* y) {
  const int64_t half = width / 2;
  ForVectors(half, [&](auto load, auto store) {
    const V c = load(cos);
    const V s = load(sin) * direction;
    const V a = load(x);
    const V b = load(x + half);
    store(y, a * c - b * s);
    store(y + half, b * c + a * s);
  });
}

void SwiGlu(int64_t n, const float* gate, const float* up, float* y) {
  ForVectors(n, [&](auto load, auto store) {
    const V g = load(gate);
    store(y, g * Sigmoid(g) * load(up));
  });
}

void SwiGluGradient(int64_t n, const float* dy, const float* gate, const float* up, float* dgate, float* dup) {
  ForVectors(n, [&](auto load, auto store) {
    const V g = load(gate);
    const V d = load(dy);
    const V s = Sigmoid(g);
    store(dup, d * g * s);
    store(dgate, d * load(up) * s * (1.0f + g * (1.0f - s)));
  });
}

constexpr float kRootHalf = 0.70710678118654752f;
constexpr float kRootTwoOverPi = 0.79788456080286536f;
constexpr float kInverseRootTwoPi = 0.39894228040143268f;

inline V GeluValue(Gelu kind, V x) {
  switch (kind) {
    case Gelu::kQuick: return x * Sigmoid(x * 1.702f);
    case Gelu::kTanh: return x * Sigmoid((x + x * x * x * 0.044715f) * (2 * kRootTwoOverPi));
    case Gelu::kErf: break;
  }
  return x * 0.5f * (1.0f + Erf(x * kRootHalf, Exp(x * x * -0.5f)));
}

inline V GeluSlope(Gelu kind, V x) {
  switch (kind) {
    case Gelu::kQuick: {
      const V s = Sigmoid(x * 1.702f);
      return s * (1.0f + x * 1.702f * (1.0f - s));
    }
    case Gelu::kTanh: {
      const V s = Sigmoid((x + x * x * x * 0.044715f) * (2 * kRootTwoOverPi));
      return s + x * s * (1.0f - s) * (2 * kRootTwoOverPi) * (1.0f + x * x * (3 * 0.044715f));
    }
    case Gelu::kErf: break;
  }
  const V gaussian = Exp(x * x * -0.5f);
  return (1.0f + Erf(x * kRootHalf, gaussian)) * 0.5f + x * gaussian * kInverseRootTwoPi;
}

void GeluRow(int64_t n, Gelu kind, const float* x, const float* bias, float* y) {
  ForVectors(n, [&](auto load, auto store) { store(y, GeluValue(kind, load(x) + load(bias))); });
}

void GeluGradient(int64_t n, Gelu kind, const float* dy, const float* x, const float* bias, float* dx, float* dbias) {
  ForVectors(n, [&](auto load, auto store) {
    const V d = load(dy) * GeluSlope(kind, load(x) + load(bias));
    store(dx, d);
    store(dbias, load(dbias) + d);
  });
}

float CrossEntropy(int64_t n, int64_t target, float weight, float* logits) {
  const float largest = MaxOf(n, logits);
  const float hit = logits[target] - largest;
  const float total = ExpRow(n, 1.0f, largest, logits);
  Scale(n, weight / total, logits);
  logits[target] -= weight;
  return std::log(total) - hit;
}

void AdamW(int64_t n, const AdamWScalars& k, const float* g, float* m, float* v, float* p) {
  const float keep = 1.0f - k.lr * k.weight_decay;
  const float rate = k.lr * k.correction1;
  ForVectors(n, [&](auto load, auto store) {
    const V gradient = load(g) * k.clip;
    const V first = load(m) * k.beta1 + gradient * (1.0f - k.beta1);
    const V second = load(v) * k.beta2 + gradient * gradient * (1.0f - k.beta2);
    const V root = Sqrt(second);
    store(m, first);
    store(v, second);
    store(p, load(p) * keep - first / (root * k.root_correction2 + k.eps) * rate);
  });
}

}  // namespace

extern const Simd GROUND_SIMD_TABLE;
const Simd GROUND_SIMD_TABLE = {
    GROUND_SIMD_NAME, Gemm,         Dots,  Transpose,         MaxOf,    Dot,          SquareSum, ExpRow,
    Scale,            Add,          ScoreGradient,     RmsNorm,  RmsNormGradient, LayerNorm, LayerNormGradient,
    Rotate,           SwiGlu,       SwiGluGradient,    GeluRow,  GeluGradient, CrossEntropy, AdamW,
};

}  // namespace ground
