"""Close-ups: squares of whole LR pixels, found by the errors or by the texture of a photograph."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

SIDE = 64  # pixels of the close-ups of errors, at most
_STRIDE = 8  # pixels between the squares that are compared: LR pixels stay whole
_LR_SIDE = 32  # LR pixels of the close-up of texture, at most


class Crop(NamedTuple):
    """A square of a photograph, in HR pixels."""

    top: int
    left: int
    side: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom, the last two inside, as Pillow draws rectangles."""
        return self.left, self.top, self.left + self.side - 1, self.top + self.side - 1

    def of(self, images: Tensor) -> Tensor:
        """The square of images (..., H, W), as (..., side, side)."""
        return images[..., self.top : self.top + self.side, self.left : self.left + self.side]


def find_crops(error: Tensor, hr: Tensor) -> dict[str, Crop]:
    """Find the squares where errors are greatest and least on average, "worst" and "best".

    For the best only the half of the squares counts where the photograph varies more, or it would be flat sky.

    Args:
        error: (H', W'), the error of each pixel, of at most the photograph's size.
        hr: (3, H, W) uint8.
    """
    height, width = error.shape
    side = min(SIDE, height // _STRIDE * _STRIDE, width // _STRIDE * _STRIDE)
    errors = F.avg_pool2d(error[None, None].double(), side, _STRIDE)[0, 0]
    texture = _variances(hr[:, :height, :width], side, _STRIDE)
    textured = torch.where(texture >= texture.median(), errors, torch.inf)
    return {"worst": _largest(errors, side, _STRIDE), "best": _largest(-textured, side, _STRIDE)}


def find_textured_crop(hr: Tensor, scale: int) -> Crop:
    """Find the square of 32 x 32 LR pixels where a photograph varies most, which is the same whatever the models.

    Args:
        hr: (3, s h, s w) uint8.
        scale: the square holds whole LR pixels.
    """
    side = min(_LR_SIDE * scale, *hr.shape[-2:])
    return _largest(_variances(hr, side, scale), side, scale)


def _variances(hr: Tensor, side: int, stride: int) -> Tensor:
    """The variance of the mean of the channels in every square."""
    gray = hr.double().mean(0)[None, None]
    return (F.avg_pool2d(gray * gray, side, stride) - F.avg_pool2d(gray, side, stride).square())[0, 0]


def _largest(values: Tensor, side: int, stride: int) -> Crop:
    """The square whose value is greatest."""
    row, column = divmod(int(values.argmax()), values.shape[1])
    return Crop(row * stride, column * stride, side)
