#include "execute.h"

#include <utility>
#include <vector>

#include "attributes.h"

namespace ground {
namespace {

Napi::Object Describe(Napi::Env env, Session& session, TensorHandle handle) {
  Status status(TF_NewStatus());
  const int rank = TFE_TensorHandleNumDims(handle.get(), status.get());
  Check(env, status, "shape of an output");
  Napi::Array shape = Napi::Array::New(env, static_cast<size_t>(rank));
  for (int i = 0; i < rank; ++i) {
    const auto dim = static_cast<double>(TFE_TensorHandleDim(handle.get(), i, status.get()));
    Check(env, status, "shape of an output");
    shape.Set(static_cast<uint32_t>(i), Napi::Number::New(env, dim));
  }
  const auto dtype = static_cast<int>(TFE_TensorHandleDataType(handle.get()));
  Napi::Object out = Napi::Object::New(env);
  out.Set("id", Napi::Number::New(env, static_cast<double>(session.Add(std::move(handle)))));
  out.Set("shape", shape);
  out.Set("dtype", Napi::Number::New(env, dtype));
  return out;
}

}  // namespace

Napi::Value ExecuteOp(Napi::Env env, Session& session, const std::string& name, const Napi::Array& attributes,
                      const Napi::Array& inputs, int output_count) {
  Status status(TF_NewStatus());
  const Op op(TFE_NewOp(session.context(), name.c_str(), status.get()));
  Check(env, status, name);
  for (uint32_t i = 0; i < attributes.Length(); ++i) {
    SetAttribute(env, op.get(), attributes.Get(i).As<Napi::Object>());
  }
  for (uint32_t i = 0; i < inputs.Length(); ++i) {
    TFE_TensorHandle* const input = session.Get(env, inputs.Get(i).ToNumber().Int64Value());
    TFE_OpAddInput(op.get(), input, status.get());
    Check(env, status, name + ", input " + std::to_string(i));
  }
  std::vector<TFE_TensorHandle*> raw(static_cast<size_t>(output_count), nullptr);
  int produced = output_count;
  TFE_Execute(op.get(), raw.data(), &produced, status.get());
  Check(env, status, name);
  std::vector<TensorHandle> outputs;
  for (int i = 0; i < produced; ++i) outputs.emplace_back(raw[static_cast<size_t>(i)]);

  Napi::Array described = Napi::Array::New(env, outputs.size());
  for (size_t i = 0; i < outputs.size(); ++i) {
    described.Set(static_cast<uint32_t>(i), Describe(env, session, std::move(outputs[i])));
  }
  return described;
}

}  // namespace ground
