"""The loader benchmark's other side: a PyTorch DataLoader with Pillow, doing what scripts/bench/loader.ts measures.

Reads one JSON command a line ({"do": "verify" | "run", ...}), answers with one JSON line each. Started by loader.ts.
"""

import json
import os
import sys
import time

import numpy
import torch
from PIL import Image
from tokenizers import Tokenizer
from torch.utils.data import DataLoader, Dataset


def choose_grid(width, height, grids, side):
    """The any-resolution grid: most of the image's own pixels kept, then least of the canvas wasted."""
    best, best_kept, best_waste = None, -1, float("inf")
    for columns, rows in grids:
        scale = min(columns * side / width, rows * side / height)
        kept = min(int(width * scale) * int(height * scale), width * height)
        waste = columns * side * rows * side - kept
        if kept > best_kept or (kept == best_kept and waste < best_waste):
            best, best_kept, best_waste = (columns, rows), kept, waste
    return best


class Samples(Dataset):
    """Row to global view [3, S, S], tiles [n, 3, S, S], token ids and labels; images are decoded afresh."""

    def __init__(self, folder, spec, shape):
        with open(os.path.join(folder, "rows.json"), encoding="utf-8") as file:
            self.rows = json.load(file)
        self.folder = folder
        self.side, self.grids = shape["side"], shape["grids"]
        self.tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
        self.norms = {}
        for name in ("global", "local"):
            self.norms[name] = [torch.tensor(spec[name][key]).view(3, 1, 1) for key in ("mean", "std")]

    def __len__(self):
        return len(self.rows)

    def pixels(self, image, columns, rows, norm):
        size = (columns * self.side, rows * self.side)
        resized = numpy.array(image.resize(size, Image.Resampling.BICUBIC))
        planes = torch.from_numpy(resized).permute(2, 0, 1).contiguous().to(torch.float32).div_(255)
        mean, std = self.norms[norm]
        return planes.sub_(mean).div_(std)

    def __getitem__(self, index):
        row = self.rows[index]
        with Image.open(os.path.join(self.folder, row["file"])) as file:
            image = file.convert("RGB")
        columns, rows = choose_grid(*image.size, self.grids, self.side)
        whole = self.pixels(image, 1, 1, "global").squeeze(0)
        canvas = self.pixels(image, columns, rows, "local")
        tiles = canvas.view(3, rows, self.side, columns, self.side).permute(1, 3, 0, 2, 4)
        ids = []
        for part in row["parts"]:
            ids += [part] if isinstance(part, int) else self.tokenizer.encode(part, add_special_tokens=False).ids
        labels = [-100] * len(ids)
        for start, end in row["answers"]:
            labels[start:end] = ids[start:end]
        return whole, tiles.reshape(-1, 3, self.side, self.side), torch.tensor(ids), torch.tensor(labels)


def collate(samples):
    whole, tiles, ids, labels = zip(*samples)
    pad = torch.nn.utils.rnn.pad_sequence
    padded = pad(ids, batch_first=True)
    mask = pad([torch.ones_like(one) for one in ids], batch_first=True)
    return torch.stack(whole), torch.cat(tiles), padded, pad(labels, batch_first=True, padding_value=-100), mask


class Shuffled(torch.utils.data.Sampler):
    """`count` rows: epochs of all rows, each in an order of its own."""

    def __init__(self, rows, count, seed):
        self.rows, self.count, self.seed = rows, count, seed

    def __len__(self):
        return self.count

    def __iter__(self):
        generator = torch.Generator().manual_seed(self.seed)
        left = self.count
        while left > 0:
            order = torch.randperm(self.rows, generator=generator).tolist()[:left]
            left -= len(order)
            yield from order


def cpu_seconds(pids):
    """Of this process and others; 0 where the system does not tell."""
    try:
        ticks = 0
        for pid in [os.getpid(), *pids]:
            with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")
    except OSError:
        return 0


def run(samples, spec, workers):
    steps, warmup = spec["steps"], spec["warmup_steps"]
    sampler = Shuffled(len(samples), (warmup + steps) * spec["batch"], spec["seed"])
    loader = DataLoader(
        samples, batch_size=spec["batch"], sampler=sampler, num_workers=workers, collate_fn=collate
    )
    batches = iter(loader)
    for _ in range(warmup):
        next(batches)
    pids = [worker.pid for worker in getattr(batches, "_workers", [])]
    cpu, began = cpu_seconds(pids), time.perf_counter()
    images = sum(next(batches)[0].shape[0] for _ in range(steps))
    return {"images": images, "seconds": time.perf_counter() - began, "cpu": cpu_seconds(pids) - cpu}


def verify(samples, rows):
    def summary(row):
        whole, tiles, ids, _ = samples[row]
        flat = torch.cat([whole.flatten(), tiles.flatten()])
        return {"values": flat[:: max(flat.numel() // 1000, 1)].tolist(), "count": flat.numel(), "ids": ids.tolist()}

    return [summary(row) for row in rows]


def main():
    torch.set_num_threads(1)
    folder, spec_file = sys.argv[1:]
    with open(spec_file, encoding="utf-8") as file:
        spec = json.load(file)
    import PIL

    print(json.dumps({"torch": torch.__version__, "pillow": PIL.__version__}), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        samples = Samples(folder, spec, spec["shapes"][command["shape"]])
        if command["do"] == "verify":
            answer = verify(samples, command["rows"])
        else:
            answer = run(samples, spec, command["workers"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
