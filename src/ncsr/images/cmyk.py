"""CMYK, and colours that have a profile, to sRGB."""

from __future__ import annotations

from typing import Any, Literal

import imagecodecs
import numpy as np
from numpy.typing import NDArray


def rgb_from_cmyk(cmyk: NDArray[Any], profile: bytes | None) -> NDArray[Any]:
    """Convert inks to sRGB.

    With a usable CMYK profile: relative colorimetric with black-point compensation. Otherwise
    (1 - ink) (1 - black) in every channel.

    Args:
        cmyk: (H, W, 4) uint8 or uint16, 0 = no ink.
        profile: ICC profile of the inks.

    Returns:
        (H, W, 3) sRGB of the same dtype.
    """
    if profile is not None and profile[16:20] == b"CMYK":
        try:
            return _srgb(cmyk, profile, "cmyk")
        except imagecodecs.CmsError:
            pass  # a damaged profile: do without
    top = np.iinfo(cmyk.dtype).max
    rgb = np.empty_like(cmyk[..., :3])
    for inks, row in zip(cmyk, rgb, strict=True):  # as floating point, the whole would take much memory
        paper = top - inks.astype(np.float32)
        row[:] = np.rint(paper[:, :3] * paper[:, 3:] / top)
    return rgb


def is_for_gray(profile: bytes | None) -> bool:
    """Whether a profile is one for gray."""
    return profile is not None and profile[16:20] == b"GRAY"


def rgb_from_gray(gray: NDArray[Any], profile: bytes) -> NDArray[Any]:
    """Convert gray, (H, W, 1) uint8 or uint16, to sRGB, (H, W, 3), by its profile; by none if that is damaged."""
    try:
        return _srgb(gray[..., 0], profile, "gray")
    except imagecodecs.CmsError:
        return np.repeat(gray, 3, axis=2)


def in_srgb(pixels: NDArray[Any], profile: bytes) -> NDArray[Any]:
    """Convert (H, W, C) pixels to sRGB by their profile; with a damaged profile they are returned as they are.

    C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha; gray stays gray.
    """
    channels = pixels.shape[2]
    gray = channels < 3
    colours = pixels[..., :1] if gray else pixels[..., :3]
    try:
        if is_for_gray(profile):
            converted = _srgb(colours[..., 0], profile, "gray")
        else:
            converted = _srgb(np.repeat(colours, 3, axis=2) if gray else colours, profile, "rgb")
    except imagecodecs.CmsError:
        return pixels
    alpha = pixels[..., colours.shape[2] :]
    return np.concatenate([converted[..., :1] if gray else converted, alpha], axis=2)


def _srgb(pixels: NDArray[Any], profile: bytes, space: Literal["cmyk", "gray", "rgb"]) -> NDArray[Any]:
    return imagecodecs.cms_transform(
        np.ascontiguousarray(pixels),
        profile,
        imagecodecs.cms_profile("srgb"),
        colorspace=space,
        outcolorspace="rgb",
        intent=imagecodecs.CMS.INTENT.RELATIVE_COLORIMETRIC,
        flags=imagecodecs.CMS.FLAGS.BLACKPOINTCOMPENSATION,
    )
