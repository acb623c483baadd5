"""The PyTorch side of the benchmark of decoding, keys and values in tensors of a fixed size: file of shapes, threads, folder."""
import json
import sys
import time

import torch
import torch.nn.functional as F
from ferret import Ferret, read_arrays, rotate
from side import serve

shapes_file, threads, folder = sys.argv[1:]
torch.set_num_threads(int(threads))
with open(shapes_file) as file:
    shapes = json.load(file)
config = shapes["models"][shapes["decode"]["model"]]["model"]
prompt, tokens = shapes["decode"]["prompt"], shapes["decode"]["tokens"]
model = Ferret(config)
model.load(read_arrays(folder, "weights"))
llm = model.llm
heads, width = config["llm"]["num_key_value_heads"], config["llm"]["head_dim"]
cos, sin = llm.rotary(0, prompt + tokens)


def attend(attention, x, cache, start):
    length = x.shape[1]
    split = lambda t: t.view(1, length, -1, width).transpose(1, 2)
    turned = cos[start : start + length], sin[start : start + length]
    q = rotate(split(attention.query(x)), *turned)
    cache[0][:, :, start : start + length] = rotate(split(attention.key(x)), *turned)
    cache[1][:, :, start : start + length] = split(attention.value(x))
    keys, values = (part[:, :, : start + length] for part in cache)
    seen = F.scaled_dot_product_attention(q, keys, values, is_causal=length > 1)
    return attention.out(seen.transpose(1, 2).reshape(1, length, -1))


def forward(ids, caches, start):
    x = llm.embedding(ids)[None]
    for block, cache in zip(llm.blocks, caches):
        x = x + attend(block.attention, block.norm1(x), cache, start)
        normed = block.norm2(x)
        x = x + block.down(F.silu(block.gate(normed)) * block.up(normed))
    return llm.head(llm.norm(x[:, -1]))


@torch.inference_mode()
def answer(request):
    caches = [torch.zeros(2, 1, heads, prompt + tokens, width) for _ in llm.blocks]
    ids = [i * 37 % config["llm"]["vocab_size"] for i in range(prompt)]
    logits = forward(torch.tensor(ids), caches, 0)
    made = []
    began = time.perf_counter()
    for i in range(tokens):
        best = logits.argmax(-1)
        made.append(best.item())
        logits = forward(best, caches, prompt + i)
    return {"ids": made, "seconds": time.perf_counter() - began}


serve(answer)
