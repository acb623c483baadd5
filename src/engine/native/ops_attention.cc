// Attention forward and backward over rows as the projections leave them, [batch * length, heads * width]: no
// transposed copies, and never more than one block of scores a thread (FlashAttention-2, arXiv 2307.08691).
#include <cmath>

#include "ops.h"

namespace ground {
namespace {

constexpr int kQueryBlock = 48;
constexpr int kKeyBlock = 128;

REGISTER_OP("GroundAttention")
    .Input("q: float")
    .Input("k: float")
    .Input("v: float")
    .Input("segments: int32")
    .Attr("batch: int")
    .Attr("heads: int")
    .Attr("key_heads: int")
    .Attr("causal: bool")
    .Output("out: float")
    .Output("lse: float")
    .SetShapeFn([](tensorflow::shape_inference::InferenceContext* context) {
      context->set_output(0, context->input(0));
      context->set_output(1, context->UnknownShapeOfRank(2));
      return absl::OkStatus();
    });

REGISTER_OP("GroundAttentionGradient")
    .Input("dout: float")
    .Input("q: float")
    .Input("k: float")
    .Input("v: float")
    .Input("segments: int32")
    .Input("out: float")
    .Input("lse: float")
    .Attr("batch: int")
    .Attr("heads: int")
    .Attr("key_heads: int")
    .Attr("causal: bool")
    .Output("dq: float")
    .Output("dk: float")
    .Output("dv: float")
    .SetShapeFn(ShapesOf({1, 2, 3}));

// Sizes, and who sees whom: a query sees keys of its own segment, and with `causal` none behind itself.
struct Layout {
  int batch, heads, key_heads, length, width;
  bool causal;
  const int32_t* segments;  // [batch, length], or null: all are one
  float scale;

  int group() const { return heads / key_heads; }
  int query_stride() const { return heads * width; }
  int key_stride() const { return key_heads * width; }
  int padded() const { return (length + kKeyBlock - 1) / kKeyBlock * kKeyBlock; }
  int64_t queries(int b, int h) const { return static_cast<int64_t>(b) * length * query_stride() + h * width; }
  int64_t keys(int b, int h) const { return static_cast<int64_t>(b) * length * key_stride() + h * width; }
  int64_t packed(int b, int h) const { return (static_cast<int64_t>(b) * key_heads + h) * width * padded(); }
};

class AttentionKernel : public OpKernel {
 public:
  explicit AttentionKernel(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("batch", &batch_));
    OP_REQUIRES_OK(context, context->GetAttr("heads", &heads_));
    OP_REQUIRES_OK(context, context->GetAttr("key_heads", &key_heads_));
    OP_REQUIRES_OK(context, context->GetAttr("causal", &causal_));
    OP_REQUIRES(context, batch_ > 0 && key_heads_ > 0 && heads_ % key_heads_ == 0,
                absl::InvalidArgumentError("attention: heads must be a multiple of key_heads, batch above 0"));
  }

 protected:
  // Sets an error where the inputs do not fit together.
  Layout LayoutOf(OpKernelContext* context, int q, int k, int segments) const {
    const int64_t rows = context->input(q).dim_size(0);
    const int length = static_cast<int>(rows / batch_);
    const int width = static_cast<int>(context->input(q).dim_size(1) / heads_);
    const Tensor& labels = context->input(segments);
    Layout layout{batch_, heads_, key_heads_, length, width, causal_, nullptr, 1.0f / std::sqrt(static_cast<float>(width))};
    if (labels.NumElements() > 0) layout.segments = labels.flat<int32_t>().data();
    const bool fits = rows % batch_ == 0 && context->input(k).dim_size(0) == rows &&
                      context->input(k).dim_size(1) == static_cast<int64_t>(key_heads_) * width &&
                      (layout.segments == nullptr || labels.NumElements() == rows);
    if (!fits) context->SetStatus(absl::InvalidArgumentError("attention: queries, keys and segments do not fit"));
    return layout;
  }

  int batch_, heads_, key_heads_;
  bool causal_;
};

struct Range {
  int32_t least, most;
};

Range RangeOf(const int32_t* x, int n) {
  Range range{x[0], x[0]};
  for (int i = 1; i < n; ++i) {
    range.least = std::min(range.least, x[i]);
    range.most = std::max(range.most, x[i]);
  }
  return range;
}

// Whether no query of the block sees any key of the other block.
bool Apart(const Layout& layout, int b, int query, int queries, int key, int keys) {
  if (layout.causal && key > query + queries - 1) return true;
  if (layout.segments == nullptr) return false;
  const int32_t* segments = layout.segments + static_cast<int64_t>(b) * layout.length;
  const Range q = RangeOf(segments + query, queries);
  const Range k = RangeOf(segments + key, keys);
  return q.most < k.least || k.most < q.least;
}

// Puts -infinity where query row `i` of a sample does not see keys `key` to `key + keys`.
void Hide(const Layout& layout, int b, int i, int key, int keys, float* scores) {
  if (layout.causal) {
    for (int j = std::max(0, i + 1 - key); j < keys; ++j) scores[j] = -INFINITY;
  }
  if (layout.segments == nullptr) return;
  const int32_t* segments = layout.segments + static_cast<int64_t>(b) * layout.length;
  for (int j = 0; j < keys; ++j) {
    if (segments[key + j] != segments[i]) scores[j] = -INFINITY;
  }
}

// Each head's rows transposed, [width, length rounded up to blocks]: what products along `width` read.
void Pack(OpKernelContext* context, const Layout& layout, const float* rows, float* packed) {
  const int64_t heads = static_cast<int64_t>(layout.batch) * layout.key_heads;
  Parallel(context, heads, static_cast<int64_t>(layout.length) * layout.width, [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; ++i) {
      const int b = static_cast<int>(i / layout.key_heads);
      const int h = static_cast<int>(i % layout.key_heads);
      simd().transpose(layout.length, layout.width, rows + layout.keys(b, h), layout.key_stride(),
                       packed + layout.packed(b, h), layout.padded());
    }
  });
}

class Attention : public AttentionKernel {
 public:
  using AttentionKernel::AttentionKernel;

  void Compute(OpKernelContext* context) override {
    const Layout layout = LayoutOf(context, 0, 1, 3);
    if (!context->status().ok()) return;
    float* out = NewFloats(context, 0, context->input(0).shape());
    float* lse = NewFloats(context, 1, TensorShape({static_cast<int64_t>(layout.batch) * layout.heads, layout.length}));
    Tensor holder;
    float* packed = Scratch(context, layout.packed(layout.batch, 0), &holder);
    if (out == nullptr || lse == nullptr || packed == nullptr) return;
    const float* q = Floats(context, 0);
    const float* v = Floats(context, 2);
    Pack(context, layout, Floats(context, 1), packed);

    const int blocks = (layout.length + kQueryBlock - 1) / kQueryBlock;
    const int64_t tasks = static_cast<int64_t>(layout.batch) * layout.heads * blocks;
    const int64_t cost = static_cast<int64_t>(kQueryBlock) * layout.length * (layout.width / 4 + 4);
    Parallel(context, tasks, cost, [&](int64_t from, int64_t to) {
      std::vector<float> scores(kQueryBlock * kKeyBlock);
      for (int64_t task = from; task < to; ++task) {
        const int64_t head = task / blocks;
        const int b = static_cast<int>(head / layout.heads);
        const int h = static_cast<int>(head % layout.heads);
        const int first = static_cast<int>(task % blocks) * kQueryBlock;
        const int key_head = h / layout.group();
        Block(layout, b, first, q + layout.queries(b, h), packed + layout.packed(b, key_head),
              v + layout.keys(b, key_head), scores.data(), out + layout.queries(b, h), lse + head * layout.length);
      }
    });
  }

 private:
  // The queries from `first` on of one head: sums over key blocks, rescaled where a block holds a larger score.
  static void Block(const Layout& layout, int b, int first, const float* q, const float* packed, const float* v,
                    float* scores, float* out, float* lse) {
    const Simd& f = simd();
    const int queries = std::min(kQueryBlock, layout.length - first);
    const int stride = layout.query_stride();
    float largest[kQueryBlock];
    float total[kQueryBlock];
    std::fill(largest, largest + queries, -INFINITY);
    std::fill(total, total + queries, 0.0f);
    for (int i = 0; i < queries; ++i) {
      float* row = out + static_cast<int64_t>(first + i) * stride;
      std::fill(row, row + layout.width, 0.0f);
    }
    for (int key = 0; key < layout.length; key += kKeyBlock) {
      const int keys = std::min(kKeyBlock, layout.length - key);
      if (Apart(layout, b, first, queries, key, keys)) continue;
      f.gemm(queries, keys, layout.width, q + static_cast<int64_t>(first) * stride, stride, false, packed + key,
             layout.padded(), scores, kKeyBlock, false);
      for (int i = 0; i < queries; ++i) {
        float* row = scores + i * kKeyBlock;
        Hide(layout, b, first + i, key, keys, row);
        const float best = std::max(largest[i], f.max(keys, row) * layout.scale);
        if (best == -INFINITY) {
          std::fill(row, row + keys, 0.0f);
          continue;
        }
        const float sum = f.exp_row(keys, layout.scale, best, row);
        const float factor = std::exp(largest[i] - best);
        if (factor != 1.0f) f.scale(layout.width, factor, out + static_cast<int64_t>(first + i) * stride);
        total[i] = total[i] * factor + sum;
        largest[i] = best;
      }
      f.gemm(queries, layout.width, keys, scores, kKeyBlock, false,
             v + static_cast<int64_t>(key) * layout.key_stride(), layout.key_stride(),
             out + static_cast<int64_t>(first) * stride, stride, true);
    }
    for (int i = 0; i < queries; ++i) {
      if (total[i] > 0) f.scale(layout.width, 1.0f / total[i], out + static_cast<int64_t>(first + i) * stride);
      lse[first + i] = largest[i] + std::log(total[i]);
    }
  }
};

class AttentionGradient : public AttentionKernel {
 public:
  using AttentionKernel::AttentionKernel;

  void Compute(OpKernelContext* context) override {
    const Layout layout = LayoutOf(context, 1, 2, 4);
    if (!context->status().ok()) return;
    float* dq = NewFloats(context, 0, context->input(1).shape());
    float* dk = NewFloats(context, 1, context->input(2).shape());
    float* dv = NewFloats(context, 2, context->input(3).shape());
    Tensor keys_holder;
    Tensor values_holder;
    float* packed_keys = Scratch(context, layout.packed(layout.batch, 0), &keys_holder);
    float* packed_values = Scratch(context, layout.packed(layout.batch, 0), &values_holder);
    if (!context->status().ok()) return;
    Pack(context, layout, Floats(context, 2), packed_keys);
    Pack(context, layout, Floats(context, 3), packed_values);
    const Inputs in{Floats(context, 0), Floats(context, 1), Floats(context, 2), Floats(context, 5),
                    Floats(context, 6), packed_keys,        packed_values};
    std::fill(dq, dq + context->input(1).NumElements(), 0.0f);
    std::fill(dk, dk + context->input(2).NumElements(), 0.0f);
    std::fill(dv, dv + context->input(3).NumElements(), 0.0f);
    // A task owns one key head and all queries that read it: nobody else writes what it adds to.
    const int64_t tasks = static_cast<int64_t>(layout.batch) * layout.key_heads;
    const int64_t cost = static_cast<int64_t>(layout.group()) * layout.length * layout.length * layout.width;
    Parallel(context, tasks, cost, [&](int64_t from, int64_t to) {
      std::vector<float> p(kQueryBlock * kKeyBlock);
      std::vector<float> dp(kQueryBlock * kKeyBlock);
      for (int64_t task = from; task < to; ++task) {
        const int b = static_cast<int>(task / layout.key_heads);
        Head(layout, in, b, static_cast<int>(task % layout.key_heads), p.data(), dp.data(), dq, dk, dv);
      }
    });
  }

 private:
  struct Inputs {
    const float *dout, *q, *k, *out, *lse, *packed_keys, *packed_values;
  };

  static void Head(const Layout& layout, const Inputs& in, int b, int key_head, float* p, float* dp, float* dq,
                   float* dk, float* dv) {
    const Simd& f = simd();
    const int stride = layout.query_stride();
    const int key_stride = layout.key_stride();
    const int64_t key_base = layout.keys(b, key_head);
    std::vector<float> delta(static_cast<size_t>(layout.length));
    for (int h = key_head * layout.group(); h < (key_head + 1) * layout.group(); ++h) {
      const int64_t base = layout.queries(b, h);
      const float* lse = in.lse + (static_cast<int64_t>(b) * layout.heads + h) * layout.length;
      for (int i = 0; i < layout.length; ++i) {
        const int64_t row = base + static_cast<int64_t>(i) * stride;
        delta[static_cast<size_t>(i)] = f.dot(layout.width, in.dout + row, in.out + row);
      }
      for (int key = 0; key < layout.length; key += kKeyBlock) {
        const int keys = std::min(kKeyBlock, layout.length - key);
        const int64_t key_row = key_base + static_cast<int64_t>(key) * key_stride;
        for (int first = 0; first < layout.length; first += kQueryBlock) {
          const int queries = std::min(kQueryBlock, layout.length - first);
          if (Apart(layout, b, first, queries, key, keys)) continue;
          const int64_t row = base + static_cast<int64_t>(first) * stride;
          f.gemm(queries, keys, layout.width, in.q + row, stride, false,
                 in.packed_keys + layout.packed(b, key_head) + key, layout.padded(), p, kKeyBlock, false);
          f.gemm(queries, keys, layout.width, in.dout + row, stride, false,
                 in.packed_values + layout.packed(b, key_head) + key, layout.padded(), dp, kKeyBlock, false);
          for (int i = 0; i < queries; ++i) {
            Hide(layout, b, first + i, key, keys, p + i * kKeyBlock);
            f.exp_row(keys, layout.scale, lse[first + i], p + i * kKeyBlock);
          }
          f.gemm(keys, layout.width, queries, p, kKeyBlock, true, in.dout + row, stride, dv + key_row, key_stride, true);
          for (int i = 0; i < queries; ++i) {
            f.score_gradient(keys, dp + i * kKeyBlock, delta[static_cast<size_t>(first + i)], layout.scale,
                             p + i * kKeyBlock);
          }
          f.gemm(queries, layout.width, keys, p, kKeyBlock, false, in.k + key_row, key_stride, dq + row, stride, true);
          f.gemm(keys, layout.width, queries, p, kKeyBlock, true, in.q + row, stride, dk + key_row, key_stride, true);
        }
      }
    }
  }
};

REGISTER_KERNEL_BUILDER(Name("GroundAttention").Device(tensorflow::DEVICE_CPU), Attention);
REGISTER_KERNEL_BUILDER(Name("GroundAttentionGradient").Device(tensorflow::DEVICE_CPU), AttentionGradient);

}  // namespace
}  // namespace ground
