"""The common parts of the measures: images as they are saved, crops, and the checks that images can be compared."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ncsr.errors import InputError


def eight_bit(images: Tensor, truncate: bool = False) -> Tensor:
    """Images as an 8-bit file holds them.

    Args:
        images: (..., 3, H, W), floating point in [0, 1], or uint8, which is returned as it is.
        truncate: drop the fraction, as the published reference code saves its images, instead of rounding.

    Returns:
        (..., 3, H, W) uint8.

    Raises:
        InputError: not an RGB image of these dtypes, or a value outside [0, 1].
    """
    check_unit_range(images)
    if images.shape[-3] != 3:
        raise InputError(f"a measure needs RGB images of shape (..., 3, H, W), got {tuple(images.shape)}")
    if images.dtype == torch.uint8:
        return images
    levels = at_least_float32(images) * 255
    return (levels if truncate else levels.round()).to(torch.uint8)


def at_least_float32(images: Tensor) -> Tensor:
    """Images in float32 if their type holds less: differences of float16 images are not rounded to float16."""
    return images.to(torch.promote_types(images.dtype, torch.float32))


def rounded(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Images rounded to 8 bits (`eight_bit`), as floating point in [0, 1]."""
    return eight_bit(images).to(dtype) / 255


def crop_to_multiple(images: Tensor, multiple: int) -> Tensor:
    """Images (..., H, W) cropped at the right and bottom until both sides are multiples of `multiple`."""
    height, width = images.shape[-2:]
    return images[..., : height - height % multiple, : width - width % multiple]


def check_crop(images: Tensor) -> None:
    """Raise InputError if nothing of images (..., H, W) is left when they are cropped to multiples of 8."""
    if min(images.shape[-2:]) < 8:
        height, width = images.shape[-2:]
        raise InputError(f"NTIRE's measures crop to multiples of 8 and need 8 x 8 pixels, got {width} x {height}")


def each_sample(measure: Callable[[Tensor], Tensor], samples: Tensor, like: Tensor) -> Tensor:
    """A measure of every sample, one in memory at a time.

    Args:
        measure: a function of images with as many axes as `like`, giving (...,) or more.
        samples: (n, ..., C, H, W), or images with no more axes than `like`, which are measured at once.
        like: the photograph or LR image, (..., C, H, W).

    Returns:
        (n, ...) the measures, stacked.
    """
    if samples.ndim <= like.ndim:
        return measure(samples)
    if not len(samples):
        raise InputError(f"a measure needs at least one sample, got shape {tuple(samples.shape)}")
    return torch.stack([each_sample(measure, sample, like) for sample in samples])


def of_rounded(
    measure: Callable[[Tensor, Tensor], Tensor],
    samples: Tensor,
    hr: Tensor,
    dtype: torch.dtype,
    convert: Callable[[Tensor], Tensor] = lambda image: image,
) -> Tensor:
    """A measure of every sample and the photograph, both rounded to 8 bits, in [0, 1], then converted (`luma`)."""
    photograph = convert(rounded(hr, dtype))
    return each_sample(lambda image: measure(convert(rounded(image, dtype)), photograph), samples, hr)


def check_comparable(a: Tensor, b: Tensor, measure: str) -> None:
    """Raise InputError unless a measure's images (..., C, H, W) are floating point in [0, 1] and agree in shape."""
    check_tensors(a, b)
    if not (a.is_floating_point() and b.is_floating_point()):
        raise InputError(f"{measure} needs floating-point images in [0, 1], got {a.dtype} and {b.dtype}: divide by 255")
    if a.shape[-3:] != b.shape[-3:]:
        raise InputError(
            f"images to be compared must have the same (channels, height, width), got {tuple(a.shape[-3:])} and "
            f"{tuple(b.shape[-3:])}: crop the photograph to a multiple of the scale first"
        )
    try:
        np.broadcast_shapes(a.shape, b.shape)  # PyTorch's imports SymPy, which takes 0.7 s
    except ValueError:
        raise InputError(
            f"samples (n, B, C, H, W) are compared with photographs (B, C, H, W), got {tuple(a.shape)} and "
            f"{tuple(b.shape)}"
        ) from None
    check_unit_range(a)
    check_unit_range(b)


def check_samples(samples: Tensor, photograph: Tensor) -> None:
    """Raise InputError unless samples are (n, ..., 3, H, W) for a photograph (or a batch) of (..., 3, H, W)."""
    check_tensors(samples, photograph)
    if samples.shape == photograph.shape:
        raise InputError(
            f"samples must be (n, ..., 3, H, W), one axis more than their photograph, got {tuple(samples.shape)} for "
            "both: give one image as samples[None]"
        )
    if samples.shape[1:] != photograph.shape or not samples.numel():
        raise InputError(
            f"samples must be (n, ..., 3, H, W) with the photograph's shape behind n, got {tuple(samples.shape)} for "
            f"{tuple(photograph.shape)}: crop the photograph to a multiple of the scale first"
        )


def check_unit_range(images: Tensor) -> None:
    """Raise InputError unless images (..., C, H, W) are uint8, or floating point with all values in [0, 1]."""
    check_tensors(images)
    if images.ndim < 3:
        raise InputError(f"a measure needs images of shape (..., C, H, W), got {tuple(images.shape)}")
    if images.dtype == torch.uint8 or not images.numel():
        return
    if not images.is_floating_point():
        raise InputError(f"a measure needs images in uint8 or floating point, got {images.dtype}: convert them first")
    low, high = (value.item() for value in images.aminmax())
    if not math.isfinite(high - low):
        raise InputError("a measure needs finite images, got infinities or NaN: draw these samples again")
    if low < 0 or high > 1:
        raise InputError(
            f"a measure needs images in [0, 1], got values from {low:.9g} to {high:.9g}: bring [-1, 1] to (x + 1) / 2, "
            "divide 0..255 by 255, and clamp(0, 1) what lies just beyond"
        )


def check_tensors(*images: object) -> None:
    """Raise InputError unless all are tensors."""
    wrong = [type(each).__name__ for each in images if not isinstance(each, Tensor)]
    if wrong:
        raise InputError(f"a measure needs images as tensors, got {wrong[0]}: torch.as_tensor makes one")
