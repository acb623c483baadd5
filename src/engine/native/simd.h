// Loops over floats, compiled once for each instruction set; the best that the machine has is chosen when first asked.
// Nothing here knows TensorFlow or threads: the ops cut the work into rows and blocks and call these on each.
#ifndef GROUND_SIMD_H_
#define GROUND_SIMD_H_

#include <cstdint>

namespace ground {

// Constants of one AdamW update of a bank (torch.optim.AdamW's arithmetic).
struct AdamWScalars {
  float clip;             // factor on every gradient
  float beta1, beta2;
  float correction1;      // 1 / (1 - beta1^t)
  float root_correction2; // 1 / sqrt(1 - beta2^t)
  float lr;
  float eps;
  float weight_decay;
};

enum class Gelu : int { kErf = 0, kQuick = 1, kTanh = 2 };

struct Simd {
  const char* name;

  // C [m, n] = start + A B. A [m, k] is stored with rows `lda` apart, or transposed [k, m]; B [k, n], C and `start` have
  // rows `ldb`, `ldc` and `lds` apart. `start` may be null (zeros), C itself, or with `lds` 0 one row for all.
  void (*gemm)(int m, int n, int k, const float* a, int lda, bool a_transposed, const float* b, int ldb, float* c,
               int ldc, const float* start, int lds);
  // y [rows] = start + the products of x [n] with the rows of B, `ldb` apart. `start` may be null.
  void (*dots)(int64_t rows, int64_t n, const float* x, const float* b, int64_t ldb, const float* start, float* y);
  // out [n, m] (rows `ldo` apart) from in [m, n] (rows `ldi` apart).
  void (*transpose)(int m, int n, const float* in, int ldi, float* out, int ldo);

  float (*max)(int64_t n, const float* x);
  float (*dot)(int64_t n, const float* x, const float* y);
  double (*square_sum)(int64_t n, const float* x);
  // x = exp(x * scale - shift); returns the sum.
  float (*exp_row)(int64_t n, float scale, float shift, float* x);
  // y *= factor
  void (*scale)(int64_t n, float factor, float* y);
  // y += x
  void (*add)(int64_t n, const float* x, float* y);
  // p = p * (dp - delta) * scale
  void (*score_gradient)(int64_t n, const float* dp, float delta, float scale, float* p);

  // y = x / rms(x) * gain; returns 1 / rms.
  float (*rms_norm)(int64_t n, float eps, const float* x, const float* gain, float* y);
  void (*rms_norm_gradient)(int64_t n, float rstd, const float* dy, const float* x, const float* gain, float* dx,
                            float* dgain);
  // y = (x - mean) * rstd * gain + bias.
  void (*layer_norm)(int64_t n, float eps, const float* x, const float* gain, const float* bias, float* y, float* mean,
                     float* rstd);
  void (*layer_norm_gradient)(int64_t n, float mean, float rstd, const float* dy, const float* x, const float* gain,
                              float* dx, float* dgain, float* dbias);
  // Rotates pairs (i, i + width/2) by the angles of which cos and sin [width] are given; direction -1 turns back.
  void (*rotate)(int64_t width, float direction, const float* x, const float* cos, const float* sin, float* y);
  // y = silu(gate) * up
  void (*swiglu)(int64_t n, const float* gate, const float* up, float* y);
  void (*swiglu_gradient)(int64_t n, const float* dy, const float* gate, const float* up, float* dgate, float* dup);
  // y = gelu(x + bias)
  void (*gelu)(int64_t n, Gelu kind, const float* x, const float* bias, float* y);
  // dx = dy * gelu'(x + bias); dbias += dx
  void (*gelu_gradient)(int64_t n, Gelu kind, const float* dy, const float* x, const float* bias, float* dx,
                        float* dbias);
  // logits become weight * (softmax - one-hot); returns -log softmax of the target.
  float (*cross_entropy)(int64_t n, int64_t target, float weight, float* logits);
  // One update of n numbers, in place.
  void (*adamw)(int64_t n, const AdamWScalars& scalars, const float* g, float* m, float* v, float* p);
};

// The functions for this machine.
const Simd& simd();

}  // namespace ground

#endif  // GROUND_SIMD_H_
