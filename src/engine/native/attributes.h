// The attributes of an op, as tfjs gives them: [{name, type, value}].
#ifndef GROUND_ATTRIBUTES_H_
#define GROUND_ATTRIBUTES_H_

#include <napi.h>

#include "handles.h"

namespace ground {

// Sets `attribute` on `op`; an array value sets a list. Throws a JavaScript error for a type that TensorFlow lacks.
void SetAttribute(Napi::Env env, TFE_Op* op, const Napi::Object& attribute);

}  // namespace ground

#endif  // GROUND_ATTRIBUTES_H_
