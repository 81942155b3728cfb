"""How many samples are not finite in their first draw: nothing is drawn again, nothing clamped.

    python -m benchmarks.finite MODEL FOLDER [-n 100] [-t 0.9] [--precision auto]

LR images by MATLAB-compatible bicubic reduction of the photographs, rounded to 8 bits; seed 0; each image whole.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import get_args

import torch

from benchmarks.timing import machine
from ncsr.evaluation.pairs import find_pairs, read_pair
from ncsr.pretrained.load import load
from ncsr.runtime.device import Precision

_TOGETHER = 10


@torch.no_grad()
def main() -> None:
    """Print each photograph, and the sum."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("-n", type=int, default=100)
    parser.add_argument("-t", type=float, help="default: the model's")
    parser.add_argument("--precision", choices=get_args(Precision), default="auto")
    options = parser.parse_args()
    model = load(options.model, precision=options.precision)
    scale = model.config.scale
    temperature = model.config.temperature if options.t is None else options.t
    print(f"{machine()}; {options.model}, {options.n} samples, temperature {temperature:g}, {options.precision}")
    failed = total = 0
    for files in find_pairs(options.folder, None, scale)[0]:
        space = model.space(read_pair(files, scale).lr[None].float() / 255)
        bad, low, high = 0, math.inf, -math.inf
        for first in range(0, options.n, _TOGETHER):
            images = space.draw(range(first, min(first + _TOGETHER, options.n)), temperature, 0)
            finite = images.flatten(1).isfinite().all(1)
            bad += int((~finite).sum())
            if finite.any():
                low, high = min(low, images[finite].min().item()), max(high, images[finite].max().item())
        print(f"{files.name}: {bad} of {options.n} not finite; values from {low:.2f} to {high:.2f}", flush=True)
        failed, total = failed + bad, total + options.n
    print(f"all: {failed} of {total} not finite")


if __name__ == "__main__":
    main()
