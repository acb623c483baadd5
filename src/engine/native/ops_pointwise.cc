// Rotary positions, SwiGLU, GELU with bias, and sums of rows by number, forward and backward.
#include "ops.h"

namespace ground {
namespace {

// x [rows, heads * width] turned by the angles of `cos` and `sin` [angles, width]; row r takes angle row r % angles.
REGISTER_OP("GroundRotary")
    .Input("x: float")
    .Input("cos: float")
    .Input("sin: float")
    .Attr("back: bool")
    .Output("y: float")
    .SetShapeFn(ShapesOf({0}));
REGISTER_OP("GroundSwiGlu").Input("gate: float").Input("up: float").Output("y: float").SetShapeFn(ShapesOf({0}));
REGISTER_OP("GroundSwiGluGradient")
    .Input("dy: float")
    .Input("gate: float")
    .Input("up: float")
    .Output("dgate: float")
    .Output("dup: float")
    .SetShapeFn(ShapesOf({0, 0}));
// kind: 0 exact, 1 quick, 2 the tanh form.
REGISTER_OP("GroundGelu")
    .Input("x: float")
    .Input("bias: float")
    .Attr("kind: int")
    .Output("y: float")
    .SetShapeFn(ShapesOf({0}));
REGISTER_OP("GroundGeluGradient")
    .Input("dy: float")
    .Input("x: float")
    .Input("bias: float")
    .Attr("kind: int")
    .Output("dx: float")
    .Output("dbias: float")
    .SetShapeFn(ShapesOf({1, 2}));
// out [count, width]: row n is the sum of all values [rows, width] whose number is n.
REGISTER_OP("GroundSumRows")
    .Input("values: float")
    .Input("numbers: int32")
    .Attr("count: int")
    .Output("out: float")
    .SetShapeFn([](tensorflow::shape_inference::InferenceContext* context) {
      context->set_output(0, context->UnknownShapeOfRank(2));
      return absl::OkStatus();
    });

class Rotary : public OpKernel {
 public:
  explicit Rotary(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("back", &back_));
  }
  void Compute(OpKernelContext* context) override {
    const int64_t rows = context->input(0).dim_size(0);
    const int64_t columns = context->input(0).dim_size(1);
    const int64_t angles = context->input(1).dim_size(0);
    const int64_t width = context->input(1).dim_size(1);
    OP_REQUIRES(context, width > 0 && columns % width == 0 && angles > 0 && rows % angles == 0,
                absl::InvalidArgumentError("rotary: tables do not fit the rows"));
    const float* x = Floats(context, 0);
    const float* cos = Floats(context, 1);
    const float* sin = Floats(context, 2);
    float* y = NewFloats(context, 0, context->input(0).shape());
    if (y == nullptr) return;
    const float direction = back_ ? -1.0f : 1.0f;
    Parallel(context, rows, columns, [&](int64_t from, int64_t to) {
      for (int64_t r = from; r < to; ++r) {
        const int64_t angle = r % angles * width;
        for (int64_t at = r * columns; at < (r + 1) * columns; at += width) {
          simd().rotate(width, direction, x + at, cos + angle, sin + angle, y + at);
        }
      }
    });
  }

 private:
  bool back_;
};

constexpr int64_t kPiece = 4096;

// Calls work(start, length) for pieces of 0..count on all threads.
void Pieces(OpKernelContext* context, int64_t count, int64_t cost, const std::function<void(int64_t, int64_t)>& work) {
  Parallel(context, (count + kPiece - 1) / kPiece, kPiece * cost, [&](int64_t from, int64_t to) {
    for (int64_t piece = from; piece < to; ++piece) {
      work(piece * kPiece, std::min(kPiece, count - piece * kPiece));
    }
  });
}

class SwiGlu : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    const int64_t count = context->input(0).NumElements();
    OP_REQUIRES(context, context->input(1).NumElements() == count,
                absl::InvalidArgumentError("swiglu: gate and up differ in size"));
    const float* gate = Floats(context, 0);
    const float* up = Floats(context, 1);
    float* y = NewFloats(context, 0, context->input(0).shape());
    if (y == nullptr) return;
    Pieces(context, count, 4, [&](int64_t at, int64_t n) { simd().swiglu(n, gate + at, up + at, y + at); });
  }
};

class SwiGluGradient : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    const int64_t count = context->input(0).NumElements();
    const float* dy = Floats(context, 0);
    const float* gate = Floats(context, 1);
    const float* up = Floats(context, 2);
    float* dgate = NewFloats(context, 0, context->input(0).shape());
    float* dup = NewFloats(context, 1, context->input(0).shape());
    if (!context->status().ok()) return;
    Pieces(context, count, 5, [&](int64_t at, int64_t n) {
      simd().swiglu_gradient(n, dy + at, gate + at, up + at, dgate + at, dup + at);
    });
  }
};

class GeluKernel : public OpKernel {
 public:
  explicit GeluKernel(OpKernelConstruction* context) : OpKernel(context) {
    int kind = 0;
    OP_REQUIRES_OK(context, context->GetAttr("kind", &kind));
    OP_REQUIRES(context, kind >= 0 && kind <= 2, absl::InvalidArgumentError("gelu: no such kind"));
    kind_ = static_cast<Gelu>(kind);
  }

 protected:
  Gelu kind_;
};

class GeluForward : public GeluKernel {
 public:
  using GeluKernel::GeluKernel;
  void Compute(OpKernelContext* context) override {
    const int64_t width = context->input(1).NumElements();
    const int64_t rows = context->input(0).NumElements() / std::max<int64_t>(width, 1);
    const float* x = Floats(context, 0);
    const float* bias = Floats(context, 1);
    float* y = NewFloats(context, 0, context->input(0).shape());
    if (y == nullptr) return;
    Parallel(context, rows, 5 * width, [&](int64_t from, int64_t to) {
      for (int64_t r = from; r < to; ++r) simd().gelu(width, kind_, x + r * width, bias, y + r * width);
    });
  }
};

class GeluGradient : public GeluKernel {
 public:
  using GeluKernel::GeluKernel;
  void Compute(OpKernelContext* context) override {
    const int64_t width = context->input(2).NumElements();
    const int64_t rows = context->input(1).NumElements() / std::max<int64_t>(width, 1);
    const float* dy = Floats(context, 0);
    const float* x = Floats(context, 1);
    const float* bias = Floats(context, 2);
    float* dx = NewFloats(context, 0, context->input(1).shape());
    float* dbias = NewFloats(context, 1, context->input(2).shape());
    if (!context->status().ok()) return;
    ParallelWithSums(
        context, rows, width, 1, 6 * width,
        [&](int64_t from, int64_t to, float* sums) {
          for (int64_t r = from; r < to; ++r) {
            simd().gelu_gradient(width, kind_, dy + r * width, x + r * width, bias, dx + r * width, sums);
          }
        },
        {dbias});
  }
};

class SumRows : public OpKernel {
 public:
  explicit SumRows(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("count", &count_));
  }
  void Compute(OpKernelContext* context) override {
    const int64_t rows = context->input(0).dim_size(0);
    const int64_t width = context->input(0).dim_size(1);
    OP_REQUIRES(context, context->input(1).NumElements() == rows,
                absl::InvalidArgumentError("sum of rows: as many numbers as rows are needed"));
    const float* values = Floats(context, 0);
    const int32_t* numbers = context->input(1).flat<int32_t>().data();
    for (int64_t r = 0; r < rows; ++r) {
      OP_REQUIRES(context, numbers[r] >= 0 && numbers[r] < count_,
                  absl::InvalidArgumentError("sum of rows: a number is out of range"));
    }
    float* out = NewFloats(context, 0, TensorShape({count_, width}));
    if (out == nullptr) return;
    // Every thread owns columns, so that rows are added in their order whoever adds them.
    const int64_t strip = 64;
    Parallel(context, (width + strip - 1) / strip, (count_ + rows) * strip / 4, [&](int64_t from, int64_t to) {
      const int64_t first = from * strip;
      const int64_t columns = std::min(to * strip, width) - first;
      for (int64_t n = 0; n < count_; ++n) std::fill_n(out + n * width + first, columns, 0.0f);
      for (int64_t r = 0; r < rows; ++r) {
        simd().add(columns, values + r * width + first, out + numbers[r] * width + first);
      }
    });
  }

 private:
  int64_t count_;
};

REGISTER_KERNEL_BUILDER(Name("GroundRotary").Device(tensorflow::DEVICE_CPU), Rotary);
REGISTER_KERNEL_BUILDER(Name("GroundSwiGlu").Device(tensorflow::DEVICE_CPU), SwiGlu);
REGISTER_KERNEL_BUILDER(Name("GroundSwiGluGradient").Device(tensorflow::DEVICE_CPU), SwiGluGradient);
REGISTER_KERNEL_BUILDER(Name("GroundGelu").Device(tensorflow::DEVICE_CPU), GeluForward);
REGISTER_KERNEL_BUILDER(Name("GroundGeluGradient").Device(tensorflow::DEVICE_CPU), GeluGradient);
REGISTER_KERNEL_BUILDER(Name("GroundSumRows").Device(tensorflow::DEVICE_CPU), SumRows);

}  // namespace
}  // namespace ground
