"""CMYK to RGB."""

from __future__ import annotations

from typing import Any

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
            return imagecodecs.cms_transform(
                np.ascontiguousarray(cmyk),
                profile,
                imagecodecs.cms_profile("srgb"),
                colorspace="cmyk",
                outcolorspace="rgb",
                intent=imagecodecs.CMS.INTENT.RELATIVE_COLORIMETRIC,
                flags=imagecodecs.CMS.FLAGS.BLACKPOINTCOMPENSATION,
            )
        except imagecodecs.CmsError:
            pass  # a damaged profile: do without
    top = np.iinfo(cmyk.dtype).max
    paper = top - cmyk.astype(np.float32)
    return np.rint(paper[..., :3] * paper[..., 3:] / top).astype(cmyk.dtype)
