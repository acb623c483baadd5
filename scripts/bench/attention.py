"""The PyTorch side of the benchmark of attention: file of shapes, threads, length, causal or full."""
import json
import sys

import torch
import torch.nn.functional as F
from side import peak_memory, serve, time_of

shapes_file, threads, length, kind = sys.argv[1:]
torch.set_num_threads(int(threads))
with open(shapes_file) as file:
    shapes = json.load(file)["attention"]
batch, heads, width = shapes["batch"], shapes["heads"], shapes["width"]


def waves(step):
    numbers = torch.arange(batch * int(length) * heads * width, dtype=torch.float64)
    return torch.sin(step * numbers).float().view(batch, int(length), heads, width)


q, k, v = (waves(step).requires_grad_() for step in (0.37, 0.53, 0.71))
dy = waves(0.11)


def gradients():
    rows = (x.transpose(1, 2) for x in (q, k, v))
    out = F.scaled_dot_product_attention(*rows, is_causal=kind == "causal").transpose(1, 2)
    return torch.autograd.grad(out, (q, k, v), dy)


def answer(request):
    if request["do"] == "time":
        return {"seconds": time_of(request["seconds"], gradients)}
    before = peak_memory()
    made = gradients()
    used = peak_memory() - before
    return {"bytes": used, "squares": sum(g.square().sum().item() for g in made)}


serve(answer)
