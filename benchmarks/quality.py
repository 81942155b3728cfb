"""The figures of a model card, on a folder of photographs.

    python -m benchmarks.quality MODEL FOLDER [-n 10] [-t 0.8] [--limit 100]

Protocol: LR images by MATLAB-compatible bicubic reduction of the photograph cropped to a multiple of the scale,
    rounded to 8 bits; luma PSNR
(BT.601) with `scale` pixels shaved; everything else on 8-bit rounded images (see `ncsr.metrics`); seed 0.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from ncsr.images import find_photos, read_photo
from ncsr.loading import load
from ncsr.metrics import (
    TexturePatches,
    diversity_squared_error,
    grain,
    lr_psnr,
    luma_psnr,
    mean_and_worst,
    pixel_deviation,
    smooth_block_deviations,
    texture_distance,
)
from ncsr.resize import imresize


def measure(model_name: str, folder: Path, n: int, temperature: float, limit: int) -> dict[str, float | int | str]:
    """Every figure of one model on one folder."""
    model = load(model_name)
    scale, paths = model.config.scale, find_photos(folder)[:limit]
    real, bicubic, sampled = (TexturePatches() for _ in range(3))
    zero, bicubic_psnr, sample_psnr, consistency, deviations, diversities, blocks = [], [], [], [], [], [], []
    finite = True
    for path in paths:
        rgb = read_photo(path).rgb
        hr = rgb[:, : rgb.shape[1] // scale * scale, : rgb.shape[2] // scale * scale]
        hr8 = (hr * 255).round().to(torch.uint8)
        lr8 = imresize(hr8, 1 / scale)
        space = model.space(lr8[None].float() / 255)
        zero.append(luma_psnr(space.sample(1, 0.0)[0, 0], hr, scale))
        bicubic_psnr.append(luma_psnr(imresize(lr8, scale), hr, scale))
        bicubic.add(imresize(lr8, scale))
        real.add(hr)
        samples = space.sample(n, temperature, seed=0)[:, 0]
        finite &= bool(samples.isfinite().all())
        sampled.add(samples)
        sample_psnr.append(luma_psnr(samples, hr, scale).mean())
        consistency.append(lr_psnr(samples, lr8))
        deviations.append(pixel_deviation(samples))
        diversities.append(diversity_squared_error(samples, hr))
        blocks.append(smooth_block_deviations(samples, hr))
        print(f"{path.name}: temperature 0 {zero[-1]:.2f} dB, LR-PSNR {consistency[-1].mean():.2f} dB", flush=True)
    texture = texture_distance(sampled.patches(), real.patches())
    consistency_mean, worst = mean_and_worst(torch.stack(consistency, 1))
    smooth = grain(torch.cat([a for a, _ in blocks], 1), torch.cat([b for _, b in blocks]))
    return {
        "model": model_name,
        "folder": folder.name,
        "images": len(paths),
        "samples": n,
        "temperature": temperature,
        "seed": 0,
        "bicubic luma PSNR (dB)": _mean(bicubic_psnr),
        "temperature-0 luma PSNR (dB)": _mean(zero),
        "sample luma PSNR (dB)": _mean(sample_psnr),
        "LR-PSNR mean (dB)": float(consistency_mean),
        "LR-PSNR worst (dB)": float(worst),
        "texture distance": texture,
        "texture distance over bicubic's": texture / texture_distance(bicubic.patches(), real.patches()),
        "mean standard deviation (of 255)": _mean(deviations),
        "diversity on squared error": _mean(diversities),
        "grain in smooth blocks (over the photographs')": float(smooth.ratio),
        "all finite": finite,
    }


def _mean(values: list[torch.Tensor]) -> float:
    return torch.stack(values).mean().item()


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("-n", type=int, default=10)
    parser.add_argument("-t", type=float, default=0.8)
    parser.add_argument("--limit", type=int, default=1000)
    options = parser.parse_args()
    print(json.dumps(measure(options.model, options.folder, options.n, options.t, options.limit), indent=2))


if __name__ == "__main__":
    main()
