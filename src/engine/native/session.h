// One eager context of libtensorflow and the tensors that JavaScript holds in it. Each Node environment (the main
// thread, a worker) has its own, so two threads never share one.
#ifndef GROUND_SESSION_H_
#define GROUND_SESSION_H_

#include <napi.h>

#include <cstdint>
#include <string>
#include <unordered_map>

#include "handles.h"

namespace ground {

struct SessionOptions {
  int intra_op_threads = 0;  // 0: one per core
  int inter_op_threads = 0;
  bool use_gpu = false;
};

class Session {
 public:
  // Throws a JavaScript error when libtensorflow refuses (bad device, out of memory).
  Session(Napi::Env env, const SessionOptions& options);

  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Takes ownership of `handle` and returns the number JavaScript knows it by. Numbers are never used twice.
  int64_t Add(TensorHandle handle);
  // Throws a JavaScript error for a number that was never given out or was deleted.
  TFE_TensorHandle* Get(Napi::Env env, int64_t id) const;
  void Delete(Napi::Env env, int64_t id);
  size_t tensor_count() const { return tensors_.size(); }

  TFE_Context* context() const { return context_.get(); }
  bool has_gpu() const { return has_gpu_; }
  // The name of the accelerator ("/job:localhost/.../device:GPU:0") or empty.
  const std::string& gpu_name() const { return gpu_name_; }

 private:
  Context context_;  // before the handles, so that it outlives them
  std::unordered_map<int64_t, TensorHandle> tensors_;
  int64_t next_id_ = 0;
  bool has_gpu_ = false;
  std::string gpu_name_;
};

// Throws `what: TensorFlow's message` as a JavaScript error unless `status` is OK.
void Check(Napi::Env env, const Status& status, const std::string& what);

}  // namespace ground

#endif  // GROUND_SESSION_H_
