"""The common parts of the measures: images as they are saved, crops, and the checks that images can be compared."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ncsr.errors import InputError


def eight_bit(images: Tensor, truncate: bool = False) -> Tensor:
    """Images as an 8-bit file holds them.

    Args:
        images: (..., 3, H, W), floating point in [0, 1] (clamped), or uint8, which is returned as it is.
        truncate: drop the fraction, as the published reference code saves its images, instead of rounding.

    Returns:
        (..., 3, H, W) uint8.

    Raises:
        InputError: not an RGB image of these dtypes, or a value is not finite.
    """
    if images.ndim < 3 or images.shape[-3] != 3:
        raise InputError(f"a measure needs RGB images of shape (..., 3, H, W), got {tuple(images.shape)}")
    if images.dtype == torch.uint8:
        return images
    if not images.is_floating_point():
        raise InputError(f"a measure needs images in uint8 or floating point, got {images.dtype}: convert them first")
    if not images.isfinite().all():
        raise InputError("a measure needs finite images, got infinities or NaN: draw these samples again")
    levels = images.clamp(0, 1) * 255
    return (levels if truncate else levels.round()).to(torch.uint8)


def rounded(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Images rounded to 8 bits (`eight_bit`), as floating point in [0, 1]."""
    return eight_bit(images).to(dtype) / 255


def crop_to_multiple(images: Tensor, multiple: int) -> Tensor:
    """Images (..., H, W) cropped at the right and bottom until both sides are multiples of `multiple`."""
    height, width = images.shape[-2:]
    return images[..., : height - height % multiple, : width - width % multiple]


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
    """Raise InputError unless a measure's images (..., C, H, W) are floating point and agree in C, H and W."""
    if a.shape[-3:] != b.shape[-3:]:
        raise InputError(
            f"images to be compared must have the same (channels, height, width), got {tuple(a.shape[-3:])} and "
            f"{tuple(b.shape[-3:])}: crop the photograph to a multiple of the scale first"
        )
    if not (a.is_floating_point() and b.is_floating_point()):
        raise InputError(f"{measure} needs floating-point images in [0, 1], got {a.dtype} and {b.dtype}: divide by 255")


def check_samples(samples: Tensor, photograph: Tensor) -> None:
    """Raise InputError unless samples are (n, ..., 3, H, W) for a photograph (or a batch) of (..., 3, H, W)."""
    if samples.shape[1:] != photograph.shape:
        raise InputError(
            f"samples must be (n, ..., 3, H, W) with the photograph's shape behind n, got {tuple(samples.shape)} for "
            f"{tuple(photograph.shape)}: crop the photograph to a multiple of the scale first"
        )


def check_unit_range(images: Tensor) -> None:
    """Raise InputError unless images are uint8, or floating point with all values in [0, 1]."""
    if images.dtype == torch.uint8:
        return
    if not images.is_floating_point():
        raise InputError(f"LPIPS needs images in uint8 or floating point, got {images.dtype}: convert them first")
    low, high = images.min().item(), images.max().item()
    if not 0 <= low <= high <= 1:
        raise InputError(
            f"LPIPS needs images in [0, 1], got values from {low:g} to {high:g}: bring images in [-1, 1] to (x + 1) / 2"
        )
