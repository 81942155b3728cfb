"""Every measure of one photograph's samples, and what a set as a whole needs of them."""

from __future__ import annotations

import torch
from torch import Tensor

from ncsr.evaluation.pairs import Pair
from ncsr.metrics import (
    LPIPS,
    crop_to_multiple,
    diversity,
    diversity_squared_error,
    eight_bit,
    lr_psnr,
    luma_psnr,
    luma_ssim,
    ntire_lr_psnr,
    pixel_deviation,
    rgb_psnr,
    rgb_ssim,
)
from ncsr.metrics.streaming import SmoothBlockGrain, TextureDistance
from ncsr.metrics.texture import first_patches

State = dict[str, Tensor]


class Bench:
    """A photograph, ready to be compared with: its LPIPS features are computed once for all models and samples.

    Args:
        pair: the photograph and its LR image.
        lpips: None leaves out what needs it.
        truncate: save samples by truncation for LR-PSNR.
    """

    def __init__(self, pair: Pair, lpips: LPIPS | None, truncate: bool) -> None:
        self._pair, self._truncate = pair, truncate
        self._device = torch.device("cpu") if lpips is None else lpips.get_buffer("shift").device
        self._reference = lpips.reference(crop_to_multiple(pair.hr, 8).to(self._device)) if lpips else None

    def measure(self, samples: Tensor, deterministic: bool) -> tuple[dict[str, float], Tensor]:
        """All figures of samples (n, 3, s h, s w), and their mean error per pixel: LPIPS, or squared grey levels.

        Args:
            samples: uint8, or floating point in [0, 1].
            deterministic: whether one image stands for any number of equal ones: then they do not deviate at all.
        """
        hr, lr = self._pair.hr, self._pair.lr
        scale = hr.shape[-1] // lr.shape[-1]
        saved, samples = eight_bit(samples, self._truncate), eight_bit(samples)
        to_lr, to_photograph = lr_psnr(saved, lr), ntire_lr_psnr(saved, hr, scale)
        figures = {
            "luma_psnr": luma_psnr(samples, hr, scale).mean(),
            "rgb_psnr": rgb_psnr(samples, hr, scale).mean(),
            "luma_ssim": luma_ssim(samples, hr, scale).mean(),
            "rgb_ssim": rgb_ssim(samples, hr, scale).mean(),
            "lr_psnr_mean": to_lr.mean(),
            "lr_psnr_worst": to_lr.amin(),
            "ntire_lr_psnr_mean": to_photograph.mean(),
            "ntire_lr_psnr_worst": to_photograph.amin(),
        }
        maps = None
        if self._reference is not None:
            scores = self._reference.compare(crop_to_multiple(samples, 8).to(self._device))
            maps = scores.maps
            figures |= {"lpips": scores.spatial.mean(), "lpips_plain": scores.plain.mean()}
        if len(samples) > 1 or deterministic:
            if maps is not None:
                figures["diversity"] = diversity(maps)
            figures["diversity_squared_error"] = diversity_squared_error(samples, hr)
            figures["pixel_deviation"] = torch.zeros(()) if deterministic else pixel_deviation(samples)
        error = _squared_error(samples, hr) if maps is None else maps.mean(0).cpu()
        return {name: float(value) for name, value in figures.items()}, error


class SetMeasures:
    """Texture distance and grain, gathered image by image; the state has the same size for any number of images."""

    def __init__(self) -> None:
        self._texture, self._grain = TextureDistance(), SmoothBlockGrain()

    def add(self, samples: Tensor, hr: Tensor) -> None:
        """Take in the samples (n, 3, H, W) of a photograph (3, H, W)."""
        self._texture.update(samples, hr)
        self._grain.update(samples, hr)

    def state(self) -> State:
        """What has been gathered."""
        return {
            f"{kind}_{side}": getattr(metric, side)
            for kind, metric in (("texture", self._texture), ("grain", self._grain))
            for side in ("sampled", "photographed")
        }

    def merge(self, state: State) -> None:
        """Take in what another has gathered of other images."""
        for side in ("sampled", "photographed"):
            tables = torch.stack([getattr(self._texture, side), state[f"texture_{side}"]])
            setattr(self._texture, side, first_patches(tables))
            setattr(self._grain, side, getattr(self._grain, side) + state[f"grain_{side}"])

    def figures(self) -> dict[str, float]:
        """Both figures of all that came; at least one image."""
        # called on the classes: an instance's own `compute` would warn that nothing came in this process
        found = TextureDistance.compute(self._texture) | SmoothBlockGrain.compute(self._grain)
        return {name: float(value) for name, value in found.items()}


def _squared_error(samples: Tensor, hr: Tensor) -> Tensor:
    total = torch.zeros(hr.shape[-2:])
    for sample in samples:
        total += (sample.float() - hr.float()).square().mean(0)
    return total / len(samples)
