"""Validation: a model is measured, now and then during a run, on photographs that it is not trained on."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from ncsr.data.crops import CropSource, CropSources
from ncsr.errors import InputError, SamplingError
from ncsr.images.origin import Provenance
from ncsr.images.sheet import contact_sheet
from ncsr.metrics import LPIPS, dequantised, diversity, lr_psnr, luma_psnr, ntire_lpips
from ncsr.metrics.lpips import SMALLEST
from ncsr.model import NCSR
from ncsr.ops.resize import imresize
from ncsr.space.base import Space
from ncsr.training.recipe import Recipe
from ncsr.upscaling.provenance import provenance_of
from ncsr.upscaling.tiling import SampleRequest

_SIDE = 256  # HR pixels: of larger photographs the middle is measured
_SAMPLES = 2


class Validation(NamedTuple):
    """Means over the photographs, the score by which the best model is chosen (higher is better), a picture and origin.

    Where no photograph can be read there are neither means nor a picture, and the score is NaN.
    """

    figures: dict[str, float]
    score: float
    picture: Image.Image | None
    origin: Provenance


@torch.no_grad()
def validate(model: NCSR, photos: CropSources, recipe: Recipe) -> Validation:
    """Measure a model on the first `recipe.validate_images` photographs.

    Bits per dimension are of dequantised images (uniform noise of one grey level) in [0, 1], without a noise condition;
    papers' 8-bit figures are 8 higher. PSNR is on luma as in tables, at temperature 0. LR-PSNR, LPIPS as in NTIRE 2021
    and the diversity on it are of two samples at the model's temperature; LPIPS of a PSNR-oriented model is of its only
    image. Photographs under 31 pixels a side have no LPIPS. The score of a PSNR-oriented model is PSNR, that of a flow
    minus the bits.

    Args:
        model: in any mode, which it has again afterwards.
        photos: uint8, (3, H, W) each.
        recipe: the number of photographs, and the temperatures of the picture.
    """
    training = model.training
    model.eval()
    lpips = LPIPS()
    collected: dict[str, list[float]] = {}
    picture = None
    try:
        for index in range(min(recipe.validate_images, len(photos))):
            try:
                hr = _middle(photos[index], 2 * recipe.model.scale)
            except InputError:  # a broken photograph has already been reported
                continue
            lr = imresize(hr, 1 / recipe.model.scale)
            space = model.space(lr[None].float() / 255)
            expected = space.draw([0], 0.0, 0)[0, 0].cpu().clamp(0, 1)
            for name, value in _figures(space, expected, hr, lr, recipe, lpips).items():
                collected.setdefault(name, []).append(value)
            picture = picture or _picture(space, expected, hr, lr, recipe)
    finally:
        model.train(training)
    means = {name: sum(values) / len(values) for name, values in collected.items()}
    score = means.get("PSNR", math.nan) if model.flow is None else -means.get("bits per dimension", math.nan)
    temperatures = [0.0] if model.flow is None else [*map(float, recipe.validate_temperatures)]
    origin = provenance_of(model, None, SampleRequest(1, max(temperatures, default=0.0), 0))
    shown = {"picture": "contact sheet", "temperature": temperatures}
    return Validation(means, score, picture, origin.model_copy(update=shown))


def _figures(space: Space, expected: Tensor, hr: Tensor, lr: Tensor, recipe: Recipe, lpips: LPIPS) -> dict[str, float]:
    """The figures of one photograph; `expected` is the image at temperature 0. Of an image that is not finite, NaN."""
    finite = bool(expected.isfinite().all())
    figures = {"PSNR": luma_psnr(expected, hr, recipe.model.scale).item() if finite else math.nan}
    if recipe.model.flow is None:
        return figures | _lpips_figures(lpips, [expected] if finite else [], hr)
    figures["bits per dimension"] = space.bits_per_dim(dequantised(hr)[None]).item()
    samples = [space.draw([k], recipe.model.temperature, recipe.seed)[0, 0].cpu() for k in range(_SAMPLES)]
    finite_samples = [sample for sample in samples if bool(sample.isfinite().all())]
    consistency = [lr_psnr(sample.clamp(0, 1), lr).item() for sample in finite_samples]
    figures["finite"] = len(finite_samples) / _SAMPLES
    figures["LR-PSNR"] = sum(consistency) / len(consistency) if consistency else math.nan
    return figures | _lpips_figures(lpips, finite_samples, hr)


def _lpips_figures(lpips: LPIPS, samples: list[Tensor], hr: Tensor) -> dict[str, float]:
    """NTIRE's LPIPS of finite samples, and of several the diversity; nothing of none, or of a small photograph."""
    if not samples or min(hr.shape[-2:]) < SMALLEST:
        return {}
    scores = ntire_lpips(lpips, torch.stack(samples).clamp(0, 1), hr)
    figures = {"LPIPS": scores.spatial.mean().item()}
    if len(samples) > 1:
        figures["diversity"] = diversity(scores.maps).item()
    return figures


def _picture(space: Space, expected: Tensor, hr: Tensor, lr: Tensor, recipe: Recipe) -> Image.Image:
    """The photograph, its bicubic enlargement and the model's images side by side."""
    panels = [("photograph", _to_pil(hr)), ("bicubic", _to_pil(imresize(lr, recipe.model.scale)))]
    if recipe.model.flow is None:
        return contact_sheet([*panels, ("model", _to_pil(expected))])
    for temperature in recipe.validate_temperatures:
        title = f"temperature {temperature:g}"
        try:
            panels.append((title, _to_pil(space.sample(1, temperature, seed=0)[0, 0])))
        except SamplingError:
            panels.append((f"{title}: not finite", Image.new("RGB", (hr.shape[2], hr.shape[1]))))
    return contact_sheet(panels)


def _middle(photo: CropSource, unit: int) -> Tensor:
    height, width = (min(side, _SIDE) // unit * unit for side in photo.shape[-2:])
    top, left = (photo.shape[-2] - height) // 2, (photo.shape[-1] - width) // 2
    return photo[:, top : top + height, left : left + width]


def _to_pil(image: Tensor) -> Image.Image:
    levels = image if image.dtype == torch.uint8 else (image.nan_to_num().clamp(0, 1) * 255).round().byte()
    return Image.fromarray(levels.permute(1, 2, 0).cpu().numpy())
