"""Colour spaces that a file names by code numbers (ITU-T H.273) instead of a profile."""

from __future__ import annotations

import imagecodecs
import numpy as np

SRGB_CURVES = {1, 2, 6, 13, 14, 15}
"""Codes of transfer curves that are treated as sRGB's: its own, those of SDR video, and "unspecified"."""
_LINEAR, _PQ, _HLG = 8, 16, 18
_GAMMA = {4: 2.2, 5: 2.8, _LINEAR: 1.0}
_D65 = (0.3127, 0.3290, 1.0)
_PRIMARIES = {  # red, green and blue, each x, y and 1, beside those of sRGB
    9: (0.708, 0.292, 1.0, 0.170, 0.797, 1.0, 0.131, 0.046, 1.0),  # BT.2020
    12: (0.680, 0.320, 1.0, 0.265, 0.690, 1.0, 0.150, 0.060, 1.0),  # Display P3
}
_SRGB_PRIMARIES = (0.64, 0.33, 1.0, 0.30, 0.60, 1.0, 0.15, 0.06, 1.0)


def described_colours(primaries: int, curve: int, *, gray: bool = False) -> tuple[bytes | None, tuple[str, ...]]:
    """The ICC profile for colours with these codes.

    Args:
        primaries: code of the primaries; ignored for gray.
        curve: code of the transfer curve.
        gray: make a profile for gray.

    Returns:
        The profile, None for sRGB; and a note if the colours are unknown or HDR, and treated as sRGB.
    """
    if curve in (_PQ, _HLG):
        return None, ("its values are those of an HDR screen, and are taken for sRGB",)
    if gray:
        gamma = _GAMMA.get(curve)
        return None if gamma is None else bytes(imagecodecs.cms_profile("gray", whitepoint=_D65, gamma=gamma)), ()
    if primaries not in _PRIMARIES and curve not in _GAMMA:
        return None, () if primaries in (1, 2, 5, 6) else ("its colour space is not known, and is taken for sRGB",)
    points = np.linspace(0, 1, 1024)
    table = np.where(points <= 0.04045, points / 12.92, ((points + 0.055) / 1.055) ** 2.4)
    profile = imagecodecs.cms_profile(
        "rgb",
        whitepoint=_D65,
        primaries=_PRIMARIES.get(primaries, _SRGB_PRIMARIES),
        gamma=_GAMMA.get(curve),
        transferfunction=None if curve in _GAMMA else np.rint(table * 65535).astype(np.uint16),
    )
    return profile, ()
