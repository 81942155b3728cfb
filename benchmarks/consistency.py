"""What `--consistent` does: LR-PSNR of the written 8-bit files before and after, and how much the images change.

    python -m benchmarks.consistency MODEL FOLDER [-n 10] [-t 0.8]

LR images by MATLAB-compatible bicubic reduction of the photographs cropped to a multiple of the scale, rounded to 8
bits; seed 0; LR-PSNR as NTIRE 2021 has it (`ncsr.metrics.consistency`).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.timing import machine
from ncsr.evaluation.pairs import PhotographFiles, find_pairs, read_pair
from ncsr.images import photo_from_array, read_photo, source_of, write_pixels
from ncsr.metrics import lr_psnr
from ncsr.model import NCSR
from ncsr.pretrained.load import load
from ncsr.upscaling.canvas import canvas_from_rows
from ncsr.upscaling.image import enlarge
from ncsr.upscaling.tile_size import choose_side
from ncsr.upscaling.tiling import SampleRequest


def measure(
    model: NCSR, files: PhotographFiles, n: int, temperature: float, folder: Path
) -> tuple[list[float], list[float]]:
    """Print a line on one photograph; returns each sample's LR-PSNR (dB) and mean change (grey levels)."""
    lr = read_pair(files, model.config.scale).lr
    source = source_of(photo_from_array(lr.permute(1, 2, 0).numpy()))
    request, side = SampleRequest(n, temperature, 0, consistent=True), choose_side(model, *source.size, None)
    start = time.perf_counter()
    (made,) = enlarge([source], model, request, side, [np.uint8])
    shape, before, after, changes = made.canvas.shape[1:], [], [], []
    assert made.projection is not None
    for k in range(n):
        drawn = partial(made.canvas.rows, k)
        canvas = canvas_from_rows(made.rows(k), shape, np.uint8)
        changes.append(made.projection.measure(drawn, partial(canvas.rows, 0)).change)
        written = folder / "sample.png"
        write_pixels(written, canvas.pixels(0), None, None)
        after.append(lr_psnr(read_photo(written).rgb, lr).item())
        plain = canvas_from_rows(drawn, shape, np.uint8)
        before.append(lr_psnr(plain.rows(0, 0, shape[0]), lr).item())
    seconds = time.perf_counter() - start
    least, most = np.min(after), np.max(changes)  # NaN if one is
    print(
        f"{files.name}: LR-PSNR {np.mean(before):.1f} dB before, {np.mean(after):.1f} after (least {least:.1f}); "
        f"changed by {np.mean(changes):.2f} grey levels (most {most:.2f}); {seconds / n:.1f} s a sample in all",
        flush=True,
    )
    return after, changes


def main() -> None:
    """Print all photographs, and the least LR-PSNR of all samples."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("-n", type=int, default=10)
    parser.add_argument("-t", type=float, default=0.8)
    options = parser.parse_args()
    print(f"{machine()}; {options.model}, {options.n} samples, temperature {options.t:g}")
    model = load(options.model)
    with tempfile.TemporaryDirectory() as folder:
        pairs, _ = find_pairs(options.folder, None, model.config.scale)
        results = [measure(model, files, options.n, options.t, Path(folder)) for files in pairs]
    least = np.min([np.min(after) for after, _ in results])
    change = np.mean([np.mean(changes) for _, changes in results])
    print(f"all: least LR-PSNR {least:.1f} dB, changed by {change:.2f} grey levels on average")


if __name__ == "__main__":
    main()
