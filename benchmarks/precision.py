"""What bfloat16 changes: the same samples in both precisions, their mean difference and their LR-PSNR.

    python -m benchmarks.precision MODEL FOLDER [-n 4] [-t 0.8] [--limit 20]

LR images by MATLAB-compatible bicubic reduction of the photographs, rounded to 8 bits; seed 0.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.timing import machine
from ncsr.evaluation.pairs import find_pairs, read_pair
from ncsr.metrics import lr_psnr
from ncsr.pretrained.load import load


def main() -> None:
    """Print each photograph, and the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("-n", type=int, default=4)
    parser.add_argument("-t", type=float, default=0.8)
    parser.add_argument("--limit", type=int, default=20)
    options = parser.parse_args()
    print(f"{machine()}; {options.model}, {options.n} samples, temperature {options.t:g}")
    models = {name: load(options.model, "cpu", name) for name in ("float32", "bfloat16")}
    scale = models["float32"].config.scale
    rows = []
    for files in find_pairs(options.folder, None, scale, options.limit)[0]:
        lr = read_pair(files, scale).lr
        space = {name: model.space(lr[None].float() / 255) for name, model in models.items()}
        images: dict[str, Tensor] = {name: s.sample(options.n, options.t, seed=0) for name, s in space.items()}
        difference = 255 * (images["float32"] - images["bfloat16"]).abs().mean().item()
        consistent = [lr_psnr(x, lr[None]).mean().item() for x in images.values()]
        rows.append((difference, *consistent))
        print(f"{files.name}: {difference:.2f} grey levels; LR-PSNR {consistent[0]:.2f} and {consistent[1]:.2f} dB")
    mean = torch.tensor(rows).mean(0).tolist()
    print(f"all: {mean[0]:.2f} grey levels; LR-PSNR {mean[1]:.2f} dB in float32, {mean[2]:.2f} dB in bfloat16")


if __name__ == "__main__":
    main()
