// Values between JavaScript and libtensorflow.
#ifndef GROUND_TENSORS_H_
#define GROUND_TENSORS_H_

#include <napi.h>

#include "session.h"

namespace ground {

// Copies `values` (a typed array whose bytes are the tensor's, or an array of strings or Uint8Arrays for TF_STRING)
// into a new tensor and returns its id.
int64_t CreateTensor(Napi::Env env, Session& session, const Napi::Array& shape, TF_DataType dtype,
                     const Napi::Value& values);

// Copies a tensor's values out: Float32Array, Int32Array, Uint8Array, BigInt64Array, or an array of Uint8Array.
Napi::Value ReadTensor(Napi::Env env, TFE_TensorHandle* handle);

}  // namespace ground

#endif  // GROUND_TENSORS_H_
