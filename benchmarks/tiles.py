"""How much overlap tiles need: the largest difference between tiled and untiled samples against the overlap.

    python -m benchmarks.tiles [--models x4-small deep] [--side 96] [--precision float32] [--plot OVERLAP.png]

Images of side x side LR pixels: the example photograph, a gradient, the photograph with noise of 13 grey levels, noise
alone and text. Each is sampled whole, and once more from windows that end `overlap` LR pixels beyond the middle, from
either side; what the windows are responsible for is compared. `deep` is the published network at full size with the
yardstick's rule parameters.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from benchmarks.timing import machine
from benchmarks.yardstick import full_x4
from ncsr.images import photo_from_array, read_photo
from ncsr.model import NCSR
from ncsr.pretrained.load import load
from ncsr.pretrained.published import convert
from ncsr.runtime.device import Precision
from ncsr.upscaling.tile_size import OVERLAP

OVERLAPS = (2, 4, 8, 12, 16, 24, 32, 40)
PHOTOGRAPH = Path(__file__).parent.parent / "examples" / "cat.png"


def network(name: str, precision: Precision) -> NCSR:
    """A model: a name, or `deep`."""
    if name != "deep":
        return load(name, precision=precision)
    model = convert(dict(full_x4().state_dict()), noise_steps=(0, 16, 16))
    model.precision = precision
    return model.requires_grad_(False).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def pictures(side: int) -> dict[str, Tensor]:
    """LR images, (3, side, side) in [0, 1]."""
    ramp = torch.linspace(0.2, 0.8, side).expand(side, side)
    noise = torch.rand(3, side, side, generator=torch.Generator().manual_seed(0))
    page = Image.new("L", (side, side), 255)
    pen = ImageDraw.Draw(page)
    for line in range(0, side, 12):
        pen.text((2, line), "Seams would be seen here, in text 0123456789", fill=0)
    cat = read_photo(PHOTOGRAPH).rgb
    mirrored = torch.cat((cat, cat.flip(1)), 1)
    return {
        "photograph": mirrored[:, :side, :side],
        "gradient": torch.stack((ramp, ramp.T, 0.5 + 0 * ramp)),
        "film grain": (mirrored[:, :side, :side] + 0.05 * (noise - 0.5) * 12**0.5).clamp(0, 1),
        "noise": noise,
        "text": photo_from_array(torch.tensor(list(page.get_flattened_data())).view(side, side).byte().numpy()).rgb,
    }


def differences(model: NCSR, lr: Tensor, temperature: float, overlaps: Sequence[int]) -> list[float]:
    """For every overlap, the largest difference (of 255) between the whole sample and windows that end near the middle.

    Args:
        model: in eval mode.
        lr: (3, side, side), side a multiple of 4.
        temperature: of sampling.
        overlaps: LR pixels, even.
    """
    scale, middle = model.config.scale, lr.shape[-1] // 2
    whole = model.space(lr[None]).sample(1, temperature, seed=0)[0, 0]
    largest = []
    for overlap in overlaps:
        end, start = middle + overlap, middle - overlap
        first = model.space(lr[None, :, :end, :end]).sample(1, temperature, seed=0)[0, 0]
        last = model.space(lr[None, :, start:, start:], origin=(start, start)).sample(1, temperature, seed=0)[0, 0]
        cut, kept = scale * middle, scale * overlap
        apart = (
            (first[:, :cut, :cut] - whole[:, :cut, :cut]).abs().max(),
            (last[:, kept:, kept:] - whole[:, cut:, cut:]).abs().max(),
        )
        largest.append(255 * torch.stack(apart).max().item())
    return largest


def plot(curves: dict[str, dict[str, list[float]]], overlaps: Sequence[int], chosen: int, path: Path) -> None:
    """Draw all curves, a panel for each model."""
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(curves), figsize=(4.5 * len(curves), 3.2), sharey=True, squeeze=False)
    for panel, (name, lines) in zip(panels[0], curves.items(), strict=True):
        for picture, values in lines.items():
            panel.semilogy(overlaps, values, marker="o", markersize=3, label=picture)
        panel.axhline(1, color="black", linewidth=0.8)
        panel.axvline(chosen, color="gray", linestyle="--", linewidth=0.8)
        panel.set(title=name, xlabel="overlap (LR pixels)")
    panels[0][0].set_ylabel("largest difference (grey levels of 255)")
    panels[0][0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=90)


def main() -> None:
    """Print the differences of all models and images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["x4-small", "deep"])
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--precision", default="float32", choices=get_args(Precision))
    parser.add_argument("-t", "--temperature", type=float, default=0.8)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    overlaps = [o for o in OVERLAPS if o < options.side // 2]
    print(f"{machine()}; largest difference of 255 at overlaps {overlaps}, {options.precision}")
    curves: dict[str, dict[str, list[float]]] = {}
    for name in options.models:
        model, curves[name] = network(name, options.precision), {}
        for picture, lr in pictures(options.side).items():
            curves[name][picture] = differences(model, lr, options.temperature, overlaps)
            print(f"{name}, {picture}: " + " ".join(f"{v:.3g}" for v in curves[name][picture]), flush=True)
    if options.plot:
        plot(curves, overlaps, OVERLAP, options.plot)


if __name__ == "__main__":
    main()
