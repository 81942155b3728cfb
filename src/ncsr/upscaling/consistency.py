"""Consistent samples: the image nearest to a drawn sample whose reduction is the photograph."""

from __future__ import annotations

import math
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from ncsr.images import Source, premultiplied, straight
from ncsr.ops.projection import Rows, apply_dual, reduce_levels, solve_dual, strips


class Consistency(NamedTuple):
    """What it took to make a sample consistent.

    Attributes:
        lr_psnr: of the result, in dB; infinity where it reduces to the photograph exactly.
        change: mean absolute change of the pixels, in grey levels of 255.
    """

    lr_psnr: float
    change: float


class Projection:
    """Projects samples of a photograph onto the images whose reduction rounds to it.

    Colours are projected premultiplied, transparency by itself. The whole LR image is in memory for this, and a few
    strips of the enlarged one.

    Args:
        source: the photograph.
        scale: s.
        bits: 8 or 16, of the pixels that are written: the projected values are levels of so many bits.
    """

    def __init__(self, source: Source, scale: int, bits: int) -> None:
        self._source, self._scale, self.bits = source, scale, bits

    def project(self, drawn: Rows) -> Rows:
        """The rows of the projected sample, first and last multiples of s, from those of the drawn one.

        The problem is solved at once; what is kept has the size of the photograph, and rows are made when asked for.
        """
        planes, top = self._planes(drawn), (1 << self.bits) - 1
        projected = apply_dual(planes, solve_dual(planes, self._lr, self._scale, self.bits), self._scale)

        def rows(first: int, last: int) -> Tensor:
            image = projected(first, last)
            if self._source.transparent:
                image = torch.cat((straight(image[:-1], image[-1:]), image[-1:]))
            return (image * top).round_().div_(top)

        return rows

    def measure(self, drawn: Rows, written: Rows) -> Consistency:
        """How consistent the pixels of a file are, and how much they differ from the drawn sample."""
        lr, scale, top = self._lr, self._scale, (1 << self.bits) - 1
        colours = len(lr) - self._source.transparent
        total = 0.0
        for first, last in strips(lr.shape[1], scale**2 * lr.numel() // lr.shape[1]):
            change = written(scale * first, scale * last) - drawn(scale * first, scale * last)
            total += change.abs().sum(dtype=torch.float64).item()
        wrong = reduce_levels(self._planes(written), lr, scale, top)[:colours] - lr[:colours]
        error = wrong.square().mean(dtype=torch.float64).item()
        return Consistency(-10 * math.log10(error) if error else math.inf, 255 * total / (lr.numel() * scale**2))

    @cached_property
    def _lr(self) -> Tensor:
        """The photograph as the planes that are projected, (C, h, w): colours times alpha, and alpha."""
        photo = self._source.window(0, 0, *self._source.size)
        colours = premultiplied(photo)[: 1 if self._source.gray else 3]
        return colours if photo.alpha is None else torch.cat((colours, photo.alpha))

    def _planes(self, rows: Rows) -> Rows:
        """The planes that are projected, of an image with these rows."""
        if not self._source.transparent:
            return rows

        def planes(first: int, last: int) -> Tensor:
            image = rows(first, last)
            return torch.cat((image[:-1] * image[-1:], image[-1:]))

        return planes
