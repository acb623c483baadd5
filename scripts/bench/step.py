"""The PyTorch side of the benchmark of steps: file of shapes, threads, model, stage, folder with weights and batch, way."""
import json
import sys

import torch
from ferret import Ferret, read_arrays
from side import peak_memory, serve, time_of

shapes_file, threads, model_name, stage_name, folder, way = sys.argv[1:]
torch.set_num_threads(int(threads))
with open(shapes_file) as file:
    shapes = json.load(file)
config = shapes["models"][model_name]
stage = config["stages"][stage_name]
model = Ferret(config["model"])
model.load(read_arrays(folder, "weights"))
batch = read_arrays(folder, "batch")
constants = model.constants(batch)

MODULES = {
    "encoder": ("global_encoder", "local_encoder"),
    "projector": ("global_projector", "local_projector"),
    "projector.global": ("global_projector",),
    "sampler": ("sampler",),
    "llm": ("llm",),
}
trained_modules = {module for group in stage["train"] for module in MODULES[group]}
model.requires_grad_(False)
for module in trained_modules:
    getattr(model, module).requires_grad_(True)
trained = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(
    [
        {"params": [p for p in trained if p.dim() >= 2], "weight_decay": shapes["weight_decay"]},
        {"params": [p for p in trained if p.dim() < 2], "weight_decay": 0},
    ],
    lr=shapes["learning_rate"],
    fused=True,
)
encoders_train = "global_encoder" in trained_modules
visual, loss_of = model.visual, model.loss
if way == "compiled":
    visual, loss_of = torch.compile(visual), torch.compile(loss_of)


def step():
    with torch.set_grad_enabled(encoders_train):
        maps = visual(batch)
    loss = loss_of(batch, constants, maps)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(trained, shapes["clip_norm"], foreach=True)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss.item(), norm.item()


def peak():
    best = 0
    for side in (512, 1024, 2048, 4096, 8192):
        a, b = torch.full((side, side), 0.5), torch.full((side, side), 0.5)
        torch.mm(a, b)
        best = max(best, 2 * side**3 / time_of(0.1, lambda: torch.mm(a, b)))
        if 2 * side**3 > best * 0.02:
            return best
    return best


def answer(request):
    match request["do"]:
        case "check":
            results = [step() for _ in range(request["steps"])]
            return {"losses": [loss for loss, _ in results], "gradNorm": results[0][1], "flops": 0}
        case "time":
            return {"seconds": time_of(request["seconds"], step)}
        case "peak":
            return {"flops": peak()}
        case "memory":
            return {"bytes": peak_memory()}


serve(answer)
