// What the fused ops share: outputs, threads, and sums that do not depend on how many threads there are.
#ifndef GROUND_OPS_H_
#define GROUND_OPS_H_

#include <algorithm>
#include <functional>
#include <vector>

#include "simd.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace ground {

using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

inline const float* Floats(OpKernelContext* context, int input) { return context->input(input).flat<float>().data(); }

// Allocates output `index`; null (with the error set) where memory is short.
inline float* NewFloats(OpKernelContext* context, int index, const TensorShape& shape) {
  Tensor* tensor = nullptr;
  const absl::Status status = context->allocate_output(index, shape, &tensor);
  if (!status.ok()) {
    context->SetStatus(status);
    return nullptr;
  }
  return tensor->flat<float>().data();
}

// An array that lives until the op is done.
inline float* Scratch(OpKernelContext* context, int64_t count, Tensor* holder) {
  const absl::Status status = context->allocate_temp(tensorflow::DT_FLOAT, TensorShape({std::max<int64_t>(count, 1)}),
                                                     holder);
  if (!status.ok()) {
    context->SetStatus(status);
    return nullptr;
  }
  return holder->flat<float>().data();
}

// Calls work(from, to) for parts of 0..count on the device's own threads; `cost` is about the cycles of one.
inline void Parallel(OpKernelContext* context, int64_t count, int64_t cost,
                     const std::function<void(int64_t, int64_t)>& work) {
  using Threads = tsl::thread::ThreadPool;
  context->device()->tensorflow_cpu_worker_threads()->workers->ParallelFor(
      count, Threads::SchedulingParams::Adaptive(cost), work);
}

// Work over rows whose sums over all rows are wanted too (gradients of gains and biases). Rows go in chunks of a fixed
// number; each chunk sums into arrays of its own, which are then added in order: the result is the same for any number
// of threads. `rows(from, to, partial)` adds to `partial`, `sums` arrays of `width` behind each other.
inline void ParallelWithSums(OpKernelContext* context, int64_t count, int64_t width, int sums, int64_t row_cost,
                             const std::function<void(int64_t, int64_t, float*)>& rows,
                             const std::vector<float*>& totals) {
  const int64_t chunk = std::max<int64_t>(16, (count + 63) / 64);
  const int64_t chunks = (count + chunk - 1) / chunk;
  Tensor holder;
  float* partial = Scratch(context, chunks * sums * width, &holder);
  if (partial == nullptr) return;
  Parallel(context, chunks, chunk * row_cost, [&](int64_t from, int64_t to) {
    for (int64_t c = from; c < to; ++c) {
      float* own = partial + c * sums * width;
      std::fill(own, own + sums * width, 0.0f);
      rows(c * chunk, std::min(count, (c + 1) * chunk), own);
    }
  });
  for (int s = 0; s < sums; ++s) {
    std::fill(totals[static_cast<size_t>(s)], totals[static_cast<size_t>(s)] + width, 0.0f);
    for (int64_t c = 0; c < chunks; ++c) simd().add(width, partial + (c * sums + s) * width, totals[static_cast<size_t>(s)]);
  }
}

// Output i has the shape of input of[i].
inline auto ShapesOf(std::vector<int> of) {
  return [of](tensorflow::shape_inference::InferenceContext* context) {
    for (size_t i = 0; i < of.size(); ++i) context->set_output(static_cast<int>(i), context->input(of[i]));
    return absl::OkStatus();
  };
}

}  // namespace ground

#endif  // GROUND_OPS_H_
