"""Measure a model on a folder of photographs, as DIV2K's: python examples/evaluate_div2k.py DIV2K_valid_HR.

`ncsr evaluate` does more: intervals, pictures, a page, several models, resuming. This is how to do it in code.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import ncsr
from ncsr.images import find_photos, read_photo
from ncsr.metrics import crop_to_multiple
from ncsr.metrics.streaming import all_measures
from ncsr.ops.resize import imresize


def main() -> None:
    """Print every measure of the samples."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--model", default="x4-small")
    parser.add_argument("--samples", type=int, default=10)
    options = parser.parse_args()

    model = ncsr.load(options.model)
    scale = model.config.scale
    measures = all_measures(scale).to(model.device)
    for path in find_photos(options.photos):
        hr = crop_to_multiple(read_photo(path).rgb[None], scale).to(model.device)
        lr = imresize((hr * 255).round().byte(), 1 / scale) / 255
        measures.update(model.space(lr).sample(options.samples, seed=0), hr, lr)
        print(path.name, flush=True)
    for name, value in measures.compute().items():
        print(f"{name}: {float(value):.4f}")


if __name__ == "__main__":
    main()
