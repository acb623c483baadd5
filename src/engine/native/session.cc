#include "session.h"

#include <cstring>
#include <utility>

namespace ground {
namespace {

// tensorflow.ConfigProto, encoded by hand: a handful of fields does not justify linking protobuf.
// Field numbers: tensorflow/core/protobuf/config.proto.
class ConfigProto {
 public:
  ConfigProto& Varint(int field, uint64_t value) {
    Raw(static_cast<uint64_t>(field) << 3);
    Raw(value);
    return *this;
  }
  ConfigProto& Bytes(int field, const std::string& value) {
    Raw(static_cast<uint64_t>(field) << 3 | 2);
    Raw(value.size());
    bytes_ += value;
    return *this;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  void Raw(uint64_t value) {
    while (value >= 0x80) {
      bytes_.push_back(static_cast<char>(value | 0x80));
      value >>= 7;
    }
    bytes_.push_back(static_cast<char>(value));
  }
  std::string bytes_;
};

constexpr int kDeviceCount = 1;  // map<string, int32>
constexpr int kIntraOpThreads = 2;
constexpr int kInterOpThreads = 5;
constexpr int kGpuOptions = 6;
constexpr int kAllowSoftPlacement = 7;
constexpr int kGpuAllowGrowth = 4;  // of GPUOptions
constexpr int kMapKey = 1;
constexpr int kMapValue = 2;

std::string EncodeConfig(const SessionOptions& options) {
  ConfigProto config;
  const int gpus = options.use_gpu ? 1 : 0;
  config.Bytes(kDeviceCount, ConfigProto().Bytes(kMapKey, "GPU").Varint(kMapValue, gpus).bytes());
  if (options.intra_op_threads > 0) config.Varint(kIntraOpThreads, options.intra_op_threads);
  if (options.inter_op_threads > 0) config.Varint(kInterOpThreads, options.inter_op_threads);
  config.Bytes(kGpuOptions, ConfigProto().Varint(kGpuAllowGrowth, 1).bytes());
  config.Varint(kAllowSoftPlacement, 1);
  return config.bytes();
}

}  // namespace

void Check(Napi::Env env, const Status& status, const std::string& what) {
  if (TF_GetCode(status.get()) == TF_OK) return;
  throw Napi::Error::New(env, what + ": " + TF_Message(status.get()));
}

Session::Session(Napi::Env env, const SessionOptions& options) {
  Status status(TF_NewStatus());
  ContextOptions context_options(TFE_NewContextOptions());
  const std::string config = EncodeConfig(options);
  TFE_ContextOptionsSetConfig(context_options.get(), config.data(), config.size(), status.get());
  Check(env, status, "engine options");
  TFE_ContextOptionsSetAsync(context_options.get(), 0);
  TFE_ContextOptionsSetDevicePlacementPolicy(context_options.get(), TFE_DEVICE_PLACEMENT_SILENT);
  context_.reset(TFE_NewContext(context_options.get(), status.get()));
  Check(env, status, "starting libtensorflow");

  DeviceList devices(TFE_ContextListDevices(context_.get(), status.get()));
  Check(env, status, "listing devices");
  for (int i = 0; i < TF_DeviceListCount(devices.get()); ++i) {
    const char* type = TF_DeviceListType(devices.get(), i, status.get());
    Check(env, status, "device type");
    if (std::strcmp(type, "GPU") != 0) continue;
    has_gpu_ = true;
    gpu_name_ = TF_DeviceListName(devices.get(), i, status.get());
    Check(env, status, "device name");
    break;
  }
}

int64_t Session::Add(TensorHandle handle) {
  const int64_t id = next_id_++;
  tensors_.emplace(id, std::move(handle));
  return id;
}

TFE_TensorHandle* Session::Get(Napi::Env env, int64_t id) const {
  const auto found = tensors_.find(id);
  if (found == tensors_.end()) {
    throw Napi::Error::New(env, "tensor " + std::to_string(id) + " does not exist (deleted before?)");
  }
  return found->second.get();
}

void Session::Delete(Napi::Env env, int64_t id) {
  if (tensors_.erase(id) == 0) {
    throw Napi::Error::New(env, "tensor " + std::to_string(id) + " does not exist (deleted before?)");
  }
}

}  // namespace ground
