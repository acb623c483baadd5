// The binding that tfjs's Node kernels call (createTensor, deleteTensor, tensorDataSync, executeOp, ...), plus `open`,
// which starts libtensorflow with the threads and the device asked for.
#include <napi.h>

#include <memory>
#include <string>

#include "execute.h"
#include "functions.h"
#include "session.h"
#include "tensors.h"
#ifdef GROUND_FUSED
#include "simd.h"
#endif

namespace ground {
namespace {

// Per environment; Node deletes it with the environment.
struct State {
  std::unique_ptr<Session> session;
};

Session& SessionOf(Napi::Env env) {
  State* state = env.GetInstanceData<State>();
  if (!state->session) throw Napi::Error::New(env, "the engine is not open: call open() first");
  return *state->session;
}

int IntOption(const Napi::Object& options, const char* name) {
  const Napi::Value value = options.Get(name);
  return value.IsNumber() ? value.As<Napi::Number>().Int32Value() : 0;
}

// open({intraOpThreads, interOpThreads, gpu}): 0 threads means one per core. Closes what was open before.
void Open(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto given = info[0].As<Napi::Object>();
  SessionOptions options;
  options.intra_op_threads = IntOption(given, "intraOpThreads");
  options.inter_op_threads = IntOption(given, "interOpThreads");
  options.use_gpu = given.Get("gpu").ToBoolean();
  State* state = env.GetInstanceData<State>();
  state->session.reset();
  state->session = std::make_unique<Session>(env, options);
}

void Close(const Napi::CallbackInfo& info) { info.Env().GetInstanceData<State>()->session.reset(); }

Napi::Value OnCreateTensor(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto dtype = static_cast<TF_DataType>(info[1].ToNumber().Int32Value());
  const int64_t id = CreateTensor(env, SessionOf(env), info[0].As<Napi::Array>(), dtype, info[2]);
  return Napi::Number::New(env, static_cast<double>(id));
}

void OnDeleteTensor(const Napi::CallbackInfo& info) {
  SessionOf(info.Env()).Delete(info.Env(), info[0].ToNumber().Int64Value());
}

Napi::Value OnTensorDataSync(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return ReadTensor(env, SessionOf(env).Get(env, info[0].ToNumber().Int64Value()));
}

Napi::Value OnExecuteOp(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return ExecuteOp(env, SessionOf(env), info[0].ToString().Utf8Value(), info[1].As<Napi::Array>(),
                   info[2].As<Napi::Array>(), info[3].ToNumber().Int32Value());
}

// registerFunction(name, graphDef, inputNodes, outputNodes)
void OnRegisterFunction(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  RegisterFunction(env, SessionOf(env), info[0].ToString().Utf8Value(), info[1].As<Napi::Uint8Array>(),
                   info[2].As<Napi::Array>(), info[3].As<Napi::Array>());
}

void OnRemoveFunction(const Napi::CallbackInfo& info) {
  RemoveFunction(info.Env(), SessionOf(info.Env()), info[0].ToString().Utf8Value());
}

Napi::Value OnTensorDtype(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  TFE_TensorHandle* const handle = SessionOf(env).Get(env, info[0].ToNumber().Int64Value());
  return Napi::Number::New(env, static_cast<int>(TFE_TensorHandleDataType(handle)));
}

Napi::Value OnIsUsingGpuDevice(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), SessionOf(info.Env()).has_gpu());
}

Napi::Value OnGpuName(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), SessionOf(info.Env()).gpu_name());
}

Napi::Value OnGetNumOfTensors(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(SessionOf(info.Env()).tensor_count()));
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new State);
  exports.Set("open", Napi::Function::New(env, Open));
  exports.Set("close", Napi::Function::New(env, Close));
  exports.Set("createTensor", Napi::Function::New(env, OnCreateTensor));
  exports.Set("deleteTensor", Napi::Function::New(env, OnDeleteTensor));
  exports.Set("tensorDataSync", Napi::Function::New(env, OnTensorDataSync));
  exports.Set("executeOp", Napi::Function::New(env, OnExecuteOp));
  exports.Set("registerFunction", Napi::Function::New(env, OnRegisterFunction));
  exports.Set("removeFunction", Napi::Function::New(env, OnRemoveFunction));
  exports.Set("tensorDtype", Napi::Function::New(env, OnTensorDtype));
  exports.Set("isUsingGpuDevice", Napi::Function::New(env, OnIsUsingGpuDevice));
  exports.Set("gpuName", Napi::Function::New(env, OnGpuName));
  exports.Set("getNumOfTensors", Napi::Function::New(env, OnGetNumOfTensors));
  exports.Set("TF_Version", TF_Version());
#ifdef GROUND_FUSED
  exports.Set("fusedOps", simd().name);
#else
  exports.Set("fusedOps", env.Null());
#endif

  const struct {
    const char* name;
    int value;
  } constants[] = {
      {"TF_FLOAT", TF_FLOAT},       {"TF_INT32", TF_INT32},         {"TF_INT64", TF_INT64},
      {"TF_BOOL", TF_BOOL},         {"TF_COMPLEX64", TF_COMPLEX64}, {"TF_STRING", TF_STRING},
      {"TF_RESOURCE", TF_RESOURCE}, {"TF_UINT8", TF_UINT8},         {"TF_ATTR_STRING", TF_ATTR_STRING},
      {"TF_ATTR_INT", TF_ATTR_INT}, {"TF_ATTR_FLOAT", TF_ATTR_FLOAT}, {"TF_ATTR_BOOL", TF_ATTR_BOOL},
      {"TF_ATTR_TYPE", TF_ATTR_TYPE}, {"TF_ATTR_SHAPE", TF_ATTR_SHAPE}, {"TF_ATTR_FUNC", TF_ATTR_FUNC},
  };
  for (const auto& constant : constants) exports.Set(constant.name, constant.value);
  return exports;
}

}  // namespace
}  // namespace ground

Napi::Object InitAddon(Napi::Env env, Napi::Object exports) { return ground::Init(env, exports); }

NODE_API_MODULE(ground_engine, InitAddon)
