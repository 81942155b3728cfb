"""Photographs from and to NumPy arrays and PIL images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from PIL import Image

from ncsr.errors import InputError
from ncsr.images import exif
from ncsr.images.cmyk import rgb_from_cmyk
from ncsr.images.photo import Photo

Array: TypeAlias = NDArray[Any]

_SIMPLER_MODE = {"1": "L", "La": "LA", "P": "RGB", "PA": "RGBA", "RGBa": "RGBA", "RGBX": "RGB", "YCbCr": "RGB"}
_PHOTO_MODES = {*_SIMPLER_MODE, "L", "LA", "RGB", "RGBA", "CMYK", "I;16", "I;16L", "I;16B", "I;16N"}
_ROWS = 256  # of an image that are converted at a time
EXIF_MARK = b"Exif\0\0"  # what stands before the block in JPEG, and in PIL's `info`


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


def photo_from_pil(image: Image.Image) -> Photo:
    """Make a photo of a PIL image, with the ICC profile and EXIF it carries; the EXIF orientation is applied.

    Raises:
        InputError: if the image cannot be decoded, or its mode is no photograph's (32 bits, floating point, LAB, HSV).
    """
    if image.mode not in _PHOTO_MODES:
        raise InputError(f"a PIL image must be gray, colour, CMYK or I;16, got mode {image.mode}: convert it first")
    try:
        image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"the PIL image cannot be decoded: {error}") from error
    mode = _SIMPLER_MODE.get(image.mode, image.mode)
    if mode in ("L", "RGB") and image.has_transparency_data:
        mode += "A"
    array = np.asarray(image if image.mode == mode else image.convert(mode))
    icc = image.info.get("icc_profile") or None
    if mode == "CMYK":
        array, icc = rgb_from_cmyk(array, icc), None
    elif image.mode in ("P", "PA") and icc is None:
        array = gray_if_equal(array)
    return with_metadata(photo_from_array(array), icc, image.info.get("exif"))


def to_pil(photo: Photo) -> Image.Image:
    """The photo as a PIL image: L, LA, RGB or RGBA, and I;16 for 16-bit gray without alpha.

    PIL has no 16-bit colour: it is rounded to 8 bits. ICC profile and EXIF are in the image's `info`.
    """
    deep = photo.bits == 16 and photo.gray and photo.alpha is None
    image = Image.fromarray(to_array(photo, np.uint16 if deep else np.uint8))
    if photo.icc is not None:
        image.info["icc_profile"] = photo.icc
    if photo.exif is not None:
        image.info["exif"] = EXIF_MARK + photo.exif
    return image


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


def gray_if_equal(array: Array) -> Array:
    """(H, W, 3 or 4) without its second and third channel, if they equal the first everywhere."""
    return np.delete(array, (1, 2), axis=2) if (array[..., 1:3] == array[..., :1]).all() else array


def with_metadata(photo: Photo, icc: bytes | None, block: bytes | None, orientation: int | None = None) -> Photo:
    """The photo turned upright, with its ICC profile and EXIF block; a damaged block is left out.

    `orientation` is EXIF's, 1 to 8; None means the one in the block.
    """
    block = (block or b"").removeprefix(EXIF_MARK)
    if orientation is None:
        orientation = exif.orientation(block)
    alpha = None if photo.alpha is None else exif.upright(photo.alpha, orientation)
    photo = replace(photo, rgb=exif.upright(photo.rgb, orientation), alpha=alpha, icc=icc)
    return replace(photo, exif=exif.with_size(block, *photo.size))
