#ifndef GROUND_EXECUTE_H_
#define GROUND_EXECUTE_H_

#include <napi.h>

#include <string>

#include "session.h"

namespace ground {

// Runs one op at once and returns [{id, shape, dtype}] of its outputs. An error of TensorFlow becomes a JavaScript
// error that begins with the op's name; nothing is leaked then.
Napi::Value ExecuteOp(Napi::Env env, Session& session, const std::string& name, const Napi::Array& attributes,
                      const Napi::Array& inputs, int output_count);

}  // namespace ground

#endif  // GROUND_EXECUTE_H_
