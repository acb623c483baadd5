#include "functions.h"

#include <vector>

namespace ground {
namespace {

using Graph = std::unique_ptr<TF_Graph, Deleter<TF_DeleteGraph>>;
using Function = std::unique_ptr<TF_Function, Deleter<TF_DeleteFunction>>;
using ImportOptions = std::unique_ptr<TF_ImportGraphDefOptions, Deleter<TF_DeleteImportGraphDefOptions>>;
using Buffer = std::unique_ptr<TF_Buffer, Deleter<TF_DeleteBuffer>>;

std::vector<TF_Output> FindNodes(Napi::Env env, TF_Graph* graph, const Napi::Array& names) {
  std::vector<TF_Output> nodes;
  for (uint32_t i = 0; i < names.Length(); ++i) {
    const std::string node = names.Get(i).ToString().Utf8Value();
    TF_Operation* const operation = TF_GraphOperationByName(graph, node.c_str());
    if (operation == nullptr) throw Napi::Error::New(env, "the recorded graph has no node " + node);
    nodes.push_back({operation, 0});
  }
  return nodes;
}

}  // namespace

void RegisterFunction(Napi::Env env, Session& session, const std::string& name, const Napi::Uint8Array& graph_def,
                      const Napi::Array& inputs, const Napi::Array& outputs) {
  const Status status(TF_NewStatus());
  const Graph graph(TF_NewGraph());
  const Buffer buffer(TF_NewBufferFromString(graph_def.Data(), graph_def.ByteLength()));
  const ImportOptions options(TF_NewImportGraphDefOptions());
  TF_GraphImportGraphDef(graph.get(), buffer.get(), options.get(), status.get());
  Check(env, status, "recorded graph " + name);
  const std::vector<TF_Output> arguments = FindNodes(env, graph.get(), inputs);
  const std::vector<TF_Output> results = FindNodes(env, graph.get(), outputs);
  const Function function(TF_GraphToFunction(graph.get(), name.c_str(), /*append_hash_to_fn_name=*/0,
                                             /*num_opers=*/-1, /*opers=*/nullptr, static_cast<int>(arguments.size()),
                                             arguments.data(), static_cast<int>(results.size()), results.data(),
                                             /*output_names=*/nullptr, /*opts=*/nullptr,
                                             /*description=*/"a recorded step of ground", status.get()));
  Check(env, status, "function " + name);
  TFE_ContextAddFunction(session.context(), function.get(), status.get());
  Check(env, status, "function " + name);
}

void RemoveFunction(Napi::Env env, Session& session, const std::string& name) {
  const Status status(TF_NewStatus());
  TFE_ContextRemoveFunction(session.context(), name.c_str(), status.get());
  Check(env, status, "removing function " + name);
}

}  // namespace ground
