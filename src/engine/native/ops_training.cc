// Cross-entropy with its gradient in one pass, and AdamW with clipping over all tensors at once.
#include <cmath>

#include "ops.h"

namespace ground {
namespace {

// Weighted cross-entropies of logits [rows, classes], and their gradient weight * (softmax - one-hot), which takes the
// logits' place where nobody else holds them.
REGISTER_OP("GroundCrossEntropy")
    .Input("logits: float")
    .Input("targets: int32")
    .Input("weights: float")
    .Output("losses: float")
    .Output("gradient: float")
    .SetShapeFn(ShapesOf({2, 0}));

// One step of AdamW over `count` tensors, in place: parameters and moments are written where they lie. Nothing is
// written where the norm is not finite. scalars: 1/(1-beta1^t), 1/sqrt(1-beta2^t), then a learning rate for each tensor.
// `after` is read by nobody: what must have been computed before parameters change.
REGISTER_OP("GroundAdamW")
    .Input("scalars: float")
    .Input("after: float")
    .Input("gradients: count * float")
    .Input("parameters: count * float")
    .Input("first: count * float")
    .Input("second: count * float")
    .Attr("count: int >= 1")
    .Attr("decay: list(float)")
    .Attr("beta1: float")
    .Attr("beta2: float")
    .Attr("eps: float")
    .Attr("clip_norm: float")
    .Output("norm: float")
    .SetIsStateful()
    .SetShapeFn([](tensorflow::shape_inference::InferenceContext* context) {
      context->set_output(0, context->Scalar());
      return absl::OkStatus();
    });

class CrossEntropy : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    const int64_t rows = context->input(0).dim_size(0);
    const int64_t classes = context->input(0).dim_size(1);
    OP_REQUIRES(context, context->input(1).NumElements() == rows && context->input(2).NumElements() == rows,
                absl::InvalidArgumentError("cross-entropy: a target and a weight for each row are needed"));
    const int32_t* targets = context->input(1).flat<int32_t>().data();
    const float* weights = Floats(context, 2);
    for (int64_t r = 0; r < rows; ++r) {
      OP_REQUIRES(context, targets[r] >= 0 && targets[r] < classes,
                  absl::InvalidArgumentError("cross-entropy: a target is no class"));
    }
    const float* logits = Floats(context, 0);
    float* losses = NewFloats(context, 0, TensorShape({rows}));
    Tensor* taken = nullptr;
    OP_REQUIRES_OK(context, context->forward_input_or_allocate_output({0}, 1, context->input(0).shape(), &taken));
    if (losses == nullptr) return;
    float* gradient = taken->flat<float>().data();
    Parallel(context, rows, 6 * classes, [&](int64_t from, int64_t to) {
      for (int64_t r = from; r < to; ++r) {
        float* row = gradient + r * classes;
        if (row != logits + r * classes) std::copy_n(logits + r * classes, classes, row);
        losses[r] = simd().cross_entropy(classes, targets[r], weights[r], row) * weights[r];
      }
    });
  }
};

class AdamW : public OpKernel {
 public:
  explicit AdamW(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("count", &count_));
    OP_REQUIRES_OK(context, context->GetAttr("decay", &decay_));
    OP_REQUIRES_OK(context, context->GetAttr("beta1", &scalars_.beta1));
    OP_REQUIRES_OK(context, context->GetAttr("beta2", &scalars_.beta2));
    OP_REQUIRES_OK(context, context->GetAttr("eps", &scalars_.eps));
    OP_REQUIRES_OK(context, context->GetAttr("clip_norm", &clip_norm_));
    OP_REQUIRES(context, static_cast<int>(decay_.size()) == count_,
                absl::InvalidArgumentError("adamw: a decay for each tensor is needed"));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor& given = context->input(0);
    OP_REQUIRES(context, given.NumElements() == 2 + count_,
                absl::InvalidArgumentError("adamw: a learning rate for each tensor is needed"));
    const float* scalars = given.flat<float>().data();
    std::vector<Piece> pieces;
    for (int i = 0; i < count_; ++i) {
      const int64_t size = context->input(kLists + i).NumElements();
      for (int list = 1; list < 4; ++list) {
        OP_REQUIRES(context, context->input(kLists + list * count_ + i).NumElements() == size,
                    absl::InvalidArgumentError("adamw: tensors that belong together differ in size"));
      }
      for (int64_t at = 0; at < size; at += kPiece) pieces.push_back({i, at, std::min(kPiece, size - at)});
    }
    const int64_t count = static_cast<int64_t>(pieces.size());
    std::vector<double> squares(pieces.size());
    Parallel(context, count, kPiece, [&](int64_t from, int64_t to) {
      for (int64_t n = from; n < to; ++n) {
        const Piece& piece = pieces[static_cast<size_t>(n)];
        squares[static_cast<size_t>(n)] = simd().square_sum(piece.size, At(context, 0, piece));
      }
    });
    double total = 0;
    for (const double square : squares) total += square;
    const float norm = static_cast<float>(std::sqrt(total));
    Tensor* out = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, TensorShape({}), &out));
    out->scalar<float>()() = norm;
    if (!std::isfinite(norm)) return;
    AdamWScalars common = scalars_;
    common.clip = clip_norm_ > 0 ? std::min(1.0f, clip_norm_ / (norm + 1e-6f)) : 1.0f;
    common.correction1 = scalars[0];
    common.root_correction2 = scalars[1];
    Parallel(context, count, 4 * kPiece, [&](int64_t from, int64_t to) {
      for (int64_t n = from; n < to; ++n) {
        const Piece& piece = pieces[static_cast<size_t>(n)];
        AdamWScalars own = common;
        own.lr = scalars[2 + piece.tensor];
        own.weight_decay = decay_[static_cast<size_t>(piece.tensor)];
        simd().adamw(piece.size, own, At(context, 0, piece), At(context, 2, piece), At(context, 3, piece),
                     At(context, 1, piece));
      }
    });
  }

 private:
  static constexpr int kLists = 2;
  static constexpr int64_t kPiece = 16384;

  struct Piece {
    int tensor;
    int64_t start, size;
  };

  // The numbers of a piece in list 0 (gradients), 1 (parameters), 2 or 3 (moments). They are written although they are
  // inputs: that is what the op is for, and why it is stateful.
  float* At(OpKernelContext* context, int list, const Piece& piece) const {
    const Tensor& tensor = context->input(kLists + list * count_ + piece.tensor);
    return const_cast<float*>(tensor.flat<float>().data()) + piece.start;
  }

  int count_;
  std::vector<float> decay_;
  float clip_norm_;
  AdamWScalars scalars_{};
};

REGISTER_KERNEL_BUILDER(Name("GroundCrossEntropy").Device(tensorflow::DEVICE_CPU), CrossEntropy);
REGISTER_KERNEL_BUILDER(Name("GroundAdamW").Device(tensorflow::DEVICE_CPU), AdamW);

}  // namespace
}  // namespace ground
