// Owners of TensorFlow's C objects: each is deleted exactly once, also when a JavaScript error is thrown half-way.
#ifndef GROUND_HANDLES_H_
#define GROUND_HANDLES_H_

#include <memory>

#include "tensorflow/c/c_api.h"
#include "tensorflow/c/eager/c_api.h"

namespace ground {

template <auto deleter>
struct Deleter {
  template <typename T>
  void operator()(T* object) const {
    deleter(object);
  }
};

using Status = std::unique_ptr<TF_Status, Deleter<TF_DeleteStatus>>;
using Tensor = std::unique_ptr<TF_Tensor, Deleter<TF_DeleteTensor>>;
using TensorHandle = std::unique_ptr<TFE_TensorHandle, Deleter<TFE_DeleteTensorHandle>>;
using Op = std::unique_ptr<TFE_Op, Deleter<TFE_DeleteOp>>;
using Context = std::unique_ptr<TFE_Context, Deleter<TFE_DeleteContext>>;
using ContextOptions = std::unique_ptr<TFE_ContextOptions, Deleter<TFE_DeleteContextOptions>>;
using DeviceList = std::unique_ptr<TF_DeviceList, Deleter<TF_DeleteDeviceList>>;

}  // namespace ground

#endif  // GROUND_HANDLES_H_
