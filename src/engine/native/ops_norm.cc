// Root-mean-square and layer normalisation of rows [rows, width], forward and backward.
#include "ops.h"

namespace ground {
namespace {

REGISTER_OP("GroundRmsNorm")
    .Input("x: float")
    .Input("gain: float")
    .Attr("eps: float")
    .Output("y: float")
    .Output("rstd: float")
    .SetShapeFn(ShapesOf({0}));
REGISTER_OP("GroundRmsNormGradient")
    .Input("dy: float")
    .Input("x: float")
    .Input("gain: float")
    .Input("rstd: float")
    .Output("dx: float")
    .Output("dgain: float")
    .SetShapeFn(ShapesOf({1, 2}));
REGISTER_OP("GroundLayerNorm")
    .Input("x: float")
    .Input("gain: float")
    .Input("bias: float")
    .Attr("eps: float")
    .Output("y: float")
    .Output("mean: float")
    .Output("rstd: float")
    .SetShapeFn(ShapesOf({0}));
REGISTER_OP("GroundLayerNormGradient")
    .Input("dy: float")
    .Input("x: float")
    .Input("gain: float")
    .Input("mean: float")
    .Input("rstd: float")
    .Output("dx: float")
    .Output("dgain: float")
    .Output("dbias: float")
    .SetShapeFn(ShapesOf({1, 2, 2}));

// Sets an error and returns false unless `x` is a matrix as wide as input `gain`.
bool FitsGain(OpKernelContext* context, int x, int gain) {
  const TensorShape& shape = context->input(x).shape();
  const bool fits = shape.dims() == 2 && shape.dim_size(1) == context->input(gain).NumElements();
  if (!fits) context->SetStatus(absl::InvalidArgumentError("normalisation: rows and gain differ in width"));
  return fits;
}

class Norm : public OpKernel {
 public:
  explicit Norm(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("eps", &eps_));
  }

 protected:
  float eps_;
};

class RmsNorm : public Norm {
 public:
  using Norm::Norm;
  void Compute(OpKernelContext* context) override {
    if (!FitsGain(context, 0, 1)) return;
    const int64_t rows = context->input(0).dim_size(0);
    const int64_t width = context->input(0).dim_size(1);
    const float* x = Floats(context, 0);
    const float* gain = Floats(context, 1);
    float* y = NewFloats(context, 0, context->input(0).shape());
    float* rstd = NewFloats(context, 1, TensorShape({rows}));
    if (!context->status().ok()) return;
    Parallel(context, rows, width, [&](int64_t from, int64_t to) {
      for (int64_t r = from; r < to; ++r) rstd[r] = simd().rms_norm(width, eps_, x + r * width, gain, y + r * width);
    });
  }
};

class RmsNormGradient : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    if (!FitsGain(context, 1, 2)) return;
    const int64_t rows = context->input(1).dim_size(0);
    const int64_t width = context->input(1).dim_size(1);
    const float* dy = Floats(context, 0);
    const float* x = Floats(context, 1);
    const float* gain = Floats(context, 2);
    const float* rstd = Floats(context, 3);
    float* dx = NewFloats(context, 0, context->input(1).shape());
    float* dgain = NewFloats(context, 1, context->input(2).shape());
    if (!context->status().ok()) return;
    ParallelWithSums(
        context, rows, width, 1, 2 * width,
        [&](int64_t from, int64_t to, float* sums) {
          for (int64_t r = from; r < to; ++r) {
            simd().rms_norm_gradient(width, rstd[r], dy + r * width, x + r * width, gain, dx + r * width, sums);
          }
        },
        {dgain});
  }
};

class LayerNorm : public Norm {
 public:
  using Norm::Norm;
  void Compute(OpKernelContext* context) override {
    if (!FitsGain(context, 0, 1)) return;
    const int64_t rows = context->input(0).dim_size(0);
    const int64_t width = context->input(0).dim_size(1);
    const float* x = Floats(context, 0);
    const float* gain = Floats(context, 1);
    const float* bias = Floats(context, 2);
    float* y = NewFloats(context, 0, context->input(0).shape());
    float* mean = NewFloats(context, 1, TensorShape({rows}));
    float* rstd = NewFloats(context, 2, TensorShape({rows}));
    if (!context->status().ok()) return;
    Parallel(context, rows, 2 * width, [&](int64_t from, int64_t to) {
      for (int64_t r = from; r < to; ++r) {
        simd().layer_norm(width, eps_, x + r * width, gain, bias, y + r * width, mean + r, rstd + r);
      }
    });
  }
};

class LayerNormGradient : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    if (!FitsGain(context, 1, 2)) return;
    const int64_t rows = context->input(1).dim_size(0);
    const int64_t width = context->input(1).dim_size(1);
    const float* dy = Floats(context, 0);
    const float* x = Floats(context, 1);
    const float* gain = Floats(context, 2);
    const float* mean = Floats(context, 3);
    const float* rstd = Floats(context, 4);
    float* dx = NewFloats(context, 0, context->input(1).shape());
    float* dgain = NewFloats(context, 1, context->input(2).shape());
    float* dbias = NewFloats(context, 2, context->input(2).shape());
    if (!context->status().ok()) return;
    ParallelWithSums(
        context, rows, width, 2, 3 * width,
        [&](int64_t from, int64_t to, float* sums) {
          for (int64_t r = from; r < to; ++r) {
            simd().layer_norm_gradient(width, mean[r], rstd[r], dy + r * width, x + r * width, gain, dx + r * width,
                                       sums, sums + width);
          }
        },
        {dgain, dbias});
  }
};

REGISTER_KERNEL_BUILDER(Name("GroundRmsNorm").Device(tensorflow::DEVICE_CPU), RmsNorm);
REGISTER_KERNEL_BUILDER(Name("GroundRmsNormGradient").Device(tensorflow::DEVICE_CPU), RmsNormGradient);
REGISTER_KERNEL_BUILDER(Name("GroundLayerNorm").Device(tensorflow::DEVICE_CPU), LayerNorm);
REGISTER_KERNEL_BUILDER(Name("GroundLayerNormGradient").Device(tensorflow::DEVICE_CPU), LayerNormGradient);

}  // namespace
}  // namespace ground
