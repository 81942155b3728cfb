"""Photographs from and to NumPy arrays."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from PIL import Image

from ncsr.errors import InputError
from ncsr.images.photo import Photo

Array: TypeAlias = NDArray[Any]

_ROWS = 256  # of an image that are converted at a time


def photo_from_array(array: Array) -> Photo:
    """Make a photo of an array.

    Args:
        array: (H, W) gray, or (H, W, C) with C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha. uint8, uint16, or
            floating point in [0, 1] (which counts as 16 bits); alpha is straight.

    Raises:
        InputError: if the array has another shape, dtype or range, or is empty.
    """
    if array.size == 0 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4)):
        raise InputError(
            f"an image array must be (H, W) or (H, W, C) with 1 to 4 channels and not empty, got shape {array.shape}"
        )
    if array.dtype.kind == "u" and array.dtype.itemsize <= 2:
        top = np.iinfo(array.dtype).max
    elif array.dtype.kind == "f":
        top = 1
        if not (array.min() >= 0 and array.max() <= 1):  # "not" refuses NaN too
            raise InputError(
                f"a floating-point image array must lie in [0, 1], got {array.min():g} to {array.max():g}: "
                "clip it, or divide it by its largest possible value"
            )
    else:
        raise InputError(f"an image array must be uint8, uint16 or floating point in [0, 1], got {array.dtype}")
    planes = np.moveaxis(array[..., None] if array.ndim == 2 else array, -1, 0)
    values = torch.from_numpy(np.array(planes, dtype=np.float32, order="C")).div_(top)
    colours = 1 if len(values) < 3 else 3
    return Photo(
        rgb=values[:colours].expand(3, -1, -1).contiguous(),
        alpha=values[colours:] if len(values) > colours else None,
        gray=colours == 1,
        bits=8 if array.dtype == np.uint8 else 16,
    )


def to_array(photo: Photo, dtype: DTypeLike = np.uint8, *, flat_gray: bool = True) -> Array:
    """The photo as an array: (H, W, C), C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha.

    Args:
        photo: a gray one gives the mean of its three channels.
        dtype: uint8 or uint16 (rounded to nearest and clipped), or a floating-point type (values as they are); the
            result has this machine's byte order.
        flat_gray: give gray without alpha as (H, W).

    Raises:
        InputError: if values to be rounded are not finite, or `dtype` is none of those.
    """
    rgb = photo.rgb.mean(0, keepdim=True) if photo.gray else photo.rgb
    values = torch.cat([rgb] if photo.alpha is None else [rgb, photo.alpha]).detach().cpu()
    kind = np.dtype(dtype).newbyteorder("=")
    if kind in (np.uint8, np.uint16):
        if not values.isfinite().all():
            raise InputError("the image holds values that are not finite: it cannot be stored as integers")
        top = np.iinfo(kind).max
        values = (values * top).round_().clamp_(0, top)
    elif kind.kind != "f":
        raise InputError(f"an image array can be uint8, uint16 or floating point, got {kind}")
    array = np.ascontiguousarray(np.moveaxis(values.numpy(), 0, -1), dtype=kind)
    return array[..., 0] if flat_gray and array.shape[2] == 1 else array


def picture_of(pixels: Array, *, transparency: bool = True) -> Image.Image:
    """(H, W, C) pixels, uint8 or uint16, as a PIL image of 8 bits: L, LA, RGB or RGBA.

    Without `transparency`, alpha is laid on white.
    """
    height, width, channels = pixels.shape
    laid = not transparency and channels in (2, 4)
    levels = np.empty((height, width, channels - laid), np.uint8)
    for first in range(0, height, _ROWS):
        part = pixels[first : first + _ROWS] * np.float32(255 / np.iinfo(pixels.dtype).max)
        if laid:
            part = 255 + (part[..., :-1] - 255) * (part[..., -1:] / 255)
        levels[first : first + _ROWS] = np.rint(part)
    return Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels)
