"""A photograph in memory (`Photo`), and one that is read window by window (`Source`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch
from torch import Tensor

Dpi: TypeAlias = tuple[float, float]
"""Pixels per inch across and down, as the file states them."""


@dataclass(frozen=True, eq=False)
class Photo:
    """A photograph; the contract of its fields is in `ncsr.images`.

    Attributes:
        rgb: (3, H, W) float32 in [0, 1]; three equal channels if `gray`.
        alpha: (1, H, W) float32 in [0, 1], straight, 1 = opaque; None if the photograph has no transparency.
        gray: whether it was read as gray, and is to be written as gray.
        bits: per channel, 8 or 16.
        icc: the colour profile; None means sRGB.
        exif: the EXIF block, from its byte-order mark on, with orientation 1; None if there is none.
        dpi: the resolution that the file states beside EXIF; None if it states none.
        notes: clauses for the user, without full stops, on what the reader did: that it took the first of several
            pages, for example.
        xmp: the XMP packet, as it was read; None if there is none.
        texts: the text chunks of a PNG file, each as its name (4 bytes) and content.
    """

    rgb: Tensor
    alpha: Tensor | None = None
    gray: bool = False
    bits: Literal[8, 16] = 8
    icc: bytes | None = None
    exif: bytes | None = None
    dpi: Dpi | None = None
    notes: tuple[str, ...] = ()
    xmp: bytes | None = None
    texts: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if self.rgb.ndim != 3 or len(self.rgb) != 3:
            raise ValueError(f"a Photo's rgb must be (3, H, W), got {tuple(self.rgb.shape)}")
        if self.alpha is not None and self.alpha.shape != (1, *self.size):
            raise ValueError(f"a Photo's alpha must be {(1, *self.size)}, got {tuple(self.alpha.shape)}")

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.rgb.shape[1], self.rgb.shape[2]


@dataclass(frozen=True, eq=False)
class Source:
    """A photograph that is looked at in windows; its fields mean what they mean in `Photo`.

    Attributes:
        size: (H, W) in pixels.
        transparent: whether its windows have alpha.
        window: called as window(top, left, bottom, right), returns these rows and columns (ends excluded) as a `Photo`.
    """

    size: tuple[int, int]
    transparent: bool
    gray: bool
    bits: Literal[8, 16]
    icc: bytes | None
    exif: bytes | None
    window: Callable[[int, int, int, int], Photo]
    dpi: Dpi | None = None
    notes: tuple[str, ...] = ()
    xmp: bytes | None = None
    texts: tuple[bytes, ...] = ()

    @property
    def channels(self) -> int:
        """How many channels a file of it has: 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha."""
        return (1 if self.gray else 3) + self.transparent


def source_of(photo: Photo) -> Source:
    """A photograph in memory, looked at in windows."""

    def window(top: int, left: int, bottom: int, right: int) -> Photo:
        alpha = None if photo.alpha is None else photo.alpha[:, top:bottom, left:right]
        return replace(photo, rgb=photo.rgb[:, top:bottom, left:right], alpha=alpha)

    return Source(
        size=photo.size,
        transparent=photo.alpha is not None,
        gray=photo.gray,
        bits=photo.bits,
        icc=photo.icc,
        exif=photo.exif,
        window=window,
        dpi=photo.dpi,
        notes=photo.notes,
        xmp=photo.xmp,
        texts=photo.texts,
    )


def premultiplied(photo: Photo) -> Tensor:
    """The photo's colours times its alpha, (3, H, W): what to enlarge. Without alpha, the colours as they are."""
    return photo.rgb if photo.alpha is None else photo.rgb * photo.alpha


def straight(rgb: Tensor, alpha: Tensor) -> Tensor:
    """Undo `premultiplied`: `rgb` (..., 3, H, W) over `alpha` (..., 1, H, W), clipped to [0, 1].

    Fully transparent pixels have no colour; they become black.
    """
    return torch.where(alpha > 0, rgb / alpha.clamp_min(torch.finfo(rgb.dtype).tiny), 0).clamp(0, 1)
