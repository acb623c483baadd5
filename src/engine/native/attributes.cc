#include "attributes.h"

#include <string>
#include <vector>

#include "session.h"

namespace ground {
namespace {

int64_t ToInt(const Napi::Value& value) { return value.ToNumber().Int64Value(); }
float ToFloat(const Napi::Value& value) { return value.ToNumber().FloatValue(); }
unsigned char ToBool(const Napi::Value& value) { return value.ToBoolean().Value() ? 1 : 0; }
TF_DataType ToType(const Napi::Value& value) {
  return static_cast<TF_DataType>(value.ToNumber().Int32Value());
}
std::string ToText(const Napi::Value& value) { return value.ToString().Utf8Value(); }

template <typename T>
std::vector<T> ToList(const Napi::Array& array, T (*convert)(const Napi::Value&)) {
  std::vector<T> out;
  out.reserve(array.Length());
  for (uint32_t i = 0; i < array.Length(); ++i) out.push_back(convert(array.Get(i)));
  return out;
}

void SetList(TFE_Op* op, const char* name, TF_AttrType type, const Napi::Array& array) {
  switch (type) {
    case TF_ATTR_INT: {
      const auto list = ToList(array, ToInt);
      return TFE_OpSetAttrIntList(op, name, list.data(), static_cast<int>(list.size()));
    }
    case TF_ATTR_FLOAT: {
      const auto list = ToList(array, ToFloat);
      return TFE_OpSetAttrFloatList(op, name, list.data(), static_cast<int>(list.size()));
    }
    case TF_ATTR_BOOL: {
      const auto list = ToList(array, ToBool);
      return TFE_OpSetAttrBoolList(op, name, list.data(), static_cast<int>(list.size()));
    }
    case TF_ATTR_TYPE: {
      const auto list = ToList(array, ToType);
      return TFE_OpSetAttrTypeList(op, name, list.data(), static_cast<int>(list.size()));
    }
    case TF_ATTR_STRING: {
      const auto list = ToList(array, ToText);
      std::vector<const void*> texts;
      std::vector<size_t> lengths;
      for (const std::string& text : list) {
        texts.push_back(text.data());
        lengths.push_back(text.size());
      }
      return TFE_OpSetAttrStringList(op, name, texts.data(), lengths.data(), static_cast<int>(list.size()));
    }
    default:
      throw Napi::TypeError::New(array.Env(), std::string("attribute ") + name + ": no lists of type " +
                                                  std::to_string(type));
  }
}

}  // namespace

void SetAttribute(Napi::Env env, TFE_Op* op, const Napi::Object& attribute) {
  const std::string name = ToText(attribute.Get("name"));
  const auto type = static_cast<TF_AttrType>(attribute.Get("type").ToNumber().Int32Value());
  const Napi::Value value = attribute.Get("value");
  if (type == TF_ATTR_SHAPE) {
    const auto dims = ToList(value.As<Napi::Array>(), ToInt);
    Status status(TF_NewStatus());
    TFE_OpSetAttrShape(op, name.c_str(), dims.data(), static_cast<int>(dims.size()), status.get());
    return Check(env, status, "attribute " + name);
  }
  if (value.IsArray()) return SetList(op, name.c_str(), type, value.As<Napi::Array>());
  switch (type) {
    case TF_ATTR_INT:
      return TFE_OpSetAttrInt(op, name.c_str(), ToInt(value));
    case TF_ATTR_FLOAT:
      return TFE_OpSetAttrFloat(op, name.c_str(), ToFloat(value));
    case TF_ATTR_BOOL:
      return TFE_OpSetAttrBool(op, name.c_str(), ToBool(value));
    case TF_ATTR_TYPE:
      return TFE_OpSetAttrType(op, name.c_str(), ToType(value));
    case TF_ATTR_STRING: {
      const std::string text = ToText(value);
      return TFE_OpSetAttrString(op, name.c_str(), text.data(), text.size());
    }
    case TF_ATTR_FUNC: {
      const std::string text = ToText(value);
      return TFE_OpSetAttrFunctionName(op, name.c_str(), text.data(), text.size());
    }
    default:
      throw Napi::TypeError::New(env, "attribute " + name + ": unknown type " + std::to_string(type));
  }
}

}  // namespace ground
