"""What a model does with photographs it is not trained on, measured now and then during a run."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from ncsr.data.crops import Photograph, Photographs
from ncsr.errors import InputError, SamplingError
from ncsr.images.sheet import contact_sheet
from ncsr.metrics import dequantised, lr_psnr, luma_psnr
from ncsr.model import NCSR
from ncsr.ops.resize import imresize
from ncsr.training.recipe import Recipe

_SIDE = 256  # HR pixels: larger photographs are measured on their middle
_SAMPLES = 2


class Validation(NamedTuple):
    """Means over the photographs, the score (higher is better) that the best model is chosen by, and a picture.

    Of no photograph that can be read there are neither means nor a picture, and the score is not a number.
    """

    figures: dict[str, float]
    score: float
    picture: Image.Image | None


@torch.no_grad()
def validate(model: NCSR, photos: Photographs, recipe: Recipe) -> Validation:
    """Measure a model on the first `recipe.validate_images` photographs.

    Bits per dimension are of dequantised images (uniform noise of one grey level) in [0, 1], without a noise condition;
    papers' 8-bit figures are 8 higher. PSNR is on luma as in tables; LR-PSNR is the mean of samples at the model's
    temperature. The score is PSNR at temperature 0 of a PSNR-oriented model, and minus the bits of a flow.

    Args:
        model: in any mode; it comes back in the same.
        photos: uint8, (3, H, W) each.
        recipe: says how many photographs, and the temperatures of the picture.
    """
    training = model.training
    model.eval()
    gathered: dict[str, list[float]] = {}
    panels: list[tuple[str, Image.Image]] = []
    try:
        for index in range(min(recipe.validate_images, len(photos))):
            try:
                hr = _middle(photos[index], 2 * recipe.model.scale)
            except InputError:  # a broken one is reported by whoever reads it
                continue
            figures, sampled = _measure(model, hr, recipe, with_panels=not panels)
            panels += sampled
            for name, value in figures.items():
                gathered.setdefault(name, []).append(value)
    finally:
        model.train(training)
    means = {name: sum(values) / len(values) for name, values in gathered.items()}
    score = means.get("PSNR", math.nan) if model.flow is None else -means.get("bits per dimension", math.nan)
    return Validation(means, score, contact_sheet(panels) if panels else None)


def _measure(
    model: NCSR, hr: Tensor, recipe: Recipe, *, with_panels: bool
) -> tuple[dict[str, float], list[tuple[str, Image.Image]]]:
    scale = recipe.model.scale
    lr = imresize(hr, 1 / scale)
    space = model.space(lr[None].float() / 255)
    expected = space.draw([0], 0.0, 0)[0, 0].cpu().clamp(0, 1)
    astray = not bool(expected.isfinite().all())
    figures = {"PSNR": math.nan if astray else luma_psnr(expected, hr, scale).item()}
    panels = [("photograph", _picture(hr)), ("bicubic", _picture(imresize(lr, scale)))]
    if model.flow is None:
        return figures, [*panels, ("model", _picture(expected))] if with_panels else []
    figures["bits per dimension"] = space.bits_per_dim(dequantised(hr)[None]).item()
    finite, consistency = 0, []
    for k in range(_SAMPLES):
        sample = space.draw([k], model.config.temperature, recipe.seed)[0, 0].cpu()
        if bool(sample.isfinite().all()):
            finite += 1
            consistency.append(lr_psnr(sample.clamp(0, 1), lr).item())
    figures["finite"] = finite / _SAMPLES
    figures["LR-PSNR"] = sum(consistency) / len(consistency) if consistency else float("nan")
    if with_panels:
        for temperature in recipe.validate_temperatures:
            try:
                panels.append((f"temperature {temperature:g}", _picture(space.sample(1, temperature, seed=0)[0, 0])))
            except SamplingError:
                panels.append(
                    (f"temperature {temperature:g}: not finite", Image.new("RGB", (hr.shape[2], hr.shape[1])))
                )
    return figures, panels if with_panels else []


def _middle(photo: Photograph, unit: int) -> Tensor:
    height, width = (min(side, _SIDE) // unit * unit for side in photo.shape[-2:])
    top, left = (photo.shape[-2] - height) // 2, (photo.shape[-1] - width) // 2
    return photo[:, top : top + height, left : left + width]


def _picture(image: Tensor) -> Image.Image:
    levels = image if image.dtype == torch.uint8 else (image.nan_to_num().clamp(0, 1) * 255).round().byte()
    return Image.fromarray(levels.permute(1, 2, 0).cpu().numpy())
