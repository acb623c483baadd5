// Recorded steps: a graph becomes a function of the eager context and is then executed like an op, by its name.
#ifndef GROUND_FUNCTIONS_H_
#define GROUND_FUNCTIONS_H_

#include <napi.h>

#include <string>

#include "session.h"

namespace ground {

// Imports a serialized GraphDef and registers it as `name`: its arguments are the Placeholder nodes named in `inputs`,
// its results output 0 of the nodes named in `outputs`. Throws a JavaScript error when TensorFlow refuses the graph.
void RegisterFunction(Napi::Env env, Session& session, const std::string& name, const Napi::Uint8Array& graph_def,
                      const Napi::Array& inputs, const Napi::Array& outputs);

void RemoveFunction(Napi::Env env, Session& session, const std::string& name);

}  // namespace ground

#endif  // GROUND_FUNCTIONS_H_
