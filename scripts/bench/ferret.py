"""The networks of src/models in PyTorch as one writes them there, with the same names of parameters."""
import json
import math
import os

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


def read_arrays(folder, name):
    """The arrays that scripts/bench/arrays.ts wrote, as tensors; integers as int64."""
    with open(os.path.join(folder, f"{name}.json")) as file:
        index = json.load(file)
    numbers = np.fromfile(os.path.join(folder, f"{name}.bin"), dtype=np.uint8)
    tensors = {}
    for key, entry in index.items():
        size = 4 * math.prod(entry["shape"])
        part = numbers[entry["offset"] : entry["offset"] + size].view(entry["dtype"])
        tensor = torch.from_numpy(part.copy()).reshape(entry["shape"])
        tensors[key] = tensor.long() if entry["dtype"] == "int32" else tensor
    return tensors


class Attention(nn.Module):
    def __init__(self, names, width, heads, key_heads, head_width, bias, out_bias, causal):
        super().__init__()
        self.heads, self.key_heads, self.causal = heads, key_heads, causal
        sizes = (heads, key_heads, key_heads)
        layers = [nn.Linear(width, n * head_width, bias=bias) for n in sizes]
        layers.append(nn.Linear(heads * head_width, width, bias=out_bias))
        self.query, self.key, self.value, self.out = layers
        self.renamed = dict(zip(("query", "key", "value", "out"), names))

    def forward(self, x, rotary=None):
        batch, length, _ = x.shape
        split = lambda t, heads: t.view(batch, length, heads, -1).transpose(1, 2)
        q = split(self.query(x), self.heads)
        k = split(self.key(x), self.key_heads)
        v = split(self.value(x), self.key_heads)
        if rotary is not None:
            q, k = rotate(q, *rotary), rotate(k, *rotary)
        if self.key_heads < self.heads:
            k = k.repeat_interleave(self.heads // self.key_heads, 1)
            v = v.repeat_interleave(self.heads // self.key_heads, 1)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out(seen.transpose(1, 2).reshape(batch, length, -1))


def rotate(x, cos, sin):
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat((-second, first), -1) * sin


class QuickGelu(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


class EncoderBlock(nn.Module):
    """A block of CLIP, or of DINOv2 with its scales."""

    def __init__(self, width, heads, inner, eps, activation, scaled):
        super().__init__()
        names = ("attention.attention.query", "attention.attention.key", "attention.attention.value", "attention.output.dense")
        if not scaled:
            names = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj")
        self.attention = Attention(names, width, heads, heads, width // heads, True, True, False)
        self.norm1, self.norm2 = nn.LayerNorm(width, eps), nn.LayerNorm(width, eps)
        self.fc1, self.fc2 = nn.Linear(width, inner), nn.Linear(inner, width)
        self.activation = activation
        self.scales = nn.ParameterList([torch.ones(width), torch.ones(width)]) if scaled else None
        self.scaled = scaled

    def forward(self, x):
        attended = self.attention(self.norm1(x))
        x = x + (attended * self.scales[0] if self.scaled else attended)
        inner = self.fc2(self.activation(self.fc1(self.norm2(x))))
        return x + (inner * self.scales[1] if self.scaled else inner)


class Encoder(nn.Module):
    """CLIP's image tower or DINOv2, the blocks that are used."""

    def __init__(self, config, clip):
        super().__init__()
        width, patch, layers = config["hidden_size"], config["patch_size"], config["num_hidden_layers"]
        used = layers + 1 + config["feature_layer"] if config["feature_layer"] < 0 else config["feature_layer"]
        inner = config["intermediate_size"] if clip else int(width * config["mlp_ratio"])
        activation = {"quick_gelu": QuickGelu(), "gelu": nn.GELU()}[config["hidden_act"]]
        places = (config["image_size"] // patch) ** 2 + 1
        self.first = nn.Parameter(torch.zeros(width) if clip else torch.zeros(1, 1, width))
        self.patch = nn.Conv2d(3, width, patch, patch, bias=not clip)
        self.positions = nn.Parameter(torch.zeros(places, width) if clip else torch.zeros(1, places, width))
        self.norm = nn.LayerNorm(width, config["layer_norm_eps"]) if clip else nn.Identity()
        heads, eps = config["num_attention_heads"], config["layer_norm_eps"]
        self.blocks = nn.ModuleList(EncoderBlock(width, heads, inner, eps, activation, not clip) for _ in range(used))

    def forward(self, pixels):
        patches = self.patch(pixels).flatten(2).transpose(1, 2)
        first = self.first.view(1, 1, -1).expand(len(pixels), 1, -1)
        x = self.norm(torch.cat((first, patches), 1) + self.positions)
        for block in self.blocks:
            x = block(x)
        return x[:, 1:].reshape(-1, x.shape[-1])


class SamplerBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.width = width
        self.theta = nn.Linear(width + 2, width + 2)
        self.sigma = nn.Linear(2 * (width + 2), width)
        self.norm = nn.LayerNorm(width, 1e-5)

    def forward(self, features, points, anchors, neighbors):
        """features [R, pool, width], points [R, pool, 2], anchors [R, n], neighbors [R, n, k]."""
        pool = torch.cat((features, points), -1)
        index = torch.arange(len(pool))
        kept = pool[index[:, None], anchors]
        near = pool[index[:, None, None], neighbors]
        of_difference, of_anchor = self.sigma.weight.chunk(2, 1)
        differences = F.linear(self.theta(near - kept[:, :, None]), of_difference)
        both = differences + F.linear(kept, of_anchor, self.sigma.bias)[:, :, None]
        return self.norm(F.relu(both)).amax(2), points[index[:, None], anchors]


class Sampler(nn.Module):
    def __init__(self, config, width, outputs):
        super().__init__()
        self.blocks = nn.ModuleList(SamplerBlock(width) for _ in config["blocks"])
        self.flatten = nn.Linear(config["blocks"][-1]["points"] * width, width)
        self.project = nn.Linear(width, outputs)

    def forward(self, maps, batch):
        samples = 0
        for name, features in maps.items():
            corners = features[batch[f"{name}_rows"]]
            samples = samples + (corners * batch[f"{name}_weights"][..., None]).sum(2)
        points = batch["points"]
        for i, block in enumerate(self.blocks):
            samples, points = block(samples, points, batch[f"anchors_{i}"], batch[f"neighbors_{i}"])
        return self.project(self.flatten(samples.flatten(1)))


class LlamaBlock(nn.Module):
    def __init__(self, config):
        super().__init__()
        width, inner, eps = config["hidden_size"], config["intermediate_size"], config["rms_norm_eps"]
        names = [f"self_attn.{n}_proj" for n in ("q", "k", "v", "o")]
        self.norm1, self.norm2 = nn.RMSNorm(width, eps), nn.RMSNorm(width, eps)
        heads, key_heads = config["num_attention_heads"], config["num_key_value_heads"]
        self.attention = Attention(names, width, heads, key_heads, config["head_dim"], False, False, True)
        self.gate, self.up = nn.Linear(width, inner, bias=False), nn.Linear(width, inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, x, rotary):
        x = x + self.attention(self.norm1(x), rotary)
        normed = self.norm2(x)
        return x + self.down(F.silu(self.gate(normed)) * self.up(normed))


class Llama(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        width, words = config["hidden_size"], config["vocab_size"]
        self.embedding = nn.Embedding(words, width)
        self.blocks = nn.ModuleList(LlamaBlock(config) for _ in range(config["num_hidden_layers"]))
        self.norm = nn.RMSNorm(width, config["rms_norm_eps"])
        self.head = nn.Linear(width, words, bias=False)
        if config["tie_word_embeddings"]:
            self.head.weight = self.embedding.weight

    def rotary(self, start, end):
        width = self.config["head_dim"]
        frequencies = 1 / self.config["rope_theta"] ** (torch.arange(0, width, 2) / width)
        angles = torch.outer(torch.arange(start, end).float(), frequencies).repeat(1, 2)
        return angles.cos(), angles.sin()

    def forward(self, x, rotary):
        for block in self.blocks:
            x = block(x, rotary)
        return x


def placed(tokens, places):
    """Tokens of length 1 plus positions, where there are any."""
    if places is None:
        return tokens
    return F.rms_norm(tokens, tokens.shape[-1:], eps=1e-6) / math.sqrt(tokens.shape[-1]) + places


def sine_cosine(centres, width, cells):
    quarter = width // 4
    frequencies = math.pi * cells ** (torch.arange(quarter) / max(1, quarter - 1))
    angles = torch.cat((centres[:, :1] * frequencies, centres[:, 1:] * frequencies), 1)
    return torch.cat((angles.sin(), angles.cos()), 1) / math.sqrt(2 * quarter)


class Ferret(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        g, l, width = config["global_encoder"], config["local_encoder"], config["llm"]["hidden_size"]
        mlp = lambda inputs: nn.Sequential(nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, width))
        self.global_encoder, self.local_encoder = Encoder(g, True), Encoder(l, False)
        self.global_projector, self.local_projector = mlp(g["hidden_size"]), mlp(l["hidden_size"])
        self.sampler = Sampler(config["sampler"], g["hidden_size"], width)
        self.llm = Llama(config["llm"])

    def visual(self, batch):
        maps = {"global": self.global_encoder(batch["global_pixels"])}
        if len(batch["local_pixels"]) > 0:
            maps["local"] = self.local_encoder(batch["local_pixels"])
        return maps

    def constants(self, batch):
        """What does not change from step to step: rotations, positions of visual tokens."""
        made = {"rotary": self.llm.rotary(0, batch["tokens"].shape[1])}
        config, width = self.config, self.config["llm"]["hidden_size"]
        if config["projector"]["positions"] == "sincos2d":
            side = config["image"]["side"] // config["global_encoder"]["patch_size"]
            line = (torch.arange(side) + 0.5) / side
            grid = torch.stack((line.repeat(side), line.repeat_interleave(side)), 1)
            patch = min(config["global_encoder"]["patch_size"], config["local_encoder"]["patch_size"])
            cells = max(max(pair) for pair in config["image"]["grids"]) * config["image"]["side"] / patch
            made["global_places"] = sine_cosine(grid.repeat(len(batch["global_pixels"]), 1), width, cells)
            made["local_places"] = sine_cosine(batch["local_centres"], width, cells)
        return made

    def loss(self, batch, made, maps):
        rows, length = batch["tokens"].shape
        visual = [placed(self.global_projector(maps["global"]), made.get("global_places"))]
        if "local" in maps:
            visual.append(placed(self.local_projector(maps["local"]), made.get("local_places")))
        if len(batch["points"]) > 0:
            visual.append(self.sampler(maps, batch))
        x = self.llm.embedding(batch["tokens"].flatten())
        x = x.index_copy(0, batch["visual_positions"], torch.cat(visual))
        x = self.llm(x.view(rows, length, -1), made["rotary"]).flatten(0, 1)
        logits = self.llm.head(self.llm.norm(x[batch["target_rows"]]))
        return F.cross_entropy(logits, batch["targets"])

    def load(self, weights):
        """Takes weights under the names of src/models; every parameter must get one."""
        own = dict(self.named_parameters())
        for name, parameter in own.items():
            value = weights[published_name(self, name)]
            with torch.no_grad():
                parameter.copy_(value.reshape(parameter.shape))


def published_name(model, name):
    """The name in src/models of a parameter of these modules."""
    parts = name.split(".")
    top, rest = parts[0], parts[1:]
    if top in ("global_projector", "local_projector"):
        return ".".join(["projector", top.split("_")[0], *rest])
    if top == "sampler":
        return "sampler." + sampler_name(rest)
    if top == "llm":
        if rest[0] == "head":
            return "llm.lm_head.weight"
        start = {"embedding": "embed_tokens", "norm": "norm", "blocks": "layers"}[rest[0]]
        if rest[0] != "blocks":
            return f"llm.model.{start}.weight"
        block = model.llm.blocks[int(rest[1])]
        names = {"norm1": "input_layernorm", "norm2": "post_attention_layernorm"}
        names |= {n: f"mlp.{n}_proj" for n in ("gate", "up", "down")}
        return f"llm.model.layers.{rest[1]}." + block_name(block, rest[2:], names)
    return encoder_name(model, top, rest)


def block_name(block, rest, names):
    if rest[0] == "attention":
        return ".".join([block.attention.renamed[rest[1]], *rest[2:]])
    return ".".join([names.get(rest[0], rest[0]), *rest[1:]])


def sampler_name(rest):
    if rest[0] != "blocks":
        return {"flatten": "flatten_projector", "project": "dim_projector"}[rest[0]] + "." + rest[1]
    place = {"theta": "diff_projector_list.{}", "sigma": "agg_projector_list.{}.net.0", "norm": "agg_projector_list.{}.norm"}
    return place[rest[2]].format(rest[1]) + "." + rest[3]


def encoder_name(model, top, rest):
    clip = top == "global_encoder"
    start = "encoder.global.vision_model." if clip else "encoder.local."
    if rest[0] != "blocks":
        return start + {
            ("first", True): "embeddings.class_embedding",
            ("first", False): "embeddings.cls_token",
            ("patch", True): "embeddings.patch_embedding",
            ("patch", False): "embeddings.patch_embeddings.projection",
            ("positions", True): "embeddings.position_embedding.weight",
            ("positions", False): "embeddings.position_embeddings",
            ("norm", True): "pre_layrnorm",
        }[rest[0], clip] + "".join(f".{part}" for part in rest[1:])
    block = getattr(model, top).blocks[int(rest[1])]
    names = {"fc1": "mlp.fc1", "fc2": "mlp.fc2"}
    if clip:
        names |= {"norm1": "layer_norm1", "norm2": "layer_norm2"}
    layer = f"encoder.{'layers' if clip else 'layer'}.{rest[1]}."
    if rest[2] == "scales":
        return f"{start}{layer}layer_scale{int(rest[3]) + 1}.lambda1"
    return start + layer + block_name(block, rest[2:], names)
