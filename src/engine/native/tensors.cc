#include "tensors.h"

#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ground {
namespace {

// Far beyond any memory, and no size in bytes overflows below it.
constexpr size_t kMaxElements = size_t{1} << 48;

struct Bytes {
  const char* data;
  size_t size;
};

Bytes BytesOf(const Napi::TypedArray& array) {
  // An empty view may have no backing store at all.
  if (array.ByteLength() == 0) return {"", 0};
  const auto* start = static_cast<const char*>(array.ArrayBuffer().Data());
  return {start + array.ByteOffset(), array.ByteLength()};
}

void DeleteStrings(void* data, size_t length, void*) {
  auto* strings = static_cast<TF_TString*>(data);
  for (size_t i = 0; i < length / sizeof(TF_TString); ++i) TF_StringDealloc(&strings[i]);
  delete[] strings;
}

Tensor StringTensor(Napi::Env env, const std::vector<int64_t>& dims, size_t count, const Napi::Value& values) {
  if (!values.IsArray() || values.As<Napi::Array>().Length() != count) {
    throw Napi::TypeError::New(env, "createTensor: a string tensor of " + std::to_string(count) +
                                        " elements needs an array of as many strings");
  }
  const auto array = values.As<Napi::Array>();
  auto strings = std::make_unique<TF_TString[]>(count);
  for (size_t i = 0; i < count; ++i) TF_StringInit(&strings[i]);
  TF_TString* const raw = strings.get();
  Tensor tensor(TF_NewTensor(TF_STRING, dims.data(), static_cast<int>(dims.size()), strings.release(),
                             count * sizeof(TF_TString), DeleteStrings, nullptr));
  for (size_t i = 0; i < count; ++i) {
    const Napi::Value value = array.Get(static_cast<uint32_t>(i));
    if (value.IsTypedArray()) {
      const Bytes bytes = BytesOf(value.As<Napi::TypedArray>());
      TF_StringCopy(&raw[i], bytes.data, bytes.size);
    } else if (value.IsString()) {
      const std::string text = value.As<Napi::String>().Utf8Value();
      TF_StringCopy(&raw[i], text.data(), text.size());
    } else {
      throw Napi::TypeError::New(env, "createTensor: element " + std::to_string(i) + " is not a string");
    }
  }
  return tensor;
}

Tensor NumberTensor(Napi::Env env, const std::vector<int64_t>& dims, size_t count, TF_DataType dtype,
                    const Napi::Value& values) {
  if (!values.IsTypedArray()) throw Napi::TypeError::New(env, "createTensor: values must be a typed array");
  const size_t size = count * TF_DataTypeSize(dtype);
  const Bytes bytes = BytesOf(values.As<Napi::TypedArray>());
  if (bytes.size != size) {
    throw Napi::RangeError::New(env, "createTensor: the shape needs " + std::to_string(size) + " bytes, got " +
                                         std::to_string(bytes.size));
  }
  Tensor tensor(TF_AllocateTensor(dtype, dims.data(), static_cast<int>(dims.size()), size));
  if (!tensor) throw Napi::Error::New(env, "createTensor: no memory for " + std::to_string(size) + " bytes");
  std::memcpy(TF_TensorData(tensor.get()), bytes.data, size);
  return tensor;
}

template <typename Element, typename ArrayType>
Napi::Value CopyOut(Napi::Env env, const TF_Tensor* tensor) {
  const size_t size = TF_TensorByteSize(tensor);
  ArrayType array = ArrayType::New(env, size / sizeof(Element));
  if (size > 0) std::memcpy(array.Data(), TF_TensorData(tensor), size);
  return array;
}

Napi::Value CopyStrings(Napi::Env env, const TF_Tensor* tensor) {
  const auto count = static_cast<size_t>(TF_TensorElementCount(tensor));
  const auto* strings = static_cast<const TF_TString*>(TF_TensorData(tensor));
  Napi::Array out = Napi::Array::New(env, count);
  for (size_t i = 0; i < count; ++i) {
    const size_t size = TF_StringGetSize(&strings[i]);
    Napi::Uint8Array bytes = Napi::Uint8Array::New(env, size);
    if (size > 0) std::memcpy(bytes.Data(), TF_StringGetDataPointer(&strings[i]), size);
    out.Set(static_cast<uint32_t>(i), bytes);
  }
  return out;
}

}  // namespace

int64_t CreateTensor(Napi::Env env, Session& session, const Napi::Array& shape, TF_DataType dtype,
                     const Napi::Value& values) {
  std::vector<int64_t> dims(shape.Length());
  size_t count = 1;
  for (size_t i = 0; i < dims.size(); ++i) {
    dims[i] = shape.Get(static_cast<uint32_t>(i)).ToNumber().Int64Value();
    if (dims[i] < 0) throw Napi::RangeError::New(env, "createTensor: a dimension is negative");
    const auto size = static_cast<size_t>(dims[i]);
    if (size > 0 && count > kMaxElements / size) {
      throw Napi::RangeError::New(env, "createTensor: the shape has too many elements");
    }
    count *= size;
  }
  const Tensor tensor = dtype == TF_STRING ? StringTensor(env, dims, count, values)
                                           : NumberTensor(env, dims, count, dtype, values);
  Status status(TF_NewStatus());
  TensorHandle handle(TFE_NewTensorHandle(tensor.get(), status.get()));
  Check(env, status, "createTensor");
  return session.Add(std::move(handle));
}

Napi::Value ReadTensor(Napi::Env env, TFE_TensorHandle* handle) {
  Status status(TF_NewStatus());
  const Tensor tensor(TFE_TensorHandleResolve(handle, status.get()));
  Check(env, status, "tensorDataSync");
  switch (TF_TensorType(tensor.get())) {
    case TF_FLOAT:
    case TF_COMPLEX64:  // real and imaginary parts in turn
      return CopyOut<float, Napi::Float32Array>(env, tensor.get());
    case TF_INT32:
      return CopyOut<int32_t, Napi::Int32Array>(env, tensor.get());
    case TF_INT64:
      return CopyOut<int64_t, Napi::BigInt64Array>(env, tensor.get());
    case TF_BOOL:
    case TF_UINT8:
      return CopyOut<uint8_t, Napi::Uint8Array>(env, tensor.get());
    case TF_STRING:
      return CopyStrings(env, tensor.get());
    default:
      throw Napi::Error::New(env, "tensorDataSync: data type " +
                                      std::to_string(TF_TensorType(tensor.get())) + " cannot be read");
  }
}

}  // namespace ground
